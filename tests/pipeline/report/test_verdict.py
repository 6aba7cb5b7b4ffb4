"""A known fault must be found, and the stage that made it must be blamed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.support.covers import RATE, good_cover, original, sung_by_another
from tests.support.signals import PHRASE, singing
from understudy.audio.pitch import PitchTrack
from understudy.context import Context
from understudy.pipeline.report import ReportInputs
from understudy.pipeline.report.figures import Figures, measure_figures
from understudy.pipeline.report.grade import (
    AT_GOOD,
    AT_WRONG,
    SCALES,
    STAGES,
    Scale,
    Severity,
    grade_of,
    rank,
    word_of,
)
from understudy.pipeline.report.verdict import Verdict, judge, off_key
from understudy.pipeline.report.words import words_for
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.separation.vocal_level import VocalLevel
from understudy.pipeline.settings import load_settings
from understudy.voices import speaker
from understudy.voices.transpose import Transposition


def verdict_of(inputs: ReportInputs, folder: Path) -> Verdict:
    return judge(measure_figures(Context(folder, workers=2), inputs), inputs)


def singer() -> np.ndarray:
    return original().vocals.samples


def band() -> np.ndarray:
    return original().instrumental.samples


def stereo(transpose: float = 0.0) -> np.ndarray:
    return np.repeat(sung_by_another(transpose).samples, 2, axis=0)


def test_a_good_cover_is_called_good(tmp_path: Path) -> None:
    inputs = good_cover(tmp_path)
    verdict = verdict_of(inputs, tmp_path)
    assert [finding.sentence for finding in verdict.findings] == []
    assert (verdict.overall, verdict.blame) == ("good", "")
    assert set(verdict.stages) == set(STAGES)


def off_pitch(folder: Path) -> ReportInputs:
    return good_cover(folder, converted=sung_by_another(0.8).samples, vocals=stereo(0.8))


def silent(folder: Path) -> ReportInputs:
    return good_cover(folder, converted=0 * stereo()[:1], vocals=0 * stereo())


def late(folder: Path) -> ReportInputs:
    shifted = np.roll(stereo(), round(0.08 * RATE), axis=1)
    return good_cover(folder, converted=shifted[:1], vocals=shifted)


def with_holes(folder: Path) -> ReportInputs:
    torn = stereo()
    for second in (2, 4, 6):
        torn[:, second * RATE : second * RATE + RATE // 2] = 0
    return good_cover(folder, converted=torn[:1], vocals=torn)


def swallowed_by_finish(folder: Path) -> ReportInputs:
    return good_cover(folder, vocals=0 * stereo())


def with_seams(folder: Path) -> ReportInputs:
    torn = stereo()
    torn[:, RATE::5000] += 0.3
    return good_cover(folder, converted=torn[:1], vocals=torn)


def clicking_finish(folder: Path) -> ReportInputs:
    torn = stereo()
    torn[:, RATE::5000] += 0.3
    return good_cover(folder, vocals=torn)


def pumping(folder: Path) -> ReportInputs:
    swing = 10 ** (10 * np.sin(2 * np.pi * 0.12 * np.arange(stereo().shape[1]) / RATE) / 20)
    return good_cover(folder, vocals=stereo() * swing)


def shouting(folder: Path) -> ReportInputs:
    return good_cover(folder, cover=4 * stereo() + band())


def clipped(folder: Path) -> ReportInputs:
    mix = stereo() + band()
    return good_cover(folder, cover=np.clip(mix * 1.6 / np.abs(mix).max(), -1, 1))


def too_quiet(folder: Path) -> ReportInputs:
    return good_cover(folder, cover=0.5 * (stereo() + band()))


def moved_band(folder: Path) -> ReportInputs:
    return good_cover(folder, cover=stereo() + np.roll(band(), 37, axis=1))


def not_a_number(folder: Path) -> ReportInputs:
    vocals = stereo()
    vocals[0, 40000:40100] = np.nan
    return good_cover(folder, vocals=vocals)


def leaking(folder: Path) -> ReportInputs:
    return good_cover(folder, original_vocals=singer() + 0.9 * band(), instrumental=0.1 * band(),
                      cover=stereo() + band())  # fmt: skip


def lost_track(folder: Path) -> ReportInputs:
    """The tracker found nonsense, and the engine sang exactly that: far from the original's notes."""
    true = original().pitch
    wrong = PitchTrack(np.where(true.voiced, true.f0 * np.float32(2 ** (7 / 12)), 0).astype(np.float32))
    return good_cover(folder, pitch=wrong, converted=sung_by_another(7).samples, vocals=stereo(7))


