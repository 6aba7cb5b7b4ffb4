"""Each cue on sounds for which its answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from understudy.audio.samples import Samples
from understudy.audio.spectrogram import Grid, analyse, level, resynthesize
from understudy.pipeline.separation.embedded.cues import (
    comb,
    harmonic,
    imbalance,
    position,
    predominant_pitch,
    restless_share,
    tonal_share,
    varying_share,
)
from understudy.pipeline.separation.embedded.fusion import (
    FIRST,
    KNOTS,
    SECOND,
    THIRD,
    Fusion,
    context_cues,
    fuse,
    log_odds,
    sung_share,
)

RATE = 16000
GRID = Grid.of(RATE, 0.093, 8000.0)
TIME = np.arange(6 * RATE) / RATE


def tone(pitch: float | np.ndarray, harmonics: int = 10) -> Samples:
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch, TIME.shape)) / RATE
    return np.sum([np.sin(n * phase) / n for n in range(1, harmonics + 1)], axis=0)[None].astype(
        np.float32
    ) * np.float32(0.2)


def weighted(share: np.ndarray, samples: Samples) -> float:
    """`share` averaged by the power of each bin."""
    power = level(analyse(samples, GRID)) ** 2
    return float((share * power).sum() / power.sum())


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 192000])
@pytest.mark.parametrize("length", [1, 999, 30011])
def test_resynthesis_undoes_analysis(rate: int, length: int) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (2, length)).astype(np.float32)
    grid = Grid.of(rate, 0.093, rate)
    np.testing.assert_allclose(resynthesize(analyse(samples, grid), grid, length), samples, atol=3e-6)


@pytest.mark.parametrize("rate", [8000, 44100, 96000, 192000])
def test_grid_spans_the_same_time_and_band_at_any_rate(rate: int) -> None:
    grid = Grid.of(rate, 0.093, 13000.0)
    assert 0.06 < grid.size / rate < 0.14
    assert grid.top == pytest.approx(min(13000, rate / 2), abs=rate / grid.size)
    assert grid.frequencies[-1] == pytest.approx(grid.top)


def test_clicks_are_not_tonal_and_tones_are() -> None:
    clicks = np.zeros((1, len(TIME)), np.float32)
    clicks[:, 2000::4000] = 1
    for samples, low, high in ((clicks, 0.0, 0.1), (tone(220.0), 0.9, 1.0)):
        share = tonal_share(samples, analyse(samples, GRID), GRID)
        assert low <= weighted(share, samples) <= high


def test_a_held_note_is_at_rest_and_syllables_are_not() -> None:
    steps = np.random.default_rng(6).uniform(0, 12, 20)[(TIME / 0.3).astype(int)]
    held, sung = tone(220.0), tone(220 * 2 ** (steps / 12))
    at_rest = weighted(restless_share(held, analyse(held, GRID), GRID), held)
    moving = weighted(restless_share(sung, analyse(sung, GRID), GRID), sung)
    assert at_rest < 0.1
    assert moving > 0.6


def test_what_happens_once_varies_and_what_repeats_does_not() -> None:
    random = np.random.default_rng(3)
    pattern = random.uniform(0.1, 1, (15, GRID.bins))
    magnitude = np.tile(pattern, (40, 1)).astype(np.float32)
    magnitude[300:303, 50:60] += 3
    share = varying_share(magnitude, GRID)
    assert share[300:303, 50:60].min() > 0.6
    share[300:303, 50:60] = 0
    assert share.mean() < 0.05


def test_pitch_of_a_glide_in_noise_is_found() -> None:
    pitch = 180 * 2 ** (TIME / 6)
    noise = np.random.default_rng(4).normal(0, 0.05, (1, len(TIME)))
    magnitude = level(analyse((tone(pitch) + noise).astype(np.float32), GRID))
    found = predominant_pitch(magnitude, GRID)
    centres = (np.arange(len(found)) + 1) * GRID.hop - GRID.size / 2
    inside = (centres > GRID.size) & (centres < len(TIME) - GRID.size)
    wanted = np.interp(centres[inside], np.arange(len(TIME)), pitch)
    assert np.quantile(np.abs(1200 * np.log2(found[inside] / wanted)), 0.95) < 50


def test_comb_stands_on_the_harmonics_below_its_top() -> None:
    teeth = comb(np.full(3, 250, np.float32), GRID, top=6000.0)
    at = {hertz: teeth[1, round(hertz * GRID.size / RATE)] for hertz in (250, 375, 500, 5000, 6250)}
    assert min(at[250], at[500], at[5000]) > 0.9
    assert at[375] < 0.01
    assert at[6250] == 0


def test_imbalance_sees_levels_and_not_width() -> None:
    left, right = np.random.default_rng(5).normal(0, 0.1, (2, len(TIME))).astype(np.float32)
    wide = imbalance(analyse(np.stack([left, right]), GRID)).mean()
    one_side = imbalance(analyse(np.stack([left, 0.1 * left]), GRID)).mean()
    assert wide < 0.6
    assert one_side > 3
    assert not imbalance(analyse(left[None], GRID)).any()


def test_position_learns_where_the_voice_is() -> None:
    """A voice in the middle and an instrument on the left take turns; the mask tells them in the beginning only."""
    random = np.random.default_rng(0)
    sound = random.normal(0, 1, (200, GRID.bins)) + 1j * random.normal(0, 1, (200, GRID.bins))
    sings = (np.arange(200) // 10 % 2 == 0)[:, None]
    spectrum = np.stack([sound, np.where(sings, sound, 0.3 * sound)]).astype(np.complex64)
    share = np.where(np.arange(200)[:, None] < 80, np.where(sings, 0.8, 0.2), 0.4) * np.ones((1, GRID.bins), np.float32)
    likelier = position(spectrum, share.astype(np.float32))
    assert np.median(likelier[120:], axis=1)[sings[120:, 0]].min() > 0.5
    assert np.median(likelier[120:], axis=1)[~sings[120:, 0]].max() < -0.3
    np.testing.assert_allclose(position(spectrum[::-1], share.astype(np.float32)), likelier, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_position_says_nothing_of_channels_that_are_alike(channels: int) -> None:
    spectrum = analyse(np.repeat(tone(330.0), channels, axis=0), GRID)
    share = np.random.default_rng(0).uniform(0, 1, spectrum.shape[1:]).astype(np.float32)
    spectrum[:, 10:20] = 0  # silence
    assert np.abs(position(spectrum, share)).max() < 0.01


def test_harmonic_counts_more_where_the_harmonics_hold_more_of_the_sound() -> None:
    noise = np.random.default_rng(3).normal(0, 0.02, (1, len(TIME))).astype(np.float32)
    clear, drowned = (harmonic(level(analyse(tone(250.0) + n * noise, GRID)), GRID)[100] for n in (0, 10))
    at = {hertz: round(hertz * GRID.size / RATE) for hertz in (250, 375, 500)}
    assert min(clear[at[250]], clear[at[500]]) > 0.7
    assert clear[at[375]] < 0.01
    assert drowned.max() < 0.6 * clear.max()


@pytest.mark.parametrize("fusion", [FIRST, SECOND, THIRD])
def test_every_weight_moves_the_mask_its_way(fusion: Fusion) -> None:
    flat = np.zeros((2, GRID.bins), np.float32)
    base = fuse(dict.fromkeys(fusion.weights, flat), GRID, fusion)
    assert 0 < base.min() < base.max() < 1
    for name, weight in fusion.weights.items():
        more = fuse({**dict.fromkeys(fusion.weights, flat), name: flat + 1}, GRID, fusion)
        assert np.all(np.sign(more - base) == np.sign(weight))
    at_knots = [base[0, round(knot * GRID.size / RATE)] for knot in KNOTS[:-2]]
    assert np.argmax(at_knots) == np.argmax(fusion.bias[:-2])


def test_the_second_look_knows_when_the_first_one_heard_a_voice() -> None:
    magnitude = np.ones((600, GRID.bins), np.float32)
    share = np.full_like(magnitude, 0.01)
    share[300:400] = 0.9
    context = context_cues(share, magnitude, GRID)
    inside, outside = slice(330, 370), slice(0, 150)
    for cue in context.values():
        assert cue.shape == (600, 1)
        assert cue[inside].min() > cue[outside].max() + 1
    assert context["briefly"][310] > context["lately"][310]  # the longer one looks back to when there was none
    flat = dict.fromkeys(FIRST.weights, np.zeros_like(magnitude))
    sung = {**flat, "melody": (share > 0.5) * np.float32(3)}
    assert sung_share(sung, magnitude, GRID)[350].mean() > sung_share(sung, magnitude, GRID)[50].mean()


def test_log_odds_are_bounded() -> None:
    odds = log_odds(np.array([[0, 0.5, 1]], np.float32))
    np.testing.assert_allclose(odds, [[-np.log(99), 0, np.log(99)]], atol=1e-3)
