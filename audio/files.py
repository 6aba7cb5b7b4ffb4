"""Reading sound files: any common container and codec, streamed into an `AudioFile`, sample-exact and within limits.

FFmpeg's libraries (PyAV) decode everything, so there is one set of rules for all formats. They compensate encoder delay
and padding where the file states it (the LAME/Xing header of MP3, Opus's pre-skip and final granule position, the edit
list of MP4); the end of an MP4 track, which they leave padded, is cut here to the length its sample table gives.
The type of a file is recognised by its content, never by its name, and nothing that a file claims is trusted: the
limits are applied to what was decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from understudy.audio.downmix import to_stereo
from understudy.audio.lengths import mp4_frames, promised_seconds
from understudy.audio.libav import audio_stream, opened, unreadable
from understudy.audio.ogg import lacks_end_mark, links
from understudy.audio.resample import resampled
from understudy.audio.samples import Audio, Samples
from understudy.audio.stated_size import stated_size
from understudy.audio.stored import AudioFile, write_blocks
from understudy.audio.tags import Tags, tags_of
from understudy.audio.wav_header import read_wav_header
from understudy.context import Context
from understudy.disk import writing
from understudy.errors import UnderstudyError
from understudy.wording import counted, length, lengths

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

LOUDEST = 1000.0  # +60 dBFS: past any sane float recording
_LOUDEST_LOSSY = 16.0  # +24 dBFS: more comes out of no encoder, only out of damaged bits
_BLOCK_SECONDS = 1.0
_TRIES = 10  # to go on after an error of the container
_PATIENCE = 1000  # damaged packets before the first sound after which decoding stops
_LONGEST_GAP = 1.0  # seconds of silence for one damaged packet
_DAMAGED_SHARE = 0.1  # more than this lost: not worth working on
_SHORTFALL, _SHORTFALL_SHARE = 0.25, 0.005  # seconds and share that may be missing at the end


@dataclass(frozen=True)
class Limits:
    """What is accepted: at most `seconds` of sound (and no part that starts later than that), at most `channels`,
    rates in Hz from `rate_low` to `rate_high`, files of at most `bytes`."""

    seconds: float = 7200
    channels: int = 8
    rate_low: int = 8000
    rate_high: int = 192_000
    bytes: int = 12 << 30


@dataclass(frozen=True)
class FileInfo:
    """The header of a file. `duration` in seconds, None where it is not stored; `rate` in Hz; `container` and
    `codec` are FFmpeg's short names (``mp3``, ``mov``, ``flac``, ``pcm_s16le``, ...)."""

    duration: float | None
    rate: int
    channels: int
    container: str
    codec: str
    tags: Tags


LIMITS = Limits()


def probe(path: Path, limits: Limits = LIMITS) -> FileInfo:
    """What the file at `path` is, from its header: no decoding, bounded time.

    Raises `UnderstudyError` for whatever `decode` would refuse by the header alone, except its length.
    """
    with opened(path, limits.bytes) as container:
        stream = audio_stream(path, container)
        rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
        _check_layout(path, rate, channels, limits)
        return FileInfo(
            promised_seconds(path, container, stream) or _estimated_seconds(container, stream),
            rate,
            channels,
            container.format.name.split(",")[0],
            stream.codec_context.name,
            tags_of(container),
        )


def decode(
    context: Context,
    path: Path,
    out: Path,
    *,
    start: float = 0.0,
    duration: float | None = None,
    limits: Limits = LIMITS,
    track: int | None = None,
) -> AudioFile:
    """Decode the file at `path` into an `AudioFile` at `out`, at its own rate, mono or stereo. `track`: which of its
    sound tracks, from 0; None: the default one.

    3 to 8 channels become stereo with the coefficients of ITU-R BS.775-4 (and a warning). `start` and `duration` in
    seconds take a part, exact to the sample: its first frame is ``round(start * rate)``. Values over full scale are
    kept. Leaves no file at `out` when it fails.

    Raises `UnderstudyError`: ``file-not-found``, ``file-is-a-folder``, ``file-not-readable``, ``file-empty``,
    ``file-too-big``, ``not-audio``, ``no-audio-track``, ``unsupported-codec``, ``file-truncated``, ``file-damaged``,
    ``song-empty``, ``song-too-long``, ``start-past-end``, ``bad-part``, ``too-many-channels``, ``unsupported-rate``,
    ``samples-not-finite``, ``samples-out-of-range``, ``disk-full``, ``output-not-writable``; `Cancelled`.
    """
    _check_part(start, duration, limits)
    try:
        return _decode(context, path, out, start, duration, limits, track, _Decoded())
    except _Widened:
        return _decode(context, path, out, start, duration, limits, track, _Decoded(channels=2))


