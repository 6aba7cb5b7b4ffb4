"""Recordings of a voice: reading them, storing them, and saying in plain words what is wrong with them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audio.context import Context
from audio.errors import UnderstudyError
from audio.samples import Audio, AudioSource
from voices.voice import PitchRange, Recording

LEAST_VOICE = 5.0  # seconds of voice without which there is no voice
GOOD_VOICE = 15.0  # seconds from which on more recordings help little
HIGHEST_RATE = 48000  # Hz; more is kept by nobody and heard by nobody

Severity = Literal["problem", "advice"]


@dataclass(frozen=True)
class Finding:
    """Something to know about a recording. `recording`: its name, or "" where it concerns all of them together.

    ``problem``: the cover will suffer from it; ``advice``: it could be better. `sentence` is for people.
    """

    code: str
    severity: Severity
    recording: str
    sentence: str


@dataclass(frozen=True, eq=False)
class RecordingReport:
    """What was measured of one recording. `voice`: seconds of it in which somebody is heard.

    `f0`: Hz of the voiced frames (5 ms each), in order.
    """

    recording: str
    rate: int
    duration: float
    voice: float
    f0: NDArray[np.float32]
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        return self.voice >= 0.5


def decode(path: Path, folder: Path, context: Context) -> Audio:
    """The recording at `path` as mono at its own rate, at most `HIGHEST_RATE`."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise UnderstudyError(
            "not-audio", f"{path.name} cannot be decoded.", "Give a wav, flac, mp3 or m4a file."
        ) from error
    mono = samples.mean(axis=1)
    if rate > HIGHEST_RATE:
        mono, rate = soxr.resample(mono, rate, HIGHEST_RATE, quality="VHQ"), HIGHEST_RATE
    return Audio.of(mono, rate)


def store(source: AudioSource, folder: Path, number: int, name: str) -> Recording:
    """Write a mono `source` into `folder` as 24-bit FLAC; its file name holds its number, its old name and its hash."""
    temporary = folder / f".{number}.flac"
    with soundfile.SoundFile(temporary, "w", source.rate, 1, subtype="PCM_24") as file:
        for start in range(0, source.frames, 1 << 20):
            file.write(np.clip(source.read(start, min(start + (1 << 20), source.frames)).samples[0], -1, 1))
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    path = folder / f"{number:03d}-{_slug(name)}-{digest[:8]}.flac"
    temporary.rename(path)
    return Recording(file=path.name, source=name[-255:], duration=source.frames / source.rate, sha256=digest)


def check(source: AudioSource, name: str, context: Context) -> RecordingReport:
    samples = source.read().samples[0]
    level = np.sqrt(np.mean(samples[: len(samples) // 480 * 480].reshape(-1, 480) ** 2, axis=1))
    voice = float(np.sum(level > 0.003) * 480 / source.rate)
    findings: list[Finding] = []
    if voice < 0.5:
        findings.append(Finding("silent", "problem", name, f"{name}: nobody is heard in it."))
    return RecordingReport(
        name, source.rate, source.frames / source.rate, voice, _f0(samples, source.rate), tuple(findings)
    )


def check_together(reports: Sequence[RecordingReport]) -> list[Finding]:
    voice = sum(report.voice for report in reports)
    if voice < GOOD_VOICE:
        return [
            Finding(
                "short",
                "advice",
                "",
                f"There are {voice:.0f} s of voice in all; 15 to 40 s make the voice noticeably better.",
            )
        ]
    return []


def check_files(paths: Sequence[Path], context: Context) -> tuple[list[RecordingReport], list[Finding]]:
    reports = []
    for position, path in enumerate(paths):
        part = context.part(position / len(paths), (position + 1) / len(paths))
        reports.append(check(decode(path, context.folder, part), path.name, part))
    return reports, check_together(reports)


def pitch_range(reports: Sequence[RecordingReport]) -> PitchRange | None:
    """5th, 50th and 95th percentile of the voiced frames of all recordings; None when hardly any are."""
    f0 = np.concatenate([report.f0 for report in reports]) if reports else np.zeros(0)
    if len(f0) < 20:
        return None
    low, median, high = (round(float(value), 2) for value in np.percentile(f0, [5, 50, 95]))
    return PitchRange(low=low, median=median, high=high)


def _f0(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    import parselmouth

    if len(samples) < rate * 0.1:
        return np.zeros(0, np.float32)
    pitch = parselmouth.Sound(samples.astype(np.float64), rate).to_pitch_ac(0.005, 65, pitch_ceiling=1100)
    f0 = pitch.selected_array["frequency"]
    return np.asarray(f0[f0 > 0], np.float32)


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", Path(name).stem).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "recording"
