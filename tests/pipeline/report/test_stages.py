"""The two stages of the report: what each depends on, and what it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.covers import good_cover, unassessed
from understudy.context import Context
from understudy.pipeline.cast import Cast, TimeRange, Turn
from understudy.pipeline.cover_graph import CoverGraph, cover_graph
from understudy.pipeline.report import assess, make_report
from understudy.pipeline.settings import CoverSettings
from understudy.pipeline.values import from_tree, to_tree
from understudy.voices.voice import Manifest, Voice

ROOT = Path(__file__).parents[3]

# runs in a process of its own: a mix that was assessed before, reported without torch
_REPORT = """
import sys
import understudy.jobs
assert "scipy" not in sys.modules, "the jobs import scipy before they need it"
from pathlib import Path
from understudy.context import Context
import understudy.pipeline.cover_graph
from understudy.pipeline.report import make_report
from tests.support.covers import good_cover
folder = Path(sys.argv[1])
inputs = good_cover(folder)
make_report(Context(folder), inputs)
print(sorted({"torch", "parselmouth", "matplotlib", "onnxruntime"} & set(sys.modules)))
"""


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, np.zeros(8000), 8000)
    return path


def voice(folder: Path, name: str = "nova") -> Voice:
    manifest = Manifest(
        name=name,
        engine="instant",
        sample_rate=16000,
        pitch_range=None,
        recordings=(),
        consent="self",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        content_hash="0" * 64,
    )
    return Voice(folder, manifest)


def keys(graph: CoverGraph) -> dict[str, str]:
    return {node.name: key for node, key in graph.graph.keys().items()}


def settings(**groups: Any) -> CoverSettings:
    return CoverSettings.model_validate(groups)


@pytest.mark.parametrize(
    "changes",
    [
        {"remix": {"vocal_gain": 2.0}},
        {"remix": {"instrumental_gain": -3.0}},
        {"remix": {"target_lufs": -14.0}},
        {"remix": {"ceiling": -2.0}},
        {"output": {"format": "mp3"}},
        {"output": {"keep_stems": True}},
    ],
)
def test_no_gain_and_no_format_assesses_anew(changes: dict[str, Any], song: Path, tmp_path: Path) -> None:
    plain, changed = (keys(cover_graph(song, voice(tmp_path), one)) for one in (settings(), settings(**changes)))
    assert changed["assess"] == plain["assess"]
    assert (changed["report"] == plain["report"]) == ("output" in changes)


def test_only_the_embedded_separator_s_vocal_is_short_of_something(song: Path, tmp_path: Path) -> None:
    kinds = [
        {node.kind for node in cover_graph(song, voice(tmp_path), settings(), **own).graph.nodes}
        for own in ({}, {"vocals": song, "instrumental": song})
    ]
    assert {"vocal level", "singer removal"} <= kinds[0]
    assert not {"vocal level", "singer removal"} & kinds[1]


def test_without_singer_removal_the_instrumental_is_the_separator_s(song: Path, tmp_path: Path) -> None:
    plain, off, full = (
        cover_graph(song, voice(tmp_path), settings(**({} if one is None else {"singer_removal": one})))
        for one in (None, 0, 1)
    )
    assert "singer removal" not in {node.kind for node in off.graph.nodes}
    assert len({keys(graph)["remix"] for graph in (plain, off, full)}) == 3
    # another mix of the same stems doesn't repeat it
    louder = cover_graph(song, voice(tmp_path), settings(remix={"vocal_gain": 2}))
    assert keys(louder)["singer removal"] == keys(plain)["singer removal"]


@pytest.mark.parametrize("changes", [{"finish": {"presence": 3.0}}, {"key": 2}, {"transpose": -12}])
def test_another_vocal_is_assessed_anew(changes: dict[str, Any], song: Path, tmp_path: Path) -> None:
    plain, changed = (keys(cover_graph(song, voice(tmp_path), one)) for one in (settings(), settings(**changes)))
    assert changed["assess"] != plain["assess"]
    assert changed["report"] != plain["report"]


def test_a_renamed_voice_or_song_gets_a_new_report_and_nothing_else(song: Path, tmp_path: Path) -> None:
    """The report and the tags name both. Their content, and so all sound, is the same."""
    plain = keys(cover_graph(song, voice(tmp_path), settings()))
    other = tmp_path / "another name.wav"
    other.write_bytes(song.read_bytes())
    renamed = keys(cover_graph(song, voice(tmp_path, "ada"), settings()))
    assert {name for name in plain if plain[name] != renamed[name]} == {"report", "encode", "sign"}
    renamed = keys(cover_graph(other, voice(tmp_path), settings()))
    assert {name for name in plain if plain[name] != renamed[name]} == {"report", "encode", "ingredient song", "sign"}


def test_renamed_voices_of_a_duet_are_assessed_under_their_names(song: Path, tmp_path: Path) -> None:
    turns = (TimeRange(stop=3.0), TimeRange(start=3.0))
    found = []
    for names in (("nova", "ada"), ("nova", "eve")):
        cast = Cast(tuple(Turn(voice(tmp_path, name), turn) for name, turn in zip(names, turns, strict=True)))
        found.append({node.kind: key for node, key in cover_graph(song, cast, settings()).graph.keys().items()})
    changed = {kind for kind in found[0] if found[0][kind] != found[1][kind]}
    assert changed == {"assess", "cast list", "report", "encode", "sign"}


def test_an_assessment_survives_the_store(tmp_path: Path) -> None:
    """What comes back from the artifact gives the same report, byte for byte, from wherever it lies."""
    inputs = unassessed(tmp_path)
    folder = tmp_path / "assess"
    folder.mkdir()
    made = assess(Context(folder), inputs)
    tree = json.loads(json.dumps(to_tree(made, folder), allow_nan=False))
    moved = folder.rename(tmp_path / "elsewhere")
    found = from_tree(tree, moved)
    assert found.clips["song"].parent == moved
    assert found.intonation == made.intonation
    assert found.faults == made.faults
    assert found.balance == made.balance
    np.testing.assert_array_equal(found.curve, made.curve)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_change_no_byte(workers: int, tmp_path: Path) -> None:
    inputs = unassessed(tmp_path)
    written = []
    for count in (1, workers):
        folder = tmp_path / f"by {count}"
        folder.mkdir()
        made = assess(Context(folder, workers=count), inputs)
        tree = json.dumps(to_tree(made, folder))
        written.append({"tree": tree.encode(), **{file.name: file.read_bytes() for file in folder.iterdir()}})
    assert written[0] == written[1]
    assert {"song.ogg", "vocals.ogg", "song.png", "melody.svg"} <= set(written[0])


@pytest.mark.slow
def test_the_report_of_a_new_mix_takes_what_was_assessed(tmp_path: Path) -> None:
    """Other gains, same assessment: only what the mix decides may change."""
    figures = []
    for gain in (1.0, 2.0):
        folder = tmp_path / str(gain)
        folder.mkdir()
        inputs = good_cover(folder)
        louder = np.float32(gain) * inputs.vocals.read().samples + inputs.instrumental.read().samples
        mixed = good_cover(folder, cover=0.5 * louder)
        made = make_report(Context(folder), mixed)
        data = json.loads(made.json.read_text(encoding="utf-8"))
        figures.append({one["name"]: one["value"] for one in data["figures"]})
    changed = {name for name in figures[0] if figures[0][name] != figures[1][name]}
    assert "balance_shift" in changed
    assert changed <= {"balance_shift", "loudness_difference", "true_peak", "distortion"}


@pytest.mark.slow
def test_a_report_loads_no_network(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-c", _REPORT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "torch" not in made.stdout
    assert made.stdout.strip() == "['parselmouth']"  # of the assessment, which ran in the same process
