"""The graph of a cover, and of what can be heard of it before it is finished: this is where their stages are wired
together. How voices sing in it stands in `understudy.pipeline.singing`; what it shares with the graphs of a conversion
and a separation, in `understudy.pipeline.nodes`.

    song ─► separate ─► lead ─► prepare, pitch, transpose, convert ─► finish ─► mark ─► remix ─► encode
                  └───► instrumental (─► shift) ────────────────────────► mark ─────────┘   └──► report

Functions here return handles: nodes, or parts of what nodes make. A graph is what its last nodes need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from understudy.audio.chorus import Chorus, find_chorus
from understudy.audio.encode import OutputFormat, parse_format
from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.tags import TagSettings
from understudy.choices import Backing
from understudy.errors import UnderstudyError
from understudy.pipeline.cast import Cast, as_cast
from understudy.pipeline.graph import External, Graph, Handle, Node, Setting, Source, Stage
from understudy.pipeline.nodes import (
    QUALITY,
    artwork,
    decode,
    encode,
    encode_stems,
    file_external,
    in_key,
    mixed,
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
from understudy.pipeline.singing import Vocal, sung_backing, sung_lead, transpositions
from understudy.pipeline.stages.cast import CastList
from understudy.pipeline.stages.decode import own_stems
from understudy.pipeline.stages.passage import alone, passage
from understudy.pipeline.stages.remix import CoverMix, cover_stems
from understudy.pipeline.stages.sing import convert
from understudy.pipeline.stages.video import find_encoder, make_video
from understudy.pipeline.video.fonts import installed_fonts
from understudy.voices.library import permit
from understudy.voices.voice import Voice

OWN_STEMS = Stage("own stems", 2, own_stems)
MIX = Stage("mix", 1, summed)
REMOVAL = Stage("singer removal", 1, remove_singer)
VOCAL_LEVEL = Stage("vocal level", 3, vocal_level)
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
    lead = sung_lead(sources.lead, sources.placed, cast, settings, sources.level)
    singers = lead.singers
    # Converted parts come out in the new key, as their voices sing them there. What stays as it is in the song is
    # shifted as sound.
    cleaned = _without_singer(sources, lead, settings)
    instruments = in_key(cleaned, settings)
    parts: dict[str, Handle] = {"vocals": lead.sound, "instrumental": instruments}
    if backing == "convert":
        harmony = sung_backing(sources.taken["backing"], cast, settings)
        parts["backing"] = harmony.sound
        singers = (*singers, *harmony.singers)
    for name in _put_back(settings, sources.taken, backing):
        parts[name] = in_key(sources.taken[name], settings, name)
    transposition, members = transpositions(singers)

    # 3. all parts become the cover; its stems are made only where they are kept, since most covers need none
    marking = Marking.of("cover", originals, sources.original, cast, settings.shown(), settings)
    marked = marking.marked(parts)
    mix = mixed(sources.song, marked, settings)
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
    lead = sung_lead(sources.lead, sources.placed, cast, settings, sources.level, chorus)
    backing = _backing_mode(cast, settings, "backing" in sources.taken)

    def kept(sound: Handle, subject: str) -> Handle:
        return Node("alone", ALONE, {"sound": sound, "chorus": chorus}, subject=subject)

    near = replace(sources, instrumental=kept(sources.instrumental, "instrumental"))
    parts = {"chorus": lead.sound, "instrumental": in_key(_without_singer(near, lead, settings), settings)}
    for name in _put_back(settings, sources.taken, "original" if backing == "convert" else backing):
        parts[name] = in_key(kept(sources.taken[name], name), settings, name)
    marked = dict(Marking.of("cover", {"song": original}, original, cast, settings.shown(), settings).marked(parts))
    marked["vocals"] = marked.pop("chorus")

    def cut(sound: Handle, subject: str) -> Handle:
        return Node("passage", PASSAGE, {"sound": sound, "chorus": chorus}, subject=subject)

    cuts = {name: cut(part, name) for name, part in marked.items()}
    mix = mixed(cut(sources.song, "song"), cuts, settings, " chorus")
    cover = encode(mix["cover"], STREAMED, original, cast, subject="chorus", tagging=settings.tags)
    band = in_key(sources.instrumental, settings, "karaoke")
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


def _without_singer(sources: _Sources, lead: Vocal, settings: CoverSettings) -> Handle:
    """The instrumental of the cover: what the separator left of the singer in it is turned down further."""
    strength = settings.singer_removal
    if strength == 0 or sources.own or (strength is None and sources.level is None):
        return sources.instrumental
    inputs: dict[str, Source] = {"song": sources.song, "instrumental": sources.instrumental, "pitch": lead.pitch}
    if sources.level is not None:
        inputs["vocal"] = sources.level
    return Node("singer removal", REMOVAL, inputs, {"requested": strength})


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
    lead: Vocal,
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
        "settings": settings.shown(),
        # what the report calls things is part of its key: a renamed voice or song sounds the same and needs a new one
        "voice": " and ".join(singer.name for singer in cast.voices),
        "title": sources.original.value.stem,
    }
    return Node("report", REPORT, inputs, plain, {"original": sources.original}, warnings_from=before.nodes)


def _assessed(
    sources: _Sources, lead: Vocal, parts: Mapping[str, Handle], cast: Cast, settings: CoverSettings
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
