"""The graph that takes a song apart, into what is wanted of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from understudy.audio.encode import OutputFormat
from understudy.audio.ni_stems import COUNT
from understudy.audio.transcription.polyphonic import MODEL, network
from understudy.errors import UnderstudyError
from understudy.pipeline.graph import External, Graph, Node, Stage
from understudy.pipeline.nodes import HEADROOM, QUALITY, STEMS, decode, encode, encode_stems, file_external, pitch
from understudy.pipeline.separating import Separating, separating
from understudy.pipeline.separation.models import EMBEDDED
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.settings import CoverSettings
from understudy.pipeline.sources import INSTRUMENTAL, VOCALS, Source, overlapping, sources, sum_to_song
from understudy.pipeline.stages.encode import encode_stem_file
from understudy.pipeline.stages.rebalance import Balance, rebalance, summed
from understudy.pipeline.stages.transcribe import BASS, NO_NOTES, ONE_AT_A_TIME, harmony, melody
from understudy.pipeline.wanted import SETS, Container, Wanted, invalid_mix

SUM = Stage("sum", 1, summed)
REBALANCE = Stage("rebalance", 1, rebalance)
MELODY = Stage("melody", 1, melody)
HARMONY = Stage("harmony", 1, harmony, models=(MODEL,))
STEM_FILE = Stage("encode stem file", 1, encode_stem_file)

_BAND = ("drums", "bass", "guitar", "piano", "other")


@dataclass(frozen=True)
class Separation:
    """`graph` makes the nodes ``encode NAME`` of each of `stems`, or the node ``encode stem file``, and those of what
    else was wanted: ``mix`` and ``encode mix``, ``karaoke`` and ``encode karaoke``, ``notes NAME``; and ``quality``, an
    estimate of how well vocals and instrumental were told apart.

    `stems`: by name, where each comes from, ``"node.part"``. `sums`: whether they sum to the song. `notes`: what was
    decided on the way, sentences for the user.
    """

    graph: Graph
    stems: Mapping[str, str]
    sums: bool
    notes: tuple[str, ...] = ()


def separation_graph(song: Path, settings: CoverSettings, wanted: Wanted | None = None) -> Separation:
    """How `song` is taken apart into what is wanted: vocals and instrumental, if nothing else is.

    Models run only where something that is wanted needs them. Raises `UnderstudyError` before anything is done:
    ``stem-unavailable`` for a stem that no model here gives, ``mix-invalid`` for levels of stems of which one holds the
    other, ``stem-file-incomplete`` for a file for DJ software whose stems don't sum to the song, ``midi-impossible``
    for notes of drums, ``transcriber-missing``, and what `understudy.pipeline.separating.separating` raises.
    """
    wanted = wanted or Wanted()
    for stem in wanted.midi:
        if stem in NO_NOTES:
            raise UnderstudyError(
                "midi-impossible", f"The stem {stem!r} has no notes to write down.", f"Leave {stem} out of --midi."
            )
    original = file_external(song)
    karaoke = _karaoke(settings.separation, wanted.guide) if wanted.karaoke else None
    others = {*wanted.levels, *(karaoke.levels if karaoke else ()), *wanted.midi}
    names = _stems(wanted)
    try:
        separated, stems = _separated(settings.separation, names, others)
    except UnderstudyError as error:
        if wanted.stems is not None or error.code != "stem-unavailable":
            raise
        separated, stems = _separated(settings.separation, SETS["2"], others)  # nobody asked for more
    given, about = _given(separated), _about(settings.separation)
    nodes = _Nodes()
    made = {name: nodes.one(name, source) for name, source in stems.items()}
    exact = settings.separation.model == EMBEDDED or settings.separation.consistency != "model"
    notes: list[str] = []
    if wanted.container and made:
        nodes.add(*_stem_file(stems, made, nodes, wanted.container, original, notes))
    elif made:
        nodes.add(*encode_stems(made, settings.output.encoding, original))
    for name, balance in (("mix", Balance(levels=wanted.levels) if wanted.levels else None), ("karaoke", karaoke)):
        if balance is not None:
            nodes.add(*_balanced(name, balance, given, about, nodes, settings.output.encoding, original))
    for stem, source in sources(wanted.midi, given, about).items():
        nodes.add(*_notes(stem, nodes.one(stem, source), settings))
    judged = {"song": "decode", **{stem: separated.stems[stem] for stem in STEMS}}
    nodes.add(Node("quality", QUALITY, judged))
    graph = Graph((decode("decode", original, settings.song), *separated.nodes, *nodes.made))
    return Separation(graph, made, sum_to_song(stems.values()) and exact, tuple(notes))


def _stems(wanted: Wanted) -> tuple[str, ...]:
    """The stems to be written. Where nobody says which: what fills a file for DJ software, none beside a mix or notes,
    else vocals and instrumental."""
    if wanted.stems is not None:
        return wanted.stems
    if wanted.container:
        return SETS["4"]
    return () if wanted.levels or wanted.karaoke or wanted.midi else SETS["2"]


class _Nodes:
    """Nodes one after the other, each name once."""

    def __init__(self) -> None:
        self.made: list[Node] = []

    def add(self, *nodes: Node) -> None:
        self.made += nodes

    def one(self, name: str, source: Source) -> str:
        """The one node that `source` is, which may have to be summed."""
        if len(source.nodes) == 1:
            return source.nodes[0]
        label = f"sum {name}"
        numbers = [node for node in self.made if node.name.startswith(label)]
        inputs = {f"part{number}": node for number, node in enumerate(source.nodes, start=1)}
        same = next((node.name for node in numbers if node.inputs == inputs), None)
        if same is None:
            same = label if not numbers else f"{label} {len(numbers) + 1}"
            self.add(Node(same, SUM, inputs))
        return same


def _separated(
    settings: SeparationSettings, names: Collection[str], others: Collection[str]
) -> tuple[Separating, dict[str, Source]]:
    """The separation, with the models that some of the stems `names` and `others` need and no more, and where the stems
    `names` come from."""
    asked = {*names, *others}
    denoise = bool(asked & {"noise", "dry"})
    dereverb = bool(asked & {"reverb", "dry"}) or denoise
    lead = bool(asked & {"lead", "backing"}) or dereverb
    needed = settings.model_copy(
        update={
            "lead": settings.lead if lead else None,
            "dereverb": settings.dereverb if dereverb else None,
            "denoise": settings.denoise if denoise else None,
            "band": None,
        }
    )
    separated = separating("decode", needed)
    if settings.band is not None and asked & set(_BAND) - separated.stems.keys():
        separated = separating("decode", needed.model_copy(update={"band": settings.band}))
    return separated, sources(names, _given(separated), _about(settings))


def _given(separated: Separating) -> dict[str, Source]:
    """What a separation gives, by name."""
    stems = separated.stems
    given = {
        "vocals": Source((stems["vocals"],), VOCALS),
        "instrumental": Source((stems["instrumental"],), INSTRUMENTAL),
    }
    for name in ("backing", "reverb", "noise"):
        if name in stems:
            given[name] = Source((stems[name],), frozenset({name}))
    if "lead" in stems:
        given["lead"] = Source((separated.placed,), VOCALS - {"backing"})
    if separated.lead != separated.placed:
        given["dry"] = Source((separated.lead,), VOCALS - given.keys())
    single = [name for name in _BAND if name in stems and name != "other"]
    given |= {name: Source((stems[name],), frozenset({name})) for name in single}
    if "other" in stems:
        given["other"] = Source((stems["other"],), INSTRUMENTAL - set(single))
    return given


def _about(settings: SeparationSettings) -> str:
    models = [settings.model, *filter(None, (settings.lead, settings.dereverb, settings.denoise, settings.band))]
    if models == [EMBEDDED]:
        return "the embedded separator"
    return f"the separation as it is set ({', '.join(models)})"


def _karaoke(settings: SeparationSettings, guide: float | None) -> Balance:
    """The song with its lead at the level `guide`; where nothing tells the lead from the backing vocals, with both."""
    if settings.lead is None:
        return Balance(levels={"instrumental": 0.0, "vocals": guide}, rest=False)
    return Balance(levels={"instrumental": 0.0, "backing": 0.0, "lead": guide}, rest=False)


def _balanced(
    name: str,
    balance: Balance,
    given: Mapping[str, Source],
    about: str,
    nodes: _Nodes,
    format: OutputFormat,
    original: External,
) -> Iterable[Node]:
    parts = sources(balance.levels, given, about)
    double = overlapping(parts)
    if double:
        raise invalid_mix(f"{double[0]} and {double[1]} are partly the same sound, so that both levels would count")
    inputs = {"song": "decode", **{stem: nodes.one(stem, source) for stem, source in parts.items()}}
    yield Node(name, REBALANCE, inputs, {"balance": balance})
    yield encode(f"encode {name}", {"sound": f"{name}.sound"}, format, original, stem=name)


def _notes(stem: str, sound: str, settings: CoverSettings) -> Iterable[Node]:
    """The nodes that write down the notes of a stem, the last one ``notes STEM``."""
    if stem in ONE_AT_A_TIME:
        heard = settings.model_copy(update={"pitch": BASS}) if stem == "bass" else settings
        yield pitch(f"pitch {stem}", sound, heard)
        yield Node(f"notes {stem}", MELODY, {"sound": sound, "pitch": f"pitch {stem}"}, {"stem": stem})
    else:
        network()
        yield Node(f"notes {stem}", HARMONY, {"sound": sound}, {"stem": stem})


_SLOTS = ("drums", "bass", "other", "vocals")
"""The order in which DJ software expects the stems of a file."""


def _stem_file(
    stems: Mapping[str, Source],
    made: Mapping[str, str],
    nodes: _Nodes,
    container: Container,
    original: External,
    notes: list[str],
) -> list[Node]:
    """The nodes that write the stem file. Six stems become four: guitar and piano go into ``other``; of fewer than
    four the rest is silent."""
    if not sum_to_song(stems.values()):
        raise UnderstudyError(
            "stem-file-incomplete",
            f"A file for DJ software plays the sum of its stems, and {', '.join(stems)} are not the whole song.",
            f"Add --stems 4, or other stems that are: 2, 6, 'lead,backing,instrumental'. Sets: {', '.join(SETS)}.",
        )
    parts = dict(made)
    folded = [name for name in ("guitar", "piano") if name in parts]
    if len(parts) > COUNT and folded:
        own = Source(tuple(parts.pop(name) for name in ("other", *folded) if name in parts), frozenset())
        parts["other"] = nodes.one("other", own)
        notes.append(f"A file for DJ software holds four stems: {' and '.join(folded)} went into other.")
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
        notes.append(
            f"A file for DJ software holds four stems: here {slots.count(None)} of them are silent. A model of four "
            "stems, such as htdemucs, fills them (--set separation.band=htdemucs)."
        )
    inputs = {f"stem{number}": parts[name] for number, name in enumerate(slots, start=1) if name}
    settings = {
        "codec": container.codec,
        "extension": container.extension,
        "names": "\n".join(name.capitalize() if name else "Empty" for name in slots),
    }
    before = []
    inputs["song"] = "decode"
    if container.codec == "alac":
        before = [Node("headroom", HEADROOM, dict(inputs), {"format": OutputFormat(name="wav24")})]
    given = {**inputs, **({"gain": "headroom"} if before else {})}
    return [*before, Node("encode stem file", STEM_FILE, given, settings, {"original": original})]
