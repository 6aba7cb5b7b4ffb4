"""The ground floor: samples and files, windows, resampling, loudness, pitch tracks, effects."""

from audio.samples import Audio as Audio
from audio.stored import AudioFile as AudioFile
