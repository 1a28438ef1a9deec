"""edge.passes: forwards that wait for their model, and which of them go next. workers → *passes* → one_pass.

Late binding: who goes is chosen when a worker is free. Of the models that it serves, the one whose oldest rows must start first goes
(due, less what the pass should take), with as many of its forwards, in the order of asking, as their limit allows.

Deadlines alone would let a model take a worker from the others for good. So each model's time is counted, divided by its weight; one
that is AHEAD_S_MAX ahead of another that waits has no deadline until that one has caught up. Nobody saves up time: who comes back
after a rest stands beside whoever was least served meanwhile. Hence while several models wait, their times (by weight) are never
further apart than AHEAD_S_MAX and one pass.

How much waits is bounded by the core: two chunks of each task at most are with their models.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from threading import Condition

from stream_infer.batching.curve import LiveCurve
from stream_infer.batching.cutting import padded
from stream_infer.batching.sizing import COST, FULL, NOTHING_WAITS
from stream_infer.flow.commands import Forward
from stream_infer.flow.notices import ForwardDone, ForwardFailed
from stream_infer.models.base import Model

NO_DEADLINE_S = 1.0  # rows without a deadline are treated as due in a second: models with one go first, but starve nobody
AHEAD_S_MAX = 0.2  # of a worker's time, by weight 1: longer than any sensible pass, shorter than anyone would call starving

Answer = ForwardDone | ForwardFailed
Key = tuple[str, int]  # model and version
Reply = Callable[[Answer | BaseException], object]  # takes the answer, or the error after which there will be none


@dataclass(frozen=True, slots=True)
class Waiting:
    """A forward and its model. at: when it was asked, s; due: by when its pass should end; reply: takes its answer."""

    command: Forward
    model: Model
    at: float
    due: float
    reply: Reply


@dataclass(frozen=True, slots=True)
class Taken:
    """Forwards of one model that leave together; why: what made them leave; expected_s: what the pass should take, 0 where unknown."""

    parts: tuple[Waiting, ...]
    why: str
    expected_s: float = 0.0


@dataclass(slots=True)
class _Share:
    """What a model has had. used: seconds of workers divided by its weight; rested: nothing of it waited since it was served last."""

    weight: float = 1.0
    used: float = 0.0
    rested: bool = True
    curve: LiveCurve = field(default_factory=lambda: LiveCurve(None))

    def seconds(self, rows: int) -> float:
        curve = self.curve.curve()
        return curve.estimate(rows) if curve.sizes else 0.0


class PassQueue:
    """Forwards that wait, by model and version. Any thread may call. weights: by model, 1 where none is given."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._changed = Condition()
        self._waiting: dict[Key, deque[Waiting]] = {}
        self._weights = dict(weights or {})
        self._shares: dict[str, _Share] = {}
        self.closed = False

    def put(self, command: Forward, model: Model, reply: Reply) -> None:
        """One more waits."""
        now = time.perf_counter()
        slack_ms = command.together.slack_ms if command.together is not None else None
        due = now + (NO_DEADLINE_S if slack_ms is None else min(slack_ms / 1000, NO_DEADLINE_S))
        with self._changed:
            self._waiting.setdefault((command.model, command.version), deque()).append(Waiting(command, model, now, due, reply))
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing waits and nothing will: whoever waits in take() gets None."""
        with self._changed:
            self._waiting.clear()
            self.closed = True
            self._changed.notify_all()

    def rows(self) -> dict[str, int]:
        """Rows that wait, by model."""
        with self._changed:
            found: dict[str, int] = {}
            for (name, _), queue in self._waiting.items():
                found[name] = found.get(name, 0) + sum(len(waiting.command.matrix) for waiting in queue)
            return found

    def take(self, models: Collection[str] | None = None, *, wait_s: float = 0.0) -> Taken | None:
        """The next pass of these models (None: of any). None when nothing waits, or has come after so long, or the queue was closed."""
        with self._changed:
            until = time.monotonic() + wait_s if wait_s else 0.0
            while not (mine := [key for key in self._waiting if models is None or key[0] in models]):
                rest_s = until - time.monotonic() if wait_s else 0.0
                if rest_s <= 0.0 or self.closed:
                    return None
                self._changed.wait(rest_s)
            key = mine[0] if len(mine) == 1 else self._first(mine)
            queue = self._waiting[key]
            count, rows, why = _fitting(queue)
            parts = tuple(queue.popleft() for _ in range(count))
            share = self._share(key[0])
            expected_s = share.seconds(rows)
            share.used += expected_s / share.weight
            if not queue:
                del self._waiting[key]
                share.rested = not any(name == key[0] for name, _ in self._waiting)
            else:
                share.rested = False
            return Taken(parts, why, expected_s)

    def took(self, taken: Taken, rows: int, seconds: float) -> None:
        """A pass has ended: `rows` with those that filled it up."""
        with self._changed:
            share = self._share(taken.parts[0].command.model)
            share.used += (seconds - taken.expected_s) / share.weight
            if taken.parts[0].command.explain is None:  # an explanation is many passes
                share.curve.passed(rows, seconds)

    def _share(self, model: str) -> _Share:
        found = self._shares.get(model)
        if found is None:
            found = self._shares[model] = _Share(self._weights.get(model, 1.0))
        return found

    def _first(self, keys: list[Key]) -> Key:
        """Of those who are not ahead, whose pass must start first."""
        shares = {name: self._share(name) for name, _ in keys}
        rested = [share for share in shares.values() if share.rested]
        served = [share.used for share in shares.values() if not share.rested]
        floor = min(served) if served else max(share.used for share in rested)
        for share in rested:
            share.used, share.rested = max(share.used, floor), False
        least = min(share.used for share in shares.values())
        return min((key for key in keys if shares[key[0]].used <= least + AHEAD_S_MAX), key=self._latest_start)

    def _latest_start(self, key: Key) -> float:
        queue = self._waiting[key]
        return queue[0].due - self._share(key[0]).seconds(_fitting(queue)[1])


def _fitting(queue: deque[Waiting]) -> tuple[int, int, str]:
    """How many forwards from the first on may go together, their rows, and what made them leave."""
    first = queue[0].command
    rows, limit = len(first.matrix), first.together
    if limit is None:
        return 1, rows, FULL if len(queue) > 1 else NOTHING_WAITS
    (rows_max, why), cost_max, cost = (limit.rows_max, limit.why), limit.cost_max, limit.cost
    for place in range(1, len(queue)):
        other = queue[place].command
        theirs, count = other.together, len(other.matrix)
        if theirs is None or padded(rows + count, first.sizes) > padded(rows, first.sizes) + padded(count, first.sizes):
            return place, rows, FULL
        rows_max, why = min((rows_max, why), (theirs.rows_max, theirs.why))
        cost_max = min(cost_max, theirs.cost_max)
        if rows + count > rows_max:
            return place, rows, why
        if cost + theirs.cost > cost_max:
            return place, rows, COST
        rows, cost = rows + count, cost + theirs.cost
    if rows >= rows_max:
        return len(queue), rows, why
    return len(queue), rows, COST if cost >= cost_max else NOTHING_WAITS
