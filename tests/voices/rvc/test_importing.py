"""RVC voices into the library and out again: from every form they are shared in, with the same content hash after."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.library_voices import without_consent
from tests.support.recording_takes import take, write
from tests.support.rvc_files import document, small, write_random_index, write_random_pth
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import archive, library
from understudy.voices.importing import import_voice
from understudy.voices.recordings import Finding
from understudy.voices.rvc.checkpoint import read_checkpoint, write_safetensors
from understudy.voices.rvc.export import export_rvc
from understudy.voices.voice import Voice

Take = Callable[..., tuple[Voice, list[Finding]]]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "work").mkdir()
    return Context(tmp_path / "work")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def taken(root: Path, context: Context) -> Take:
    def take_in(path: Path, name: str | None = "nova", **options: Any) -> tuple[Voice, list[Finding]]:
        return import_voice(root, path, context, name, **{"consent": "granted", **options})

    return take_in


@pytest.fixture
def pth(tmp_path: Path) -> Path:
    return write_random_pth(tmp_path / "Nova Star.pth", small(), author="Ann\n", info="20epoch")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return write_random_index(tmp_path / "added_IVF1_Flat_nprobe_1_nova_v2.index", vectors=60)


def refusal(take_in: Take, *arguments: Any, **options: Any) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as refused:
        take_in(*arguments, **options)
    assert refused.value.hint
    return refused.value


def zipped(path: Path, files: dict[str, Path | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return path


def test_a_model_and_its_index(pth: Path, index: Path, root: Path, taken: Take, context: Context) -> None:
    voice, findings = taken(pth, index=index)
    assert findings == []
    manifest = voice.manifest
    model = manifest.model
    assert (manifest.engine, manifest.sample_rate, manifest.recordings, manifest.pitch_range) == (
        "rvc",
        16000,
        (),
        None,
    )
    assert model is not None
    assert (model.version, model.f0, model.speakers, model.speaker) == ("v2", True, 3, 0)
    assert (model.info, model.author, model.source) == ("20epoch", "Ann", "Nova Star.pth")
    assert model.index is not None
    assert (model.index.vectors, model.index.source) == (60, index.name)
    assert read_checkpoint(voice.model_file).architecture == small()
    assert voice.index_file is not None
    assert voice.index_file.read_bytes() == index.read_bytes()
    assert library.load(root, "nova") == voice
    assert library.list_voices(root) == [voice]
    assert library.check(root, "nova", context) == ([], [])
    renamed = library.rename(root, "nova", "vega")
    assert renamed.manifest.content_hash == manifest.content_hash
    assert library.load(root, "vega").model_file.is_file()
    library.remove(root, "vega")
    assert sorted(entry.name for entry in root.iterdir()) == [".lock", "consent-log.jsonl"]


def test_every_form_gives_the_same_voice(
    pth: Path, index: Path, tmp_path: Path, root: Path, taken: Take, context: Context
) -> None:
    folder = tmp_path / "folder"
    (folder / "logs").mkdir(parents=True)
    shutil.copy(pth, folder)
    shutil.copy(index, folder / "logs")
    (folder / "trained_IVF1_Flat_nprobe_1_nova_v2.index").write_bytes(b"IwFl")
    (folder / "G_2333333.pth").write_bytes(b"large")
    (folder / "readme.txt").write_text("hello")
    rest: dict[str, Path | bytes] = {"cover.png": b"x", "__MACOSX/._nova.pth": b"x", "x/.DS_Store": b"x", "x/": b""}
    plain = tmp_path / "plain.safetensors"
    write_safetensors(read_checkpoint(pth), plain)
    forms: list[tuple[Path, dict[str, Any]]] = [
        (pth, {"index": index}),
        (plain, {"index": index}),
        (folder, {}),
        (zipped(tmp_path / "a.zip", {"model.pth": pth, "model.index": index, **rest}), {}),
        (zipped(tmp_path / "b.zip", {"w/n.pth": pth, "logs/n/added_1.index": index, "logs/n/trained_1.index": b"x"}),
         {}),
        (zipped(tmp_path / "c.zip", {"a.pth": pth, "b.pth": b"x", "1.index": index, "2.index": b"x"}),
         {"model": "a", "index": Path("1.index")}),
        (zipped(tmp_path / "d.zip", {"a.safetensors": plain}), {"index": index}),
        (Path(shutil.copy(pth, tmp_path / "renamed.zip")), {"index": index}),  # a .pth is a zip itself
        (Path(shutil.copy(pth, tmp_path / "renamed.bin")), {"index": index}),
    ]  # fmt: skip
    hashes = set()
    for path, options in forms:
        voice, findings = taken(path, replace=True, **options)
        assert findings == []
        hashes.add(voice.manifest.content_hash)
        assert sorted(entry.suffix for entry in (voice.folder / "model").iterdir()) == [".index", ".safetensors"]
    assert len(hashes) == 1
    assert {entry.name for entry in root.iterdir()} == {".lock", "consent-log.jsonl", "nova"}
    assert list(context.folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("with_index", [False, True])
@pytest.mark.parametrize("speaker", [0, 2])
def test_out_and_in_again(
    with_index: bool, speaker: int, pth: Path, index: Path, tmp_path: Path, taken: Take, context: Context
) -> None:
    voice, _ = taken(pth, index=index if with_index else None, speaker=speaker)
    wanted = voice.manifest.content_hash
    ours = archive.export(voice, tmp_path / "ours.zip", context)
    assert archive.export(voice, tmp_path / "again.zip", context).read_bytes() == ours.read_bytes()
    again, _ = import_voice(tmp_path / "other", ours, context)
    assert without_consent(again) == without_consent(voice)
    one, *rest = export_rvc(voice, tmp_path / "one.pth", context)
    assert len(rest) == with_index
    beside, _ = taken(one, "b", index=rest[0] if rest else None)
    packed, _ = taken(export_rvc(voice, tmp_path / "both.zip", context)[0], "c")
    files = export_rvc(voice, tmp_path / "folder", context)
    assert [file.name for file in files] == ["nova.pth", "added_IVF1_Flat_nprobe_1_nova_v2.index"][: 1 + with_index]
    unpacked, _ = taken(tmp_path / "folder", "d")
    assert {v.manifest.content_hash for v in (again, beside, packed, unpacked)} == {wanted}
    assert {v.manifest.model.speaker for v in (beside, packed, unpacked) if v.manifest.model} == {speaker}
    assert not list(tmp_path.glob(".*"))


def test_what_other_tools_find_in_an_exported_file(pth: Path, tmp_path: Path, taken: Take, context: Context) -> None:
    voice, _ = taken(pth)
    (path,) = export_rvc(voice, tmp_path / "out.pth", context)
    found = torch.load(path, weights_only=True)
    wanted = document(small())
    assert {key: found[key] for key in ("config", "sr", "f0", "version", "info")} == {
        key: wanted[key] for key in ("config", "sr", "f0", "version", "info")
    }
    assert found["weight"].keys() == wanted["weight"].keys()
    assert {tensor.dtype for tensor in found["weight"].values()} == {torch.float16}
    assert all(torch.equal(found["weight"][name], tensor) for name, tensor in wanted["weight"].items())


def test_export_overwrites_only_when_told(
    pth: Path, index: Path, tmp_path: Path, taken: Take, context: Context
) -> None:
    voice, _ = taken(pth, index=index)
    for name in ("mine.pth", "mine.index"):
        for target in ("mine.pth", "mine.index"):
            (tmp_path / target).unlink(missing_ok=True)
        (tmp_path / name).write_text("precious")
        with pytest.raises(UnderstudyError) as refused:
            export_rvc(voice, tmp_path / "mine.pth", context)
        assert refused.value.code == "file-exists"
        assert (tmp_path / name).read_text() == "precious"
    assert len(export_rvc(voice, tmp_path / "mine.pth", context, replace=True)) == 2
    for nowhere in (tmp_path / "no" / "where.pth", tmp_path / "no" / "where.zip", tmp_path / "no" / "where"):
        with pytest.raises(UnderstudyError) as refused:
            export_rvc(voice, nowhere, context)
        assert refused.value.code == "output-not-writable"
    assert not (tmp_path / "no").exists()


def test_a_voice_of_recordings_has_no_model(tmp_path: Path, root: Path, context: Context) -> None:
    voice, _ = library.add(root, "rec", [write(tmp_path / "take.wav", take(6, 16000))], "self", context)
    with pytest.raises(UnderstudyError) as refused:
        export_rvc(voice, tmp_path / "a.pth", context)
    assert refused.value.code == "voice-without-model"
    with pytest.raises(ValueError, match="no model"):
        _ = voice.model_file
    assert voice.index_file is None


def test_names_come_from_the_file(pth: Path, tmp_path: Path, taken: Take) -> None:
    for given, name in (
        ("Ariana Grande (RVC v2) [250 Epochs].pth", "Ariana Grande (RVC v2) 250 Epochs"),
        ("..--nova_e200_s1400--.pth", "nova_e200_s1400"),
        ("初音ミク.pth", "初音ミク"),
        ("a" * 100 + ".pth", "a" * 64),
        ("nova.v2.pth", "nova.v2"),
    ):
        assert taken(shutil.copy(pth, tmp_path / given), None)[0].name == name
    error = refusal(taken, shutil.copy(pth, tmp_path / "!!!.pth"), None)
    assert error.code == "voice-name-invalid"
    assert "--name" in error.hint


def test_consent_is_asked_for_before_anything_is_read(tmp_path: Path, taken: Take) -> None:
    assert refusal(taken, tmp_path / "none.pth", consent=None).code == "consent-missing"
    assert refusal(taken, tmp_path / "none.pth").code == "file-not-found"


def test_a_taken_name_is_replaced_only_when_told(
    pth: Path, index: Path, tmp_path: Path, root: Path, taken: Take
) -> None:
    first, _ = taken(pth, index=index)
    other = write_random_pth(tmp_path / "other.pth", small("v1", False), seed=5)
    assert refusal(taken, other).code == "voice-exists"
    assert library.load(root, "nova") == first
    second, findings = taken(other, replace=True)
    assert [finding.code for finding in findings] == ["no-pitch-guidance", "no-index"]
    assert second.manifest.content_hash != first.manifest.content_hash
    assert [entry.name for entry in (second.folder / "model").iterdir()] == [second.model_file.name]
    assert library.load(root, "nova") == second


def test_the_content_hash_covers_model_index_and_speaker(pth: Path, index: Path, tmp_path: Path, taken: Take) -> None:
    other = write_random_pth(tmp_path / "other.pth", small(), seed=9)
    more = write_random_index(tmp_path / "more.index", vectors=61)
    made = [
        taken(path, f"v{number}", index=which, speaker=speaker)[0].manifest.content_hash
        for number, (path, which, speaker) in enumerate(
            [(pth, index, 0), (pth, index, 1), (pth, None, 0), (pth, more, 0), (other, index, 0)]
        )
    ]
    assert len(set(made)) == 5


def test_speakers(pth: Path, taken: Take) -> None:
    for speaker in (3, -1, 10**9):
        error = refusal(taken, pth, speaker=speaker)
        assert error.code == "speaker-unknown"
        assert "0 to 2" in error.hint


def test_which_of_several(pth: Path, index: Path, tmp_path: Path, taken: Take) -> None:
    both = zipped(tmp_path / "a.zip", {"x/a.pth": pth, "y/b.pth": pth, "x/a.index": index, "y/b.index": index})
    error = refusal(taken, both)
    assert error.code == "several-models"
    assert "x/a.pth, y/b.pth" in error.message
    for wanted in ("x/a.pth", "a.pth", "a"):
        model = taken(both, replace=True, model=wanted)[0].manifest.model
        assert model is not None
        assert (model.source, model.index and model.index.source) == ("a.pth", "a.index")
    assert refusal(taken, both, "b", model="c").code == "no-such-model"
    assert refusal(taken, both, "b", model="a", index=Path("c.index")).code == "no-such-index"
    assert refusal(taken, pth, "b", index=tmp_path / "none.index").code == "file-not-found"
    unclear = zipped(tmp_path / "b.zip", {"a.pth": pth, "1.index": index, "2.index": index})
    assert refusal(taken, unclear, "b").code == "several-indexes"
    nothing = zipped(tmp_path / "c.zip", {"readme.txt": b"x"})
    assert "readme.txt" in refusal(taken, nothing, "b").message
    (tmp_path / "empty").mkdir()
    assert refusal(taken, tmp_path / "empty", "b").code == "no-model"


def test_a_discriminator_is_never_offered(pth: Path, tmp_path: Path, taken: Take) -> None:
    """A folder of a training: G_ may sing, D_ judges."""
    pair = zipped(tmp_path / "pair.zip", {"G_2333.pth": pth, "D_2333.pth": pth})
    model = taken(pair)[0].manifest.model
    assert model is not None
    assert model.source == "G_2333.pth"
    alone = zipped(tmp_path / "alone.zip", {"D_2333.pth": pth})
    error = refusal(taken, alone, "b")
    assert error.code == "no-model"
    assert error.message == f"There is no model in {alone}, only D_2333.pth."
    three = zipped(tmp_path / "three.zip", {"G_1.pth": pth, "G_2.pth": pth, "D_2.pth": pth})
    assert refusal(taken, three, "b").message == f"There are 2 models in {three}: G_1.pth, G_2.pth."


def test_an_index_that_is_empty_or_of_another_version(pth: Path, index: Path, tmp_path: Path, taken: Take) -> None:
    import faiss
    import numpy as np

    empty = faiss.index_factory(768, "IVF1,Flat")
    empty.train(np.ones((40, 768), np.float32))
    faiss.write_index(empty, str(tmp_path / "trained_1.index"))
    assert refusal(taken, pth, index=tmp_path / "trained_1.index").code == "index-empty"
    packed = zipped(tmp_path / "a.zip", {"a.pth": pth, "trained_1.index": tmp_path / "trained_1.index"})
    voice, findings = taken(packed)
    assert voice.index_file is None
    assert [finding.code for finding in findings] == ["index-empty", "no-index"]
    assert "added_" in findings[1].sentence
    first = write_random_index(tmp_path / "v1.index", "v1", 60)
    error = refusal(taken, pth, "b", index=first)
    assert error.code == "index-of-another-model"
    assert "v1" in error.message


def test_a_model_of_another_embedder_comes_in_and_says_what_it_needs(tmp_path: Path, taken: Take) -> None:
    path = write_random_pth(tmp_path / "nova.pth", small(), embedder_model="spin_v2")
    voice, findings = taken(path)
    assert voice.manifest.model is not None
    assert voice.manifest.model.embedder == "spin-v2"
    assert [finding.code for finding in findings] == ["embedder-missing", "no-index"]
    assert "--as spin-v2" in findings[0].sentence


def test_changed_and_missing_files_are_found(pth: Path, index: Path, root: Path, taken: Take) -> None:
    voice, _ = taken(pth, index=index)
    assert voice.index_file is not None
    for file in (voice.model_file, voice.index_file):
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(UnderstudyError) as changed:
            library.load(root, "nova")
        assert changed.value.code == "voice-model-changed"
        file.unlink()
        with pytest.raises(UnderstudyError) as missing:
            library.load(root, "nova")
        assert missing.value.code == "voice-model-missing"
        assert "voices import" in missing.value.hint
        file.write_bytes(data)
    library.load(root, "nova")


def test_our_archive_must_be_what_its_manifest_says(
    pth: Path, index: Path, tmp_path: Path, taken: Take, context: Context
) -> None:
    voice, _ = taken(pth, index=index)
    path = archive.export(voice, tmp_path / "a.zip", context)
    with zipfile.ZipFile(path) as packed:
        entries = {name: packed.read(name) for name in packed.namelist()}
    told = json.loads(entries["voice.json"])

    def altered(**changes: Any) -> bytes:
        model = {**told["model"], **{key: value for key, value in changes.items() if key in told["model"]}}
        rest = {key: value for key, value in changes.items() if key not in told["model"]}
        return json.dumps({**told, **rest, "model": model}).encode()

    model = next(name for name in entries if name.startswith("model/model-"))
    for changes in (
        {"voice.json": altered(version="v1")},
        {"voice.json": altered(f0=False)},
        {"voice.json": altered(speakers=9)},
        {"voice.json": altered(sample_rate=48000)},
        {"voice.json": altered(speaker=3)},
        {"voice.json": altered(engine="instant")},
        {"voice.json": altered(file="../../evil")},
        {"voice.json": altered(index={**told["model"]["index"], "vectors": 7})},
        {"voice.json": altered(index=None)},
        {model: entries[model][:-1] + b"!"},
        {"model/model-00000000.safetensors": b"x"},
        {"model/evil.pth": b"x"},
    ):
        other = zipped(tmp_path / "b.zip", {**entries, **changes})
        error = refusal(taken, other, "b", consent=None)
        assert error.code in ("archive-refused", "manifest-bad-field", "model-invalid")
    assert refusal(taken, path, "b", consent=None, speaker=1).code == "archive-is-complete"
    assert refusal(taken, voice.folder, "b").code == "voice-kind-unknown"
    assert [listed.name for listed in library.list_voices(voice.folder.parent)] == ["nova"]


def test_cancelling_leaves_nothing(pth: Path, index: Path, root: Path, context: Context, taken: Take) -> None:
    context.cancelled.set()
    assert refusal(taken, pth, index=index).code == "cancelled"
    assert library.list_voices(root) == []
    assert {entry.name for entry in root.iterdir()} <= {".lock"}
