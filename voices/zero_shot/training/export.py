"""Export of a fine-tuned model as seed-vc's training writes it, with its configuration beside it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from understudy.disk import replacing
from understudy.errors import UnderstudyError
from understudy.models import safetensors_file
from understudy.voices import library
from understudy.voices.consent.levels import require
from understudy.voices.voice import Voice

_NORMED = re.compile(r"cfm\.estimator\.(wavenet\..*\.conv|final_layer\.linear)\.weight")
"""Weights that seed-vc keeps as a length and a direction (weight norm)."""


def export_tuned(voice: Voice, path: Path, *, replace: bool = False) -> list[Path]:
    """Write the tuned model of `voice` to `path`, a ``.pth`` in float32, and its configuration beside it under the same
    name, as ``.yml``. Returns the files.

    Raises `UnderstudyError`: ``voice-without-model``, ``file-exists`` unless `replace`, ``disk-full``,
    ``output-not-writable``, those of `library.verify` and `levels.require`. Leaves no half files.
    """
    import torch

    if not voice.tuned_files:
        raise UnderstudyError(
            "voice-without-model",
            f"The voice {voice.name!r} has no fine-tuned model.",
            f"Train one: understudy voices train {voice.name!r} --engine zero-shot.",
        )
    require(voice.manifest, "export")
    library.verify(voice, voice.tuned_files)
    weights, configuration = voice.tuned_files
    beside = path.with_suffix(".yml")
    for target in (path, beside):
        if target.exists() and not (replace and target.is_file()):
            raise UnderstudyError(
                "file-exists", f"{target} exists already.", "Choose another name, or say --overwrite to replace it."
            )
    net: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in safetensors_file.load(weights)[0].items():
        part, _, inner = name.partition(".")
        there, weight = net.setdefault(part, {}), tensor.float()
        if _NORMED.fullmatch(name):
            there[f"{inner}_g"] = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)
            there[f"{inner}_v"] = weight
        else:
            there[inner] = weight
    trained = voice.manifest.tuned.trained if voice.manifest.tuned else None
    with replacing(path) as file, file.open("wb") as stream:
        torch.save({"net": net, "iters": trained.steps if trained else 0, "epoch": 0}, stream)
    with replacing(beside) as file:
        shutil.copyfile(configuration, file)
    return [path, beside]
