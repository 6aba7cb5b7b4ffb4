"""Whether the right checkpoint is chosen: training runs of synthetic singers whose true sound is known.

    python benchmarks/training_choice.py                  ten runs, three seeds each
    python benchmarks/training_choice.py --development    the runs on which the choice's constants were found
    python benchmarks/training_choice.py --tricks         true error with and without each of ten training tricks

A small RVC network (tiny, with fewer channels), trained first on six singers, is trained on the recordings of a
seventh. Some runs have little data and many steps, some have bad data, and each has one spoiled checkpoint. A
checkpoint's true error is the distance of what it sings (the three phrases, the first 5 s of each) to what the singer
would really sound like, which the synthesiser can tell: mean absolute difference of log-mel magnitudes, in nepers. The
choice never sees it.

Each run is stored in the folder of ``--cache``, so an interrupted benchmark goes on. A run takes about a minute of CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.audio.pitch import PitchTrack
from understudy.audio.resample import resample
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.voices.engine import Performance
from understudy.voices.rvc.architecture import segment_frames, tiny
from understudy.voices.rvc.embedders import Cepstral
from understudy.voices.rvc.pitch import coarse_pitch
from understudy.voices.rvc.synthesizer import assemble
from understudy.voices.rvc.training import losses, networks
from understudy.voices.rvc.training import step as training_step
from understudy.voices.rvc.training.batch import Batch, draw
from understudy.voices.rvc.training.choice import choose, finished
from understudy.voices.rvc.training.evaluation import (
    Clip,
    Evaluation,
    Render,
    evaluate,
    mel_distance,
    phrase_clips,
    references,
)
from understudy.voices.rvc.training.networks import Base, export, segments, weights
from understudy.voices.rvc.training.phrases import SUNG, Note, Phrase, Singer, sing
from understudy.voices.rvc.training.spectrogram import spectrogram
from understudy.voices.rvc.training.step import TrainingState, new_state, step
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.transpose import track_pitch_range

RATE = 16000
ARCHITECTURE = replace(
    tiny("v1"), upsample_channels=32, latent_channels=16, hidden_channels=32, filter_channels=64,
    resblock_kernels=(3, 7), resblock_dilations=((1, 3), (1, 3)),
)  # fmt: skip
SUNG_SECONDS = 5
BATCH = 2
CONTEXT = Context(Path("."))

Samples = NDArray[np.float32]
Row = tuple[Tensor, Tensor, Tensor, Tensor]  # content, f0, spectrogram, sound of one clip

# singers of the base model, and the middle of each one's range as MIDI number
BASE = (
    (Singer(0.95, (1, 1, 1, 1), 1.0, 1.2, 2200, -34), 52),
    (Singer(1.02, (0.97, 1.03, 1, 1), 1.2, 1.0, 3000, -28), 55),
    (Singer(1.1, (1.03, 0.97, 1, 1.03), 0.9, 1.3, 1800, -30), 59),
    (Singer(1.15, (1, 1.02, 1, 1), 1.1, 0.9, 2600, -26), 64),
    (Singer(1.2, (0.98, 1, 1.03, 1), 1.0, 1.1, 2000, -24), 66),
    (Singer(1.32, (1, 1, 1, 0.97), 1.3, 1.0, 3500, -26), 69),
)


@dataclass(frozen=True)
class Run:
    """`singer`: its number, which decides its sound; `kind`: 0 low, 1 high, 2 very high; `seconds`: of recordings;
    `fault`: what is wrong with them; `rate`: learning rate; `every`: steps between evaluations."""

    name: str
    singer: int
    kind: int
    seconds: float
    fault: str = ""
    rate: float = 5e-4
    steps: int = 192
    every: int = 12


DEVELOPMENT = (
    Run("good 60 s", 101, 0, 60),
    Run("good 30 s", 102, 1, 30),
    Run("10 s", 103, 2, 9, rate=1e-3),
    Run("noise", 104, 0, 30, "noise"),
    Run("two singers", 105, 1, 30, "second"),
    Run("10 s, many steps", 106, 0, 9, rate=2e-3, steps=384, every=24),
)
TEST = (
    Run("good 60 s, low", 1, 0, 60),
    Run("good 60 s, high", 2, 1, 60),
    Run("good 120 s, very high", 3, 2, 120),
    Run("good 30 s, low", 4, 0, 30),
    Run("10 s, low, many steps", 5, 0, 9, rate=2e-3, steps=384, every=24),
    Run("10 s, high", 6, 1, 9, rate=2e-3),
    Run("10 s, very high", 7, 2, 9, rate=2e-3),
    Run("faint noise", 8, 1, 30, "faint noise"),
    Run("clipping", 9, 0, 30, "clipped"),
    Run("two singers", 10, 2, 30, "second"),
)
RAW_TOO = ("good 60 s, low", "10 s, low, many steps", "faint noise")  # also evaluated without averaging, first seed
# the tricks are tried on these
TRICK_RUNS = (
    Run("30 s", 201, 0, 30, steps=120, every=10),
    Run("10 s", 202, 1, 9, rate=2e-3, steps=120, every=10),
)
TRICKS = (
    "average of weights", "multi-scale mel", "KL annealing", "warm-up", "formant and pitch", "base singing",
    "discriminator rate", "gradient clipping", "longer segments", "falling rate",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Recording:
    """Mono `sound` at `RATE`, and its true pitch."""

    sound: Samples
    pitch: PitchTrack


def singer_of(number: int, kind: int) -> tuple[Singer, int]:
    """The singer with that number, and the middle of its range as MIDI number."""
    random = np.random.default_rng([77, number])
    tract = (0.92, 1.1, 1.24)[kind] * float(np.exp(random.uniform(-0.04, 0.08)))
    f1, f2, f3, f4 = (float(factor) for factor in np.exp(random.uniform(-0.07, 0.07, 4)))
    singer = Singer(
        tract, (f1, f2, f3, f4), float(np.exp(random.uniform(-0.25, 0.35))),
        float(np.exp(random.uniform(-0.3, 0.3))) * 1.1, float(np.exp(random.uniform(np.log(1400), np.log(4500)))),
        float(random.uniform(-36, -20)), float(random.uniform(5, 6.3)), float(random.uniform(15, 50)),
    )  # fmt: skip
    return singer, (51, 61, 67)[kind] + int(random.integers(-2, 3))


def melody(random: np.random.Generator, middle: int, seconds: float) -> list[Note]:
    """Random notes around `middle`."""
    notes: list[Note] = []
    pitch, left = float(middle), seconds
    onsets = ["", "m", "n", "l", "s", "S", "f", "h", "t", "k"]
    while left > 1e-6:
        length = min(left, float(random.choice([0.25, 0.35, 0.5, 0.8])))
        if left - length < 0.2:
            length = left
        left -= length
        if random.random() < 0.06 and notes:
            notes.append(Note(None, length, "@", "breath" if random.random() < 0.5 else ""))
            continue
        pitch = float(np.clip(pitch + random.integers(-5, 6), middle - 7, middle + 7))
        vowels = "".join(random.choice(list("aeiouy"), 2 if random.random() < 0.25 else 1))
        notes.append(Note(pitch, length, vowels, str(random.choice(onsets)), float(random.uniform(-4, 3))))
    return notes


def recordings(singer: Singer, middle: int, seconds: float, seed: int, length: float = 3.0) -> list[Recording]:
    """Clips of `length` seconds."""
    made = []
    for number in range(round(seconds / length)):
        notes = melody(np.random.default_rng([seed, number]), middle, length)
        sound, pitch = sing(notes, singer, RATE, seed=seed * 1000 + number)
        made.append(Recording(sound.samples[0], pitch))
    return made


def spoiled_data(clips: list[Recording], fault: str, seed: int) -> list[Recording]:
    random = np.random.default_rng([5, seed])

    def spoil(sound: Samples) -> Samples:
        if "noise" in fault:  # 12 dB below the voice, 20 dB if faint: the library refuses what is under 16 dB
            level = 10 ** ((-40 if "faint" in fault else -32) / 20)
            return np.asarray(sound + level * random.standard_normal(len(sound)), np.float32)
        if fault == "clipped":
            most = np.percentile(np.abs(sound), 85)
            return np.clip(sound, -most, most).astype(np.float32)
        return sound

    return [Recording(spoil(clip.sound), clip.pitch) for clip in clips]


def data(run: Run, seed: int) -> tuple[list[Recording], list[Recording]]:
    """What is trained on, and what is held out: it has the same faults."""
    singer, middle = singer_of(run.singer, run.kind)
    train = recordings(singer, middle, run.seconds, 10 * run.singer + seed)
    held = recordings(singer, middle, 12, 5000 + 10 * run.singer + seed, 6.0)
    if run.fault == "second":
        other, other_middle = singer_of(run.singer + 500, (run.kind + 1) % 3)
        others = recordings(other, other_middle, 0.35 * run.seconds, 7000 + seed)
        train = train[: round(0.65 * len(train))] + others
    return spoiled_data(train, run.fault, seed), spoiled_data(held, run.fault, seed + 50)


def base_recordings() -> list[Recording]:
    return [
        clip for number, (singer, middle) in enumerate(BASE) for clip in recordings(singer, middle, 30, 900 + number)
    ]


def row(clip: Recording, warp: float = 1.0) -> Row:
    """`warp`: factor of the formants that the content features are computed of, the target's stay."""
    sound = torch.from_numpy(clip.sound)
    heard = sound
    if warp != 1:
        heard = torch.from_numpy(resample(Audio.of(clip.sound, round(RATE * warp)), RATE).samples[0])
    content = Cepstral().encode(heard[None], "v1").repeat_interleave(2, 1)
    f0 = torch.from_numpy(clip.pitch.resampled(0.01).f0)
    magnitudes = spectrogram(sound[None], ARCHITECTURE)[0]
    if warp != 1:
        content = torch.nn.functional.interpolate(content.mT, size=len(sound) // ARCHITECTURE.hop - 2).mT
    frames = min(len(sound) // ARCHITECTURE.hop, content.shape[1], len(f0))
    return content[0, :frames].clone(), f0[:frames], magnitudes[:, :frames], sound[: frames * ARCHITECTURE.hop]


def moved(clip: Recording, semitones: float) -> Recording:
    """The same clip sung higher, its formants kept (WORLD)."""
    import pyworld

    sound = clip.sound.astype(np.float64)
    f0, envelope, aperiodicity = pyworld.wav2world(sound, RATE)
    made = pyworld.synthesize(f0 * 2 ** (semitones / 12), envelope, aperiodicity, RATE)[: len(sound)]
    return Recording(made.astype(np.float32), clip.pitch.transposed(semitones))


def collate(rows: Sequence[Row]) -> Batch:
    """One batch, cut to the shortest clip."""
    frames = min(len(content) for content, *_ in rows)
    f0 = torch.stack([f0[:frames] for _, f0, _, _ in rows])
    return Batch(
        torch.stack([content[:frames] for content, *_ in rows]),
        torch.from_numpy(coarse_pitch(f0.numpy())),
        f0,
        torch.stack([magnitudes[:, :frames] for _, _, magnitudes, _ in rows]),
        torch.stack([sound[: frames * ARCHITECTURE.hop] for *_, sound in rows])[:, None],
        torch.full((len(rows),), frames),
        torch.zeros(len(rows), dtype=torch.long),
    )


def base_model(cache: Path) -> Base:
    """The base model: 1,500 steps on six singers, about four minutes."""
    path = cache / "base.pt"
    if not path.exists():
        state = new_state(ARCHITECTURE, TrainingSettings(size="tiny", version="v1"))
        rows = [row(clip) for clip in base_recordings()]
        for number in range(1500):
            state.learning_rate = 7e-4 if number < 1000 else 3e-4
            batch = collate([rows[k] for k in np.random.default_rng([1, number]).integers(0, len(rows), 4)])
            step(state, batch, draw(batch, ARCHITECTURE, segment_frames(ARCHITECTURE), 1, number))
        stored = {"generator": state.averaged, "discriminator": weights(state.discriminator)}
        torch.save(stored, path.with_suffix(".tmp"))
        os.replace(path.with_suffix(".tmp"), path)
    stored = torch.load(path, weights_only=True)
    return Base(ARCHITECTURE, stored["generator"], stored["discriminator"])


def renderer(trained: Mapping[str, Tensor], change: Callable[[Samples], Samples] | None = None) -> Render:
    """What sings with the weights `trained`; `change` is done to what it sang."""
    network = assemble(ARCHITECTURE, dict(trained))

    def render(performance: Performance) -> Audio:
        sound = resample(performance.vocals.read().mono(), RATE)
        content = Cepstral().encode(torch.from_numpy(sound.samples), "v1").repeat_interleave(2, 1)
        f0 = torch.from_numpy(performance.pitch.transposed(performance.transpose).resampled(0.01).f0)
        frames = min(content.shape[1], len(f0))
        content, f0 = content[:, :frames], f0[:frames]
        coarse = torch.from_numpy(coarse_pitch(f0.numpy()))
        seed = torch.Generator().manual_seed(0)
        speaker = torch.zeros(1, dtype=torch.long)
        made = network.infer(content, coarse[None], f0[None], speaker, generator=seed)[0, 0].numpy()
        made = np.pad(made, (0, max(0, sound.frames - len(made))))[: sound.frames]
        return Audio.of(made if change is None else change(made), RATE)

    return render


def spoiled(trained: Mapping[str, Tensor], kind: int) -> Render:
    """A spoiled checkpoint: 0 noise in the decoder's weights, 1 clicks, 2 gaps."""

    def clicks(made: Samples) -> Samples:
        made = made.copy()
        made[RATE // 3 :: RATE // 3] += 0.8 * np.abs(made).max()
        return made

    def gaps(made: Samples) -> Samples:
        made = made.copy()
        for start in range(0, len(made), RATE):
            made[start : start + RATE // 3] = 0
        return made

    if kind:
        return renderer(trained, clicks if kind == 1 else gaps)
    seed = torch.Generator().manual_seed(3)
    noisy = {
        name: (tensor.float() * (1 + 0.25 * torch.randn(tensor.shape, generator=seed))).half()
        if name.startswith("dec") and tensor.ndim > 1
        else tensor
        for name, tensor in trained.items()
    }
    return renderer(noisy)


def clips_of(train: Sequence[Recording], held: Sequence[Recording]) -> tuple[Clip, ...]:
    """Held-out clips, and the first seconds of the phrases in the range of what is trained on."""
    sung = []
    for number, (name, notes, singer) in enumerate(SUNG):
        sound, pitch = sing(notes, singer, RATE, seed=number)
        short = PitchTrack(pitch.f0[: SUNG_SECONDS * 200 + 1])
        sung.append(Phrase(name, sound.read(0, SUNG_SECONDS * RATE), short))
    own = tuple(
        Clip(f"held-{number}", "held-out", Performance(Audio.of(clip.sound, RATE), clip.pitch, 0.0))
        for number, clip in enumerate(held)
    )
    return own + phrase_clips(track_pitch_range(PitchTrack(np.concatenate([clip.pitch.f0 for clip in train]))), sung)


def true_sounds(run: Run, clips: Sequence[Clip]) -> dict[str, Samples]:
    """What the singer of the run would sound like, singing the phrases at the same f0."""
    singer, _ = singer_of(run.singer, run.kind)
    transpose = {clip.name: clip.performance.transpose for clip in clips}
    made = {}
    for number, (name, notes, source) in enumerate(SUNG):
        alike = replace(singer, vibrato=source.vibrato, depth=source.depth, wander=source.wander)
        higher = [note if note.pitch is None else replace(note, pitch=note.pitch + transpose[name]) for note in notes]
        made[name] = sing(higher, alike, RATE, seed=number)[0].samples[0, : SUNG_SECONDS * RATE]
    return made


def step_with(state: TrainingState, batch: Batch, trick: str, progress: float, seed: int, number: int) -> float:
    """One step with one of `TRICKS`, as far as they change the step; its mel loss."""
    frames, hop = segment_frames(ARCHITECTURE) * (2 if trick == "longer segments" else 1), ARCHITECTURE.hop
    draws = draw(batch, ARCHITECTURE, frames, seed, number)
    changed: dict[str, Any] = {}
    if trick == "longer segments":
        changed["segment_frames"] = lambda architecture: frames
    elif trick == "multi-scale mel":
        start = (draws.segments * (batch.lengths - frames + 1)).long()
        real = segments(batch.sound, start * hop, frames * hop).squeeze(1)
        changed["_heard"] = lambda sound, architecture: sound.squeeze(1)
        changed["mel_loss"] = lambda mel, fake: losses.MEL_WEIGHT * _multi_scale(real, fake)
    elif trick == "KL annealing":
        own = training_step._divergence
        changed["_divergence"] = lambda decoded: min(1.0, 2 * progress) * own(decoded)
    most = 100.0 if trick == "gradient clipping" else None
    with ExitStack() as stack:
        for name, value in changed.items():
            for module in (training_step, networks):
                if hasattr(module, name):
                    stack.enter_context(patch.object(module, name, value))
        return step(state, batch, draws, most_gradient=most).mel


def _multi_scale(real: Tensor, fake: Tensor) -> Tensor:
    """Mean absolute difference of log-mel spectrograms of windows of 256, 512, 1024 and 2048 samples."""
    from understudy.audio.mel import mel_filters

    total = real.new_zeros(())
    for size, bands in ((256, 20), (512, 40), (1024, 80), (2048, 160)):
        filters = torch.from_numpy(mel_filters(RATE, size, bands)).float()
        window = torch.hann_window(size)
        mels = [
            torch.log((filters @ torch.stft(x, size, size // 4, window=window, return_complex=True).abs()).clamp(2e-6))
            for x in (real, fake)
        ]
        total = total + torch.nn.functional.l1_loss(mels[0], mels[1]) / 4
    return total


def train(cache: Path, run: Run, seed: int, trick: str = "", views: Sequence[str] = ("raw", "ema")) -> dict[str, Any]:
    """Every evaluation of a run, and the true error of each checkpoint, for the weights as they are (raw) and for their
    running average (ema); stored."""
    described = json.dumps([asdict(run), seed, trick, list(views), 3])
    path = cache / f"{hashlib.sha256(described.encode()).hexdigest()[:16]}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    clock = time.process_time()
    clips_to_train, held = data(run, seed)
    clips = clips_of(clips_to_train, held)
    truth, reference = true_sounds(run, clips), references(clips)
    rows = [row(clip) for clip in clips_to_train]
    if trick == "formant and pitch":
        rows += [row(clip, warp) for clip in clips_to_train for warp in (0.94, 1.06)]
        rows += [row(moved(clip, semitones)) for clip in clips_to_train for semitones in (-4, 4)]
    others = [row(clip) for clip in base_recordings()] if trick == "base singing" else []
    settings = TrainingSettings(size="tiny", version="v1", seed=seed, learning_rate=run.rate)
    state = new_state(ARCHITECTURE, settings, base=base_model(cache))
    plant = int(np.random.default_rng([9, run.singer, seed]).integers(4, run.steps // run.every))
    evaluations: dict[str, list[Any]] = {view: [] for view in views}
    errors: dict[str, list[float]] = {view: [] for view in views}
    mels = []

    def look(view: str, number: int, render: Render) -> None:
        made: dict[str, Samples] = {}

        def keep(clip: Clip, sound: Audio) -> None:
            made[clip.name] = np.nan_to_num(sound.samples[0])

        evaluations[view].append(evaluate(CONTEXT, render, clips, reference, step=number, listen=keep).to_dict())
        errors[view].append(float(np.mean([mel_distance(truth[name], made[name]) for name in truth])))

    for number in range(run.steps):
        state.learning_rate = run.rate * _rate(trick, number, run.steps)
        if trick == "discriminator rate":
            state.optimizer_d.param_groups[0]["lr"] = 0.5 * run.rate
        random = np.random.default_rng([2, seed, number])
        chosen = [rows[k] for k in random.integers(0, len(rows), BATCH)]
        if others and number % 2:
            chosen[0] = others[int(random.integers(0, len(others)))]
        mels.append(step_with(state, collate(chosen), trick, number / run.steps, seed, number))
        if (number + 1) % run.every or (trick and number < 0.7 * run.steps):
            continue
        for view in views:
            trained = export(state.generator, averaged=state.averaged if view == "ema" else None).weights
            planted = (number + 1) // run.every == plant and not trick
            look(view, number + 1, spoiled(trained, seed % 3) if planted else renderer(trained))
    result = {
        "run": asdict(run), "seed": seed, "trick": trick, "plant": plant * run.every, "evaluations": evaluations,
        "errors": errors, "losses": mels, "cpu": time.process_time() - clock,
    }  # fmt: skip
    path.write_text(json.dumps(result))
    return result


def _rate(trick: str, number: int, steps: int) -> float:
    """Factor of the learning rate."""
    if trick == "warm-up":
        return min(1.0, (number + 1) / (0.2 * steps))
    if trick == "falling rate":
        return 0.5 + 0.5 * float(np.cos(np.pi * number / steps))
    return 1.0


def regret(result: Mapping[str, Any], view: str, encoder: bool) -> dict[str, float]:
    """How much greater the true error of the choice is than that of the best checkpoint of the whole run: `full`, the
    choice among all; `stopped`, among those before training would have stopped; `last`, the last checkpoint; `mel`, the
    one of the least held-out mel distance. `saved`: share of the steps that stopping saves. `encoder`: whether the
    choice has a speaker encoder."""
    evaluations = [Evaluation.of(stored) for stored in result["evaluations"][view]]
    if not encoder:
        evaluations = [
            replace(one, clips=tuple(replace(clip, similarity=None) for clip in one.clips)) for one in evaluations
        ]
    errors = {evaluation.step: error for evaluation, error in zip(evaluations, result["errors"][view], strict=True)}
    ends = [number for number in range(1, len(evaluations)) if finished(evaluations[:number])]
    seen = evaluations[: ends[0]] if ends else evaluations
    least = min(errors.values())
    nearest = min(evaluations, key=lambda evaluation: evaluation.means()["mel_distance"])
    return {
        "full": errors[choose(evaluations).step] - least,
        "stopped": errors[choose(seen).step] - least,
        "last": errors[evaluations[-1].step] - least,
        "mel": errors[nearest.step] - least,
        "saved": 1 - len(seen) / len(evaluations),
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Every run as a line of Markdown, the means below."""
    lines = []
    views = sorted({(view, encoder) for result in results for view in result["errors"] for encoder in (True, False)})
    for view, encoder in views:
        rows = [(result, regret(result, view, encoder)) for result in results if view in result["errors"]]
        weights_are = "averaged weights" if view == "ema" else "weights as they are"
        lines += [
            "",
            f"{weights_are}, {'with' if encoder else 'without'} speaker encoder",
            "",
            "| run | seed | chosen, stopped | chosen of all | least mel distance | last | steps saved |",
            "|---|---|---|---|---|---|---|",
        ]
        for result, row_ in rows:
            figures = " | ".join(f"{row_[name]:.3f}" for name in ("stopped", "full", "mel", "last"))
            lines.append(f"| {result['run']['name']} | {result['seed']} | {figures} | {row_['saved']:.0%} |")
        means = " | ".join(
            f"{np.mean([row_[name] for _, row_ in rows]):.3f} ({np.mean([row_[name] <= 0.01 for _, row_ in rows]):.0%})"
            for name in ("stopped", "full", "mel", "last")
        )
        saved = np.mean([row_["saved"] for _, row_ in rows])
        lines.append(f"| mean (within .01) | {len(rows)} runs | {means} | {saved:.0%} |")
    return "\n".join(lines)


def tricks(cache: Path, runs: Sequence[Run], seeds: int) -> str:
    """True error of the averaged weights over the last evaluations, four in the last third, with and without each."""

    def error(result: Mapping[str, Any], view: str) -> float:
        return float(np.mean(result["errors"][view]))

    pairs = [(run, seed) for run in runs for seed in range(seeds)]
    plain = [train(cache, run, seed, "none") for run, seed in pairs]
    lines = ["| trick | difference | standard error |", "|---|---|---|"]
    for trick in TRICKS:
        if trick == "average of weights":
            differences = [error(result, "ema") - error(result, "raw") for result in plain]
        else:
            changed = [train(cache, run, seed, trick, ("ema",)) for run, seed in pairs]
            differences = [error(a, "ema") - error(b, "ema") for a, b in zip(changed, plain, strict=True)]
        spread = np.std(differences, ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else float("nan")
        lines.append(f"| {trick} | {np.mean(differences):+.3f} | {spread:.3f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("training-choice"), help="folder of finished runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--development", action="store_true")
    parser.add_argument("--tricks", action="store_true")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if options.tricks:
        print(tricks(options.cache, TRICK_RUNS, options.seeds))
        return
    results = []
    for seed in range(options.seeds):
        for run in DEVELOPMENT if options.development else TEST:
            both = options.development or (seed == 0 and run.name in RAW_TOO)
            results.append(train(options.cache, run, seed, views=("raw", "ema") if both else ("ema",)))
            print(run.name, seed, f"{results[-1]['cpu']:.0f} s", flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
