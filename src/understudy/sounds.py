"""Sound in and out of the Python API: files or arrays as input, sound on disk that is read when it is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.audio.audiosegment import to_audiosegment
from understudy.audio.encode import encode, parse_format
from understudy.audio.files import LIMITS, LOUDEST
from understudy.audio.samples import Audio, Samples
from understudy.audio.stored import AudioFile
from understudy.audio.tags import Tags
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.wording import lengths

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from pydub import AudioSegment


@dataclass(frozen=True, eq=False)
class AudioRef:
    """Sound on disk. Its samples are read when they are needed: float32, full scale is ±1.

    `path`: the file that was written, in the format of the settings. `stored`: the samples as they were computed,
    before they were encoded, in the cache; `read` and ``numpy.asarray`` read these.

    >>> vocals = us.separate("song.mp3").stems["vocals"]
    >>> vocals.rate, vocals.channels, vocals.frames
    >>> np.asarray(vocals)              # all of it, float32 [channels, frames]
    >>> vocals.read(0, 10 * vocals.rate)  # the first ten seconds
    """

    path: Path
    stored: AudioFile

    @property
    def rate(self) -> int:
        """Frames per second in Hz."""
        return self.stored.rate

    @property
    def channels(self) -> int:
        """1 or 2."""
        return self.stored.channels

    @property
    def frames(self) -> int:
        """Length in frames."""
        return self.stored.frames

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.stored.duration

    def read(self, start: int = 0, stop: int | None = None) -> Samples:
        """Frames ``start:stop`` as float32 ``[channels, frames]``; positions outside of the sound read as silence.

        Raises `UnderstudyError` ``artifact-unreadable`` when the cache was emptied since.
        """
        return self.audio(start, stop).samples

    def audio(self, start: int = 0, stop: int | None = None) -> Audio:
        """As `read`, with the rate."""
        try:
            return self.stored.read(start, stop)
        except FileNotFoundError as error:
            raise UnderstudyError(
                "artifact-unreadable",
                f"The samples of {self.path.name} are no longer in the cache.",
                f"Read {self.path}, or make the same call again.",
            ) from error

    def to_audiosegment(self) -> AudioSegment:
        """The sound as a pydub ``AudioSegment`` of 24 bits. Raises `UnderstudyError` as
        `understudy.audio.audiosegment.to_audiosegment` does."""
        return to_audiosegment(self.audio())

    def __repr__(self) -> str:
        return f"AudioRef({str(self.path)!r}, {self.channels} x {self.frames} frames at {self.rate} Hz)"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the samples of an AudioRef are read from disk, which makes a copy")
        return self.read() if dtype is None else self.read().astype(dtype, copy=False)


Sound = str | os.PathLike[str] | Audio | AudioRef | tuple["ArrayLike", int]
"""What the API takes as sound: the path of an audio or video file; ``(samples, rate)`` with float samples
``[channels, frames]`` or ``[frames]``, 1 or 2 channels, full scale ±1, rate in Hz; `Audio`; an `AudioRef` out of an
earlier result."""


def is_file(sound: Sound) -> bool:
    """Whether `sound` is a path; everything else is an array or is read as one."""
    return isinstance(sound, str | os.PathLike)


def as_files(sounds: Mapping[str, Sound | None], context: Context) -> dict[str, Path]:
    """A file for each of the `sounds` that isn't None, by name: its own, or one of 32-bit floats in `context.folder`.

    The same samples give the same bytes, so that the cache knows them again. Raises `UnderstudyError` as
    `checked_audio` does.
    """
    files = {}
    for name, sound in sounds.items():
        if isinstance(sound, str | os.PathLike):
            files[name] = Path(sound)
        elif sound is not None:
            source = sound.stored if isinstance(sound, AudioRef) else checked_audio(sound, name.replace("_", " "))
            path = context.folder / f"{name}.wav"
            files[name] = encode(context, source, path, parse_format("wav32f"), Tags())
    return files


def checked_audio(sound: Audio | tuple[ArrayLike, int], name: str = "sound") -> Audio:
    """`sound` as `Audio`; `name` is what errors call it.

    Raises `UnderstudyError`: ``array-invalid`` for what is no float array ``[channels, frames]`` or ``[frames]`` with a
    rate, ``too-many-channels``, ``unsupported-rate``, ``song-empty``, ``song-too-long``, ``samples-not-finite``,
    ``samples-out-of-range``.
    """
    if isinstance(sound, Audio):
        samples, rate = sound.samples, sound.rate
    else:
        samples, rate = _array(sound, name)
    if rate != int(rate) or not LIMITS.rate_low <= rate <= LIMITS.rate_high:
        raise UnderstudyError(
            "unsupported-rate",
            f"The rate of the {name} is {rate!r} Hz; it must be a whole number from {LIMITS.rate_low} to "
            f"{LIMITS.rate_high}.",
            "Pass (samples, rate) with the rate in Hz, e.g. 44100.",
        )
    channels, frames = samples.shape
    if frames == 0 or channels == 0:
        raise UnderstudyError("song-empty", f"The {name} has no samples.", "Pass at least half a second of sound.")
    if channels > 2:
        turned = f" It looks like [frames, channels]: pass its transpose, {name}.T." if frames <= 8 else ""
        raise UnderstudyError(
            "too-many-channels",
            f"The {name} is an array of shape {samples.shape}: {channels} channels.{turned}",
            "Pass [channels, frames] with 1 or 2 channels; soundfile.read gives [frames, channels], whose transpose "
            "that is.",
        )
    if frames > LIMITS.seconds * rate:
        raise UnderstudyError(
            "song-too-long",
            "The {} is {} long; at most {} can be worked on.".format(name, *lengths(frames / rate, LIMITS.seconds)),
            "Pass a part of it.",
        )
    samples = np.ascontiguousarray(samples)
    highest = float(np.max(np.abs(samples)))
    if not np.isfinite(highest):
        raise UnderstudyError(
            "samples-not-finite",
            f"The {name} holds samples that are no numbers (NaN or infinite).",
            "Look for a division by zero or an overflow in what made the array.",
        )
    if highest > LOUDEST:
        raise UnderstudyError(
            "samples-out-of-range",
            f"The {name} holds samples of up to {highest:.0f}, where 1 is full scale.",
            "Divide 16-bit samples by 32768.",
        )
    return Audio(samples, int(rate))


def _array(sound: tuple[ArrayLike, int], name: str) -> tuple[Samples, int]:
    """The samples as float32 ``[channels, frames]``, and the rate."""
    hint = "Pass (samples, rate): float samples [channels, frames] or [frames], full scale ±1, and the rate in Hz."
    try:
        given, rate = sound
        array = np.asarray(given)
        whole = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    except (TypeError, ValueError) as error:
        raise UnderstudyError("array-invalid", f"The {name} is no pair of samples and rate.", hint) from error
    if not whole:
        raise UnderstudyError("array-invalid", f"The rate of the {name} is no number, but {rate!r}.", hint)
    if array.dtype.kind in "iub":
        raise UnderstudyError(
            "array-invalid",
            f"The {name} is an array of {array.dtype}, not of floats.",
            "Divide integers by their full scale: samples / 32768 for 16 bit.",
        )
    if array.dtype.kind != "f" or array.ndim not in (1, 2):
        raise UnderstudyError(
            "array-invalid", f"The {name} is an array of {array.dtype} with shape {array.shape}.", hint
        )
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which is reported
        return np.atleast_2d(array).astype(np.float32, copy=False), rate
