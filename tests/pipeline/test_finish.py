from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from understudy.audio.effects.reverb import reverberate, room
from understudy.audio.loudness import measure
from understudy.audio.samples import Audio
from understudy.audio.stereo import correlation
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.pipeline.separation.vocal_level import VocalLevel
from understudy.pipeline.stages.finish import FinishSettings, finish

RATE = 16000
PLAIN = FinishSettings(effects=False, ambience=0.0)


def stored(folder: Path, name: str, samples: NDArray[np.floating], rate: int = RATE) -> AudioFile:
    audio = Audio.of(samples, rate)
    return write_blocks(folder / f"{name}.npy", rate, audio.channels, [audio])


def finished(
    folder: Path,
    converted: NDArray[np.floating],
    vocals: NDArray[np.floating],
    settings: FinishSettings,
    workers: int = 1,
) -> NDArray[np.float32]:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    context = Context(work, workers=workers)
    result = finish(context, stored(folder, "converted", converted), stored(folder, "vocals", vocals), settings)
    assert [path.name for path in work.iterdir()] == ["vocals.npy"]
    assert (result.rate, result.channels, result.frames) == (RATE, np.atleast_2d(vocals).shape[0], vocals.shape[-1])
    return result.read().samples


def notes(seconds: float, seed: int = 0, timbre: int = 8) -> NDArray[np.float64]:
    """A sung-like line: 0.6 s notes, 0.2 s apart, a rest of 2 s after every fifth; loudness goes up and down."""
    random = np.random.default_rng(seed)
    samples = np.zeros(round(seconds * RATE))
    place, number = 0.3, 0
    while place < seconds - 1:
        time = np.arange(round(0.6 * RATE)) / RATE
        envelope = np.minimum(1, np.minimum(time / 0.02, (0.6 - time) / 0.06))
        pitch = random.uniform(150, 400)
        tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, timbre))
        first = round(place * RATE)
        samples[first : first + len(time)] = 0.12 * 10 ** (random.uniform(-6, 3) / 20) * envelope * tone
        number += 1
        place += 2.8 if number % 5 == 0 else 0.8
    return samples


