"""The graphs of the three jobs: a cover, a separation, a conversion. This is where stages are wired together."""

from __future__ import annotations

import hashlib
from pathlib import Path

from audio.encode import OutputFormat
from audio.files import LIMITS
from audio.libav import check_readable, unreadable
from audio.models import require
from audio.pitch.tracking import track
from pipeline.graph import External, Graph, Node, Stage
from pipeline.settings import CoverSettings, OutputSettings, SongSettings
from pipeline.stages.assess import assess
from pipeline.stages.decode import decode_song, mixed, own_stems
from pipeline.stages.encode import encode_output, headroom
from pipeline.stages.finish import finish
from pipeline.stages.remix import cover_stems, remix, weigh
from pipeline.stages.report import report
from pipeline.stages.separate import separate
from pipeline.stages.shift import shift
from pipeline.stages.sing import convert, prepare, transpose
from voices.engines import engine
from voices.voice import Voice

DECODE = Stage("decode", 1, decode_song)
OWN_STEMS = Stage("own stems", 1, own_stems)
MIX = Stage("mix", 1, mixed)
SEPARATE = Stage("separate", 1, separate, uses_gpu=True)
PITCH = Stage("pitch", 1, track, uses_gpu=True, packages=("swift-f0", "torchfcpe"))
TRANSPOSE = Stage("transpose", 1, transpose)
FINISH = Stage("finish", 1, finish)
SHIFT = Stage("shift", 1, shift)
WEIGH = Stage("weigh", 1, weigh)
REMIX = Stage("remix", 2, remix)
STEMS_OF_COVER = Stage("stems", 1, cover_stems)
ENCODE = Stage("encode", 2, encode_output)
HEADROOM = Stage("headroom", 1, headroom)
ASSESS = Stage("assess", 1, assess, packages=("resemblyzer",))
REPORT = Stage("report", 3, report)


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


def separation_graph(song: Path, settings: CoverSettings) -> Graph:
    """Targets: ``encode vocals`` and ``encode instrumental``."""
    original = file_external(song)
    return Graph(
        (
            _decode("decode", original, settings.song),
            Node("separate", SEPARATE, {"song": "decode"}, {"settings": settings.separation}),
            *_encode_stems("separate", settings.output.encoding, original),
        )
    )


def conversion_graph(vocals: Path, voice: Voice, settings: CoverSettings) -> Graph:
    """Targets: ``encode``, and ``transpose`` for what was chosen."""
    original = file_external(vocals)
    return Graph(
        (
            _decode("decode", original, settings.song),
            *_singing("decode", voice, settings),
            *_mixing({"song": "decode", "vocals": "finish"}, settings),
            _encode("encode", {"sound": "remix.cover"}, settings.output.encoding, original, voice),
        )
    )


def cover_graph(
    song: Path | None,
    voice: Voice,
    settings: CoverSettings,
    vocals: Path | None = None,
    instrumental: Path | None = None,
) -> Graph:
    """Targets: ``encode``, ``report``, ``transpose``, ``remix``; with ``keep_stems`` also ``encode vocals`` and
    ``encode instrumental``. Own stems enter in place of separated ones; two of them need no song."""
    nodes: list[Node] = []
    originals = {
        name: file_external(path)
        for name, path in (("song", song), ("vocals", vocals), ("instrumental", instrumental))
        if path is not None
    }
    tagged = originals.get("song") or originals["vocals"]
    nodes += [
        _decode("decode" if name == "song" else f"decode {name}", external, settings.song)
        for name, external in originals.items()
    ]
    if vocals or instrumental:
        inputs = {name: "decode" if name == "song" else f"decode {name}" for name in originals}
        nodes.append(Node("separate", OWN_STEMS, inputs))
    else:
        nodes.append(Node("separate", SEPARATE, {"song": "decode"}, {"settings": settings.separation}))
    if song is None:
        stems = {"vocals": "separate.vocals", "instrumental": "separate.instrumental"}
        nodes.append(Node("decode", MIX, stems))
    nodes += _singing("separate.vocals", voice, settings)
    backdrop = "separate.instrumental"
    if settings.key:
        nodes.append(Node("shift", SHIFT, {"instrumental": backdrop}, {"semitones": settings.key}))
        backdrop = "shift"
    parts = {"song": "decode", "vocals": "finish", "instrumental": backdrop}
    nodes += _mixing(parts, settings)
    nodes.append(_encode("encode", {"sound": "remix.cover"}, settings.output.encoding, tagged, voice))
    if settings.output.keep_stems:
        nodes.append(Node("stems", STEMS_OF_COVER, {**parts, "mixing": "remix.mixing"}))
        nodes += _encode_stems("stems", settings.output.lossless, tagged, voice)
    singer = {"voice": _singer(voice)}
    known = {"vocals": "finish", "instrumental": backdrop, "transposition": "transpose"}
    heard = {"song": "decode", "original_vocals": "separate.vocals", "converted": "convert", "pitch": "pitch"}
    nodes.append(Node("assess", ASSESS, {**known, **heard}, {}, singer))  # no gain, so that none makes it anew
    nodes.append(
        Node(
            "report",
            REPORT,
            {**known, "assessment": "assess", "mix": "remix"},
            {"settings": settings.model_copy(update={"output": OutputSettings()})},  # the format changes nothing in it
            {**singer, "original": tagged},
            hears=tuple(node.name for node in nodes if node.name.split()[0] not in ("encode", "headroom", "stems")),
        )
    )
    return Graph(tuple(nodes))


