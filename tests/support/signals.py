"""Sound whose answer is known, for the tests of every room: a singer with a known pitch, a band in stereo, a song.

Pure numpy and scipy, deterministic, a few hundredths of a second of work per second of sound, nothing read from disk.

- `singing`: a source-filter voice. Band-limited glottal pulses at exactly the instants at which the phase of the wanted
  f0 passes a whole number, through a cascade of formant resonators (D. Klatt, "Software for a cascade/parallel formant
  synthesizer", JASA 67, 1980). It returns the f0 that was sung, not a guess at it.
- `band`: drums, bass and plucked chords at different places in the stereo image.
- `song`: both together with the two true stems; their sum is the song to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from understudy.audio.pitch.track import HOP, PitchTrack
from understudy.audio.samples import Audio

Floats = NDArray[np.float64]

# the first four formants of a grown man in Hz; higher ones stand every 1000 Hz
VOWELS = {
    "a": (730.0, 1090.0, 2440.0, 3400.0),
    "e": (530.0, 1840.0, 2480.0, 3500.0),
    "i": (290.0, 2250.0, 2950.0, 3500.0),
    "o": (500.0, 850.0, 2400.0, 3300.0),
    "u": (310.0, 870.0, 2250.0, 3300.0),
}
BANDWIDTHS = (70.0, 90.0, 130.0, 200.0)


@dataclass(frozen=True)
class Note:
    """`pitch`: MIDI number (69 is 440 Hz, fractions allowed), None for a rest. `vowel`: one of `VOWELS`.
    `onset`: ``"s"`` begins the note with 120 ms of unvoiced hiss, ``""`` sings on from the note before."""

    pitch: float | None
    seconds: float
    vowel: str = "a"
    onset: str = ""


PHRASE = (
    Note(57, 0.5, "a"),
    Note(59, 0.4, "e"),
    Note(61, 0.4, "i", "s"),
    Note(64, 0.8, "o"),
    Note(None, 0.25),
    Note(62, 0.4, "u", "s"),
    Note(61, 0.4, "e"),
    Note(57, 0.85, "a"),
)  # four seconds, A3 to E4


def hertz(pitch: float) -> float:
    """The frequency of a MIDI number, equal temperament, A4 = 440 Hz."""
    return float(440.0 * 2 ** ((pitch - 69) / 12))


def singing(
    notes: Sequence[Note] = PHRASE,
    rate: int = 44100,
    *,
    formants: float = 1.0,
    vibrato: float = 30.0,
    breath: float = 0.01,
    level: float = -22.0,
    seed: int = 0,
) -> tuple[Audio, PitchTrack]:
    """Notes sung by a synthetic voice: mono ``[1, frames]`` and the f0 that was sung, every `HOP` seconds.

    `formants` scales all formants (1.2 is about a woman, 1.35 a child): another factor is another voice.
    `vibrato`: depth in cents (5.5 Hz, on notes of 0.3 s and more). `breath`: aspiration noise against the pulses.
    `level`: RMS over the notes in dBFS. f0 is 0 in rests and onsets; vowels and amplitudes glide over some 25 ms.
    """
    random = np.random.default_rng(seed)
    edges = np.cumsum([0] + [round(note.seconds * rate) for note in notes])
    frames = int(edges[-1])
    pitch, voiced, hiss = np.zeros(frames), np.zeros(frames), np.zeros(frames)
    weights = {vowel: np.zeros(frames) for vowel in sorted({n.vowel for n in notes if n.pitch is not None})}
    last = next((note.pitch for note in notes if note.pitch is not None), 69.0)
    for note, start, stop in zip(notes, edges[:-1], edges[1:], strict=True):
        if note.pitch is None:
            pitch[start:stop] = last
            continue
        begin = min(stop, start + round(0.12 * rate)) if note.onset == "s" else start
        time = np.arange(stop - start) / rate
        deep = vibrato / 100 if note.seconds >= 0.3 else 0.0
        swell = np.clip((time - 0.15) / 0.15, 0, 1) * np.clip((time[-1] - time) / 0.05, 0, 1)
        glide = np.exp(-((time / 0.03) ** 2)) * (last - note.pitch)  # portamento out of the last note
        pitch[start:stop] = note.pitch + glide + deep * swell * np.sin(2 * np.pi * 5.5 * time)
        voiced[begin:stop], hiss[start:begin], weights[note.vowel][start:stop] = 1.0, 1.0, 1.0
        last = note.pitch
    # no throat is a machine: f0 and strength wander by some 10 cents and 0.4 dB, faster than vibrato. A perfectly
    # periodic tone is as periodic over two periods as over one, and trackers then answer the octave below
    f0 = hertz(0) * 2 ** ((pitch + 0.1 * _wander(frames, rate, random)) / 12)
    gate = _smooth(voiced, rate)
    air = breath * np.diff(random.standard_normal(frames + 1))  # aspiration is strongest at the top
    source = gate * (_pulses(f0, rate) * (1 + 0.05 * _wander(frames, rate, random)) + air)
    # tilt of the glottal flow's derivative: 6 dB per octave above some 200 Hz, nothing at 0 Hz
    source = lfilter(
        [1.0, -1.0], [1.0, -0.995], lfilter([1 - (pole := np.exp(-2 * np.pi * 200 / rate))], [1, -pole], source)
    )
    total = sum((_smooth(weights[vowel], rate) for vowel in weights), np.full(frames, 1e-9))
    out = np.zeros(frames)
    for vowel, weight in weights.items():
        out += sosfilt(_tract(vowel, formants, rate), source) * _smooth(weight, rate) / total
    out *= 10 ** (level / 20) / max(1e-9, float(np.sqrt(np.mean(out[voiced > 0] ** 2)) if voiced.any() else 0.0))
    if hiss.any():
        low, high = min(5000.0, 0.3 * rate), min(9500.0, 0.45 * rate)
        noise = sosfilt(butter(2, [low, high], "bandpass", fs=rate, output="sos"), random.standard_normal(frames))
        out += 10 ** ((level - 8) / 20) * noise / max(1e-9, float(noise.std())) * _smooth(hiss, rate)
    at = np.minimum(np.round(np.arange(int(frames / rate / HOP) + 1) * HOP * rate).astype(int), frames - 1)
    return Audio.of(out, rate), PitchTrack(np.where(voiced[at] > 0, f0[at], 0).astype(np.float32))


def band(
    seconds: float = 4.0, rate: int = 44100, *, tempo: float = 112.0, level: float = -19.0, seed: int = 0
) -> Audio:
    """A small band in stereo, ``[2, frames]``: kick, snare and bass in the middle, hats at the right, chords plucked
    at the left and answered at the right, four bars of two chords that repeat. `level`: RMS in dBFS."""
    random = np.random.default_rng(seed)
    frames = round(seconds * rate)
    mix = np.zeros((2, frames + 2 * rate))
    beat = 60.0 / tempo
    drums = {
        "kick": _kick(rate),
        "snare": _burst(rate, 0.18, 0.05, 1500.0, random) + _burst_tone(rate, 0.18, 190.0),
        "hat": _burst(rate, 0.06, 0.012, 6000.0, random),
    }

    def play(sound: Floats, at: float, gain: float, pan: float) -> None:
        start = round(at * rate)
        if start < frames:
            angle = (pan + 1) * np.pi / 4
            mix[:, start : start + len(sound)] += gain * np.outer((np.cos(angle), np.sin(angle)), sound)

    chords = ((45, (57, 60, 64)), (41, (57, 60, 65)), (48, (55, 60, 64)), (43, (55, 59, 62)))
    plucks = {pitch: pluck(pitch, rate, 1.2, random) for pitch in {p for _, chord in chords for p in chord}}
    basses = {root: pluck(root - 12, rate, 0.5, random, brightness=0.45) for root, _ in chords}
    for step in range(int(seconds / beat * 2) + 1):  # eighth notes
        at, bar = step * beat / 2, step // 8
        root, chord = chords[bar % len(chords)]
        if step % 4 == 0:
            play(drums["kick"], at, 0.5, 0.0)
        if step % 8 == 4:
            play(drums["snare"], at, 0.3, 0.0)
        play(drums["hat"], at, 0.2 if step % 2 else 0.12, 0.5)
        if step % 2 == 0:
            play(basses[root], at, 0.7, 0.0)
        play(plucks[chord[step % 3]], at, 0.35, -0.6)
        if step % 4 == 2:
            for pitch in chord:
                play(plucks[pitch], at, 0.18, 0.7)
    mix = mix[:, :frames]
    return Audio.of(mix * 10 ** (level / 20) / max(1e-9, float(np.sqrt(np.mean(mix**2)))), rate)


@dataclass(frozen=True)
class Song:
    """`mix` is exactly ``vocals + instrumental``; all three are stereo and as long. `pitch`: what the vocals sing."""

    mix: Audio
    vocals: Audio
    instrumental: Audio
    pitch: PitchTrack


def song(seconds: float = 8.0, rate: int = 44100, *, seed: int = 0) -> Song:
    """A song with true stems: `PHRASE` again and again over `band`, its first second instrumental."""
    notes, left = [Note(None, min(1.0, seconds))], seconds - 1.0
    while left > 1e-9:
        note = PHRASE[(len(notes) - 1) % len(PHRASE)]
        notes.append(Note(note.pitch, min(left, note.seconds), note.vowel, note.onset))
        left -= note.seconds
    dry, pitch = singing(notes, rate, seed=seed)
    instrumental = band(seconds, rate, seed=seed).read(0, dry.frames)
    vocals = Audio(np.repeat(dry.samples, 2, axis=0), rate)
    return Song(Audio(vocals.samples + instrumental.samples, rate), vocals, instrumental, pitch)


def recorded(sound: Audio, level: float = 1e-3) -> Audio:
    """The sound with a noise floor, as recordings have: between the partials there is something, too."""
    noise = np.random.default_rng(3).standard_normal(sound.samples.shape) * level
    return Audio.of(sound.samples + noise, sound.rate)


def _pulses(f0: Floats, rate: int) -> Floats:
    """A train of band-limited unit impulses of the frequency `f0` (Hz per sample), each at its exact instant."""
    phase = np.cumsum(f0) / rate
    whole = np.flatnonzero(np.floor(phase[1:]) > np.floor(phase[:-1])) + 1
    exact = whole - (phase[whole] % 1) / (f0[whole] / rate)  # in samples
    taps = np.arange(-16, 17)
    at = np.floor(exact).astype(int)[:, None] + taps
    distance = at - exact[:, None]
    shape = 0.95 * np.sinc(0.95 * distance) * np.cos(np.pi * np.clip(distance / 34, -0.5, 0.5)) ** 2
    train = np.zeros(len(f0) + 64)
    np.add.at(train, at + 32, shape)
    return train[32 : 32 + len(f0)]


def _wander(frames: int, rate: int, random: np.random.Generator) -> Floats:
    """Noise of unit variance below some 40 Hz, ``[frames]``."""
    step = rate / 100
    points = random.standard_normal(int(frames / step) + 2)
    return np.asarray(np.interp(np.arange(frames) / step, np.arange(len(points)), points) / 0.82)


def _tract(vowel: str, factor: float, rate: int) -> Floats:
    """Second-order sections of the vocal tract: resonators of unit gain at 0 Hz up to half the rate."""
    centres = [f * factor for f in VOWELS[vowel]]
    widths = [b * factor for b in BANDWIDTHS]
    while centres[-1] + 1000 * factor < 0.46 * rate:
        centres.append(centres[-1] + 1000 * factor)
        widths.append(0.1 * centres[-1])
    sections = []
    for centre, width in zip(centres, widths, strict=True):
        if centre < 0.46 * rate:
            radius = np.exp(-np.pi * width / rate)
            a1, a2 = -2 * radius * np.cos(2 * np.pi * centre / rate), radius**2
            sections.append([1 + a1 + a2, 0, 0, 1, a1, a2])
    return np.array(sections)


def _smooth(gate: Floats, rate: int) -> Floats:
    """A gate of zeros and ones with each step made a raised-cosine ramp of 25 ms, centred on the step."""
    size = max(1, round(0.025 * rate))
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(size) + 0.5) / size)
    padded = np.concatenate([[0.0], gate, [0.0]])
    out = gate.copy()
    for step in np.flatnonzero(np.diff(padded)).tolist():
        start = step - size // 2
        first, last = max(0, start), min(len(gate), start + size)
        ideal = (np.arange(first, last) >= step).astype(np.float64)
        out[first:last] += (padded[step + 1] - padded[step]) * (ramp[first - start : last - start] - ideal)
    return out


def _kick(rate: int) -> Floats:
    time = np.arange(round(0.25 * rate)) / rate
    sweep = 48 * time + 90 * 0.03 * (1 - np.exp(-time / 0.03))
    return np.asarray(np.sin(2 * np.pi * sweep) * np.exp(-time / 0.07) * np.clip((0.25 - time) / 0.02, 0, 1))


def _burst(rate: int, seconds: float, decay: float, above: float, random: np.random.Generator) -> Floats:
    time = np.arange(round(seconds * rate)) / rate
    noise = sosfilt(
        butter(2, min(above, 0.3 * rate), "highpass", fs=rate, output="sos"), random.standard_normal(len(time))
    )
    return np.asarray(noise * np.exp(-time / decay))


def _burst_tone(rate: int, seconds: float, frequency: float) -> Floats:
    time = np.arange(round(seconds * rate)) / rate
    return np.asarray(np.sin(2 * np.pi * frequency * time) * np.exp(-time / 0.04))


def pluck(pitch: float, rate: int, seconds: float, random: np.random.Generator, brightness: float = 0.7) -> Floats:
    """A decaying string: harmonics of which the higher ones die sooner."""
    time = np.arange(round(seconds * rate)) / rate
    f0 = hertz(pitch)
    out = np.zeros(len(time))
    for number in range(1, min(16, int(0.45 * rate / f0)) + 1):
        tone = np.sin(2 * np.pi * number * f0 * time + random.uniform(0, 2 * np.pi))
        out += brightness**number * tone * np.exp(-time * (2.0 + 1.2 * number))
    return np.asarray(out * np.clip(time / 0.003, 0, 1) * np.clip((seconds - time) / 0.05, 0, 1))
