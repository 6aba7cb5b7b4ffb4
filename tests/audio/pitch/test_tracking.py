from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.sung_notes import CONTEXT, at_frames, cents_off, sung, vibrato
from understudy.audio.downmix import strongest_mono
from understudy.audio.pitch import PitchSettings, fcpe, track, tracking
from understudy.audio.pitch.tracking import tracker
from understudy.audio.samples import Audio
from understudy.errors import Cancelled, UnderstudyError

HERE = ["swift-f0", "praat", "harvest", "median", *(["fcpe"] if find_spec("torchfcpe") else [])]
DEFAULT = PitchSettings()


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize(("hz", "rate"), [(66, 44100), (220, 48000), (1300, 22050)])
def test_follows_a_vibrato_without_delay(name: str, hz: float, rate: int) -> None:
    f0 = vibrato(min(hz, 800) if name == "fcpe" else hz, 2.0, rate)  # FCPE hears little above 1000 Hz
    heard = track(CONTEXT, sung(f0, rate), PitchSettings(tracker=name))
    truth = at_frames(f0, rate)
    assert heard.frames == 401
    assert heard.f0.dtype == np.float32
    inner = slice(20, -20)
    off = cents_off(replace(heard, f0=heard.f0[inner]), truth[inner])
    assert np.mean(off < 50) > 0.99
    assert np.median(off) < 12
    early, late = (
        np.median(cents_off(replace(heard, f0=np.roll(heard.f0, by)[inner]), truth[inner])) for by in (-2, 2)
    )
    assert np.median(off) < min(early, late)


@pytest.mark.parametrize("name", HERE)
def test_silence_is_unvoiced(name: str) -> None:
    settings = PitchSettings(tracker=name)
    assert not track(CONTEXT, Audio.silence(2, 30000, 22050), settings).voiced.any()


def test_missing_fcpe_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchfcpe", None)
    fcpe._model.cache_clear()
    with pytest.raises(UnderstudyError) as caught:
        track(CONTEXT, sung(vibrato(200, 1, 16000), 16000), PitchSettings(tracker="fcpe"))
    assert caught.value.code == "package-missing"
    assert "understudy-covers[fcpe]" in caught.value.hint


def test_loading_fcpe_leaves_no_stand_in_behind() -> None:
    before = sys.modules.get("torchaudio")
    with fcpe._stand_in_for_torchaudio():
        assert sys.modules["torchaudio"] is not before
    assert sys.modules.get("torchaudio") is before


def test_unknown_trackers_are_refused() -> None:
    with pytest.raises(ValidationError):
        PitchSettings(tracker="yin")
    with pytest.raises(UnderstudyError, match="yin"):
        tracker("yin")


@pytest.mark.parametrize("bad", [{"low": 400, "high": 500}, {"median_of": ("praat", "harvest")}, {"loudness": 1}])
def test_settings_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PitchSettings(**bad)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 60000), st.sampled_from([8000, 11025, 16000, 44100, 48000, 96000]))
def test_a_frame_every_five_milliseconds(length: int, rate: int) -> None:
    noise = np.random.default_rng(length).standard_normal((1, length)) * 0.1
    assert track(CONTEXT, Audio.of(noise, rate), DEFAULT).frames == length * 200 // rate + 1


def test_notes_begin_and_end_where_they_do() -> None:
    rate = 44100
    f0 = np.concatenate([np.zeros(rate // 2), vibrato(300, 0.6, rate), np.zeros(rate // 3), vibrato(150, 0.4, rate)])
    heard = track(CONTEXT, sung(f0, rate), DEFAULT)
    assert np.mean(heard.voiced != (at_frames(f0, rate) > 0)) < 0.03


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, 1), (1, -1), (0, 1), (0.9, -1), (0.3, -0.1)],
    ids=["middle", "reversed", "right only", "nearly reversed", "panned and reversed"],
)
def test_any_stereo_place_gives_the_same_pitch(left: float, right: float) -> None:
    rate = 16000
    f0 = vibrato(250, 1.5, rate)
    mono = sung(f0, rate)
    wide = Audio(np.concatenate([mono.samples * np.float32(left), mono.samples * np.float32(right)]), rate)
    assert np.mean(cents_off(track(CONTEXT, wide, DEFAULT), at_frames(f0, rate)) < 50) > 0.97


def test_two_takes_left_and_right_do_not_mix() -> None:
    rate = 16000
    takes = [sung(vibrato(250, 1.5, rate, speed=speed), rate).samples for speed in (5.0, 6.1)]
    mono = strongest_mono(np.concatenate([takes[0], takes[1] * np.float32(0.9)]))
    np.testing.assert_array_equal(mono, takes[0][0])


@pytest.mark.parametrize("gain", [0.003, 3.0])
def test_level_does_not_matter(gain: float) -> None:
    rate = 16000
    sound = sung(vibrato(250, 1.5, rate), rate)
    quiet = Audio(sound.samples * np.float32(gain), rate)
    for name in ("swift-f0", "praat"):
        settings = PitchSettings(tracker=name)
        heard, expected = track(CONTEXT, quiet, settings), track(CONTEXT, sound, settings)
        np.testing.assert_array_equal(heard.voiced, expected.voiced)
        np.testing.assert_allclose(heard.f0, expected.f0, rtol=1e-3)


