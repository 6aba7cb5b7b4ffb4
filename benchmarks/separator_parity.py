"""Separation networks of published sizes compared with pymss: same random weights, same file, one process.

    python -m benchmarks.separator_parity [--networks bs-368 scnet ...] [--window 2] [--song 30] [--rounds 1]

Every network is built by pymss-core (VR and Mel-Band Roformer: by audio-separator), gets random weights with which
every part matters, is written as its checkpoint and YAML are published, and is loaded from there as a user's file is.
Printed for each:

- `family`: which of ours reads it; `file`: MB of its weights
- `window dB`: SNR of one window by our network in float32 against the other; at least 90 is the goal
- `song dB`: the same of a whole song by our windows against pymss's own loop, less one window at its beginning and two
  at its end, where pymss mirrors the song and ours is surrounded by silence; only with ``--window`` and pymss, and
  for families whose networks or YAML are theirs
- `theirs s`, `ours s`: CPU seconds for one window in float32; the `ours` after that in the dtype that CPUs get, with
  its SNR
- with ``--song``: CPU seconds of a song so long, windows and overlap those of pymss, in the dtype that CPUs get

`--window`: seconds, as published where it isn't given. Parity doesn't depend on it, times do.
Needs pymss-core; pymss (``pip install --no-deps pymss==2.1.12``) and audio-separator where they are compared with.
"""

from __future__ import annotations

import argparse
import copy
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pymss_core import get_model_from_config

from benchmarks import mdx_vr_parity
from benchmarks.separation_speed import BS_BANDS, ROFORMER, surrounded
from tests.support.checkpoints import shaken, snr, write
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.models.precision import default_precision
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.layout import Place, clipped
from understudy.pipeline.separation.models import SeparatorModel, find_separator, load_network
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.settings import InferenceSettings

Sound = NDArray[np.float32]
Configuration = dict[str, Any]
DEMUCS = ["drums", "bass", "other", "vocals"]
SIX = ["bass", "drums", "other", "vocals", "guitar", "piano"]
VOCALS = {"instruments": ["vocals", "other"], "target_instrument": "vocals"}


def roformer(window: int = 352_800, training: Mapping[str, Any] = VOCALS, **model: Any) -> Configuration:
    return {"audio": {"chunk_size": window, "sample_rate": 44_100}, "model": {**ROFORMER, **model},
            "training": dict(training)}  # fmt: skip


def scnet(width: int, layers: int) -> Configuration:
    model = {
        "sources": DEMUCS, "audio_channels": 2, "dims": [4, width, 2 * width, 4 * width], "nfft": 4096,
        "hop_size": 1024, "win_size": 4096, "normalized": True, "band_SR": [0.175, 0.392, 0.433],
        "band_stride": [1, 4, 16], "band_kernel": [3, 4, 16], "conv_depths": [3, 2, 1], "compress": 4,
        "conv_kernel": 3, "num_dplayer": layers, "expand": 1,
    }  # fmt: skip
    return {"audio": {"chunk_size": 485_100, "sample_rate": 44_100}, "model": model,
            "training": {"instruments": DEMUCS}, "inference": {"normalize": True}}  # fmt: skip


def bandit(version: int) -> Configuration:
    stems = ["speech", "music", "effects"]
    sizes = {"stems": stems, "n_bands": 64, "n_sqm_modules": 8, "emb_dim": 128, "rnn_dim": 256, "rnn_type": "GRU",
             "mlp_dim": 512, "n_fft": 2048, "win_length": 2048, "hop_length": 512}  # fmt: skip
    if version == 1:
        model: Configuration = {"model": {"in_channel": 1, "band_specs": "musical", "fs": 44_100, **sizes}}
    else:
        model = {"kwargs": {"in_channels": 1, "band_type": "musical", "fs": 48_000, **sizes}}
    rate = 44_100 if version == 1 else 48_000
    return {"audio": {"chunk_size": 6 * rate, "sample_rate": rate}, **model,
            "training": {"instruments": stems, "target_instrument": None}}  # fmt: skip


def apollo(width: int) -> Configuration:
    return {"audio": {"chunk_size": 132_300, "sample_rate": 44_100},
            "model": {"sr": 44_100, "win": 20, "feature_dim": width, "layer": 6},
            "training": {"instruments": ["restored", "addition"], "target_instrument": "restored"}}  # fmt: skip


def mdx23c() -> Configuration:
    audio = {"chunk_size": 261_120, "dim_f": 4096, "dim_t": 256, "hop_length": 1024, "n_fft": 8192, "num_channels": 2,
             "sample_rate": 44_100}  # fmt: skip
    model = {"act": "gelu", "bottleneck_factor": 4, "growth": 128, "norm": "InstanceNorm", "num_blocks_per_scale": 2,
             "num_channels": 128, "num_scales": 5, "num_subbands": 4, "scale": [2, 2]}  # fmt: skip
    training = {"instruments": ["vocals", "instrumental"], "target_instrument": None}
    return {"audio": audio, "model": model, "training": training, "inference": {"dim_t": 256}}


