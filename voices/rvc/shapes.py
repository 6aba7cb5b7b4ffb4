"""The tensors of an RVC synthesizer of given sizes: every name of the published format with its shape."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from understudy.voices.rvc.architecture import Architecture

Shape = tuple[int, ...]

PITCH_STEPS = 256  # rows of the table of coarse pitches
ATTENTION_WINDOW = 10  # frames to either side with a relative position of their own
COUPLINGS = 4
WAVENET_LAYERS = 3
WAVENET_KERNEL = 5
EDGE_KERNEL = 7  # of the decoder's first and last convolution


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
