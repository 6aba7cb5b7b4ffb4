"""The voice library on disk: what is added is there, whole, and nothing else ever is."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.command import HANGS
from tests.support.recording_takes import take, write
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.voices import library
from understudy.voices import manifest as manifests
from understudy.voices.library import BrokenVoice
from understudy.voices.voice import Manifest, Recording, Voice, content_hash


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("takes") / "First Take.wav", take(6))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "work").mkdir()
    return Context(tmp_path / "work")


def names(root: Path) -> list[str]:
    return [voice.name for voice in library.list_voices(root)]


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".") and path.name != ".lock"]


def test_an_added_voice_is_there_with_all_that_is_known_of_it(root: Path, context: Context, recording: Path) -> None:
    added, findings = library.add(root, "nova", [recording], "self", context)
    voice = library.load(root, "nova")
    assert voice == added
    assert names(root) == ["nova"]
    assert leftovers(root) == []
    assert [finding.code for finding in findings if finding.recording] == []
    manifest = voice.manifest
    assert (manifest.engine, manifest.sample_rate, manifest.consent) == ("instant", 24000, "self")
    assert manifest.recordings[0].source == "First Take.wav"
    assert manifest.recordings[0].duration == pytest.approx(6, abs=1e-3)
    assert manifest.pitch_range is not None
    # the take was sung from A3 to E4, then a semitone higher
    assert 210 < manifest.pitch_range.low < manifest.pitch_range.median < manifest.pitch_range.high < 360
    stored, rate = soundfile.read(voice.recording_files[0], dtype="float32")
    given, _ = soundfile.read(recording, dtype="float32")
    assert rate == 24000
    assert soundfile.info(voice.recording_files[0]).subtype == "PCM_24"
    assert np.max(np.abs(stored - given)) < 2**-21


def test_stereo_becomes_mono_and_high_rates_become_48_khz(root: Path, context: Context, tmp_path: Path) -> None:
    sound = take(6, 48000)
    left_only = Audio(np.concatenate([sound.samples, 0 * sound.samples]), 96000)  # read as 96 kHz: an octave higher
    voice, _ = library.add(
        root, "nova", [write(tmp_path / "a.wav", left_only), write(tmp_path / "b.wav", take(6))], "self", context
    )
    stored, rate = soundfile.read(voice.recording_files[0])
    assert stored.ndim == 1
    assert rate == 48000
    assert voice.manifest.sample_rate == 48000
    assert np.abs(stored).max() == pytest.approx(
        float(np.abs(sound.samples).max()), rel=0.05
    )  # not halved by a dead channel


@pytest.mark.slow
def test_content_hash_follows_the_sound_and_not_the_name(
    root: Path, context: Context, recording: Path, tmp_path: Path
) -> None:
    first, _ = library.add(root, "nova", [recording], "self", context)
    second, _ = library.add(root, "stella", [recording], "granted", context)
    other, _ = library.add(root, "luna", [write(tmp_path / "other.wav", take(6, seed=4))], "self", context)
    assert first.manifest.content_hash == second.manifest.content_hash != other.manifest.content_hash
    assert library.rename(root, "nova", "vega").manifest.content_hash == first.manifest.content_hash
    assert library.load(root, "vega").manifest.content_hash == first.manifest.content_hash


@pytest.mark.slow
def test_replacing_changes_the_hash_and_leaves_nothing_of_the_old(
    root: Path, context: Context, recording: Path, tmp_path: Path
) -> None:
    old, _ = library.add(root, "nova", [recording], "self", context)
    other = write(tmp_path / "other.wav", take(6, seed=4))
    with pytest.raises(UnderstudyError) as refused:
        library.add(root, "nova", [other], "self", context)
    assert refused.value.code == "voice-exists"
    assert library.load(root, "nova") == old
    library.add(root, "nova", [other, recording], "self", context, replace=True)
    new = library.load(root, "nova")
    assert new.manifest.content_hash != old.manifest.content_hash
    assert sorted(path.name for path in (new.folder / "recordings").iterdir()) == sorted(
        recording.file for recording in new.manifest.recordings
    )
    assert leftovers(root) == []


def test_names_that_differ_in_case_only_are_one_name(root: Path, context: Context, recording: Path) -> None:
    library.add(root, "nova", [recording], "self", context)
    with pytest.raises(UnderstudyError, match="already"):
        library.add(root, "Nova", [recording], "self", context)
    library.rename(root, "nova", "Nova")
    assert names(root) == ["Nova"]


def test_a_voice_without_recordings_cannot_be_loaded(root: Path, context: Context, recording: Path) -> None:
    voice, _ = library.add(root, "nova", [recording], "self", context)
    manifests.write(voice.folder, voice.manifest.model_copy(update={"recordings": ()}))
    with pytest.raises(UnderstudyError) as refused:
        library.load(root, "nova")
    assert refused.value.code == "voice-without-recordings"


def test_rename_and_remove(root: Path, context: Context, recording: Path) -> None:
    library.add(root, "nova", [recording], "self", context)
    library.add(root, "luna", [recording], "self", context)
    with pytest.raises(UnderstudyError) as refused:
        library.rename(root, "nova", "luna")
    assert refused.value.code == "voice-exists"
    assert library.rename(root, "nova", "vega").name == "vega"
    assert json.loads((root / "vega" / "voice.json").read_text())["name"] == "vega"
    library.remove(root, "luna")
    assert names(root) == ["vega"]
    assert leftovers(root) == []
    with pytest.raises(UnderstudyError) as unknown:
        library.remove(root, "luna")
    assert unknown.value.code == "voice-unknown"


def test_a_folder_renamed_by_hand_goes_by_its_new_name(root: Path, context: Context, recording: Path) -> None:
    library.add(root, "nova", [recording], "self", context)
    (root / "nova").rename(root / "vega")
    assert library.load(root, "vega").name == "vega"


@pytest.mark.parametrize(("typed", "meant"), [("nvoa", "nova"), ("NOVA", "nova"), ("nov", "nova"), ("Stela", "stella")])
def test_an_unknown_voice_suggests_the_nearest(root: Path, typed: str, meant: str) -> None:
    for name in ("nova", "stella", "quux"):
        (root / name).mkdir(parents=True)
    with pytest.raises(UnderstudyError) as unknown:
        library.load(root, typed)
    assert unknown.value.code == "voice-unknown"
    assert f"Did you mean '{meant}'" in unknown.value.hint


def test_without_a_library_there_are_no_voices(root: Path) -> None:
    assert library.list_voices(root) == []
    with pytest.raises(UnderstudyError) as unknown:
        library.load(root, "nova")
    assert "understudy voices add" in unknown.value.hint
    for change in (lambda: library.remove(root, "nova"), lambda: library.rename(root, "nova", "vega")):
        with pytest.raises(UnderstudyError) as unknown:
            change()
        assert unknown.value.code == "voice-unknown"
    assert not root.exists()


def test_broken_folders_are_listed_as_broken(root: Path, context: Context, recording: Path) -> None:
    library.add(root, "nova", [recording], "self", context)
    (root / "no manifest").mkdir()
    (root / "bad").mkdir()
    (root / "bad" / "voice.json").write_bytes(b"\xff{")
    (root / "folder").mkdir()
    (root / "folder" / "voice.json").mkdir()
    (root / "a file").write_text("not a voice")
    found = {voice.name: voice for voice in library.list_voices(root)}
    assert set(found) == {"nova", "no manifest", "bad", "folder"}
    assert isinstance(found["nova"], Voice)
    broken = [voice for voice in found.values() if isinstance(voice, BrokenVoice)]
    assert {voice.error.code for voice in broken} == {"manifest-unreadable", "manifest-not-json"}
    library.remove(root, "bad")
    assert "bad" not in names(root)


def test_a_missing_or_changed_recording_is_named(root: Path, context: Context, recording: Path) -> None:
    voice, _ = library.add(root, "nova", [recording], "self", context)
    path = voice.recording_files[0]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(UnderstudyError, match=path.name) as changed:
        library.load(root, "nova")
    assert changed.value.code == "recording-changed"
    path.unlink()
    with pytest.raises(UnderstudyError, match=path.name) as missing:
        library.load(root, "nova")
    assert missing.value.code == "recording-missing"


def test_what_is_of_no_use_is_left_out_and_said(root: Path, context: Context, recording: Path, tmp_path: Path) -> None:
    silent = write(tmp_path / "silent.wav", Audio.silence(1, 48000, 24000))
    text = tmp_path / "notes.txt"
    text.write_text("la la la")
    voice, findings = library.add(root, "nova", [silent, recording, text, recording], "self", context)
    assert len(voice.manifest.recordings) == 1
    said = {(finding.recording, finding.code) for finding in findings}
    assert {("silent.wav", "silent"), ("notes.txt", "unreadable"), ("First Take.wav", "duplicate")} <= said


def test_a_voice_without_usable_recordings_is_refused(root: Path, context: Context, tmp_path: Path) -> None:
    noise = Audio.of(np.random.default_rng(0).standard_normal(240000) * 0.1, 24000)
    for sound in (Audio.silence(1, 240000, 24000), noise, take(3)):
        with pytest.raises(UnderstudyError) as refused:
            library.add(root, "nova", [write(tmp_path / "a.wav", sound)], "self", context)
        assert refused.value.code == "voice-not-usable"
    assert library.list_voices(root) == []
    assert leftovers(root) == []


@pytest.mark.parametrize(
    ("files", "consent", "code"),
    [([], "self", "no-recordings"), (["missing.wav"], "self", "file-not-found"), (["."], "self", "file-not-found")],
)
def test_bad_requests_are_refused_at_once(
    root: Path, context: Context, files: list[str], consent: str, code: str
) -> None:
    with pytest.raises(UnderstudyError) as refused:
        library.add(root, "nova", [Path(file) for file in files], consent, context)  # type: ignore[arg-type]
    assert refused.value.code == code
    assert not root.exists()


def test_consent_is_required(root: Path, context: Context, recording: Path) -> None:
    with pytest.raises(UnderstudyError) as refused:
        library.add(root, "nova", [recording], "maybe", context)  # type: ignore[arg-type]
    assert refused.value.code == "consent-missing"


def test_cancelling_leaves_nothing(root: Path, context: Context, recording: Path) -> None:
    def stop(fraction: float) -> None:
        if fraction > 0.3:
            context.cancelled.set()

    with pytest.raises(Cancelled):
        library.add(
            root, "nova", [recording], "self", Context(context.folder, on_progress=stop, cancelled=context.cancelled)
        )
    assert names(root) == []
    assert leftovers(root) == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_library_that_cannot_be_written(root: Path, context: Context, recording: Path) -> None:
    root.mkdir()
    root.chmod(0o555)
    with pytest.raises(UnderstudyError) as refused:
        library.add(root, "nova", [recording], "self", context)
    assert refused.value.code == "library-not-writable"


def test_a_library_below_a_file_cannot_be_written(tmp_path: Path, context: Context, recording: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnderstudyError) as refused:
        library.add(tmp_path / "file" / "library", "nova", [recording], "self", context)
    assert refused.value.code == "library-not-writable"
    assert library.list_voices(tmp_path / "file" / "library") == []


def test_old_work_in_progress_is_swept_up_and_new_is_not(root: Path, context: Context, recording: Path) -> None:
    for name, age in ((".adding-old", 3 * 24 * 3600), (".adding-new", 60)):
        (root / name).mkdir(parents=True)
        os.utime(root / name, (time.time() - age,) * 2)
    library.add(root, "nova", [recording], "self", context)
    assert leftovers(root) == [".adding-new"]


def test_check_reports_each_recording(root: Path, context: Context, recording: Path) -> None:
    library.add(root, "nova", [recording], "self", context)
    reports, findings = library.check(root, "nova", context)
    assert [report.recording for report in reports] == ["First Take.wav"]
    assert reports[0].findings == ()
    assert [finding.code for finding in findings if finding.code == "short"] == ["short"]


def _settle_again_and_again(root: Path, worker: int, times: int, outcomes: Queue[str]) -> None:
    """Replace the voice `nova` by ever new recordings, which needn't be sound for this."""
    for turn in range(times):
        with library.building(root) as folder:
            (folder / "recordings").mkdir()
            listed = []
            for number in range(1, 4):
                data = f"{worker} {turn} {number}".encode() * 1000
                digest = hashlib.sha256(data).hexdigest()
                listed.append(
                    Recording(file=f"{number:03d}-a-{digest[:8]}.flac", source="a", duration=1, sha256=digest)
                )
                (folder / "recordings" / listed[-1].file).write_bytes(data)
            manifest = Manifest(
                name="nova",
                engine="instant",
                sample_rate=24000,
                pitch_range=None,
                recordings=tuple(listed),
                consent="self",
                created=datetime.now(UTC),
                content_hash=content_hash("instant", 24000, None, tuple(listed)),
            )
            library.settle(root, folder, manifest, replace=True)
        outcomes.put("settled")


