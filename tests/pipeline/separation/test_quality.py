"""The estimate on songs whose stems are known, with known things done to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import istft, stft

from tests.support.signals import Song, song
from understudy.audio.samples import Audio, Samples
from understudy.context import Context
from understudy.errors import Cancelled
from understudy.pipeline.separation.advice import LADDER, better_than, remarks
from understudy.pipeline.separation.quality import (
    CLEAN,
    NOTHING,
    PHASY,
    Level,
    Quality,
    assess_separation,
)
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.settings import load_settings
from understudy.pipeline.values import from_tree, to_tree

RATE = 44100
Gains = NDArray[np.float64]


@lru_cache
def known() -> Song:
    return song(9.0, RATE)


def judged(vocals: Samples, instrumental: Samples | None = None, whole: Samples | None = None) -> Quality:
    whole = known().mix.samples if whole is None else whole
    rest = whole - vocals if instrumental is None else instrumental
    return assess_separation(Context(Path()), Audio.of(whole, RATE), Audio.of(vocals, RATE), Audio.of(rest, RATE))


def true() -> tuple[Samples, Samples]:
    return known().vocals.samples, known().instrumental.samples


def masked(mask: Callable[[Gains, Gains], Gains]) -> Samples:
    """The vocals that a mask gives, from the powers of the true stems, ``[2, bins, frames]``."""
    spectra = [stft(part.astype(np.float64), RATE, nperseg=4096, noverlap=3072)[2] for part in true()]
    gains = mask(*(np.square(np.abs(one)) + 1e-12 for one in spectra))
    made = istft(gains * sum(spectra), RATE, nperseg=4096, noverlap=3072)[1]
    return np.asarray(made[:, : known().mix.frames], np.float32)


def level(found: Level | None) -> float:
    assert found is not None
    assert found.low < found.estimate < found.high
    return found.estimate


@pytest.mark.parametrize("alone", [True, False])
def test_vocals_of_elsewhere_are_not_found_in_the_song(alone: bool) -> None:
    """Given alone, the instrumental is the song minus the wrong vocals, so that both sum to the song."""
    vocals, band = true()
    late = np.roll(vocals, RATE // 10, axis=1)
    right, wrong = (judged(one, None if alone else band).fit for one in (vocals, late))
    assert right is not None
    assert wrong is not None
    assert right > 0.97
    assert wrong < 0.5


def test_true_stems_have_nothing_to_say() -> None:
    vocals, band = true()
    found = judged(vocals, band)
    assert level(found.bleed) < -20
    assert level(found.residue) < -20
    assert found.cutoffs == {}
    assert found.missing == pytest.approx(-60)
    assert found.phasiness is not None
    assert found.phasiness < 0.6
    assert remarks(found, SeparationSettings()) == ()


@pytest.mark.parametrize("gain", [0.6, 0.3, 0.1])
def test_the_level_of_a_leak_into_the_vocals(gain: float) -> None:
    vocals, band = true()
    known_level = 10 * np.log10(gain**2 * np.sum(band**2) / np.sum(vocals**2))
    found = judged(vocals + np.float32(gain) * band)
    assert level(found.bleed) == pytest.approx(known_level, abs=5)


def test_more_leak_is_more_bleed() -> None:
    vocals, band = true()
    found = [level(judged(vocals + np.float32(gain) * band).bleed) for gain in (0, 0.05, 0.1, 0.2, 0.4, 0.8)]
    assert found == sorted(found)


def test_more_voice_in_the_instrumental_is_more_residue() -> None:
    vocals, _ = true()
    found = [level(judged(np.float32(1 - share) * vocals).residue) for share in (0, 0.1, 0.2, 0.4)]
    assert found == sorted(found)
    assert found[-1] > found[0] + 8


def test_a_bad_mask_is_worse_than_a_good_one() -> None:
    good = judged(masked(lambda voice, band: voice / (voice + band)))
    bad = judged(masked(lambda voice, band: voice**0.2 / (voice**0.2 + band**0.2)))
    assert level(bad.bleed) > level(good.bleed) + 5
    assert level(bad.residue) > level(good.residue) + 5
    assert level(bad.bleed) > CLEAN


def test_a_mask_s_phase_is_the_song_s() -> None:
    found = judged(masked(lambda voice, band: 0.5 + 0 * voice))
    assert found.phasiness is not None
    assert found.phasiness > PHASY


@pytest.mark.parametrize("hertz", [8000, 11000, 14000])
def test_where_a_network_s_band_ends(hertz: float) -> None:
    random = np.random.default_rng(0)
    vocals, band = true()
    air = 0.003 * random.standard_normal(vocals.shape)  # breath up to the top
    spectrum = np.fft.rfft(vocals + air)
    spectrum[:, np.fft.rfftfreq(vocals.shape[1], 1 / RATE) > hertz] = 0
    cut = np.fft.irfft(spectrum, vocals.shape[1]).astype(np.float32)
    found = judged(cut, whole=(vocals + air + band).astype(np.float32))
    assert found.cutoffs == {"vocals": pytest.approx(hertz, abs=300)}
    assert judged((vocals + air).astype(np.float32), whole=(vocals + air + band).astype(np.float32)).cutoffs == {}


def test_what_no_stem_holds_is_missing() -> None:
    vocals, band = true()
    lost = judged(vocals, np.float32(0.9) * band)
    known_level = 20 * np.log10(0.1) + 10 * np.log10(np.sum(band**2) / np.sum((vocals + band) ** 2))
    assert lost.missing == pytest.approx(known_level, abs=0.5)
    assert any("lack" in one.sentence for one in remarks(lost, SeparationSettings(consistency="model")))


def test_a_voice_that_wavers_between_left_and_right_where_a_band_plays() -> None:
    random = np.random.default_rng(0)
    seconds = np.arange(9 * RATE) / RATE
    voice = 0.1 * random.standard_normal((1, len(seconds))) * (seconds % 1.0 < 0.6)
    vocals = np.repeat(voice, 2, axis=0).astype(np.float32)
    band = (0.1 * random.standard_normal(vocals.shape) * (seconds % 1.0 > 0.3)).astype(np.float32)
    waver = np.sin(2 * np.pi * 7 * seconds) * (seconds % 1.0 > 0.3)
    wavering = vocals + np.float32(0.5) * np.stack([waver, -waver]).astype(np.float32) * band
    steady, uneven = (judged(one, whole=vocals + band).blurred for one in (vocals, wavering))
    assert steady is not None
    assert uneven is not None
    assert steady < 0.02
    assert uneven > steady + 0.05


def test_silence_and_snippets_say_nothing() -> None:
    vocals, band = true()
    assert judged(0 * vocals, band) == NOTHING
    assert judged(vocals, 0 * band, vocals) == NOTHING
    assert judged(vocals[:, :RATE], band[:, :RATE], (vocals + band)[:, :RATE]) == NOTHING
    assert remarks(NOTHING) == ()


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 22050, 96000])
def test_any_rate_and_mono(rate: int) -> None:
    parts = song(5.0, rate)
    vocals, band = parts.vocals.samples[:1], parts.instrumental.samples[:1]

    def of(share: float) -> Quality:
        leaking, rest = vocals + np.float32(share) * band, np.float32(1 - share) * band
        sounds = (Audio.of(sound, rate) for sound in (vocals + band, leaking, rest))
        return assess_separation(Context(Path()), *sounds)

    assert level(of(0.5).bleed) > level(of(0.0).bleed) + 5
    assert of(0.5).blurred is None


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    vocals, band = true()
    whole = judged(vocals + np.float32(0.2) * band)
    monkeypatch.setattr("understudy.pipeline.separation.bleed_features._SECONDS", 1.3)
    blocks = judged(vocals + np.float32(0.2) * band)
    assert level(blocks.bleed) == pytest.approx(level(whole.bleed), abs=1e-3)
    assert blocks.phasiness == pytest.approx(whole.phasiness, rel=1e-3)


def test_the_gain_is_no_matter() -> None:
    vocals, band = true()
    leaking = vocals + np.float32(0.2) * band
    gain = np.float32(0.1)
    quiet = judged(gain * leaking, whole=gain * (vocals + band))
    assert level(quiet.bleed) == pytest.approx(level(judged(leaking).bleed), abs=0.1)


def test_numbers_that_are_none_are_silence() -> None:
    vocals, band = true()
    broken = vocals.copy()
    broken[0, 1000:1100] = np.nan
    assert np.isfinite(level(judged(broken, band).bleed))


def test_can_be_cancelled() -> None:
    context = Context(Path())
    context.cancelled.set()
    with pytest.raises(Cancelled):
        assess_separation(context, known().mix, known().vocals, known().instrumental)


def test_survives_the_store() -> None:
    vocals, band = true()
    for found in (judged(vocals + np.float32(0.3) * band), NOTHING):
        assert from_tree(json.loads(json.dumps(to_tree(found, Path()))), Path()) == found


BAD = Quality(Level(-4, -12, 4), Level(-9, -17, -1), (), 100, 3000, {"vocals": 14000.0}, -60, 0.5, 0.0)


def test_the_worst_is_said_first_with_the_next_better_preset() -> None:
    said = remarks(BAD, load_settings("fast", environment={}).separation)
    assert [one.about for one in said] == ["bleed", "residue", "cutoffs"]
    assert said[0].sentence == "The vocals still hold instruments, about 4 dB below the voice (0 to 12)."
    assert said[0].advice == "Try --preset balanced."


def test_only_what_would_help_is_suggested() -> None:
    settings = [load_settings(name, environment={}).separation for name in LADDER]
    assert [better_than(one) for one in settings] == [*LADDER[1:], None]
    assert better_than(SeparationSettings(model="some-model-of-the-user")) is None
    for own in (None, settings[-1]):
        assert all("--preset" not in one.advice for one in remarks(BAD, own))


@pytest.mark.parametrize(
    ("low", "high", "words"), [(40.0, 200.0, "bass"), (5000.0, 12000.0, "cymbals"), (90.0, 5000.0, "instruments")]
)
def test_what_leaked_in(low: float, high: float, words: str) -> None:
    found = Quality(Level(-8, -16, 0), None, (), low, high, {}, None, None, None)
    assert words in remarks(found)[0].sentence


def test_a_mono_song_with_stereo_stems() -> None:
    vocals, band = true()
    sounds = (known().mix.mono(), Audio.of(vocals, RATE), Audio.of(band, RATE))
    found = assess_separation(Context(Path()), *sounds)
    assert level(found.bleed) < -20
    assert found.missing == pytest.approx(-60, abs=1)
