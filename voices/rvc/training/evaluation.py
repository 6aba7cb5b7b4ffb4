"""`evaluate`: how well something sings, measured clip by clip.

    clips ─► render ─► scores: similarity, f0, voicing, intelligibility, noise, mel distance, silence, clicks

`render` is anything that turns a performance into sound: a checkpoint in training, the instant voice. Clips are of two
kinds: recordings of the voice that were held out of the training, which are to come out as they are, and phrases of
other singers, which are to come out in the voice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, sosfilt

from understudy.audio.pitch import PitchSettings, PitchTrack, track
from understudy.audio.resample import resample
from understudy.audio.samples import Audio, AudioSource, Samples
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import speaker
from understudy.voices.engine import Performance
from understudy.voices.rvc.training.intelligibility import estoi
from understudy.voices.rvc.training.phrases import Phrase, phrases
from understudy.voices.transpose import choose_transpose
from understudy.voices.voice import PitchRange

Floats = NDArray[np.float64]
Render = Callable[[Performance], Audio]

LONGEST = 12.0  # seconds of a held-out clip
_RATE = 16000  # Hz at which everything but clicks is measured
_STEP = 80  # samples of 5 ms, the pitch tracks' frame
_FRAME = 1024  # of the mel spectrogram
_BANDS = 80
_OFF = 50.0  # cents from which on a pitch is wrong
_FLOOR = 60.0  # dB below the loud part of a sound that count as silence in the mel distance


@dataclass(frozen=True, eq=False)
class Clip:
    """What is to be sung: a performance of 2 to 20 s. Of a held-out recording the `performance` is the target, too."""

    name: str
    kind: Literal["held-out", "phrase"]
    performance: Performance


@dataclass(frozen=True)
class ClipScores:
    """`similarity`: cosine of speaker embeddings, to the held-out recordings; None without the encoder or a voice.
    `f0_error`: share of the frames voiced in both that are off by more than 50 cents. `voicing_error`: share of all
    frames; `cents`: median deviation where voiced in both. `intelligibility`: ESTOI against what was to be sung, about
    0..1. `noise`: dB that voiced sound is noisier than the source's. `mel_distance`: mean absolute difference of
    log-mel magnitudes in nepers, after time and level are aligned; only held-out clips have it. `silent`: share of the
    source's sounding frames that are silent in the result. `clicks`: per second, beyond the source's."""

    name: str
    kind: Literal["held-out", "phrase"]
    similarity: float | None
    f0_error: float
    voicing_error: float
    intelligibility: float
    noise: float
    mel_distance: float | None
    silent: float
    clicks: float
    cents: float | None = None  # evaluations of earlier versions have none


@dataclass(frozen=True)
class Evaluation:
    """The scores of the checkpoint of `step`, of all clips in their order."""

    step: int
    clips: tuple[ClipScores, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `of` reads it back."""
        return {"step": self.step, "clips": [asdict(clip) for clip in self.clips]}

    @staticmethod
    def of(data: dict[str, Any]) -> Evaluation:
        """What `to_dict` gave. Raises TypeError or KeyError for other data."""
        return Evaluation(int(data["step"]), tuple(ClipScores(**clip) for clip in data["clips"]))

    def means(self) -> dict[str, float]:
        """The mean of every score over the clips that have it."""
        return {name: float(np.mean(values)) for name in SCORES if (values := self.of_score(name))}

    def of_score(self, name: str) -> list[float]:
        """The score `name` of every clip that has it, in order."""
        return [value for clip in self.clips if (value := getattr(clip, name)) is not None]


SCORES = (
    "similarity",
    "f0_error",
    "voicing_error",
    "intelligibility",
    "noise",
    "mel_distance",
    "silent",
    "clicks",
    "cents",
)


def phrase_clips(voice: PitchRange | None, sung: Sequence[Phrase] | None = None) -> tuple[Clip, ...]:
    """The phrases (None: our own three), transposed to the range of the voice as a cover would be."""
    return tuple(
        Clip(
            phrase.name,
            "phrase",
            Performance(phrase.sound, phrase.pitch, choose_transpose(phrase.pitch, voice).semitones),
        )
        for phrase in (phrases() if sung is None else sung)
    )


def held_out_clips(
    context: Context, recordings: Sequence[tuple[str, AudioSource]], settings: PitchSettings, most: int = 4
) -> tuple[Clip, ...]:
    """At most `most` clips of up to `LONGEST` seconds from the held-out recordings, evenly spaced over their time.

    The pitch is tracked as `settings` say. Raises as `understudy.audio.pitch.track`.
    """
    pieces = []
    for name, source in recordings:
        count = max(1, round(source.frames / source.rate / LONGEST))
        edges = np.linspace(0, source.frames, count + 1).astype(int)
        pieces += [(name, source, int(start), int(stop)) for start, stop in pairwise(edges)]
    chosen = sorted({round(place) for place in np.linspace(0, len(pieces) - 1, min(most, len(pieces)))})
    clips = []
    for done, number in enumerate(chosen):
        name, source, start, stop = pieces[number]
        stop = min(stop, start + round(LONGEST * source.rate))
        sound = source.read(start, stop).mono()
        pitch = track(context.part(done / len(chosen), (done + 1) / len(chosen)), sound, settings)
        title = name if start == 0 else f"{name} {start / source.rate:.0f} s"
        clips.append(Clip(title, "held-out", Performance(sound, pitch, 0.0)))
    return tuple(clips)