def _decode(
    context: Context,
    path: Path,
    out: Path,
    start: float,
    duration: float | None,
    limits: Limits,
    track: int | None,
    decoded: _Decoded,
) -> AudioFile:
    with opened(path, limits.bytes) as container:
        parts = links(path) if container.format.name == "ogg" and track is None else []
        stream = audio_stream(path, container, track)
        _check_layout(path, stream.codec_context.sample_rate, stream.codec_context.channels, limits)
        claimed = promised_seconds(path, container, stream)
        if claimed is not None and duration is None and claimed - start > limits.seconds:
            raise _too_long(path, claimed, limits)
        estimated = claimed or _estimated_seconds(container, stream) or limits.seconds
        if len(parts) > 1:  # FFmpeg ends a chain at the first link of another rate or channel count
            sound = _chained(path, parts, decoded, limits)
        else:
            sound = _sound(path, container, stream, decoded, limits)
        blocks = _at_first_rate(sound)
        first = next(blocks, None)
        if first is None:
            raise _nothing(path, decoded, claimed)
        begin = round(start * first.rate)
        end = None if duration is None else begin + max(1, round(duration * first.rate))
        exact = _exact_frames(path, container, stream, first.rate)
        stop = exact if end is None else end if exact is None else min(end, exact)
        most = begin + round(limits.seconds * first.rate)
        expected = stop or estimated * first.rate

        def part() -> Iterator[Audio]:
            position = 0
            for block in chain([first], blocks):
                after = position + block.frames
                if end is None and after > most:
                    raise _too_long(path, after / block.rate, limits)
                low, high = max(begin - position, 0), min(after, stop or after) - position
                if low < high:
                    taken = Audio(block.samples[:, low:high], block.rate)
                    _check_values(path, taken, position + low)
                    yield taken
                position = after
                context.progress(position / expected)
                if stop is not None and position >= stop:
                    return

        with writing(out):
            file = write_blocks(out, first.rate, first.channels, part())
            _check_end(context, path, decoded, claimed, start, None if end is None else end / first.rate, file.frames)
        return file


@dataclass
class _Decoded:
    """The state of decoding: seconds decoded so far, and how many of them replace damaged packets."""

    seconds: float = 0.0
    lost: float = 0.0
    places: int = 0
    rate: int = 0  # of the latest frame
    channels: int = 0  # as given out; 0 before the first frame
    source_channels: int = 1
    unfinished: bool = False  # the container couldn't be followed to its end


class _Widened(Exception):
    """A file that begins in mono goes on in stereo: it is decoded again, to stereo throughout."""


def _check_part(start: float, duration: float | None, limits: Limits) -> None:
    most = limits.seconds
    if not 0 <= start <= most or (duration is not None and not 0 < duration <= most):  # NaN fails as well
        raise UnderstudyError(
            "bad-part",
            f"A part cannot start at {start:g} s and take {'the rest' if duration is None else f'{duration:g} s'}.",
            f"Give a start from 0 to {most:g} s and a duration above 0 and up to {most:g} s.",
        )


