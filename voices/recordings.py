"""Checks of recordings of a voice, with findings in plain words.

The limits were set on real speech and singing, untouched and degraded in known ways; `docs/measurements.md` lists hits
and false alarms. A finding never rejects a recording: any recording with at least half a second of voice is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.audio.samples import AudioSource
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import recording_files, speaker
from understudy.voices.measures import Measures, measure
from understudy.voices.names import printable
from understudy.voices.voice import PitchRange

LEAST_VOICE = 5.0  # seconds of voice that a voice needs in all
GOOD_VOICE = 15.0  # seconds below which more recordings help noticeably
_LEAST_USABLE = 0.5  # seconds of voice that a recording needs to be used
_COMPARABLE = 3.0  # seconds of voice from which a speaker can be recognised
_ONE_PERSON = 0.65  # least similarity of recordings of one person
_UNFIT = ("music", "two-speakers", "noisy", "reverberant", "clipped")  # problems that a model would learn

Severity = Literal["problem", "advice"]


@dataclass(frozen=True)
class Finding:
    """A finding about a recording. `recording`: its name, or "" where it concerns all of them together.

    ``problem``: it will be audible in the cover; ``advice``: it could be better. `sentence` is for people. `code`:
    ``unreadable``, ``duplicate``, ``silent``, ``short``, ``quiet``, ``clipped``, ``noisy``, ``reverberant``, ``music``,
    ``two-speakers``, ``band-limited``, ``little-pitch-range``, ``another-speaker``, ``speakers-not-compared``.
    """

    code: str
    severity: Severity
    recording: str
    sentence: str


@dataclass(frozen=True, eq=False)
class RecordingReport:
    """The measures and findings of one recording. `embedding`: see `speaker`; None where it can't be measured."""

    recording: str
    measures: Measures
    embedding: speaker.Embedding | None
    findings: tuple[Finding, ...]

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.measures.duration

    @property
    def voice(self) -> float:
        """Seconds of voice."""
        return self.measures.voice

    @property
    def usable(self) -> bool:
        return self.voice >= _LEAST_USABLE


def check(context: Context, source: AudioSource, name: str) -> RecordingReport:
    """Check one mono recording of any length; its findings refer to it as `name`."""
    measures = measure(context.part(0, 0.8), source)
    if measures.voice < _LEAST_USABLE:
        silent = measures.level < -60
        why = "it is silent" if silent else f"of its {measures.duration:.1f} s, {measures.voice:.1f} s hold a voice"
        sentence = f"{name}: not usable, {why}; give a recording in which somebody speaks or sings."
        return RecordingReport(name, measures, None, (Finding("silent", "problem", name, sentence),))
    partials = _partials(source)
    context.progress(1)
    drafts = [*_drafts(measures), *(() if partials is None else _two_speakers(partials))]
    findings = tuple(Finding(code, severity, name, f"{name}: {sentence}") for code, severity, sentence in drafts)
    return RecordingReport(name, measures, None if partials is None else speaker.together(partials), findings)


def check_files(
    context: Context, files: Sequence[Path], names: Sequence[str] | None = None, folder: Path | None = None
) -> tuple[list[RecordingReport], list[Finding]]:
    """Check audio files of any format: a report for each, and findings about all of them.

    `names`: names for the findings (default: the file names). Works in `folder` (default: the context's). Raises
    `UnderstudyError` for a file that can't be decoded.
    """
    names = names or [printable(path.name) for path in files]
    reports = []
    decoded = (folder or context.folder) / "decoded.npy"
    for done, (path, name) in enumerate(zip(files, names, strict=True)):
        part = context.part(done / len(files), (done + 1) / len(files))
        try:
            source = recording_files.decode(part.part(0, 0.2), path, decoded)
            reports.append(check(part.part(0.2, 1), source, name))
        finally:
            decoded.unlink(missing_ok=True)
    return reports, check_together(reports)


