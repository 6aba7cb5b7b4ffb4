"""`Checkpoint`: a trained RVC model as read from its file, validated tensor by tensor, and writing it again.

A `.pth` and its safetensors form hold ``weight`` (tensors), ``config`` (18 values, the sizes), ``version``, ``f0``,
``sr`` and metadata. Other tools load wrong files and produce noise with them; here every tensor must have the name and
shape that follow from the sizes, or the file is rejected with the names of the wrong tensors.

The file is untrusted: `torch_file` unpickles tensors only, every value of the config is bounded before a size is
derived from it, and texts are shortened before they appear in messages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from understudy.disk import reading
from understudy.errors import UnderstudyError
from understudy.models import safetensors_file, torch_file
from understudy.models.safetensors_file import is_safetensors
from understudy.voices.names import printable
from understudy.voices.rvc.architecture import (
    CONTENT_CHANNELS,
    UPSAMPLING,
    Architecture,
    Shape,
    published,
    spectrum_bins,
    tensor_shapes,
)
from understudy.voices.rvc.embedders import embedder_name
from understudy.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 2 << 30  # bytes; a checkpoint of training with its optimiser has 0.5 GB, a voice 0.06 GB
INFO = (
    "info", "author", "model_name", "epoch", "step", "creation_date", "dataset_length", "model_hash", "embedder_model",
    "vocoder", "speakers_id", "speaker",
)  # fmt: skip
_MOST_VALUES = 200_000_000
_LONGEST_TEXT = 1000
_VOCODERS = ("", "hifi-gan", "hifigan", "hifi-gan-nsf", "nsf-hifi-gan")
_ANOTHER = "Ask whoever made the model for another copy, or choose another model."


@dataclass(frozen=True)
class Checkpoint:
    """`weights`: contiguous tensors under RVC's names, with the values and dtypes of the file (float16, bfloat16 or
    float32), weight-norm pairs not folded. `info`: metadata, those fields of `INFO` that the file has, as short texts
    and numbers. `training`: it was read from a training checkpoint, not from a finished voice."""

    architecture: Architecture
    weights: dict[str, Tensor]
    info: dict[str, str | int | float | bool] = field(default_factory=dict)
    training: bool = False

    @property
    def embedder(self) -> str:
        """The name of the embedder whose content features the model was trained on."""
        return embedder_name(str(self.info.get("embedder_model", "")))


def read_checkpoint(path: Path) -> Checkpoint:
    """The model in the `.pth` or `.safetensors` file at `path`; nothing in the file is executed.

    Raises `UnderstudyError`: ``file-not-found``, ``model-damaged``, ``model-too-large``, ``model-unsafe``,
    ``archive-refused`` (a bad `.pth`), ``model-not-rvc`` for other kinds of models, ``model-unsupported`` for RVC
    models with another vocoder, ``model-invalid`` with what is wrong with its sizes or tensors.
    """
    with reading(path), path.open("rb") as file:
        start = file.read(64)
    refuse_other_kinds(start, path)
    document = _read_safetensors(path) if is_safetensors(path) else torch_file.load(path, LARGEST)
    return _checked(document, path)


def write_pth(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` as RVC itself does, for other tools to load; overwrites. Raises `OSError`."""
    import torch

    with path.open("wb") as file:  # given a path, torch would turn an OSError into a RuntimeError
        torch.save({"weight": dict(checkpoint.weights), **_header(checkpoint)}, file)


