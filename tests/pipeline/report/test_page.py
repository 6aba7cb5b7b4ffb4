from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.covers import good_cover
from tests.support.pages import HOSTILE, Page
from tests.support.signals import song
from understudy.audio.samples import Audio
from understudy.audio.song_analysis import SongAnalysis
from understudy.context import Context
from understudy.pipeline.report import ReportInputs, assess_parts, make, make_report
from understudy.pipeline.report.bands import analyse
from understudy.pipeline.report.clips import encode_clip
from understudy.pipeline.report.figures import Figures, measure_figures
from understudy.pipeline.report.grade import number
from understudy.pipeline.report.make import ReportFiles
from understudy.pipeline.report.page import Track, render
from understudy.pipeline.report.png import brightest, spectrogram_png
from understudy.pipeline.report.svg import Curve, plot, time_ticks
from understudy.pipeline.report.verdict import judge
from understudy.voices.transpose import Transposition
from understudy.wording import clock


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return good_cover(tmp_path_factory.mktemp("cover"))


@pytest.fixture(scope="module")
def figures(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return measure_figures(Context(tmp_path_factory.mktemp("figures"), workers=2), inputs)


@pytest.fixture(scope="module")
def made(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    return make_report(Context(tmp_path_factory.mktemp("report"), workers=2), inputs)


def page_of(inputs: ReportInputs, figures: Figures) -> str:
    tracks = [Track(1, "Cover", "the result", b"OggS")]
    return render(inputs, figures, judge(figures, inputs), tracks)


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def test_what_is_estimated_of_the_singer_is_on_the_page(inputs: ReportInputs, figures: Figures) -> None:
    assert "Original singer in the instrumental" not in page_of(inputs, figures)
    balance = replace(figures.before.balance, short=2.1, leftover=-5.5)
    page = page_of(inputs, replace(figures, before=replace(figures.before, balance=balance)))
    assert "−5.5 dB" in page
    assert "2.1 dB" in page


def test_the_first_figures_show_singer_brightness_and_limiting(inputs: ReportInputs, figures: Figures) -> None:
    page = page_of(inputs, replace(figures, leftover=-7.4))
    assert "−7.4 dB" in page
    assert "left under the new vocal" in page
    assert "than the original one" in page
    assert "of the time above 3 dB" in page


def test_both_files_are_made_and_agree(made: ReportFiles) -> None:
    data = json.loads(made.json.read_text(encoding="utf-8"))
    assert (data["format"], data["version"]) == ("understudy-report", make.VERSION)
    assert data["verdict"]["overall"] == made.verdict == "good"
    assert all(math.isfinite(value) for value in numbers(data))
    assert {figure["name"] for figure in data["figures"]} >= {"on_note", "bleed", "true_peak", "voice"}
    assert data["settings"]["separate"] == {"model": "embedded"}
    page = Page(made.html.read_text(encoding="utf-8"))
    assert page.text("h1") == "Known Song"
    assert "Sounds right" in page.text("h2")
    assert "The song is short." in page.text("li")


def test_nothing_comes_from_outside(made: ReportFiles) -> None:
    text = made.html.read_text(encoding="utf-8")
    page = Page(text)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "a")
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "poster", "action"):
            if name in attributes:
                assert (attributes[name] or "").startswith("data:"), (tag, name)
    without_data = re.sub(r"data:[a-z/]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", without_data)


