"""The engine with small random models: what it promises of any model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile
import torch

from tests.support.signals import PHRASE, singing
from tests.support.zero_shot_files import write_models
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio, Samples
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.models import Weights
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.zero_shot import engine as engine_module
from understudy.voices.zero_shot import singing as singing_module
from understudy.voices.zero_shot.configuration import HOP, RATE, SINGING
from understudy.voices.zero_shot.engine import ZeroShotEngine
from understudy.voices.zero_shot.references import KEPT, choose_clips, frame_pitch, load_clips
from understudy.voices.zero_shot.vocoder import Vocoder, log_mel

SETTINGS = ConversionSettings(steps=4, precision="float32")
Sing = Callable[..., Samples]


class Recorded:
    """As much of a voice as the engine reads."""

    def __init__(self, *files: Path) -> None:
        self.name, self.recording_files = "nova", files
        self.tuned_files: dict[Path, str] = {}


@pytest.fixture(scope="module")
def sung() -> tuple[Audio, PitchTrack]:
    audio, pitch = singing(PHRASE, 44100)
    return audio.read(0, 110250), PitchTrack(pitch.f0[:501])


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory, sung: tuple[Audio, PitchTrack]) -> Any:
    path = tmp_path_factory.mktemp("voice") / "recording.flac"
    soundfile.write(path, 0.5 * sung[0].samples.T, sung[0].rate)
    return Recorded(path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Weights]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, voice: Any) -> Path:
    return ZeroShotEngine().prepare(Context(tmp_path_factory.mktemp("prepared")), voice)


@pytest.fixture
def sing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sung: tuple[Audio, PitchTrack], models: dict[str, Weights],
    voice: Any, prepared: Path,
) -> Sing:  # fmt: skip
    """The song, or another one, sung; the vocoder is replaced by one that plays each frame's mean as a constant."""
    calls = iter(range(99))

    def frames_as_steps(mel: Any, tick: Callable[[], None]) -> Any:
        tick()
        return (mel.mean(0).repeat_interleave(HOP) / 20).clamp(-1, 1)

    def convert(audio: Audio = sung[0], pitch: PitchTrack = sung[1], transpose: float = 0.0, **changed: Any) -> Samples:
        folder = tmp_path / str(next(calls))
        folder.mkdir()
        context = changed.pop("context", None) or Context(folder)
        part = changed.pop("part", None)
        settings = SETTINGS.model_copy(update=changed)
        performance = Performance(audio, pitch, transpose, part)
        found = ZeroShotEngine().convert(
            replace(context, folder=folder), performance, voice, prepared, settings, models
        )
        assert {path.name for path in folder.iterdir()} == {"converted.npy"}
        assert (found.rate, found.channels, found.frames) == (audio.rate, 1, audio.frames)
        return found.read().samples[0]

    real, stub = singing_module.load_networks, cast(Vocoder, frames_as_steps)
    stub.margin = 0
    monkeypatch.setattr(singing_module, "load_networks", lambda *a: replace(real(*a), vocoder=stub))
    return convert


def test_the_whole_chain_sings_with_a_real_vocoder(
    tmp_path: Path, sung: tuple[Audio, PitchTrack], models: dict[str, Weights], voice: Any, prepared: Path
):
    heard: list[float] = []
    audio = Audio(np.tile(sung[0].samples[:, :48000], (2, 1)), 48000)  # any rate, any channels
    context = Context(tmp_path, on_progress=heard.append)
    found = ZeroShotEngine().convert(context, Performance(audio, sung[1], 2.0), voice, prepared, SETTINGS, models)
    sound = found.read().samples
    assert sound.shape == (1, 48000)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() > 0.01
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(1)


def test_a_speech_model_sings_at_its_own_rate_and_says_that_it_is_not_told_the_pitch(
    tmp_path: Path, sung: tuple[Audio, PitchTrack], voice: Any, prepared: Path
):
    models = write_models(tmp_path, speech=True)
    performance, context = Performance(sung[0].read(0, RATE), sung[1], 0.0), Context(tmp_path)
    found = ZeroShotEngine().convert(context, performance, voice, prepared, SETTINGS, models)
    sound = found.read().samples
    assert sound.shape == (1, RATE)
    assert np.abs(sound).max() > 0.01
    bands = np.abs(np.fft.rfft(sound[0]))  # of 1 Hz
    assert np.square(bands[11100:]).sum() < 1e-4 * np.square(bands[:11000]).sum()
    assert any("speech" in warning for warning in context.warnings)


def test_the_same_seed_sings_the_same_and_each_setting_counts(sing: Sing):
    first = sing()
    assert np.array_equal(first, sing())
    for change in ({"seed": 1}, {"index_rate": 0.0}, {"steps": 5}, {"formant_shift": 3.0}, {"transpose": 5.0}):
        assert not np.array_equal(first, sing(**change)), change


