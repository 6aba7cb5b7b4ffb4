"""What the verdict says of each figure: a sentence, one action, and where to listen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.pipeline.report.figures import LEFTOVER_ERROR, Figures, ReportInputs
from understudy.pipeline.separation.advice import better_than, remarks
from understudy.pipeline.values import stored
from understudy.wording import clock


@stored
@dataclass(frozen=True)
class Action:
    """What to do about a weakness. `kind`: ``settings`` (make it again with these `settings`, by their full names, and
    `preset`), ``recordings`` (of the voice), ``song`` (another source), ``stems`` (the user's own), or ``report`` (a
    fault of the program). `text`: the same as a sentence."""

    kind: Literal["settings", "recordings", "song", "stems", "report"]
    text: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """`at`: seconds."""

    sentence: str
    action: Action
    at: tuple[float, ...] = ()


def reported() -> Action:
    return Action("report", "This is a fault of the program: please report it with this page.")


def words_for(name: str, value: float, stage: str, figures: Figures, inputs: ReportInputs) -> Words:
    """The words for the figure `name` (see `understudy.pipeline.report.grade.SCALES`), which belongs to `stage`."""
    before = figures.before
    sung, balance, likeness, quality = before.intonation, before.balance, before.likeness, inputs.quality
    match name:
        case "singing":
            sentence = "No singing was found: what the separator took for a voice is a part of the band."
            if before.vocal_silent:
                sentence = "No singing was found: the separated vocal is silent."
            elif before.sung_share == 0:
                sentence = "The separated vocal makes sound, but no sung note was found in it."
            return Words(sentence, Action("song", "Choose a song that is sung, or give its vocal with --vocals."))
        case "fit":
            sentence = f"Only {value:.0f} % of the vocals are in this song: they are of another one, or late."
            return Words(sentence, _cleaner(inputs, "Give vocals made from this very file, or leave out --vocals."))
        case "missing_of_song" | "cutoff":
            sentence = f"The stems together lack something of the song, {-value:.0f} dB below it."
            if name == "cutoff":
                sentence = f"The instrumental ends at {value:.1f} kHz; the song goes on above."
            if inputs.separation is None:
                return Words(sentence, Action("stems", "Give stems that were made from this very file."))
            if inputs.separation.consistency == "residual":
                return Words(sentence, _cleaner(inputs))
            residual = {"separation.consistency": "residual"}
            return Words(sentence, _set("Nothing is lost with --set separation.consistency=residual.", residual))
        case "bleed":
            said = [remark.sentence for remark in remarks(quality, inputs.separation) if remark.about == "bleed"]
            sentence = said[0] if said else f"The vocals hold instruments, about {-value:.0f} dB below the voice."
            return Words(sentence, _cleaner(inputs), quality.bleed_at)
        case "leftover":
            places = balance.leftover_at
            where = f", most of all around {_spans(places)}" if places else ""
            error = f" (± {LEFTOVER_ERROR:.0f} dB)" if balance.leftover is not None else ""
            sentence = (
                f"The original singer is still heard under the new vocal{where}: about {-value:.0f} dB below it{error}."
            )
            return Words(sentence, _cleaner(inputs), tuple(start for start, _ in places))
        case "tracking_octaves":
            sentence = f"The pitch track is an octave off in {value:.0f} % of the singing."
            return Words(sentence, _tracker(inputs, stage), before.tracking.worst)
        case "tracking_agreement":
            sentence = f"Two pitch trackers agree on only {value:.0f} % of the original singing."
            return Words(sentence, _tracker(inputs, stage), before.tracking.worst)
        case "off_key":
            moved, key = inputs.transposition.semitones, inputs.key
            sentence = "The vocal is in another key than the band."
            advice = f"Use --key {moved} instead of --transpose {moved - key}: it moves the band, too."
            return Words(sentence, _set(advice, {"key": moved, "transpose": 0}))
        case "range":
            beyond = before.beyond or 0.0
            way, back = ("high", "lower") if beyond > 0 else ("low", "higher")
            sentence = f"The melody is {value:.0f} semitones too {way} for the voice."
            if value > 6:
                octaves = round((inputs.transposition.semitones - inputs.key) / 12)  # in key with the band again
                moved = 12 * (octaves - 1 if beyond > 0 else octaves + 1)
                return Words(sentence, _set(f"An octave {back}: --transpose {moved}.", {"transpose": moved}))
            return Words(sentence, Action("recordings", f"Record notes that are as {way} as the song's."))
        case "on_note":
            sentence = f"Only {value:.0f} % of the notes are sung where they should be."
            return Words(sentence, _tracker(inputs, stage), sung.worst)
        case "out_of_tune":
            way = "high" if sung.bias > 0 else "low"
            return Words(f"The new vocal sings {value:.0f} cents too {way}.", _tracker(inputs, stage), sung.worst)
        case "octave_errors":
            sentence = f"{value:.0f} % of the singing is an octave off."
            return Words(sentence, _tracker(inputs, stage), sung.worst)
        case "unsung":
            sentence = f"In {value:.0f} % of the sung notes the new vocal has no clear pitch: it sounds hoarse."
            return Words(sentence, _cleaner(inputs) if stage == "separate" else _index_rate(inputs, -0.25))
        case "missing":
            sentence = f"{value:.0f} % of the singing is missing: the new vocal is silent there."
            if value > 95:
                sentence = "The new vocal is silent."
            return Words(sentence, reported(), balance.missing_at)
        case "vocal_delay":
            delays = (before.vocal_delay, before.finish_delay, figures.mixture.vocal_delay)
            ahead = min((delay for delay in delays if delay is not None), default=0) < 0
            sentence = f"The new vocal is {value:.0f} ms {'ahead of' if ahead else 'behind'} the original."
            return Words(sentence, _cleaner(inputs) if stage == "separate" else reported())
        case "voice":
            sentence = f"The new vocal isn't much nearer to {_voice_name(figures)} than the original singer is"
            if likeness.before is not None and likeness.to_voice is not None:
                sentence += f" (similarity {likeness.to_voice:.2f}, before {likeness.before:.2f})"
            return Words(f"{sentence}.", _index_rate(inputs, 0.25))
        case "clicks":
            part = "vocals" if stage == "finish" else "converted"
            at = (figures.faults[part].clicks or ())[:5]
            return Words(f"The new vocal clicks about {value:.0f} times a minute.", reported(), at)
        case "hiss":
            sentence = f"The new vocal hisses, {-value:.0f} dB below the voice."
            if stage == "finish":
                return Words(sentence, reported())
            return Words(sentence, Action("recordings", "Use recordings of the voice without noise."))
        case "brightness":
            way = "brighter" if (balance.brightness or 0) > 0 else "duller"
            sentence = f"The new vocal is {value:.0f} dB {way} than the original."
            return Words(sentence, Action("recordings", "Record the voice with another microphone, or nearer to it."))
        case "crests":
            return Words("The new vocal is distorted: its crests are cut flat.", reported())
        case "unsteadiness":
            sentence = f"The new vocal's loudness wanders by {value:.1f} dB against the original's."
            return Words(sentence, _set("Follow the original's: --set finish.follow=1.", {"finish.follow": 1.0}))
        case "balance_shift":
            shift = figures.vocal_level or 0.0
            sentence = (
                f"The vocal is {value:.1f} dB {'louder' if shift > 0 else 'quieter'} against the instrumental "
                "than before."
            )
            gain = round(min(max(_now(inputs, "remix", "vocal_gain", 0.0) - shift, -60.0), 24.0))
            back = "softer" if shift > 0 else "louder"
            return Words(sentence, _set(f"Vocal {back}: --vocal-gain {gain}.", {"remix.vocal_gain": float(gain)}))
        case "loudness_difference":
            loud = figures.cover_loudness.integrated
            wanted = (inputs.loudness.target or 0.0) if inputs.wanted_lufs is None else inputs.wanted_lufs
            sentence = f"The cover has {loud:.1f} LUFS instead of {wanted:.1f}."
            return Words(sentence, reported() if loud < wanted else _softer(figures, 0.0))
        case "shortfall":
            sentence = f"The cover is {value:.1f} LU softer than the song, to keep its dynamics."
            same = {"remix.target_lufs": -14.0}
            return Words(sentence, _set("Make all your covers equally loud: --target-lufs -14.", same))
        case "limiting":
            sentence = f"The limiter takes more than 3 dB during {value:.0f} % of the cover."
            return Words(sentence, _softer(figures, 3.0))
        case "distortion":
            sentence = f"The cover is distorted: {-value:.0f} dB below it lies what neither vocal nor instrumental has."
            return Words(sentence, _softer(figures, 3.0))
        case "true_peak":
            sentence = f"The cover's true peak is {value:+.1f} dBTP: lossy formats and cheap players distort it."
            return Words(sentence, _softer(figures, value + 1.0))
        case "clipped":
            if stage == "separate":
                sentence = "The song itself is clipped, and the cover inherits it."
                return Words(sentence, Action("song", "Use a better source of the song."))
            return Words(f"The cover is clipped, {value:.0f} samples a second.", _softer(figures, 3.0))
        case "bad_samples":
            return Words(f"{value:.0f} samples are not numbers.", reported())
        case "delay":
            return Words(f"The instrumental of the cover is {value:.1f} ms away from where it was.", reported())
    raise ValueError(f"no words for {name!r}")


def _set(text: str, settings: Mapping[str, Any]) -> Action:
    return Action("settings", text, settings)


def _now(inputs: ReportInputs, group: str, name: str, default: Any) -> Any:
    """What a setting was."""
    value = (inputs.settings or {}).get(group, {}).get(name)
    return default if value is None else value


def _cleaner(inputs: ReportInputs, otherwise: str = "Give your own stems with --vocals and --instrumental.") -> Action:
    """A better separation, where a preset has one."""
    preset = better_than(inputs.separation)
    if preset is None:
        return Action("stems", otherwise)
    text = f"A cleaner separation: understudy models fetch --preset {preset}, then --preset {preset}."
    return _set(text, {"preset": preset})


def _tracker(inputs: ReportInputs, stage: str) -> Action:
    """Another pitch tracker, or a better separation where that is the cause; a report where both are right."""
    if stage == "separate":
        return _cleaner(inputs)
    other = "median" if _now(inputs, "pitch", "tracker", "swift-f0") != "median" else "praat"
    return _set(f"Another pitch tracker: --tracker {other}.", {"pitch.tracker": other})


def _index_rate(inputs: ReportInputs, change: float) -> Action:
    """More or less of the recordings; where there is no more to take, better recordings."""
    rate = round(_now(inputs, "conversion", "index_rate", 0.5) + change, 2)
    if not 0 <= rate <= 1:
        return Action("recordings", "Use more and cleaner recordings of the voice, of singing if possible.")
    way = "More" if change > 0 else "Less"
    return _set(f"{way} of the recordings: --index-rate {rate:g}.", {"conversion.index_rate": rate})


def _softer(figures: Figures, by: float) -> Action:
    target = max(-60, round(figures.cover_loudness.integrated - by))
    return _set(f"Softer as a whole: --target-lufs {target}.", {"remix.target_lufs": float(target)})


def _spans(places: Iterable[tuple[float, float]]) -> str:
    return ", ".join(f"{clock(first)}–{clock(last)}" for first, last in places)


def _voice_name(figures: Figures) -> str:
    """The voice whose likeness was measured: by name where several sing."""
    before = figures.before
    name = next((name for name, one in before.likenesses.items() if one == before.likeness), None)
    return f"the voice {name}" if name else "the voice"
