"""Further recordings for training: what is fit is kept beside the voice, what isn't is left out and said."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.recording_takes import clipped, in_a_room, over_music, take, with_noise, write
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import library, speaker
from understudy.voices.voice import Voice


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("takes")
    sound = take(6)
    write(folder / "own.wav", sound)
    write(folder / "further.wav", take(6, seed=4))
    write(folder / "clipped.wav", clipped(sound, 12))
    write(folder / "noisy.wav", with_noise(sound, 6))
    write(folder / "room.wav", in_a_room(sound, 1.2))
    write(folder / "music.wav", over_music(sound, 6))
    write(folder / "silent.wav", Audio.silence(1, 48000, 24000))
    (folder / "text.wav").write_text("la la la")
    return folder


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "work").mkdir()
    return Context(tmp_path / "work")


@pytest.fixture
def voice(tmp_path: Path, takes: Path, context: Context) -> Voice:
    return library.add(tmp_path / "library", "nova", [takes / "own.wav"], "self", context)[0]


def add(voice: Voice, files: Sequence[Path], context: Context, consent: str = "self", separate: bool = False) -> Voice:
    root = voice.folder.parent
    return library.add_training_recordings(root, voice.name, files, consent, context, separate=separate)[0]  # type: ignore[arg-type]


@pytest.mark.slow
def test_fit_recordings_are_kept_and_unfit_ones_are_said(voice: Voice, takes: Path, context: Context) -> None:
    files = sorted(takes.iterdir())
    root = voice.folder.parent
    added, findings = library.add_training_recordings(root, "nova", files, "self", context)
    assert [recording.source for recording in added.manifest.training_recordings] == ["further.wav"]
    said = {(finding.recording, finding.code) for finding in findings if "left out" in finding.sentence}
    assert {
        ("clipped.wav", "clipped"),
        ("noisy.wav", "noisy"),
        ("room.wav", "reverberant"),
        ("music.wav", "music"),
        ("own.wav", "duplicate"),
        ("text.wav", "unreadable"),
    } <= said
    assert ("silent.wav", "silent") in {(finding.recording, finding.code) for finding in findings}
    assert all(path.is_file() for path in added.training_files)
    assert added.manifest.content_hash == voice.manifest.content_hash
    assert added.manifest.recordings == voice.manifest.recordings
    library.verify(added, added.stored_files)
    assert library.load(root, "nova") == added
    # the same command once more adds nothing
    again, findings = library.add_training_recordings(root, "nova", [takes / "further.wav"], "self", context)
    assert again == added
    assert "duplicate" in [finding.code for finding in findings]


@pytest.mark.slow
def test_what_will_be_separated_is_kept(voice: Voice, takes: Path, context: Context) -> None:
    files = [takes / "music.wav", takes / "noisy.wav", takes / "silent.wav"]
    added = add(voice, files, context, separate=True)
    assert [recording.source for recording in added.manifest.training_recordings] == ["music.wav", "noisy.wav"]


def test_another_person_is_left_out(
    voice: Voice, takes: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    # the encoder is stood in for: the voice's own recordings point one way, all others another
    directions = iter([np.eye(256, dtype=np.float32)[:1], np.eye(256, dtype=np.float32)[1:2]])
    monkeypatch.setattr(speaker, "available", lambda: True)
    monkeypatch.setattr(speaker, "partials", lambda source: next(directions))
    root = voice.folder.parent
    added, findings = library.add_training_recordings(root, "nova", [takes / "further.wav"], "self", context)
    assert added.manifest.training_recordings == ()
    (finding,) = [finding for finding in findings if finding.code == "another-speaker"]
    assert finding.sentence.startswith("further.wav: left out, it sounds like another person")


def test_the_weaker_consent_stays(voice: Voice, takes: Path, context: Context) -> None:
    added = add(voice, [takes / "further.wav"], context, consent="granted", separate=True)
    assert added.manifest.consent == "granted"


def test_bad_requests(voice: Voice, takes: Path, context: Context) -> None:
    root = voice.folder.parent
    for files, consent, code in (
        ([takes / "further.wav"], None, "consent-missing"),
        ([takes / "none.wav"], "self", "file-not-found"),
        ([], "self", "no-recordings"),
    ):
        with pytest.raises(UnderstudyError) as refused:
            library.add_training_recordings(root, "nova", files, consent, context)  # type: ignore[arg-type]
        assert refused.value.code == code
    with pytest.raises(UnderstudyError) as unknown:
        library.add_training_recordings(root, "vega", [takes / "further.wav"], "self", context)
    assert unknown.value.code == "voice-unknown"


@pytest.mark.slow
def test_recordings_added_at_once_are_all_there(voice: Voice, takes: Path, context: Context, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.wav", take(2, seed=number)) for number in range(1, 5)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda file: add(voice, [file, files[0]], context, separate=True), files))
    found = library.load(voice.folder.parent, "nova")
    assert sorted(recording.source for recording in found.manifest.training_recordings) == [file.name for file in files]
    library.verify(found, found.stored_files)
    assert sorted(path.name for path in (found.folder / "training").iterdir()) == sorted(
        path.name for path in found.training_files
    )
