"""What reproducing a cover says of files and inputs as they should be, and as they shouldn't."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from tests.support import signals
from tests.support.library_voices import recorded_voice
from understudy.audio.encode import encode, parse_format
from understudy.audio.samples import Audio
from understudy.audio.tags import Tags
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.cast import as_cast
from understudy.pipeline.cover_graph import cover_graph
from understudy.pipeline.provenance.credentials import credentials
from understudy.pipeline.provenance.manifest import sign
from understudy.pipeline.settings import CoverSettings
from understudy.reproduction import Reproduction, reproduce
from understudy.voices.voice import Voice

SETTINGS = CoverSettings.model_validate({"remix": {"vocal_gain": 1.5}, "key": 2, "output": {"format": "wav32f"}})


@dataclass(frozen=True)
class Rendered:
    """A `Runner` that has rendered `sound` already."""

    sound: Path
    cancelled: Event = field(default_factory=Event)

    def run(self, graph: Any, targets: list[Any]) -> dict[Any, Path]:
        settings = {node.kind: node.settings for node in graph.nodes}
        assert settings["remix"]["settings"] == SETTINGS.remix
        assert settings["encode"]["format"] == SETTINGS.output.encoding
        return dict.fromkeys(targets, self.sound)


@dataclass(frozen=True)
class Made:
    """A signed cover of `song` by `voice`, which sounds like `sound`."""

    folder: Path
    song: Path
    voice: Voice
    sound: Audio

    def written(self, level: float = 0.0) -> Path:
        """The sound, with noise of that amplitude."""
        noise = level * np.random.default_rng(1).standard_normal(self.sound.samples.shape).astype(np.float32)
        sound = Audio(self.sound.samples + noise, self.sound.rate)
        return encode(Context(self.folder), sound, self.folder / f"{level}.wav", parse_format("wav32f"), Tags())

    def cover(self, **changed: Any) -> Path:
        node = cover_graph(self.song, self.voice, SETTINGS).cover
        making: Any = node.settings["making"]
        return sign(Context(self.folder), self.written(), credentials(), "Song", {**making, **changed})

    def reproduced(
        self, cover: Path, sound: Path, song: Path | None = None, voice: Voice | None = None
    ) -> Reproduction:
        runner: Any = Rendered(sound)
        return reproduce(cover, None, {"song": song or self.song}, as_cast(voice or self.voice), runner)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setenv("UNDERSTUDY_SIGNING", str(tmp_path / "signing"))
    (tmp_path / "song.wav").write_bytes(b"a song")
    voice = recorded_voice(tmp_path / "voices")
    return Made(tmp_path, tmp_path / "song.wav", voice, signals.recorded(signals.song(1.0).mix))


def test_the_same_sound_and_one_that_is_near(made: Made) -> None:
    cover = made.cover()
    same = made.reproduced(cover, made.written())
    assert (same.identical, same.level, same.reproduced, same.trusted, same.differs) == (True, None, True, True, ())
    loudness = float(np.sqrt(np.mean(made.sound.samples**2)))
    near = made.reproduced(cover, made.written(loudness * 10 ** (-70 / 20)))
    assert (near.identical, near.reproduced) == (False, True)
    assert near.level == pytest.approx(70, abs=0.2)
    far = made.reproduced(cover, made.written(loudness * 10 ** (-50 / 20)))
    assert not far.reproduced
    assert far.level == pytest.approx(50, abs=0.2)


def test_each_input_that_differs_is_named(made: Made) -> None:
    cover = made.cover()
    (made.folder / "other.wav").write_bytes(b"another song")
    other = recorded_voice(made.folder / "voices", "ada")
    with pytest.raises(UnderstudyError) as caught:
        made.reproduced(cover, made.written(), song=made.folder / "other.wav", voice=other)
    assert caught.value.code == "inputs-differ"
    assert "The song is another file" in caught.value.message
    assert "'nova'" in caught.value.message
    assert "'ada'" in caught.value.message


def test_another_version_model_and_platform_are_told(made: Made) -> None:
    cover = made.cover(stages=[["decode", 0]], models=["some:1234"])
    found = " ".join(made.reproduced(cover, made.written()).differs)
    assert "The stage 'decode': version 0 there, version" in found
    assert "The stage 'remix': not run there" in found
    assert "Only there: the models some:1234" in found


@pytest.mark.parametrize("code", ["credentials-missing", "credentials-invalid", "credentials-foreign"])
def test_a_file_that_doesn_t_say_how_it_was_made(code: str, made: Made) -> None:
    match code:
        case "credentials-missing":
            file = made.written()
        case "credentials-invalid":
            file = made.cover()
            file.write_bytes(file.read_bytes().replace(b"data", b"dbta", 1))
        case _:
            file = made.cover(inputs=["0" * 64])  # as before the roles were told
    with pytest.raises(UnderstudyError) as caught:
        made.reproduced(file, made.written())
    assert caught.value.code == code
