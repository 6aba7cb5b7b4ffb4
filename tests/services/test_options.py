"""The command line's frame: help, version, completion, and the table of shared options."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from understudy.choices import Backing, FormatName, Scope, TrackerName
from understudy.errors import UnderstudyError
from understudy.pipeline.settings import CoverSettings, load_settings
from understudy.services.cli.main import app
from understudy.services.cli.options import OPTIONS, Options
from understudy.services.queue.settings import ServerSettings


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "understudy", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",)])
def test_without_a_command_comes_the_help(arguments: tuple[str, ...]):
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "separate" in done.stdout
    assert "--version" in done.stdout


def test_a_group_without_a_command_shows_its_help():
    done = run("voices")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rename" in done.stdout


def test_version():
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("understudy ")


@pytest.mark.slow
def test_shell_completion():
    names = {"_TYPER_COMPLETE_ARGS": "understudy se", "_UNDERSTUDY_COMPLETE": "complete_zsh"}
    code = "import sys; sys.argv[0] = 'understudy'; from understudy.services.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **names}, capture_output=True, text=True)
    assert "separate" in done.stdout
    assert "serve" in done.stdout
    assert "cover" not in done.stdout.split()
    assert "_UNDERSTUDY_COMPLETE" in run("--show-completion", "bash").stdout


def test_the_help_imports_no_numerics():
    code = (
        "import sys; from understudy.services.cli.main import main; sys.argv = ['understudy', 'cover', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sorted({'numpy', 'torch', 'sqlalchemy', 'fastapi'} & sys.modules.keys()), 'end')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].split() == ["end"]


@pytest.mark.parametrize(
    ("command", "name", "kind"),
    [
        ("cover", "tracker", TrackerName),
        ("voices train", "tracker", TrackerName),
        ("cover", "format", FormatName),
        ("separate", "format", FormatName),
        ("keys create", "scopes", Scope),
    ],
)
def test_a_help_text_lists_all_that_can_be_chosen(command: str, name: str, kind: Any):
    (option,) = (one for one in commands(typer.main.get_command(app))[command].params if one.name == name)
    assert set(get_args(kind)) <= {word.strip(",;.:") for word in option.help.split()}


def test_all_that_help_lists_can_be_chosen():
    for name, kind in (("tracker", TrackerName), ("format", FormatName), ("backing", Backing)):
        for choice in get_args(kind):
            assert load_settings(None, {OPTIONS[name].setting: choice}, {})


def commands(group: Any, path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= commands(command, f"{path}{name} ") if inner else {path + name: command}
    return found


def test_every_shared_option_is_used_and_means_a_setting():
    used = {
        parameter.name for command in commands(typer.main.get_command(app)).values() for parameter in command.params
    }
    assert set(OPTIONS) <= used
    for option in OPTIONS.values():
        model: Any = CoverSettings
        for name in filter(None, option.setting.split(".")):
            assert isinstance(model, type)
            assert issubclass(model, BaseModel)
            assert name in model.model_fields, option.setting
            model = model.model_fields[name].annotation
        if option.panel == "Server" and option.name != "config":
            assert option.name in ServerSettings.model_fields


def test_options_become_settings():
    options = Options(
        {"index_rate": 0.25, "key": None, "transpose": "-3", "set": ["remix.vocal_gain=2"], "format": "mp3"}
    )
    assert options.assignments() == {
        "conversion.index_rate": 0.25,
        "transpose": -3,
        "remix.vocal_gain": 2,
        "output.format": "mp3",
    }
    assert options.settings().conversion.index_rate == 0.25
    assert Options({"transpose": "A=-12"}).assignments() == {}
    with pytest.raises(UnderstudyError, match="no '='"):
        Options({"set": ["remix"]}).assignments()
