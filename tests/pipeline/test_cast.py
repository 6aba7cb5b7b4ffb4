"""Who sings what, as people write it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import UnderstudyError
from understudy.pipeline.cast import SHORTEST, Cast, TimeRange, as_cast, parse_transposes, parse_voices
from understudy.voices.names import valid_name
from understudy.voices.voice import Manifest, Voice
from understudy.wording import exact_clock


def voice(name: str) -> Voice:
    manifest = Manifest(
        name=name,
        engine="instant",
        sample_rate=16000,
        pitch_range=None,
        recordings=(),
        consent="self",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        content_hash=f"{abs(hash(name)):064x}"[:64],
    )
    return Voice(Path(name), manifest)


def turns(*texts: str) -> list[tuple[float, float | None, str]]:
    return [(time.start, time.stop, name) for time, name in parse_voices(texts).lead]


def refused(*texts: str) -> UnderstudyError:
    with pytest.raises(UnderstudyError) as caught:
        parse_voices(texts)
    assert caught.value.code == "cast-invalid"
    return caught.value


def test_one_voice():
    parts = parse_voices(["nova"])
    assert parts.lead == ((TimeRange(), "nova"),)
    assert parts.backing is None
    assert parts.cast(voice).solo is not None
    assert parse_voices(["lead=nova"]) == parts


def test_lead_and_backing():
    parts = parse_voices(["lead=nova", "backing=ada"])
    assert (parts.lead[0][1], parts.backing) == ("nova", "ada")
    assert parse_voices(["Backing = ada", "nova"]) == parts
    assert parts.cast(voice).name == "nova+ada"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:00-1:12=A,1:12-=B", [(0, 72, "A"), (72, None, "B")]),
        ("-72=A, 72- = B", [(0, 72, "A"), (72, None, "B")]),
        ("1:00:05-1:00:10.25=A", [(3605, 3610.25, "A")]),
        ("12.5-90.75=A", [(12.5, 90.75, "A")]),
        ("2:00-=B,0:00-2:00=A", [(0, 120, "A"), (120, None, "B")]),
        ("0:10–0:20=A", [(10, 20, "A")]),
        ("75:10-80:00=A", [(4510, 4800, "A")]),
        ("0:00-1:11=A,1:12-=B", [(0, 72, "A"), (72, None, "B")]),  # nobody is left out for a second
        ("0:00-1:10=A,1:12-=B", [(0, 70, "A"), (72, None, "B")]),
        ("-=A", [(0, None, "A")]),
        ("0:00-1:00=Simon, Paul & Art,1:00-=B", [(0, 60, "Simon, Paul & Art"), (60, None, "B")]),
        ("lead=0:00-1:12=A,1:12-=B", [(0, 72, "A"), (72, None, "B")]),
    ],
)
def test_ranges_of_time(text: str, expected: list[tuple[float, float | None, str]]):
    assert turns(text) == expected


def test_ranges_may_come_one_by_one():
    assert turns("1:12-=B", "0:00-1:12=A") == turns("0:00-1:12=A,1:12-=B")


def test_a_fraction_of_a_second_is_meant_exactly():
    times = [time for time, _ in parse_voices(["0:00-1:12=A,1:12.0-2:00=B,2:00-=A"]).lead]
    assert [(time.exact_start, time.exact_stop) for time in times] == [(True, True), (True, False), (False, True)]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["0:00-1:12=A,1:00-=B"], "at the same time"),
        (["0:00-=A,1:00-=B"], "at the same time"),
        (["1:12-1:00=A"], "ends before"),
        (["1:12-1:12=A"], "shorter"),
        (["1:12-1:12.3=A"], "shorter"),
        (["1:72-2:00=A"], "'1:72'"),
        (["1:2:3:4-=A"], "'1:2:3:4'"),
        (["1..5-=A"], "'1..5'"),
        (["0:00-1:00="], "names no voice"),
        (["A", "B"], "A and B"),
        (["backing=A", "backing=B", "C"], "A and B"),
        (["A", "1:00-=B"], "'A' has the lead"),
        (["backing=A"], "nobody sings the lead"),
        (["lead="], "no name"),
        ([""], "no name"),
        (["bass=A"], "'bass=A'"),
        (["1:00=A"], "'1:00=A'"),
        (["0:00-1:00=A,nonsense=B=C"], "names no voice"),
    ],
)
def test_what_cannot_be_told_is_said(texts: list[str], said: str):
    error = refused(*texts)
    assert said in error.message
    assert error.hint


NAMES = st.text(st.sampled_from("abAB019 ,.'&+()_-é"), min_size=1, max_size=12).filter(
    lambda name: _valid(name) and not name.startswith((" ", "-"))
)


def _valid(name: str) -> bool:
    try:
        return valid_name(name) == name
    except UnderstudyError:
        return False


@given(st.lists(st.tuples(st.integers(1, 4000), NAMES), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_whatever_is_written_is_read(pieces: list[tuple[int, str]], open_end: bool, decimals: bool):
    start, expected, written = 0.0, [], []
    for number, (length, name) in enumerate(pieces):
        last = number == len(pieces) - 1
        step = length + (0.5 if decimals else 0)
        stop = None if last and open_end else start + step
        expected.append((start, stop, name))
        written.append(f"{exact_clock(start)}-{'' if stop is None else exact_clock(stop)}={name}")
        start += step
    ambiguous = any(" " in name and "," in name and "-" in name for _, name in pieces)
    if not ambiguous:
        assert turns(",".join(written)) == expected
    assert turns(*written) == expected


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str):
    try:
        parts = parse_voices([text])
    except UnderstudyError:
        return
    previous = 0.0
    for time, name in parts.lead:
        assert name
        assert time.start >= previous
        previous = float("inf") if time.stop is None else time.stop
        assert previous - time.start >= SHORTEST


@given(st.floats(0, 20000, allow_nan=False).map(lambda seconds: round(seconds, 3)))
def test_times_are_written_as_they_are_read(seconds: float):
    ((time, _),) = parse_voices([f"{exact_clock(seconds)}-=A"]).lead
    assert time.start == pytest.approx(seconds, abs=1e-9)


def test_transposes_by_voice():
    assert parse_transposes("nova=-12") == {"nova": -12}
    assert parse_transposes("nova=-12, ada=auto,Simon, Paul=+3") == {"nova": -12, "ada": "auto", "Simon, Paul": 3}
    for text in ("nova=", "=3", "nova=loud", "nova=99", "nova=3,", "nova=1.5"):
        with pytest.raises(UnderstudyError):
            parse_transposes(text)
    with pytest.raises(UnderstudyError, match="doesn't sing here"):
        parse_voices(["nova"]).cast(voice, {"ada": 3})


def cast(*texts: str) -> Cast:
    return parse_voices(texts).cast(voice)


def test_one_voice_counts_as_it_always_did():
    nova = voice("nova")
    assert as_cast(nova).content_hash == nova.manifest.content_hash
    assert as_cast(nova).name == "nova"


def test_who_sings_what_counts():
    hashes = {
        cast(*texts).content_hash
        for texts in (
            ["nova"],
            ["ada"],
            ["nova", "backing=ada"],
            ["ada", "backing=nova"],
            ["0:00-1:00=nova,1:00-=ada"],
            ["0:00-1:01=nova,1:01-=ada"],
            ["0:00-1:00=nova"],
        )
    }
    assert len(hashes) == 7


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("0:00-1:00=A,1:00-=B", False),
        ("-=A", False),
        ("0:00-1:00=A", True),
        ("0:05-=A", True),
        ("0:00-1:00=A,1:10-=B", True),
        ("0:00-1:00=A,1:00-2:00=B", True),
    ],
)
def test_gaps_are_known(text: str, gaps: bool):
    assert cast(text).leaves_gaps == gaps


def test_an_excerpt_leaves_out_who_is_not_heard():
    duet = cast("0:00-1:00=A,1:00-=B")
    assert [one.name for one in duet.within(0, 30).singers] == ["A"]
    assert [one.name for one in duet.within(70, None).singers] == ["B"]
    assert [one.name for one in duet.within(59.8, 10).singers] == ["B"]
    with pytest.raises(UnderstudyError, match="None of the voices"):
        cast("0:00-1:00=A").within(80, 10)
