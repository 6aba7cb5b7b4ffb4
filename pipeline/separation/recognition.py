"""The family of networks of a file, by its configuration, its tensors' names or its inputs, without executing anything
in it; and quick checks for files that are no models at all."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError
from understudy.models import onnx_file, safetensors_file, torch_file
from understudy.models.hashes import opened_model
from understudy.pipeline.separation.configuration import EXTENSIONS as YAML
from understudy.pipeline.separation.configuration import configuration_of, read_configuration, required_configuration
from understudy.pipeline.separation.families import pymss_core
from understudy.pipeline.separation.families.tensors import LARGEST, invalid, plain_name, unwrapped
from understudy.pipeline.separation.parameters import beside_it

FAMILIES = ("roformer", "mdx23c", "mdx_net", "vr", "demucs", "open_unmix", "spleeter", "pymss_core")
CHECKPOINTS = (".ckpt", ".pth", ".pt", ".th", ".bin", ".safetensors", ".chpt")
EXTENSIONS = (*CHECKPOINTS, ".onnx")
_TARGETS = {
    "spleeter": ("vocals", "accompaniment", "drums", "bass", "piano", "other"),
    "open_unmix": ("vocals", "drums", "bass", "other"),
}
"""Of families that have a file per stem: the stems in the files' names."""
_TENSORS = (  # family, names that all are among its tensors'
    ("pymss_core", (pymss_core.HYPERACE,)),
    ("pymss_core", ("encoder.0.SDlayer.convs.0.weight",)),
    ("pymss_core", ("bsrnn.band_split.norm_fc_modules.0.norm.weight",)),
    ("pymss_core", ("band_split.norm_fc_modules.0.combined.0.weight",)),
    ("pymss_core", ("BN.0.0.weight", "output.0.0.weight")),
    ("roformer", ("band_split.to_features.0.0.gamma",)),
    ("roformer", ("mask_estimators.0.to_freqs.0.0.0.weight",)),
    ("mdx23c", ("first_conv.weight", "final_conv.0.weight")),
    ("vr", ("stg1_low_band_net.enc1.conv1.conv.0.weight",)),
    ("vr", ("stg1_low_band_net.0.enc1.conv.0.weight",)),
    ("open_unmix", ("input_mean", "output_scale", "fc1.weight", "lstm.weight_ih_l0")),
    ("spleeter", ("conv2d/kernel", "batch_normalization/gamma")),
    ("spleeter", ("conv.weight", "bn.weight", "up1.weight", "up7.weight")),
)
_BEGINNINGS = (  # family, how the names of some tensors begin
    ("roformer", r"band_split\."),
    ("demucs", r"(crosstransformer|freq_emb|encoder\.0\.conv)\."),
    ("spleeter", r"(stems\.\w+\.encoder_layers|(vocals|drums|accompaniment)\.conv_layers)\."),
)
_DEMUCS = "__demucs"
_ZIP_END = 22 + 0xFFFF  # bytes at a zip's end among which its directory's record begins


def recognised(path: Path) -> tuple[str, tuple[Path, ...]]:
    """The family of the file at `path` and the files beside it that go with it.

    Raises `UnderstudyError`: ``model-invalid`` for what is no separation model of a known family, ``model-companion``
    when the configuration that it needs isn't there, and what reading it raises.
    """
    extension = path.suffix.lower()
    if extension in YAML:
        return _by_list(path)
    check_file(path)
    if extension == ".onnx":
        return _by_inputs(path)
    if extension not in EXTENSIONS:
        raise invalid(path, f"its name ends in none of {', '.join(EXTENSIONS)}", "Name the file of the weights.")
    own = beside_it(path)
    family = None if own is None else family_of_configuration(read_configuration(own))
    if own is not None and family is not None:
        hyperace = family == "roformer" and pymss_core.HYPERACE in _tensor_names(path)
        return "pymss_core" if hyperace else family, (own,)
    found = _tensor_names(path)
    family = _by_tensors(path, found)
    if family in ("roformer", "mdx23c", "pymss_core") or (family == "demucs" and _DEMUCS not in found):
        configuration = configuration_of(path)
        if configuration is None:
            raise required_configuration(path, family)
        configured = family_of_configuration(read_configuration(configuration)) or family
        return "pymss_core" if pymss_core.HYPERACE in found else configured, (configuration,)
    if family in _TARGETS:
        return family, _other_stems(path, _TARGETS[family])
    return family, (own,) if own is not None and family == "vr" else ()


