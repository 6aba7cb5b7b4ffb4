"""The graph that takes a song apart, with models whose answer is known."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.separators import Models, models, parts, tones, total
from understudy.audio.samples import Audio, Samples
from understudy.audio.stored import AudioFile, write_blocks
from understudy.errors import UnderstudyError
from understudy.pipeline.executor import LocalExecutor, Result
from understudy.pipeline.graph import External, Graph, Node, Stage
from understudy.pipeline.separating import check_models, models_of, separating
from understudy.pipeline.separation.chain import StepReport
from understudy.pipeline.separation.settings import SeparationSettings
from understudy.pipeline.store import Store

__all__ = ["models"]

CHAIN: dict[str, Any] = {"lead": "karaoke", "dereverb": "dry", "denoise": "hiss"}


def given(context: Any, sound: Audio) -> AudioFile:
    return write_blocks(context.folder / "song.npy", sound.rate, sound.channels, [sound])


def take_apart(folder: Path, song: Samples, rate: int = 44100, **settings: Any) -> tuple[dict[str, Samples], Result]:
    """The stems of `song` by name, and how they came about."""
    external = External(Audio(song, rate), f"{hash(song.tobytes())} {rate}")
    decoded = Node("decode", Stage("given", 1, given), {}, {}, {"sound": external})
    apart = separating(decoded, SeparationSettings.model_validate(settings))
    targets = list(dict.fromkeys(source.node for source in apart.stems.values()))
    targets += [apart.chain] if apart.chain else []
    graph = Graph.of(*targets)
    result = LocalExecutor(Store(folder / "cache"), workers=1).run(graph, targets, lambda event: None, Event())
    stems = {}
    for name, source in apart.stems.items():
        file = result[source]
        assert (file.rate, file.channels, file.frames) == (rate, *song.shape)
        stems[name] = file.read().samples
    return stems, result


def db(part: Samples, whole: Samples) -> float:
    """Energy of `part` against that of `whole`."""
    return float(10 * np.log10((np.sum(part.astype(float) ** 2) + 1e-30) / np.sum(whole.astype(float) ** 2)))


def steps_of(result: Result) -> tuple[StepReport, ...]:
    """What the steps of the chain did."""
    (steps,) = (value for value in result.values.values() if isinstance(value, tuple))
    return steps


def ran(result: Result) -> set[str]:
    return {stage.name for stage in result.stages if not stage.cached}


def test_one_model_by_name(tmp_path: Path, models: Models):
    true = parts(3.0)
    song = true["lead"] + true["instrumental"]
    stems, result = take_apart(tmp_path, song, model="vox")
    assert set(stems) == {"vocals", "instrumental"}
    assert db(stems["vocals"] - true["lead"], true["lead"]) < -60
    assert db(stems["vocals"] + stems["instrumental"] - song, song) < -120
    assert ran(result) == {"decode", "separate vox", "separate"}


def test_the_embedded_separator_needs_one_node(tmp_path: Path, models: Models):
    song = Node("decode", Stage("given", 1, given), externals={"sound": External(None, "song")})

    def graph(**settings: Any) -> Graph:
        return Graph.of(separating(song, SeparationSettings(**settings)).stems["vocals"].node)

    alone, both = graph(), graph(model="embedded+vox")
    assert [node.name for node in alone.nodes] == ["decode", "separate"]
    assert [node.name for node in both.nodes] == ["decode", "separate embedded", "separate vox", "separate"]
    assert both.keys()[both.nodes[1]] == alone.keys()[alone.nodes[1]], "stored once, alone or not"


def test_one_more_model_in_the_ensemble_runs_that_model_only(tmp_path: Path, models: Models):
    true = parts(2.0)
    song = true["lead"] + true["instrumental"]
    take_apart(tmp_path, song, model="vox")
    stems, result = take_apart(tmp_path, song, model="vox+vox2")
    assert ran(result) == {"separate vox2", "separate"}
    assert models.ran == ["vox", "vox2"]
    assert db(stems["vocals"] - 0.95 * true["lead"], true["lead"]) < -60
    assert db(stems["vocals"] + stems["instrumental"] - song, song) < -120
    _, result = take_apart(tmp_path, song, model="vox+vox2", ensemble={"combine": "max"})
    assert ran(result) == {"separate"}
    _, result = take_apart(tmp_path, song, model="vox+vox2", ensemble={"leave_out": True})
    assert ran(result) == set()
    _, result = take_apart(tmp_path, song, model="vox", **CHAIN)
    assert not {"separate vox", "separate"} & ran(result)


def test_what_decides_a_models_key_is_its_weights_and_how_it_is_driven(tmp_path: Path, models: Models):
    true = parts(2.0)
    song = true["lead"] + true["instrumental"]
    take_apart(tmp_path, song, model="vox")
    _, result = take_apart(tmp_path, song, model="vox", consistency="model")
    assert ran(result) == {"separate"}
    _, result = take_apart(tmp_path, song, model="vox", inference={"polarity": True})
    assert ran(result) == {"separate vox"} | {"separate"}
    models.version = "other weights under the same name"
    _, result = take_apart(tmp_path, song, model="vox")
    assert ran(result) == {"separate vox", "separate"}


@pytest.mark.parametrize("leave_out", [False, True])
def test_a_failing_member_is_named_and_left_out_if_asked(tmp_path: Path, models: Models, leave_out: bool):
    true = parts(2.0)
    song = true["lead"] + true["instrumental"]
    asked: dict[str, Any] = {"model": "vox+broken+vox2", "ensemble": {"leave_out": leave_out}}
    if not leave_out:
        with pytest.raises(UnderstudyError, match="'broken' failed: mat1 and mat2"):
            take_apart(tmp_path, song, **asked)
        return
    stems, result = take_apart(tmp_path, song, **asked)
    assert db(stems["vocals"] - 0.95 * true["lead"], true["lead"]) < -60
    warnings = [sentence for stage in result.stages for sentence in stage.warnings]
    assert len(warnings) == 1
    assert "'broken' failed" in warnings[0]
    assert "separate vox" in ran(result)
    # it is tried again, and once it works it counts
    take_apart(tmp_path, song, **asked)
    assert models.ran.count("broken") == 2
    models.functions["broken"] = models.functions["vox"]
    stems, result = take_apart(tmp_path, song, **asked)
    assert db(stems["vocals"] - 2.9 / 3 * true["lead"], true["lead"]) < -60
    assert ran(result) == {"separate broken", "separate"}
    assert not any(stage.warnings for stage in result.stages)


def test_an_ensemble_of_nothing_but_failures_fails(tmp_path: Path, models: Models):
    models.functions["broken2"] = models.functions["broken"]
    song = total(parts(1.0))
    with pytest.raises(UnderstudyError, match=r"'broken2?' failed"):
        take_apart(tmp_path, song, model="broken+broken2", ensemble={"leave_out": True})


def test_a_model_of_the_instrumental_and_one_of_four_stems(tmp_path: Path, models: Models):
    true = parts(2.0)
    song = true["lead"] + true["instrumental"]
    stems, _ = take_apart(tmp_path, song, model="band")
    assert db(stems["vocals"] - true["lead"], true["lead"]) < -60
    stems, _ = take_apart(tmp_path, song, model="four")
    assert set(stems) == {"vocals", "instrumental", "drums", "bass", "other"}
    assert db(stems["other"] - 0.3 * true["instrumental"], true["instrumental"]) < -60, "what the others leave"
    assert db(stems["drums"] + stems["bass"] + stems["other"] - stems["instrumental"], song) < -120
    assert db(stems["vocals"] + stems["instrumental"] - song, song) < -120
    stems, _ = take_apart(tmp_path, song, model="vox", instruments="four")
    assert {"drums", "bass", "other"} <= set(stems)
    assert db(stems["drums"] + stems["bass"] + stems["other"] - stems["instrumental"], song) < -120


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vox", "vox2", "band", "vox+band"])
@pytest.mark.parametrize("consistency", ["residual", "model", "wiener"])
@pytest.mark.parametrize("rate", [48000, 96000])
def test_the_top_band_stays_in_the_instrumental(
    tmp_path: Path, models: Models, model: str, consistency: str, rate: int
):
    true = parts(2.0, rate)
    high = 23000.0 if rate == 48000 else 30000.0
    top = np.stack([tones(high, 2.0, rate), tones(high, 2.0, rate)])  # in the middle, where the vocals are
    song = true["lead"] + true["instrumental"] + top
    stems, _ = take_apart(tmp_path, song, rate, model=model, consistency=consistency)
    inner = slice(rate // 4, -rate // 4)

    def level(sound: Samples) -> float:
        spectrum = np.abs(np.fft.rfft(sound[:, inner] * np.hanning(song[:, inner].shape[1])))
        hertz = np.fft.rfftfreq(song[:, inner].shape[1], 1 / rate)
        return float(np.sum(spectrum[:, hertz > 22500] ** 2))

    assert 10 * np.log10(level(stems["instrumental"]) / level(top)) == pytest.approx(0, abs=0.1)
    assert 10 * np.log10(level(stems["vocals"]) / level(top)) < -40


def test_the_chain_takes_off_what_is_there_and_keeps_it(tmp_path: Path, models: Models):
    true = parts(4.0, backing=0.05, reverb=0.03, noise=0.01)
    song = total(true)
    stems, result = take_apart(tmp_path, song, model="vox", **CHAIN)
    assert set(stems) == {"vocals", "instrumental", "lead", "backing", "dry", "reverb", "noise"}
    for name, of in (("dry", "lead"), ("backing", "backing"), ("reverb", "reverb"), ("noise", "noise")):
        assert db(stems[name] - true[of], true[of]) < -20, name
    whole = total({name: stems[name] for name in ("dry", "backing", "reverb", "noise", "instrumental")})
    assert db(whole - song, song) < -60
    assert db(stems["lead"] + stems["backing"] - stems["vocals"], song) < -100
    steps = steps_of(result)
    assert [(step.step, step.skipped) for step in steps] == [
        ("lead", None),
        ("dereverb", None),
        ("denoise", None),
    ]
    assert steps[0].taken == pytest.approx(db(true["backing"], true["lead"] + true["backing"] + true["reverb"]), abs=1)


def test_steps_that_find_nothing_are_left_out(tmp_path: Path, models: Models):
    true = parts(4.0)
    song = true["lead"] + true["instrumental"]
    stems, result = take_apart(tmp_path, song, model="vox", **CHAIN)
    assert [step.skipped for step in steps_of(result)] == [
        "no backing vocals were found",
        "no reverb was found",
        "no noise was found",
    ]
    assert all(step.own is not None and step.own < -45 for step in steps_of(result))
    for stem in ("backing", "reverb", "noise"):
        assert not stems[stem].any()
    assert np.array_equal(stems["dry"], stems["vocals"])
    assert not any(stage.warnings for stage in result.stages), "a step that is left out is no problem"


def test_where_nobody_sings_no_model_of_the_chain_runs(tmp_path: Path, models: Models):
    true = parts(4.0, lead=0.002)  # 40 dB below the band
    song = true["lead"] + true["instrumental"]
    stems, result = take_apart(tmp_path, song, model="vox", **CHAIN)
    assert models.ran == ["vox"]
    assert [step.skipped for step in steps_of(result)] == ["nobody sings"] * 3
    assert np.array_equal(stems["dry"], stems["vocals"])


def test_one_word_in_a_song_is_singing(tmp_path: Path, models: Models):
    true = parts(12.0, backing=0.05)
    word = np.zeros(true["lead"].shape[1], bool)
    word[6 * 44100 : 7 * 44100] = True
    song = true["instrumental"] + (true["lead"] + true["backing"]) * word
    _, result = take_apart(tmp_path, song, model="vox", lead="karaoke")
    assert steps_of(result)[0].skipped is None


def test_a_model_that_takes_the_voice_away_does_no_harm(tmp_path: Path, models: Models):
    true = parts(4.0)
    song = true["lead"] + true["instrumental"]
    models.functions["lossy"] = {"noise": lambda sound: 0.3 * sound + 0.1 * sound.roll(3000, -1)}
    models.functions["opposite"] = {"dry": lambda sound: -sound}
    for setting, name, reason in (
        ("dereverb", "greedy", "the voice would have gone with it"),
        ("dereverb", "opposite", "the voice would have gone with it"),
        ("lead", "greedy", "no lead was found"),
    ):
        chosen: dict[str, Any] = {setting: name}
        stems, result = take_apart(tmp_path, song, model="vox", **chosen)
        assert steps_of(result)[0].skipped == reason
        assert np.array_equal(stems["dry" if setting != "lead" else "lead"], stems["vocals"])
    models.functions["coarse"] = {"noise": lambda sound: torch_gate(sound)}
    _, result = take_apart(tmp_path, song, model="vox", denoise="coarse")
    assert steps_of(result)[0].skipped == "some of the voice would have gone with it"


def torch_gate(sound: Any) -> Any:
    """Every fourth of 2000 frames: as a denoiser that mutes what it shouldn't."""
    import torch

    return sound * ((torch.arange(sound.shape[-1]) // 2000) % 4 == 0)


def test_steps_may_be_ensembles(tmp_path: Path, models: Models):
    models.functions["karaoke2"] = {"backing": models.functions["karaoke"]["backing"]}
    true = parts(3.0, backing=0.05)
    song = true["lead"] + true["backing"] + true["instrumental"]
    stems, _ = take_apart(tmp_path, song, model="vox", lead="karaoke+karaoke2")
    # one takes all of the backing vocals off, the other half of them
    assert db(stems["backing"] - 0.75 * true["backing"], true["backing"]) < -20


def test_all_missing_models_are_named_at_once(models: Models, monkeypatch: pytest.MonkeyPatch):
    missing = ("mel-roformer-kim", "bs-roformer-viperx-1297", "mel-roformer-karaoke-aufr33-viperx")
    models.missing = (*missing, "mel-roformer-dereverb-anvuew", "mel-roformer-denoise-aufr33")
    studio = SeparationSettings(
        model="mel-roformer-kim+bs-roformer-viperx-1297",
        lead=models.missing[2],
        dereverb=models.missing[3],
        denoise=models.missing[4],
    )
    with pytest.raises(UnderstudyError) as raised:
        check_models(studio)
    assert raised.value.code == "models-missing"
    assert all(name in raised.value.message for name in models.missing)
    assert "913 MB" in raised.value.message
    assert "understudy models fetch --preset studio" in raised.value.hint
    with pytest.raises(UnderstudyError) as raised:
        check_models(SeparationSettings(model="+".join(missing[:2])))
    assert f"understudy models fetch {' '.join(missing[:2])}" in raised.value.hint
    with pytest.raises(UnderstudyError) as raised:
        check_models(SeparationSettings(model=missing[0]))
    assert raised.value.code == "model-missing"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"model": "dry"}, "separation.model: it gives dry"),
        ({"model": "vox", "instruments": "vox"}, "separation.instruments"),
        ({"model": "vox+vox2", "ensemble": {"weights": {"vox3": {"weight": 2}}}}, "'vox3'"),
        ({"model": "nonsense"}, "nonsense"),
    ],
)
def test_models_that_are_of_no_use_are_refused_before_any_work(models: Models, settings: dict[str, Any], named: str):
    with pytest.raises(UnderstudyError, match=named):
        check_models(SeparationSettings.model_validate(settings))


