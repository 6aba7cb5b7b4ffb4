"""Decoding: every format at the right place and length, and each kind of bad file with its own error."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.sound_files import ALL_FILES, RATE, impulses, tones, write, write_av
from understudy.audio.files import Limits, decode, probe
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError

INEXACT_LENGTH = {"song.aac", "song.mkv", "song.ac3", "vorbis.ogg"}  # stores none, or (Ogg Vorbis) has only one page
LAG = {"song.aac": 1024, "song.ac3": 256}  # these do not store the encoder's delay


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def decoded(context: Context, path: Path, **options) -> np.ndarray:
    return decode(context, path, context.folder / "out.npy", **options).read().samples


def refused(context: Context, path: Path, **options) -> UnderstudyError:
    """The error that `decode` raises; nothing may be left behind."""
    out = context.folder / "refused.npy"
    with pytest.raises(UnderstudyError) as caught:
        decode(context, path, out, **options)
    assert not out.exists()
    assert caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", ALL_FILES)
@pytest.mark.parametrize("frames", [30000, 31234])
def test_an_impulse_comes_back_at_its_place_and_the_length_is_exact(context, tmp_path, name, frames):
    path = write(tmp_path / name, impulses(frames))
    file = decode(context, path, tmp_path / "out.npy")
    samples = file.read().samples
    if name in INEXACT_LENGTH:
        assert abs(file.frames - frames) <= 4096
    else:
        assert file.frames == frames
    for channel in samples:
        for place in (8000, 20000):
            assert np.argmax(np.abs(channel[place - 3000 : place + 3000])) - 3000 == LAG.get(name, 0)
    assert context.warnings == []


def test_ogg_vorbis_of_more_than_a_page_is_exact(context, tmp_path):
    for frames in (100_000, 123_456):
        noise = 0.1 * np.random.default_rng(2).standard_normal((2, frames))
        path = write(tmp_path / "vorbis.ogg", noise)
        reference = soundfile.read(path, dtype="float32", always_2d=True)[0].T
        got = decoded(context, path)
        assert got.shape == reference.shape == (2, frames)
        assert np.max(np.abs(got - reference)) < 1e-5


@pytest.mark.parametrize(
    ("name", "worst"),
    [
        ("u8.wav", 2**-7), ("s16.wav", 2**-15), ("s24.wav", 2**-23), ("s32.wav", 2**-23), ("float.wav", 0),
        ("double.wav", 0), ("extensible.wav", 2**-23), ("s16.flac", 2**-15), ("s24.flac", 2**-23),
        ("s16.aiff", 2**-15), ("s24.aiff", 2**-23), ("float.aiff", 0), ("alac.m4a", 2**-23), ("song.caf", 2**-23),
    ],
)  # fmt: skip
def test_lossless_files_give_the_samples_back(context, tmp_path, name, worst):
    wanted = tones()
    got = decoded(context, write(tmp_path / name, wanted))
    assert np.max(np.abs(got - wanted)) <= worst


@pytest.mark.parametrize("name", ["s16.wav", "s24.wav", "s16.flac", "s24.flac", "s16.aiff", "libsndfile.mp3"])
def test_agrees_with_libsndfile(context, tmp_path, name):
    path = write(tmp_path / name, tones())
    reference = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    got = decoded(context, path)
    assert got.shape == reference.shape
    assert np.max(np.abs(got - reference)) < (1e-4 if name.endswith("mp3") else 1e-7)


@pytest.mark.parametrize("name", [n for n in ALL_FILES if n != "song.ac3"])
def test_probe_tells_the_truth(tmp_path, name):
    info = probe(write(tmp_path / name, tones(48000)))
    assert info.rate == (48000 if "opus" in name or name.endswith("webm") else RATE)
    assert info.channels == 2
    assert info.duration == pytest.approx(48000 / info.rate, abs=0.06)
    assert info.codec
    assert info.container


@pytest.mark.parametrize(
    "name", ["song.mp3", "song.m4a", "song.opus", "vorbis.ogg", "s16.flac", "float.wav", "song.mkv"]
)
def test_a_part_is_exact_to_the_sample(context, tmp_path, name):
    path = write(tmp_path / name, tones(100_000))
    file = decode(context, path, tmp_path / "all.npy")
    whole = file.read().samples
    for start, duration in [(0.0, 0.5), (0.123456, 0.7), (1.0, None), (1.9, 0.05), (1.5, 60.0)]:
        part = decoded(context, path, start=start, duration=duration)
        first = round(start * file.rate)
        last = whole.shape[1] if duration is None else first + round(duration * file.rate)
        np.testing.assert_array_equal(part, whole[:, first:last])


def test_content_decides_and_not_the_name(context, tmp_path):
    path = write(tmp_path / "liar.wav", impulses(), name="song.mp3")
    assert probe(path).container == "mp3"
    assert decoded(context, path).shape == (2, 30000)
    nameless = write(tmp_path / "http:%03d", impulses(), name="s16.flac")
    assert decoded(context, nameless).shape == (2, 30000)


@pytest.mark.parametrize("name", ["s16.wav", "song.mp3", "song.m4a", "song.opus", "s16.flac"])
def test_mono_stays_mono(context, tmp_path, name):
    samples = tones(channels=1)
    got = decoded(context, write(tmp_path / name, samples))
    assert got.shape == samples.shape


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 96000, 192000])
def test_rates_are_kept(context, tmp_path, rate):
    soundfile.write(tmp_path / "a.flac", tones(rate).T, rate)
    file = decode(context, tmp_path / "a.flac", tmp_path / "out.npy")
    assert (file.rate, file.frames) == (rate, rate)


def test_surround_becomes_stereo_with_the_coefficients_of_bs775(context, tmp_path):
    half = 0.5**0.5
    samples = np.diag([0.5] * 6).astype(np.float32)  # frame n sounds in channel n only: L R C LFE Ls Rs
    soundfile.write(tmp_path / "a.wav", samples.T, RATE, format="WAVEX", subtype="FLOAT")
    got = decoded(context, tmp_path / "a.wav")
    wanted = 0.5 * np.array([[1, 0, half, 0, half, 0], [0, 1, half, 0, 0, half]])
    np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert any("6 channels" in warning for warning in context.warnings)


@pytest.mark.parametrize("channels", range(3, 9))
def test_any_number_of_channels_up_to_eight_becomes_stereo(context, tmp_path, channels):
    soundfile.write(tmp_path / "a.wav", tones(2000, channels).T, RATE, subtype="FLOAT")
    assert decoded(context, tmp_path / "a.wav").shape == (2, 2000)


def test_values_beyond_full_scale_are_kept(context, tmp_path):
    soundfile.write(tmp_path / "a.wav", 4 * tones().T, RATE, subtype="FLOAT")
    np.testing.assert_allclose(decoded(context, tmp_path / "a.wav"), 4 * tones(), atol=1e-6)


def test_a_silent_song_is_legal(context, tmp_path):
    for name in ("s16.wav", "song.mp3", "song.m4a"):
        samples = decoded(context, write(tmp_path / name, np.zeros((2, 20000))))
        assert samples.shape == (2, 20000)
        assert np.max(np.abs(samples)) < 1e-4


def test_a_very_short_song_is_legal(context, tmp_path):
    for name in ("s16.wav", "s16.flac", "alac.m4a"):
        assert decoded(context, write(tmp_path / name, tones(3))).shape == (2, 3)


def test_the_exact_length_of_an_itunes_file_is_in_its_own_tag(context, tmp_path):
    samples = impulses(31234)
    path = write_av(tmp_path / "a.m4a", samples, "ipod", "aac", "fltp", RATE, {"use_editlist": "0"})
    content = path.read_bytes()
    total = -(-(31234 + 1024) // 1024) * 1024
    assert decoded(context, path).shape[1] > 31234  # no edit list: the padding stays

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    text = f" 00000000 {1024:08X} {total - 1024 - 31234:08X} {31234:016X} " + "00000000 " * 8
    item = box(b"mean", b"\0\0\0\0com.apple.iTunes") + box(b"name", b"\0\0\0\0iTunSMPB")
    item = box(b"----", item + box(b"data", b"\0\0\0\1\0\0\0\0" + text.encode()))
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    meta = box(b"meta", bytes(4) + handler + box(b"ilst", item))
    at = content.rfind(b"moov") - 4  # at the end of the file, so that nothing moves
    length = struct.unpack(">I", content[at : at + 4])[0]
    old = content[at + 8 : at + length]
    table = old.find(b"stts")
    count = struct.unpack(">I", old[table + 8 : table + 12])[0]
    old = old[: table + 12] + _full_frames(old, table, count) + old[table + 12 + 8 * count :]
    keep = old[: old.find(b"udta") - 4]
    path.write_bytes(content[:at] + box(b"moov", keep + box(b"udta", meta)))
    got = decoded(context, path)
    assert got.shape[1] == 31234
    assert np.argmax(got[0][:12000]) == 8000


def _full_frames(movie: bytes, table: int, count: int) -> bytes:
    """The entries of a time table in which FFmpeg shortened the last frame, with full frames as Apple writes them."""
    entries = struct.iter_unpack(">II", movie[table + 12 : table + 12 + 8 * count])
    return b"".join(struct.pack(">II", packets, 1024) for packets, _ in entries)


# ---- bad input


def test_missing(context, tmp_path):
    error = refused(context, tmp_path / "nothing here.mp3")
    assert error.code == "file-not-found"
    assert "nothing here.mp3" in error.message


def test_folder(context, tmp_path):
    assert refused(context, tmp_path).code == "file-is-a-folder"


def test_no_permission(context, tmp_path, monkeypatch):
    path = write(tmp_path / "s16.wav", tones())
    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr(
            Path, "open", lambda *a, **k: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
        )
    else:
        path.chmod(0)
    error = refused(context, path)
    assert error.code == "file-not-readable"
    assert "Permission denied" in error.message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_hang(context, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert refused(context, tmp_path / "pipe.wav").code == "file-not-found"


def test_empty(context, tmp_path):
    (tmp_path / "a.mp3").touch()
    assert refused(context, tmp_path / "a.mp3").code == "file-empty"


@pytest.mark.parametrize("suffix", ["mp3", "wav", "m4a", "flac", "txt", "aac"])
def test_not_audio(context, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text("I am a shopping list: eggs, milk, bread.\n" * 200)
    assert refused(context, path).code == "not-audio"
    with pytest.raises(UnderstudyError, match="not a sound file"):
        probe(path)


def test_a_playlist_opens_no_other_file(context, tmp_path):
    song = write(tmp_path / "s16.wav", tones())
    for name, text in [
        ("a.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{song}\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", f"ffconcat version 1.0\nfile {song.name}\n"),
        ("a.wav", f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nfile://{song}\n#EXT-X-ENDLIST\n"),
    ]:
        (tmp_path / name).write_text(text)
        assert refused(context, tmp_path / name).code == "not-audio"


def test_video_without_sound(context, tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert refused(context, tmp_path / "a.mp4").code == "no-audio-track"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["s16.wav", "s24.wav", "s16.flac", "s16.aiff", "song.mp3", "libsndfile.mp3", "song.au"]
)
def test_truncated(context, tmp_path, name):
    path = write(tmp_path / name, tones(20 * RATE))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 11 // 20])
    error = refused(context, path)
    assert error.code == "file-truncated"
    assert error.message.endswith("of 0:20.")
    assert "0:1" in error.message
    assert "--duration 1" in error.hint
    assert decoded(context, path, duration=10.0).shape == (2, 10 * RATE)
    assert decoded(context, path, start=5.0, duration=4.0).shape == (2, 4 * RATE)
    assert refused(context, path, duration=15.0).code == "file-truncated"


@pytest.mark.parametrize("name", ["song.m4a", "alac.m4a", "song.mp4"])
def test_an_mp4_without_its_index_is_truncated(context, tmp_path, name):
    path = write(tmp_path / name, tones(2 * RATE))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    error = refused(context, path)
    assert error.code == "file-truncated"
    assert "index" in error.message


def test_an_mp4_with_its_index_first_is_truncated_at_its_data(context, tmp_path):
    path = write_av(tmp_path / "a.m4a", tones(20 * RATE), "ipod", "aac", "fltp", RATE, {"movflags": "+faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 11 // 20])
    error = refused(context, path)
    assert error.code == "file-truncated"
    assert decoded(context, path, duration=9.0).shape == (2, 9 * RATE)


@pytest.mark.parametrize("name", ["song.mp3", "libsndfile.mp3"])
def test_joined_mp3_files_are_one_song_and_not_truncated(context, tmp_path, name):
    content = write(tmp_path / name, tones(5 * RATE)).read_bytes()
    (tmp_path / "joined.mp3").write_bytes(content * 3)
    assert decoded(context, tmp_path / "joined.mp3").shape[1] == pytest.approx(15 * RATE, abs=RATE // 4)


def test_an_mp3_without_a_header_is_never_called_truncated(context, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 10 * RATE))
    noise[:, : 5 * RATE] *= 1e-4  # a variable bit rate makes FFmpeg's guess of the length wrong
    path = write_av(tmp_path / "a.mp3", noise, "mp3", "libmp3lame", "fltp", RATE, {"write_xing": "0"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert decoded(context, path).shape[1] == pytest.approx(5 * RATE, abs=RATE)


def test_pictures_are_not_decoded(tmp_path):
    """A picture of a few hundred kilobytes can unpack to gigabytes; FFmpeg decodes it at opening unless told not to."""
    from tests.audio.test_tags import picture
    from understudy.audio.encode import encode, parse_format
    from understudy.audio.libav import opened
    from understudy.audio.samples import Audio
    from understudy.audio.tags import Tags
    from understudy.context import Context

    tags = Tags(artwork=picture("png"), artwork_mime="image/png")
    for form in ("mp3", "flac", "m4a", "opus"):
        path = encode(Context(tmp_path), Audio.of(tones(), 44100), tmp_path / "a", parse_format(form), tags)
        with opened(path) as container:
            assert container.streams.video[0].codec_context.pix_fmt is None


def test_a_cut_off_ogg_is_used_with_a_warning(context, tmp_path):
    path = write(tmp_path / "vorbis.ogg", tones(20 * RATE))
    assert decoded(context, path).shape == (2, 20 * RATE)
    assert context.warnings == []
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    samples = decoded(context, path)
    assert 8 * RATE < samples.shape[1] < 12 * RATE
    assert any("cut off" in warning for warning in context.warnings)


def test_zero_length(context, tmp_path):
    for name in ("s16.wav", "s16.aiff"):
        error = refused(context, write(tmp_path / name, np.zeros((2, 0))))
        assert error.code == "song-empty"


def test_longer_than_the_limit_by_its_header(context, tmp_path):
    size = 3 * 3600 * 8000
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", size
    )
    path = tmp_path / "mix.wav"
    path.write_bytes(head)
    os.truncate(path, 44 + size)  # sparse: takes no room
    error = refused(context, path)
    assert error.code == "song-too-long"
    assert "3:00:00" in error.message
    assert "2:00:00" in error.message
    assert "--duration" in error.hint
    assert probe(path).duration == 10800
    assert decoded(context, path, start=60, duration=1).shape == (1, 8000)


@pytest.mark.parametrize("name", ["song.aac", "vorbis.ogg", "song.mp3", "s16.flac", "song.m4a", "song.mkv"])
def test_longer_than_the_limit_by_what_is_decoded(context, tmp_path, name):
    path = write(tmp_path / name, tones(3 * RATE))
    assert refused(context, path, limits=Limits(seconds=2)).code == "song-too-long"
    assert decoded(context, path, duration=1.5, limits=Limits(seconds=2)).shape[0] == 2


def test_a_lying_header_does_not_pass_the_limit(context, tmp_path):
    content = bytearray(write(tmp_path / "s16.flac", tones(3 * RATE)).read_bytes())
    content[21] &= 0xF0  # STREAMINFO: 36 bits of total frames
    content[22:26] = (RATE).to_bytes(4, "big")
    path = tmp_path / "lie.flac"
    path.write_bytes(content)
    assert probe(path).duration == pytest.approx(1)
    assert refused(context, path, limits=Limits(seconds=2)).code == "song-too-long"


def test_too_many_channels(context, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((1000, 96)), RATE)
    error = refused(context, tmp_path / "a.wav")
    assert error.code == "too-many-channels"
    assert "96" in error.message


@pytest.mark.parametrize("rate", [4000, 7999, 192001, 384000])
def test_unsupported_rate(context, tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.zeros((1000, 1)), rate)
    error = refused(context, tmp_path / "a.wav")
    assert error.code == "unsupported-rate"
    assert str(rate) in error.message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers(context, tmp_path, value, subtype):
    samples = tones(5 * RATE)
    samples[1, 3 * RATE] = value
    soundfile.write(tmp_path / "a.wav", samples.T, RATE, subtype=subtype)
    error = refused(context, tmp_path / "a.wav")
    assert error.code == "samples-not-finite"
    assert "3.000 s" in error.message
    assert decoded(context, tmp_path / "a.wav", duration=2.9).shape == (2, round(2.9 * RATE))


def test_integers_saved_as_floats(context, tmp_path):
    soundfile.write(tmp_path / "a.wav", 32768 * tones().T, RATE, subtype="FLOAT")
    assert refused(context, tmp_path / "a.wav").code == "samples-out-of-range"
    soundfile.write(tmp_path / "b.wav", 1e300 * tones().T.astype(np.float64), RATE, subtype="DOUBLE")
    assert refused(context, tmp_path / "b.wav").code == "samples-not-finite"


def test_damage_in_the_middle_is_silence_of_the_same_length_and_said(context, tmp_path):
    rng = np.random.default_rng(5)
    noise = (0.1 * rng.standard_normal((2, 10 * RATE))).astype(np.float32)
    path = write(tmp_path / "song.m4a", noise)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = rng.bytes(400)
    path.write_bytes(content)
    samples = decoded(context, path)
    assert samples.shape == (2, 10 * RATE)
    assert any("damaged" in warning for warning in context.warnings)


def test_a_mostly_damaged_file_is_refused(context, tmp_path):
    rng = np.random.default_rng(6)
    noise = (0.1 * rng.standard_normal((2, 10 * RATE))).astype(np.float32)
    path = write_av(tmp_path / "a.m4a", noise, "ipod", "aac", "fltp", RATE, {"movflags": "+faststart"})
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 8, len(content) - 300, 900):
        content[at : at + 300] = rng.bytes(300)
    path.write_bytes(content)
    assert refused(context, path).code == "file-damaged"


@pytest.mark.parametrize(
    ("start", "duration", "code"),
    [
        (-1, None, "bad-part"), (0, 0, "bad-part"), (0, -1, "bad-part"), (float("nan"), None, "bad-part"),
        (0, float("inf"), "bad-part"), (1e9, None, "bad-part"), (5, None, "start-past-end"), (5, 1, "start-past-end"),
    ],
)  # fmt: skip
def test_bad_parts(context, tmp_path, start, duration, code):
    path = write(tmp_path / "s16.wav", tones(RATE))
    assert refused(context, path, start=start, duration=duration).code == code


def test_file_too_big(context, tmp_path):
    path = write(tmp_path / "s16.wav", tones())
    assert refused(context, path, limits=Limits(bytes=1000)).code == "file-too-big"


def test_cancelled(tmp_path):
    cancelled = threading.Event()
    context = Context(tmp_path, cancelled=cancelled, on_progress=lambda fraction: cancelled.set())
    path = write(tmp_path / "s16.wav", tones(10 * RATE))
    with pytest.raises(Cancelled):
        decode(context, path, tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()


def test_progress_grows_to_one(tmp_path):
    seen: list[float] = []
    context = Context(tmp_path, on_progress=seen.append)
    decode(context, write(tmp_path / "song.mp3", tones(5 * RATE)), tmp_path / "out.npy")
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)


def test_disk_full_while_decoding(context, tmp_path):
    path = write(tmp_path / "s16.wav", tones(10 * RATE))
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(UnderstudyError) as caught:
        decode(context, path, Path("/dev/full"))
    assert caught.value.code == "disk-full"
    assert Path("/dev/full").exists()
    with pytest.raises(UnderstudyError) as caught:
        decode(context, path, tmp_path / "no folder" / "out.npy")
    assert caught.value.code == "output-not-writable"


def test_broken_files_print_nothing(tmp_path):
    """libav logs to stderr by itself; a user must only see our two lines."""
    for name in ("song.mp3", "song.m4a", "vorbis.ogg", "s16.flac", "song.aac"):
        content = bytearray(write(tmp_path / name, tones()).read_bytes())
        content[len(content) // 2 : len(content) // 2 + 300] = np.random.default_rng(1).bytes(300)
        (tmp_path / name).write_bytes(content)
    code = (
        "import sys; from pathlib import Path; from understudy.context import Context\n"
        "from understudy.audio.files import decode\n"
        "from understudy.errors import UnderstudyError\n"
        "for name in sys.argv[2:]:\n"
        "    try: decode(Context(Path(sys.argv[1])), Path(name), Path(sys.argv[1]) / 'o.npy')\n"
        "    except UnderstudyError: pass\n"
    )
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), *names], capture_output=True, check=True)
    assert done.stdout == b""
    assert done.stderr == b""