def check_together(reports: Sequence[RecordingReport]) -> list[Finding]:
    """Findings about all usable recordings together: the amount of voice, and whether all are of one person."""
    usable = [report for report in reports if report.usable]
    findings = []
    voice = sum(report.voice for report in usable)
    if voice < GOOD_VOICE:
        severity: Severity = "problem" if voice < LEAST_VOICE else "advice"
        sentence = f"There are {voice:.0f} s of voice in all; 15 to 40 s make the cover noticeably better."
        findings.append(Finding("short", severity, "", sentence))
    if not speaker.available():
        findings.append(speakers_not_compared())
    return findings + _other_speakers(usable)


def speakers_not_compared() -> Finding:
    sentence = "Whether all recordings are of one person was not measured: the speaker encoder is missing."
    return Finding("speakers-not-compared", "advice", "", sentence)


def unfit(report: RecordingReport) -> list[Finding]:
    """Those problems of a recording for which no model should be trained on it; their sentences say "left out"."""
    name = f"{report.recording}: "
    return [
        replace(finding, sentence=f"{name}left out, {finding.sentence.removeprefix(name)}")
        for finding in report.findings
        if finding.severity == "problem" and finding.code in _UNFIT
    ]


def embeddings(context: Context, files: Sequence[Path], folder: Path) -> list[speaker.Embedding]:
    """Speaker embeddings of the recordings in `files`; none of those without enough voice, or without an encoder."""
    found = []
    decoded = folder / "decoded.npy"
    for done, path in enumerate(files):
        part = context.part(done / len(files), (done + 1) / len(files))
        partials = _partials(recording_files.decode(part, path, decoded))
        if partials is not None:
            found.append(speaker.together(partials))
        decoded.unlink()
    return found


def unlike(report: RecordingReport, own: Sequence[speaker.Embedding]) -> list[Finding]:
    """A finding if the recording sounds like another person than the voice with the embeddings `own`."""
    alike = _likeness(report, own)
    if alike is None or alike >= _ONE_PERSON:
        return []
    sentence = f"left out, it sounds like another person than the voice's own recordings (similarity {alike:.2f})."
    return [Finding("another-speaker", "problem", report.recording, f"{report.recording}: {sentence}")]


def pitch_range(reports: Sequence[RecordingReport]) -> PitchRange | None:
    """5th, 50th and 95th percentile of the voiced frames of all recordings; None below a fifth of a second of them."""
    f0 = np.concatenate([report.measures.f0 for report in reports]) if reports else np.zeros(0)
    if len(f0) < 40:
        return None
    low, median, high = (round(float(value), 2) for value in np.percentile(f0, [5, 50, 95]))
    return PitchRange(low=low, median=median, high=high)


Draft = tuple[str, Severity, str]
"""Code, severity and sentence of a finding, without the recording's name."""


def _drafts(measures: Measures) -> Iterator[Draft]:
    # a steady pure tone crowds its peak by 3.2 and has flat crests as well
    if (measures.clips >= 1.5 and measures.crowding >= 3.5) or measures.crowding >= 13:
        severity: Severity = "problem" if measures.clips >= 5 or measures.crowding >= 13 else "advice"
        often = f"{measures.clips:.0f} times a second"
        yield "clipped", severity, f"its loudest moments are cut off ({often}); turn the recording level down."
    yield from _background(measures)
    if measures.bandwidth < 9500 or (measures.rate >= 40000 and measures.bandwidth < 13000):
        kilohertz = f"{measures.bandwidth / 1000:.1f} kHz"
        sentence = f"there is nothing above {kilohertz}, as after a telephone or strong compression; use the original "
        sentence += "recording."
        if measures.bandwidth > 0.45 * measures.rate:
            sentence = (
                f"its sample rate of {measures.rate} Hz ends the sound at {kilohertz}; record at 44.1 kHz or more."
            )
        yield "band-limited", "problem" if measures.bandwidth < 6500 else "advice", sentence
    if measures.level < -45:
        yield "quiet", "advice", f"it is very quiet ({measures.level:.0f} dBFS); turn the recording level up."
    if measures.semitones is not None and measures.semitones < 4:
        sentence = (
            f"its pitch covers only {measures.semitones:.0f} semitones; add something higher and lower, best of all "
        )
        yield "little-pitch-range", "advice", sentence + "sung."


