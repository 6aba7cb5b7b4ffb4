"""What the watermark survives, what it costs, and that nothing is found where there is none.

    python -m benchmarks.watermark                     # the demo song
    python -m benchmarks.watermark SONGS --voice-over speech.wav --clean 500

SONGS is a folder with a folder for each song, as `benchmarks.leftover` describes it. As in a cover, vocals and band are
marked alone and mixed. Of each song, 20 s that begin anywhere are taken from the mix, changed, and searched. "read":
share of the songs whose payload came back. Columns of the first table: SNR of what is added; of all ERB bands that hold
more than a millionth of the song's energy, the largest share that is added, in dB; NMR, the largest noise-to-mask ratio
of a cell of 50 ms and one ERB (masker: the song's cells, spread by 10 dB per ERB upwards and 25 dB downwards, less 6
dB); CPU seconds per second of a stem.
`--clean N`: searches N unmarked clips of 5 to 8 s: of the songs, of their vocals and bands, of the speech, and
synthetic (tones, noise), one or two of them mixed, at random speeds, levels, stereo widths and equalisers.
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
RATE = 44100  # Hz, of clips without a mark
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
        unmarked = [part(arguments.voice_over), *(synthetic(random) for _ in range(20))]
        print(f"{'song':32} {'s':>4} {'SNR':>6} {'band':>6} {'NMR':>6} {'CPU s/s':>8}  not read after")
        for name, vocals, band, rate in songs(arguments.songs, arguments.only):
            stems = [Audio(np.asarray(stem[:, : 60 * rate], np.float32), rate) for stem in (vocals, band)]
            song = Audio(stems[0].samples + stems[1].samples, rate)
            unmarked += [song, *stems]
            began = time.process_time()
            parts = [concatenate(list(watermarked(stem, PAYLOAD, PUBLIC_KEY, context))) for stem in stems]
            cost = (time.process_time() - began) / song.duration / len(stems)
            marked = Audio(parts[0].samples + parts[1].samples, rate)
            added = marked.samples - song.samples
            start = int(random.integers(0, max(1, song.frames - round(CLIP * rate))))
            clip = marked.read(start, min(song.frames, start + round(CLIP * rate)))
            for change, function in changes.items():
                mark = detect(function(clip), context)
                read[change].append(mark is not None and mark.payload == PAYLOAD)
            lost = ", ".join(change for change, results in read.items() if not results[-1])
            snr = 10 * np.log10(np.sum(song.samples**2) / np.sum(added**2))
            ratio = noise_to_mask(song.samples, added, rate)
            share = largest_share(song.samples, added, rate)
            figures = f"{song.duration:4.0f} {snr:6.1f} {share:6.1f} {ratio:6.1f} {cost:8.3f}"
            print(f"{name[:32]:32} {figures}  {lost or '-'}", flush=True)
        print(f"\n{'change':28} read")
        for change, results in read.items():
            print(f"{change:28} {sum(results)} of {len(results)}")
        false = 0
        for number in range(1, arguments.clean + 1):
            false += detect(clean_clip(unmarked, random), context) is not None
            if number in (arguments.clean, number // 500 * 500):
                print(f"found in {number} clips without a mark: {false}", flush=True)


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


def largest_share(song: Samples, added: Samples, rate: int) -> float:
    """dB: what is added to an ERB band against what is there, over all of the song."""
    there, noise = (cells(samples, rate).sum(axis=0) for samples in (song, added))
    return float(10 * np.log10(np.max((noise / np.maximum(there, 1e-20))[there > 1e-6 * there.sum()])))


def clean_clip(unmarked: list[Audio], random: np.random.Generator) -> Audio:
    """5 to 8 s that were never marked, changed at random, at 44.1 kHz."""
    frames = round(random.uniform(5, 8) * RATE)
    samples = np.zeros((2, frames), np.float32)
    for _ in range(int(random.integers(1, 3))):
        sound = excerpt(unmarked[int(random.integers(len(unmarked)))], frames, random)
        edge = float(random.uniform(200, 5000))
        low = sosfilt(butter(1, edge, "low", fs=RATE, output="sos"), sound)
        changed = sound + random.uniform(-0.9, 3) * low
        middle = changed.mean(axis=0)
        changed = middle + random.uniform(0, 2) * (changed - middle)
        samples += changed * (10 ** random.uniform(-2, 0) / max(1e-6, float(np.abs(changed).max())))
    return Audio.of(samples, RATE)


def excerpt(sound: Audio, frames: int, random: np.random.Generator) -> Samples:
    """``[2, frames]`` of `sound`, at a random speed."""
    ratio = sound.rate / RATE * float(random.uniform(0.9, 1.1))
    needed = round(frames * ratio) + 16
    start = int(random.integers(0, max(1, sound.frames - needed)))
    read = soxr.resample(sound.read(start, start + needed).samples.T, ratio, 1.0, quality="MQ").T
    return np.asarray(np.broadcast_to(read[:, :frames], (2, frames)), np.float32)


def synthetic(random: np.random.Generator) -> Audio:
    """20 s of notes with overtones and vibrato, or of bursts of coloured noise."""
    frames = round(CLIP * RATE)
    seconds = np.arange(frames) / RATE
    pulse = np.exp(-float(random.uniform(0, 8)) * (seconds * random.uniform(1, 8) % 1))
    if random.random() < 0.5:
        edges = np.sort(random.uniform(50, 15000, 2)) + np.array([0, 50])
        band = butter(1, edges, "bandpass", fs=RATE, output="sos")
        return Audio.of(pulse * sosfilt(band, random.standard_normal((2, frames))), RATE)
    notes = np.zeros((2, frames))
    for hertz in random.uniform(60, 800, int(random.integers(1, 4))):
        phase = 2 * np.pi * hertz * seconds + random.uniform(0, 3) * np.sin(2 * np.pi * random.uniform(3, 7) * seconds)
        tilt = random.uniform(0.5, 2)
        harmonics = sum(np.sin(n * phase) / n**tilt for n in range(1, int(min(24, 15000 / hertz)) + 1))
        notes += random.uniform(0, 1, (2, 1)) * harmonics
    return Audio.of(pulse * notes, RATE)


if __name__ == "__main__":
    main()
