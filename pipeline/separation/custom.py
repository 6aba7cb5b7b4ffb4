"""Separators of the user's own: a Python function under a name, used wherever a separation model is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.models import CustomSeparator, SeparatorFunction, is_taken, registered
from understudy.pipeline.separation.stems import canonical


def register_separator(
    name: str, function: SeparatorFunction, *, stems: Sequence[str] = ("vocals",), version: str = "1"
) -> None:
    """Make a function of your own usable as a separator in this process, under `name`: as ``separation.model``, in an
    ensemble (``mine+embedded``), as a step such as ``separation.dereverb``, in `evaluate`.

    >>> us.register_separator("mine", my_function, stems=["vocals"], version="2026-11")
    >>> us.cover("song.mp3", voice="nova", settings={"separation.model": "mine"})

    - `name`: letters, digits, ``-``, ``_`` and ``.``; a name registered before is replaced.
    - `function`: ``(samples, rate) -> {stem: array}``. It gets the whole song as float32 ``[channels, frames]`` at its
      own rate, and returns stems of the same shape. It may be called from several threads at once, and can't be
      cancelled while it runs.
    - `stems`: the names that it returns, among ``vocals``, ``instrumental``, ``lead``, ``backing``, ``dry``,
      ``reverb``, ``noise``, ``drums``, ``bass``, ``guitar``, ``piano``, ``other``. Without an ``instrumental`` that is
      what the vocals leave of the song.
    - `version`: change it whenever the function gives other stems: results are cached under name and version.

    Raises `UnderstudyError` ``separator-invalid`` for a name that can't be used or stems that aren't known.
    """
    found = tuple(canonical(stem) for stem in stems)
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if not plain.isalnum() or is_taken(name):
        raise UnderstudyError(
            "separator-invalid",
            f"A separator of your own can't be called {name!r}.",
            "Use letters, digits, '-', '_' and '.', and a name that no model of the catalogue has.",
        )
    if not found or len(set(found)) < len(found):
        raise UnderstudyError(
            "separator-invalid",
            f"The separator {name!r} gives no stems, or one of them twice: {', '.join(stems) or 'none'}.",
            "Name each stem once, e.g. stems=['vocals'].",
        )
    registered[name] = CustomSeparator(name, version, found, function)


def run_custom(context: Context, song: AudioSource, separator: CustomSeparator) -> Mapping[str, AudioFile]:
    """The stems of `song` as files in `context.folder`.

    Raises `UnderstudyError`: ``separator-failed`` when the function raises, ``separator-output-invalid`` when what it
    returns isn't what was registered.
    """
    samples = song.read().samples
    try:
        found = dict(separator.function(samples.copy(), song.rate))
    except UnderstudyError:
        raise
    except Exception as error:
        raise UnderstudyError(
            "separator-failed",
            f"The separator {separator.name!r} failed: {type(error).__name__}: {error}"[:400],
            "Correct the function, or choose another separator.",
        ) from error
    context.progress(0.9)
    stems = {canonical(str(name)): stem for name, stem in found.items()}
    missing = [name for name in separator.stems if name not in stems]
    if missing:
        raise _invalid(separator, f"{', '.join(missing)} is missing: it gave {', '.join(stems) or 'nothing'}")
    written = {}
    for name in separator.stems:
        stem = Audio(_checked(separator, name, stems[name], samples), song.rate)
        written[name] = write_blocks(context.folder / f"{name}.npy", song.rate, stem.channels, [stem])
    return written


def _checked(separator: CustomSeparator, name: str, stem: ArrayLike, song: Samples) -> Samples:
    array: np.ndarray[Any, Any] = np.asarray(stem)
    if array.shape != song.shape or array.dtype.kind != "f":
        raise _invalid(separator, f"{name} is {array.dtype} {array.shape}, the song float32 {song.shape}")
    plain = array.astype(np.float32, copy=False)
    if not np.isfinite(plain).all():
        raise _invalid(separator, f"{name} holds samples that are no numbers (NaN or infinite)")
    return plain


def _invalid(separator: CustomSeparator, reason: str) -> UnderstudyError:
    return UnderstudyError(
        "separator-output-invalid",
        f"The separator {separator.name!r} gave something else than its stems: {reason}.",
        "It must return a float array [channels, frames] of the song's shape for each stem that it was registered for.",
    )
