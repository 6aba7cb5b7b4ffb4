"""The command line as a user meets it: real processes, real files."""

import json
import os
import resource
import signal
from functools import partial
from pathlib import Path
from subprocess import Popen

import numpy as np
import pyloudnorm
import pytest
import soundfile
import soxr

from tests.support.command import HANGS, Workspace, until
from understudy.audio.tags import made_by_understudy
from understudy.pipeline.provenance.manifest import unsigned_hash
from understudy.pipeline.provenance.verification import read_manifest


def read(path: Path) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(path, always_2d=True)
    return samples, rate


def visible(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not {"cache", ".seen"} & {*path.parts}
    }


def true_peak(samples: np.ndarray, rate: int) -> float:
    """dBTP by 8-fold oversampling with soxr."""
    return float(20 * np.log10(np.abs(soxr.resample(samples, rate, 8 * rate, quality="VHQ")).max()))


def test_a_cover_and_its_promises(shared_workspace: Workspace):
    made = shared_workspace.json("cover", "song.wav", "--voice", "nova", "--keep-stems")
    cover = shared_workspace.folder / made["cover"]
    assert made["cover"] == str(Path("covers") / "song (nova).flac")
    samples, rate = read(cover)
    song, song_rate = read(shared_workspace.folder / "song.wav")
    assert (samples.shape, rate) == (song.shape, song_rate)
    assert made["duration"] == pytest.approx(len(song) / rate)
    assert made["sample_rate"] == rate
    meter = pyloudnorm.Meter(rate)
    assert meter.integrated_loudness(samples) == pytest.approx(meter.integrated_loudness(song), abs=0.3)
    assert made["loudness"]["cover"] == pytest.approx(meter.integrated_loudness(samples), abs=0.1)
    assert true_peak(samples, rate) <= -1.0
    stems = [read(shared_workspace.folder / path)[0] for path in made["stems"].values()]
    assert set(made["stems"]) == {"vocals", "instrumental"}
    assert np.abs(sum(stems) - samples).max() < 1e-5
    assert {stage["name"] for stage in made["stages"]} >= {"decode", "separate", "pitch", "convert", "remix", "report"}
    assert isinstance(made["transpose"], float | int)
    assert made["key"] == 0
    assert made_by_understudy(cover)
    report = shared_workspace.folder / made["report"]
    assert report.suffix == ".html"
    assert json.loads(report.with_suffix(".json").read_text())


@pytest.mark.slow
def test_what_was_made_once_is_not_made_again(workspace: Workspace):
    first = workspace.json("cover", "song.wav", "--voice", "nova")
    again = workspace.json("cover", "song.wav", "--voice", "nova")
    assert again["cover"] == first["cover"]
    assert all(stage["cached"] for stage in again["stages"])
    louder = workspace.json("cover", "song.wav", "--voice", "nova", "--vocal-gain", "3")
    assert {stage["name"] for stage in louder["stages"] if not stage["cached"]} == {"remix", "encode", "sign", "report"}
    assert louder["cover"].endswith("song (nova, vocal +3 dB).flac"), "the name says what differs"
    other = workspace.json("cover", "song.wav", "--voice", "nova", "--format", "mp3")
    assert {stage["name"] for stage in other["stages"] if not stage["cached"]} == {"encode", "sign"}


@pytest.mark.slow
def test_a_replaced_voice_is_another_voice(workspace: Workspace):
    os.unlink(workspace.folder / "voices")
    workspace.json("voices", "add", "nova", "recording.wav", "--consent", "self")
    workspace.json("cover", "song.wav", "--voice", "nova", "--duration", "3")
    samples, rate = read(workspace.folder / "recording.wav")
    soundfile.write(workspace.folder / "lower.wav", samples, round(rate * 0.8), subtype="PCM_16")
    workspace.json("voices", "add", "nova", "lower.wav", "--consent", "self", "--replace")
    again = workspace.json("cover", "song.wav", "--voice", "nova", "--duration", "3")
    cached = {stage["name"]: stage["cached"] for stage in again["stages"]}
    assert cached["separate"]
    assert not cached["convert"]