def references(clips: Sequence[Clip]) -> speaker.Embedding | None:
    """What the similarity is measured against: the embedding of the held-out clips. None without the encoder, or
    without a voice in them."""
    held = [clip.performance.vocals for clip in clips if clip.kind == "held-out"]
    embeddings = [embedding for source in held if (embedding := _embedding(source)) is not None]
    return speaker.together(np.stack(embeddings)) if embeddings else None


def evaluate(
    context: Context,
    render: Render,
    clips: Sequence[Clip],
    reference: speaker.Embedding | None,
    *,
    step: int = 0,
    settings: PitchSettings | None = None,
    listen: Callable[[Clip, Audio], None] | None = None,
) -> Evaluation:
    """Render every clip and measure it.

    `render` gives mono sound of any rate, sample-aligned with the performance and as long. `reference`: see
    `references`. `settings`: the tracker that listens to the result. `listen` gets every result, to keep it.
    """
    scores = []
    for done, clip in enumerate(clips):
        context.progress(done / len(clips))
        sound = render(clip.performance)
        if listen is not None:
            listen(clip, sound)
        scores.append(score(context.part(done / len(clips), (done + 1) / len(clips)), clip, sound, reference, settings))
    context.progress(1.0)
    return Evaluation(step, tuple(scores))


def score(
    context: Context,
    clip: Clip,
    sound: Audio,
    reference: speaker.Embedding | None,
    settings: PitchSettings | None = None,
) -> ClipScores:
    """The scores of one result; samples that aren't finite count as silence. For the rest see `evaluate`."""
    performance = clip.performance
    broken = not np.isfinite(sound.samples).all()
    source = _mono(performance.vocals.read().mono())
    made = np.zeros_like(source) if broken else _mono(sound.mono())
    made = np.pad(made, (0, max(0, len(source) - len(made))))[: len(source)]
    wanted = performance.pitch.transposed(performance.transpose)
    heard = track(context, Audio.of(made, _RATE), settings or PitchSettings())
    wanted_f0, heard_f0 = _common(wanted.resampled(heard.hop), heard)
    both = (wanted_f0 > 0) & (heard_f0 > 0)
    cents = 1200 * np.abs(np.log2(heard_f0[both] / wanted_f0[both]))
    loud, made_loud = _levels(source), _levels(made)
    sounding = loud > max(float(np.percentile(loud, 95)) - 25, -60)
    silent = made_loud < max(float(np.percentile(made_loud, 95)) - 45, -65)
    return ClipScores(
        name=clip.name,
        kind=clip.kind,
        similarity=None if reference is None else _similarity(made, reference),
        f0_error=float(np.mean(cents > _OFF)) if both.any() else 1.0,
        voicing_error=float(np.mean((wanted_f0 > 0) != (heard_f0 > 0))),
        intelligibility=estoi(source, made, _RATE),
        noise=_periodicity(source, performance.pitch) - _periodicity(made, wanted),
        mel_distance=mel_distance(source, made) if clip.kind == "held-out" else None,
        silent=float(np.mean(silent[sounding])) if sounding.any() else 0.0,
        cents=float(np.median(cents)) if both.any() else None,
        clicks=0.0 if broken else max(0.0, _clicks(sound) - _clicks(performance.vocals.read().mono())),
    )


def mel_distance(wanted: Samples, made: Samples) -> float:
    """Mean absolute difference in nepers of the log-mel magnitudes of two mono sounds at 16 kHz, over the frames in
    which one of them sounds.

    First the second is moved by up to 20 ms to where it correlates best, and its level is made equal (the median
    difference). What lies more than 60 dB below the loudest bands counts as silence, so that it doesn't decide.
    """
    a = log_mel(wanted)
    frames = len(a)
    best = np.inf
    for lag in _lags(wanted, made):
        b = log_mel(np.roll(made, lag))
        top = _top(a)
        level = float(np.median((a - b)[a > top - 4])) if np.isfinite(top) else 0.0
        low = top - _FLOOR * np.log(10) / 20
        x, y = np.maximum(a, low), np.maximum(b + level, low)
        heard = (x.max(axis=1) > low + 2) | (y.max(axis=1) > low + 2) if frames else np.zeros(0, bool)
        best = min(best, float(np.abs(x - y)[heard].mean()) if heard.any() else 0.0)
    return best


