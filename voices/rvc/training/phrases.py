"""Sung phrases of synthetic singers, which every checkpoint has to convert.

    notes ─► f0, vibrato, drift ─► pulses ─► glottal spectrum ─┐
         └─► formants, levels                                  ├─► vocal tract ─┬─► sound
                     aspiration, breath (noise) ───────────────┘                │
                     fricatives (filtered noise) ───────────────────────────────┘

Nobody's recordings: the sound is computed, its f0 is known exactly, and it is the same on every machine (to rounding).
The source is a train of band-limited impulses at the instants of glottal closure, shaped by the causal-anticausal
linear model of the glottal flow's derivative (Doval, d'Alessandro & Henrich, "The voice source as a causal/anticausal
linear filter", 2003). The tract is a cascade of resonances (Fant, "Acoustic theory of speech production", 1960) whose
centres move every 5 ms; nasals add a zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, lfilter, sosfilt

from understudy.audio.pitch.track import HOP, PitchTrack
from understudy.audio.samples import Audio

Floats = NDArray[np.floating]
Spectra = NDArray[np.complexfloating]

RATE = 44100  # Hz of `phrases`

# Hz of F1 to F4 of a man
_VOWELS = {
    "a": (730, 1090, 2440, 3400),
    "e": (530, 1840, 2480, 3500),
    "i": (280, 2250, 2900, 3500),
    "o": (490, 850, 2400, 3300),
    "u": (310, 870, 2250, 3300),
    "y": (280, 1900, 2250, 3300),
    "@": (500, 1400, 2450, 3400),
    "m": (260, 1000, 2150, 3200),
    "n": (260, 1350, 2350, 3300),
    "l": (350, 1150, 2700, 3500),
}
_WIDTHS = (60, 80, 120, 180)  # Hz of the first four resonances
_ZEROS = {"m": 900.0, "n": 1700.0}  # Hz of the nasals' zeros
# Hz of the band and level in dB against the vowels
_FRICATIVES = {
    "s": (5000, 10000, -17),
    "S": (2200, 5500, -15),
    "f": (1500, 11000, -27),
    "t": (3500, 9000, -19),
    "k": (1500, 3500, -19),
}


@dataclass(frozen=True)
class Note:
    """`pitch`: MIDI number (69 is 440 Hz, fractions allowed), None for a rest. `vowels`: one of ``aeiouy@``, or several
    that are passed through. `onset`: the consonant before it, one of ``m n l s S f h t k`` (S is English "sh"), or of a
    rest ``breath``; empty: the note is sung on from the one before. `level`: dB."""

    pitch: float | None
    seconds: float
    vowels: str = "a"
    onset: str = ""
    level: float = 0.0


@dataclass(frozen=True)
class Singer:
    """`tract`: factor of all resonances (1 a man, 1.17 a woman, 1.3 a child); `shape`: factors of F1 to F4 beside it;
    `width`: factor of their bandwidths. `opening`: Hz of the glottal formant per Hz of f0 (pressed 1.5, soft 0.8);
    `tilt`: Hz above which the source falls by another 6 dB per octave. `breath`: aspiration in dB against the pulses.
    `vibrato` in Hz, `depth` in cents; `wander`: slow drift in cents."""

    tract: float = 1.0
    shape: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    width: float = 1.0
    opening: float = 1.1
    tilt: float = 2500.0
    breath: float = -32.0
    vibrato: float = 5.5
    depth: float = 35.0
    wander: float = 9.0


@dataclass(frozen=True, eq=False)
class Phrase:
    """A sung phrase: mono `sound`, and the f0 that was sung."""

    name: str
    sound: Audio
    pitch: PitchTrack


_LOW = (
    Note(None, 0.25),
    Note(None, 0.4, "@", "breath"),
    Note(45, 0.45, "a", "m", -2),
    Note(48, 0.35, "i", "n"),
    Note(50, 0.9, "ai", "t", 1),
    Note(48, 0.3, "o", "l"),
    Note(45, 0.3, "e", "s"),
    Note(43, 1.1, "o", "k", -1),
    Note(None, 0.2),
    Note(None, 0.35, "@", "breath"),
    Note(50, 0.4, "u", "f"),
    Note(52, 0.35, "a", "l", 1),
    Note(55, 0.25, "e", "", 1),
    Note(57, 1.4, "ao", "m", 3),
    Note(53, 0.3, "i", "S"),
    Note(52, 0.3, "@", "n", -2),
    Note(50, 1.3, "ou", "h", -3),
    Note(None, 0.4),
)

_HIGH = (
    Note(None, 0.3),
    Note(None, 0.35, "@", "breath"),
    Note(57, 0.3, "e", "l", -3),
    Note(60, 0.3, "i", "s"),
    Note(64, 0.8, "a", "n", 1),
    Note(62, 0.2, "a", "", 1),
    Note(64, 0.2, "a"),
    Note(60, 0.5, "o", "t"),
    Note(59, 0.35, "u", "m", -2),
    Note(57, 0.9, "ei", "k", -3),
    Note(None, 0.25),
    Note(None, 0.3, "@", "breath"),
    Note(64, 0.35, "i", "f"),
    Note(67, 0.35, "o", "l", 2),
    Note(72, 1.5, "a", "S", 4),
    Note(69, 0.3, "e", "n", 2),
    Note(67, 0.3, "u", "t"),
    Note(64, 1.4, "oi", "m", -1),
    Note(None, 0.35),
)

_VERY_HIGH = (
    Note(None, 0.3),
    Note(64, 0.4, "i", "n"),
    Note(67, 0.4, "a", "m"),
    Note(71, 0.4, "e", "s", 1),
    Note(72, 0.9, "oa", "l", 2),
    Note(71, 0.3, "u", "t"),
    Note(69, 0.3, "i", "k"),
    Note(67, 0.9, "ae", "f"),
    Note(None, 0.2),
    Note(None, 0.3, "@", "breath"),
    Note(72, 0.35, "a", "h", 1),
    Note(74, 0.35, "o", "n", 2),
    Note(76, 1.2, "ia", "S", 3),
    Note(72, 0.35, "e", "m"),
    Note(67, 1.2, "uo", "l", -2),
    Note(None, 0.3),
)


# name, notes and singer of each of `phrases`
SUNG = (
    ("low", _LOW, Singer(0.97, (1, 1.02, 0.98, 0.94), 1.0, 1.2, 2600, -34, 5.2, 30)),
    ("high", _HIGH, Singer(1.16, (1.03, 1, 1.02, 1), 1.1, 1.0, 2200, -28, 5.8, 45)),
    ("very-high", _VERY_HIGH, Singer(1.3, (1, 0.97, 1, 1.03), 1.2, 1.0, 3000, -24, 6.1, 15, 14)),
)


@lru_cache(maxsize=1)
def phrases() -> tuple[Phrase, ...]:
    """Three phrases of 8 to 12 s by a low, a high and a very high voice, mono at `RATE`; `sing` with the place in
    `SUNG` as the seed."""
    return tuple(Phrase(name, *sing(notes, singer, seed=seed)) for seed, (name, notes, singer) in enumerate(SUNG))


def sing(
    notes: Sequence[Note], singer: Singer, rate: int = RATE, *, seed: int = 0, level: float = -20.0
) -> tuple[Audio, PitchTrack]:
    """`notes` sung by `singer`: mono ``[1, frames]``, and the f0 that was sung, 0 where unvoiced.

    `level`: RMS in dBFS of the voiced sound. `seed` decides drift, jitter and noise: with the same one, two singers of
    equal vibrato and wander sing the same f0. A note's timing doesn't depend on the singer.
    """
    random = np.random.default_rng(seed)
    control = _control(notes, singer, random)
    count = len(control.f0)
    frames = round(sum(note.seconds for note in notes) * rate)
    at, places = np.arange(frames) / rate, np.arange(count) * HOP
    f0 = np.exp(np.interp(at, places, np.log(control.f0)))
    phase = np.cumsum(f0) / rate
    voicing, air = np.interp(at, places, control.voicing), np.interp(at, places, control.air)
    noise = random.standard_normal(frames)
    pulses = _impulses(phase, f0, rate) * np.sqrt(rate / f0) * voicing
    # air streams most just before the closure
    aspiration = noise * (air + voicing * 10 ** (singer.breath / 20) * (1 + 0.7 * np.cos(2 * np.pi * phase)))
    sound = _through_tract(pulses, aspiration, control, singer, rate)
    loud = control.voiced[np.minimum(np.round(at / HOP).astype(int), count - 1)]
    sound *= 10 ** (level / 20) / max(1e-9, float(np.sqrt(np.mean(sound[loud] ** 2))) if loud.any() else 1.0)
    for kind, (low, high, gain) in _FRICATIVES.items():
        if kind in control.hiss:
            edges = [low * singer.tract**0.5, min(high * singer.tract**0.5, 0.46 * rate)]
            band = sosfilt(butter(2, edges, "bandpass", fs=rate, output="sos"), random.standard_normal(frames))
            shape = np.interp(at, places, control.hiss[kind])
            sound += 10 ** ((level + gain) / 20) * shape * band / max(1e-9, float(band.std()))
    heard = np.where(control.voiced, control.f0, 0).astype(np.float32)
    return Audio.of(sound, rate), PitchTrack(heard[: int(frames / rate / HOP + 1e-9) + 1])


@dataclass(frozen=True, eq=False)
class _Control:
    """What moves, every `HOP` seconds: `f0` in Hz (also where unvoiced), `voiced`, amplitudes of pulses and of noise
    through the tract, `resonances` ``[frames, 4]`` in Hz of a man's tract, `zero` in Hz (0: none) and its weight, and
    the amplitude of each fricative's noise."""

    f0: Floats
    voiced: NDArray[np.bool_]
    voicing: Floats
    air: Floats
    resonances: Floats
    zero: Floats
    nasal: Floats
    hiss: dict[str, Floats]