@pytest.mark.slow
def test_own_stems_skip_the_separation(workspace: Workspace):
    own = ("--vocals", "vocals.wav", "--instrumental", "instrumental.wav")
    both = workspace.json("cover", *own, "--voice", "nova", "--set", "provenance.watermark=false")
    assert not any(stage["name"] == "separate" and stage["seconds"] > 5 for stage in both["stages"])
    cover, rate = read(workspace.folder / both["cover"])
    song, _ = read(workspace.folder / "song.wav")
    assert cover.shape == song.shape
    # before the vocal begins the cover is the user's own instrumental
    instrumental, _ = read(workspace.folder / "instrumental.wav")
    quiet = slice(0, int(0.8 * rate))
    gain = np.vdot(cover[quiet], instrumental[quiet]) / np.vdot(instrumental[quiet], instrumental[quiet])
    residual = cover[quiet] - gain * instrumental[quiet]
    assert 10 * np.log10(np.mean(residual**2) / np.mean(instrumental[quiet] ** 2)) < -60
    one = workspace.json("cover", "song.wav", "--vocals", "vocals.wav", "--voice", "nova")
    assert read(workspace.folder / one["cover"])[0].shape == song.shape


@pytest.mark.slow
def test_a_preview_is_as_long_as_asked(workspace: Workspace):
    made = workspace.json(
        "cover", "song.wav", "--voice", "nova", "--start", "1.5", "--duration", "2.5", "-o", "short.wav"
    )
    samples, rate = read(workspace.folder / "short.wav")
    assert len(samples) == round(2.5 * rate)
    assert made["cover"] == "short.wav"


def test_a_run_can_end_at_any_stage(workspace: Workspace):
    until = ("cover", "song.wav", "--voice", "nova", "--duration", "2", "--until")
    made = workspace.json(*until, "separate")["made"]
    stems = [read(workspace.folder / made[name])[0] for name in ("vocals", "instrumental")]
    song = read(workspace.folder / "song.wav")[0][: len(stems[0])]
    assert np.abs(sum(stems) - song).max() < 1e-5
    pitch = workspace.json(*until, "pitch")["made"]["pitch"]
    assert (workspace.folder / pitch).read_text().startswith("seconds,hertz\n0.000,")
    chosen = workspace.json(*until, "transpose")["made"]
    assert chosen["transpose"]["semitones"] % 12 == 0
    # what the voice sings is marked, what was in the song is not
    sung = workspace.folder / workspace.json(*until, "convert")["made"]["convert"]
    assert sung.name == "convert.wav"
    assert read_manifest(sung).generated
    assert read_manifest(sung).valid
    assert made_by_understudy(sung)
    assert not read_manifest(workspace.folder / made["vocals"]).present


@pytest.mark.slow
def test_key_moves_the_whole_song(workspace: Workspace):
    made = workspace.json("cover", "song.wav", "--voice", "nova", "--key", "2", "--duration", "3")
    assert made["key"] == 2
    assert made["transpose"] % 12 == 2
    assert "shift" in {stage["name"] for stage in made["stages"]}


@pytest.mark.slow
def test_separate_gives_stems_that_sum_to_the_song(workspace: Workspace):
    made = workspace.json("separate", "song.wav", "--format", "wav32f")
    stems = [read(workspace.folder / path)[0] for path in made["stems"].values()]
    song, _ = read(workspace.folder / "song.wav")
    residual = sum(stems) - song
    assert 10 * np.log10(np.mean(residual**2) / np.mean(song**2)) < -60


@pytest.mark.slow
def test_convert_gives_a_vocal_alone(workspace: Workspace):
    made = workspace.json("convert", "vocals.wav", "--voice", "nova")
    samples, _ = read(workspace.folder / made["output"])
    assert len(samples) == len(read(workspace.folder / "vocals.wav")[0])
    assert {"output", "transpose"} <= made.keys()


@pytest.mark.slow
def test_graph_knows_what_is_cached(workspace: Workspace):
    def cached() -> set[str]:
        nodes = workspace.json("graph", "song.wav", "--voice", "nova")["nodes"]
        return {node["name"] for node in nodes if node["cached"]}

    assert cached() == set()
    workspace.json("separate", "song.wav")
    assert cached() == {"decode", "separate", "quality", "tempo"}
    for drawing, mark in (("text", "● separate"), ("mermaid", "flowchart"), ("svg", "<svg")):
        assert mark in workspace.run("graph", "song.wav", "--voice", "nova", "--as", drawing).stdout