def no_voice(folder: Path) -> ReportInputs:
    nothing = 0 * stereo()
    unvoiced = PitchTrack(np.zeros(1800, np.float32))
    return good_cover(
        folder, song=band(), original_vocals=nothing, vocals=nothing, converted=nothing[:1], pitch=unvoiced
    )


def too_short(folder: Path) -> ReportInputs:
    return good_cover(folder, cover=(stereo() + band())[:, :-500])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "stage", "figure"),
    [
        (off_pitch, "convert", "on_note"),
        (silent, "convert", "missing"),
        (late, "convert", "vocal_delay"),
        (with_holes, "convert", "missing"),
        (with_seams, "convert", "clicks"),
        (swallowed_by_finish, "finish", "missing"),
        (clicking_finish, "finish", "clicks"),
        (pumping, "finish", "unsteadiness"),
        (shouting, "remix", "balance_shift"),
        (clipped, "remix", "clipped"),
        (too_quiet, "remix", "loudness_difference"),
        (moved_band, "remix", "delay"),
        (not_a_number, "finish", "bad_samples"),
        (leaking, "separate", "bleed"),
        (lost_track, "pitch", "tracking_agreement"),
        (no_voice, "separate", "singing"),
        (too_short, "remix", "length"),
    ],
)
def test_the_right_stage_is_blamed(
    make: Callable[[Path], ReportInputs], stage: str, figure: str, tmp_path: Path
) -> None:
    verdict = verdict_of(make(tmp_path), tmp_path)
    said = [(finding.severity, finding.stage, finding.figure) for finding in verdict.findings]
    assert (stage, figure) in [(where, name) for _, where, name in said], said
    assert (verdict.overall, verdict.blame) == ("wrong", stage), said
    assert verdict.stages[stage] == "wrong"


def test_a_song_that_was_clipped_before_is_not_the_remix_s_fault(tmp_path: Path) -> None:
    mix = stereo() + band()
    crushed = np.clip(mix * 1.6 / np.abs(mix).max(), -1, 1)
    verdict = verdict_of(good_cover(tmp_path, song=crushed, cover=crushed), tmp_path)
    assert [f.severity for f in verdict.findings if f.figure == "clipped"] == ["mind"]


def test_what_the_user_asked_for_is_no_fault(tmp_path: Path) -> None:
    inputs = good_cover(tmp_path, cover=0.5 * (4 * stereo() + band()), wanted_balance=12.04, wanted_lufs=-100.0)
    figures = measure_figures(Context(tmp_path), inputs)
    before, after = figures.before.balance.before, figures.balance_after
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(12.04, abs=1.5)
    wanted = replace(inputs, wanted_lufs=figures.cover_loudness.integrated)
    assert verdict_of(wanted, tmp_path).findings == ()


@pytest.mark.slow
def test_what_the_limiter_left_softer_is_said_and_no_fault_of_the_loudness(tmp_path: Path) -> None:
    inputs = too_quiet(tmp_path)  # by 6 dB
    loudness = replace(inputs.loudness, shortfall=6.0, reduction_heavy=4.0)
    verdict = verdict_of(replace(inputs, loudness=loudness), tmp_path)
    said = {finding.figure: finding.severity for finding in verdict.findings}
    assert said == {"shortfall": "mind", "limiting": "mind"}
    small = verdict_of(replace(inputs, loudness=replace(loudness, shortfall=0.5, reduction_heavy=1.0)), tmp_path)
    assert {finding.figure for finding in small.findings} == {"loudness_difference"}