def htdemucs(sources: list[str], bottom: int = 512) -> Configuration:
    network = {"channels": 48, "growth": 2, "depth": 4, "dconv_mode": 3, "dconv_comp": 8, "bottom_channels": bottom,
               "t_layers": 5, "t_heads": 8, "t_dropout": 0.02, "nfft": 4096, "num_subbands": 1}  # fmt: skip
    training = {"instruments": sources, "target_instrument": None, "channels": 2, "samplerate": 44_100, "segment": 11}
    return {"audio": {"chunk_size": 485_100, "sample_rate": 44_100}, "training": training, "model": "htdemucs",
            "htdemucs": network}  # fmt: skip


BS: dict[str, Any] = {"dim": 512, "depth": 12, "freqs_per_bands": BS_BANDS}
SMALLER: dict[str, Any] = {**BS, "dim": 256, "stft_hop_length": 512}
SW = {"instruments": SIX, "target_instrument": None}
NETWORKS: Mapping[str, tuple[str, Configuration]] = {
    "mel-band": ("mel_band_roformer", roformer(dim=384, depth=6, num_bands=60, sample_rate=44_100)),
    "bs-368": ("bs_roformer", roformer(**BS)),
    "bs-sw": ("bs_roformer", roformer(588_800, SW, **{**SMALLER, "num_stems": 6})),
    "bs-hyperace": ("bs_roformer_hyperace", roformer(882_000, **SMALLER)),
    "bs-pope": ("bs_roformer", roformer(588_800, **SMALLER, use_pope=True)),
    "mdx23c": ("mdx23c", mdx23c()),
    "htdemucs": ("htdemucs", htdemucs(DEMUCS)),
    "htdemucs-6s": ("htdemucs", htdemucs([*DEMUCS, "guitar", "piano"], 0)),
    "scnet": ("scnet", scnet(32, 6)),
    "scnet-xl": ("scnet", scnet(64, 8)),
    "bandit": ("bandit", bandit(1)),
    "bandit-v2": ("bandit_v2", bandit(2)),
    "apollo": ("apollo", apollo(256)),
}
"""pymss's name of the kind, and the configuration as published."""

VR = ("vr-123821", "vr-5.1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=(*NETWORKS, *VR), default=[*NETWORKS, *VR])
    parser.add_argument("--window", type=float, help="seconds; as published if not given")
    parser.add_argument("--song", type=float, default=0.0, help="seconds of a song that both separate as users do")
    parser.add_argument("--rounds", type=int, default=1, help="of which the fastest counts")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.WARNING)
    dtype = default_precision("cpu")
    head = f"{'':12}{'family':11}{'file':>6}{'window dB':>11}{'song dB':>9}"
    print(f"{head}{'theirs s':>10}{'ours s':>8}{dtype:>10}{'dB':>6}")
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            if name in VR:
                of_vr(name, Path(folder))
            else:
                compare(name, options.window, options.song, options.rounds, Path(folder))


def compare(name: str, seconds: float | None, song: float, rounds: int, folder: Path) -> None:
    kind, configuration = NETWORKS[name]
    configuration = sized(configuration, seconds)
    reference = built(kind, configuration, folder)
    separator = find_separator(str(folder / "net.ckpt"))
    network = load_network(separator, "cpu", "float32")
    fast = load_network(separator, "cpu", default_precision("cpu"))
    windows = torch.from_numpy(mdx_vr_parity.made_up(network.window / 44_100 + 1)[None, :, : network.window])

    with torch.inference_mode():
        expected, theirs = fastest(rounds, lambda: by_pymss(reference, windows, separator, network))
        found, ours = fastest(rounds, lambda: network.separate(windows))
        faster, low = fastest(rounds, lambda: fast.separate(windows))
    size = (folder / "net.ckpt").stat().st_size / 1e6
    looped = seconds and find_spec("pymss") and separator.family in ("pymss_core", "demucs")
    whole = f"{in_a_loop(kind, network, folder):9.1f}" if looped else f"{'-':>9}"
    row = f"{name:12}{separator.family:11}{size:6.0f}{snr(found, expected):11.1f}{whole}"
    print(f"{row}{theirs:10.2f}{ours:8.2f}{low:10.2f}{snr(faster, expected):6.1f}", flush=True)
    if song:
        timed_song(kind, fast, song, folder)


def sized(configuration: Configuration, seconds: float | None) -> Configuration:
    """The configuration with other windows."""
    changed = copy.deepcopy(configuration)
    changed["training"].setdefault("target_instrument", None)
    changed["inference"] = {"batch_size": 1, "num_overlap": 2, **changed.get("inference", {})}
    if seconds is None:
        return changed
    audio = changed["audio"]
    if "dim_t" in audio:
        audio["dim_t"] = changed["inference"]["dim_t"] = 64
        audio["chunk_size"] = 63 * audio["hop_length"]
    else:
        audio["chunk_size"] = round(seconds * audio["sample_rate"]) // 1024 * 1024
    if changed.get("model") == "htdemucs":
        changed["training"]["segment"] = max(1, round(seconds))  # pymss takes whole seconds alone
        audio["chunk_size"] = 44_100 * changed["training"]["segment"]
    return changed


