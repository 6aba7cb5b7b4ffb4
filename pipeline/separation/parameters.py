"""Parameters of MDX-Net and VR networks that are not in their files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from understudy.models.hashes import opened_model
from understudy.pipeline.separation.configuration import EXTENSIONS, read_configuration

TAIL = 10_000 * 1024
"""Bytes at a file's end whose MD5 names it in the lists."""

_OTHER_NAMES = {  # what Ultimate Vocal Remover calls the same
    "mdx_dim_f_set": "dim_f",
    "mdx_n_fft_scale_set": "n_fft",
    "vr_model_param": "bands",
    "is_karaoke": "karaoke",
    "is_bv_model_rebalanced": "backing",
}


def parameters(path: Path) -> Mapping[str, Any] | None:
    """The parameters of the file at `path`, None where none are known: from a file ``NAME.yaml`` beside it (by our
    names or those of Ultimate Vocal Remover's lists), else from `configs/separation_parameters.yaml`.

    MDX-Net: ``dim_f``, ``dim_t`` (frames), ``n_fft``, ``compensate``, ``primary_stem``, maybe ``karaoke``. VR:
    ``bands`` (the name of the set of bands), ``primary_stem``, maybe ``nout``, ``nout_lstm``, ``karaoke``,
    ``backing``. Raises ``model-unreadable``, and ``model-invalid`` for a file beside it that is no YAML.
    """
    beside = beside_it(path)
    if beside is not None:
        return MappingProxyType(_our_names(read_configuration(beside)))
    return known().get(tail_md5(path))


def beside_it(path: Path) -> Path | None:
    """``NAME.yaml`` beside ``NAME.onnx`` or ``NAME.pth``."""
    return next((other for extension in EXTENSIONS if (other := path.with_suffix(extension)).is_file()), None)


@cache
def known() -> Mapping[str, Mapping[str, Any]]:
    """The shipped parameters by MD5 of the files' ends."""
    text = (files("understudy.configs") / "separation_parameters.yaml").read_text("utf-8")
    families = yaml.safe_load(text)
    return MappingProxyType(
        {md5: MappingProxyType(facts) for family in families.values() for md5, facts in family.items()}
    )


def tail_md5(path: Path) -> str:
    """MD5 in hex of the last `TAIL` bytes of a file. Raises ``model-unreadable``."""
    with opened_model(path) as file:
        file.seek(-min(TAIL, path.stat().st_size), 2)
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _our_names(values: Mapping[str, Any]) -> dict[str, Any]:
    found = {_OTHER_NAMES.get(name, name): value for name, value in values.items()}
    logarithm = found.pop("mdx_dim_t_set", None)
    if isinstance(logarithm, int) and 0 <= logarithm < 20:
        found["dim_t"] = 1 << logarithm
    return found
