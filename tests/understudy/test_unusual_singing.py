"""Covers of singing and songs that separators and pitch trackers aren't made for: nothing clicks, pumps or breaks
silence, and levels are right."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.python_user import Workspace
from tests.support.unusual_singing import KINDS, SILENCE, song
from understudy.audio.loudness import measure_blocks
from understudy.audio.samples import Audio, Samples

SECONDS, RATE = 4.0, 22050

# a watermark has the song's hash in it, and so differs between songs that differ in level alone
SETTINGS = {"provenance.watermark": False}


def covered(workspace: Workspace, mix: Samples, rate: int = RATE) -> tuple[Samples, Mapping[str, float]]:
    """The cover of `mix` and its report's figures, after the checks that hold for any song."""
    cover = workspace.session().cover((mix, rate), voice="nova", settings=SETTINGS)
    samples = np.asarray(cover.audio)
    assert samples.shape == mix.shape
    assert np.isfinite(samples).all()
    # the separator's window is 93 ms long, 128 at 8 kHz, and sounds that far before and after what it takes apart; so
    # does the removal of the singer
    lap = 0.15 if rate > 8000 else 0.27
    start, stop = (round(moment * rate) for moment in (SILENCE[0] + lap, SILENCE[1] - lap))
    assert np.abs(samples[:, start:stop]).max() < 1e-4
    figures = json.loads(cover.report_path.with_suffix(".json").read_text(encoding="utf-8"))["figures"]
    values = {figure["name"]: figure["value"] for figure in figures}
    assert values["clicks"] == values["bad_samples"] == values["clipped"] == 0
    lost = next(figure for figure in figures if figure["name"] == "missing")
    assert lost["stage"] == "convert"  # nothing in finishing
    assert values["unsteadiness"] < 1.5
    assert values["limiting"] < 1.5
    assert values["true_peak"] < -0.9
    assert values["balance_shift"] < 2.5
    assert loudness(samples, rate) == pytest.approx(loudness(mix, rate) - values["shortfall"], abs=0.3)
    return samples, values


def loudness(samples: Samples, rate: int) -> float:
    """Integrated, in LUFS."""
    return measure_blocks([Audio(samples, rate)], rate, len(samples)).integrated


def parts(seconds: float = SECONDS, rate: int = RATE) -> tuple[Samples, Samples]:
    """Vocals and band of a song with nothing unusual."""
    mix, vocals = song("solo", seconds, rate)
    return vocals.samples, mix.samples - vocals.samples


def decibels(samples: NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.square(samples, dtype=np.float64).mean() + 1e-20))


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_singing(workspace: Workspace, kind: str) -> None:
    _, values = covered(workspace, song(kind, SECONDS, RATE)[0].samples)
    assert values["missing"] == 0


@pytest.mark.slow
def test_vocals_panned_hard_stay_there(workspace: Workspace) -> None:
    vocals, band = parts()
    cover, _ = covered(workspace, np.array([[2**0.5], [0]], np.float32) * vocals + band)
    new = cover - band
    assert decibels(new[0]) - decibels(new[1]) > 10


@pytest.mark.slow
def test_mono(workspace: Workspace) -> None:
    vocals, band = parts()
    _, values = covered(workspace, (vocals + band).mean(axis=0, keepdims=True))
    assert values["missing"] == 0


@pytest.mark.slow
def test_eight_kilohertz(workspace: Workspace) -> None:
    vocals, band = parts(rate=8000)
    _, values = covered(workspace, vocals + band, 8000)
    assert values["missing"] == 0


@pytest.mark.slow
def test_a_quiet_song_is_a_quiet_cover(workspace: Workspace) -> None:
    """Of -51 LUFS. Nothing in the chain depends on the level, so only rounding differs."""
    vocals, band = parts()
    loud = np.float32(0.25) * (vocals + band)
    quiet = loud * np.float32(2**-4)
    one, _ = covered(workspace, loud)
    other, _ = covered(workspace, quiet)
    assert loudness(quiet, RATE) < -50
    assert decibels(other * np.float32(2**4) - one) < decibels(one) - 30


@pytest.mark.slow
def test_a_clipped_song_is_no_clipped_cover(workspace: Workspace) -> None:
    vocals, band = parts()
    mix = np.clip(3 * (vocals + band), -1, 1)
    assert (np.abs(mix) == 1).mean() > 0.01
    cover, _ = covered(workspace, mix)
    assert np.abs(cover).max() < 0.9


@pytest.mark.slow
def test_a_voice_in_the_last_ten_seconds(workspace: Workspace) -> None:
    vocals, band = parts(16.0)
    vocals[:, : 6 * RATE] = 0
    cover, _ = covered(workspace, vocals + band)
    before = slice(0, 5 * RATE)
    assert decibels((cover - band)[:, before]) < decibels(vocals[:, 6 * RATE :]) - 15
    assert decibels((cover - band)[:, 6 * RATE :]) == pytest.approx(decibels(vocals[:, 6 * RATE :]), abs=4)


@pytest.mark.slow
def test_a_cappella(workspace: Workspace) -> None:
    _, values = covered(workspace, parts()[0])
    assert values["missing"] == 0


@pytest.mark.slow
def test_an_instrumental_stays_as_loud(workspace: Workspace) -> None:
    """Whether somebody sings is the verdict's question; what passes for singing must do no harm."""
    covered(workspace, parts()[1])
