"""The nodes that take a song apart: one for each model that runs, so that each is kept alone, one for what the models
of an ensemble make together, and one for each step of the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from understudy.errors import UnderstudyError
from understudy.models import catalogue
from understudy.models.installed import size_text, trusting
from understudy.pipeline.graph import External, Node, Stage
from understudy.pipeline.separation.chain import STEPS, used
from understudy.pipeline.separation.models import EMBEDDED, SeparatorModel, find_separator, names_in
from understudy.pipeline.separation.settings import EnsembleSettings, SeparationSettings
from understudy.pipeline.stages.separate import BAND, MEMBER, band, chain, hear, separate, take_off

if TYPE_CHECKING:
    from understudy.models import Model

SEPARATE = Stage("separate", 2, separate)
TAKE_OFF = Stage("take off", 1, take_off)
BAND_STEMS = Stage("band", 1, band)
CHAIN = Stage("chain", 1, chain)

_VERSIONS = {"embedded": 2}
"""Of what runs the models of a family, where they aren't 1: raise one when the family's stems change."""

_PACKAGES = {
    "audio_separator": ("audio-separator",),
    "demucs": ("demucs",),
    "mdx_net": ("onnxruntime",),
    "spleeter": ("onnxruntime",),
}
"""What computes a family's networks, where that isn't ours: its version is a part of the keys."""

_FIT = ("vocals", "lead", "instrumental")  # one of these a model must give to tell vocals and instrumental apart
Plain = Mapping[str, BaseModel | str | int | float | bool | None]


@dataclass(frozen=True)
class Separating:
    """`nodes` take the song apart, the last one being ``chain`` where there are steps. `stems`: where each stem comes
    from, ``"node.part"`` by name. `lead`: the vocal that is to be sung by another voice; `placed`: the same before
    anything but other voices was taken off it."""

    nodes: tuple[Node, ...]
    stems: Mapping[str, str]
    lead: str
    placed: str


def separating(song: str, settings: SeparationSettings) -> Separating:
    """How the value of the node `song` is taken apart: stems ``vocals`` and ``instrumental`` by the node ``separate``,
    those of the steps and of the band. ``vocals`` are ``lead`` and ``backing``; the lead (the vocals where they aren't
    split) is ``dry``, ``reverb`` and ``noise``, of which those come off that have a step.

    Raises `UnderstudyError`: ``models-missing`` naming all models that must be fetched first (``model-missing`` for a
    single one), ``separator-unfit`` for one that can't do what it is named for, and what `find_separator` raises.
    """
    models, left_out = _models(settings)
    nodes, names = _separate(song, settings, models, left_out)
    stems = {name: f"separate.{name}" for name in names}
    lead = placed = stems["vocals"]
    steps = {}
    for step in STEPS.values():
        asked = getattr(settings, step.name)
        if asked is None:
            continue
        hearing = {
            name: replace(
                node,
                inputs={**node.inputs, "song": song},
                settings={**node.settings, "step": step.name},
            )
            for name, node in _hearing(step.name, lead, settings, _there(asked, models)).items()
        }
        plain: Plain = {"step": step.name, "ensemble": _ensemble(settings, hearing)}
        nodes += [*hearing.values(), Node(step.name, TAKE_OFF, {"vocals": lead, **_inputs(hearing)}, plain)]
        lead = f"{step.name}.{step.kept}"
        stems[step.taken] = f"{step.name}.{step.taken}"
        steps[step.name] = f"{step.name}.step"
        stems[step.kept] = lead
        if step.name == "lead":
            placed = lead
    if steps:
        nodes.append(Node("chain", CHAIN, steps))
    if settings.band is not None:
        chosen = _there(settings.band, models)
        hearing = _hearing("band", stems["instrumental"], settings, chosen)
        plain = {"ensemble": _ensemble(settings, hearing), "consistency": settings.consistency}
        inputs = {"instrumental": stems["instrumental"], **_inputs(hearing)}
        nodes += [*hearing.values(), Node("band", BAND_STEMS, inputs, plain)]
        found = {stem for model in chosen.values() for stem in model.stems}
        stems |= {stem: f"band.{stem}" for stem in BAND if stem in found or stem == "other"}
    return Separating(tuple(nodes), stems, lead, placed)


def models_of(settings: SeparationSettings) -> tuple[str, ...]:
    """The names of all models that those settings run, the embedded separator aside."""
    asked = (settings.model, settings.lead, settings.dereverb, settings.denoise, settings.band)
    names = [name for setting in asked if setting is not None for name in names_in(setting)]
    return tuple(name for name in dict.fromkeys(names) if name != EMBEDDED)


def _separate(
    song: str, settings: SeparationSettings, models: Mapping[str, SeparatorModel], left_out: str
) -> tuple[list[Node], tuple[str, ...]]:
    """The node ``separate`` with those before it, and the stems that it gives."""
    chosen = _there(settings.model, models)
    if settings.model == EMBEDDED:  # its stems are consistent as they are
        return [_hears("separate", song, settings, chosen[EMBEDDED])], ("vocals", "instrumental")
    hearing = _hearing("separate", song, settings, chosen)
    plain: Plain = {"ensemble": _ensemble(settings, hearing), "consistency": settings.consistency}
    if left_out:
        plain = {**plain, "left_out": left_out}
    found = {stem for model in chosen.values() for stem in model.stems}
    parts = [stem for stem in BAND if stem in found]
    stems = ("vocals", "instrumental", *parts, *(["other"] if parts and "other" not in parts else []))
    return [*hearing.values(), Node("separate", SEPARATE, {"song": song, **_inputs(hearing)}, plain)], stems


def _hearing(
    prefix: str,
    sound: str,
    settings: SeparationSettings,
    models: Mapping[str, SeparatorModel],
) -> dict[str, Node]:
    """A node for each model that hears `sound`, by the name that the model was asked for."""
    labels = [_label(model.name) for model in models.values()]
    return {
        name: _hears(
            f"{prefix} {label}" if labels.count(label) == 1 else f"{prefix} {label} {number}",
            sound,
            settings,
            model,
            len(models) > 1 and settings.ensemble.leave_out,
        )
        for number, ((name, model), label) in enumerate(zip(models.items(), labels, strict=True), start=1)
    }


def _hears(
    name: str,
    sound: str,
    settings: SeparationSettings,
    model: SeparatorModel,
    optional: bool = False,
) -> Node:
    stage = Stage(
        f"separate {model.family}",
        _VERSIONS.get(model.family, 1),
        hear,
        uses_gpu=True,
        packages=_PACKAGES.get(model.family, ()),
        big=model.weights is not None,
    )
    if model.weights is None:
        return Node(name, stage, {"sound": sound}, {}, {"model": External(model, model.identity)}, optional=optional)
    externals = {"model": External(model, model.identity)}
    return Node(name, stage, {"sound": sound}, {"settings": settings.inference}, externals, optional=optional)


def _inputs(hearing: Mapping[str, Node]) -> dict[str, str]:
    return {f"{MEMBER}{name}": node.name for name, node in hearing.items()}


def _ensemble(settings: SeparationSettings, hearing: Mapping[str, Node]) -> EnsembleSettings:
    """What decides how the models become one; nothing does where there is but one."""
    if len(hearing) == 1:
        return EnsembleSettings()
    weights = {name: weight for name, weight in settings.ensemble.weights.items() if name in hearing}
    return settings.ensemble.model_copy(update={"weights": weights, "leave_out": False})


def _label(name: str) -> str:
    """A model's name in the name of a node, where a dot stands before a part of its value."""
    return Path(name).name.replace(".", "_")


