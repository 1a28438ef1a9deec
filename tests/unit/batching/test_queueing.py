"""The queue before a model. Oracles: Inoue's closed form, Pollaczek and Khinchine's, and every event one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.batching.queueing import mean_latency_bound_of, mean_latency_bound_s, simulate, visible_at


def poisson(rate: float, count: int, seed: int = 1) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40).map(sorted), st.integers(0, 9), st.integers(1, 4), st.integers(1, 8))
def test_the_simulation_is_what_happens_when_every_moment_is_looked_at(at: list[int], fixed: int, per_row: int, rows_max: int) -> None:
    waiting: list[int] = []
    done: dict[int, int] = {}
    free, sizes, rows = 0, [], list(enumerate(at))
    for now in range(2000):
        while rows and rows[0][1] <= now:
            waiting.append(rows.pop(0)[0])
        if free <= now and waiting:
            batch, waiting = waiting[:rows_max], waiting[rows_max:]
            free = now + fixed + per_row * len(batch)
            sizes.append(len(batch))
            done |= dict.fromkeys(batch, free)
    found = simulate(np.array(at, dtype=np.float64), lambda n, _: fixed + per_row * n, rows_max)
    assert found.rows.tolist() == sizes
    assert found.latency.tolist() == [done[row] - at[row] for row in range(len(at))]
    assert np.repeat(found.ends, found.rows).tolist() == [done[row] for row in range(len(at))]
    assert (found.starts[1:] >= found.ends[:-1]).all()


@pytest.mark.parametrize("load", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_mean_stays_below_inoue_s_bound_and_near_it(load: float) -> None:
    """T = 2 ms + 0.05 ms · n: the bound was 0 to 9 % above at most loads."""
    fixed, per_row = 2e-3, 5e-5
    rate = load / per_row
    latency = simulate(poisson(rate, 1_000_000 if load > 0.5 else 100_000), lambda n, _: fixed + per_row * n, 10**9).latency
    bound = mean_latency_bound_s(rate, per_row, fixed)
    assert latency.mean() <= 1.02 * bound, "2 %: the simulation has its own error"
    assert latency.mean() >= 0.85 * bound


def test_single_rows_wait_as_pollaczek_and_khinchine_say() -> None:
    """M/D/1: the mean time in the system is s + λs² / 2(1 - λs)."""
    seconds, rate = 1e-3, 700.0
    found = simulate(poisson(rate, 150_000), lambda n, _: seconds * n, 1)
    assert set(found.rows.tolist()) == {1}
    assert found.busy() == pytest.approx(0.7, rel=0.01)
    assert found.latency.mean() == pytest.approx(seconds + rate * seconds**2 / (2 * (1 - rate * seconds)), rel=0.03)


def test_those_beside_are_a_queue_of_their_own() -> None:
    """The same M/D/1 where the rows' second goes to another server, and where it goes half to each of two: D/D/1 after the first."""
    seconds, rate = 1e-3, 700.0

    def half(rows: int, _: int) -> float:
        return seconds * rows / 2

    whole = simulate(poisson(rate, 150_000), lambda n, _: 0.0, 1, [(lambda n, _: seconds * n, lambda n, _: seconds * n)], ahead=10**9)
    assert whole.latency.mean() == pytest.approx(seconds + rate * seconds**2 / (2 * (1 - rate * seconds)), rel=0.03)
    both = simulate(poisson(rate, 150_000), half, 1, [(half, half)], ahead=10**9)
    first = seconds / 2 + rate * (seconds / 2) ** 2 / (2 * (1 - rate * seconds / 2))
    assert both.latency.mean() == pytest.approx(first + seconds / 2, rel=0.03)


def test_no_pass_begins_while_as_many_are_under_way_as_may_be() -> None:
    found = simulate(np.zeros(6), lambda n, _: 1.0, 1, [(lambda n, _: 0.0, lambda n, _: 10.0)], ahead=2)
    assert found.starts.tolist() == [0, 1, 11, 12, 22, 23]
    assert found.ends.tolist() == [11, 12, 22, 23, 33, 34]


