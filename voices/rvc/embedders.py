"""Content features by the name of what computes them: the embedder that a model was trained with.

``contentvec`` is what nearly all RVC models are trained with. ``cepstral`` is built in and needs no file: cepstra tell
one sound of speech from another and not much more; for tests and tiny networks. Every other name is that of a content
encoder of HuBERT base's shape, which `understudy models add FILE --as NAME` puts beside ContentVec.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.models import Model, Weights, catalogue, warm
from understudy.models.add import add
from understudy.models.catalogue import Variant, find_model
from understudy.models.hashes import file_hash
from understudy.models.installed import Record
from understudy.models.own import remember
from understudy.models.precision import Precision
from understudy.voices.rvc.architecture import CONTENT_CHANNELS

if TYPE_CHECKING:
    import torch

    from understudy.voices.rvc.hubert.encoder import Version

CONTENTVEC = "contentvec"
CEPSTRAL = "cepstral"
ARCHITECTURE = "hubert-base"  # of content encoders, in the catalogue

_NAMES_OF_CONTENTVEC = ("", "contentvec-base", "hubert", "hubert-base")  # in models of other tools
_LEAST = 400  # samples of a frame
_HOP = 320  # samples from one frame to the next
_BANDS = 40  # of the mel scale
_CEPSTRA = 20
_FLOOR = 1e-4  # of the loudest frame's power; what is softer counts as silence


class Embedder(Protocol):
    def encode(self, sound: torch.Tensor, version: Version) -> torch.Tensor:
        """Content features of `sound` [B, N >= 400], float32 mono at 16 kHz: float32 [B, T, 256] for v1, [B, T, 768]
        for v2, T = (N - 400) // 320 + 1, frame t centred at sample 320 t + 200. Every frame depends on all of the
        sound."""
        ...


def embedder_name(stated: str) -> str:
    """The name under which we know the embedder that a model file names: lower case, words joined by hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", stated.lower()).strip("-")[:64].strip("-")
    return CONTENTVEC if name in _NAMES_OF_CONTENTVEC else name


def embedder_models(name: str) -> tuple[str, ...]:
    """The model files that the embedder `name` needs, by their names in the catalogue. Raises `UnderstudyError`
    ``embedder-unknown`` for one that isn't there."""
    if name == CEPSTRAL:
        return ()
    try:
        if find_model(name).architecture == ARCHITECTURE:
            return (name,)
    except UnderstudyError as error:
        if error.code != "model-unknown":
            raise
    raise UnderstudyError(
        "embedder-unknown",
        f"The content encoder (embedder) {name!r} is not on this machine. Models that were trained with it need it "
        "to sing.",
        f"Get its file (HuBERT base in fairseq's or transformers' format) from whoever made it, and add it: "
        f"understudy models add FILE --as {name}",
    )


def add_embedder(path: Path, name: str, context: Context, link: bool = False) -> Record:
    """Put the content encoder at `path` (a file, or a transformers folder) into the models folder as the embedder
    `name`; its record. `link`: only its path.

    Raises `UnderstudyError` ``embedder-name`` for a name that can't be used, ``model-unsuitable`` for another network
    than HuBERT base, and what `understudy.models.add.add` raises.
    """
    from understudy.voices.rvc.hubert import load_content_encoder
    from understudy.voices.rvc.hubert.weights import weights_file

    if embedder_name(name) != name or name in (CONTENTVEC, CEPSTRAL):
        raise UnderstudyError(
            "embedder-name",
            f"{name!r} can't be the name of a content encoder.",
            "Use the name that models trained with it give, in lower case and with hyphens, e.g. spin-v2.",
        )
    load_content_encoder(path)
    file = weights_file(path)
    sha256 = file_hash(file, context.part(0, 0.3))
    if not any(variant.sha256 == sha256 for model in catalogue().values() for variant in model.variants):
        variant = Variant(
            file=f"{name}{file.suffix.lower()}", format=ARCHITECTURE, size=file.stat().st_size, sha256=sha256
        )
        remember(
            Model(
                name=name,
                purpose="content features of RVC voices that were trained with it",
                group="voices",
                architecture=ARCHITECTURE,
                licence="not known",
                variants=(variant,),
            )
        )
    return add(path, context.part(0.3, 1), name, link=link)


def load_embedder(
    name: str, models: Mapping[str, Weights], device: str = "cpu", precision: Precision = "float32"
) -> Embedder:
    """The embedder `name` on `device`, kept loaded. `models`: the files behind `embedder_models(name)`. `precision`:
    dtype of its matrix products. Raises what `load_content_encoder` raises."""
    from understudy.voices.rvc.hubert import load_content_encoder

    if name == CEPSTRAL:
        return Cepstral(device)
    weights = models[name]
    key = ("content encoder", weights.content_hash, device, precision)
    return warm(key, lambda: load_content_encoder(weights.path, device, precision))


@dataclass(frozen=True)
class Cepstral:
    """Mel cepstra without the mean over the sound, which leaves out most of what is the singer's and the microphone's
    own. They don't depend on the level of the sound."""

    device: str = "cpu"

    def encode(self, sound: torch.Tensor, version: Version) -> torch.Tensor:
        """See `Embedder.encode`. The cepstra are repeated until the frame is as wide as the models take it."""
        import torch

        if sound.ndim != 2 or sound.shape[1] < _LEAST:
            raise ValueError(f"content features need [B, N >= {_LEAST}] samples, not {list(sound.shape)}")
        with torch.inference_mode():
            sound = sound.to(self.device, torch.float32)
            frames = sound.unfold(1, _LEAST, _HOP) * torch.hann_window(_LEAST, device=sound.device)  # [B, T, 400]
            power = torch.fft.rfft(frames, 512).abs().square()  # [B, T, 257]
            bands = power @ _mel_bands().to(sound.device)  # [B, T, bands]
            loudest = bands.mean(2).amax(1).clamp_min(1e-20)[:, None, None]
            level = (bands / (_FLOOR * loudest)).log1p()  # 0 in silence
            cepstra = level @ _cosines().to(sound.device)  # [B, T, cepstra]
            heard = (bands.mean(2, keepdim=True) > _FLOOR * loudest).float()  # pauses would shift the mean
            mean = (cepstra * heard).sum(1, keepdim=True) / heard.sum(1, keepdim=True).clamp_min(1)
            width = CONTENT_CHANNELS[version]
            features: torch.Tensor = (cepstra - mean).repeat(1, 1, -(-width // _CEPSTRA))
            return features[:, :, :width]


def _mel_bands() -> torch.Tensor:
    """Triangles on the mel scale (O'Shaughnessy, 1987) from 60 to 7600 Hz, each of unit area: [257, bands]."""
    import torch

    mel = torch.linspace(0, 1, _BANDS + 2) * 1127 * torch.log(torch.tensor((700 + 7600) / (700 + 60)))
    edges = (700 + 60) * torch.exp(mel / 1127) - 700
    hertz = torch.linspace(0, 8000, 257)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = torch.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)).clamp_min(0)
    return triangles / triangles.sum(0).clamp_min(1e-9)


def _cosines() -> torch.Tensor:
    """The cosine transform from log bands to cepstra 0..19, which vary by about 1 in speech: [bands, cepstra]."""
    import torch

    angle = torch.pi / _BANDS * (torch.arange(_BANDS)[:, None] + 0.5) * torch.arange(_CEPSTRA)
    cosines = torch.cos(angle) * (2 / _BANDS)
    cosines[:, 0] *= 0.25  # the level, which varies most
    return cosines
