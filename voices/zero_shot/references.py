"""What a voice is known by: clips of its recordings, chosen once for how much singing or speech they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.audio.effects.control import block_energies
from understudy.audio.pitch import PitchSettings, PitchTrack
from understudy.audio.pitch.tracking import track
from understudy.audio.resample import resample
from understudy.audio.samples import Audio, Samples
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices.cuts import pieces
from understudy.voices.envelope import gate
from understudy.voices.voice import Voice
from understudy.voices.zero_shot.configuration import HOP, RATE

LONGEST = 8.0  # seconds of a clip
LEAST = 1.0
KEPT = 12  # clips of a voice

_CLIPPED = 0.999  # of full scale


@dataclass(frozen=True, eq=False)
class Clip:
    """`sound`: float32 mono at 44.1 kHz, a whole number of mel frames. `f0`: Hz of each frame ``[frames]``, 0 where
    unvoiced."""

    sound: Samples
    f0: Samples

    @property
    def pitch(self) -> float:
        """The median of the voiced frames in octaves above 1 Hz."""
        return float(np.median(np.log2(self.f0[self.f0 > 0])))


def choose_clips(context: Context, voice: Voice) -> list[Clip]:
    """At most `KEPT` clips of the recordings of `voice`, from low to high: of each third of its range those that are
    voiced for longest, clipped ones last. Raises `UnderstudyError` ``voice-without-sound`` if no clip is usable."""
    files = voice.recording_files
    found: list[Clip] = []
    for number, file in enumerate(files):
        part = context.part(number / len(files), (number + 1) / len(files))
        found += [clip for clip in cut(part, file) if (clip.f0 > 0).sum() * HOP / RATE >= LEAST / 2]
    if not found:
        raise UnderstudyError(
            "voice-without-sound",
            f"The recordings of {voice.name!r} hold no {LEAST:g} s of voiced sound in one piece.",
            "Add recordings in which the voice speaks or sings: 15 seconds or more.",
        )
    found.sort(key=lambda clip: clip.pitch)
    thirds = [found[len(found) * third // 3 : len(found) * (third + 1) // 3] for third in range(3)]
    best = [clip for third in thirds for clip in sorted(third, key=_quality, reverse=True)[: KEPT // 3]]
    return sorted(best, key=lambda clip: clip.pitch)


def _quality(clip: Clip) -> float:
    clipped = float((np.abs(clip.sound) > _CLIPPED).mean())
    return float((clip.f0 > 0).sum()) * max(0.0, 1 - 100 * clipped)


def cut(context: Context, file: Path) -> list[Clip]:
    """The recording in `file` in clips without long rests."""
    import soundfile

    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    sound = resample(Audio(np.ascontiguousarray(samples.mean(axis=1)[None]), int(rate)), RATE)
    pitch = frame_pitch(track(context, sound, PitchSettings()), sound.frames // HOP)
    energy = block_energies(sound.samples, 0, HOP)[: len(pitch)]
    found = pieces(energy, gate(energy), round(LONGEST * RATE / HOP))
    return [
        Clip(sound.samples[0, piece.first * HOP : piece.last * HOP], pitch[piece.first : piece.last])
        for piece in found
        if piece.frames * HOP >= LEAST * RATE
    ]


def frame_pitch(pitch: PitchTrack, frames: int) -> Samples:
    """f0 in Hz at the middle of each mel frame, float32 ``[frames]``: that of the nearest frame of the track."""
    middles = (np.arange(frames) + 0.5) * HOP / RATE
    nearest = np.round(middles / pitch.hop).astype(int)
    return np.where(nearest < pitch.frames, pitch.f0[np.minimum(nearest, pitch.frames - 1)], 0).astype(np.float32)


def save_clips(clips: Sequence[Clip], path: Path) -> None:
    np.savez(path, **{f"{name}{n}": vars(clip)[name] for n, clip in enumerate(clips) for name in ("sound", "f0")})


def load_clips(path: Path) -> list[Clip]:
    with np.load(path, allow_pickle=False) as stored:
        return [Clip(stored[f"sound{n}"], stored[f"f0{n}"]) for n in range(len(stored.files) // 2)]
