"""What a band plays behind the voice in a training song: drums, bass, chords, arpeggios and tunes over four bars that
repeat."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, oaconvolve, sosfilt

from benchmarks.training_songs.instruments import Kit, Patch, chordal, low, melodic
from demo.mixing import panned, room
from demo.singer import RATE, place

Floats = NDArray[np.floating]

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


def scale_of(random: np.random.Generator) -> Floats:
    """All MIDI numbers of a random major or minor key, from 24 to 96."""
    key, steps = int(random.integers(12)), MAJOR if random.uniform() < 0.5 else MINOR
    return np.array([pitch for pitch in range(24, 97) if (pitch - key) % 12 in steps])


def band(scale: Floats, beat: float, seconds: float, random: np.random.Generator) -> dict[str, Floats]:
    """Stems ``[2, frames]``: ``drums``, ``bass`` and ``other``, any of which may be silent."""
    roots = random.choice([0, 3, 4, 5, 1, 2], 4) if random.uniform() < 0.85 else np.zeros(4, int)
    stems = {name: np.zeros((2, round(seconds * RATE))) for name in ("drums", "bass", "other")}
    u = random.uniform
    if u() < 0.85:
        stems["drums"] += drums(beat, seconds, random)
    if u() < 0.88:
        stems["bass"] += bass(scale, roots, beat, seconds, random)
    for number in range(int(random.choice([1, 2, 2, 3, 3, 4]))):
        part = chords if number == 0 or u() < 0.45 else arpeggio if u() < 0.5 else tune
        stems["other"] += part(scale, roots, beat, seconds, random) * u(0.4, 1.0)
    return stems


def drums(beat: float, seconds: float, random: np.random.Generator) -> Floats:
    """A pattern of one or two bars, struck a little unevenly, with a crash and a fill now and then; in a room."""
    kit, u = Kit.of(random), random.uniform
    tracks = {name: np.zeros(round(seconds * RATE)) for name in kit.takes}
    step = beat / 4
    loop = 16 * int(random.choice([1, 2]))
    kicks = (random.uniform(size=loop) < np.where(np.arange(loop) % 4 == 0, 0.55, 0.12)) | (np.arange(loop) % 16 == 0)
    snares = np.isin(np.arange(loop) % 16, (4, 12)) | (random.uniform(size=loop) < 0.05)
    every = int(random.choice([1, 2, 2, 4]))
    hats = np.arange(loop) % every == 0
    busy = random.choice(["hat", "hat", "shaker", "crash"], p=[0.4, 0.3, 0.2, 0.1])
    for number in range(int(seconds / step)):
        at = round((number * step + max(0, random.normal(0, 0.003))) * RATE)
        index = number % loop
        if kicks[index]:
            place(tracks["kick"], kit.hit("kick", random) * u(0.75, 1), at)
        if snares[index]:
            place(tracks["snare"], kit.hit("snare", random) * u(0.7, 1), at)
        if hats[index]:
            accent = 0.9 if number % 4 == 0 else 0.55
            place(tracks[busy], kit.hit(busy, random) * accent * u(0.7, 1.1), at)
        if number % 64 == 0 and u() < 0.6:
            place(tracks["crash"], kit.hit("crash", random), at)
        if number % 64 >= 60 and u() < 0.5:
            place(tracks["tom"], kit.hit("tom", random) * u(0.5, 1), at)
        if number % 8 == 6 and u() < 0.1:
            place(tracks["open"], kit.hit("open", random), at)
    levels = {
        "kick": 1.0,
        "snare": u(0.4, 0.9),
        "hat": u(0.08, 0.3),
        "open": 0.2,
        "crash": u(0.1, 0.35),
        "tom": 0.6,
        "shaker": u(0.05, 0.2),
    }
    pans = {
        "hat": u(-0.6, 0.6),
        "open": u(-0.5, 0.5),
        "crash": u(-0.7, 0.7),
        "tom": u(-0.5, 0.5),
        "shaker": u(-0.7, 0.7),
    }
    stem = sum(levels[name] * panned(track, pans.get(name, 0.0)) for name, track in tracks.items())
    return _in_a_room(np.asarray(stem), random, u(0.15, 1.0), u(-26, -8)) if u() < 0.9 else np.asarray(stem)


def bass(scale: Floats, roots: NDArray[np.integer], beat: float, seconds: float, random: np.random.Generator) -> Floats:
    """Roots, with other notes of the chord now and then, in a rhythm of one bar."""
    patch = low(random)
    rhythm = _rhythm(random, int(random.choice([1, 2, 4])))

    def notes(bar: int) -> list[tuple[float, float, float]]:
        root = _chord(scale, int(roots[bar % 4]), 28)[0]
        return [(start, length, root + (random.choice([0, 0, 0, 7, 12]) if start else 0)) for start, length in rhythm]

    sound = _played(patch, notes, beat, seconds, random)
    if random.uniform() < 0.3:
        sound = np.tanh(random.uniform(1, 5) * sound)
    return panned(sound)


def chords(
    scale: Floats, roots: NDArray[np.integer], beat: float, seconds: float, random: np.random.Generator
) -> Floats:
    """Three or four notes at once, held or in a rhythm; perhaps distorted, perhaps wide."""
    patch, u = chordal(random), random.uniform
    rhythm = _rhythm(random, 1) if patch.decay and u() < 0.7 else [(0.0, 4.0)]
    floor = int(random.choice([43, 48, 52, 55, 60]))
    power = patch.string and u() < 0.35
    strum = u(0, 0.02) if patch.string else 0.0

    def notes(bar: int) -> list[tuple[float, float, float]]:
        chord = _chord(scale, int(roots[bar % 4]), floor)
        chord = [chord[0] - 12, chord[0] - 5, chord[0]] if power else chord
        return [
            (start + strum * order / beat, length, pitch)
            for start, length in rhythm
            for order, pitch in enumerate(chord)
        ]

    sound = _played(patch, notes, beat, seconds, random)
    if power:
        sound = np.tanh(u(3, 20) * sound)
        sound = sosfilt(butter(1, [90, u(3000, 6000)], "bandpass", fs=RATE, output="sos"), sound)
    return _placed(sound, random)


def arpeggio(
    scale: Floats, roots: NDArray[np.integer], beat: float, seconds: float, random: np.random.Generator
) -> Floats:
    """The chord's notes one after the other in eighths or sixteenths."""
    patch = chordal(random) if random.uniform() < 0.6 else melodic(random)
    step, floor = float(random.choice([0.25, 0.5, 0.5])), int(random.choice([48, 55, 60, 67]))
    order = random.integers(0, 4, round(4 / step))

    def notes(bar: int) -> list[tuple[float, float, float]]:
        chord = _chord(scale, int(roots[bar % 4]), floor)
        return [(number * step, step, chord[int(index)]) for number, index in enumerate(order)]

    return _placed(_played(patch, notes, beat, seconds, random), random)


