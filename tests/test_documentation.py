"""Every command that README and docs show exists, with every option that they give it; every Python block compiles."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from understudy.services.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if path.name != "CHANGELOG.md"]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of the blocks of code in a language, or without one."""
    found = [(path.name, kind, text) for path in PAGES for kind, text in BLOCK.findall(path.read_text("utf-8"))]
    return [(page, text) for page, kind, text in found if kind == language]


def commands() -> list[tuple[str, str]]:
    """(page, line) of every line that begins with ``understudy``, continued lines joined."""
    return [
        (page, line.strip())
        for language in ("", "sh", "bash", "console", "shell")
        for page, text in blocks(language)
        for line in text.replace("\\\n", " ").splitlines()
        if re.match(r"\s*understudy\s", line)
    ]


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_is_understood(page: str, line: str):
    words = shlex.split(line, comments=True)[1:]
    if ">" in words:
        words = words[: words.index(">")]
    words = words[: next((at for at, word in enumerate(words) if word in ("|", "&", "&&", ";")), len(words))]
    # a synopsis: '[--as NAME]' is given, of 'self|granted' the first
    words = [word.strip("[]").split("|")[0] for word in words if word not in ("...", "…")]
    command: Any = typer.main.get_command(app)
    context = command.make_context("understudy", ["presets"])
    while hasattr(command, "resolve_command") and words and not words[0].startswith("-"):
        _, command, words = command.resolve_command(context, words)
    try:
        command.make_context(command.name, list(words), parent=context)
    except Exception as error:
        # what ends well is --help
        assert getattr(error, "exit_code", 1) == 0, getattr(error, "message", error)  # noqa: PT017


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_a_python_block_is_python(page: str, text: str):
    compile(text, page, "exec")


def test_ray_can_scale_the_cluster_of_the_manifest():
    producer = pytest.importorskip("ray.autoscaler._private.kuberay.autoscaling_config")
    manifests = list(yaml.safe_load_all((ROOT / "docs" / "kuberay.yaml").read_text("utf-8")))
    cluster = next(manifest for manifest in manifests if manifest["kind"] == "RayCluster")
    config = producer._derive_autoscaling_config_from_ray_cr(cluster)  # raises where Ray doesn't understand it
    kinds = config["available_node_types"]
    assert kinds["headgroup"]["resources"]["CPU"] == 0
    assert (kinds["gpu"]["resources"]["GPU"], kinds["gpu"]["min_workers"]) == (1, 1)
    assert kinds["cpu"]["max_workers"] == 20
    assert cluster["spec"]["rayVersion"] == next(
        line.partition("==")[2]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.startswith("ray=")
    )
