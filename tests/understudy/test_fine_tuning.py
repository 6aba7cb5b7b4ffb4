"""Fine-tuning of the zero-shot engine from recordings to a voice, with small random models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

import understudy as us
from tests.support.training_voices import sung_voice
from tests.support.zero_shot_files import write_models
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.context import Context, scratch_context
from understudy.errors import Cancelled, UnderstudyError
from understudy.models import Weights
from understudy.services.cli import training
from understudy.training import TrainingResult
from understudy.voices import archive, library
from understudy.voices.engine import ConversionSettings, Performance
from understudy.voices.engines import ENGINES, offered
from understudy.voices.training.run_folder import EVALUATIONS, LOSSES, RunFolder
from understudy.voices.training.settings import TrainingSettings
from understudy.voices.voice import Voice
from understudy.voices.zero_shot.engine import tuned_weights
from understudy.voices.zero_shot.singing import read_converter
from understudy.voices.zero_shot.training import data as data_module
from understudy.voices.zero_shot.training.data import read_data
from understudy.voices.zero_shot.training.export import export_tuned
from understudy.voices.zero_shot.training.work import FineTuning, go_on
from understudy.voices.zero_shot.weights import read_tensors

INSTALLED = import_module("understudy.models.installed")  # a function is called so, too
SETTINGS = {"engine": "zero-shot", "most_steps": 8, "evaluate_every": 4, "learning_rate": 1e-2, "keep": 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Weights]]:
    """The small models, installed."""
    given = write_models(tmp_path_factory.mktemp("models"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(INSTALLED, "_given", {**given, "zero-shot-yingmusic": None, "zero-shot-speech": None})
        yield given


Tuned = tuple[Path, us.VoiceLibrary, TrainingResult]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Weights]) -> Tuned:
    """A voice whose training was cancelled after some steps and went on."""
    root = tmp_path_factory.mktemp("fine tuning")
    sung_voice(root / "voices", seconds=9.0)
    voices, cancel = us.VoiceLibrary(root / "voices"), Event()

    def stop(event: us.TrainingEvent) -> None:
        if event.kind == "steps" and event.step == 5:
            cancel.set()

    arguments = {"settings": SETTINGS, "cache": root / "cache", "device": "cpu"}
    with pytest.raises(Cancelled):
        voices.train("nova", **arguments, progress=stop, cancel=cancel)  # type: ignore[arg-type]
    return root, voices, voices.train("nova", **arguments)  # type: ignore[arg-type]


def test_a_voice_gets_what_does_better_on_held_out_recordings(tuned: Tuned, models: dict[str, Weights]) -> None:
    _, voices, result = tuned
    assert (result.steps, result.published) == (8, True)
    assert result.scores["held_out"] < 0.99 * result.scores["untuned"]
    voice = voices.get("nova")
    about = voice.manifest.tuned
    assert about is not None
    assert about.model == about.trained.base == "zero-shot"
    assert about.trained.steps == result.step
    assert voice.manifest.engine == "instant", "until the user wants it otherwise"
    assert ENGINES["zero-shot"].models(voice) == ("whisper-small", "campplus", "bigvgan-44k")
    assert "zero-shot" in offered(voice)
    assert voice.sung_by("instant").manifest.content_hash == voice.manifest.content_hash
    untuned = voice.manifest.model_copy(update={"tuned": None})
    assert untuned.sung_by("zero-shot").content_hash != voice.sung_by("zero-shot").manifest.content_hash
    page = result.report.read_text("utf-8")
    assert "Held-out loss" in page
    assert "Flow loss" in page
    assert "sings with the fine-tuned model" in page
    assert 'voices use "nova" zero-shot' in training._text(result)
    assert "sings with the fine-tuned model from now on" in training._text(replace(result, default=True))
    assert "keeps that" in training._text(replace(result, published=False))


def test_the_published_weights_have_the_loss_that_was_found(tuned: Tuned, models: dict[str, Weights]) -> None:
    _, voices, result = tuned
    data, weights = read_data(RunFolder(result.folder)), tuned_weights(voices.get("nova"))
    assert data is not None
    assert weights is not None
    work = FineTuning(TrainingSettings.model_validate(SETTINGS), data, weights)
    found = work.evaluate(0, Path(), Event())["held_out"]
    assert found == pytest.approx(result.scores["held_out"], rel=1e-3), "float16"


def test_a_run_that_went_on_has_the_bytes_of_an_undisturbed_one(
    tuned: Tuned, models: dict[str, Weights], tmp_path: Path
) -> None:
    _, _, result = tuned
    first, folder = RunFolder(result.folder), RunFolder(tmp_path / "run")
    run, data = first.run(), read_data(first)
    assert run is not None
    assert data is not None
    folder.begin(run)
    outcome = go_on(folder, data, models["zero-shot"], "cpu", lambda event: None, Event())
    assert outcome.step == result.step
    assert folder.checkpoint(outcome.step).read_bytes() == first.checkpoint(outcome.step).read_bytes()
    assert folder.lines(EVALUATIONS) == first.lines(EVALUATIONS)
    assert folder.lines(LOSSES) == first.lines(LOSSES)
    states = [torch.load(each.path / "state-8.pt")["work"]["optimiser"]["state"][0] for each in (first, folder)]
    assert torch.equal(states[0]["exp_avg"], states[1]["exp_avg"])


def test_the_same_training_again_changes_nothing(tuned: Tuned) -> None:
    root, voices, result = tuned
    again = voices.train("nova", settings=SETTINGS, cache=root / "cache", device="cpu")
    assert again.voice.manifest == result.voice.manifest
    more = voices.plan_training("nova", settings={**SETTINGS, "seed": 2}, cache=root / "cache", device="cpu")
    assert more.folder != result.folder, "another configuration is another run"
    assert more.steps == 8
    assert more.seconds_per_step > 0
    assert more.disk > 0
    assert not more.missing
    assert "zero-shot model, from zero-shot" in more.sentences[0]


def test_it_is_exported_in_the_published_format(tuned: Tuned, models: dict[str, Weights], tmp_path: Path) -> None:
    _, voices, _ = tuned
    weights, configuration = export_tuned(voices.get("nova"), tmp_path / "nova.pth")
    tree = torch.load(weights, weights_only=True)
    published = read_tensors(models["zero-shot"].path, "net")
    expected = {name.replace(".module.", ".", 1): tensor.shape for name, tensor in published.items()}
    del expected["cfm.estimator.input_pos"]
    found = {f"{part}.{name}": tensor for part, inner in tree["net"].items() for name, tensor in inner.items()}
    assert {name: tensor.shape for name, tensor in found.items()} == expected
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    converter = read_converter(Weights(weights, "0" * 64, (Weights(configuration, "0" * 64),)))
    stored = tuned_weights(voices.get("nova"))
    assert stored is not None
    same = read_converter(stored).state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in converter.state_dict().items())
    with pytest.raises(UnderstudyError, match="exists already"):
        export_tuned(voices.get("nova"), weights)


def test_an_archive_takes_it_along_and_what_is_no_model_is_refused(tuned: Tuned, tmp_path: Path) -> None:
    _, voices, _ = tuned
    with scratch_context() as context:
        file = archive.export(voices.get("nova"), tmp_path / "nova.zip", context)
        imported, _ = archive.import_voice(tmp_path / "there", file, context)
    assert imported.manifest.tuned == voices.get("nova").manifest.tuned
    assert all(path.is_file() for path in imported.tuned_files)
    library.load(tmp_path / "there", "nova", "zero-shot")
    weights, _ = imported.tuned_files
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UnderstudyError) as raised:
        library.load(tmp_path / "there", "nova", "zero-shot")
    assert raised.value.code == "voice-model-changed"
    assert "voices train" in str(raised.value.hint)


def test_it_sings_with_the_tuned_weights(tuned: Tuned, models: dict[str, Weights], tmp_path: Path) -> None:
    _, voices, _ = tuned
    voice, engine = voices.get("nova").sung_by("zero-shot"), ENGINES["zero-shot"]
    tone = Audio.of(0.3 * np.sin(2 * np.pi * 220 * np.arange(8820) / 44100).astype(np.float32), 44100)
    performance = Performance(tone, PitchTrack(np.full(41, 220, np.float32)), 0.0)
    prepared = engine.prepare(Context(tmp_path), voice)
    sung: list[Audio] = []
    for manifest in (voice.manifest, voice.manifest.model_copy(update={"tuned": None})):
        one = Voice(voice.folder, manifest)
        context = Context(tmp_path / str(len(sung)))
        context.folder.mkdir()
        needed = {name: models[name] for name in engine.models(one)}
        assert ("zero-shot" in needed) == (manifest.tuned is None)
        sung.append(engine.convert(context, performance, one, prepared, ConversionSettings(steps=4), needed).read())
    assert not np.array_equal(sung[0].samples, sung[1].samples)


@pytest.mark.parametrize("case", ["missing", "nan", "short", "base"])
def test_bad_input_is_a_clear_error(
    case: str, models: dict[str, Weights], tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, voices, _ = tuned
    code = {"missing": "model-missing", "nan": "model-unsuitable", "short": "too-little-data", "base": "option-invalid"}
    given = {**models, "zero-shot-yingmusic": None, "zero-shot-speech": None}
    settings, base = dict(SETTINGS), ("g", "d") if case == "base" else None
    if case == "missing":
        given["zero-shot"] = None
    if case == "nan":
        tree = torch.load(models["zero-shot"].path)
        next(iter(tree["net"]["cfm"].values())).fill_(torch.nan)
        torch.save(tree, tmp_path / "nan.pth")
        given["zero-shot"] = Weights(tmp_path / "nan.pth", "9" * 64, models["zero-shot"].companions)
    if case == "short":
        monkeypatch.setattr(data_module, "LEAST", 100.0)
        settings["seed"] = 3
    monkeypatch.setattr(INSTALLED, "_given", given)
    before = json.dumps(sorted(str(path) for path in voices.folder.rglob("*")))
    with pytest.raises(UnderstudyError) as raised:
        voices.train("nova", settings=settings, base=base, cache=root / "cache", device="cpu")
    assert raised.value.code == code[case]
    assert raised.value.hint
    assert json.dumps(sorted(str(path) for path in voices.folder.rglob("*"))) == before
