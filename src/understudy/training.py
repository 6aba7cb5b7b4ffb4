"""The job of a training: an RVC model for a voice from its recordings, or the zero-shot model fine-tuned on them.

    recordings ─► check, clips, f0, content (cached) ─► run folder: steps, evaluations, choice ─► index ─► voice
                                                                                           └─► report

Whatever ends it (a cancellation, a kill, a full disk), the same job goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from understudy.context import scratch_context
from understudy.errors import UnderstudyError
from understudy.jobs import Runner
from understudy.models.hashes import file_hash
from understudy.models.installed import missing as model_missing
from understudy.models.installed import require, size_text, trusting
from understudy.pipeline.executor import LocalExecutor, StageEvent
from understudy.pipeline.graph import Graph
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.training_graph import check_graph, training_graph
from understudy.training_job import ANYTIME, Missing
from understudy.training_job import TrainingJob as TrainingJob
from understudy.training_job import TrainingPlan as TrainingPlan
from understudy.training_job import TrainingResult as TrainingResult
from understudy.training_job import gpus_for as gpus_for
from understudy.training_job import in_words as in_words
from understudy.voices import library
from understudy.voices.training.events import Notify, TrainingEvent
from understudy.voices.training.hold_out import hold_out
from understudy.voices.training.run_folder import STOP, Run, RunFolder, held
from understudy.voices.voice import Trained, Voice

if TYPE_CHECKING:
    from understudy.pipeline.stages.training import CheckedRecording
    from understudy.voices.rvc.training.dataset import Dataset
    from understudy.voices.rvc.training.evaluation import Evaluation
    from understudy.voices.rvc.training.materials import Materials
    from understudy.voices.training.loop import Outcome

RunGraph = Callable[[Graph, Sequence[Any]], Any]
EVALUATION_SECONDS = 180.0  # between evaluations, about
MOST_STEPS_BETWEEN = 500  # evaluations, on however fast a machine
USUAL_EPOCHS = 200  # after which most voices gain nothing any more; for the estimate alone
CLIP_SECONDS = 3.4  # of recording that a clip adds


def plan(job: TrainingJob, cache: Path, device: str) -> TrainingPlan:
    """What `train_voice` would do; measures a step unless that was done before. Raises as `TrainingJob.voice`."""
    voice, settings = job.voice(), job.settings
    folder = RunFolder(job.folder(cache))
    run = folder.run() if not job.restart else None
    recordings = (*voice.manifest.recordings, *voice.manifest.training_recordings)
    durations = [recording.duration for recording in recordings]
    size, seconds = (run.batch_size, run.seconds_per_step) if run else (None, None)
    missing = job.missing_models()
    unmeasured = job.zero_shot and bool(missing)  # the step is that of the model itself
    size = size or _batch_size(job, device, max(1, round(sum(durations) / CLIP_SECONDS)))
    held_out = sum(hold_out(durations))
    batches = max(1.0, (sum(durations) - held_out) / CLIP_SECONDS / size / job.gpus)
    states = folder.states() if run else []
    return TrainingPlan(
        voice=voice.name,
        recordings=len(recordings),
        seconds=sum(durations),
        held_out=held_out,
        network=job.network,
        base=job.base_name(),
        missing=tuple(
            Missing(m.name, m.purpose, size_text(m.preferred), m.page, f"understudy models fetch {m.name}{trusting(m)}")
            for m in missing
        ),
        device=device,
        gpus=1 if job.zero_shot else job.gpus,
        step=states[0] if states else 0,
        steps=settings.most_steps,
        usual_steps=settings.most_steps if job.zero_shot else min(settings.most_steps, round(USUAL_EPOCHS * batches)),
        batch_size=size,
        seconds_per_step=seconds or (0.0 if unmeasured else _seconds_per_step(job, cache, device, size)),
        disk=0 if unmeasured else _disk_needed(job, sum(durations)),
        disk_free=shutil.disk_usage(_existing(cache)).free,
        folder=folder.path,
    )


def train_voice(job: TrainingJob, runner: Runner, notify: Notify, enough: Event | None = None) -> TrainingResult:
    """Train a model for the voice, give it to the voice, and write the report. `notify` gets the events; setting
    `enough` ends the training with the best checkpoint so far.

    Raises `UnderstudyError`: ``voice-unknown``, ``voice-without-recordings``, ``model-missing``, ``embedder-unknown``,
    ``training-running``, ``too-little-data``, what `loop.train` raises, ``voice-removed`` if the voice is gone when the
    model is ready; `Cancelled`. After any of them the same job goes on where it was; but after
    ``consent-revoked``, for a voice whose owner withdrew the consent meanwhile, nothing is left of it.
    """
    voice = job.voice()
    for model in job.missing_models():
        raise model_missing(model)
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
        library.refuse_revoked(voice)
        notify(event)

    folder = RunFolder(job.folder(cache))
    lock = folder.path.parent / f"{voice.manifest.recordings_hash[:32]}.lock"
    with held(lock, voice.name), _emptied_when_revoked(folder):
        if job.restart:
            shutil.rmtree(folder.path, ignore_errors=True)
        if job.zero_shot:
            return _fine_tuned(job, voice, folder, runner, tell, enough, warnings)
        from understudy.voices.rvc.training.materials import read_materials

        _check_base(job, folder)
        dataset = _prepared(job, voice, runner, tell)
        _begin(job, voice, folder, dataset, cache, device, runner.cancelled)
        if job.gpus > 1:
            from understudy.training_processes import train_on_several

            outcome = train_on_several(job.gpus, folder, tell, runner.cancelled, enough)
        else:
            from understudy.voices.rvc.training.work import go_on

            outcome = go_on(folder, device, tell, runner.cancelled, enough)
        return _finished(job, voice, folder, read_materials(folder), dataset, outcome, device, runner, tuple(warnings))


@contextmanager
def _emptied_when_revoked(folder: RunFolder) -> Iterator[None]:
    try:
        yield
    except UnderstudyError as error:
        if error.code == "consent-revoked":
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


# -- before


def _check_base(job: TrainingJob, folder: RunFolder) -> None:
    """Read the base model of a run that is about to begin: what is wrong with it is told before the data is made."""
    from understudy.voices.rvc.training.pretrained import read_base
    from understudy.voices.rvc.training.work import architecture_of

    files = job.base_files()
    if files is not None and folder.run() is None:
        read_base(*files, architecture_of(job.settings))


def _prepared(job: TrainingJob, voice: Voice, runner: Runner, tell: Notify) -> Dataset:
    """The voice's recordings as data."""
    run = _telling(runner, tell)
    checked = _checked(voice, run)
    separation = SeparationSettings() if job.separate else None
    graph = training_graph(voice, job.settings, job.pitch, checked, separation)
    return graph.dataset(run(graph.graph, graph.targets))