def _control(notes: Sequence[Note], singer: Singer, random: np.random.Generator) -> _Control:
    edges = np.round(np.cumsum([0.0] + [note.seconds for note in notes]) / HOP).astype(int)
    count = int(edges[-1]) + 1
    pitch, target = np.zeros(count), next((note.pitch for note in notes if note.pitch is not None), 60.0)
    voicing, air, nasal, zero = np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count)
    shapes, depth = np.tile(np.array(_VOWELS["@"], float), (count, 1)), np.zeros(count)
    hiss: dict[str, Floats] = {}
    rested = True
    for note, start, stop in zip(notes, edges[:-1], edges[1:], strict=True):
        stop = count if stop == count - 1 else int(stop)
        pitch[start:stop] = target if note.pitch is None else note.pitch
        if note.pitch is None:
            if note.onset == "breath":
                swell = np.sin(np.pi * (np.arange(stop - start) + 0.5) / (stop - start)) ** 0.7
                air[start:stop] = 10 ** ((note.level - 26) / 20) * swell
            rested = True
            continue
        target, gain = note.pitch, 10 ** (note.level / 20)
        begin = min(stop, start + _LENGTHS[note.onset] if note.onset else start)
        voicing[begin:stop] = gain
        shapes[start:stop] = _path(note.vowels, begin - start, stop - begin)
        if note.onset in ("m", "n", "l"):
            shapes[start:begin], voicing[start:begin] = _VOWELS[note.onset], gain * 0.5
            if note.onset in _ZEROS:
                nasal[start:begin], zero[start:begin] = 1.0, _ZEROS[note.onset]
        elif note.onset in ("t", "k"):  # closure, burst, a little air
            hiss.setdefault(note.onset, np.zeros(count))[start + 10 : start + 14] = gain
            air[start + 13 : begin] = gain * 0.06
        elif note.onset == "h":
            air[start:begin] = gain * 0.09
        elif note.onset:
            hiss.setdefault(note.onset, np.zeros(count))[start:begin] = gain
        if rested:  # notes after a rest are begun from below
            pitch[begin : begin + 8] -= 0.8 * np.linspace(1, 0, 8)[: max(0, min(8, count - begin))]
        rested = False
        since = np.arange(stop - begin) * HOP
        depth[begin:stop] = np.clip((since - 0.2) / 0.25, 0, 1) * (1.0 if stop - begin > 80 else 0.3)
    voiced = voicing > 0
    # a step between notes takes some 120 ms, with a slight overshoot: a damped resonance of 5 Hz
    pole = np.exp((-0.75 + 1j * np.sqrt(1 - 0.75**2)) * 2 * np.pi * 5.0 * HOP)
    a = np.array([1.0, -2 * pole.real, abs(pole) ** 2])
    pitch = pitch[0] + lfilter([a.sum()], a, np.concatenate([pitch, np.full(20, pitch[-1])]) - pitch[0])[6 : count + 6]
    speed = singer.vibrato * (1 + 0.06 * gaussian_filter1d(random.standard_normal(count), 20) * 9)
    drift = gaussian_filter1d(random.standard_normal(count), 12)
    jitter = random.standard_normal(count)
    cents = singer.depth * gaussian_filter1d(depth, 6) * np.sin(2 * np.pi * np.cumsum(speed) * HOP)
    cents += singer.wander * drift / 0.153 + 3 * jitter
    f0 = 440 * 2 ** ((pitch + cents / 100 - 69) / 12)
    shimmer = 1 + 0.03 * random.standard_normal(count)
    ends = gaussian_filter1d(voicing, 2.0) * np.clip(voiced * 2.0, 0, 1)
    hissing = {kind: gaussian_filter1d(track, 1.0 if kind in "tk" else 3.0) for kind, track in hiss.items()}
    return _Control(
        f0, voiced, ends * shimmer, gaussian_filter1d(air, 3.0), gaussian_filter1d(shapes, 4.0, axis=0),
        zero, gaussian_filter1d(nasal, 1.5), hissing,
    )  # fmt: skip


