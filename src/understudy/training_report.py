"""The report of a training: what its run left behind, as the page shows it."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Literal

import torch

from understudy import __version__
from understudy.audio.encode import OutputFormat, encode
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.audio.tags import Tags
from understudy.context import scratch_context
from understudy.pipeline.report.training import HeardClip, TrainingRecord, UsedRecording, write_training_report
from understudy.training_job import TrainingJob, TrainingResult
from understudy.voices.rvc.training.advice import advice
from understudy.voices.rvc.training.choice import Choice
from understudy.voices.rvc.training.dataset import Dataset, seconds
from understudy.voices.rvc.training.evaluation import Evaluation
from understudy.voices.rvc.training.materials import Materials
from understudy.voices.rvc.training.slicing import CONTENT_RATE
from understudy.voices.rvc.training.work import sample_names
from understudy.voices.training.run_folder import EVALUATIONS, LOSSES, RunFolder


def training_advice(dataset: Dataset, materials: Materials, trained: Evaluation | None) -> list[str]:
    """What recordings would help most; see `advice.advice`."""
    if dataset.recordings[0].pitch is None:
        return []
    trained_on = (
        (Audio.of(dataset.content_sound(index), CONTENT_RATE), PitchTrack(dataset.f0(index), 0.01))
        for index in sorted(set(dataset.training))
    )
    return advice(trained_on, materials.clips, trained)


def write_report(
    result: TrainingResult,
    job: TrainingJob,
    folder: RunFolder,
    materials: Materials,
    dataset: Dataset,
    instant: Evaluation,
    device: str,
    cancelled: Event,
) -> None:
    """Write the page to `result.report`. Raises ``disk-full``; `Cancelled`."""
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
            network=job.network,
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
    run = folder.run()
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    facts = {"Understudy": __version__, "torch": torch.__version__, "device": name, "GPUs": str(job.gpus)}
    facts |= {"base model": job.base_name() or "none", "pitch tracker": job.pitch.tracker}
    facts |= {"separated": "yes" if job.separate else "no"}
    if run is not None:
        facts |= {"clips per step": str(run.batch_size), "steps between evaluations": str(run.evaluate_every)}
        facts |= {"seconds per step": f"{run.seconds_per_step:.3g}"} if run.seconds_per_step else {}
    return facts


def _used(dataset: Dataset) -> list[UsedRecording]:
    """Each recording and what became of it."""
    kinds: tuple[tuple[Literal["training", "held-out"], Sequence[int]], ...] = (
        ("training", dataset.training),
        ("held-out", dataset.held_out),
    )
    used = []
    for number, recording in enumerate(dataset.recordings[:-1]):
        said = " ".join(finding.sentence for finding in dataset.findings if finding.recording == recording.name)
        for use, indices in kinds:
            clips = [dataset.clips[index] for index in indices if dataset.clips[index].recording == number]
            if clips:
                used.append(UsedRecording(recording.name, seconds(clips), use, said))
    names = {recording.name for recording in dataset.recordings}
    return used + [
        UsedRecording(finding.recording, 0.0, "left out", finding.sentence)
        for finding in dataset.findings
        if finding.recording and finding.recording not in names
    ]
