"""A song with its stems at other levels: exact where nothing limits, under the ceiling always, never louder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
from pydantic import ValidationError

from tests.support import signals
from understudy.audio.loudness import measure
from understudy.audio.samples import Audio
from understudy.audio.stored import AudioFile, write_blocks
from understudy.context import Context
from understudy.pipeline.separation.blockwise import summed
from understudy.pipeline.stages.rebalance import Balance, rebalance


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


def stored(context: Context, name: str, sound: Audio) -> AudioFile:
    return write_blocks(context.folder / f"{name}.npy", sound.rate, sound.channels, [sound])


def files(context: Context, gain: float = 1.0) -> tuple[AudioFile, AudioFile, AudioFile]:
    song = signals.song(5.0)
    vocals, instrumental = gain * song.vocals.samples, gain * song.instrumental.samples
    return (
        stored(context, "song", Audio(vocals + instrumental, 44100)),
        stored(context, "vocals", Audio(vocals, 44100)),
        stored(context, "instrumental", Audio(instrumental, 44100)),
    )


def true_peak(sound: Audio) -> float:
    """dBTP by 8-fold oversampling."""
    return float(20 * np.log10(np.abs(soxr.resample(sound.samples.T, 44100, 8 * 44100, quality="VHQ")).max()))


def test_nothing_changed_is_the_song_to_the_last_bit(context):
    song, vocals, _ = files(context)
    made = rebalance(context, song, Balance(levels={"vocals": 0.0}), {"vocals": vocals})
    assert np.array_equal(made.sound.read().samples, song.read().samples)
    assert made.loudness.gain == made.loudness.reduction == 0


@pytest.mark.slow
@pytest.mark.parametrize("level", [-6.0, -40.0, None])
def test_a_softer_stem_and_all_else_as_it_was(context, level):
    song, vocals, instrumental = files(context)
    made = rebalance(context, song, Balance(levels={"vocals": level}), {"vocals": vocals})
    gain = 0.0 if level is None else 10 ** (level / 20)
    wanted = instrumental.read().samples + gain * vocals.read().samples
    assert np.abs(made.sound.read().samples - wanted).max() < 1e-6


def test_without_the_rest_only_the_stems_sound(context):
    song, vocals, instrumental = files(context)
    noise = stored(context, "noisy", Audio(song.read().samples + 0.01, 44100))  # the song holds more than its stems
    balance = Balance(levels={"instrumental": 0.0, "vocals": -12.0}, rest=False)
    made = rebalance(context, noise, balance, {"vocals": vocals, "instrumental": instrumental}).sound.read().samples
    wanted = instrumental.read().samples + 10 ** (-12 / 20) * vocals.read().samples
    assert np.abs(made - wanted).max() < 1e-6


def test_a_louder_stem_makes_the_song_no_louder_and_no_peak_passes_the_ceiling(context):
    song, vocals, _ = files(context, gain=2.5)
    made = rebalance(context, song, Balance(levels={"vocals": 12.0}), {"vocals": vocals})
    sound = made.sound.read()
    assert true_peak(sound) <= -0.99
    assert made.loudness.true_peak <= -1
    louder = measure(sound, context).integrated - measure(song, context).integrated
    assert -1.5 < louder < 0.1  # what the limiter takes of a song that is as loud as few are
    assert made.loudness.gain < -3
    assert (made.sound.frames, made.sound.channels, made.sound.rate) == (song.frames, 2, 44100)


def test_a_song_over_the_ceiling_is_brought_under_it_and_silence_stays_silent(context):
    song, vocals, _ = files(context, gain=8.0)
    made = rebalance(context, song, Balance(levels={"vocals": 0.0}), {"vocals": vocals})
    assert true_peak(made.sound.read()) <= -0.99
    assert made.loudness.reduction > 1
    nothing = stored(context, "nothing", Audio.silence(2, 44100, 44100))
    made = rebalance(context, nothing, Balance(levels={"vocals": 6.0}), {"vocals": nothing})
    assert not made.sound.read().samples.any()


def test_a_balance_of_nothing_is_refused():
    with pytest.raises(ValidationError):
        Balance(levels={})


def test_stems_are_added_up(context):
    song, vocals, instrumental = files(context)
    whole = summed(context, (vocals, instrumental))
    assert np.abs(whole.read().samples - song.read().samples).max() < 1e-6