def _estimated_seconds(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _exact_frames(path: Path, container: InputContainer, stream: AudioStream, rate: int) -> int | None:
    """How many frames at `rate` the sound has where FFmpeg leaves the encoder's padding at its end; else None."""
    if container.format.name.startswith("mov"):
        return mp4_frames(path, stream.id, rate)
    if container.format.name == "wav":
        with path.open("rb") as file:
            header = read_wav_header(file)
        return header.frames if header else None
    return None


def _chained(path: Path, parts: list[tuple[int, int]], decoded: _Decoded, limits: Limits) -> Iterator[Audio]:
    """The links of a chained Ogg file, one after the other; each has a header of its own."""
    for link in parts:
        with opened(path, limits.bytes, link) as container:
            yield from _sound(path, container, audio_stream(path, container), decoded, limits)


def _at_first_rate(sound: Iterator[Audio]) -> Iterator[Audio]:
    """`sound` at the rate of its first block: blocks at other rates, as in files joined from several, are resampled."""
    rate = None
    for own_rate, run in groupby(sound, key=lambda block: block.rate):
        rate = rate or own_rate
        if own_rate == rate:
            yield from run
        else:
            yield from resampled(run, own_rate, rate)


def _sound(
    path: Path, container: InputContainer, stream: AudioStream, decoded: _Decoded, limits: Limits
) -> Iterator[Audio]:
    """All of the stream in blocks of about a second, mono or stereo; a damaged packet becomes silence of its length.

    Raises ``file-damaged`` when the container can't be followed to the end of the file.
    """
    import av

    lossy = not stream.codec_context.name.startswith("pcm_")  # floats that are damage, not what somebody saved
    waiting: list[Samples] = []
    held, rate, failures = 0, 0, 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            failures = 0
        except av.FFmpegError:  # the container ends in the middle of something, or can't be followed further
            failures += 1
            if failures > _TRIES:
                decoded.unfinished = True
                break
            packets = container.demux(stream)
            continue
        except OSError as error:
            raise unreadable(path, error) from error
        if packet is None:
            break
        try:
            pieces = [_floats(path, frame, decoded, limits) for frame in packet.decode()]
        except (av.FFmpegError, ValueError):
            pieces = [_gap(decoded, packet.duration * packet.time_base if packet.duration and packet.time_base else 0)]
            if decoded.places > _PATIENCE and not decoded.seconds:
                return
        if lossy and not all(np.max(np.abs(piece), initial=0) < _LOUDEST_LOSSY for piece in pieces):
            pieces = [_gap(decoded, sum(piece.shape[1] for piece in pieces) / decoded.rate)]  # from damaged bits
        if held and (decoded.rate != rate or held >= _BLOCK_SECONDS * rate):
            yield Audio(np.concatenate(waiting, axis=1), rate)
            waiting, held = [], 0
        rate = decoded.rate
        for piece in (piece for piece in pieces if piece.shape[1]):
            decoded.seconds += piece.shape[1] / rate
            held += piece.shape[1]
            waiting.append(piece)
    if held:
        yield Audio(np.concatenate(waiting, axis=1), rate)


def _gap(decoded: _Decoded, seconds: float | Fraction) -> Samples:
    """Silence in place of a packet that cannot be decoded; nothing before the first sound, where no rate is known."""
    decoded.places += 1
    frames = round(min(float(seconds), _LONGEST_GAP) * decoded.rate)
    decoded.lost += frames / max(decoded.rate, 1)
    return np.zeros((decoded.channels or 1, frames), np.float32)


def _floats(path: Path, frame: AudioFrame, decoded: _Decoded, limits: Limits) -> Samples:
    """A decoded frame as float32 ``[1 or 2, frames]``, full scale ±1, in as many channels as the first frame had.
    Raises `_Widened` for a stereo frame after mono ones."""
    channels = frame.layout.nb_channels
    _check_layout(path, frame.sample_rate, channels, limits)
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, channels).T
    samples = _full_scale(array)
    if channels > 2:
        samples = to_stereo(samples, [channel.name for channel in frame.layout.channels])
    decoded.rate, decoded.source_channels = frame.sample_rate, max(decoded.source_channels, channels)
    decoded.channels = decoded.channels or samples.shape[0]
    if samples.shape[0] > decoded.channels:
        raise _Widened
    if samples.shape[0] < decoded.channels:
        samples = np.repeat(samples, 2, axis=0)
    return np.ascontiguousarray(samples)


