"""Shares by segment. Oracle: the plain policy, one segment at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.decide.policy import ArmStats, draw, propensities
from stream_infer.decide.segments import PAYLOAD_BYTES_MAX, Segmented, SegmentShares, SegmentStats, segments_fit
from stream_infer.decide.settings import PolicySettings
from stream_infer.errors import StreamInferError

ARMS = 3
counts = st.lists(st.integers(0, 50), min_size=ARMS, max_size=ARMS)
statistics = st.dictionaries(st.integers(1, 2**64 - 1), counts, max_size=5)


def arm_stats(pulls: list[int]) -> ArmStats:
    """The first arm earns most."""
    n = np.array(pulls, dtype=np.int64)
    return ArmStats(n, n * 1_000_000 // np.arange(2, ARMS + 2), n * 500_000 // np.arange(2, ARMS + 2))


def made(pooled: list[int], by_segment: dict[int, list[int]]) -> SegmentStats:
    segments = sorted(by_segment)
    found = [arm_stats(by_segment[segment]) for segment in segments]
    sums = np.array([[s.pulls, s.reward_micro, s.reward_sq_micro] for s in found], dtype=np.int64).reshape(len(found), 3, ARMS)
    return SegmentStats(arm_stats(pooled), np.array(segments, dtype=np.uint64), sums)


POLICIES = [PolicySettings("maillard", share_min=0.05), PolicySettings("epsilon_greedy"), PolicySettings("thompson")]


@pytest.mark.parametrize("settings", POLICIES, ids=[settings.kind for settings in POLICIES])
@given(counts, statistics, st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_each_row_is_drawn_as_its_segment_alone_would_be(
    settings: PolicySettings, pooled: list[int], by_segment: dict[int, list[int]], rows: list[int]
) -> None:
    names = [0, *sorted(by_segment), 7, 8, 9, 10, 11]  # absent, known, and some that nobody learned
    hashes = np.array([names[row] for row in rows], dtype=np.uint64)
    u = np.random.default_rng(len(rows)).random(len(rows))
    found = SegmentShares(settings, SegmentStats.from_bytes(made(pooled, by_segment).to_bytes())).of(hashes)
    arms = found.draw(u)
    for row, name in enumerate(hashes.tolist()):
        right = propensities(settings, arm_stats(by_segment.get(name, pooled)))
        assert found.shares[found.group[row]].tolist() == right.tolist()
        assert arms[row] == draw(right, u[row : row + 1])[0]


def test_an_arm_without_a_share_is_never_drawn() -> None:
    shares = np.array([[0.0, 1.0, 0.0], [0.3, 0.7, 0.0]])
    found = Segmented(np.zeros(4, dtype=np.uint64), np.array([0, 0, 1, 1]), shares)
    u = np.array([0.0, np.nextafter(1.0, 0.0), 0.0, np.nextafter(1.0, 0.0)])
    assert found.draw(u).tolist() == [1, 1, 0, 1]


def test_statistics_without_segments_are_those_of_all() -> None:
    pooled = arm_stats([3, 4, 5])
    found = SegmentStats.from_bytes(pooled.to_bytes())
    assert (found.pooled.to_bytes(), len(found.hashes)) == (pooled.to_bytes(), 0)
    for data in (b"", b"\x02", b"\x02\x01\x00\x00\x00" + bytes(31), b"\x03" + bytes(24)):
        with pytest.raises(StreamInferError):
            SegmentStats.from_bytes(data)


@pytest.mark.parametrize("arms", [2, 3, 10])
def test_as_many_segments_as_fit_make_one_record(arms: int) -> None:
    count = segments_fit(arms)
    full = SegmentStats(ArmStats.zeros(arms), np.arange(count, dtype=np.uint64), np.zeros((count, 3, arms), dtype=np.int64))
    assert PAYLOAD_BYTES_MAX - 8 - 24 * arms < len(full.to_bytes()) <= PAYLOAD_BYTES_MAX + 5
