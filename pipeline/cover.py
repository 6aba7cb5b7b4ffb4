"""The graphs of a cover and of a conversion. This is where their stages are wired together; a separation's stand in
`understudy.pipeline.separation_graph`, and what all three share in `understudy.pipeline.nodes`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from understudy.errors import UnderstudyError
from understudy.models import require
from understudy.pipeline.cast import Cast, TimeRanges, Transpose, as_cast
from understudy.pipeline.graph import External, Graph, Node, Stage
from understudy.pipeline.nodes import QUALITY, decode, encode, encode_stems, file_external, pitch
from understudy.pipeline.separating import separating
from understudy.pipeline.separation.chain import STEPS
from understudy.pipeline.settings import CoverSettings, OutputSettings
from understudy.pipeline.stages.assess import assess, assess_cast
from understudy.pipeline.stages.cast import cut, join, keep, roll
from understudy.pipeline.stages.decode import mixed, own_stems
from understudy.pipeline.stages.finish import finish
from understudy.pipeline.stages.remix import cover_stems, remix, weigh
from understudy.pipeline.stages.report import report
from understudy.pipeline.stages.shift import shift
from understudy.pipeline.stages.sing import convert, prepare, transpose
from understudy.voices.engines import engine
from understudy.voices.voice import Voice

OWN_STEMS = Stage("own stems", 1, own_stems)
MIX = Stage("mix", 1, mixed)
TRANSPOSE = Stage("transpose", 1, transpose)
CUT = Stage("cut", 1, cut)
JOIN = Stage("join", 1, join)
KEEP = Stage("keep", 1, keep)
ROLL = Stage("roll", 1, roll)
FINISH = Stage("finish", 1, finish)
SHIFT = Stage("shift", 1, shift)
WEIGH = Stage("weigh", 1, weigh)
REMIX = Stage("remix", 2, remix)
STEMS_OF_COVER = Stage("stems", 1, cover_stems)
ASSESS = Stage("assess", 2, assess, models=("speaker-encoder",))
ASSESS_CAST = Stage("assess cast", 2, assess_cast, models=("speaker-encoder",))
REPORT = Stage("report", 4, report)


def conversion_graph(vocals: Path, voice: Voice | Cast, settings: CoverSettings) -> Graph:
    """Targets: ``encode``, and ``transpose`` (of a cast that shares the lead ``roll``) for what was chosen."""
    original = file_external(vocals)
    cast = as_cast(voice)
    singing, sung = _lead("decode", "decode", cast, settings)
    return Graph(
        (
            decode("decode", original, settings.song),
            *singing,
            *([] if cast.solo else [_roll(cast, settings, False)]),
            *_mixing({"song": "decode", "vocals": sung}, settings),
            encode("encode", {"sound": "remix.cover"}, settings.output.encoding, original, cast),
        )
    )


def cover_graph(
    song: Path | None,
    voice: Voice | Cast,
    settings: CoverSettings,
    vocals: Path | None = None,
    instrumental: Path | None = None,
    backing_vocals: Path | None = None,
) -> Graph:
    """Targets: ``encode``, ``report``, ``remix``; ``transpose``, or ``roll`` where several voices sing; with
    ``keep_stems`` also ``encode STEM`` for each part of the mix: ``vocals``, ``instrumental`` and, where they are,
    ``backing``, ``reverb`` and ``noise``; where the separation is a chain, ``chain`` says what its steps did. Own stems
    enter in place of separated ones, without a chain; with both of `vocals` and `instrumental` there may be no song.
    Given `backing_vocals`, `vocals` is the lead alone.

    Raises `UnderstudyError` ``backing-missing`` when something is asked of backing vocals that nothing tells apart from
    the lead, ``stem-missing`` when reverb or noise is to be put back that nothing takes off, ``cast-invalid`` and
    ``cast-silent`` for voices that can't sing so, and what `separating` raises.
    """
    cast = as_cast(voice)
    nodes: list[Node] = []
    given = {"song": song, "vocals": vocals, "instrumental": instrumental, "backing": backing_vocals}
    originals = {name: file_external(path) for name, path in given.items() if path is not None}
    tagged = originals.get("song") or originals["vocals"]
    nodes += [
        decode("decode" if name == "song" else f"decode {name}", external, settings.song)
        for name, external in originals.items()
    ]
    if originals.keys() - {"song"}:
        inputs = {name: "decode" if name == "song" else f"decode {name}" for name in originals}
        nodes.append(Node("separate", OWN_STEMS, inputs))
        taken = {name: f"separate.{name}" for name in ("backing",) if backing_vocals is not None}
        lead = placed = heard_vocals = "separate.lead" if taken else "separate.vocals"
    else:
        apart = separating("decode", settings.separation)
        nodes += apart.nodes
        taken = {step.taken: apart.stems[step.taken] for step in STEPS.values() if step.taken in apart.stems}
        lead, placed, heard_vocals = apart.lead, apart.placed, apart.stems["vocals"]
    band = "separate.instrumental"
    backing_mode = _backing_mode(cast, settings, "backing" in taken)
    if song is None:
        nodes.append(Node("decode", MIX, {"vocals": lead, "instrumental": band, **taken}))
    own = bool(originals.keys() - {"song"})
    whole = "decode"
    if own and taken:  # of a lead alone
        whole = "sum judged"
        nodes.append(Node(whole, MIX, {"vocals": lead, "instrumental": band}))
    judged = {"song": whole, "vocals": heard_vocals, "instrumental": band}
    nodes.append(Node("quality", QUALITY, judged))
    singing, sung = _lead(lead, placed, cast, settings)
    nodes += singing
    if settings.key:
        nodes.append(Node("shift", SHIFT, {"instrumental": band}, {"semitones": settings.key}))
        band = "shift"
    parts = {"song": "decode", "vocals": sung, "instrumental": band}
    if backing_mode == "convert":
        nodes += _singing(
            taken["backing"], taken["backing"], _backing_voice(cast), cast.transposes, settings, " backing"
        )
        parts["backing"] = "finish backing"
    for name in _put_back(settings, taken, backing_mode):
        parts[name] = taken[name]
        if settings.key:
            nodes.append(Node(f"shift {name}", SHIFT, {"instrumental": taken[name]}, {"semitones": settings.key}))
            parts[name] = f"shift {name}"
    several = not cast.solo or backing_mode == "convert"
    if several:
        nodes.append(_roll(cast, settings, backing_mode == "convert"))
    nodes += _mixing(parts, settings)
    nodes.append(encode("encode", {"sound": "remix.cover"}, settings.output.encoding, tagged, cast))
    if settings.output.keep_stems:
        nodes.append(Node("stems", STEMS_OF_COVER, {**parts, "mixing": "remix.mixing"}))
        made = {stem: f"stems.{stem}" for stem in parts if stem != "song"}
        nodes += encode_stems(made, settings.output.lossless, tagged, cast)
    transposition = "roll.transposition" if several else "transpose"
    known = {"vocals": sung, "instrumental": band}
    heard = {"song": "decode", "original_vocals": lead, "pitch": "pitch"}
    # no gain comes in here, so that none makes it anew
    if cast.solo:
        sound = {"converted": "convert", "transposition": "transpose"}
        nodes.append(Node("assess", ASSESS, {**known, **heard, **sound}, {}, {"voice": _singer(cast.solo)}))
    else:
        sound = {"converted": "convert.vocals", "wanted": "convert.pitch", "turns": "convert.turns"}
        singers = External(cast.singers, cast.content_hash)
        nodes.append(Node("assess", ASSESS_CAST, {**known, **heard, **sound}, {}, {"singers": singers}))
    beside = {name: part for name, part in parts.items() if name not in ("song", "vocals", "instrumental")}
    if beside:  # all that isn't the lead
        nodes.append(Node("backdrop", MIX, {"instrumental": band, **beside}))
        known["instrumental"] = "backdrop"
    nodes.append(
        Node(
            "report",
            REPORT,
            {
                **known,
                "assessment": "assess",
                "mix": "remix",
                "transposition": transposition,
                "quality": "quality",
                **({"singers": "roll.singers"} if several else {}),
                **({"chain": "chain"} if any(node.name == "chain" for node in nodes) else {}),
            },
            # the format changes nothing in it
            {"settings": settings.model_copy(update={"output": OutputSettings()}), "own_stems": own},
            {"voice": External(cast.solo or cast, cast.content_hash), "original": tagged},
            hears=tuple(node.name for node in nodes if node.name.split()[0] not in ("encode", "headroom", "stems")),
        )
    )
    return Graph(tuple(nodes))


def _backing_mode(cast: Cast, settings: CoverSettings, split: bool) -> Literal["original", "convert", "mute"] | None:
    """What becomes of the backing vocals, None where they aren't told apart from the lead."""
    if not split:
        if cast.backing is None and settings.backing is None:
            return None
        raise UnderstudyError(
            "backing-missing",
            "Nothing tells backing vocals from the lead here: both are one stem, sung by the lead's voice.",
            "Give them as files, --vocals LEAD --backing-vocals BACKING, or choose a separator that splits them.",
        )
    mode = settings.backing or ("convert" if cast.backing else "original")
    if cast.backing and mode != "convert":
        raise UnderstudyError(
            "cast-invalid",
            f"{cast.backing.name!r} is to sing the backing vocals, which are to be {_BACKING_WORDS[mode]}.",
            "Leave out --backing, or the voice for them.",
        )
    return mode


