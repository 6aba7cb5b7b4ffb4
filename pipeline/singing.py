"""The part of the graphs of a cover and of a conversion in which voices sing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from understudy.audio.stored import AudioFile
from understudy.errors import UnderstudyError
from understudy.models import require
from understudy.pipeline.cast import Cast, TimeRanges, Transpose
from understudy.pipeline.graph import External, Handle, Node, Source, Stage
from understudy.pipeline.nodes import in_key, pitch
from understudy.pipeline.settings import CoverSettings
from understudy.pipeline.stages.cast import CastList, JoinedVocal, cast_list, cut, join, keep
from understudy.pipeline.stages.finish import finish
from understudy.pipeline.stages.sing import convert, prepare, study, transpose
from understudy.voices.engines import engine
from understudy.voices.transpose import Transposition
from understudy.voices.voice import Voice

TRANSPOSE = Stage("transpose", 3, transpose)
CUT = Stage("cut", 1, cut)
JOIN = Stage("join", 2, join)
KEEP = Stage("keep", 1, keep)
CAST_LIST = Stage("cast list", 1, cast_list)
FINISH = Stage("finish", 2, finish)


@dataclass(frozen=True)
class Singer:
    """A voice, what it sings (``lead`` or ``backing``), how it is transposed, and when it sings, in the song's time
    (None: all the time)."""

    voice: Voice
    part: Literal["lead", "backing"]
    transposition: Node[Transposition]
    turns: Handle | None = None


@dataclass(frozen=True)
class Vocal:
    """A vocal sung by other voices. `sound`: finished, as long as the original; `converted`: mono and dry, before that.
    `pitch`: of the original. `joined`: where several voices sing in turns, what they sang together."""

    sound: Handle
    converted: Handle
    pitch: Handle
    singers: tuple[Singer, ...]
    joined: Node[JoinedVocal] | None = None


def sung_lead(
    vocals: Handle,
    placed: Handle,
    cast: Cast,
    settings: CoverSettings,
    level: Handle | None = None,
    part: Handle | None = None,
) -> Vocal:
    """The lead sung by its voice or voices, in the place and room that the original has in `placed`, and as loud:
    `level` is what `placed` is short of. A voice alone may sing only a `part`."""
    if cast.solo is None:
        return _turns(vocals, placed, cast, settings, level)
    track = pitch(vocals, settings.pitch)
    converted, transposition = _converted(vocals, track, track, cast.solo, cast.transposes, settings, part=part)
    singer = Singer(cast.solo, "lead", transposition)
    finished = _finished(converted, placed, settings, level, kind="finish chorus" if part else "finish")
    return Vocal(finished, converted, track, (singer,))


def _turns(vocals: Handle, placed: Handle, cast: Cast, settings: CoverSettings, level: Handle | None) -> Vocal:
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
        singers.append(Singer(voice, "lead", transposition, piece["seconds"]))
        cuts.append(piece)
        converted.append(sung)
    gaps = present.leaves_gaps
    original = in_key(placed, settings, "vocals") if gaps else placed
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
    return Vocal(sound, joined["vocals"], track, tuple(singers), joined)


def sung_backing(vocals: Handle, cast: Cast, settings: CoverSettings) -> Vocal:
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
    singer = Singer(voice, "backing", transposition)
    return Vocal(_finished(converted, vocals, settings, subject="backing"), converted, track, (singer,))


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


def transpositions(singers: tuple[Singer, ...]) -> tuple[Handle, Node[CastList] | None]:
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
