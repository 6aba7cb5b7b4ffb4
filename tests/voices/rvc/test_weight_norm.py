from typing import Any

import pytest
import torch
from torch import nn

from understudy.voices.rvc.checkpoint import old_name
from understudy.voices.rvc.synthesizer import fold

LAYERS = [nn.Conv1d(6, 4, 5), nn.ConvTranspose1d(6, 4, 8, 4)]


@pytest.mark.parametrize("layer", LAYERS, ids=["convolution", "transposed"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_folded_weight_is_what_torch_computes(layer: nn.Module) -> None:
    for wrap in (nn.utils.weight_norm, nn.utils.parametrizations.weight_norm):
        torch.manual_seed(0)
        normed: Any = wrap(type(layer)(6, 4, 5))
        with torch.no_grad():
            for parameter in normed.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        folded = fold({old_name(f"ups.0.{name}"): value for name, value in normed.state_dict().items()})
        assert set(folded) == {"ups.0.weight", "ups.0.bias"}
        normed(torch.zeros(1, 6, 20))  # the old form computes its weight when it is called
        torch.testing.assert_close(folded["ups.0.weight"], normed.weight.detach(), rtol=1e-6, atol=1e-7)


def test_rows_get_the_norms_that_they_are_given() -> None:
    torch.manual_seed(0)
    norms = torch.tensor([2.0, 0.5, 3.0]).view(3, 1, 1)
    folded = fold({"a.weight_g": norms, "a.weight_v": torch.randn(3, 4, 5)})["a.weight"]
    torch.testing.assert_close(folded.flatten(1).norm(dim=1), norms.flatten())


def test_half_precision_is_folded_in_single() -> None:
    torch.manual_seed(0)
    pair = {"a.weight_g": torch.rand(3, 1, 1).half(), "a.weight_v": torch.randn(3, 4, 5).half()}
    folded = fold({**pair, "b": torch.ones(2).half()})
    assert {name: tensor.dtype for name, tensor in folded.items()} == {"a.weight": torch.float32, "b": torch.float32}
    single = fold({name: tensor.float() for name, tensor in pair.items()})
    assert torch.equal(folded["a.weight"], single["a.weight"])


def test_a_magnitude_without_direction_is_an_error() -> None:
    with pytest.raises(KeyError):
        fold({"a.weight_g": torch.ones(3, 1, 1)})
