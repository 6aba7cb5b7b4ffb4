"""Quality of a conversion engine: similarity, intelligibility, naturalness, pitch and speed.

    python benchmarks/conversion.py --sources DIR --voices DIR

`--sources`: sung recordings, one file each. `--voices`: one recording or one folder of recordings per voice; of each,
the first two thirds make the voice and the last third is held out for the comparison. Without arguments the bundled
demo files are used.

Columns, each the mean over all pairs of a source and a voice:
  target, source  speaker similarity (cosine) to the held-out recordings and to the original singer
  t>s             share of pairs that are nearer to the target
  ESTOI           intelligibility (Jensen and Taal, 2016) against the source with only its pitch moved, by WORLD
  words           the same, but against the source itself if the pitch doesn't move
  OVRL, P808      naturalness (DNSMOS); dOVRL: difference to pitch-shift-only
  RPA, octave     where Praat and the tracker of the conversion agree on the source: share of frames that Praat hears
                  within 50 cents of it in the result, and octave errors among those that are voiced in the result
  VUV             share of frames whose voicing changed (Praat's tracker on both)
                  RPA, octave and VUV count frames within 35 dB of the source's loud ones
  RTF, CPU        wall and CPU seconds per second of sound, `convert` alone
Columns whose package is missing (resemblyzer, pystoi, speechmos) read nan.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from understudy.audio.files import decode
from understudy.audio.pitch import PitchSettings, PitchTrack, track
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.voices import speaker
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.engines import engine
from understudy.voices.transpose import choose_transpose
from understudy.voices.voice import Manifest, PitchRange, Recording, Voice, content_hash

Samples = NDArray[np.float32]
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus")
MOST = 15.0  # seconds of a source
COLUMNS = ("target", "source", "t>s", "ESTOI", "words", "OVRL", "dOVRL", "P808", "RPA", "octave", "VUV", "RTF", "CPU")


@dataclass(frozen=True, eq=False)
class Source:
    name: str
    vocals: Audio
    pitch: PitchTrack
    praat: NDArray[np.float64]
    speaker: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class Target:
    name: str
    voice: Voice
    prepared: Path
    held_out: NDArray[np.float32] | None


def praat(audio: Audio) -> NDArray[np.float64]:
    """f0 in Hz every 10 ms by Praat's autocorrelation, 0 where unvoiced."""
    import parselmouth

    sound = parselmouth.Sound(audio.mono().samples[0].astype(np.float64), audio.rate)
    pitch = sound.to_pitch_ac(time_step=0.01, pitch_floor=60.0, pitch_ceiling=1400.0)
    nearest = np.round((np.arange(int(audio.duration / 0.01)) * 0.01 - pitch.x1) / pitch.dx).astype(int)
    return np.asarray(pitch.selected_array["frequency"])[np.clip(nearest, 0, pitch.n_frames - 1)]


def pitch_only(source: Source, semitones: float) -> Audio:
    """The source resynthesised by WORLD, with only its pitch moved."""
    import pyworld

    rate = source.vocals.rate
    signal = source.vocals.mono().samples[0].astype(np.float64)
    f0 = source.pitch.f0.astype(np.float64)
    times = source.pitch.times
    envelope = pyworld.cheaptrick(signal, f0, times, rate)
    aperiodicity = pyworld.d4c(signal, f0, times, rate, threshold=0.0)
    made = pyworld.synthesize(f0 * 2 ** (semitones / 12), envelope, aperiodicity, rate, source.pitch.hop * 1000)
    return Audio.of(made, rate).read(0, source.vocals.frames)


def at_16k(audio: Audio) -> Samples:
    return np.asarray(soxr.resample(audio.mono().samples[0], audio.rate, 16000, quality="HQ"), np.float32)


def estoi(reference: Audio, result: Audio) -> float:
    try:
        from pystoi import stoi
    except ImportError:
        return float("nan")
    return float(stoi(at_16k(reference), at_16k(result), 16000, extended=True))


def naturalness(audio: Audio) -> tuple[float, float]:
    """DNSMOS OVRL and P808."""
    try:
        from speechmos import dnsmos
    except ImportError:
        return float("nan"), float("nan")
    sound = at_16k(audio)
    sound = sound * (0.5 / max(1e-9, float(np.abs(sound).max())))
    score = dnsmos.run(sound, 16000, return_df=False)
    return float(score["ovrl_mos"]), float(score["p808_mos"])


def embedded(audio: Audio) -> NDArray[np.float32] | None:
    return speaker.embed(audio) if speaker.available() else None


