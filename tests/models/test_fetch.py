"""Fetching from a server that behaves, and from all that don't."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.model_source import CONTENT, SHA256, Source, served
from understudy.context import Context
from understudy.errors import Cancelled, UnderstudyError
from understudy.models import download, installed, require
from understudy.models.fetch import fetch, what_to_fetch

Publish = Callable[..., None]


def refused(context: Context, trust: bool = False) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as caught:
        fetch("thing", context, trust)
    return caught.value


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_model_comes_whole_and_under_its_name(folder: Path, source: Source, publish: Publish, tmp_path: Path):
    publish(source.url)
    assert installed("thing") is None
    heard: list[float] = []
    record = fetch("thing", Context(tmp_path, on_progress=heard.append))
    assert (folder / "thing.pt").read_bytes() == CONTENT
    assert require("thing").path == folder / "thing.pt"
    assert require("thing").sha256 == record.weights.sha256 == SHA256
    assert not record.weights.trusted
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert leftovers(folder) == {"thing.pt", "thing.json"}


def test_what_is_there_is_not_fetched_again(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url)
    fetch("thing", context)
    assert what_to_fetch("thing") is None
    fetch("thing", context)
    assert len(source.requests) == 1


def test_nothing_is_asked_of_a_source_before_it_is_wanted(folder: Path, source: Source, publish: Publish):
    publish(source.url)
    variant = what_to_fetch("thing")
    assert variant is not None
    assert variant.url == source.url
    assert installed("thing") is None
    assert source.requests == []
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "manners",
    [
        ["cut 300000", "well"],
        ["cut 300000", "cut 10", "cut 500000", "well"],
        ["cut 300000", "no-range"],
        ["503", "well"],
        ["cut 300000", "503", "well"],
        ["slow"],
        ["no-length"],
    ],
)
def test_a_bad_line_ends_well(folder: Path, source: Source, publish: Publish, context: Context, manners: list[str]):
    publish(source.url)
    source.manners = manners.copy()
    fetch("thing", context)
    assert (folder / "thing.pt").read_bytes() == CONTENT
    assert leftovers(folder) == {"thing.pt", "thing.json"}


def test_a_cut_download_goes_on_where_it_was(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url)
    source.manners = ["cut 300000", "404"]
    refused(context)
    assert (folder / "thing.pt.part").stat().st_size == 300_000
    source.manners = ["well"]
    fetch("thing", context)
    assert source.ranges == [None, "bytes=300000-", "bytes=300000-"]
    assert (folder / "thing.pt").read_bytes() == CONTENT


def test_a_line_that_brings_nothing_is_given_up(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url)
    source.manners = ["cut 400000", "cut 0"]
    error = refused(context)
    assert error.code == "model-interrupted"
    assert "0.4 MB are stored" in error.hint
    assert len(source.requests) == 2 + len(download.PAUSES)
    assert leftovers(folder) == {"thing.pt.part", "thing.pt.part.json"}


def test_a_server_without_ranges_is_not_asked_for_ever(
    folder: Path, source: Source, publish: Publish, context: Context
):
    publish(source.url)
    source.manners = ["cut-whole 400000"]
    assert refused(context).code == "model-interrupted"
    assert len(source.requests) == 2 + len(download.PAUSES)


def test_a_stalled_line_counts_as_cut(
    folder: Path, source: Source, publish: Publish, context: Context, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    publish(source.url)
    source.manners = ["stall 200000", "well"]
    fetch("thing", context)
    assert source.ranges == [None, "bytes=200000-"]


@pytest.mark.slow
def test_wrong_bytes_of_the_right_size_are_not_kept(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url)
    source.content = bytes(len(CONTENT))
    error = refused(context)
    assert error.code == "model-hash"
    assert SHA256 in error.message
    assert hashlib.sha256(source.content).hexdigest() in error.message
    assert leftovers(folder) == set()
    assert installed("thing") is None


def test_halves_of_two_files_are_not_joined(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url)
    source.content, source.etag = bytes(len(CONTENT)), None
    source.manners = ["cut 300000", "404"]
    refused(context)
    source.content, source.manners = CONTENT, ["well"]
    fetch("thing", context)  # the hash tells, and it begins anew
    assert (folder / "thing.pt").read_bytes() == CONTENT
    assert source.ranges[-2:] == ["bytes=300000-", None]


def test_a_changed_file_at_the_source_is_told_by_its_tag(
    folder: Path, source: Source, publish: Publish, context: Context
):
    publish(source.url, sha256=None)
    source.content = bytes(len(CONTENT))
    source.manners = ["cut 300000", "404"]
    refused(context, trust=True)
    source.content, source.etag, source.manners = CONTENT, '"two"', ["well"]
    fetch("thing", context, trust=True)
    assert (folder / "thing.pt").read_bytes() == CONTENT
    assert source.requests[-1]["if-range"] == '"one"'


def test_without_hash_and_tag_it_begins_anew(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url, sha256=None)
    source.etag = None
    source.manners = ["cut 300000", "well"]
    fetch("thing", context, trust=True)
    assert source.ranges == [None, None]
    assert (folder / "thing.pt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("manner", "said"),
    [
        ("404", "404"),
        ("403", "403"),
        ("packed", "packed"),
        ("to file:///etc/passwd", "file:///etc/passwd"),
        ("to ftp://example.org/x", "https"),
        ("to http://example.org/x", "https"),
        ("to gopher://example.org/x", "gopher:"),
    ],
)
def test_sources_that_cannot_be_used(
    folder: Path, source: Source, publish: Publish, context: Context, manner: str, said: str
):
    publish(source.url)
    source.manners = [manner]
    error = refused(context)
    assert error.code in ("model-source", "model-address")
    assert said in error.message
    assert leftovers(folder) == set()
    assert len(source.requests) == 1


def test_a_loop_of_redirections_ends(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url)
    source.manners = [f"to {source.url}"]
    assert refused(context).code == "model-source"
    assert len(source.requests) < 10


def test_a_redirection_is_followed(folder: Path, source: Source, publish: Publish, context: Context):
    with served(Source(manners=[f"to {source.url}"])) as door:
        publish(door.url)
        fetch("thing", context)
    assert (folder / "thing.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b""])
def test_a_file_of_another_length_is_refused_before_it_comes(
    folder: Path, source: Source, publish: Publish, context: Context, content: bytes
):
    publish(source.url)
    source.content = content
    error = refused(context)
    assert error.code == "model-source"
    assert f"{len(CONTENT):,}" in error.message
    assert leftovers(folder) == set()


@pytest.mark.slow
def test_without_a_hash_it_takes_the_users_word(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url, sha256=None, size=None)
    error = refused(context)
    assert error.code == "model-unverifiable"
    assert "--trust" in error.hint
    assert source.requests == []
    record = fetch("thing", context, trust=True)
    assert record.weights.sha256 == SHA256
    assert record.weights.trusted
    assert require("thing").sha256 == SHA256


@pytest.mark.parametrize("manner", ["page", "no-length"])
def test_without_a_hash_more_is_asked_of_the_source(
    folder: Path, source: Source, publish: Publish, context: Context, manner: str
):
    publish(source.url, sha256=None, size=None)
    source.manners = [manner]
    assert refused(context, trust=True).code == "model-source"
    assert leftovers(folder) == set()


def test_a_part_that_was_not_asked_for_is_refused(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url)
    source.manners = ["cut 300000", "wrong-range"]
    assert refused(context).code == "model-source"
    assert (folder / "thing.pt.part").read_bytes() == CONTENT[:300_000]


@pytest.mark.parametrize("extra", [0, 1, 5000])
def test_a_part_as_long_as_the_file_or_longer(
    folder: Path, source: Source, publish: Publish, context: Context, extra: int
):
    publish(source.url)
    folder.mkdir()
    (folder / "thing.pt.part").write_bytes(CONTENT + bytes(extra))
    fetch("thing", context)
    assert (folder / "thing.pt").read_bytes() == CONTENT
    assert len(source.requests) == (1 if extra else 0)


def test_a_part_beyond_the_end_begins_anew(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url, size=None)
    folder.mkdir()
    (folder / "thing.pt.part").write_bytes(CONTENT + bytes(5))
    fetch("thing", context)
    assert source.ranges == [f"bytes={len(CONTENT) + 5}-", None]
    assert (folder / "thing.pt").read_bytes() == CONTENT


def test_without_a_network_it_says_what_to_put_where(folder: Path, publish: Publish, context: Context):
    publish("http://127.0.0.1:9/weights.pt")
    error = refused(context)
    assert error.code == "model-offline"
    assert "http://127.0.0.1:9/weights.pt" in error.hint
    assert str(folder / "thing.pt") in error.hint
    assert "understudy models add" in error.hint


def test_what_the_hint_says_works(folder: Path, publish: Publish, context: Context):
    publish("http://127.0.0.1:9/weights.pt")
    refused(context)
    folder.mkdir(exist_ok=True)
    (folder / "thing.pt").write_bytes(CONTENT)
    assert require("thing").sha256 == SHA256


def test_cancelling_keeps_what_came(folder: Path, source: Source, publish: Publish, tmp_path: Path):
    publish(source.url)
    source.manners = ["slow"]
    stop = threading.Event()

    def progress(fraction: float) -> None:
        if fraction > 0.3:
            stop.set()

    with pytest.raises(Cancelled):
        fetch("thing", Context(tmp_path, on_progress=progress, cancelled=stop))
    kept = (folder / "thing.pt.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    source.manners = ["well"]
    fetch("thing", Context(tmp_path))
    assert source.ranges[-1] == f"bytes={kept}-"


def test_a_full_disk_is_noticed_before_it_is_full(
    folder: Path, source: Source, publish: Publish, context: Context, monkeypatch: pytest.MonkeyPatch
):
    publish(source.url)
    monkeypatch.setattr(download, "RESERVE", 1 << 60)
    error = refused(context)
    assert error.code == "disk-full"
    assert leftovers(folder) == set()


def test_only_one_process_fetches(folder: Path, source: Source, publish: Publish, context: Context):
    publish(source.url)
    source.manners = ["stall 1000"]
    first = threading.Thread(target=lambda: refused(context))
    first.start()
    while not (folder / "thing.pt.part").exists():
        assert first.is_alive()
    assert refused(context).code == "model-busy"
    source.manners = ["404"]
    source.done.set()
    first.join()


def test_a_companion_comes_along(folder: Path, source: Source, publish: Publish, context: Context):
    config = b"model: {dim: 4}\n"
    with served(Source(content=config)) as other:
        companion = {
            "file": "thing.yaml",
            "size": len(config),
            "sha256": hashlib.sha256(config).hexdigest(),
            "url": other.url,
        }
        publish(source.url, companions=[companion])
        fetch("thing", context)
    weights = require("thing")
    assert weights.companions[0].path.read_bytes() == config
    assert weights.content_hash != weights.sha256


def test_an_unknown_model_is_named(folder: Path, context: Context):
    with pytest.raises(UnderstudyError, match="no model named 'nothing'") as caught:
        fetch("nothing", context)
    assert "understudy models list" in caught.value.hint


def test_a_model_that_is_called_alike_is_named(folder: Path, context: Context):
    with pytest.raises(UnderstudyError) as caught:
        fetch("contentvek", context)
    assert "contentvec" in caught.value.hint