@pytest.mark.slow
def test_a_vocal_that_makes_up_for_what_separation_took_is_no_shift(tmp_path: Path) -> None:
    """The separated vocal is 5 dB too soft, which is known, and the new one is as loud as the true one was."""
    soft = 10 ** (-5 / 20) * singer()
    level = VocalLevel(5.0, np.full(100, 5.0), 0.1, -7.0)
    known, unknown = (
        measure_figures(Context(tmp_path), good_cover(tmp_path, original_vocals=soft, level=one))
        for one in (level, None)
    )
    assert known.vocal_level is not None
    assert unknown.vocal_level is not None
    assert abs(known.vocal_level) < 1.5
    assert unknown.vocal_level - known.vocal_level == pytest.approx(5, abs=0.1)
    assert (known.before.balance.short, known.before.balance.leftover) == (5.0, -7.0)


def left_over(folder: Path, leftover: float, **changes: object) -> ReportInputs:
    """The separator left so much of the singer, most of it from the fourth to the seventh second."""
    left = np.where((np.arange(9) >= 4) & (np.arange(9) < 8), leftover + 2, leftover - 2)
    return good_cover(folder, level=VocalLevel(0.0, np.zeros(100), 0.1, leftover, left), singer_removal=0.0, **changes)


@pytest.mark.slow
def test_the_leftover_singer_counts_and_the_verdict_says_where(tmp_path: Path) -> None:
    def found(leftover: float) -> tuple[float, Verdict]:
        inputs = left_over(tmp_path, leftover)
        figures = measure_figures(Context(tmp_path), inputs)
        assert figures.leftover is not None
        return figures.leftover, judge(figures, inputs)

    level, verdict = found(-5.0)
    assert level == pytest.approx(-5, abs=1.5)  # the new vocal is about as loud as the old one
    (finding,) = verdict.findings
    assert (finding.severity, finding.stage, finding.figure, finding.at) == ("mind", "separate", "leftover", (4.0,))
    assert "still heard under the new vocal, most of all around 0:04–0:07" in finding.sentence
    assert found(2.0)[1].overall == "wrong"
    assert found(-14.0)[1].findings == ()


@pytest.mark.slow
def test_the_advice_on_leftovers_names_the_command(tmp_path: Path) -> None:
    inputs = left_over(tmp_path, -4.0, separation=SeparationSettings())
    (finding,) = verdict_of(inputs, tmp_path).findings
    assert (finding.action.label, finding.action.models) == ("Cleaner separation", ("htdemucs",))
    assert finding.action.bytes == 84141911
    assert "understudy models fetch --preset fast (84 MB)" in finding.action.text


@pytest.mark.slow
def test_a_requested_vocal_gain_changes_nothing_of_the_leftover(tmp_path: Path) -> None:
    first = measure_figures(Context(tmp_path), left_over(tmp_path, -10.0)).leftover
    softer = left_over(tmp_path, -10.0, cover=0.25 * stereo() + band(), wanted_balance=-12.04)
    second = measure_figures(Context(tmp_path), softer).leftover
    assert first == pytest.approx(second, abs=0.7)


@pytest.mark.slow
@pytest.mark.parametrize(("times", "way"), [(9.0, "brighter"), (0.02, "duller")])
def test_brightness(tmp_path: Path, times: float, way: str) -> None:
    spectrum = np.fft.rfft(stereo())
    spectrum[:, np.fft.rfftfreq(stereo().shape[1], 1 / RATE) > 2000] *= times
    verdict = verdict_of(good_cover(tmp_path, vocals=np.fft.irfft(spectrum, stereo().shape[1])), tmp_path)
    (finding,) = [one for one in verdict.findings if one.figure == "brightness"]
    assert finding.stage == "convert"
    assert way in finding.sentence


