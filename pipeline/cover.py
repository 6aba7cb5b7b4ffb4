"""The graphs of a cover and of a conversion: this is where their stages are wired together. A separation's stand in
`understudy.pipeline.separation_graph`, and what all three share in `understudy.pipeline.nodes`.

    song ─► separate ─► lead ─► prepare, pitch, transpose, convert ─► finish ─► mark ─► remix ─► encode
                  └───► instrumental (─► shift) ────────────────────────► mark ─────────┘   └──► report

Functions here return handles: nodes, or parts of what nodes make. A graph is what its last nodes need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from understudy.audio.chorus import Chorus, find_chorus
from understudy.audio.encode import OutputFormat, parse_format
from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.stored import AudioFile
from understudy.audio.tags import TagSettings
from understudy.choices import Backing
from understudy.errors import UnderstudyError
from understudy.models import require
from understudy.pipeline.cast import Cast, TimeRanges, Transpose, as_cast
from understudy.pipeline.graph import External, Graph, Handle, Node, Setting, Source, Stage
from understudy.pipeline.nodes import (
    QUALITY,
    artwork,
    decode,
    encode,
    encode_stems,
    file_external,
    pitch,
    song_analysis,
)
from understudy.pipeline.provenance.marking import MARK, Marking
from understudy.pipeline.report.assess_parts import AssessInputs, assess
from understudy.pipeline.report.assessment import Assessment
from understudy.pipeline.report.figures import ReportInputs
from understudy.pipeline.report.make import ReportFiles, make_report
from understudy.pipeline.separating import separating
from understudy.pipeline.separation.blockwise import summed
from understudy.pipeline.separation.chain import STEPS, StepReport
from understudy.pipeline.separation.models import EMBEDDED
from understudy.pipeline.separation.quality import Quality
from understudy.pipeline.separation.singer_removal import remove_singer
from understudy.pipeline.separation.vocal_level import VocalLevel, vocal_level
from understudy.pipeline.settings import CoverSettings
from understudy.pipeline.stages.cast import CastList, JoinedVocal, cast_list, cut, join, keep
from understudy.pipeline.stages.decode import own_stems
from understudy.pipeline.stages.finish import finish
from understudy.pipeline.stages.passage import alone, passage
from understudy.pipeline.stages.remix import CoverMix, cover_stems, measure_stems, remix
from understudy.pipeline.stages.sing import convert, prepare, shift, study, transpose
from understudy.pipeline.stages.video import find_encoder, make_video
from understudy.pipeline.video.fonts import installed_fonts
from understudy.voices.engines import engine
from understudy.voices.library import permit
from understudy.voices.transpose import Transposition
from understudy.voices.voice import Voice

OWN_STEMS = Stage("own stems", 2, own_stems)
MIX = Stage("mix", 1, summed)
TRANSPOSE = Stage("transpose", 3, transpose)
CUT = Stage("cut", 1, cut)
JOIN = Stage("join", 2, join)
KEEP = Stage("keep", 1, keep)
CAST_LIST = Stage("cast list", 1, cast_list)
REMOVAL = Stage("singer removal", 1, remove_singer)
FINISH = Stage("finish", 2, finish)
VOCAL_LEVEL = Stage("vocal level", 3, vocal_level)
SHIFT = Stage("shift", 1, shift)
MEASURE = Stage("measure", 1, measure_stems)
REMIX = Stage("remix", 5, remix)
VIDEO = Stage("video", 2, make_video, packages=("pillow",))
STEMS_OF_COVER = Stage("stems", 2, cover_stems)
ASSESS = Stage("assess", 7, assess, models=("speaker-encoder",), kind=AssessInputs)
CHORUS = Stage("chorus", 1, find_chorus, packages=("librosa",))
PASSAGE = Stage("passage", 1, passage)
ALONE = Stage("alone", 1, alone)
REPORT = Stage("report", 10, make_report, kind=ReportInputs)

STREAMED = OutputFormat(name="opus", kilobits=128)
"""What players begin at once."""


@dataclass(frozen=True)
class CoverGraph:
    """`cover`: the finished file. `sidecar`: its signed manifest, where the file can't hold it. `video`: a video of it,
    None where none is requested. `sounds`: the cover's stems by name, where they are kept, and `stems`: the same as
    files. `transposition`: how the pitch moves, a `Transposition`; `cast`: who sings what, None where one voice sings
    alone. `tempo`: of the song, with its beats and key. `chain`: what the steps of the separation did, None where there
    are none. `marking`: how what a voice sings is marked."""

    graph: Graph
    cover: Node[Path]
    sidecar: Node[Path] | None
    mix: Node[CoverMix]
    report: Node[ReportFiles]
    sounds: Mapping[str, Handle]
    stems: Mapping[str, Node[Path]]
    transposition: Handle
    cast: Node[CastList] | None
    quality: Node[Quality]
    tempo: Node[SongAnalysis]
    chain: Node[tuple[StepReport, ...]] | None
    video: Node[Path] | None
    marking: Marking


@dataclass(frozen=True)
class PreviewGraph:
    """What of a cover can be heard before it is finished. `karaoke`: the separated instrumental; `cover`: the cover's
    `chorus` alone, mixed as loud as the song is there."""

    graph: Graph
    karaoke: Node[Path]
    chorus: Node[Chorus]
    cover: Node[Path]


@dataclass(frozen=True)
class ConversionGraph:
    """`output`: the finished file, and `mix` its sound; `sidecar`, `transposition` and `cast` as in `CoverGraph`."""

    graph: Graph
    output: Node[Path]
    sidecar: Node[Path] | None
    mix: Node[CoverMix]
    transposition: Handle
    cast: Node[CastList] | None


def conversion_graph(vocals: Path, voice: Voice | Cast, settings: CoverSettings) -> ConversionGraph:
    """How `vocals` become the same vocals sung by another voice, or by a cast in turns. Raises what `permit` raises."""
    original = file_external(vocals)
    cast = as_cast(voice)
    for singer in cast.voices:
        permit(singer, "convert")
    song = decode(original, settings.song)
    lead = _lead(song, song, cast, settings)
    transposition, members = _transposition(lead.singers)
    marking = Marking.of("conversion", {"vocals": original}, original, cast, _shown(settings), settings)
    mix = _mix(song, marking.marked({"vocals": lead.sound}), settings)
    encoded = encode(mix["cover"], settings.output.encoding, original, cast, tagging=settings.tags)
    output = marking.signed(encoded, settings.output.encoding.extension)
    sidecar = marking.sidecar(encoded, settings.output.encoding.extension)
    graph = Graph.of(output, *([sidecar] if sidecar else []), transposition.node)
    return ConversionGraph(graph, output, sidecar, mix, transposition, members)


def cover_graph(
    song: Path | None,
    voice: Voice | Cast,
    settings: CoverSettings,
    vocals: Path | None = None,
    instrumental: Path | None = None,
    backing_vocals: Path | None = None,
) -> CoverGraph:
    """How `song` becomes a cover. Own stems take the place of separated ones, without a chain; with both of `vocals`
    and `instrumental` there may be no song. Given `backing_vocals`, `vocals` is the lead alone.

    Raises `UnderstudyError` ``backing-missing`` when something is requested for backing vocals that nothing separates
    from the lead, ``stem-missing`` when reverb or noise is to be put back that nothing takes off, ``cast-invalid`` and
    ``cast-silent`` for voices that can't sing so, and what `separating` and `permit` raise.
    """
    cast = as_cast(voice)
    for singer in cast.voices:
        permit(singer, "cover")
    files = {"song": song, "vocals": vocals, "instrumental": instrumental, "backing": backing_vocals}
    originals = {name: file_external(path) for name, path in files.items() if path is not None}
    # 1. the song and its stems, separated or given: from here on it makes no difference which
    sources = _own(originals, settings) if originals.keys() - {"song"} else _separated(originals["song"], settings)

    # 2. the lead, and the backing vocals where they are apart, sung by their voices
    backing = _backing_mode(cast, settings, "backing" in sources.taken)
    lead = _lead(sources.lead, sources.placed, cast, settings, sources.level)
    singers = lead.singers
    # Converted parts come out in the new key, as their voices sing them there. What stays as it is in the song is
    # shifted as sound.
    cleaned = _without_singer(sources, lead, settings)
    instruments = _in_key(cleaned, settings)
    parts: dict[str, Handle] = {"vocals": lead.sound, "instrumental": instruments}
    if backing == "convert":
        harmony = _backing_vocals(sources.taken["backing"], cast, settings)
        parts["backing"] = harmony.sound
        singers = (*singers, *harmony.singers)
    for name in _put_back(settings, sources.taken, backing):
        parts[name] = _in_key(sources.taken[name], settings, name)
    transposition, members = _transposition(singers)

    # 3. all parts become the cover; its stems are made only where they are kept, since most covers need none
    marking = Marking.of("cover", originals, sources.original, cast, _shown(settings), settings)
    marked = marking.marked(parts)
    mix = _mix(sources.song, marked, settings)
    encoded = encode(mix["cover"], settings.output.encoding, sources.original, cast, tagging=settings.tags)
    sounds: dict[str, Handle] = {}
    if settings.output.keep_stems:
        limited = Node("stems", STEMS_OF_COVER, {"song": sources.song, "stems": marked, "mixing": mix["mixing"]})
        sounds = {name: limited[name] for name in parts}
    titles = {} if cleaned == sources.instrumental else {"instrumental": "instrumental of the cover, singer removed"}
    stems = encode_stems(sounds, settings.output.lossless, sources.original, cast, titles, settings.tags)
    cover = marking.signed(encoded, settings.output.encoding.extension)
    sidecar = marking.sidecar(encoded, settings.output.encoding.extension)
    stems = {name: marking.signed(stem, settings.output.lossless.extension) for name, stem in stems.items()}
    video = _video(mix["cover"], sources.original, cast, settings)
    video = video and marking.signed(video, ".mp4")
    checked = _report(sources, lead, parts, mix, transposition, members, cast, settings)
    return CoverGraph(
        Graph.of(sources.quality, sources.tempo, cover, *filter(None, (sidecar, *stems.values(), video)), checked),
        cover,
        sidecar,
        mix,
        checked,
        sounds,
        stems,
        transposition,
        members,
        sources.quality,
        sources.tempo,
        sources.chain,
        video,
        marking,
    )


def preview_graph(song: Path, voice: Voice, settings: CoverSettings) -> PreviewGraph:
    """What can be heard of `cover_graph` with the same arguments while it is made. Up to the conversion the nodes are
    those of the cover, so that their artifacts serve both; from there on they work on the chorus alone. Backing vocals
    that are to be converted are those of the original. Raises what `cover_graph` raises."""
    permit(voice, "cover")
    original, cast = file_external(song), as_cast(voice)
    sources = _separated(original, settings)
    chorus = Node("chorus", CHORUS, {"song": sources.song, "vocals": sources.lead})
    lead = _lead(sources.lead, sources.placed, cast, settings, sources.level, chorus)
    backing = _backing_mode(cast, settings, "backing" in sources.taken)

    def kept(sound: Handle, subject: str) -> Handle:
        return Node("alone", ALONE, {"sound": sound, "chorus": chorus}, subject=subject)

    near = replace(sources, instrumental=kept(sources.instrumental, "instrumental"))
    parts = {"chorus": lead.sound, "instrumental": _in_key(_without_singer(near, lead, settings), settings)}
    for name in _put_back(settings, sources.taken, "original" if backing == "convert" else backing):
        parts[name] = _in_key(kept(sources.taken[name], name), settings, name)
    marked = dict(Marking.of("cover", {"song": original}, original, cast, _shown(settings), settings).marked(parts))
    marked["vocals"] = marked.pop("chorus")

    def cut(sound: Handle, subject: str) -> Handle:
        return Node("passage", PASSAGE, {"sound": sound, "chorus": chorus}, subject=subject)

    cuts = {name: cut(part, name) for name, part in marked.items()}
    mix = _mix(cut(sources.song, "song"), cuts, settings, " chorus")
    cover = encode(mix["cover"], STREAMED, original, cast, subject="chorus", tagging=settings.tags)
    band = _in_key(sources.instrumental, settings, "karaoke")
    karaoke = encode(band, STREAMED, original, stem="instrumental", subject="karaoke")
    return PreviewGraph(Graph.of(karaoke, cover), karaoke, chorus, cover)


def sung_file(graph: CoverGraph, sound: Handle, name: str, tagging: TagSettings) -> Node[Path] | None:
    """What a stage made in the middle of the graph as a file of 32-bit floats, marked as the cover is; None where no
    voice sings in it, and so nothing is generated."""
    upstream = {node.stage.run for node in Graph.of(sound.node).nodes}
    if convert not in upstream:
        return None
    marking, format = replace(graph.marking, kind="conversion"), parse_format("wav32f")
    if MARK.run not in upstream:
        sound = marking.marked({name: sound})[name]
    file = encode(sound, format, marking.tagged, marking.cast, name, subject=f"stage {name}", tagging=tagging)
    return marking.signed(file, format.extension)


@dataclass(frozen=True)
class _Sources:
    """The song and its stems. `original`: the file whose tags the cover gets. `lead`: the vocal that another voice
    sings; `placed`: the same before reverb and noise were taken off it, which says where the new vocal is placed.
    `taken`: what was taken off the lead, by name. `own`: whether they are the user's. `level`: what `placed` is short
    of, where the separator is one that takes energy away."""

    original: External
    song: Handle
    lead: Handle
    placed: Handle
    instrumental: Handle
    taken: Mapping[str, Handle]
    quality: Node[Quality]
    tempo: Node[SongAnalysis]
    chain: Node[tuple[StepReport, ...]] | None = None
    own: bool = False
    level: Node[VocalLevel] | None = None


def _separated(original: External, settings: CoverSettings) -> _Sources:
    separated = separating(decode(original, settings.song), settings.separation)
    song, stems = separated.song, separated.stems
    taken = {step.taken: stems[step.taken] for step in STEPS.values() if step.taken in stems}
    quality = _quality(song, stems["vocals"], stems["instrumental"])
    level = None
    if settings.separation.model == EMBEDDED and separated.placed == stems["vocals"]:
        level = Node("vocal level", VOCAL_LEVEL, {"song": song, "vocals": separated.placed})
    return _Sources(
        original,
        song,
        separated.lead,
        separated.placed,
        stems["instrumental"],
        taken,
        quality,
        song_analysis(song),
        separated.chain,
        level=level,
    )


def _own(originals: Mapping[str, External], settings: CoverSettings) -> _Sources:
    """The user's own stems, and the song that they sum to where none is given."""
    files = {
        name: decode(original, settings.song, "" if name == "song" else name) for name, original in originals.items()
    }
    stems = Node("separate", OWN_STEMS, files)
    instrumental = stems["instrumental"]
    taken: dict[str, Handle] = {"backing": stems["backing"]} if "backing" in files else {}
    lead = stems["lead"] if taken else stems["vocals"]
    song = files.get("song") or Node("decode", MIX, {"stems": (lead, instrumental, *taken.values())})
    # the estimate is of two stems that sum to the song: with the backing vocals apart, of lead and instrumental alone
    whole = Node("sum", MIX, {"stems": (lead, instrumental)}, subject="of lead and instrumental") if taken else song
    quality = _quality(whole, lead, instrumental)
    tagged = originals.get("song") or originals["vocals"]
    return _Sources(tagged, song, lead, lead, instrumental, taken, quality, song_analysis(song), own=True)


