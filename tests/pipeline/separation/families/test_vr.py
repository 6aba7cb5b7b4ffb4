"""VR networks: bands, names, what is refused, and how they sound."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.models.installed import Weights
from understudy.pipeline.separation.families import vr
from understudy.pipeline.separation.families.vr.bands import band_names, falling, read_bands, rising
from understudy.pipeline.separation.families.vr.construction import construct, is_newer
from understudy.pipeline.separation.families.vr.network import Cascade
from understudy.pipeline.separation.families.vr.transform import MARGIN, Transform
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.settings import InferenceSettings

NARROW = "1band_sr44100_hl256"
"""The smallest published spectra: 256 bins."""


def checkpoint(folder: Path, bands: str = NARROW, bins: int = 256, halves: bool = False, primary: str = "Vocals",
               more: str = "", name: str = "net") -> Weights:  # fmt: skip
    """A network of version 5.1 that is only 4 channels wide. `halves`: its mask is one half everywhere."""
    torch.manual_seed(0)
    network = Cascade(bins, width=4, states=4)
    network.out.weight.data.mul_(0 if halves else 8)
    path = folder / f"{name}.pth"
    torch.save(network.state_dict(), path)
    path.with_suffix(".yaml").write_text(f"bands: {bands}\nprimary_stem: {primary}\n{more}")
    return Weights(path, "0" * 64)


def noise(frames: int) -> Audio:
    return Audio((np.random.default_rng(0).standard_normal((2, frames)) * 0.1).astype(np.float32), 44100)


def separated(folder: Path, weights: Weights, song: Audio, settings: InferenceSettings | None = None) -> np.ndarray:
    """``[stems, 2, frames]``"""
    folder.mkdir(exist_ok=True)
    found = infer(Context(folder), vr.load(weights, "cpu", "float32"), song, settings or InferenceSettings())
    return np.stack([stem.read().samples for stem in found.values()])


@pytest.mark.slow
@pytest.mark.parametrize(("bands", "bins"), [(NARROW, 256), ("4band_v3", 672)])
def test_both_stems_together_are_the_song_where_it_was(bands: str, bins: int, tmp_path: Path) -> None:
    song = np.zeros((2, 60_000), np.float32)
    song[0, 20_000] = 1
    song[1, 40_000] = -0.5
    together = separated(tmp_path, checkpoint(tmp_path, bands, bins, halves=True), Audio(song, 44100)).sum(0)
    assert (np.abs(together).argmax(1) == [20_000, 40_000]).all()
    assert np.abs(together - song).max() < 0.25  # the highest frequencies are not in these networks' bands


def test_the_mask_is_lowered_as_published(tmp_path: Path) -> None:
    """A mask of a half to the power of 1 + 0.9 in the upper bins, 1 + 0.9 / 3 in the lower ones: for voices."""
    weights = checkpoint(tmp_path, halves=True)
    song = noise(40_000)
    vocals, rest = separated(tmp_path, weights, song)
    share = np.sqrt((vocals**2).sum() / ((vocals + rest) ** 2).sum())
    assert share == pytest.approx(0.5 ** (1 + 0.9 / 3), rel=0.01)  # all bins of these bands are lower ones


@pytest.mark.slow
def test_the_gain_is_that_of_the_song(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path)
    quiet = noise(50_000)
    loud = Audio(quiet.samples * np.float32(8), 44100)
    once, again = separated(tmp_path / "quiet", weights, quiet), separated(tmp_path / "loud", weights, loud)
    assert np.abs(8 * once - again).max() < 1e-4 * np.abs(again).max()
    assert np.std(once[0]) > 0.01  # it isn't silent


@pytest.mark.slow
def test_windows_do_not_show_and_the_same_song_gives_the_same_bytes(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path)
    song = noise(200_000)
    once, again = (separated(tmp_path / name, weights, song) for name in ("once", "again"))
    assert once.tobytes() == again.tobytes()
    closer = separated(tmp_path / "closer", weights, song, InferenceSettings(overlap=0.8))
    assert np.std(once - closer) < 0.05 * np.std(once)


@pytest.mark.slow
def test_silence_gives_silence_and_short_songs_their_length(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path)
    for frames in (1, 300, 10_000):
        assert not separated(tmp_path / str(frames), weights, Audio.silence(2, frames, 44100)).any()
        assert separated(tmp_path / str(frames), weights, noise(frames)).shape == (2, 2, frames)


def test_it_stops_within_a_window_when_cancelled(tmp_path: Path) -> None:
    cancelled = Event()
    fractions: list[float] = []

    def stop(fraction: float) -> None:
        fractions.append(fraction)
        cancelled.set()

    network = vr.load(checkpoint(tmp_path), "cpu", "float32")
    with pytest.raises(Cancelled):
        infer(Context(tmp_path, on_progress=stop, cancelled=cancelled), network, noise(500_000), InferenceSettings())
    assert len(fractions) == 1


@pytest.mark.slow
def test_shorter_windows_give_about_the_same(tmp_path: Path) -> None:
    network = vr.load(checkpoint(tmp_path), "cpu", "float32")
    assert network.shorter is not None
    shorter = network.shorter()
    assert shorter.window < network.window
    song = noise(100_000)
    (tmp_path / "short").mkdir()
    whole = separated(tmp_path, checkpoint(tmp_path), song)
    found = infer(Context(tmp_path / "short"), shorter, song, InferenceSettings())
    assert np.std(np.stack([stem.read().samples for stem in found.values()]) - whole) < 0.05 * np.std(whole)
    while shorter.shorter:
        before, shorter = shorter, shorter.shorter()
        assert 0 < shorter.step < shorter.window < before.window


@pytest.mark.slow
def test_half_precision_is_close(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path)
    windows = torch.randn(1, 2, vr.load(weights, "cpu", "float32").window)
    with torch.inference_mode():
        exact, rough = (vr.load(weights, "cpu", precision).separate(windows) for precision in ("float32", "bfloat16"))
    assert rough.dtype == torch.float32
    assert 0 < (exact - rough).std() < 0.01 * exact.std()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("primary", "more", "name", "stems"),
    [
        ("Vocals", "", "net", ("vocals", "instrumental")),
        ("Instrumental", "", "net", ("instrumental", "vocals")),
        ("Instrumental", "is_karaoke: true\n", "net", ("backing", "lead")),
        ("Vocals", "is_bv_model: true\nis_bv_model_rebalanced: 0.9\n", "net", ("backing", "lead")),
        ("No Reverb", "", "UVR-DeEcho-DeReverb", ("dry", "reverb")),
        ("No Echo", "", "UVR-De-Echo-Normal", ("dry", "reverb")),
        ("Noise", "", "UVR-DeNoise", ("noise", "dry")),
    ],
)
def test_stems_are_named_in_the_design_s_words(
    primary: str, more: str, name: str, stems: tuple[str, ...], tmp_path: Path
) -> None:
    assert vr.stems(checkpoint(tmp_path, primary=primary, more=more, name=name)) == stems


def refused(weights: Weights) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as caught:
        vr.load(weights, "cpu", "float32")
    return caught.value


@pytest.mark.slow
def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path)
    beside = weights.path.with_suffix(".yaml")
    beside.write_text("bands: ../../secret\nprimary_stem: Vocals\n")
    assert refused(weights).code == "model-invalid"
    beside.write_text("bands: 4band_v3\nprimary_stem: Vocals\n")
    assert refused(weights).code == "model-invalid"
    assert "takes 256 bins" in refused(weights).message
    beside.write_text("primary_stem: Vocals\n")
    assert refused(weights).code == "model-companion"
    beside.unlink()
    assert refused(weights).code == "model-companion"
    assert NARROW in refused(weights).hint


def test_checkpoints_of_other_networks_are_refused(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path)
    tensors = torch.load(weights.path, weights_only=True)
    torch.save({name: value for name, value in tensors.items() if "aspp" not in name}, weights.path)
    assert refused(weights).code == "model-invalid"
    torch.save({"encoder.weight": torch.zeros(2, 2)}, weights.path)
    assert refused(weights).code == "model-invalid"
    broken = dict(tensors)
    broken["out.weight"] = broken["out.weight"] * float("nan")
    torch.save(broken, weights.path)
    assert "finite" in refused(weights).message


@pytest.mark.slow
@pytest.mark.parametrize("kind", [31191, 33966, 129605, 123821, (4, 4), (16, 32)])
def test_networks_are_recognised_by_their_shapes_and_compute_what_the_package_does(
    kind: int | tuple[int, int], tmp_path: Path
) -> None:
    package = pytest.importorskip("audio_separator.separator.uvr_lib_v5.vr_network")
    nets, newer = (import_module(f"{package.__name__}.{name}") for name in ("nets", "nets_new"))
    torch.manual_seed(0)
    if isinstance(kind, int):
        network = nets.determine_model_capacity(2 * 256, kind).eval()
    else:
        network = newer.CascadedNet(2 * 256, nout=kind[0], nout_lstm=kind[1]).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    path = tmp_path / "net.pth"
    torch.save(network.state_dict(), path)
    spectra = torch.rand(1, 2, 257, 288)
    found = construct(path, 256, "cpu")
    assert is_newer(path) == isinstance(kind, tuple)
    assert found.edge == network.offset
    with torch.inference_mode():
        assert (found(spectra) - network(spectra)).abs().max() < 1e-6


@pytest.mark.parametrize(("size", "low", "high"), [(321, 25, 53), (257, 139, 210), (385, 37, 73)])
def test_the_bands_slopes_are_those_of_the_package(size: int, low: int, high: int) -> None:
    spec_utils = pytest.importorskip("audio_separator.separator.uvr_lib_v5.spec_utils")
    ones = np.ones((2, size, 1))
    assert np.allclose(falling(size, low, high, True), spec_utils.get_lp_filter_mask(size, low, high)[:, 0])
    assert np.allclose(rising(size, high, low, True), spec_utils.get_hp_filter_mask(size, high, low)[:, 0])
    assert np.allclose(falling(size, low, high, False), spec_utils.fft_lp_filter(ones.copy(), low, high)[0, :, 0])
    assert np.allclose(rising(size, high, low, False), spec_utils.fft_hp_filter(ones.copy(), high, low)[0, :, 0])


def test_all_bands_give_back_what_they_hear() -> None:
    """A tone in the middle of what each set of bands hears, on one side and backwards or not, comes out as it went
    in."""
    names = band_names()
    assert len(names) >= 25
    for name in names:
        bands = read_bands(name, newer=False)
        transform = Transform(bands, 64, "cpu")
        time = np.arange(transform.window) / bands.rate
        tone = np.stack([np.sin(2 * np.pi * 500 * time), 0.3 * np.sin(2 * np.pi * 800 * time)]).astype(np.float32)
        with torch.inference_mode():
            stacked = transform.analyse(torch.from_numpy(tone)[None])
            found = transform.synthesise(stacked)[0].numpy()
        assert stacked.shape == (1, 2, bands.bins + 1, 64 + 2 * MARGIN + 1), name
        inner = slice(MARGIN * bands.hop, -MARGIN * bands.hop)
        wrong = np.std(found[:, inner] - tone[:, inner]) / np.std(tone)
        assert wrong < (0.3 if "2band" in name or "3band" in name else 0.1), (name, wrong)
