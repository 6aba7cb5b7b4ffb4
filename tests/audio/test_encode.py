"""Writing: every format gives back the same length at the same place, the same bytes, and never a clipped sample."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sound_files import impulses, tones
from understudy.audio.encode import FORMATS, OutputFormat, encode, parse_format, peak
from understudy.audio.files import decode, probe
from understudy.audio.resample import resampled_frames
from understudy.audio.samples import Audio
from understudy.audio.stored import write_blocks
from understudy.audio.tags import Tags, cover_tags
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError

LOSSLESS = {"wav16": 2**-15, "wav24": 2**-23, "wav32f": 0.0, "flac": 2**-23, "flac16": 2**-15}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def written(context: Context, form: str, samples: np.ndarray, rate: int = 44100, tags: Tags | None = None) -> Path:
    fmt = parse_format(form)
    path = context.folder / f"a{fmt.extension}"
    assert encode(context, Audio.of(samples, rate), path, fmt, tags or Tags()) == path
    return path


def read_naively(path: Path) -> tuple[np.ndarray, int]:
    """As a plain player does: libsndfile, or FFmpeg frame by frame, without our own care for lengths."""
    if path.suffix != ".m4a":
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return samples.T, rate
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        return np.concatenate(frames, axis=1), container.streams.audio[0].rate


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("rate", [44100, 48000, 8000, 22050, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_lengths_and_places_survive(context, form, rate, channels):
    frames = rate + 777
    place = rate // 2 - rate // 2 % 147  # falls on a whole frame at 44.1 and 48 kHz from any of these rates
    path = written(context, form, impulses(frames, (place,), channels), rate)
    file = decode(context, path, context.folder / "out.npy")
    assert file.rate == parse_format(form).rate_for(rate)
    assert file.frames == resampled_frames(frames, rate, file.rate)
    assert file.channels == channels
    for channel in file.read().samples:
        assert abs(np.argmax(np.abs(channel)) - place * file.rate / rate) <= 0.5
    naive, naive_rate = read_naively(path)
    assert naive_rate == file.rate
    assert 0 <= naive.shape[1] - file.frames < (1024 if path.suffix == ".m4a" else 1)  # FFmpeg shows AAC's padding
    assert abs(np.argmax(np.abs(naive[0])) - place * file.rate / rate) <= 0.5


@pytest.mark.slow
@given(frames=st.integers(1, 6000), form=st.sampled_from(FORMATS))
@settings(max_examples=80)
def test_any_length_survives(tmp_path, frames, form):
    context = Context(tmp_path)
    samples = 0.1 * np.random.default_rng(frames).standard_normal((2, frames))
    path = written(context, form, samples, 48000)
    assert decode(context, path, tmp_path / "out.npy").frames == frames
    assert form == "m4a" or read_naively(path)[0].shape[1] == frames


@pytest.mark.parametrize("frames", [2, 45, 624, 2362, 4508])
def test_noise_too_short_to_be_told_from_video_survives(tmp_path, frames):
    """FFmpeg takes these for H.263, VVC or nothing at all when their content alone is to say what they are."""
    context = Context(tmp_path)
    path = written(context, "mp3", 0.1 * np.random.default_rng(frames).standard_normal((2, frames)), 48000)
    assert decode(context, path, tmp_path / "out.npy").frames == frames


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mp3", "m4a", "opus"])
def test_lengths_around_the_frame_size_survive(context, form):
    """The last packet's padding takes every value here; FFmpeg's own MP3 header is wrong for one in 25."""
    samples = 0.1 * np.random.default_rng(1).standard_normal((1, 6000))
    for frames in range(3400, 4600, 19):
        path = written(context, form, samples[:, :frames], 48000)
        assert decode(context, path, context.folder / "out.npy").frames == frames
        assert form == "m4a" or soundfile.info(path).frames == frames


@pytest.mark.parametrize("form", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_formats_give_the_samples_back(context, form, channels):
    wanted = tones(70_000, channels)
    path = written(context, form, wanted)
    got = decode(context, path, context.folder / "out.npy").read().samples
    assert np.max(np.abs(got - wanted)) <= 1.51 * LOSSLESS[form]  # rounding by half a step and dither of up to one
    np.testing.assert_array_equal(read_naively(path)[0], got)


@pytest.mark.parametrize(("form", "error"), [("mp3", 0.02), ("m4a", 0.02), ("opus", 0.04)])
def test_lossy_formats_come_close(context, form, error):
    wanted = tones(100_000, rate=48000)
    got = decode(context, written(context, form, wanted, 48000), context.folder / "out.npy").read().samples
    inside = slice(5000, -5000)
    assert np.max(np.abs(got[:, inside] - wanted[:, inside])) < error


def test_the_kinds_of_file_are_what_they_say(context):
    kinds = {}
    for form in FORMATS:
        info = probe(written(context, form, tones()))
        kinds[form] = (info.container, info.codec)
    assert kinds == {
        "wav16": ("wav", "pcm_s16le"), "wav24": ("wav", "pcm_s24le"), "wav32f": ("wav", "pcm_f32le"),
        "flac": ("flac", "flac"), "flac16": ("flac", "flac"), "mp3": ("mp3", "mp3float"), "m4a": ("mov", "aac"),
        "opus": ("ogg", "opus"),
    }  # fmt: skip
    assert soundfile.info(written(context, "flac", tones())).subtype == "PCM_24"
    assert soundfile.info(written(context, "flac16", tones())).subtype == "PCM_16"


def test_m4a_has_its_index_first_so_that_it_plays_while_loading(context):
    content = written(context, "m4a", tones()).read_bytes()
    assert content[4:12] == b"ftypM4A "
    assert content.find(b"moov") < content.find(b"mdat")


def test_bit_rates(context):
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 2 * 44100))
    for form, kilobits in [("mp3", 320), ("mp3:128", 128), ("m4a", 256), ("m4a:128", 128)]:
        size = written(context, form, noise).stat().st_size
        assert size * 8 / 2 / 1000 == pytest.approx(kilobits, rel=0.15)
        half = written(context, form, noise[:1]).stat().st_size
        assert half == pytest.approx(size / 2, rel=0.2)
    small, large = (written(context, form, noise).stat().st_size for form in ("opus:64", "opus"))
    assert 2 * small < large


@pytest.mark.slow
def test_the_same_sound_is_the_same_bytes_in_another_process_at_another_time(tmp_path):
    """Vorbis comments carry a random serial number and libsndfile's wav a time stamp, if nobody takes care."""
    source = write_blocks(tmp_path / "in.npy", 44100, 2, [Audio.of(tones(70_000), 44100)])
    tags = cover_tags(Tags(title="t", artist="a"), "Nova")
    for form in FORMATS:
        encode(Context(tmp_path), source, tmp_path / f"{form} first", parse_format(form), tags)
    code = (
        "import sys, time; from pathlib import Path; time.sleep(1.1)\n"
        "from understudy.context import Context; from understudy.audio.encode import FORMATS, encode, parse_format\n"
        "from understudy.audio.stored import AudioFile; from understudy.audio.tags import Tags, cover_tags\n"
        "folder = Path(sys.argv[1]); source = AudioFile.open(folder / 'in.npy', 44100)\n"
        "tags = cover_tags(Tags(title='t', artist='a'), 'Nova')\n"
        "for form in FORMATS:\n"
        "    encode(Context(folder, workers=2), source, folder / f'{form} second', parse_format(form), tags)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    for form in FORMATS:
        assert (tmp_path / f"{form} second").read_bytes() == (tmp_path / f"{form} first").read_bytes(), form


def test_dither_makes_the_error_independent_of_the_sound(context):
    """A tone below one step of 16 bits survives as a tone in noise; plain rounding would give silence."""
    time = np.arange(200_000) / 44100
    quiet = (0.4 * 2**-15 * np.sin(2 * np.pi * 1000 * time))[None]
    got = decode(context, written(context, "wav16", quiet), context.folder / "out.npy").read().samples[0]
    level = 2 * np.mean(got * np.exp(-2j * np.pi * 1000 * time))
    assert abs(level) == pytest.approx(0.4 * 2**-15, rel=0.05)
    error = (got - quiet[0]) * 2**15
    assert np.mean(error) == pytest.approx(0, abs=0.01)
    assert np.var(error) == pytest.approx(3 / 12, rel=0.03)  # a quarter step squared: the figure of TPDF


def test_digital_silence_stays_silent(context):
    samples = impulses(30000)
    for form in LOSSLESS:
        got = decode(context, written(context, form, samples), context.folder / "out.npy").read().samples
        assert np.count_nonzero(got) == 4


@pytest.mark.parametrize("form", ["wav16", "wav24", "flac", "flac16"])
def test_integer_formats_refuse_to_clip(context, tmp_path, form):
    samples = tones(100_000)
    samples[1, 88200] = -1.5
    with pytest.raises(UnderstudyError) as caught:
        written(context, form, samples)
    assert caught.value.code == "over-full-scale"
    assert "+3.5 dBFS" in caught.value.message
    assert "wav32f" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["wav16", "wav24", "flac", "flac16"])