def _quality(song: Handle, vocals: Handle, instrumental: Handle) -> Node[Quality]:
    return Node("quality", QUALITY, {"song": song, "vocals": vocals, "instrumental": instrumental})


def _in_key(sound: Handle, settings: CoverSettings, subject: str = "") -> Handle:
    """The sound in the key of the cover."""
    if not settings.key:
        return sound
    return Node("shift", SHIFT, {"sound": sound}, {"semitones": settings.key}, subject=subject)


def _without_singer(sources: _Sources, lead: _Vocal, settings: CoverSettings) -> Handle:
    """The instrumental of the cover: what the separator left of the singer in it is turned down further."""
    strength = settings.singer_removal
    if strength == 0 or sources.own or (strength is None and sources.level is None):
        return sources.instrumental
    inputs: dict[str, Source] = {"song": sources.song, "instrumental": sources.instrumental, "pitch": lead.pitch}
    if sources.level is not None:
        inputs["vocal"] = sources.level
    return Node("singer removal", REMOVAL, inputs, {"requested": strength})


# --- voices -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Singer:
    """A voice, what it sings (``lead`` or ``backing``), how it is transposed, and when it sings, in the song's time
    (None: all the time)."""

    voice: Voice
    part: Literal["lead", "backing"]
    transposition: Node[Transposition]
    turns: Handle | None = None


