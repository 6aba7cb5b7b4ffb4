"""Preparing hours of recordings for training: time, memory and disk, and what a further recording costs.

    python benchmarks/training_data.py [--hours 0.25 1] [--embedder cepstral] [--threads 1] [--no-f0]

A voice of recordings of up to an hour (FLAC, 48 kHz, synthetic singing) and a short one; another short one is added.
Each length runs in a process of its own. With `--embedder contentvec` the encoder has real size and random weights.
Columns:

  clips, f0, content   CPU seconds per hour of recordings: decode, high-pass, slice; swift-f0; the embedder
  peak                 MB of memory in all
  disk                 MB in the cache
  added                CPU seconds for the further recording of 12 s; all else is cached

    python benchmarks/training_data.py --reference DIR

compares the pieces of a minute with those of RVC WebUI, whose clone is at DIR: its slicer, high-pass and levels. (Its
pieces as Applio cuts them, since its own loop loses some.)
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import soundfile
from scipy.signal import butter, lfilter

from tests.support.contentvec_files import write_random_contentvec
from tests.support.training_data import sung
from understudy.context import scratch_context
from understudy.models.hashes import file_hash, stored
from understudy.models.installed import Record, write_record
from understudy.pipeline.executor import LocalExecutor
from understudy.pipeline.store import Store
from understudy.pipeline.training_graph import training_graph
from understudy.voices import library
from understudy.voices.rvc.training.slicing import TICKS, slice_recording
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.voice import Recording, Voice

RATE = 48000


def with_hours(voice: Voice, hours: float) -> Voice:
    """`voice` with so many hours in recordings of an hour at most: a minute of singing again and again, at changing
    levels."""
    minute, _ = sung(60, RATE, seed=1)
    recordings = list(voice.manifest.recordings)
    left = round(hours * 60)
    while left:
        number, minutes = len(recordings) + 1, min(left, 60)
        path = voice.folder / "recordings" / f"{number:03d}-long-00000000.flac"
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_24", format="FLAC") as file:
            for turn in range(minutes):
                file.write(minute.samples.T * (0.6 + 0.3 * np.sin(turn + number)))
        recordings.append(
            Recording(file=path.name, source=f"{number}.wav", duration=60.0 * minutes, sha256=file_hash(path))
        )
        left -= minutes
    return replace(voice, manifest=voice.manifest.model_copy(update={"recordings": tuple(recordings)}))


def measured(hours: float, embedder: str, f0: bool, threads: int, folder: Path) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    os.environ["UNDERSTUDY_MODELS"] = str(folder / "models")
    if embedder == "contentvec":
        (folder / "models").mkdir()
        path = folder / "models" / "contentvec.pt"
        write_random_contentvec(path)
        write_record(Record(model="contentvec", format=None, weights=stored(path, file_hash(path), "made up")))
    for number in (1, 2):
        soundfile.write(folder / f"{number}.wav", sung(12, RATE, seed=number)[0].samples.T, RATE, "PCM_24")
    with scratch_context() as context:
        voice, _ = library.add(folder / "voices", "nova", [folder / "1.wav"], "self", context)
        more, _ = library.add_training_recordings(folder / "voices", "nova", [folder / "2.wav"], "self", context)
    long = with_hours(voice, hours)
    settings = TrainingSettings(embedder=embedder, f0=f0)
    executor = LocalExecutor(Store(folder / "cache"), workers=1, cpu_lanes=1)
    graph = training_graph(long, settings)
    seconds = {}
    for kind in ("clips", "pitch", "content"):
        begun = time.process_time()
        nodes = [node for node in graph.graph.nodes if node.kind == kind]
        executor.run(graph.graph, nodes, lambda _: None, Event())
        seconds[kind] = (time.process_time() - begun) / hours
    data = graph.dataset(executor.run(graph.graph, graph.targets, lambda _: None, Event()))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    further = {"training_recordings": more.manifest.training_recordings}
    added = replace(more, manifest=long.manifest.model_copy(update=further))
    begun = time.process_time()
    graph = training_graph(added, settings)
    graph.dataset(executor.run(graph.graph, graph.targets, lambda _: None, Event()))
    disk = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file()) / 1e6
    spent = time.process_time() - begun
    return {"hours": hours, **seconds, "peak": used, "disk": disk, "added": spent, "clips in all": len(data.clips)}


def compared(reference: Path, rate: int) -> dict[str, object]:
    """How many pieces there are, how many of them are elsewhere or of another length in the reference, and the least
    SNR in dB."""
    spec = importlib.util.spec_from_file_location("slicer", reference / "train" / "dataset" / "slicer2.py")
    assert spec is not None
    assert spec.loader is not None
    slicer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(slicer)
    sound, _ = sung(60, rate, seed=3)
    with scratch_context() as context:
        clips = slice_recording(context, sound, rate)
        tick = rate // TICKS
        ours = [clips.sound.read(p.start * tick, p.stop * tick).samples[0] * p.gain for p in clips.pieces]
    filtered = lfilter(*butter(5, 48, "highpass", fs=rate), sound.samples[0])
    cutter = slicer.Slicer(sr=rate, threshold=-42, min_length=1500, min_interval=400, hop_size=15, max_sil_kept=500)
    theirs = []
    for part in cutter.slice(filtered):
        start = 0
        while len(part) - start > 4.0 * rate:
            theirs.append(part[start : start + round(3.7 * rate)])
            start += round(3.4 * rate)
        theirs.append(part[start:])
    theirs = [0.675 * piece / np.abs(piece).max() + 0.25 * piece for piece in theirs]
    pairs = list(zip(ours, theirs, strict=False))
    other = abs(len(ours) - len(theirs)) + sum(len(one) != len(two) for one, two in pairs)
    same = [(one, two) for one, two in pairs if len(one) == len(two)]
    snr = min(20 * np.log10(np.linalg.norm(two) / np.linalg.norm(one - two)) for one, two in same)
    return {"rate": rate, "pieces": len(ours), "other": other, "SNR dB": round(float(snr), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, nargs="+", default=[0.25, 1.0])
    parser.add_argument("--embedder", choices=("cepstral", "contentvec"), default="cepstral")
    parser.add_argument("--no-f0", dest="f0", action="store_false", help="for a model without pitch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reference", type=Path, help="a clone of RVC WebUI")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        with tempfile.TemporaryDirectory() as folder:
            figures = measured(arguments.hours[0], arguments.embedder, arguments.f0, arguments.threads, Path(folder))
        print(json.dumps(figures))
        return
    if arguments.reference:
        for rate in (32000, 40000, 48000):
            print(compared(arguments.reference, rate))
        return
    print("| hours | clips s/h | f0 s/h | content s/h | peak MB | disk MB | added s | clips |")
    print("|---|---|---|---|---|---|---|---|")
    for hours in arguments.hours:
        command = [sys.executable, __file__, "--alone", "--hours", str(hours), "--embedder", arguments.embedder]
        command += ["--threads", str(arguments.threads), *([] if arguments.f0 else ["--no-f0"])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print("| " + " | ".join(f"{value:.4g}" for value in json.loads(done.stdout.splitlines()[-1]).values()) + " |")


if __name__ == "__main__":
    main()
