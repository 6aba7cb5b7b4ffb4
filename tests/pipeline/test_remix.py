from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soxr
from numpy.typing import NDArray
from pydantic import ValidationError

from understudy.audio.samples import Audio
from understudy.audio.stored import AudioFile, write_blocks
from understudy.choices import Platform
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.stages.remix import CoverMix, RemixSettings, cover_stems, measure_stems, remix

RATE = 22050
SECONDS = 8


def stored(folder: Path, name: str, samples: NDArray[np.floating]) -> AudioFile:
    audio = Audio.of(samples, RATE)
    return write_blocks(folder / f"{name}.npy", RATE, audio.channels, [audio])


def band(seed: int, level: float, seconds: float = SECONDS) -> NDArray[np.float32]:
    """Stereo noise like music: little at the top, with beats."""
    random = np.random.default_rng(seed)
    frames = round(seconds * RATE)
    noise = np.stack([np.convolve(random.standard_normal(frames), np.hanning(9), "same") for _ in range(2)])
    beats = 0.3 + np.exp(-(np.arange(frames) % 7000) / 1500)
    samples: NDArray[np.float32] = (noise / noise.std() * beats * level).astype(np.float32)
    return samples


def voice(seed: int, level: float) -> NDArray[np.float32]:
    """As `band`, with silence in the third second."""
    samples = band(seed, level)
    samples[:, 2 * RATE : 3 * RATE] = 0
    return samples


class Result:
    def __init__(self, made: CoverMix, stems: Mapping[str, AudioFile]) -> None:
        self.loudness = made.loudness
        self.stems = {name: file.read().samples for name, file in stems.items()}
        self.cover: NDArray[np.float32] = made.cover.read().samples

    @property
    def lufs(self) -> float:
        return float(pyloudnorm.Meter(RATE).integrated_loudness(self.cover.T.astype(np.float64)))

    @property
    def true_peak(self) -> float:
        return float(20 * np.log10(np.abs(soxr.resample(self.cover.T, RATE, 8 * RATE, quality="VHQ")).max()))


def remixed(
    folder: Path,
    song: NDArray[np.floating],
    vocals: NDArray[np.floating],
    instrumental: NDArray[np.floating] | None,
    context: Context | None = None,
    backing: NDArray[np.floating] | None = None,
    reverb: NDArray[np.floating] | None = None,
    noise: NDArray[np.floating] | None = None,
    **settings: Any,
) -> Result:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    whole = stored(folder, "song", song)
    parts = {"vocals": vocals, "instrumental": instrumental, "backing": backing, "reverb": reverb, "noise": noise}
    stems = {name: stored(folder, f"{name} in", part) for name, part in parts.items() if part is not None}
    context = context or Context(work)
    made = remix(context, whole, stems, measure_stems(context, whole, stems), RemixSettings(**settings))
    json.dumps(asdict(made.loudness), allow_nan=False)
    result = Result(made, cover_stems(context, whole, stems, made.mixing))
    assert result.cover.shape == song.shape
    total = np.sum(list(result.stems.values()), axis=0)
    assert np.abs(total - result.cover).max() < 1e-6
    return result


def lufs(samples: NDArray[np.floating]) -> float:
    return float(pyloudnorm.Meter(RATE).integrated_loudness(samples.T.astype(np.float64)))


def test_as_loud_as_the_song_and_the_instrumental_untouched(tmp_path: Path) -> None:
    original, other, music = voice(1, 0.03), voice(2, 0.03), band(3, 0.05)
    result = remixed(tmp_path, original + music, other, music)
    assert abs(result.lufs - lufs(original + music)) < 0.3
    assert np.array_equal(result.stems["instrumental"], music)
    silent = slice(2 * RATE, 3 * RATE)
    assert np.array_equal(result.cover[:, silent], music[:, silent])
    assert result.loudness.gain == result.loudness.vocal_trim == result.loudness.reduction == 0


def test_a_small_difference_is_met_by_the_vocal_alone(tmp_path: Path) -> None:
    original, other, music = voice(1, 0.06), voice(2, 0.055), band(3, 0.03)
    result = remixed(tmp_path, original + music, other, music)
    assert abs(result.lufs - lufs(original + music)) < 0.3
    assert 0 < result.loudness.vocal_trim <= 1
    assert np.array_equal(result.stems["instrumental"], music)


@pytest.mark.slow
def test_a_large_one_by_everything(tmp_path: Path) -> None:
    original, other, music = voice(1, 0.08), voice(2, 0.02), band(3, 0.02)
    result = remixed(tmp_path, original + music, other, music)
    assert abs(result.lufs - lufs(original + music)) < 0.3
    assert result.loudness.gain > 1
    ratio = result.stems["instrumental"] / music
    assert ratio == pytest.approx(10 ** (result.loudness.gain / 20), rel=0.01)


