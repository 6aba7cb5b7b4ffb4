"""Manifests come from strangers: whatever they hold, reading ends in a manifest or in an error that says what to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import UnderstudyError
from understudy.voices import manifest
from understudy.voices.voice import Manifest, PitchRange, Recording, RvcIndex, RvcModel, Trained, Voice, content_hash

RECORDINGS = tuple(
    Recording(file=f"00{number}-take-{number}.flac", source=f"take {number}.wav", duration=9.5, sha256=str(number) * 64)
    for number in (1, 2)
)
RANGE = PitchRange(low=150, median=220.5, high=440)
GOOD = Manifest(
    name="nova",
    engine="instant",
    sample_rate=44100,
    pitch_range=RANGE,
    recordings=RECORDINGS,
    consent="self",
    created=datetime(2026, 11, 21, 2, 30, tzinfo=UTC),
    content_hash=content_hash("instant", 44100, RANGE, RECORDINGS),
)
PLAIN: dict[str, Any] = json.loads(manifest.to_bytes(GOOD))
MODEL = RvcModel(
    file="model-0123abcd.safetensors",
    sha256="3" * 64,
    version="v2",
    f0=True,
    sample_rate=48000,
    speakers=109,
    speaker=4,
    info="20epoch",
    source="nova.pth",
    index=RvcIndex(file="index-0123abcd.index", sha256="4" * 64, vectors=5000, source="added_1.index"),
)
TRAINED = GOOD.model_copy(
    update={
        "engine": "rvc",
        "sample_rate": 48000,
        "pitch_range": None,
        "recordings": (),
        "model": MODEL,
        "content_hash": content_hash("rvc", 48000, None, (), MODEL),
    }
)
TRAINED_PLAIN: dict[str, Any] = json.loads(manifest.to_bytes(TRAINED))

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def parsed(document: object) -> Manifest:
    return manifest.parse(json.dumps(document).encode(), "voice.json")


def outcome(data: bytes) -> Manifest | UnderstudyError:
    try:
        return manifest.parse(data, "somewhere/voice.json")
    except UnderstudyError as error:
        return error


def must_be_manifest_or_advice(data: bytes) -> None:
    result = outcome(data)
    if isinstance(result, UnderstudyError):
        error = result
        assert error.code.startswith("manifest-")
        assert error.message.startswith("somewhere/voice.json")
        assert error.hint
        assert "\n" not in error.message
        assert len(error.message) < 400
        error.message.encode()
    else:
        assert manifest.parse(manifest.to_bytes(result), "again") == result


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest.write(tmp_path, GOOD)
    assert manifest.read(tmp_path) == GOOD
    assert [path.name for path in tmp_path.iterdir()] == ["voice.json"]
    assert "model" not in PLAIN  # as ever, so that archives of such voices stay the same bytes
    manifest.write(tmp_path, TRAINED)
    assert manifest.read(tmp_path) == TRAINED


@pytest.mark.parametrize(
    ("changes", "model"),
    [
        ({"model": None}, {}),
        ({"engine": "instant"}, {}),
        ({"sample_rate": 40000}, {}),
        ({"training_recordings": PLAIN["recordings"]}, {}),
        ({}, {"embedder": "../contentvec"}),
        ({}, {"trained": {"steps": 100}}),
        ({}, {"trained": {"steps": -1, "date": "2026-11-30T10:00:00Z"}}),
        ({}, {"trained": {"steps": 1, "similarity": "good", "date": "2026-11-30T10:00:00Z"}}),
        ({}, {"speaker": 109}),
        ({}, {"speaker": -1}),
        ({}, {"speakers": 0}),
        ({}, {"file": "../model-0123abcd.safetensors"}),
        ({}, {"file": "model-0123abcd.pth"}),
        ({}, {"version": "v3"}),
        ({}, {"f0": 1}),
        ({}, {"info": "x" * 1001}),
        ({}, {"index": {**TRAINED_PLAIN["model"]["index"], "file": "/etc/passwd"}}),
        ({}, {"index": {**TRAINED_PLAIN["model"]["index"], "vectors": 0}}),
    ],
)
def test_a_model_that_makes_no_sense(changes: dict[str, Any], model: dict[str, Any]) -> None:
    document = {**TRAINED_PLAIN, "model": {**TRAINED_PLAIN["model"], **model}, **changes}
    with pytest.raises(UnderstudyError) as refused:
        parsed(document)
    assert refused.value.code == "manifest-bad-field"
    must_be_manifest_or_advice(json.dumps(document).encode())


BOTH = GOOD.model_copy(
    update={
        "training_recordings": (RECORDINGS[0].model_copy(update={"sha256": "6" * 64}),),
        "model": MODEL.model_copy(
            update={
                "embedder": "cepstral",
                "trained": Trained(
                    steps=2400, similarity=0.61, base="rvc-base-48k", date=datetime(2026, 11, 30, tzinfo=UTC)
                ),
            }
        ),
    }
)


def test_recordings_beside_a_model(tmp_path: Path) -> None:
    voice = Voice(tmp_path, BOTH)
    manifest.write(tmp_path, BOTH)
    assert manifest.read(tmp_path) == BOTH
    assert voice.engines == ("instant", "zero-shot", "rvc")
    assert voice.sung_by("instant") is voice is voice.sung_by(None)
    trained = voice.sung_by("rvc")
    assert trained.manifest.engine == "rvc"
    assert trained.sung_by("instant") == voice  # and so with the content hash of the voice before it had a model
    assert voice.manifest.content_hash == GOOD.content_hash
    manifest.write(tmp_path, trained.manifest)
    assert manifest.read(tmp_path) == trained.manifest
    assert [path.parent.name for path in voice.used_files] == ["recordings"] * 2
    assert [path.parent.name for path in trained.used_files] == ["recordings", "recordings", "model", "model"]
    assert set(voice.stored_files) == set(trained.stored_files) == {*trained.used_files, *voice.training_files}


def test_a_trained_model_sings_in_the_range_that_it_was_trained_on(tmp_path: Path) -> None:
    assert BOTH.model is not None
    own = PitchRange(low=100, median=200, high=500)
    reaching = BOTH.model_copy(update={"model": BOTH.model.model_copy(update={"pitch_range": own})})
    before, after = Voice(tmp_path, BOTH), Voice(tmp_path, reaching)
    assert (after.pitch_range, after.sung_by("rvc").pitch_range) == (RANGE, own)
    assert before.sung_by("rvc").pitch_range == RANGE
    assert before.sung_by("rvc").manifest.content_hash != after.sung_by("rvc").manifest.content_hash
    manifest.write(tmp_path, reaching)
    assert manifest.read(tmp_path) == reaching


@pytest.mark.parametrize(("stored", "engine"), [(GOOD, "rvc"), (TRAINED, "instant"), (BOTH, "other")])
def test_an_engine_that_the_voice_has_nothing_for(tmp_path: Path, stored: Manifest, engine: str) -> None:
    with pytest.raises(UnderstudyError) as missing:
        Voice(tmp_path, stored).sung_by(engine)
    assert missing.value.code == "engine-missing"
    assert "nova" in missing.value.message
    if engine == "rvc":
        assert "understudy voices train 'nova' --engine rvc" in str(missing.value.hint)


def test_what_came_later_is_only_written_where_it_says_something() -> None:
    assert PLAIN.keys() == {
        "name", "engine", "sample_rate", "pitch_range", "recordings", "consent", "created", "content_hash",
    }  # fmt: skip
    assert TRAINED_PLAIN["model"].keys() == {
        "file", "sha256", "version", "f0", "sample_rate", "speakers", "speaker", "info", "author", "source", "index",
    }  # fmt: skip
    assert TRAINED.content_hash == "719db8907f90e13f6fe118f4118739f69ecb6835582675e5ca4cdc548058b8cc"
    both = json.loads(manifest.to_bytes(BOTH))
    assert len(both["training_recordings"]) == 1
    assert both["model"]["embedder"] == "cepstral"
    assert both["model"]["trained"]["steps"] == 2400
    assert "pitch_range" not in both["model"]


def test_recordings_are_listed_once() -> None:
    twice = BOTH.model_copy(update={"training_recordings": BOTH.training_recordings * 2})
    with pytest.raises(UnderstudyError, match="training_recordings"):
        manifest.parse(manifest.to_bytes(twice), "voice.json")


def test_the_content_hash_of_recordings_is_as_it_was_before_there_were_models() -> None:
    assert GOOD.content_hash == "ebe751d7bfa71852151ed49973c3590fd6fb3c693fced6cce000c1b66bbeab31"


def test_the_content_hash_covers_what_the_model_sings_with() -> None:
    assert MODEL.index is not None
    changed = [
        MODEL,
        MODEL.model_copy(update={"sha256": "5" * 64}),
        MODEL.model_copy(update={"speaker": 5}),
        MODEL.model_copy(update={"index": None}),
        MODEL.model_copy(update={"index": MODEL.index.model_copy(update={"sha256": "5" * 64})}),
    ]
    assert len({content_hash("rvc", 48000, None, (), model) for model in changed}) == 5
    told = MODEL.model_copy(update={"info": "another", "author": "Ann", "source": "x.pth"})
    assert content_hash("rvc", 48000, None, (), told) == TRAINED.content_hash


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "n" * 65),
        ("engine", "../rvc"),
        ("sample_rate", "44100"),
        ("sample_rate", 44100.5),
        ("sample_rate", 7999),
        ("sample_rate", 10**400),
        ("consent", "none"),
        ("created", "yesterday"),
        ("created", "2026-11-21T02:30:00"),
        ("content_hash", "abc"),
        ("recordings", None),
        ("recordings", PLAIN["recordings"] * 2),
        ("recordings.0", 7),
        ("recordings.0.file", "../../etc/passwd"),
        ("recordings.0.file", "001-a.flac/"),
        ("recordings.0.file", "001-a.flac\n"),
        ("recordings.0.file", "C:001-a.flac"),
        ("recordings.1.duration", 0),
        ("recordings.1.duration", -1.0),
        ("recordings.1.sha256", "z" * 64),
        ("pitch_range.low", 0),
        ("pitch_range.high", 1e999),
        ("pitch_range.high", float("nan")),
    ],
)
def test_a_bad_field_is_named(field: str, value: object) -> None:
    document = json.loads(json.dumps(PLAIN))
    place = document
    *path, last = field.split(".")
    for step in path:
        place = place[int(step)] if step.isdigit() else place[step]
    place[int(last) if last.isdigit() else last] = value
    with pytest.raises(UnderstudyError) as refused:
        parsed(document)
    assert refused.value.code == "manifest-bad-field"
    assert repr(field) in refused.value.message
    assert "voices add" in refused.value.hint


def test_missing_and_unknown_fields_are_named() -> None:
    without = {key: value for key, value in PLAIN.items() if key != "consent"}
    with pytest.raises(UnderstudyError, match="'consent'"):
        parsed(without)
    with pytest.raises(UnderstudyError, match=r"'recordings\.0\.colour'") as refused:
        parsed(PLAIN | {"recordings": [PLAIN["recordings"][0] | {"colour": "red"}]})
    assert refused.value.code == "manifest-unknown-field"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe{}",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"name": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"name": ' + b"9" * 5000 + b"}",
        json.dumps(PLAIN).encode() + b"x",
        json.dumps(PLAIN | {"name": "no\x00va"}).encode()[:-40],
        b" " * 2_000_000,
        b'{"\x1b[31mred": 1}',
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(UnderstudyError):
        manifest.parse(data, "voice.json")
    must_be_manifest_or_advice(data)


def test_the_content_hash_cannot_be_claimed() -> None:
    assert parsed(PLAIN | {"content_hash": "0" * 64}).content_hash == GOOD.content_hash
    changed = parsed(PLAIN | {"pitch_range": PLAIN["pitch_range"] | {"low": 151}})
    assert changed.content_hash != GOOD.content_hash


def test_the_content_hash_covers_order_and_engine() -> None:
    hashes = {
        content_hash("instant", 44100, RANGE, RECORDINGS),
        content_hash("instant", 44100, RANGE, RECORDINGS[::-1]),
        content_hash("instant", 44100, RANGE, RECORDINGS[:1]),
        content_hash("instant", 48000, RANGE, RECORDINGS),
        content_hash("instant", 44100, None, RECORDINGS),
        content_hash("rvc", 44100, RANGE, RECORDINGS),
    }
    assert len(hashes) == 6


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnderstudyError) as missing:
        manifest.read(tmp_path / "nowhere")
    assert missing.value.code == "manifest-unreadable"
    (tmp_path / "voice.json").mkdir()
    with pytest.raises(UnderstudyError):
        manifest.read(tmp_path)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    must_be_manifest_or_advice(data)


@pytest.mark.slow
@given(anything)
def test_any_json(document: object) -> None:
    must_be_manifest_or_advice(json.dumps(document).encode())


@given(st.data())
def test_any_field_replaced_by_anything(data: st.DataObject) -> None:
    document = json.loads(json.dumps(data.draw(st.sampled_from([PLAIN, TRAINED_PLAIN]))))
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(anything)
        break
    must_be_manifest_or_advice(json.dumps(document).encode())


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=6), st.booleans())
def test_any_bytes_put_into_a_good_manifest(position: int, junk: bytes, insert: bool) -> None:
    good = manifest.to_bytes(GOOD)
    position %= len(good)
    must_be_manifest_or_advice(good[:position] + junk + good[position + (0 if insert else len(junk)) :])


models = st.none() | st.builds(
    lambda index, reach, trained, embedder, speaker: MODEL.model_copy(
        update={
            "index": MODEL.index if index else None,
            "pitch_range": PitchRange(low=90, median=200, high=400) if reach else None,
            "trained": Trained(steps=9, date=datetime(2026, 11, 30, tzinfo=UTC)) if trained else None,
            "embedder": embedder,
            "speaker": speaker,
        }
    ),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["contentvec", "cepstral", "spin-v2"]),
    st.integers(0, 108),
)


@given(models, st.sampled_from([(), RECORDINGS[:1], RECORDINGS]), st.sampled_from(["instant", "rvc"]))
def test_whatever_a_voice_has_each_engine_has_one_hash(
    model: RvcModel | None, further: tuple[Recording, ...], engine: str
) -> None:
    whole = GOOD.model_copy(update={"model": model, "training_recordings": further})
    assert whole.engines == ("instant", "zero-shot", "rvc")[: 2 if model is None else 3]
    assert whole.sung_by("instant").content_hash == GOOD.content_hash
    if engine in whole.engines:
        whole = whole.sung_by(engine)
    assert parsed(json.loads(manifest.to_bytes(whole))) == whole
    assert {whole.sung_by(one).content_hash for one in whole.engines} >= {whole.content_hash, GOOD.content_hash}
    if model is not None:
        bare = model.model_copy(update={"trained": None, "info": "", "author": "", "source": "x"})
        told = whole.model_copy(update={"model": bare, "training_recordings": (), "consent": "granted"})
        assert told.sung_by("rvc").content_hash == whole.sung_by("rvc").content_hash
