"""Speaker embeddings, to measure the similarity of two voices.

The network is the GE2E speaker encoder (Wan et al., "Generalized end-to-end loss for speaker verification", 2018):
three LSTM layers over 40 mel bands, of 1.6 s at a time. Its weights are the model ``speaker-encoder`` of the catalogue,
the file that the package resemblyzer includes. Front end and network give the same results as that package.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import soxr
from numpy.typing import NDArray

from understudy.audio.mel import mel_filters
from understudy.audio.samples import AudioSource
from understudy.audio.windows import excerpts
from understudy.errors import UnderstudyError
from understudy.models import Weights, torch_file, usable
from understudy.models.catalogue import find_model
from understudy.models.installed import missing

if TYPE_CHECKING:
    import torch

Embedding = NDArray[np.float32]

MODEL = "speaker-encoder"
RATE = 16000  # Hz
_HOP, _WINDOW, _BANDS = 160, 400, 40  # 10 ms, 25 ms
_PARTIAL = 160  # mel frames per embedding
_PARTIALS_PER_SECOND = 1.3
_LEAST_FILLED = 0.75  # of the last partial
_QUIETEST = 10 ** (-30 / 20)  # RMS that softer sound is raised to


def available() -> bool:
    """Whether the weights of the speaker encoder are installed."""
    return usable(MODEL) is not None


def embed(source: AudioSource) -> Embedding:
    """The voice in `source` as a unit vector, float32 ``[256]``, all values at least 0.

    Any rate and channels; silences are cut out; of more than three minutes, evenly spaced excerpts are used.
    Raises `UnderstudyError`: ``speaker-encoder-missing``, and ``nobody-heard`` for silence.
    """
    return together(partials(source))


def similarity(a: Embedding, b: Embedding) -> float:
    """Cosine of two embeddings, 0..1. Above .88: one person, one session; below .65: two people; alike singers: .85."""
    return float(np.dot(a, b) / max(1e-12, float(np.linalg.norm(a)) * float(np.linalg.norm(b))))


def partials(source: AudioSource) -> NDArray[np.float32]:
    """An embedding for each 1.6 s of voice, ``[partials, 256]``, in order, overlapping by half. Raises as `embed`."""
    _network()  # a missing model is reported before any work
    voice = without_silence(_mono(source))
    if len(voice) == 0:
        raise UnderstudyError(
            "nobody-heard",
            "There is no voice in this sound.",
            "Check that the recording isn't silent and holds somebody who speaks or sings.",
        )
    return partials_of(voice)


def together(embeddings: NDArray[np.float32]) -> Embedding:
    """One embedding for several of one voice: their mean ``[..., 256]``, as a unit vector."""
    mean = embeddings.mean(axis=0, dtype=np.float64)
    unit: Embedding = (mean / max(1e-12, float(np.linalg.norm(mean)))).astype(np.float32)
    return unit


def partials_of(voice: NDArray[np.float32]) -> NDArray[np.float32]:
    """The embeddings of all partials of mono samples at `RATE`, at least one: ``[partials, 256]``."""
    import torch

    frames = -(-(len(voice) + 1) // _HOP)
    step = round(RATE / _PARTIALS_PER_SECOND / _HOP)
    starts = list(range(0, max(1, frames - _PARTIAL + step + 1), step))
    if len(starts) > 1 and (len(voice) - starts[-1] * _HOP) / (_PARTIAL * _HOP) < _LEAST_FILLED:
        starts.pop()
    missing = (starts[-1] + _PARTIAL) * _HOP - len(voice)
    mel = mel_spectrogram(np.pad(voice, (0, max(0, missing))))
    network = _network()
    parts = []
    with torch.inference_mode():
        for first in range(0, len(starts), 64):
            batch = np.stack([mel[start : start + _PARTIAL] for start in starts[first : first + 64]])
            _, (hidden, _) = network["lstm"](torch.from_numpy(batch))
            parts.append(torch.nn.functional.normalize(network["linear"](hidden[-1]).relu(), dim=1).numpy())
    return np.concatenate(parts)


def mel_spectrogram(voice: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power mel spectrogram (not its logarithm) of mono samples at `RATE`: ``[frames, 40]``, 10 ms apart.

    Frames are centred, with zeros past the ends; periodic Hann window of 25 ms; bands of equal area, Slaney's scale.
    """
    padded = np.pad(voice, _WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)
    bands = _mel_bands().T
    mel = np.empty((len(frames), _BANDS), np.float32)
    for first in range(0, len(frames), 1000):
        spectrum = np.fft.rfft(frames[first : first + 1000] * window, axis=1)
        mel[first : first + 1000] = np.abs(spectrum) ** 2 @ bands
    return mel


def without_silence(voice: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mono samples at `RATE` without pauses; gaps up to 0.2 s stay. May be empty.

    A frame of 30 ms counts as voice if it is within 35 dB of the loud frames (their 95th percentile) and, where the
    background is loud, nearer to the loud frames than to it.
    """
    size = RATE * 30 // 1000
    count = len(voice) // size
    if count == 0:
        return voice[:0]
    level = 10 * np.log10(np.mean(voice[: count * size].reshape(count, size).astype(np.float64) ** 2, axis=1) + 1e-12)
    loud, background = np.percentile(level, [95, 5])
    if loud < -70:
        return voice[:0]
    active = level > max(loud - 35, min(loud - 15, background + 6))
    share = np.convolve(active, np.ones(8) / 8, mode="same")
    near = np.convolve(share >= 0.5, np.ones(7), mode="same") > 0
    return voice[: count * size].reshape(count, size)[near].reshape(-1)


def _mono(source: AudioSource) -> NDArray[np.float32]:
    """Mono at `RATE`, excerpts of long sound, quiet sound raised."""
    mono = np.concatenate(
        [source.read(*part).mono().samples[0] for part in excerpts(source)] or [np.zeros(0, np.float32)]
    )
    if source.rate != RATE:
        mono = soxr.resample(mono, source.rate, RATE, quality="HQ")
    rms = float(np.sqrt(np.mean(mono.astype(np.float64) ** 2))) if len(mono) else 0.0
    return (mono * (_QUIETEST / rms)).astype(np.float32) if 1e-5 < rms < _QUIETEST else mono


@lru_cache(maxsize=1)
def _mel_bands() -> NDArray[np.float64]:
    return mel_filters(RATE, _WINDOW, _BANDS)


def encoder_missing() -> UnderstudyError:
    """The error where the weights are not installed."""
    return missing(find_model(MODEL), "speaker-encoder-missing")


def _network() -> torch.nn.ModuleDict:
    weights = usable(MODEL)
    if weights is None:
        raise encoder_missing()
    return _loaded(weights)


@lru_cache(maxsize=1)
def _loaded(weights: Weights) -> torch.nn.ModuleDict:
    import torch

    network = torch.nn.ModuleDict(
        {"lstm": torch.nn.LSTM(_BANDS, 256, num_layers=3, batch_first=True), "linear": torch.nn.Linear(256, 256)}
    )
    state = torch_file.load(weights.path)["model_state"]
    network.load_state_dict({key: value for key, value in state.items() if key.startswith(("lstm.", "linear."))})
    return network.eval()