def _full_scale(array: NDArray[Any]) -> Samples:
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(128) - np.float32(1)
    if array.dtype.kind == "i":
        return (array * 0.5 ** (array.dtype.itemsize * 8 - 1)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # float64 beyond float32 becomes Inf, reported later
        return array.astype(np.float32)


def _check_layout(path: Path, rate: int, channels: int, limits: Limits) -> None:
    if channels > limits.channels or channels < 1:
        raise UnderstudyError(
            "too-many-channels",
            f"{path} has {channels} channels; 1 to {limits.channels} can be read.",
            "Mix it down to stereo first.",
        )
    if not limits.rate_low <= rate <= limits.rate_high:
        raise UnderstudyError(
            "unsupported-rate",
            f"{path} has {rate} samples per second; {limits.rate_low} to {limits.rate_high} can be read.",
            "Save it at 44100 or 48000 Hz first.",
        )


def _check_values(path: Path, block: Audio, position: int) -> None:
    peak = np.max(np.abs(block.samples), axis=0)
    if peak.max() <= LOUDEST:  # False for NaN as well
        return
    broken = ~np.isfinite(peak)
    if broken.any():
        at = (position + int(np.argmax(broken))) / block.rate
        raise UnderstudyError(
            "samples-not-finite",
            f"{path} holds samples that are not finite (NaN or infinity), the first at {at:.3f} s.",
            "Export it again from the program that made it, e.g. as 24-bit wav.",
        )
    at = (position + int(np.argmax(peak))) / block.rate
    raise UnderstudyError(
        "samples-out-of-range",
        f"{path} holds float samples of up to {peak.max():.0f} at {at:.3f} s, where 1 is full scale.",
        "Export it again with normal levels: these look like integers saved as floats.",
    )


def _check_end(
    context: Context,
    path: Path,
    decoded: _Decoded,
    claimed: float | None,
    start: float,
    wanted: float | None,
    taken: int,
) -> None:
    """Warnings and errors at the end of decoding. `wanted`: the second up to which sound was requested."""
    size, stated = path.stat().st_size, stated_size(path)
    if stated is not None and stated > size:
        claimed = max(claimed or 0.0, decoded.seconds * stated / size)
    missing = 0.0 if claimed is None else claimed - decoded.seconds
    cut_off = claimed is not None and missing > max(_SHORTFALL, _SHORTFALL_SHARE * claimed)
    short = wanted is None or wanted > decoded.seconds + 1e-6  # the sum of many packets' lengths
    if cut_off and short:
        raise _truncated(path, decoded.seconds, claimed or 0.0, start)
    if not taken:
        raise UnderstudyError(
            "start-past-end",
            "{} is {} long; the requested part starts at {}.".format(path, *lengths(decoded.seconds, start)),
            "Choose an earlier start.",
        )
    if decoded.lost > _DAMAGED_SHARE * decoded.seconds:
        raise UnderstudyError(
            "file-damaged",
            f"{path} is damaged: {length(decoded.lost)} of {length(decoded.seconds)} cannot be decoded.",
            "Get the file again from where it came from.",
        )
    if decoded.places:
        places = counted(decoded.places, "place")
        context.warn(f"{path.name} is damaged in {places} ({decoded.lost:.2f} s), now silent.")
    if decoded.unfinished and short and not lacks_end_mark(path):
        raise UnderstudyError(
            "file-damaged",
            f"{path} cannot be read after {length(decoded.seconds)}: what follows is damaged or of another kind.",
            "Save it anew as wav or flac with a sound editor, then give that file.",
        )
    if wanted is None and lacks_end_mark(path):
        context.warn(f"{path.name} has no end mark: it seems to be cut off. The existing part was used.")
    if decoded.source_channels > 2:
        context.warn(f"{path.name} has {decoded.source_channels} channels; it was mixed down to stereo.")


def _nothing(path: Path, decoded: _Decoded, claimed: float | None) -> UnderstudyError:
    if decoded.places:
        return UnderstudyError(
            "not-audio", f"Nothing in {path} can be decoded as sound.", "Get the file again from where it came from."
        )
    if claimed:
        return _truncated(path, 0.0, claimed, 0.0)
    return UnderstudyError("song-empty", f"{path} holds no sound: it is 0 seconds long.", "Give a longer recording.")


def _truncated(path: Path, seconds: float, claimed: float, start: float) -> UnderstudyError:
    there = int(seconds - start)
    part = f" To use the part that is there, give --duration {there}." if there >= 1 else ""
    return UnderstudyError(
        "file-truncated",
        "{} is incomplete: it ends after {} of {}.".format(path, *lengths(seconds, round(claimed, 1))),
        f"Get the file again: its download or copy was cut off.{part}",
    )


def _too_long(path: Path, seconds: float, limits: Limits) -> UnderstudyError:
    return UnderstudyError(
        "song-too-long",
        "{} is at least {} long, more than the limit of {}.".format(path, *lengths(seconds, limits.seconds)),
        "Take a part of it with --start and --duration.",
    )
