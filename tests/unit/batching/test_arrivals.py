"""Rows that producers gather. Oracle: a producer that looks at its queues at every moment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.batching.arrivals import Producers, drawn, gathered

ROWS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), max_size=40).map(sorted)


@given(ROWS, st.integers(0, 12))
def test_rows_leave_as_when_every_moment_is_looked_at(rows: list[tuple[int, int]], linger: int) -> None:
    waiting: dict[int, list[int]] = {}
    due: dict[int, int] = {}
    left: dict[int, int] = {}
    batches = 0
    for now in range(100):
        for place, (at, queue) in enumerate(rows):
            if at == now:
                due.setdefault(queue, now + linger)
                waiting.setdefault(queue, []).append(place)
        for queue in [queue for queue, at in due.items() if at == now]:
            left |= dict.fromkeys(waiting.pop(queue), now)
            batches += 1
            del due[queue]
    times, queues = np.array([at for at, _ in rows], dtype=np.float64), np.array([queue for _, queue in rows], dtype=np.int64)
    sent, count = gathered(times, queues, float(linger))
    assert sent.tolist() == [left[place] for place in range(len(rows))]
    assert count == (batches if linger else len(rows)), "without a linger each row is sent as it comes"


@pytest.mark.parametrize(("rate", "tasks", "count"), [(500.0, 4, 1), (5_000.0, 4, 1), (20_000.0, 1, 8)])
def test_batches_hold_what_comes_in_a_linger_and_the_row_that_began_them(rate: float, tasks: int, count: int) -> None:
    """Of a Poisson stream: 1 + rate · linger rows each, and a row waits the linger less what it came late by."""
    found = drawn(rate, 100_000, tasks, Producers(count, 5e-3))
    more = rate / (tasks * count) * 5e-3
    assert 100_000 / found.batches == pytest.approx(1 + more, rel=0.03)
    assert (found.sent - found.made).mean() == pytest.approx(5e-3 * (1 + more / 2) / (1 + more), rel=0.03)
    assert (np.diff(found.sent) >= 0).all()
    assert np.bincount(found.tasks, minlength=tasks) == pytest.approx(100_000 / tasks, rel=0.03)


def test_without_a_linger_rows_are_sent_as_they_are_made() -> None:
    found = drawn(100.0, 1000, 4, Producers(3, 0.0))
    assert found.sent.tolist() == found.made.tolist()
    assert found.batches == 1000
