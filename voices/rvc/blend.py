"""Blending two RVC models to a voice between both: the weighted mean of their weights, as RVC WebUI and Applio have it.

It works for models that were trained from the same base model; others have nothing in common weight by weight.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UnderstudyError
from understudy.voices import library, names
from understudy.voices.consent.levels import require
from understudy.voices.recordings import Finding
from understudy.voices.rvc.architecture import Architecture
from understudy.voices.rvc.checkpoint import Checkpoint, read_checkpoint
from understudy.voices.rvc.checks import model_findings, no_index_finding
from understudy.voices.rvc.importing import settle_model
from understudy.voices.rvc.storing import store_model
from understudy.voices.voice import MODEL, Consent, PitchRange, Voice

if TYPE_CHECKING:
    from torch import Tensor

_SPEAKERS = "emb_g.weight"


def blend(
    root: Path, first: str, second: str, ratio: float, name: str, *, replace: bool = False
) -> tuple[Voice, list[Finding]]:
    """Make the voice `name` from the models of two voices: `ratio` (0..1) of the `first`, the rest of the `second`.

    It has no index, as with other tools: neither's features are those of the blend. Its consent is the weaker of both:
    ``granted`` if either is, and as limited as both together. Its pitch range lies between theirs. Raises
    `UnderstudyError` ``ratio-invalid``, ``engine-missing`` for a voice without a model, ``models-differ`` for models of
    other sizes, versions, sample rates, embedders or pitch guidance, and those of `library.load`, `library.settle` and
    `levels.require`.
    """
    name = names.valid_name(name)
    if not 0 <= ratio <= 1:
        raise UnderstudyError(
            "ratio-invalid", f"The ratio {ratio} is not from 0 to 1.", "0.5 takes half of each voice."
        )
    voices = library.load(root, first, "rvc"), library.load(root, second, "rvc")
    for voice in voices:
        require(voice.manifest, "blend")
    checkpoints = read_checkpoint(voices[0].model_file), read_checkpoint(voices[1].model_file)
    speakers = tuple(voice.manifest.model.speaker if voice.manifest.model else 0 for voice in voices)
    mixed = mix(*checkpoints, ratio, (speakers[0], speakers[1]))
    consent: Consent = "granted" if any(voice.manifest.consent == "granted" for voice in voices) else "self"
    between = _between(voices[0].pitch_range, voices[1].pitch_range, ratio)
    with library.building(root) as folder:
        (folder / MODEL).mkdir()
        mixed.info.update(info=f"{ratio:g} {first}, {1 - ratio:g} {second}", embedder_model=checkpoints[0].embedder)
        speaker = singer(speakers[0], mixed.architecture.speakers)
        model = store_model(mixed, folder / MODEL, f"{first} + {second}", speaker)
        parents = [voice.manifest for voice in voices]
        voice = settle_model(root, folder, name, model, consent, between, replace=replace, parents=parents)
    return voice, [*model_findings(mixed), no_index_finding()]


def mix(first: Checkpoint, second: Checkpoint, ratio: float, speakers: tuple[int, int] = (0, 0)) -> Checkpoint:
    """The weighted mean of all weights, in float16, with as many speakers as the model with fewer has.

    `speakers`: which of its speakers sings in each. Where the numbers differ, the second's takes the place of the
    first's, so that the mean is of the two voices. Raises ``models-differ``.
    """
    _refuse_different(first, second)
    count = min(first.architecture.speakers, second.architecture.speakers)
    place = singer(speakers[0], count)
    weights = {
        name: (
            ratio * _placed(name, tensor, speakers[0], place, count).float()
            + (1 - ratio) * _placed(name, second.weights[name], speakers[1], place, count).float()
        ).half()
        for name, tensor in first.weights.items()
    }
    return Checkpoint(replace(first.architecture, speakers=count), weights)


def singer(speaker: int, count: int) -> int:
    """The place of the speaker that sings, among `count`."""
    return speaker if speaker < count else 0


def _placed(name: str, tensor: Tensor, speaker: int, place: int, count: int) -> Tensor:
    """The table of speakers cut to `count`, with `speaker` at `place`; other tensors as they are."""
    if name != _SPEAKERS:
        return tensor
    rows = list(range(len(tensor)))
    rows[place], rows[speaker] = rows[speaker], rows[place]
    return tensor[rows[:count]]


def _refuse_different(first: Checkpoint, second: Checkpoint) -> None:
    names_of = {"f0": "pitch guidance (f0)", "sample_rate": "sample rate"}
    one, other = first.architecture, second.architecture
    differing = [
        f"{names_of.get(field.name, field.name.replace('_', ' '))} {getattr(one, field.name)} and "
        f"{getattr(other, field.name)}"
        for field in fields(Architecture)
        if field.name != "speakers" and getattr(one, field.name) != getattr(other, field.name)
    ]
    if first.embedder != second.embedder:
        differing.append(f"embedder {first.embedder} and {second.embedder}")
    if differing:
        raise UnderstudyError(
            "models-differ",
            f"These models can't be blended, they are of different kinds: {'; '.join(differing[:4])}.",
            "Blend models of the same version, sample rate and embedder, best of all from the same base model.",
        )


def _between(first: PitchRange | None, second: PitchRange | None, ratio: float) -> PitchRange | None:
    """The weighted geometric mean of both ranges, or the one that is known."""
    if first is None or second is None:
        return first or second

    def mean(one: float, other: float) -> float:
        return round(math.exp(ratio * math.log(one) + (1 - ratio) * math.log(other)), 2)

    return PitchRange(
        low=mean(first.low, second.low), median=mean(first.median, second.median), high=mean(first.high, second.high)
    )
