"""edge.call_outside: users' async functions, for what lies outside: databases, services. calls → *call_outside* → calls.

All stages share one event loop in one thread. A try that fails by the other side's fault is tried again after a pause that doubles, with
some chance in it, so that many rows do not knock at once; a breaker stops asking who does not answer. What a row itself is to blame for
(ValueError and its like) is not tried again: a batch is halved until that row is alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random
from threading import Thread
from typing import cast

from stream_infer.edge.breaker import Breaker
from stream_infer.edge.call_columns import Gives, Odd, Outcome, batch_of, joined, line, nothing_of, of_batch, of_rows, rows_of
from stream_infer.edge.call_functions import alone, answer
from stream_infer.edge.calls import Done, Tally
from stream_infer.flow.commands import Call
from stream_infer.functions import Function, FunctionSettings, OutsideSettings, Rejected
from stream_infer.topology.plan import CallStep

OWN_FAULT = (Rejected, Odd, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)  # the row's, or the function's


CLOSE_S_MAX = 2.0  # for functions that will not be cancelled


class Unreached(Exception):
    """The other side did not answer, however often it was asked; the message says how."""


class Loop:
    """An event loop in a thread of its own, which starts with the first task."""

    def __init__(self) -> None:
        self._running: tuple[asyncio.AbstractEventLoop, Thread] | None = None

    def begin(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start a task; it tells by itself what becomes of it."""
        if self._running is None:
            loop = asyncio.new_event_loop()
            self._running = loop, Thread(target=loop.run_forever, name="outside")
            self._running[1].start()
        asyncio.run_coroutine_threadsafe(_awaited(work), self._running[0])

    def close(self) -> None:
        """Cancel what is under way and end the thread."""
        if self._running is None:
            return
        (loop, thread), self._running = self._running, None
        asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=CLOSE_S_MAX)


class Outside:
    """An Executor of an async function. clock: ms, monotone."""

    def __init__(
        self,
        step: CallStep,
        settings: FunctionSettings,
        function: Function,
        loop: Loop,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        assert settings.outside is not None
        self._step, self._settings, self._function, self._loop, self._clock = step, settings, function, loop, clock
        self._outside: OutsideSettings = settings.outside
        self._breaker = Breaker(self._outside.breaker) if self._outside.breaker is not None else None
        self._slots = asyncio.Semaphore(self._outside.concurrency_max)
        self._chance = Random(self._outside.seed)  # noqa: S311 — spreads pauses, guards nothing
        self._left_behind: set[asyncio.Future[object]] = set()  # tries past their time that have not ended yet

    def begin(self, call: Call, done: Callable[[Done | BaseException], None]) -> None:
        """Start a call."""
        self._loop.begin(lambda: self._told(call, done))

    def breaker(self) -> str | None:
        """The state of its breaker, if it has one."""
        return None if self._breaker is None else self._breaker.state_at(self._clock())

    def close(self) -> None:
        """End the loop; what is under way is dropped."""
        self._loop.close()

    async def _told(self, call: Call, done: Callable[[Done | BaseException], None]) -> None:
        try:
            done(await self.answered(call))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 — told to the worker, where it can be seen
            done(error)

    async def answered(self, call: Call) -> Done:
        """What comes of a call."""
        began, tally = time.perf_counter(), Tally()
        if self._settings.per == "row":
            made: list[object] = [None] * call.count
            waiting = iter(enumerate(rows_of(call.columns, call.count)))

            async def take() -> None:
                for place, row in waiting:
                    made[place] = await self._row(row, tally)

            # So many that take row after row: a task for each row would queue thousands for the slots, and cost by their square.
            await asyncio.gather(*(take() for _ in range(min(call.count, self._outside.concurrency_max))))
            outcome = of_rows(made, self._step.gives)
        else:
            outcome = await self._batch(call, 0, call.count, tally)
        tally.seconds.append(time.perf_counter() - began)
        return answer(call, self._step, self._settings, outcome, tally)

    async def _row(self, row: dict[str, object], tally: Tally) -> object:
        try:
            return await self._tried(row, tally)
        except (Unreached, *OWN_FAULT) as error:
            return error

    async def _batch(self, call: Call, first: int, end: int, tally: Tally) -> Outcome:
        gives: Gives = self._step.gives
        try:
            return of_batch(await self._tried(batch_of(call.columns, slice(first, end)), tally), gives, end - first)
        except Unreached as error:
            return Outcome(nothing_of(gives, end - first), {}, dict.fromkeys(range(end - first), line(f"Unreached: {error}")))
        except OWN_FAULT as error:
            if end - first == 1:
                return alone(error, gives)
        middle = (first + end) // 2
        one, two = await asyncio.gather(self._batch(call, first, middle, tally), self._batch(call, middle, end, tally))
        return joined([(one, middle - first), (two, end - middle)])

    async def _tried(self, argument: dict[str, object], tally: Tally) -> object:
        """What the function gives in the end; Unreached, or what it raised by its own fault."""
        outside, said = self._outside, ""
        for attempt in range(outside.retries + 1):
            if attempt:
                tally.retries += 1
                pause = min(outside.backoff_ms * 2 ** (attempt - 1), outside.backoff_ms_max)
                await asyncio.sleep(pause / 1000 * (1 - self._chance.random() / 2))
            async with self._slots:
                ticket = self._breaker.ask(self._clock()) if self._breaker is not None else 0
                if ticket is None:
                    tally.refused += 1
                    raise Unreached("the breaker is open" + (f", after {said}" if said else ""))
                try:
                    made = await self._in_time(argument)
                except OWN_FAULT:
                    self._became(ticket, well=True)
                    raise
                except TimeoutError:
                    tally.timeouts += 1
                    said = f"no answer within {outside.timeout_ms} ms"
                except Exception as error:  # noqa: BLE001 — the user's code; what is not its own fault is the other side's
                    said = f"{type(error).__name__}: {error}"
                else:
                    self._became(ticket, well=True)
                    return made
                self._became(ticket, well=False)
        raise Unreached(f"{said} ({outside.retries + 1} tries)" if outside.retries else said)

    def _became(self, ticket: int, *, well: bool) -> None:
        if self._breaker is not None:
            (self._breaker.went_well if well else self._breaker.failed)(ticket, self._clock())

    async def _in_time(self, argument: dict[str, object]) -> object:
        """One try. A function that will not be cancelled is left behind: waiting for it would make it our clock."""
        task = asyncio.ensure_future(cast("Awaitable[object]", self._function(argument)))
        try:
            ended, _ = await asyncio.wait({task}, timeout=self._outside.timeout_ms / 1000)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if ended:
            return task.result()
        task.cancel()
        self._left_behind.add(task)
        task.add_done_callback(self._forgotten)
        raise TimeoutError

    def _forgotten(self, task: asyncio.Future[object]) -> None:
        self._left_behind.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or the loop complains of it
