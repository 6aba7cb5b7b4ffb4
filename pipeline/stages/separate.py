"""The stages that take a song apart: each model alone, what several models give together, and the steps that take
backing vocals, reverb and noise off the lead."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from shutil import rmtree
from typing import TypeAlias

from understudy.audio.stored import AudioFile
from understudy.context import Context
from understudy.pipeline.separation.blockwise import map_blocks, summed
from understudy.pipeline.separation.chain import STEPS, StepReport, TakenOff, kept_by, sings, taken_off, untouched, used
from understudy.pipeline.separation.combining import combine
from understudy.pipeline.separation.consistency import HIGHEST_RATE, Policy, consistent, within_band
from understudy.pipeline.separation.models import SeparatorModel
from understudy.pipeline.separation.separator import separate_with
from understudy.pipeline.separation.settings import EnsembleSettings, InferenceSettings
from understudy.pipeline.separation.stems import INSTRUMENTS

Stems: TypeAlias = Mapping[str, AudioFile]
"""Stems by name."""


def run_model(
    context: Context,
    sound: AudioFile,
    model: SeparatorModel,
    settings: InferenceSettings | None = None,
    song: AudioFile | None = None,
    step: str | None = None,
) -> Stems:
    """The stems that one model makes of `sound`; for a `step` of the chain, only the one that is used there. Given the
    `song` whose vocals `sound` is, no stems where there is no singing in it."""
    if song is not None and not sings(context.part(0.0, 0.02), song, sound):
        return {}
    stems = separate_with(context.part(0.02, 1.0), sound, model, settings or InferenceSettings())
    only = used(STEPS[step], stems) if step is not None else None
    if only is None:
        return stems
    for name, stem in stems.items():
        if name != only:
            stem.path.unlink()
    return {only: stems[only]}


def separate(
    context: Context,
    song: AudioFile,
    ensemble: EnsembleSettings,
    consistency: Policy,
    members: Mapping[str, Stems],
    left_out: Sequence[str] = (),
) -> Stems:
    """``vocals``, ``instrumental`` and, where a model separates them, the stems of the instrumental, out of the stems
    of several models (`members`, by the model's name), combined and consistent with the song. `left_out`: why other
    models aren't among them."""
    _warn(context, left_out)
    with _workshop(context) as work:
        members = {name: _with_vocals(work, song, stems, name) for name, stems in members.items()}
        if consistency != "residual" and any("instrumental" in stems for stems in members.values()):
            members = {name: _with_instrumental(work, song, stems, name) for name, stems in members.items()}
        combined = _combined(work.part(0.1, 0.5), members, ensemble)
        wanted = {name: combined[name] for name in ("vocals", *INSTRUMENTS) if name in combined}
        rest = "instrumental" if len(wanted) == 1 else "other"
        if rest in combined:
            wanted[rest] = combined[rest]
        stems = dict(consistent(context.part(0.5, 0.9), song, wanted, consistency, rest))
    if rest == "other":
        parts = [stem for name, stem in stems.items() if name != "vocals"]
        stems["instrumental"] = summed(context.part(0.9, 1.0), parts)
    return stems


def instruments(
    context: Context,
    instrumental: AudioFile,
    ensemble: EnsembleSettings,
    consistency: Policy,
    members: Mapping[str, Stems],
    left_out: Sequence[str] = (),
) -> Stems:
    """Drums, bass and so on, as far as models separate them; they sum to the `instrumental` as stems do to a song."""
    _warn(context, left_out)
    with _workshop(context) as work:
        members = {
            name: {stem: file for stem, file in stems.items() if stem in INSTRUMENTS} for name, stems in members.items()
        }
        combined = _combined(work.part(0.0, 0.5), members, ensemble)
        return consistent(context.part(0.5, 1.0), instrumental, combined, consistency, "other")


def take_off(
    context: Context,
    vocals: AudioFile,
    step: str,
    ensemble: EnsembleSettings,
    members: Mapping[str, Stems],
    left_out: Sequence[str] = (),
) -> TakenOff:
    """A step of the chain (`understudy.pipeline.separation.chain.STEPS`) on `vocals`, by the stems that models
    (`members`) made of them."""
    _warn(context, left_out)
    doing = STEPS[step]
    if not any(members.values()):
        return untouched(context, doing, vocals, "nobody sings")
    with _workshop(context) as work:
        each = {
            name: {"kept": kept_by(doing, work, vocals, stems, f"{_file_name(name)} kept")}
            for name, stems in members.items()
        }
        kept = _combined(work.part(0.2, 0.5), each, ensemble)["kept"]
        return taken_off(context.part(0.5, 1.0), doing, vocals, kept)


def chain(context: Context, steps: tuple[StepReport, ...]) -> tuple[StepReport, ...]:
    """What the steps found and did, in order."""
    return steps


@contextmanager
def _workshop(context: Context) -> Iterator[Context]:
    """The same context with a folder for temporary files."""
    folder = context.folder / "work"
    folder.mkdir()
    yield replace(context, folder=folder)
    rmtree(folder)


def _combined(context: Context, members: Mapping[str, Stems], ensemble: EnsembleSettings) -> Stems:
    """One set of stems; the weights of members that were left out don't count."""
    if len(members) == 1:
        return next(iter(members.values()))
    there = {name: weight for name, weight in ensemble.weights.items() if name in members}
    return combine(context, members, ensemble.model_copy(update={"weights": there}))


def _with_vocals(context: Context, song: AudioFile, stems: Stems, name: str) -> Stems:
    """A model's stems with ``vocals`` among them: the lead of one that splits, what the instrumental of one that gives
    no more leaves of the song."""
    if "vocals" in stems:
        return stems
    if "lead" in stems:
        return {"vocals": stems["lead"]}
    return {**stems, "vocals": _left(context, song, stems["instrumental"], f"{_file_name(name)} vocals")}


def _with_instrumental(context: Context, song: AudioFile, stems: Stems, name: str) -> Stems:
    """A model's stems with ``instrumental`` among them, unless it separates the instruments."""
    if stems.keys() & {"instrumental", *INSTRUMENTS}:
        return stems
    return {**stems, "instrumental": _left(context, song, stems["vocals"], f"{_file_name(name)} instrumental")}


def _left(context: Context, song: AudioFile, stem: AudioFile, name: str) -> AudioFile:
    """What the stem leaves of the song, as far as the band of the networks reaches, in a file of that name."""
    audible = song if song.rate <= HIGHEST_RATE else within_band(context, song)
    parts = {"song": audible, "stem": stem}
    return map_blocks(context, parts, (name,), lambda given: {name: given["song"] - given["stem"]})[name]


def _file_name(name: str) -> str:
    """A model may be named by a path."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _warn(context: Context, left_out: Sequence[str]) -> None:
    for reason in left_out:
        context.warn(f"A model of the ensemble was left out. {reason}")
