"""Our networks of the zero-shot engine against the public code, on random weights of the published sizes.

    python benchmarks/zero_shot_parity.py --reference DIR [--seconds 4] [--steps 10]

DIR is a checkout of Plachtaa/seed-vc or of GiantAILab/YingMusic-SVC; its classes are imported and run in float32, with
Whisper's encoder from transformers and the filter bank from torchaudio (`pip install transformers torchaudio munch`).
Each of its configurations that we read is compared in a table; the others are named with what we say of them.
Every part gets its own random initialisation, perturbed so that no gain, bias or statistic keeps a trivial value; the
weights are written in the published file formats and read by our loaders. Both sides get the same sounds, pitch and
noise.

Columns: SNR in dB of our output against the reference's, and the CPU seconds of both. `conversion` is everything from
two sounds at 16 kHz to the song sung, each side using its own outputs of every part.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from understudy.errors import UnderstudyError
from understudy.voices.zero_shot import content, style, vocoder
from understudy.voices.zero_shot.configuration import HOP, RATE, Mel, read_configuration
from understudy.voices.zero_shot.diffusion import Given, load_converter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=4, help="of the song; the recording has as many")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    checkout = arguments.reference.resolve()
    for file in sorted(checkout.glob("configs/**/*.yml")):
        try:
            mel = read_configuration(file).mel
        except UnderstudyError as error:
            print(f"{error}\n")
            continue
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            compare(Reference(checkout, file, mel), Path(folder), arguments.seconds, arguments.steps)
        print()


def compare(reference: Reference, folder: Path, seconds: float, steps: int) -> None:
    paths = reference.write(folder)
    ours, bands = Ours(*paths), reference.bands
    frames = round(seconds * bands.rate / bands.hop)
    recording = sung(frames * bands.hop, 160.0, bands.rate)
    song16, recording16 = (
        sung(round(frames * bands.hop * 16000 / bands.rate), hertz, 16000) for hertz in (220.0, 160.0)
    )
    f0, own_f0 = (pitch(frames, hertz) for hertz in (220.0, 160.0))
    noise = torch.randn(bands.bands, frames, generator=torch.Generator().manual_seed(1))

    print(f"{reference.file.name}, {frames} frames and as many of prompt, {steps} steps, torch {torch.__version__}")
    print("| part | SNR (dB) | reference (CPU s) | ours (CPU s) |")
    print("|---|---:|---:|---:|")
    row("mel bands", lambda: reference.mel(recording), lambda: ours.mel(recording))
    heard = row("Whisper encoder", lambda: reference.content(song16), lambda: ours.content(song16))
    own_heard = reference.content(recording16)
    vector = row("style (CAM++)", lambda: reference.style(recording16), lambda: ours.style(recording16))
    given = row(
        "length regulator",
        lambda: reference.regulate(heard, f0, vector, frames),
        lambda: torch.cat(ours.converter.length_regulator(heard, f0, vector, frames), -1),
    )
    own = reference.regulate(own_heard, own_f0, vector, frames)
    prompt = reference.mel(recording)
    row(
        "one step, direction",
        lambda: reference.sing(prompt, torch.cat([own, given]), vector, noise, 1, 0.7) - noise,
        lambda: ours.sing(prompt, torch.cat([own, given]), noise, 1, 0.7) - noise,
    )
    row(
        "one step",
        lambda: reference.sing(prompt, torch.cat([own, given]), vector, noise, 1, 0.7),
        lambda: ours.sing(prompt, torch.cat([own, given]), noise, 1, 0.7),
    )
    mel = row(
        f"{steps} steps",
        lambda: reference.sing(prompt, torch.cat([own, given]), vector, noise, steps, 0.7),
        lambda: ours.sing(prompt, torch.cat([own, given]), noise, steps, 0.7),
    )
    row("vocoder (BigVGAN)", lambda: reference.vocode(mel), lambda: ours.vocode(mel))

    def converted(side: Any) -> Any:
        vector = side.style(recording16)
        known = [
            side.regulate(side.content(sound), hertz, vector, frames)
            for sound, hertz in ((recording16, own_f0), (song16, f0))
        ]
        own_mel = side.mel(recording)
        arguments = (own_mel, torch.cat(known)) + ((vector,) if side is reference else ())
        return side.vocode(side.sing(*arguments, noise, steps, 0.7))

    row("conversion", lambda: converted(reference), lambda: converted(ours))


def row(name: str, reference: Callable[[], Tensor], ours: Callable[[], Tensor]) -> Tensor:
    """Print a line of the table; the reference's output."""
    begin = time.process_time()
    wanted = reference()
    middle = time.process_time()
    found = ours()
    end = time.process_time()
    assert wanted.shape == found.shape, (name, wanted.shape, found.shape)
    error = (wanted - found).double().square().sum() / (wanted - wanted.mean()).double().square().sum()
    snr = -10 * float(torch.log10(error.clamp_min(1e-30)))
    print(f"| {name} | {snr:.1f} | {middle - begin:.1f} | {end - middle:.1f} |", flush=True)
    return wanted


