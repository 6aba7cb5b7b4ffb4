"""The job of a training: an RVC model for a voice, from its recordings.

    recordings ─► check, clips, f0, content (cached) ─► run folder: steps, evaluations, choice ─► index ─► voice
                                                                                           └─► report

Whatever ends it (a cancellation, a kill, a full disk), the same job goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

from understudy import environment
from understudy.audio.pitch import PitchSettings
from understudy.context import scratch_context
from understudy.errors import Cancelled, UnderstudyError
from understudy.jobs import Runner
from understudy.models import usable
from understudy.models.catalogue import Model, find_model
from understudy.models.hashes import file_hash, remembered_hash
from understudy.models.installed import missing, require, size_text, trusting
from understudy.pipeline.executor import LocalExecutor, StageEvent
from understudy.pipeline.graph import Graph
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.training_graph import check_graph, training_graph
from understudy.voices import library
from understudy.voices.recordings import Finding
from understudy.voices.rvc.embedders import embedder_models
from understudy.voices.rvc.training.events import Notify, TrainingEvent
from understudy.voices.rvc.training.hold_out import hold_out
from understudy.voices.rvc.training.run_folder import STOP, Run, RunFolder, held
from understudy.voices.rvc.training.settings import TrainingSettings
from understudy.voices.voice import Trained, Voice

if TYPE_CHECKING:
    from understudy.voices.rvc.training.dataset import Dataset
    from understudy.voices.rvc.training.evaluation import Evaluation
    from understudy.voices.rvc.training.loop import Outcome
    from understudy.voices.rvc.training.materials import Materials

EVALUATION_SECONDS = 180.0  # between evaluations, about
MOST_STEPS_BETWEEN = 500  # evaluations, on however fast a machine
USUAL_EPOCHS = 200  # after which most voices gain nothing any more; for the estimate alone
CLIP_SECONDS = 3.4  # of recording that a clip adds
_ANYTIME = ("most_steps", "save_minutes", "keep", "evaluate_every")  # settings that may change while a run goes on


@dataclass(frozen=True)
class TrainingJob:
    """`library`: the folder of voices; `name`: of the voice in it. `separate`: whether recordings with music are
    separated first. `base`: files of generator and discriminators to begin with, ``"none"``, or None for RVC's own of
    this version and rate (a tiny network has none). `restart`: begin anew, without what an earlier run made. `gpus`:
    how many to train on. `pitch`: the tracker that the model learns from."""

    library: Path
    name: str
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    separate: bool = False
    base: tuple[Path, Path] | Literal["none"] | None = None
    restart: bool = False
    gpus: int = 1
    pitch: PitchSettings = field(default_factory=PitchSettings)

    def voice(self) -> Voice:
        """The voice with its recordings. Raises `UnderstudyError`: ``voice-unknown``, ``voice-without-recordings``, and
        those of missing or changed files."""
        voice = library.load(self.library, self.name)
        if not voice.manifest.recordings:
            raise UnderstudyError(
                "voice-without-recordings",
                f"The voice {voice.name!r} is an imported model: there are no recordings of it to train from.",
                "Make a voice from recordings with `understudy voices add`, and train that.",
            )
        library.refuse_without_consent(voice.manifest.consent)
        return voice

    def folder(self, cache: Path) -> Path:
        """The run's folder below the cache folder: the same for the same recordings, base and settings."""
        return cache / "training" / self._key(self.voice())

    def base_model(self) -> Model | None:
        """The base model of the catalogue that it begins with; None where it doesn't begin with one of these."""
        if self.base is not None or self.settings.size == "tiny" or not self.settings.f0:
            return None
        version = "" if self.settings.version == "v2" else "v1-"
        return find_model(f"rvc-base-{version}{self.settings.sample_rate // 1000}k")

    def base_files(self) -> tuple[Path, Path] | None:
        """Generator and discriminators to begin with. Raises ``model-missing``."""
        model = self.base_model()
        if model is not None:
            weights = require(model.name)
            return weights.path, weights.companions[0].path
        return None if self.base in (None, "none") else (Path(self.base[0]), Path(self.base[1]))

    def base_name(self) -> str:
        """What it begins with, in a word; empty for nothing."""
        model, files = self.base_model(), self.base
        return model.name if model else "" if files is None or files == "none" else Path(files[0]).name

    def missing_models(self) -> tuple[Model, ...]:
        """Models that it needs and that are not installed. Raises ``embedder-unknown``."""
        base = self.base_model()
        names = [*embedder_models(self.settings.embedder), *([base.name] if base else [])]
        return tuple(find_model(name) for name in names if usable(name) is None)

    def _key(self, voice: Voice) -> str:
        files = self.base_files() if usable_base(self) else None
        described = {
            "recordings": [r.sha256 for r in (*voice.manifest.recordings, *voice.manifest.training_recordings)],
            "settings": self.settings.model_dump(mode="json", exclude=set(_ANYTIME)),
            "base": [remembered_hash(path.absolute()) for path in files or ()],
            "embedder": [_model_hash(name) for name in embedder_models(self.settings.embedder)],
            "separate": self.separate,
            "pitch": self.pitch.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:32]


