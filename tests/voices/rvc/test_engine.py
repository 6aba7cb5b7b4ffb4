"""The engine on voices with small random models, and on one whose answer is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.contentvec_files import SMALL, write_random_contentvec
from tests.support.rvc_files import random_weights, small
from tests.support.rvc_voices import random_voice, sine_weights, voice_with
from tests.support.signals import PHRASE, Note, singing
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio, Samples
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.models import Weights, warm
from understudy.models.warm import forget
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.engines import engine
from understudy.voices.rvc import embedders
from understudy.voices.rvc import engine as engine_module
from understudy.voices.rvc import singing as singing_module
from understudy.voices.rvc.engine import RvcEngine
from understudy.voices.voice import Voice

SETTINGS = ConversionSettings()
Sung = tuple[Audio, PitchTrack]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Weights]:
    path = tmp_path_factory.mktemp("models") / "contentvec.safetensors"
    write_random_contentvec(path, "safetensors", sizes=SMALL)
    return {"contentvec": Weights(path, "c" * 64)}


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    return random_voice(tmp_path_factory.mktemp("voice") / "nova")


@pytest.fixture(scope="module")
def sine_voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    architecture = small()
    return voice_with(tmp_path_factory.mktemp("voice") / "nova", architecture, sine_weights(architecture))


@pytest.fixture(scope="module")
def sung() -> Sung:
    return singing(PHRASE, 44100)


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs of seconds are cut as those of minutes are."""
    monkeypatch.setattr(engine_module, "LONGEST", 150)


def convert(
    folder: Path,
    voice: Voice,
    sung: Sung,
    models: Mapping[str, Weights],
    settings: ConversionSettings = SETTINGS,
    transpose: float = 0.0,
    workers: int = 1,
) -> Audio:
    folder.mkdir(exist_ok=True)
    context = Context(folder, workers=workers)
    prepared = RvcEngine().prepare(context, voice)
    performance = Performance(sung[0], sung[1], transpose)
    return RvcEngine().convert(context, performance, voice, prepared, settings, models).read()


def steady(hertz: float, seconds: float, rate: int = 44100) -> Sung:
    """One note, and a track that says its pitch never wavers."""
    audio, pitch = singing([Note(69 + 12 * float(np.log2(hertz / 440)), seconds)], rate, vibrato=0.0)
    return audio, PitchTrack(np.full(pitch.frames, hertz, np.float32))


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def frequency(samples: np.ndarray, rate: int) -> float:
    """Of a sine, by the spectrum's highest point (parabola through three bins of the logarithm)."""
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) + 1e-12)
    top = int(np.argmax(spectrum[1:-1])) + 1
    before, at, after = spectrum[top - 1 : top + 2]
    return float((top + 0.5 * (before - after) / (before - 2 * at + after)) * rate / len(samples))


def test_it_is_an_engine_that_says_which_model_it_needs(voice: Voice) -> None:
    assert isinstance(engine("rvc"), RvcEngine)
    assert engine("rvc").models(voice) == ("contentvec",)
    assert engine("instant").models(voice) == ()


@pytest.mark.slow
def test_a_model_sings_with_the_embedder_that_it_was_trained_with(
    tmp_path: Path, voice: Voice, sung: Sung, models: Mapping[str, Weights]
) -> None:
    model = voice.manifest.model
    assert model is not None
    cepstral = model.model_copy(update={"embedder": "cepstral"})
    other = Voice(voice.folder, voice.manifest.model_copy(update={"model": cepstral}))
    result = convert(tmp_path / "cepstral", other, sung, {})
    assert np.isfinite(result.samples).all()
    assert rms(result.samples - convert(tmp_path / "contentvec", voice, sung, models).samples) > 0.01 * rms(
        result.samples
    )


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("f0", [True, False])
def test_every_kind_of_model_sings(
    tmp_path: Path, version: Any, f0: bool, sung: Sung, models: Mapping[str, Weights]
) -> None:
    result = convert(tmp_path / "made", random_voice(tmp_path / "nova", version, f0), sung, models)
    assert (result.rate, result.channels, result.frames) == (44100, 1, sung[0].frames)
    assert np.isfinite(result.samples).all()
    assert 0.001 < rms(result.samples) < 1


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22050, 2), (48000, 2), (96000, 1)])
def test_any_rate_and_channels_come_back_as_long_as_they_were(
    tmp_path: Path, voice: Voice, models: Mapping[str, Weights], rate: int, channels: int
) -> None:
    audio, pitch = singing([Note(60, 1.037)], rate)
    vocals = Audio.of(np.repeat(audio.samples, channels, axis=0), rate)
    result = convert(tmp_path, voice, (vocals, pitch), models)
    assert (result.rate, result.channels, result.frames) == (rate, 1, vocals.frames)
    assert rms(result.samples) > 0.001


