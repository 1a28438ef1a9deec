"""Versions and joined rows at the edges of epochs and of processes. Oracle: a run that reads everything at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from stream_infer.sim.reading import all_of, joined_of
from tests.support_flow import Pay, payment, plan_of
from tests.support_worker import LEARNS


def test_the_clock_of_another_process_has_another_zero() -> None:
    """A decision that waits for feedback does not close because a process with a larger clock takes over."""
    pay = Pay(plan_of(LEARNS))
    pay.send("payments", payment(0))
    worker = pay.worker()
    pay.step(worker)
    worker.close()
    pay.zero = 10**9
    worker = pay.worker("1")
    pay.step(worker)
    pay.send("told", {"payment": "p0", "card": "a", "truth": 4.0, "at_ms": 2_000})
    pay.step(worker, times=60, ms=200)

    assert [read.row["label"] for read in all_of(pay.broker, joined_of(pay.plan))] == [4.0]


def test_a_version_that_comes_while_nothing_else_does_does_not_turn_time_back() -> None:
    pay = Pay(plan_of(LEARNS, payments=", decide_at: {field: due_ms}"))
    pay.send("payments", *map(payment, range(8)), payment(8, due_ms=40_000))
    worker = pay.worker()
    pay.step(worker, times=315, ms=100)
    assert "p8" not in pay.ids()  # event time began at 8 s, and has come to 39.5 s
    assert worker.stats.versions["score"] > 0
    pay.step(worker, times=15, ms=100)

    assert "p8" in pay.ids()


def test_a_run_that_learns_starts_when_its_first_record_cannot_be_read() -> None:
    pay = Pay(plan_of(LEARNS))
    pay.broker.append("payments", [b"a"], [b"junk"], timestamps=np.array([500]))
    pay.send("payments", *map(payment, range(12)))
    worker = pay.worker(deterministic=True)
    pay.settle(worker)

    assert pay.ids() == [f"p{n}" for n in range(12)]
    assert [offset for offset, _ in pay.reasons()] == [0]


@pytest.mark.parametrize(("seconds", "rows_max"), [((0, 1, 20, 21, 60), 8192), (range(0, 60, 2), 1), (range(60), 2)])
def test_versions_do_not_depend_on_how_many_epochs_are_read_at_once(seconds: Sequence[int], rows_max: int) -> None:
    """rows_max: of a chunk; with one or two an epoch often ends with a full chunk, and nothing but the next one tells that it is over."""

    def versions(slow: float, seed: int) -> list[tuple[bytes | None, bytes | None]]:
        pay = Pay(plan_of(LEARNS), seed=seed)
        pay.send("payments", *map(payment, seconds))
        pay.send("told", *({"payment": "other", "card": "a", "truth": 1.0, "at_ms": 1000 * second} for second in range(5, 60, 5)))
        pay.broker.slow_fetch_share = slow
        worker = pay.worker(deterministic=True, chunk_rows_max=rows_max)
        pay.settle(worker)
        records, _ = pay.broker.log(("pay.models", 0)).fetch(0, 1 << 60)
        return [(record.key, record.value) for record in records if record.key != b"\x00mark"]

    calm = versions(0.0, 0)
    assert calm
    assert all(versions(0.9, seed) == calm for seed in range(8))
