"""The instrumental: drums, bass, pad, guitar and keys, synthesised from sines, noise and plucked strings.

All tracks are stereo, ``[2, frames]`` at `RATE`. Kick, snare and bass are in the middle, like the lead vocal; guitar
left, keys right, hi-hat slightly right, shaker slightly left, the pad wide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from demo.score import BAR, BARS, BEAT, CHORDS, DURATION, PROGRESSION, SECTIONS
from demo.singer import RATE

Floats = NDArray[np.floating]
FRAMES = round(DURATION * RATE)

# melody of the bell in intro and break: (beat, MIDI pitch)
HOOK = ((0.0, 73), (0.75, 76), (1.5, 78), (2.5, 76), (3.25, 73), (4.0, 74), (4.75, 73), (5.5, 69), (6.5, 71))


def hertz(pitch: float) -> float:
    return float(440.0 * 2 ** ((pitch - 69) / 12))


class StereoTrack:
    """A stereo track to which sounds are added at a time in beats, with a gain and a pan from -1 (left) to 1
    (right)."""

    def __init__(self) -> None:
        self.track = np.zeros((2, FRAMES + 8 * RATE))

    def add(self, sound: Floats, beat: float, gain: float, pan: float = 0.0) -> None:
        start = max(0, round(beat * BEAT * RATE))
        if sound.ndim == 1:
            angle = (pan + 1) * np.pi / 4
            sound = np.outer((np.cos(angle), np.sin(angle)), sound)
        self.track[:, start : start + sound.shape[1]] += gain * sound

    @property
    def sound(self) -> Floats:
        return self.track[:, :FRAMES]


def drums(random: np.random.Generator) -> Floats:
    track = StereoTrack()
    kick, crash = _kick(), _cymbal(random, 2.6, 0.7)
    for name, first, last in SECTIONS:
        if name == "chorus":
            track.add(crash, 4 * first, 0.22, 0.25)
        for bar in range(first, last):
            at = 4.0 * bar
            if name in ("verse", "chorus") or (name == "intro" and bar == 1):
                for beat, gain in ((0, 1.0), (2, 0.9), (2.5, 0.55), *(((3.5, 0.5),) if name == "chorus" else ())):
                    track.add(kick, at + beat, 0.85 * gain)
                for beat in (1, 3):
                    track.add(_snare(random), at + beat + random.normal(0, 0.004), 0.5 if name == "chorus" else 0.36)
                for eighth in range(8):
                    gain = (0.16, 0.1)[eighth % 2] * random.uniform(0.8, 1.1)
                    track.add(_hat(random, 0.045), at + eighth / 2 + random.normal(0, 0.004), gain, 0.3)
            if name == "chorus":
                for sixteenth in range(16):
                    gain = (0.05, 0.025, 0.09, 0.03)[sixteenth % 4]
                    track.add(_hat(random, 0.03, 4000.0), at + sixteenth / 4 + random.normal(0, 0.006), gain, -0.4)
            if name == "break":
                track.add(kick, at, 0.6)
                for eighth in range(1, 8, 2):
                    track.add(_hat(random, 0.05), at + eighth / 2, 0.1, 0.3)
            if bar + 1 == last and name in ("verse", "break"):  # a fill into the chorus
                for step, gain in enumerate((0.2, 0.28, 0.38, 0.48)):
                    track.add(_snare(random), at + 3 + step / 4, gain)
    track.add(kick, 4 * (BARS - 1), 0.9)
    track.add(crash, 4 * (BARS - 1), 0.25, 0.25)
    return track.sound


def bass() -> Floats:
    track = StereoTrack()
    for bar, (name, section) in enumerate(zip(PROGRESSION, sections(), strict=True)):
        root, at = CHORDS[name][0] - 12 * (CHORDS[name][0] > 43), 4.0 * bar
        if section in ("intro", "break"):
            track.add(_bass(root, 3.8), at, 0.4)
        elif section == "end":
            track.add(_bass(root, 4.0), at, 0.44)
        else:
            steps = (
                ((0, 1.4), (1.5, 0.9), (2.5, 0.7), (3.5, 0.4))
                if section == "verse"
                else tuple((e / 2, 0.42) for e in range(8))
            )
            for index, (beat, beats) in enumerate(steps):
                pitch = root + (7 if index == len(steps) - 2 and section == "verse" else 0)
                track.add(_bass(pitch, beats), at + beat, 0.44 if section == "verse" else 0.4)
    return track.sound


def pad(random: np.random.Generator) -> Floats:
    track = StereoTrack()
    for bar, (name, section) in enumerate(zip(PROGRESSION, sections(), strict=True)):
        gain = {"intro": 0.06, "verse": 0.035, "chorus": 0.055, "break": 0.06, "end": 0.05}[section]
        for pitch in CHORDS[name][1]:
            track.add(_pad(pitch, BAR * (1.0 if section != "end" else 1.4), random), 4.0 * bar, gain)
    return track.sound


def guitar(random: np.random.Generator) -> Floats:
    track = StereoTrack()
    strings = {pitch: _string(pitch, 2.2, random) for _, chord in CHORDS.values() for pitch in chord}
    picking = (0, 2, 1, 3, 2, 1, 3, 2)
    for bar, (name, section) in enumerate(zip(PROGRESSION, sections(), strict=True)):
        chord, at = CHORDS[name][1], 4.0 * bar
        if section in ("intro", "verse", "break"):
            for eighth, string in enumerate(picking):
                gain = 0.3 if eighth % 4 == 0 else 0.22
                track.add(strings[chord[string]], at + eighth / 2 + random.normal(0, 0.005), gain, -0.55)
        else:
            strokes = (
                ((0, 1.0), (1, 0.7), (1.5, 0.8), (2.5, 0.9), (3, 0.7), (3.5, 0.6))
                if section == "chorus"
                else ((0, 1.0),)
            )
            for beat, gain in strokes:
                for order, pitch in enumerate(chord):
                    track.add(strings[pitch], at + beat + 0.02 * order, 0.2 * gain, -0.55)
    return track.sound


def keys() -> Floats:
    track = StereoTrack()
    for bar, (name, section) in enumerate(zip(PROGRESSION, sections(), strict=True)):
        chord, at = CHORDS[name][1], 4.0 * bar
        beats = {"verse": (0.0, 2.5), "chorus": (0.0, 1.5, 3.0), "end": (0.0,)}.get(section, ())
        for beat in beats:
            for pitch in chord[1:]:
                track.add(_keys(pitch + 12, 1.6), at + beat, 0.075, 0.55)
    for name, first, _ in SECTIONS:
        if name in ("intro", "break"):
            for beat, pitch in HOOK:
                track.add(_bell(pitch), 4.0 * first + beat, 0.13, 0.35)
    return track.sound


def sections() -> list[str]:
    return [next(name for name, first, last in SECTIONS if first <= bar < last) for bar in range(BARS)]


def _time(seconds: float) -> Floats:
    return np.arange(round(seconds * RATE)) / RATE


def _ends(time: Floats, attack: float, release: float) -> Floats:
    return np.asarray(np.clip(time / attack, 0, 1) * np.clip((time[-1] - time) / release, 0, 1))


def _kick() -> Floats:
    time = _time(0.34)
    phase = 47 * time + 4.2 * (1 - np.exp(-time / 0.028))
    click = 0.25 * np.exp(-time / 0.003) * np.sin(2 * np.pi * 1900 * time)
    return np.asarray((np.sin(2 * np.pi * phase) * np.exp(-time / 0.11) + click) * _ends(time, 0.001, 0.05))


def _snare(random: np.random.Generator) -> Floats:
    time = _time(0.3)
    rattle = sosfilt(butter(2, [900, 11000], "bandpass", fs=RATE, output="sos"), random.standard_normal(len(time)))
    body = np.sin(2 * np.pi * (178 * time + 0.9 * (1 - np.exp(-time / 0.02)))) * np.exp(-time / 0.06)
    return np.asarray((0.5 * rattle * np.exp(-time / 0.075) + 0.8 * body) * _ends(time, 0.0008, 0.05))


def _hat(random: np.random.Generator, decay: float, above: float = 7000.0) -> Floats:
    time = _time(max(0.1, 5 * decay))
    noise = sosfilt(butter(3, above, "highpass", fs=RATE, output="sos"), random.standard_normal(len(time)))
    return np.asarray(noise * np.exp(-time / decay) * _ends(time, 0.001, 0.02))


def _cymbal(random: np.random.Generator, seconds: float, decay: float) -> Floats:
    time = _time(seconds)
    sides = []
    for _ in range(2):
        noise = sosfilt(butter(2, [3500, 15000], "bandpass", fs=RATE, output="sos"), random.standard_normal(len(time)))
        sides.append(noise * np.exp(-time / decay) * _ends(time, 0.002, 0.3))
    return np.array(sides)


def _saw(frequency: float, time: Floats, top: float, phase: float = 0.0) -> Floats:
    """A band-limited sawtooth whose harmonics fade above `top` Hz."""
    out = np.zeros(len(time))
    for number in range(1, max(2, int(4 * top / frequency))):
        weight = 1 / number / np.sqrt(1 + (number * frequency / top) ** 4)
        out += weight * np.sin(2 * np.pi * number * (frequency * time + phase))
    return out


def _bass(pitch: float, beats: float) -> Floats:
    time = _time(beats * BEAT)
    tone = 0.7 * _saw(hertz(pitch), time, 380) + 0.5 * np.sin(2 * np.pi * hertz(pitch) * time)
    return np.asarray(tone * (0.55 + 0.45 * np.exp(-time / 0.25)) * _ends(time, 0.006, 0.04))


def _pad(pitch: float, seconds: float, random: np.random.Generator) -> Floats:
    time = _time(seconds + 0.5)
    envelope = _ends(time, 0.35, 0.55)
    sides = []
    for _ in range(2):
        voices = [_saw(hertz(pitch) * 2 ** (c / 1200), time, 1100, random.random()) for c in random.uniform(-9, 9, 2)]
        sides.append(sum(voices) * envelope)
    return np.array(sides)


def _string(pitch: float, seconds: float, random: np.random.Generator) -> Floats:
    """A plucked string (K. Karplus and A. Strong, Computer Music Journal 7, 1983), tuned by an all-pass."""
    period = RATE / hertz(pitch) - 0.5
    whole = int(period - 0.1)
    part = period - whole
    allpass = (1 - part) / (1 + part)
    burst = np.zeros(round(seconds * RATE))
    burst[:whole] = lfilter([0.45], [1, -0.55], random.uniform(-1, 1, whole))
    burst[:whole] -= burst[:whole].mean()
    loss = 0.5 * 10 ** (-3 / (hertz(pitch) * 3.2))
    # y[n] = x[n] + all-pass of the mean of two samples one period ago; as one recursive filter
    feedback = np.zeros(whole + 3)
    feedback[whole : whole + 3] = loss * np.array([allpass, 1 + allpass, 1])
    denominator = np.zeros(whole + 3)
    denominator[0], denominator[1] = 1, allpass
    sound = lfilter([1, allpass], denominator - feedback, burst)
    time = _time(seconds)
    shaped = sosfilt(butter(1, [90, 7000], "bandpass", fs=RATE, output="sos"), sound)
    return np.asarray(shaped * _ends(time, 0.001, 0.3) / np.abs(shaped).max())


def _keys(pitch: float, seconds: float) -> Floats:
    """An electric piano by frequency modulation: a sine whose phase is modulated by a sine that decays faster."""
    time = _time(seconds)
    frequency = hertz(pitch)
    bend = 1.1 * np.exp(-time / 0.35) * np.sin(2 * np.pi * frequency * time)
    tine = 0.12 * np.exp(-time / 0.08) * np.sin(2 * np.pi * 7 * frequency * time)
    return np.asarray(
        (np.sin(2 * np.pi * frequency * time + bend) + tine) * np.exp(-time / 0.7) * _ends(time, 0.002, 0.2)
    )


def _bell(pitch: float) -> Floats:
    time = _time(1.6)
    partials = ((1.0, 1.0, 0.6), (2.0, 0.35, 0.4), (3.01, 0.2, 0.25), (5.4, 0.1, 0.1))
    tone = sum(
        gain * np.sin(2 * np.pi * hertz(pitch) * ratio * time) * np.exp(-time / decay)
        for ratio, gain, decay in partials
    )
    return np.asarray(tone * _ends(time, 0.002, 0.2))
