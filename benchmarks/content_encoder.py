"""The content encoder against transformers' `HubertModel`, and against the machine's matrix rate.

    python benchmarks/content_encoder.py [--model PATH] [--seconds 60] [--window 35] [--threads 2]

Encodes a synthetic voice of `--seconds` in windows, each side in a separate process. Without `--model`, a model of real
size with random weights is written to a temporary folder. Columns:

  import, load   seconds to import the code and to load the model (file in the page cache)
  wall, CPU      seconds for the sound, the fastest of `--runs`
  floor          seconds that the operations would take at the rate of the machine's matrix products, same precision
  peak           MB of memory, after import and load, and in all
  SNR            dB against transformers; `change`: without the mean over time

Then how much the features depend on the length of the window and on the distance from its edge.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

SIDES = ("transformers", "float32", "bfloat16")
RATE = 16000


def sound(seconds: float) -> Any:
    """A voice-like sound [1, N]: a gliding harmonic tone, syllables, pauses, breath; the same at every call."""
    import torch

    t = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    random = torch.Generator().manual_seed(3)
    f0 = 220 * 2 ** (0.5 * torch.sin(0.7 * t) + 0.03 * torch.sin(2 * torch.pi * 5.5 * t))
    phase = 2 * torch.pi * torch.cumsum(f0 / RATE, 0)
    formant = 6 + 4 * torch.sin(2.3 * t)
    tone = torch.stack([torch.sin(n * phase) * torch.exp(-(((n - formant) / 5) ** 2)) for n in range(1, 24)]).sum(0)
    syllables = torch.sin(2 * torch.pi * 1.7 * t).clamp_min(0) ** 0.5 * (torch.sin(0.9 * t) > -0.7)
    breath = 0.01 * torch.randn(len(t), generator=random, dtype=torch.float64)
    return (0.1 * tone * syllables + breath)[None].float()


def operations(seconds: float, window: float) -> float:
    """Floating-point operations of the matrix products, for v2."""
    frames = 50 * seconds
    convolutions = 2 * 512 * (10 * 64 + 512 * (3 * (32 + 16 + 8 + 4) + 2 * (2 + 1)))
    layer = 2 * 768 * (4 * 768 + 2 * 3072) + 4 * 768 * 50 * window
    return frames * (convolutions + 2 * 512 * 768 + 2 * 768 * 48 * 128 + 12 * layer)


def matrix_rate(dtype: Any) -> float:
    """Operations per second of the machine's matrix products, at the feed-forward's sizes."""
    import torch

    a, b = torch.randn(1500, 768).to(dtype), torch.randn(3072, 768).to(dtype)
    return 2 * 1500 * 768 * 3072 / fastest(lambda: torch.nn.functional.linear(a, b), 9)[0]


def fastest(work: Callable[[], Any], runs: int) -> tuple[float, float]:
    """Least wall seconds and CPU seconds of `runs`, after one warm-up run."""
    work()
    walls, cpus = [], []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def transformers_encoder(path: Path) -> Callable[[Any], Any]:
    from transformers import HubertConfig, HubertModel

    from understudy.voices.rvc.hubert.weights import read_weights

    model = HubertModel(HubertConfig()).eval()
    tensors = read_weights(path).tensors
    folded = tensors.pop("encoder.pos_conv_embed.conv.weight")
    norm = folded.square().sum((0, 1), keepdim=True).sqrt()
    tensors["encoder.pos_conv_embed.conv.parametrizations.weight.original0"] = norm
    tensors["encoder.pos_conv_embed.conv.parametrizations.weight.original1"] = folded
    model.load_state_dict(tensors, strict=False)
    return lambda window: model(window).last_hidden_state


def measure(side: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One side, in this process."""
    start = time.perf_counter()
    import torch

    torch.set_num_threads(arguments.threads)
    began = memory()
    if side == "transformers":
        from transformers import HubertModel  # noqa: F401
    else:
        from understudy.models.precision import Precision
        from understudy.voices.rvc.hubert import load_content_encoder
    imported = time.perf_counter()
    if side == "transformers":
        encode = transformers_encoder(arguments.model)
    else:
        encoder = load_content_encoder(arguments.model, precision=cast(Precision, side))

        def encode(window: Any) -> Any:
            return encoder.encode(window, "v2")

    loaded = time.perf_counter()
    standing = memory()
    windows = sound(arguments.seconds).split(int(arguments.window * RATE), dim=1)

    def whole() -> Any:
        return [encode(window) for window in windows]

    with torch.inference_mode():
        wall, cpu = fastest(whole, arguments.runs)
        torch.save(torch.cat(whole(), 1), arguments.folder / side)
        rate = matrix_rate(torch.bfloat16 if side == "bfloat16" else torch.float32)
    return {
        "import": imported - start,
        "load": loaded - imported,
        "wall": wall,
        "CPU": cpu,
        "floor": operations(arguments.seconds, arguments.window) / rate,
        "rate": rate / 1e9,
        "standing": standing - began,
        "peak": memory(),
    }


