"""The stage that compares the stems of a separated song with the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from understudy.audio.files import decode
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import AudioSource
from understudy.audio.stored import AudioFile, write_blocks
from understudy.audio.views import MonoMix, Sum
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.evaluation.bss_eval import bss_eval
from understudy.pipeline.evaluation.dataset import Part, Song
from understudy.pipeline.evaluation.sdr import ratios
from understudy.pipeline.separation.stems import INSTRUMENTS
from understudy.pipeline.values import stored
from understudy.wording import lengths

VERSION = 1
"""Of the figures: raise it when they change."""

_LONGER = 1.0  # seconds by which a stem's length may differ from the song's
_ALIGNED = 0.001
_BLOCK = 1 << 18
_SUMS = -15.0  # dB: the mixture minus its stems is lower than this even in lossy files


@stored
@dataclass(frozen=True)
class Figures:
    """Of one stem of one song, in dB. `sdr`, `si_sdr` and `leak` as in `understudy.pipeline.evaluation.sdr.Ratios`;
    `bss_sdr`,
    `isr`, `sir`, `sar`: BSSEval v4, medians over `windows` seconds; None where nothing can be measured."""

    sdr: float | None
    si_sdr: float | None
    leak: float | None
    bss_sdr: float | None = None
    isr: float | None = None
    sir: float | None = None
    sar: float | None = None
    windows: int = 0


def score(
    context: Context, song: AudioFile, truth: Song, detail: int, found: Mapping[str, AudioFile]
) -> Mapping[str, Figures]:
    """`Figures` by stem: of ``vocals`` and ``instrumental``, and with `detail` 4 also of ``drums``,
    ``bass`` and ``other``, as far as they were both `found` and are known.

    As in SiSEC 2018, BSSEval compares vocals with instrumental, and the others with all stems.
    Raises `UnderstudyError` ``truth-incomplete`` when vocals and instrumental aren't known, ``truth-length``, and all
    that `understudy.audio.files.decode` refuses.
    """
    with TemporaryDirectory(dir=context.folder) as folder:
        scratch = Context(Path(folder), workers=context.workers, cancelled=context.cancelled, warnings=context.warnings)
        true = _true_stems(scratch, song, truth, detail)
        context.progress(0.2)
        estimates = _estimates(found, true)
        _warn_of_other_sum(context, song, true)
        names = [name for name in true if name in estimates]
        missing = [name for name in true if name not in estimates]
        if missing:
            context.warn(f"The separator gives no {' and no '.join(missing)}.")
        figures = {}
        for number, name in enumerate(names):
            part = context.part(0.2 + 0.2 * number / len(names), 0.2 + 0.2 * (number + 1) / len(names))
            figures[name] = Figures(**asdict(ratios(part, true[name], estimates[name], song)))
        whole = ("vocals", "instrumental")
        parts = ("vocals", *(name for name in names if name not in whole))
        for shares, group, kept in ((context.part(0.4, 0.6), whole, whole), (context.part(0.6, 1.0), parts, parts[1:])):
            if len(group) < 2 or not kept or not set(group) <= set(names):
                continue
            measured = bss_eval(
                shares, {name: true[name] for name in group}, {name: estimates[name] for name in group}, song.frames
            )
            for name in kept if measured else ():
                assert measured is not None
                one = asdict(measured[name])
                figures[name] = replace(figures[name], bss_sdr=one.pop("sdr"), **one)
        return figures


def _estimates(found: Mapping[str, AudioFile], true: Mapping[str, AudioSource]) -> dict[str, AudioSource]:
    """The separated stems, with ``other`` as in the truth: guitar and piano are part of it where they aren't known."""
    estimates: dict[str, AudioSource] = dict(found)
    wide = [found[name] for name in INSTRUMENTS if name in found and (name == "other" or name not in true)]
    if "other" in true and "other" in found and len(wide) > 1:
        estimates["other"] = Sum(wide)
    return estimates


def _true_stems(context: Context, song: AudioFile, truth: Song, detail: int) -> dict[str, AudioSource]:
    """The true stems, read into files: at the rate and in the channels of the song."""
    known = truth.truth
    if "vocals" not in known:
        raise UnderstudyError(
            "truth-incomplete", f"The vocals of {truth.name} aren't known.", "Add the file vocals.wav."
        )
    stems = {"vocals": _read(context, song, "vocals", known["vocals"])}
    instruments = [name for name in INSTRUMENTS if name in known]
    all_instruments = {"drums", "bass", "other"} <= set(instruments)
    read: dict[str, AudioSource] = {}
    if all_instruments and (detail > 2 or "instrumental" not in known):
        read = {name: _read(context, song, name, known[name]) for name in instruments}
    if "instrumental" in known:
        stems["instrumental"] = _read(context, song, "instrumental", known["instrumental"])
    elif all_instruments:
        stems["instrumental"] = Sum(list(read.values()))
    else:
        stems["instrumental"] = Sum((song, stems["vocals"]), (1.0, -1.0))
        context.warn("The instrumental isn't known: the mixture minus the vocals was used.")
    if detail > 2 and not all_instruments:
        context.warn("Drums, bass and other aren't all known: only vocals and instrumental were compared.")
    return stems | read if detail > 2 else stems


def _read(context: Context, song: AudioFile, name: str, part: Part) -> AudioSource:
    stem = decode(context, part.path, context.folder / f"{name}.npy", track=part.track)
    if abs(stem.duration - song.duration) > _LONGER:
        raise UnderstudyError(
            "truth-length",
            "{} is {} long, the mixture {}.".format(part.name, *lengths(stem.duration, song.duration)),
            "All stems of a song must begin with it and be as long.",
        )
    if abs(stem.duration - song.duration) > _ALIGNED:
        way = "longer" if stem.duration > song.duration else "shorter"
        context.warn(f"{part.name} is {abs(stem.duration - song.duration):.3f} s {way} than the mixture.")
    if stem.rate != song.rate:
        context.warn(f"{part.name} has {stem.rate} Hz, the mixture {song.rate}: it was resampled.")
        path = context.folder / f"{name}.resampled.npy"
        stem = write_blocks(path, song.rate, stem.channels, resample_blocks(stem, song.rate, context))
    if stem.channels != song.channels:
        words = {1: "mono", 2: "stereo"}
        context.warn(f"{part.name} is {words[stem.channels]}, the mixture {words[song.channels]}.")
        return MonoMix(stem, song.channels)
    return stem


def _warn_of_other_sum(context: Context, song: AudioFile, true: Mapping[str, AudioSource]) -> None:
    """Warn where vocals and instrumental don't sum to the song: no separator can be right then."""
    rest = power = 0.0
    for start in range(0, song.frames, _BLOCK):
        stop = min(start + _BLOCK, song.frames)
        mixture = song.read(start, stop).samples.astype(np.float64)
        left = mixture - true["vocals"].read(start, stop).samples - true["instrumental"].read(start, stop).samples
        rest += float(np.vdot(left, left))
        power += float(np.vdot(mixture, mixture))
    level = 10 * float(np.log10((rest + 1e-12) / (power + 1e-12)))
    if level > _SUMS:
        context.warn(
            f"Its stems don't sum to the mixture ({level:.0f} dB are left): no separator can be right about it."
        )
