"""Writing sound files: wav, flac, mp3, m4a and opus with tags, streamed block by block, the same sound the same bytes.

Integer formats get triangular (TPDF) dither of two least significant bits peak to peak with a fixed seed (Lipshitz,
Wannamaker, Vanderkooy, "Quantization and dither: a theoretical survey", JAES 40, 1992), except where all channels are
exactly zero: digital silence stays silent. Lossy files carry what players need to give back the exact length without
delay: the LAME/Xing header, the MP4 edit list, Opus's pre-skip and final granule position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from understudy.audio.lengths import write_mp3_padding
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, AudioSource
from understudy.audio.tags import Tags, picture_block, picture_size
from understudy.choices import FormatName
from understudy.context import Context
from understudy.disk import writing
from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

FORMATS: tuple[FormatName, ...] = get_args(FormatName)
_ALIASES: dict[str, FormatName] = {"wav": "wav24", "aac": "m4a", "mp4": "m4a", "flac24": "flac", "ogg": "opus"}
_SEED = 20
BITEXACT = 0x400  # FFmpeg's AVFMT_FLAG_BITEXACT: no random serial numbers, no version strings


@dataclass(frozen=True)
class _Recipe:
    extension: str
    container: str
    codec: str
    sample_format: str
    bits: int = 0  # of the integers; 0: float or lossy
    kilobits: int = 0  # for stereo; 0: not lossy
    rates: tuple[int, ...] = ()  # empty: any
    effort: str = ""  # FFmpeg's compression_level; empty: the codec's default


# LAME at 320 kbit/s is MPEG-1 only, hence its three rates; effort 7 serves it better than the default 5 (35.1 dB SNR
# at .021 x real time against 34.4 at .038); Opus is always 48 kHz.
_RECIPES: dict[FormatName, _Recipe] = {
    "wav16": _Recipe(".wav", "wav", "pcm_s16le", "s16", bits=16),
    "wav24": _Recipe(".wav", "wav", "pcm_s24le", "s32", bits=24),
    "wav32f": _Recipe(".wav", "wav", "pcm_f32le", "flt"),
    "flac": _Recipe(".flac", "flac", "flac", "s32", bits=24),
    "flac16": _Recipe(".flac", "flac", "flac", "s16", bits=16),
    "mp3": _Recipe(".mp3", "mp3", "libmp3lame", "fltp", kilobits=320, rates=(32000, 44100, 48000), effort="7"),
    "m4a": _Recipe(".m4a", "mp4", "aac", "fltp", kilobits=256, rates=(32000, 44100, 48000, 88200, 96000)),
    "opus": _Recipe(".opus", "opus", "libopus", "flt", kilobits=192, rates=(48000,)),
}


class OutputFormat(BaseModel):
    """How a file is written. `name` is one of `FORMATS`; `kilobits` per second for stereo, for the lossy ones only
    (mono gets half); None takes the format's own: mp3 320, m4a 256, opus 192."""

    model_config = ConfigDict(frozen=True)

    name: FormatName = "flac"
    kilobits: int | None = Field(default=None, ge=32, le=512)

    @property
    def extension(self) -> str:
        """With the dot: ``.mp3``."""
        return _RECIPES[self.name].extension

    @property
    def lossy(self) -> bool:
        return _RECIPES[self.name].kilobits > 0

    @property
    def clips(self) -> bool:
        """Whether the format cannot hold samples beyond full scale, so that `encode` refuses them."""
        return _RECIPES[self.name].bits > 0

    def bit_rate(self, channels: int) -> int:
        """Of a lossy format, in bits per second."""
        return (self.kilobits or _RECIPES[self.name].kilobits) * 500 * channels

    def rate_for(self, rate: int) -> int:
        """The rate that sound of `rate` Hz is written at: its own, else 44100 or 48000, whichever is of its family."""
        rates = _RECIPES[self.name].rates
        if not rates or rate in rates:
            return rate
        return 44100 if 44100 in rates and rate % 11025 == 0 else 48000


def parse_format(text: str) -> OutputFormat:
    """The format that a user named: a name of `FORMATS`, an extension (``.mp3``, ``wav`` is 24-bit), or a lossy one
    with its bit rate (``mp3:192``). Raises `UnderstudyError` (``unknown-format``)."""
    name, _, kilobits = text.strip().lower().removeprefix(".").partition(":")
    known = _ALIASES.get(name, name)
    try:
        if known not in FORMATS:
            raise ValueError(name)
        form = OutputFormat(name=known, kilobits=int(kilobits) if kilobits else None)
        if kilobits and not form.lossy:
            raise ValueError(kilobits)
    except ValueError as error:  # pydantic's ValidationError is one
        raise UnderstudyError(
            "unknown-format",
            f"There is no output format {text!r}.",
            f"Choose one of {', '.join(FORMATS)}; mp3, m4a and opus take a bit rate, e.g. mp3:192 (32 to 512).",
        ) from error
    return form


def peak(source: AudioSource, context: Context) -> float:
    """The largest absolute sample of `source` (1 is full scale), e.g. to scale stems that an integer format would
    refuse. Inter-sample peaks are not looked at."""
    highest = 0.0
    for block in resample_blocks(source, source.rate, context):
        highest = max(highest, float(np.max(np.abs(block.samples), initial=0.0)))
    return highest


