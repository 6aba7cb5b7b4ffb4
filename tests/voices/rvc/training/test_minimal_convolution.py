import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.voices.rvc.training.minimal_convolution import convolve, values


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(0, 100))
def test_it_is_the_convolution_with_its_gradients(rows: int, length: int, stride: int, seed: int) -> None:
    torch.manual_seed(seed)
    x, kernels = torch.randn(rows, length, 6), torch.randn(7, 6, 5)
    both = [(x.clone().requires_grad_(), kernels.clone().requires_grad_()) for _ in range(2)]
    wanted = F.conv1d(both[0][0].transpose(1, 2), both[0][1], stride=stride, padding=2).transpose(1, 2)
    at_points, norms = values(both[1][1], stride)
    found = convolve(both[1][0], at_points, stride)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norms, kernels.flatten(1).norm(dim=1))
    weights = torch.randn_like(wanted)
    torch.autograd.backward((wanted * weights).sum() + both[0][1].flatten(1).norm(dim=1).sum())
    torch.autograd.backward((found * weights).sum() + norms.sum())
    for ours, theirs in zip(both[1], both[0], strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("stride", [1, 3])
def test_no_gradient_of_the_kernels_is_computed_unless_wanted(stride: int) -> None:
    x = torch.randn(1, 20, 4, requires_grad=True)
    at_points, _ = values(torch.randn(3, 4, 5), stride)
    torch.autograd.backward(convolve(x, at_points, stride).sum())
    assert x.grad is not None
    assert at_points.grad is None
