"""`ContentEncoder`: content features of a sound, as RVC's models were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from understudy.errors import UnderstudyError
from understudy.models.precision import Precision
from understudy.voices.rvc.architecture import CONTENT_CHANNELS
from understudy.voices.rvc.hubert.weights import read_weights

if TYPE_CHECKING:
    import torch

    from understudy.voices.rvc.hubert.network import Network

Version = Literal["v1", "v2"]

RATE = 16000
LAYERS = {"v1": 9, "v2": 12}


@dataclass(frozen=True, eq=False)
class ContentEncoder:
    """A loaded HuBERT base. `path`: the file that it came from."""

    path: Path
    network: Network

    def encode(self, sound: torch.Tensor, version: Version) -> torch.Tensor:
        """Content features of `sound` [B, N], float32 mono at 16 kHz, taken as it is (no normalisation): [B, T, 256]
        (v1: layer 9, projected) or [B, T, 768] (v2: layer 12), float32 on the encoder's device,
        T = (N - 400) // 320 + 1 frames, frame t centred at sample 320 t + 200.

        Every frame depends on the whole window. Raises `UnderstudyError` ``model-unsuitable`` for v1 with a model that
        has no `final_proj`, `ValueError` for less than 400 samples.
        """
        import torch

        if sound.ndim != 2 or sound.shape[1] < 400:
            raise ValueError(f"content features need [B, N >= 400] samples, not {list(sound.shape)}")
        if version == "v1" and not self.network.sizes.projected:
            raise UnderstudyError(
                "model-unsuitable",
                f"{self.path.name} has no final_proj, which voices of RVC v1 need.",
                "Use ContentVec as RVC does, e.g. hubert_base.pt. Voices of v2 work with this file.",
            )
        with torch.inference_mode():
            features = self.network(sound.to(self.network.device, torch.float32), LAYERS[version])
            return self.network.project(features) if version == "v1" else features


def load_content_encoder(path: Path, device: str = "cpu", precision: Precision = "float32") -> ContentEncoder:
    """The HuBERT base (ContentVec) in `path`: fairseq's .pt, transformers' folder or file, or safetensors.

    `device`: a torch device. `precision`: dtype of the matrix products. Raises `UnderstudyError` as `read_weights`
    does, and ``model-unsuitable`` for other sizes than HuBERT base's.
    """
    import torch

    from understudy.voices.rvc.hubert.network import Network

    weights = read_weights(path)
    sizes = weights.sizes
    base = (sizes.hidden, sizes.layers) == (CONTENT_CHANNELS["v2"], LAYERS["v2"])
    if not base or sizes.projected not in (0, CONTENT_CHANNELS["v1"]):
        raise UnderstudyError(
            "model-unsuitable",
            f"{path.name} is a HuBERT of {sizes.layers} layers and {sizes.hidden} values per frame; RVC needs "
            f"{LAYERS['v2']} layers and {CONTENT_CHANNELS['v2']} values (HuBERT base).",
            "Use ContentVec as RVC does: hubert_base.pt, or the folder of its transformers version.",
        )
    return ContentEncoder(path, Network(weights, torch.device(device), getattr(torch, precision)))