def test_a_quiet_song_is_judged_like_a_loud_one(tmp_path: Path) -> None:
    soft = np.float32(10 ** (-40 / 20))
    parts = {"song": singer() + band(), "original_vocals": singer(), "instrumental": band()}
    parts |= {"converted": stereo()[:1], "vocals": stereo()}
    verdict = verdict_of(good_cover(tmp_path, **{name: soft * part for name, part in parts.items()}), tmp_path)
    assert (verdict.overall, verdict.findings) == ("good", ())


def test_a_song_without_a_singer_is_wrong_and_nothing_else_is_said(tmp_path: Path) -> None:
    """The separator took a part of the band for the vocal, 22 dB below the song."""
    phantom = np.float32(0.08) * band()
    inputs = good_cover(
        tmp_path, song=band(), original_vocals=phantom, instrumental=band() - phantom, separation=SeparationSettings()
    )
    verdict = verdict_of(inputs, tmp_path)
    assert (verdict.overall, verdict.blame) == ("wrong", "separate")
    assert "No singing was found" in verdict.reason
    assert verdict.findings[0].action.kind == "song"
    assert not {"bleed", "leftover", "voice", "on_note"} & {weakness.figure for weakness in verdict.findings}


@pytest.mark.parametrize("late", [0.1, 0.4])
def test_a_vocal_that_the_remix_moved_is_its_fault(tmp_path: Path, late: float) -> None:
    inputs = good_cover(tmp_path, cover=np.roll(stereo(), round(late * RATE), axis=1) + band())
    figures = measure_figures(Context(tmp_path), inputs)
    assert figures.mixture.vocal_delay == pytest.approx(late * RATE, abs=2)
    verdict = judge(figures, inputs)
    assert (verdict.overall, verdict.blame) == ("wrong", "remix")
    assert verdict.reason == "The new vocal is behind the original."
    assert f": {1000 * late:.0f} ms (good: ≤ 20 ms)" in verdict.findings[0].measured


def test_an_a_cappella_is_judged_without_a_band(tmp_path: Path) -> None:
    loud = float(np.sqrt(np.mean(singer() ** 2) / np.mean(stereo() ** 2)))
    inputs = good_cover(tmp_path, song=singer(), instrumental=0 * band(), vocals=loud * stereo())
    verdict = verdict_of(inputs, tmp_path)
    unknown = {one.scale.name for one in verdict.measured if one.value is None}
    assert {"bleed", "balance_shift", "delay"} <= unknown
    assert all(one.note for one in verdict.measured if one.value is None)
    assert verdict.overall != "wrong"


@given(st.sampled_from(sorted(SCALES)), st.floats(-200, 200), st.floats(-200, 200))
def test_a_worse_figure_never_loses_less(name: str, first: float, second: float) -> None:
    scale = SCALES[name]
    better, worse = (max(first, second), min(first, second)) if scale.more_is_better else sorted((first, second))
    assert scale.loss(better) <= scale.loss(worse)
    assert grade_of([scale.loss(better), 20]) >= grade_of([scale.loss(worse), 20])


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_every_scale_says_why_and_each_of_its_points_costs_more(scale: Scale) -> None:
    assert scale.reason.endswith(".")
    assert len(scale.reason) > 40
    losses = [scale.loss(point) for point in (scale.best, scale.good, scale.wrong, 2 * scale.wrong - scale.good)]
    assert losses == sorted(set(losses))
    assert losses[:3] == [0, pytest.approx(AT_GOOD), pytest.approx(AT_WRONG)]
    assert (scale.verdict(scale.best), scale.verdict(scale.wrong)) == ("good", "wrong")


@pytest.mark.parametrize(
    ("grade", "word"), [(100, "good"), (75, "good"), (74.9, "mind"), (50, "mind"), (49.9, "wrong")]
)
def test_the_word_of_a_grade(grade: float, word: Severity) -> None:
    assert word_of(grade) == word


def test_the_best_cover_comes_first() -> None:
    covers = [Cover("a", 40.0), Cover("b", None), Cover("c", 90.0), Cover("d", 40.0)]
    assert "".join(cover.name for cover in rank(covers)) == "cadb"


