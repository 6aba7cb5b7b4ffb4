import math

import pytest
import torch

from tests.support.rvc_files import small
from understudy.voices.rvc import attention
from understudy.voices.rvc.architecture import ATTENTION_WINDOW as WINDOW
from understudy.voices.rvc.attention import RelativeAttention
from understudy.voices.rvc.prior_encoder import PriorEncoder
from understudy.voices.rvc.synthesizer import exists


def scattered(module: torch.nn.Module, by: float = 0.5) -> torch.nn.Module:
    """With random parameters, the ones that start at 0 or 1 included."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return module.eval().requires_grad_(False)


def by_loops(layer: RelativeAttention, x: torch.Tensor) -> torch.Tensor:
    """The definition, one query and one key at a time, in double precision."""
    layer, x = layer.double(), x.double()
    query, key, value = (convolve(x)[0] for convolve in (layer.conv_q, layer.conv_k, layer.conv_v))
    frames, size = x.shape[2], x.shape[1] // layer.heads
    result = torch.zeros(x.shape[1], frames, dtype=torch.float64)
    for head in range(layer.heads):
        own = slice(head * size, (head + 1) * size)
        for i in range(frames):
            scores, values = [], []
            for j in range(frames):
                near = abs(j - i) <= WINDOW
                k = key[own, j] + (layer.emb_rel_k[0, WINDOW + j - i] if near else 0)
                values.append(value[own, j] + (layer.emb_rel_v[0, WINDOW + j - i] if near else 0))
                scores.append(query[own, i] @ k / math.sqrt(size))
            result[own, i] = torch.softmax(torch.stack(scores), 0) @ torch.stack(values)
    return layer.conv_o(result[None])


@pytest.mark.parametrize("frames", [1, 5, 11, 33])
def test_attention_is_its_definition(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", 8)  # several blocks, the last one short
    layer = scattered(RelativeAttention(8, 2))
    assert isinstance(layer, RelativeAttention)
    x = torch.randn(1, 8, frames)
    got = layer(x)
    torch.testing.assert_close(got.double(), by_loops(layer, x), rtol=1e-5, atol=1e-5)


def test_frames_that_are_none_are_not_attended_to() -> None:
    layer = scattered(RelativeAttention(8, 2))
    x = torch.randn(2, 8, 30)
    lengths = torch.tensor([30, 17])
    got = layer(x, exists(lengths, 30))
    for row, length in enumerate(lengths.tolist()):
        alone = layer(x[row : row + 1, :, :length])
        torch.testing.assert_close(got[row : row + 1, :, :length], alone, rtol=1e-5, atol=1e-5)


def test_gradients_go_through() -> None:
    """Training goes through the same code."""
    layer = RelativeAttention(8, 2)
    x = torch.randn(1, 8, 20, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None
    assert all(parameter.grad is not None for parameter in layer.parameters())
    assert torch.autograd.gradcheck(layer.double(), torch.randn(1, 8, 14, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("f0", [True, False])
def test_rows_of_a_batch_are_as_alone(f0: bool) -> None:
    encoder = scattered(PriorEncoder(small(f0=f0)))
    content, lengths = torch.randn(3, 40, 768), torch.tensor([40, 1, 25])
    coarse = torch.randint(1, 256, (3, 40)) if f0 else None
    mean, log_std = encoder(content, coarse, exists(lengths, 40))
    assert mean.shape == log_std.shape == (3, 8, 40)
    for row, length in enumerate(lengths.tolist()):
        own = None if coarse is None else coarse[row : row + 1, :length]
        alone, alone_spread = encoder(content[row : row + 1, :length], own, None)
        torch.testing.assert_close(mean[row : row + 1, :, :length], alone, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(log_std[row : row + 1, :, :length], alone_spread, rtol=1e-4, atol=1e-4)
        assert not mean[row, :, length:].any()
        assert not log_std[row, :, length:].any()


def test_pitch_is_heard() -> None:
    encoder = scattered(PriorEncoder(small()))
    content = torch.randn(1, 20, 768)
    low, high = (encoder(content, torch.full((1, 20), coarse), None)[0] for coarse in (10, 200))
    assert (low - high).abs().max() > 0.01
