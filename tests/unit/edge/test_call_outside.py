"""Async functions: order, time limits, retries, the breaker. Oracle: what the other side counted, and one row after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from stream_infer.edge.breaker import CLOSED, OPEN
from stream_infer.edge.call_outside import Loop, Outside
from stream_infer.edge.calls import Calls, Tally
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.functions import BreakerSettings, FunctionSettings, OutsideSettings, Rejected, Values
from stream_infer.records import Numbers
from stream_infer.topology.plan import CallStep

GIVES = (("twice", "double"),)


def call(job: int, amounts: Sequence[float]) -> Call:
    return Call(job, "s", {"amount": Numbers(np.array(amounts, dtype=np.float64))}, len(amounts))


@dataclass
class Service:
    """The other side. what: of an amount and how often it was asked before, what it does: answer | down | hang | odd | no."""

    what: Callable[[float, int], str] = lambda amount, before: "answer"
    asked: dict[float, int] = field(default_factory=dict)
    now: int = 0
    most: int = 0

    async def row(self, row: Values) -> Values:
        amount = row["amount"]
        assert isinstance(amount, float)
        before = self.asked.get(amount, 0)
        self.asked[amount] = before + 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(int(amount) % 5):  # later rows answer before earlier ones
                await asyncio.sleep(0)
            await self._does(self.what(amount, before), amount)
        finally:
            self.now -= 1
        return {"twice": 2 * amount}

    async def batch(self, rows: Values) -> Values:
        amounts = np.asarray(rows["amount"]).tolist()
        for amount in amounts:
            await self.row({"amount": amount})
        return {"twice": [2 * amount for amount in amounts]}

    async def _does(self, what: str, amount: float) -> None:
        if what == "down":
            raise ConnectionRefusedError("nobody there")
        if what == "odd":
            raise ValueError(f"{amount:g} is odd")
        if what == "no":
            raise Rejected(f"no {amount:g}")
        if what == "hang":
            await asyncio.Event().wait()


def made(service: Service, *, per: str = "row", defaults: Any = None, clock: Callable[[], int] = lambda: 0, **outside: Any) -> Outside:
    settings = OutsideSettings(**({"backoff_ms": 1, "backoff_ms_max": 4, "timeout_ms": 5_000} | outside))
    step = CallStep("s", ("amount",), GIVES, FunctionSettings("f", per, defaults, outside=settings))
    return Outside(step, step.settings, service.row if per == "row" else service.batch, Loop(), clock)


def done(outside: Outside, amounts: Sequence[float]) -> tuple[CallDone, Tally]:
    return asyncio.run(outside.answered(call(1, amounts)))


def one_after_the_other(outside: Outside, *steps: tuple[Callable[[], None], Sequence[float]]) -> list[tuple[CallDone, Tally, str | None]]:
    """In one loop: what is done before each call, and its rows; the state of the breaker after it."""

    async def run() -> list[tuple[CallDone, Tally, str | None]]:
        found = []
        for before, amounts in steps:
            before()
            found.append((*await outside.answered(call(1, amounts)), outside.breaker()))
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("per", ["row", "batch"])
def test_rows_keep_their_order_and_bad_ones_never_fail_their_neighbours(per: str) -> None:
    amounts = [float(n) for n in range(100)]
    service = Service(lambda amount, before: {13.0: "odd", 77.0: "no"}.get(amount, "answer"))
    notice, tally = done(made(service, per=per, concurrency_max=7), amounts)

    assert notice.faults == {13: "ValueError: 13 is odd", 77: "no 77"}
    twice = notice.columns["twice"].to_list()
    assert [twice[row] for row in range(100) if row not in notice.faults] == [2 * a for a in amounts if a not in (13, 77)]
    assert (tally.rejected, tally.failed, tally.retries, tally.timeouts) == (1, 1, 0, 0)
    assert 1 < service.most <= 7
    if per == "row":
        assert set(service.asked.values()) == {1}, "what a row is to blame for is not tried again"


def test_what_the_other_side_is_to_blame_for_is_tried_again_so_many_times() -> None:
    service = Service(lambda amount, before: "down" if before < amount else "answer")
    notice, tally = done(made(service, retries=3), [0.0, 1.0, 3.0, 4.0, 5.0])

    assert service.asked == {0.0: 1, 1.0: 2, 3.0: 4, 4.0: 4, 5.0: 4}
    assert notice.faults == dict.fromkeys((3, 4), "Unreached: ConnectionRefusedError: nobody there (4 tries)")
    assert notice.columns["twice"].to_list()[:3] == [0.0, 2.0, 6.0]
    assert (tally.retries, tally.failed) == (0 + 1 + 3 + 3 + 3, 2)


def test_a_batch_that_is_not_reached_fails_as_a_whole_without_being_halved() -> None:
    service = Service(lambda amount, before: "down")
    notice, tally = done(made(service, per="batch", retries=2, defaults=(("twice", -1.0),)), [1.0, 2.0, 3.0])

    assert service.asked == {1.0: 3}
    assert (notice.faults, notice.columns["twice"].to_list()) == ({}, [-1.0] * 3)
    assert (tally.failed, tally.defaulted) == (3, 3)


def test_what_takes_too_long_is_given_up_and_counted() -> None:
    service = Service(lambda amount, before: "hang" if amount == 2 else "answer")
    notice, tally = done(made(service, retries=1, timeout_ms=30), [1.0, 2.0, 3.0])

    assert notice.faults == {1: "Unreached: no answer within 30 ms (2 tries)"}
    assert (tally.timeouts, tally.retries) == (2, 1)
    assert service.now == 0, "what hung was cancelled"


def test_a_function_that_will_not_be_cancelled_is_left_behind() -> None:
    let_go = asyncio.Event()

    async def stubborn(row: Values) -> Values:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return {"twice": 0.0}

    async def run() -> tuple[CallDone, Tally]:
        outside = made(Service(), retries=0, timeout_ms=20)
        outside._function = stubborn
        came = await outside.answered(call(1, [1.0]))
        let_go.set()
        return came

    notice, _ = asyncio.run(run())
    assert notice.faults == {0: "Unreached: no answer within 20 ms"}


def test_an_open_breaker_lets_nothing_through_until_a_try_goes_well() -> None:
    now, down = [0], [True]
    service = Service(lambda amount, before: "down" if down[0] else "answer")
    outside = made(
        service,
        clock=lambda: now[0],
        concurrency_max=1,
        retries=0,
        defaults=(("twice", 0.5),),
        breaker=BreakerSettings(failures=2, open_ms=100),
    )

    def at(ms: int, is_down: bool) -> Callable[[], None]:
        def turn() -> None:
            now[0], down[0] = ms, is_down

        return turn

    first, second, third = one_after_the_other(
        outside, (at(0, True), [1.0, 2.0, 3.0, 4.0]), (at(99, False), [5.0]), (at(100, False), [6.0, 7.0])
    )
    assert (first[1].refused, first[2]) == (2, OPEN)
    assert (second[1].refused, second[0].columns["twice"].to_list()) == (1, [0.5])
    assert (third[1].refused, third[0].columns["twice"].to_list(), third[2]) == (0, [12.0, 14.0], CLOSED)
    assert service.asked == {1.0: 1, 2.0: 1, 6.0: 1, 7.0: 1}


def test_without_defaults_rows_that_an_open_breaker_stops_are_rejected_with_the_reason() -> None:
    outside = made(
        Service(lambda amount, before: "down"), concurrency_max=1, retries=5, breaker=BreakerSettings(failures=2), clock=lambda: 0
    )
    notice, tally = done(outside, [1.0, 2.0])

    assert notice.faults == {
        0: "Unreached: the breaker is open, after ConnectionRefusedError: nobody there",
        1: "Unreached: the breaker is open",
    }
    assert tally.refused == 2


def test_pauses_double_up_to_a_limit_and_repeat_with_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def pauses(seed: int) -> list[float]:
        found: list[float] = []
        sleep = asyncio.sleep

        async def noted(seconds: float) -> None:
            if seconds:
                found.append(seconds * 1000)
            await sleep(0)

        monkeypatch.setattr(asyncio, "sleep", noted)
        done(made(Service(lambda amount, before: "down"), retries=6, backoff_ms=10, backoff_ms_max=100, seed=seed), [0.0])
        monkeypatch.setattr(asyncio, "sleep", sleep)
        return found

    once = pauses(1)
    for pause, whole in zip(once, [10, 20, 40, 80, 100, 100], strict=True):
        assert whole / 2 <= pause <= whole
    assert once == pauses(1)
    assert once != pauses(2)


def test_calls_of_several_jobs_come_back_through_the_loop_and_closing_drops_what_hangs() -> None:
    service = Service(lambda amount, before: "hang" if amount == 9 else "answer")
    calls = Calls({}, {"s": made(service)})
    for job in range(1, 9):
        calls.submit(call(job, [float(job)]))
    calls.submit(call(9, [9.0]))
    came: list[CallDone] = []
    while len(came) < 8:
        came += calls.finished(10_000)
    calls.close()
    calls.close()

    assert sorted((notice.job, notice.columns["twice"].to_list()) for notice in came) == [(job, [2.0 * job]) for job in range(1, 9)]
    assert service.now == 0
