"""What is wrong with a recording is found and said; what is right is not complained about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.recording_takes import by_telephone, clipped, in_a_room, over_music, take, with_noise, write
from tests.support.signals import Note, singing
from understudy.audio import windows
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.voices import recordings, speaker
from understudy.voices.measures import measure
from understudy.voices.recordings import RecordingReport


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


@pytest.fixture(scope="module")
def sung() -> Audio:
    return take(10)


def codes(context: Context, sound: Audio) -> dict[str, str]:
    report = recordings.check(context, sound, "rec.wav")
    for finding in report.findings:
        assert finding.recording == "rec.wav"
        assert finding.sentence.startswith("rec.wav: ")
        assert finding.sentence.endswith(".")
    return {finding.code: finding.severity for finding in report.findings}


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "formants", "semitones"), [(24000, 1.0, 0), (44100, 1.0, -5), (48000, 1.2, 9)])
def test_a_clean_take_is_clean(context: Context, rate: int, formants: float, semitones: float) -> None:
    assert codes(context, take(10, rate, formants=formants, semitones=semitones)) == {}


@pytest.mark.slow
def test_noise_is_measured(context: Context, sung: Audio) -> None:
    assert codes(context, with_noise(sung, 10))["noisy"] == "problem"
    assert codes(context, with_noise(sung, 20))["noisy"] == "advice"
    for snr in (5, 10, 20, 30):
        assert measure(context, with_noise(sung, snr)).snr == pytest.approx(snr, abs=3.5)
    assert measure(context, sung).snr > 35


def test_a_note_held_throughout_is_not_noise(context: Context) -> None:
    held, _ = singing([Note(57, 0.8, "a"), Note(57, 0.8, "e"), Note(None, 0.2)] * 5, 24000, vibrato=0)
    found = codes(context, with_noise(held, 50))
    assert "noisy" not in found
    assert found["little-pitch-range"] == "advice"


@pytest.mark.slow
def test_clipping(context: Context, sung: Audio) -> None:
    assert codes(context, clipped(sung, 6))["clipped"] == "problem"
    assert codes(context, clipped(sung, 12))["clipped"] == "problem"
    assert "clipped" not in codes(context, clipped(sung, -3))
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(96000) / 24000)
    assert "clipped" not in codes(context, Audio.of(tone, 24000))


@pytest.mark.slow
def test_a_room(context: Context, sung: Audio) -> None:
    assert "reverberant" in codes(context, in_a_room(sung, 0.6))
    assert codes(context, in_a_room(sung, 1.2))["reverberant"] == "problem"
    dry, small, large = (measure(context, room).decay for room in (sung, in_a_room(sung, 0.4), in_a_room(sung, 0.9)))
    assert dry is not None
    assert small is not None
    assert large is not None
    assert dry > small > 1.2 * large


def test_music_below_the_voice(context: Context, sung: Audio) -> None:
    assert codes(context, over_music(sung, 6))["music"] == "problem"
    assert "music" in codes(context, over_music(sung, 18))


def test_narrow_band(context: Context, sung: Audio) -> None:
    assert codes(context, by_telephone(sung))["band-limited"] == "problem"
    report = recordings.check(context, take(8, 16000), "rec.wav")
    assert [finding.code for finding in report.findings] == ["band-limited"]
    assert "16000 Hz" in report.findings[0].sentence


@pytest.mark.slow
@pytest.mark.skipif(not speaker.available(), reason="the model speaker-encoder isn't installed")
def test_two_people(context: Context, sung: Audio) -> None:
    other = take(10, formants=1.35, semitones=14, seed=3)
    both = Audio(np.concatenate([sung.samples, other.samples], axis=1), sung.rate)
    assert codes(context, both)["two-speakers"] == "problem"
    reports = [
        recordings.check(context, sound, name) for sound, name in ((sung, "a"), (take(8, seed=2), "b"), (other, "c"))
    ]
    strangers = [finding for finding in recordings.check_together(reports) if finding.code == "another-speaker"]
    assert [finding.recording for finding in strangers] == ["c"]


def test_without_the_speaker_encoder_it_says_what_was_not_measured(
    context: Context, sung: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speaker, "usable", lambda name: None)
    report = recordings.check(context, sung, "rec.wav")
    assert report.embedding is None
    assert report.findings == ()
    assert "speakers-not-compared" in [finding.code for finding in recordings.check_together([report])]


def test_a_quiet_recording(context: Context, sung: Audio) -> None:
    assert codes(context, Audio(sung.samples * np.float32(0.01), sung.rate)) == {"quiet": "advice"}


@pytest.mark.parametrize(
    "sound",
    [
        Audio.silence(1, 240000, 24000),
        Audio.silence(1, 0, 24000),
        Audio.silence(1, 1, 24000),
        Audio.of(np.full(48000, 0.5), 24000),
        Audio.of(np.random.default_rng(0).standard_normal(240000) * 0.1, 24000),
        Audio.of(np.eye(1, 48000, 24000)[0], 48000),
    ],
    ids=["silence", "nothing", "one sample", "direct current", "noise", "click"],
)
def test_what_holds_no_voice_is_of_no_use(context: Context, sound: Audio) -> None:
    report = recordings.check(context, sound, "rec.wav")
    assert not report.usable
    assert [finding.code for finding in report.findings] == ["silent"]
    assert recordings.pitch_range([report]) is None


def test_voice_is_counted_without_silence(context: Context, sung: Audio) -> None:
    gap = np.zeros((1, sung.rate * 12), np.float32)
    report = recordings.check(context, Audio(np.concatenate([gap, sung.samples, gap], axis=1), sung.rate), "rec.wav")
    assert report.duration == pytest.approx(34)
    assert report.voice == pytest.approx(9.5, abs=1)
    assert report.findings == ()


@pytest.mark.slow
def test_how_much_there_is(context: Context, sung: Audio) -> None:
    def short(seconds: float, count: int) -> list[str]:
        report = recordings.check(context, take(seconds), "rec.wav")
        found = recordings.check_together([report] * count)
        return [finding.severity for finding in found if finding.code == "short"]

    assert short(4, 1) == ["problem"]
    assert short(8, 1) == ["advice"]
    assert short(8, 2) == []


def test_pitch_range_is_that_of_all_recordings(context: Context) -> None:
    low, high = (recordings.check(context, take(4, semitones=shift), "a") for shift in (-6, 6))
    together = recordings.pitch_range([low, high])
    alone = recordings.pitch_range([low])
    assert together is not None
    assert alone is not None
    assert together.low == pytest.approx(alone.low, rel=0.06)
    assert together.high > 1.8 * alone.median


def test_a_long_recording_is_judged_by_excerpts(context: Context, sung: Audio, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(context, sung)
    monkeypatch.setattr(windows, "_LONGEST_EXCERPTS", 6.0)
    monkeypatch.setattr(windows, "_EXCERPT", 2.0)
    assert windows.excerpts(sung) == [(0, 48000), (96000, 144000), (192000, 240000)]
    report = recordings.check(context, sung, "rec.wav")
    assert report.findings == ()
    assert report.voice == whole.voice
    assert report.measures.snr == pytest.approx(whole.snr, abs=6)


def test_files_are_checked_without_a_library(context: Context, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.wav", take(8, seed=seed)) for seed, name in enumerate("ab")]
    reports, together = recordings.check_files(context, files)
    assert [report.recording for report in reports] == ["a.wav", "b.wav"]
    assert all(isinstance(report, RecordingReport) and report.usable for report in reports)
    assert [finding.code for finding in together if finding.code == "short"] == []
    with pytest.raises(UnderstudyError) as missing:
        recordings.check_files(context, [tmp_path / "none.wav"])
    assert missing.value.code == "file-not-found"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav"]


def test_checking_can_be_cancelled(context: Context, sung: Audio) -> None:
    context.cancelled.set()
    with pytest.raises(Cancelled):
        recordings.check(context, sung, "rec.wav")