def test_a_member_that_cannot_be_read_is_left_out_before_the_work(tmp_path: Path, models: Models):
    song = parts(2.0)["lead"] + parts(2.0)["instrumental"]
    _, result = take_apart(tmp_path, song, model="vox+absent", ensemble={"leave_out": True})
    assert any("absent" in sentence for stage in result.stages for sentence in stage.warnings)
    with pytest.raises(UnderstudyError, match="absent"):
        take_apart(tmp_path, song, model="vox+absent")


def test_names_with_dots_and_paths_make_no_trouble(tmp_path: Path, models: Models):
    models.functions["A.b.ckpt"] = models.functions["/some/where/A.b.ckpt"] = models.functions["vox"]
    true = parts(2.0)
    song = true["lead"] + true["instrumental"]
    stems, result = take_apart(tmp_path, song, model="A.b.ckpt+/some/where/A.b.ckpt", consistency="wiener")
    assert {"separate A.b.ckpt 1", "separate A.b.ckpt 2"} <= ran(result)
    assert db(stems["vocals"] - true["lead"], true["lead"]) < -40


@pytest.mark.parametrize(
    ("rate", "channels", "seconds"), [(8000, 2, 3.0), (44100, 1, 3.0), (8000, 1, 1.0), (192000, 2, 1.0)]
)
def test_odd_songs_go_through_every_step(tmp_path: Path, models: Models, rate: int, channels: int, seconds: float):
    rng = np.random.default_rng(0)
    song = (0.1 * rng.standard_normal((channels, round(rate * seconds)))).astype(np.float32)
    stems, result = take_apart(tmp_path, song, rate, model="vox+vox2", instruments="four", **CHAIN)
    whole = total({name: stems[name] for name in ("dry", "backing", "reverb", "noise", "instrumental")})
    assert db(whole - song, song) < -60
    assert len(steps_of(result)) == 3


