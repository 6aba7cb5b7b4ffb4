"""The nodes that take a song apart: one for each model that runs, so that each model's stems are stored alone, one for
what the models of an ensemble give together, and one for each step of the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UnderstudyError
from understudy.models import catalogue
from understudy.models.installed import size_text, trusting
from understudy.pipeline.graph import External, Handle, Node, Setting, Stage
from understudy.pipeline.presets import presets, read_preset
from understudy.pipeline.separation.chain import STEPS, StepReport, used
from understudy.pipeline.separation.models import EMBEDDED, SeparatorModel, find_separator, names_in
from understudy.pipeline.separation.settings import EnsembleSettings, SeparationSettings
from understudy.pipeline.separation.stems import INSTRUMENTS
from understudy.pipeline.stages.separate import Stems, chain, instruments, run_model, separate, take_off

if TYPE_CHECKING:
    from understudy.models import Model

SEPARATE = Stage("separate", 2, separate)
TAKE_OFF = Stage("take off", 1, take_off)
INSTRUMENT_STEMS = Stage("instruments", 1, instruments)
CHAIN = Stage("chain", 1, chain)

_VERSIONS = {"embedded": 3}
"""Of what runs the models of a family, where they aren't 1: raise one when the family's stems change."""

_PACKAGES = {
    "demucs": ("demucs",),
    "mdx_net": ("onnxruntime",),
    "pymss_core": ("pymss-core",),
    "spleeter": ("onnxruntime",),
}
"""What computes a family's networks, where that isn't ours: its version is a part of the keys."""

RESTORED = "restored"
"""What models that restore a lossy song give."""

_FIT = ("vocals", "lead", "instrumental")  # a model must give one of these to separate vocals and instrumental


@dataclass(frozen=True)
class SeparatedSong:
    """Where each stem of a song comes from, by name. `song`: what was taken apart, the song or what a model restored of
    it. `lead`: the vocal that is to be sung by another voice; `placed`: the same before reverb and noise were taken off
    it. `chain`: what the steps did, None where there are none."""

    song: Handle
    stems: Mapping[str, Handle]
    lead: Handle
    placed: Handle
    chain: Node[tuple[StepReport, ...]] | None


def separating(song: Handle, settings: SeparationSettings, subject: str = "") -> SeparatedSong:
    """The nodes that take `song` apart: into ``vocals`` and ``instrumental``, the stems of the steps and those of the
    instruments. ``vocals`` are ``lead`` and ``backing``; the lead (the vocals where they aren't split) is ``dry``,
    ``reverb`` and ``noise``, of which those come off that have a step. `subject`: names the nodes, where a graph
    separates several songs.

    Raises what `check_models` raises.
    """
    models, left_out = _models(settings)
    if settings.restore is not None:
        (restoring,) = _members("restore", song, settings, _there(settings.restore, models), subject=subject).values()
        song = restoring[RESTORED]
    stems = _separate(song, settings, models, left_out, subject)
    lead = placed = stems["vocals"]
    reports: list[Handle] = []
    for step in STEPS.values():
        requested = getattr(settings, step.name)
        if requested is None:
            continue
        members = _members(step.name, lead, settings, _there(requested, models), song, subject)
        plain: dict[str, Setting] = {"step": step.name, "ensemble": _ensemble(settings, members)}
        off = Node(step.name, TAKE_OFF, {"vocals": lead, "members": members}, plain, subject=subject)
        lead = off["kept"]
        stems |= {step.kept: lead, step.taken: off["taken"]}
        reports.append(off["step"])
        if step.name == "lead":
            placed = lead
    if settings.instruments is not None:
        chosen = _there(settings.instruments, models)
        members = _members("instruments", stems["instrumental"], settings, chosen, subject=subject)
        plain = {"ensemble": _ensemble(settings, members), "consistency": settings.consistency}
        inputs = {"instrumental": stems["instrumental"], "members": members}
        node = Node("instruments", INSTRUMENT_STEMS, inputs, plain, subject=subject)
        found = {stem for model in chosen.values() for stem in model.stems}
        stems |= {stem: node[stem] for stem in INSTRUMENTS if stem in found or stem == "other"}
    done = Node("chain", CHAIN, {"steps": tuple(reports)}, subject=subject) if reports else None
    return SeparatedSong(song, stems, lead, placed, done)


def check_models(settings: SeparationSettings) -> None:
    """Check that all models of those settings are there and fit.

    Raises `UnderstudyError`: ``models-missing`` naming all models that must be fetched first (``model-missing`` for a
    single one), ``separator-unfit`` for one that can't do what it is named for, ``ensemble-invalid`` for a weight of a
    model that isn't among them, and what `find_separator` raises.
    """
    _models(settings)


def models_of(settings: SeparationSettings) -> tuple[str, ...]:
    """The names of all models that those settings run, the embedded separator aside."""
    names = [name for setting in settings.requested for name in names_in(setting)]
    return tuple(name for name in dict.fromkeys(names) if name != EMBEDDED)


def _separate(
    song: Handle,
    settings: SeparationSettings,
    models: Mapping[str, SeparatorModel],
    left_out: tuple[str, ...],
    subject: str,
) -> dict[str, Handle]:
    """The stems that the first models give together."""
    chosen = _there(settings.model, models)
    if settings.model == EMBEDDED:  # its stems are consistent as they are
        only = replace(_members("separate", song, settings, chosen)[EMBEDDED], subject=subject)
        return {"vocals": only["vocals"], "instrumental": only["instrumental"]}
    members = _members("separate", song, settings, chosen, subject=subject)
    plain: dict[str, Setting] = {"ensemble": _ensemble(settings, members), "consistency": settings.consistency}
    if left_out:
        plain["left_out"] = left_out
    node = Node("separate", SEPARATE, {"song": song, "members": members}, plain, subject=subject)
    found = {stem for model in chosen.values() for stem in model.stems}
    parts = [stem for stem in INSTRUMENTS if stem in found]
    names = ("vocals", "instrumental", *parts, *(["other"] if parts and "other" not in parts else []))
    return {name: node[name] for name in names}


def _members(
    kind: str,
    sound: Handle,
    settings: SeparationSettings,
    models: Mapping[str, SeparatorModel],
    song: Handle | None = None,
    subject: str = "",
) -> dict[str, Node[Stems]]:
    """A node for each model that separates `sound`, by the name that was given. Given the `song` whose
    vocals `sound` is, they run as models of the chain's step `kind`."""
    files = [Path(model.name).name for model in models.values()]
    optional = len(models) > 1 and settings.ensemble.leave_out
    inputs = {"sound": sound} if song is None else {"sound": sound, "song": song}
    members: dict[str, Node[Stems]] = {}
    for number, ((name, model), file) in enumerate(zip(models.items(), files, strict=True), start=1):
        stage = Stage(
            f"separate {model.family}",
            _VERSIONS.get(model.family, 1),
            run_model,
            uses_gpu=True,
            packages=_PACKAGES.get(model.family, ()),
            big=model.weights is not None,
        )
        plain: dict[str, Setting] = {} if song is None else {"step": kind}
        if model.weights is not None:
            plain["settings"] = settings.inference
        title = file if files.count(file) == 1 else f"{file} {number}"
        external = {"model": External(model, model.identity)}
        members[name] = Node(kind, stage, inputs, plain, external, f"{title} {subject}".rstrip(), optional=optional)
    return members


def _ensemble(settings: SeparationSettings, members: Mapping[str, Node[Stems]]) -> EnsembleSettings:
    """What decides how the models become one; nothing does where there is but one."""
    if len(members) == 1:
        return EnsembleSettings()
    weights = {name: weight for name, weight in settings.ensemble.weights.items() if name in members}
    return settings.ensemble.model_copy(update={"weights": weights, "leave_out": False})


def _there(setting: str, models: Mapping[str, SeparatorModel]) -> dict[str, SeparatorModel]:
    """The models of a setting that weren't left out, by name."""
    return {name: models[name] for name in names_in(setting) if name in models}


def _models(settings: SeparationSettings) -> tuple[dict[str, SeparatorModel], tuple[str, ...]]:
    """All models by the name that was given, and why some of an ensemble had to be left out."""
    models: dict[str, SeparatorModel] = {}
    missing: dict[str, UnderstudyError] = {}
    left_out = []
    for field in ("restore", "model", *STEPS, "instruments"):
        requested = getattr(settings, field)
        names = names_in(requested) if requested is not None else ()
        broken = []
        for name in names:
            try:
                models[name] = _fitting(field, find_separator(name))
            except UnderstudyError as error:
                if error.code == "model-missing":
                    missing[name] = error
                    continue
                broken.append(error)
        if broken and (field != "model" or not settings.ensemble.leave_out or len(broken) == len(names)):
            raise broken[0]
        left_out += [error.message for error in broken]
    if missing:
        raise _missing(settings, missing)
    unknown = settings.ensemble.weights.keys() - set(models_of(settings)) - {EMBEDDED}
    if unknown:
        raise UnderstudyError(
            "ensemble-invalid",
            f"The ensemble has a weight for {min(unknown)!r}, which isn't one of its models.",
            f"Its models are: {', '.join(names_in(settings.model))}.",
        )
    return models, tuple(left_out)


def _fitting(field: str, model: SeparatorModel) -> SeparatorModel:
    """The model itself. Raises ``separator-unfit`` for one whose stems are of no use there."""
    if field == "model":
        fit, wanted = bool(set(_FIT) & set(model.stems)), "vocals or an instrumental"
    elif field == "restore":
        fit, wanted = RESTORED in model.stems, RESTORED
    elif field == "instruments":
        fit, wanted = bool(set(INSTRUMENTS) & set(model.stems)), ", ".join(INSTRUMENTS)
    else:
        step = STEPS[field]
        fit, wanted = used(step, model.stems) is not None, f"{step.kept} or {step.taken}"
    if fit:
        return model
    raise UnderstudyError(
        "separator-unfit",
        f"The model {model.name!r} can't be separation.{field}: it gives {', '.join(model.stems)}, not {wanted}.",
        "'understudy models list' says what each model is for.",
    )


def _missing(settings: SeparationSettings, missing: Mapping[str, UnderstudyError]) -> UnderstudyError:
    """One error for all models that must be fetched before anything can run."""
    if len(missing) == 1:
        return next(iter(missing.values()))
    models = [next(model for model in catalogue().values() if name in names_of(model)) for name in missing]
    listed = ", ".join(f"{model.name} ({size_text(model.preferred)})" for model in models)
    sizes = [model.preferred.whole for model in models]
    whole = f", {sum(size or 0 for size in sizes) / 1e6:.0f} MB in all" if all(sizes) else ""
    separations = {
        name: SeparationSettings.model_validate(read_preset(name).get("separation", {})) for name in presets()
    }
    preset = next((name for name, one in separations.items() if models_of(one) == models_of(settings)), None)
    what = f"--preset {preset}" if preset else " ".join(model.name for model in models)
    return UnderstudyError(
        "models-missing",
        f"{len(missing)} models are not on this machine: {listed}{whole}.",
        f"Get them with 'understudy models fetch {what}{trusting(*models)}'. Without a network: 'understudy models "
        "show NAME' says where each is from, and 'understudy models add PATH' takes it in.",
    )


def names_of(model: Model) -> set[str]:
    """What a model of the catalogue may be called: its name, and those of its files."""
    return {model.name, *model.aliases, *(name for variant in model.variants for name in variant.names)}