@pytest.mark.slow
def test_processes_that_replace_at_once_always_leave_one_whole_voice(root: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    outcomes: Queue[str] = spawn.Queue()
    workers = [spawn.Process(target=_settle_again_and_again, args=(root, worker, 25, outcomes)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(50):
        assert outcomes.get(timeout=HANGS) == "settled"
        library.load(root, "nova")  # whole at any moment
    for worker in workers:
        worker.join()
    voice = library.load(root, "nova")
    assert len(list((voice.folder / "recordings").iterdir())) == 3
    assert leftovers(root) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_a_killed_process_never_leaves_a_broken_voice(root: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    for turn in range(2):
        outcomes: Queue[str] = spawn.Queue()
        worker = spawn.Process(target=_settle_again_and_again, args=(root, turn, 10_000, outcomes))
        worker.start()
        for _ in range(20 + turn):
            outcomes.get(timeout=HANGS)
        worker.kill()
        worker.join()
        library.load(root, "nova")
        assert names(root) == ["nova"]
    _settle_again_and_again(root, 9, 1, spawn.Queue())  # the dead one may hold the lock of its queue for ever
    assert len(list((library.load(root, "nova").folder / "recordings").iterdir())) == 3  # what the dead left is gone


def test_of_two_that_add_at_once_one_is_told(root: Path, context: Context, recording: Path) -> None:
    def outcome() -> str:
        try:
            library.add(root, "nova", [recording], "self", context)
        except UnderstudyError as error:
            return error.code
        return "added"

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(future.result() for future in [pool.submit(outcome), pool.submit(outcome)])
    assert outcomes == ["added", "voice-exists"]
    library.load(root, "nova")
