"""The data of a training: what it holds, how it is divided, and when it is too little."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.training_data import Sung, dataset_of, sung
from understudy.audio.pitch import PitchTrack
from understudy.audio.samples import Audio
from understudy.context import Context
from understudy.errors import UnderstudyError
from understudy.voices.rvc.embedders import Cepstral
from understudy.voices.rvc.hubert.encoder import Version
from understudy.voices.rvc.training.dataset import GAP, LEAST, Dataset, write_content
from understudy.voices.rvc.training.slicing import slice_recording


@pytest.fixture(scope="module")
def takes() -> list[Sung]:
    return [sung(20, seed=1), sung(8, seed=2), sung(8, seed=3)]


@pytest.fixture(scope="module")
def data(takes: list[Sung], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(tmp_path_factory.mktemp("data"), takes)


def test_recordings_are_trained_on_or_held_out(data: Dataset) -> None:
    on_one_side = [{data.clips[index].recording for index in part} for part in (data.training, data.held_out)]
    assert on_one_side == [{0, 3}, {1, 2}]  # the last one is silence
    assert data.training_seconds + data.held_out_seconds == pytest.approx(36, abs=3)
    assert "take 1, take 2" in data.findings[-1].sentence


def test_silence_is_in_the_data_twice(data: Dataset) -> None:
    silent = [index for index in data.training if data.clips[index].recording == 3]
    assert len(silent) == 2
    assert not data.sound(silent[0]).any()
    assert not data.f0(silent[0]).any()
    assert data.clips[silent[0]].frames == 298


def test_a_clip_is_its_place_in_the_recording_leveled(data: Dataset, takes: list[Sung]) -> None:
    for index in (*data.training[:4], *data.held_out):
        clip = data.clips[index]
        original, pitch = takes[clip.recording]
        begin = clip.piece.start * 80
        wanted = original.samples[0, begin : begin + clip.frames * 160] * clip.piece.gain
        sound = data.sound(index)
        # the high-pass of the preparation shifts phases of the lowest partials
        assert np.corrcoef(np.diff(sound), np.diff(wanted))[0, 1] > 0.97
        assert np.array_equal(sound, data.content_sound(index))  # the model's rate is 16 kHz, too
        assert np.array_equal(data.f0(index), pitch.f0[clip.piece.start :: 2][: clip.frames])
        assert 0.6 < np.abs(data.sound(index)).max() < 1.0


def test_content_is_that_of_the_piece_alone(data: Dataset) -> None:
    for index in data.training[:3]:
        clip = data.clips[index]
        clips = data.recordings[clip.recording].clips
        whole = clips.content_sound.read(clip.piece.start * 80, clip.piece.stop * 80).samples
        encoded = Cepstral().encode(torch.from_numpy(whole * np.float32(clip.piece.gain)), "v2")[0]
        assert np.array_equal(data.content(index), encoded[: (clip.frames + 1) // 2].numpy())
    rows = sum(len(block) for block in data.content_of_training())
    assert rows == sum((data.clips[i].frames + 1) // 2 for i in data.training if data.clips[i].recording < 3)


def test_of_one_recording_the_end_is_held_out_with_a_gap(tmp_path: Path) -> None:
    data = dataset_of(tmp_path, [sung(30, seed=5)])
    trained = [data.clips[index] for index in data.training if data.clips[index].recording == 0]
    held = [data.clips[index] for index in data.held_out]
    border = min(clip.piece.start for clip in held)
    assert max(clip.stop for clip in trained) <= border - GAP
    assert data.held_out_seconds >= 0.25 * 30 - 1
    assert data.training_seconds >= 15
    assert "the end of take 0" in data.findings[-1].sentence


@pytest.mark.parametrize("seconds", [1.0, 9.0])
def test_too_little_sound_is_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(UnderstudyError) as caught:
        dataset_of(tmp_path, [sung(seconds, rests=False)])
    assert caught.value.code == "too-little-data"
    assert f"{LEAST:.0f} s are needed" in caught.value.message


def test_ten_seconds_are_enough(tmp_path: Path) -> None:
    data = dataset_of(tmp_path, [sung(10.5, rests=False)])
    assert data.training_seconds > 5
    assert data.held_out_seconds > 2


def test_silent_recordings_are_said_and_never_held_out(tmp_path: Path) -> None:
    nothing = (Audio.silence(1, 160000, 16000), PitchTrack(np.zeros(2001, np.float32)))
    data = dataset_of(tmp_path, [nothing, sung(12, seed=1), sung(12, seed=2), nothing])
    assert {data.clips[index].recording for index in data.held_out} <= {1, 2}
    assert [finding.code for finding in data.findings] == ["silent", "silent", "held-out"]
    assert [finding.recording for finding in data.findings] == ["take 0", "take 3", ""]
    assert data.findings[0].sentence.startswith("take 0: ")
    assert data.content(data.training[0]).shape[1] == 768


def test_features_that_are_no_numbers_are_an_error(tmp_path: Path, takes: list[Sung]) -> None:
    class Broken(Cepstral):
        def encode(self, sound: torch.Tensor, version: Version) -> torch.Tensor:
            return super().encode(sound, version) / 0

    context = Context(tmp_path)
    with pytest.raises(UnderstudyError) as caught:
        write_content(context, slice_recording(context, takes[1][0], 16000), Broken(), "v2")
    assert caught.value.code == "embedder-broken"