def log_mel(sound: Samples) -> Floats:
    """Log magnitudes in 80 mel bands from 50 to 7600 Hz of mono sound at 16 kHz, ``[frames, 80]``, 10 ms apart."""
    padded = np.pad(np.asarray(sound, np.float32), _FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[:: 2 * _STEP]
    window = np.hanning(_FRAME).astype(np.float32)
    return np.asarray(np.log(np.abs(np.fft.rfft(frames * window, axis=1)) @ _mel_bands() + 1e-5), np.float64)


@lru_cache(maxsize=1)
def _mel_bands() -> Floats:
    """Triangles ``[bins, 80]`` of unit sum, equally spaced on the scale 2595 log10(1 + f / 700)."""
    low, high = (2595 * float(np.log10(1 + hertz / 700)) for hertz in (50, 7600))
    mels = np.linspace(low, high, _BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.fft.rfftfreq(_FRAME, 1 / _RATE)[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(rise, fall))
    return np.asarray(triangles / np.maximum(triangles.sum(axis=0), 1e-9))


def _top(mel: Floats) -> float:
    return float(np.percentile(mel.max(axis=1), 95)) if len(mel) else 0.0


def _lags(wanted: Samples, made: Samples) -> tuple[int, ...]:
    """Shifts in samples to try: none, and that of the best correlation of the levels within 20 ms."""
    a, b = (np.log(_levels_fine(sound) + 1e-4) for sound in (wanted, made))
    if len(a) < 100:
        return (0,)
    a, b = a - a.mean(), b - b.mean()
    reach = range(-20, 21)  # ms
    products = [float(np.sum(a[20:-20] * np.roll(b, lag)[20:-20])) for lag in reach]
    lag = reach[int(np.argmax(products))]
    return (0,) if lag == 0 else (0, lag * _RATE // 1000)


def _levels_fine(sound: Samples) -> Floats:
    """RMS of every ms."""
    size = _RATE // 1000
    blocks = sound[: len(sound) // size * size].reshape(-1, size)
    return np.asarray(np.sqrt(np.mean(np.square(blocks, dtype=np.float64), axis=1)))


def _levels(sound: Samples) -> Floats:
    """RMS in dBFS of every 20 ms."""
    size = 4 * _STEP
    blocks = sound[: len(sound) // size * size].reshape(-1, size)
    if not len(blocks):
        return np.full(1, -120.0)
    return np.asarray(10 * np.log10(np.mean(np.square(blocks, dtype=np.float64), axis=1) + 1e-12))


def _mono(sound: Audio) -> Samples:
    samples: Samples = resample(sound, _RATE).samples[0]
    return samples


def _common(a: PitchTrack, b: PitchTrack) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    frames = min(a.frames, b.frames)
    return a.f0[:frames], b.f0[:frames]


def _similarity(made: Samples, reference: speaker.Embedding) -> float:
    embedding = _embedding(Audio.of(made, _RATE))
    return 0.0 if embedding is None else speaker.similarity(embedding, reference)


def _embedding(source: AudioSource) -> speaker.Embedding | None:
    if not speaker.available():
        return None
    try:
        return speaker.embed(source)
    except UnderstudyError as error:
        if error.code == "nobody-heard":
            return None
        raise


def _periodicity(sound: Samples, pitch: PitchTrack) -> float:
    """Median harmonics-to-noise ratio in dB of the voiced frames, 0.5 to 4 kHz; 0 if nothing is voiced.

    From the correlation of 30 ms with what is one period later (Boersma, 1993): r / (1 - r). The best of the lags
    within 3 % counts, so that an error in pitch isn't a noise as well.
    """
    band = sosfilt(butter(2, [500, 4000], "bandpass", fs=_RATE, output="sos"), sound)
    size = 480
    track = pitch.resampled(0.02)
    ratios = []
    for frame in np.flatnonzero(track.f0 > 0):
        start = int(frame * 0.02 * _RATE) - size // 2
        period = _RATE / float(track.f0[frame])
        lags = np.arange(int(np.floor(0.97 * period)), int(np.ceil(1.03 * period)) + 1)
        if start < 0 or start + lags[-1] + size > len(band):
            continue
        here = band[start : start + size]
        later = np.lib.stride_tricks.sliding_window_view(band[start + lags[0] : start + lags[-1] + size], size)
        energy = np.sqrt(np.sum(here**2) * np.sum(later**2, axis=1))
        r = float(np.max(later @ here / np.maximum(energy, 1e-9)))
        ratios.append(np.clip(r, 0.01, 0.999))
    if not ratios:
        return 0.0
    r = float(np.median(ratios))
    return float(10 * np.log10(r / (1 - r)))


def _clicks(sound: Audio) -> float:
    """Isolated steps per second: differences of second order that are 5 times those of the 40 ms around them.

    Glottal pulses come in rows, so they aren't isolated.
    """
    if sound.frames < sound.rate // 10:
        return 0.0
    step = np.abs(np.diff(sound.samples[0], 2))
    near, wide = round(0.002 * sound.rate), round(0.02 * sound.rate)
    around = maximum_filter1d(step, wide, origin=0)
    before = np.concatenate([np.zeros(wide // 2 + near), around])[: len(step)]
    after = np.concatenate([around, np.zeros(wide // 2 + near)])[-len(step) :]
    loud = float(np.percentile(np.abs(sound.samples[0]), 99))
    found = (step > 5 * np.maximum(before, after)) & (step > 0.05 * loud)
    return float(np.sum(np.diff(np.flatnonzero(found), prepend=-near) >= near)) / (sound.frames / sound.rate)
