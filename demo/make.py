"""Generates the demo files again: ``python -m demo.make`` (needs espeak-ng; the files are in the repository).

Writes next to itself: ``song.mp3``, ``stems/vocals.m4a`` and ``stems/instrumental.m4a`` (the true stems),
``stems/melody.txt`` (f0 of the lead in Hz every 5 ms), ``artwork.png``, and ``voice/*.flac``, recordings of another
voice to clone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyloudnorm
from numpy.typing import NDArray

from demo import files, instruments, voice
from demo.artwork import cover_picture
from demo.mixing import panned, reverberated, room
from demo.score import BEAT, DURATION, LINES
from demo.singer import HOP, LEAD, RATE, breath, sing
from demo.speech import Espeak
from understudy.audio.limiter import gain_curve
from understudy.audio.samples import Audio

Floats = NDArray[np.floating]

LOUDNESS = -15.0  # LUFS of the song
CEILING = -1.3  # dBTP of the song before encoding; after it the true peak is below -1
VOCAL = -5.0  # dB, RMS of the vocals against the song's, both where there is singing


def vocals(espeak: Espeak, seed: int) -> tuple[Floats, Floats]:
    """The vocals: lead in the middle with breaths, doubles and second part at the sides, reverb; and the f0 of the
    lead."""
    random = np.random.default_rng(seed)
    lead, low = np.zeros(round(DURATION * RATE)), np.zeros((2, round(DURATION * RATE)))
    f0 = np.zeros(round(DURATION / HOP) + 1)
    for number, line in enumerate(LINES):
        take = sing(espeak, line, LEAD, DURATION, seed + 10 * number)
        lead += take.samples
        f0 = np.maximum(f0, take.f0)
        drawn = breath(DURATION, line.notes[0].start * BEAT - 0.1, LEAD, random)
        lead += 0.035 * np.abs(take.samples).max() * drawn
        if number >= 2:
            for part, pan in ((1, -0.7), (2, 0.7)):
                double = sing(espeak, line, LEAD, DURATION, seed + 10 * number + part)
                low += 0.11 * panned(double.samples, pan)
        if any(note.harmony is not None for note in line.notes):
            for part, pan in ((3, -0.45), (4, 0.45)):
                second = sing(espeak, line, LEAD, DURATION, seed + 10 * number + part, harmony=True)
                low += 0.13 * panned(second.samples, pan)
    return reverberated(panned(lead) + low, room(random, 1.4, 0.03), -17.0), f0


def instrumental(seed: int) -> Floats:
    random = np.random.default_rng(seed)
    hall = room(random, 1.2)
    parts = (
        reverberated(instruments.drums(random), hall, -22.0),
        instruments.bass(),
        reverberated(instruments.pad(random), hall, -12.0),
        reverberated(instruments.guitar(random), hall, -15.0),
        reverberated(instruments.keys(), hall, -12.0),
    )
    return np.asarray(sum(parts))


def mixed(sung: Floats, played: Floats, where: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Both stems at their levels in the finished song, which is their sum. `where` ``[frames]``: True where there is
    singing."""
    power = [float(np.mean(stem[:, where] ** 2)) for stem in (sung, played)]
    share = 10 ** (VOCAL / 10)  # of the song's power
    sung = sung * np.sqrt(share / (1 - share) * power[1] / power[0])
    meter = pyloudnorm.Meter(RATE)
    gain: Floats = np.ones(sung.shape[1])
    for _ in range(4):  # limiting reduces the loudness: iterate until the limited song has the target loudness
        level = meter.integrated_loudness(((sung + played) * gain).T)
        lift = 10 ** ((LOUDNESS - level) / 20)
        sung, played = sung * lift, played * lift
        gain = gain_curve(Audio.of(sung + played, RATE), CEILING)
    return sung * gain, played * gain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    espeak = Espeak()
    sung, f0 = vocals(espeak, options.seed)
    where = np.interp(np.arange(sung.shape[1]) / RATE, np.arange(len(f0)) * HOP, f0 > 0) > 0.5
    sung, played = mixed(sung, instrumental(options.seed + 1), where)
    files.write_song(options.folder, sung, played, f0, cover_picture(options.seed))
    voice.write(options.folder / "voice", espeak, options.seed)


if __name__ == "__main__":
    main()
