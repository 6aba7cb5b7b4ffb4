"""MDX-Net and VR networks compared with audio-separator, with the same random weights.

    python -m benchmarks.mdx_vr_parity [--seconds 30] [--networks mdx-small mdx-full vr-31191 vr-123821 vr-5.1 ...]

Needs audio-separator and librosa. audio-separator's resampler for VR's bands is replaced by soxr's best, so that only
the rest is compared. Prints for each network and dtype the CPU seconds of both, the signal-to-noise ratio between them,
and the same without one window at the beginning of the song and two at its end. There ours differs by design: the last
windows are weighted like all others, the last hundredth of a second isn't lost, and the song is padded with silence
before its first spectrum, not the spectrogram.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.support.onnx_files import MDXNet
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.models.installed import Weights
from understudy.pipeline.separation.families import mdx_net, vr
from understudy.pipeline.separation.families.vr.bands import read_bands
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.settings import InferenceSettings

Sound = NDArray[np.float32]
MDX = {"mdx-small": (1024, 256, 4096, 4, 2, 1), "mdx-full": (3072, 256, 7680, 48, 5, 3)}
"""Bins, spectra, n_fft; width, depth and layers: ``mdx-full`` is as large as the published ones (67 MB)."""
VR = {
    "vr-31191": ("4band_v2", 31191),
    "vr-33966": ("4band_44100_reverse", 33966),
    "vr-123821": ("3band_44100_msb2", 123821),
    "vr-5.1": ("4band_v3", (48, 128)),
    "vr-5.1-small": ("4band_v4_ms_fullband", (16, 32)),
}
"""Bands, and the package's number of the network or its widths."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--networks", nargs="+", default=["mdx-small", "vr-31191", "vr-5.1-small"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    song = made_up(options.seconds)
    for name in options.networks:
        with tempfile.TemporaryDirectory() as scratch:
            load, theirs = mdx(name, Path(scratch)) if name in MDX else voice_remover(name, Path(scratch))
            expected, their_seconds = timed(lambda theirs=theirs: theirs(song))  # type: ignore[misc]
            for precision in ("float32",) if name in MDX else ("float32", "bfloat16"):
                network = load(precision)
                found, seconds = timed(lambda network=network: ours(network, song))  # type: ignore[misc]
                edge = min(network.window, song.shape[1] // 5)
                print(
                    f"{name:14} {precision:9} theirs {their_seconds:6.2f} s, ours {seconds:6.2f} CPU s; "
                    f"{decibels(expected, found):6.1f} dB, within {decibels(expected, found, edge):6.1f} dB",
                    flush=True,
                )


def made_up(seconds: float) -> Sound:
    """Noise with a falling spectrum and a changing level, slightly different on both sides."""
    random = np.random.default_rng(0)
    spectrum = np.fft.rfft(random.standard_normal((2, round(44100 * seconds))))
    noise = np.fft.irfft(spectrum / (1 + np.arange(spectrum.shape[1]) / 2000 / seconds), round(44100 * seconds))
    noise[1] = 0.6 * noise[0] + 0.4 * noise[1]
    swell = 1 + np.sin(np.arange(noise.shape[1]) / 44100 * 9)
    return (0.1 * noise / noise.std() * swell).astype(np.float32)


def ours(network: Network, song: Sound) -> Sound:
    with tempfile.TemporaryDirectory() as folder:
        found = infer(Context(Path(folder)), network, Audio(song, 44100), InferenceSettings())
        return np.stack([stem.read().samples for stem in found.values()])


def mdx(name: str, folder: Path) -> tuple[Callable[[Any], Network], Callable[[Sound], Sound]]:
    for missing in ("onnx", "onnx2torch"):  # it imports them, and needs neither for files of one size
        sys.modules.setdefault(missing, types.ModuleType(missing))
    from audio_separator.separator.architectures.mdx_separator import MDXSeparator

    bins, spectra, n_fft, width, depth, layers = MDX[name]
    path = MDXNet(bins, spectra, width, depth, layers).write(folder / "net.onnx")
    path.with_suffix(".yaml").write_text(f"n_fft: {n_fft}\ncompensate: 1.0\nprimary_stem: Instrumental\n")
    loop = MDXSeparator.__new__(MDXSeparator)
    loop.logger, loop.log_level = logging.getLogger(name), logging.WARNING
    loop.segment_size = loop.dim_t = spectra
    loop.dim_f, loop.n_fft, loop.hop_length, loop.compensate = bins, n_fft, 1024, 1.0
    loop.overlap, loop.batch_size, loop.enable_denoise = 0.25, 1, False
    loop.torch_device, loop.onnx_execution_provider = torch.device("cpu"), ["CPUExecutionProvider"]
    loop.model_path = str(path)
    loop.load_model()
    weights = Weights(path, "0" * 64)
    return lambda precision: mdx_net.load(weights, "cpu", precision), lambda song: loop.demix(song)[None]


def voice_remover(name: str, folder: Path) -> tuple[Callable[[Any], Network], Callable[[Sound], Sound]]:
    import audio_separator
    import librosa
    from audio_separator.separator.architectures.vr_separator import VRSeparator
    from audio_separator.separator.uvr_lib_v5 import spec_utils
    from audio_separator.separator.uvr_lib_v5.vr_network import nets, nets_new
    from audio_separator.separator.uvr_lib_v5.vr_network.model_param_init import ModelParameters

    bands, kind = VR[name]
    newer = isinstance(kind, tuple)
    bins = read_bands(bands, newer).bins
    torch.manual_seed(0)
    if isinstance(kind, tuple):
        network = nets_new.CascadedNet(2 * bins, nout=kind[0], nout_lstm=kind[1])
    else:
        network = nets.determine_model_capacity(2 * bins, kind)
    for layer in network.modules():
        if isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    path = folder / "net.pth"
    torch.save(network.state_dict(), path)
    path.with_suffix(".yaml").write_text(f"bands: {bands}\nprimary_stem: Vocals\n")

    package = Path(audio_separator.__file__).parent
    facts = ModelParameters(str(package / f"separator/uvr_lib_v5/vr_network/modelparams/{bands}.json"))
    loop = VRSeparator.__new__(VRSeparator)
    loop.logger, loop.model_params, loop.model_run = logging.getLogger(name), facts, network
    loop.torch_device, loop.torch_device_mps = torch.device("cpu"), None
    loop.is_vr_51_model, loop.primary_stem_name = newer, "Vocals"
    loop.window_size, loop.batch_size = 512, 1
    loop.high_end_process = loop.enable_tta = loop.enable_post_process = False
    loop.audio_file_path = loop.wav_subtype = None
    loop.aggressiveness = {"value": 0.05, "split_bin": facts.param["band"][1]["crop_stop"], "aggr_correction": None}
    resample = getattr(librosa.resample, "original", librosa.resample)

    def best(y: Sound, *, orig_sr: int, target_sr: int, **_: Any) -> Sound:
        return np.asarray(resample(y, orig_sr=orig_sr, target_sr=target_sr, res_type="soxr_vhq"), np.float32)

    best.original = resample  # type: ignore[attr-defined]
    librosa.resample = best  # type: ignore[assignment]
    spec_utils.write_array_to_mem = lambda *_, **__: None

    def theirs(song: Sound) -> Sound:
        librosa.load = lambda *_, **__: (song.copy(), 44100)
        spectra = loop.inference_vr(loop.loading_mix(), loop.torch_device, loop.aggressiveness)
        stems = [loop.spec_to_wav(each)[:, : song.shape[1]] for each in spectra]
        return np.stack([np.pad(stem, ((0, 0), (0, song.shape[1] - stem.shape[1]))) for stem in stems])

    weights = Weights(path, "0" * 64)
    return lambda precision: vr.load(weights, "cpu", precision), theirs


def timed(work: Callable[[], Sound]) -> tuple[Sound, float]:
    begin = time.process_time()
    return work(), time.process_time() - begin


def decibels(expected: Sound, found: Sound, edge: int = 0) -> float:
    """Signal-to-noise ratio, without `edge` frames at the beginning and twice as many at the end."""
    part = slice(edge, expected.shape[-1] - 2 * edge)
    wrong = np.square(expected[..., part].astype(np.float64) - found[..., part]).sum()
    return float(10 * np.log10(np.square(expected[..., part].astype(np.float64)).sum() / max(wrong, 1e-30)))


if __name__ == "__main__":
    main()
