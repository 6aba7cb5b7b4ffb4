"""What a separated vocal is short of, on songs whose true vocal is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import signals
from understudy.audio.files import decode
from understudy.audio.k_weighting import k_weighted
from understudy.audio.samples import Audio
from understudy.audio.spectrogram import Grid, analyse, resynthesize
from understudy.context import Context
from understudy.pipeline.separation import vocal_level as module
from understudy.pipeline.separation.embedded.separate import separate_embedded
from understudy.pipeline.separation.vocal_level import MOST, VocalLevel, vocal_level

RATE = 22050
DEMO = Path(__file__).parents[3] / "demo" / "stems"


@pytest.fixture(scope="module")
def song() -> signals.Song:
    """With a loud band."""
    song = signals.song(6.0, RATE)
    band = Audio(2 * song.instrumental.samples, RATE)
    return replace(song, mix=Audio(song.vocals.samples + band.samples, RATE), instrumental=band)


@pytest.fixture(scope="module")
def separated(song: signals.Song) -> Audio:
    """The vocal by a mask of the energy, as a good separator gives it."""
    grid = Grid.of(RATE, 0.093, RATE / 2)
    mix, sung, band = (analyse(part.samples, grid) for part in (song.mix, song.vocals, song.instrumental))
    mask = np.abs(sung) ** 2 / (np.abs(sung) ** 2 + np.abs(band) ** 2 + 1e-9)
    return Audio(resynthesize(mix * mask, grid, song.mix.frames), RATE)


def energy(sound: Audio) -> float:
    """In dB, K-weighted."""
    return float(10 * np.log10(np.square(k_weighted(sound), dtype=np.float64).sum()))


def test_the_level_of_the_true_vocal(song: signals.Song, separated: Audio) -> None:
    found = vocal_level(Context(Path()), song.mix, separated)
    short = energy(song.vocals) - energy(separated)
    assert short > 0.3
    # the exponent fits masks that are lower than this one
    assert short < found.mean < short + 0.8


@pytest.mark.slow
def test_the_level_of_the_demo_song_s_vocal(tmp_path: Path) -> None:
    context = Context(tmp_path)
    vocals, band = (
        decode(context, DEMO / f"{name}.m4a", tmp_path / f"{name} in.npy", duration=20.0).read()
        for name in ("vocals", "instrumental")
    )
    mix = Audio(vocals.samples + band.samples, vocals.rate)
    separated = separate_embedded(context, mix)["vocals"].read()
    found = vocal_level(context, mix, separated)
    assert energy(vocals) - energy(separated) > 0.5
    assert energy(separated) + found.mean == pytest.approx(energy(vocals), abs=0.5)


def test_nothing_is_missing_where_nothing_else_sounds(song: signals.Song) -> None:
    found = vocal_level(Context(Path()), song.vocals, song.vocals)
    assert found.mean == pytest.approx(0, abs=1e-4)
    assert np.abs(found.curve).max() < 1e-4


def test_pauses_get_the_mean_and_nothing_passes_the_bounds(song: signals.Song, separated: Audio) -> None:
    found = vocal_level(Context(Path()), song.mix, separated)
    assert found.at(np.array([0.3]))[0] == pytest.approx(found.mean, abs=0.05)  # the first second has no voice
    soft = vocal_level(Context(Path()), song.mix, Audio(0.35 * separated.samples, RATE))
    assert found.mean < soft.mean <= MOST
    assert soft.curve.max() <= MOST
    assert soft.curve.min() >= 0


def test_what_lies_far_below_the_song_is_no_singer(song: signals.Song, separated: Audio) -> None:
    found = vocal_level(Context(Path()), song.mix, Audio(0.05 * separated.samples, RATE))
    assert found.mean == 0
    assert not found.curve.any()


def test_silence(song: signals.Song) -> None:
    nothing = Audio.silence(2, song.mix.frames, RATE)
    for whole in (nothing, song.mix):
        found = vocal_level(Context(Path()), whole, nothing)
        assert found.mean == 0
        assert not found.curve.any()


@pytest.mark.parametrize("rate", [8000, 96000])
@pytest.mark.parametrize("frames", [1, 5000])
def test_other_rates_and_hardly_any_sound(rate: int, frames: int) -> None:
    noise = Audio.of(np.random.default_rng(0).normal(0, 0.1, (1, frames)), rate)
    found = vocal_level(Context(Path()), noise, Audio(0.7 * noise.samples, rate))
    assert np.isfinite(found.curve).all()
    assert 0 <= found.mean <= MOST


def test_windows_do_not_matter(song: signals.Song, separated: Audio, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vocal_level(Context(Path()), song.mix, separated)
    monkeypatch.setattr(module, "_WINDOW", 0.7)
    pieces = vocal_level(Context(Path()), song.mix, separated)
    assert whole.curve == pytest.approx(pieces.curve, abs=1e-4)


def test_at_moments_between_and_beyond() -> None:
    level = VocalLevel(1.0, np.array([0.0, 2.0, 1.0]), 0.5)
    assert level.at(np.array([-1.0, 0.25, 0.5, 9.0])) == pytest.approx([0, 1, 2, 1])


def test_where_the_singer_is_left(song: signals.Song, separated: Audio) -> None:
    """From the fourth second on the separator takes less of the voice; the first second has none."""
    weaker = np.where(np.arange(song.mix.frames) > 3 * RATE, 0.4, 1.0).astype(np.float32)
    found = vocal_level(Context(Path()), song.mix, Audio(separated.samples * weaker, RATE))
    assert 6 <= len(found.left) <= 7
    assert found.left[5] > found.left[1] + 1
    nothing = Audio(np.zeros_like(song.mix.samples[:, : 8 * RATE]), RATE)
    padded = [Audio(np.concatenate([part.samples, nothing.samples, nothing.samples], axis=1), RATE)
              for part in (song.mix, separated)]  # fmt: skip
    left = vocal_level(Context(Path()), *padded).left
    assert np.isfinite(left[:6]).all()
    assert np.isnan(left[9:]).all()