def _mixing(parts: dict[str, str], settings: CoverSettings) -> list[Node]:
    """From stems to the cover: the node ``remix``. What no gain changes is weighed once."""
    return [
        Node("weigh", WEIGH, parts),
        Node("remix", REMIX, {**parts, "weights": "weigh"}, {"settings": settings.remix}),
    ]


def _singer(voice: Voice) -> External:
    return External(voice, voice.manifest.content_hash)


def _models(names: tuple[str, ...]) -> External:
    """The model files of those names in the catalogue; their contents stand for them in the key. Raises
    `UnderstudyError` ``model-missing`` for one that isn't installed, before anything runs."""
    found = {name: require(name) for name in names}
    return External(found, " ".join(f"{name}:{weights.content_hash}" for name, weights in sorted(found.items())))


def _decode(name: str, file: External, part: SongSettings) -> Node:
    return Node(name, DECODE, {}, {"start": part.start, "duration": part.duration}, {"path": file})


def _encode(
    name: str,
    inputs: dict[str, str],
    format: OutputFormat,
    original: External,
    voice: Voice | None = None,
    stem: str | None = None,
) -> Node:
    settings = {"format": format, "stem": stem, "voice": voice.name if voice else None}
    return Node(name, ENCODE, inputs, settings, {"original": original})


def _encode_stems(stems: str, format: OutputFormat, original: External, voice: Voice | None = None) -> list[Node]:
    """Both stems of the node `stems` as files, at one gain."""
    nodes = [Node("headroom", HEADROOM, {"stems": stems}, {"format": format})]
    for stem in STEMS:
        inputs = {"sound": f"{stems}.{stem}", "gain": "headroom"}
        nodes.append(_encode(f"encode {stem}", inputs, format, original, voice, stem))
    return nodes


def _singing(vocals: str, voice: Voice, settings: CoverSettings) -> list[Node]:
    """From a vocal to the same vocal sung by `voice`, in the original's place and room: the node ``finish``."""
    singer = _singer(voice)
    name = voice.manifest.engine
    version, packages = engine(name).version, engine(name).packages
    requested = {"requested": settings.transpose, "key": settings.key}
    return [
        Node("pitch", PITCH, {"source": vocals}, {"settings": settings.pitch}),
        Node("prepare", Stage(f"prepare {name}", version, prepare, packages=packages), {}, {}, {"voice": singer}),
        Node("transpose", TRANSPOSE, {"pitch": "pitch"}, requested, {"voice": singer}),
        Node(
            "convert",
            Stage(f"convert {name}", version, convert, uses_gpu=True, packages=packages),
            {"vocals": vocals, "pitch": "pitch", "transposition": "transpose", "prepared": "prepare"},
            {"settings": settings.conversion},
            {"voice": singer, "models": _models(engine(name).models)},
        ),
        Node("finish", FINISH, {"converted": "convert", "vocals": vocals}, {"settings": settings.finish}),
    ]