@pytest.mark.parametrize(
    "arguments", [["voices", "list"], ["voices", "show", "nova"], ["doctor"], ["presets"], ["cache", "show"]]
)
def test_every_command_speaks_json_and_words(workspace: Workspace, arguments: list[str]):
    assert workspace.json(*arguments)
    plain = workspace.run(*arguments)
    assert plain.returncode == 0
    assert plain.stdout.strip()


@pytest.mark.slow
def test_progress_is_on_stderr_and_quiet_is_quiet(workspace: Workspace):
    loud = workspace.run("cover", "song.wav", "--voice", "nova", "--duration", "2")
    assert "Separating" in loud.stderr
    assert "covers" in loud.stdout
    assert workspace.run("cover", "song.wav", "--voice", "nova", "--duration", "2", "--quiet").stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["cover", "gone.mp3", "--voice", "nova"], "file-not-found", "gone.mp3"),
        (["cover", "text.mp3", "--voice", "nova"], "", "text.mp3"),
        (["cover", "empty.wav", "--voice", "nova"], "", "empty.wav"),
        (["cover", "cut.wav", "--voice", "nova"], "", "cut.wav"),
        (["cover", "silent.wav", "--voice", "nova"], "song-silent", "silent.wav"),
        (["cover", "wide.wav", "--voice", "nova"], "", "wide.wav"),
        (["cover", "nan.wav", "--voice", "nova"], "", "nan.wav"),
        (["cover", "long.wav", "--voice", "nova"], "", "long.wav"),
        (["cover", ".", "--voice", "nova"], "file-is-a-folder", "."),
        (["cover", "/dev/zero", "--voice", "nova"], "file-not-found", "/dev/zero"),
        (["cover", "song.wav", "--voice", "nowa"], "", "nova"),
        (["cover", "--voice", "nova"], "song-missing", "song"),
        (["cover", "song.wav", "--voice", "nova", "--preset", "nope"], "preset-unknown", "nope"),
        (["cover", "song.wav", "--voice", "nova", "--set", "remix.nope=1"], "setting-unknown", "remix.nope"),
        (["cover", "song.wav", "--voice", "nova", "--index-rate", "7"], "setting-invalid", "index_rate"),
        (["cover", "song.wav", "--voice", "nova", "--transpose", "9999"], "setting-invalid", "transpose"),
        (["cover", "song.wav", "--voice", "nova", "--transpose", "["], "setting-invalid", "transpose"),
        (["cover", "song.wav", "--voice", "nova", "--duration", "inf"], "setting-invalid", "song.duration"),
        (["cover", "song.wav", "--voice", "nova", "--format", "tape"], "unknown-format", "tape"),
        (["cover", "song.wav", "--voice", "nova", "--model", "tape"], "separator-unknown", "tape"),
        (["cover", "song.wav", "--voice", "nova", "--until", "lunch"], "stage-unknown", "lunch"),
        (["cover", "song.wav", "--voice", "nova", "-o", "recording.wav"], "output-exists", "recording.wav"),
        (["cover", "song.wav", "--voice", "nova", "-o", "song.wav/x.flac"], "output-not-writable", "song.wav"),
        (["cover", "song.wav", "--voice", "nova", "--device", "cuda:9"], "device-unknown", "cuda:9"),
        (["cover", "song.wav", "--voice", "nova", "--vocals", "recording.wav"], "stem-length", "vocals"),
        (["voices", "add", "x", "recording.wav"], "consent-missing", "owner"),
        (["voices", "add", "x", "silent.wav", "--consent", "self"], "", "silent.wav"),
        (["voices", "add", "nova", "recording.wav", "--consent", "self"], "", "nova"),
        (["voices", "show", "nowa"], "", "nowa"),
        (["voices", "import", "text.mp3", "--consent", "self"], "", "text.mp3"),
        (["cover", "song.wav"], "usage", "--voice"),
        (["cover", "song.wav", "--voice", "nova", "--nonsense"], "usage", "--nonsense"),
    ],
)
def test_bad_input_gets_two_lines_and_leaves_nothing(workspace: Workspace, arguments: list[str], code: str, named: str):
    before = visible(workspace.folder)
    done = workspace.run(*arguments, "--json")
    lines = [line for line in done.stderr.splitlines() if line.startswith(("Error:", "Do:"))]
    assert [line.split(":")[0] for line in lines] == ["Error", "Do"], done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.returncode in (1, 2)
    assert named in " ".join(lines)
    assert visible(workspace.folder) == before
    answer = json.loads(done.stdout)["error"]
    assert answer["code"].startswith(code)
    assert answer["message"]
    assert answer["hint"]


