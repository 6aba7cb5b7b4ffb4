"""What the command line prints, on every console: real processes whose stdout is a file, a pipe, a full disk or a
terminal of any width and encoding."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.support.command import COMMAND, HANGS, Workspace

NAME = "Łódź ✓ 歌 ½"
SHORT = ("--voice", "nova", "--duration", "2")


def run(workspace: Workspace, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**workspace.environment, **variables}
    return subprocess.run(
        [*COMMAND, *arguments], cwd=workspace.folder, env=environment, capture_output=True, timeout=HANGS
    )


def terminal(workspace: Workspace, columns: int, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command on a terminal that is `columns` wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**workspace.environment, "TERM": "xterm"}
    environment.pop("COLUMNS", None)  # processes of pytest-xdist have it
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=workspace.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        output = b""
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # the process has ended
                break
            if not block:
                break
            output += block
    os.close(ours)
    return process.returncode, output.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "mark", "shown"),
    [
        ("utf-8", "✓", NAME),
        ("cp1252", "+", r"\u0141ód\u017a + \u6b4c ½"),
        ("ascii", "+", r"\u0141\xf3d\u017a + \u6b4c \xbd"),
    ],
)
def test_every_encoding_takes_every_text(shared_workspace: Workspace, encoding: str, mark: str, shown: str):
    doctor = run(shared_workspace, "doctor", PYTHONIOENCODING=encoding)
    assert doctor.returncode == 0
    assert f"{mark} python" in doctor.stdout.decode(encoding)
    song = shared_workspace.folder / f"{NAME}.wav"
    song.write_bytes((shared_workspace.folder / "song.wav").read_bytes())
    made = run(shared_workspace, "cover", song.name, *SHORT, "-o", f"{NAME}.mp3", PYTHONIOENCODING=encoding)
    assert made.returncode == 0, made.stderr
    assert made.stdout.decode(encoding).startswith(f"Cover:  {shown}.mp3\n")
    refused = run(shared_workspace, "cover", f"{NAME}.ogg", *SHORT, PYTHONIOENCODING=encoding)
    assert f"Error: There is no file {shown}.ogg." in refused.stderr.decode(encoding)


@pytest.mark.slow
def test_a_name_that_is_no_text_is_read_and_printed(shared_workspace: Workspace):
    name = b"caf\xe9"  # Latin-1, as old archives have it
    folder = os.fsencode(shared_workspace.folder)
    Path(os.fsdecode(folder + b"/" + name + b".wav")).write_bytes((shared_workspace.folder / "song.wav").read_bytes())
    made = subprocess.run(
        [*COMMAND, "cover", name + b".wav", *SHORT],
        cwd=shared_workspace.folder, env=shared_workspace.environment, capture_output=True, timeout=HANGS,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    refused = run(shared_workspace, "cover", os.fsdecode(b"no" + name), *SHORT)
    assert b"There is no file no" + name + b"." in refused.stderr
    path = made.stdout.splitlines()[0].removeprefix(b"Cover:  ")
    assert path.decode() == "covers/café (nova, 2 s long).flac"
    assert os.path.isfile(folder + b"/" + path)


@pytest.mark.slow
def test_without_a_locale_all_is_printed_too(shared_workspace: Workspace):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in (["doctor"], ["models", "list"], ["presets"], ["graph", "song.wav", "--voice", "nova"], ["--help"]):
        done = run(shared_workspace, *command, **plain)
        assert (done.returncode, done.stderr) == (0, b""), command
        done.stdout.decode("ascii")


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["stdout", "both"])
def test_the_work_goes_on_when_the_reader_has_left(workspace: Workspace, stream: str):
    """As in ``understudy cover ... | head -1``: the cover is made, without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    error = subprocess.PIPE if stream == "stdout" else writing
    done = subprocess.run(
        [*COMMAND, "cover", "song.wav", *SHORT],
        cwd=workspace.folder, env=workspace.environment, stdout=writing, stderr=error, timeout=HANGS,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 0
    assert b"Broken" not in (done.stderr or b"")
    assert (workspace.folder / "covers" / "song (nova, 2 s long).flac").is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_result_that_cannot_be_printed_is_no_fault_of_the_program(shared_workspace: Workspace, as_json: list[str]):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "presets", *as_json],
            env=shared_workspace.environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=HANGS,
        )  # fmt: skip
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error == ("Error: The command did its work, but its result can't be printed (No space left on device).")
    assert hint.startswith("Do: Check where stdout goes")


