"""Signals: samples and files, windows, resampling, loudness, pitch tracks, transcription, effects."""

from understudy.audio.samples import Audio as Audio
from understudy.audio.stored import AudioFile as AudioFile