def test_full_scale_itself_is_not_clipping(context, form):
    samples = np.tile(np.array([1.0, -1.0], np.float32), 5000)[None]
    got = decode(context, written(context, form, samples), context.folder / "out.npy").read().samples
    assert np.max(np.abs(got - samples)) <= 2.5 * LOSSLESS[form]


def test_float_wav_holds_any_level_and_lossy_formats_say_so(context):
    path = written(context, "wav32f", 4 * tones())
    np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0].T, 4 * tones())
    assert context.warnings == []
    written(context, "mp3", 4 * tones())
    assert any("clip" in warning for warning in context.warnings)


def test_peak(context):
    samples = tones(200_000)
    samples[0, 150_000] = -1.25
    assert peak(Audio.of(samples, 44100), context) == 1.25
    assert peak(Audio.silence(2, 0, 44100), context) == 0


# ---- formats


@pytest.mark.parametrize(
    ("text", "name", "kilobits"),
    [
        ("mp3", "mp3", None), (".MP3", "mp3", None), ("wav", "wav24", None), ("aac", "m4a", None),
        ("opus:96", "opus", 96), (" flac ", "flac", None), ("flac16", "flac16", None), ("wav32f", "wav32f", None),
    ],
)  # fmt: skip
def test_formats_are_parsed(text, name, kilobits):
    assert parse_format(text) == OutputFormat(name=name, kilobits=kilobits)