def _put_back(settings: CoverSettings, taken: Mapping[str, str], backing: str | None) -> list[str]:
    """Which stems that were taken off the lead are a part of the cover as they are."""
    gains = {"reverb": settings.remix.reverb_gain, "noise": settings.remix.noise_gain}
    wanted = [name for name, gain in gains.items() if gain is not None]
    for name in wanted:
        if name not in taken:
            raise UnderstudyError(
                "stem-missing",
                f"The {name} can't be put back: nothing takes it off the lead here.",
                f"Name a model that does (separation.de{name}), or leave out remix.{name}_gain.",
            )
    return [*(["backing"] if backing == "original" else []), *wanted]


_BACKING_WORDS = {"original": "those of the original", "mute": "left out"}


def _backing_voice(cast: Cast) -> Voice:
    """Who sings the backing vocals: whoever is named for them, or the lead's voice if there is only one."""
    voice = cast.backing or (cast.singers[0] if len(cast.singers) == 1 else None)
    if voice is None:
        raise UnderstudyError(
            "cast-invalid",
            "The backing vocals are to be converted, and several voices share the lead.",
            "Say who sings them: --voice backing=NAME.",
        )
    return voice


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


def _lead(vocals: str, placed: str, cast: Cast, settings: CoverSettings) -> tuple[list[Node], str]:
    """From the lead vocal to the same vocal sung by its voice or voices, in the place and room that the original had in
    `placed`: the nodes, and which of them is the sung vocal."""
    if cast.solo:
        return _singing(vocals, placed, cast.solo, cast.transposes, settings), "finish"
    heard = cast.within(settings.song.start, settings.song.duration)
    nodes = [pitch("pitch", vocals, settings)]
    joined = {"pitch": "pitch"}
    for number, voice in enumerate(heard.singers, start=1):
        label = _label(voice)
        turns = TimeRanges(ranges=heard.ranges_of(voice), offset=settings.song.start)
        nodes.append(Node(f"cut {label}", CUT, {"vocals": vocals, "pitch": "pitch"}, {"turns": turns}))
        own = {"vocals": f"cut {label}.vocals", "pitch": f"cut {label}.pitch", "own": f"cut {label}.own"}
        nodes += _converting(own, voice, cast.transposes, settings, f" {label}")
        joined |= {
            f"cut{number}": f"cut {label}",
            f"converted{number}": f"convert {label}",
            f"transposition{number}": f"transpose {label}",
        }
    gaps = heard.leaves_gaps
    original = placed
    if gaps and settings.key:
        nodes.append(Node("shift vocals", SHIFT, {"instrumental": placed}, {"semitones": settings.key}))
        original = "shift vocals"
    nodes.append(Node("convert", JOIN, {"vocals": original, **joined}, {"key": settings.key}))
    finishing = {"converted": "convert.vocals", "vocals": placed}
    nodes.append(Node("finish", FINISH, finishing, {"settings": settings.finish}))
    if gaps:
        nodes.append(Node("keep", KEEP, {"finished": "finish", "original": original, "turns": "convert.turns"}))
    return nodes, "keep" if gaps else "finish"