def snr(right: Any, other: Any, *, change: bool = False) -> float:
    error = (right - other).double().square().sum()
    if change:
        right = right - right.mean(1, keepdim=True)
    return float(10 * (right.double().square().sum() / error).log10())


def contexts(arguments: argparse.Namespace) -> None:
    """How the features of a window's middle second depend on the window around it."""
    import torch

    from understudy.voices.rvc.hubert import load_content_encoder

    torch.set_num_threads(arguments.threads)
    encoder = load_content_encoder(arguments.model)
    widest = 32
    x = sound(widest)

    def middle(seconds: int) -> Any:
        """Features of the second in the middle of `x`, computed in a window of `seconds`."""
        first = (widest - seconds) * RATE // 2 // 320 * 320
        features = encoder.encode(x[:, first : first + seconds * RATE], "v2")
        start = (widest // 2 * RATE - first) // 320
        return features[:, start - 25 : start + 25]

    right = middle(widest)
    print(f"\nFeatures of one second, computed in a window around it, against a window of {widest} s:")
    for seconds in (2, 4, 8, 16, 24):
        print(f"  {seconds:3d} s  {snr(right, middle(seconds), change=True):5.1f} dB")
    whole = encoder.encode(x, "v2")
    late = encoder.encode(x[:, 8 * RATE :], "v2")
    print("The same sound in windows of 32 s and 24 s, by distance from the edge of the second:")
    for frame in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        piece = slice(400 + frame, 400 + frame + max(1, frame // 4))
        ours = slice(frame, frame + max(1, frame // 4))
        error = (whole[:, piece] - late[:, ours]).double().square().mean()
        print(f"  {frame * 20:6d} ms  {float(10 * (whole.double().square().mean() / error).log10()):5.1f} dB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--window", type=float, default=35)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent))
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments)))
        return
    import torch

    with tempfile.TemporaryDirectory() as folder:
        arguments.folder = Path(folder)
        if arguments.model is None:
            from tests.support.contentvec_files import write_random_contentvec

            arguments.model = arguments.folder / "hubert_base.pt"
            write_random_contentvec(arguments.model)
        options = [f"--{name}={getattr(arguments, name)}" for name in ("model", "seconds", "window", "threads", "runs")]
        print(f"{'':13}import   load   wall    CPU  floor  GFLOP/s  standing    peak    SNR  change")
        right = None
        for side in SIDES:
            command = [sys.executable, __file__, f"--side={side}", f"--folder={folder}", *options]
            done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            row = json.loads(done.splitlines()[-1])
            features = torch.load(arguments.folder / side, weights_only=True)
            right = features if right is None else right
            print(
                f"{side:12} {row['import']:6.2f} {row['load']:6.2f} {row['wall']:6.2f} {row['CPU']:6.2f} "
                f"{row['floor']:6.2f} {row['rate']:8.0f} {row['standing']:9.0f} {row['peak']:7.0f} "
                f"{snr(right, features):6.1f} {snr(right, features, change=True):7.1f}",
                flush=True,
            )
        contexts(arguments)


if __name__ == "__main__":
    main()
