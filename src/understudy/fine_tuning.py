"""What `understudy.training` does differently for the engine zero-shot: its data, its measurements and its result."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from understudy import __version__
from understudy.context import Context, scratch_context
from understudy.models.installed import require
from understudy.pipeline.report.training import TrainingRecord, UsedRecording, write_training_report
from understudy.pipeline.training_graph import fit_recordings, named_recordings
from understudy.training_job import TrainingJob, TrainingResult
from understudy.voices import library
from understudy.voices.recordings import Finding
from understudy.voices.rvc.training.choice import Choice
from understudy.voices.rvc.training.evaluation import Evaluation
from understudy.voices.training.events import Notify, TrainingEvent
from understudy.voices.training.run_folder import EVALUATIONS, LOSSES, RunFolder
from understudy.voices.voice import Trained, Voice, file_hash
from understudy.voices.zero_shot.configuration import HOP, RATE, read_configuration
from understudy.voices.zero_shot.diffusion import Converter
from understudy.voices.zero_shot.references import LONGEST
from understudy.voices.zero_shot.style import STYLE
from understudy.voices.zero_shot.training.data import PLAYED, FineTuningData, make_data
from understudy.voices.zero_shot.training.work import UNTUNED, FineTuning

if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import Event

    from understudy.models import Weights
    from understudy.pipeline.stages.training import CheckedRecording
    from understudy.voices.training.loop import Outcome


def seconds_per_clip(job: TrainingJob, device: str) -> float:
    """Of a step on one clip of the greatest length, measured with noise."""
    base = require(job.base_name())
    sizes, frames = read_configuration(base.companions[0].path), round(LONGEST * RATE / HOP)
    noise = [torch.randn(sizes.mel.bands, frames), torch.full((frames,), 200.0), torch.randn(STYLE)]
    noise += [torch.randn(round(LONGEST * 50), sizes.content) for _ in PLAYED]
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.pt"
        torch.save(noise, clip)
        work = FineTuning(job.settings, FineTuningData((clip,), (), {}), base, device)
        for number in range(2):  # the first one also makes the optimiser's state
            began = time.perf_counter()
            work.step((0,), number, 0, 1.0)
    return time.perf_counter() - began


def disk_needed(job: TrainingJob, seconds: float) -> int:
    """Bytes: two states and one being written, the checkpoints, the data."""
    sizes = read_configuration(require(job.base_name()).companions[0].path)
    with torch.device("meta"):
        values = sum(parameter.numel() for parameter in Converter(sizes).parameters())
    data = seconds * 4 * (RATE / HOP * (sizes.mel.bands + 1) + 50 * len(PLAYED) * sizes.content)
    return round(3 * 12 * values + (job.settings.keep + 1) * 2 * values + data)


def prepare(
    job: TrainingJob,
    voice: Voice,
    folder: RunFolder,
    checked: Mapping[str, CheckedRecording],
    device: str,
    tell: Notify,
    cancelled: Event,
) -> tuple[FineTuningData, list[Finding]]:
    """The clips of the recordings that are fit for training, in the run's `folder`, and what is found about the others.
    Raises as `make_data`."""
    kept, findings = fit_recordings(named_recordings(voice), checked, False)
    parts: Sequence[Weights] = [require(name) for name in ("whisper-small", "campplus")]

    def heard(done: float) -> None:
        tell(TrainingEvent("preparing", round(100 * done), 100, sentence="clips"))

    with scratch_context(on_progress=heard, cancel=cancelled) as context:
        context = replace(context, device=device)
        files = [(name, file.value) for name, file in kept]
        bands = read_configuration(require(job.base_name()).companions[0].path).mel
        return make_data(context, folder, files, bands, parts[0], parts[1]), findings


def finish(
    job: TrainingJob,
    voice: Voice,
    folder: RunFolder,
    data: FineTuningData,
    findings: Sequence[Finding],
    outcome: Outcome,
    warnings: tuple[str, ...],
    cancelled: Event,
) -> TrainingResult:
    """Give the voice the chosen checkpoint, if that is better than the model as it was, and write the report."""
    chosen, base = folder.chosen() or {}, require(job.base_name())
    untuned = float(json.loads((folder.path / UNTUNED).read_bytes())["held_out"])
    score = chosen.get("score")
    better = score is not None and score < untuned
    if better:
        weights = folder.checkpoint(outcome.step)
        about = Trained(steps=outcome.step, base=job.base_name(), date=datetime.now(UTC))
        tuned = library.of_recordings(job.library, voice.name, voice.manifest.recordings_hash)
        if file_hash(weights) not in tuned.tuned_files.values():
            configuration = base.companions[0].path
            recordings = voice.manifest.recordings_hash
            model = job.singing_model
            tuned = library.publish_tuned(job.library, voice.name, recordings, model, weights, configuration, about)
        voice = tuned
    reason = f"{chosen.get('reason', '')} Without fine-tuning it is {untuned:.4f}."
    if not better:
        reason += " So the voice does not get the fine-tuned model."
    result = TrainingResult(
        voice=voice,
        step=outcome.step,
        steps=outcome.steps,
        reason=reason.strip(),
        ended=outcome.why,
        scores={} if score is None else {"held_out": score, "untuned": untuned},
        instant={},
        default=better and voice.manifest.engine == "zero-shot",
        folder=folder.path,
        report=folder.path / "report.html",
        advice=(),
        findings=tuple(findings),
        warnings=warnings,
        published=better,
    )
    with scratch_context(cancel=cancelled) as context:
        _write_report(context, result, job, folder, data, untuned)
    return result


def _write_report(
    context: Context, result: TrainingResult, job: TrainingJob, folder: RunFolder, data: FineTuningData, untuned: float
) -> None:
    run, evaluations = folder.run(), folder.lines(EVALUATIONS)
    held_out = [{"step": 0, "held_out": untuned}, *evaluations]
    used = [UsedRecording(name, trained, "training") for name, (trained, _) in data.seconds.items() if trained]
    used += [UsedRecording(name, held, "held-out") for name, (_, held) in data.seconds.items() if held]
    left_out = [UsedRecording(one.recording, 0.0, "left out", one.sentence) for one in result.findings if one.recording]
    facts = {"Understudy": __version__, "torch": torch.__version__, "model": job.base_name()}
    if run is not None:
        facts |= {"clips per step": str(run.batch_size), "steps between evaluations": str(run.evaluate_every)}
    record = TrainingRecord(
        voice=result.voice.name,
        network=job.network,
        recordings=[*used, *(one for one in left_out if one.name not in data.seconds)],
        losses=sorted((*folder.lines(LOSSES), *held_out), key=lambda line: line["step"]),
        evaluations=[Evaluation(line["step"], ()) for line in evaluations],
        choice=Choice(result.step, result.scores["held_out"], 0.0, result.reason) if result.scores else None,
        stopped=result.ended,
        warnings=result.warnings,
        sings="zero-shot" if result.published else "untuned",
        settings=job.settings.model_dump(mode="json", include={"most_steps", "learning_rate", "batch_size", "seed"}),
        facts=facts,
    )
    write_training_report(context, record, result.report)
