"""Cover many short songs that are NumPy arrays, several at a time, and collect the figures in a table.

    python examples/batch_of_arrays.py covers.npz song1.wav song2.wav ...

No sound files are written: the covers go into one .npz.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soundfile

import understudy as us

target, *paths = sys.argv[1:]

session = us.Session()  # models stay loaded, and all threads share them
settings = us.load_settings("embedded", {"song.duration": 30, "remix.vocal_gain": 1.5})


def load(path: str) -> us.Audio:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return us.Audio(np.ascontiguousarray(samples.T), rate)  # [channels, frames]


def cover(song: us.Audio) -> us.CoverResult:
    return session.cover(song, voice="nova", settings=settings)


with ThreadPoolExecutor(2) as pool:
    covers = list(pool.map(cover, map(load, paths)))

np.savez(target, *[np.asarray(cover.audio) for cover in covers])
print("song\tLUFS\tsemitones\tverdict")
for path, done in zip(paths, covers, strict=True):
    print(f"{path}\t{done.loudness.cover:.1f}\t{done.transpose:+d}\t{done.verdict.overall}")
