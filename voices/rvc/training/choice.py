"""Which checkpoint is the best, when no gain is likely any more, and what would help most.

`choose`, in words: leave out what is broken (silence, clicks). Keep what is as intelligible and as true to the pitch as
the best, within two standard errors. Of these take the greatest similarity to the held-out recordings; of equals the
one that reconstructs them best; of equals the earliest. Without a speaker encoder the reconstruction decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from understudy.audio.pitch import PitchTrack
from understudy.voices.rvc.training.evaluation import Clip, Evaluation
from understudy.voices.transpose import note

Floats = NDArray[np.float64]

# Standard deviation per clip between neighbouring checkpoints that are equally good
_NOISE = {"similarity": 0.011, "intelligibility": 0.006, "f0_error": 0.008, "mel_distance": 0.012}
_BETTER = {"similarity": 1, "intelligibility": 1, "f0_error": -1, "mel_distance": -1}  # sign of better
_PATIENCE = 5  # evaluations without a gain, after which training ends
_BROKEN = {"silent": 0.1, "clicks": 1.0}  # beyond the best checkpoint's
_ENOUGH = 20.0  # seconds of singing in a range of pitch from which on more hardly help
_BAND = 4.0  # semitones of such a range


@dataclass(frozen=True)
class Choice:
    """The chosen checkpoint. `score`: its similarity, or without a speaker encoder its mel distance; `uncertainty`: one
    standard error of it. `reason`: a sentence."""

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
        values = _means(kept, name)
        if len(values):
            near = values >= values.max() - 2 * uncertainty(sound, name)
            kept = [evaluation for evaluation, keep in zip(kept, near, strict=True) if keep]
    main = _main(evaluations)
    tied = kept
    for name in (main, "mel_distance"):
        values = _means(tied, name)
        if len(values):
            near = values >= values.max() - uncertainty(sound, name)
            tied = [evaluation for evaluation, keep in zip(tied, near, strict=True) if keep]
    chosen = tied[0]
    score = chosen.means().get(main, float("nan"))
    return Choice(chosen.step, score, uncertainty(sound, main), _reason(evaluations, sound, kept, tied, main, score))


def finished(evaluations: Sequence[Evaluation]) -> str | None:
    """Why training may stop, a sentence; None while a gain is likely.

    It stops when the last five evaluations brought no gain of two standard errors over all before, neither in
    similarity nor in intelligibility nor in mel distance.
    """
    if len(evaluations) <= _PATIENCE:
        return None
    for name in ("similarity", "intelligibility", "mel_distance"):
        values = _means(evaluations, name)
        if len(values) and values[-_PATIENCE:].max() > values[:-_PATIENCE].max() + 2 * uncertainty(evaluations, name):
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
    clips = max(1, min((len(evaluation.of_score(name)) for evaluation in evaluations), default=1))
    least = _NOISE[name] / float(np.sqrt(clips))
    if len(values) < 6:
        return least
    bends = values[2:] - 2 * values[1:-1] + values[:-2]  # of independent values their deviation is sqrt(6) times one's
    return float(np.clip(1.4826 * np.median(np.abs(bends)) / np.sqrt(6), least, 3 * least))


def _means(evaluations: Sequence[Evaluation], name: str) -> Floats:
    """The mean score of each evaluation, its sign such that more is better; empty if one doesn't have it."""
    values = [evaluation.of_score(name) for evaluation in evaluations]
    if not all(values):
        return np.zeros(0)
    return _BETTER[name] * np.array([float(np.mean(value)) for value in values])


def _main(evaluations: Sequence[Evaluation]) -> str:
    return "similarity" if all(evaluation.of_score("similarity") for evaluation in evaluations) else "mel_distance"


def _unbroken(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Those without silence and clicks that others don't have."""
    means = [evaluation.means() for evaluation in evaluations]
    least = {name: min(mean.get(name, 0.0) for mean in means) for name in _BROKEN}
    return [
        evaluation
        for evaluation, mean in zip(evaluations, means, strict=True)
        if all(mean.get(name, 0.0) <= least[name] + limit for name, limit in _BROKEN.items())
    ] or list(evaluations)


_NAMES = {"similarity": "similarity to the held-out recordings", "mel_distance": "distance to the held-out recordings"}


def _reason(
    evaluations: Sequence[Evaluation],
    sound: Sequence[Evaluation],
    kept: Sequence[Evaluation],
    tied: Sequence[Evaluation],
    main: str,
    score: float,
) -> str:
    extreme = "greatest" if main == "similarity" else "smallest"
    sentence = (
        f"Step {tied[0].step} has the {extreme} {_NAMES[main]} ({score:.3f}) of the {len(kept)} of {len(evaluations)} "
        "checkpoints that are as intelligible and as true to the pitch as the best"
    )
    if len(tied) > 1:
        sentence += f"; it is the earliest of {len(tied)} that are equally good within the uncertainty"
    broken = len(evaluations) - len(sound)
    if broken:
        sentence += f"; {broken} with clicks or silence {'was' if broken == 1 else 'were'} left out"
    return sentence + "."


def advice(training: Sequence[PitchTrack], clips: Sequence[Clip], evaluation: Evaluation | None = None) -> list[str]:
    """What recordings would help most, as sentences, the most helpful first; empty if nothing is lacking.

    `training`: the pitch of what is trained on. `clips`: what is to be sung; ranges of pitch that they ask for and that
    the training has too little of are named. `evaluation`: of the chosen checkpoint.
    """
    has = _semitones([track.f0 for track in training])
    asked = _semitones([clip.performance.pitch.transposed(clip.performance.transpose).f0 for clip in clips])
    seconds = sum(int(track.voiced.sum()) * track.hop for track in training)
    hop = training[0].hop if training else 0.01
    sentences: list[tuple[float, str]] = []
    if len(asked):
        low, high = np.percentile(asked, [3, 97])
        edges = np.linspace(low, high, max(1, round((high - low) / _BAND)) + 1)
        middle = float(np.median(has)) if len(has) else float(np.median(asked))
        for start, stop in pairwise(edges):
            share = float(np.mean((asked >= start) & (asked <= stop)))
            owned = float(np.sum((has >= start - 0.5) & (has <= stop + 0.5))) * hop
            lacking = _ENOUGH - owned
            if lacking >= 5 and share >= 0.05:
                centre = (start + stop) / 2
                kind = "high" if centre > middle + 3 else "low" if centre < middle - 3 else "middle"
                hertz = [note(440 * 2 ** ((edge - 69) / 12)) for edge in (start, stop)]
                sentences.append((
                    lacking * share,
                    f"{lacking:.0f} more seconds of {kind} notes, {hertz[0]} to {hertz[1]}: there are {owned:.0f} s.",
                ))  # fmt: skip
    if seconds < 180:
        sentences.append((
            0.2 * (180 - seconds) / 9,
            f"More singing of any kind: there are {seconds:.0f} s of voice, and up to some 10 minutes more helps.",
        ))  # fmt: skip
    if evaluation is not None:
        means = evaluation.means()
        if means.get("noise", 0) > 6:
            sentences.append((1.0, "Recordings with less noise: the voice sounds noisier than what it sings from."))
    return [sentence for _, sentence in sorted(sentences, key=lambda pair: -pair[0])]


def _semitones(tracks: Sequence[NDArray[np.float32]]) -> Floats:
    """MIDI numbers of all voiced frames."""
    f0 = np.concatenate([f0[f0 > 0] for f0 in tracks]) if tracks else np.zeros(0, np.float32)
    return np.asarray(69 + 12 * np.log2(f0.astype(np.float64) / 440))
