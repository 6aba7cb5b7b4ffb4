"""`RvcWork`: an RVC model as `loop` trains it: data, steps, checkpoints and evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import Any

from understudy.audio.encode import OutputFormat, encode
from understudy.audio.resample import resample_blocks
from understudy.audio.samples import Audio, concatenate
from understudy.audio.tags import Tags
from understudy.context import scratch_context
from understudy.models.installed import require
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.rvc.architecture import Architecture, published, segment_frames, tiny
from understudy.voices.rvc.checkpoint import Checkpoint, write_safetensors
from understudy.voices.rvc.embedders import Embedder, embedder_models, load_embedder
from understudy.voices.rvc.engine import free_memory, perform
from understudy.voices.rvc.noise import Noise
from understudy.voices.rvc.singing import LoadedVoice
from understudy.voices.rvc.synthesizer import assemble
from understudy.voices.rvc.training import choice
from understudy.voices.rvc.training.batch import draw
from understudy.voices.rvc.training.batches import batches, collate
from understudy.voices.rvc.training.evaluation import Clip, Evaluation, evaluate, references
from understudy.voices.rvc.training.materials import Materials, read_materials
from understudy.voices.rvc.training.networks import Base, export
from understudy.voices.rvc.training.pretrained import read_base
from understudy.voices.rvc.training.step import TrainingState, new_state, step
from understudy.voices.training.events import Notify
from understudy.voices.training.loop import Outcome, Scoring, train
from understudy.voices.training.ranks import Ranks
from understudy.voices.training.run_folder import Run, RunFolder, held
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.training.threads import as_many_threads

MOST_GRADIENT = 10_000.0
"""Norm above which a gradient is clipped: a guard. In the first steps from nothing it is about 3,000."""


def architecture_of(settings: TrainingSettings) -> Architecture:
    """The network that `settings` describe."""
    if settings.size == "tiny":
        return tiny(settings.version, settings.f0)
    return published(settings.version, settings.sample_rate, settings.f0)


class RvcWork:
    """`base`: the weights to begin with, as `step.new_state` takes them; None: random ones. See `loop.Work`."""

    def __init__(
        self,
        run: Run,
        materials: Materials,
        device: str = "cpu",
        base: Base | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.settings, self.materials, self.device, self.base = run.settings, materials, device, base
        self.ranks = ranks or Ranks()
        self.architecture = architecture_of(run.settings) if base is None else base.architecture
        self._reference: Any = None
        self._state: TrainingState | None = None

    @property
    def training(self) -> TrainingState:
        if self._state is None:
            self._state = new_state(self.architecture, self.settings, self.device, self.base)
        return self._state

    def batches(self, epoch: int, size: int) -> Sequence[tuple[int, ...]]:
        return batches(self.materials.dataset, size, self.settings.seed, epoch, self.ranks.rank, self.ranks.world)

    def step(self, batch: tuple[int, ...], number: int, epoch: int, rate: float) -> Mapping[str, float]:
        state, a = self.training, self.architecture
        tensors = collate(self.materials.dataset, batch, a, self.device)
        draws = draw(tensors, a, segment_frames(a), self.settings.seed + self.ranks.rank, number)
        state.learning_rate = self.settings.learning_rate * self.settings.decay**epoch * rate
        average = self.ranks.average if self.ranks.world > 1 else None
        found = asdict(step(state, tensors, draws, most_gradient=MOST_GRADIENT, average=average))
        if state.scaler.is_enabled():  # float16: it leaves out steps whose gradients overflow, and scales less
            found = {name: value for name, value in found.items() if "grad" not in name or math.isfinite(value)}
        return {name: float(value) for name, value in found.items()}

    def state(self) -> Any:
        return self.training.to_dict()

    def restore(self, state: Any | None) -> None:
        if state is None:
            self._state = None
            free_memory(self.device)
            return
        free_memory(self.device)
        self.training.load(state)

    def write(self, path: Path, step: int) -> None:
        write_safetensors(self.checkpoint(step), path)

    def checkpoint(self, step: int) -> Checkpoint:
        """The model as it is published."""
        state, info = self.training, {"step": step, "embedder_model": self.settings.embedder}
        return export(state.generator, info, state.averaged)

    def evaluate(self, step: int, samples: Path, cancelled: Event) -> Mapping[str, Any]:
        checkpoint = self.checkpoint(step)
        render = renderer(checkpoint, self.settings.embedder, self.device)
        if self._reference is None:
            self._reference = (references(self.materials.clips),)
        scores = scored(render, self.materials.clips, self._reference[0], samples, cancelled, step)
        return {name: value for name, value in scores.to_dict().items() if name != "step"}


def go_on(
    folder: RunFolder,
    device: str,
    notify: Notify,
    cancelled: Event,
    enough: Event | None = None,
    ranks: Ranks | None = None,
) -> Outcome:
    """Begin or go on with the run in `folder`, as `loop.train` does; in each of its processes.

    Raises what that and `read_materials` raise, ``training-running`` if another process is at it, and what reading the
    base model and the embedder raise.
    """
    ranks, run = ranks or Ranks(), folder.run()
    if run is None:
        raise ValueError(f"{folder.path} holds no run")
    with held(folder.path / ".lock", run.voice) if ranks.first else nullcontext(), as_many_threads(run, device, ranks):
        wanted = architecture_of(run.settings)
        base = None if run.base is None else read_base(Path(run.base[0]), Path(run.base[1]), wanted)
        work = RvcWork(run, read_materials(folder), device, base, ranks)
        return train(folder, work, SCORING, notify, cancelled, enough, ranks)


def renderer(checkpoint: Checkpoint, embedder: str, device: str) -> Callable[[Performance], Audio]:
    """What sings with `checkpoint` as a cover would, without an index."""
    encoder: Embedder = load_embedder(embedder, {name: require(name) for name in embedder_models(embedder)}, device)
    voice = LoadedVoice(assemble(checkpoint.architecture, checkpoint.weights, device), encoder, None, 0, device)

    def render(performance: Performance) -> Audio:
        vocals = performance.vocals
        with scratch_context() as context:
            sung = perform(
                replace(context, device=device), performance, lambda: voice, ConversionSettings(index_rate=0), Noise(0)
            )
            if sung is None:
                return Audio.silence(1, vocals.frames, vocals.rate)
            return concatenate(list(resample_blocks(sung, vocals.rate, context, vocals.frames)))

    return render


def scored(
    render: Callable[[Performance], Audio],
    clips: Sequence[Clip],
    reference: Any,
    samples: Path,
    cancelled: Event,
    step: int = 0,
) -> Evaluation:
    """Evaluate `render` on `clips` and write what it makes of them into `samples`: ``held-0.flac``, ``phrase-0.flac``
    and so on. Raises `Cancelled`."""
    samples.mkdir(parents=True, exist_ok=True)
    names = sample_names(clips)
    with scratch_context(cancel=cancelled) as context:

        def listen(clip: Clip, sound: Audio) -> None:
            loudest = float(abs(sound.samples).max(initial=0.0))
            safe = sound if loudest <= 1 else Audio(sound.samples / loudest, sound.rate)
            encode(context.part(0, 0), safe, samples / names[clip.name], OutputFormat(name="flac16"), Tags())

        return evaluate(context, render, clips, reference, step=step, listen=listen)


def sample_names(clips: Sequence[Clip]) -> dict[str, str]:
    """The file of each clip's sound, by the clip's name."""
    kinds = {"held-out": "held", "phrase": "phrase"}
    numbers = {clip.name: sum(other.kind == clip.kind for other in clips[:n]) for n, clip in enumerate(clips)}
    return {clip.name: f"{kinds[clip.kind]}-{numbers[clip.name]}.flac" for clip in clips}


def _choose(found: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    chosen = asdict(choice.choose([Evaluation.of(dict(entry)) for entry in found]))
    return {name: None if value != value else value for name, value in chosen.items()}  # JSON has no NaN


SCORING = Scoring(
    choose=_choose,
    finished=lambda found: choice.finished([Evaluation.of(dict(entry)) for entry in found]),
    means=lambda entry: Evaluation.of(dict(entry)).means(),
)