def _singing(
    vocals: str,
    placed: str,
    voice: Voice,
    transposes: Mapping[str, Transpose],
    settings: CoverSettings,
    suffix: str = "",
) -> list[Node]:
    """From a vocal to the same vocal sung by `voice`, in the place and room that the original had in `placed`: the node
    ``finish``, its name with the suffix."""
    own = {"vocals": vocals, "pitch": f"pitch{suffix}", "own": f"pitch{suffix}"}
    named = (
        f"{suffix}={_label(voice)}" if suffix else ""
    )  # a voice may be called backing, and none has a '=' in its name
    finishing = {"converted": f"convert{named}", "vocals": placed}
    return [
        pitch(f"pitch{suffix}", vocals, settings),
        *_converting(own, voice, transposes, settings, named),
        Node(f"finish{suffix}", FINISH, finishing, {"settings": settings.finish}),
    ]


def _converting(
    own: Mapping[str, str],
    voice: Voice,
    transposes: Mapping[str, Transpose],
    settings: CoverSettings,
    suffix: str,
) -> list[Node]:
    """The nodes ``prepare``, ``transpose`` and ``convert`` of one voice, their names with the suffix. `own`: where
    its ``vocals`` and ``pitch`` come from, and the pitch of what is its ``own``, which chooses the octave."""
    singer = _singer(voice)
    name = voice.manifest.engine
    version, packages = engine(name).version, engine(name).packages
    requested = {"requested": transposes.get(voice.name, settings.transpose), "key": settings.key}
    made = {"transposition": f"transpose{suffix}", "prepared": f"prepare{suffix}"}
    return [
        Node(
            f"prepare{suffix}", Stage(f"prepare {name}", version, prepare, packages=packages), {}, {}, {"voice": singer}
        ),
        Node(f"transpose{suffix}", TRANSPOSE, {"pitch": own["own"]}, requested, {"voice": singer}),
        Node(
            f"convert{suffix}",
            Stage(f"convert {name}", version, convert, uses_gpu=True, packages=packages),
            {"vocals": own["vocals"], "pitch": own["pitch"], **made},
            {"settings": settings.conversion},
            {"voice": singer, "models": _models(engine(name).models)},
        ),
    ]


def _roll(cast: Cast, settings: CoverSettings, backing: bool) -> Node:
    """Who sings what, and how many semitones higher."""
    heard = cast if cast.solo else cast.within(settings.song.start, settings.song.duration)
    rows = [("lead", voice, "transpose" if cast.solo else f"transpose {_label(voice)}") for voice in heard.singers]
    if backing:
        voice = _backing_voice(cast)
        rows.append(("backing", voice, f"transpose backing={_label(voice)}"))
    inputs = {f"transposition{number}": node for number, (_, _, node) in enumerate(rows, start=1)}
    if not cast.solo:
        inputs |= {f"turns{n}": f"cut {_label(voice)}.seconds" for n, voice in enumerate(heard.singers, start=1)}
    return Node(
        "roll",
        ROLL,
        inputs,
        {"names": "\n".join(f"{part}:{voice.name}" for part, voice, _ in rows)},
    )


def _label(voice: Voice) -> str:
    """The voice's name in the name of a node, where a dot stands before a part of its value."""
    return voice.name.replace(".", "_")
