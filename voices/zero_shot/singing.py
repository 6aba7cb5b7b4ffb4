"""One passage of a song through the networks: what is sung there, and clips of the voice, to log mel frames.

vocal ──► content ──┐
pitch ──────────────┴─► length regulator ──► diffusion transformer ──► log mel
clips ──► content, pitch, mel (prompt), style ─┘
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy.audio.resample import resample
from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.errors import UnderstudyError
from understudy.models import Weights, warm
from understudy.models.precision import Precision, default_precision
from understudy.voices.zero_shot import content
from understudy.voices.zero_shot.configuration import HOP, RATE, Mel, read_configuration
from understudy.voices.zero_shot.content import ContentEncoder, load_content_encoder
from understudy.voices.zero_shot.diffusion import Converter, Given, load_converter
from understudy.voices.zero_shot.references import Clip
from understudy.voices.zero_shot.style import STYLE, StyleEncoder, load_style_encoder
from understudy.voices.zero_shot.vocoder import Vocoder, load_vocoder, log_mel
from understudy.voices.zero_shot.weights import unsuitable

PROMPT = 10.0  # seconds of clips in front of a passage
CONTEXT = 5.0  # seconds of the vocal around a passage that the content encoder hears, too

_BLOCK = 512  # frames of noise that are drawn at once

Tick = Callable[[], None]


@dataclass(frozen=True, eq=False)
class Networks:
    """`mel`: the bands in which `converter` sings and of which `vocoder` makes sound."""

    mel: Mel
    converter: Converter
    encoder: ContentEncoder
    style: StyleEncoder
    vocoder: Vocoder
    device: str
    precision: Precision


def load_networks(model: Weights, parts: Sequence[Weights], device: str, precision: Precision | None) -> Networks:
    """The networks on `device`; those that are already loaded are reused.

    `model`: the singing model with its configuration; `parts`: Whisper, CAM++ and BigVGAN. `precision`: of the
    transformer's matrix products; None: what `device` computes fast. Raises `UnderstudyError`
    ``precision-unsupported``, and what loading each of them raises."""
    whisper, campplus, bigvgan = parts
    if precision == "float16" and device.startswith("cpu"):
        raise UnderstudyError(
            "precision-unsupported",
            "A CPU doesn't compute in float16.",
            "Set conversion.precision to auto, float32 or bfloat16.",
        )

    bands = read_configuration(model.companions[0].path).mel
    return Networks(
        bands,
        warm(("zero-shot", model.content_hash, device), lambda: read_converter(model).to(device)),
        warm(("whisper", whisper.sha256, device), lambda: load_content_encoder(whisper.path).to(device)),
        warm(("campplus", campplus.sha256, device), lambda: load_style_encoder(campplus.path).to(device)),
        warm(
            ("bigvgan", bigvgan.sha256, device),
            lambda: load_vocoder(bigvgan.path, bands).to(device),
        ),
        device,
        precision or default_precision(device),
    )


def read_converter(model: Weights) -> Converter:
    """The singing model in `model`, whose companion is its configuration. Raises what reading the two raises, and
    ``model-unsuitable`` for one that needs another style encoder."""
    configuration = read_configuration(model.companions[0].path)
    if configuration.style != STYLE:
        raise unsuitable(
            model.path, "a model for the style encoder CAM++", f"its style has {configuration.style} values"
        )
    return load_converter(model.path, configuration)


@dataclass(frozen=True, eq=False)
class Reference:
    """A clip as the networks know it: `content` ``[frames, values]`` and `mel` ``[bands, frames]``, `f0` ``[frames]``,
    and the median `pitch` in octaves above 1 Hz."""

    content: Tensor
    mel: Tensor
    f0: Tensor
    pitch: float


def describe(
    networks: Networks, clips: Sequence[Clip], formant_shift: float, tick: Tick
) -> tuple[list[Reference], Tensor]:
    """The clips as references, and the mean of their style vectors ``[style]``.

    `formant_shift`: semitones. The clips are played that much faster, which moves their formants and their pitch; the
    networks are told the pitch, so only the formants count."""
    found, styles = [], []
    ratio, bands = 2 ** (formant_shift / 12), networks.mel
    for clip in clips:
        sound = Audio(clip.sound[None], round(RATE * ratio))
        played = resample(sound, bands.rate).samples[0]
        low = torch.from_numpy(resample(sound, content.RATE).samples[0]).to(networks.device)
        frames = len(played) // bands.hop
        f0 = torch.from_numpy(_at(clip.f0 * np.float32(ratio), frames)).to(networks.device)
        heard = networks.encoder(low[: content.LONGEST], tick)
        mel = log_mel(torch.from_numpy(played[: frames * bands.hop]).to(networks.device), bands)
        rows = torch.from_numpy(np.arange(frames) * len(heard) // frames).to(heard.device)
        found.append(Reference(heard[rows], mel, f0, clip.pitch + formant_shift / 12))
        styles.append(networks.style(low))
        tick()
    return found, torch.stack(styles).mean(0)


def _at(values: Samples, frames: int) -> Samples:
    """The nearest of `values` for each of `frames` frames over the same time."""
    return np.asarray(values[np.arange(frames) * len(values) // max(1, frames)])


@dataclass(frozen=True, eq=False)
class Song:
    """What is to be sung. `vocal`: mono at 16 kHz. `f0`: Hz per mel frame ``[frames]``, transposed, 0 = unvoiced."""

    vocal: AudioSource
    f0: Samples


@dataclass(frozen=True, eq=False)
class Manner:
    """How it is sung: by the voice in `references` and `style`; `steps`, `guidance` as of `Converter.sing`; `seed`."""

    references: Sequence[Reference]
    style: Tensor
    steps: int
    guidance: float
    seed: int


def ticks(networks: Networks, steps: int) -> int:
    """How often `sing` calls its `tick`."""
    return len(networks.encoder.blocks) + steps * networks.converter.depth


def sing(networks: Networks, song: Song, manner: Manner, first: int, last: int, tick: Tick) -> Samples:
    """The log mel ``[bands, last - first]`` of the song's mel frames from `first` to `last`, with the voice.

    The noise from which it arises belongs to the song's frames, so that neighbouring passages are alike where they
    overlap."""
    device, frames = networks.device, last - first
    heard = _content(networks, song.vocal, first, last, tick)
    f0 = torch.from_numpy(song.f0[first:last]).to(device)
    prompt = _prompt(manner.references, song.f0[first:last])
    before = prompt.mel.shape[1]
    own, own_styles = networks.converter.length_regulator(prompt.content, prompt.f0, manner.style, before)
    sung, styles = networks.converter.length_regulator(heard, f0, manner.style, frames)
    given = Given(prompt.mel, torch.cat([own, sung]), torch.cat([own_styles, styles]))
    noise = torch.from_numpy(noise_of(manner.seed, first, last, networks.mel.bands)).to(device)
    mel = networks.converter.sing(given, noise, manner.steps, manner.guidance, networks.precision, tick)
    return np.asarray(mel.cpu().numpy())


def _content(networks: Networks, vocal: AudioSource, first: int, last: int, tick: Tick) -> Tensor:
    """Content features of the frames; the encoder also hears what is around them."""
    start, stop = (min(round(frame * HOP * content.RATE / RATE), vocal.frames) for frame in (first, last))
    before = min(round(CONTEXT * content.RATE), start) // content.HOP
    end = min(stop + round(CONTEXT * content.RATE), start - before * content.HOP + content.LONGEST, vocal.frames)
    sound = vocal.read(start - before * content.HOP, end).samples[0]
    heard: Tensor = networks.encoder(torch.from_numpy(sound).to(networks.device), tick)
    return heard[before : before + (stop - start) // content.HOP + 1]


def _prompt(references: Sequence[Reference], f0: Samples) -> Reference:
    """The references nearest to the passage's pitch as one, of at most `PROMPT` seconds."""
    voiced = f0[f0 > 0]
    pitch = float(np.median(np.log2(voiced))) if len(voiced) else references[len(references) // 2].pitch
    left = round(PROMPT * RATE / HOP)
    chosen: list[Reference] = []
    for reference in sorted(references, key=lambda reference: abs(reference.pitch - pitch)):
        if left > 0:
            part = reference.content[:left], reference.mel[:, :left], reference.f0[:left]
            chosen.append(Reference(*part, reference.pitch))
            left -= len(part[0])
    contents, mels, pitches = ([vars(one)[name] for one in chosen] for name in ("content", "mel", "f0"))
    return Reference(torch.cat(contents), torch.cat(mels, 1), torch.cat(pitches), pitch)


def noise_of(seed: int, first: int, last: int, bands: int) -> Samples:
    """Standard normal noise of the song's frames, float32 ``[bands, last - first]``."""
    blocks = range(first // _BLOCK, -(-last // _BLOCK))
    drawn = [np.random.default_rng([seed, block]).standard_normal((_BLOCK, bands), np.float32) for block in blocks]
    skip = first - blocks[0] * _BLOCK
    return np.ascontiguousarray(np.concatenate(drawn)[skip : skip + last - first].T)