def built(kind: str, configuration: Configuration, folder: Path) -> Any:
    """pymss-core's network with random weights, whose checkpoint and YAML are then in `folder`."""
    write(folder, {}, configuration)
    if kind == "mel_band_roformer":  # pymss-core's differs from the published one, by 25 to 36 dB
        from audio_separator.separator.uvr_lib_v5.roformer.mel_band_roformer import MelBandRoformer

        network: Any = MelBandRoformer(**configuration["model"])
    else:
        network, _ = get_model_from_config(kind, str(folder / "net.yaml"))
    if hasattr(network, "set_mask_mode"):
        network.set_mask_mode("full")
    shaken(network)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith(".scale"):  # residual branches of Demucs, which begin at a thousandth
                tensor.uniform_(0.1, 0.4)
    write(folder, network.state_dict(), configuration)
    return network


def by_pymss(
    reference: torch.nn.Module, windows: torch.Tensor, separator: SeparatorModel, ours: Network
) -> torch.Tensor:
    """What the network gives, ``[1, stems, 2, window]``. Networks of one channel get both one after the other."""
    shape = (1, len(separator.stems), 2, windows.shape[-1])
    if "stereo" in vars(reference) or separator.family in ("mdx23c", "demucs") or "sources" in vars(reference):
        found: torch.Tensor = reference(windows)
        return found.reshape(shape)
    found = reference(windows.reshape(2, 1, -1))
    return found.reshape(2, *shape[1:2], -1).transpose(0, 1).reshape(shape)


def fastest(rounds: int, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    taken = []
    for _ in range(rounds):
        begin = time.process_time()
        found = work()
        taken.append(time.process_time() - begin)
    return found, min(taken)


def separator_of_pymss(kind: str, folder: Path) -> Any:
    from pymss import MSSeparator

    kind = "bs_roformer" if kind == "bs_roformer_hyperace" else kind
    quiet = logging.getLogger("pymss")
    return MSSeparator(kind, str(folder / "net.ckpt"), str(folder / "net.yaml"), device="cpu", logger=quiet)


def one_after_another(frames: int, window: int, step: int) -> Iterator[Place]:
    for start in range(0, frames, step):
        yield clipped(Place(start, window), frames)


def pymss_windows(kind: str, network: Network) -> Network:
    """Ours with the windows of pymss: half of each overlaps; a tenth at either end rises and falls in a line, but for
    HTDemucs."""
    if kind == "htdemucs":
        return replace(network, fade=torch.ones(network.window), layout=one_after_another)
    side = network.window // 10
    fade = torch.ones(network.window)
    fade[:side] = torch.linspace(0, 1, side).clamp(min=1e-6)
    fade[-side:] = torch.linspace(1, 0, side).clamp(min=1e-6)
    return replace(network, fade=fade, layout=surrounded)


def in_a_loop(kind: str, network: Network, folder: Path) -> float:
    """SNR of a song by our loop against pymss's, within."""
    song = mdx_vr_parity.made_up(3.5 * network.window / 44_100)
    expected = separator_of_pymss(kind, folder).separate(song, pbar=False)
    found = infer(
        Context(folder), pymss_windows(kind, network), Audio(song, network.rate), InferenceSettings(overlap=0.5)
    )
    names = {name.lower(): name for name in expected}
    ratios = [
        mdx_vr_parity.decibels(expected[names[stem]].T, file.read().samples, network.window)
        for stem, file in found.items()
    ]
    return min(ratios)


def timed_song(kind: str, network: Network, seconds: float, folder: Path) -> None:
    song = mdx_vr_parity.made_up(seconds)
    separator = separator_of_pymss(kind, folder)
    begin = time.process_time()
    separator.separate(song, pbar=False)
    theirs = time.process_time()
    infer(Context(folder), pymss_windows(kind, network), Audio(song, network.rate), InferenceSettings(overlap=0.5))
    ours = time.process_time()
    print(f"{'':12}{seconds:.0f} s of song: pymss {theirs - begin:.1f}, ours {ours - theirs:.1f} CPU s", flush=True)


def of_vr(name: str, folder: Path) -> None:
    load, theirs = mdx_vr_parity.voice_remover(name, folder)
    song = mdx_vr_parity.made_up(15)
    expected, their_seconds = mdx_vr_parity.timed(lambda: theirs(song))
    network = load("float32")
    found, seconds = mdx_vr_parity.timed(lambda: mdx_vr_parity.ours(network, song))
    within = mdx_vr_parity.decibels(expected, found, min(network.window, song.shape[1] // 5))
    size = (folder / "net.pth").stat().st_size / 1e6
    print(f"{name:12}{'vr':11}{size:6.0f}{'-':>11}{within:9.1f}{their_seconds:10.2f}{seconds:8.2f}", flush=True)


if __name__ == "__main__":
    main()
