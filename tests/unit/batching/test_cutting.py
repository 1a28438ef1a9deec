"""How rows are cut into batches. Oracles: all ways to do it, at small numbers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.batching.cutting import at_sizes, best_edges, by_cost, cut, filling, in_buckets, padded
from stream_infer.records import Floats

COSTS = st.lists(st.integers(0, 50), max_size=30).map(lambda values: np.array(values, dtype=np.float64))
LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=12).map(lambda values: np.array(values, dtype=np.float64))


@given(st.integers(0, 5000), st.integers(1, 600))
def test_cut_loses_nothing_and_fills_batches(waiting: int, largest: int) -> None:
    sizes = cut(waiting, largest)
    assert sum(sizes) == waiting
    assert all(size == largest for size in sizes[:-1])
    assert all(0 < size <= largest for size in sizes)


def ways(cost: list[float], rows_max: int, cost_max: float) -> int:
    """The fewest batches, in order, within the limits: by trying every first batch."""
    if not cost:
        return 0
    firsts = [n for n in range(1, min(rows_max, len(cost)) + 1) if n == 1 or sum(cost[:n]) <= cost_max]
    fewest = [0] * (len(cost) + 1)
    for begin in reversed(range(len(cost))):
        rest = cost[begin:]
        firsts = [n for n in range(1, min(rows_max, len(rest)) + 1) if n == 1 or sum(rest[:n]) <= cost_max]
        fewest[begin] = 1 + min(fewest[begin + n] for n in firsts)
    return fewest[0]


@given(COSTS, st.integers(1, 8), st.integers(1, 100))
def test_by_cost_needs_as_few_batches_as_any_cut_within_the_limits(cost: Floats, rows_max: int, cost_max: int) -> None:
    sizes = by_cost(cost, rows_max, cost_max)
    assert sum(sizes) == len(cost)
    parts = np.split(cost, np.cumsum(sizes)[:-1])
    assert all(0 < len(part) <= rows_max for part in parts if len(cost))
    assert all(len(part) == 1 or part.sum() <= cost_max for part in parts)
    assert len(sizes) == ways(cost.tolist(), rows_max, cost_max)


@given(LENGTHS, st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True).map(sorted), st.integers(1, 5), st.integers(1, 100))
def test_buckets_hold_every_row_once_within_the_limits(length: Floats, edges: list[int], rows_max: int, cost_max: int) -> None:
    batches = in_buckets(length, edges, rows_max, cost_max)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(length)))
    assert [int(rows[0]) for rows in batches] == sorted(int(rows[0]) for rows in batches)
    tops = [*edges, max(edges[-1], length.max())]
    for rows in batches:
        top = {next(edge for edge in tops if edge >= length[row]) for row in rows.tolist()}
        assert len(top) == 1, "rows of one pass lie between the same two edges"
        assert len(rows) == 1 or len(rows) * top.pop() <= cost_max
        assert len(rows) <= rows_max
        assert rows.tolist() == sorted(rows.tolist())
    waste = sum(next(edge for edge in tops if edge >= value) - value for value in length.tolist())
    assert filling(length, edges) == pytest.approx(waste)


@given(LENGTHS, st.integers(1, 4))
def test_the_best_edges_fill_up_least_of_all(length: Floats, buckets: int) -> None:
    found = sorted(set(length.tolist()))
    least = min(
        filling(length, [*edges, found[-1]]) for count in range(min(buckets, len(found))) for edges in combinations(found[:-1], count)
    )
    edges = best_edges(length, buckets)
    assert len(edges) <= buckets
    assert list(edges) == sorted(edges)
    assert edges[-1] == length.max()
    assert filling(length, edges) == pytest.approx(least)


def test_edges_of_many_lengths_are_near_the_best() -> None:
    """256 quantiles of 5,000 lengths stand for all of them: at most a hundredth more is filled up than powers of two would need."""
    length = np.random.default_rng(1).lognormal(5.0, 1.0, 5000).round()
    edges = best_edges(length, 8)
    assert edges[-1] == length.max()
    powers = [2.0**power for power in range(5, 5 + 8)]
    assert filling(length, edges) < filling(length, powers)


@given(st.integers(1, 200), st.lists(st.integers(1, 64), min_size=1, max_size=5, unique=True).map(sorted), st.floats(0.0, 50.0))
def test_passes_of_allowed_sizes_hold_all_rows_and_cost_no_more_than_filling_up(waiting: int, sizes: list[int], fixed: float) -> None:
    def seconds(rows: int) -> float:
        return fixed + rows

    passes = at_sizes(waiting, sizes, seconds)
    assert sum(passes) == waiting
    assert all(0 < rows <= sizes[-1] for rows in passes)
    cost = sum(seconds(padded(rows, sizes)) for rows in passes)
    assert cost <= sum(seconds(padded(rows, sizes)) for rows in cut(waiting, sizes[-1])) + 1e-9


@given(st.integers(1, 32), st.floats(0.0, 20.0))
def test_with_powers_of_two_no_other_passes_cost_less(waiting: int, fixed: float) -> None:
    sizes = (2, 4, 8, 16, 32)
    cheapest = [0.0]
    for rows in range(1, waiting + 1):
        cheapest.append(min(fixed + size + cheapest[max(rows - size, 0)] for size in sizes))
    passes = at_sizes(waiting, sizes, lambda rows: fixed + rows)
    assert sum(fixed + padded(rows, sizes) for rows in passes) == pytest.approx(cheapest[waiting])


@pytest.mark.parametrize(
    ("fixed", "waiting", "passes"),
    [
        (0.0, 18, [16, 2]),  # 16 + 16 are as much as 32: the smaller pass first, its rows are out earlier
        (1.0, 18, [18]),
        (1.0, 70, [32, 32, 6]),
        (1.0, 48, [32, 16]),
    ],
)
def test_eighteen_rows_and_the_sizes_sixteen_and_thirty_two(fixed: float, waiting: int, passes: list[int]) -> None:
    assert at_sizes(waiting, [16, 32], lambda rows: fixed + rows) == passes


def test_padded_is_the_smallest_size_that_holds_the_rows() -> None:
    assert [padded(rows, (4, 8)) for rows in (1, 4, 5, 8, 9)] == [4, 4, 8, 8, 9]
    assert padded(3, ()) == 3