def encode(context: Context, source: AudioSource, path: Path, fmt: OutputFormat, tags: Tags) -> Path:
    """Write `source` (mono or stereo) to `path` as `fmt` with `tags`; returns `path`. Its name is not looked at.

    The file decodes to as many frames as `source` has, sample-aligned (at `fmt.rate_for(source.rate)`, resampled where
    that differs). Nothing is left at `path` when it fails.

    Raises `UnderstudyError`: ``over-full-scale`` for samples beyond ±1 in an integer format (a lossy format takes them
    with a warning), ``nothing-to-write``, ``disk-full``, ``output-not-writable``; `Cancelled`.
    """
    if source.channels > 2:
        raise ValueError(f"encode wants mono or stereo, got {source.channels} channels")
    if source.frames == 0:
        raise UnderstudyError("nothing-to-write", f"There is no sound to write to {path}.", "Give a longer part.")
    recipe, rate = _RECIPES[fmt.name], fmt.rate_for(source.rate)
    with writing(path):
        with new_container(path, recipe.container, rate) as output:
            layout = "mono" if source.channels == 1 else "stereo"
            stream = add_sound(output, recipe.codec, rate, layout, recipe.sample_format)
            if recipe.effort:
                stream.options = {"compression_level": recipe.effort}
            if recipe.kilobits:
                stream.bit_rate = fmt.bit_rate(source.channels)
            write_tags(output, tags)
            written = 0
            for block in _blocks(context, source, rate, path, fmt):
                output.mux(stream.encode(sound_frame(block, recipe.sample_format, layout, rate, written)))
                written += block.size // (1 if layout == "mono" else 2)
            output.mux(stream.encode(None))
        if fmt.name == "mp3":
            write_mp3_padding(path, written)
    return path


def new_container(path: Path, form: str, rate: int, brand: str = "M4A ") -> OutputContainer:
    """A new file for sound of `rate` in FFmpeg's container format `form`; the same sound gives the same bytes. `brand`:
    of an MP4, what it says it is."""
    import av
    import av.logging

    av.logging.set_level(None)
    # the index before the sound, times as fine as the samples
    options = {"movflags": "+faststart", "brand": brand, "movie_timescale": str(rate)} if form == "mp4" else {}
    # the prefix keeps FFmpeg from taking a path for an address
    output = av.open(f"file:{path}", "w", format=form, options=options)
    output.flags |= BITEXACT
    return output


def add_sound(output: OutputContainer, codec: str, rate: int, layout: str, form: str) -> AudioStream:
    """A new track of `output` whose encoder takes samples in FFmpeg's format `form`."""
    from av.codec.context import Flags

    stream = cast("AudioStream", output.add_stream(codec, rate=rate, layout=layout, format=form))
    stream.codec_context.flags |= int(Flags.bitexact)
    return stream


def sound_frame(block: NDArray[Any], form: str, layout: str, rate: int, position: int) -> AudioFrame:
    """`block` for an encoder: samples in FFmpeg's format `form` from the frame `position` on."""
    from av import AudioFrame

    frame = AudioFrame.from_ndarray(block, form, layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
    return frame


def _blocks(context: Context, source: AudioSource, rate: int, path: Path, fmt: OutputFormat) -> Iterator[NDArray[Any]]:
    """`source` at `rate` in FFmpeg's array form for the recipe's sample format."""
    recipe = _RECIPES[fmt.name]
    random = dither()
    position, loudest = 0, 0.0
    for block in resample_blocks(source, rate, context):
        loudest = max(loudest, float(np.max(np.abs(block.samples))))
        if loudest > 1 and recipe.bits:
            raise UnderstudyError(
                "over-full-scale",
                f"{path} would clip: its samples reach {20 * np.log10(loudest):+.1f} dBFS near "
                f"{position / rate:.1f} s, more than {fmt.name} can hold.",
                "Choose the format wav32f, which holds any level, or lower the gain.",
            )
        position += block.frames
        samples = integers(block, recipe.bits, random) if recipe.bits else block.samples
        planar = recipe.sample_format.endswith("p")
        yield np.ascontiguousarray(samples if planar else samples.T.reshape(1, -1))
    if loudest > 1 and fmt.lossy:
        context.warn(f"The {fmt.name} file reaches {20 * np.log10(loudest):+.1f} dBFS: some players will clip it.")


def dither() -> np.random.Generator:
    """The same noise for every file."""
    return np.random.Generator(np.random.PCG64(_SEED))


def integers(block: Audio, bits: int, random: np.random.Generator) -> NDArray[Any]:
    """`block`, within ±1, as dithered integers of `bits`, in int16 or in the upper bits of int32."""
    scale = 2.0 ** (bits - 1)
    noise = random.random(block.samples.shape) - random.random(block.samples.shape)
    noise[:, ~block.samples.any(axis=0)] = 0
    values = np.clip(np.rint(block.samples * scale + noise), -scale, scale - 1)  # at most the dither is clipped
    return values.astype(np.int16) if bits == 16 else values.astype(np.int32) << (32 - bits)


def write_tags(output: OutputContainer, tags: Tags) -> None:
    """Begin writing `output`, whose streams were all added, with `tags` and their artwork."""
    from av.packet import Packet
    from av.stream import Disposition

    output.metadata.update(tags.texts())
    size = picture_size(tags.artwork) if tags.artwork else None
    if size is None or output.format.name == "wav":
        output.start_encoding()
        return
    if output.format.name == "opus":
        output.metadata["METADATA_BLOCK_PICTURE"] = picture_block(tags.artwork, tags.artwork_mime, size)
        output.start_encoding()
        return
    codec = {"image/jpeg": "mjpeg", "image/png": "png"}[tags.artwork_mime]
    picture = output.add_mux_stream(codec, width=size[0], height=size[1])
    picture.disposition = Disposition.attached_pic
    output.start_encoding()
    packet = Packet(tags.artwork)
    packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1, 1000)
    packet.is_keyframe = True
    output.mux(packet)