@dataclass(frozen=True)
class _Vocal:
    """A vocal sung by other voices. `sound`: finished, as long as the original; `converted`: mono and dry, before that.
    `pitch`: of the original. `joined`: where several voices sing in turns, what they sang together."""

    sound: Handle
    converted: Handle
    pitch: Handle
    singers: tuple[_Singer, ...]
    joined: Node[JoinedVocal] | None = None


def _lead(
    vocals: Handle,
    placed: Handle,
    cast: Cast,
    settings: CoverSettings,
    level: Handle | None = None,
    part: Handle | None = None,
) -> _Vocal:
    """The lead sung by its voice or voices, in the place and room that the original has in `placed`, and as loud:
    `level` is what `placed` is short of. A voice alone may sing only a `part`."""
    if cast.solo is None:
        return _turns(vocals, placed, cast, settings, level)
    track = pitch(vocals, settings.pitch)
    converted, transposition = _converted(vocals, track, track, cast.solo, cast.transposes, settings, part=part)
    singer = _Singer(cast.solo, "lead", transposition)
    finished = _finished(converted, placed, settings, level, kind="finish chorus" if part else "finish")
    return _Vocal(finished, converted, track, (singer,))


def _turns(vocals: Handle, placed: Handle, cast: Cast, settings: CoverSettings, level: Handle | None) -> _Vocal:
    """The lead sung by several voices in turns; where none of them has a turn, the original singer stays.

    Each voice converts its own turns alone. Their conversions are joined to one dry vocal, which is then finished as a
    whole, so that all voices stand in the same room.
    """
    present = cast.within(settings.song.start, settings.song.duration)
    track = pitch(vocals, settings.pitch)
    # one chain of nodes per voice, so that another second voice leaves the first one's conversion in the cache
    singers, cuts, converted = [], [], []
    for voice in present.singers:
        turns = TimeRanges(ranges=present.ranges_of(voice), offset=settings.song.start)
        piece = Node("cut", CUT, {"vocals": vocals, "pitch": track}, {"turns": turns}, subject=voice.name)
        sung, transposition = _converted(
            piece["vocals"], piece["pitch"], piece["own"], voice, cast.transposes, settings, voice.name
        )
        singers.append(_Singer(voice, "lead", transposition, piece["seconds"]))
        cuts.append(piece)
        converted.append(sung)
    gaps = present.leaves_gaps
    original = _in_key(placed, settings, "vocals") if gaps else placed
    inputs: dict[str, Source] = {
        "vocals": original,
        "pitch": track,
        "cuts": tuple(cuts),
        "converted": tuple(converted),
        "transpositions": tuple(singer.transposition for singer in singers),
    }
    # called "convert" as the only conversion of a solo is: what follows is the same for both
    joined = Node("convert", JOIN, inputs, {"key": settings.key})
    sound = _finished(joined["vocals"], placed, settings, level)
    if gaps:
        sound = Node("keep", KEEP, {"finished": sound, "original": original, "turns": joined["turns"]})
    return _Vocal(sound, joined["vocals"], track, tuple(singers), joined)


