"""The video of a cover: what it shows, and that its sound is the cover."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest
import soundfile
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tests.audio.test_tags import picture
from tests.support.sound_files import tones
from understudy.audio.encode import encode, parse_format
from understudy.audio.samples import Audio
from understudy.audio.stored import AudioFile, write_blocks
from understudy.audio.tags import Tags, TagSettings, made_by_understudy, read_tags
from understudy.choices import Shape
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.stages import video
from understudy.pipeline.stages.decode import decode_song
from understudy.pipeline.stages.encode import song_tags
from understudy.pipeline.stages.video import FPS, artwork_pixels, make_video
from understudy.pipeline.video.fonts import installed_fonts, typeface
from understudy.pipeline.video.picture import (
    ARTWORK,
    LAYOUTS,
    Pixels,
    Words,
    bar_count,
    decode_artwork,
    draw,
    thumbnail,
)

SHAPES: tuple[Shape, ...] = ("landscape", "portrait")
LONG = "A Very Long Title of a Song That Nobody Ever Managed to Say in One Breath, Part II (Remastered 2011) [Live]"


def plain_song(path: Path) -> Path:
    """A file without tags."""
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, tones(2000).T, 44100)
    return path


def noise(folder: Path, seconds: float, rate: int = 44100, channels: int = 2) -> AudioFile:
    """Noise below 8 kHz, whose correlation has a single peak and which AAC keeps."""
    frames = round(seconds * rate)
    spectrum = np.fft.rfft(np.random.default_rng(3).standard_normal((channels, frames)))
    spectrum[:, round(8000 * frames / rate) :] = 0
    samples = 0.1 * np.fft.irfft(spectrum, frames) * np.sqrt(rate / 16000)
    return write_blocks(folder / f"noise{rate}.npy", rate, channels, [Audio.of(samples.astype(np.float32), rate)])


def made(folder: Path, sound: AudioFile, shape: Shape = "landscape", artwork: Sequence[Pixels] = ()) -> Path:
    folder.mkdir(exist_ok=True)
    tags = Tags(artwork=picture("jpg"), artwork_mime="image/jpeg")
    song = encode(Context(folder), Audio.of(tones(2000), 44100), folder / "Lied.flac", parse_format("flac"), tags)
    return make_video(Context(folder), sound, artwork, "nova", song, "Lied", TagSettings(song_artist="Band"), shape, ())


def frames_of(path: Path) -> list[VideoFrame]:
    with av.open(path) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 1), (22050, 2)])
def test_the_sound_of_the_video_is_the_cover_to_the_sample(tmp_path: Path, rate: int, channels: int):
    cover = noise(tmp_path, 2.3, rate, channels)
    path = made(tmp_path / "out", cover)
    found = decode_song(Context(tmp_path), path, 0.0, None)
    assert (found.channels, found.frames * rate) == (channels, cover.frames * found.rate)
    if found.rate == rate:
        heard, wanted = found.read().samples[0], cover.read().samples[0]
        size = 2 * len(wanted)
        correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size)))
        assert np.argmax(correlation) == 0
        assert 10 * np.log10(np.mean(wanted**2) / np.mean((heard - wanted) ** 2)) > 20
    with av.open(path) as container:
        lengths = [float(stream.duration * stream.time_base) for stream in container.streams]  # type: ignore[operator]
    assert sorted(lengths) == [pytest.approx(2.3, abs=1e-3), pytest.approx(58 / FPS)], "sound, and whole frames of it"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_file_is_what_platforms_take(tmp_path: Path, shape: Shape):
    path = made(tmp_path / "out", noise(tmp_path, 1.0), shape)
    with av.open(path) as container:
        (picture,), (sound,) = container.streams.video, container.streams.audio
        assert (picture.codec_context.name, picture.pix_fmt, picture.average_rate) == ("h264", "yuv420p", FPS)
        assert (picture.width, picture.height) == {"landscape": (1920, 1080), "portrait": (1080, 1920)}[shape]
        assert (sound.codec_context.name, sound.rate, sound.channels) == ("aac", 44100, 2)
        assert container.metadata["major_brand"] == "mp42"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    tags = read_tags(path)
    assert (tags.title, tags.artist, tags.composer) == ("Lied (nova cover)", "nova", "Band")
    assert "AI-generated cover" in tags.comment
    assert made_by_understudy(path)
    assert len(frames_of(path)) == FPS


def test_the_same_cover_gives_the_same_bytes(tmp_path: Path):
    cover = noise(tmp_path, 0.6)
    assert made(tmp_path / "a", cover).read_bytes() == made(tmp_path / "b", cover).read_bytes()


def test_the_time_moves_along_the_waveform(tmp_path: Path):
    frames = [
        frame.to_ndarray(format="gray").astype(int) for frame in frames_of(made(tmp_path / "o", noise(tmp_path, 4)))
    ]
    wave = LAYOUTS["landscape"].wave
    for number in (25, 50, 75, 99):
        changed = np.flatnonzero((np.abs(frames[number] - frames[0]) > 24).any(axis=0))
        now = wave.left + wave.width * number / 100
        assert changed.min() < wave.left + 12
        assert now - 24 < changed.max() <= now + 8
    rows = np.flatnonzero((np.abs(frames[99] - frames[0]) > 24).any(axis=1))
    assert wave.top <= rows.min() < rows.max() < wave.top + wave.height


def test_a_cancelled_video_leaves_no_file(tmp_path: Path):
    cancelled = Event()
    seen: list[float] = []

    def progress(fraction: float) -> None:
        seen.append(fraction)
        cancelled.set()

    song, cover = plain_song(tmp_path / "s.wav"), noise(tmp_path, 2)
    context = Context(tmp_path, on_progress=progress, cancelled=cancelled)
    with pytest.raises(Cancelled):
        make_video(context, cover, (), "nova", song, "s", TagSettings(), "landscape", ())
    assert len(seen) == 1
    assert not (tmp_path / "video.mp4").exists()


def test_without_an_encoder_it_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(video, "ENCODERS", {"libnothing": {}})
    with pytest.raises(UnderstudyError, match="no encoder for H") as raised:
        video.find_encoder()
    assert raised.value.code == "video-encoder-missing"


def changed_box(one: Pixels, other: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of where two pictures differ."""
    rows, columns = np.nonzero((one != other).any(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def drawn(shape: Shape, words: Words, artwork: Pixels | None = None, fonts: Sequence[Path] = ()) -> Pixels:
    context = Context(Path())
    bars: NDArray[np.float64] = np.linspace(0, 1, bar_count(shape))
    return draw(shape, words, artwork, bars, fonts, context)[0]


GREY = np.full((ARTWORK, ARTWORK, 3), 90, np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("title", ["Hi", LONG, "W" * 200, "1 " * 100, "昨日のうた" * 30])
def test_every_title_stays_in_its_place(shape: Shape, title: str):
    """With the artwork grey, the title decides no colours: what differs from the empty picture is the words."""
    fonts = installed_fonts()
    words = Words(title, "nova and everybody else who ever sang in a choir or in an orchestra", f"Original: {LONG}")
    left, top, right, bottom = changed_box(drawn(shape, words, GREY, fonts), drawn(shape, Words("", "", ""), GREY))
    box = LAYOUTS[shape].words
    assert box.left - 4 <= left < right <= box.left + box.width + 4
    assert box.top - 4 <= top < bottom <= box.top + box.height + 4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("artwork", [None, GREY])
def test_the_mark_is_in_every_picture(shape: Shape, artwork: Pixels | None, monkeypatch: pytest.MonkeyPatch):
    words = Words("Song", "nova", "")
    marked = drawn(shape, words, artwork)
    monkeypatch.setattr("understudy.pipeline.video.picture._write_mark", lambda picture, layout: None)
    left, top, right, bottom = changed_box(marked, drawn(shape, words, artwork))
    x, y = LAYOUTS[shape].mark
    assert (top, bottom) == (y, y + 71)
    assert (left + right) // 2 == x if LAYOUTS[shape].centred else right == x - 1
    white = marked[top:bottom, left:right].min(axis=2) > 240
    assert white[:3, 40:-40].mean() > 0.9, "its frame"
    assert 0.05 < white[15:-15, 25:-25].mean() < 0.5, "its letters"


def test_the_artwork_is_shown():
    red = np.full((ARTWORK, ARTWORK, 3), (200, 20, 20), np.uint8)
    for shape in SHAPES:
        box = LAYOUTS[shape].artwork
        found = drawn(shape, Words("Song", "nova", ""), red)
        assert (found[box.top + 40 : box.top + box.height - 40, box.left : box.left + box.width] == (200, 20, 20)).all()


def test_what_no_font_has_is_left_out_and_said():
    context = Context(Path())
    draw("landscape", Words("昨日 blue", "nova", ""), None, np.ones(bar_count("landscape")), (), context)
    assert context.warnings == [
        "No font of this machine has 昨 日: left out in the video. Install one, for example Noto Sans."
    ]
    assert typeface("昨日 blue", ()).text == " blue"
    assert typeface("plain", ()).missing == ""


def test_a_font_that_has_the_characters_is_found(tmp_path: Path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    fonts = installed_fonts()
    if not fonts:
        pytest.skip("this machine has no fonts")
    found = typeface("Grüße – “Ünïcödé”", (tmp_path / "broken.ttf", *fonts))
    assert (found.missing, found.path in fonts) == ("", True)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_artwork_of_the_song_is_decoded(tmp_path: Path, kind: str):
    tags = Tags(artwork=picture(kind), artwork_mime={"jpg": "image/jpeg", "png": "image/png"}[kind])
    song = encode(Context(tmp_path), Audio.of(tones(2000), 44100), tmp_path / "s.flac", parse_format("flac"), tags)
    (pixels,) = artwork_pixels(Context(tmp_path), song, TagSettings())
    assert pixels.shape == (ARTWORK, ARTWORK, 3)
    assert artwork_pixels(Context(tmp_path), song, TagSettings(artwork="none")) == ()
    plain = plain_song(tmp_path / "plain.wav")
    assert artwork_pixels(Context(tmp_path), plain, TagSettings()) == ()


def test_a_song_without_tags_is_called_as_its_file(tmp_path: Path):
    song = plain_song(tmp_path / "song.wav")
    assert song_tags(song, "Grüße", None).title == "Grüße"
    assert song_tags(song, "caf\udce9", None).title == "caf?", "no text, but a name that a disk may have"


def test_damaged_and_huge_artwork_is_left_out():
    for artwork in (
        picture("jpg")[:300],
        picture("png")[:80],
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\xff\xff" * 2,
    ):
        context = Context(Path())
        assert thumbnail(artwork, context) == b""
        assert decode_artwork(artwork, context) is None
        assert context.warnings[0].startswith("The artwork can't be shown")