def tune(scale: Floats, roots: NDArray[np.integer], beat: float, seconds: float, random: np.random.Generator) -> Floats:
    """A melody of two bars as an instrument plays it, in and out."""
    patch, floor = melodic(random), int(random.choice([55, 60, 67, 72]))
    inside = scale[(scale >= floor) & (scale <= floor + 17)]
    figures = []
    for _ in range(2):
        at, index, figure = float(random.choice([0, 0, 0.5, 1])), int(random.integers(len(inside))), []
        while at < 4:
            length = float(random.choice([0.25, 0.5, 0.5, 1, 1, 2]))
            if random.uniform() < 0.85:
                figure.append((at, min(length, 4 - at), float(inside[index])))
            index = int(np.clip(index + random.integers(-2, 3), 0, len(inside) - 1))
            at += length
        figures.append(figure)
    active = random.uniform(size=64) < 0.7

    def notes(bar: int) -> list[tuple[float, float, float]]:
        return figures[bar % 2] if active[bar // 2] else []

    return _placed(_played(patch, notes, beat, seconds, random), random)


def _rhythm(random: np.random.Generator, finest: int) -> list[tuple[float, float]]:
    """Starts and lengths in beats that fill a bar; `finest`: pieces per beat at most."""
    cuts = np.arange(1, 4 * finest) / finest
    cuts = np.concatenate(([0.0], cuts[random.uniform(size=len(cuts)) < 0.55], [4.0]))
    full = random.uniform(0.5, 1.0)
    return [(float(start), float(full * (stop - start))) for start, stop in pairwise(cuts)]


def _chord(scale: Floats, degree: int, floor: int) -> list[float]:
    """Root, third, fifth and octave on the `degree` of the scale, from about MIDI `floor` up."""
    first = int(np.searchsorted(scale, floor))
    first += (degree - first) % 7
    return [float(scale[min(len(scale) - 1, first + step)]) for step in (0, 2, 4, 7)]


def _played(
    patch: Patch,
    notes: Callable[[int], list[tuple[float, float, float]]],
    beat: float,
    seconds: float,
    random: np.random.Generator,
) -> Floats:
    track = np.zeros(round(seconds * RATE))
    memory: dict[tuple[float, float], Floats] = {}
    for bar in range(int(seconds / (4 * beat)) + 1):
        for start, length, pitch in notes(bar):
            key = (pitch, round(length, 3))
            if key not in memory:
                memory[key] = patch.play(pitch, length * beat, random)
            late = max(0.0, random.normal(0, 0.004))
            place(track, memory[key] * random.uniform(0.7, 1), round(((4 * bar + start) * beat + late) * RATE))
    return track / (np.abs(track).max() + 1e-9)


def _placed(sound: Floats, random: np.random.Generator) -> Floats:
    """In the stereo image: at a place, or doubled to both sides; its own slope; perhaps in a room."""
    u = random.uniform
    if u() < 0.5:
        sound = sosfilt(butter(1, u(100, 350), "highpass", fs=RATE, output="sos"), sound)
    if u() < 0.4:
        sound = sosfilt(butter(1, u(1500, 8000), fs=RATE, output="sos"), sound)
    if u() < 0.4:
        late = round(u(0.008, 0.03) * RATE)
        stem = np.stack([sound, np.pad(sound, (late, 0))[: len(sound)]])
    else:
        stem = panned(sound, float(np.clip(random.normal(0, 0.4), -1, 1)))
    if u() < 0.3:  # tremolo or panning back and forth
        time = np.arange(stem.shape[1]) / RATE
        swing = u(0.1, 0.4) * np.sin(2 * np.pi * u(0.3, 6) * time)
        stem = stem * np.stack([1 + swing, 1 - swing if u() < 0.5 else 1 + swing])
    return _in_a_room(stem, random, u(0.4, 3.0), u(-24, -6)) if u() < 0.7 else stem


def _in_a_room(stem: Floats, random: np.random.Generator, seconds: float, wet: float) -> Floats:
    middle = stem.mean(axis=0)
    echo = np.array(
        [oaconvolve(middle, side)[: stem.shape[1]] for side in room(random, seconds, random.uniform(0, 0.03))]
    )
    return np.asarray(stem + 10 ** (wet / 20) * echo)
