"""Consent levels and what they forbid, the log that keeps them, and revocation."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.library_voices import recorded_voice, small_model
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices import archive, library, manifest
from understudy.voices.consent.levels import require
from understudy.voices.consent.log import BEGINNING, ConsentLog, parse
from understudy.voices.rvc.blend import blend
from understudy.voices.voice import ConsentRecord, Manifest, Voice

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def code(function, *arguments, **named) -> str:
    with pytest.raises(UnderstudyError) as refused:
        function(*arguments, **named)
    return refused.value.code


def decisions(root: Path) -> list[tuple[str, str]]:
    return [(entry.voice, entry.decision) for entry in ConsentLog(root).read()]


def test_each_level_permits_what_it_says(tmp_path: Path) -> None:
    stated = recorded_voice(tmp_path).manifest

    def at(**changes: object) -> Manifest:
        record = ConsentRecord.model_validate({"level": "stated", "record": "0" * 64, "date": NOW, **changes})
        return stated.model_copy(update={"consent_record": record})

    require(at(), "cover", now=NOW)
    require(at(level="verified"), "cover", "verified", NOW)
    delegated = at(level="delegated", uses=("cover",), expires=NOW + timedelta(days=1))
    require(delegated, "cover", "delegated", NOW)
    assert code(require, delegated, "train", now=NOW) == "consent-use-refused"
    assert code(require, delegated, "cover", "verified", NOW) == "consent-too-weak"
    assert code(require, delegated, "cover", now=NOW + timedelta(days=1)) == "consent-expired"
    assert code(require, delegated, "cover", now=NOW - timedelta(days=1)) == "consent-from-future"
    assert code(require, at(), "cover", "delegated", NOW) == "consent-too-weak"
    assert code(require, at(level="revoked"), now=NOW) == "consent-revoked"


def test_the_log_decides_and_not_the_manifest(tmp_path: Path) -> None:
    voice = recorded_voice(tmp_path)
    record = voice.manifest.consent_record
    assert record is not None
    assert record.record == ConsentLog(tmp_path).read()[0].hash
    forged = record.model_copy(update={"level": "verified"})
    manifest.write(voice.folder, voice.manifest.model_copy(update={"consent_record": forged}))
    assert library.load(tmp_path, "nova").manifest.consent_level == "stated"
    (tmp_path / "consent-log.jsonl").unlink()
    assert library.load(tmp_path, "nova").manifest.consent_level == "stated"
    again = library.decide(tmp_path, "nova", voice.manifest.identity, "verified", {"phrase": "one two"})
    assert again == library.load(tmp_path, "nova")
    assert again.manifest.consent_level == "verified"


def test_a_changed_log_is_noticed(tmp_path: Path) -> None:
    recorded_voice(tmp_path)
    recorded_voice(tmp_path, "ada")
    library.rename(tmp_path, "ada", "bea")
    path = tmp_path / "consent-log.jsonl"
    lines = path.read_text().splitlines()
    assert decisions(tmp_path) == [("nova", "stated"), ("ada", "stated"), ("bea", "renamed")]
    assert json.loads(lines[0])["previous"] == BEGINNING
    for changed in (lines[1:], lines[:1] + lines[2:], [lines[1], lines[0], lines[2]], [lines[0][:-2], *lines[1:]]):
        assert code(parse, changed, "log") == "consent-log-broken"
    assert code(parse, [lines[0].replace("stated", "verified"), *lines[1:]], "log") == "consent-log-broken"
    path.write_text("\n".join([lines[0].replace("nova", "nora"), *lines[1:]]) + "\n")
    assert code(library.load, tmp_path, "nova") == "consent-log-broken"
    path.write_text("\n".join(lines) + '\n{"number": 4, "at"')  # a kill in the middle of a line: it wasn't decided
    library.remove(tmp_path, "bea")
    assert decisions(tmp_path)[-2:] == [("bea", "renamed"), ("bea", "removed")]


def test_a_revoked_voice_is_gone_for_every_path(tmp_path: Path, context: Context) -> None:
    root = tmp_path / "library"
    voice = recorded_voice(root)
    library.rename(root, "nova", "nora")
    loaded = library.load(root, "nora")
    assert [ended.name for ended in library.revoke(root, "nora", "asked to")] == ["nora"]
    assert [path.name for path in (root / "nora").iterdir()] == ["voice.json"]
    assert library.describe(root, "nora").manifest.consent_level == "revoked"
    for use in (
        lambda: library.load(root, "nora"),
        lambda: library.permit(loaded, "cover"),
        lambda: library.load_recorded(root, "nora"),
        lambda: library.sing_with(root, "nora", "instant"),
        lambda: library.decide(root, "nora", voice.manifest.identity, "verified", {}),
        lambda: archive.export(library.describe(root, "nora"), tmp_path / "again.zip", context),
        lambda: recorded_voice(root, "nova"),  # the same recordings under another name
    ):
        assert code(use) == "consent-revoked"
    library.remove(root, "nora")
    assert code(recorded_voice, root, "nova") == "consent-revoked"
    assert [decision for _, decision in decisions(root)] == ["stated", "renamed", "revoked", "removed"]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def trained(root: Path, name: str, seed: int) -> Voice:
    from tests.support.library_voices import TRAINED

    voice = recorded_voice(root, name)
    return library.publish_model(
        root, name, voice.manifest.recordings_hash, small_model(seed), None, TRAINED, default=True
    )


def test_a_blend_is_as_limited_as_its_parents_and_ends_with_them(tmp_path: Path) -> None:
    ada, nova = trained(tmp_path, "ada", 1), trained(tmp_path, "nova", 2)
    assert (ada.manifest.consent_level, nova.manifest.consent_level) == ("stated", "stated")
    until = datetime.now(UTC) + timedelta(days=2)
    limits = {"uses": ["cover", "blend"], "expires": until.isoformat(), "owner": "a" * 64}
    library.decide(tmp_path, "ada", ada.manifest.identity, "delegated", limits)
    library.decide(tmp_path, "nova", nova.manifest.identity, "verified", {})
    record = blend(tmp_path, "ada", "nova", 0.5, "both")[0].manifest.consent_record
    assert record is not None
    assert (record.level, record.uses, record.expires) == (
        "delegated",
        ("cover", "blend"),
        until,
    )
    library.decide(tmp_path, "ada", ada.manifest.identity, "delegated", {**limits, "uses": ["cover"]})
    assert code(blend, tmp_path, "ada", "nova", 0.5, "second") == "consent-use-refused"
    assert [voice.name for voice in library.revoke(tmp_path, "nova")] == ["both", "nova"]
    assert code(library.load, tmp_path, "both") == "consent-revoked"
    assert library.load(tmp_path, "ada").manifest.consent_level == "delegated"
