"""How answers are combined and trusted. Oracles: numbers by hand, and what must hold whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.decide.combine import agreement, combined, measure, votes, weighted
from stream_infer.decide.composed import Ensemble
from stream_infer.records import Floats


def ensemble(combine: str, *weights: float, threshold: float | None = None) -> Ensemble:
    return Ensemble("e", tuple("abcdef"[: len(weights)]), weights, combine, 1, threshold=threshold)


def one(combine: str, said: list[list[float] | None], weights: list[float], **more: float) -> tuple[list[float], float]:
    """The answer and confidence of one row. None: the member is missing."""
    width = len(next(own for own in said if own is not None))
    outputs = [np.array([own if own is not None else [np.nan] * width]) for own in said]
    there = np.array([[own is not None] for own in said])
    answer, confidence = combined(ensemble(combine, *weights, **more), outputs, there, np.ones((len(said), 1)))
    return ([] if answer is None else answer[0].tolist()), float(confidence[0])


def test_means_weigh_those_who_answered() -> None:
    assert one("mean", [[1.0], [3.0]], [1, 1]) == ([2.0], 1 - 2 / 8)
    assert one("weighted_mean", [[1.0], [3.0]], [3, 1]) == ([1.5], 1 - 3 / (3 * 2.5 + 4.5))
    assert one("weighted_mean", [None, [3.0]], [3, 1]) == ([3.0], 0.25)


def test_a_vote_is_the_share_of_each_class() -> None:
    assert one("vote", [[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]], [1, 1, 1]) == ([1 / 3, 2 / 3], 2 / 3)
    assert one("vote", [[0.2, 0.8], [0.6, 0.4], None], [1, 2, 1]) == ([2 / 3, 1 / 3], 0.75 * (2 / 3))
    assert one("vote", [[0.2], [0.5], [0.7]], [1, 1, 2]) == ([0.75], 0.75)
    assert one("vote", [[12.0], [16.0]], [1, 1], threshold=15.0) == ([0.5], 0.5)


def test_a_judge_gives_the_answer_and_members_may_then_be_of_any_width() -> None:
    outputs = [np.array([[0.5, 0.5]]), np.array([[1.0]])]
    answer, confidence = combined(ensemble("stack", 1, 1), outputs, np.array([[True], [True]]), np.ones((2, 1)))
    assert answer is None
    assert confidence.tolist() == [1.0]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_agreement_is_one_minus_the_distance_of_probabilities(members: int, classes: int, seed: int) -> None:
    """For distributions over classes: half the sum of differences is the distance in total variation."""
    draw = np.random.default_rng(seed)
    outputs = [p / p.sum(axis=1, keepdims=True) for p in (draw.random((5, classes)) + 0.01 for _ in range(members))]
    weights = draw.random(members) + 0.1
    middle = weighted(outputs, np.ones((members, 5), dtype=np.bool_), weights)
    distance = sum(w * np.abs(p - middle).sum(axis=1) / 2 for p, w in zip(outputs, weights, strict=True)) / weights.sum()
    assert agreement(outputs, np.ones((members, 5), dtype=np.bool_), weights) == pytest.approx(1 - distance)


# Millionths: of the smallest numbers that there are, half is 0.
NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))


@given(st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=2, max_size=5), st.floats(0.01, 100))
def test_confidence_is_within_bounds_and_knows_no_unit(said: list[list[float]], unit: float) -> None:
    whole: list[list[float] | None] = [*said]
    answer, confidence = one("mean", whole, [1.0] * len(said))
    assert 0.0 <= confidence <= 1.0
    scaled, same = one("mean", [[unit * value for value in own] for own in said], [1.0] * len(said))
    assert same == pytest.approx(confidence, abs=1e-9)
    assert scaled == pytest.approx([unit * value for value in answer])
    assert one("mean", [said[0]] * len(said), [1.0] * len(said))[1] == pytest.approx(1.0)


def test_votes_go_to_the_first_of_equals() -> None:
    assert votes(np.array([[0.4, 0.4, 0.2]]), 0.5).tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "outputs", "expected"),
    [
        ("answer", [0.2, 0.7], 0.2),
        ("max_probability", [0.2, 0.7, 0.1], 0.7),
        ("max_probability", [0.2], 0.8),
        ("margin", [0.2, 0.7, 0.1], 0.5),
        ("margin", [0.2], 0.6),
        ("confidence", [0.2], 0.9),
    ],
)
def test_what_a_cascade_may_ask(name: str, outputs: list[float], expected: float) -> None:
    made: Floats = measure(name, np.array([outputs]), np.array([0.9]))
    assert made.tolist() == pytest.approx([expected])
