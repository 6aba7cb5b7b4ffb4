"""The instrumental of a cover: the singer's harmonics go down, everything else stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio, Samples
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.pipeline.separation import blockwise, singer_removal
from understudy.pipeline.separation.singer_removal import (
    AUTOMATIC,
    expected_removal,
    harmonics,
    removal_grid,
    removal_strength,
    remove_singer,
)
from understudy.pipeline.separation.vocal_level import VocalLevel

RATE = 22050
SECONDS = 3


def tone(frequency: float, level: float = 0.1) -> Samples:
    time = np.arange(SECONDS * RATE) / RATE
    one = level * np.sin(2 * np.pi * frequency * time)
    return np.stack([one, 0.5 * one]).astype(np.float32)


def level_of(samples: Samples, frequency: float) -> float:
    """dB of the frequency in the second second."""
    power = np.abs(np.fft.rfft(samples[0, RATE : 2 * RATE].astype(np.float64))) ** 2
    return float(10 * np.log10(power[round(frequency)] + 1e-12))


def track(f0: float) -> PitchTrack:
    return PitchTrack(np.full(SECONDS * 200 + 1, f0, np.float32))


def stored(folder: Path, name: str, samples: Samples) -> AudioFile:
    return write_blocks(folder / f"{name}.npy", RATE, len(samples), [Audio(samples, RATE)])


def cleaned(folder: Path, song: Samples, instrumental: Samples, pitch: PitchTrack, strength: float | None) -> Samples:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    files = stored(folder, "song", song), stored(folder, "band", instrumental)
    return remove_singer(Context(work), *files, pitch, strength).read().samples


def test_harmonics_of_the_singer_go_down_and_all_else_keeps_its_level(tmp_path: Path) -> None:
    sung, played = [200.0, 400.0, 600.0], [290.0, 510.0, 1770.0]
    band = np.sum([tone(frequency) for frequency in played], axis=0)
    # the separator left a third of the singer's amplitude: q is 1/3 there, and 1 where only the band plays
    singer = np.sum([tone(frequency) for frequency in sung], axis=0)
    left = (band + singer / 3).astype(np.float32)
    result = cleaned(tmp_path, band + singer, left, track(200.0), AUTOMATIC)
    for frequency in sung:  # q² more, on top of q
        assert level_of(result, frequency) - level_of(left, frequency) == pytest.approx(-19, abs=1.5)
    for frequency in played:
        assert level_of(result, frequency) - level_of(left, frequency) == pytest.approx(0, abs=0.2)
    # one gain for both channels: nothing moves
    assert result[1] == pytest.approx(0.5 * result[0], abs=1e-5)


def test_full_strength_removes_more(tmp_path: Path) -> None:
    song = tone(200) + tone(310)
    left = tone(200, 0.033) + tone(310)
    levels = [level_of(cleaned(tmp_path, song, left, track(200.0), one), 200) for one in (0.3, AUTOMATIC, 1.0)]
    assert levels[0] > levels[1] + 3
    assert levels[1] > levels[2] + 3


@pytest.mark.parametrize(("f0", "strength"), [(0.0, 1.0), (200.0, 0.0), (200.0, None)])
def test_without_a_voice_or_strength_the_instrumental_is_the_same(
    f0: float, strength: float | None, tmp_path: Path
) -> None:
    band = tone(200, 0.05)
    assert np.array_equal(cleaned(tmp_path, tone(200), band, track(f0), strength), band)
    assert (tmp_path / "work" / "instrumental.npy").exists()  # a file of the stage's own, which the store can keep


def test_what_is_the_song_s_own_keeps_its_bits_and_silence_stays_silent(tmp_path: Path) -> None:
    song = tone(200) + tone(777)
    song[:, : RATE // 2] = 0
    same = cleaned(tmp_path, song, song, track(200.0), 1.0)  # nothing was taken off: q is 1
    assert np.abs(same - song).max() < 1e-6
    assert not same[:, : RATE // 4].any()


def test_blocks_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    song = random.normal(0, 0.1, (2, SECONDS * RATE)).astype(np.float32)
    left = (song * random.uniform(0.3, 1)).astype(np.float32)
    whole = cleaned(tmp_path, song, left, track(330.0), 1.0)
    for module in (blockwise, singer_removal):
        monkeypatch.setattr(module, "BLOCK", 1 << 14)
    assert np.abs(cleaned(tmp_path, song, left, track(330.0), 1.0) - whole).max() < 1e-5


def test_where_harmonics_lie() -> None:
    grid = removal_grid(RATE)
    pitch = PitchTrack(np.concatenate([np.zeros(200), np.full(401, 250.0)]).astype(np.float32))
    closeness = harmonics(pitch, grid, 0, 60)
    start = round(1.0 * grid.rate / grid.hop)
    assert not closeness[: start - 3].any()
    later = closeness[start + 3 :]
    on, between = (np.abs(grid.frequencies - hertz).argmin() for hertz in (1000, 1125))
    assert later[:, on].min() > 0.9
    assert later[:, between].max() < 0.01
    assert not later[:, grid.frequencies > 8000].any()


def test_the_strength_follows_what_is_left() -> None:
    def lacking(leftover: float | None) -> VocalLevel:
        return VocalLevel(1.0, np.ones(1), 1.0, leftover)

    strengths = [removal_strength(None, lacking(left)) for left in (-20.0, -9.0, -7.5, -6.0, 3.0)]
    assert strengths == pytest.approx([0, 0, AUTOMATIC / 2, AUTOMATIC, AUTOMATIC])
    assert removal_strength(None, lacking(None)) == removal_strength(None, None) == 0
    assert removal_strength(0.3, lacking(-20.0)) == 0.3


def test_more_strength_is_expected_to_remove_more() -> None:
    expected = [expected_removal(strength) for strength in np.linspace(0, 1, 11)]
    assert expected[0] == 0
    assert (np.diff(expected) > 0).all()