def test_verify_prints_a_line_per_installed_model_and_no_blank_ones(shared_workspace: Workspace):
    done = run(shared_workspace, "models", "verify")
    assert done.returncode == 0
    assert all(line.strip() for line in (done.stdout + done.stderr).splitlines())
    _, shown = terminal(shared_workspace, 100, "models", "verify")
    assert all(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in shown.strip().split("\n"))


@pytest.mark.slow
def test_a_log_has_a_line_per_stage_with_its_time_as_it_ends(workspace: Workspace):
    with subprocess.Popen(
        [*COMMAND, "cover", "song.wav", *SHORT],
        cwd=workspace.folder, env=workspace.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        assert process.poll() is None, "the line comes while the others are still worked on"
        lines = [first, *process.stderr.readlines()]
    assert process.returncode == 0
    stages = [line for line in lines if re.fullmatch(r"[A-Z][\w ]+: (\d\.\d\d s|\d+:\d\d)\n", line)]
    assert {line.partition(":")[0] for line in stages} >= {
        "Reading the song", "Separating vocals and instrumental", "Singing with the voice", "Remixing",
    }  # fmt: skip
    again = run(workspace, "cover", "song.wav", *SHORT).stderr.decode()
    assert "Separating vocals and instrumental: cached\n" in again
    for command in (["separate", "song.wav", "--duration", "2"], ["convert", "vocals.wav", *SHORT]):
        assert re.search(r"^Reading the song: ", run(workspace, *command).stderr.decode(), re.MULTILINE), command


@pytest.mark.slow
def test_the_log_of_a_batch_names_every_stage_and_every_cover(workspace: Workspace):
    (workspace.folder / "chart.csv").write_text("song,duration\nsong.wav,2\nsong.wav,2.5\n")
    done = run(workspace, "batch", "chart.csv", "--voice", "nova", "--jobs", "1")
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 0
    assert sum(": Singing with the voice: " in line for line in lines) == 2
    ended = [line for line in lines if re.match(r"\d of 2: ", line)]
    assert [line[:6] for line in ended] == ["1 of 2", "2 of 2"]
    assert all(re.search(r": done after (\d\.\d\d s|\d+:\d\d)$", line) for line in ended)


@pytest.mark.slow
def test_a_narrow_terminal_has_progress_in_place_and_whole_sentences(workspace: Workspace):
    code, shown = terminal(workspace, 40, "cover", "song.wav", *SHORT)
    assert code == 0
    assert "Cover:  covers/song (nova, 2 s long).flac" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert ": cached" not in shown
    frames = re.split(r"\x1b\[2K|\x1b\[1A", shown.partition("Cover:")[0])
    bars = [line for frame in frames for line in frame.splitlines() if "%" in line]
    assert bars
    assert [line for line in bars if len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip("\r\n")) > 40] == []


def test_a_name_is_never_taken_for_an_emoji(shared_workspace: Workspace):
    done = run(shared_workspace, "cover", "my :fire: [bold]song.mp3", *SHORT)
    assert done.stderr.decode().startswith("Error: There is no file my :fire: [bold]song.mp3.")


def test_json_is_json_on_every_console(shared_workspace: Workspace):
    done = run(shared_workspace, "doctor", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["checks"][0]["name"] == "python"
    assert done.stderr == b""
