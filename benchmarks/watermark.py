"""What the watermark survives, what it costs, and that nothing is found where there is none.

    python -m benchmarks.watermark                     # the demo song
    python -m benchmarks.watermark SONGS --voice-over speech.wav --clean 500

SONGS is a folder with a folder for each song, as `benchmarks.leftover` describes it. Of each song, 20 s that begin
anywhere are taken from the marked mix, changed, and searched. "read": share of the songs whose payload came back.
Columns of the first table: SNR of what is added; NMR, the largest noise-to-mask ratio of a cell of 50 ms and one ERB
(masker: the song's cells, spread by 10 dB per ERB upwards and 25 dB downwards, less 6 dB); CPU seconds per second.
`--clean N`: searches N unmarked clips of 20 s, cut from the songs at random, at random speeds, levels and equalisers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soxr
from scipy.signal import butter, sosfilt

from benchmarks.leftover import CELLS, Floats, cells, part, songs
from understudy.audio.encode import OutputFormat, encode
from understudy.audio.files import decode
from understudy.audio.key_shift import shift_key
from understudy.audio.limiter import limiting
from understudy.audio.samples import Audio, Samples, concatenate
from understudy.audio.tags import Tags
from understudy.audio.watermark.detection import detect
from understudy.audio.watermark.embedding import watermarked
from understudy.audio.watermark.layout import PUBLIC_KEY
from understudy.audio.watermark.payload import Payload
from understudy.context import Context

DEMO = Path(__file__).parents[1] / "demo"
PAYLOAD = Payload("cover", 0, 0x5EED5)
CLIP = 20.0  # seconds
Change = Callable[[Audio], Audio]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("songs", type=Path, nargs="?", default=DEMO / "stems")
    parser.add_argument("--only", nargs="+", help="names of songs")
    parser.add_argument("--voice-over", type=Path, default=DEMO / "voice" / "speaking.flac")
    parser.add_argument("--clean", type=int, default=0)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        context = Context(Path(folder))
        changes = changes_of(context, part(arguments.voice_over))
        read: dict[str, list[bool]] = {name: [] for name in changes}
        mixes = []
        print(f"{'song':32} {'s':>4} {'SNR':>6} {'NMR':>6} {'CPU s/s':>8}  not read after")
        for name, vocals, band, rate in songs(arguments.songs, arguments.only):
            song = Audio(np.asarray(vocals + band, np.float32), rate).read(0, 60 * rate)
            mixes.append(song)
            began = time.process_time()
            marked = concatenate(list(watermarked(song, PAYLOAD, PUBLIC_KEY, context)))
            cost = (time.process_time() - began) / song.duration
            added = marked.samples - song.samples
            start = int(random.integers(0, max(1, song.frames - round(CLIP * rate))))
            clip = marked.read(start, min(song.frames, start + round(CLIP * rate)))
            for change, function in changes.items():
                mark = detect(function(clip), context)
                read[change].append(mark is not None and mark.payload == PAYLOAD)
            lost = ", ".join(change for change, results in read.items() if not results[-1])
            snr = 10 * np.log10(np.sum(song.samples**2) / np.sum(added**2))
            ratio = noise_to_mask(song.samples, added, rate)
            print(f"{name[:32]:32} {song.duration:4.0f} {snr:6.1f} {ratio:6.1f} {cost:8.3f}  {lost or '-'}", flush=True)
        print(f"\n{'change':28} read")
        for change, results in read.items():
            print(f"{change:28} {sum(results)} of {len(results)}")
        if arguments.clean:
            false = sum(detect(clean_clip(mixes, random), context) is not None for _ in range(arguments.clean))
            print(f"\nfound in {arguments.clean} clips without a mark: {false}")


def changes_of(context: Context, speech: Audio) -> Mapping[str, Change]:
    """The changes, each a function of a clip."""

    def coded(name: str, kilobits: int) -> Change:
        def change(clip: Audio) -> Audio:
            form = OutputFormat(name=name, kilobits=kilobits)
            file = encode(context, clip, context.folder / f"clip{form.extension}", form, Tags())
            return decode(context, file, context.folder / "decoded.npy").read()

        return change

    def faster(factor: float) -> Change:
        return lambda clip: Audio.of(soxr.resample(clip.samples.T, clip.rate * factor, clip.rate).T, clip.rate)

    def shifted(semitones: float) -> Change:
        return lambda clip: concatenate(list(shift_key(clip, semitones, context)))

    def equalised(clip: Audio) -> Audio:
        low, high = (butter(1, edge, kind, fs=clip.rate, output="sos") for edge, kind in ((300, "low"), (3000, "high")))
        boosted = clip.samples + 2.16 * sosfilt(low, clip.samples) + 2.16 * sosfilt(high, clip.samples)
        return Audio.of(boosted, clip.rate)  # 10 dB at both ends

    def limited(clip: Audio) -> Audio:
        louder = Audio(clip.samples * np.float32(10 ** (8 / 20) / np.abs(clip.samples).max()), clip.rate)
        return Audio(louder.samples * limiting(louder, -1.0).gain, clip.rate)

    def talked_over(clip: Audio) -> Audio:
        voice = soxr.resample(speech.mono().samples[0], speech.rate, clip.rate)
        voice = np.resize(voice, clip.frames)
        gain = 10 ** (12 / 20) * np.sqrt(np.mean(clip.samples**2) / np.mean(voice**2))
        return Audio.of(clip.samples + gain * voice, clip.rate)

    mp3, aac, opus = coded("mp3", 64), coded("m4a", 96), coded("opus", 64)
    return {
        "nothing": lambda clip: clip,
        "MP3 at 64 kbit/s": mp3,
        "AAC at 96 kbit/s": aac,
        "Opus at 64 kbit/s": opus,
        "MP3, then Opus": lambda clip: opus(mp3(clip)),
        "AAC, then MP3": lambda clip: mp3(aac(clip)),
        "3 % faster": faster(1.03),
        "3 % slower": faster(0.97),
        "a semitone up": shifted(1),
        "a semitone down": shifted(-1),
        "22.05 kHz": lambda clip: Audio.of(soxr.resample(clip.samples.T, clip.rate, 22050).T, 22050),
        "mono": Audio.mono,
        "equaliser, 10 dB": equalised,
        "20 dB softer": lambda clip: Audio(clip.samples * np.float32(0.1), clip.rate),
        "limiter, 9 dB": limited,
        "voice-over, 12 dB louder": talked_over,
    }


def noise_to_mask(song: Samples, added: Samples, rate: int) -> float:
    """dB of the worst cell, of those less than 60 dB below the loudest."""
    masker, noise = (cells(samples, rate) for samples in (song, added))
    spread = np.subtract.outer(np.arange(CELLS), np.arange(CELLS))
    slopes = 10 ** (-np.where(spread >= 0, 10 * spread, -25 * spread) / 10)
    threshold: Floats = masker @ slopes.T * 10 ** (-6 / 10)
    heard = masker > masker.max() * 1e-6
    return float(10 * np.log10(np.max((noise / np.maximum(threshold, 1e-20))[heard])))


def clean_clip(mixes: list[Audio], random: np.random.Generator) -> Audio:
    """20 s of one of the songs that was never marked, changed at random."""
    song = mixes[int(random.integers(len(mixes)))]
    start = int(random.integers(0, max(1, song.frames - round(CLIP * song.rate))))
    clip = song.read(start, min(song.frames, start + round(CLIP * song.rate)))
    factor = float(random.uniform(0.94, 1.06))
    samples = soxr.resample(clip.samples.T, clip.rate * factor, clip.rate).T
    edge = float(random.uniform(200, 5000))
    samples = samples + random.uniform(-0.9, 3) * sosfilt(butter(1, edge, "low", fs=clip.rate, output="sos"), samples)
    return Audio.of(samples * 10 ** random.uniform(-2, 0), clip.rate)


if __name__ == "__main__":
    main()