def test_silence_goes_through_every_step(tmp_path: Path, models: Models):
    song = np.zeros((2, 44100 * 3), np.float32)
    stems, result = take_apart(tmp_path, song, model="vox+vox2", instruments="four", **CHAIN)
    assert not any(stem.any() for stem in stems.values())
    assert [step.skipped for step in steps_of(result)] == ["nobody sings"] * 3


def test_a_full_gpu_lets_go_of_other_models(tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch):
    held, load = ["one", "two"], models.load

    def full(model: Any, device: str, precision: Any) -> Any:
        if held:
            raise torch.OutOfMemoryError
        return load(model, device, precision)

    monkeypatch.setattr("understudy.pipeline.separation.models.load_network", full)
    monkeypatch.setattr(
        "understudy.pipeline.separation.separator.release", lambda: bool(held) and held.pop() is not None
    )
    song = parts(1.0)["lead"] + parts(1.0)["instrumental"]
    stems, _ = take_apart(tmp_path, song, model="vox")
    assert db(stems["vocals"] + stems["instrumental"] - song, song) < -100


def test_a_processor_out_of_memory_says_so(tmp_path: Path, models: Models):
    def greedy(sound: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    models.functions["huge"] = {"vocals": greedy}
    song = total(parts(1.0))
    with pytest.raises(UnderstudyError) as raised:
        take_apart(tmp_path, song, model="huge")
    assert (raised.value.code, "separate huge" in raised.value.message) == ("out-of-memory", True)
    _, result = take_apart(tmp_path, song, model="vox+huge", ensemble={"leave_out": True})
    assert any("out of memory" in sentence for stage in result.stages for sentence in stage.warnings)


def test_models_of_settings():
    settings = SeparationSettings(model="a+embedded+b", lead="c", dereverb="d+a", instruments="e")
    assert models_of(settings) == ("a", "b", "c", "d", "e")
