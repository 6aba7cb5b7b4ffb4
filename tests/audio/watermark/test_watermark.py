"""Embedding and detection, on a synthetic song."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
from scipy.signal import butter, sosfilt

from tests.support import signals
from understudy.audio.encode import encode, parse_format
from understudy.audio.files import decode
from understudy.audio.key_shift import shift_key
from understudy.audio.samples import Audio, concatenate
from understudy.audio.tags import Tags
from understudy.audio.watermark.detection import Mark, detect
from understudy.audio.watermark.embedding import watermarked
from understudy.audio.watermark.payload import Payload
from understudy.context import Context

PAYLOAD = Payload("cover", 0, 0xABCDE)
KEY = 0


def marked(source: Audio, folder: Path, payload: Payload = PAYLOAD, key: int = KEY) -> Audio:
    return concatenate(list(watermarked(source, payload, key, Context(folder))))


@pytest.fixture(scope="module")
def song() -> Audio:
    return signals.recorded(signals.song(24.0).mix)


@pytest.fixture(scope="module")
def cover(song: Audio, tmp_path_factory: pytest.TempPathFactory) -> Audio:
    return marked(song, tmp_path_factory.mktemp("marked"))


def found(sound: Audio, folder: Path) -> Mark | None:
    return detect(sound, Context(folder))


def test_the_payload_comes_back(cover: Audio, song: Audio, tmp_path: Path) -> None:
    mark = found(cover, tmp_path)
    assert mark is not None
    assert (mark.payload, mark.pitch, mark.speed) == (PAYLOAD, 1.0, 1.0)
    assert mark.false_alarm < 1e-9
    assert found(song, tmp_path) is None


def test_another_key_finds_nothing(cover: Audio, tmp_path: Path) -> None:
    assert detect(cover, Context(tmp_path), keys=[7]) is None


def test_a_crop_has_the_mark(cover: Audio, tmp_path: Path) -> None:
    mark = found(cover.read(54321, 54321 + 15 * cover.rate), tmp_path)
    assert mark is not None
    assert mark.payload == PAYLOAD


def test_little_is_changed(cover: Audio, song: Audio) -> None:
    """In every critical band and cell of time, by half a decibel at most, and what leaks from its neighbours."""
    difference = cover.samples - song.samples
    assert 20 * np.log10(np.sqrt(np.mean(difference**2) / np.mean(song.samples**2))) < -25
    for low, high in ((100, 200), (920, 1080), (2000, 2320), (4400, 5300), (9500, 12000)):
        band = butter(4, (low, high), "bandpass", fs=song.rate, output="sos")
        before, after = (np.mean(sosfilt(band, sound.samples) ** 2) for sound in (song, cover))
        assert abs(10 * np.log10(after / before)) < 0.25


def test_silence_stays_silent(song: Audio, tmp_path: Path) -> None:
    samples = song.read(0, 8 * song.rate).samples.copy()
    samples[:, 2 * song.rate : 3 * song.rate] = 0
    sound = marked(Audio(samples, song.rate), tmp_path)
    assert not sound.samples[:, 2 * song.rate + 200 : 3 * song.rate - 200].any()


def test_marked_stems_sum_to_a_marked_mix(tmp_path: Path) -> None:
    """Not to the last bit to the marked sum, since each is marked only as far as it hides the mark itself."""
    made = signals.song(12.0)
    stems = [marked(stem, tmp_path).samples for stem in (made.vocals, made.instrumental)]
    mix, whole = np.sum(stems, axis=0), marked(made.mix, tmp_path).samples
    assert 10 * np.log10(np.mean((mix - whole) ** 2) / np.mean(whole**2)) < -45
    mark = found(Audio(mix, made.mix.rate), tmp_path)
    assert mark is not None
    assert mark.payload == PAYLOAD


def test_a_louder_voice_in_the_middle_leaves_the_sides(cover: Audio, tmp_path: Path) -> None:
    clip = cover.read(0, 20 * cover.rate)
    voice = np.resize(signals.song().vocals.mono().samples, (1, clip.frames))
    voice *= 10 ** (12 / 20) * np.sqrt(np.mean(clip.samples**2) / np.mean(voice**2))
    mark = found(Audio.of(clip.samples + voice, clip.rate), tmp_path)
    assert mark is not None
    assert mark.payload == PAYLOAD


def test_a_critical_band_is_changed_by_half_a_decibel_at_most(tmp_path: Path) -> None:
    """At each moment, also where a chord ends and the next begins an octave away."""
    rate, seconds = 44100, np.arange(44100 * 4) / 44100
    low, high = (np.sin(2 * np.pi * hertz * seconds) for hertz in (440, 3520))
    turns = seconds % 1 < 0.5
    sound = Audio.of(np.stack([np.where(turns, low, high)] * 2) * 0.3, rate)
    added = marked(sound, tmp_path).samples - sound.samples
    for kept, edges in ((turns, (380, 500)), (~turns, (3300, 3750))):
        band = butter(2, edges, "bandpass", fs=rate, output="sos")
        noise, there = (sosfilt(band, samples[0]) for samples in (added, sound.samples))
        middle = kept & (np.abs(seconds % 0.5 - 0.25) < 0.2)
        assert 10 * np.log10(np.sum(noise[middle] ** 2) / np.sum(there[middle] ** 2)) < -24


def test_blocks_give_the_bytes_of_the_whole(song: Audio, tmp_path: Path) -> None:
    """From a position that is no multiple of anything, as windows are read."""
    again = marked(song, tmp_path)
    part = marked(song.read(0, 21 * song.rate), tmp_path)
    assert np.array_equal(again.samples[:, : 20 * song.rate], part.samples[:, : 20 * song.rate])


@pytest.mark.parametrize("rate", [16000, 22050, 48000, 96000])
def test_any_rate(rate: int, tmp_path: Path) -> None:
    sound = signals.recorded(signals.song(24.0).mix)
    resampled = Audio.of(soxr.resample(sound.samples.T, sound.rate, rate).T, rate)
    mark = found(marked(resampled, tmp_path), tmp_path)
    assert mark is not None
    assert mark.payload == PAYLOAD


def test_too_short_or_silent(tmp_path: Path) -> None:
    assert found(Audio.silence(2, 100, 44100), tmp_path) is None
    assert found(Audio.silence(1, 44100 * 12, 44100), tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", ["+3 % speed", "-3 % speed", "semitone up", "mono", "opposite", "equaliser", "quiet"]
)
def test_changes_that_are_survived(change: str, cover: Audio, tmp_path: Path) -> None:
    sound = cover.read(0, 20 * cover.rate)
    rate = sound.rate
    match change:
        case "+3 % speed":
            sound = Audio.of(soxr.resample(sound.samples.T, rate * 1.03, rate).T, rate)
        case "-3 % speed":
            sound = Audio.of(soxr.resample(sound.samples.T, rate * 0.97, rate).T, rate)
        case "semitone up":
            sound = concatenate(list(shift_key(sound, 1, Context(tmp_path))))
        case "mono":
            sound = sound.mono()
        case "opposite":
            sound = Audio(np.stack([sound.samples[0], -sound.samples[0]]), rate)
        case "equaliser":
            shelf = butter(1, 2000, "highpass", fs=rate, output="sos")
            sound = Audio.of(sound.samples + 2 * sosfilt(shelf, sound.samples), rate)
        case "quiet":
            sound = Audio(sound.samples * np.float32(0.003), rate)
    mark = found(sound, tmp_path)
    assert mark is not None
    assert mark.payload == PAYLOAD


@pytest.mark.slow
@pytest.mark.parametrize("format", ["mp3", "m4a", "opus"])
def test_codecs_are_survived(format: str, cover: Audio, tmp_path: Path) -> None:
    context = Context(tmp_path)
    file = encode(context, cover, tmp_path / f"cover.{format}", parse_format(format), Tags())
    mark = found(decode(context, file, tmp_path / "decoded.npy").read(), tmp_path)
    assert mark is not None
    assert mark.payload == PAYLOAD
