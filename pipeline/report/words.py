"""What the verdict says of each figure: a sentence, one action, and where to listen.

These are the words of the report, the command line, ``--json``, the API and the page. A sentence is in everyday words;
the figure behind it stands in `understudy.pipeline.report.verdict.Weakness.measured`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.models import catalogue
from understudy.pipeline.report.figures import Figures, ReportInputs
from understudy.pipeline.report.grade import Severity
from understudy.pipeline.separating import models_of
from understudy.pipeline.separation.advice import better_than, instruments
from understudy.pipeline.settings import load_settings
from understudy.pipeline.values import stored
from understudy.wording import clock

HEADLINES: Mapping[Severity, str] = {"good": "Sounds right", "mind": "Nearly there", "wrong": "Something is wrong"}
"""What a grade is called, by the word of `understudy.pipeline.report.grade.word_of`."""
_MORE = 20  # seconds of recordings that help noticeably


@stored
@dataclass(frozen=True)
class Action:
    """What to do about a weakness. `kind`: ``settings`` (make it again with these `settings`, by their full names, and
    `preset`), ``recordings`` (of the voice), ``song`` (another source), ``stems`` (the user's own), or ``report`` (a
    fault of the program). `label`: the action in a few words, as on a button; `text`: as a sentence, with the options
    of the command line.

    `models`: names of the models in the catalogue that the settings need, and `bytes`, their size together, as far as
    it is known. `seconds`: of recordings that are wanted; `notes`: ``high`` or ``low`` where such notes are missing."""

    kind: Literal["settings", "recordings", "song", "stems", "report"]
    text: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    models: tuple[str, ...] = ()
    bytes: int = 0
    seconds: int = 0
    notes: Literal["", "high", "low"] = ""


@dataclass(frozen=True)
class Words:
    """`at`: seconds."""

    sentence: str
    action: Action
    at: tuple[float, ...] = ()


def reported() -> Action:
    text = "This is a fault of the program: please report it with this page."
    return Action("report", text, label="Report this fault")


def words_for(name: str, value: float, stage: str, figures: Figures, inputs: ReportInputs) -> Words:
    """The words for the figure `name` (see `understudy.pipeline.report.grade.SCALES`), which belongs to `stage`."""
    before = figures.before
    sung, balance, separated = before.intonation, before.balance, stage == "separate"
    match name:
        case "singing":
            why = "what the separator took for a voice is a part of the band"
            if before.vocal_silent:
                why = "the separated vocal is silent"
            song = Action("song", "Choose a song that is sung, or give its vocal with --vocals.", label="Another song")
            return Words(f"No singing was found: {why}.", song)
        case "fit":
            own = "Give vocals made from this very file, or leave out --vocals."
            return Words("The vocals aren't those of this song, or they are late.", _cleaner(inputs, own))
        case "missing_of_song" | "cutoff":
            sentence = "The vocal and the band together lack something of the song."
            if name == "cutoff":
                sentence = "The band sounds dull: its highest tones are missing."
            if inputs.separation is None:
                return Words(sentence, _cleaner(inputs, "Give stems that were made from this very file."))
            if inputs.separation.consistency == "residual":
                return Words(sentence, _cleaner(inputs))
            option = "separation.consistency"
            return Words(sentence, _set("Keep all of the song", f"--set {option}=residual", option, "residual"))
        case "bleed":
            heard = instruments(inputs.quality)
            sentence = f"The separated vocal still holds {heard}, which the new voice sings along."
            return Words(sentence, _cleaner(inputs), inputs.quality.bleed_at)
        case "leftover":
            places = ", ".join(f"{clock(first)}–{clock(last)}" for first, last in balance.leftover_at)
            where = f", most of all around {places}" if places else ""
            sentence = f"The original singer is still heard under the new vocal{where}."
            return Words(sentence, _cleaner(inputs), tuple(start for start, _ in balance.leftover_at))
        case "tracking_octaves" | "tracking_agreement":
            sentence = "The original's melody was hard to follow, so some notes may be wrong."
            return Words(sentence, _tracker(inputs, separated), before.tracking.worst)
        case "on_note":
            return Words("Some notes aren't sung where they should be.", _tracker(inputs, separated), sung.worst)
        case "out_of_tune":
            way = "high" if sung.bias > 0 else "low"
            return Words(f"The new vocal sings a little too {way}.", _tracker(inputs, separated), sung.worst)
        case "octave_errors":
            return Words("Some notes are sung an octave off.", _tracker(inputs, separated), sung.worst)
        case "off_key":
            moved, key = inputs.transposition.semitones, inputs.key
            text = f"Move the band, too: --key {moved} instead of --transpose {moved - key}."
            action = Action("settings", text, {"key": moved, "transpose": 0}, "Move the band, too")
            return Words("The vocal is in another key than the band.", action)
        case "range":
            beyond = before.beyond or 0.0
            way, back = ("high", "lower") if beyond > 0 else ("low", "higher")
            sentence = f"The song goes too {way} for the voice."
            if value <= 6:
                return Words(sentence, _recorded(f"{way} notes are missing", "high" if beyond > 0 else "low"))
            octaves = round((inputs.transposition.semitones - inputs.key) / 12)  # in key with the band again
            moved = 12 * (octaves - 1 if beyond > 0 else octaves + 1)
            return Words(sentence, _set(f"An octave {back}", f"--transpose {moved}", "transpose", moved))
        case "unsung":
            return Words("The new vocal sounds hoarse.", _cleaner(inputs) if separated else _index_rate(inputs, -0.25))
        case "missing":
            sentence = "The new vocal is silent" + ("." if value > 95 else " in places where there is singing.")
            return Words(sentence, reported(), balance.missing_at)
        case "vocal_delay":
            delays = (before.vocal_delay, before.finish_delay, figures.mixture.vocal_delay)
            ahead = min((delay for delay in delays if delay is not None), default=0) < 0
            sentence = f"The new vocal is {'ahead of' if ahead else 'behind'} the original."
            return Words(sentence, _cleaner(inputs) if separated else reported())
        case "voice":
            whose = _voice_name(figures, inputs)
            return Words(f"The new vocal doesn't sound much like {whose} yet.", _index_rate(inputs, 0.25, whose))
        case "clicks":
            clicks = figures.faults["vocals" if stage == "finish" else "converted"].clicks or ()
            return Words("The new vocal clicks.", reported(), clicks[:5])
        case "hiss":
            return Words(
                "The new vocal hisses.", reported() if stage == "finish" else _recorded("without noise around you")
            )
        case "brightness":
            way = "brighter" if (balance.brightness or 0) > 0 else "duller"
            sentence = f"The new vocal is {way} than the original."
            return Words(sentence, _recorded("nearer to the microphone"))
        case "crests":
            return Words("The new vocal is distorted: its crests are cut flat.", reported())
        case "unsteadiness":
            sentence = "The new vocal gets louder and softer where the original doesn't."
            return Words(sentence, _set("As steady as the original", "--set finish.follow=1", "finish.follow", 1.0))
        case "balance_shift":
            shift = figures.vocal_level or 0.0
            louder, back = ("louder", "softer") if shift > 0 else ("softer", "louder")
            gain = round(min(max(_now(inputs, "remix", "vocal_gain", 0.0) - shift, -60.0), 24.0))
            action = _set(f"Vocal {back}", f"--vocal-gain {gain}", "remix.vocal_gain", float(gain))
            return Words(f"The new vocal is {louder} against the band than the original was.", action)
        case "loudness_difference":
            wanted = (inputs.loudness.target or 0.0) if inputs.wanted_lufs is None else inputs.wanted_lufs
            soft = figures.cover_loudness.integrated < wanted
            return Words("The cover isn't as loud as it should be.", reported() if soft else _softer(figures, 0.0))
        case "shortfall":
            action = _set("All covers equally loud", "--target-lufs -14", "remix.target_lufs", -14.0)
            return Words("The cover is softer than the song, to keep its dynamics.", action)
        case "limiting":
            return Words("The cover is pressed to be loud, and sounds flat for it.", _softer(figures, 3.0))
        case "distortion":
            return Words("The cover is distorted.", _softer(figures, 3.0))
        case "true_peak":
            sentence = "The loudest moments may crackle on phones and in lossy files."
            return Words(sentence, _softer(figures, value + 1.0))
        case "clipped":
            if separated:
                better = Action("song", "Use a better source of the song.", label="A better source of the song")
                return Words("The song itself is clipped, and the cover inherits it.", better)
            return Words("The cover is clipped.", _softer(figures, 3.0))
        case "bad_samples":
            return Words("There are samples that are not numbers, which crackle.", reported())
        case "delay":
            return Words("The band isn't where it was in the song.", reported())
    raise ValueError(f"no words for {name!r}")


def _set(label: str, options: str, setting: str, value: Any) -> Action:
    return Action("settings", f"{label}: {options}.", {setting: value}, label)


def _now(inputs: ReportInputs, group: str, name: str, default: Any) -> Any:
    """What a setting was."""
    value = (inputs.settings or {}).get(group, {}).get(name)
    return default if value is None else value


def _cleaner(inputs: ReportInputs, otherwise: str = "Give your own stems with --vocals and --instrumental.") -> Action:
    """A better separation, where a preset has one."""
    preset = better_than(inputs.separation)
    if preset is None:
        return Action("stems", otherwise, label="Your own vocal and band")
    label, models = "Cleaner separation", models_of(load_settings(preset, environment={}).separation)
    size = sum(catalogue()[model].preferred.whole or 0 for model in models)
    how = f"understudy models fetch --preset {preset} ({size / 1e6:.0f} MB), then --preset {preset}"
    return Action("settings", f"{label}: {how}.", {"preset": preset}, label, models, size)


def _tracker(inputs: ReportInputs, separated: bool) -> Action:
    """Another pitch tracker, or a better separation where that is the cause."""
    if separated:
        return _cleaner(inputs)
    other = "median" if _now(inputs, "pitch", "tracker", "swift-f0") != "median" else "praat"
    return _set("Follow the melody another way", f"--tracker {other}", "pitch.tracker", other)


def _index_rate(inputs: ReportInputs, change: float, whose: str = "") -> Action:
    """More or less of the recordings; where there is no more to take, better recordings."""
    rate = round(_now(inputs, "conversion", "index_rate", 0.5) + change, 2)
    if not 0 <= rate <= 1:
        return _recorded("sung ones help most")
    label = f"More like {whose}" if change > 0 else "Clearer words, a little less like the voice"
    return _set(label, f"--index-rate {rate:g}", "conversion.index_rate", rate)


def _recorded(which: str, notes: Literal["", "high", "low"] = "") -> Action:
    label = f"Record {_MORE} more seconds, {which}"
    return Action("recordings", f"{label}.", label=label, seconds=_MORE, notes=notes)


def _softer(figures: Figures, by: float) -> Action:
    target = max(-60, round(figures.cover_loudness.integrated - by))
    return _set("Softer as a whole", f"--target-lufs {target}", "remix.target_lufs", float(target))


def _voice_name(figures: Figures, inputs: ReportInputs) -> str:
    """The voice whose likeness was measured: of several that which `Likeness` is of."""
    before = figures.before
    return next((name for name, one in before.likenesses.items() if one == before.likeness), inputs.voice)
