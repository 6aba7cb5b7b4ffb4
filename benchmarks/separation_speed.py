"""Speed of separation networks compared with audio-separator: same random weights of published size, same song, one
process.

    python benchmarks/separation_speed.py [--family mel bs mdx23c htdemucs] [--song FILE] [--seconds 8] [--rounds 2]

For every family it prints wall and CPU seconds of audio-separator's loop (its `MDXCSeparator.demix`, its loader,
float32) and of Understudy's in every requested dtype; how many times faster ours is; the SNR of the stems against
audio-separator's in float32 (dB, the worst stem); and the memory that each used above the level before it ran. The two
sides alternate, and the fastest round counts. Windows, steps and fades are audio-separator's.

No released weights are needed: the networks have the published sizes (Mel-Band RoFormer: 384 wide, 6 layers, 60 bands;
BS-Roformer: 512 wide, 12 layers, 62 bands; MDX23C: 128 channels and 128 more per scale, 5 scales; HTDemucs: 48
channels, 4 stems) and random weights with which every part matters: attention scores with a standard deviation of two,
masks around a half, branches that don't dominate their shortcuts (`lively`). "input at -60 dB" measures how much the
network itself amplifies a small change of its input: if it amplifies it strongly, the SNR says more about the network
than about the dtype.

Needs audio-separator: pip install 'understudy-covers[audio-separator]'.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from understudy.audio.files import decode
from understudy.audio.samples import Audio
from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.memory import return_freed_memory
from understudy.models.installed import Weights
from understudy.models.precision import Precision, default_precision
from understudy.pipeline.separation.families import demucs as demucs_family
from understudy.pipeline.separation.families import mdx23c, roformer
from understudy.pipeline.separation.inference import infer
from understudy.pipeline.separation.layout import Place, clipped
from understudy.pipeline.separation.network import Network
from understudy.pipeline.separation.settings import InferenceSettings

Samples = NDArray[np.float32]
SONG = Path(__file__).parent.parent / "demo" / "song.mp3"
BS_BANDS = [2] * 24 + [4] * 12 + [12] * 8 + [24] * 8 + [48] * 8 + [128, 129]
ROFORMER = {
    "stereo": True, "num_stems": 1, "time_transformer_depth": 1, "freq_transformer_depth": 1, "dim_head": 64,
    "heads": 8, "attn_dropout": 0, "ff_dropout": 0, "flash_attn": True, "dim_freqs_in": 1025, "stft_n_fft": 2048,
    "stft_hop_length": 441, "stft_win_length": 2048, "stft_normalized": False, "mask_estimator_depth": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """One family. `theirs`: ``[2, frames]`` -> stems, by audio-separator. `load`: our network in a dtype, with
    audio-separator's windows. `stems`: our stem names -> theirs."""

    theirs: Callable[[Samples], Mapping[str, Samples]]
    load: Callable[[Precision], Network]
    settings: InferenceSettings
    stems: Mapping[str, str]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="+", choices=sorted(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--song", type=Path, default=SONG)
    parser.add_argument("--seconds", type=float, default=8.0, help="of the song, from --start on")
    parser.add_argument("--start", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--overlap", type=int, default=1, help="windows that cover each frame")
    parser.add_argument("--precision", nargs="+", choices=("float32", "bfloat16"), default=None)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--disturbed", action="store_true", help="also with noise at -60 dB on the input")
    options = parser.parse_args(arguments)
    try:
        import audio_separator  # noqa: F401
    except ModuleNotFoundError:
        sys.exit("audio-separator isn't installed; how to: python benchmarks/separation_speed.py --help")
    warnings.filterwarnings("ignore")
    if options.threads:
        torch.set_num_threads(options.threads)
    precisions: list[Precision] = options.precision or sorted({default_precision("cpu"), "float32"})
    with tempfile.TemporaryDirectory() as folder:
        song = excerpt(options.song, options.start, options.seconds, Path(folder))
        rates = ", ".join(f"{precision} {matrix_rate(precision):.0f}" for precision in precisions)
        print(
            f"{options.song.name}, {song.duration:.1f} s; {torch.get_num_threads()} threads; "
            f"GFLOP/s of products: {rates}"
        )
        print(f"{'':22}{'wall s':>8}{'CPU s':>8}{'x faster':>10}{'x CPU':>7}{'SNR dB':>8}{'MB':>7}")
        for family in options.family:
            place = Path(folder) / family
            place.mkdir()
            sides = FAMILIES[family](place, options.overlap)
            compare(family, sides, song, precisions, options.rounds, options.disturbed, place)


def compare(
    name: str, sides: Comparison, song: Audio, precisions: list[Precision], rounds: int, disturbed: bool, folder: Path
) -> None:
    networks = {precision: sides.load(precision) for precision in precisions}
    best: dict[str, Run] = {}
    for _ in range(rounds):
        runs = {"audio-separator": measured(partial(sides.theirs, song.samples))}
        for precision, network in networks.items():
            runs[precision] = measured(partial(ours, network, song, sides.settings, folder))
        for side, run in runs.items():
            best[side] = run if side not in best else best[side].best(run)
    theirs = best["audio-separator"]
    for side, run in best.items():
        quality = ""
        if side != "audio-separator":
            quality = f"{worst(run.stems, theirs.stems, sides.stems):8.1f}"
        print(
            f"{name + ', ' + side:22}{run.wall:8.1f}{run.cpu:8.1f}{theirs.wall / run.wall:10.2f}"
            f"{theirs.cpu / run.cpu:7.2f}{quality or '':>8}{run.memory / 1e6:7.0f}",
            flush=True,
        )
    if disturbed:
        noise = np.random.default_rng(0).standard_normal(song.samples.shape) * song.samples.std() * 1e-3
        other = sides.theirs((song.samples + noise).astype(np.float32))
        names = {stem: stem for stem in sides.stems.values()}
        print(f"{name + ', input at -60 dB':22}{'':33}{worst(other, theirs.stems, names):8.1f}", flush=True)


@dataclass(frozen=True)
class Run:
    wall: float
    cpu: float
    memory: int
    stems: Mapping[str, Samples]

    def best(self, other: Run) -> Run:
        return Run(min(self.wall, other.wall), min(self.cpu, other.cpu), max(self.memory, other.memory), self.stems)


def measured(run: Callable[[], Mapping[str, Samples]]) -> Run:
    return_freed_memory()
    before = resident()
    with Peak() as peak:
        wall, cpu = time.perf_counter(), time.process_time()
        stems = run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Run(wall, cpu, max(0, peak.bytes - before), stems)


class Peak:
    """Peak memory of the process within the block, sampled a hundred times a second."""

    def __enter__(self) -> Peak:
        self.bytes, self._done = resident(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.bytes = max(self.bytes, resident())


def resident() -> int:
    """Bytes of the process in memory."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the peak since the start
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(network: Network, song: Audio, settings: InferenceSettings, folder: Path) -> Mapping[str, Samples]:
    stems = infer(Context(folder), network, song, settings)
    return {name: file.read().samples for name, file in stems.items()}


def worst(found: Mapping[str, Samples], expected: Mapping[str, Samples], names: Mapping[str, str]) -> float:
    """The lowest SNR of the stems in dB."""
    ratios = []
    for ours, theirs in names.items():
        reference = expected[theirs].astype(np.float64)
        ratios.append(10 * np.log10((reference**2).sum() / ((found[ours] - reference) ** 2).sum()))
    return float(min(ratios))


def excerpt(path: Path, start: float, seconds: float, folder: Path) -> Audio:
    song: AudioFile = decode(Context(folder), path, folder / "song.npy")
    first = round(min(start, max(0.0, song.duration - seconds)) * song.rate)
    part = song.read(first, min(song.frames, first + round(seconds * song.rate)))
    return part if part.channels == 2 else Audio(np.repeat(part.mono().samples, 2, 0), part.rate)


def matrix_rate(precision: Precision, size: int = 1536) -> float:
    """GFLOP/s of large matrix products: an upper bound for every network."""
    factors = torch.randn(2, size, size).to(getattr(torch, precision))
    taken = []
    for _ in range(5):
        begin = time.perf_counter()
        torch.mm(factors[0], factors[1])
        taken.append(time.perf_counter() - begin)
    return float(2 * size**3 / min(taken) / 1e9)


def lively(network: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("gamma") or (tensor.ndim == 1 and name.endswith(".weight")):
                tensor.normal_(1, 0.1)
            elif "to_qkv" in name:
                tensor.mul_(2.5)  # scores deviate by two instead of a third
            elif "mask_estimators" in name and name.endswith("4.weight"):
                tensor.mul_(3)
            elif "mask_estimators" in name and name.endswith("4.bias"):
                tensor[: tensor.numel() // 2 : 2] += 1  # real parts
            elif ".tfc2.2." in name or ".tdf.5." in name:
                tensor.mul_(0.3)
            elif ".shortcut." in name:
                tensor.mul_(3**0.5)
    return network.eval()


def mel(folder: Path, overlap: int) -> Comparison:
    from audio_separator.separator.uvr_lib_v5.roformer.mel_band_roformer import MelBandRoformer

    model = {**ROFORMER, "dim": 384, "depth": 6, "num_bands": 60, "sample_rate": 44100}
    return roformers(MelBandRoformer(**model), model, folder, overlap)


def bs(folder: Path, overlap: int) -> Comparison:
    from audio_separator.separator.uvr_lib_v5.roformer.bs_roformer import BSRoformer

    model = {**ROFORMER, "dim": 512, "depth": 12}
    return roformers(
        BSRoformer(**model, freqs_per_bands=tuple(BS_BANDS)), {**model, "freqs_per_bands": BS_BANDS}, folder, overlap
    )


def roformers(network: torch.nn.Module, model: dict[str, Any], folder: Path, overlap: int) -> Comparison:
    from audio_separator.separator.roformer.roformer_loader import RoformerLoader

    configuration: dict[str, Any] = {
        "audio": {"chunk_size": 352_800, "hop_length": 441, "sample_rate": 44_100},
        "model": model,
        "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals"},
        "inference": {"dim_t": 801, "num_overlap": overlap},
    }
    weights = written(lively(network), configuration, folder)
    del network
    loaded = RoformerLoader().load_model(str(weights.path), configuration, "cpu")
    if not loaded.success:
        sys.exit(f"audio-separator can't load the network: {loaded.error_message}")
    separator = their_separator(loaded.model, configuration, overlap, roformer=True)

    def load(precision: Precision) -> Network:
        ours = roformer.load(weights, "cpu", precision)
        return replace(ours, fade=torch.hamming_window(ours.window, periodic=False))

    settings = InferenceSettings(overlap=1 - 1 / overlap)
    return Comparison(separator.demix, load, settings, {"vocals": "vocals"})


def surrounded(frames: int, window: int, step: int) -> Iterator[Place]:
    """The song with silence on both sides, so that every frame of it lies in as many windows as any other."""
    for start in range(step - window, frames, step):
        yield clipped(Place(start, window), frames)


def mdx(folder: Path, overlap: int) -> Comparison:
    from audio_separator.separator.uvr_lib_v5.tfc_tdf_v3 import TFC_TDF_net
    from ml_collections import ConfigDict

    configuration: dict[str, Any] = {
        "audio": {
            "chunk_size": 261_120, "dim_f": 4096, "dim_t": 256, "hop_length": 1024, "n_fft": 8192, "num_channels": 2,
            "sample_rate": 44_100,
        },
        "model": {
            "act": "gelu", "bottleneck_factor": 4, "growth": 128, "norm": "InstanceNorm", "num_blocks_per_scale": 2,
            "num_channels": 128, "num_scales": 5, "num_subbands": 4, "scale": [2, 2],
        },
        "training": {"instruments": ["vocals", "instrumental"], "target_instrument": None},
        "inference": {"dim_t": 256, "num_overlap": overlap},
    }  # fmt: skip
    network = TFC_TDF_net(ConfigDict(configuration), device="cpu")
    weights = written(lively(network), configuration, folder)
    separator = their_separator(network, configuration, overlap, roformer=False)

    def load(precision: Precision) -> Network:
        ours = mdx23c.load(weights, "cpu", precision)
        return replace(ours, fade=torch.ones(ours.window), layout=surrounded)

    settings = InferenceSettings(overlap=1 - 1 / overlap)
    return Comparison(separator.demix, load, settings, {"vocals": "vocals", "instrumental": "instrumental"})


def demucs(folder: Path, overlap: int) -> Comparison:
    """HTDemucs as published: windows of 7.8 s, a quarter of which overlaps. Its residual branches are as loud as those
    of a trained network; fresh ones begin at a thousandth."""
    sys.modules.setdefault("diffq", MagicMock())  # needed only for quantised files; non-commercial licence
    from audio_separator.separator.architectures.demucs_separator import DemucsSeparator
    from audio_separator.separator.uvr_lib_v5.demucs.htdemucs import HTDemucs as Theirs
    from demucs.htdemucs import HTDemucs

    sources = ["drums", "bass", "other", "vocals"]
    arguments: dict[str, Any] = {
        "sources": sources, "channels": 48, "growth": 2, "depth": 4, "dconv_mode": 3, "dconv_comp": 8,
        "bottom_channels": 512, "t_layers": 5, "t_heads": 8, "t_dropout": 0.02, "segment": Fraction(39, 5),
    }  # fmt: skip
    torch.manual_seed(0)
    network = HTDemucs(**arguments)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith(".scale"):
                tensor.fill_(0.3)
    package = {"klass": HTDemucs, "args": (), "kwargs": arguments, "state": network.state_dict()}
    torch.save(package, folder / "955717e8.th")
    theirs = Theirs(**arguments).eval()
    theirs.load_state_dict(network.state_dict())
    separator = DemucsSeparator.__new__(DemucsSeparator)
    attributes = {
        "logger": logging.getLogger("audio-separator"), "torch_device": torch.device("cpu"), "shifts": 0,
        "overlap": 0.25, "segments_enabled": True, "demucs_model_instance": theirs,
    }  # fmt: skip
    for name, value in attributes.items():
        setattr(separator, name, value)

    def separate(samples: Samples) -> Mapping[str, Samples]:
        found = separator.demix_demucs(samples)
        return dict(zip(("bass", "drums", "other", "vocals"), found, strict=True))  # it swaps the first two

    weights = Weights(folder / "955717e8.th", "0" * 64)
    return Comparison(
        separate,
        lambda precision: demucs_family.load(weights, "cpu", precision),
        InferenceSettings(),
        {source: source for source in sources},
    )


def their_separator(network: torch.nn.Module, configuration: dict[str, Any], overlap: int, roformer: bool) -> Any:
    """An `MDXCSeparator` with the network, without its file handling."""
    from audio_separator.separator.architectures.mdxc_separator import MDXCSeparator
    from ml_collections import ConfigDict

    separator = MDXCSeparator.__new__(MDXCSeparator)
    attributes = {
        "logger": logging.getLogger("audio-separator"), "model_run": network, "is_roformer": roformer,
        "model_data_cfgdict": ConfigDict(configuration), "overlap": overlap, "batch_size": 1, "pitch_shift": 0,
        "segment_size": 256, "override_model_segment_size": False, "torch_device": torch.device("cpu"),
        "torch_device_cpu": torch.device("cpu"), "is_torch_compiled": False, "primary_stem_name": "vocals",
        "secondary_stem_name": "other", "sample_rate": 44_100,
        "is_primary_stem_main_target": bool(configuration["training"]["target_instrument"]),
    }  # fmt: skip
    for name, value in attributes.items():
        setattr(separator, name, value)
    return separator


def written(network: torch.nn.Module, configuration: dict[str, Any], folder: Path) -> Weights:
    torch.save(network.state_dict(), folder / "net.ckpt")
    (folder / "net.yaml").write_text(yaml.safe_dump(configuration))
    return Weights(folder / "net.ckpt", "0" * 64, (Weights(folder / "net.yaml", "1" * 64),))


FAMILIES: Mapping[str, Callable[[Path, int], Comparison]] = {"mel": mel, "bs": bs, "mdx23c": mdx, "htdemucs": demucs}

if __name__ == "__main__":
    main(sys.argv[1:])
