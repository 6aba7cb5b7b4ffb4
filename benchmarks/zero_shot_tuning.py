"""How long a fine-tuning step of the zero-shot engine takes at the published size, and its memory, on random weights.

    python benchmarks/zero_shot_tuning.py [--threads 1] [--device cpu]

Each step is on one clip of 8 s of noise, the longest there is; a step of the default batch takes twice that. The first
step also makes the optimiser's state. Seconds are those of the process's CPU time; memory is the process's peak.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from threading import Event

import torch

from tests.support.zero_shot_files import random_state, write_configuration
from understudy.models import Weights
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.zero_shot.diffusion import Converter
from understudy.voices.zero_shot.training.data import PLAYED, FineTuningData
from understudy.voices.zero_shot.training.work import FineTuning

PUBLISHED = {
    "length_regulator.channels": 768, "length_regulator.in_channels": 768, "length_regulator.sampling_ratios": [1] * 4,
    "DiT.hidden_dim": 768, "DiT.num_heads": 12, "DiT.depth": 17, "DiT.content_dim": 768,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration = write_configuration(folder / "model.yml", **PUBLISHED)
        torch.save({"net": random_state(Converter(configuration))}, folder / "model.pth")
        clip = [torch.randn(configuration.mel.bands, 689), torch.full((689,), 200.0), torch.randn(configuration.style)]
        torch.save([*clip, *(torch.randn(400, configuration.content) for _ in PLAYED)], folder / "clip.pt")
        base = Weights(folder / "model.pth", "0" * 64, (Weights(folder / "model.yml", "0" * 64),))
        data = FineTuningData((folder / "clip.pt",), (folder / "clip.pt",), {})
        work = FineTuning(TrainingSettings(engine="zero-shot"), data, base, given.device)
        values = sum(value.numel() for value in work.state_of_training[0].parameters())
        print(f"{values / 1e6:.0f} million values")
        for step in range(4):
            began = time.process_time()
            losses = work.step((0,), step, 0, 1.0)
            print(f"step {step + 1}: {time.process_time() - began:.1f} s, flow {losses['flow']:.3f}")
        began = time.process_time()
        work.evaluate(0, folder, Event())
        print(f"evaluation of one clip: {time.process_time() - began:.1f} s")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
