"""The stages between one vocal and several voices, with conversions whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio, Samples
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.cast import TimeRange, TimeRanges
from understudy.pipeline.stages.cast import CONTEXT, SNAP, Cut, cast_list, cut, join, keep, pause_near
from understudy.voices.transpose import Transposition

RATES = (8000, 22050, 44100, 48000)
STAY = Transposition(0, 0, "as it is")


def folder(tmp_path: Path, name: str) -> Context:
    place = tmp_path / name
    place.mkdir(exist_ok=True)
    return Context(place)


def stored(tmp_path: Path, name: str, samples: Samples, rate: int) -> AudioFile:
    return write_blocks(tmp_path / f"{name}.npy", rate, len(samples), [Audio(samples, rate)])


def phrases(rate: int, seconds: float = 20.0, channels: int = 2, pause: float = 0.3) -> Samples:
    """A tone that sings for two seconds less `pause` and is silent for it, again and again, from 0."""
    times = np.arange(round(seconds * rate)) / rate
    sings = (times % 2.0) < 2.0 - pause
    tone = 0.3 * np.sin(2 * np.pi * 220 * times) * sings
    return np.stack([tone * (1 - 0.3 * side) for side in range(channels)]).astype(np.float32)


def track_of(vocals: AudioFile) -> PitchTrack:
    frames = vocals.frames * 200 // vocals.rate + 1
    return PitchTrack((200 + np.arange(frames) * 0.01).astype(np.float32))  # every frame of its own


def ranges(*times: tuple[float, float | None], offset: float = 0.0, exact: bool = True) -> TimeRanges:
    made = tuple(TimeRange(start=a, stop=b, exact_start=exact, exact_stop=exact) for a, b in times)
    return TimeRanges(ranges=made, offset=offset)


def identity(tmp_path: Path, name: str, one: Cut, gain: float = 1.0) -> AudioFile:
    """An engine that sings exactly what it hears, in mono."""
    mono = one.vocals.read().mono()
    return stored(tmp_path, name, mono.samples * np.float32(gain), mono.rate)


@pytest.mark.parametrize("rate", RATES)
def test_a_voice_gets_its_turns_with_context_and_nothing_else(tmp_path: Path, rate: int):
    vocals = stored(tmp_path, "vocals", phrases(rate), rate)
    pitch = track_of(vocals)
    made = cut(folder(tmp_path, "cut"), vocals, pitch, ranges((4.0, 6.0), (12.0, 13.5)))
    assert made.turns == ((4 * rate, 6 * rate), (12 * rate, round(13.5 * rate)))
    assert made.vocals.duration < 2 + 1.5 + 4 * CONTEXT + 1
    assert len(made.pieces) == 2
    for place, frames, position in made.pieces:
        edge = rate // 10  # pieces fade in and out
        inner = made.vocals.read(position + edge, position + frames - edge).samples
        assert np.array_equal(inner, vocals.read(place + edge, place + frames - edge).samples)
        first, last = position * 200 // rate, (position + frames) * 200 // rate
        assert position * 200 % rate == place * 200 % rate == 0  # on the grid of the pitch
        assert np.array_equal(made.pitch.f0[first:last], pitch.f0[place * 200 // rate :][: last - first])
    assert made.pitch.frames == made.vocals.frames * 200 // rate + 1
    assert made.own.voiced.sum() == pytest.approx(3.5 / 0.005, abs=3)


def test_turns_that_lie_close_are_one_piece(tmp_path: Path):
    vocals = stored(tmp_path, "vocals", phrases(8000), 8000)
    made = cut(folder(tmp_path, "cut"), vocals, track_of(vocals), ranges((4.0, 6.0), (7.0, 9.0)))
    assert len(made.pieces) == 1
    assert made.vocals.duration < 5 + 2 * CONTEXT + 0.5


def test_the_ends_of_the_song_are_reached(tmp_path: Path):
    vocals = stored(tmp_path, "vocals", phrases(44100, 7.123), 44100)
    made = cut(folder(tmp_path, "cut"), vocals, track_of(vocals), ranges((0.0, None)))
    assert made.turns == ((0, vocals.frames),)
    assert np.array_equal(made.vocals.read(0, vocals.frames).samples, vocals.read().samples)


def test_a_turn_after_the_end_is_said(tmp_path: Path):
    vocals = stored(tmp_path, "vocals", phrases(8000), 8000)
    with pytest.raises(UnderstudyError, match="ends at 0:20") as caught:
        cut(folder(tmp_path, "cut"), vocals, track_of(vocals), ranges((25.0, None)))
    assert caught.value.code == "turn-outside"


def test_times_are_those_of_the_song_in_an_excerpt_too(tmp_path: Path):
    vocals = stored(tmp_path, "vocals", phrases(8000), 8000)
    made = cut(folder(tmp_path, "cut"), vocals, track_of(vocals), ranges((0.0, 70.0), offset=65.0))
    assert made.turns == ((0, 5 * 8000),)


@pytest.mark.parametrize("rate", RATES)
def test_voices_that_change_nothing_give_the_original_back(tmp_path: Path, rate: int):
    vocals = stored(tmp_path, "vocals", phrases(rate), rate)
    pitch = track_of(vocals)
    mine = cut(folder(tmp_path, "one"), vocals, pitch, ranges((0.0, 5.5), (11.0, 15.25)))
    yours = cut(folder(tmp_path, "two"), vocals, pitch, ranges((5.5, 9.0), (15.25, None)))
    joined = join(
        folder(tmp_path, "joined"),
        vocals,
        pitch,
        0,
        cuts=(mine, yours),
        converted=(identity(tmp_path, "sung1", mine), identity(tmp_path, "sung2", yours)),
        transpositions=(STAY, STAY),
    )
    original = vocals.read().mono().samples
    assert joined.vocals.channels == 1
    assert joined.vocals.frames == vocals.frames
    assert np.abs(joined.vocals.read().samples - original).max() < 1e-4
    assert np.array_equal(joined.pitch.f0, pitch.f0)
    kinds = [number for number, _, _ in joined.turns]
    assert kinds == [0, 1, -1, 0, 1]
    assert [joined.turns[0][1], joined.turns[-1][2]] == [0, vocals.frames]


def test_every_voice_is_as_loud_as_the_original_was(tmp_path: Path):
    rate = 22050
    vocals = stored(tmp_path, "vocals", phrases(rate), rate)
    pitch = track_of(vocals)
    mine = cut(folder(tmp_path, "one"), vocals, pitch, ranges((0.0, 10.0)))
    yours = cut(folder(tmp_path, "two"), vocals, pitch, ranges((10.0, None)))
    joined = join(
        folder(tmp_path, "joined"),
        vocals,
        pitch,
        0,
        cuts=(mine, yours),
        converted=(identity(tmp_path, "sung1", mine, 0.4), identity(tmp_path, "sung2", yours, 2.5)),
        transpositions=(STAY, STAY),
    )
    sung, original = joined.vocals.read().samples, vocals.read().mono().samples
    for first, last in ((0, 9), (11, 20)):
        part = slice(first * rate, last * rate)
        level, wanted = (float(np.mean(one[:, part].astype(float) ** 2)) for one in (sung, original))
        assert abs(10 * np.log10(level / wanted)) < 0.1


def test_each_voice_moves_by_its_own_semitones(tmp_path: Path):
    vocals = stored(tmp_path, "vocals", phrases(8000), 8000)
    pitch = track_of(vocals)
    mine = cut(folder(tmp_path, "one"), vocals, pitch, ranges((0.0, 4.0)))
    yours = cut(folder(tmp_path, "two"), vocals, pitch, ranges((6.0, 10.0)))
    joined = join(
        folder(tmp_path, "joined"),
        vocals,
        pitch,
        2,
        cuts=(mine, yours),
        converted=(identity(tmp_path, "sung1", mine), identity(tmp_path, "sung2", yours)),
        transpositions=(Transposition(14, 12, "up"), Transposition(-10, -12, "down")),
    )
    moved = 12 * np.log2(joined.pitch.f0 / pitch.f0)
    for seconds, semitones in ((2.0, 14), (5.0, 2), (8.0, -10), (15.0, 2)):
        assert moved[round(seconds * 200)] == pytest.approx(semitones, abs=1e-3)


def test_where_nobody_has_a_turn_the_original_stays_untouched(tmp_path: Path):
    rate = 8000
    original = stored(tmp_path, "original", phrases(rate), rate)
    finished = stored(tmp_path, "finished", -0.5 * phrases(rate), rate)
    turns = ((0, 0, 5 * rate), (1, 5 * rate, 8 * rate), (-1, 8 * rate, 12 * rate), (0, 12 * rate, original.frames))
    made = keep(folder(tmp_path, "kept"), finished, original, turns).read().samples
    inside = slice(round(8.1 * rate), round(11.9 * rate))
    assert np.array_equal(made[:, inside], original.read().samples[:, inside])
    outside = slice(round(12.1 * rate), None)
    assert np.array_equal(made[:, outside], finished.read().samples[:, outside])
    assert np.array_equal(made[:, : round(7.9 * rate)], finished.read().samples[:, : round(7.9 * rate)])


@pytest.mark.parametrize("asked", [3.6, 3.7, 3.85, 4.0, 4.1, 4.2])
def test_a_seam_lies_in_a_pause_if_there_is_one_near(tmp_path: Path, asked: float):
    rate = 22050
    vocals = Audio(phrases(rate), rate)  # silent from 3.7 to 4.0
    seam = pause_near(vocals, round(asked * rate)) / rate
    assert 3.69 <= seam <= 4.01
    assert abs(seam - asked) <= SNAP + 0.01


def test_a_seam_stays_where_nothing_is_better(tmp_path: Path):
    rate = 22050
    vocals = Audio(phrases(rate), rate)
    assert pause_near(vocals, 5 * rate) == pytest.approx(5 * rate, abs=rate // 100)
    silent = Audio.silence(2, 10 * rate, rate)
    assert pause_near(silent, 5 * rate) == 5 * rate


def test_both_sides_of_a_seam_find_the_same_moment(tmp_path: Path):
    vocals = stored(tmp_path, "vocals", phrases(8000), 8000)
    pitch = track_of(vocals)
    mine = cut(folder(tmp_path, "one"), vocals, pitch, ranges((0.0, 4.0), exact=False))
    yours = cut(folder(tmp_path, "two"), vocals, pitch, ranges((4.0, None), exact=False))
    assert mine.turns[0][1] == yours.turns[0][0]


def test_the_cast_list_names_everybody(tmp_path: Path):
    context = Context(tmp_path)
    made = cast_list(
        context,
        (("lead", "nova"), ("lead", "ada"), ("backing", "nova")),
        (Transposition(0, 0, "One."), Transposition(12, 12, "Two."), Transposition(-12, -12, "Three.")),
        (((0.0, 72.04), (90.0, 95.5)), ((72.04, 90.0),)),
    )
    assert made.transposition.semitones == 0
    assert made.transposition.reason == (
        "nova (0:00-1:12, 1:30-1:35.5): One. ada (1:12-1:30): Two. nova (backing vocals): Three."
    )
    assert made.singers[1].turns == ((72.04, 90.0),)
    assert made.singers[1].to_dict()["turns"] == ((72.04, 90.0),)
    assert "turns" not in made.singers[2].to_dict()
    assert [(one.voice, one.part, one.transpose) for one in made.singers] == [
        ("nova", "lead", 0),
        ("ada", "lead", 12),
        ("nova", "backing", -12),
    ]
    assert context.warnings == []
    cast_list(context, (("lead", "a"), ("lead", "b")), (STAY, Transposition(3, 0, "Three.")))
    assert "different keys" in context.warnings[0]
