"""`Assessment`: all measurements of a cover before it is mixed, which hold for every mix of the same vocal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.pipeline.report.bands import BandLevels
from understudy.pipeline.report.intonation import Intonation
from understudy.pipeline.report.likeness import Likeness
from understudy.pipeline.values import stored

PARTS = ("song", "original_vocals", "vocals", "converted", "instrumental")


@stored
@dataclass(frozen=True)
class Faults:
    """Of one sound: NaN or infinite samples, samples in clipped runs, seconds of clicks and samples in crests that are
    cut flat (None where they were not looked for), largest sample in dBFS."""

    bad_samples: int
    clipped: int
    clicks: tuple[float, ...] | None
    peak: float
    crests: int | None = None

    @staticmethod
    def of(levels: BandLevels) -> Faults:
        peak = float(20 * np.log10(max(1e-6, levels.peak)))
        return Faults(levels.bad_samples, levels.clipped, levels.clicks, peak, levels.crests)


@stored
@dataclass(frozen=True)
class Balance:
    """Levels while there is singing. None without singing, and the first two without an instrumental.

    `before`: vocal against instrumental in the song, in dB. `unmixed`: the same with the finished vocal, before any
    gain. `unsteadiness`: how far (dB, 68 % of the time) the vocal's level strays from the original vocal's, over 3 s,
    after the constant difference is taken out. `missing`: share 0..1 of the singing in which the dry conversion is
    silent, `missing_finished`: the same of the finished vocal; `missing_at`: seconds where. `short`: dB that the
    separated vocal is estimated to be short of; the levels here hold it already, as if the stem had it. `leftover`: the
    original singer in the separated instrumental against the true vocal, in dB, estimated within some 2 dB; None where
    the separator gives no hint. `removed`: dB that the singer removal is expected to take off it; `leftover_at`:
    passages, (first second, last), in which most is left. `brightness`: what the finished vocal has above 3 kHz against
    what it has below, in dB against the same of the original vocal. `hiss`: by part, what of it never falls away above
    5 kHz during the singing, in dB against the part. `level`: of the separated vocal against the song, in dB.
    """

    before: float | None
    unmixed: float | None
    unsteadiness: float | None
    missing: float | None
    missing_finished: float | None
    missing_at: tuple[float, ...]
    short: float = 0.0
    leftover: float | None = None
    removed: float = 0.0
    leftover_at: tuple[tuple[float, float], ...] = ()
    brightness: float | None = None
    hiss: Mapping[str, float] = field(default_factory=dict)
    level: float | None = None


@stored
@dataclass(frozen=True)
class Melody:
    """The plot of the melody: an SVG file, its width in pixels, and the notes on its scale as (share of the height
    from the top, name)."""

    drawing: Path
    width: int
    notes: tuple[tuple[float, str], ...]


@stored
@dataclass(frozen=True)
class Picture:
    """A spectrogram as a PNG file, and a description of what it shows."""

    file: Path
    alt: str


@stored
@dataclass(frozen=True, eq=False)
class Assessment:
    """`wrong_length`: names of parts that aren't as long as the song. `faults`: by the names in `PARTS`.
    `tracking`: Praat on the original vocal against the pitch track that steered the conversion. `intonation`: Praat on
    the conversion against that track, transposed. `vocal_delay`: seconds by which the conversion is late, and
    `finish_delay` the finished vocal against that. `beyond`: semitones by which the melody reaches beyond the voice's
    recordings, above or below, as `understudy.voices.transpose.beyond` has it; None where either is not known.
    `sung_share`: share of the song in which there is singing. `pitched`: seconds in which the pitch track has a pitch.
    `vocal_silent`: whether the original vocal is. `curve`: the song's short-term loudness, float32 ``[values]`` as
    `understudy.audio.loudness.Loudness` has it. `brightest`: the power in dB that is the lightest shade of the song's
    picture. `excerpt`: seconds that the clips hold when they don't hold everything. `clips`: Ogg Opus files by part.
    `likenesses`: by voice, where several share the vocal; `likeness` is then the worst of them."""

    duration: float
    rate: int
    channels: int
    wrong_length: tuple[str, ...]
    faults: Mapping[str, Faults]
    tracking: Intonation
    intonation: Intonation
    vocal_delay: float | None
    sung_share: float
    pitched: float
    vocal_silent: bool
    balance: Balance
    likeness: Likeness
    curve: NDArray[np.float32]
    melody: Melody
    pictures: Mapping[str, Picture]
    brightest: float
    excerpt: tuple[float, float] | None
    clips: Mapping[str, Path]
    likenesses: Mapping[str, Likeness] = field(default_factory=dict)
    finish_delay: float | None = None
    beyond: float | None = None