def test_a_pass_costs_by_the_tasks_that_its_rows_are_of() -> None:
    tasks = np.array([0, 0, 3, 1, 0, 3, 3, 3])
    seen: list[tuple[int, int]] = []

    def cost(rows: int, of: int) -> float:
        seen.append((rows, of))
        return 10.0 * of

    found = simulate(np.array([0.0, 0, 1, 2, 3, 25, 26, 60]), cost, 10**9, [(lambda n, of: 0.0, lambda n, of: float(of))], tasks=tasks)
    assert seen == [(2, 1), (3, 3), (2, 1), (1, 1)]
    assert found.tasks.tolist() == [1, 3, 1, 1]
    assert found.ends.tolist() == [11, 43, 51, 71]


def test_no_queue_ends_where_more_comes_than_goes() -> None:
    assert mean_latency_bound_s(1000, 1e-3, 0.0) == math.inf
    assert simulate(np.zeros(0), lambda n, _: 1.0, 8).latency.tolist() == []


@given(st.floats(0, 1e-2), st.floats(1e-8, 1e-3), st.floats(0.01, 0.9))
def test_the_bound_of_a_line_is_the_bound(fixed: float, per_row: float, load: float) -> None:
    sizes = np.array([1.0, 8, 64, 512, 4096])
    found = mean_latency_bound_of(load / per_row, sizes, fixed + per_row * sizes)
    assert found == pytest.approx(mean_latency_bound_s(load / per_row, per_row, fixed), rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("rate", [50.0, 500.0, 5_000.0])
@pytest.mark.parametrize("costs", [(1.0, 1.1, 2.0, 20.0), (0.1, 4.0, 5.0, 6.0), (1.0, 2.0, 30.0, 40.0)])
def test_no_queue_is_slower_than_the_bound_of_its_costs(rate: float, costs: tuple[float, ...]) -> None:
    sizes, seconds = np.array([1.0, 10, 100, 1000]), np.array(costs) / 1000

    def cost(rows: float, _: int) -> float:
        return float(np.interp(rows, sizes, seconds)) if rows <= 1000 else float(seconds[-1] * rows / 1000)

    latency = simulate(poisson(rate, 60_000), cost, 10**9).latency
    assert latency.mean() <= 1.02 * mean_latency_bound_of(rate, sizes, seconds)


def test_under_full_load_answers_wait_for_half_an_interval_and_a_commit() -> None:
    starts = np.arange(100_000) / 1024.0
    seen = visible_at(starts, starts + 1 / 1024, interval_s=0.1, commit_s=0.013, rest_s=0.05)
    waits = seen - (starts + 1 / 1024)
    # The next interval begins when a commit ended: rows of 113 ms leave together, and wait for half of it and the commit.
    assert waits.mean() == pytest.approx(0.113 / 2 + 0.013, rel=0.01)
    assert waits.min() == pytest.approx(0.013)
    assert waits.max() == pytest.approx(0.113 + 0.013, rel=0.01)


def test_answers_that_come_one_by_one_are_committed_at_once() -> None:
    starts = np.arange(100) * 1.0
    assert visible_at(starts, starts + 0.01, interval_s=0.1, commit_s=0.02, rest_s=0.08) == pytest.approx(starts + 0.03)


PASSES = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 40)), min_size=1, max_size=15)


@given(PASSES, st.integers(1, 60), st.integers(1, 9), st.integers(0, 30))
def test_commits_follow_each_other_as_when_every_moment_is_looked_at(
    passes: list[tuple[int, int]], interval: int, commit: int, rest: int
) -> None:
    """The clock goes in whole units; a pass is (its length, the rest after it)."""
    starts, ends, now = [], [], 0
    for length, pause in passes:
        starts.append(now)
        ends.append(now + length)
        now += length + pause
    seen: list[float] = []
    last = -math.inf
    waiting = 0
    for moment in range(now + interval + commit + rest + 1):
        waiting += ends.count(moment)
        working = any(start < moment < end or (start == moment) for start, end in zip(starts, ends, strict=True))
        between = not any(start < moment < end for start, end in zip(starts, ends, strict=True))
        due = (moment >= last + interval and between and (moment in ends or not working)) or (moment >= last + rest and not working)
        if waiting and due and moment >= last:
            last = moment + commit
            seen += [last] * waiting
            waiting = 0
    floats = np.array(starts, dtype=np.float64), np.array(ends, dtype=np.float64)
    found = visible_at(*floats, interval_s=interval, commit_s=commit, rest_s=rest)
    assert found.tolist() == seen
