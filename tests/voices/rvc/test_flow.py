import pytest
import torch

from tests.voices.rvc.test_prior_encoder import scattered
from understudy.voices.rvc.flow import REACH, Flow
from understudy.voices.rvc.synthesizer import exists


@pytest.fixture(scope="module")
def flow() -> Flow:
    flow = scattered(Flow(8, 16, 4), 0.1)
    assert isinstance(flow, Flow)
    return flow


G = torch.linspace(-1, 1, 4).view(1, 4, 1)


@pytest.mark.parametrize("lengths", [None, [30, 12]])
def test_inverse_undoes_forward(flow: Flow, lengths: list[int] | None) -> None:
    mask = None if lengths is None else exists(torch.tensor(lengths), 30)
    z = torch.randn(2, 8, 30) if mask is None else torch.randn(2, 8, 30) * mask
    there = flow(z, mask, G)
    assert (there - z).abs().max() > 0.1
    torch.testing.assert_close(flow.inverse(there, mask, G), z, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(flow(flow.inverse(z, mask, G), mask, G), z, rtol=1e-4, atol=1e-4)


def test_volume_is_kept(flow: Flow) -> None:
    """Mean-only couplings neither stretch nor squeeze: the determinant of the Jacobian is 1."""
    z = torch.randn(1, 8, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow.double()(z, None, G.double()), z).view(24, 24)
    flow.float()
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, torch.tensor(0.0).double())


def test_a_frame_is_heard_as_far_as_stated_and_no_further(flow: Flow) -> None:
    z = torch.randn(1, 8, 2 * REACH + 21, requires_grad=True)
    middle = REACH + 10
    flow.inverse(z, None, G)[:, :, middle].sum().backward()
    assert z.grad is not None
    heard = z.grad.abs().amax((0, 1)).nonzero().flatten() - middle  # a trace that rounding can't hide
    assert heard.min() == -REACH
    assert heard.max() == REACH


def test_rows_of_a_batch_are_as_alone(flow: Flow) -> None:
    lengths = torch.tensor([30, 12])
    mask = exists(lengths, 30)
    z, g = torch.randn(2, 8, 30) * mask, torch.randn(2, 4, 1)
    got = flow.inverse(z, mask, g)
    for row, length in enumerate(lengths.tolist()):
        alone = flow.inverse(z[row : row + 1, :, :length], None, g[row : row + 1])
        torch.testing.assert_close(got[row : row + 1, :, :length], alone, rtol=1e-4, atol=1e-4)
        assert not got[row, :, length:].any()
