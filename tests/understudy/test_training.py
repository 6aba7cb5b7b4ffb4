from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import soundfile

import understudy as us
from tests.support.library_voices import TRAINED, recorded_voice, small_model
from tests.support.training_voices import SETTINGS, sung_voice
from understudy.context import scratch_context
from understudy.errors import Cancelled, UnderstudyError
from understudy.training import TrainingJob, in_words
from understudy.training_comparison import beats, without_held_out
from understudy.voices import library
from understudy.voices import manifest as manifests
from understudy.voices.rvc.training.evaluation import ClipScores, Evaluation
from understudy.voices.rvc.training.materials import read_materials
from understudy.voices.training.run_folder import RunFolder, held
from understudy.voices.training.settings import TrainingSettings


@pytest.fixture
def job(tmp_path):
    recorded_voice(tmp_path / "voices")
    return TrainingJob(tmp_path / "voices", "nova", TrainingSettings(size="tiny", embedder="cepstral"))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (60, "60 s"), (100, "2 min"), (7200, "2 h"), (1e6, "12 days")]
)
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words


def test_networks_have_names():
    def named(**settings):
        return TrainingJob(Path(), "nova", TrainingSettings(**settings)).network

    assert named() == "RVC v2, 48 kHz"
    assert named(size="tiny", version="v1", f0=False) == "tiny RVC v1, 16 kHz, without pitch"


def test_the_folder_depends_on_what_changes_the_model(job, tmp_path):
    def of(job):
        return job.folder(tmp_path)

    assert of(job) == of(replace(job, restart=True, gpus=4))
    assert of(job) == of(replace(job, settings=job.settings.model_copy(update={"most_steps": 7, "keep": 1})))
    assert of(job) != of(replace(job, settings=job.settings.model_copy(update={"seed": 7})))
    assert of(job) != of(replace(job, separate=True))
    before = of(job)
    library.rename(job.library, "nova", "stella")
    assert of(replace(job, name="stella")) == before


def test_a_base_file_changes_the_folder(job, tmp_path):
    files = []
    for content in (b"one", b"two"):
        for kind in "GD":
            (tmp_path / f"{kind}-{content.decode()}.pth").write_bytes(content)
        pair = (tmp_path / f"G-{content.decode()}.pth", tmp_path / f"D-{content.decode()}.pth")
        files.append(replace(job, base=pair).folder(tmp_path))
    assert len({*files, job.folder(tmp_path)}) == 3


def test_a_full_network_names_the_models_that_it_needs(job, monkeypatch, tmp_path):
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "models"))
    full = replace(job, settings=TrainingSettings())
    assert [model.name for model in full.missing_models()] == ["contentvec", "rvc-base-48k"]
    assert [model.name for model in replace(full, base="none").missing_models()] == ["contentvec"]
    first = replace(full, settings=TrainingSettings(version="v1", sample_rate=40000, embedder="cepstral"))
    assert [model.name for model in first.missing_models()] == ["rvc-base-v1-40k"]
    assert job.missing_models() == ()


def test_a_model_that_is_installed_meanwhile_does_not_become_the_base(job, monkeypatch):
    installed = iter(["zero-shot", "zero-shot-speech"])
    monkeypatch.setattr("understudy.training_job.installed_model", lambda: next(installed))
    begun = replace(job, settings=TrainingSettings(engine="zero-shot"))
    assert [begun.base_name(), begun.base_name(), begun.singing_model] == ["zero-shot"] * 3


def test_a_voice_that_is_a_model_alone_can_not_be_trained(tmp_path):
    voice = recorded_voice(tmp_path / "voices")
    library.publish_model(
        tmp_path / "voices", "nova", voice.manifest.recordings_hash, small_model(), None, TRAINED, default=True
    )
    manifest = manifests.read(voice.folder)
    model = manifest.model
    assert model is not None
    changes = {"recordings": (), "sample_rate": model.sample_rate, "engine": "rvc"}
    manifests.write(voice.folder, manifest.model_copy(update=changes))
    with pytest.raises(UnderstudyError) as raised:
        TrainingJob(tmp_path / "voices", "nova").voice()
    assert raised.value.code == "voice-without-recordings"


def scores(similarity, intelligibility=0.6, clicks=0.0):
    clip = ClipScores("a", "held-out", similarity, 0.02, 0.05, intelligibility, 1.0, 0.5, 0.0, clicks)
    return Evaluation(0, (clip, replace(clip, name="b", kind="phrase", mel_distance=None)))


def test_what_beats_the_instant_voice():
    assert beats(scores(0.8), scores(0.7))
    assert not beats(scores(0.702), scores(0.7)), "within the uncertainty"
    assert not beats(scores(0.8, intelligibility=0.5), scores(0.7))
    assert not beats(scores(0.8, clicks=3), scores(0.7))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("training")
    sung_voice(root / "voices")
    events: list[us.TrainingEvent] = []
    voices = us.VoiceLibrary(root / "voices")
    result = voices.train("nova", settings=SETTINGS, cache=root / "cache", device="cpu", progress=events.append)
    return root, voices, result, events


