"""A trained model enters the library beside the recordings: at once, or not at all."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import shutil
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.library_voices import TRAINED, recorded_voice, small_model
from tests.support.rvc_files import write_random_index
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import library
from understudy.voices.rvc.checkpoint import Checkpoint, read_checkpoint
from understudy.voices.rvc.export import export_rvc
from understudy.voices.rvc.importing import import_model, settle_model
from understudy.voices.rvc.storing import store_model
from understudy.voices.voice import PitchRange, Voice


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "library"


def model_files(voice: Voice) -> list[str]:
    return sorted(path.name for path in (voice.folder / "model").iterdir())


def test_a_published_model_is_beside_the_recordings(root: Path, tmp_path: Path) -> None:
    before = recorded_voice(root)
    index = write_random_index(tmp_path / "own.index", "v2", 120)
    reach = PitchRange(low=100, median=200, high=400)
    hashed = before.manifest.recordings_hash
    published = library.publish_model(
        root, "nova", hashed, small_model(), index, TRAINED, default=True, pitch_range=reach
    )
    voice = library.load(root, "nova")
    assert voice == published
    assert voice.manifest.engine == "rvc"
    model = voice.manifest.model
    assert model is not None
    assert model.index is not None
    assert (model.trained, model.index.vectors, model.pitch_range, model.info) == (TRAINED, 120, reach, "0 steps")
    assert model_files(voice) == sorted([model.file, model.index.file])
    assert read_checkpoint(voice.model_file).architecture == small_model().architecture
    instant = library.load(root, "nova", "instant")
    assert instant.manifest.content_hash == before.manifest.content_hash
    assert instant.recording_files == before.recording_files
    assert voice.manifest.consent == before.manifest.consent
    assert not list(root.glob(".*ing-*"))


def test_a_second_model_takes_the_place_of_the_first(root: Path, tmp_path: Path) -> None:
    hashed = recorded_voice(root).manifest.recordings_hash
    index = write_random_index(tmp_path / "own.index", "v2", 120)
    first = library.publish_model(root, "nova", hashed, small_model(1), index, TRAINED, default=True)
    second = library.publish_model(root, "nova", hashed, small_model(2), None, TRAINED, default=False)
    assert second.manifest.engine == "instant"
    assert second.engines == ("instant", "zero-shot", "rvc")
    assert len(model_files(second)) == 1
    assert second.sung_by("rvc").manifest.content_hash != first.manifest.content_hash
    assert library.sing_with(root, "nova", "rvc") == library.load(root, "nova") == second.sung_by("rvc")
    assert library.sing_with(root, "nova", "rvc").manifest.engine == "rvc"  # once more changes nothing
    assert library.sing_with(root, "nova", "instant") == second


def test_a_renamed_voice_is_found_by_its_recordings(root: Path) -> None:
    hashed = recorded_voice(root).manifest.recordings_hash
    library.rename(root, "nova", "vega")
    recorded_voice(root, "ada")
    published = library.publish_model(root, "nova", hashed, small_model(), None, TRAINED, default=True)
    assert published.name == published.manifest.name == "vega"
    assert library.load(root, "vega") == published
    assert library.load(root, "ada").engines == ("instant", "zero-shot")


def test_the_name_decides_between_voices_of_the_same_recordings(root: Path) -> None:
    hashed = recorded_voice(root).manifest.recordings_hash
    shutil.copytree(root / "nova", root / "ada")
    library.publish_model(root, "nova", hashed, small_model(), None, TRAINED, default=True)
    assert library.load(root, "ada").engines == ("instant", "zero-shot")


@pytest.mark.parametrize("removed", [True, False])
def test_a_voice_that_is_gone_gets_no_model(root: Path, removed: bool) -> None:
    hashed = recorded_voice(root).manifest.recordings_hash
    library.remove(root, "nova")
    if not removed:
        recorded_voice(root, takes=3)  # made again from other recordings
    with pytest.raises(UnderstudyError) as gone:
        library.publish_model(root, "nova", hashed, small_model(), None, TRAINED, default=True)
    assert gone.value.code == "voice-removed"
    assert not list(root.glob(".*ing-*"))


def test_an_index_of_another_version_is_refused(root: Path, tmp_path: Path) -> None:
    before = recorded_voice(root)
    index = write_random_index(tmp_path / "own.index", "v1", 120)
    with pytest.raises(UnderstudyError) as refused:
        library.publish_model(
            root, "nova", before.manifest.recordings_hash, small_model(), index, TRAINED, default=True
        )
    assert refused.value.code == "index-mismatch"
    assert library.load(root, "nova") == before


def test_an_export_names_the_embedder(root: Path, tmp_path: Path) -> None:
    import torch

    hashed = recorded_voice(root).manifest.recordings_hash
    index = write_random_index(tmp_path / "own.index", "v2", 120)
    for embedder in ("contentvec", "cepstral"):
        model = small_model()
        if embedder != "contentvec":
            model.info["embedder_model"] = embedder
        voice = library.publish_model(root, "nova", hashed, model, index, TRAINED, default=False)
        assert voice.manifest.model is not None
        assert voice.manifest.model.embedder == embedder
        files = export_rvc(voice, tmp_path / f"{embedder}.pth", Context(tmp_path))
        document = torch.load(files[0], weights_only=True)
        assert (document["embedder_model"], document["version"], document["f0"]) == (embedder, "v2", 1)
        assert files[1].read_bytes() == index.read_bytes()
        assert all(tensor.dtype == torch.float16 for tensor in document["weight"].values())
        imported, _ = import_model(root, files[0], Context(tmp_path), embedder, consent="self", index=files[1])
        assert imported.manifest.model is not None
        assert imported.manifest.model.embedder == embedder


def test_a_lost_model_leaves_the_instant_voice(root: Path) -> None:
    hashed = recorded_voice(root).manifest.recordings_hash
    voice = library.publish_model(root, "nova", hashed, small_model(), None, TRAINED, default=True)
    voice.model_file.unlink()
    with pytest.raises(UnderstudyError) as missing:
        library.load(root, "nova")
    assert missing.value.code == "voice-model-missing"
    assert "understudy voices train 'nova'" in missing.value.hint
    assert library.load(root, "nova", "instant").manifest.engine == "instant"
    assert library.load_recorded(root, "nova") == voice  # so it can be trained again
    voice.recording_files[0].unlink()
    with pytest.raises(UnderstudyError) as missing:
        library.load_recorded(root, "nova")
    assert missing.value.code == "recording-missing"


def test_an_imported_model_has_nothing_to_train_from(root: Path) -> None:
    with library.building(root) as folder:
        (folder / "model").mkdir()
        model = store_model(small_model(), folder / "model", "nova.pth")
        settle_model(root, folder, "nova", model, "self", replace=False)
    with pytest.raises(UnderstudyError) as missing:
        library.load_recorded(root, "nova")
    assert missing.value.code == "voice-without-recordings"


def test_an_imported_voice_has_one_engine(root: Path) -> None:
    voice = recorded_voice(root)
    with pytest.raises(UnderstudyError) as missing:
        library.sing_with(root, "nova", "rvc")
    assert missing.value.code == "engine-missing"
    assert library.sing_with(root, "nova", "instant") == voice


def _publish_again_and_again(root: Path, hashed: str, models: list[Checkpoint], index: Path) -> None:
    for number in itertools.count():
        model = models[number % len(models)]
        library.publish_model(root, "nova", hashed, model, index, TRAINED, default=bool(number % 2))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs processes that fork")
def test_kills_at_random_moments_leave_one_whole_voice(root: Path, tmp_path: Path) -> None:
    """`kill -9` of a process that publishes all the time; a reader meanwhile never sees half a voice."""
    before = recorded_voice(root)
    index = write_random_index(tmp_path / "own.index", "v2", 120)
    models = [small_model(seed) for seed in range(5)]
    fork = multiprocessing.get_context("fork")  # the others would import torch for seconds
    moments = random.Random(3)
    for _ in range(12):
        arguments = (root, before.manifest.recordings_hash, models, index)
        publisher = fork.Process(target=_publish_again_and_again, args=arguments)
        publisher.start()
        end = time.monotonic() + moments.uniform(0.02, 0.3)
        while time.monotonic() < end:
            assert library.load(root, "nova").manifest.consent == "self"
        publisher.kill()
        publisher.join()
        voice = library.load(root, "nova")
        library.verify(voice, voice.stored_files)
        assert library.load(root, "nova", "instant").manifest.content_hash == before.manifest.content_hash
        assert len(library.list_voices(root)) == 1
        with FileLock(root / ".lock", timeout=5):
            pass
    after = library.publish_model(
        root, "nova", before.manifest.recordings_hash, small_model(9), index, TRAINED, default=True
    )
    model = after.manifest.model
    assert model is not None
    assert model.index is not None
    assert model_files(after) == sorted([model.file, model.index.file])  # what the killed ones left is gone


def test_a_manifest_that_names_another_embedder_is_refused(root: Path) -> None:
    from understudy.voices import manifest
    from understudy.voices.rvc.checks import check_stored

    hashed = recorded_voice(root).manifest.recordings_hash
    voice = library.publish_model(root, "nova", hashed, small_model(), None, TRAINED, default=True)
    assert [finding.code for finding in check_stored(voice)] == ["no-index"]
    model = voice.manifest.model
    assert model is not None
    lying = voice.manifest.model_copy(update={"model": model.model_copy(update={"embedder": "cepstral"})})
    manifest.write(voice.folder, lying)
    with pytest.raises(UnderstudyError) as refused:
        check_stored(library.load(root, "nova"))
    assert refused.value.code == "model-invalid"
