"""Pitch tracking: one small interface, several trackers behind it."""

from audio.pitch.settings import PitchSettings as PitchSettings
from audio.pitch.track import PitchTrack as PitchTrack
from audio.pitch.tracking import track as track
