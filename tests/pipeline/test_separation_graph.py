"""What is wanted of a song decides what runs, and what is written sums to it; with models whose answer is known."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from tests.support.separators import Models, middle, models, parts, total
from understudy.errors import UnderstudyError
from understudy.pipeline.executor import LocalExecutor, Result
from understudy.pipeline.graph import Node
from understudy.pipeline.separation_graph import SeparationGraph, separation_graph
from understudy.pipeline.separation_request import SETS, Container, SeparationRequest
from understudy.pipeline.settings import load_settings
from understudy.pipeline.store import Store

__all__ = ["models"]

STUDIO = {"model": "vox", "lead": "karaoke", "dereverb": "dry", "denoise": "hiss", "instruments": "six"}

INSIDE = slice(22050, -22050)
"""The filters of these models know nothing of what is beyond a song's ends."""


def sides(share: float, sound: Any) -> Any:
    return share * (sound - middle(sound))


@pytest.fixture
def six(models: Models) -> Models:
    shares = {"drums": 0.3, "bass": 0.2, "guitar": 0.2, "piano": 0.1, "other": 0.2}
    models.functions["six"] = {
        "vocals": lambda sound: 0.0 * sound,
        **{name: partial(sides, share) for name, share in shares.items()},
    }
    return models


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, total(parts(3.0, backing=0.1, reverb=0.05, noise=0.02)).T, 44100, subtype="FLOAT")
    return path


def planned(song: Path, wanted: SeparationRequest | None = None, **separation: Any) -> SeparationGraph:
    options = {f"separation.{name}": value for name, value in separation.items()}
    return separation_graph(song, load_settings(options={**options, "output.format": "wav32f"}, environment={}), wanted)


def made(song: Path, wanted: SeparationRequest, **separation: Any) -> tuple[dict[str, np.ndarray], Result]:
    """The stems that were written, and how."""
    plan = planned(song, wanted, **separation)
    result = run(song, plan, list(plan.stems.values()))
    return {name: read(result[node]) for name, node in plan.stems.items()}, result


def mixed(song: Path, wanted: SeparationRequest, **separation: Any) -> tuple[np.ndarray, Result]:
    """The only mix that was made, and how."""
    plan = planned(song, wanted, **separation)
    (mix,) = plan.mixes.values()
    result = run(song, plan, [mix.mix])
    return result[mix.mix].sound.read().samples, result


def run(song: Path, plan: SeparationGraph, targets: list[Node[Any]]) -> Result:
    return LocalExecutor(Store(song.parent / "cache"), workers=1).run(plan.graph, targets, lambda _: None, Event())


def read(path: Path) -> np.ndarray:
    return np.asarray(soundfile.read(path, dtype="float32", always_2d=True)[0].T)


def ran(result: Result) -> set[str]:
    return {stage.name for stage in result.stages if stage.kind not in ("encode", "headroom", "decode")}


@pytest.mark.parametrize(
    "names",
    [*SETS.values(), ("lead", "backing", "instrumental"), ("lead", "reverb", "backing", "drums", "bass", "other")],
)
def test_a_whole_set_of_stems_sums_to_the_song(song, six, names):
    stems, _ = made(song, SeparationRequest(names), **STUDIO)
    assert tuple(stems) == names
    assert planned(song, SeparationRequest(names), **STUDIO).sums
    whole = read(song)
    assert np.abs(sum(stems.values()) - whole).max() < 1e-5


def test_other_takes_guitar_and_piano_where_they_are_not_wanted(song, six):
    four, _ = made(song, SeparationRequest(SETS["4"]), **STUDIO)
    all_six, _ = made(song, SeparationRequest(SETS["6"]), **STUDIO)
    assert np.abs(four["other"] - sum(all_six[name] for name in ("other", "guitar", "piano"))).max() < 1e-6
    assert np.abs(four["drums"] - all_six["drums"]).max() == 0


def test_the_lead_is_dry_where_its_reverb_is_wanted_apart(song, six):
    true = parts(3.0, backing=0.1, reverb=0.05, noise=0.02)
    wet, _ = made(song, SeparationRequest(("lead",)), **STUDIO)
    dry, _ = made(song, SeparationRequest(("lead", "reverb")), **STUDIO)
    assert np.abs(wet["lead"] - true["lead"] - true["reverb"] - true["noise"])[:, INSIDE].max() < 0.02
    assert np.abs(dry["lead"] - true["lead"] - true["noise"])[:, INSIDE].max() < 0.02
    assert np.abs(dry["lead"] + dry["reverb"] - wet["lead"]).max() < 1e-6


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [
        (SeparationRequest(), {"separate vox", "separate"}),
        (SeparationRequest(SETS["4"]), {"separate vox", "separate", "instruments six", "instruments", "sum other"}),
        (SeparationRequest(("drums",)), {"separate vox", "separate", "instruments six", "instruments"}),
        (SeparationRequest(("backing",)), {"separate vox", "separate", "lead karaoke", "lead"}),
        (SeparationRequest(levels={"lead": -3.0}), {"separate vox", "separate", "lead karaoke", "lead", "mix"}),
    ],
)
def test_only_what_is_wanted_runs(song, six, wanted, nodes):
    _, result = (mixed if wanted.levels else made)(song, wanted, **STUDIO)
    assert ran(result) == nodes


