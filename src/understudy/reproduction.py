"""`reproduce`: a signed cover, rendered again from its inputs by what its credentials say, and compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from understudy import __version__
from understudy.audio.files import LIMITS, decode
from understudy.audio.libav import check_readable
from understudy.audio.stored import AudioFile
from understudy.context import scratch_context
from understudy.errors import UnderstudyError
from understudy.jobs import Runner
from understudy.pipeline.cast import Cast
from understudy.pipeline.conversion_graph import conversion_graph
from understudy.pipeline.cover_graph import cover_graph
from understudy.pipeline.graph import Graph, Node
from understudy.pipeline.provenance.manifest import making_of, manifest_store, this_platform
from understudy.pipeline.provenance.marking import made_with
from understudy.pipeline.provenance.verification import read_manifest
from understudy.pipeline.separation.settings import with_current_names
from understudy.pipeline.settings import CoverSettings
from understudy.voices.voice import file_hash

NEAR = 60.0
"""dB by which the difference to a cover that was made on another platform must be below it."""

_OPTIONS = {"song": "--song", "vocals": "--vocals", "instrumental": "--instrumental", "backing": "--backing-vocals"}


@dataclass(frozen=True)
class Reproduction:
    """`identical`: whether all samples are the same. `level`: dB by which the difference is below the cover; None where
    there is none or the lengths differ. `reproduced`: whether it is identical or the level at least `NEAR`. `trusted`:
    whether the cover was signed with a key that is known here. `differs`: what is not as it was when the cover was
    made, in sentences. `conclusion`: in a few sentences."""

    identical: bool
    level: float | None
    reproduced: bool
    trusted: bool
    differs: tuple[str, ...]
    conclusion: str


def reproduce(
    cover: Path, sidecar: Path | None, inputs: Mapping[str, Path], cast: Cast, runner: Runner
) -> Reproduction:
    """Render `cover`, a kept stem, a conversion or a video again, and compare the sounds.

    `sidecar`: the cover's credentials where it can't hold them. `inputs`: the user's files by role: ``song``,
    ``vocals``, ``instrumental``, ``backing``. `cast`: who sings; engines and transposes are those of the credentials.
    `runner`: with an empty cache, else the cover may be what is already there.

    Raises `UnderstudyError`: ``credentials-missing``, ``credentials-invalid`` where they don't fit the file or can't be
    read, ``credentials-foreign`` where another program wrote them, ``inputs-differ`` naming each input that isn't the
    one that the cover was made from; and what a cover raises.
    """
    check_readable(cover, LIMITS.bytes)
    found = read_manifest(cover, sidecar)
    if not found.present:
        raise UnderstudyError(
            "credentials-missing",
            f"{cover} has no signed credentials, which would say how it was made.",
            "Give the file as it was written; those of an Opus file are in the .c2pa file beside it.",
        )
    if not (found.valid or found.outdated):
        raise UnderstudyError(
            "credentials-invalid",
            f"The credentials of {cover} don't fit it, so what they say can't be relied on.",
            "'understudy verify' says what doesn't fit. Give the file as it was signed.",
        )
    store = manifest_store(cover, sidecar if found.beside else None)
    making = making_of(store or {"manifests": {"": {}}, "active_manifest": ""})
    if not isinstance(making.get("inputs"), dict):
        raise UnderstudyError(
            "credentials-foreign",
            f"The credentials of {cover} don't say how it was made: they are of {found.tool or 'another program'}.",
            "Only what this version of Understudy or a later one signed can be reproduced.",
        )
    singers = _same_inputs(making, inputs, cast)
    target, graph = _target(making, inputs, singers)
    result = runner.run(graph, [target])
    with scratch_context(cancel=runner.cancelled) as context:
        files = enumerate((cover, result[target]))
        first, second = (decode(context, path, context.folder / f"{number}.npy") for number, path in files)
        identical, level = _compared(first, second)
    reproduced = identical or (level is not None and level >= NEAR)
    differs = tuple(_differences(making, found.tool, target))
    words = _conclusion(identical, level, reproduced, found.trusted, differs)
    return Reproduction(identical, level, reproduced, found.trusted, differs, words)


def _same_inputs(making: Mapping[str, Any], inputs: Mapping[str, Path], cast: Cast) -> Cast:
    """The cast with the engines and transposes of the credentials. Raises ``inputs-differ``."""
    wrong = []
    for role in dict.fromkeys([*making["inputs"], *inputs]):
        name = role.replace("backing", "backing vocals")
        wanted, given = making["inputs"].get(role), inputs.get(role)
        if given is None:
            wrong.append(f"It was made from a file of the {name}, too ({_OPTIONS.get(role, role)})")
        elif wanted is None:
            wrong.append(f"It was made without a file of the {name}")
        elif (hashed := file_hash(given)) != wanted:
            wrong.append(f"The {name} is another file: {given} has the SHA-256 {hashed[:16]}, not {wanted[:16]}")
    singers = _singers(making, cast)
    if singers is None:
        known = {voice["content_hash"]: str(voice["name"]) for voice in making["voices"]}
        sung = (voice.sung_by(engine) for voice in cast.voices for engine in voice.engines)
        found = {voice.manifest.content_hash for voice in sung}
        missing = [f"{name!r} ({hashed[:16]})" for hashed, name in known.items() if hashed not in found]
        wrong.append(
            f"The voice is another one: {', '.join(missing)} sang, and none of {cast.name!r} has that content"
            if missing
            else "The same voices sing in other turns: give --voice as when the cover was made"
        )
    if wrong:
        raise UnderstudyError(
            "inputs-differ",
            f"This cover can't be made from these inputs. {'. '.join(wrong)}.",
            "Give the inputs that it was made from. Also a song that was only tagged anew is another file.",
        )
    assert singers is not None
    return singers


def _singers(making: Mapping[str, Any], cast: Cast) -> Cast | None:
    """The cast that sang, with its engines; None where it isn't that one."""
    cast = replace(cast, transposes=making.get("transposes") or {})
    for engine in (None, "instant", "zero-shot", "rvc"):
        with suppress(UnderstudyError):  # a voice has nothing for that engine
            sung = cast.sung_by(engine)
            if sung.content_hash == making["cast"]:
                return sung
    return None


