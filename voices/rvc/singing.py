"""One piece of a song through the networks: prepared vocal and pitch in, the voice's sound out.

    vocal ──► content features ──► index ──► latent frames ──► decoder ──► sound
    pitch ─────────────────────────┴─ protect ──┴─ coarse pitch  ├─ harmonic source

Each network gets the piece with as much context on both sides as it can use, which is cut off as soon as possible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import Samples
from understudy.voices.cuts import Piece
from understudy.voices.engine import ConversionSettings
from understudy.voices.rvc.embedders import Embedder
from understudy.voices.rvc.noise import Noise
from understudy.voices.rvc.pitch import FramePitch, coarse_pitch
from understudy.voices.rvc.preprocess import FRAME, PreparedVocal
from understudy.voices.rvc.retrieval import Retrieval, pull_to_index

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.voices.rvc.hubert.encoder import Version
    from understudy.voices.rvc.synthesizer import Synthesizer

CONTEXT = 100  # frames on both sides that content encoder and prior get beside the piece; RVC's on a CPU
FADE = 2  # frames on both sides of a cut over which neighbours cross-fade


@dataclass(frozen=True, eq=False)
class LoadedVoice:
    """The networks of a voice on `device`. `speaker`: number of the model's speaker that sings."""

    synthesizer: Synthesizer
    encoder: Embedder
    retrieval: Retrieval | None
    speaker: int
    device: str


@dataclass(frozen=True, eq=False)
class Conversion:
    """What all pieces of one song share. `pitch` has a margin of `CONTEXT` frames on both sides."""

    voice: LoadedVoice
    vocal: PreparedVocal
    pitch: FramePitch
    settings: ConversionSettings
    noise: Noise


def sing(conversion: Conversion, piece: Piece, progress: Callable[[float], None]) -> Samples:
    """The sound of the frames from ``piece.first - FADE`` to ``piece.last + FADE``, float32
    ``[(piece.frames + 2 * FADE) * hop]`` at the model's rate."""
    import torch

    from understudy.voices.rvc.synthesizer import reach

    voice, settings = conversion.voice, conversion.settings
    architecture = voice.synthesizer.architecture
    first = piece.first - CONTEXT
    count = piece.frames + 2 * CONTEXT
    content = _content(voice, conversion.vocal.read(first * FRAME, (first + count) * FRAME), architecture.version)
    count = min(count, len(content))  # the encoder's last frames would need sound beyond the context
    place = conversion.pitch.place(first)
    voiced = conversion.pitch.voiced[place : place + count]
    f0 = conversion.pitch.f0[place : place + count]
    if voice.retrieval is not None and settings.index_rate > 0:
        shielded = voiced if architecture.f0 else None  # RVC's models without pitch know no voicing
        content = pull_to_index(
            content, voice.retrieval, shielded, settings.index_rate, settings.protect, settings.index_nprobe
        )
    progress(0.2)

    def tensor(values: NDArray[np.generic]) -> Tensor:
        """`values` with a batch axis of 1, on the voice's device."""
        return torch.from_numpy(np.ascontiguousarray(values))[None].to(voice.device)

    speaker = torch.tensor([voice.speaker], device=voice.device)
    coarse = tensor(coarse_pitch(f0)) if architecture.f0 else None
    noise = tensor(conversion.noise.latent(first, count, architecture.latent_channels))
    z = voice.synthesizer.latent(tensor(content), coarse, speaker, noise)  # [1, latent, count]
    progress(0.3)
    # The decoder sees only a few frames around each, so most of the context is dropped before it.
    side = min(reach(voice.synthesizer.dec), CONTEXT - FADE - 2)
    low, high = CONTEXT - FADE - side, CONTEXT + piece.frames + FADE + side
    sound = _decode(conversion, z[:, :, low:high], f0[low:high], first + low, speaker, progress)
    return sound[side * architecture.hop : -side * architecture.hop]


def _content(voice: LoadedVoice, sound: Samples, version: Version) -> NDArray[np.float32]:
    """Content features ``[T, D]`` at 100 frames per second: the encoder's 50, each twice."""
    import torch

    features = voice.encoder.encode(torch.from_numpy(sound)[None], version)[0]
    return np.repeat(features.cpu().numpy(), 2, axis=0)


def _decode(
    conversion: Conversion,
    z: Tensor,
    f0: NDArray[np.float64],
    first: int,
    speaker: Tensor,
    progress: Callable[[float], None],
) -> Samples:
    """The decoder's sound of latent frames `z` [1, C, T], whose first is the song's frame `first`: ``[T * hop]``.

    Formants move as in RVC: the frames are stretched in time and f0 divided by the same factor, and the sound is then
    resampled back, which restores time and pitch and moves the formants.
    """
    import torch

    from understudy.voices.rvc.decoder import harmonic_source

    voice = conversion.voice
    architecture = voice.synthesizer.architecture
    hop, frames = architecture.hop, z.shape[2]
    stretched = round(frames * 2 ** (conversion.settings.formant_shift / 12))
    if stretched != frames:
        z = torch.nn.functional.interpolate(z, size=stretched, mode="linear")
        nearest = np.minimum((np.arange(stretched) + 0.5) * frames / stretched, frames - 1).astype(int)
        f0 = f0[nearest] * frames / stretched
    source = None
    if architecture.f0:
        noise = torch.from_numpy(conversion.noise.source(first, stretched, hop))[None].to(voice.device)
        hertz = torch.from_numpy(f0)[None].to(voice.device)
        phase = float(conversion.pitch.phase[conversion.pitch.place(first)])
        source = harmonic_source(hertz, hop, architecture.sample_rate, noise, phase)
    sound = np.empty(stretched * hop, np.float32)
    place = 0
    for block in voice.synthesizer.blocks(z, source, speaker):
        sound[place : place + block.shape[2]] = block[0, 0].cpu().numpy()
        place += block.shape[2]
        progress(0.3 + 0.7 * place / len(sound))
    if stretched != frames:
        import soxr

        played = np.asarray(soxr.resample(sound, stretched, frames, quality="VHQ"), np.float32)
        sound = np.zeros(frames * hop, np.float32)
        sound[: len(played)] = played[: len(sound)]
    return sound