def _telling(runner: Runner, tell: Notify) -> RunGraph:
    """What runs a graph with `runner` and tells of its stages."""
    listening = replace(runner, listener=_Preparing(runner.listener, tell), planned=None)

    def run(graph: Graph, targets: Sequence[Any]) -> Any:
        listening.listener.expect(len(graph.upstream(targets).nodes))  # type: ignore[attr-defined]
        return listening.run(graph, targets)

    return run


def _checked(voice: Voice, run: RunGraph) -> dict[str, CheckedRecording]:
    """Whether each recording of the voice is fit for training, by its SHA-256."""
    checks = check_graph(voice)
    found = run(checks.graph, list(checks.checked.values()))
    return {sha256: found[node] for sha256, node in checks.checked.items()}


class _Preparing:
    """A listener that also tells of each event of a stage as a ``preparing`` event."""

    def __init__(self, listener: Callable[[StageEvent], None], tell: Notify) -> None:
        self._listener, self._tell = listener, tell
        self._lock = Lock()  # lanes of the executor call it from several threads
        self._done: set[str] = set()
        self._of = 0

    def expect(self, count: int) -> None:
        self._done, self._of = set(), count

    def __call__(self, event: StageEvent) -> None:
        self._listener(event)
        with self._lock:
            if event.state in ("cached", "finished"):
                self._done.add(event.node)
            if event.state in ("started", "finished"):
                self._tell(TrainingEvent("preparing", min(len(self._done), self._of), self._of, sentence=event.node))


def _begin(
    job: TrainingJob, voice: Voice, folder: RunFolder, dataset: Dataset, cache: Path, device: str, cancelled: Event
) -> None:
    """Write ``run.json`` and the materials, or bring those of a run that goes on up to date."""
    from understudy.voices.rvc.training.materials import Materials, evaluation_clips, read_materials, write_materials

    _begin_run(job, voice, folder, len(dataset.training), cache, device)
    try:
        clips = read_materials(folder).clips
    except UnderstudyError:
        with scratch_context(cancel=cancelled) as context:
            clips = evaluation_clips(context, dataset)
    write_materials(folder, Materials(dataset, clips))


