"""Plain functions in the worker's thread, in threads and in processes. Oracle: the function of one row after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from stream_infer.edge.call_functions import PART_ROWS_MIN, Pooled, here, parts_of
from stream_infer.edge.calls import Calls, Done, Tally
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.functions import FunctionSettings
from stream_infer.records import Numbers
from stream_infer.topology.plan import CallStep
from tests import admitted_functions as admitted

GIVES = (("twice", "double"),)


def step_of(name: str, **settings: object) -> CallStep:
    return CallStep("s", ("amount",), GIVES, FunctionSettings(name, **settings))  # type: ignore[arg-type]


def call(job: int, amounts: Sequence[float]) -> Call:
    return Call(job, "s", {"amount": Numbers(np.array(amounts, dtype=np.float64))}, len(amounts))


@contextmanager
def calls_in(step: CallStep) -> Iterator[Calls]:
    settings = step.settings
    function = admitted.STREAM_INFER_FUNCTIONS[settings.function]
    made = (
        Calls({}, {"s": Pooled(step, settings, function, ["tests.admitted_functions"])})
        if settings.workers
        else Calls({"s": here(step, settings, function)}, {})
    )
    try:
        yield made
    finally:
        made.close()


def all_of(calls: Calls, count: int) -> list[CallDone]:
    came: list[CallDone] = []
    while len(came) < count:
        came += calls.finished(10_000)
    return came


def slow(amounts: Sequence[float]) -> tuple[dict[int, float], dict[int, str]]:
    """What each row becomes: admitted_functions.twice_row, row by row."""
    good, bad = {}, {}
    for row, amount in enumerate(amounts):
        if amount == admitted.RAISES:
            bad[row] = "ValueError: 666 is not a number that I like"
        elif amount < 0:
            bad[row] = f"amount {amount:g} is negative"
        else:
            good[row] = 2 * amount
    return good, bad


def check(notice: CallDone, amounts: Sequence[float]) -> None:
    good, bad = slow(amounts)
    twice = notice.columns["twice"].to_list()
    assert notice.faults == bad
    assert {row: twice[row] for row in range(len(amounts)) if row not in bad} == good


WAYS = [{"workers": 0}, {"workers": 3}, {"workers": 0, "per": "row"}, {"workers": 2, "per": "row"}]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_bad_rows_are_found_and_never_fail_their_neighbours(way: dict[str, object]) -> None:
    draw = np.random.default_rng(1)
    with calls_in(step_of("twice_row" if way.get("per") == "row" else "twice_batch", **way)) as calls:
        asked = []
        for job in range(6):
            amounts = draw.choice([1.0, 2.5, -3.0, admitted.RAISES], size=300, p=[0.5, 0.46, 0.02, 0.02]).tolist()
            calls.submit(call(job, amounts))
            asked.append(amounts)
        came = sorted(all_of(calls, 6), key=lambda notice: notice.job)

    assert [notice.job for notice in came] == list(range(6))
    for notice, amounts in zip(came, asked, strict=True):
        check(notice, amounts)
    rejected = sum(amount < 0 for amounts in asked for amount in amounts)
    failed = sum(amount == admitted.RAISES for amounts in asked for amount in amounts)
    tally = calls.take_figures()["s"]
    assert (tally.calls, tally.rows, tally.rejected, tally.failed, len(tally.seconds)) == (6, 1800, rejected, failed, 6)
    assert calls.take_figures()["s"] == Tally()


def test_defaults_stand_for_what_failed_but_not_for_what_was_rejected() -> None:
    amounts = [1.0, admitted.RAISES, -1.0]
    with calls_in(step_of("twice_batch", defaults=(("twice", 7.0),))) as calls:
        calls.submit(call(1, amounts))
        (notice,) = all_of(calls, 1)

    assert notice.columns["twice"].to_list()[:2] == [2.0, 7.0]
    assert notice.faults == {2: "amount -1 is negative"}
    tally = calls.take_figures()["s"]
    assert (tally.failed, tally.defaulted, tally.rejected) == (1, 1, 1)


def test_processes_answer_and_one_that_dies_takes_only_the_deadly_row_with_it() -> None:
    many, few = [float(n) for n in range(130)], [1.0, admitted.DEADLY, 3.0]
    with calls_in(step_of("twice_batch", workers=2, workers_are="processes")) as calls:
        calls.submit(call(1, many))
        check(all_of(calls, 1)[0], many)
        calls.submit(call(2, few))
        (second,) = all_of(calls, 1)
        calls.submit(call(3, many))
        check(all_of(calls, 1)[0], many)

    assert second.faults == {1: "the function's process ended"}
    assert [second.columns["twice"].to_list()[row] for row in (0, 2)] == [2.0, 6.0]


@pytest.mark.parametrize(("count", "workers"), [(1, 4), (64, 4), (65, 2), (128, 4), (1000, 3), (4096, 64)])
def test_parts_cover_all_rows_once_and_none_is_small(count: int, workers: int) -> None:
    parts = parts_of(count, workers)

    assert [row for first, end in parts for row in range(first, end)] == list(range(count))
    assert len(parts) <= workers
    assert len(parts) == 1 or min(end - first for first, end in parts) >= PART_ROWS_MIN


def test_what_breaks_in_the_machinery_is_not_taken_for_an_answer() -> None:
    class Broken:
        def begin(self, call: Call, done: Callable[[Done | BaseException], None]) -> None:
            done(MemoryError("full"))

        def breaker(self) -> None:
            return None

        def close(self) -> None: ...

    calls = Calls({}, {"s": Broken()})
    calls.submit(call(1, [1.0]))
    with pytest.raises(MemoryError):
        calls.finished(1000)