_LENGTHS = {"m": 17, "n": 15, "l": 13, "s": 24, "S": 24, "f": 20, "h": 13, "t": 17, "k": 18}  # frames of `HOP`


def _path(vowels: str, before: int, frames: int) -> Floats:
    """The resonances of `vowels` one after the other, ``[before + frames, 4]``: most of the time is the first's."""
    points = np.array([_VOWELS[vowel] for vowel in vowels], float)
    where = np.clip((np.linspace(0, 1, max(1, frames)) - 0.45) / 0.4, 0, 1) * (len(points) - 1)
    path = np.stack([np.interp(where, np.arange(len(points)), column) for column in points.T], axis=1)
    return np.concatenate([np.repeat(path[:1], before, axis=0), path[:frames]])


def _impulses(phase: Floats, f0: Floats, rate: int) -> Floats:
    """Band-limited unit impulses, each at the exact instant at which `phase` (turns) passes a whole number."""
    whole = np.flatnonzero(np.floor(phase[1:]) > np.floor(phase[:-1])) + 1
    exact = whole - (phase[whole] % 1) / (f0[whole] / rate)
    at = np.floor(exact).astype(int)[:, None] + np.arange(-16, 17)
    distance = at - exact[:, None]
    shape = 0.95 * np.sinc(0.95 * distance) * np.cos(np.pi * np.clip(distance / 34, -0.5, 0.5)) ** 2
    train = np.zeros(len(phase) + 64)
    np.add.at(train, at + 32, shape)
    return train[32 : 32 + len(phase)]


