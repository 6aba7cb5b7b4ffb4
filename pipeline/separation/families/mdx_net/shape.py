"""The sizes of an MDX-Net's input, its gain and its stem: from the file, from what is known of it, or guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.models.installed import Weights
from understudy.models.onnx_file import Graph
from understudy.pipeline.separation.families.tensors import invalid
from understudy.pipeline.separation.parameters import parameters
from understudy.pipeline.separation.stems import canonical_stems, purpose_of

HOP = 1024
"""Frames between spectra, of all networks of the family."""
_GUESSES = {2048: 6144, 2560: 5120, 3072: 6144}
"""The n_fft of most published networks with that many bins."""
_CREDIBLE = (0.9, 1.2)
"""Range of gains that are plausible."""
_NAMED = ("reverb", "vocals", "drums", "bass", "other", "inst", "crowd", "kara")
"""Words in file names that name the stem."""


@dataclass(frozen=True)
class Shape:
    """`bins` of each of `spectra` spectra per window, of `n_fft` frames each; `gain`: to multiply the result
    with."""

    n_fft: int
    bins: int
    spectra: int
    gain: float

    @property
    def window(self) -> int:
        return HOP * (self.spectra - 1)

    @property
    def trim(self) -> int:
        """Frames at either end of a window that fewer of its spectra cover."""
        return self.n_fft // 2


def stem(weights: Weights) -> str:
    """What the network gives, in the design's words. Raises what `parameters` raises."""
    known = parameters(weights.path) or {}
    purpose = "karaoke" if known.get("karaoke") else purpose_of(weights.path.stem)
    return canonical_stems([_primary(weights, known)], purpose)[0]


def read_shape(weights: Weights, graph: Graph) -> tuple[Shape, tuple[str, ...]]:
    """The sizes of the network in the file, and cautions for its user as sentences. Raises ``model-invalid``."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise invalid(
            weights.path, f"it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs instead of one"
        )
    taken = next(iter(graph.inputs.values()))
    sizes = [size or 0 for size in taken]
    if len(sizes) != 4 or sizes[1] != 4 or not (16 <= sizes[2] <= 1 << 15 and 16 <= sizes[3] <= 1 << 12):
        raise invalid(weights.path, f"it takes {described(taken)} instead of 4 channels of spectra of a known size")
    bins, spectra = sizes[2:]
    known = parameters(weights.path)
    for name, there in (("dim_f", bins), ("dim_t", spectra)):
        if known is not None and known.get(name, there) != there:
            raise invalid(weights.path, f"it takes {name} {there}, but its known parameters say {known[name]!r}")
    facts = known or {}
    n_fft, gain = facts.get("n_fft", _guessed(weights, bins)), facts.get("compensate", 1.0)
    least, most = max(2 * HOP, 2 * (bins - 1)), min(1 << 16, HOP * (spectra - 1) // 2)
    if type(n_fft) is not int or n_fft % 2 or not least <= n_fft <= most:
        raise invalid(weights.path, f"spectra of {n_fft!r} frames don't go with {bins} bins and {spectra} spectra")
    cautions = []
    if "n_fft" not in facts:
        cautions.append(
            f"Nothing is known of the model {weights.path.name}; it is run as one with spectra of {n_fft} frames "
            f"that gives the stem {stem(weights)}. If that sounds wrong, put what its publisher says "
            f"(n_fft, compensate, primary_stem) into {weights.path.with_suffix('.yaml').name} beside it."
        )
    if type(gain) not in (int, float) or not _CREDIBLE[0] <= gain <= _CREDIBLE[1]:
        cautions.append(f"The gain {gain!r} given for the model {weights.path.name} can't be right; 1 is used.")
        gain = 1.0
    return Shape(n_fft, bins, spectra, float(gain)), tuple(cautions)


def described(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _primary(weights: Weights, known: Mapping[str, Any]) -> str:
    facts = known.get("primary_stem")
    if isinstance(facts, str):
        return facts
    name = weights.path.stem.lower()
    found = next((word for word in _NAMED if word in name), "vocals")
    return "instrumental" if found in ("inst", "kara") else found


def _guessed(weights: Weights, bins: int) -> int:
    return 16384 if "bass" in weights.path.stem.lower() else _GUESSES.get(bins, max(2 * HOP, 2 * bins))
