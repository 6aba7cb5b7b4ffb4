"""The ground floor: samples and files, windows, resampling, loudness, pitch tracks, effects."""

from understudy.audio.samples import Audio as Audio
from understudy.audio.stored import AudioFile as AudioFile