def test_a_click_does_not_silence_the_voice() -> None:
    rate = 16000
    f0 = vibrato(250, 4, rate)
    sound = sung(f0, rate, loud=0.05)
    sound.samples[0, 8000] = 1
    assert np.mean(cents_off(track(CONTEXT, sound, PitchSettings(tracker="praat")), at_frames(f0, rate)) < 50) > 0.95


def in_windows(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "tracker", lambda name, weights: replace(tracker(name, weights), window=seconds))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swift-f0", "praat"])
def test_windows_leave_no_seam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = 22050
    notes = np.repeat(np.random.default_rng(1).choice([0, 150, 200, 225, 300, 400], 46), rate // 2)
    sound = sung(notes * vibrato(1, 23, rate), rate)
    settings = PitchSettings(tracker=name)
    in_windows(4, monkeypatch)
    cut = track(CONTEXT, sound, settings)
    in_windows(30, monkeypatch)
    whole = track(CONTEXT, sound, settings)
    assert np.mean(cut.voiced != whole.voiced) < 0.001
    both = cut.voiced & whole.voiced
    assert np.mean(np.abs(np.log2(cut.f0[both] / whole.f0[both])) > 5 / 1200) < 0.001


class Long:
    """Ten minutes of a held note that is never whole in memory."""

    rate, channels, frames = 8000, 1, 8000 * 600
    period = np.array([np.sum(np.sin(2 * np.pi * np.arange(1, 6) * at / 40) / np.arange(1, 6)) for at in range(40)])

    def __init__(self) -> None:
        self.longest = 0

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        stop = self.frames if stop is None else stop
        self.longest = max(self.longest, stop - start)
        return Audio.of(0.2 * self.period[np.arange(start, stop) % 40], self.rate)


@pytest.mark.slow
def test_long_sound_is_read_in_windows() -> None:
    source = Long()
    heard = track(CONTEXT, source, DEFAULT)
    assert heard.frames == 120001
    assert np.mean(np.abs(heard.f0 - 200) < 2) > 0.999
    assert source.longest <= 30 * source.rate


def test_workers_do_not_change_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    in_windows(3, monkeypatch)
    rate = 16000
    sound = sung(vibrato(250, 13, rate), rate)
    one, three = (track(replace(CONTEXT, workers=workers), sound, DEFAULT) for workers in (1, 3))
    assert one.f0.tobytes() == three.f0.tobytes()


def test_cancelling_stops() -> None:
    cancelled = Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        track(replace(CONTEXT, cancelled=cancelled), Audio.silence(1, 16000, 16000), DEFAULT)


def test_progress_ends_at_one() -> None:
    told: list[float] = []
    track(replace(CONTEXT, on_progress=told.append), Audio.silence(1, 50 * 8000, 8000), DEFAULT)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)


def test_the_default_tracker_hears_the_voice_through_bleed() -> None:
    rate = 44100
    f0 = vibrato(330, 4, rate)
    voice = sung(f0, rate)
    chord = sum(sung(np.full(len(f0), hz), rate).samples for hz in (98.0, 247.0, 392.0))
    chord = chord * np.sqrt(np.mean(voice.samples**2) / np.mean(chord**2)) * 10 ** (-12 / 20)
    mixed = Audio((voice.samples + chord).astype(np.float32), rate)
    assert np.mean(cents_off(track(CONTEXT, mixed, DEFAULT), at_frames(f0, rate)) < 50) > 0.95


@pytest.mark.parametrize("name", ["swift-f0", "praat", "harvest", "median"])
@pytest.mark.parametrize("rising", [True, False])
def test_a_glide_from_50_hz_to_whistle_register_is_followed(name: str, rising: bool) -> None:
    rate, seconds = 44100, 12
    f0 = 50.0 * 50.0 ** (np.arange(seconds * rate) / (seconds * rate))
    f0 = f0 if rising else f0[::-1].copy()
    heard = track(CONTEXT, sung(f0, rate), PitchSettings(tracker=name))
    truth = at_frames(f0, rate)
    inner = (truth > 52) & (truth < 2450)
    off = 1200 * np.abs(np.log2(np.maximum(heard.f0[: len(truth)], 1) / truth))
    assert np.mean(off[inner] < 50) > 0.97
    for low, high in ((52, 80), (1000, 1600), (1600, 2100), (2100, 2450)):
        assert np.mean(off[(truth > low) & (truth < high)] < 50) > 0.9, (low, high)


def test_sibilants_and_breath_are_no_whistle() -> None:
    noise = np.random.default_rng(4).standard_normal(6 * 44100)
    hiss = np.diff(noise, prepend=0.0) * (np.sin(np.arange(len(noise)) * 2 * np.pi / 20000) > 0)
    heard = track(CONTEXT, Audio.of(0.1 * hiss, 44100), DEFAULT)
    assert not (heard.f0 > 1600).any()
