"""The JSON of every result: programs read it, so its fields stay."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.python_user import RATE, Workspace
from understudy.jobs import CoverJob, Runner, cover_until
from understudy.pipeline.executor import LocalExecutor
from understudy.pipeline.settings import load_settings
from understudy.pipeline.store import Store

QUALITY = "bleed residue bleed_at bleed_from bleed_to cutoffs missing phasiness blurred fit remarks"
STAGE = ["name", "kind", "seconds", "cached", "device"]


def plain(result: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert all(list(stage) == STAGE for stage in data["stages"])
    assert all(list(warning) == ["stage", "warning"] for warning in data["warnings"])
    return data


def keys(data: dict[str, Any]) -> str:
    return " ".join(data)


@pytest.mark.slow
def test_covers(workspace: Workspace):
    session, song = workspace.session(), (workspace.mix.samples, RATE)
    cover = plain(session.cover(song, voice="nova", settings={"output.keep_stems": True}))
    assert keys(cover) == (
        "cover report stems stem_gain duration sample_rate transpose transpose_reason key bpm song_key loudness "
        "vocal_level leftover leftover_error brightness similarity verdict figures stages warnings"
    )
    report = json.loads(Path(cover["report"]).with_suffix(".json").read_text())
    assert cover["similarity"] == report["voice_likeness"]["to_voice"]
    assert list(cover["figures"]) == [figure["name"] for figure in report["figures"]]
    for figure in report["figures"]:
        shown = cover["figures"][figure["name"]]
        assert shown == {name: figure[name] for name in ("value", "unit", "verdict", "stage")}
    assert keys(cover["stems"]) == "vocals instrumental"
    assert keys(cover["loudness"]) == "song cover true_peak details"
    assert keys(cover["verdict"]) == "verdict headline blame reason grade weaknesses"
    assert cover["warnings"]
    details = cover["loudness"]["details"]
    assert {"song", "cover", "true_peak"} <= details.keys()
    assert keys(details["song"]) == keys(details["cover"]) == "integrated range true_peak"
    duet = plain(session.cover(song, voice="0:00-0:02=nova,0:02-=ada"))
    assert keys(duet) == (
        "cover report stems duration sample_rate transpose transpose_reason voices key bpm song_key loudness "
        "vocal_level leftover leftover_error brightness similarity verdict figures stages warnings"
    )
    assert [keys(voice) for voice in duet["voices"]] == ["voice part transpose reason turns"] * 2
    assert all(isinstance(moment, float) for voice in duet["voices"] for turn in voice["turns"] for moment in turn)


@pytest.mark.slow
def test_separations(workspace: Workspace):
    session, song = workspace.session(), (workspace.mix.samples, RATE)
    stems = plain(session.separate(song))
    assert keys(stems) == "stems sum_to_song stem_gain bpm song_key quality stages warnings"
    assert keys(stems["stems"]) == "vocals instrumental"
    assert keys(stems["quality"]) == QUALITY
    assert all(keys(remark) == "about sentence advice serious" for remark in stems["quality"]["remarks"])
    others = plain(session.separate(song, mix={"vocals": -6}, karaoke=True, midi=["vocals"]))
    assert keys(others) == "stems mix karaoke midi loudness bpm song_key quality stages warnings"
    assert others["stems"] == {}
    assert keys(others["midi"]) == "vocals"
    assert {name: keys(one) for name, one in others["loudness"].items()} == {
        "mix": "song mix true_peak gain reduction",
        "karaoke": "song mix true_peak gain reduction",
    }
    packed = session.separate(song, stems=2, stem_file="stem.m4a")
    assert packed.stem_file == packed.stems["vocals"].path
    data = plain(packed)
    assert keys(data) == "stems stem_file sum_to_song bpm song_key quality stages warnings"
    assert data["stems"] == {}
    assert data["warnings"][0]["stage"] == "separate"


@pytest.mark.slow
def test_conversions(workspace: Workspace):
    session, vocals = workspace.session(), (workspace.sounds.vocals.samples, RATE)
    assert keys(plain(session.convert(vocals, voice="nova"))) == "output transpose transpose_reason stages warnings"
    assert keys(plain(session.convert(vocals, voice="0:00-0:02=nova,0:02-=ada"))) == (
        "output transpose transpose_reason voices stages warnings"
    )


def test_single_stages(workspace: Workspace, tmp_path: Path):
    runner = Runner(LocalExecutor(Store(workspace.folder / "cache")), lambda event: None, Event())
    voice = workspace.session().voices.get("nova")
    job = CoverJob(workspace.folder / "song.wav", voice, load_settings("embedded"), output=tmp_path)
    made = {stage: plain(cover_until(job, stage, runner)) for stage in ("separate", "pitch", "transpose")}
    assert {keys(data) for data in made.values()} == {"until made stages warnings"}
    assert made["separate"]["made"] == {name: str(tmp_path / f"{name}.wav") for name in ("vocals", "instrumental")}
    assert made["pitch"]["made"] == {"pitch": str(tmp_path / "pitch.csv")}
    assert keys(made["transpose"]["made"]["transpose"]) == "semitones octaves reason warnings"
