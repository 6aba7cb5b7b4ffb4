"""G_ and D_ files: the generator and the discriminators of a run, as RVC WebUI and Applio store them.

They are the base that a training begins with (RVC's own, ``f0G48k.pth`` and ``f0D48k.pth``, or anybody's), and what a
run leaves behind so that it can be continued elsewhere. A file holds ``model`` (tensors), and those of a run also
``iteration`` (the epoch), ``optimizer`` and ``learning_rate``. It is untrusted: `torch_file` reads tensors only, and
every tensor's name and shape must be the network's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from understudy.disk import replacing
from understudy.errors import UnderstudyError
from understudy.models import torch_file
from understudy.voices.names import printable
from understudy.voices.rvc.architecture import (
    UPSAMPLING,
    Architecture,
    Shape,
    published,
    spectrum_bins,
    tensor_shapes,
    tiny,
)
from understudy.voices.rvc.checkpoint import LARGEST, old_name
from understudy.wording import counted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from understudy.voices.rvc.training.networks import Base, Tool
    from understudy.voices.rvc.training.step import TrainingState

Side = Literal["generator", "discriminator"]
_LETTER = {"generator": "G", "discriminator": "D"}
_MOST_SPEAKERS = 10_000


def read_base(generator: Path, discriminator: Path, architecture: Architecture) -> Base:
    """The pair of files, whose networks must be those of `architecture`, apart from the number of speakers.

    Raises `UnderstudyError`: ``base-mismatch`` for files of another version, sample rate or pitch guidance,
    ``base-invalid`` for files that are no such pair or whose tensors are wrong, and those of `torch_file.load`.
    """
    from understudy.voices.rvc.training.networks import Base

    weights = _read(generator, "generator")
    speakers = weights["emb_g.weight"].shape[0] if weights.get("emb_g.weight") is not None else 0
    if not 1 <= speakers <= _MOST_SPEAKERS:
        raise _invalid(generator, f"it has {counted(speakers, 'speaker')}")
    architecture = replace(architecture, speakers=speakers)
    _check(weights, "generator", architecture, generator)
    judges = _read(discriminator, "discriminator")
    _check(judges, "discriminator", architecture, discriminator)
    return Base(architecture, weights, judges)


def write_pair(
    state: TrainingState, generator: Path, discriminator: Path, epoch: int, learning_rate: float, tool: Tool = "rvc"
) -> None:
    """Write both networks and their optimisers, so that `tool` resumes after `epoch`; overwrites.

    `learning_rate`: that of the first epoch, from which the tools count down. Raises `UnderstudyError` ``disk-full``
    and ``output-not-writable``; leaves no half file.
    """
    import torch

    from understudy.voices.rvc.training.networks import in_rvc_order

    parts = (
        (generator, state.generator, state.optimizer_g),
        (discriminator, state.discriminator, state.optimizer_d),
    )
    for path, network, optimizer in parts:
        ordered = in_rvc_order(network, tool)
        document = {
            "model": {name: parameter.detach() for name, parameter in ordered.items()},
            "iteration": epoch,
            "optimizer": _numbered(optimizer, list(ordered.values()), learning_rate),
            "learning_rate": learning_rate,
        }
        with replacing(path) as part, part.open("wb") as file:
            torch.save(document, file)


def _numbered(optimizer: Any, ordered: list[nn.Parameter], learning_rate: float) -> dict[str, Any]:
    """The optimiser's state with the parameters numbered in this order, and with how it is computed left open."""
    stored = optimizer.state_dict()
    numbers = {id(parameter): number for number, parameter in enumerate(optimizer.param_groups[0]["params"])}
    order = [numbers[id(parameter)] for parameter in ordered]
    group = stored["param_groups"][0] | {"fused": None, "foreach": None, "initial_lr": learning_rate}
    return {
        "state": {place: stored["state"][number] for place, number in enumerate(order) if number in stored["state"]},
        "param_groups": [group | {"params": list(range(len(order)))}],
    }


