"""The HTML page: one file, no outside links, nothing in it that the template engine hasn't escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.audio.song_analysis import PITCH_CLASSES, SongAnalysis
from understudy.pipeline.report.assessment import Balance
from understudy.pipeline.report.figures import LEFTOVER_ERROR, Figures, ReportInputs
from understudy.pipeline.report.grade import STAGES, number
from understudy.pipeline.report.png import describe, spectrogram_png
from understudy.pipeline.report.svg import Curve, clock_scale, plot
from understudy.pipeline.report.template import render_page
from understudy.pipeline.report.verdict import Measured, Verdict
from understudy.pipeline.separation.advice import precision_note
from understudy.pipeline.separation.quality import Quality

STAGE_WORDS = {
    "separate": "takes the song apart into vocal and band",
    "pitch": "finds the melody of the vocal",
    "transpose": "chooses how high the new voice sings it",
    "convert": "sings it with the new voice",
    "finish": "gives the new vocal the original's level, space and place",
    "remix": "mixes the new vocal with the instrumental",
}
VERDICT_WORDS = {"good": "good", "mind": "mind this", "wrong": "wrong", "unknown": "not measured"}


@dataclass(frozen=True)
class Track:
    """One entry of the player. `key`: the digit that chooses it. `data`: an Ogg Opus file."""

    key: int
    name: str
    words: str
    data: bytes

    @property
    def address(self) -> str:
        return "data:audio/ogg;base64," + base64.b64encode(self.data).decode()


def render(inputs: ReportInputs, figures: Figures, verdict: Verdict, tracks: list[Track]) -> str:
    """The page as text."""
    from markupsafe import Markup

    melody = figures.before.melody
    loudness, loudness_marks = _loudness(figures)
    return render_page(
        "report.html",
        ("report.css",),
        "report.js",
        inputs=inputs,
        figures=figures,
        verdict=verdict,
        tracks=tracks,
        excerpt=figures.before.excerpt,
        stages=[(name, STAGE_WORDS[name], verdict.stages[name]) for name in STAGES],
        verdict_words=VERDICT_WORDS,
        cards=_cards(inputs, figures, verdict),
        rows=[_row(one) for one in verdict.measured],
        loudness=Markup(loudness),
        loudness_marks=loudness_marks,
        melody=Markup(melody.drawing.read_text(encoding="utf-8")),
        melody_width=melody.width,
        notes=melody.notes,
        pictures=_pictures(figures, figures.before.brightest),
        clock_scale=Markup(clock_scale(figures.before.duration, 6)),
        melody_clock=Markup(clock_scale(figures.before.duration, melody.width // 90)),
        separation=_separation(inputs.quality, figures.before.balance, precision_note(inputs.separation)),
        settings=_settings(inputs.settings or {}),
        transpose=_semitones(inputs.transposition.semitones),
        tempo_and_key=_tempo_and_key(inputs.analysis, inputs.key),
    )


def _tempo_and_key(analysis: SongAnalysis, moved: int) -> list[str]:
    """What is known of the two; the key also as the cover has it, `moved` by so many semitones."""
    words = [] if analysis.bpm is None else [f"{analysis.bpm:.0f} beats per minute"]
    if analysis.key is not None:
        tonic, mode = analysis.key.split()
        here = PITCH_CLASSES[(PITCH_CLASSES.index(tonic) + moved) % 12]
        words.append(f"{tonic} {mode}, here {here} {mode}" if moved % 12 else analysis.key)
    return words


def _semitones(semitones: float) -> str:
    if semitones == 0:
        return "at the original pitch"
    amount, way = abs(semitones), "higher" if semitones > 0 else "lower"
    if amount % 12 == 0:
        octaves = int(amount // 12)
        return f"{'an octave' if octaves == 1 else f'{octaves} octaves'} {way}"
    return f"{amount:g} semitone{'s' if amount != 1 else ''} {way}"


def _row(one: Measured) -> dict[str, str]:
    scale = one.scale
    return {
        "stage": one.stage,
        "label": scale.label,
        "value": "–" if one.value is None else number(one.value, scale.unit),
        "good": scale.limit,
        "verdict": one.verdict,
        "reason": scale.reason if one.value is not None or not one.note else one.note,
    }


def _cards(inputs: ReportInputs, figures: Figures, verdict: Verdict) -> list[dict[str, str]]:
    """The handful of figures that a fan wants to see first."""
    by_name = {one.scale.name: one for one in verdict.measured}

    def card(name: str, title: str, words: str) -> dict[str, str]:
        one = by_name[name]
        value = "–" if one.value is None else number(one.value, one.scale.unit)
        return {
            "title": title,
            "value": value,
            "words": words if one.value is not None else one.note,
            "verdict": one.verdict,
        }

    likeness, balance = figures.before.likeness, figures.before.balance
    voice = "of the way from the original singer to the voice"
    if likeness.before is not None and likeness.to_voice is not None:
        voice += f"; similarity {likeness.before:.2f} before, {likeness.to_voice:.2f} now"
    mix = "change against the song"
    if balance.before is not None and figures.balance_after is not None:
        mix = f"vocal against band: {balance.before:+.1f} dB before, {figures.balance_after:+.1f} dB now".replace(
            "-", "−"
        )
    brighter = "brighter" if (balance.brightness or 0) > 0 else "duller"
    loud, limited = figures.cover_loudness.integrated, inputs.loudness.reduction
    return [
        card("on_note", "Notes", "of the sung notes are where they should be"),
        card("voice", "Voice", voice),
        card("bleed", "Separation", "instruments left in the separated vocal, against the voice"),
        card("leftover", "Original singer", f"left under the new vocal, estimated; ± {LEFTOVER_ERROR:.0f} dB"),
        card("balance_shift", "Place of the vocal", mix),
        card("brightness", "Brightness", f"the new vocal is {brighter} than the original one"),
        card("loudness_difference", "Loudness", f"from the song's; the cover has {loud:.1f} LUFS".replace("-", "−")),
        card("limiting", "Limiting", f"of the time above 3 dB; {limited:.1f} dB at most"),
        card("true_peak", "Peaks", "highest peak; −1 or less is safe everywhere"),
    ]


def _separation(quality: Quality, balance: Balance, computed: tuple[str, str] | None) -> list[tuple[str, str, str]]:
    """What is estimated of the separation: name, figure, and what it means; and what it was `computed` in."""
    rows = []
    for name, level, words in (
        ("Instruments in the vocals", quality.bleed, "against the voice"),
        ("Voice in the instrumental", quality.residue, "against the rest"),
    ):
        if level is not None:
            low, high = number(level.low, "dB"), number(level.high, "dB")
            rows.append(
                (name, number(level.estimate, "dB"), f"{words}; in four of five songs between {low} and {high}")
            )
    if balance.leftover is not None:
        words = "against the voice, before the singer removal; in two of three songs within 2 dB"
        rows.append(("Original singer in the instrumental", number(balance.leftover, "dB"), words))
    if balance.short:
        words = "that the separated vocal is too soft, estimated; the new vocal is as much louder than it"
        rows.append(("Missing in the vocals", number(balance.short, "dB"), words))
    for stem, hertz in quality.cutoffs.items():
        rows.append((f"End of the {stem}", number(hertz / 1000, "kHz"), "the song goes on above"))
    if quality.missing is not None:
        rows.append(("In neither stem", number(quality.missing, "dB"), "of the song; −60 and below is nothing"))
    if quality.phasiness is not None:
        words = "0: the vocals have a phase of their own; 1: they have the song's, and sound hollow by themselves"
        rows.append(("Borrowed phase", number(quality.phasiness, ""), words))
    if quality.blurred is not None:
        words = "0: the vocals keep their place where instruments play; above .18 they waver between left and right"
        rows.append(("Wavering", number(quality.blurred, ""), words))
    if computed is not None:
        rows.append(("Precision", *computed))
    return rows


def _loudness(figures: Figures) -> tuple[str, list[str]]:
    """The plot and the values on its scale, from the top."""
    # a short-term value belongs to the middle of its 3 s, which ends where the value stands
    song, cover = figures.song_loudness.short_term[14:], figures.cover_loudness.short_term[14:]
    both = np.concatenate((song, cover))
    audible = both[both > -60]
    high = float(np.ceil((audible.max() if audible.size else -10) / 6) * 6)
    low = max(high - 42, float(np.floor((np.percentile(audible, 2) if audible.size else -40) / 6) * 6 - 6))
    marks = [(value, "") for value in np.arange(low, high + 1, 6)]
    curves = [_curve("song", song, low), _curve("cover", cover, low)]
    names = " and ".join(f"{curve.kind}" for curve in curves)
    label = (
        f"Short-term loudness of {names} from {low:.0f} to {high:.0f} LUFS; integrated "
        f"{figures.song_loudness.integrated:.1f} and {figures.cover_loudness.integrated:.1f} LUFS"
    )
    drawing = plot(curves, figures.before.duration, low=low, high=high, marks=marks, label=label)
    return drawing, [f"{value:.0f}".replace("-", "−") for value, _ in marks[::-1]]


def _curve(kind: str, values: NDArray[np.float32], low: float) -> Curve:
    """Every so many values, so that an hour is as big as a minute; below the plot's floor becomes a gap."""
    every = max(1, -(-values.size // 1200))
    thinned = values[::every].astype(np.float64)
    return Curve(kind, np.where(thinned < low, np.nan, thinned), 0.1 * every)


def _pictures(figures: Figures, top: float) -> list[dict[str, str]]:
    """Spectrograms in pairs that share one scale of shades, so that they can be compared."""
    found = figures.before.pictures
    parts = (("original_vocals", "Original vocal"), ("vocals", "New vocal"), ("song", "Song"))
    pictures = [(title, found[name].file.read_bytes(), found[name].alt) for name, title in parts]
    pictures.append(("Cover", spectrogram_png(figures.levels, top), describe(figures.levels)))
    return [
        {
            "title": title,
            "address": "data:image/png;base64," + base64.b64encode(data).decode(),
            "alt": f"Spectrogram of: {title}. {words}",
        }
        for title, data, words in pictures
    ]


def _settings(settings: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (str(stage), [(str(name).replace("_", " "), _plain(value)) for name, value in values.items()])
        for stage, values in settings.items()
    ]


def _plain(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(_plain(item) for item in value)
        case Mapping():
            return ", ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    return str(value)