def _backing_vocals(vocals: Handle, cast: Cast, settings: CoverSettings) -> _Vocal:
    """The backing vocals sung by the voice that is named for them, or by the lead's voice if there is only one."""
    voice = cast.backing or (cast.singers[0] if len(cast.singers) == 1 else None)
    if voice is None:
        raise UnderstudyError(
            "cast-invalid",
            "The backing vocals are to be converted, and several voices share the lead.",
            "Say who sings them: --voice backing=NAME.",
        )
    track = pitch(vocals, settings.pitch, "backing")
    subject = f"backing={voice.name}"  # as users write it; the same voice may sing the lead, too
    converted, transposition = _converted(vocals, track, track, voice, cast.transposes, settings, subject)
    singer = _Singer(voice, "backing", transposition)
    return _Vocal(_finished(converted, vocals, settings, subject="backing"), converted, track, (singer,))


def _converted(
    vocals: Handle,
    track: Handle,
    own: Handle,
    voice: Voice,
    transposes: Mapping[str, Transpose],
    settings: CoverSettings,
    subject: str = "",
    part: Handle | None = None,
) -> tuple[Node[AudioFile], Node[Transposition]]:
    """The vocals as `voice` sings them, mono and dry, and how they are transposed. `track`: the pitch of the vocals;
    `own`: the same without what only surrounds the voice's turns, from which the octave is chosen. `part`: what is sung
    of them, None for all."""
    singer = {"voice": External(voice, voice.manifest.content_hash, (voice.manifest.identity,))}
    name = voice.manifest.engine
    version, packages = engine(name).version, engine(name).packages
    preparing = Stage(f"prepare {name}", version, prepare, packages=packages)
    studying = Stage(f"study {name}", version, study, packages=packages)
    converting = Stage(f"convert {name}", version, convert, uses_gpu=True, packages=packages)

    # What depends on the voice alone is a node of its own: its artifact serves every song that this voice sings.
    prepared = Node("prepare", preparing, {}, {}, singer, subject)
    requested = {"requested": transposes.get(voice.name, settings.transpose), "key": settings.key}
    transposition = Node("transpose", TRANSPOSE, {"pitch": own}, requested, singer, subject)
    conversion = {"settings": settings.conversion}
    sung = {"vocals": vocals, "pitch": track, "prepared": prepared}
    studied = Node("study", studying, sung, conversion, singer, subject)
    inputs = {**sung, "transposition": transposition, "studied": studied, **({"part": part} if part else {})}
    models = {"models": _models(engine(name).models(voice))}
    kind = "convert chorus" if part else "convert"
    return Node(kind, converting, inputs, conversion, singer | models, subject), transposition