@dataclass(frozen=True)
class Cover:
    name: str
    grade: float | None


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("own", [True, False])
def test_every_weakness_has_one_action(name: str, own: bool, figures: Figures, inputs: ReportInputs) -> None:
    """Also where the stems are the user's own, and so no better separation can be offered."""
    inputs = replace(inputs, separation=None if own else SeparationSettings())
    words = words_for(name, SCALES[name].wrong, "convert", figures, inputs)
    assert words.sentence.endswith(".")
    assert words.action.text.endswith(".")
    assert 5 < len(words.action.label) < 60
    assert bool(words.action.settings) == (words.action.kind == "settings")
    assert bool(words.action.models) == bool(words.action.bytes) == ("preset" in words.action.settings)
    assert bool(words.action.seconds) == (words.action.kind == "recordings")
    settings = {key: value for key, value in words.action.settings.items() if key != "preset"}
    load_settings(words.action.settings.get("preset", "embedded"), settings)  # each is a setting that exists


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return good_cover(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def figures(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return measure_figures(Context(tmp_path_factory.mktemp("figures")), inputs)


@pytest.mark.parametrize(("semitones", "beyond", "moved"), [(2, 11.0, -12), (0, 14.0, -12), (-12, -9.0, 0)])
def test_a_melody_out_of_range_moves_by_an_octave_in_key(
    semitones: int, beyond: float, moved: int, figures: Figures, inputs: ReportInputs
) -> None:
    figures = replace(figures, before=replace(figures.before, beyond=beyond))
    inputs = replace(inputs, transposition=Transposition(semitones, 0, ""))
    found = next(weakness for weakness in judge(figures, inputs).findings if weakness.figure == "range")
    assert found.stage == "transpose"
    assert found.action.settings == {"transpose": moved}


@pytest.mark.parametrize(("semitones", "key", "off"), [(2, 0, 2), (-12, 0, 0), (5, 5, 0), (-7, 0, 5), (3, 1, 2)])
def test_another_key_than_the_band_s_is_wrong_and_the_action_moves_both(
    semitones: int, key: int, off: int, figures: Figures, inputs: ReportInputs
) -> None:
    inputs = replace(inputs, key=key, transposition=Transposition(semitones, 0, ""))
    assert off_key(inputs) == off
    verdict = judge(figures, inputs)
    found = [weakness for weakness in verdict.findings if weakness.figure == "off_key"]
    assert [weakness.stage for weakness in found] == ["transpose"] * bool(off)
    if found:
        assert (verdict.overall, verdict.blame) == ("wrong", "transpose")
        assert f"--key {semitones} instead of --transpose {semitones - key}" in found[0].action.text
        assert found[0].action.settings == {"key": semitones, "transpose": 0}


def test_without_the_speaker_encoder_the_report_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.voices.speaker.available", lambda: False)
    verdict = verdict_of(good_cover(tmp_path), tmp_path)
    voice = next(one for one in verdict.measured if one.scale.name == "voice")
    assert voice.value is None
    assert voice.verdict == "unknown"
    assert "understudy models fetch speaker-encoder" in voice.note
    assert verdict.overall == "good"


@pytest.mark.slow
@pytest.mark.skipif(not speaker.available(), reason="the model speaker-encoder isn't installed")
def test_a_cover_by_the_wrong_voice_is_the_engine_s_fault(tmp_path: Path) -> None:
    """The engine only moved the original singer's sound; the recordings are of somebody else."""
    theirs, ours = tmp_path / "other.flac", tmp_path / "own.flac"
    soundfile.write(theirs, singing(PHRASE * 3, 16000, formants=0.8)[0].samples[0], 16000)
    soundfile.write(ours, sung_by_another().samples[0], RATE)
    right = verdict_of(good_cover(tmp_path, recordings=(ours,)), tmp_path)
    assert "convert" not in {finding.stage for finding in right.findings}
    wrong = verdict_of(good_cover(tmp_path, recordings=(theirs,), converted=singer()[:1], vocals=singer()), tmp_path)
    assert {f.figure for f in wrong.findings if f.stage == "convert"} & {"voice", "voice_lead"}