def _through_tract(pulses: Floats, noise: Floats, control: _Control, singer: Singer, rate: int) -> Floats:
    """Pulses through glottal spectrum and tract, noise through the tract.

    The source is cut by overlapping triangles 5 ms apart; each part gets its own filter, in the frequency domain.
    """
    step = rate * HOP
    half = int(np.ceil(step))
    size = 1 << int(np.ceil(np.log2(0.08 * rate)))
    lead = size // 4  # room for the anticausal part
    bins = np.fft.rfftfreq(size, 1 / rate)[None]
    upper = _upper_tract(bins, singer, rate)
    count = len(control.f0)
    starts = np.round(np.arange(count) * step).astype(int)
    taps = np.arange(-half, half)
    padded = [np.pad(part, (half, 2 * half + 1)) for part in (pulses, noise)]
    out = np.zeros(len(pulses) + 2 * size)
    for first in range(0, count, 100):
        rows = slice(first, min(first + 100, count))
        at = starts[rows, None] + taps
        window = np.maximum(0, 1 - np.abs(at - np.arange(count)[rows, None] * step) / step)
        voice, air = (
            np.fft.rfft(np.pad(part[at + half] * window, ((0, 0), (lead, size - lead - 2 * half)))) for part in padded
        )
        source = voice * _glottal(bins, control.f0[rows, None], singer) + air
        sound = np.fft.irfft(source * _tract(bins, control, rows, singer) * upper)
        for row, start in enumerate(starts[rows]):
            place = start - half - lead + size
            out[place : place + size] += sound[row]
    return out[size : size + len(pulses)]


