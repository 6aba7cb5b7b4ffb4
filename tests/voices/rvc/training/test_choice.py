"""Which checkpoint is chosen, and when training ends, from evaluations made up for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.voices.rvc.training.choice import choose, finished, uncertainty
from understudy.voices.rvc.training.evaluation import ClipScores, Evaluation


def evaluation(step, mel=0.5, *, similarity=None, estoi=0.7, f0=0.02, silent=0.0, clicks=0.0, noise=0.0) -> Evaluation:
    def clip(name, kind):
        distance = mel if kind == "held-out" else None
        return ClipScores(name, kind, similarity, f0, 0.05, estoi, noise, distance, silent, clicks)

    return Evaluation(step, (clip("h0", "held-out"), clip("h1", "held-out"), clip("p0", "phrase")))


def test_the_smallest_mel_distance_wins():
    choice = choose([evaluation(step, mel) for step, mel in ((1, 0.9), (2, 0.5), (3, 0.7))])
    assert choice.step == 2
    assert choice.score == pytest.approx(0.5)
    assert "Step 2" in choice.reason


def test_similarity_takes_no_part_in_the_choice():
    assert choose([evaluation(1, 0.4, similarity=0.6), evaluation(2, 0.6, similarity=0.8)]).step == 1


def test_of_equals_the_earliest_is_chosen():
    assert choose([evaluation(1, 0.7), evaluation(2, 0.5), evaluation(3, 0.5)]).step == 2


def test_less_intelligible_and_out_of_tune_checkpoints_are_left_out():
    good = evaluation(1, 0.6, similarity=0.7)
    assert choose([good, evaluation(2, 0.4, similarity=0.9, estoi=0.5)]).step == 1
    assert choose([good, evaluation(2, 0.4, similarity=0.9, f0=0.3)]).step == 1


def test_one_lucky_evaluation_does_not_shut_the_others_out():
    evaluations = [evaluation(step, 0.6 - 0.01 * step, f0=0.1) for step in range(10)]
    evaluations[4] = evaluation(4, 0.6, f0=0.05)
    assert choose(evaluations).step == 9


def test_a_spoiled_checkpoint_is_left_out_even_if_it_scores_best():
    choice = choose([evaluation(1, 0.6), evaluation(2, 0.3, clicks=9.0), evaluation(3, 0.3, silent=0.5)])
    assert choice.step == 1
    assert "2 with clicks or silence were left out" in choice.reason


def test_if_all_are_spoiled_one_is_chosen_all_the_same():
    assert choose([evaluation(1, clicks=20.0), evaluation(2, 0.9, clicks=21.5)]).step == 1


def test_there_must_be_something_to_choose_from():
    with pytest.raises(ValueError, match="no evaluation"):
        choose([])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_any_scores_give_a_choice_among_the_evaluations(scores):
    given_ = [evaluation(step, mel, estoi=e, f0=f, silent=s) for step, (mel, e, f, s) in enumerate(scores)]
    choice = choose(given_)
    assert 0 <= choice.step < len(scores)
    assert np.isfinite([choice.score, choice.uncertainty]).all()


def test_training_ends_after_six_evaluations_without_a_gain():
    falling = [evaluation(step, 1.0 - 0.1 * step) for step in range(5)]
    flat = [evaluation(step, 0.6) for step in range(5, 11)]
    assert finished(falling) is None
    assert finished([*falling, *flat[:5]]) is None
    assert "up to step 4" in (finished([*falling, *flat]) or "")


def test_training_goes_on_while_it_gains():
    assert finished([evaluation(step, 1.0 - 0.05 * step) for step in range(15)]) is None


@pytest.mark.parametrize("score", ["similarity", "estoi"])
def test_training_goes_on_while_another_score_gains(score):
    assert finished([evaluation(step, 0.5, **{score: 0.5 + 0.02 * step}) for step in range(12)]) is None
    assert finished([evaluation(step, 0.5, **{score: 0.5}) for step in range(12)]) is not None


def test_noise_alone_is_no_gain():
    random = np.random.default_rng(0)
    noisy = [evaluation(step, 0.5 + 0.003 * random.standard_normal()) for step in range(9)]
    assert finished(noisy) is not None


def test_uncertainty_follows_the_scatter_and_not_the_trend_or_one_outlier():
    random = np.random.default_rng(0)
    trend = [evaluation(step, 1.0 - 0.05 * step) for step in range(12)]
    noisy = [evaluation(step, 1.0 - 0.05 * step + 0.02 * random.standard_normal()) for step in range(12)]
    spoiled = [*trend[:6], evaluation(6, 3.0), *trend[7:]]
    least = uncertainty(trend, "mel_distance")
    assert uncertainty(spoiled, "mel_distance") == pytest.approx(least)
    assert least < uncertainty(noisy, "mel_distance") < 0.04
