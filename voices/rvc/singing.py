"""One piece of a song, sung: heard sound and melody in, the voice's sound out.

    heard ──► content features ──► retrieval ──► latent frames ──► decoder ──► sound
    melody ─────────────────────────┴─ protect ──┴─ coarse pitch    ├─ harmonic source

Each network sees the piece with context on both sides, as much as it can make use of; the context is cut off where
nothing that follows looks at it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Samples
from understudy.voices.engine import ConversionSettings
from understudy.voices.rvc.coarse_pitch import coarse_pitch
from understudy.voices.rvc.cuts import Piece
from understudy.voices.rvc.hearing import FRAME, Heard
from understudy.voices.rvc.melody import Melody
from understudy.voices.rvc.noise import Noise
from understudy.voices.rvc.retrieval import Retrieval, pulled

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.voices.rvc.hubert import ContentEncoder
    from understudy.voices.rvc.hubert.encoder import Version
    from understudy.voices.rvc.synthesizer import Synthesizer

CONTEXT = 100  # frames on both sides that content encoder and prior see beside the piece; RVC's on a CPU
FADE = 2  # frames on both sides of a cut over which neighbours cross-fade


@dataclass(frozen=True, eq=False)
class Singer:
    """What a conversion needs of a voice, loaded. `speaker`: who of the model's sings. `device`: where the networks
    are."""

    synthesizer: Synthesizer
    encoder: ContentEncoder
    retrieval: Retrieval | None
    speaker: int
    device: str


def sing(
    singer: Singer,
    heard: Heard,
    melody: Melody,
    piece: Piece,
    settings: ConversionSettings,
    noise: Noise,
    progress: Callable[[float], None],
) -> Samples:
    """The sound of the frames from ``piece.first - FADE`` to ``piece.last + FADE``, at the model's rate:
    ``[(piece.frames + 2 * FADE) * hop]``."""
    import torch

    from understudy.voices.rvc.synthesizer import reach

    architecture = singer.synthesizer.architecture
    first = piece.first - CONTEXT
    count = piece.frames + 2 * CONTEXT
    content = _content(singer, heard.read(first * FRAME, (first + count) * FRAME), architecture.version)
    count = min(count, len(content))  # the encoder's last frames would look beyond the context
    place = melody.place(first)
    voiced = melody.voiced[place : place + count]
    f0 = melody.f0[place : place + count]
    if singer.retrieval is not None and settings.index_rate > 0:
        shielded = voiced if architecture.f0 else None  # RVC's models without pitch know no voicing
        content = pulled(
            content, singer.retrieval, shielded, settings.index_rate, settings.protect, settings.index_nprobe
        )
    progress(0.2)

    def tensor(values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))[None].to(singer.device)

    speaker = torch.tensor([singer.speaker], device=singer.device)
    coarse = tensor(coarse_pitch(f0)) if architecture.f0 else None
    draws = tensor(noise.latent(first, count, architecture.latent_channels))
    z = singer.synthesizer.latent(tensor(content), coarse, speaker, draws)
    progress(0.3)
    side = min(reach(singer.synthesizer.dec), CONTEXT - FADE - 2)
    low, high = CONTEXT - FADE - side, CONTEXT + piece.frames + FADE + side
    sound = _decoded(singer, z[:, :, low:high], f0[low:high], melody, first + low, settings, noise, speaker, progress)
    return sound[side * architecture.hop : -side * architecture.hop]


def _content(singer: Singer, sound: Samples, version: Version) -> NDArray[np.float32]:
    """Content features ``[T, D]`` at 100 frames a second: the encoder's 50, each twice."""
    import torch

    features = singer.encoder.encode(torch.from_numpy(sound)[None], version)[0]
    return np.repeat(features.cpu().numpy(), 2, axis=0)


def _decoded(
    singer: Singer,
    z: Tensor,
    f0: NDArray[np.float64],
    melody: Melody,
    first: int,
    settings: ConversionSettings,
    noise: Noise,
    speaker: Tensor,
    progress: Callable[[float], None],
) -> Samples:
    """The decoder's sound of latent frames `z` [1, C, T] that begin at the song's frame `first`, ``[T * hop]``.

    Formants move as in RVC: everything is sung slower (or faster) and lower (or higher) by the same factor, and the
    sound is then played at the speed that makes time and pitch right again.
    """
    import torch

    from understudy.voices.rvc.source import harmonic_source

    architecture = singer.synthesizer.architecture
    hop, frames = architecture.hop, z.shape[2]
    stretched = round(frames * 2 ** (settings.formant_shift / 12))
    if stretched != frames:
        z = torch.nn.functional.interpolate(z, size=stretched, mode="linear")
        nearest = np.minimum((np.arange(stretched) + 0.5) * frames / stretched, frames - 1).astype(int)
        f0 = f0[nearest] * frames / stretched
    source = None
    if architecture.f0:
        breath = torch.from_numpy(noise.breath(first, stretched, hop))[None].to(singer.device)
        pitch = torch.from_numpy(f0)[None].to(singer.device)
        turns = float(melody.turns[melody.place(first)])
        source = harmonic_source(pitch, hop, architecture.sample_rate, breath, turns)
    sound = np.empty(stretched * hop, np.float32)
    place = 0
    for block in singer.synthesizer.blocks(z, source, speaker):
        sound[place : place + block.shape[2]] = block[0, 0].cpu().numpy()
        place += block.shape[2]
        progress(0.3 + 0.7 * place / len(sound))
    if stretched != frames:
        import soxr

        played = np.asarray(soxr.resample(sound, stretched, frames, quality="VHQ"), np.float32)
        sound = np.zeros(frames * hop, np.float32)
        sound[: len(played)] = played[: len(sound)]
    return sound
