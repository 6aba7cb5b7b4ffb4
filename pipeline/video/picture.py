"""The picture of a cover's video: artwork, title, singer, the mark "AI cover", and a waveform.

It is drawn twice, with the waveform before and after the time has passed it: a frame of the video is the second up to
a column and the first from there on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from understudy.audio.samples import AudioSource
from understudy.audio.tags import picture_size
from understudy.choices import Shape
from understudy.context import Context
from understudy.pipeline.video.fonts import Typeface, typeface

Pixels = NDArray[np.uint8]
"""RGB, ``[rows, columns, 3]``."""

MARK = "AI cover"
ARTWORK, THUMBNAIL = 960, 320  # pixels of each side
_MOST_PIXELS = 64_000_000  # of an artwork that is decoded: 190 MB
_LONGEST = 200  # characters of a text
_BAR, _GAP = 6, 4  # pixels
_SMOOTH = 3  # times larger is drawn what has round corners
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """Where things stand in a picture of `size` (width, height). `words`: beside or under the artwork, and `alone`
    where there is none. `title`: the largest height of its letters."""

    size: tuple[int, int]
    artwork: Box
    words: Box
    alone: Box
    wave: Box
    mark: tuple[int, int]
    title: int
    centred: bool


# The edges are left free: players and apps lay buttons and descriptions over them, above all in portrait.
LAYOUTS: dict[Shape, Layout] = {
    "landscape": Layout(
        (1920, 1080), Box(120, 150, 560, 560), Box(760, 150, 1040, 560), Box(120, 150, 1680, 560),
        Box(120, 800, 1680, 160), (1800, 70), 96, False,
    ),
    "portrait": Layout(
        (1080, 1920), Box(190, 240, 700, 700), Box(100, 960, 880, 430), Box(100, 400, 880, 800),
        Box(100, 1410, 880, 150), (540, 130), 76, True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Words:
    """The texts of the picture; `singer` and `credit` may be empty."""

    title: str
    singer: str
    credit: str


def decode_artwork(artwork: bytes, context: Context, side: int = ARTWORK) -> Pixels | None:
    """A JPEG or PNG as a square of `side` pixels, its middle. None, with a warning, for one that can't be read."""
    size = picture_size(artwork)
    try:
        if size is None or size[0] * size[1] > _MOST_PIXELS:
            raise ValueError("it is no picture, or a very large one")
        with Image.open(BytesIO(artwork), formats=("JPEG", "PNG")) as image:
            image.draft("RGB", (side, side))
            return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        context.warn(f"The artwork can't be shown ({error}).")
        return None


def thumbnail(artwork: bytes, context: Context) -> bytes:
    """The artwork as a JPEG of `THUMBNAIL` pixels a side; empty where there is none that can be read."""
    pixels = decode_artwork(artwork, context, THUMBNAIL) if artwork else None
    if pixels is None:
        return b""
    jpeg = BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=85)
    return jpeg.getvalue()


def loudness_bars(source: AudioSource, count: int) -> NDArray[np.float64]:
    """The height of each of `count` bars, 0..1: the RMS of its part of `source` against the loudest one."""
    edges = np.linspace(0, source.frames, count + 1).astype(int)
    power = np.zeros(count)
    for number, (start, stop) in enumerate(pairwise(edges)):
        if stop > start:
            power[number] = np.mean(np.square(source.read(start, stop).samples, dtype=np.float64))
    return np.asarray(np.sqrt(power / max(power.max(), 1e-12)))


def draw(
    shape: Shape,
    words: Words,
    artwork: Pixels | None,
    bars: NDArray[np.float64],
    fonts: Sequence[Path],
    context: Context,
) -> tuple[Pixels, Pixels]:
    """The picture with the waveform still to come, and with all of it played. `bars`: as `loudness_bars` gives them,
    `bar_count` of them."""
    layout = LAYOUTS[shape]
    colour = _colour(artwork, words.title)
    picture = _background(layout, artwork, colour)
    _write_words(picture, layout, layout.alone if artwork is None else layout.words, words, fonts, context)
    if artwork is not None:
        box = layout.artwork
        square = Image.fromarray(artwork).resize((box.width, box.height), Image.Resampling.LANCZOS)
        picture.paste(square, (box.left, box.top), _rounded((box.width, box.height), 28))
    _write_mark(picture, layout)
    mask = _wave(layout.wave, bars)
    before, after = picture.copy(), picture
    place = (layout.wave.left, layout.wave.top)
    before.paste(_mixed(_WHITE, before.getpixel(place), 0.45), place, mask)
    after.paste(_mixed(colour, _WHITE, 0.85), place, mask)
    return np.asarray(before), np.asarray(after)


def bar_count(shape: Shape) -> int:
    return (LAYOUTS[shape].wave.width + _GAP) // (_BAR + _GAP)


