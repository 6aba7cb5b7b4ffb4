"""Stages `artwork` and `video`: a video of the cover in H.264 and AAC, as platforms take it.

Only the column at which the time stands changes from frame to frame, so that hours of picture cost little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from understudy.audio.encode import OutputFormat, add_sound, new_container, sound_frame, write_tags
from understudy.audio.resample import resample_blocks
from understudy.audio.stored import AudioFile
from understudy.audio.tags import TagSettings, cover_tags, covered
from understudy.choices import Shape
from understudy.context import Context
from understudy.disk import writing
from understudy.errors import UnderstudyError
from understudy.pipeline.stages.encode import song_tags
from understudy.pipeline.video.picture import (
    LAYOUTS,
    Pixels,
    Words,
    bar_count,
    decode_artwork,
    draw,
    loudness_bars,
)

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

FPS = 25
"""Some platforms refuse fewer than 23 frames a second."""

ENCODERS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "ultrafast", "tune": "stillimage", "crf": "18"},
    "libopenh264": {"rc_mode": "quality"},
}
"""Encoders of H.264 in the order of preference, and their options. PyAV's wheels have the first one."""

_SOUND = OutputFormat(name="m4a")


def find_encoder() -> str:
    """The encoder to use; raises `UnderstudyError` ``video-encoder-missing``."""
    from av.codec import codecs_available

    for name in ENCODERS:
        if name in codecs_available:
            return name
    raise UnderstudyError(
        "video-encoder-missing",
        f"No video can be written: PyAV's FFmpeg here has no encoder for H.264 ({' or '.join(ENCODERS)}).",
        "Install PyAV from its wheels, which have one: pip install --force-reinstall --only-binary av av",
    )


def artwork_pixels(
    context: Context, original: Path, tagging: TagSettings, artwork: Path | None = None
) -> tuple[Pixels, ...]:
    """The artwork of the cover, decoded: one square or, where it has none, nothing."""
    tags = covered(song_tags(original, "", artwork), tagging)
    pixels = decode_artwork(tags.artwork, context) if tags.artwork else None
    return () if pixels is None else (pixels,)


def make_video(
    context: Context,
    sound: AudioFile,
    artwork: Sequence[Pixels],
    voice: str,
    original: Path,
    title: str,
    tagging: TagSettings,
    shape: Shape,
    fonts: Sequence[Path],
) -> Path:
    """An MP4 of `sound` with a picture of `shape`: H.264, yuv420p, `FPS` frames a second; AAC of 256 kbit/s, aligned
    with `sound` and as long; index at the beginning; tagged as the cover is, without artwork.

    `artwork`: as `artwork_pixels` gives it. `title`: of the song, where `original` has none. `fonts`: files, see
    `understudy.pipeline.video.fonts`. Raises `UnderstudyError` as `find_encoder` does, and ``disk-full``; `Cancelled`.
    """
    tags = song_tags(original, title, None)
    song, cover = covered(tags, tagging), cover_tags(tags, voice, tagging)
    words = Words(song.title, cover.artist or voice, f"Original: {song.artist}" if song.artist else "")
    bars = loudness_bars(sound, bar_count(shape))
    frames = _frames(*draw(shape, words, artwork[0] if artwork else None, bars, fonts, context), shape, sound.duration)
    path, rate = context.folder / "video.mp4", _SOUND.rate_for(sound.rate)
    layout = "mono" if sound.channels == 1 else "stereo"
    with writing(path), new_container(path, "mp4", rate, brand="mp42") as output:
        picture = _add_picture(output, shape)
        track = add_sound(output, "aac", rate, layout, "fltp")
        track.bit_rate = _SOUND.bit_rate(sound.channels)
        write_tags(output, replace(cover, artwork=b""))  # some platforms take a picture for a second video
        written = shown = 0
        for block in resample_blocks(sound, rate, context):
            samples = np.ascontiguousarray(block.samples)
            output.mux(track.encode(sound_frame(samples, "fltp", layout, rate, written)))
            written += block.frames
            while shown * rate < written * FPS:  # the picture up to where the sound is: neither waits for the other
                output.mux(picture.encode(next(frames)))
                shown += 1
                context.progress(min(1.0, shown / (FPS * sound.duration)))
        output.mux(track.encode(None))
        output.mux(picture.encode(None))
    return path


def _add_picture(output: OutputContainer, shape: Shape) -> VideoStream:
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    name = find_encoder()
    stream = cast("VideoStream", output.add_stream(name, rate=FPS, options=dict(ENCODERS[name])))
    stream.width, stream.height = LAYOUTS[shape].size
    stream.pix_fmt = "yuv420p"
    codec = stream.codec_context
    codec.thread_count = 1  # with more, the bytes would depend on their number
    codec.gop_size = 10 * FPS  # players jump to a whole picture
    codec.color_range, codec.colorspace = ColorRange.MPEG, Colorspace.ITU709
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _frames(before: Pixels, after: Pixels, shape: Shape, duration: float) -> Iterator[VideoFrame]:
    """Frame after frame: `after` up to the column where the time stands, `before` from there on."""
    from av import VideoFrame

    wave = LAYOUTS[shape].wave
    shown, played = (_planes(pixels) for pixels in (before, after))
    column, number, frame = wave.left, 0, VideoFrame.from_ndarray(shown, "yuv420p")
    while True:
        share = min(1.0, number / FPS / max(duration, 1e-9))
        now = wave.left + 2 * round(wave.width * share / 2)  # the planes of colour have half as many columns
        if now > column:
            for part, source in zip(_parts(shown), _parts(played), strict=True):
                half = shown.shape[1] // part.shape[1]
                part[:, column // half : now // half] = source[:, column // half : now // half]
            column, frame = now, VideoFrame.from_ndarray(shown, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        number += 1
        yield frame


def _planes(pixels: Pixels) -> Pixels:
    """`pixels` as yuv420p in one array ``[3/2 rows, columns]``, with the matrix of BT.709."""
    from av import VideoFrame

    frame = VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
    return np.array(frame.to_ndarray())


def _parts(planes: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Views of the brightness, ``[rows, columns]``, and the two colours, of half the size."""
    rows, columns = planes.shape[0] * 2 // 3, planes.shape[1]
    colours = planes[rows:].reshape(2, rows // 2, columns // 2)
    return planes[:rows], colours[0], colours[1]