def write_safetensors(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` as safetensors; overwrites. The same checkpoint gives the same bytes. The other entries of a
    `.pth` are JSON in the metadata, under ``rvc``. Raises `OSError`."""
    from safetensors.torch import save

    metadata = {"rvc": json.dumps(_header(checkpoint), sort_keys=True)}
    path.write_bytes(save(checkpoint.weights, metadata))


def config_list(architecture: Architecture) -> list[Any]:
    """The sizes as the 18 positional values of a `.pth`."""
    a = architecture
    return [
        spectrum_bins(a.sample_rate),
        32,  # frames of a training segment
        a.latent_channels, a.hidden_channels, a.filter_channels, a.heads, a.layers, a.kernel,
        0,  # dropout
        "1",  # kind of residual block
        list(a.resblock_kernels), [list(row) for row in a.resblock_dilations], list(a.upsample_rates),
        a.upsample_channels, list(a.upsample_kernels), a.speakers, a.speaker_channels, a.sample_rate,
    ]  # fmt: skip


def _header(checkpoint: Checkpoint) -> dict[str, Any]:
    architecture = checkpoint.architecture
    return {
        "config": config_list(architecture),
        "info": "",
        "sr": f"{architecture.sample_rate / 1000:g}k",
        "f0": int(architecture.f0),
        "version": architecture.version,
        **checkpoint.info,
    }


_UNPACK = "Unpack it and import the folder, or pack it as a zip."
# first bytes of a file, what it is, and the hint
_SIGNATURES = (
    ((b"Iw", b"Ix"), "a faiss index, which goes along with a model", "Import the model's .pth, and this with --index."),
    ((b"Rar!",), "a RAR archive", _UNPACK),
    ((b"7z\xbc\xaf",), "a 7z archive", _UNPACK),
    ((b"\x1f\x8b",), "a gzip archive", _UNPACK),
    ((b"version https://git-lfs",), "the stand-in that Git LFS leaves for a file", "Download the file itself."),
    ((b"<",), "a web page; the download went wrong", "Download the file itself."),
    ((b"{",), "a text", "Give the model's .pth."),
    ((b"GGUF",), "a language model", "Give the .pth of an RVC voice."),
    ((b"RIFF", b"fLaC", b"OggS", b"ID3"), "a recording", "Recordings become a voice with `understudy voices add`."),
    ((b"\x89PNG", b"\xff\xd8\xff"), "a picture", "Give the model's .pth."),
)


def refuse_other_kinds(start: bytes, path: Path) -> None:
    """Raise ``model-not-rvc`` where the first bytes of a file or its name show that it is of another type."""
    for signatures, what, hint in _SIGNATURES:
        if start.startswith(signatures):
            raise UnderstudyError("model-not-rvc", f"{path} is {what}.", hint)
    if path.suffix.lower() == ".onnx":
        hint = "Give the .pth that it was made from."
        raise UnderstudyError("model-not-rvc", f"{path} is a model exported for ONNX, which can't be used here.", hint)
    if not start:
        raise UnderstudyError("model-damaged", f"{path} is empty.", _ANOTHER)


def _read_safetensors(path: Path) -> dict[str, Any]:
    weights, metadata = safetensors_file.load(path, LARGEST)
    stated = _json(metadata.pop("rvc", None))
    described = stated if isinstance(stated, dict) else {key: _json(value) for key, value in metadata.items()}
    return {**described, "weight": weights} if "config" in described else weights


def _json(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text


def _checked(document: Any, path: Path) -> Checkpoint:
    state, config = _parts(document, path)
    beside = document if config is not None else {}
    _refuse_other_networks(beside, path)
    weights = _renamed(state, path)
    architecture = _deduced(weights, state, path) if config is None else _stated(config, beside, weights, path)
    shapes = tensor_shapes(architecture)
    _check_tensors(weights, shapes, path)
    owned = {name: _owned(weights[name]) for name in shapes}
    return Checkpoint(architecture, owned, _info(beside), training=config is None)


def _parts(document: Any, path: Path) -> tuple[Mapping[Any, Any], list[Any] | None]:
    """The state dict and the config of a finished voice, or the state dict of a training checkpoint and None."""
    if not isinstance(document, dict):
        raise _not_rvc(path, "it holds no dict of weights")
    weight, config, model = document.get("weight"), document.get("config"), document.get("model")
    if isinstance(weight, dict) and isinstance(config, list | tuple):
        return weight, list(config)
    if isinstance(weight, dict) and isinstance(config, dict):
        raise _not_rvc(path, "it looks like a GPT-SoVITS model")
    for state in (weight, model, document):
        if isinstance(state, dict):
            if any(isinstance(name, str) and name.startswith("discriminators.") for name in state):
                raise _not_rvc(path, "it is a discriminator (a D file), which is only used in training")
            if "enc_p.emb_phone.weight" in state:
                return state, None
            if any(isinstance(name, str) and name.startswith("f0_decoder.") for name in state):
                raise _not_rvc(path, "it looks like a so-vits-svc model")
            if any(isinstance(name, str) and name.startswith("unet.encoder.") for name in state):
                raise _not_rvc(path, "it looks like RMVPE, the pitch tracker; `understudy models add` takes it")
            if any(isinstance(name, str) and name.startswith("encoder.layers.") for name in state):
                raise _not_rvc(path, "it looks like the content encoder; `understudy models add` takes it")
    raise _not_rvc(path, "it has no 'weight' and 'config' as an RVC model has")


def _refuse_other_networks(document: Mapping[Any, Any], path: Path) -> None:
    vocoder = document.get("vocoder")
    if isinstance(vocoder, str) and vocoder.lower() not in _VOCODERS:
        raise UnderstudyError(
            "model-unsupported",
            f"{path} is an RVC model with the vocoder {_shorten(vocoder)}; only HiFi-GAN, RVC's own, is supported.",
            "Ask its maker for a model trained with the vocoder HiFi-GAN, or train one.",
        )


def old_name(name: str) -> str:
    """A weight-norm tensor's name as RVC stores it, for one with the name that torch gives it now."""
    name = name.replace(".parametrizations.weight.original0", ".weight_g")
    return name.replace(".parametrizations.weight.original1", ".weight_v")


def _renamed(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The tensors that inference needs, weight-norm pairs under their old names."""
    import torch

    weights: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise _invalid(path, "the name of a tensor is not a text")
        if "enc_q" in name:
            continue  # the posterior encoder, used in training only
        name = old_name(name)
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise _invalid(path, f"{_shorten(name)} is not a tensor")
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise _invalid(path, f"{_shorten(name)} has the dtype {tensor.dtype}")
        if name in weights:
            raise _invalid(path, f"it holds {_shorten(name)} twice")
        weights[name] = tensor.detach()
    return weights


def _deduced(weights: Mapping[str, Tensor], state: Mapping[Any, Any], path: Path) -> Architecture:
    """The sizes of a training checkpoint, which has no config: those of the published kind with these very tensors."""
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    bins = tuple(getattr(state.get("enc_q.pre.weight"), "shape", ()))[1:2]
    for version, rate in UPSAMPLING:
        for f0 in (True, False):
            speakers = shapes.get("emb_g.weight", (0,))[:1]
            if not speakers or not 1 <= speakers[0] <= _MOST_SPEAKERS:
                continue
            architecture = published(version, rate, f0, speakers[0])
            if tensor_shapes(architecture) == shapes and bins in ((), (spectrum_bins(rate),)):
                return architecture
    raise _invalid(path, "it is a training checkpoint, and its tensors match no published kind of RVC model")


_MOST_SPEAKERS = 10_000
# position in the config, the field of `Architecture`, what it is, smallest and largest
_NUMBERS = (
    (2, "latent_channels", "inter channels", 2, 1024),
    (3, "hidden_channels", "hidden channels", 2, 1024),
    (4, "filter_channels", "filter channels", 1, 8192),
    (5, "heads", "heads", 1, 64),
    (6, "layers", "layers", 1, 32),
    (7, "kernel", "kernel size", 1, 31),
    (13, "upsample_channels", "initial upsample channels", 2, 4096),
    (16, "speaker_channels", "speaker channels", 1, 2048),
    (17, "sample_rate", "sample rate", 8000, 96000),
)


def _stated(config: list[Any], document: Mapping[Any, Any], weights: Mapping[str, Tensor], path: Path) -> Architecture:
    if len(config) != 18:
        raise _invalid(path, f"its config has {counted(len(config), 'value')} and not 18")
    number: dict[str, int] = {}
    for position, name, what, least, most in _NUMBERS:
        value = config[position]
        if type(value) is not int or not least <= value <= most:
            raise _invalid(path, f"the {what} in its config ({_shorten(_plain(value))}) must be {least} to {most}")
        number[name] = value
    if config[9] not in ("1", 1):
        raise UnderstudyError(
            "model-unsupported", f"{path} is an RVC model with residual blocks of another kind than all others.",
            "Choose another model.",
        )  # fmt: skip
    rates = _integers(config[12], "upsample rates", 8, 64, path)
    kernels = _integers(config[14], "upsample kernels", 8, 256, path)
    resblock_kernels = _integers(config[10], "residual blocks' kernels", 8, 63, path)
    rows = config[11]
    if not isinstance(rows, list | tuple) or len(rows) != len(resblock_kernels):
        raise _invalid(path, "its config has other numbers of residual blocks' kernels and dilations")
    dilations = tuple(_integers(row, "dilations", 3, 64, path) for row in rows)
    channels = number["upsample_channels"]
    for wrong, why in (
        (number["latent_channels"] % 2, "an odd number of inter channels"),
        (number["hidden_channels"] % number["heads"], "hidden channels that its heads can't share"),
        (any(len(row) != 3 for row in dilations), "residual blocks with other than three dilations"),
        (any(size % 2 == 0 for size in resblock_kernels), "residual blocks with even kernels"),
        (len(rates) != len(kernels), "other numbers of upsample rates and kernels"),
        (any(k < r or (k - r) % 2 for r, k in zip(rates, kernels, strict=False)), "upsample kernels that don't fit"),
        (channels % 2 ** len(rates), "initial upsample channels that can't be halved at every stage"),
        (math.prod(rates) * 100 != number["sample_rate"], "a sample rate that isn't 100 times its samples a frame"),
    ):
        if wrong:
            raise _invalid(path, f"its config has {why}")
    return Architecture(
        version=_version(document.get("version"), weights, path),
        f0=_guided(document.get("f0"), weights, path),
        upsample_rates=rates,
        upsample_kernels=kernels,
        speakers=_speakers(weights, path),  # the number in the config is wrong in many files
        resblock_kernels=resblock_kernels,
        resblock_dilations=dilations,
        **number,
    )


def _integers(values: Any, what: str, longest: int, most: int, path: Path) -> tuple[int, ...]:
    if (
        not isinstance(values, list | tuple)
        or not 1 <= len(values) <= longest
        or any(type(value) is not int or not 1 <= value <= most for value in values)
    ):
        raise _invalid(path, f"the {what} in its config ({_shorten(_plain(values))}) make no sense")
    return tuple(values)


def _version(stated: Any, weights: Mapping[str, Tensor], path: Path) -> Literal["v1", "v2"]:
    """The version, by the width of the content features. The file's entry may be missing, but not contradict."""
    shape = _shape(weights, "enc_p.emb_phone.weight", 2, path)
    found: dict[int, Literal["v1", "v2"]] = {CONTENT_CHANNELS["v1"]: "v1", CONTENT_CHANNELS["v2"]: "v2"}
    if shape[1] not in found:
        raise _invalid(path, f"it takes {shape[1]} content features a frame; RVC has 256 (v1) or 768 (v2)")
    version = found[shape[1]]
    if stated is not None and stated != version:
        raise _invalid(
            path, f"its version is given as {_shorten(_plain(stated))}, but its tensors are those of {version}"
        )
    return version


def _guided(stated: Any, weights: Mapping[str, Tensor], path: Path) -> bool:
    has = "enc_p.emb_pitch.weight" in weights
    plain = str(stated).lower() if isinstance(stated, str | bool) or stated in (0, 1) else ""
    claimed = {"1": True, "0": False, "true": True, "false": False}.get(plain, has)
    if claimed != has:
        claim = "with" if claimed else "without"
        raise _invalid(path, f"it is marked as a model {claim} pitch guidance (f0), and its tensors contradict that")
    return has


def _speakers(weights: Mapping[str, Tensor], path: Path) -> int:
    count = _shape(weights, "emb_g.weight", 2, path)[0]
    if not 1 <= count <= _MOST_SPEAKERS:
        raise _invalid(path, f"it has {count} speakers")
    return count


def _shape(weights: Mapping[str, Tensor], name: str, axes: int, path: Path) -> tuple[int, ...]:
    if name not in weights:
        raise _invalid(path, f"the tensor {name} is missing")
    shape = tuple(weights[name].shape)
    if len(shape) != axes:
        raise _invalid(path, f"the tensor {name} has {counted(len(shape), 'axis', 'axes')} and not {axes}")
    return shape


def _check_tensors(weights: Mapping[str, Tensor], shapes: Mapping[str, Shape], path: Path) -> None:
    import torch

    if sum(map(math.prod, shapes.values())) > _MOST_VALUES:
        raise _invalid(path, f"it would have more than {_MOST_VALUES // 1_000_000} million values")
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    faults = [
        _listed("missing", [name for name in shapes if name not in found]),
        _listed("unexpected", [name for name in found if name not in shapes]),
        _listed(
            "of another shape",
            [
                f"{name} ({_axes(found[name])} where {_axes(shape)} belongs)"
                for name, shape in shapes.items()
                if found.get(name, shape) != shape
            ],
        ),
    ]
    if any(faults):
        raise _invalid(path, "; ".join(fault for fault in faults if fault))
    broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise _invalid(path, _listed("without finite values", broken))


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    count = f"{counted(len(names), 'tensor')} {'is' if len(names) == 1 else 'are'}"
    return f"{count} {what}: {', '.join(_shorten(name, 160) for name in names[:3])}{more}"


def _axes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape[:6])) or "a number"


def _owned(tensor: Tensor) -> Tensor:
    """A contiguous copy that does not keep the file's storage in memory."""
    import torch

    kept = tensor.float() if tensor.dtype == torch.float64 else tensor
    return kept.clone(memory_format=torch.contiguous_format)


def _info(document: Mapping[Any, Any]) -> dict[str, str | int | float | bool]:
    info: dict[str, str | int | float | bool] = {}
    for key in INFO:
        value = document.get(key)
        if isinstance(value, str) and value.strip():
            info[key] = _shorten(value.strip(), _LONGEST_TEXT)
        elif isinstance(value, bool | int | float) and -(1 << 53) < value < 1 << 53:  # and no NaN
            info[key] = value
    return info


def _plain(value: Any) -> str:
    """Any value of an untrusted file as text of limited length."""
    if isinstance(value, str | int | float | bool) or value is None:
        # Python refuses to convert an integer of thousands of digits
        return repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge number"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(item) if not isinstance(item, list | tuple) else "…" for item in value[:8]) + "]"
    return type(value).__name__


def _shorten(text: str, most: int = 80) -> str:
    return printable(text[:most]) + ("…" if len(text) > most else "")


def _invalid(path: Path, why: str) -> UnderstudyError:
    return UnderstudyError("model-invalid", f"{path} is not a valid RVC model: {why}.", _ANOTHER)


def _not_rvc(path: Path, why: str) -> UnderstudyError:
    return UnderstudyError(
        "model-not-rvc",
        f"{path} isn't an RVC voice model: {why}.",
        "Give the voice's .pth as RVC or Applio exports it (about 55 MB, usually named after the voice).",
    )
