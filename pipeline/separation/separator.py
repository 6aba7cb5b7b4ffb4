"""`separate_with`: the stems of a song by any separator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from understudy.audio.samples import AudioSource
from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models.precision import default_precision
from understudy.models.warm import release
from understudy.pipeline.separation.custom import run_custom
from understudy.pipeline.separation.settings import InferenceSettings

if TYPE_CHECKING:
    from understudy.pipeline.separation.models import SeparatorModel
    from understudy.pipeline.separation.network import Network


def separate_with(
    context: Context, song: AudioSource, model: SeparatorModel, settings: InferenceSettings
) -> Mapping[str, AudioFile]:
    """The stems of `song` by name as `model` gives them: files in `context.folder` with the song's rate, channels and
    length, sample-aligned with it. The embedded separator has no `settings`.

    Raises `UnderstudyError` for weights that can't be used, and ``separator-failed`` naming the model where its network
    does not work on them.
    """
    if model.custom is not None:
        return run_custom(context, song, model.custom)
    if model.weights is None:
        from understudy.pipeline.separation.embedded.separate import separate_embedded

        return separate_embedded(context, song)
    import torch

    from understudy.pipeline.separation.inference import infer

    try:
        return infer(context, _loaded(model, context.device, settings), song, settings)
    except torch.OutOfMemoryError:
        raise  # the executor goes on without the GPU
    except Exception as error:
        if not isinstance(error, RuntimeError) and not type(error).__module__.startswith("onnxruntime"):
            raise
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        if "allocate memory" in reason:  # torch, on a CPU
            raise MemoryError(reason) from error
        raise UnderstudyError(
            "separator-failed",
            f"The separator {model.name!r} failed: {reason[:300]}",
            "Choose another one with --model, or go on without it in an ensemble with ensemble.leave_out.",
        ) from error


def _loaded(model: SeparatorModel, device: str, settings: InferenceSettings) -> Network:
    """The network; where the GPU is full of other models, these are released."""
    import torch

    from understudy.pipeline.separation.models import load_network

    precision = default_precision(device) if settings.precision == "auto" else settings.precision
    while True:
        try:
            return load_network(model, device, precision)
        except torch.OutOfMemoryError:
            if not release():
                raise
            torch.cuda.empty_cache()