def _there(setting: str, models: Mapping[str, SeparatorModel]) -> dict[str, SeparatorModel]:
    """The models of a setting that weren't left out, by name."""
    return {name: models[name] for name in names_in(setting) if name in models}


def _models(settings: SeparationSettings) -> tuple[dict[str, SeparatorModel], str]:
    """All models by the name that they were asked for, and why some of an ensemble had to be left out."""
    models: dict[str, SeparatorModel] = {}
    missing: dict[str, UnderstudyError] = {}
    left_out = []
    for field in ("model", *STEPS, "band"):
        asked = getattr(settings, field)
        names = names_in(asked) if asked is not None else ()
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
    return models, "\n".join(left_out)


def _fitting(field: str, model: SeparatorModel) -> SeparatorModel:
    """The model itself. Raises ``separator-unfit`` for one whose stems are of no use there."""
    if field == "model":
        fit, wanted = bool(set(_FIT) & set(model.stems)), "vocals or an instrumental"
    elif field == "band":
        fit, wanted = bool(set(BAND) & set(model.stems)), ", ".join(BAND)
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
    told = ", ".join(f"{model.name} ({size_text(model.preferred)})" for model in models)
    sizes = [model.preferred.whole for model in models]
    whole = f", {sum(size or 0 for size in sizes) / 1e6:.0f} MB in all" if all(sizes) else ""
    preset = next((name for name in _presets() if models_of(_presets()[name]) == models_of(settings)), None)
    what = f"--preset {preset}" if preset else " ".join(model.name for model in models)
    return UnderstudyError(
        "models-missing",
        f"{len(missing)} models are not on this machine: {told}{whole}.",
        f"Get them with 'understudy models fetch {what}{trusting(*models)}'. Without a network: 'understudy models "
        "show NAME' says where each is from, and 'understudy models add PATH' takes it in.",
    )


def names_of(model: Model) -> set[str]:
    """What a model of the catalogue may be called: its name, and those of its files."""
    return {model.name, *model.aliases, *(name for variant in model.variants for name in variant.names)}


def _presets() -> dict[str, SeparationSettings]:
    from understudy.pipeline.settings import load_settings, presets

    return {name: load_settings(name, environment={}).separation for name in presets()}
