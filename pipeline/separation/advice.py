"""Remarks on a separation for its user: audible faults, and what would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from understudy.pipeline.presets import presets, read_preset
from understudy.pipeline.separation.quality import AUDIBLE, BLURRED, CLEAN, LOST, PHASY, Level, Quality
from understudy.pipeline.separation.settings import SeparationSettings

LADDER = ("embedded", "fast", "balanced", "studio")
"""Presets from the quickest to the best separation."""


@dataclass(frozen=True)
class Remark:
    """`about`: the field of `Quality`. `sentence`: what is the matter; `advice`: what would help, empty where nothing
    would. `serious`: whether it is plainly audible."""

    about: str
    sentence: str
    advice: str
    serious: bool = False


def remarks(quality: Quality, settings: SeparationSettings | None = None) -> tuple[Remark, ...]:
    """What is worth saying, the worst first; nothing of a good separation. `settings`: those that the song was
    separated with, None for a user's own stems: a better preset is only suggested where there is one."""
    found = list(_remarks(quality, better_than(settings), settings))
    return tuple(sorted(found, key=lambda remark: not remark.serious))


def precision_note(settings: SeparationSettings | None) -> tuple[str, str] | None:
    """The dtype that the networks computed in and its effect, as two phrases; None where no network ran. The figures
    are those of docs/measurements.md, on random weights of published size."""
    if settings is None or all(name == "embedded" for name in settings.requested):
        return None
    precision = settings.inference.precision
    if precision == "float32":
        return "float32", "as exact as can be"
    said = "automatic" if precision == "auto" else precision
    return said, (
        "half precision where the machine is fast at it; the difference is 52 dB (Roformers), "
        "42 dB (HTDemucs), 73 dB (VR) or 37 dB (MDX23C) below the stems, as measured; "
        "--set separation.inference.precision=float32 is exact"
    )


def better_than(settings: SeparationSettings | None) -> str | None:
    """The preset to try next: the first that is above the one whose models these settings have. None at the top, and
    for models that are in no preset, which may be better than any of them."""
    if settings is None:
        return None
    there = presets()
    rungs = [name for name in LADDER if name in there]
    models = [SeparationSettings.model_validate(read_preset(name).get("separation", {})).model for name in rungs]
    if settings.model not in models:
        return None
    return next(iter(rungs[models.index(settings.model) + 1 :]), None)


def _remarks(quality: Quality, better: str | None, settings: SeparationSettings | None) -> Iterator[Remark]:
    another = f"Try --preset {better}." if better else ""
    if quality.bleed and quality.bleed.estimate > CLEAN:
        what = instruments(quality)
        serious = quality.bleed.estimate > AUDIBLE
        yield Remark("bleed", f"The vocals still hold {what}, {_down(quality.bleed, 'the voice')}.", another, serious)
    if quality.residue and quality.residue.estimate > CLEAN:
        serious = quality.residue.estimate > AUDIBLE
        sentence = f"The voice is still audible in the instrumental, {_down(quality.residue, 'the rest')}."
        yield Remark("residue", sentence, another, serious)
    for stem, hertz in quality.cutoffs.items():
        if settings is not None and settings.model == "embedded" and stem == "vocals":
            continue  # it never goes higher, and what is above stays in the instrumental
        yield Remark(
            "cutoffs",
            f"The {stem} end at {hertz / 1000:.1f} kHz; the song goes on above.",
            _brighter(stem, settings, better),
        )
    if quality.missing is not None and quality.missing > LOST:
        advice = "" if settings is None else "With --set separation.consistency=residual nothing is lost."
        yield Remark(
            "missing", f"The stems together lack something of the song, {-quality.missing:.0f} dB below it.", advice
        )
    if quality.phasiness is not None and quality.phasiness > PHASY:
        yield Remark("phasiness", "The vocals may sound hollow by themselves: their phase is the song's.", another)
    if quality.blurred is not None and quality.blurred > BLURRED:
        yield Remark("blurred", "The vocals waver between left and right where instruments play.", another)


def _down(level: Level, than: str) -> str:
    """How far below, with what is to be expected of the estimate."""
    if level.estimate >= -1:
        return f"about as loud as {than}"
    return f"about {-level.estimate:.0f} dB below {than} ({max(0.0, -level.high):.0f} to {-level.low:.0f})"


def instruments(quality: Quality) -> str:
    """Which instruments the vocals still hold."""
    low, high = quality.bleed_from, quality.bleed_to
    if low is None or high is None:
        return "instruments"
    if high < 300:
        return "bass and bass drum"
    if low > 4000:
        return "cymbals"
    return "instruments"


def _brighter(stem: str, settings: SeparationSettings | None, better: str | None) -> str:
    if settings is not None and stem == "instrumental" and settings.consistency == "model":
        return "With --set separation.consistency=residual it keeps what is above."
    return f"Try --preset {better}." if better else ""
