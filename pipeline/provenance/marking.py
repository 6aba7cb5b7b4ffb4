"""The nodes with which a graph marks what it makes: `Marking.marked` for sounds, `Marking.signed` for files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.audio.watermark.payload import Kind
from understudy.pipeline.cast import Cast
from understudy.pipeline.graph import External, Graph, Handle, Node, Setting, Stage
from understudy.pipeline.provenance.credentials import Credentials, credentials
from understudy.pipeline.provenance.manifest import SIGNABLE, sign
from understudy.pipeline.stages.mark import ProvenanceSettings, mark, work_id

MARK = Stage("mark", 2, mark)
SIGN = Stage("sign", 1, sign)


@dataclass(frozen=True)
class Marking:
    """How a work is marked. `inputs`: the user's files that it is made from; `tagged`: the one whose tags it gets.
    `shown`: the settings that its manifests tell. `own`: what is signed with, None where nothing is signed."""

    inputs: tuple[External, ...]
    tagged: External
    cast: Cast
    shown: Mapping[str, Any]
    watermark: bool
    own: Credentials | None

    @staticmethod
    def of(
        inputs: tuple[External, ...],
        tagged: External,
        cast: Cast,
        shown: Mapping[str, Any],
        settings: ProvenanceSettings,
    ) -> Marking:
        """Raises what `credentials` raises."""
        return Marking(inputs, tagged, cast, shown, settings.watermark, credentials() if settings.sign else None)

    def marked(self, parts: Mapping[str, Handle], kind: Kind) -> Mapping[str, Handle]:
        """The parts with one watermark, so that their mix has it, too."""
        if not self.watermark:
            return parts
        id = work_id([self.cast.content_hash, *(file.content_hash for file in self.inputs)])
        plain: dict[str, Setting] = {"kind": kind, "id": id}
        return {name: Node("mark", MARK, {"sound": part}, plain, subject=name) for name, part in parts.items()}

    def signed(self, file: Node[Path], extension: str) -> Node[Path]:
        """The file with a signed manifest, where files with that extension can hold one. It says from what, with which
        stages and models, and with whose consent it was made."""
        if self.own is None or extension not in SIGNABLE:
            return file
        part = file.subject or ("" if file.kind == "encode" else file.kind)
        nodes = Graph.of(file).nodes
        song = self.tagged.value
        making: dict[str, Any] = {
            "part": part,
            "song_file": song.name,  # a part of the key, then: the manifest names it, and its content hash doesn't
            "inputs": [one.content_hash for one in self.inputs],
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
            "stages": [[node.name, node.stage.version] for node in nodes],
            "models": sorted({node.externals["models"].content_hash for node in nodes if "models" in node.externals}),
        }
        plain: dict[str, Setting] = {"title": f"{song.stem} ({self.cast.name})", "making": making}
        externals = {"credentials": External(self.own, self.own.fingerprint), "original": self.tagged}
        return Node("sign", SIGN, {"file": file}, plain, externals, part)