def _begin_run(job: TrainingJob, voice: Voice, folder: RunFolder, clips: int, cache: Path, device: str) -> None:
    """Write ``run.json``, or bring that of a run that goes on up to date."""
    run, settings = folder.run(), job.settings
    if run is None:
        size = _batch_size(job, device, clips)
        seconds = _seconds_per_step(job, cache, device, size)
        usual = settings.most_steps // 10 if job.zero_shot else round(EVALUATION_SECONDS / seconds)
        every = settings.evaluate_every or max(1, min(MOST_STEPS_BETWEEN, usual))
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
        now = {name: getattr(settings, name) for name in ANYTIME}
        run = run.model_copy(update={"settings": run.settings.model_copy(update=now)})
    with suppress(OSError):
        (folder.path / STOP).unlink()
    folder.begin(run)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _fine_tuned(
    job: TrainingJob,
    voice: Voice,
    folder: RunFolder,
    runner: Runner,
    tell: Notify,
    enough: Event | None,
    warnings: list[str],
) -> TrainingResult:
    """The zero-shot model fine-tuned on the voice."""
    from understudy import fine_tuning
    from understudy.voices.zero_shot.singing import read_converter
    from understudy.voices.zero_shot.training.work import go_on

    executor, cancelled = runner.executor, runner.cancelled
    assert isinstance(executor, LocalExecutor)
    cache, device, base = executor.store.root, executor.device, require(job.base_name())
    if folder.run() is None:
        read_converter(base)  # what is wrong with it is told before the data is made
    checked = _checked(voice, _telling(runner, tell))
    data, findings = fine_tuning.prepare(job, voice, folder, checked, device, tell, cancelled)
    _begin_run(job, voice, folder, len(data.training), cache, device)
    outcome = go_on(folder, data, base, device, tell, cancelled, enough)
    return fine_tuning.finish(job, voice, folder, data, findings, outcome, tuple(warnings), cancelled)


def _batch_size(job: TrainingJob, device: str, clips: int) -> int:
    from understudy.voices.rvc.training.speed import fitting_batch
    from understudy.voices.rvc.training.work import architecture_of

    fitting = job.settings.batch_size  # the engine zero-shot has a default
    return max(1, min(fitting or fitting_batch(architecture_of(job.settings), job.settings, device), clips))


def _seconds_per_step(job: TrainingJob, cache: Path, device: str, size: int) -> float:
    """As measured now, or before on this machine with this software."""
    import torch

    from understudy import fine_tuning
    from understudy.voices.rvc.training.speed import seconds_per_step
    from understudy.voices.rvc.training.work import architecture_of

    architecture = architecture_of(job.settings)
    network = require(job.base_name()).content_hash if job.zero_shot else asdict(architecture)
    what = [network, device, size, job.settings.precision, torch.__version__, torch.get_num_threads()]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    known, path = {}, cache / "training" / "speed.json"
    with suppress(OSError, ValueError):
        known = json.loads(path.read_bytes())
    if not isinstance(known.get(key), float):
        if job.zero_shot:
            known[key] = size * fine_tuning.seconds_per_clip(job, device)
        else:
            known[key] = seconds_per_step(architecture, job.settings, device, size)
        RunFolder(path.parent).write_json(path.name, known)
    return float(known[key])


def _disk_needed(job: TrainingJob, seconds: float) -> int:
    """Bytes: two states and one being written, the checkpoints, the data."""
    import torch

    from understudy import fine_tuning
    from understudy.voices.rvc.training.networks import networks
    from understudy.voices.rvc.training.work import architecture_of

    if job.zero_shot:
        return fine_tuning.disk_needed(job, seconds)
    settings = job.settings
    architecture = architecture_of(settings)
    with torch.device("meta"):
        values = [sum(p.numel() for p in network.parameters()) for network in networks(architecture, 0)]
    states = 3 * 12 * sum(values)  # each value with the two of AdamW, four bytes each
    checkpoints = (settings.keep + 1) * 2 * values[0]
    rate, width = architecture.sample_rate, architecture.content_channels
    return round(states + checkpoints + seconds * 4 * (rate + 16000 + 50 * width + 200))


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


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
    from understudy.training_comparison import beats, evaluate_instant
    from understudy.training_report import training_advice, write_report
    from understudy.voices.rvc.index_building import build_index
    from understudy.voices.rvc.training.evaluation import Evaluation
    from understudy.voices.training.run_folder import EVALUATIONS

    chosen = folder.chosen() or {}
    index = folder.path / "model.index"
    with scratch_context(cancel=runner.cancelled) as context:
        build_index(dataset.content_of_training(), index, context, job.settings.seed)
    with _telling_where(folder.checkpoint(outcome.step)):
        voice = library.of_recordings(job.library, voice.name, voice.manifest.recordings_hash)
    instant = evaluate_instant(voice, folder, materials, dataset, runner.cancelled)
    trained = next(
        (Evaluation.of(line) for line in folder.lines(EVALUATIONS) if line["step"] == outcome.step),
        None,
    )
    default = trained is not None and beats(trained, instant)
    published = _publish(job, voice, folder, index, outcome, trained, default, dataset)
    advice = training_advice(dataset, materials, trained)
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
    write_report(result, job, folder, materials, dataset, instant, device, runner.cancelled)
    return result


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
    similarity = trained.means().get("similarity") if trained else None
    about = Trained(steps=outcome.step, similarity=similarity, base=job.base_name()[:255], date=datetime.now(UTC))
    with _telling_where(file):
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


@contextmanager
def _telling_where(file: Path) -> Iterator[None]:
    """A block that gives a voice its model: if the voice is gone, the error tells where the model is."""
    try:
        yield
    except UnderstudyError as error:
        if error.code != "voice-removed":
            raise
        hint = f"{error.hint} The model is at {file}: `understudy voices import` takes it, too."
        raise UnderstudyError(error.code, error.message, hint) from error