@pytest.mark.parametrize(
    "text", ["", "mp4a", "ogg vorbis", "mp3:", "mp3:abc", "mp3:5", "mp3:9000", "flac:320", "wma", ":"]
)
def test_unknown_formats_are_refused_with_the_list(text):
    if text == "mp3:":
        assert parse_format(text).name == "mp3"
        return
    with pytest.raises(UnderstudyError) as caught:
        parse_format(text)
    assert caught.value.code == "unknown-format"
    assert all(name in caught.value.hint for name in FORMATS)


# ---- when it goes wrong


def test_nothing_to_write(context, tmp_path):
    with pytest.raises(UnderstudyError) as caught:
        written(context, "flac", np.zeros((2, 0)))
    assert caught.value.code == "nothing-to-write"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_not_writable(context, tmp_path, form):
    for path in (tmp_path / "no such folder" / "a", tmp_path):
        with pytest.raises(UnderstudyError) as caught:
            encode(context, Audio.of(tones(), 44100), path, parse_format(form), Tags())
        assert caught.value.code == "output-not-writable"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits there")
def test_disk_full_leaves_nothing(tmp_path):
    """A file size limit fails every write beyond it, as a full disk does; tried at the start, middle and last bytes."""
    source = write_blocks(tmp_path / "in.npy", 44100, 2, [Audio.of(tones(70_000), 44100)])
    cases = []
    for form in FORMATS:
        whole = encode(Context(tmp_path), source, tmp_path / "whole", parse_format(form), Tags(title="t"))
        size = whole.stat().st_size
        cases += [f"{form}={limit}" for limit in (1, 1000, size // 2, size - 1)]
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from understudy.context import Context; from understudy.audio.encode import encode, parse_format\n"
        "from understudy.audio.stored import AudioFile; from understudy.errors import UnderstudyError\n"
        "from understudy.audio.tags import Tags\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "folder = Path(sys.argv[1]); source = AudioFile.open(folder / 'in.npy', 44100)\n"
        "for form, limit in (case.split('=') for case in sys.argv[2:]):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))\n"
        "    try: encode(Context(folder), source, folder / 'cut', parse_format(form), Tags(title='t'))\n"
        "    except UnderstudyError as error: print(form, limit, error.code, (folder / 'cut').exists())\n"
        "    else: print('written')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *cases], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"{case.replace('=', ' ')} disk-full False" for case in cases]
    assert done.stderr == ""


def test_cancelled_leaves_nothing(tmp_path):
    cancelled = threading.Event()
    context = Context(tmp_path, cancelled=cancelled, on_progress=lambda fraction: cancelled.set())
    for form in FORMATS:
        with pytest.raises(Cancelled):
            encode(context, Audio.of(tones(300_000), 44100), tmp_path / "a", parse_format(form), Tags())
        assert list(tmp_path.iterdir()) == []


def test_progress_grows_to_one(tmp_path):
    seen: list[float] = []
    encode(
        Context(tmp_path, on_progress=seen.append),
        Audio.of(tones(300_000), 44100),
        tmp_path / "a",
        OutputFormat(),
        Tags(),
    )
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_name_like_an_address_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http:song.flac", "-song %03d.flac", "söng.flac"):
        encode(Context(tmp_path), Audio.of(tones(), 44100), Path(name), OutputFormat(), Tags())
        assert (tmp_path / name).stat().st_size > 1000
