"""``POST /v1/verify``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.api.conftest import Service, Sounds, Start
from tests.support import signals
from understudy.audio.encode import encode, parse_format
from understudy.audio.samples import concatenate
from understudy.audio.tags import Tags
from understudy.audio.watermark.embedding import watermarked
from understudy.audio.watermark.payload import Payload
from understudy.context import Context
from understudy.pipeline.provenance.credentials import credentials
from understudy.pipeline.provenance.manifest import sign


@pytest.fixture
def cover(tmp_path: Path) -> Path:
    """A marked and signed file."""
    context = Context(tmp_path)
    sound = concatenate(
        list(watermarked(signals.recorded(signals.song(20.0).mix), Payload("cover", 0, 77), 0, context))
    )
    file = encode(context, sound, tmp_path / "cover.flac", parse_format("flac"), Tags(title="Song"))
    return sign(context, file, credentials(), "Song", {})


def test_everybody_can_check_a_file(start: Start, cover: Path) -> None:
    guarded = start(keys=True)
    answer = guarded.client.post("/v1/verify", files={"file": ("song.flac", cover.read_bytes())})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["watermark"]["payload"] == {"kind": "cover", "key": 0, "id": 77}
    assert (found["c2pa"]["valid"], found["c2pa"]["trusted"]) == (True, True)
    assert found["tags"]["title"] == "Song"
    assert "watermark" in found["conclusion"]
    assert not guarded.leftovers()


def test_what_is_no_sound(service: Service) -> None:
    answer = service.client.post("/v1/verify", files={"file": ("song.mp3", b"nothing" * 100)})
    assert (answer.status_code, answer.json()["code"]) == (422, "not-audio")
    assert "song.mp3" in answer.json()["detail"]
    assert not service.leftovers()


def test_no_file(service: Service) -> None:
    assert service.client.post("/v1/verify", json={}).status_code == 422
    answer = service.client.post("/v1/verify", files={"other": ("song.mp3", b"x")})
    assert answer.status_code == 422


def test_not_all_too_often(service: Service, sounds: Sounds) -> None:
    answers = [service.client.post("/v1/verify", json={}).status_code for _ in range(11)]
    assert answers[-1] == 429
    assert 429 not in answers[:10]
