"""edge.call_functions: users' plain functions: in the worker's thread, in threads or in processes. calls → *call_functions* → calls.

A batch function that raises gets its rows back in halves until the row at fault is alone, as a model does. A process that dies takes the
rows it was at with it: they are tried again in halves, in a new process, so that only the deadly row is lost.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from threading import Lock

from stream_infer.edge.call_columns import Gives, Outcome, batch_of, joined, nothing_of, of_batch, of_rows, rows_of, said, with_defaults
from stream_infer.edge.calls import Done, Tally
from stream_infer.edge.registry import functions_of
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.functions import Function, FunctionSettings, Rejected
from stream_infer.records import Column, Numbers
from stream_infer.topology.plan import CallStep

PART_ROWS_MIN = 64  # a part costs a hand-over of 50 µs (threads) to 0.4 ms (processes): fewer rows are not worth one
Work = Callable[[Mapping[str, Column], int, int], Outcome]  # columns; first row, end


def outcome_of(function: Function, per: str, gives: Gives, columns: Mapping[str, Column], first: int, end: int) -> Outcome:
    """What a function makes of rows first … end - 1."""
    if per == "row":
        taken = {name: column.take(slice(first, end)) for name, column in columns.items()}
        return of_rows([_made(function, row) for row in rows_of(taken, end - first)], gives)
    try:
        return of_batch(function(batch_of(columns, slice(first, end))), gives, end - first)
    except Exception as error:  # noqa: BLE001 — the user's code; whatever it raises spoils its rows, not the worker
        return halves(error, gives, first, end, lambda a, b: outcome_of(function, per, gives, columns, a, b))


def _made(function: Function, row: dict[str, object]) -> object:
    try:
        return function(row)
    except Exception as error:  # noqa: BLE001 — as above
        return error


def alone(error: Exception, gives: Gives) -> Outcome:
    """The outcome of one row for which a function raised."""
    if isinstance(error, Rejected):
        return Outcome(nothing_of(gives, 1), {0: said(error).removeprefix("Rejected: ")}, {})
    return Outcome(nothing_of(gives, 1), {}, {0: said(error)})


def halves(error: Exception, gives: Gives, first: int, end: int, again: Callable[[int, int], Outcome]) -> Outcome:
    """The rows for which a function raised, in two parts; one row alone is at fault."""
    if end - first == 1:
        return alone(error, gives)
    middle = (first + end) // 2
    return joined([(again(first, middle), middle - first), (again(middle, end), end - middle)])


def answer(call: Call, step: CallStep, settings: FunctionSettings, outcome: Outcome, tally: Tally) -> Done:
    """What the core is told, after the policy for rows that failed."""
    tally.calls, tally.rows = tally.calls + 1, tally.rows + call.count
    tally.rejected += len(outcome.rejected)
    tally.failed += len(outcome.failed)
    if settings.defaults is not None:
        tally.defaulted += len(outcome.failed)
        outcome = with_defaults(outcome, dict(settings.defaults), step.gives, call.count)
    return CallDone(call.job, outcome.columns, outcome.rejected | outcome.failed), tally


def here(step: CallStep, settings: FunctionSettings, function: Function) -> Callable[[Call], Done]:
    """An Answer in the thread that asks."""

    def run(call: Call) -> Done:
        began = time.perf_counter()
        outcome = outcome_of(function, settings.per, step.gives, call.columns, 0, call.count)
        return answer(call, step, settings, outcome, Tally(seconds=[time.perf_counter() - began]))

    return run


def parts_of(count: int, workers: int) -> list[tuple[int, int]]:
    """Rows 0 … count - 1 in nearly equal parts, one per worker, unless they would be too small."""
    parts = max(1, min(workers, count // PART_ROWS_MIN))
    edges = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(edges))


@dataclass(slots=True)
class _Open:
    """A call under way. made: outcomes by their first row; left: rows without one."""

    call: Call
    done: Callable[[Done | BaseException], None]
    began: float
    left: int
    made: dict[int, tuple[Outcome, int]] = field(default_factory=dict)


class Pooled:
    """An Executor of a function in threads or processes of its own. admitted: modules that a process resolves the function's name with."""

    def __init__(self, step: CallStep, settings: FunctionSettings, function: Function, admitted: Sequence[str]) -> None:
        self._step, self._settings, self._function, self._admitted = step, settings, function, tuple(admitted)
        self._lock = Lock()
        self._closed = False
        self._pool = self._made_pool()
        self._suspects = ThreadPoolExecutor(1, thread_name_prefix=f"{step.name} suspects")

    def _made_pool(self) -> Executor:
        count = self._settings.workers
        if self._settings.workers_are == "threads":
            return ThreadPoolExecutor(count, thread_name_prefix=self._step.name)
        # Forking a process with threads and an open broker connection is undefined; a fresh interpreter costs a second, once.
        return ProcessPoolExecutor(count, get_context("spawn"), _begin_process, (self._settings.function, self._admitted))

    def begin(self, call: Call, done: Callable[[Done | BaseException], None]) -> None:
        """Start a call: its rows are spread over the workers."""
        opened = _Open(call, done, time.perf_counter(), call.count)
        for first, end in parts_of(call.count, self._settings.workers):
            self._start(opened, first, end)

    def _start(self, opened: _Open, first: int, end: int) -> None:
        per, gives, columns = self._settings.per, self._step.gives, opened.call.columns
        with self._lock:
            pool = self._pool
            if self._settings.workers_are == "threads":
                future = pool.submit(outcome_of, self._function, per, gives, columns, first, end)
            else:
                future = self._sent(per, gives, columns, first, end)
                pool = self._pool
        future.add_done_callback(lambda ended: self._ended(opened, first, end, pool, ended))

    def _sent(self, per: str, gives: Gives, columns: Mapping[str, Column], first: int, end: int) -> Future[Outcome]:
        mine = {name: _own(column.take(slice(first, end))) for name, column in columns.items()}
        try:
            return self._pool.submit(_in_process, per, gives, mine, end - first)
        except BrokenExecutor:
            self._pool = self._made_pool()
            return self._pool.submit(_in_process, per, gives, mine, end - first)

    def _ended(self, opened: _Open, first: int, end: int, pool: Executor, future: Future[Outcome]) -> None:
        if future.cancelled() or self._closed:
            return
        error = future.exception()
        if isinstance(error, BrokenExecutor):
            self._renew(pool)
            self._suspects.submit(self._judge, opened, first, end)
        elif error is not None:
            opened.done(error)
        else:
            self._made(opened, first, end, future.result())

    def _made(self, opened: _Open, first: int, end: int, outcome: Outcome) -> None:
        with self._lock:
            opened.made[first] = outcome, end - first
            opened.left -= end - first
            if opened.left:
                return
        whole = joined([opened.made[place] for place in sorted(opened.made)])
        opened.done(answer(opened.call, self._step, self._settings, whole, Tally(seconds=[time.perf_counter() - opened.began])))

    def _judge(self, opened: _Open, first: int, end: int) -> None:
        """Rows that were in a process which died, one part after the other in a process of their own: nobody dies for a neighbour."""
        try:
            self._made(opened, first, end, self._alone(opened.call.columns, first, end))
        except BaseException as error:  # noqa: BLE001 — told to the worker, where it can be seen
            opened.done(error)

    def _alone(self, columns: Mapping[str, Column], first: int, end: int) -> Outcome:
        settings, gives = self._settings, self._step.gives
        with ProcessPoolExecutor(1, get_context("spawn"), _begin_process, (settings.function, self._admitted)) as pool:
            try:
                mine = {name: _own(column.take(slice(first, end))) for name, column in columns.items()}
                return pool.submit(_in_process, settings.per, gives, mine, end - first).result()
            except BrokenExecutor:
                if end - first == 1:
                    return Outcome(nothing_of(gives, 1), {}, {0: "the function's process ended"})
        middle = (first + end) // 2
        return joined([(self._alone(columns, first, middle), middle - first), (self._alone(columns, middle, end), end - middle)])

    def _renew(self, broken: Executor) -> None:
        with self._lock:
            if self._pool is broken:
                broken.shutdown(wait=False)
                self._pool = self._made_pool()

    def breaker(self) -> str | None:
        """None: nothing of it lies outside."""
        return None

    def close(self) -> None:
        """End the workers; what they are at is dropped."""
        self._closed = True
        for pool in (self._pool, self._suspects):
            pool.shutdown(wait=True, cancel_futures=True)


def _own(column: Column) -> Column:
    """Alone, without the block it was taken from: what travels to a process is copied whole."""
    return column if isinstance(column, Numbers) else column.compact()


_own_function: list[Function] = []  # of this process, where it is one of a pool


def _begin_process(name: str, admitted: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which drains
    _own_function[:] = [functions_of(admitted)[name]]


def _in_process(per: str, gives: Gives, columns: Mapping[str, Column], count: int) -> Outcome:
    return outcome_of(_own_function[0], per, gives, columns, 0, count)