def alike(a: NDArray[np.float32] | None, b: NDArray[np.float32] | None) -> float:
    return float("nan") if a is None or b is None else speaker.similarity(a, b)


def sounding(audio: Audio) -> NDArray[np.bool_]:
    """Frames of 10 ms within 35 dB of the loud ones. Softer frames of a separated stem are mostly not the singer."""
    samples = audio.mono().samples[0]
    edges = np.round(np.arange(int(audio.duration / 0.01) + 1) * 0.01 * audio.rate).astype(int)
    power = np.diff(np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])[edges])
    return np.asarray(power > np.quantile(power, 0.95) * 10**-3.5)


def agreed(source: Source) -> NDArray[np.bool_]:
    """Frames of 10 ms in which Praat and the tracker of the conversion hear the same f0 in the source, within 50 cents.

    Where they disagree, usually in reverb, an error of the engine can't be told from one of a tracker.
    """
    tracked = source.pitch.f0[:: round(0.01 / source.pitch.hop)].astype(np.float64)
    length = min(len(tracked), len(source.praat))
    both = (tracked[:length] > 0) & (source.praat[:length] > 0)
    both[both] = np.abs(1200 * np.log2(tracked[:length][both] / source.praat[:length][both])) < 50
    return both


def pitch_errors(
    expected: NDArray[np.float64], found: NDArray[np.float64], loud: NDArray[np.bool_], sure: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Over loud frames whose pitch is `sure`: the share of `found` within 50 cents of `expected`, unvoiced being a
    miss, and octave errors among those voiced in `found`. Over all loud frames: voicing errors."""
    length = min(len(each) for each in (expected, found, loud, sure))
    expected, found, loud, sure = expected[:length], found[:length], loud[:length], sure[:length]
    counted = sure & loud
    voiced = counted & (found > 0)
    cents = np.abs(1200 * np.log2(found[voiced] / expected[voiced]))
    return (
        float((cents < 50).sum() / max(1, counted.sum())),
        float((cents > 600).mean()) if len(cents) else 0.0,
        float(((expected > 0) != (found > 0))[loud].mean()),
    )


def listed(path: Path) -> list[Path]:
    """The file itself, or the sounds and folders in a folder."""
    if path.is_file():
        return [path]
    return sorted(each for each in path.iterdir() if each.is_dir() or each.suffix.lower() in SOUNDS)


def sounds(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SOUNDS)


def read(path: Path) -> Audio:
    with tempfile.TemporaryDirectory() as folder:
        return decode(Context(Path(folder)), path, Path(folder) / "sound.npy").read()


def source_from(path: Path, folder: Path) -> Source:
    vocals = read(path)
    vocals = vocals.read(0, min(vocals.frames, round(MOST * vocals.rate)))
    pitch = track(Context(folder), vocals, PitchSettings())
    return Source(path.stem, vocals, pitch, praat(vocals), embedded(vocals))


def target_from(path: Path, folder: Path, name: str) -> Target:
    """A voice from the first two thirds of the recordings at `path`; the last third is held out."""
    parts = [read(file).mono() for file in (sounds(path) if path.is_dir() else [path])]
    if len(parts) >= 3:
        count = round(len(parts) * 2 / 3)
        build, rest = parts[:count], parts[count:]
    else:
        cut = [round(part.frames * 2 / 3) for part in parts]
        build = [part.read(0, at) for part, at in zip(parts, cut, strict=True)]
        rest = [part.read(at, part.frames) for part, at in zip(parts, cut, strict=True)]
    (folder / "recordings").mkdir(parents=True)
    recordings, f0 = [], []
    for number, part in enumerate(build):
        file = folder / "recordings" / f"{number:03}-part.flac"
        soundfile.write(file, part.samples[0], part.rate)
        track_of_part = praat(part)
        f0.append(track_of_part[track_of_part > 0])
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        recordings.append(Recording(file=file.name, source=path.name, duration=part.duration, sha256=digest))
    low, median, high = np.percentile(np.concatenate(f0), [5, 50, 95])
    pitch_range = PitchRange(low=low, median=median, high=high)
    rate = build[0].rate
    manifest = Manifest(
        name=path.stem,
        engine=name,
        sample_rate=rate,
        pitch_range=pitch_range,
        recordings=tuple(recordings),
        consent="granted",
        created=datetime(2000, 1, 1, tzinfo=UTC),
        content_hash=content_hash(name, rate, pitch_range, tuple(recordings)),
    )
    voice = Voice(folder, manifest)
    prepared = engine(name).prepare(Context(folder), voice)
    joined = np.concatenate([soxr.resample(part.samples[0], part.rate, rate) for part in rest])
    return Target(path.stem, voice, prepared, embedded(Audio.of(joined, rate)))


def measured(source: Source, target: Target, result: Audio, reference: Audio, semitones: float) -> dict[str, float]:
    speaker_of = embedded(result)
    to_target, to_source = alike(speaker_of, target.held_out), alike(speaker_of, source.speaker)
    overall, p808 = naturalness(result)
    accuracy, octave, voicing = pitch_errors(
        source.praat * 2 ** (semitones / 12), praat(result), sounding(source.vocals), agreed(source)
    )
    return {
        "target": to_target,
        "source": to_source,
        "t>s": float(to_target > to_source),
        "ESTOI": estoi(reference, result),
        "words": estoi(reference if semitones else source.vocals, result),
        "OVRL": overall,
        "dOVRL": overall - naturalness(reference)[0],
        "P808": p808,
        "RPA": accuracy,
        "octave": octave,
        "VUV": voicing,
    }


def compare(
    sources: Sequence[Source],
    targets: Sequence[Target],
    name: str,
    settings: ConversionSettings,
    folder: Path,
    say: Callable[[str], None],
    keep: Path | None = None,
) -> list[dict[str, object]]:
    """A row per pair and method: unconverted, pitch only, and the engine."""
    rows: list[dict[str, object]] = []
    for target in targets:
        for source in sources:
            semitones = choose_transpose(source.pitch, target.voice.manifest.pitch_range).semitones
            reference = pitch_only(source, semitones)
            performance = Performance(source.vocals, source.pitch, semitones)
            wall, cpu = time.perf_counter(), time.process_time()
            made = engine(name).convert(
                Context(folder, workers=2), performance, target.voice, target.prepared, settings, {}
            )
            spent = (time.perf_counter() - wall, time.process_time() - cpu)
            result = made.read()
            for method, sound, moved in (
                ("unconverted", source.vocals, 0.0),
                ("pitch only", reference, semitones),
                (name, result, semitones),
            ):
                figures = measured(source, target, sound, reference, moved)
                if method == name:
                    figures |= {"RTF": spent[0] / made.duration, "CPU": spent[1] / made.duration}
                rows.append({"method": method, "pair": f"{source.name} -> {target.name}", "shift": moved, **figures})
            say(f"{rows[-1]['pair']}: {rows[-1]['target']:.3f} {rows[-1]['ESTOI']:.2f}")
            if keep is not None:
                soundfile.write(
                    keep / f"{source.name} ({target.name}).wav", result.samples.T, result.rate, subtype="FLOAT"
                )
    return rows


def table(rows: Sequence[dict[str, object]], by: str = "method") -> str:
    """Means per method (or per pair) as Markdown, each with its standard error if there are several rows."""
    lines = [f"| {by} | n | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for value in dict.fromkeys(row[by] for row in rows):
        chosen = [row for row in rows if row[by] == value]
        figures = np.array([[float(row.get(column, np.nan)) for column in COLUMNS] for row in chosen])  # type: ignore[arg-type]
        cells = [f"{mean:.3f}" for mean in figures.mean(axis=0)]
        if len(chosen) > 1:
            errors = figures.std(axis=0, ddof=1) / np.sqrt(len(chosen))
            cells = [f"{cell} ± {error:.3f}" for cell, error in zip(cells, errors, strict=True)]
        lines.append(f"| {value} | {len(chosen)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    demo = Path(__file__).resolve().parent.parent / "demo"
    parser = argparse.ArgumentParser(description="Quality of a conversion engine.")
    parser.add_argument("--sources", type=Path, default=demo / "stems" / "vocals.m4a", help="a file or a folder")
    parser.add_argument("--voices", type=Path, help="a folder with a file or folder per voice")
    parser.add_argument("--engine", default="instant")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="conversion settings")
    parser.add_argument("--keep", type=Path, help="folder for the converted sounds")
    parser.add_argument("--json", type=Path, help="also write every figure of every pair")
    arguments = parser.parse_args()
    settings = ConversionSettings.model_validate(dict(pair.split("=", 1) for pair in arguments.set))
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = [source_from(path, folder) for path in listed(arguments.sources)]
        voices = listed(arguments.voices) if arguments.voices else [demo / "voice"]
        targets = [
            target_from(path, folder / f"voice {number}", arguments.engine) for number, path in enumerate(voices)
        ]
        rows = compare(sources, targets, arguments.engine, settings, folder, print, arguments.keep)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    print()
    print(table([row for row in rows if row["method"] == arguments.engine], by="pair"))
    print()
    print(table(rows))


if __name__ == "__main__":
    main()
