"""The nodes with which a graph marks what it makes: `Marking.marked` for sounds, `Marking.signed` for files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.audio.watermark.payload import Kind
from understudy.models.catalogue import find_model
from understudy.pipeline.cast import Cast
from understudy.pipeline.graph import External, Graph, Handle, Node, Setting, Source, Stage
from understudy.pipeline.provenance.credentials import Credentials, credentials
from understudy.pipeline.provenance.manifest import SIDECAR, SIGNABLE, ingredient, sign
from understudy.pipeline.settings import CoverSettings, OutputSettings
from understudy.pipeline.stages.mark import mark, work_id

MARK = Stage("mark", 2, mark)
INGREDIENT = Stage("ingredient", 1, ingredient)
SIGN = Stage("sign", 2, sign, private=True)


@dataclass(frozen=True)
class Marking:
    """How a work is marked. `kind`: what it is. `inputs`: the user's files that it is made from, by role (``song``,
    ``vocals``, ...); `tagged`: the one whose tags it gets. `shown`, `output`: the settings that its manifests tell.
    `own`: what is signed with, None where nothing is signed. `origins`: the inputs as ingredients of what is signed."""

    kind: Kind
    inputs: Mapping[str, External]
    tagged: External
    cast: Cast
    shown: Mapping[str, Any]
    output: OutputSettings
    watermark: bool
    own: Credentials | None
    origins: tuple[Node[Path], ...]

    @staticmethod
    def of(
        kind: Kind,
        inputs: Mapping[str, External],
        tagged: External,
        cast: Cast,
        shown: Mapping[str, Any],
        settings: CoverSettings,
    ) -> Marking:
        """Raises what `credentials` raises."""
        chosen = settings.provenance
        own = credentials() if chosen.sign else None
        origins = tuple(origin(file, role) for role, file in inputs.items()) if own else ()
        return Marking(kind, inputs, tagged, cast, shown, settings.output, chosen.watermark, own, origins)

    @property
    def id(self) -> int:
        """Of the work, in its watermark and its manifests."""
        return work_id([self.cast.content_hash, *(file.content_hash for file in self.inputs.values())])

    def marked(self, parts: Mapping[str, Handle]) -> Mapping[str, Handle]:
        """The parts with one watermark, so that their mix has it, too."""
        if not self.watermark:
            return parts
        plain: dict[str, Setting] = {"kind": self.kind, "id": self.id}
        return {name: Node("mark", MARK, {"sound": part}, plain, subject=name) for name, part in parts.items()}

    def signed(self, file: Node[Path], extension: str) -> Node[Path]:
        """The file with a signed manifest, where files with that extension can hold one."""
        return file if self.own is None or extension not in SIGNABLE else self._signing(file, self.own)

    def sidecar(self, file: Node[Path], extension: str) -> Node[Path] | None:
        """The signed manifest of the file, where files with that extension can't hold it."""
        return None if self.own is None or extension not in SIDECAR else self._signing(file, self.own)

    def _signing(self, file: Node[Path], own: Credentials) -> Node[Path]:
        """Signs: the manifest says from what, with which stages and models, and with whose consent it was made."""
        part = file.subject or ("" if file.kind == "encode" else file.kind)
        song = self.tagged.value
        making: dict[str, Any] = {
            "kind": self.kind,
            "part": part,
            "watermark": self.id if self.watermark else None,
            "inputs": {role: file.content_hash for role, file in self.inputs.items()},
            "cast": self.cast.content_hash,
            "transposes": dict(self.cast.transposes),
            "voices": [
                {
                    "name": voice.name,
                    "content_hash": voice.manifest.content_hash,
                    "consent": voice.manifest.consent,
                    "consent_level": voice.manifest.consent_level,
                    "consent_record": voice.manifest.consent_record and voice.manifest.consent_record.record,
                }
                for voice in self.cast.voices
            ],
            "settings": self.shown,
            "output": self.output.model_dump(include={"format", "video"} if part == "video" else {"format"}),
            **made_with(file),
        }
        plain: dict[str, Setting] = {"title": f"{song.stem} ({self.cast.name})", "making": making}
        inputs: dict[str, Source] = {"file": file, "ingredients": self.origins}
        return Node("sign", SIGN, inputs, plain, {"credentials": External(own, own.identity)}, part)


def origin(file: External, role: str) -> Node[Path]:
    """The user's file as an ingredient of what is signed."""
    named: dict[str, Setting] = {"title": file.value.name, "content_hash": file.content_hash}
    return Node("ingredient", INGREDIENT, {}, named, {"original": file}, role)


def made_with(file: Node[Path]) -> dict[str, list[Any]]:
    """The stages that make `file`, each with its version; what stands for the model files that they use; and the names
    of those in the catalogue, each with the licence of its weights."""
    nodes = Graph.of(file).nodes
    externals = [node.externals.get(name) for node in nodes for name in ("model", "models", "weights")]
    found = [external for external in externals if external is not None]
    named = {name for external in found if isinstance(external.value, Mapping) for name in external.value}
    voices = [node.externals["voice"].value.manifest for node in nodes if "voice" in node.externals]
    named |= {one.tuned.model for one in voices if one.tuned is not None and one.engine == "zero-shot"}
    return {
        "stages": [[node.name, node.stage.version] for node in nodes],
        "models": sorted({external.content_hash for external in found}),
        "licences": [[name, find_model(name).licence] for name in sorted(named)],
    }