def even(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same line with all notes equally loud, another timbre and much softer."""
    level = np.sqrt(np.convolve(samples**2, np.ones(3200) / 3200, "same")) + 1e-4
    return 0.02 * samples / level * (samples != 0)


@pytest.mark.slow
def test_loudness_follows_the_original(tmp_path: Path) -> None:
    original = notes(30) * np.repeat(10 ** (np.array([0, -8, 3, -4, 0, 5]) / 20), 5 * RATE)
    result = finished(tmp_path, even(original), np.stack([original, original]), FinishSettings(ambience=0.0))
    here = Context(tmp_path)
    wanted, got = measure(Audio.of(np.stack([original] * 2), RATE), here), measure(Audio.of(result, RATE), here)
    assert got.integrated == pytest.approx(wanted.integrated, abs=0.7)
    sung = wanted.short_term > wanted.integrated - 15
    off = got.short_term[sung] - wanted.short_term[sung]
    assert np.abs(off).mean() < 0.7
    assert np.abs(off).max() < 2.5
    plain = finished(tmp_path, even(original), np.stack([original] * 2), FinishSettings(ambience=0.0, follow=0.0))
    without = measure(Audio.of(plain, RATE), here).short_term[sung] - wanted.short_term[sung]
    assert np.abs(without).mean() > 2 * np.abs(off).mean()


def test_nothing_moves_and_an_equal_conversion_comes_back(tmp_path: Path) -> None:
    original = notes(8)
    result = finished(tmp_path, original * 0.25, original, PLAIN)
    assert correlation(result[0], original) > 0.9999
    click = np.zeros(4 * RATE)
    click[30000] = 0.5
    assert int(np.abs(finished(tmp_path, click, np.stack([click, click]), FinishSettings())[0]).argmax()) == 30000


def test_silence_where_the_original_is_silent(tmp_path: Path) -> None:
    original = notes(16)
    noisy = original + np.random.default_rng(0).standard_normal(len(original)) * 0.01
    result = finished(tmp_path, noisy, np.stack([original, original]), FinishSettings())
    silent = maximum_filter1d(original != 0, RATE) == 0  # half a second from any note
    assert silent.sum() > RATE
    assert np.abs(result[:, silent]).max() < 1e-6
    loud = finished(tmp_path, noisy, np.stack([original, original]), FinishSettings(gate=False))
    assert np.abs(loud[:, silent]).max() > 1e-3


def test_what_the_separated_vocal_is_short_of_comes_back(tmp_path: Path) -> None:
    original = notes(8)
    vocals, converted = stored(tmp_path, "original", original), stored(tmp_path, "converted", even(original))
    rising = VocalLevel(3.0, np.linspace(2.0, 4.0, 9), 1.0)
    results = []
    for level in (None, rising):
        finished = finish(Context(tmp_path), converted, vocals, PLAIN, level).read().samples[0].astype(np.float64)
        results.append(np.square(finished).reshape(2, -1).mean(axis=1))
    early, late = 10 * np.log10(results[1] / results[0])
    assert early == pytest.approx(2.5, abs=0.3)
    assert late == pytest.approx(3.5, abs=0.3)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_silent_original_or_conversion_gives_silence(tmp_path: Path, channels: int) -> None:
    line, nothing = notes(4), np.zeros(4 * RATE)
    assert not finished(tmp_path, line, np.stack([nothing] * channels), FinishSettings()).any()
    assert not finished(tmp_path, nothing, np.stack([line] * channels), FinishSettings()).any()


@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (1.0, 0.3), (0.0, 1.0)])
def test_place(tmp_path: Path, left: float, right: float) -> None:
    original = notes(8)
    result = finished(tmp_path, even(original), np.stack([left * original, right * original]), PLAIN)
    energy = np.square(result, dtype=np.float64).sum(axis=1)
    share = left**2 / (left**2 + right**2)
    assert energy[0] / energy.sum() == pytest.approx(share, abs=0.01)
    if 0 < share < 1:
        assert correlation(*result) > 0.999


def test_a_moving_place_is_followed(tmp_path: Path) -> None:
    original = notes(12, seed=3)
    right = np.linspace(0, 1, len(original))
    result = finished(
        tmp_path, even(original), np.stack([original * np.sqrt(1 - right), original * np.sqrt(right)]), PLAIN
    )
    early, late = result[:, : 4 * RATE], result[:, 8 * RATE :]
    assert np.square(early[0]).sum() > 2 * np.square(early[1]).sum()
    assert np.square(late[1]).sum() > 2 * np.square(late[0]).sum()


def test_width_is_restored_and_folds_to_mono(tmp_path: Path) -> None:
    original = notes(12)
    side = 0.5 * reverberate(original.astype(np.float32), room(RATE, 0.3, 9))
    stereo = np.stack([original + side, original - side])
    wide = finished(tmp_path, even(original), stereo, PLAIN)
    assert correlation(*wide) == pytest.approx(correlation(*stereo), abs=0.15)
    narrow = finished(tmp_path, even(original), stereo, PLAIN.model_copy(update={"width": 0.0}))
    note = slice(round(0.4 * RATE), round(0.5 * RATE))  # so short that its place does not move
    assert correlation(*narrow[:, note]) > 0.9999
    assert correlation(*wide[:, note]) < 0.99
    assert correlation(wide.sum(axis=0), narrow.sum(axis=0)) > 0.99


REST = slice(round(4.5 * RATE), round(5.1 * RATE))
"""After the fifth of `notes`."""


def tail(samples: NDArray[np.floating]) -> float:
    """The energy in `REST` in dB of the whole."""
    energy = np.square(samples, dtype=np.float64)
    return float(10 * np.log10(energy[..., REST].mean() / energy.mean() + 1e-12))


def test_ambience_comes_back_where_the_original_has_it(tmp_path: Path) -> None:
    line = notes(20)
    wet = line + 0.35 * reverberate(line.astype(np.float32), room(RATE, 1.5, 9))
    assert not line[REST].any()
    settings = FinishSettings(effects=False)
    assert tail(finished(tmp_path, line, wet, settings)) == pytest.approx(tail(wet), abs=1.5)
    assert tail(finished(tmp_path, line, line, settings)) < -70
    assert tail(finished(tmp_path, line, wet, PLAIN)) < -70


def test_a_wide_room_is_as_loud_as_the_original(tmp_path: Path) -> None:
    line = notes(20)
    wide = np.stack([line + 0.35 * reverberate(line.astype(np.float32), room(RATE, 1.5, seed)) for seed in (9, 10)])
    result = finished(tmp_path, line, wide, FinishSettings(effects=False))
    assert tail(result) == pytest.approx(tail(wide), abs=1.5)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.6])
def test_any_share_of_reverb_beside_any_width(tmp_path: Path, share: float) -> None:
    line = notes(8)
    noise = np.random.default_rng(0).standard_normal((2, len(line)))
    for vocals in (line * noise, np.stack([line, line]), np.stack([line, -line])):
        result = finished(tmp_path, even(line), vocals, FinishSettings(effects=False, ambience=share))
        assert np.isfinite(result).all()
        assert result.any()


@pytest.mark.slow
def test_windows_and_workers_do_not_matter(tmp_path: Path) -> None:
    original = notes(70)
    stereo = np.stack([original, 0.5 * original])
    one = finished(tmp_path, even(original), stereo, FinishSettings(ambience=0.1))
    two = finished(tmp_path, even(original), stereo, FinishSettings(ambience=0.1), workers=2)
    assert np.array_equal(one, two)


@pytest.mark.parametrize("rate", [8000, 22050, 96000])
def test_other_rates(tmp_path: Path, rate: int) -> None:
    tone = 0.1 * np.sin(2 * np.pi * 300 * np.arange(2 * rate) / rate)
    vocals = stored(tmp_path, "original", np.stack([tone, tone]), rate)
    result = finish(Context(tmp_path), stored(tmp_path, "converted", tone * 3, rate), vocals, FinishSettings())
    assert np.sqrt(np.square(result.read().samples[0, rate // 2 : -rate // 2]).mean()) == pytest.approx(
        0.1 / np.sqrt(2), rel=0.1
    )


def test_hardly_any_sound(tmp_path: Path) -> None:
    for frames in (1, 10, 500):
        line = np.full(frames, 0.1)
        assert np.isfinite(finished(tmp_path, line, np.stack([line, line]), FinishSettings())).all()


def test_wrong_shapes_and_cancelling(tmp_path: Path) -> None:
    line = notes(2)
    vocals, shorter = stored(tmp_path, "original", np.stack([line, line])), stored(tmp_path, "short", line[:-1])
    with pytest.raises(UnderstudyError, match="was not made from this"):
        finish(Context(tmp_path), shorter, vocals, FinishSettings())
    cancelled = Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        finish(Context(tmp_path, cancelled=cancelled), stored(tmp_path, "c", line), vocals, FinishSettings())