def _models(names: tuple[str, ...]) -> External:
    """The model files of those names in the catalogue; their contents stand for them in the key. Raises
    `UnderstudyError` ``model-missing`` for one that isn't installed, before anything runs."""
    found = {name: require(name) for name in names}
    return External(found, " ".join(f"{name}:{weights.content_hash}" for name, weights in sorted(found.items())))


def _finished(
    converted: Handle,
    placed: Handle,
    settings: CoverSettings,
    level: Handle | None = None,
    subject: str = "",
    kind: str = "finish",
) -> Node[AudioFile]:
    inputs = {"converted": converted, "vocals": placed}
    if level is not None:
        inputs["level"] = level
    return Node(kind, FINISH, inputs, {"settings": settings.finish}, subject=subject)


def _transposition(singers: tuple[_Singer, ...]) -> tuple[Handle, Node[CastList] | None]:
    """How the pitch moves, and where there is more than one voice to it, the list of who sings what."""
    only, *others = singers
    if not others and only.turns is None:
        return only.transposition, None
    inputs: dict[str, Source] = {
        "transpositions": tuple(singer.transposition for singer in singers),
        "turns": tuple(singer.turns for singer in singers if singer.turns is not None),
    }
    voices = tuple((singer.part, singer.voice.name) for singer in singers)
    members = Node("cast list", CAST_LIST, inputs, {"voices": voices})
    return members["transposition"], members


