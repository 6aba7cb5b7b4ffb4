"""What is done with untrusted files, inside the processes of `understudy.services.queue.bounded`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.services.queue.bounded import Progress
from understudy.wording import lengths

if TYPE_CHECKING:
    from understudy.pipeline.graph import Graph, Node
    from understudy.pipeline.provenance.verification import Verification
    from understudy.pipeline.settings import CoverSettings
    from understudy.voices.voice import Consent


VERIFY_MEMORY = 3 << 30
"""Bytes that `verify` may take."""


@dataclass(frozen=True)
class SongInfo:
    """What a sound file is, as its header and tags say. `duration` in seconds, None where the file doesn't say;
    `rate` in Hz. `artwork`: a small JPEG, empty where the file has none that can be read."""

    duration: float | None
    rate: int
    channels: int
    container: str
    codec: str
    title: str | None
    artist: str | None
    artwork: bytes


def examine(progress: Progress, path: Path, shown: str, longest: float) -> SongInfo:
    """Read the header of the sound file at `path`; `shown` is the name under which its sender knows it.

    Raises ``song-too-long`` for more than `longest` seconds, and what `probe` raises.
    """
    from understudy.audio.files import probe
    from understudy.pipeline.video.picture import thumbnail

    try:
        found = probe(path)
    except UnderstudyError as error:
        raise _as_sent(error, path, shown) from None
    if found.duration is not None and found.duration > longest:
        raise UnderstudyError(
            "song-too-long",
            "{} is {} long; at most {} are taken here.".format(shown, *lengths(found.duration, longest)),
            "Cut out the part that you need.",
        )
    title, artist = ((text or "")[:400] or None for text in (found.tags.title, found.tags.artist))
    form = found.container[:40], found.codec[:40]
    artwork = thumbnail(found.tags.artwork, Context(path.parent))
    return SongInfo(found.duration, found.rate, found.channels, *form, title, artist, artwork)


def verify(
    progress: Progress, folder: Path, path: Path, shown: str, sidecar: tuple[Path, str] | None = None
) -> Verification:
    """What the file at `path`, which its sender calls `shown`, says of its origin. `folder`: an empty one. `sidecar`:
    the file of its credentials, where they aren't in it, and what its sender calls that."""
    from understudy.pipeline.provenance.verification import verify

    named = folder / f"sent{Path(shown).suffix[:10]}"  # what kind of file it is follows from its name, too
    named.symlink_to(path)
    beside = None
    if sidecar is not None:
        beside = folder / "beside" / sidecar[1]
        beside.parent.mkdir()
        beside.symlink_to(sidecar[0])
    try:
        return verify(Context(folder, on_progress=progress), named, beside)
    except UnderstudyError as error:
        raise _as_sent(error, named, shown) from None


def examine_answer(
    progress: Progress, folder: Path, path: Path, shown: str, phrase: str, own: Sequence[Path]
) -> tuple[UnderstudyError | None, dict[str, Any]]:
    """Whether the recording at `path`, which its sender calls `shown`, says `phrase` in the voice of the recordings
    `own`: what is wrong with it, and what the consent log says about it."""
    from understudy.voices import recording_files
    from understudy.voices.consent import challenge
    from understudy.voices.consent.recording import Known, examine

    context = Context(folder, on_progress=progress)
    try:
        decoded = recording_files.decode(context.part(0, 0.1), path, folder / "answer.npy")
    except UnderstudyError as error:
        raise _as_sent(error, path, shown) from None
    found = examine(context.part(0.1, 1), decoded, phrase, Known.of(challenge.decoded(own, context)))
    return found.refusal, challenge.told(found, path)


