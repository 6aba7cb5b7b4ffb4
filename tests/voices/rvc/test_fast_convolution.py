"""Both fast forms of a convolution against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.snr import snr
from understudy.voices.rvc.decoder import SLOPE, same_conv
from understudy.voices.rvc.fast_convolution import REALS, Layer, direct, fastest, minimal

CIRCLE = 16
LEAST = {torch.float32: 110.0, torch.bfloat16: 40.0}  # dB


def _convolution(channels: int, kernel: int, dilation: int) -> torch.nn.Conv1d:
    torch.manual_seed(channels + kernel + dilation)
    return same_conv(channels, kernel, dilation).requires_grad_(False)


def _forms(convolution: torch.nn.Conv1d, precision: torch.dtype) -> list[Layer]:
    return [direct(convolution, precision), minimal(convolution, precision, CIRCLE, REALS[precision])]


@pytest.mark.parametrize("precision", LEAST)
@settings(max_examples=30)
@given(st.integers(1, 200), st.sampled_from([3, 7, 11]), st.sampled_from([1, 3, 5]), st.sampled_from([1, 16]))
def test_they_are_the_convolution(
    precision: torch.dtype, length: int, kernel: int, dilation: int, channels: int
) -> None:
    convolution = _convolution(channels, kernel, dilation)
    x = torch.randn(length, channels)
    expected = convolution(F.leaky_relu(x.t()[None], SLOPE))[0].t()
    for layer in _forms(convolution, precision):
        made = layer(x)
        assert made.dtype == precision
        assert made.shape == x.shape
        # the bound is on the noise against what a convolution of many channels makes, so that a lucky zero is no fault
        noise = (made.float() - expected).square().mean()
        assert noise < 10 ** (-LEAST[precision] / 10) * max(1.0, float(expected.square().mean()))


@pytest.mark.parametrize(("channels", "kernel"), [(256, 11), (128, 7), (64, 11), (32, 11), (32, 3)])
@pytest.mark.parametrize("precision", LEAST)
def test_the_chosen_form_is_near_enough_at_real_sizes(channels: int, kernel: int, precision: torch.dtype) -> None:
    convolution = _convolution(channels, kernel, 3)
    x = torch.randn(100, channels)
    expected = convolution(F.leaky_relu(x.t()[None], SLOPE))[0].t()
    assert snr(expected, fastest(convolution, precision)(x)) > LEAST[precision]


def test_half_precision_input_is_taken() -> None:
    convolution = _convolution(16, 7, 1)
    x = torch.randn(50, 16).bfloat16()
    for layer in _forms(convolution, torch.bfloat16):
        assert snr(layer(x.float()), layer(x)) > 40
