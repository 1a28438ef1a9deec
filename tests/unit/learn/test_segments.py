"""Oracle: plain Python, one policy per segment: its own rows, and a prior of fractions from the rows of all others."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.decide.segments import SegmentStats
from stream_infer.decide.settings import SegmentSettings
from stream_infer.learn.segments import SegmentLearner
from stream_infer.learn.stats import PolicyLearner
from stream_infer.state import StateError, Store, pack_text
from tests.unit.learn.test_stats import changed

Rows = list[tuple[int, float, float, int]]
rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.floats(0, 1) | st.just(math.nan),
        st.sampled_from([1.0, 0.5, 0.25, 0.02]),
        st.sampled_from([0, 3, 5, 2**63, 11]),
    ),
    max_size=30,
)


def learned(learner: SegmentLearner, part: Rows) -> None:
    arm, reward, propensity, segment = ([row[i] for row in part] for i in range(4))
    columns = np.array(arm, dtype=np.int64), np.array(reward, dtype=np.float64), np.array(propensity, dtype=np.float64)
    learner.learn(*columns, np.array(segment, dtype=np.uint64))


def alone(part: Rows) -> list[tuple[int, int]]:
    """Per arm (effective rows, summed reward) of one policy over these rows."""
    learner = PolicyLearner(3)
    arm, reward, propensity = ([row[i] for row in part] for i in range(3))
    learner.learn(np.array(arm, dtype=np.int64), np.array(reward, dtype=np.float64), np.array(propensity, dtype=np.float64))
    stats = learner.stats()
    return list(zip(stats.pulls.tolist(), stats.reward_micro.tolist(), strict=True))


def oracle(seen: Rows, segment: int, prior_rows: int) -> list[tuple[int, int]]:
    found = []
    mine, theirs = alone([row for row in seen if row[3] == segment]), alone([row for row in seen if row[3] != segment])
    for (n, r), (others, reward) in zip(mine, theirs, strict=True):
        c = min(others, prior_rows)
        found.append((n + c, r + (math.floor(Fraction(reward * c, others) + Fraction(1, 2)) if others else 0)))
    return found


def told(stats: SegmentStats) -> dict[int, list[tuple[int, int]]]:
    each = {name: stats.of(place) for place, name in enumerate(stats.hashes.tolist())} | {0: stats.pooled}
    return {name: list(zip(s.pulls.tolist(), s.reward_micro.tolist(), strict=True)) for name, s in each.items()}


@given(rows, rows, st.sampled_from([0, 1, 20]), st.sampled_from([1, 2, 10]))
def test_segments_learn_as_policies_of_their_own_with_a_prior(first: Rows, second: Rows, prior_rows: int, most: int) -> None:
    settings = SegmentSettings("country", most, prior_rows)
    learner, log = SegmentLearner(3, settings), {}
    for part in (first, second):
        learned(learner, part)
        log |= changed(learner)
    seen = [row for row in first + second if not math.isnan(row[1])]
    have = list(dict.fromkeys(row[3] for row in seen if row[3]))[:most]  # the first to earn a reward
    right = {0: alone(seen)} | {segment: oracle(seen, segment, prior_rows) for segment in have}
    assert told(learner.stats()) == right
    restored, loaded, whole = (SegmentLearner(3, settings) for _ in range(3))
    restored.restore(pack_text(list(log)), pack_text(list(log.values())))
    loaded.load(learner.snapshot())
    learned(whole, first + second)
    assert restored.stats().to_bytes() == loaded.stats().to_bytes() == whole.stats().to_bytes() == learner.stats().to_bytes()
    for other in (restored, loaded):  # what is written once need not be written again
        assert changed(other) == {}


def test_the_only_segment_learns_as_a_plain_policy() -> None:
    part: Rows = [(n % 3, n % 7 / 7, 0.5, 9) for n in range(50)]
    learner = SegmentLearner(3, SegmentSettings("country"))
    learned(learner, part)
    assert told(learner.stats()) == {0: alone(part), 9: alone(part)}


def test_a_new_segment_begins_from_the_others_and_is_itself_before_long() -> None:
    """Arm 0 is best everywhere but in segment 2: one row there changes little, a hundred settle it."""
    learner = SegmentLearner(2, SegmentSettings("country", prior_rows=20))
    learned(learner, [(n % 2, 0.8 - 0.6 * (n % 2), 0.5, 1) for n in range(2000)])
    learned(learner, [(1, 1.0, 0.5, 2)])
    young = learner.stats().of(1)
    assert young.pulls.tolist() == [20, 21]
    assert young.means().tolist() == pytest.approx([0.8, (20 * 0.2 + 1) / 21])
    learned(learner, [(n % 2, float(n % 2), 0.5, 2) for n in range(200)])
    grown = learner.stats().of(1)
    assert grown.means()[1] > 0.8 > 0.2 > grown.means()[0]


def test_many_segments_are_a_store_that_refuses_other_arms() -> None:
    learner = SegmentLearner(2, SegmentSettings("user", 500))
    store: Store = learner
    arms = np.arange(1000) % 2
    learner.learn(arms, np.ones(1000), np.ones(1000), np.arange(1000, dtype=np.uint64) + 1)
    assert len(learner.stats().hashes) == 500
    assert len(changed(store)) == 501
    learner.learn(arms[:1], np.ones(1), np.ones(1), np.array([7], dtype=np.uint64))
    assert len(changed(store)) == 2, "only what changed is written"
    with pytest.raises(StateError):
        SegmentLearner(3, SegmentSettings("user")).load(learner.snapshot())
    with pytest.raises(StateError):
        SegmentLearner(3, SegmentSettings("user")).restore(pack_text([bytes(8)]), pack_text([bytes(9)]))


def test_a_segment_that_is_added_or_removed_does_not_take_the_other_state_for_its_own() -> None:
    plain, segmented = PolicyLearner(2), SegmentLearner(2, SegmentSettings("country"))
    plain.learn(np.array([1]), np.ones(1), np.ones(1))
    segmented.learn(np.array([1]), np.ones(1), np.ones(1), np.array([5], dtype=np.uint64))
    old, new = plain.changes(), segmented.changes()
    with pytest.raises(StateError):
        PolicyLearner(2).restore(*new)
    with pytest.raises(StateError):
        SegmentLearner(2, SegmentSettings("country")).restore(*old)
