"""The engine `rvc`: conversion with trained RVC models.

For other programs:

    from understudy.voices.rvc import load_checkpoint

    voice = load_checkpoint("voice.pth")
    sound = voice.synthesizer.infer(content, coarse, f0, speaker)
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from understudy.models.precision import Precision
    from understudy.voices.rvc.synthesizer import LoadedCheckpoint


def load_checkpoint(
    path: str | PathLike[str], device: str = "cpu", precision: Precision = "float32"
) -> LoadedCheckpoint:
    """The RVC model in the `.pth` or `.safetensors` file at `path`, loaded on the torch device `device`.

    `precision`: float32 equals RVC to rounding; bfloat16 (on a CPU with hardware support) and float16 or bfloat16 on a
    GPU are faster and less exact.
    Raises UnderstudyError for a missing or damaged file and for a model of another kind.
    """
    from understudy.voices.rvc.synthesizer import load  # torch is slow to import

    return load(Path(path), device, precision)
