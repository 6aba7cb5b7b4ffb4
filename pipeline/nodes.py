"""Nodes that the graphs of a cover, a conversion and a separation share: reading the user's files, writing theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from understudy.audio.encode import OutputFormat
from understudy.audio.files import LIMITS
from understudy.audio.libav import check_readable, unreadable
from understudy.audio.pitch.tracking import track
from understudy.models import require
from understudy.pipeline.cast import Cast
from understudy.pipeline.graph import External, Node, Stage
from understudy.pipeline.settings import CoverSettings, SongSettings
from understudy.pipeline.stages.decode import decode_song
from understudy.pipeline.stages.encode import encode_output, headroom
from understudy.pipeline.stages.quality import quality

DECODE = Stage("decode", 1, decode_song)
ENCODE = Stage("encode", 2, encode_output)
HEADROOM = Stage("headroom", 2, headroom)
QUALITY = Stage("quality", 1, quality)
PITCH = Stage("pitch", 1, track, uses_gpu=True, packages=("swift-f0", "torchfcpe"))

STEMS = ("vocals", "instrumental")


def file_external(path: Path) -> External:
    """A file of the user's as an argument; its bytes stand for it in the key. Raises `UnderstudyError` for what isn't
    a readable file (a device has no end) or is too big to be a song."""
    check_readable(path, LIMITS.bytes)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise unreadable(path, error) from error
    return External(path, digest.hexdigest())


def decode(name: str, file: External, part: SongSettings) -> Node:
    """The node `name` that reads `file`, or the part of it that is asked for."""
    return Node(name, DECODE, {}, {"start": part.start, "duration": part.duration}, {"path": file})


def encode(
    name: str,
    inputs: dict[str, str],
    format: OutputFormat,
    original: External,
    cast: Cast | None = None,
    stem: str | None = None,
) -> Node:
    """The node `name` that writes its inputs ``sound`` (and ``gain``) in `format`, tagged as `original` is."""
    settings = {"format": format, "stem": stem, "voice": cast.name if cast else None}
    return Node(name, ENCODE, inputs, settings, {"original": original})


def encode_stems(
    stems: Mapping[str, str], format: OutputFormat, original: External, cast: Cast | None = None
) -> list[Node]:
    """The stems as files, at one gain: nodes ``encode NAME``. `stems`: where each comes from, by name."""
    nodes = [Node("headroom", HEADROOM, dict(stems), {"format": format})]
    for stem, source in stems.items():
        nodes.append(encode(f"encode {stem}", {"sound": source, "gain": "headroom"}, format, original, cast, stem))
    return nodes


def pitch(name: str, vocals: str, settings: CoverSettings) -> Node:
    """The node `name` that tracks the pitch of `vocals`."""
    externals = {}
    if "rmvpe" in settings.pitch.listening:
        weights = require("rmvpe")
        externals["weights"] = External(weights.path, weights.content_hash)
    return Node(name, PITCH, {"source": vocals}, {"settings": settings.pitch}, externals)
