"""How large passes and chunks may be. Oracle: the cost T = a + b·n that the curve was made of."""

from __future__ import annotations

import pytest

from stream_infer.batching import SIZES_PROBED, BatchSettings, CostCurve, Sizing
from stream_infer.batching.sizing import REFRESH_PASSES, ROWS_REPEATABLE

CURVE = CostCurve.fit((n, 2e-3 + 5e-5 * n) for n in SIZES_PROBED)  # the knee is 1024: 53 ms


def sizing(*, live: bool = True, **batch: object) -> Sizing:
    return Sizing({"net": BatchSettings(**({"curve": CURVE} | batch))}, live=live)  # type: ignore[arg-type]


def test_the_topology_comes_first_then_the_knee_then_what_is_said_while_nothing_is_known() -> None:
    assert sizing(rows_max=32).rows("net") == 32
    assert sizing(rows_max=10**6).rows("net") == 4096
    assert sizing().rows("net") == 1024
    assert sizing(curve=None).rows("net") == 256
    assert sizing(sizes=(100, 200, 5000)).rows("net") == 200
    assert sizing(sizes=(2000,)).rows("net") == 2000


def test_a_deterministic_run_asks_no_clock() -> None:
    one = sizing(live=False)
    one.passed("net", 1, 100.0)
    one.waiting(10**9)
    assert one.rows("net") == ROWS_REPEATABLE
    assert sizing(live=False, rows_max=7).rows("net") == 7
    assert one.chunk_rows((("net",),), (), 1.0, 4096) == 4096
    assert not one.backlog
    assert one.seconds("net", 5) == 5.0


@pytest.mark.parametrize(("slack_ms", "rows"), [(10.1, 141), (3.1, 15), (50.1, 861)])
def test_with_little_lag_a_pass_ends_before_the_oldest_deadline(slack_ms: float, rows: int) -> None:
    """2 + 0.05·n ≤ 0.9·slack."""
    assert sizing().together("net", slack_ms) == (rows, "deadline")


@pytest.mark.parametrize("slack_ms", [None, 1000.0, 2.0, 0.5])
def test_no_deadline_a_far_one_and_one_that_cannot_be_met_bound_nothing(slack_ms: float | None) -> None:
    assert sizing().together("net", slack_ms) == (1024, "full")


def test_a_backlog_is_entered_late_and_left_late() -> None:
    one = sizing()
    assert [one.waiting(rows) or one.backlog for rows in (8 * 1024, 8 * 1024 + 1, 5000, 2 * 1024 + 1, 2 * 1024, 5000)] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    one.waiting(10**6)
    assert one.together("net", 10.0) == (1024, "full")
    assert one.chunk_rows((("net",),), (), 10.0, 4096) == 4096
    one.waiting(None)
    assert not one.backlog, "what is not known is no backlog"


def test_chunks_end_within_the_deadline_for_all_models_together() -> None:
    one = Sizing({"net": BatchSettings(curve=CURVE), "other": BatchSettings(curve=CURVE), "new": BatchSettings()}, live=True)
    assert one.chunk_rows((("net",),), (), 10.1, 4096) == 141
    assert one.chunk_rows((("net",), ("new",)), ("other",), 10.1, 4096) == 50
    assert one.chunk_rows((("net",), ("other",)), (), 10.1, 4096) == 141, "a row is asked of one arm"
    assert one.chunk_rows((("net",),), (), 1.0, 4096) == 4096, "a deadline that no row can meet does not make chunks small"
    assert one.chunk_rows((("new",),), (), 1.0, 4096) == 4096
    # More than one pass: 1024 rows take 53.2 ms, 976 more another 50.8.
    assert one.chunk_rows((("net",),), (), (53.2 + 50.8) / 0.9, 4096) == pytest.approx(2000, abs=1)


def test_a_chunk_takes_no_longer_than_the_commit_that_waits_for_it_unless_a_pass_does() -> None:
    slow = CostCurve((1, 4096), (0.05, 0.05 * 4096))  # 50 ms a row, whatever their number
    fixed = CostCurve((1, 16, 4096), (0.2, 0.2, 0.2 * 256))  # 16 rows cost what one does
    settings = {"slow": BatchSettings(curve=slow), "fixed": BatchSettings(curve=fixed), "net": BatchSettings(curve=CURVE)}
    one = Sizing(settings | {"new": BatchSettings()}, live=True)
    assert one.rows_a_commit((("slow",),), (), 500.0, 4096) == 10
    assert one.rows_a_commit((("slow",), ("net",)), (), 500.0, 4096) == 10, "a row is asked of one arm"
    assert one.rows_a_commit((("slow",),), ("slow",), 500.0, 4096) == 5
    assert one.rows_a_commit((("slow",),), (), 10.0, 4096) == 1
    assert one.rows_a_commit((("fixed",),), (), 100.0, 4096) == one.rows("fixed") >= 16, "small passes would cost throughput"
    assert one.rows_a_commit((("new",),), (), 1.0, 4096) == 4096, "nothing is known"
    assert one.rows_a_commit((), (), 1.0, 4096) == 4096
    one.waiting(10**6)
    assert one.rows_a_commit((("slow",),), (), 500.0, 4096) == 10, "a backlog is worked off in pieces too"
    assert one.rows_a_commit((("slow",),), (), 500.0, 7) == 7
    assert Sizing(settings, live=False).rows_a_commit((("slow",),), (), 500.0, 4096) == 4096


def test_the_knee_follows_the_passes() -> None:
    one = sizing()
    for _ in range(30 * REFRESH_PASSES):
        for rows in SIZES_PROBED:
            one.passed("net", rows, 5e-3 * rows)  # what had a fixed cost has none any more
    assert one.rows("net") == 1


def test_late_rows_are_counted_by_what_became_of_them() -> None:
    one = sizing()
    for what, rows in (("drop", 2), ("serve", 1), ("drop", 3)):
        one.count_late("eta", what, rows)
    assert one.late == {("eta", "drop"): 5, ("eta", "serve"): 1}


def test_what_found_no_memory_bounds_every_pass_from_then_on_except_where_batches_must_repeat() -> None:
    one = sizing()
    one.fits("net", 100)
    one.fits("net", 300)
    assert one.rows("net") == 100
    assert one.together("net", None) == (100, "full")
    sized = sizing(sizes=(64, 128, 512))
    sized.fits("net", 100)
    assert sized.rows("net") == 64
    fixed = sizing(live=False)
    fixed.fits("net", 100)
    assert fixed.rows("net") == ROWS_REPEATABLE, "the edge cuts: the core goes on as it would with more memory"
