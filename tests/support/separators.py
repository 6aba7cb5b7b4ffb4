"""Separation models whose answer is known: networks of a few lines, and songs that they take apart exactly.

In such a song the instrumental is what left and right have in common with opposite signs, and the vocals what they
share; of these, the lead lies below 1 kHz, backing vocals up to 3 kHz, reverb up to 6 kHz and noise above.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from understudy.audio.samples import Samples
from understudy.errors import UnderstudyError
from understudy.models.installed import Weights
from understudy.models.precision import Precision
from understudy.pipeline.separation.models import EMBEDDED, SeparatorModel
from understudy.pipeline.separation.network import Network

WINDOW = 1 << 16
EDGES = {"lead": (0, 1000), "backing": (1000, 3000), "reverb": (3000, 6000), "noise": (6000, 30000)}


def filtered(rate: int, *parts: str) -> Callable[[Tensor], Tensor]:
    """Keeps the bands of these parts."""

    def apply(sound: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(sound)
        hertz = torch.fft.rfftfreq(sound.shape[-1], 1 / rate)
        mask = sum((hertz >= low) & (hertz < high) for low, high in (EDGES[part] for part in parts))
        return torch.fft.irfft(spectrum * mask, sound.shape[-1])

    return apply


def middle(sound: Tensor) -> Tensor:
    """What both channels share."""
    return sound.mean(dim=1, keepdim=True).expand_as(sound)


Function = Callable[[Tensor], Tensor]


@dataclass
class Models:
    """Networks by name: what each stem is of the sound. `ran`: which were loaded, in order."""

    folder: Path
    functions: dict[str, Mapping[str, Function]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    ran: list[str] = field(default_factory=list)
    version: str = ""

    def find(self, name: str) -> SeparatorModel:
        if name == EMBEDDED:
            return SeparatorModel(name, EMBEDDED, ("vocals", "instrumental"), None)
        if name in self.missing:
            raise UnderstudyError("model-missing", f"The model {name!r} is not on this machine.", "Get it.")
        if name not in self.functions:
            raise UnderstudyError("separator-unknown", f"There is no separator named {name!r}.", "Choose another.")
        sha256 = hashlib.sha256(f"{name}{self.version}".encode()).hexdigest()
        return SeparatorModel(name, "fake", tuple(self.functions[name]), Weights(self.folder / name, sha256))

    def load(self, model: SeparatorModel, device: str, precision: Precision) -> Network:
        self.ran.append(model.name)
        functions = self.functions[model.name]

        def separate(windows: Tensor) -> Tensor:
            return torch.stack([function(windows) for function in functions.values()], dim=1)

        fade = torch.hann_window(WINDOW) + 1e-3
        return Network(model.stems, 44100, WINDOW, WINDOW // 2, fade, separate)


def fail(sound: Tensor) -> Tensor:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Models:
    """In place of all separation models but the embedded one."""
    made = Models(tmp_path)
    made.functions |= {
        "vox": {"vocals": middle},
        "vox2": {"vocals": lambda sound: 0.9 * middle(sound), "instrumental": lambda sound: sound - middle(sound)},
        "band": {"instrumental": lambda sound: sound - middle(sound)},
        "four": {
            "vocals": middle,
            "drums": lambda sound: 0.5 * (sound - middle(sound)),
            "bass": lambda sound: 0.2 * (sound - middle(sound)),
            "other": lambda sound: 0.2 * (sound - middle(sound)),
        },
        "karaoke": {
            "lead": filtered(44100, "lead", "reverb", "noise"),
            "backing": lambda sound: 0.5 * filtered(44100, "backing")(sound),  # its own opinion doesn't count
        },
        "dry": {"dry": filtered(44100, "lead", "backing", "noise")},
        "hiss": {"noise": filtered(44100, "noise")},
        "greedy": {"dry": lambda sound: 0.05 * sound, "reverb": lambda sound: 0.95 * sound},
        "broken": {"vocals": fail},
    }
    monkeypatch.setattr("understudy.pipeline.separating.find_separator", made.find)
    monkeypatch.setattr("understudy.pipeline.separation.models.load_network", made.load)
    return made


def tones(hertz: float, seconds: float, rate: int, notes: float = 0.0, level: float = 0.1) -> Samples:
    """A tone ``[n]``; with `notes`, so many of them a second, each swelling and fading."""
    time = np.arange(round(seconds * rate)) / rate
    tone = level * np.sin(2 * np.pi * hertz * time)
    if notes:
        tone *= np.sin(np.pi * time * notes) ** 2
    return tone.astype(np.float32)


def parts(seconds: float = 4.0, rate: int = 44100, **levels: float) -> dict[str, Samples]:
    """The parts of a song ``[2, n]`` at these levels: lead 0.2 unless said, backing, reverb, noise and instrumental."""
    hertz = {"lead": 330.0, "backing": 1700.0, "reverb": 4400.0, "noise": 9000.0, "instrumental": 110.0}
    found = {}
    for name, frequency in hertz.items():
        level = levels.get(name, {"lead": 0.2, "instrumental": 0.2}.get(name, 0.0))
        tone = tones(frequency, seconds, rate, 2.0 if name == "lead" else 0.0, level)
        found[name] = np.stack([tone, -tone if name == "instrumental" else tone])
    return found


def total(sounds: Mapping[str, Samples]) -> Samples:
    """Their sum."""
    return np.asarray(sum(sounds.values()), np.float32)


ROFORMER = """
audio: {{chunk_size: 44032, sample_rate: 44100}}
model: {{dim: 8, depth: 1, stereo: true, time_transformer_depth: 1, freq_transformer_depth: 1, {bands}, dim_head: 4,
  heads: 2, stft_n_fft: 512, stft_hop_length: 128, stft_win_length: 512, mask_estimator_depth: 1, num_stems: 1}}
training: {{instruments: [{stems}], target_instrument: {target}}}
inference: {{num_overlap: 2}}
"""


def tiny_roformer(path: Path, stems: tuple[str, str], seed: int, kind: str = "mel") -> None:
    """A checkpoint of the real format with random weights at `path`, and the YAML beside it: its target is the first of
    the stems."""
    from understudy.pipeline.separation.configuration import read_configuration
    from understudy.pipeline.separation.families.roformer.configuration import roformer_configuration
    from understudy.pipeline.separation.families.roformer.packing import expected

    bands = "num_bands: 12" if kind == "mel" else "freqs_per_bands: [8, 8, 16, 32, 64, 129]"
    configuration = path.with_suffix(".yaml")
    configuration.write_text(ROFORMER.format(bands=bands, stems=", ".join(stems), target=stems[0]))
    shapes = expected(roformer_configuration(read_configuration(configuration)))
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    torch.save(tensors, path)
