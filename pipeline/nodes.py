"""Nodes that the graphs of a cover, a conversion and a separation share: reading files, mixing, writing files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from understudy.audio.encode import OutputFormat
from understudy.audio.files import LIMITS
from understudy.audio.libav import check_readable, unreadable
from understudy.audio.pitch import PitchTrack
from understudy.audio.pitch.tracker import PitchSettings
from understudy.audio.pitch.tracking import track
from understudy.audio.song_analysis import SongAnalysis
from understudy.audio.stored import AudioFile
from understudy.audio.tags import TagSettings, read_artwork
from understudy.models import require
from understudy.packages import check_installed
from understudy.pipeline.cast import Cast
from understudy.pipeline.graph import External, Handle, Node, Source, Stage
from understudy.pipeline.separation.quality import assess_separation
from understudy.pipeline.settings import CoverSettings, SongSettings
from understudy.pipeline.stages.decode import decode_song
from understudy.pipeline.stages.encode import encode_output, headroom
from understudy.pipeline.stages.remix import CoverMix, measure_stems, remix
from understudy.pipeline.stages.sing import shift
from understudy.pipeline.stages.transcribe import tempo
from understudy.pipeline.stages.video import artwork_pixels
from understudy.pipeline.video.picture import Pixels
from understudy.voices.voice import file_hash

DECODE = Stage("decode", 2, decode_song)
ENCODE = Stage("encode", 4, encode_output)
ARTWORK = Stage("artwork", 1, artwork_pixels, packages=("pillow",))
HEADROOM = Stage("headroom", 4, headroom)
QUALITY = Stage("quality", 2, assess_separation)
TEMPO = Stage("tempo", 2, tempo, packages=("librosa",))
SHIFT = Stage("shift", 1, shift)
MEASURE = Stage("measure", 1, measure_stems)
REMIX = Stage("remix", 5, remix)
PITCH = Stage("pitch", 2, track, uses_gpu=True, packages=("swift-f0", "torchfcpe"))

STEMS = ("vocals", "instrumental")


def file_external(path: Path) -> External:
    """A file of the user's as an argument; its bytes stand for it in the key. Raises `UnderstudyError` for what isn't
    a readable file (a device has no end) or is too big to be a song."""
    check_readable(path, LIMITS.bytes)
    try:
        return External(path, file_hash(path))
    except OSError as error:
        raise unreadable(path, error) from error


def decode(file: External, part: SongSettings, subject: str = "") -> Node[AudioFile]:
    """Reads `file`, or the requested part of it."""
    settings = {"start": part.start, "duration": part.duration}
    return Node("decode", DECODE, {}, settings, {"path": file}, subject)


def encode(
    sound: Handle,
    format: OutputFormat,
    original: External,
    cast: Cast | None = None,
    stem: str | None = None,
    gain: Handle | None = None,
    subject: str = "",
    tagging: TagSettings | None = None,
) -> Node[Path]:
    """Writes `sound` in `format`, tagged as `original` is, a cover in the way of `tagging`. `stem`: which part of the
    song it is."""
    inputs = {"sound": sound} if gain is None else {"sound": sound, "gain": gain}
    voice = cast.name if cast else None
    # a song without tags is called as its file, whose name its content hash doesn't cover
    settings = {"format": format, "stem": stem, "voice": voice, "tagging": tagging, "title": original.value.stem}
    return Node("encode", ENCODE, inputs, settings, tagged(original, tagging), subject)


def tagged(original: External, tagging: TagSettings | None) -> dict[str, External]:
    """The files that tags are read from: the song, and the artwork if it has another. Raises what `read_artwork`
    raises."""
    if tagging is None or tagging.artwork_file is None:
        return {"original": original}
    read_artwork(tagging.artwork_file)
    return {"original": original, "artwork": file_external(tagging.artwork_file)}


def artwork(original: External, tagging: TagSettings, subject: str = "") -> Node[tuple[Pixels, ...]]:
    """Decodes the artwork of a cover of `original`."""
    return Node("artwork", ARTWORK, {}, {"tagging": tagging}, tagged(original, tagging), subject)


def encode_stems(
    stems: Mapping[str, Handle],
    format: OutputFormat,
    original: External,
    cast: Cast | None = None,
    titles: Mapping[str, str] | None = None,
    tagging: TagSettings | None = None,
) -> dict[str, Node[Path]]:
    """The stems as files, by name, at one gain, so that they sum to what they summed to before. `titles`: what the tags
    call a stem, where it isn't its name."""
    titles = titles or {}
    gain = Node("headroom", HEADROOM, {"stems": tuple(stems.values())}, {"format": format})
    return {
        name: encode(sound, format, original, cast, titles.get(name, name), gain, name, tagging)
        for name, sound in stems.items()
    }


def song_analysis(song: Handle) -> Node[SongAnalysis]:
    """Measures tempo, beats and key of `song`."""
    return Node("tempo", TEMPO, {"song": song})


def pitch(vocals: Handle, settings: PitchSettings, subject: str = "") -> Node[PitchTrack]:
    """Tracks the pitch of `vocals`. Raises `UnderstudyError` ``model-missing`` or ``package-missing`` if the tracker's
    isn't installed, before anything runs."""
    externals = {}
    if "rmvpe" in settings.trackers:
        weights = require("rmvpe")
        externals["weights"] = External(weights.path, weights.content_hash)
    if "fcpe" in settings.trackers:
        check_installed("torchfcpe")
    return Node("pitch", PITCH, {"source": vocals}, {"settings": settings}, externals, subject)


def in_key(sound: Handle, settings: CoverSettings, subject: str = "") -> Handle:
    """The sound in the key of the cover."""
    if not settings.key:
        return sound
    return Node("shift", SHIFT, {"sound": sound}, {"semitones": settings.key}, subject=subject)


def mixed(song: Handle, parts: Mapping[str, Handle], settings: CoverSettings, of: str = "") -> Node[CoverMix]:
    """From stems to the cover. What no gain changes is measured once, in a node of its own."""
    inputs: dict[str, Source] = {"song": song, "stems": parts}
    measured = Node(f"measure{of}", MEASURE, inputs)
    return Node(f"remix{of}", REMIX, {**inputs, "measured": measured}, {"settings": settings.remix})