def _background(measures: Measures) -> Iterator[Draft]:
    """Noise, other sounds and reverberation fill the same gaps of a voice and must be distinguished.

    Reverberation makes decays slow. So does music, but then it is loud itself (a decay in dB/s of six times its
    distance in dB separates the two). So does loud noise, but less.
    """
    slow = measures.decay if measures.decay is not None and measures.decay < 160 else None
    reverberant = slow is not None and slow < 6 * measures.other and (measures.snr >= 16 or slow < 115)
    if not reverberant and measures.other < 39 and measures.other_often < 50:
        sentence = (
            f"music or another voice sounds about {max(0, measures.other):.0f} dB below the voice; "
            "use a recording of the voice alone (`understudy separate` takes music away)."
        )
        yield "music", "problem" if measures.other < 33 else "advice", sentence
        return
    if slow is not None and reverberant:
        sentence = (
            f"the room rings for about {measures.ringing or 0:.1f} s; record closer to the microphone, "
            "in a room with curtains, carpets or clothes."
        )
        yield "reverberant", "problem" if slow < 130 else "advice", sentence
    if measures.snr < (12 if reverberant else 25):
        sentence = (
            f"the voice is only about {max(0, measures.snr):.0f} dB above the noise; record closer to the "
            "microphone, away from fans and traffic."
        )
        yield "noisy", "problem" if measures.snr < 16 else "advice", sentence


def _partials(source: AudioSource) -> NDArray[np.float32] | None:
    """See `speaker.partials`; None without an encoder, or where no stretch of voice is long enough."""
    if not speaker.available():
        return None
    try:
        return speaker.partials(source)
    except UnderstudyError as error:
        if error.code != "nobody-heard":
            raise
        return None


def _two_speakers(partials: NDArray[np.float32]) -> Iterator[Draft]:
    """Partials of 1.6 s, averaged over three, split in two groups around the most unlike pair (2-means): two people if
    the groups are less alike than one person's moments ever were."""
    if len(partials) < 8:
        return
    smooth = np.stack([speaker.together(partials[max(0, k - 1) : k + 2]) for k in range(len(partials))])
    alike = smooth @ smooth.T
    centres = smooth[list(np.unravel_index(int(alike.argmin()), alike.shape))]
    group = np.zeros(len(smooth), int)
    for _ in range(20):
        group = np.argmax(smooth @ centres.T, axis=1)
        if group.min() == group.max():
            return
        centres = np.stack([speaker.together(smooth[group == k]) for k in (0, 1)])
    size = min(np.sum(group == 0), np.sum(group == 1))
    first, second = (speaker.together(partials[group == k]) for k in (0, 1))
    alike_groups = speaker.similarity(first, second)
    if size < max(3, 0.15 * len(partials)) or alike_groups >= 0.75:
        return
    sentence = f"it seems to contain two people (similarity {alike_groups:.2f}); cut it so that one remains."
    yield "two-speakers", "problem", sentence


def _other_speakers(usable: Sequence[RecordingReport]) -> list[Finding]:
    """Recordings that sound like another person than the rest."""
    known = [report for report in usable if report.embedding is not None and report.voice >= _COMPARABLE]
    findings = []
    for report in known:
        others = [other.embedding for other in known if other is not report and other.embedding is not None]
        alike = _likeness(report, others)
        if alike is not None and alike < _ONE_PERSON:
            sentence = (
                f"{report.recording}: sounds like another person than the other recordings (similarity {alike:.2f}); "
                "leave it out if it is."
            )
            findings.append(Finding("another-speaker", "problem", report.recording, sentence))
    return findings


def _likeness(report: RecordingReport, others: Sequence[speaker.Embedding]) -> float | None:
    """The median similarity to `others`; None where there is too little voice to tell."""
    if not others or report.embedding is None or report.voice < _COMPARABLE:
        return None
    return float(np.median([speaker.similarity(report.embedding, other) for other in others]))