def _read(path: Path, side: Side) -> dict[str, Tensor]:
    """The tensors of a file under RVC's names; refuses files that hold another kind of model."""
    import torch

    document = torch_file.load(path, LARGEST, unknown="ignore")
    if not isinstance(document, dict):
        raise _invalid(path, "it holds no dict of weights")
    if isinstance(document.get("weight"), dict) and "config" in document:
        raise _invalid(path, "it is a finished voice, which lacks what only training needs")
    state = document.get("model", document)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise _invalid(path, "it holds no dict of weights")
    weights = {old_name(name.removeprefix("module.")): tensor for name, tensor in state.items()}
    found: Side | None = (
        "discriminator"
        if any(name.startswith("discriminators.") for name in weights)
        else "generator"
        if any(name.startswith("enc_p.") for name in weights)
        else None
    )
    if found is None:
        raise _invalid(path, f"it is no {_LETTER[side]} file of RVC")
    if found != side:
        raise _invalid(path, f"it is a {_LETTER[found]} file (the {found}) where the {_LETTER[side]} file belongs")
    for name, tensor in weights.items():
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise _invalid(path, f"{_short(name)} is not a tensor of numbers")
    return weights


def _check(weights: Mapping[str, Tensor], side: Side, wanted: Architecture, path: Path) -> None:
    import torch

    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    shapes = _shapes(side, wanted)
    if found != shapes:
        others = (kind for kind in _kinds(wanted) if kind != wanted)
        actual = next((kind for kind in others if _fits(found, side, kind)), None)
        if actual is not None:
            raise UnderstudyError(
                "base-mismatch",
                f"{path} is a base for {_described(actual, side)}; this training is for {_described(wanted, side)}.",
                "Give the base of that kind, or train the kind of this base.",
            )
        wrong = next(name for name in [*shapes, *found] if shapes.get(name) != found.get(name))
        if wrong not in found:
            raise _invalid(path, f"the tensor {wrong} is missing")
        if wrong not in shapes:
            raise _invalid(path, f"the tensor {_short(wrong)} belongs to no such network")
        raise _invalid(path, f"the tensor {wrong} has the shape {found[wrong][:6]} where {shapes[wrong]} belongs")
    broken = next((name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())), None)
    if broken is not None:
        raise _invalid(path, f"the tensor {broken} holds values that are not finite")


def _kinds(like: Architecture) -> Iterator[Architecture]:
    for f0 in (True, False):
        for version, rate in UPSAMPLING:
            yield published(version, rate, f0, like.speakers)
        yield replace(tiny("v1", f0), speakers=like.speakers)
        yield replace(tiny("v2", f0), speakers=like.speakers)


def _fits(found: Mapping[str, Shape], side: Side, kind: Architecture) -> bool:
    if side == "discriminator":
        return found == _shapes(side, kind)
    needed = {name: shape for name, shape in found.items() if not name.startswith("enc_q.")}
    bins = found.get("enc_q.pre.weight", (0, 0))[1:2]
    return needed == tensor_shapes(kind) and bins == (spectrum_bins(kind.sample_rate),)


def _shapes(side: Side, architecture: Architecture) -> dict[str, Shape]:
    import torch

    from understudy.voices.rvc.training.discriminators import Discriminators
    from understudy.voices.rvc.training.networks import Generator

    with torch.device("meta"):
        network = Generator(architecture) if side == "generator" else Discriminators(architecture)
    return {old_name(name): tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _described(architecture: Architecture, side: Side) -> str:
    if side == "discriminator":  # which don't depend on the rate or on pitch
        size = "tiny " if architecture.upsample_channels < 512 else ""
        return f"{size}{architecture.version} models"
    pitch = "with" if architecture.f0 else "without"
    return f"{architecture.version} models at {architecture.sample_rate / 1000:g} kHz {pitch} pitch"


def _short(text: str) -> str:
    return printable(text[:80]) + ("…" if len(text) > 80 else "")


def _invalid(path: Path, why: str) -> UnderstudyError:
    return UnderstudyError(
        "base-invalid",
        f"{path} can't be the base of a training: {why}.",
        "Give the G and D files that belong together, as RVC publishes them or its trainer leaves them.",
    )