def test_silence_stays_silent_and_sound_stays_in_its_place(sing: Sing, sung: tuple[Audio, PitchTrack]):
    audio, pitch = sung
    gap = 2 * RATE
    samples = np.pad(audio.samples[:, :RATE], ((0, 0), (gap, gap)))
    later = PitchTrack(np.concatenate([np.zeros(400, np.float32), pitch.f0[:200], np.zeros(400, np.float32)]))
    found = sing(Audio(samples, RATE), later)
    assert not found[: gap - RATE // 4].any()
    assert not found[gap + RATE + RATE // 4 :].any()
    assert np.abs(found[gap : gap + RATE]).reshape(20, -1).max(1).min() > 1e-4
    assert not sing(Audio.silence(2, 5000, 8000), PitchTrack(np.zeros(10, np.float32))).any()


def test_a_part_is_sung_as_in_the_whole_and_the_rest_is_silent(sing: Sing, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_module, "LONGEST", 100)
    whole, part = sing(), sing(part=(1.2, 1.8))
    inside = slice(round(1.25 * RATE), round(1.75 * RATE))
    assert np.abs(whole[inside]).max() > 0
    assert np.corrcoef(whole[inside], part[inside])[0, 1] > 0.99  # the levels of the rests are of what is sung
    assert not part[: round(1.15 * RATE)].any()
    assert not part[round(1.85 * RATE) :].any()


def test_where_the_song_is_cut_is_not_heard(sing: Sing, monkeypatch: pytest.MonkeyPatch):
    whole = sing()
    monkeypatch.setattr(engine_module, "LONGEST", 100)
    cut = sing()
    assert not np.array_equal(whole, cut)
    # passages have other contexts and the same noise: they differ less than two seeds do
    assert np.square(whole - cut).sum() < 0.5 * np.square(whole - sing(seed=9)).sum()
    assert np.abs(np.diff(cut)).max() < 1.2 * np.abs(np.diff(whole)).max()


def test_only_unvoiced_sound_is_protected_at_the_level_of_the_voice(sung: tuple[Audio, PitchTrack]):
    frames = 200
    song = sung[0].read(0, frames * HOP)
    f0 = np.where(np.arange(frames) % 50 < 30, 220, 0).astype(np.float32)
    gain = np.where(np.arange(frames) < 180, 1.0, 0.0)
    original = log_mel(torch.from_numpy(song.samples[0])).numpy()
    mel = original + 2 + np.random.default_rng(0).standard_normal(original.shape).astype(np.float32)
    protected = mel.copy()
    engine_module._protect(protected, song, f0, gain, 1.0, SINGING)
    spoken = (f0 == 0) & (gain > 0)
    assert np.array_equal(protected[:, ~spoken], mel[:, ~spoken])
    assert np.abs(protected - original - 2)[:, spoken].max() < 0.05


def test_a_cancelled_conversion_stops_between_two_layers(sing: Sing, sung: tuple[Audio, PitchTrack]):
    heard = 0

    def progress(fraction: float) -> None:
        nonlocal heard
        heard += 1
        if fraction > 0.2:
            context.cancelled.set()

    context = Context(Path(), on_progress=progress)
    with pytest.raises(Cancelled):
        sing(context=context)
    assert heard < 40


def test_a_passage_too_large_for_the_gpu_is_split(sing: Sing, monkeypatch: pytest.MonkeyPatch):
    class OutOfMemoryError(RuntimeError):
        pass

    real, sung = singing_module.sing, []

    def small_memory(networks: Any, song: Any, manner: Any, first: int, last: int, tick: Any) -> Samples:
        if last - first > 150:
            raise OutOfMemoryError
        sung.append((first, last))
        return real(networks, song, manner, first, last, tick)

    monkeypatch.setattr(singing_module, "sing", small_memory)
    context = Context(Path())
    assert sing(context=context).any()
    assert len(sung) > 1
    assert "memory" in context.warnings[0]


def test_a_cpu_refuses_float16_and_high_notes_are_told(sing: Sing, sung: tuple[Audio, PitchTrack]):
    with pytest.raises(UnderstudyError) as caught:
        sing(precision="float16")
    assert caught.value.code == "precision-unsupported"
    context = Context(Path())
    sing(context=context, transpose=36.0)
    assert "1100 Hz" in context.warnings[0]


def test_clips_are_voiced_pieces_of_the_recordings(tmp_path: Path, voice: Any, prepared: Path):
    clips = load_clips(prepared)
    assert 1 <= len(clips) <= KEPT
    for clip in clips:
        assert len(clip.sound) == len(clip.f0) * HOP <= 8 * RATE
        assert (clip.f0 > 0).mean() > 0.5
    soundfile.write(tmp_path / "noise.flac", 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    with pytest.raises(UnderstudyError) as caught:
        choose_clips(Context(tmp_path), Recorded(tmp_path / "noise.flac"))  # type: ignore[arg-type]
    assert caught.value.code == "voice-without-sound"


def test_the_pitch_of_a_mel_frame_is_that_of_its_middle():
    track = PitchTrack(np.arange(100, 300, dtype=np.float32))  # one Hz more every 5 ms
    found = frame_pitch(track, 120)
    middle = (np.arange(120) + 0.5) * HOP / RATE
    assert np.abs(found[:85] - (100 + middle[:85] / 0.005)).max() <= 0.5
    assert not found[90:].any()


def test_noise_belongs_to_the_song_and_not_to_the_passage():
    one, two = singing_module.noise_of(3, 500, 1100, 80), singing_module.noise_of(3, 1000, 1400, 80)
    assert np.array_equal(one[:, 500:], two[:, :100])
    assert abs(float(one.std()) - 1) < 0.02
