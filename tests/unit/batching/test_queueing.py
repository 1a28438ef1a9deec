"""The queue before a model. Oracles: Inoue's closed form, Pollaczek and Khinchine's, and every event one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.batching.queueing import line_of, mean_latency_bound_s, simulate


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
    latency, found, _ = simulate(np.array(at, dtype=np.float64), lambda n: fixed + per_row * n, rows_max)
    assert found.tolist() == sizes
    assert latency.tolist() == [done[row] - at[row] for row in range(len(at))]


@pytest.mark.parametrize("load", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_mean_stays_below_inoue_s_bound_and_near_it(load: float) -> None:
    """T = 2 ms + 0.05 ms · n: the bound was 0 to 9 % above at most loads."""
    fixed, per_row = 2e-3, 5e-5
    rate = load / per_row
    latency, _, _ = simulate(poisson(rate, 1_000_000 if load > 0.5 else 100_000), lambda n: fixed + per_row * n, 10**9)
    bound = mean_latency_bound_s(rate, per_row, fixed)
    assert latency.mean() <= 1.02 * bound, "2 %: the simulation has its own error"
    assert latency.mean() >= 0.85 * bound


def test_single_rows_wait_as_pollaczek_and_khinchine_say() -> None:
    """M/D/1: the mean time in the system is s + λs² / 2(1 - λs)."""
    seconds, rate = 1e-3, 700.0
    latency, sizes, busy = simulate(poisson(rate, 150_000), lambda n: seconds * n, 1)
    assert set(sizes.tolist()) == {1}
    assert busy == pytest.approx(0.7, rel=0.01)
    assert latency.mean() == pytest.approx(seconds + rate * seconds**2 / (2 * (1 - rate * seconds)), rel=0.03)


def test_no_queue_ends_where_more_comes_than_goes() -> None:
    assert mean_latency_bound_s(1000, 1e-3, 0.0) == math.inf
    assert simulate(np.zeros(0), lambda n: 1.0, 8)[0].tolist() == []


@given(st.floats(0, 1e-2), st.floats(1e-8, 1e-3))
def test_the_line_of_a_line_is_itself(fixed: float, per_row: float) -> None:
    sizes = np.array([1, 8, 64, 512, 4096])
    found = line_of(sizes, fixed + per_row * sizes)
    assert found == pytest.approx((per_row, fixed), rel=1e-3, abs=1e-9)


def test_a_line_never_has_a_negative_part() -> None:
    sizes = np.array([1, 2, 4, 8])
    assert line_of(sizes, sizes**2.0)[1] == 0.0
    assert line_of(sizes, 1.0 / sizes)[0] == 0.0
