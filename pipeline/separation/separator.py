"""`separator`: the stems that one separator hears in a song, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from audio.context import Context
from audio.errors import UnderstudyError
from audio.precision import default_precision
from audio.samples import AudioSource
from audio.stored import AudioFile
from pipeline.separation.settings import InferenceSettings

if TYPE_CHECKING:
    from pipeline.separation.models import SeparatorModel

Separator = Callable[[Context, AudioSource], Mapping[str, AudioFile]]
"""(context, song) -> stems by name, each a file in `context.folder`, with the song's rate, channels and length,
sample-aligned with it."""


def separator(name: str, settings: InferenceSettings | None = None) -> Separator:
    """The separator of that name as a function. Raises what `find_separator` raises."""
    from pipeline.separation.models import find_separator

    model = find_separator(name)
    return lambda context, song: separate_with(context, song, model, settings or InferenceSettings())


def separate_with(
    context: Context, song: AudioSource, model: SeparatorModel, settings: InferenceSettings
) -> Mapping[str, AudioFile]:
    """The stems of `song` by name as `model` gives them: files in `context.folder` with the song's rate, channels and
    length, sample-aligned with it. The embedded separator heeds no `settings`.

    Raises `UnderstudyError` for weights that can't be used, and ``separator-failed`` naming the model where its network
    does not work on them.
    """
    if model.weights is None:
        from pipeline.separation.embedded.separate import separate_embedded

        return separate_embedded(context, song)
    import torch

    from pipeline.separation.inference import infer
    from pipeline.separation.models import load_network

    precision = default_precision(context.device) if settings.precision == "auto" else settings.precision
    try:
        return infer(context, load_network(model, context.device, precision), song, settings)
    except torch.OutOfMemoryError:
        raise  # the executor goes on without the GPU
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UnderstudyError(
            "separator-failed",
            f"The separator {model.name!r} failed: {reason}",
            "Choose another one with --model, or go on without it in an ensemble with ensemble.leave_out.",
        ) from error