@pytest.mark.parametrize("frames", [1, 50, 700, 4410])
def test_the_shortest_songs(tmp_path: Path, voice: Voice, models: Mapping[str, Weights], frames: int) -> None:
    vocals = Audio.of(0.3 * np.sin(np.arange(frames) * 0.03), 44100)
    pitch = PitchTrack(np.full(frames * 200 // 44100 + 1, 210, np.float32))
    result = convert(tmp_path, voice, (vocals, pitch), models)
    assert result.frames == frames
    assert np.isfinite(result.samples).all()


def test_same_seed_same_bytes_whatever_the_workers(
    tmp_path: Path, voice: Voice, sung: Sung, models: Mapping[str, Weights]
) -> None:
    once = convert(tmp_path / "1", voice, sung, models)
    again = convert(tmp_path / "2", voice, sung, models, workers=4)
    other = convert(tmp_path / "3", voice, sung, models, ConversionSettings(seed=1))
    np.testing.assert_array_equal(once.samples, again.samples)
    assert not np.array_equal(once.samples, other.samples)


def test_only_the_artifact_stays(tmp_path: Path, voice: Voice, sung: Sung, models: Mapping[str, Weights]) -> None:
    convert(tmp_path, voice, sung, models)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["converted.npy", "prepared.json"]


def test_silence_gives_silence(tmp_path: Path, voice: Voice, models: Mapping[str, Weights]) -> None:
    result = convert(tmp_path, voice, (Audio.silence(2, 50000, 44100), PitchTrack(np.zeros(227, np.float32))), models)
    assert (result.frames, result.channels) == (50000, 1)
    assert not result.samples.any()


def test_rests_are_silent_however_long(tmp_path: Path, voice: Voice, models: Mapping[str, Weights]) -> None:
    audio, pitch = singing([Note(60, 0.6), Note(None, 0.6), Note(62, 0.6), Note(None, 4.5), Note(64, 0.6)], 44100)
    result = convert(tmp_path, voice, (audio, pitch), models).samples[0]
    for start, stop in ((0.85, 1.05), (2.1, 6.1)):
        assert not result[round(start * 44100) : round(stop * 44100)].any(), start
    for start, stop in ((0.1, 0.5), (1.3, 1.7), (6.4, 6.8)):
        assert rms(result[round(start * 44100) : round(stop * 44100)]) > 0.001, start


def test_the_noise_of_a_room_does_not_become_a_hiss(
    tmp_path: Path, sine_voice: Voice, models: Mapping[str, Weights]
) -> None:
    """A room 45 dB below the singing: too loud for silence. The source's noise would stand 7 dB below the singing."""
    audio, pitch = singing([Note(60, 1.0), Note(None, 1.0), Note(62, 1.0)], 44100)
    room = np.random.default_rng(0).standard_normal(audio.frames) * rms(audio.samples) * 10 ** (-45 / 20)
    noisy = Audio.of(audio.samples[0] + room, 44100)
    result = convert(tmp_path, sine_voice, (noisy, pitch), models).samples[0]
    sung, rest = rms(result[4410:39690]), rms(result[57330:74970])
    assert -55 < 20 * np.log10(rest / sung) < -38


@pytest.mark.slow
@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize("transpose", [0.0, 12.0, -5.0])
def test_the_pitch_sung_is_the_pitch_heard_moved_by_the_transpose(
    tmp_path: Path, sine_voice: Voice, models: Mapping[str, Weights], transpose: float
) -> None:
    note = steady(311.0, 5.0)
    result = convert(tmp_path, sine_voice, note, models, transpose=transpose).samples[0]
    prepared = frequency(result[22050:198450], 44100)
    assert 1200 * abs(np.log2(prepared / (311.0 * 2 ** (transpose / 12)))) < 0.5


def test_a_soprano_above_the_coarse_scale_is_sung_at_her_pitch(
    tmp_path: Path, sine_voice: Voice, models: Mapping[str, Weights]
) -> None:
    result = convert(tmp_path, sine_voice, steady(1390.0, 2.0), models).samples[0]
    assert frequency(result[22050:66150], 44100) == pytest.approx(1390.0, rel=3e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("short_pieces")
def test_cuts_are_not_heard(tmp_path: Path, sine_voice: Voice, models: Mapping[str, Weights]) -> None:
    """A steady note over several cuts is one sine: nothing else is left when it is taken away."""
    result = convert(tmp_path, sine_voice, steady(220.0, 8.0), models).samples[0].astype(np.float64)
    part = result[44100:-44100]
    time = np.arange(len(part)) / 44100
    basis = np.stack([np.sin(2 * np.pi * 220 * time), np.cos(2 * np.pi * 220 * time)], 1)
    left = part - basis @ np.linalg.lstsq(basis, part, rcond=None)[0]
    assert rms(part) == pytest.approx(0.07, rel=0.1)
    assert rms(left) == pytest.approx(0.003, rel=0.1)  # the source's breath
    blocks = np.sqrt(np.square(left[: len(left) // 441 * 441].reshape(-1, 441)).mean(1))
    assert blocks.max() < 1.5 * np.median(blocks) + 0.001


@pytest.mark.slow
@pytest.mark.usefixtures("short_pieces")
def test_pitch_steps_stay_at_their_moments_after_every_cut(
    tmp_path: Path, sine_voice: Voice, models: Mapping[str, Weights]
) -> None:
    """Notes an octave apart every half second: where the sine changes is where the pitch does, to the end."""
    notes = [Note(57 + 12 * (number % 2), 0.5) for number in range(16)]
    audio, _ = singing(notes, 44100, vibrato=0.0)
    stepping = np.repeat([220.0 * 2 ** (number % 2) for number in range(16)], 100).astype(np.float32)
    result = convert(tmp_path, sine_voice, (audio, PitchTrack(stepping)), models).samples[0].astype(np.float64)
    time = np.arange(len(result)) / 44100
    low, high = (
        np.abs(np.convolve(result * np.exp(-2j * np.pi * hertz * time), np.ones(401) / 401, "same"))
        for hertz in (220, 440)
    )
    for number in range(1, 16):
        moment = round(number * 0.5 * 44100)
        around = slice(moment - 2205, moment + 2205)
        crossing = np.flatnonzero(np.diff(np.sign(low[around] - high[around])))
        assert np.abs(crossing - 2205).min() < 0.003 * 44100, number


@pytest.mark.slow
@dataclass(frozen=True)
class _Ear:
    """A content encoder that hears nothing but the level of its own 20 ms."""

    def encode(self, sound: torch.Tensor, version: str) -> torch.Tensor:
        count = (sound.shape[1] - 400) // 320 + 1
        level = sound[:, : count * 320].reshape(1, count, 320).square().mean(2, keepdim=True).sqrt()
        return level.expand(-1, -1, 768)


@pytest.mark.slow
@pytest.mark.usefixtures("short_pieces")
def test_what_is_sung_stays_at_its_moment_after_every_cut(
    tmp_path: Path, models: Mapping[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the original has an accent the content changes, and the sound with it: there, and at no other moment."""
    monkeypatch.setattr("understudy.voices.rvc.hubert.load_content_encoder", lambda *_: _Ear())
    forget()
    architecture = small()
    weights = random_weights(architecture)
    for name in weights:
        if "conv_o." in name:
            weights[name] = torch.zeros_like(weights[name])  # no attention: what is far away has no say
    voice = voice_with(tmp_path / "nova", architecture, weights)
    audio, pitch = steady(220.0, 9.0)
    plain = convert(tmp_path / "plain", voice, (audio, pitch), models).samples[0]
    for moment in (0.5, 2.3, 4.9, 6.62, 8.4):
        accented = audio.samples.copy()
        begin = round(moment * 44100)
        accented[:, begin : begin + 882] *= 1.7
        changed = convert(tmp_path / f"{moment}", voice, (Audio(accented, 44100), pitch), models).samples[0]
        difference = np.square(changed - plain, dtype=np.float64)
        centre = float((difference * np.arange(len(difference))).sum() / difference.sum() / 44100)
        assert abs(centre - (moment + 0.01)) < 0.015, moment
    forget()


@pytest.mark.slow
def test_formants_move_and_the_pitch_does_not(
    tmp_path: Path, sine_voice: Voice, voice: Voice, models: Mapping[str, Weights]
) -> None:
    note = steady(262.0, 3.0)
    for shift in (-3.0, 4.0):
        settings = ConversionSettings(formant_shift=shift)
        sine = convert(tmp_path / f"sine {shift}", sine_voice, note, models, settings)
        assert sine.frames == note[0].frames
        assert frequency(sine.samples[0, 22050:110250], 44100) == pytest.approx(262.0, rel=1e-3)
        moved = convert(tmp_path / f"moved {shift}", voice, note, models, settings).samples[0]
        plain = convert(tmp_path / f"plain {shift}", voice, note, models).samples[0]
        assert not np.allclose(moved, plain, atol=1e-3)


def test_rms_mix_follows_the_original_s_loudness(
    tmp_path: Path, sine_voice: Voice, models: Mapping[str, Weights]
) -> None:
    audio, pitch = steady(220.0, 6.0)
    swelling = audio.samples * np.linspace(0.2, 1.0, audio.frames, dtype=np.float32)
    result = convert(
        tmp_path, sine_voice, (Audio(swelling, 44100), pitch), models, ConversionSettings(rms_mix=0.0)
    ).samples[0]
    for second in (1, 3, 4):
        part = slice(second * 44100, (second + 1) * 44100)
        assert rms(result[part]) == pytest.approx(rms(swelling[0, part]), rel=0.12)


@pytest.mark.slow
def test_the_index_pulls_and_protect_shields(
    tmp_path: Path, voice: Voice, sung: Sung, models: Mapping[str, Weights]
) -> None:
    def made(**settings: float) -> Samples:
        name = "-".join(f"{key}{value}" for key, value in settings.items())
        samples: Samples = convert(tmp_path / name, voice, sung, models, ConversionSettings(**settings)).samples[0]
        return samples

    without, pull_to_index = made(index_rate=0.0), made(index_rate=1.0, protect=0.5)
    shielded, exact = made(index_rate=1.0, protect=0.0), made(index_rate=1.0, protect=0.5, index_nprobe=4096)
    assert rms(pull_to_index - without) > 0.01 * rms(without)
    assert rms(shielded - pull_to_index) > 0.001 * rms(pull_to_index)
    assert rms(exact - pull_to_index) > 0.001 * rms(pull_to_index)


def test_a_model_without_pitch_says_that_it_cannot_transpose(
    tmp_path: Path, sung: Sung, models: Mapping[str, Weights]
) -> None:
    voice = random_voice(tmp_path / "nova", f0=False, vectors=None)
    context = Context(tmp_path)
    RvcEngine().convert(context, Performance(*sung, 12.0), voice, tmp_path, SETTINGS, models)
    assert "cannot be transposed" in context.warnings[0]
    quiet = Context(tmp_path)
    RvcEngine().convert(quiet, Performance(*sung, 0.0), voice, tmp_path, SETTINGS, models)
    assert quiet.warnings == []


def test_speakers_of_one_model_differ(tmp_path: Path, sung: Sung, models: Mapping[str, Weights]) -> None:
    first = convert(tmp_path / "a", random_voice(tmp_path / "first", speaker=0), sung, models)
    second = convert(tmp_path / "b", random_voice(tmp_path / "second", speaker=2), sung, models)
    assert not np.allclose(first.samples, second.samples, atol=1e-4)


@pytest.mark.slow
def test_a_second_conversion_loads_nothing(
    tmp_path: Path, voice: Voice, sung: Sung, models: Mapping[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[object] = []

    def counted(key: Any, load: Any) -> Any:
        def loading() -> Any:
            loads.append(key)
            return load()

        return warm(key, loading)

    monkeypatch.setattr(engine_module, "warm", counted)
    monkeypatch.setattr(embedders, "warm", counted)
    forget()
    convert(tmp_path / "1", voice, sung, models)
    assert len(loads) == 3  # model, content encoder, index
    loads.clear()
    convert(tmp_path / "2", voice, sung, models, ConversionSettings(seed=5, index_rate=1.0))
    assert loads == []


@pytest.mark.slow
def test_when_memory_is_short_the_pieces_shrink_and_the_song_goes_on(
    tmp_path: Path,
    sine_voice: Voice,
    models: Mapping[str, Weights],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audio, pitch = steady(220.0, 12.0)
    plain = convert(tmp_path / "plain", sine_voice, (audio, pitch), models).samples[0]
    sizes: list[int] = []
    sing = singing_module.sing

    def narrow(*arguments: Any) -> Any:
        sizes.append(arguments[1].frames)
        if arguments[1].frames > 400:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return sing(*arguments)

    monkeypatch.setattr(engine_module, "sing", narrow)
    context = Context(tmp_path / "made")
    context.folder.mkdir()
    result = RvcEngine().convert(context, Performance(audio, pitch, 0.0), sine_voice, tmp_path, SETTINGS, models)
    assert max(sizes) > 400
    assert sizes[-1] <= 400
    assert "memory" in context.warnings[0]
    assert result.frames == audio.frames
    assert rms(result.read().samples[0] - plain) < 0.01 * rms(plain)


def test_when_even_the_shortest_piece_is_too_much_it_is_said(
    tmp_path: Path, voice: Voice, sung: Sung, models: Mapping[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine_module, "sing", never)
    with pytest.raises(torch.cuda.OutOfMemoryError):  # the executor goes on with the CPU
        convert(tmp_path, voice, sung, models)


@pytest.mark.parametrize(("gigabytes", "frames"), [(80.0, 3000), (2.2, 3000), (1.5, 1500), (0.6, 750), (0.1, 300)])
def test_pieces_follow_the_free_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch, gigabytes: float, frames: int) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(gigabytes * 1e9), int(80e9)))
    assert engine_module.longest_piece("cuda:0") == frames
    assert engine_module.longest_piece("cpu") == engine_module.LONGEST


def test_float16_on_a_cpu_is_refused_in_words(
    tmp_path: Path, voice: Voice, sung: Sung, models: Mapping[str, Weights]
) -> None:
    with pytest.raises(UnderstudyError) as caught:
        convert(tmp_path, voice, sung, models, ConversionSettings(precision="float16"))
    assert caught.value.code == "precision-unsupported"


def test_bfloat16_is_near_float32(tmp_path: Path, voice: Voice, sung: Sung, models: Mapping[str, Weights]) -> None:
    exact = convert(tmp_path / "a", voice, sung, models, ConversionSettings(precision="float32")).samples
    near = convert(tmp_path / "b", voice, sung, models, ConversionSettings(precision="bfloat16")).samples
    assert 0 < rms(near - exact) < 0.03 * rms(exact)


def test_progress_rises_to_the_end_and_cancelling_stops(
    tmp_path: Path, voice: Voice, sung: Sung, models: Mapping[str, Weights]
) -> None:
    said: list[float] = []
    context = Context(tmp_path, on_progress=said.append)
    RvcEngine().convert(context, Performance(*sung, 0.0), voice, tmp_path, SETTINGS, models)
    assert said == sorted(said)
    assert said[-1] == pytest.approx(1.0)
    assert len(said) > 5

    def stop(fraction: float) -> None:
        if fraction > 0.3:
            context.cancelled.set()

    context = Context(tmp_path, on_progress=stop)
    with pytest.raises(Cancelled):
        RvcEngine().convert(context, Performance(*sung, 0.0), voice, tmp_path, SETTINGS, models)
