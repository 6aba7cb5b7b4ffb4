"""What the library keeps of a recording: its sound at its own rate, mono, 24 bits, whatever the file was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.support.recording_takes import take, write
from understudy.audio.samples import Audio
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.voices import names, recording_files


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def decoded(context: Context, sound: Audio, subtype: str = "FLOAT") -> Audio:
    path = write(context.folder / "a.wav", sound, subtype)
    result = recording_files.decode(context, path, context.folder / "out.npy").read()
    assert sorted(file.name for file in context.folder.iterdir()) == ["a.wav", "out.npy"]
    return result


def kept(context: Context, sound: Audio, name: str = "Take 1.wav") -> tuple[Audio, Path]:
    source = write_blocks(context.folder / "source.npy", sound.rate, 1, [sound])
    (context.folder / "recordings").mkdir(exist_ok=True)
    recording = recording_files.store(context, source, context.folder / "recordings", 7, name)
    path = context.folder / "recordings" / recording.file
    assert [file.name for file in path.parent.iterdir()] == [recording.file]
    assert recording.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert recording.duration == pytest.approx(sound.duration)
    assert recording.file.endswith(f"-{recording.sha256[:8]}.flac")
    samples, rate = soundfile.read(path, dtype="float32")
    return Audio.of(samples, rate), path


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_rates_up_to_48_khz_stay(context: Context, rate: int) -> None:
    sound = take(1, rate)
    result = decoded(context, sound)
    assert result.rate == rate
    assert np.array_equal(result.samples, sound.samples)


@pytest.mark.parametrize("rate", [88200, 96000, 192000])
def test_higher_rates_come_down_without_moving_anything(context: Context, rate: int) -> None:
    time = np.arange(rate) / rate
    result = decoded(context, Audio.of(0.5 * np.sin(2 * np.pi * 1000 * time), rate))
    assert (result.rate, result.frames) == (48000, 48000)
    wanted = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)
    assert np.abs(result.samples[0] - wanted)[2000:-2000].max() < 1e-4


def test_channels_are_mixed_but_never_cancelled(context: Context) -> None:
    sound = take(1).samples[0]
    other = take(1, seed=1).samples[0]
    for channels, wanted in (
        ([sound, 0.8 * sound + 0.2 * other], 0.9 * sound + 0.1 * other),
        ([sound, sound], sound),
        ([sound, 0 * sound], sound),
        ([0.1 * sound, -sound], -sound),
    ):
        result = decoded(context, Audio.of(np.stack(channels), 24000))
        made = result.samples[0]
        assert abs(20 * np.log10(np.linalg.norm(made) / np.linalg.norm(wanted))) < 1.0
        assert np.vdot(made, wanted) > 0.999 * np.linalg.norm(made) * np.linalg.norm(wanted)


def test_storing_keeps_24_bits_and_is_reproducible(context: Context) -> None:
    sound = take(1)
    first, path = kept(context, sound)
    assert path.name.startswith("007-take-1-")
    assert np.abs(first.samples - sound.samples).max() < 2**-21
    data = path.read_bytes()
    path.unlink()
    assert kept(context, sound)[1].read_bytes() == data


def test_sound_beyond_full_scale_is_turned_down_not_clipped(context: Context) -> None:
    sound = Audio(take(1).samples * np.float32(20), 24000)
    assert np.abs(sound.samples).max() > 1.5
    stored, _ = kept(context, sound)
    scale = np.abs(stored.samples).max() / np.abs(sound.samples).max()
    assert np.abs(stored.samples).max() > 0.99
    np.testing.assert_allclose(stored.samples, sound.samples * scale, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("Élan vital (2).M4A", "007-elan-vital-2-"),
        ("录音.wav", "007-recording-"),
        ("../../etc/passwd", "007-passwd-"),
        ("-rf *.wav", "007-rf-"),
        ("x" * 300, "007-" + "x" * 60 + "-"),
    ],
)
def test_file_names_are_plain_whatever_the_recording_was_called(context: Context, name: str, start: str) -> None:
    _, path = kept(context, Audio.silence(1, 100, 8000), name)
    assert path.name.startswith(start)


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_name_can_be_printed(name: str) -> None:
    shown = names.printable(name)
    assert shown.isprintable()
    assert len(shown) == len(name)
    shown.encode()


def test_an_audio_file_is_what_comes_out(context: Context) -> None:
    path = write(context.folder / "a.wav", take(1))
    assert isinstance(recording_files.decode(context, path, context.folder / "out.npy"), AudioFile)