def family_at_a_glance(path: Path) -> str | None:
    """The family of a file by its name and its configuration alone; None where only its tensors show it."""
    if path.suffix.lower() == ".onnx":
        return "spleeter" if _target(path, _TARGETS["spleeter"]) else "mdx_net"
    if is_bag(path):
        return "demucs"
    try:
        configuration = configuration_of(path)
        return family_of_configuration(read_configuration(configuration)) if configuration else None
    except UnderstudyError:
        return None  # reported when it is used


def is_bag(path: Path) -> bool:
    """Whether the file at `path` is the list of a bag of Demucs networks."""
    if path.suffix.lower() not in YAML:
        return False
    try:
        return isinstance(read_configuration(path).get("models"), list)
    except UnderstudyError:
        return False


def family_of_configuration(configuration: Mapping[str, Any]) -> str | None:
    """The family whose networks are configured like this; None where it is none of them."""
    model, audio = configuration.get("model"), configuration.get("audio")
    if pymss_core.kind_of(configuration):
        return "pymss_core"
    if model == "htdemucs":
        return "demucs"
    if isinstance(model, Mapping):
        if "freqs_per_bands" in model or "num_bands" in model:
            return "roformer"
        if isinstance(audio, Mapping) and "n_fft" in audio and "num_subbands" in model:
            return "mdx23c"
    return None


def check_file(path: Path) -> None:
    """Raise ``model-invalid`` for a file that at a glance is no model, or a part of one: empty, a web page, a pointer
    to a file kept elsewhere, cut off. ``model-unreadable`` if it can't be read. It takes milliseconds, whatever its
    size."""
    with opened_model(path) as file:
        size = path.stat().st_size
        start = file.read(512)
        file.seek(-min(_ZIP_END, size), 2)
        end = file.read() if start.startswith(b"PK") else b""
    if path.suffix.lower() in YAML:
        return
    if start.startswith(b"PK") and b"PK\5\6" not in end:
        raise invalid(path, "it is cut off: its end is missing")
    plain = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not any(start):
        raise invalid(path, "it is empty" if size == 0 else "it begins with nothing but zeros")
    if plain.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise invalid(path, "it is a web page that was saved under this name")
    if plain.startswith(b"version https://git-lfs"):
        raise invalid(path, "it is only a pointer to a file that is kept elsewhere (Git LFS)")
    if plain.startswith((b'{"', b"not found", b"entry not found", b"access denied", b"invalid use")):
        raise invalid(path, "it is a server's message that was saved under this name")
    if path.suffix.lower() == ".onnx":
        onnx_file.load(path)
    elif safetensors_file.is_safetensors(path):
        _check_safetensors(path, size, start)


def _by_list(path: Path) -> tuple[str, tuple[Path, ...]]:
    """The family of a YAML: the list of a bag of Demucs networks. The error for any other says to name the
    checkpoint."""
    configuration = read_configuration(path)
    signatures = configuration.get("models")
    if not isinstance(signatures, list) or not all(isinstance(signature, str) for signature in signatures):
        raise invalid(
            path,
            "it is a configuration, not weights"
            if family_of_configuration(configuration)
            else "it lists no Demucs networks",
            "Name the checkpoint; its configuration is found beside it.",
        )
    found = []
    for signature in dict.fromkeys(signatures):
        beside = sorted(
            other
            for other in path.parent.glob(f"{glob.escape(signature)}*")
            if other.suffix in CHECKPOINTS and (other.stem == signature or other.stem.startswith(f"{signature}-"))
        )
        if not beside:
            raise UnderstudyError(
                "model-companion",
                f"{path} lists the network {signature!r}, whose file {signature}-….th isn't beside it.",
                f"Put it into {path.parent}.",
            )
        check_file(beside[0])
        found.append(beside[0])
    return "demucs", tuple(found)