def _backing_mode(cast: Cast, settings: CoverSettings, split: bool) -> Backing | None:
    """What becomes of the backing vocals, None where they aren't separated from the lead."""
    if not split:
        if cast.backing is None and settings.backing is None:
            return None
        raise UnderstudyError(
            "backing-missing",
            "Nothing separates backing vocals from the lead here: both are one stem, sung by the lead's voice.",
            "Give them as files, --vocals LEAD --backing-vocals BACKING, or choose a separator that splits them.",
        )
    mode = settings.backing or ("convert" if cast.backing else "original")
    if cast.backing and mode != "convert":
        becomes = {"original": "those of the original", "mute": "left out"}[mode]
        raise UnderstudyError(
            "cast-invalid",
            f"{cast.backing.name!r} is to sing the backing vocals, which are to be {becomes}.",
            "Leave out --backing, or the voice for them.",
        )
    return mode


# --- mix and report ---------------------------------------------------------------------------------------------------


def _put_back(settings: CoverSettings, taken: Mapping[str, Handle], backing: str | None) -> list[str]:
    """Which stems that were taken off the lead are a part of the cover as they are."""
    gains = {"reverb": settings.remix.reverb_gain, "noise": settings.remix.noise_gain}
    requested = [name for name, gain in gains.items() if gain is not None]
    for name in requested:
        if name not in taken:
            raise UnderstudyError(
                "stem-missing",
                f"The {name} can't be put back: nothing takes it off the lead here.",
                f"Name a model that does (separation.de{name}), or leave out remix.{name}_gain.",
            )
    return [*(["backing"] if backing == "original" else []), *requested]