@pytest.mark.parametrize("level", [0.25, 0.4])
def test_a_hot_song_keeps_its_loudness_below_the_ceiling(tmp_path: Path, level: float) -> None:
    original, other, music = voice(1, level / 2), voice(2, level / 2), band(3, level)
    song = np.clip(original + music, -1, 1)
    result = remixed(tmp_path, song, other, music)
    assert abs(result.lufs + result.loudness.shortfall - lufs(song)) < 0.3
    assert result.true_peak <= -1.0
    assert result.loudness.true_peak <= -1.0
    assert result.loudness.reduction > 0
    assert (result.loudness.shortfall > 0) == (level > 0.3)


@pytest.mark.parametrize("over", [6, 20, 40])
def test_a_float_song_over_full_scale_gives_an_ordinary_cover(tmp_path: Path, over: float) -> None:
    """As loud as the song turned down to where loud masters are, not limited by all that it is over full scale."""
    music, sung = band(3, 0.12), voice(1, 0.05)
    gain = 10 ** (over / 20) / np.abs(music + sung).max()
    (tmp_path / "work").mkdir()
    context = Context(tmp_path / "work")
    result = remixed(tmp_path, gain * (music + sung), gain * voice(2, 0.05), gain * music, context=context)
    found = result.loudness
    assert found.target == pytest.approx(found.song.integrated - (found.song.true_peak - 3), abs=0.02)
    assert result.lufs + found.shortfall == pytest.approx(found.target or 0, abs=0.3)
    assert found.reduction < 9
    assert result.true_peak <= -1.0
    assert any("over full scale" in warning for warning in context.warnings)


def test_what_needs_much_limiting_stays_softer_and_is_said(tmp_path: Path) -> None:
    music = band(3, 0.3)
    (tmp_path / "work").mkdir()
    context = Context(tmp_path / "work")
    result = remixed(tmp_path, music, voice(2, 0.1), music, context=context, target_lufs=-6.0)
    found = result.loudness
    assert found.shortfall > 1
    assert result.lufs + found.shortfall == pytest.approx(-6, abs=0.1)
    assert found.reduction_heavy <= 1.01
    assert found.reduction_lasting <= 3.06
    assert found.reduction_mean < 0.5
    assert result.true_peak <= -1.0
    assert [warning for warning in context.warnings if "LU softer than the -6 LUFS asked for" in warning]
    # raised by a little more, it would be limited more than is allowed
    assert max(found.reduction_heavy / 1, found.reduction_lasting / 3) > 0.9


def test_a_bass_is_turned_down_and_not_distorted(tmp_path: Path) -> None:
    time = np.arange(SECONDS * RATE) / RATE
    bass = np.tile(1.2 * np.sin(2 * np.pi * 55 * time) * np.clip(time / 0.3, 0, 1), (2, 1))
    cover = remixed(tmp_path, np.clip(bass, -1, 1), np.zeros_like(bass), bass).cover[0, 2 * RATE : 4 * RATE]
    power = np.abs(np.fft.rfft(cover.astype(np.float64))) ** 2
    assert 10 * np.log10(power[220::110].sum() / power[110]) < -120


@pytest.mark.parametrize("target", [-30.0, -14.0])
def test_target(tmp_path: Path, target: float) -> None:
    result = remixed(tmp_path, voice(1, 0.1) + band(3, 0.1), voice(2, 0.1), band(3, 0.1), target_lufs=target)
    assert abs(result.lufs - target) < 0.3
    assert result.true_peak <= -1.0


@pytest.mark.parametrize("level", [0.02, 0.3])
@pytest.mark.parametrize(("platform", "target"), [("spotify", -14), ("youtube", -14), ("apple", -16), ("club", -9)])
def test_a_platform_s_loudness(tmp_path: Path, platform: Platform, target: float, level: float) -> None:
    """Reached from a softer and from a louder song, or missed by what is said, because the limiter takes no more."""
    (tmp_path / "work").mkdir()
    context = Context(tmp_path / "work")
    music = band(3, level)
    result = remixed(tmp_path, music, voice(2, level / 2), music, context=context, loudness=platform)
    found = result.loudness
    assert result.lufs + found.shortfall == pytest.approx(target, abs=0.3)
    assert found.target == target
    assert result.true_peak <= -1.0
    assert found.reduction_heavy <= 1.01
    said = f"The cover is {found.shortfall:.1f} LU softer than the {target} LUFS asked for"
    assert any(warning.startswith(said) for warning in context.warnings) == (found.shortfall >= 0.5)
    assert (found.shortfall > 0) == (platform == "club")


def test_an_own_target_and_ceiling_come_before_the_platform_s() -> None:
    assert RemixSettings(loudness="club").requested_lufs == -9
    assert RemixSettings(loudness="club", target_lufs=-11).requested_lufs == -11
    assert RemixSettings(target_lufs=-11).requested_lufs == -11
    assert RemixSettings().requested_lufs is None
    assert RemixSettings(loudness="apple", ceiling=-2).highest_peak == -2
    assert RemixSettings(loudness="apple").highest_peak == -1


