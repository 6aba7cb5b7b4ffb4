"""`Architecture`: the sizes of an RVC synthesizer, those of the published kinds of models, and the tensors that follow
from them: every name of the published format with its shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

Shape = tuple[int, ...]

PITCH_STEPS = 256  # rows of the table of coarse pitches
ATTENTION_WINDOW = 10  # frames to either side with a relative position of their own
COUPLINGS = 4
WAVENET_LAYERS = 3
WAVENET_KERNEL = 5
EDGE_KERNEL = 7  # of the decoder's first and last convolution

CONTENT_CHANNELS = {"v1": 256, "v2": 768}


@dataclass(frozen=True)
class Architecture:
    """`sample_rate`: Hz of the sound that comes out. `f0`: whether the model is guided by pitch."""

    version: Literal["v1", "v2"]
    f0: bool
    sample_rate: int
    upsample_rates: tuple[int, ...]
    upsample_kernels: tuple[int, ...]
    speakers: int = 109
    latent_channels: int = 192
    hidden_channels: int = 192
    filter_channels: int = 768
    heads: int = 2
    layers: int = 6
    kernel: int = 3
    upsample_channels: int = 512
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    speaker_channels: int = 256

    @property
    def content_channels(self) -> int:
        """Values per frame of content features: 256 (v1) or 768 (v2)."""
        return CONTENT_CHANNELS[self.version]

    @property
    def hop(self) -> int:
        """Samples out per frame in; frames are 10 ms apart."""
        return prod(self.upsample_rates)


# version and sample rate: (upsample rates, upsample kernels); 24 kHz is Applio's
UPSAMPLING: dict[tuple[str, int], tuple[tuple[int, ...], tuple[int, ...]]] = {
    ("v1", 32000): ((10, 4, 2, 2, 2), (16, 16, 4, 4, 4)),
    ("v2", 32000): ((10, 8, 2, 2), (20, 16, 4, 4)),
    ("v1", 40000): ((10, 10, 2, 2), (16, 16, 4, 4)),
    ("v2", 40000): ((10, 10, 2, 2), (16, 16, 4, 4)),
    ("v1", 48000): ((10, 6, 2, 2, 2), (16, 16, 4, 4, 4)),
    ("v2", 48000): ((12, 10, 2, 2), (24, 20, 4, 4)),
    ("v1", 24000): ((10, 6, 2, 2), (20, 12, 4, 4)),
    ("v2", 24000): ((10, 6, 2, 2), (20, 12, 4, 4)),
}


def published(version: str, sample_rate: int, f0: bool = True, speakers: int = 109) -> Architecture:
    """The architecture of a published kind of model; raises `KeyError` for other combinations."""
    rates, kernels = UPSAMPLING[version, sample_rate]
    return Architecture("v1" if version == "v1" else "v2", f0, sample_rate, rates, kernels, speakers)


def tiny(version: Literal["v1", "v2"] = "v2", f0: bool = True) -> Architecture:
    """A network for tests of training, 16 kHz, with a fiftieth of the values. It is not for singing."""
    return Architecture(
        version, f0, 16000, (10, 8, 2), (20, 16, 4), speakers=1, latent_channels=32, hidden_channels=48,
        filter_channels=96, layers=2, upsample_channels=64, speaker_channels=16,
    )  # fmt: skip


def spectrum_bins(sample_rate: int) -> int:
    """Bins of the spectrogram that such a model was trained on."""
    return 1025 if sample_rate > 32000 else 513


def mel_bands(sample_rate: int) -> int:
    """Mel bands of the training loss."""
    return {40000: 125, 48000: 128}.get(sample_rate, 80)


def segment_frames(architecture: Architecture) -> int:
    """Frames of the random segment of each clip that a training step decodes."""
    by_rate = {40000: 32, 48000: 24 if architecture.version == "v1" else 36}
    return by_rate.get(architecture.sample_rate, 40)


def posterior_layers(architecture: Architecture) -> int:
    """Layers of the posterior encoder's WaveNet: 16, fewer in networks with fewer channels than RVC's."""
    return max(1, 16 * architecture.hidden_channels // 192)


def tensor_shapes(architecture: Architecture) -> dict[str, Shape]:
    """Name to shape of all that inference needs, weight-norm pairs unfolded (``weight_g``, ``weight_v``)."""
    a = architecture
    return dict([("emb_g.weight", (a.speakers, a.speaker_channels)), *_prior(a), *_flow(a), *_decoder(a)])


def _prior(a: Architecture) -> Iterator[tuple[str, Shape]]:
    hidden, encoder = a.hidden_channels, "enc_p.encoder"
    yield from _plain("enc_p.emb_phone", (hidden, a.content_channels))
    if a.f0:
        yield "enc_p.emb_pitch.weight", (PITCH_STEPS, hidden)
    for i in range(a.layers):
        for kind in "qkvo":
            yield from _plain(f"{encoder}.attn_layers.{i}.conv_{kind}", (hidden, hidden, 1))
        for kind in "kv":
            yield f"{encoder}.attn_layers.{i}.emb_rel_{kind}", (1, 2 * ATTENTION_WINDOW + 1, hidden // a.heads)
        yield from _plain(f"{encoder}.ffn_layers.{i}.conv_1", (a.filter_channels, hidden, a.kernel))
        yield from _plain(f"{encoder}.ffn_layers.{i}.conv_2", (hidden, a.filter_channels, a.kernel))
        for norm in (1, 2):
            yield f"{encoder}.norm_layers_{norm}.{i}.gamma", (hidden,)
            yield f"{encoder}.norm_layers_{norm}.{i}.beta", (hidden,)
    yield from _plain("enc_p.proj", (2 * a.latent_channels, hidden, 1))


def _flow(a: Architecture) -> Iterator[tuple[str, Shape]]:
    hidden, half = a.hidden_channels, a.latent_channels // 2
    for coupling in range(COUPLINGS):
        name = f"flow.flows.{2 * coupling}"  # the odd ones reverse the channels and have no tensors
        yield from _plain(f"{name}.pre", (hidden, half, 1))
        yield from _normed(f"{name}.enc.cond_layer", (2 * hidden * WAVENET_LAYERS, a.speaker_channels, 1))
        for i in range(WAVENET_LAYERS):
            yield from _normed(f"{name}.enc.in_layers.{i}", (2 * hidden, hidden, WAVENET_KERNEL))
            out = hidden if i == WAVENET_LAYERS - 1 else 2 * hidden
            yield from _normed(f"{name}.enc.res_skip_layers.{i}", (out, hidden, 1))
        yield from _plain(f"{name}.post", (half, hidden, 1))


def _decoder(a: Architecture) -> Iterator[tuple[str, Shape]]:
    channels = a.upsample_channels
    if a.f0:
        yield from _plain("dec.m_source.l_linear", (1, 1))
    yield from _plain("dec.conv_pre", (channels, a.latent_channels, EDGE_KERNEL))
    yield from _plain("dec.cond", (channels, a.speaker_channels, 1))
    for stage, kernel in enumerate(a.upsample_kernels):
        yield from _normed(f"dec.ups.{stage}", (channels, channels // 2, kernel), biases=channels // 2)
        channels //= 2
        if a.f0:
            later = prod(a.upsample_rates[stage + 1 :])
            last = stage == len(a.upsample_rates) - 1
            yield from _plain(f"dec.noise_convs.{stage}", (channels, 1, 1 if last else 2 * later))
        for i, size in enumerate(a.resblock_kernels):
            block = f"dec.resblocks.{stage * len(a.resblock_kernels) + i}"
            for layer in range(len(a.resblock_dilations[i])):
                yield from _normed(f"{block}.convs1.{layer}", (channels, channels, size))
                yield from _normed(f"{block}.convs2.{layer}", (channels, channels, size))
    yield "dec.conv_post.weight", (1, channels, EDGE_KERNEL)


def _plain(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _normed(name: str, shape: Shape, biases: int | None = None) -> Iterator[tuple[str, Shape]]:
    """Weight-normed: a size per row of the first axis and a direction. `biases` where they aren't that many."""
    yield f"{name}.weight_g", (shape[0], *(1 for _ in shape[1:]))
    yield f"{name}.weight_v", shape
    yield f"{name}.bias", (biases or shape[0],)
