"""What stems are called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.pipeline.separation.stems import Purpose, canonical, canonical_stems, purpose_of, residual


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Vocals", "vocals"), ("Instrumental", "instrumental"), ("No Reverb", "dry"), ("noreverb", "dry"),
        ("karaoke", "lead"), ("Lead Vocals", "lead"), ("Backing_Vocals", "backing"), ("Reverb", "reverb"),
        ("No Echo", "dry"), ("Noise", "noise"), ("No Noise", "dry"), ("crowd", "noise"), ("hh", "hh"),
        ("No Woodwinds", "no-woodwinds"), ("accompaniment", "instrumental"), ("Guitar", "guitar"),
    ],
)  # fmt: skip
def test_names_become_the_designs_words(name: str, stem: str) -> None:
    assert canonical(name) == stem


@given(st.text(max_size=60))
def test_any_name_can_be_a_files(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", canonical(name))
    assert canonical(canonical(name)) == canonical(name)


@given(st.lists(st.text(max_size=8), max_size=6), st.sampled_from([None, "karaoke", "dereverb", "denoise"]))
def test_no_two_stems_have_one_name(names: list[str], purpose: Purpose | None) -> None:
    found = canonical_stems(names, purpose)
    assert len(found) == len(names) == len(set(found))


@pytest.mark.parametrize(
    ("names", "purpose", "stems"),
    [
        (["vocals", "other"], None, ("vocals", "instrumental")),
        (["other", "Instrumental"], None, ("vocals", "instrumental")),
        (["karaoke", "other"], None, ("lead", "backing")),
        (["drums", "other"], None, ("drums", "other")),
        (["vocals", "drums", "bass", "other"], None, ("vocals", "drums", "bass", "other")),
        (["Vocals", "Instrumental"], "karaoke", ("lead", "backing")),
        (["Instrumental", "Vocals"], "karaoke", ("backing", "lead")),
        (["Vocals"], "karaoke", ("lead",)),
        (["lead", "backing"], "karaoke", ("lead", "backing")),
        (["dry", "No dry"], "dereverb", ("dry", "reverb")),
        (["noreverb", "reverb"], "dereverb", ("dry", "reverb")),
        (["Reverb"], "dereverb", ("reverb",)),
        (["dry", "other"], "denoise", ("dry", "noise")),
        (["crowd", "other"], "denoise", ("noise", "dry")),
    ],
)
def test_the_stems_of_a_model(names: list[str], purpose: Purpose | None, stems: tuple[str, ...]) -> None:
    assert canonical_stems(names, purpose) == stems


def test_a_file_may_say_what_it_is_for() -> None:
    assert purpose_of("mel_band_roformer_karaoke_gabox_v2.ckpt") == "karaoke"
    assert purpose_of("UVR_MDXNET_KARA_2.onnx") == "karaoke"
    assert purpose_of("deverb_bs_roformer_8_384dim_10depth.ckpt") == "dereverb"
    assert purpose_of("UVR-De-Echo-Normal.pth") == "dereverb"
    assert purpose_of("UVR-DeNoise-Lite.pth") == "denoise"
    assert purpose_of("bs_roformer_vocals_revive_unwa.ckpt") is None
    assert purpose_of("model_bs_roformer_ep_317_sdr_12.9755.ckpt") is None


def test_what_is_left() -> None:
    assert (residual("vocals"), residual("reverb"), residual("drums")) == ("instrumental", "dry", "other")