def _mix(song: Handle, parts: Mapping[str, Handle], settings: CoverSettings, of: str = "") -> Node[CoverMix]:
    """From stems to the cover. What no gain changes is measured once, in a node of its own."""
    inputs: dict[str, Source] = {"song": song, "stems": parts}
    measured = Node(f"measure{of}", MEASURE, inputs)
    return Node(f"remix{of}", REMIX, {**inputs, "measured": measured}, {"settings": settings.remix})


def _video(sound: Handle, original: External, cast: Cast, settings: CoverSettings) -> Node[Path] | None:
    """The video of the cover `sound`, if it is requested."""
    if settings.output.video is None:
        return None
    find_encoder()
    fonts = installed_fonts()
    plain: dict[str, Setting] = {
        "voice": cast.name,
        "title": original.value.stem,
        "tagging": settings.tags,
        "shape": settings.output.video,
    }
    inputs = {"sound": sound, "artwork": artwork(original, settings.tags)}
    # another font may have the characters of the title
    outside = {"original": original, "fonts": External(fonts, " ".join(map(str, fonts)))}
    return Node("video", VIDEO, inputs, plain, outside)


def _report(
    sources: _Sources,
    lead: _Vocal,
    parts: Mapping[str, Handle],
    mix: Node[CoverMix],
    transposition: Handle,
    members: Node[CastList] | None,
    cast: Cast,
    settings: CoverSettings,
) -> Node[ReportFiles]:
    """The report on the cover, with the warnings of everything that led to it."""
    beside = [part for name, part in parts.items() if name not in ("vocals", "instrumental")]
    instrumental = parts["instrumental"]
    if beside:  # to the report, all that isn't the lead is instrumental
        instrumental = Node("backdrop", MIX, {"stems": (instrumental, *beside)})
    inputs: dict[str, Handle] = {
        "quality": sources.quality,
        "analysis": sources.tempo,
        "cover": mix["cover"],
        "loudness": mix["loudness"],
        "assessment": _assessed(sources, lead, parts, cast, settings),
        "vocals": lead.sound,
        "instrumental": instrumental,
        "transposition": transposition,
    }
    if members is not None:
        inputs["singers"] = members["singers"]
    if sources.chain is not None:
        inputs["chain"] = sources.chain
    before = Graph.of(*(handle.node for handle in inputs.values()))
    plain: dict[str, Setting] = {
        "key": settings.key,
        "wanted_balance": settings.remix.vocal_gain - settings.remix.instrumental_gain,
        "wanted_lufs": settings.remix.requested_lufs,
        "separation": None if sources.own else settings.separation,
        "settings": _shown(settings),
        # what the report calls things is part of its key: a renamed voice or song sounds the same and needs a new one
        "voice": " and ".join(singer.name for singer in cast.voices),
        "title": sources.original.value.stem,
    }
    return Node("report", REPORT, inputs, plain, {"original": sources.original}, warnings_from=before.nodes)