def test_models_that_are_not_needed_need_not_be_there(song, six):
    six.missing = ("karaoke", "dry", "hiss", "six")
    assert made(song, SeparationRequest(), **STUDIO)[0].keys() == {"vocals", "instrumental"}
    with pytest.raises(UnderstudyError) as failed:
        planned(song, SeparationRequest(SETS["4"]), **STUDIO)
    assert failed.value.code == "model-missing"


def test_a_first_model_of_four_stems_needs_no_second(song, six):
    _, result = made(song, SeparationRequest(SETS["4"]), model="four", instruments="six")
    assert ran(result) == {"separate four", "separate"}


@pytest.mark.parametrize(
    ("wanted", "code", "named"),
    [
        (SeparationRequest(SETS["4"]), "stem-unavailable", "drums"),
        (SeparationRequest(("lead",)), "stem-unavailable", "lead"),
        (SeparationRequest(levels={"guitar": 1.0}), "stem-unavailable", "guitar"),
        (SeparationRequest(midi=("bass",)), "stem-unavailable", "bass"),
        (SeparationRequest(("vocals",), Container()), "stem-file-incomplete", "vocals"),
        (SeparationRequest(levels={"vocals": 1.0, "lead": 1.0}), "stem-unavailable", "lead"),
    ],
)
def test_what_cannot_be_made_is_not_begun(song, models, wanted, code, named):
    with pytest.raises(UnderstudyError) as failed:
        planned(song, wanted)
    assert failed.value.code == code
    assert named in failed.value.message
    assert not models.ran


def test_levels_of_stems_that_hold_each_other_are_refused(song, six):
    with pytest.raises(UnderstudyError) as failed:
        planned(song, SeparationRequest(levels={"vocals": 1.0, "lead": 1.0}), **STUDIO)
    assert failed.value.code == "mix-invalid"
    assert planned(song, SeparationRequest(levels={"backing": 1.0, "lead": None}), **STUDIO).sounds == {}


def test_a_mix_is_the_song_with_the_changes_alone(song, six):
    true = parts(3.0, backing=0.1, reverb=0.05, noise=0.02)
    mix, _ = mixed(song, SeparationRequest(levels={"lead": None, "drums": -6.0}), **STUDIO)
    stems, _ = made(song, SeparationRequest(("lead", "drums")), **STUDIO)
    wanted = read(song) - stems["lead"] + (10 ** (-6 / 20) - 1) * stems["drums"]
    assert np.abs(mix - wanted).max() < 1e-5
    assert np.abs(mix - true["backing"] - 0.85 * true["instrumental"])[:, INSIDE].max() < 0.02


def test_karaoke_keeps_backing_and_a_guide(song, six):
    stems, _ = made(song, SeparationRequest(("lead", "backing", "instrumental")), **STUDIO)
    karaoke, result = mixed(song, SeparationRequest(karaoke=True, guide=-20.0), **STUDIO)
    wanted = stems["instrumental"] + stems["backing"] + 0.1 * stems["lead"]
    assert np.abs(karaoke - wanted).max() < 1e-5
    assert "dereverb" not in ran(result)
    karaoke, _ = mixed(song, SeparationRequest(karaoke=True, guide=None), model="vox")
    both, _ = made(song, SeparationRequest(), model="vox")
    assert np.abs(karaoke - both["instrumental"]).max() < 1e-6


@pytest.mark.parametrize(
    ("stems", "settings", "names", "noted"),
    [
        (None, STUDIO, ["Drums", "Bass", "Other", "Vocals"], ""),
        (SETS["6"], STUDIO, ["Drums", "Bass", "Other", "Vocals"], "guitar and piano"),
        (None, {"model": "vox"}, ["Instrumental", "Empty", "Empty", "Vocals"], "silent"),
        (("lead", "backing", "instrumental"), STUDIO, ["Lead", "Backing", "Instrumental", "Empty"], "silent"),
    ],
)
def test_one_file_for_dj_software(song, six, stems, settings, names, noted):
    wanted = SeparationRequest(stems, Container("alac"))
    plan = planned(song, wanted, **settings)
    assert noted in " ".join(plan.decisions)
    assert bool(noted) == bool(plan.decisions)
    assert plan.sums
    assert plan.stem_file is not None
    path = run(song, plan, [plan.stem_file])[plan.stem_file]
    assert path.name.endswith(".stem.m4a")
    content = path.read_bytes()
    assert all(f'"name": "{name}"'.encode() in content for name in names)
    tracks = []
    for number in range(5):
        with av.open(str(path)) as container:
            blocks = [frame.to_ndarray() / 2**31 for frame in container.decode(audio=number)]
        tracks.append(np.concatenate(blocks, axis=1)[:, : read(song).shape[1]])
    assert np.abs(tracks[0] - read(song)).max() < 2**-20
    assert np.abs(sum(tracks[1:]) - tracks[0]).max() < 2**-20
    assert [bool(track.any()) for track in tracks[1:]] == [name != "Empty" for name in names]


def test_more_than_four_stems_that_are_no_set_do_not_fit_into_a_file(song, six):
    wanted = SeparationRequest(("lead", "backing", "drums", "bass", "other"), Container())
    with pytest.raises(UnderstudyError) as failed:
        planned(song, wanted, **STUDIO)
    assert failed.value.code == "stem-file-incomplete"


def test_stems_by_the_model_s_own_opinion_are_not_said_to_sum(song, six):
    assert not planned(song, SeparationRequest(), model="vox2", consistency="model").sums
    assert planned(song, SeparationRequest(), model="vox2").sums
    assert not planned(song, SeparationRequest(("drums", "bass")), model="four").sums
