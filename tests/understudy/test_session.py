"""The Python API as its users meet it."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import understudy as us
from tests.support.command import HANGS
from tests.support.python_user import RATE, Workspace
from understudy.audio.files import probe
from understudy.audio.tags import read_tags
from understudy.models.warm import warm
from understudy.pipeline.executor import LocalExecutor
from understudy.pipeline.provenance.manifest import unsigned_hash
from understudy.pipeline.report.png import encode_png


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_cover_of_a_file(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = workspace.session().cover(workspace.folder / "song.wav", voice="nova")
    assert result.path == Path("covers/song (nova).flac")
    assert result.report_path == Path("covers/song (nova).flac.report.html")
    samples, rate = soundfile.read(result.path, always_2d=True)
    assert (rate, len(samples)) == (result.sample_rate, result.audio.frames) == (RATE, workspace.mix.frames)
    assert np.abs(samples.T - np.asarray(result.audio)).max() < 1e-5
    assert result.duration == pytest.approx(4.0)
    assert result.loudness.cover == pytest.approx(result.loudness.song, abs=0.5)
    assert result.loudness.true_peak <= -1
    assert result.verdict.overall in ("good", "mind", "wrong")
    assert result.transpose % 12 == 0
    assert result.transpose_reason
    assert {stage.name for stage in result.stages} >= {"decode", "separate", "convert", "remix", "report"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.key = 1  # type: ignore[misc]


@pytest.mark.slow
def test_arrays_in_arrays_out_and_no_files(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    session = workspace.session()
    song = (workspace.mix.samples.astype(np.float64), RATE)
    cover = session.cover(song, voice="nova", settings={"output.keep_stems": True})
    stems = {name: np.asarray(stem) for name, stem in cover.stems.items()}
    assert set(stems) == {"vocals", "instrumental"}
    assert all(stem.shape == workspace.mix.samples.shape for stem in stems.values())
    assert all(stem.dtype == np.float32 for stem in stems.values())
    assert np.abs(sum(stems.values()) - np.asarray(cover.audio)).max() < 1e-6
    assert cover.stem_gain is not None
    turned = sum(soundfile.read(stem.path)[0].T for stem in cover.stems.values()) * 10 ** (-cover.stem_gain / 20)
    assert np.abs(turned - np.asarray(cover.audio)).max() < 1e-6
    assert cover.path.is_file()
    assert cover.report_path.read_text().startswith("<!")
    assert cover.path.is_relative_to(workspace.folder / "cache")
    assert files(tmp_path) == set()
    again = session.cover(us.Audio(workspace.mix.samples, RATE), voice="nova")
    assert all(stage.cached for stage in again.stages), "the same samples are known again"
    written = session.cover(song, voice="nova", output="mine.wav")
    assert files(tmp_path) == {"mine.wav", "mine.wav.report.html", "mine.wav.report.json"}
    assert written.path == Path("mine.wav")
    assert np.array_equal(np.asarray(written.audio), np.asarray(again.audio))


@pytest.mark.slow
def test_a_cover_is_tagged_as_the_settings_say(workspace: Workspace, tmp_path: Path):
    artwork = encode_png(np.zeros((8, 8), np.uint8), np.full((1, 3), 200, np.uint8))
    (tmp_path / "front.png").write_bytes(artwork)
    settings = {"tags.song_title": "1999", "tags.song_artist": "Band", "tags.artwork": str(tmp_path / "front.png")}
    plain = workspace.session().cover(workspace.folder / "song.wav", voice="nova", output=tmp_path / "plain.flac")
    found = read_tags(plain.path)
    assert (found.title, found.artist, found.artwork) == ("song (nova cover)", "nova", b"")
    given = workspace.session().cover(
        workspace.folder / "song.wav", voice="nova", settings=settings, output=tmp_path / "given.mp3"
    )
    assert {stage.name for stage in given.stages if not stage.cached} == {"encode", "sign"}
    found = read_tags(given.path)
    assert (found.title, found.album_artist, found.composer) == ("1999 (nova cover)", "nova (AI cover)", "Band")
    assert found.artwork == artwork
    with pytest.raises(us.UnderstudyError, match="no JPEG or PNG"):
        workspace.session().cover(
            workspace.folder / "song.wav", voice="nova", settings={"tags.artwork": str(workspace.folder / "song.wav")}
        )


@pytest.mark.slow
def test_a_video_beside_the_cover(workspace: Workspace, tmp_path: Path):
    session, song = workspace.session(), workspace.folder / "song.wav"
    made = session.cover(song, voice="nova", settings={"output.video": "portrait"}, output=tmp_path / "a.flac")
    assert made.video_path == tmp_path / "a portrait.mp4"
    assert made.to_dict()["video"] == str(made.video_path)
    found = probe(made.video_path)
    assert (found.codec, found.duration, found.tags.artist) == ("aac", pytest.approx(4.0), "nova")
    again = session.cover(song, voice="nova", settings={"output.video": "landscape"}, output=tmp_path / "a.flac")
    assert {stage.name for stage in again.stages if not stage.cached} == {"video", "sign video"}
    videos = {"a portrait.mp4", "a landscape.mp4"}
    assert files(tmp_path) == {"a.flac", "a.flac.report.html", "a.flac.report.json"} | videos
    assert session.cover(song, voice="nova").video_path is None


def test_separation_and_conversion_in_a_chain(workspace: Workspace):
    session = workspace.session()
    separated = session.separate((workspace.mix.samples, RATE))
    vocals, instrumental = separated.stems["vocals"], separated.stems["instrumental"]
    assert separated.sum_to_song
    assert np.abs(np.asarray(vocals) + np.asarray(instrumental) - workspace.mix.samples).max() < 1e-5
    assert (vocals.rate, vocals.channels, vocals.frames) == (RATE, 2, workspace.mix.frames)
    assert np.array_equal(vocals.read(100, 200), np.asarray(vocals)[:, 100:200])
    assert not vocals.read(vocals.frames, vocals.frames + 10).any()
    converted = session.convert(vocals, voice="nova")
    assert converted.audio.frames == vocals.frames
    mixed = session.cover(voice="nova", vocals=vocals, instrumental=instrumental)
    assert mixed.audio.frames == vocals.frames
    with pytest.raises(us.UnderstudyError, match="no song"):
        session.cover(voice="nova", vocals=vocals)


def test_the_stems_of_a_loud_song_sum_to_it_with_the_gain_that_is_said(workspace: Workspace, tmp_path: Path):
    loud = (workspace.mix.samples * 3 / np.abs(workspace.mix.samples).max()).astype(np.float32)
    soundfile.write(tmp_path / "loud.wav", loud.T, RATE, subtype="FLOAT")
    session = workspace.session()
    result = session.separate(tmp_path / "loud.wav", output=tmp_path / "stems")
    gain = result.stem_gain
    assert gain is not None
    assert gain < -3
    assert result.to_dict()["stem_gain"] == gain
    assert any(f"{-gain:.2f} dB quieter" in warning.warning for warning in result.warnings)
    written = {stem: soundfile.read(tmp_path / "stems" / f"{stem}.flac")[0].T for stem in result.stems}
    left = sum(written.values()) * 10 ** (-gain / 20) - loud
    assert 10 * np.log10(np.mean(np.square(left)) / np.mean(np.square(loud))) < -60
    for stem in written:
        assert f"gain {gain:.3f} dB" in read_tags(tmp_path / "stems" / f"{stem}.flac").comment
    whole = session.separate(tmp_path / "loud.wav", output=tmp_path / "float", settings={"output.format": "wav32f"})
    assert whole.stem_gain == 0
    assert "gain" not in read_tags(tmp_path / "float" / "vocals.wav").comment


def test_separation_of_a_file(workspace: Workspace, tmp_path: Path):
    result = workspace.session().separate(
        workspace.folder / "song.wav", stems=2, mix={"vocals": -6.0}, karaoke=True, midi=["vocals"], output=tmp_path
    )
    assert files(tmp_path) == {"vocals.flac", "instrumental.flac", "mix.flac", "karaoke.flac", "vocals.mid"}
    assert result.mix is not None
    assert result.karaoke is not None
    assert result.mix.path == tmp_path / "mix.flac"
    assert result.midi == {"vocals": tmp_path / "vocals.mid"}
    expected = workspace.mix.samples - 0.5 * np.asarray(result.stems["vocals"])
    quiet = np.asarray(result.mix)
    assert np.corrcoef(quiet.ravel(), expected.ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"stems": 3}, "stems-invalid"),
        ({"stems": ["vocals", "kazoo"]}, "stems-invalid"),
        ({"stems": 4}, "stem-unavailable"),
        ({"mix": {"kazoo": -3}}, "mix-invalid"),
        ({"mix": {"vocals": 99}}, "mix-invalid"),
        ({"karaoke": True, "guide": float("nan")}, "mix-invalid"),
        ({"midi": "kazoo"}, "stems-invalid"),
        ({"stem_file": "stem.wav"}, "unknown-format"),
    ],
)
def test_what_no_separation_can_give(workspace: Workspace, wanted: dict[str, Any], code: str):
    with pytest.raises(us.UnderstudyError) as caught:
        workspace.session().separate((workspace.mix.samples, RATE), **wanted)
    assert caught.value.code == code


@pytest.mark.slow
def test_several_voices(workspace: Workspace):
    result = workspace.session().cover(
        (workspace.mix.samples, RATE), voice="0:00-0:02=nova,0:02-=ada", transposes={"ada": -12}
    )
    assert [(part.voice, part.part, part.turns) for part in result.voices] == [
        ("nova", "lead", ((0.0, pytest.approx(2.0, abs=0.3)),)),
        ("ada", "lead", ((pytest.approx(2.0, abs=0.3), 4.0),)),
    ]
    assert result.voices[1].transpose == -12


def test_settings_are_typed(workspace: Workspace, tmp_path: Path):
    settings = us.load_settings("embedded", {"remix.vocal_gain": 2})
    assert isinstance(settings, us.Settings)
    assert settings.remix.vocal_gain == 2.0
    assert "balanced" in us.presets()
    with pytest.raises(us.UnderstudyError) as caught:
        us.load_settings("embedded", {"remix.vocal_gian": 2})
    assert caught.value.code == "setting-unknown"
    session, song = workspace.session(), (workspace.mix.samples, RATE)
    plain = session.cover(song, voice="nova", settings="embedded")
    louder = session.cover(song, voice="nova", settings=settings)
    assert {stage.name for stage in louder.stages if not stage.cached} <= {"remix", "encode", "sign", "report"}
    assert plain.loudness.details != louder.loudness.details
    # an extension names the format, unless the settings name a form of it
    short = us.load_settings(None, {"song.duration": 1.0, "output.format": "wav16"})
    session.convert(song, voice="nova", settings=short, output=tmp_path / "a.wav")
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    assert session.convert(song, voice="nova", settings=short, output=tmp_path / "a.mp3").path.suffix == ".mp3"
    assert soundfile.info(tmp_path / "a.mp3").format == "MP3"


@pytest.mark.parametrize(
    ("song", "code"),
    [
        ((np.zeros((2, 44100), np.int16), 44100), "array-invalid"),
        ((np.zeros((2, 2, 100), np.float32), 44100), "array-invalid"),
        (([["a"]], 44100), "array-invalid"),
        (np.zeros((2, 44100), np.float32), "array-invalid"),
        ((np.zeros((2, 44100), np.float32), "44100"), "array-invalid"),
        ((np.zeros((44100, 2), np.float32), 44100), "too-many-channels"),
        ((np.zeros((2, 44100), np.float32), 0), "unsupported-rate"),
        ((np.zeros((2, 44100), np.float32), 44100.5), "unsupported-rate"),
        ((np.zeros((2, 0), np.float32), 44100), "song-empty"),
        ((np.full((2, 44100), np.nan, np.float32), 44100), "samples-not-finite"),
        ((np.full((2, 44100), 1e300), 44100), "samples-not-finite"),
        ((np.full((2, 44100), 20000.0, np.float32), 44100), "samples-out-of-range"),
        ((np.zeros((2, 44100), np.float32), 44100), "song-silent"),
        ((np.broadcast_to(np.float32(0), (1, 3 * 3600 * 8000)), 8000), "song-too-long"),
    ],
)
def test_arrays_that_are_no_song(workspace: Workspace, song: us.Audio, code: str):
    with pytest.raises(us.UnderstudyError) as caught:
        workspace.session().separate(song)
    assert caught.value.code == code


def test_audio_is_checked_when_it_is_made():
    with pytest.raises(us.UnderstudyError) as caught:
        us.Audio(np.zeros((2, 100), np.int16), 44100)
    assert (caught.value.code, isinstance(caught.value, ValueError)) == ("array-invalid", True)
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def test_voices(workspace: Workspace, tmp_path: Path):
    voices = us.VoiceLibrary(tmp_path / "library")
    assert voices.list() == []
    recording, rate = soundfile.read(workspace.folder / "recording.wav", dtype="float32")
    fractions: list[float] = []
    added = voices.add("nova", [(recording, rate)], consent="self", progress=fractions.append)
    assert fractions == sorted(fractions)
    assert added.voice.name == "nova"
    assert all(isinstance(finding, us.Finding) for finding in added.findings)
    assert [voice.name for voice in voices.list()] == ["nova"]
    assert voices.get("nova").manifest == added.voice.manifest
    archive = voices.export("nova", tmp_path / "nova.zip")
    assert voices.import_(archive, "vega").voice.manifest.content_hash == added.voice.manifest.content_hash
    assert voices.rename("vega", "lyra").name == "lyra"
    assert isinstance(voices.check("lyra"), tuple)
    voices.remove("lyra")
    for call, code in (
        (lambda: voices.get("lyra"), "voice-unknown"),
        (lambda: voices.add("nova", [(recording, rate)], consent="self"), "voice-exists"),
        (lambda: voices.add("x", [(recording, rate)], consent="yes"), "consent-missing"),  # type: ignore[arg-type]
        (lambda: voices.import_(workspace.folder / "recording.wav", consent=None), "consent-missing"),
    ):
        with pytest.raises(us.UnderstudyError) as caught:
            call()
        assert caught.value.code == code
    stop = threading.Event()
    stop.set()
    with pytest.raises(us.Cancelled):
        voices.add("y", [(recording, rate)], consent="self", cancel=stop)


def test_a_revoked_voice_leaves_nothing_and_sings_no_more(workspace: Workspace, tmp_path: Path):
    session = us.Session(voices=tmp_path / "library", cache=tmp_path / "cache")
    voice = session.voices.add("nova", [workspace.folder / "recording.wav"], consent="self").voice
    song = (workspace.mix.samples, RATE)
    short = {"song.duration": 1.0, "output.format": "wav16"}
    session.convert(song, voice="nova", settings=short, output=tmp_path / "nova.wav")
    made = verify_manifest(tmp_path / "nova.wav")["voices"]
    assert made[0]["consent_level"] == "stated"
    assert made[0]["consent_record"] == voice.manifest.consent_record.record  # type: ignore[union-attr]
    before = {
        json.loads(path.read_text())["stage"] for path in (tmp_path / "cache" / "artifacts").rglob("artifact.json")
    }
    assert {"decode", "prepare instant", "convert instant", "encode", "sign"} <= before
    assert session.voices.revoke("nova", cache=tmp_path / "cache") == ("nova",)
    after = {
        json.loads(path.read_text())["stage"] for path in (tmp_path / "cache" / "artifacts").rglob("artifact.json")
    }
    assert after == {"decode", "ingredient", "pitch"}
    for singer in ("nova", voice):
        with pytest.raises(us.UnderstudyError) as caught:
            session.convert(song, voice=singer, settings=short)
        assert caught.value.code == "consent-revoked"


def verify_manifest(file: Path) -> dict[str, Any]:
    from understudy.pipeline.provenance.manifest import MAKING, manifest_store

    store = manifest_store(file)
    assert store is not None
    assertions = store["manifests"][store["active_manifest"]]["assertions"]
    return next(one["data"] for one in assertions if one["label"] == MAKING)


@pytest.mark.slow
def test_evaluation(workspace: Workspace, tmp_path: Path):
    for name, sound in (("mixture", workspace.mix), ("vocals", workspace.sounds.vocals)):
        (tmp_path / "songs" / "one").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "songs" / "one" / f"{name}.wav", sound.samples.T, RATE, subtype="FLOAT")
    instrumental = workspace.sounds.instrumental.samples
    soundfile.write(tmp_path / "songs" / "one" / "instrumental.wav", instrumental.T, RATE, subtype="FLOAT")
    us.register_separator("half", lambda samples, rate: {"vocals": samples / 2})
    session, events = workspace.session(), list[us.ProgressEvent]()

    def evaluate(*models: str) -> us.EvaluationResult:
        return session.evaluate(tmp_path / "songs", models=models, output=tmp_path / "out", progress=events.append)

    result = evaluate("half", "embedded")
    assert [(row.candidate, row.song, row.state) for row in result.rows] == [
        ("half", "one", "done"),
        ("embedded", "one", "done"),
    ]
    figures = {row.candidate: row.stems["vocals"].sdr for row in result.rows}
    truth, guess = workspace.sounds.vocals.samples, workspace.mix.samples / 2
    expected = 10 * np.log10(np.sum(truth.astype(float) ** 2) / np.sum((truth - guess).astype(float) ** 2))
    assert figures["half"] == pytest.approx(expected, abs=0.05)
    assert (events[-1].item, events[-1].total) == ("one (embedded)", 1.0)
    assert result.files["csv"].is_file()
    again = evaluate("half")
    assert (again.kept, [row.candidate for row in again.others]) == (1, ["embedded"])
    assert again.to_dict()["format"] == "understudy-evaluation"
    with pytest.raises(us.UnderstudyError) as caught:
        evaluate("no such model")
    assert caught.value.code == "separator-unknown"


def test_progress_counts_to_one(workspace: Workspace, tmp_path: Path):
    events: list[us.ProgressEvent] = []
    inside = threading.Lock()

    def listen(event: us.ProgressEvent) -> None:
        assert inside.acquire(blocking=False), "one call at a time"
        events.append(event)
        inside.release()

    session = workspace.session(tmp_path)
    session.separate((workspace.mix.samples, RATE), progress=listen)
    totals = [event.total for event in events]
    assert totals == sorted(totals)
    assert totals[-1] == pytest.approx(1.0)
    assert {event.state for event in events} == {"started", "progress", "finished"}
    events.clear()
    session.separate((workspace.mix.samples, RATE), progress=listen)
    assert {event.state for event in events} == {"cached"}
    assert events[-1].total == pytest.approx(1.0)


def test_another_thread_cancels(workspace: Workspace, tmp_path: Path):
    cancel, reached = threading.Event(), threading.Event()
    after: list[us.ProgressEvent] = []

    def listen(event: us.ProgressEvent) -> None:
        if event.stage == "separate" and event.state == "progress" and not cancel.is_set():
            reached.set()
            assert cancel.wait(HANGS)
        elif cancel.is_set():
            after.append(event)

    def other() -> None:
        assert reached.wait(HANGS)
        cancel.set()

    session = workspace.session(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(other)
        with pytest.raises(us.Cancelled):
            session.separate((workspace.mix.samples, RATE), progress=listen, cancel=cancel)
    # the stage doesn't finish, and none that needs it begins; "tempo" runs beside it
    assert not [event for event in after if event.stage != "tempo" and event.state != "progress"]
    assert len(after) <= 10, "it ends at its next report of progress"
    assert session.separate((workspace.mix.samples, RATE)).sum_to_song, "the session goes on"


def test_an_exception_of_the_callback_ends_the_call(workspace: Workspace, tmp_path: Path):
    class Mine(RuntimeError):
        pass

    calls = 0

    def fail(event: us.ProgressEvent) -> None:
        nonlocal calls
        if event.stage == "separate" and event.state == "progress":
            calls += 1
            raise Mine("stop")

    session = workspace.session(tmp_path)
    with pytest.raises(Mine):
        session.cover((workspace.mix.samples, RATE), voice="nova", progress=fail)
    assert calls == 1
    assert not list((tmp_path / "making").iterdir())
    assert session.separate((workspace.mix.samples, RATE)).sum_to_song


@pytest.mark.slow
def test_four_threads_share_one_session(workspace: Workspace, tmp_path: Path):
    session = workspace.session(tmp_path)
    songs = [(np.roll(workspace.mix.samples, shift * 997, axis=1), RATE) for shift in range(4)]
    settings = us.load_settings("embedded", {"song.duration": 2.0})
    with ThreadPoolExecutor(4) as pool:
        covers = list(pool.map(lambda song: session.cover(song, voice="nova", settings=settings), songs))
    assert len({cover.path for cover in covers}) == 4
    alone = workspace.session(tmp_path / "alone").cover(songs[2], voice="nova", settings=settings)
    assert unsigned_hash(alone.path) == unsigned_hash(covers[2].path) is not None


def test_sessions_of_the_same_settings_share_executor_and_models(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    made: list[LocalExecutor] = []
    original = LocalExecutor.__init__

    def counted(self: LocalExecutor, *arguments: object, **more: object) -> None:
        made.append(self)
        original(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalExecutor, "__init__", counted)
    song = (workspace.mix.samples, RATE)
    for _ in range(2):
        workspace.session(workspace.folder / "other cache").separate(song)
    assert len(made) == 1
    assert warm("nothing but a test", lambda: made) is warm("nothing but a test", list)


def test_module_functions_use_the_folders_of_the_environment(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("UNDERSTUDY_VOICES", str(workspace.folder / "voices"))
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(workspace.folder / "cache"))
    assert {voice.name for voice in us.VoiceLibrary().list()} == {"nova", "ada"}
    result = us.separate((workspace.mix.samples, RATE))
    assert result.stems["vocals"].path.is_relative_to(workspace.folder / "cache")


def test_an_emptied_cache_is_said(workspace: Workspace, tmp_path: Path):
    session = workspace.session(tmp_path)
    vocals = session.separate((workspace.mix.samples, RATE)).stems["vocals"]
    for path in tmp_path.rglob("*.npy"):
        path.unlink()
    with pytest.raises(us.UnderstudyError) as caught:
        np.asarray(vocals)
    assert caught.value.code == "artifact-unreadable"


@pytest.mark.slow
def test_a_deleted_cache_is_made_anew(workspace: Workspace, tmp_path: Path):
    session = workspace.session(tmp_path / "cache")
    session.separate((workspace.mix.samples, RATE))
    shutil.rmtree(tmp_path / "cache")
    assert session.separate((workspace.mix.samples, RATE)).sum_to_song


def test_pydub(workspace: Workspace):
    pytest.importorskip("pydub")
    vocals = workspace.session().separate((workspace.mix.samples, RATE)).stems["vocals"]
    segment = vocals.to_audiosegment()
    assert (segment.frame_rate, segment.channels) == (RATE, 2)
    back = us.from_audiosegment(segment)
    assert np.abs(back.samples - np.asarray(vocals)).max() < 2**-23


@pytest.mark.slow
def test_the_bytes_are_those_of_the_command_line(workspace: Workspace, tmp_path: Path):
    """Also in a program that imported NumPy first, whose BLAS had more threads then."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {"UNDERSTUDY_VOICES": str(workspace.folder / "voices"), "UNDERSTUDY_CACHE": str(tmp_path / "one")}
    song = str(workspace.folder / "song.wav")
    command = [sys.executable, "-m", "understudy", "cover", song, "--voice", "nova", "--duration", "2", "-o", "a.wav"]
    subprocess.run([*command, "--json"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    program = (
        "import numpy, scipy.linalg, sys, understudy as us\n"
        "us.cover(sys.argv[1], voice='nova', output='b.wav', settings={'song.duration': 2.0})\n"
    )
    environment["UNDERSTUDY_CACHE"] = str(tmp_path / "two")
    done = subprocess.run(
        [sys.executable, "-c", program, song], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert unsigned_hash(tmp_path / "a.wav") == unsigned_hash(tmp_path / "b.wav") is not None


def test_importing_is_free_of_side_effects_and_fast():
    program = (
        "import signal, sys\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "import understudy as us\n"
        "assert signal.getsignal(signal.SIGINT) is before\n"
        "print([name for name in ('numpy', 'torch', 'scipy', 'pydantic', 'typer', 'av') if name in sys.modules])\n"
        "print(sorted(set(us.__all__) - set(dir(us))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n[]\n"
    assert done.stderr == ""


def test_every_public_name_is_there_and_documented():
    reference = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()
    methods = ("cover", "separate", "convert", "evaluate")
    for name in us.__all__:
        value = getattr(us, name)
        if isinstance(value, type) or hasattr(value, "__code__") or name in methods:
            assert value.__doc__, name
        assert f"::: understudy.{name}\n" in reference or f"`us.{name}`" in reference or name == "__version__"
    assert all(getattr(us, name).__func__ is getattr(us.Session, name) for name in methods)
    assert not hasattr(us, "no_such_name")