def _shown(settings: CoverSettings) -> dict[str, Any]:
    """All settings by group, as plain data. Not the files': format and tags change nothing in the report."""
    groups = settings.model_dump(mode="json", exclude={"output", "tags"})
    loose = {name: groups.pop(name) for name in ("transpose", "key", "backing", "singer_removal")}
    for name in ("backing", "singer_removal"):
        if loose[name] is None:
            del loose[name]
    return {"transpose": loose, **groups}


def _assessed(
    sources: _Sources, lead: _Vocal, parts: Mapping[str, Handle], cast: Cast, settings: CoverSettings
) -> Node[Assessment]:
    """What the report says and no gain changes: gains are no inputs here, so that another mix doesn't repeat it."""
    inputs: dict[str, Source] = {
        "song": sources.song,
        "original_vocals": sources.lead,
        "vocals": lead.sound,
        "converted": lead.converted,
        "instrumental": parts["instrumental"],
        "pitch": lead.pitch,
    }
    if sources.level is not None:
        inputs["level"] = sources.level
    plain: dict[str, Setting] = {"singer_removal": settings.singer_removal}
    if lead.joined is None:
        (singer,) = lead.singers
        inputs["transpose"] = singer.transposition["semitones"]
        plain["reach"] = singer.voice.pitch_range
        of_voice = (_recordings_key(singer.voice), (singer.voice.manifest.identity,))
        recordings = External(singer.voice.recording_files, *of_voice)
        return Node("assess", ASSESS, inputs, plain, {"recordings": recordings})
    inputs |= {"wanted": lead.joined["pitch"], "turns": lead.joined["turns"]}
    recorded = [
        _recordings_key(voice) for voice in cast.singers if voice.manifest.engine == "rvc" and voice.recording_files
    ]
    # similarity is stored by the voices' names
    identities = tuple(voice.manifest.identity for voice in cast.singers)
    singers = External(cast.singers, " ".join([cast.content_hash, cast.name, *recorded]), identities)
    return Node("assess", ASSESS, inputs, plain, {"singers": singers})


def _recordings_key(voice: Voice) -> str:
    """Stands for the voice's recordings. A model's content hash doesn't cover those that the voice has beside it."""
    beside = voice.manifest.engine == "rvc" and voice.manifest.recordings
    return voice.manifest.recordings_hash if beside else voice.manifest.content_hash
