"""The graph that takes a song apart into the requested stems, mixes and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.audio.encode import OutputFormat
from understudy.audio.ni_stems import COUNT
from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.stored import AudioFile
from understudy.audio.transcription.polyphonic import MODEL, network
from understudy.errors import UnderstudyError
from understudy.pipeline.graph import External, Graph, Handle, Node, Setting, Source, Stage
from understudy.pipeline.nodes import (
    HEADROOM,
    QUALITY,
    STEMS,
    decode,
    encode,
    encode_stems,
    file_external,
    pitch,
    song_analysis,
)
from understudy.pipeline.separating import SeparatedSong, separating
from understudy.pipeline.separation.blockwise import summed
from understudy.pipeline.separation.chain import StepReport
from understudy.pipeline.separation.models import EMBEDDED
from understudy.pipeline.separation.quality import Quality
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.separation.stems import INSTRUMENTS
from understudy.pipeline.separation_request import SETS, Container, SeparationRequest, invalid_mix
from understudy.pipeline.settings import CoverSettings
from understudy.pipeline.stages.encode import encode_stem_file
from understudy.pipeline.stages.rebalance import Balance, Rebalanced, rebalance
from understudy.pipeline.stages.transcribe import BASS, NO_NOTES, ONE_AT_A_TIME, harmony, melody
from understudy.pipeline.stem_sources import INSTRUMENTAL, VOCALS, StemSource, overlapping, sources, sum_to_song

SUM = Stage("sum", 1, summed)
REBALANCE = Stage("rebalance", 3, rebalance)
MELODY = Stage("melody", 2, melody)
HARMONY = Stage("harmony", 3, harmony, models=(MODEL,))
STEM_FILE = Stage("encode stem file", 2, encode_stem_file)


@dataclass(frozen=True)
class Mix:
    """A mix of the stems at other levels, and the same as a file."""

    mix: Node[Rebalanced]
    file: Node[Path]


@dataclass(frozen=True)
class SeparationGraph:
    """`sounds`: the requested stems by name; `stems`: each as a file, or all in `stem_file` for DJ software; `sums`:
    whether they sum to the song. `mixes`: ``mix`` and ``karaoke``, where they were requested. `notes`: MIDI files by
    stem. `quality`: an estimate of how well vocals and instrumental were separated. `tempo`: of the song, with its
    beats and key. `chain`: what the steps of the separation did, None where there are none. `decisions`: sentences for
    the user about what was decided here."""

    graph: Graph
    sounds: Mapping[str, Handle]
    sums: bool
    stems: Mapping[str, Node[Path]]
    stem_file: Node[Path] | None
    mixes: Mapping[str, Mix]
    notes: Mapping[str, Node[Path]]
    quality: Node[Quality]
    tempo: Node[SongAnalysis]
    chain: Node[tuple[StepReport, ...]] | None
    decisions: tuple[str, ...] = ()


def separation_graph(song: Path, settings: CoverSettings, request: SeparationRequest | None = None) -> SeparationGraph:
    """How `song` is taken apart into what the `request` says: vocals and instrumental by default.

    Models run only where something requested needs them. Raises `UnderstudyError` before anything is done:
    ``stem-unavailable`` for a stem that no model here gives, ``mix-invalid`` for levels of stems of which one holds the
    other, ``stem-file-incomplete`` for a file for DJ software whose stems don't sum to the song, ``midi-impossible``
    for notes of drums, ``transcriber-missing``, and what `understudy.pipeline.separating.separating` raises.
    """
    return _graph(file_external(song), settings, request or SeparationRequest())


def check_request(settings: CoverSettings, request: SeparationRequest) -> None:
    """Raise what `separation_graph` raises whatever the song is."""
    _graph(External(Path("song"), ""), settings, request)


def _graph(original: External, settings: CoverSettings, request: SeparationRequest) -> SeparationGraph:
    for stem in request.midi:
        if stem in NO_NOTES:
            raise UnderstudyError(
                "midi-impossible", f"The stem {stem!r} has no notes to write down.", f"Leave {stem} out of --midi."
            )
    decoded = decode(original, settings.song)
    balances = {"mix": Balance(levels=request.levels)} if request.levels else {}
    if request.karaoke:
        balances["karaoke"] = _karaoke(settings.separation, request.guide)
    others = {*request.midi, *(stem for balance in balances.values() for stem in balance.levels)}
    names = _stems(request)
    try:
        separated, stems = _separated(decoded, settings.separation, names, others)
    except UnderstudyError as error:
        if request.stems is not None or error.code != "stem-unavailable":
            raise
        separated, stems = _separated(decoded, settings.separation, SETS["2"], others)  # four were only a default
    given, about = _given(separated), _about(settings.separation)
    sums = _Sums()
    sounds = {name: sums.one(name, source) for name, source in stems.items()}
    exact = settings.separation.model == EMBEDDED or settings.separation.consistency != "model"
    decisions: list[str] = []
    files: dict[str, Node[Path]] = {}
    stem_file = None
    if request.container and sounds:
        stem_file = _stem_file(decoded, stems, sounds, sums, request.container, original, decisions)
    elif sounds:
        files = encode_stems(sounds, settings.output.encoding, original)
    mixes = {}
    for name, balance in balances.items():
        parts = _balanced(balance, given, about, sums)
        mix = Node(name, REBALANCE, {"song": decoded, "stems": parts}, {"balance": balance})
        mixes[name] = Mix(mix, encode(mix["sound"], settings.output.encoding, original, stem=name, subject=name))
    tempo = song_analysis(decoded)
    notes = {
        stem: _notes(stem, sums.one(stem, source), tempo, settings)
        for stem, source in sources(request.midi, given, about).items()
    }
    quality = Node("quality", QUALITY, {"song": decoded, **{stem: separated.stems[stem] for stem in STEMS}})
    targets: list[Node[Any] | None] = [separated.chain, *files.values(), stem_file]
    targets += [*(mix.file for mix in mixes.values()), *notes.values(), quality, tempo]
    return SeparationGraph(
        Graph.of(*(node for node in targets if node is not None)),
        sounds,
        sum_to_song(stems.values()) and exact,
        files,
        stem_file,
        mixes,
        notes,
        quality,
        tempo,
        separated.chain,
        tuple(decisions),
    )


def _stems(request: SeparationRequest) -> tuple[str, ...]:
    """The stems to be written. By default those that fill a file for DJ software, none beside a mix or notes,
    else vocals and instrumental."""
    if request.stems is not None:
        return request.stems
    if request.container:
        return SETS["4"]
    return () if request.levels or request.karaoke or request.midi else SETS["2"]


@dataclass(frozen=True)
class _Sums:
    """Stems that are sums of others, each of them once."""

    made: dict[tuple[Handle, ...], Node[AudioFile]] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)

    def one(self, name: str, source: StemSource) -> Handle:
        """The one sound that `source` is, which may have to be summed."""
        if len(source.nodes) == 1:
            return source.nodes[0]
        if source.nodes not in self.made:
            self.names[name] += 1
            subject = name if self.names[name] == 1 else f"{name} {self.names[name]}"
            self.made[source.nodes] = Node("sum", SUM, {"stems": source.nodes}, subject=subject)
        return self.made[source.nodes]


def _separated(
    song: Handle, settings: SeparationSettings, names: Collection[str], others: Collection[str]
) -> tuple[SeparatedSong, dict[str, StemSource]]:
    """The separation, with the models that some of the stems `names` and `others` need and no more, and where the stems
    `names` come from."""
    needed_for = {*names, *others}
    denoise = bool(needed_for & {"noise", "dry"})
    dereverb = bool(needed_for & {"reverb", "dry"}) or denoise
    lead = bool(needed_for & {"lead", "backing"}) or dereverb
    needless = [step for step, use in {"lead": lead, "dereverb": dereverb, "denoise": denoise}.items() if not use]
    needed = settings.model_copy(update=dict.fromkeys([*needless, "instruments"]))
    separated = separating(song, needed)
    if settings.instruments is not None and needed_for & set(INSTRUMENTS) - separated.stems.keys():
        separated = separating(song, needed.model_copy(update={"instruments": settings.instruments}))
    return separated, sources(names, _given(separated), _about(settings))


def _given(separated: SeparatedSong) -> dict[str, StemSource]:
    """What a separation gives, by name."""
    stems = separated.stems
    given = {
        "vocals": StemSource((stems["vocals"],), VOCALS),
        "instrumental": StemSource((stems["instrumental"],), INSTRUMENTAL),
    }
    for name in ("backing", "reverb", "noise"):
        if name in stems:
            given[name] = StemSource((stems[name],), frozenset({name}))
    if "lead" in stems:
        given["lead"] = StemSource((separated.placed,), VOCALS - {"backing"})
    if separated.lead != separated.placed:
        given["dry"] = StemSource((separated.lead,), VOCALS - given.keys())
    single = [name for name in INSTRUMENTS if name in stems and name != "other"]
    given |= {name: StemSource((stems[name],), frozenset({name})) for name in single}
    if "other" in stems:
        given["other"] = StemSource((stems["other"],), INSTRUMENTAL - set(single))
    return given


def _about(settings: SeparationSettings) -> str:
    if settings.requested == (EMBEDDED,):
        return "the embedded separator"
    return f"the separation as it is set ({', '.join(settings.requested)})"


def _karaoke(settings: SeparationSettings, guide: float | None) -> Balance:
    """The song with its lead at the level `guide`; where nothing tells the lead from the backing vocals, with both."""
    if settings.lead is None:
        return Balance(levels={"instrumental": 0.0, "vocals": guide}, rest=False)
    return Balance(levels={"instrumental": 0.0, "backing": 0.0, "lead": guide}, rest=False)


def _balanced(balance: Balance, given: Mapping[str, StemSource], about: str, sums: _Sums) -> dict[str, Handle]:
    """The stems whose levels the balance says."""
    parts = sources(balance.levels, given, about)
    double = overlapping(parts)
    if double:
        raise invalid_mix(f"{double[0]} and {double[1]} are partly the same sound, so that both levels would count")
    return {stem: sums.one(stem, source) for stem, source in parts.items()}


def _notes(stem: str, sound: Handle, tempo: Handle, settings: CoverSettings) -> Node[Path]:
    """Writes down the notes of a stem."""
    if stem in ONE_AT_A_TIME:
        tracked = pitch(sound, BASS if stem == "bass" else settings.pitch, stem)
        return Node("notes", MELODY, {"sound": sound, "pitch": tracked, "song": tempo}, {"stem": stem}, subject=stem)
    network()
    return Node("notes", HARMONY, {"sound": sound, "song": tempo}, {"stem": stem}, subject=stem)


_SLOTS = ("drums", "bass", "other", "vocals")
"""The order in which DJ software expects the stems of a file."""


def _stem_file(
    song: Handle,
    stems: Mapping[str, StemSource],
    sounds: Mapping[str, Handle],
    sums: _Sums,
    container: Container,
    original: External,
    decisions: list[str],
) -> Node[Path]:
    """Writes the file for DJ software. Six stems become four: guitar and piano go into ``other``; of fewer than
    four the rest is silent."""
    if not sum_to_song(stems.values()):
        raise UnderstudyError(
            "stem-file-incomplete",
            f"A file for DJ software plays the sum of its stems, and {', '.join(stems)} are not the whole song.",
            f"Add --stems 4, or other stems that are: 2, 6, 'lead,backing,instrumental'. Sets: {', '.join(SETS)}.",
        )
    parts = dict(sounds)
    folded = [name for name in ("guitar", "piano") if name in parts]
    if len(parts) > COUNT and folded:
        own = StemSource(tuple(parts.pop(name) for name in ("other", *folded) if name in parts), frozenset())
        parts["other"] = sums.one("other", own)
        decisions.append(f"A file for DJ software holds four stems: {' and '.join(folded)} went into other.")
    if len(parts) > COUNT:
        raise UnderstudyError(
            "stem-file-incomplete",
            f"A file for DJ software holds four stems, not {len(parts)}: {', '.join(parts)}.",
            "Choose fewer with --stems, or write them as files of their own with --format flac.",
        )
    slots: list[str | None] = [slot if slot in parts else None for slot in _SLOTS]
    for name in [name for name in parts if name not in _SLOTS]:
        slots[slots.index(None)] = name
    if None in slots:
        decisions.append(
            f"A file for DJ software holds four stems: here {slots.count(None)} of them are silent. A model of four "
            "stems, such as htdemucs, fills them (--set separation.instruments=htdemucs)."
        )
    named = [name for name in slots if name]
    inputs: dict[str, Source] = {"song": song, "stems": tuple(parts[name] for name in named)}
    settings: dict[str, Setting] = {
        "codec": container.codec,
        "extension": container.extension,
        "names": tuple(name.capitalize() if name else "" for name in slots),
    }
    if container.codec == "alac":  # which holds whole numbers, so that what is too loud would clip
        all_sounds = (*(parts[name] for name in named), song)
        inputs["gain"] = Node("headroom", HEADROOM, {"stems": all_sounds}, {"format": OutputFormat(name="wav24")})
    return Node("encode", STEM_FILE, inputs, settings, {"original": original}, "stem file")