def test_an_old_name_of_a_setting_is_noted_in_one_sentence(workspace: Workspace):
    preset = workspace.folder / "old.yaml"
    preset.write_text("separation: {band: off}")
    done = workspace.run("separate", "no-song.wav", "--preset", str(preset))
    assert done.stderr.splitlines()[0] == "Note: The setting separation.band is now called separation.instruments."
    assert "settings.py" not in done.stderr


@pytest.mark.slow
def test_what_stands_beside_a_cover_is_not_overwritten_either(workspace: Workspace):
    mine = workspace.folder / "own.flac.report.html"
    mine.write_text("my own notes")
    refused = workspace.run("cover", "song.wav", "--voice", "nova", "--duration", "2", "-o", "own.flac", "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "output-exists"
    assert not (workspace.folder / "own.flac").exists()
    (workspace.folder / "covers").mkdir()
    (workspace.folder / "covers" / "song (nova, 2 s long).flac.report.json").write_text("{}")
    for _ in range(2):
        made = workspace.json("cover", "song.wav", "--voice", "nova", "--duration", "2")
        assert made["cover"].endswith("song (nova, 2 s long) 2.flac")
    assert (workspace.folder / "covers" / "song (nova, 2 s long).flac.report.json").read_text() == "{}"
    assert mine.read_text() == "my own notes"


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_leaves_nothing(workspace: Workspace):
    before = visible(workspace.folder)
    with workspace.process("cover", "song.wav", "--voice", "nova") as process:
        until(lambda: workspace.artifacts() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANGS)
    assert process.returncode == 130
    assert "cancelled" in err
    assert visible(workspace.folder) == before
    assert list((workspace.folder / "cache" / "making").iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written(workspace: Workspace):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    before = visible(workspace.folder)
    done = workspace.run_process("cover", "song.wav", "--voice", "nova", "--json", preexec_fn=small_files)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "disk-full"
    assert visible(workspace.folder) == before


def ended_or_made(workspace: Workspace, process: Popen[str], before: set[str], count: int) -> bool:
    """Whether `count` more artifacts are stored, or the process is at its end."""
    return process.poll() is not None or len(workspace.artifacts() - before) >= count


SHORT = ("song.wav", "--voice", "nova", "--duration", "2.5")


@pytest.mark.slow
def test_killed_at_any_moment_the_cover_comes_out_the_same(workspace: Workspace, tmp_path: Path):
    def digest(path: Path) -> str:
        return unsigned_hash(path) or ""  # signatures have random salts

    calm = workspace.json("cover", *SHORT, "--cache", str(tmp_path / "calm"), "-o", "calm.flac")
    finished: set[str] = set()
    kills = 0
    while True:
        with workspace.process("cover", *SHORT, "-o", "killed.flac", "--json") as process:
            # killed as soon as it has come further by some artifacts, so it ends whatever the machine is doing
            until(partial(ended_or_made, workspace, process, finished, 2 + kills % 3))
            if process.poll() is not None:
                break
            process.kill()
            process.wait()
        kills += 1
        assert finished <= workspace.artifacts()
        finished = workspace.artifacts()
        cover = workspace.folder / "killed.flac"
        assert not cover.exists() or digest(cover) == digest(workspace.folder / calm["cover"])
    assert process.returncode == 0
    assert kills >= 3
    assert digest(workspace.folder / "killed.flac") == digest(workspace.folder / "calm.flac")
