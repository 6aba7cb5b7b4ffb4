"""The engine on a synthetic singer whose pitch is known."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.signals import PHRASE, Note, singing
from tests.support.sung_notes import sung as sung_pitch
from understudy.audio.pitch import PitchSettings, PitchTrack, track
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.engines import engine
from understudy.voices.instant import InstantEngine
from understudy.voices.instant import engine as instant
from understudy.voices.instant.engine import SEARCH, WINDOW
from understudy.voices.voice import Manifest, PitchRange, Recording, Voice

SETTINGS = ConversionSettings()


def voice_of(folder: Path, recordings: Sequence[Audio]) -> Voice:
    (folder / "recordings").mkdir(parents=True)
    listed = []
    for number, audio in enumerate(recordings):
        file = folder / "recordings" / f"{number:03}-part.flac"
        soundfile.write(file, audio.samples[0], audio.rate)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        listed.append(Recording(file=file.name, source="part.wav", duration=audio.duration, sha256=digest))
    return Voice(
        folder,
        Manifest(
            name="nova",
            engine="instant",
            sample_rate=recordings[0].rate,
            pitch_range=PitchRange(low=100, median=150, high=200),
            recordings=tuple(listed),
            consent="self",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            content_hash="0" * 64,
        ),
    )


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    """A darker, lower singer at 22.05 kHz."""
    sound, _ = singing(
        [Note(45 + step, 0.7, vowel, "s") for step, vowel in zip(range(10), "aeiouaeiou", strict=True)],
        22050,
        formants=0.85,
    )
    return voice_of(tmp_path_factory.mktemp("voice"), [sound])


@pytest.fixture(scope="module")
def prepared(voice: Voice, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return InstantEngine().prepare(Context(tmp_path_factory.mktemp("prepared")), voice)


@pytest.fixture(scope="module")
def sung() -> tuple[Audio, PitchTrack]:
    return singing(PHRASE, 44100)


def converted(
    folder: Path,
    sung: tuple[Audio, PitchTrack],
    voice: Voice,
    prepared: Path,
    transpose: float = 0.0,
    settings: ConversionSettings = SETTINGS,
    workers: int = 1,
) -> Audio:
    folder.mkdir(parents=True, exist_ok=True)
    performance = Performance(sung[0], sung[1], transpose)
    return InstantEngine().convert(Context(folder, workers=workers), performance, voice, prepared, settings, {}).read()


def level(samples: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def brightness(audio: Audio, low: float, high: float) -> float:
    """dB of the band from `low` to `high` Hz against all."""
    power = np.abs(np.fft.rfft(audio.samples[0])) ** 2
    frequency = np.fft.rfftfreq(audio.frames, 1 / audio.rate)
    return 10 * float(np.log10(power[(frequency > low) & (frequency < high)].sum() / power.sum()))


def heard(audio: Audio) -> np.ndarray:
    import parselmouth

    pitch = parselmouth.Sound(audio.samples[0].astype(np.float64), audio.rate).to_pitch_ac(
        time_step=0.005, pitch_floor=50.0, pitch_ceiling=1000.0
    )
    nearest = np.round((np.arange(int(audio.duration * 200)) * 0.005 - pitch.x1) / pitch.dx).astype(int)
    return np.asarray(pitch.selected_array["frequency"])[np.clip(nearest, 0, pitch.n_frames - 1)]


@pytest.mark.slow
@pytest.mark.parametrize("transpose", [0, -12, 7])
def test_the_pitch_is_the_transposed_one(
    transpose: int, tmp_path: Path, sung: tuple[Audio, PitchTrack], voice: Voice, prepared: Path
) -> None:
    result = heard(converted(tmp_path, sung, voice, prepared, transpose))
    wanted = sung[1].f0[: len(result)] * 2 ** (transpose / 12)
    both = (result > 0) & (wanted > 0)
    assert both.sum() > 0.8 * (wanted > 0).sum()
    cents = np.abs(1200 * np.log2(result[both] / wanted[both]))
    assert (cents < 50).mean() > 0.95
    assert (cents > 600).mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("transpose", [0, 12])
def test_the_result_is_as_long_and_in_time(transpose: int, tmp_path: Path, voice: Voice, prepared: Path) -> None:
    """A note after a rest begins where it began."""
    for rate, frames in ((44100, 88213), (48000, 96001), (22050, 40001)):
        sound, pitch = singing([Note(None, 0.7), Note(50, 0.5, "a"), Note(None, 0.4), Note(52, 0.6, "o")], rate)
        vocals = sound.read(0, frames)
        result = converted(tmp_path / str(rate), (vocals, pitch), voice, prepared, transpose)
        assert (result.rate, result.channels, result.frames) == (rate, 1, frames)
        onset = [np.flatnonzero(np.abs(x) > 0.1 * np.abs(x).max())[0] for x in (vocals.samples[0], result.samples[0])]
        assert abs(int(onset[1]) - int(onset[0])) < 0.02 * rate


@pytest.mark.parametrize("second", ["same", "reversed", "late"])
def test_a_vocal_in_any_polarity_or_with_a_delay_is_as_loud(
    second: str, tmp_path: Path, sung: tuple[Audio, PitchTrack], voice: Voice, prepared: Path
) -> None:
    mono = sung[0].read(0, 2 * sung[0].rate)
    late = mono.read(-round(0.0007 * mono.rate), mono.frames - round(0.0007 * mono.rate)).samples
    other = {"same": mono.samples, "reversed": -mono.samples, "late": late}[second]
    stereo = Audio(np.concatenate([mono.samples, other]), mono.rate)
    ordinary = converted(tmp_path / "mono", (mono, sung[1]), voice, prepared)
    result = converted(tmp_path / "stereo", (stereo, sung[1]), voice, prepared)
    assert level(result.samples) == pytest.approx(level(ordinary.samples), abs=3)
    if second == "same":
        np.testing.assert_array_equal(result.samples, ordinary.samples)


@pytest.mark.slow
@pytest.mark.parametrize("transpose", [-12, -5])
def test_whistle_register_is_transposed_with_its_neighbours(
    transpose: int, tmp_path: Path, voice: Voice, prepared: Path
) -> None:
    notes = (440.0, 2200.0, 550.0, 1800.0)
    vocal = sung_pitch(np.repeat(notes, 44100), 44100)
    pitch = track(Context(tmp_path), vocal, PitchSettings())
    result = converted(tmp_path / "out", (vocal, pitch), voice, prepared, transpose)
    found = track(Context(tmp_path), result, PitchSettings())
    for second, hz in enumerate(notes):
        middle = found.f0[200 * second + 40 : 200 * second + 160]
        assert 1200 * abs(np.log2(np.median(middle) / (hz * 2 ** (transpose / 12)))) < 50  # 28 at most: 1800 Hz by -5


@pytest.mark.slow
def test_silence_stays_silence(tmp_path: Path, voice: Voice, prepared: Path) -> None:
    silence = Audio.silence(2, 44100, 44100)
    result = converted(tmp_path / "all", (silence, PitchTrack(np.zeros(201, np.float32))), voice, prepared)
    assert result.samples.shape == (1, 44100)
    assert not result.samples.any()
    sound, pitch = singing([Note(50, 0.5, "a"), Note(None, 0.5), Note(50, 0.5, "a")], 44100)
    gap = slice(round(0.56 * 44100), round(0.96 * 44100))
    sound.samples[:, gap] = 0
    for transpose in (0.0, 12.0):
        result = converted(tmp_path / f"gap {transpose}", (sound, pitch), voice, prepared, transpose)
        assert not result.samples[0, gap][2000:-2000].any()


def test_an_empty_vocal_gives_an_empty_result(tmp_path: Path, voice: Voice, prepared: Path) -> None:
    empty = (Audio.silence(1, 0, 44100), PitchTrack(np.zeros(1, np.float32)))
    assert converted(tmp_path, empty, voice, prepared).frames == 0


def test_noise_without_pitch_is_no_louder(tmp_path: Path, voice: Voice, prepared: Path) -> None:
    noise = Audio.of(0.01 * np.random.default_rng(1).normal(size=44100), 44100)
    result = converted(tmp_path, (noise, PitchTrack(np.zeros(201, np.float32))), voice, prepared, 12)
    assert abs(level(result.samples) - level(noise.samples)) < 3


@pytest.mark.slow
@pytest.mark.parametrize("transpose", [0, -12])
def test_the_result_is_sane(
    transpose: int, tmp_path: Path, sung: tuple[Audio, PitchTrack], voice: Voice, prepared: Path
) -> None:
    result = converted(tmp_path, sung, voice, prepared, transpose).samples
    assert np.isfinite(result).all()
    assert abs(float(result.mean())) < 1e-3
    assert np.abs(result).max() < 4 * np.abs(sung[0].samples).max()
    assert abs(level(result) - level(sung[0].samples)) < 4


@pytest.mark.slow
def test_the_timbre_comes_nearer_to_the_recordings(
    tmp_path: Path, sung: tuple[Audio, PitchTrack], voice: Voice, prepared: Path
) -> None:
    """Long-term spectra: the more index rate the nearer, and always nearer than unconverted."""
    recording, rate = soundfile.read(voice.recording_files[0], dtype="float32")

    def bands(audio: Audio) -> np.ndarray:
        edges = np.geomspace(400, 8000, 9)
        return np.array([brightness(audio, low, high) for low, high in pairwise(edges)])

    wanted = bands(Audio.of(recording, rate))
    result = converted(tmp_path, sung, voice, prepared)
    assert np.abs(bands(result) - wanted).mean() < 0.7 * np.abs(bands(sung[0]) - wanted).mean()


@pytest.mark.slow
def test_formant_shift_moves_the_spectrum_and_not_the_pitch(
    tmp_path: Path, sung: tuple[Audio, PitchTrack], voice: Voice, prepared: Path
) -> None:
    centres = []
    for shift in (-4.0, 0.0, 4.0):
        result = converted(tmp_path, sung, voice, prepared, -12, ConversionSettings(formant_shift=shift))
        power = np.abs(np.fft.rfft(result.samples[0])) ** 2
        centres.append(float((power * np.fft.rfftfreq(result.frames, 1 / result.rate)).sum() / power.sum()))
        f0 = heard(result)
        assert abs(np.median(f0[f0 > 0]) / np.median(sung[1].f0[sung[1].voiced]) - 0.5) < 0.05
    assert centres[0] < centres[1] < centres[2]


@pytest.mark.slow
def test_protect_leaves_consonants_as_they_were(
    tmp_path: Path, sung: tuple[Audio, PitchTrack], voice: Voice, prepared: Path
) -> None:
    """The hiss of an "s", above 2 kHz, changes less the stronger the shield (0 shields fully, 0.5 not at all)."""
    hiss = slice(round(0.93 * 44100), round(0.99 * 44100))
    original = sung[0].samples[0, hiss]

    def change(protect: float) -> float:
        settings = ConversionSettings(protect=protect, index_rate=1.0)
        result = converted(tmp_path, sung, voice, prepared, 0, settings).samples[0, hiss]
        spectra = [np.log(np.abs(np.fft.rfft(x * np.hanning(len(x)))) + 1e-6) for x in (original, result)]
        difference = (spectra[1] - spectra[0])[len(spectra[0]) // 11 :]
        return float(np.std(difference))

    assert change(0.0) < 0.6 * change(0.5)


@pytest.mark.slow
def test_the_same_bytes_whatever_the_workers(tmp_path: Path, voice: Voice, prepared: Path) -> None:
    sung = singing([*PHRASE] * 7, 22050)
    assert sung[1].frames > 2 * WINDOW
    first = converted(tmp_path / "1", sung, voice, prepared, -12, workers=1)
    second = converted(tmp_path / "2", sung, voice, prepared, -12, workers=3)
    assert np.array_equal(first.samples, second.samples)


@pytest.mark.slow
def test_windows_leave_no_seams(tmp_path: Path, voice: Voice, prepared: Path) -> None:
    """One long note: no jump at the cuts that is not also elsewhere."""
    note = singing([Note(50, 26.0, "a")], 22050, vibrato=0.0)
    for transpose in (0.0, 12.0):
        result = converted(tmp_path, note, voice, prepared, transpose).samples[0][22050:-22050]
        steps = np.abs(np.diff(result, 2))
        blocks = steps[: len(steps) // 1102 * 1102].reshape(-1, 1102).max(axis=1)
        assert blocks.max() < 2.5 * np.median(blocks)


@pytest.mark.slow
def test_a_song_that_ends_quietly_is_not_cut_at_its_very_end(tmp_path: Path, voice: Voice, prepared: Path) -> None:
    """Just longer than one window: the quietest place is the end, where nothing is left for a cross-fade."""
    sound, pitch = singing([Note(50, (WINDOW + SEARCH) * 0.005, "a")], 22050)
    fading = Audio(sound.samples * np.linspace(1, 0, sound.frames, dtype=np.float32), sound.rate)
    assert len(pitch.f0) > WINDOW + SEARCH
    result = converted(tmp_path, (fading, pitch), voice, prepared)
    assert result.frames == fading.frames
    assert level(result.samples[0][-22050:]) == pytest.approx(level(fading.samples[0][-22050:]), abs=3)


def test_a_part_is_sung_as_in_the_whole(
    tmp_path: Path, sung: tuple[Audio, PitchTrack], voice: Voice, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instant, "WINDOW", 250)
    monkeypatch.setattr(instant, "SEARCH", 50)
    context, engine, last = Context(tmp_path), InstantEngine(), slice(round(3.5 * 44100), None)
    whole = Performance(sung[0], sung[1], 0.0)
    studied = engine.study(context, whole, prepared, SETTINGS)
    expected = converted(tmp_path / "whole", sung, voice, prepared).samples
    part = engine.convert(context, replace(whole, part=(3.5, 4.0)), voice, prepared, SETTINGS, {}, studied).read()
    assert part.samples.shape == expected.shape
    np.testing.assert_array_equal(part.samples[:, last], expected[:, last])
    assert expected[:, :44100].any()
    assert not part.samples[:, :44100].any()  # what isn't near it stays silent


def test_broken_samples_do_not_spread(tmp_path: Path, voice: Voice, prepared: Path) -> None:
    sound, pitch = singing(PHRASE, 22050)
    sound.samples[0, 5000:5010] = np.nan
    assert np.isfinite(converted(tmp_path, (sound, pitch), voice, prepared, 12).samples).all()


def test_recordings_without_voice_are_refused(tmp_path: Path) -> None:
    noise = Audio.of(1e-3 * np.random.default_rng(0).normal(size=66150), 22050)
    with pytest.raises(UnderstudyError) as error:
        InstantEngine().prepare(Context(tmp_path), voice_of(tmp_path, [noise]))
    assert error.value.code == "voice-without-sound"


def test_preparing_twice_gives_the_same_bytes(voice: Voice, prepared: Path, tmp_path: Path) -> None:
    assert InstantEngine().prepare(Context(tmp_path), voice).read_bytes() == prepared.read_bytes()


def test_it_stops_when_asked(tmp_path: Path, sung: tuple[Audio, PitchTrack], voice: Voice, prepared: Path) -> None:
    context = Context(tmp_path)
    context.cancelled.set()
    with pytest.raises(Cancelled):
        InstantEngine().convert(context, Performance(sung[0], sung[1], 0.0), voice, prepared, SETTINGS, {})


def test_engines_are_found_by_name() -> None:
    assert isinstance(engine("instant"), InstantEngine)
    with pytest.raises(UnderstudyError) as error:
        engine("opera")
    assert error.value.code == "engine-unknown"
    assert "instant" in error.value.hint