def test_the_policy_lets_only_our_own_style_and_script_run(made: ReportFiles) -> None:
    text = made.html.read_text(encoding="utf-8")
    policy = next(a["content"] or "" for t, a in Page(text).elements if t == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(bodies) == 1
        digest = base64.b64encode(hashlib.sha256(bodies[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_hostile_words_stay_words(inputs: ReportInputs, figures: Figures) -> None:
    evil = replace(
        inputs,
        title=HOSTILE,
        artist=HOSTILE,
        voice=HOSTILE,
        transposition=Transposition(0, 0, HOSTILE),
        settings={HOSTILE: {HOSTILE: HOSTILE, "list": [HOSTILE], "map": {HOSTILE: 1}}},
        warnings=((HOSTILE, HOSTILE),),
    )
    plain, attacked = Page(page_of(inputs, figures)), Page(page_of(evil, figures))
    assert attacked.text("h1") == HOSTILE
    tags = [tag for tag, _ in attacked.elements]
    assert tags.count("script") == tags.count("style") == 1
    assert {tag for tag, _ in attacked.elements} <= {tag for tag, _ in plain.elements} | {"dl", "dt", "dd"}
    assert not [name for _, attributes in attacked.elements for name in attributes if name.startswith("on")]


@pytest.mark.slow
@settings(max_examples=25)
@given(title=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_any_title_is_shown_as_it_is(title: str, inputs: ReportInputs, figures: Figures) -> None:
    assert Page(page_of(replace(inputs, title=title), figures)).text("h1") == title


def test_everything_has_a_name_for_those_who_do_not_see_it(made: ReportFiles) -> None:
    page = Page(made.html.read_text(encoding="utf-8"))
    for tag, attributes in page.elements:
        if tag == "img":
            assert len(attributes["alt"] or "") > 20
        if tag == "audio" or (tag == "input"):
            assert attributes["aria-label"]
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or len(attributes["aria-label"] or "") > 20
    assert ("html", {"lang": "en"}) in page.elements


@pytest.mark.parametrize(("key", "words"), [(0, "96 beats per minute · F# minor<"), (2, "F# minor, here Ab minor<")])
def test_tempo_and_key_are_shown(inputs: ReportInputs, tmp_path: Path, key: int, words: str) -> None:
    analysis = SongAnalysis(bpm=96.2, bpm_confidence=0.5, key="F# minor", key_confidence=0.8)
    made = make_report(Context(tmp_path), replace(inputs, analysis=analysis, key=key))
    assert words in made.html.read_text(encoding="utf-8")
    data = json.loads(made.json.read_text(encoding="utf-8"))
    assert (data["bpm"], data["song_key"]) == (96.2, "F# minor")


def test_the_same_cover_gives_the_same_bytes(inputs: ReportInputs, made: ReportFiles, tmp_path: Path) -> None:
    again = make_report(Context(tmp_path, workers=1), inputs)
    assert again.html.read_bytes() == made.html.read_bytes()
    assert again.json.read_bytes() == made.json.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_the_player_s_sound_is_the_cover_s(made: ReportFiles, inputs: ReportInputs) -> None:
    page = Page(made.html.read_text(encoding="utf-8"))
    sounds = [attributes for tag, attributes in page.elements if tag == "audio"]
    assert [sound["data-name"] for sound in sounds] == ["Cover", "Song", "New vocal", "Original vocal", "Instrumental"]
    data = base64.b64decode((sounds[0]["src"] or "").partition("base64,")[2])
    with av.open(BytesIO(data), "r") as container:
        assert container.streams.audio[0].codec_context.name == "opus"
        decoded = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in container.decode(audio=0)])
    assert len(decoded) / 48000 == pytest.approx(inputs.cover.duration, abs=0.03)


def test_a_clip_is_the_passage_that_was_asked_for(tmp_path: Path) -> None:
    rate = 44100
    sound = np.zeros((2, 30 * rate), np.float32)
    sound[:, 12 * rate : 13 * rate] = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    clip = encode_clip(Audio(sound, rate), Context(tmp_path), start=10.0, stop=24.0, mono=True)
    with av.open(BytesIO(clip), "r") as container:
        decoded = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in container.decode(audio=0)])
    assert len(decoded) / 48000 == pytest.approx(14.0, abs=0.03)
    loud = np.flatnonzero(np.abs(decoded) > 0.1)
    assert loud[0] / 48000 == pytest.approx(2.0, abs=0.02)
    assert loud[-1] / 48000 == pytest.approx(3.0, abs=0.02)


def test_a_long_song_is_embedded_in_part_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assess_parts, "_LONGEST", 5.0)
    monkeypatch.setattr(assess_parts, "_EXCERPT", 4.0)
    inputs = good_cover(tmp_path)
    result = make_report(Context(tmp_path), inputs)
    page = Page(result.html.read_text(encoding="utf-8"))
    assert "only" in page.text("p")
    starts = {float(a["data-start"] or 0) for t, a in page.elements if t == "audio"}
    assert len(starts) == 1
    start = starts.pop()
    assert 1.0 <= start <= inputs.cover.duration - 4.0  # not the first second, in which nobody sings


def test_the_spectrogram_is_a_picture_with_low_notes_below(tmp_path: Path) -> None:
    import av

    rate = 22050
    time = np.arange(4 * rate) / rate
    low_then_high = np.where(time < 2, np.sin(2 * np.pi * 110 * time), np.sin(2 * np.pi * 4000 * time))
    heard = analyse(Audio.of(0.3 * low_then_high, rate), Context(tmp_path))
    with av.open(BytesIO(spectrogram_png(heard, brightest(heard))), "r", format="png_pipe") as file:
        picture = next(file.decode(video=0)).to_ndarray(format="rgb24").sum(axis=2, dtype=int)
    quarter = picture.shape[1] // 4
    assert picture[:, quarter].argmax() > picture.shape[0] * 0.7
    assert picture[:, 3 * quarter].argmax() < picture.shape[0] * 0.4


def test_a_gap_lifts_the_pen() -> None:
    values = np.array([1.0, 2.0, np.nan, 3.0, 3.5])
    drawing = plot([Curve("cover", values, 1.0)], 5.0, low=0, high=4, marks=[(2.0, "")], label="a curve with a gap")
    path = re.search(r'd="([^"]*)"', drawing)
    assert path
    assert path[1].count("M") == 2
    assert path[1].count("L") == 2


@given(st.floats(0, 100000))
def test_a_clock_reads_back(seconds: float) -> None:
    parts = [int(part) for part in clock(seconds).split(":")]
    assert sum(part * 60**place for place, part in enumerate(reversed(parts))) == round(seconds)
    assert all(part < 60 for part in parts[1:])


@given(st.floats(0.01, 20000), st.integers(2, 40))
def test_ticks_are_few_and_inside(duration: float, most: int) -> None:
    ticks = time_ticks(duration, most)
    assert ticks[0] == 0
    assert ticks[-1] <= duration + 1e-6
    assert len(ticks) <= max(most, duration / 1200) + 1


def test_numbers_are_printed_for_people() -> None:
    assert number(-20.649, "dB") == "−20.6 dB"
    assert number(97.6, "%") == "98 %"
    assert number(0.7049, "") == "0.70"


def test_every_song_of_the_material_has_a_page_at_any_length(tmp_path: Path) -> None:
    """A song shorter than the loudness meter's window still gets its report."""
    short = song(1.2, 22050)
    parts = {name: getattr(short, name).samples for name in ("vocals", "instrumental")}
    cut = good_cover(
        tmp_path, song=short.mix.samples, original_vocals=parts["vocals"], vocals=parts["vocals"],
        converted=parts["vocals"][:1], instrumental=parts["instrumental"], pitch=short.pitch,
    )  # fmt: skip
    result = make_report(Context(tmp_path), cut)
    assert result.html.stat().st_size > 20000
