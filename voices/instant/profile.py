"""`VoiceProfile`: what the instant engine knows about a voice, measured once from its recordings.

It holds the voice's envelope frames, in which conversion searches, and their statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch.track import HOP
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices.instant import spectrum
from understudy.voices.instant.content import ORDER, content, frame_statistics
from understudy.voices.instant.spectrum import Array
from understudy.voices.voice import Voice

FRAMES = 16000  # voiced and as many unvoiced ones in the index: 80 s each; more is left out in whole stretches
STRETCH = 200  # frames
PAUSE = 28.0  # dB below the loud frames; softer frames are pauses
MINIMUM = 200  # voiced frames


@dataclass(frozen=True, eq=False)
class VoiceProfile:
    """`frames` float32 ``[n, ORDER]``: cepstra in the order of time; `content` ``[n, features]``: their content
    features; `voiced` bool ``[n]``.
    `mean`, `deviation` ``[ORDER]``: over voiced frames; `unvoiced_mean` ``[ORDER]``. `pitch`: median f0 in Hz.
    `top`: bandwidth of the recordings in Hz. `spectrum` ``[POINTS]``: log of the mean power, level removed."""

    frames: Array
    content: Array
    voiced: NDArray[np.bool_]
    mean: Array
    deviation: Array
    unvoiced_mean: Array
    pitch: float
    top: float
    spectrum: Array

    def save(self, path: Path) -> None:
        small = {"frames": self.frames.astype(np.float16), "content": self.content.astype(np.float16)}
        np.savez(path, **{**vars(self), **small})

    @staticmethod
    def load(path: Path) -> VoiceProfile:
        with np.load(path, allow_pickle=False) as stored:
            fields = dict(stored)
        fields |= {name: fields[name].astype(np.float32) for name in ("frames", "content")}
        return VoiceProfile(**{**fields, "pitch": float(fields["pitch"]), "top": float(fields["top"])})


def loud_frames(level: Array) -> NDArray[np.bool_]:
    """Which frames are not pauses: those whose level in dB ``[frames]`` is within `PAUSE` of the loud ones."""
    return np.asarray(level > np.quantile(level, 0.95) - PAUSE)


def measure_profile(context: Context, voice: Voice) -> VoiceProfile:
    """The profile of `voice` from its recordings. Raises ``voice-without-sound`` below a second of voiced sound."""
    files = voice.recording_files
    top = min([spectrum.TOP, *(0.48 * _rate(file) for file in files)])
    parts: list[tuple[Array, Array, NDArray[np.float64]]] = []
    for done, file in enumerate(files):
        context.progress(done / len(files))
        signal, rate = _read(file)
        f0 = _pitch(signal, rate)
        points = spectrum.envelope(signal, f0, rate, HOP) @ spectrum.to_grid(rate, top)
        parts.append((spectrum.cepstrum(points)[:, :ORDER], np.logaddexp.reduce(points, axis=1) * 4.343, f0))
    f0 = np.concatenate([np.zeros(0), *(part[2] for part in parts)])
    voiced = f0 > 0
    loud = np.concatenate([np.zeros(0, np.bool_), *(loud_frames(part[1]) for part in parts)])
    sung = voiced & loud
    if sung.sum() < MINIMUM:
        raise UnderstudyError(
            "voice-without-sound",
            f"The recordings of {voice.name!r} hold {sung.sum() * HOP:.1f} seconds of voiced sound.",
            "Add recordings in which the voice speaks or sings: 15 seconds or more.",
        )
    everything = np.concatenate([part[0] for part in parts])
    statistics = frame_statistics(everything, voiced, loud)
    described = np.concatenate([content(part[0], statistics) for part in parts])
    unvoiced = everything[~voiced & loud] if (~voiced & loud).sum() > 20 else everything[sung]
    chosen = np.sort(np.concatenate([_some(sung), _some(~voiced & loud)]))
    power = np.exp(everything[loud] @ spectrum.inverse_basis(ORDER)).mean(axis=0)
    return VoiceProfile(
        everything[chosen],
        described[chosen],
        voiced[chosen],
        everything[sung].mean(axis=0),
        everything[sung].std(axis=0),
        unvoiced.mean(axis=0),
        float(np.median(f0[sung])),
        top,
        np.log(power / power.sum()).astype(np.float32),
    )


def _some(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Indexes of at most `FRAMES` frames of `mask`, evenly and in whole stretches: neighbours stay neighbours."""
    index = np.flatnonzero(mask)
    if len(index) <= FRAMES:
        return index
    stretches = len(index) // STRETCH
    kept = np.linspace(0, stretches - 1, FRAMES // STRETCH).round().astype(int)
    return np.asarray(index[: stretches * STRETCH].reshape(stretches, STRETCH)[kept].ravel())


def _rate(file: Path) -> int:
    import soundfile

    return int(soundfile.info(file).samplerate)


def _read(file: Path) -> tuple[NDArray[np.float64], int]:
    import soundfile

    samples, rate = soundfile.read(file, dtype="float64", always_2d=True)
    return np.ascontiguousarray(samples.mean(axis=1)), int(rate)


def _pitch(signal: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """f0 every `HOP` seconds from the first sample, 0 where unvoiced (Praat's autocorrelation)."""
    import parselmouth

    track = parselmouth.Sound(signal, rate).to_pitch_ac(time_step=HOP, pitch_floor=65.0, pitch_ceiling=1100.0)
    nearest = np.round((np.arange(int(len(signal) / rate / HOP) + 1) * HOP - track.x1) / track.dx).astype(int)
    f0 = np.zeros(len(nearest))
    inside = (nearest >= 0) & (nearest < track.n_frames)
    f0[inside] = track.selected_array["frequency"][nearest[inside]]
    return f0
