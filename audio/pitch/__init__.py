"""Pitch tracking: one small interface, several trackers behind it."""

from understudy.audio.pitch.track import PitchTrack as PitchTrack
from understudy.audio.pitch.tracker import PitchSettings as PitchSettings
from understudy.audio.pitch.tracking import track as track