def _target(making: Mapping[str, Any], inputs: Mapping[str, Path], cast: Cast) -> tuple[Node[Path], Graph]:
    """The node that makes the file again, unsigned, and its graph."""
    groups = dict(making["settings"])
    part = str(making["part"])
    output = {**making["output"], "keep_stems": part not in ("", "video")}
    try:
        groups |= groups.pop("transpose")
        groups["separation"] = with_current_names(groups["separation"])
        settings = CoverSettings.model_validate({**groups, "output": output})
    except (KeyError, TypeError, ValidationError) as error:
        raise UnderstudyError(
            "credentials-foreign",
            f"The settings in the credentials are not those of this version ({__version__}).",
            "Use the version of Understudy that made the cover; 'understudy verify' names it.",
        ) from error
    provenance = settings.provenance.model_copy(update={"sign": False})
    settings = settings.model_copy(update={"provenance": provenance})
    if making["kind"] == "conversion":
        conversion = conversion_graph(inputs["vocals"], cast, settings)
        return conversion.output, conversion.graph
    made = cover_graph(
        inputs.get("song"), cast, settings, inputs.get("vocals"), inputs.get("instrumental"), inputs.get("backing")
    )
    targets = {"": made.cover, "video": made.video, **made.stems}
    target = targets.get(part)
    if target is None:
        raise UnderstudyError(
            "credentials-foreign", f"There is no part {part!r} of a cover here.", "Use the version that made it."
        )
    return target, made.graph


def _differences(making: Mapping[str, Any], tool: str, target: Node[Path]) -> list[str]:
    """What isn't as it was when the cover was made."""
    found = []
    if tool != f"Understudy {__version__}":
        found.append(f"It was made by {tool}, and this is {__version__}.")
    here = made_with(target)
    then, now = (dict(map(tuple, stages)) for stages in (making["stages"], here["stages"]))
    for name in dict.fromkeys([*then, *now]):
        if then.get(name) != now.get(name):
            there, present = (f"version {one[name]}" if name in one else "not run" for one in (then, now))
            found.append(f"The stage {name!r}: {there} there, {present} here.")
    for model in sorted({*making["models"]} ^ {*here["models"]}):
        found.append(f"Only {'there' if model in making['models'] else 'here'}: the models {model}.")
    then, now = making.get("platform") or {}, this_platform()
    other = [f"{name} {then.get(name)} there, {now.get(name)} here" for name in now if then.get(name) != now.get(name)]
    return [*found, *([f"Another platform: {'; '.join(other)}."] if other else [])]


def _compared(cover: AudioFile, again: AudioFile) -> tuple[bool, float | None]:
    """Whether two sounds are the same, and else dB by which their difference is below `cover`."""
    if (cover.rate, cover.channels, cover.frames) != (again.rate, again.channels, again.frames):
        return False, None
    energy = difference = 0.0
    for start in range(0, cover.frames, 1 << 20):
        stop = min(cover.frames, start + (1 << 20))
        one, other = (sound.read(start, stop).samples.astype(np.float64) for sound in (cover, again))
        energy += float(np.sum(one**2))
        difference += float(np.sum((one - other) ** 2))
    if difference == 0:
        return True, None
    return False, round(10 * np.log10(max(energy, 1e-30) / difference), 1)


def _conclusion(identical: bool, level: float | None, reproduced: bool, trusted: bool, differs: tuple[str, ...]) -> str:
    sentences = []
    if identical:
        sentences.append("Reproduced: the sound is the same, sample by sample.")
    elif level is None:
        sentences.append("Not reproduced: the sound has another length, rate or number of channels.")
    else:
        how = "Reproduced" if reproduced else "Not reproduced"
        sentences.append(f"{how}: the difference is {level:.1f} dB below the cover ({NEAR:.0f} dB are enough).")
    if not identical and not differs:
        sentences.append("Nothing that the credentials name differs: the code or a library was changed.")
    sentences += differs
    if not trusted:
        sentences.append("The signer is not known here; what the credentials say was checked by the sound alone.")
    return " ".join(sentences)
