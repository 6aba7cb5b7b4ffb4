"""Pitch tracking: one small interface, several trackers behind it."""

from audio.pitch.track import PitchTrack as PitchTrack