def _background(layout: Layout, artwork: Pixels | None, colour: tuple[int, int, int]) -> Image.Image:
    """The artwork, blurred and dark, or a gradient of `colour`."""
    if artwork is not None:
        small = ImageOps.fit(Image.fromarray(artwork), (layout.size[0] // 20, layout.size[1] // 20))
        soft = small.filter(ImageFilter.GaussianBlur(5)).resize(layout.size, Image.Resampling.BICUBIC)
        return Image.blend(
            ImageEnhance.Brightness(soft).enhance(0.55), Image.new("RGB", layout.size, (12, 12, 16)), 0.35
        )
    shade = Image.linear_gradient("L").resize(layout.size)
    return ImageOps.colorize(shade, _mixed(colour, (14, 14, 20), 0.42), (14, 14, 20))


def _colour(artwork: Pixels | None, title: str) -> tuple[int, int, int]:
    """A light, saturated colour: the hue of the artwork, or one that the title decides."""
    import colorsys

    hue = hashlib.sha256(title.encode()).digest()[0] / 256
    if artwork is not None:
        pixels = artwork[::24, ::24].reshape(-1, 3) / 255.0
        vivid = pixels.max(axis=1) - pixels.min(axis=1)
        if vivid.max() > 0.1:  # else it is grey
            red, green, blue = np.average(pixels, axis=0, weights=vivid**2)
            hue = colorsys.rgb_to_hsv(red, green, blue)[0]
    red, green, blue = colorsys.hls_to_rgb(hue, 0.66, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def _mixed(one: tuple[int, ...], other: object, share: float) -> tuple[int, int, int]:
    """`share` of the colour `one`, the rest of `other`."""
    red, green, blue = np.round(share * np.array(one) + (1 - share) * np.array(other)).astype(int).tolist()
    return red, green, blue


def _write_words(
    picture: Image.Image, layout: Layout, box: Box, words: Words, fonts: Sequence[Path], context: Context
) -> None:
    """Title, singer and credit as a block in the middle of `box`, the title as large as it fits into three lines."""
    lines: list[tuple[Typeface, str, float, tuple[int, int, int]]] = []
    for text, largest, rows, colour in (
        (words.title, layout.title, 3, _WHITE),
        (words.singer, 48, 1, (225, 225, 230)),
        (words.credit, 36, 1, (180, 180, 190)),
    ):
        face = typeface(" ".join(text.split())[:_LONGEST], fonts)
        if face.missing:
            context.warn(
                f"No font of this machine has {' '.join(face.missing[:8])}: left out in the video. Install one, for "
                "example Noto Sans."
            )
        size, broken = _fitted(face, largest, box.width, rows)
        lines += [(face, line, size, colour) for line in broken]
    # a line of the same text follows closer than the next text
    faces = [face for face, *_ in lines]
    heights = [size * (1.25 if face in faces[:number] else 1.6) for number, (face, _, size, _) in enumerate(lines)]
    top = box.top + max(0.0, (box.height - sum(heights)) / 2)
    drawing = ImageDraw.Draw(picture)
    for (face, line, size, colour), height in zip(lines, heights, strict=True):
        top += height
        at = (box.left + box.width / 2, top) if layout.centred else (box.left, top)
        drawing.text(at, line, colour, face.at(size), anchor="md" if layout.centred else "ld")


def _fitted(face: Typeface, largest: float, width: int, rows: int) -> tuple[float, list[str]]:
    """The size at which the text fits into `rows` lines of `width` pixels, and these lines; cut off if none is small
    enough."""
    size = largest
    while len(lines := _broken(face, size, width)) > rows and size > 0.55 * largest:
        size *= 0.9
    if len(lines) > rows:
        last = lines[rows - 1]
        font = face.at(size)
        while last and font.getlength(last + "...") > width:
            last = last[:-1]
        lines = [*lines[: rows - 1], last.rstrip() + "..."]
    return size, lines


def _broken(face: Typeface, size: float, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, broken at spaces, and inside of words that are longer, such as those
    of scripts without spaces."""
    font = face.at(size)
    lines = [""]
    for word in re.findall(r"\S+", face.text):
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1] and font.getlength(word) <= width:
            lines.append(word)
            continue
        lines[-1] += " " if lines[-1] else ""
        for character in word:
            if lines[-1] and font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return [line for line in lines if line]


def _write_mark(picture: Image.Image, layout: Layout) -> None:
    """The words "AI cover" in a rounded frame; `layout.mark` is its right or, if centred, middle upper end."""
    font = typeface(MARK, ()).at(40)
    width, height = round(font.getlength(MARK)) + 56, 72
    left = layout.mark[0] - (width // 2 if layout.centred else width)
    outer, inner = _rounded((width, height), height // 2), _rounded((width - 6, height - 6), height // 2 - 3)
    ring = Image.new("L", (width, height))
    ring.paste(inner, (3, 3))
    place = (left, layout.mark[1])
    picture.paste((14, 14, 20), place, outer.point(lambda value: value * 0.55))
    picture.paste(_WHITE, place, ImageChops.subtract(outer, ring))
    middle = (left + width / 2, layout.mark[1] + height / 2)
    ImageDraw.Draw(picture).text(middle, MARK, _WHITE, font, anchor="mm")


def _wave(box: Box, bars: NDArray[np.float64]) -> Image.Image:
    """The waveform as a mask of the size of `box`: rounded bars about its middle."""
    mask = Image.new("L", (box.width * _SMOOTH, box.height * _SMOOTH))
    drawing = ImageDraw.Draw(mask)
    for number, value in enumerate(bars.tolist()):
        half = max(_BAR / 2, box.height / 2 * value)
        left, middle = number * (_BAR + _GAP), box.height / 2
        corners = [left, middle - half, left + _BAR, middle + half]
        drawing.rounded_rectangle([_SMOOTH * corner for corner in corners], _SMOOTH * _BAR / 2, 255)
    return mask.resize((box.width, box.height), Image.Resampling.LANCZOS)


def _rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """A mask of `size` with rounded corners."""
    width, height = (_SMOOTH * side for side in size)
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).rounded_rectangle([0, 0, width - 1, height - 1], _SMOOTH * radius, 255)
    return mask.resize(size, Image.Resampling.LANCZOS)