def _glottal(bins: Floats, f0: Floats, singer: Singer) -> Spectra:
    """Spectrum of the flow's derivative ``[frames, bins]``: an anticausal resonance, the glottal formant, and a
    low-pass. Its level hardly depends on the pitch."""
    centre = singer.opening * f0
    x = bins / centre
    return np.asarray(1j * x / (_resonance(bins, centre, 0.9 * centre).conj() * (1 + 1j * bins / singer.tilt)))


def _tract(bins: Floats, control: _Control, rows: slice, singer: Singer) -> Spectra:
    """Response of the four moving resonances and the nasals' zero ``[frames, bins]``, 1 at 0 Hz."""
    centres = [singer.tract * factor * control.resonances[rows, k] for k, factor in enumerate(singer.shape)]
    centres[0] = np.maximum(centres[0], 1.02 * control.f0[rows])  # high notes are sung with a wider mouth
    centres[1] = np.maximum(centres[1], 1.25 * centres[0])
    nasal, zero = control.nasal[rows, None], np.maximum(control.zero[rows, None], 500.0) * singer.tract
    below = np.ones((len(nasal), bins.shape[1]), complex)
    for centre, width in zip(centres, _WIDTHS, strict=True):
        below *= _resonance(bins, centre[:, None], width * singer.width * singer.tract * (1 + 1.5 * nasal))
    dip = nasal * _resonance(bins, zero, 0.15 * zero) / _resonance(bins, 1.25 * zero, 0.37 * zero)
    return np.asarray((1 - nasal + dip) / below)


def _upper_tract(bins: Floats, singer: Singer, rate: int) -> Spectra:
    """Response of the resonances above the fourth, which hardly move, up to half the rate and one beyond."""
    below = np.ones(bins.shape, complex)
    for centre in np.arange(4500.0, 0.5 * rate / singer.tract + 1050, 1050) * singer.tract:
        below *= _resonance(bins, centre, 0.07 * centre * singer.width)
    return np.asarray(1 / below)


def _resonance(bins: Floats, centre: Floats | float, width: Floats | float) -> Spectra:
    """The denominator of a resonance's response; `centre`, `width` in Hz."""
    x = bins / centre
    return np.asarray(1 - x**2 + 1j * (width / centre) * x)
