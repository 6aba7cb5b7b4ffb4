"""Notes of instruments that play several at once, by the network of Basic Pitch (Bittner et al. 2022, "A Lightweight
Instrument-Agnostic Model for Polyphonic Note Transcription and Multipitch Estimation").

The network is the model ``basic-pitch`` of the catalogue, the ONNX file that the package of that name carries. 86 times
a second it says for each key of a piano how sure it is that a note sounds and that one begins. A note begins at each
peak of the latter and lasts as long as the former holds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from understudy.audio.midi import Note
from understudy.audio.resample import resampled_frames
from understudy.audio.samples import AudioSource
from understudy.audio.windows import ordered_map
from understudy.context import Context
from understudy.models import Weights, usable
from understudy.models.catalogue import find_model
from understudy.models.installed import missing

MODEL = "basic-pitch"

_INPUT = "serving_default_input_2:0"
_NOTE, _ONSET = "StatefulPartitionedCall:1", "StatefulPartitionedCall:2"
_RATE = 22050
_HOP = 256
_WINDOW = 43844  # samples
_EDGE = 15  # frames at both ends of a window that know too little of what is around them
_STEP = 140  # frames from one window to the next
_LOWEST = 21  # MIDI number of the first key

_BEGINS = 0.5
_SOUNDS = 0.3
_SHORTEST = 11  # frames, of a note and of the silence that ends one

Matrix = NDArray[np.float32]


def polyphonic_notes(context: Context, source: AudioSource) -> list[Note]:
    """The notes of `source`, by start and pitch. `context.workers` windows are processed at once.

    Raises `UnderstudyError` ``transcriber-missing`` where the model isn't installed.
    """
    notes_active, onsets = activations(context, source)
    return notes_of(notes_active, onsets)


def activations(context: Context, source: AudioSource) -> tuple[Matrix, Matrix]:
    """How sure it is that a note sounds, and begins, 0..1, ``[frames, 88]``; frame k: k * 256 / 22050 s."""
    session = _session(network())
    frames = resampled_frames(source.frames, source.rate, _RATE) // _HOP + 1

    def window(first: int) -> tuple[Matrix, Matrix]:
        sound = _sound(source, (first - _EDGE) * _HOP)
        note, onset = session.run([_NOTE, _ONSET], {_INPUT: sound[None, :, None]})
        kept = slice(_EDGE, _EDGE + min(_STEP, frames - first))
        return note[0, kept], onset[0, kept]

    firsts = range(0, frames, _STEP)
    parts = []
    for done, result in enumerate(ordered_map(window, firsts, context.workers), start=1):
        parts.append(result)
        context.progress(done / len(firsts))
    return np.concatenate([note for note, _ in parts]), np.concatenate([onset for _, onset in parts])


def _sound(source: AudioSource, start: int) -> Matrix:
    """The window that begins at the sample `start` at the network's rate, ``[window]``."""
    side = round(0.05 * source.rate)  # of sound around it, so that resampling knows no edge
    first = start * source.rate // _RATE
    span = -(-_WINDOW * source.rate // _RATE)
    block = source.read(first - side, first + span + side).mono().samples[0]
    fine = soxr.resample(block, source.rate, _RATE, quality="HQ")
    begin = round((start / _RATE - (first - side) / source.rate) * _RATE)
    sound = np.asarray(fine[begin : begin + _WINDOW], np.float32)
    return np.pad(sound, (0, _WINDOW - len(sound)))


def notes_of(notes_active: Matrix, onsets: Matrix) -> list[Note]:
    from scipy.signal import argrelmax

    frames = len(notes_active)
    peaks = np.zeros((frames + 2, onsets.shape[1]), bool)
    peaks[argrelmax(np.pad(onsets, ((1, 1), (0, 0))), axis=0)] = True  # the first frame may be one
    peaks = peaks[1:-1] & (onsets >= _BEGINS)
    left = notes_active.copy()
    notes = []
    # from the end on: what a later note takes, an earlier one of the same key can't reach into
    for first, key in sorted(np.argwhere(peaks).tolist(), reverse=True):
        low = left[first:, key] < _SOUNDS
        ends = np.convolve(low, np.ones(_SHORTEST), "valid") == _SHORTEST if len(low) >= _SHORTEST else np.zeros(0)
        last = first + int(np.argmax(ends)) if ends.any() else frames - int(np.argmin(low[::-1]))
        if last - first <= _SHORTEST:
            continue
        sure = float(notes_active[first:last, key].mean())
        left[first:last, max(0, key - 1) : key + 2] = 0
        velocity = int(np.clip(round(127 * sure), 1, 127))
        notes.append(Note(first * _HOP / _RATE, last * _HOP / _RATE, _LOWEST + key, velocity))
    return sorted(notes, key=lambda note: (note.start, note.pitch))


def network() -> Weights:
    """The model. Raises `UnderstudyError` ``transcriber-missing`` where it isn't installed."""
    weights = usable(MODEL)
    if weights is None:
        raise missing(find_model(MODEL), "transcriber-missing")
    return weights


@lru_cache(maxsize=1)
def _session(weights: Weights) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # windows run side by side
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(weights.path), options, providers=["CPUExecutionProvider"])
