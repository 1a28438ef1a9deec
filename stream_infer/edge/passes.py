"""edge.passes: forwards that wait for their model leave together in one pass. workers → *passes* → workers.

Late binding: who goes is chosen when the model is free. The next pass is of the model whose oldest rows must start first (deadline,
less what the pass should take, is not known here: the slack that was left when they were asked counts instead); it takes as many of
its forwards, in the order of asking, as their limit allows. If a shared pass fails, each forward has one of its own, so that nobody
answers for another's rows.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from stream_infer.attribution import answer
from stream_infer.batching.cutting import padded
from stream_infer.batching.sizing import COST, FULL, NOTHING_WAITS
from stream_infer.flow.commands import Forward
from stream_infer.flow.notices import ForwardDone, ForwardFailed, Pass
from stream_infer.models.base import Model

NO_DEADLINE_S = 1.0  # rows without a deadline are treated as due in a second: models with one go first, but starve nobody

Answer = ForwardDone | ForwardFailed


@dataclass(frozen=True, slots=True)
class Waiting:
    """A forward and its model. at: when it was asked, s; due: by when its pass should begin."""

    command: Forward
    model: Model
    at: float
    due: float


class PassQueue:
    """Forwards that wait, by model and version. put() and run_next() may be called from two threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[tuple[str, int], deque[Waiting]] = {}

    def put(self, command: Forward, model: Model) -> None:
        """One more waits."""
        now = time.perf_counter()
        slack_ms = command.together.slack_ms if command.together is not None else None
        due = now + (NO_DEADLINE_S if slack_ms is None else min(slack_ms / 1000, NO_DEADLINE_S))
        with self._lock:
            self._waiting.setdefault((command.model, command.version), deque()).append(Waiting(command, model, now, due))

    def clear(self) -> None:
        """Nothing waits any more."""
        with self._lock:
            self._waiting.clear()

    def run_next(self) -> list[Answer]:
        """Run the next pass; the answers of all its forwards. [] when nothing waits."""
        with self._lock:
            if not self._waiting:
                return []
            name = min(self._waiting, key=lambda name: self._waiting[name][0].due)
            queue = self._waiting[name]
            parts, why = _taken(queue)
            if not queue:
                del self._waiting[name]
        return _run(parts, why)


def _taken(queue: deque[Waiting]) -> tuple[list[Waiting], str]:
    """The first forward and those behind it that may go with it; what made them leave."""
    parts = [queue.popleft()]
    first = parts[0].command
    limit = first.together
    if limit is None:
        return parts, FULL if queue else NOTHING_WAITS
    (rows_max, why), cost_max = (limit.rows_max, limit.why), limit.cost_max
    rows, cost = len(first.matrix), limit.cost
    while queue:
        other = queue[0].command
        theirs, count = other.together, len(other.matrix)
        if theirs is None or padded(rows + count, first.sizes) > padded(rows, first.sizes) + padded(count, first.sizes):
            return parts, FULL
        rows_max, why = min((rows_max, why), (theirs.rows_max, theirs.why))
        cost_max = min(cost_max, theirs.cost_max)
        if rows + count > rows_max:
            return parts, why
        if cost + theirs.cost > cost_max:
            return parts, COST
        rows, cost = rows + count, cost + theirs.cost
        parts.append(queue.popleft())
    if rows >= rows_max:
        return parts, why
    return parts, COST if cost >= cost_max else NOTHING_WAITS


def _run(parts: Sequence[Waiting], why: str) -> list[Answer]:
    commands, model = [part.command for part in parts], parts[0].model
    matrix = commands[0].matrix if len(commands) == 1 else np.concatenate([command.matrix for command in commands])
    rows = len(matrix)
    filled = padded(rows, commands[0].sizes) - rows
    if filled:
        matrix = np.concatenate([matrix, np.zeros((filled, matrix.shape[1]), dtype=matrix.dtype)])
    began = time.perf_counter()
    try:
        outputs = answer(model, matrix, commands[0].explain)
    except Exception as error:  # noqa: BLE001 — a model is the user's code; whatever it raises spoils its rows, not the worker
        if len(parts) > 1:
            return _apart(parts, why)
        first = (str(error).splitlines() or [""])[0]
        return [ForwardFailed(commands[0].job, f"{type(error).__name__}: {first[:200]}")]
    seconds = time.perf_counter() - began
    if len(outputs) != len(matrix) and len(parts) > 1:
        return _apart(parts, why)  # whoever asked will see it in an answer of its own
    if filled and len(outputs) != len(matrix):
        return [ForwardFailed(commands[0].job, f"got {len(outputs)} answers, expected one for each of {len(matrix)} rows")]
    outputs = outputs[:rows] if filled else outputs
    if commands[0].explain is not None:
        return [ForwardDone(commands[0].job, outputs, seconds)]  # many passes, none of them an answer: the cost curve learns nothing of it
    limits = [command.together.rows_max for command in commands if command.together is not None]
    passed = Pass(rows, seconds, filled, began - parts[0].at, why, min(limits, default=rows))
    if len(parts) == 1:
        return [ForwardDone(commands[0].job, outputs, seconds, passed, (0, len(matrix)) if filled else None)]
    answers: list[Answer] = []
    at = 0
    for command in commands:
        end = at + len(command.matrix)
        answers.append(ForwardDone(command.job, outputs[at:end], seconds, None if answers else passed, (at, len(matrix))))
        at = end
    return answers


def _apart(parts: Sequence[Waiting], why: str) -> list[Answer]:
    return [answer for part in parts for answer in _run([part], why)]