def test_a_target_out_of_reach_is_said(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    context = Context(tmp_path / "work")
    spikes = np.zeros((2, SECONDS * RATE), np.float32)
    spikes[:, ::RATE] = 0.5
    result = remixed(tmp_path, spikes, spikes, None, context=context, target_lufs=-5.0)
    assert result.true_peak <= -0.9
    assert any("LU softer than the -5 LUFS asked for" in warning for warning in context.warnings)


def test_gains_move_the_balance_and_not_the_loudness(tmp_path: Path) -> None:
    original, other, music = voice(1, 0.05), voice(2, 0.05), band(3, 0.05)
    plain = remixed(tmp_path, original + music, other, music)
    louder = remixed(tmp_path, original + music, other, music, vocal_gain=6.0)
    softer = remixed(tmp_path, original + music, other, music, instrumental_gain=-6.0)
    for result in (louder, softer):
        assert abs(result.lufs - lufs(original + music)) < 0.3

        def balance(of: Result) -> float:
            energy = {name: np.square(stem, dtype=np.float64).sum() for name, stem in of.stems.items()}
            return float(10 * np.log10(energy["vocals"] / energy["instrumental"]))

        assert balance(result) - balance(plain) == pytest.approx(6, abs=0.1)


def test_reverb_and_noise_are_put_back_at_their_gains(tmp_path: Path) -> None:
    music, room, hiss = band(3, 0.05), voice(4, 0.02), band(5, 0.002)
    song = voice(1, 0.05) + music + room + hiss
    put_back: dict[str, Any] = {"reverb": room, "noise": hiss, "reverb_gain": -6.0, "noise_gain": 0.0}
    result = remixed(tmp_path, song, voice(2, 0.05), music, **put_back)
    assert set(result.stems) == {"vocals", "instrumental", "reverb", "noise"}
    gains = {
        name: np.vdot(result.stems[name], given) / np.vdot(given, given)
        for name, given in (("instrumental", music), ("reverb", room), ("noise", hiss))
    }
    assert gains["reverb"] / gains["instrumental"] == pytest.approx(10 ** (-6 / 20), rel=1e-3)
    assert gains["noise"] / gains["instrumental"] == pytest.approx(1, rel=1e-3)


def test_backing_is_a_stem_of_its_own(tmp_path: Path) -> None:
    music, choir = band(3, 0.05), band(4, 0.02)
    result = remixed(tmp_path, voice(1, 0.05) + music + choir, voice(2, 0.05), music, backing=choir, backing_gain=-20.0)
    assert set(result.stems) == {"vocals", "instrumental", "backing"}
    assert np.abs(result.stems["backing"]).max() < 0.15 * np.abs(choir).max()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_cappella(tmp_path: Path, channels: int) -> None:
    original, other = voice(1, 0.05)[:channels], voice(2, 0.02)[:channels]
    nothing = np.zeros_like(original)
    assert abs(remixed(tmp_path, original, other, nothing).lufs - lufs(original)) < 0.3
    alone = remixed(tmp_path, original, other, None)
    assert set(alone.stems) == {"vocals"}
    assert abs(alone.lufs - lufs(original)) < 0.3


def test_no_vocals_gives_the_instrumental(tmp_path: Path) -> None:
    music = band(3, 0.05)
    assert np.array_equal(remixed(tmp_path, music, np.zeros_like(music), music).cover, music)


def test_silence_stays_silent(tmp_path: Path) -> None:
    nothing = np.zeros((2, RATE), np.float32)
    result = remixed(tmp_path, nothing, nothing, nothing)
    assert not result.cover.any()
    assert result.loudness.target is None


def test_a_song_too_short_to_measure_is_only_summed(tmp_path: Path) -> None:
    music = band(3, 0.05, 0.2)
    assert np.array_equal(remixed(tmp_path, music, music, music).cover, music + music)


def test_a_mono_vocal_and_a_short_stem_fit(tmp_path: Path) -> None:
    music = band(3, 0.05)
    result = remixed(tmp_path, music, voice(2, 0.01)[:1], music[:, :-RATE])
    assert np.array_equal(result.stems["vocals"][0], result.stems["vocals"][1])
    assert not result.stems["instrumental"][:, -RATE:].any()


def test_workers_do_not_matter(tmp_path: Path) -> None:
    parts = voice(1, 0.3) + band(3, 0.3), voice(2, 0.3), band(3, 0.3)
    covers = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        covers.append(remixed(folder, *parts, context=Context(folder, workers=workers)).cover)
    assert np.array_equal(covers[0], covers[1])


def test_stems_of_another_song(tmp_path: Path) -> None:
    music = band(3, 0.05)
    other = write_blocks(tmp_path / "other.npy", 8000, 2, [Audio.of(music, 8000)])
    with pytest.raises(UnderstudyError, match="vocals stem has 2 channels at 8000 Hz"):
        measure_stems(Context(tmp_path), stored(tmp_path, "song", music), {"vocals": other})


@pytest.mark.parametrize("wrong", [{"vocal_gain": 100}, {"ceiling": 0.0}, {"target_lufs": 3}, {"vocal_gian": 1}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RemixSettings(**wrong)
