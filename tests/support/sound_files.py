"""Sound files of many formats for the tests, written with PyAV and soundfile directly: not with the code under test."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

RATE = 44100

# name -> (FFmpeg container, codec, sample format, rate); everything a fan's folder of music may hold
PYAV_FILES = {
    "song.mp3": ("mp3", "libmp3lame", "fltp", RATE),
    "song.m4a": ("ipod", "aac", "fltp", RATE),
    "alac.m4a": ("ipod", "alac", "s32p", RATE),
    "song.mp4": ("mp4", "aac", "fltp", RATE),
    "song.aac": ("adts", "aac", "fltp", RATE),
    "song.opus": ("opus", "libopus", "flt", 48000),
    "song.webm": ("webm", "libopus", "flt", 48000),
    "song.mkv": ("matroska", "aac", "fltp", RATE),
    "flac.mkv": ("matroska", "flac", "s32", RATE),
    "song.mov": ("mov", "pcm_s16le", "s16", RATE),
    "song.ac3": ("ac3", "ac3", "fltp", RATE),
}
SOUNDFILE_FILES = {
    "u8.wav": ("WAV", "PCM_U8"),
    "s16.wav": ("WAV", "PCM_16"),
    "s24.wav": ("WAV", "PCM_24"),
    "s32.wav": ("WAV", "PCM_32"),
    "float.wav": ("WAV", "FLOAT"),
    "double.wav": ("WAV", "DOUBLE"),
    "extensible.wav": ("WAVEX", "PCM_24"),
    "song.rf64": ("RF64", "PCM_16"),
    "song.w64": ("W64", "PCM_16"),
    "mulaw.wav": ("WAV", "ULAW"),
    "s16.aiff": ("AIFF", "PCM_16"),
    "s24.aiff": ("AIFF", "PCM_24"),
    "float.aiff": ("AIFF", "FLOAT"),
    "song.caf": ("CAF", "PCM_24"),
    "song.au": ("AU", "PCM_16"),
    "s16.flac": ("FLAC", "PCM_16"),
    "s24.flac": ("FLAC", "PCM_24"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "libsndfile.mp3": ("MP3", "MPEG_LAYER_III"),
    "libsndfile.opus": ("OGG", "OPUS"),
}
ALL_FILES = (*PYAV_FILES, *SOUNDFILE_FILES)


def write(path: Path, samples: np.ndarray, rate: int = RATE, name: str | None = None) -> Path:
    """`samples` ``[channels, frames]`` into `path` in the format that `name` (or the path's name) stands for."""
    name = name or path.name
    if name in SOUNDFILE_FILES:
        kind, subtype = SOUNDFILE_FILES[name]
        soundfile.write(path, samples.T, 48000 if subtype == "OPUS" else rate, format=kind, subtype=subtype)
        return path
    container, codec, sample_format, own_rate = PYAV_FILES[name]
    return write_av(path, samples, container, codec, sample_format, own_rate if own_rate == 48000 else rate)


def write_av(
    path: Path,
    samples: np.ndarray,
    container: str,
    codec: str,
    sample_format: str,
    rate: int,
    options: dict[str, str] | None = None,
) -> Path:
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout=layout, format=sample_format)
        if codec in ("libmp3lame", "aac", "libopus", "ac3"):
            stream.bit_rate = 192_000
        array = np.ascontiguousarray(samples, np.float32)
        if sample_format.startswith("s"):
            bits = int(sample_format[1:3])
            array = np.rint(array * 2.0 ** (bits - 1)).clip(-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
            array = array.astype(f"i{bits // 8}")
        if not sample_format.endswith("p"):
            array = np.ascontiguousarray(array.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(array, sample_format, layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def impulses(frames: int = 30000, at: tuple[int, ...] = (8000, 20000), channels: int = 2) -> np.ndarray:
    """Silence with single samples of 0.8, which every codec gives back as a peak at its place."""
    samples = np.zeros((channels, frames), np.float32)
    samples[:, list(at)] = 0.8
    return samples


def tones(frames: int = 30000, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """A chord that differs between the channels, peak below 0.7."""
    time = np.arange(frames) / rate
    return np.stack(
        [
            0.3 * np.sin(2 * np.pi * (220 + 110 * n) * time) + 0.2 * np.sin(2 * np.pi * 1234 * time)
            for n in range(channels)
        ]
    ).astype(np.float32)
