"""Presets with models, as a user meets them: what is missing is said at once, and with files of random weights in the
models folder the whole chain runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.command import Workspace
from tests.support.separators import tiny_roformer
from understudy.pipeline.separating import models_of
from understudy.pipeline.settings import load_settings

STEMS = {
    "lead": ("karaoke", "other"),
    "dereverb": ("noreverb", "reverb"),
    "denoise": ("dry", "other"),
}


@dataclass(frozen=True)
class Studio(Workspace):
    """With a catalogue in which the models of the presets are small."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"UNDERSTUDY_CATALOGUE": str(self.folder / "small.yaml"), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def studio(workspace: Workspace) -> Studio:
    (workspace.folder / "models").mkdir()
    settings = load_settings("studio", environment={}).separation
    purposes = {getattr(settings, step): stems for step, stems in STEMS.items()}
    entries = {}
    for seed, name in enumerate(models_of(settings)):
        stems = purposes.get(name, ("vocals", "other"))
        step = next((step for step in STEMS if getattr(settings, step) == name), None)
        tiny_roformer(
            workspace.folder / "models" / f"{name}.ckpt", stems, seed, "bs" if name.startswith("bs") else "mel"
        )
        entries[name] = {
            "purpose": "small", "architecture": "roformer", "licence": "none", "page": "https://localhost/",
            "group": {"lead": "karaoke"}.get(step, step) if step else "vocals", "stems": ["vocals", "instrumental"],
            "variants": [{"file": f"{name}.ckpt", "format": "roformer", "companions": [{"file": f"{name}.yaml"}]}],
        }  # fmt: skip
    (workspace.folder / "small.yaml").write_text(json.dumps(entries))
    return Studio(workspace.folder)


def sounds(studio: Studio, stems: dict[str, str]) -> dict[str, np.ndarray]:
    return {name: soundfile.read(studio.folder / path, always_2d=True)[0] for name, path in stems.items()}


@pytest.mark.slow
def test_a_cover_with_the_whole_chain(studio: Studio):
    made = studio.json("cover", "song.wav", "--voice", "nova", "--preset", "studio", "--format", "wav32f")
    ran = [stage["name"] for stage in made["stages"]]
    for node in ("separate mel-roformer-kim", "separate bs-roformer-viperx-1297", "separate", "lead", "dereverb"):
        assert node in ran
    assert [step["step"] for step in made["chain"]] == ["lead", "dereverb", "denoise"]
    assert all(step["told"] for step in made["chain"])
    assert set(made["stems"]) == {"vocals", "instrumental", "backing"}
    stems = sounds(studio, made["stems"])
    cover, rate = soundfile.read(studio.folder / made["cover"], always_2d=True)
    song, song_rate = soundfile.read(studio.folder / "song.wav", always_2d=True)
    assert (cover.shape, rate) == (song.shape, song_rate)
    assert np.abs(sum(stems.values()) - cover).max() < 1e-5
    report = json.loads((studio.folder / made["report"]).with_suffix(".json").read_text())
    assert [step["step"] for step in report["chain"]] == ["lead", "dereverb", "denoise"]
    assert made["chain"][0]["told"] in (studio.folder / made["report"]).read_text("utf-8")

    put_back = ("--set", "remix.reverb_gain=0", "--set", "remix.noise_gain=-6")
    again = studio.json("cover", "song.wav", "--voice", "nova", "--preset", "studio", *put_back)
    assert set(again["stems"]) == {"vocals", "instrumental", "backing", "reverb", "noise"}
    fresh = {stage["name"] for stage in again["stages"] if not stage["cached"]}
    assert not any(name.startswith(("separate", "lead", "dereverb", "denoise", "convert")) for name in fresh)
    stems = sounds(studio, again["stems"])
    cover, _ = soundfile.read(studio.folder / again["cover"], always_2d=True)
    assert np.abs(sum(stems.values()) - cover).max() < 5e-4, "24 bits each"

    fewer = studio.json("cover", "song.wav", "--voice", "nova", "--preset", "studio", "--model", "mel-roformer-kim")
    fresh = {stage["name"] for stage in fewer["stages"] if not stage["cached"]}
    assert "separate mel-roformer-kim" not in fresh

    drawn = studio.run("graph", "song.wav", "--voice", "nova", "--preset", "studio").stdout
    assert "● separate bs-roformer-viperx-1297" in drawn
    assert "● denoise mel-roformer-denoise-aufr33" in drawn
    people = studio.run("cover", "song.wav", "--voice", "nova", "--preset", "studio").stdout
    assert "Reverb: " in people


@pytest.mark.slow
def test_backing_vocals_may_be_sung_too(studio: Studio):
    made = studio.json("cover", "song.wav", "--voice", "nova", "--preset", "balanced", "--backing", "convert")
    assert "convert backing=nova" in {stage["name"] for stage in made["stages"]}
    with_key = studio.json(
        "cover", "song.wav", "--voice", "nova", "--preset", "studio", "--key", "2", "--set", "remix.reverb_gain=0"
    )
    assert {"shift", "shift backing", "shift reverb"} <= {stage["name"] for stage in with_key["stages"]}


@pytest.mark.slow
def test_a_separation_says_what_its_steps_did(studio: Studio):
    wanted = ("--preset", "studio", "--stems", "lead,backing,instrumental", "--format", "wav32f")
    made = studio.json("separate", "song.wav", *wanted)
    assert [step["step"] for step in made["chain"]] == ["lead"], "nothing else is needed for these"
    song = soundfile.read(studio.folder / "song.wav", always_2d=True)[0]
    assert 10 * np.log10(np.mean((sum(sounds(studio, made["stems"]).values()) - song) ** 2) / np.mean(song**2)) < -60
    assert made["chain"][0]["told"] in studio.run("separate", "song.wav", *wanted).stdout


def test_all_that_is_missing_is_said_in_one_error(workspace: Workspace):
    done = workspace.run("cover", "song.wav", "--voice", "nova", "--preset", "studio", "--json")
    assert done.returncode != 0
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "models-missing"
    names = models_of(load_settings("studio", environment={}).separation)
    assert len(names) == 5
    assert all(name in error["message"] for name in names)
    assert "understudy models fetch --preset studio" in error["hint"]
    assert not (workspace.folder / "cache" / "artifacts").exists() or not list(
        (workspace.folder / "cache").glob("artifacts/*/*")
    )


@pytest.mark.slow
def test_own_stems_need_no_models(workspace: Workspace):
    both = ("--vocals", "vocals.wav", "--instrumental", "instrumental.wav")
    made = workspace.json("cover", *both, "--voice", "nova", "--preset", "studio", "--duration", "2")
    assert "chain" not in made
    assert set(made["stems"]) == {"vocals", "instrumental"}


def test_what_nothing_takes_off_cannot_be_put_back(workspace: Workspace):
    done = workspace.run("cover", "song.wav", "--voice", "nova", "--set", "remix.reverb_gain=0", "--json")
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "stem-missing"
    assert "separation.dereverb" in error["hint"]


def test_a_path_is_a_model_on_the_command_line(workspace: Workspace):
    path = Path(workspace.folder / "elsewhere")
    path.mkdir()
    tiny_roformer(path / "my.net.ckpt", ("vocals", "other"), 1)
    made = workspace.json("separate", "song.wav", "--model", "elsewhere/my.net.ckpt", "--format", "wav32f")
    stems = [soundfile.read(workspace.folder / place)[0] for place in made["stems"].values()]
    song = soundfile.read(workspace.folder / "song.wav")[0]
    assert 10 * np.log10(np.mean((sum(stems) - song) ** 2) / np.mean(song**2)) < -60