def sung(samples: int, hertz: float, rate: int) -> Tensor:
    """A note with vibrato, overtones and noise: ``[samples]``, the same sound at every rate but for the noise."""
    seconds = np.arange(samples) / rate
    phase = 2 * np.pi * (hertz * seconds + 0.8 * np.sin(2 * np.pi * 5 * seconds))
    tone = sum(np.sin(n * phase) / n for n in range(1, 12))
    swell = 0.15 * (1 + 0.7 * np.sin(2 * np.pi * 0.7 * seconds))
    noise = np.random.default_rng(0).standard_normal(samples) * 0.003
    return torch.from_numpy((swell * tone + noise).astype(np.float32))


def pitch(frames: int, hertz: float) -> Tensor:
    """The f0 of `sung` per mel frame, with an unvoiced stretch: ``[frames]``."""
    seconds = (np.arange(frames) + 0.5) * HOP / RATE
    f0 = hertz + 0.8 * 2 * np.pi * 5 * np.cos(2 * np.pi * 5 * seconds)
    f0[frames // 3 : frames // 3 + frames // 10] = 0
    return torch.from_numpy(f0.astype(np.float32))


def perturbed(network: nn.Module, seed: int) -> Any:
    """`network` with a random change to each parameter and to the statistics of batch norms."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point() or name.endswith(("filter", "freqs", "residual_alpha", "f0_mask")):
            continue
        random = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + random.abs())
        elif name.endswith(("bias", "running_mean", "alpha", "beta")):
            tensor.add_(0.1 * random)
        elif tensor.ndim == 1 or name.endswith("weight_g"):
            tensor.mul_(1 + 0.1 * random)
        elif name.endswith("embed_positions.weight"):
            tensor.copy_(0.1 * random)
    return network.eval()


class Reference:
    """The public networks, with random weights."""

    def __init__(self, checkout: Path, file: Path, bands: Mel) -> None:
        self.file, self.bands = file, bands
        sys.path.insert(0, str(checkout))
        for name in ("dac", "dac.nn", "dac.nn.quantize", "matplotlib", "matplotlib.pylab", "matplotlib.pyplot"):
            sys.modules.setdefault(name, MagicMock())  # of training
        sys.modules["modules.f0_fix"] = MagicMock()
        commons, bigvgan = import_module("modules.commons"), import_module("modules.bigvgan.bigvgan")
        transformers: Any = import_module("transformers")

        config = yaml.safe_load(file.read_text("utf-8"))["model_params"]
        torch.manual_seed(0)
        built = commons.build_model(commons.recursive_munch(config), stage="DiT")
        self._regulator = perturbed(built.length_regulator, 1)
        self._cfm = perturbed(built.cfm, 2)
        self._cfm.estimator.setup_caches(max_batch_size=1, max_seq_length=8192)
        self._told = config["length_regulator"]["f0_condition"]
        self._pitched = bool(config["length_regulator"].get("use_style_residual"))
        self._style = perturbed(import_module("modules.campplus.DTDNN").CAMPPlus(feat_dim=80, embedding_size=192), 3)
        small = transformers.WhisperConfig(
            d_model=768, encoder_layers=12, encoder_attention_heads=12, encoder_ffn_dim=3072,
            decoder_layers=1, decoder_attention_heads=12, decoder_ffn_dim=3072,
        )  # fmt: skip
        self._whisper = perturbed(transformers.WhisperModel(small), 4)
        self._extractor = transformers.WhisperFeatureExtractor()
        sizes = bigvgan.AttrDict(VOCODER | UPSAMPLING[bands.rate] | {"num_mels": bands.bands})
        self._vocoder = perturbed(bigvgan.BigVGAN(sizes, use_cuda_kernel=False), 5)
        self._mel_spectrogram = import_module("modules.audio").mel_spectrogram

    def write(self, folder: Path) -> tuple[Path, Path, Path, Path, Path]:
        """The five files of the engine, as they are published."""
        paths = tuple(folder / name for name in ("model.pth", "model.yml", "whisper.bin", "campplus.bin", "bigvgan.pt"))
        net = {"cfm": self._cfm.state_dict(), "length_regulator": self._regulator.state_dict()}
        torch.save({"net": net, "epoch": 1, "iters": 1}, paths[0])
        paths[1].write_bytes(self.file.read_bytes())
        torch.save(self._whisper.state_dict(), paths[2])
        torch.save(self._style.state_dict(), paths[3])
        torch.save({"generator": self._vocoder.state_dict()}, paths[4])
        return paths  # type: ignore[return-value]

    def mel(self, sound: Tensor) -> Any:
        mel = self.bands
        return self._mel_spectrogram(sound[None], mel.fft, mel.bands, mel.rate, mel.hop, mel.fft, 0, None)[0]

    def content(self, sound: Tensor) -> Any:
        inputs = self._extractor([sound.numpy()], sampling_rate=16000, return_tensors="pt")
        return self._whisper.encoder(inputs.input_features).last_hidden_state[0, : len(sound) // 320 + 1]

    def style(self, sound: Tensor) -> Any:
        bands = import_module("torchaudio.compliance.kaldi").fbank(
            sound[None], num_mel_bins=80, dither=0, sample_frequency=16000
        )
        return self._style((bands - bands.mean(dim=0, keepdim=True))[None])[0]

    def regulate(self, content: Tensor, f0: Tensor, style: Tensor, frames: int) -> Any:
        """Condition and style of each frame side by side ``[frames, channels + style]``."""
        extra = {"style": style[None], "return_style_residual": True} if self._pitched else {}
        found = self._regulator(
            content[None], ylens=torch.tensor([frames]), n_quantizers=3, f0=f0[None] if self._told else None, **extra
        )
        moved = found[5][0] if self._pitched else torch.zeros(frames, len(style))
        return torch.cat([found[0][0], style.expand(frames, -1) + moved], -1)

    def sing(self, prompt: Tensor, given: Tensor, style: Tensor, noise: Tensor, steps: int, guidance: float) -> Any:
        condition, styles = given[None, :, : -len(style)], given[None, :, -len(style) :]
        before = prompt.shape[1]
        x = torch.nn.functional.pad(noise[None], (before, 0))
        times = torch.linspace(0, 1, steps + 1)
        lengths = torch.tensor([condition.shape[1]])
        fixed = (x, lengths, prompt[None], condition, style[None])
        if self._pitched:
            found = self._cfm.solve_euler(*fixed, times, guidance, style_r=styles - style)
        else:
            found = self._cfm.solve_euler(*fixed, None, times, guidance)
        return found[0, :, before:]

    def vocode(self, mel: Tensor) -> Any:
        return self._vocoder(mel[None])[0, 0]


class Ours:
    def __init__(self, model: Path, configuration: Path, whisper: Path, campplus: Path, bigvgan: Path) -> None:
        read = read_configuration(configuration)
        self.converter = load_converter(model, read)
        self.content = content.load_content_encoder(whisper)
        self.style = style.load_style_encoder(campplus)
        self.vocode = vocoder.load_vocoder(bigvgan, read.mel)
        self.mel = partial(vocoder.log_mel, mel=read.mel)

    def regulate(self, content: Tensor, f0: Tensor, style: Tensor, frames: int) -> Any:
        return torch.cat(self.converter.length_regulator(content, f0, style, frames), -1)

    def sing(self, prompt: Tensor, given: Tensor, noise: Tensor, steps: int, guidance: float) -> Any:
        known = Given(prompt, given[:, : -style.STYLE], given[:, -style.STYLE :])
        return self.converter.sing(known, noise, steps, guidance)


VOCODER = {
    "resblock": "1", "upsample_initial_channel": 1536, "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3, "activation": "snakebeta", "snake_logscale": True,
    "use_tanh_at_final": False, "use_bias_at_final": False,
}  # fmt: skip
UPSAMPLING = {
    44100: {"upsample_rates": [8, 4, 2, 2, 2, 2], "upsample_kernel_sizes": [16, 8, 4, 4, 4, 4]},
    22050: {"upsample_rates": [4, 4, 2, 2, 2, 2], "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4]},
}


if __name__ == "__main__":
    main()