@pytest.mark.slow
def test_a_voice_gets_a_model(trained):
    root, voices, result, events = trained
    voice = voices.get("nova")
    assert voice.engines == ("instant", "zero-shot", "rvc")
    assert voice.manifest.model.trained.steps == result.step
    assert voice.manifest.model.embedder == "cepstral"
    assert voice.manifest.model.index.vectors > 100
    assert voice.manifest.engine == "instant", "four steps don't beat it"
    assert not result.default
    assert result.report.stat().st_size > 10_000
    assert {event.kind for event in events} == {"preparing", "steps", "saved", "evaluation", "finished"}
    assert json.loads(json.dumps(result.to_dict()))["voice"] == "nova"
    assert root / "cache" / "training" in result.folder.parents


@pytest.mark.slow
def test_the_instant_voice_is_compared_without_what_was_held_out(trained):
    _, voices, result, _ = trained
    dataset = read_materials(RunFolder(result.folder)).dataset
    voice = voices.get("nova").sung_by("instant")
    with scratch_context() as context:
        heard = without_held_out(context, voice, dataset)
        lengths = [soundfile.info(file).duration for file in heard.recording_files]
    whole = sum(recording.duration for recording in voice.manifest.recordings)
    assert whole - 2 * dataset.held_out_seconds < sum(lengths) < whole - dataset.held_out_seconds
    assert lengths == pytest.approx([recording.duration for recording in heard.manifest.recordings], abs=1e-3)


@pytest.mark.slow
def test_the_same_training_again_changes_nothing(trained):
    root, voices, result, _ = trained
    before = voices.get("nova")
    events: list[us.TrainingEvent] = []
    again = voices.train("nova", settings=SETTINGS, cache=root / "cache", device="cpu", progress=events.append)
    assert voices.get("nova") == before
    assert (again.step, again.scores, again.instant) == (result.step, result.scores, result.instant)
    assert "steps" not in {event.kind for event in events}


@pytest.mark.slow
def test_the_plan_of_a_training(trained):
    root, voices, _, _ = trained
    plan = voices.plan_training("nova", settings=SETTINGS, cache=root / "cache", device="cpu")
    assert (plan.step, plan.steps, plan.batch_size, plan.recordings) == (4, 4, 2, 2)
    assert plan.seconds == pytest.approx(20, abs=2)
    assert 3 < plan.held_out < 7
    assert plan.most_seconds == 0
    assert plan.disk < 2e9
    assert "goes on from step 4" in plan.sentences[0]
    assert json.loads(json.dumps(plan.to_dict()))["network"] == "tiny RVC v2, 16 kHz"
    other = voices.plan_training("nova", settings=SETTINGS | {"seed": 5}, cache=root / "cache", device="cpu")
    assert (other.step, "from nothing" in other.sentences[0]) == (0, True)
    assert other.most_seconds > 0


@pytest.mark.slow
def test_a_voice_renamed_or_removed_meanwhile(trained, tmp_path):
    root, _, _, _ = trained
    shutil.copytree(root, tmp_path / "copy")
    root, voices = tmp_path / "copy", us.VoiceLibrary(tmp_path / "copy" / "voices")

    def go_on(change, steps):
        def progress(event):
            if event.kind == "evaluation" and event.step == steps:
                change()

        more = SETTINGS | {"most_steps": steps}
        return voices.train(name, settings=more, cache=root / "cache", device="cpu", progress=progress)

    for scores in (root / "cache").rglob("instant.json"):
        scores.unlink()  # as in the first training: the instant voice is measured after the change
    name = "nova"
    renamed = go_on(lambda: voices.rename("nova", "stella"), 5)
    assert renamed.voice.name == "stella"
    name = "stella"
    with pytest.raises(UnderstudyError) as raised:
        go_on(lambda: voices.remove("stella"), 6)
    assert raised.value.code == "voice-removed"
    checkpoint = raised.value.hint.partition("The model is at ")[2].partition(".safetensors")[0] + ".safetensors"
    assert Path(checkpoint).is_file()


@pytest.mark.slow
def test_a_voice_is_not_trained_twice_at_a_time(trained):
    root, voices, _, _ = trained
    lock = next((root / "cache" / "training").glob("*.lock"))
    with held(lock, "nova"), pytest.raises(UnderstudyError) as raised:
        voices.train("nova", settings=SETTINGS, cache=root / "cache", device="cpu")
    assert raised.value.code == "training-running"


@pytest.mark.slow
def test_a_cancelled_training_publishes_nothing(trained, tmp_path):
    root, _, _, _ = trained
    shutil.copytree(root / "voices", tmp_path / "voices")
    voices, cancel = us.VoiceLibrary(tmp_path / "voices"), Event()
    before = voices.get("nova")

    def progress(event: Any) -> None:
        if event.kind == "steps":
            cancel.set()

    with pytest.raises(Cancelled):
        voices.train("nova", settings=SETTINGS, cache=tmp_path, device="cpu", progress=progress, cancel=cancel)
    assert voices.get("nova") == before