def gpus_for(device: str | None) -> int:
    """How many GPUs a training uses when the user requests `device`: all, unless one is named."""
    if not environment.choose_device(device).startswith("cuda"):
        return 1
    import torch

    named = device or os.environ.get("UNDERSTUDY_DEVICE") or "auto"
    return torch.cuda.device_count() if named == "auto" else 1


def usable_base(job: TrainingJob) -> bool:
    """Whether the base model is there, or none is wanted."""
    model = job.base_model()
    return model is None or usable(model.name) is not None


def _model_hash(name: str) -> str | None:
    weights = usable(name)
    return None if weights is None else weights.content_hash


@dataclass(frozen=True)
class Missing:
    """A model that must be fetched first: its name in the catalogue, `purpose`, `size` in words, `source` (a page) and
    the `command`."""

    name: str
    purpose: str
    size: str
    source: str | None
    command: str


@dataclass(frozen=True)
class TrainingPlan:
    """What a training would do. `seconds`: of recordings, `held_out` of these for the evaluation, before silence and
    what is unfit are left out. `network`: in words. `base`: what it begins with. `step`: from which it goes on; 0: from
    the beginning. `steps`: the most; `usual_steps`: after which most voices gain nothing any more.
    `seconds_per_step`: measured. `disk`: bytes that it needs, `disk_free`: that there are. `folder`: the run's."""

    voice: str
    recordings: int
    seconds: float
    held_out: float
    network: str
    base: str
    missing: tuple[Missing, ...]
    device: str
    gpus: int
    step: int
    steps: int
    usual_steps: int
    batch_size: int
    seconds_per_step: float
    disk: int
    disk_free: int
    folder: Path

    @property
    def usual_seconds(self) -> float:
        """Wall time until `usual_steps`."""
        return max(0, min(self.usual_steps, self.steps) - self.step) * self.seconds_per_step

    @property
    def most_seconds(self) -> float:
        """Wall time until `steps`."""
        return max(0, self.steps - self.step) * self.seconds_per_step

    @property
    def sentences(self) -> tuple[str, ...]:
        """The plan for people: what is used, device and time, disk; and where it won't work like that, what to do."""
        begun = f", goes on from step {self.step:,}" if self.step else f", from {self.base or 'nothing'}"
        where = self.device if self.gpus < 2 else f"{self.gpus} GPUs"
        sentences = [
            f"{self.voice}: {in_words(self.seconds)} in {self.recordings} recordings, of which {self.held_out:.0f} s "
            f"are held out to evaluate; {self.network}{begun}; on {where}, {self.seconds_per_step:.2g} s a step: about "
            f"{in_words(self.usual_seconds)}, at most {in_words(self.most_seconds)}; {self.disk / 1e9:.1f} GB of disk."
        ]
        if self.device == "cpu" and self.usual_seconds > 86400:
            sentences.append(
                "A network of full size on a CPU takes days: use a machine with a GPU. Everything that is made can be "
                "gone on with there."
            )
        sentences += [
            f"Missing: {model.name} ({model.size}, {model.source}): {model.command}" for model in self.missing
        ]
        if self.disk > self.disk_free:
            sentences.append(f"Only {self.disk_free / 1e9:.1f} GB of disk are free.")
        return tuple(sentences)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        more = {"usual_seconds": self.usual_seconds, "most_seconds": self.most_seconds, "sentences": self.sentences}
        return {**asdict(self), "folder": str(self.folder), **more}


