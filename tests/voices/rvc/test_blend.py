"""Blends: the weighted mean of two models, of the two speakers who sing, and only of models of one kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.library_voices import TRAINED, recorded_voice, small_model
from understudy.errors import UnderstudyError
from understudy.voices import library
from understudy.voices.rvc.blend import blend, mix
from understudy.voices.rvc.checkpoint import Checkpoint, read_checkpoint
from understudy.voices.voice import PitchRange


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A library with nova and ada, both trained."""
    root = tmp_path / "library"
    for seed, (name, reach) in enumerate((("nova", 100), ("ada", 400))):
        hashed = recorded_voice(root, name).manifest.recordings_hash
        own = PitchRange(low=reach, median=2 * reach, high=4 * reach)
        model = small_model(seed)
        library.publish_model(root, name, hashed, model, None, TRAINED, default=False, pitch_range=own)
    return root


def test_a_blend_of_two_voices(root: Path) -> None:
    import torch

    voice, findings = blend(root, "nova", "ada", 0.75, "between")
    assert library.load(root, "between") == voice
    model = voice.manifest.model
    assert model is not None
    assert (voice.engines, model.index, model.trained, model.source) == (("rvc",), None, None, "nova + ada")
    assert model.info == "0.75 nova, 0.25 ada"
    assert [finding.code for finding in findings] == ["no-index"]
    one, other, made = (
        read_checkpoint(library.load(root, name, "rvc").model_file) for name in ("nova", "ada", "between")
    )
    for name, tensor in made.weights.items():
        expected = 0.75 * one.weights[name].float() + 0.25 * other.weights[name].float()
        assert torch.equal(tensor, expected.half())
    assert voice.pitch_range == PitchRange(low=141.42, median=282.84, high=565.69)
    assert voice.manifest.consent == "self"


def test_the_weaker_consent_holds(root: Path) -> None:
    from understudy.voices import manifest

    ada = library.load(root, "ada")
    manifest.write(ada.folder, ada.manifest.model_copy(update={"consent": "granted"}))
    assert blend(root, "nova", "ada", 0.5, "one")[0].manifest.consent == "granted"
    assert blend(root, "ada", "nova", 0.5, "two")[0].manifest.consent == "granted"


ONE, OTHER = (small_model(seed, speakers=4) for seed in (1, 2))


def with_speakers(model: Checkpoint, count: int) -> Checkpoint:
    weights = {**model.weights, "emb_g.weight": model.weights["emb_g.weight"][:count]}
    return Checkpoint(replace(model.architecture, speakers=count), weights)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.integers(1, 4), st.integers(1, 4), st.data())
def test_the_singers_are_mixed_whatever_their_numbers(ratio: float, one: int, other: int, data: st.DataObject) -> None:
    import torch

    speakers = data.draw(st.integers(0, one - 1)), data.draw(st.integers(0, other - 1))
    first, second = with_speakers(ONE, one), with_speakers(OTHER, other)
    mixed = mix(first, second, ratio, speakers)
    count = min(one, other)
    assert mixed.architecture == replace(first.architecture, speakers=count)
    place = speakers[0] if speakers[0] < count else 0
    rows = first.weights["emb_g.weight"][speakers[0]], second.weights["emb_g.weight"][speakers[1]]
    expected = (ratio * rows[0].float() + (1 - ratio) * rows[1].float()).half()
    assert torch.equal(mixed.weights["emb_g.weight"][place], expected)
    if speakers[0] == speakers[1] < count:  # as the other tools have it
        every = ratio * first.weights["emb_g.weight"][:count].float()
        every += (1 - ratio) * second.weights["emb_g.weight"][:count].float()
        assert torch.equal(mixed.weights["emb_g.weight"], every.half())
    whole = mix(first, first, ratio)
    assert all(torch.allclose(whole.weights[name], tensor, rtol=1e-3) for name, tensor in first.weights.items())


def test_models_of_other_kinds_are_refused() -> None:
    model = small_model()
    sizes = model.architecture
    for other, why in (
        (Checkpoint(replace(sizes, version="v1"), model.weights), "version v2 and v1"),
        (Checkpoint(replace(sizes, f0=False), model.weights), "pitch guidance"),
        (Checkpoint(replace(sizes, sample_rate=32000), model.weights), "sample rate 16000 and 32000"),
        (Checkpoint(replace(sizes, hidden_channels=16), model.weights), "hidden channels 8 and 16"),
        (Checkpoint(sizes, model.weights, {"embedder_model": "cepstral"}), "embedder contentvec and cepstral"),
    ):
        with pytest.raises(UnderstudyError) as refused:
            mix(model, other, 0.5)
        assert refused.value.code == "models-differ"
        assert why in refused.value.message


def test_bad_requests(root: Path) -> None:
    recorded_voice(root, "vega")
    for first, second, ratio, name, code in (
        ("nova", "vega", 0.5, "new", "engine-missing"),
        ("nova", "none", 0.5, "new", "voice-unknown"),
        ("nova", "ada", 1.5, "new", "ratio-invalid"),
        ("nova", "ada", float("nan"), "new", "ratio-invalid"),
        ("nova", "ada", 0.5, "vega", "voice-exists"),
        ("nova", "ada", 0.5, "../new", "voice-name-invalid"),
    ):
        with pytest.raises(UnderstudyError) as refused:
            blend(root, first, second, ratio, name)
        assert refused.value.code == code
    assert {voice.name for voice in library.list_voices(root)} == {"nova", "ada", "vega"}
    assert blend(root, "nova", "ada", 0.5, "vega", replace=True)[0].name == "vega"