def check_recording(progress: Progress, folder: Path, path: Path, shown: str) -> dict[str, Any]:
    """What is to be said of the recording at `path`, which its sender calls `shown`, before a voice is made from it:
    its `duration` and the seconds of `voice` in it, its `pitch_range` and `findings`, as JSON."""
    from understudy.voices import recordings

    try:
        (report,), _ = recordings.check_files(Context(folder, on_progress=progress), [path], [shown])
    except UnderstudyError as error:
        raise _as_sent(error, path, shown) from None
    pitch = recordings.pitch_range([report])
    findings = []
    for finding in report.findings:
        said = finding.sentence.removeprefix(f"{shown}: ")
        findings.append({**asdict(finding), "sentence": said[:1].upper() + said[1:]})
    return {
        "duration": report.duration,
        "voice": report.voice if report.usable else 0.0,
        "pitch_range": None if pitch is None else pitch.model_dump(),
        "findings": findings,
    }


def decode_into(progress: Progress, cache: Path, files: Mapping[str, Path], settings: CoverSettings) -> None:
    """Make the artifacts of `decoding`, so that the run that follows finds them there."""
    from understudy.pipeline.executor import LocalExecutor, StageEvent
    from understudy.pipeline.store import Store

    graph = decoding(files, settings)
    fractions = {node.name: 0.0 for node in graph.nodes}

    def listen(event: StageEvent) -> None:
        fractions[event.node] = event.fraction
        progress(sum(fractions.values()) / len(fractions))

    executor = LocalExecutor(Store(cache), "cpu", 1, 1)
    executor.run(graph, graph.nodes, listen, Event())


def _as_sent(error: UnderstudyError, path: Path, shown: str) -> UnderstudyError:
    """The error with the name of the file as it was sent, without folders of the server."""
    return UnderstudyError(error.code, *(text.replace(str(path), shown) for text in (error.message, error.hint)))


def decoding(files: Mapping[str, Path], settings: CoverSettings) -> Graph:
    """The stages ``decode`` of these files (by role), ``ingredient`` and, for a video, ``artwork``, alone: their
    artifacts have the keys that they have in a cover's graph."""
    from understudy.pipeline.graph import Graph
    from understudy.pipeline.nodes import artwork, decode, file_external
    from understudy.pipeline.provenance.marking import origin

    songs = {role: file_external(path) for role, path in files.items()}
    nodes: list[Node[Any]] = [decode(song, settings.song, role) for role, song in songs.items()]
    if settings.provenance.sign:
        nodes += [origin(song, role) for role, song in songs.items()]
    if settings.output.video:
        nodes += [artwork(song, settings.tags, role) for role, song in songs.items()]
    return Graph.of(*nodes)


def add_training_recordings(
    progress: Progress,
    folder: Path,
    root: Path,
    name: str,
    files: Sequence[Path],
    consent: Consent,
    separate: bool,
) -> list[dict[str, Any]]:
    """Add recordings for training to the voice `name` of the library `root`. Returns what was found in them, as JSON:
    of those that were left out, too."""
    from understudy.voices import library

    context = Context(folder, on_progress=progress)
    _, findings = library.add_training_recordings(root, name, files, consent, context, separate=separate)
    return [asdict(finding) for finding in findings]


def make_voice(
    progress: Progress,
    folder: Path,
    root: Path,
    files: Sequence[Path],
    consent: Consent,
    speaker: int | None,
    trained: bool,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Make a voice, as ``voice`` alone in the library `root`: from recordings or, if `trained`, from a model (and its
    index) or an archive. The `consent` of the request counts, not the one in the archive.

    Returns the voice's manifest and what was found in the recordings, as JSON.
    """
    from understudy.voices import library, manifest
    from understudy.voices.importing import import_voice

    context = Context(folder, on_progress=progress)
    if trained:
        index = files[1] if len(files) > 1 else None
        voice, findings = import_voice(root, files[0], context, "voice", consent=consent, index=index, speaker=speaker)
    else:
        voice, findings = library.add(root, "voice", files, consent, context)
    # the log of this library ends with the job
    voice = replace(voice, manifest=voice.manifest.model_copy(update={"consent": consent, "consent_record": None}))
    manifest.write(voice.folder, voice.manifest)
    return voice.manifest.model_dump(mode="json"), [asdict(finding) for finding in findings]