@dataclass(frozen=True)
class TrainingResult:
    """`voice`: with its model. `step`: of the chosen checkpoint, `steps`: done in all. `reason`: why this checkpoint;
    `ended`: why training ended. `scores`, `instant`: means of its scores, and of the instant voice's on the same clips.
    `default`: whether the voice sings with the model from now on. `folder`: of the run. `findings`: about recordings
    that were left out or held out. `warnings`: what else happened."""

    voice: Voice
    step: int
    steps: int
    reason: str
    ended: str
    scores: Mapping[str, float]
    instant: Mapping[str, float]
    default: bool
    folder: Path
    report: Path
    advice: tuple[str, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; the voice by its name and content hash."""
        found = {name: value for name, value in vars(self).items() if name != "voice"}
        found |= {"folder": str(self.folder), "report": str(self.report)}
        found["findings"] = [asdict(finding) for finding in self.findings]
        manifest = self.voice.manifest
        return {"voice": self.voice.name, "content_hash": manifest.content_hash, "engine": manifest.engine, **found}


def in_words(seconds: float) -> str:
    """``40 s``, ``12 min``, ``5 h``, ``3 days``."""
    for size, unit, most in ((1, "s", 90), (60, "min", 90), (3600, "h", 48)):
        if seconds < most * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def plan(job: TrainingJob, cache: Path, device: str) -> TrainingPlan:
    """What `train_voice` would do; measures a step unless that was done before. Raises as `TrainingJob.voice`."""
    voice, settings = job.voice(), job.settings
    folder = RunFolder(job.folder(cache))
    run = folder.run() if not job.restart else None
    recordings = (*voice.manifest.recordings, *voice.manifest.training_recordings)
    durations = [recording.duration for recording in recordings]
    size, seconds = (run.batch_size, run.seconds_per_step) if run else (None, None)
    size = size or _batch_size(job, device, max(1, round(sum(durations) / CLIP_SECONDS)))
    held_out = sum(hold_out(durations))
    batches = max(1.0, (sum(durations) - held_out) / CLIP_SECONDS / size / job.gpus)
    states = folder.states() if run else []
    return TrainingPlan(
        voice=voice.name,
        recordings=len(recordings),
        seconds=sum(durations),
        held_out=held_out,
        network=network_name(settings),
        base=job.base_name(),
        missing=tuple(
            Missing(m.name, m.purpose, size_text(m.preferred), m.page, f"understudy models fetch {m.name}{trusting(m)}")
            for m in job.missing_models()
        ),
        device=device,
        gpus=job.gpus,
        step=states[0] if states else 0,
        steps=settings.most_steps,
        usual_steps=min(settings.most_steps, round(USUAL_EPOCHS * batches)),
        batch_size=size,
        seconds_per_step=seconds or _seconds_per_step(job, cache, device, size),
        disk=_disk_needed(settings, sum(durations)),
        disk_free=shutil.disk_usage(_existing(cache)).free,
        folder=folder.path,
    )


def network_name(settings: TrainingSettings) -> str:
    """Such as ``RVC v2, 48 kHz``."""
    from understudy.voices.rvc.training.work import architecture_of

    size = "" if settings.size == "full" else "tiny "
    f0 = "" if settings.f0 else ", without pitch"
    return f"{size}RVC {settings.version}, {architecture_of(settings).sample_rate // 1000} kHz{f0}"


def train_voice(job: TrainingJob, runner: Runner, notify: Notify, enough: Event | None = None) -> TrainingResult:
    """Train a model for the voice, give it to the voice, and write the report. `notify` gets the events; setting
    `enough` ends the training with the best checkpoint so far.

    Raises `UnderstudyError`: ``voice-unknown``, ``voice-without-recordings``, ``model-missing``, ``embedder-unknown``,
    ``training-running``, ``too-little-data``, what `loop.train` raises, ``voice-removed`` if the voice is gone when the
    model is ready; `Cancelled`. After any of them the same job goes on where it was.
    """
    from understudy.voices.rvc.training.materials import read_materials

    voice = job.voice()
    for model in job.missing_models():
        raise missing(model)
    executor = runner.executor
    if not isinstance(executor, LocalExecutor):
        raise UnderstudyError(
            "training-not-distributed",
            "A voice is trained on one machine.",
            "Train it with the local executor; several GPUs of a machine are used.",
        )
    cache, device, warnings = executor.store.root, executor.device, []

    def tell(event: TrainingEvent) -> None:
        if event.kind == "warning":
            warnings.append(event.sentence)
        notify(event)

    folder = RunFolder(job.folder(cache))
    with held(folder.path.parent / f"{voice.manifest.recordings_hash[:32]}.lock", voice.name):
        if job.restart:
            shutil.rmtree(folder.path, ignore_errors=True)
        dataset = _prepared(job, voice, runner, tell)
        _begin(job, voice, folder, dataset, cache, device, runner.cancelled)
        if job.gpus > 1:
            outcome = _train_on_several(job.gpus, folder, tell, runner.cancelled, enough)
        else:
            from understudy.voices.rvc.training.work import go_on

            outcome = go_on(folder, device, tell, runner.cancelled, enough)
        return _finished(job, voice, folder, read_materials(folder), dataset, outcome, device, runner, tuple(warnings))


# -- before


def _prepared(job: TrainingJob, voice: Voice, runner: Runner, tell: Notify) -> Dataset:
    """The voice's recordings as data."""
    listening = replace(runner, listener=_Preparing(runner.listener, tell), planned=None)

    def run(graph: Graph, targets: Sequence[Any]) -> Any:
        listening.listener.expect(len(graph.upstream(targets).nodes))  # type: ignore[attr-defined]
        return listening.run(graph, targets)

    checks = check_graph(voice)
    nodes = list(checks.checked.values())
    found = run(checks.graph, nodes)
    checked = {sha256: found[node] for sha256, node in checks.checked.items()}
    separation = SeparationSettings() if job.separate else None
    graph = training_graph(voice, job.settings, job.pitch, checked, separation)
    return graph.dataset(run(graph.graph, graph.targets))


class _Preparing:
    """A listener that also tells of each event of a stage as a ``preparing`` event."""

    def __init__(self, listener: Callable[[StageEvent], None], tell: Notify) -> None:
        self._listener, self._tell = listener, tell
        self._done: set[str] = set()
        self._of = 0

    def expect(self, count: int) -> None:
        self._done, self._of = set(), count

    def __call__(self, event: StageEvent) -> None:
        self._listener(event)
        if event.state in ("cached", "finished"):
            self._done.add(event.node)
        if event.state in ("started", "finished"):
            self._tell(TrainingEvent("preparing", min(len(self._done), self._of), self._of, sentence=event.node))


def _begin(
    job: TrainingJob, voice: Voice, folder: RunFolder, dataset: Dataset, cache: Path, device: str, cancelled: Event
) -> None:
    """Write ``run.json`` and the materials, or bring those of a run that goes on up to date."""
    from understudy.voices.rvc.training.materials import Materials, evaluation_clips, read_materials, write_materials

    run, settings = folder.run(), job.settings
    if run is None:
        size = _batch_size(job, device, len(dataset.training))
        seconds = _seconds_per_step(job, cache, device, size)
        every = settings.evaluate_every or max(1, min(MOST_STEPS_BETWEEN, round(EVALUATION_SECONDS / seconds)))
        files = job.base_files()
        run = Run(
            voice=voice.name,
            recordings_hash=voice.manifest.recordings_hash,
            settings=settings,
            evaluate_every=every,
            batch_size=size,
            base=None if files is None else (str(files[0].absolute()), str(files[1].absolute())),
            threads=_threads(),
            seconds_per_step=seconds,
        )
    else:
        now = {name: getattr(settings, name) for name in _ANYTIME}
        run = run.model_copy(update={"settings": run.settings.model_copy(update=now)})
    try:
        clips = read_materials(folder).clips
    except UnderstudyError:
        with scratch_context(cancel=cancelled) as context:
            clips = evaluation_clips(context, dataset)
    with suppress(OSError):
        (folder.path / STOP).unlink()
    folder.path.mkdir(parents=True, exist_ok=True)
    write_materials(folder, Materials(dataset, clips))
    folder.begin(run)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _batch_size(job: TrainingJob, device: str, clips: int) -> int:
    from understudy.voices.rvc.training.speed import fitting_batch
    from understudy.voices.rvc.training.work import architecture_of

    chosen = job.settings.batch_size or fitting_batch(architecture_of(job.settings), job.settings, device)
    return max(1, min(chosen, clips))


def _seconds_per_step(job: TrainingJob, cache: Path, device: str, size: int) -> float:
    """As measured now, or before on this machine with this software."""
    import torch

    from understudy.voices.rvc.training.speed import seconds_per_step
    from understudy.voices.rvc.training.work import architecture_of

    architecture = architecture_of(job.settings)
    what = [asdict(architecture), device, size, job.settings.precision, torch.__version__, torch.get_num_threads()]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    known, path = {}, cache / "training" / "speed.json"
    with suppress(OSError, ValueError):
        known = json.loads(path.read_bytes())
    if not isinstance(known.get(key), float):
        known[key] = seconds_per_step(architecture, job.settings, device, size)
        RunFolder(path.parent).write_json(path.name, known)
    return float(known[key])


def _disk_needed(settings: TrainingSettings, seconds: float) -> int:
    """Bytes: two states and one being written, the checkpoints, the data."""
    import torch

    from understudy.voices.rvc.training.networks import networks
    from understudy.voices.rvc.training.work import architecture_of

    architecture = architecture_of(settings)
    with torch.device("meta"):
        values = [sum(p.numel() for p in network.parameters()) for network in networks(architecture, 0)]
    states = 3 * 12 * sum(values)  # each value with the two of AdamW, four bytes each
    checkpoints = (settings.keep + 1) * 2 * values[0]
    rate, width = architecture.sample_rate, architecture.content_channels
    return round(states + checkpoints + seconds * 4 * (rate + 16000 + 50 * width + 200))


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


# -- several GPUs


def _train_on_several(gpus: int, folder: RunFolder, tell: Notify, cancelled: Event, enough: Event | None) -> Outcome:
    """`go_on` in a process for each GPU. When memory runs out in one of them, all begin again with smaller batches."""
    while True:
        try:
            return _several(gpus, folder, tell, cancelled, enough)
        except UnderstudyError as error:
            run = folder.run()
            if error.code != "out-of-memory" or run is None or run.batch_size == 1:
                raise
            folder.begin(run.model_copy(update={"batch_size": run.batch_size // 2}))
            tell(TrainingEvent("warning", 0, 0, sentence=f"Memory ran out: going on with {run.batch_size // 2} clips."))


def _several(gpus: int, folder: RunFolder, tell: Notify, cancelled: Event, enough: Event | None) -> Outcome:
    from understudy.voices.rvc.training.loop import Outcome

    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
    command += ["-m", "understudy.voices.rvc.training", str(folder.path)]
    outcome, failure, last = None, None, ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            with _stopping(folder, cancelled, enough):
                for line in process.stdout:
                    try:
                        found = json.loads(line)
                    except ValueError:
                        last = line.strip() or last
                        continue
                    if "event" in found:
                        tell(TrainingEvent(**found["event"]))
                    elif "outcome" in found:
                        outcome = Outcome(**found["outcome"])
                    elif "error" in found and failure is None:
                        failure = UnderstudyError(**found["error"])
        except BaseException:
            process.terminate()
            raise
    if failure is not None:
        raise Cancelled if failure.code == "cancelled" else failure
    if outcome is None:
        raise UnderstudyError(
            "training-process-ended",
            f"A process of the training ended unexpectedly (code {process.returncode}): {last or 'it said nothing'}.",
            "Run the same command again: it goes on from the last saved state.",
        )
    return outcome


@contextmanager
def _stopping(folder: RunFolder, cancelled: Event, enough: Event | None) -> Iterator[None]:
    """Passes the two events on to the processes of the run, by a file in its folder."""
    from threading import Thread

    ended = Event()

    def watch() -> None:
        while not ended.wait(0.2):
            word = "cancel" if cancelled.is_set() else "enough" if enough is not None and enough.is_set() else None
            if word is not None:
                (folder.path / STOP).write_text(word)
                return

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):
            (folder.path / STOP).unlink()


# -- after


def _finished(
    job: TrainingJob,
    voice: Voice,
    folder: RunFolder,
    materials: Materials,
    dataset: Dataset,
    outcome: Outcome,
    device: str,
    runner: Runner,
    warnings: tuple[str, ...],
) -> TrainingResult:
    """The chosen checkpoint with its index in the voice, and the report."""
    from understudy.voices.rvc.index_building import build_index
    from understudy.voices.rvc.training.evaluation import Evaluation
    from understudy.voices.rvc.training.run_folder import EVALUATIONS

    chosen = folder.chosen() or {}
    index = folder.path / "model.index"
    with scratch_context(cancel=runner.cancelled) as context:
        build_index(dataset.content_of_training(), index, context, job.settings.seed)
    instant = _instant(voice, folder, materials, runner.cancelled)
    trained = next(
        (Evaluation.of(line) for line in folder.lines(EVALUATIONS) if line["step"] == outcome.step),
        None,
    )
    default = trained is not None and beats(trained, instant)
    published = _publish(job, voice, folder, index, outcome, trained, default, dataset)
    advice = _advice(dataset, materials, trained)
    result = TrainingResult(
        voice=published,
        step=outcome.step,
        steps=outcome.steps,
        reason=str(chosen.get("reason", "")),
        ended=outcome.why,
        scores=trained.means() if trained else {},
        instant=instant.means(),
        default=default,
        folder=folder.path,
        report=folder.path / "report.html",
        advice=tuple(advice),
        findings=dataset.findings,
        warnings=warnings,
    )
    _report(result, job, folder, materials, dataset, instant, device, runner.cancelled)
    return result


def beats(trained: Evaluation, instant: Evaluation) -> bool:
    """Whether a checkpoint sings better than the instant voice: more like the held-out recordings by more than the
    uncertainty, as intelligibly, as true to the pitch, and without silence or clicks that the other doesn't have."""
    from understudy.voices.rvc.training.choice import uncertainty

    better, both = trained.means(), instant.means()
    main = "similarity" if "similarity" in better and "similarity" in both else "mel_distance"
    signs = {"similarity": 1, "intelligibility": 1, "f0_error": -1, "mel_distance": -1}

    def gain(name: str) -> float:
        return signs[name] * (better.get(name, 0.0) - both.get(name, 0.0)) / uncertainty([trained], name)

    broken = better["silent"] > both["silent"] + 0.1 or better["clicks"] > both["clicks"] + 1
    return not broken and gain(main) > 1 and gain("intelligibility") > -2 and gain("f0_error") > -2


def _instant(voice: Voice, folder: RunFolder, materials: Materials, cancelled: Event) -> Evaluation:
    """The scores of the instant voice on the same clips, measured once per run."""
    from understudy.audio.samples import Audio
    from understudy.voices.engine import ConversionSettings, Performance
    from understudy.voices.engines import engine
    from understudy.voices.rvc.training.evaluation import Evaluation, references
    from understudy.voices.rvc.training.work import scored

    with suppress(OSError, ValueError, KeyError, TypeError):
        return Evaluation.of(json.loads((folder.path / "instant.json").read_bytes()))
    sung, instant = voice.sung_by("instant"), engine("instant")
    with scratch_context(cancel=cancelled) as context:
        prepared = instant.prepare(context, sung)

        def render(performance: Performance) -> Audio:
            return instant.convert(context.part(0, 0), performance, sung, prepared, ConversionSettings(), {}).read()

        samples = folder.path / "samples" / "instant"
        found = scored(render, materials.clips, references(materials.clips), samples, cancelled)
    folder.write_json("instant.json", found.to_dict())
    return found


def _publish(
    job: TrainingJob,
    voice: Voice,
    folder: RunFolder,
    index: Path,
    outcome: Outcome,
    trained: Evaluation | None,
    default: bool,
    dataset: Dataset,
) -> Voice:
    """Give the voice the model, unless it has this very one."""
    from understudy.voices.rvc.checkpoint import read_checkpoint
    from understudy.voices.rvc.training.materials import pitch_range

    file = folder.checkpoint(outcome.step)
    with suppress(UnderstudyError):
        now = library.load(job.library, job.name)
        model = now.manifest.model
        known = None if model is None else (model.sha256, None if model.index is None else model.index.sha256)
        if (
            known == (file_hash(file), file_hash(index))
            and now.manifest.recordings_hash == voice.manifest.recordings_hash
        ):
            return now
    means = trained.means() if trained else {}
    score = means.get("similarity", -means["mel_distance"] if "mel_distance" in means else None)
    about = Trained(steps=outcome.step, score=score, base=job.base_name()[:255], date=datetime.now(UTC))
    try:
        return library.publish_model(
            job.library,
            voice.name,
            voice.manifest.recordings_hash,
            read_checkpoint(file),
            index,
            about,
            default=default,
            pitch_range=pitch_range(dataset),
        )
    except UnderstudyError as error:
        if error.code != "voice-removed":
            raise
        hint = f"{error.hint} The model is at {file}: `understudy voices import` takes it, too."
        raise UnderstudyError(error.code, error.message, hint) from error


def _advice(dataset: Dataset, materials: Materials, trained: Evaluation | None) -> list[str]:
    from understudy.audio.pitch import PitchTrack
    from understudy.audio.samples import Audio
    from understudy.voices.rvc.training.advice import advice
    from understudy.voices.rvc.training.slicing import CONTENT_RATE

    if dataset.recordings[0].pitch is None:
        return []
    trained_on = (
        (Audio.of(dataset.content_sound(index), CONTENT_RATE), PitchTrack(dataset.f0(index), 0.01))
        for index in sorted(set(dataset.training))
    )
    return advice(trained_on, materials.clips, trained)


def _report(
    result: TrainingResult,
    job: TrainingJob,
    folder: RunFolder,
    materials: Materials,
    dataset: Dataset,
    instant: Evaluation,
    device: str,
    cancelled: Event,
) -> None:
    from understudy.audio.encode import OutputFormat, encode
    from understudy.audio.tags import Tags
    from understudy.pipeline.report.training import HeardClip, TrainingRecord, write_training_report
    from understudy.voices.rvc.training.choice import Choice
    from understudy.voices.rvc.training.evaluation import Evaluation
    from understudy.voices.rvc.training.run_folder import EVALUATIONS, LOSSES
    from understudy.voices.rvc.training.work import sample_names

    names, originals = sample_names(materials.clips), folder.path / "samples" / "original"
    originals.mkdir(parents=True, exist_ok=True)
    chosen = folder.chosen() or {}
    versions = {str(step): folder.samples(step) for step in folder.kept()}
    versions["instant"] = folder.path / "samples" / "instant"
    with scratch_context(cancel=cancelled) as context:
        heard = []
        for clip in materials.clips:
            file = originals / names[clip.name]
            encode(context.part(0, 0), clip.performance.vocals, file, OutputFormat(name="flac16"), Tags())
            found = {version: place / names[clip.name] for version, place in versions.items()}
            there = {version: path for version, path in found.items() if path.is_file()}
            heard.append(HeardClip(clip.name, clip.kind, file, there))
        record = TrainingRecord(
            voice=result.voice.name,
            network=network_name(job.settings),
            recordings=_used(dataset),
            losses=folder.lines(LOSSES),
            evaluations=[Evaluation.of(line) for line in folder.lines(EVALUATIONS)],
            choice=Choice(result.step, chosen["score"], chosen["uncertainty"], result.reason)
            if chosen.get("score") is not None
            else None,
            stopped=result.ended,
            advice=result.advice,
            warnings=result.warnings,
            instant=instant,
            sings="rvc" if result.default else "instant",
            clips=heard,
            settings=job.settings.model_dump(mode="json"),
            facts=_facts(job, folder, device),
        )
        write_training_report(context, record, result.report)


def _facts(job: TrainingJob, folder: RunFolder, device: str) -> dict[str, str]:
    """What the report tells of the run beside its settings."""
    import torch

    from understudy import __version__

    run = folder.run()
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    facts = {"Understudy": __version__, "torch": torch.__version__, "device": name, "GPUs": str(job.gpus)}
    facts |= {"base model": job.base_name() or "none", "pitch tracker": job.pitch.tracker}
    facts |= {"separated": "yes" if job.separate else "no"}
    if run is not None:
        facts |= {"clips per step": str(run.batch_size), "steps between evaluations": str(run.evaluate_every)}
        facts |= {"seconds per step": f"{run.seconds_per_step:.3g}"} if run.seconds_per_step else {}
    return facts


def _used(dataset: Dataset) -> list[Any]:
    """Each recording and what became of it."""
    from understudy.pipeline.report.training import UsedRecording
    from understudy.voices.rvc.training.dataset import seconds

    used = []
    for number, recording in enumerate(dataset.recordings[:-1]):
        for use, indices in (("training", dataset.training), ("held-out", dataset.held_out)):
            clips = [dataset.clips[index] for index in indices if dataset.clips[index].recording == number]
            if clips:
                used.append(UsedRecording(recording.name, seconds(clips), use))  # type: ignore[arg-type]
    names = {recording.name for recording in dataset.recordings}
    return used + [
        UsedRecording(finding.recording, 0.0, "left out", finding.sentence)
        for finding in dataset.findings
        if finding.recording and finding.recording not in names
    ]