def _by_inputs(path: Path) -> tuple[str, tuple[Path, ...]]:
    shapes = list(onnx_file.load(path).inputs.values())
    if len(shapes) == 1 and len(shapes[0]) == 4:
        if shapes[0][1] == 4:
            own = beside_it(path)
            return "mdx_net", () if own is None else (own,)
        if shapes[0][2:] == (512, 1024):
            return "spleeter", _other_stems(path, _TARGETS["spleeter"])
    raise invalid(
        path,
        f"its inputs {shapes} are those of no family of separation networks that Understudy knows in ONNX",
        "MDX-Net takes [batch, 4, bins, frames], Spleeter [2, parts, 512, 1024].",
    )


def _by_tensors(path: Path, found: set[str]) -> str:
    if _DEMUCS in found:
        return "demucs"
    for family, wanted in _TENSORS:
        if all(name in found for name in wanted):
            return family
    for family, beginning in _BEGINNINGS:
        if any(re.match(beginning, name) for name in found):
            return family
    raise invalid(
        path,
        "its tensors are those of no family of separation networks that Understudy knows",
        "Roformer, MDX23C, MDX-Net, VR, Demucs, Open-Unmix, Spleeter, SCNet, Bandit and Apollo are known.",
    )


def _tensor_names(path: Path) -> set[str]:
    """The names of its tensors; `_DEMUCS` alone where it is a Demucs checkpoint as such."""
    if safetensors_file.is_safetensors(path):
        return {plain_name(name) for name in _safetensors_names(path)}
    tree = torch_file.load(path, LARGEST, unknown="ignore")
    if isinstance(tree, Mapping) and {"klass", "state"} <= tree.keys():
        return {_DEMUCS}
    return {plain_name(str(name)) for name in unwrapped(tree)}


def _other_stems(path: Path, targets: tuple[str, ...]) -> tuple[Path, ...]:
    """The files of a model's other stems, where each stem has its own: of the same name but for the stem, or the only
    one as large whose name ends in the beginning of its hash, as the released ones of Open-Unmix do."""
    own = _target(path, targets)
    if own is None:
        return ()
    at = path.name.lower().index(own)
    found = []
    for stem in targets:
        exact = path.parent / (path.name[:at] + stem + path.name[at + len(own) :])
        hashed = sorted(path.parent.glob(f"{stem}-{'[0-9a-f]' * 8}{path.suffix}"))
        alike = [exact] if exact.is_file() else [other for other in hashed if _as_large(path, other)]
        if stem != own and len(alike) == 1:
            found.append(alike[0])
    return tuple(found)


def _as_large(path: Path, other: Path) -> bool:
    size = path.stat().st_size
    return abs(other.stat().st_size - size) < size / 100


def _target(path: Path, targets: tuple[str, ...]) -> str | None:
    """The stem after which a file is named: ``vocals.fp16.onnx``, ``vocals-b62c91ce.pth``,
    ``spleeter-2stems-vocals.onnx``."""
    name = path.stem.lower()
    begins = re.match(rf"({'|'.join(targets)})(?![a-z])", name)
    words = re.findall(r"[a-z]+", name) if "spleeter" in name else []
    return begins[1] if begins else next((stem for stem in targets if stem in words), None)


def _safetensors_names(path: Path) -> set[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as tensors:
            names = set(tensors.keys())
            metadata = tensors.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise invalid(path, f"it is damaged ({_first_line(error)})") from error
    klass = " ".join(str(value) for value in metadata.values())
    return {_DEMUCS} if "HTDemucs" in klass or "HDemucs" in klass else names


def _check_safetensors(path: Path, size: int, start: bytes) -> None:
    """Check that the header is complete and that the tensors it lists lie within the file."""
    header = int.from_bytes(start[:8], "little")
    if 8 + header > size:
        raise invalid(path, "it is cut off within its header")
    _safetensors_names(path)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
