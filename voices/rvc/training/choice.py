"""Which checkpoint is the best, and when no gain is likely any more.

`choose`, in words: leave out what is broken (silence, clicks). Keep what is as intelligible and as true to the pitch as
the best, within three standard errors. Of these take the one that reconstructs the held-out recordings best; of equals
the earliest. The similarity that a speaker encoder finds takes no part: of clipped or noisy recordings it prefers what
sounds clipped or noisy. The constants were found on simulated runs (docs/measurements.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy.voices.rvc.training.evaluation import Evaluation

Floats = NDArray[np.float64]

# Standard deviation per clip between neighbouring checkpoints that are equally good
_NOISE = {"similarity": 0.011, "intelligibility": 0.006, "f0_error": 0.008, "mel_distance": 0.012}
_BETTER = {"similarity": 1, "intelligibility": 1, "f0_error": -1, "mel_distance": -1}  # sign of better
_GATE = 3  # standard errors below the best intelligibility and pitch up to which a checkpoint is kept
_PATIENCE = 6  # evaluations without a gain, after which training ends
_BROKEN = {"silent": 0.1, "clicks": 1.0}  # beyond the best checkpoint's


@dataclass(frozen=True)
class Choice:
    """The chosen checkpoint. `score`: its mel distance; `uncertainty`: one standard error of it. `reason`: a
    sentence."""

    step: int
    score: float
    uncertainty: float
    reason: str


def choose(evaluations: Sequence[Evaluation]) -> Choice:
    """The best of `evaluations`, which are in the order of their steps. Raises ValueError for none."""
    if not evaluations:
        raise ValueError("there is no evaluation to choose from")
    sound = _unbroken(evaluations)
    kept = sound
    for name in ("intelligibility", "f0_error"):
        everyone, values = _means(sound, name), _means(kept, name)
        if len(everyone):
            near = values >= _without_outliers(everyone).max() - _GATE * uncertainty(sound, name)
            kept = [evaluation for evaluation, keep in zip(kept, near, strict=True) if keep] or kept
    distances = _means(kept, "mel_distance")
    chosen = kept[int(np.argmax(distances)) if len(distances) else 0]
    score = chosen.means().get("mel_distance", float("nan"))
    reason = _reason(chosen, score, of=len(evaluations), sound=len(sound), kept=len(kept))
    return Choice(chosen.step, score, uncertainty(sound, "mel_distance"), reason)


def finished(evaluations: Sequence[Evaluation]) -> str | None:
    """Why training may stop, a sentence; None while a gain is likely.

    It stops when the last six evaluations brought no gain of two standard errors over all before, neither in
    similarity nor in intelligibility nor in mel distance. The standard error is that between equally good checkpoints:
    one estimated from few evaluations counts the bend of a curve that still rises as noise, and ends runs too early.
    """
    if len(evaluations) <= _PATIENCE:
        return None
    for name in ("similarity", "intelligibility", "mel_distance"):
        values = _means(evaluations, name)
        if len(values) and values[-_PATIENCE:].max() > values[:-_PATIENCE].max() + 2 * _least(evaluations, name):
            return None
    return (
        f"The last {_PATIENCE} evaluations brought no gain in similarity, intelligibility or distance to the held-out "
        f"recordings over those up to step {evaluations[-_PATIENCE - 1].step}."
    )


def uncertainty(evaluations: Sequence[Evaluation], name: str) -> float:
    """One standard error of the mean of the score `name` over the clips.

    What a score differs between neighbouring checkpoints beyond a straight line through three of them (the median, so
    that a spoiled one doesn't count), but at least what clips differ by between equally good checkpoints.
    """
    values = _means(evaluations, name)
    least = _least(evaluations, name)
    if len(values) < 6:
        return least
    bends = values[2:] - 2 * values[1:-1] + values[:-2]  # of independent values their deviation is sqrt(6) times one's
    return max(least, float(1.4826 * np.median(np.abs(bends)) / np.sqrt(6)))


def _least(evaluations: Sequence[Evaluation], name: str) -> float:
    clips = max(1, min((len(evaluation.of_score(name)) for evaluation in evaluations), default=1))
    return _NOISE[name] / float(np.sqrt(clips))


def _means(evaluations: Sequence[Evaluation], name: str) -> Floats:
    """The mean score of each evaluation, its sign such that more is better; empty if one doesn't have it."""
    values = [evaluation.of_score(name) for evaluation in evaluations]
    if not all(values):
        return np.zeros(0)
    return _BETTER[name] * np.array([float(np.mean(value)) for value in values])


def _without_outliers(values: Floats) -> Floats:
    """Every value but the first and the last replaced by the median of it and its neighbours."""
    if len(values) < 3:
        return values
    inner = np.median([values[:-2], values[1:-1], values[2:]], axis=0)
    return np.concatenate([values[:1], inner, values[-1:]])


def _unbroken(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Those without silence and clicks that others don't have."""
    means = [evaluation.means() for evaluation in evaluations]
    least = {name: min(mean.get(name, 0.0) for mean in means) for name in _BROKEN}
    return [
        evaluation
        for evaluation, mean in zip(evaluations, means, strict=True)
        if all(mean.get(name, 0.0) <= least[name] + limit for name, limit in _BROKEN.items())
    ] or list(evaluations)


def _reason(chosen: Evaluation, score: float, *, of: int, sound: int, kept: int) -> str:
    sentence = (
        f"Step {chosen.step} has the smallest distance to the held-out recordings ({score:.3f}), of the {kept} of {of} "
        "that are about as intelligible and as true to the pitch as the best"
    )
    if of > sound:
        sentence += f"; {of - sound} with clicks or silence {'was' if of - sound == 1 else 'were'} left out"
    return sentence + "."
