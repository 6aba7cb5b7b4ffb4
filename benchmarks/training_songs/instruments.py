"""Instruments of every kind, drawn from sines, noise and strings: what plays behind the voice in a training song.

A `Patch` is one random instrument; it plays notes of any pitch. Notes come from two single-cycle tables, a bright and a
dark one, between which the note fades as it rings. All sounds are mono ``[frames]`` at `RATE`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from demo.singer import RATE

Floats = NDArray[np.floating]
_TABLE = 4096


@dataclass(frozen=True)
class Patch:
    """How an instrument sounds. `roll`: dB per octave of its harmonics. `odd`: weight of the even ones, 1 = all.
    `bumps`: centre in Hz and gain in dB of fixed resonances. `attack`, `release`: seconds. `decay`: seconds to fall by
    60 dB while held, 0 for none. `mellow`: seconds after which half of the brightness is gone, 0 for none. `vibrato`:
    rate in Hz, depth in cents. `unison`: how many detuned copies, `detune` cents apart. `breath`: noise in the tone,
    linear. `bend`: cents at the start of the note. `string`: plucked string instead of tables."""

    roll: float
    odd: float = 1.0
    bumps: tuple[tuple[float, float], ...] = ()
    attack: float = 0.01
    release: float = 0.08
    decay: float = 0.0
    mellow: float = 0.0
    vibrato: tuple[float, float] = (5.0, 0.0)
    unison: int = 1
    detune: float = 8.0
    breath: float = 0.0
    bend: float = 0.0
    string: bool = False

    def play(self, pitch: float, seconds: float, random: np.random.Generator) -> Floats:
        """One note at MIDI `pitch`, held for `seconds`, with its release after it; peaks around 1."""
        hertz = 440 * 2 ** ((pitch - 69) / 12)
        count = round((seconds + 3 * self.release) * RATE)
        if self.string:
            return _plucked(hertz, count, self, random) * _gate(count, seconds, self)
        time = np.arange(count) / RATE
        sound = np.zeros(count)
        for number in range(self.unison):
            cents = self.detune * (number - (self.unison - 1) / 2) * random.uniform(0.7, 1.3)
            if self.vibrato[1]:
                swing = np.sin(2 * np.pi * (self.vibrato[0] * time + random.uniform()))
                cents = cents + self.vibrato[1] * swing * np.clip((time - 0.15) / 0.3, 0, 1)
            if self.bend:
                cents = cents + self.bend * np.exp(-time / 0.05)
            phase = np.cumsum(hertz * 2 ** (np.broadcast_to(cents, count) / 1200)) / RATE + random.uniform()
            index = (phase * _TABLE).astype(np.int64) & (_TABLE - 1)
            bright, dark = self._tables(hertz, random)
            if self.mellow:
                part = 0.5 ** (time / self.mellow)
                sound += dark[index] + part * (bright - dark)[index]
            else:
                sound += bright[index]
        if self.breath:
            noise = sosfilt(
                butter(1, [hertz, min(6 * hertz, 15000)], "bandpass", fs=RATE, output="sos"),
                random.standard_normal(count),
            )
            sound += self.breath * noise
        return sound / np.sqrt(self.unison) * _gate(count, seconds, self)

    def _tables(self, hertz: float, random: np.random.Generator) -> tuple[Floats, Floats]:
        number = np.arange(1, max(2, min(80, int(16000 / hertz))))
        level = self.roll * np.log2(number)
        for centre, gain in self.bumps:
            level = level + gain * np.exp(-((np.log2(number * hertz / centre) / 0.35) ** 2))
        strength = 10 ** (level / 20) * np.where(number % 2 == 0, self.odd, 1.0)
        spectrum = np.zeros(_TABLE // 2 + 1, complex)
        spectrum[number] = strength * np.exp(2j * np.pi * random.uniform(size=len(number)))
        bright = np.fft.irfft(spectrum)
        spectrum[number] *= np.exp(-0.45 * (number - 1))
        scale = 1 / max(1e-9, float(np.abs(bright).max()))
        return bright * scale, np.fft.irfft(spectrum) * scale


def _gate(count: int, seconds: float, patch: Patch) -> Floats:
    time = np.arange(count) / RATE
    gate = np.clip(time / patch.attack, 0, 1) * np.exp(-np.clip(time - seconds, 0, None) / (patch.release / 2.3))
    return gate * (10 ** (-3 * time / patch.decay) if patch.decay else 1.0)


def _plucked(hertz: float, count: int, patch: Patch, random: np.random.Generator) -> Floats:
    """A string after Karplus and Strong (Computer Music Journal 7, 1983): noise going round a loop that dulls it."""
    period = RATE / hertz
    length = max(2, int(period - 0.5))
    part = period - 0.5 - length
    loss = 10 ** (-3 / (max(0.3, patch.decay) * hertz))
    burst = np.zeros(count)
    noise = lfilter([1 - 0.6], [1, -0.6], random.uniform(-1, 1, length))
    burst[:length] = noise[:count] / (np.abs(noise).max() + 1e-9)
    feedback = np.zeros(length + 3)
    feedback[0] = 1.0
    # a two-point mean and a fractional delay in the loop
    feedback[length:] -= loss * np.convolve([0.5, 0.5], [1 - part, part])
    return np.asarray(lfilter([1.0], feedback, burst))


def chordal(random: np.random.Generator) -> Patch:
    """An instrument for chords: piano, electric piano, organ, strings, pad, guitar or synthesizer."""
    kind = random.choice(["piano", "piano", "rhodes", "organ", "strings", "pad", "guitar", "guitar", "synth"])
    u = random.uniform
    if kind == "piano":
        return Patch(
            -u(5, 9),
            u(0.7, 1),
            ((u(400, 900), u(0, 6)),),
            0.003,
            0.12,
            u(2.5, 7),
            u(0.2, 0.8),
            unison=2,
            detune=u(1, 4),
        )
    if kind == "rhodes":
        return Patch(-u(9, 15), u(0.2, 0.6), (), 0.004, 0.15, u(3, 8), u(0.15, 0.5), (u(4, 6), u(0, 6)))
    if kind == "organ":
        return Patch(-u(3, 7), u(0.3, 1), ((u(500, 2000), u(0, 8)),), 0.01, 0.05, vibrato=(u(5, 7), u(0, 18)))
    if kind == "strings":
        return Patch(
            -u(5, 8),
            1,
            ((u(500, 900), u(2, 8)), (u(2200, 3200), u(0, 6))),
            u(0.05, 0.3),
            u(0.15, 0.5),
            vibrato=(u(4.5, 6), u(5, 20)),
            unison=3,
            detune=u(6, 14),
            breath=u(0, 0.05),
        )
    if kind == "pad":
        return Patch(-u(6, 12), 1, ((u(400, 1800), u(0, 9)),), u(0.05, 0.5), u(0.2, 0.7), unison=3, detune=u(5, 16))
    if kind == "guitar":
        return Patch(-6, decay=u(1.2, 6), attack=0.002, release=u(0.05, 0.3), string=True)
    return Patch(-u(3, 8), u(0.05, 1), (), u(0.003, 0.03), 0.1, u(0.5, 4), u(0.08, 0.5), unison=2, detune=u(4, 18))


def melodic(random: np.random.Generator) -> Patch:
    """An instrument for a tune, some with the vibrato and glides of a voice: wind, bowed string, synthesizer, bell."""
    u = random.uniform
    kind = random.choice(["wind", "brass", "bowed", "synth", "bell", "guitar"])
    if kind == "wind":
        return Patch(-u(8, 16), u(0.1, 1), (), u(0.03, 0.1), 0.1, vibrato=(u(4, 6), u(0, 25)), breath=u(0.02, 0.15))
    if kind == "brass":
        return Patch(
            -u(3, 6),
            1,
            ((u(900, 1600), u(3, 9)),),
            u(0.02, 0.06),
            0.08,
            vibrato=(5, u(0, 20)),
            bend=-u(0, 80),
            unison=int(random.integers(1, 4)),
            detune=u(3, 9),
        )
    if kind == "bowed":
        return Patch(
            -u(4, 7),
            1,
            ((u(280, 500), 5), (u(900, 1500), u(0, 6)), (u(2500, 3500), u(0, 6))),
            u(0.04, 0.12),
            0.12,
            vibrato=(u(4.5, 6.5), u(10, 40)),
            bend=-u(0, 60),
            breath=u(0, 0.04),
        )
    if kind == "bell":
        return Patch(-u(10, 16), u(0, 0.5), (), 0.002, 0.3, u(0.8, 3), u(0.1, 0.4))
    if kind == "guitar":
        return Patch(-6, decay=u(2, 6), attack=0.002, release=0.1, string=True)
    return Patch(
        -u(3, 9),
        u(0.05, 1),
        (),
        u(0.004, 0.04),
        0.1,
        mellow=u(0.2, 2),
        vibrato=(u(4.5, 6), u(0, 30)),
        unison=int(random.integers(1, 4)),
        detune=u(3, 14),
        bend=u(-150, 50),
    )


def low(random: np.random.Generator) -> Patch:
    """A bass: plucked, bowed-like or synthetic."""
    u = random.uniform
    if random.uniform() < 0.35:
        return Patch(-6, decay=u(2, 5), attack=0.003, release=0.06, string=True)
    return Patch(
        -u(5, 14),
        u(0.3, 1),
        ((u(600, 1200), u(0, 8)),),
        u(0.003, 0.015),
        0.05,
        random.choice([0.0, u(1, 5)]),
        u(0.1, 0.8),
    )


@dataclass(frozen=True, eq=False)
class Kit:
    """One random drum kit: sounds by name, each in several slightly different takes."""

    takes: dict[str, list[Floats]]

    @staticmethod
    def of(random: np.random.Generator) -> Kit:
        u = random.uniform
        body, deep, snap = u(150, 240), u(42, 65), u(1200, 4000)
        snare_decay, kick_decay, hat_decay, ring = u(8, 30), u(7, 22), u(30, 90), u(0.2, 0.8)
        metal = u(3500, 9000)

        def kick() -> Floats:
            t = _time(0.45)
            phase = 2 * np.pi * (deep * t + u(1.5, 4) * (1 - np.exp(-t * 45)))
            return np.sin(phase) * np.exp(-kick_decay * t) + 0.3 * _noise(random, t, 800, 5000) * np.exp(-t * 300)

        def snare() -> Floats:
            t = _time(0.4)
            tone = np.sin(2 * np.pi * body * (t + 0.004 * (1 - np.exp(-60 * t)))) * np.exp(-25 * t)
            return ring * tone + _noise(random, t, snap * 0.4, min(snap * 3.5, 16000)) * np.exp(-snare_decay * t)

        def clap() -> Floats:
            t = _time(0.35)
            bursts = sum(np.exp(-200 * np.abs(t - at)) for at in (0.005, 0.015, 0.026)) + np.exp(-16 * t)
            return _noise(random, t, 700, 4500) * bursts

        def hat() -> Floats:
            t = _time(0.12)
            return _noise(random, t, metal, 17000) * np.exp(-hat_decay * t)

        def open_hat() -> Floats:
            t = _time(0.5)
            return _noise(random, t, metal, 17000) * np.exp(-6 * t)

        def crash() -> Floats:
            t = _time(2.2)
            partials = sum(np.sin(2 * np.pi * f * t + u(0, 6)) for f in np.geomspace(700, 9000, 14) * u(0.9, 1.1))
            return (_noise(random, t, 2000, 16000) + 0.05 * partials) * np.exp(-2.4 * t)

        def tom() -> Floats:
            t, f = _time(0.6), u(75, 170)
            return np.sin(2 * np.pi * (f * t + 1.2 * (1 - np.exp(-25 * t)))) * np.exp(-8 * t) + 0.1 * _noise(
                random, t, 500, 4000
            ) * np.exp(-60 * t)

        def shaker() -> Floats:
            t = _time(0.12)
            return _noise(random, t, 4500, 15000) * np.sin(np.pi * np.clip(t / 0.1, 0, 1)) ** 2

        makers = {
            "kick": kick,
            "snare": snare if u() < 0.7 else clap,
            "hat": hat,
            "open": open_hat,
            "crash": crash,
            "tom": tom,
            "shaker": shaker,
        }
        return Kit({name: [_full(make()) for _ in range(2)] for name, make in makers.items()})

    def hit(self, name: str, random: np.random.Generator) -> Floats:
        takes = self.takes[name]
        return takes[int(random.integers(len(takes)))]


def brighter(patch: Patch, decibels: float) -> Patch:
    """The same instrument with its harmonics falling `decibels` per octave less steeply."""
    return replace(patch, roll=patch.roll + decibels)


def _time(seconds: float) -> Floats:
    return np.arange(round(seconds * RATE)) / RATE


def _noise(random: np.random.Generator, time: Floats, low_: float, high: float) -> Floats:
    sos = butter(1, [low_, high], "bandpass", fs=RATE, output="sos")
    return np.asarray(sosfilt(sos, random.standard_normal(len(time))))


def _full(sound: Floats) -> Floats:
    return sound / (np.abs(sound).max() + 1e-9)
