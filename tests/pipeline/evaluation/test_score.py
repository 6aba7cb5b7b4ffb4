from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.stem_songs import RATE, Floats, song, stem, write
from understudy.audio.samples import Audio
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.pipeline.evaluation.dataset import find_songs
from understudy.pipeline.evaluation.score import Figures, score


@pytest.fixture(autouse=True)
def short_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.pipeline.evaluation.bss_eval.TAPS", 32)


NAMES = ("vocals", "drums", "bass", "other")


def stored(folder: Path, name: str, sound: Floats, rate: int = RATE) -> AudioFile:
    audio = Audio.of(sound, rate)
    return write_blocks(folder / f"{name}.npy", rate, audio.channels, [audio])


def parts(seed: int = 0) -> dict[str, Floats]:
    return {name: stem(10 * seed + number) for number, name in enumerate(NAMES)}


def scored(tmp_path: Path, found: dict[str, Floats], detail: int = 2) -> tuple[dict[str, Figures], list[str]]:
    """Of the only song below ``tmp_path / "songs"``."""
    (known,) = find_songs(tmp_path / "songs").songs
    work = tmp_path / "work"
    work.mkdir()
    context = Context(work)
    mixture = stored(tmp_path, "decoded", sum(parts().values()))  # type: ignore[arg-type]
    files = {name: stored(tmp_path, f"found {name}", sound) for name, sound in found.items()}
    figures = dict(score(context, mixture, known, detail, files))
    assert list(work.iterdir()) == []  # nothing stays in the cache
    return figures, context.warnings


def halves() -> dict[str, Floats]:
    true = parts()
    rest = true["drums"] + true["bass"] + true["other"]
    return {"vocals": true["vocals"] + 0.1 * rest, "instrumental": 0.9 * rest}


def test_the_instrumental_is_the_sum_of_the_band(tmp_path: Path) -> None:
    song(tmp_path / "songs/A")
    figures: Any
    figures, warnings = scored(tmp_path, halves())
    assert figures.keys() == {"vocals", "instrumental"}
    assert figures["instrumental"].sdr == pytest.approx(20, abs=0.01)
    assert figures["instrumental"].si_sdr > 60
    assert figures["vocals"].sir == pytest.approx(figures["vocals"].sdr, abs=0.5)
    assert figures["vocals"].windows == 3
    assert warnings == []


def test_the_band_in_detail(tmp_path: Path) -> None:
    song(tmp_path / "songs/A")
    figures: Any
    figures, warnings = scored(tmp_path, {**halves(), **{name: 0.9 * sound for name, sound in parts().items()}}, 4)
    assert figures.keys() == {"vocals", "instrumental", "drums", "bass", "other"}
    assert all(figures[name].sdr == pytest.approx(20, abs=0.01) for name in ("drums", "bass", "other"))
    assert all(figures[name].sir > 40 for name in ("drums", "bass", "other"))
    assert warnings == []


def test_guitar_and_piano_belong_to_other_where_they_are_not_known(tmp_path: Path) -> None:
    song(tmp_path / "songs/A")
    true = parts()
    six = {name: true[name] for name in ("drums", "bass")}
    six |= {"other": 0.25 * true["other"], "guitar": 0.5 * true["other"], "piano": 0.15 * true["other"]}
    figures: Any
    figures, _ = scored(tmp_path, {**halves(), **six}, 4)
    assert figures["other"].sdr == pytest.approx(20, abs=0.01)


def test_a_stem_that_a_separator_lacks_is_told(tmp_path: Path) -> None:
    song(tmp_path / "songs/A")
    figures: Any
    figures, warnings = scored(tmp_path, halves(), 4)
    assert figures.keys() == {"vocals", "instrumental"}
    assert warnings == ["The separator gives no drums and no bass and no other."]


def test_an_unknown_instrumental_is_what_the_vocals_leave(tmp_path: Path) -> None:
    true = parts()
    write(tmp_path / "songs/A", mixture=sum(true.values()), vocals=true["vocals"])  # type: ignore[arg-type]
    figures: Any
    figures, warnings = scored(tmp_path, halves())
    assert figures["instrumental"].sdr == pytest.approx(20, abs=0.01)
    assert warnings == ["The instrumental isn't known: the mixture minus the vocals was used."]


def test_no_vocals_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "songs/A", mixture=stem(1), drums=stem(1))
    with pytest.raises(UnderstudyError) as error:
        scored(tmp_path, halves())
    assert error.value.code == "truth-incomplete"


def test_silent_vocals_say_only_how_much_leaked(tmp_path: Path) -> None:
    rest = parts()["drums"]
    write(tmp_path / "songs/A", mixture=rest, vocals=np.zeros_like(rest), instrumental=rest)
    figures: Any
    figures, _ = scored(tmp_path, halves())
    assert figures["vocals"].sdr is None
    assert figures["vocals"].sir is None
    assert figures["vocals"].leak < 0


def test_a_stem_that_is_a_little_short_is_told(tmp_path: Path) -> None:
    true = parts()
    rest = true["drums"] + true["bass"] + true["other"]
    write(tmp_path / "songs/A", mixture=sum(true.values()), vocals=true["vocals"][:, :-80], instrumental=rest)  # type: ignore[arg-type]
    figures: Any
    figures, warnings = scored(tmp_path, halves())
    assert figures["instrumental"].sdr == pytest.approx(20, abs=0.01)
    assert warnings == ["vocals.wav is 0.010 s shorter than the mixture."]


def test_a_stem_of_another_song_is_an_error(tmp_path: Path) -> None:
    true = parts()
    write(tmp_path / "songs/A", mixture=sum(true.values()), vocals=stem(1, 5.0), instrumental=true["bass"])  # type: ignore[arg-type]
    with pytest.raises(UnderstudyError) as error:
        scored(tmp_path, halves())
    assert error.value.code == "truth-length"


def test_another_rate_and_mono_are_brought_together_and_told(tmp_path: Path) -> None:
    from understudy.audio.resample import resample

    true = parts()
    middle = np.repeat(true["vocals"].mean(axis=0, keepdims=True), 2, axis=0)
    rest = true["drums"] + true["bass"] + true["other"]
    write(tmp_path / "songs/A", mixture=middle + rest, instrumental=rest)
    write(
        tmp_path / "songs/A", 2 * RATE, vocals=resample(Audio.of(middle[:1], RATE), 2 * RATE).samples.astype(np.float64)
    )
    figures: Any
    figures, warnings = scored(tmp_path, {"vocals": 0.9 * middle, "instrumental": 0.9 * rest})
    assert figures["vocals"].sdr == pytest.approx(20, abs=1.0)  # the resampler's band ends a little below half the rate
    assert warnings[:2] == [
        "vocals.wav has 16000 Hz, the mixture 8000: it was resampled.",
        "vocals.wav is mono, the mixture stereo.",
    ]


def test_stems_that_are_not_the_song_are_told(tmp_path: Path) -> None:
    true = parts()
    write(tmp_path / "songs/A", mixture=true["vocals"], vocals=true["vocals"], instrumental=3 * true["bass"])
    _, warnings = scored(tmp_path, halves())
    assert len(warnings) == 1
    assert warnings[0].startswith("Its stems don't sum to the mixture")
