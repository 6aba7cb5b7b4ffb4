"""Examples say what the spectrum says, and depend on seed and number alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.pipeline.separation.training.material import write_songs
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.separation.embedded.network import BANDS, CHANNELS, LEVEL_EXPONENT, WIDTHS
from understudy.pipeline.separation.spectrogram import analyse
from understudy.pipeline.separation.training.examples import GRID, Example, example, example_of, mix, prepare
from understudy.pipeline.separation.training.loss import separation_loss
from understudy.pipeline.separation.training.songs import songs_in


def test_songs_are_found_and_read_from_any_second(tmp_path: Path) -> None:
    songs = songs_in(write_songs(tmp_path / "songs"))
    assert [song.name for song in songs] == ["song 0", "song 1"]
    assert songs[0].seconds == pytest.approx(3.0, abs=1e-3)
    whole = songs[0].read(Context(tmp_path), 0.0, 4.0)
    assert set(whole) == {"vocals", "drums", "bass", "other"}
    assert whole["vocals"].shape == (2, 4 * 44100)
    assert not whole["vocals"][:, 3 * 44100 :].any()
    late = songs[0].read(Context(tmp_path), 1.0, 1.0)
    np.testing.assert_array_equal(late["other"], whole["other"][:, 44100 : 2 * 44100])


def test_other_rates_are_brought_to_ours(tmp_path: Path) -> None:
    song = songs_in(write_songs(tmp_path / "songs", 1, rate=22050))[0]
    assert song.read(Context(tmp_path), 0.0, 2.0)["vocals"].shape == (2, 2 * 44100)


def test_a_folder_without_bands_is_refused(tmp_path: Path) -> None:
    place = write_songs(tmp_path / "songs", 1) / "song 0"
    for name in ("drums", "bass", "other"):
        (place / f"{name}.wav").unlink()
    with pytest.raises(UnderstudyError, match="no song"):
        songs_in(tmp_path / "songs")


def test_an_example_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    songs, context = songs_in(write_songs(tmp_path / "songs")), Context(tmp_path)
    once, again = (example(context, songs, 5, 1, 2.0) for _ in range(2))
    assert once.maps.tobytes() == again.maps.tobytes()
    assert once.rest.tobytes() == again.rest.tobytes()
    assert example(context, songs, 6, 1, 2.0).maps.tobytes() != once.maps.tobytes()
    paths = prepare(context, songs, tmp_path, 2, 5, 2.0)
    assert np.array_equal(Example.load(paths[1]).maps, once.maps)


def test_mixes_keep_their_stems_and_peak_at_full_scale(tmp_path: Path) -> None:
    songs, context = songs_in(write_songs(tmp_path / "songs")), Context(tmp_path)
    for seed in range(8):
        voice, band = mix(context, songs, 0, 2.0, np.random.default_rng(seed))
        assert voice.shape == band.shape == (2, 2 * 44100)
        assert np.abs(voice + band).max() == pytest.approx(1.0, abs=1e-3)


def test_two_maps_hold_the_error_of_any_mask() -> None:
    random = np.random.default_rng(0)
    voice, band = random.normal(0, 0.1, (2, 2, 30000)).astype(np.float32)
    made = example_of(voice, band)
    assert made.maps.shape[0] == CHANNELS + 2
    assert made.maps.shape[2] == BANDS
    power = np.asarray(made.maps[:2], np.float64) ** (2 / LEVEL_EXPONENT) * WIDTHS
    song, sung = analyse(voice + band, GRID), analyse(voice, GRID)
    whole = np.sum(np.abs(song) ** 2)
    for mask in (0.0, 0.4, 1.0):
        read_off = (power * (mask - np.asarray(made.maps[CHANNELS:], np.float64)) ** 2).sum() + made.rest[0].sum()
        direct = np.sum(np.abs(mask * song - sung) ** 2) / whole * power.sum()
        assert read_off == pytest.approx(direct, rel=0.02)


def of(mask: float, share: float = 0.5, level: float = 1.0) -> float:
    """The loss of an even `mask` where `share` is right."""
    shape = (1, 2, 4, BANDS)
    features = torch.full((1, CHANNELS, 4, BANDS), level)
    power = level ** (2 / LEVEL_EXPONENT) * float(WIDTHS.sum()) * share**2
    rest = torch.stack([torch.zeros(4), torch.full((4,), 2 * power)])[None]
    logits = torch.logit(torch.full(shape, mask).clamp(1e-3, 1 - 1e-3))
    return float(separation_loss(logits, features, torch.full(shape, share), rest, torch.from_numpy(WIDTHS)))


def test_the_loss_prefers_the_truth_and_counts_misses_more() -> None:
    assert of(0.5) < min(of(0.0), of(0.4), of(0.6), of(1.0))
    assert of(0.4) > of(0.6)


def test_without_a_voice_silence_is_best_and_the_loss_stays_finite() -> None:
    assert of(0.0, share=0.0) < of(0.3, share=0.0)
    assert np.isfinite(of(0.0, share=0.0))
    nothing = example_of(*np.zeros((2, 2, 9000), np.float32))
    maps = torch.from_numpy(np.asarray(nothing.maps, np.float32)[None])
    logits = torch.zeros_like(maps[:, CHANNELS:], requires_grad=True)
    rest = torch.from_numpy(nothing.rest[None])
    separation_loss(logits, maps[:, :CHANNELS], maps[:, CHANNELS:], rest, torch.from_numpy(WIDTHS)).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
