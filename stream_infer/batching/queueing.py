"""batching.queueing: what the work-conserving rule does to a stream of rows, as a bound and simulated. curve → *queueing* → forecasting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stream_infer.records import Floats, Ints


def mean_latency_bound_s(rate: float, per_row_s: float, fixed_s: float) -> float:
    """Upper bound of the mean time from a row's arrival to its answer, arrivals at random (Poisson), passes of fixed_s + n · per_row_s.

    rate: rows per second. Of Inoue, "Queueing analysis of GPU-based inference servers with dynamic batching: a closed-form
    characterization" (2019): no limit to the size of a batch. Infinite where rate · per_row_s is 1 or more.
    """
    load = rate * per_row_s
    if load >= 1.0:
        return math.inf
    lone = rate * fixed_s
    first = (per_row_s + fixed_s) / (2 * (1 - load)) * (1 + 2 * lone + (1 - lone) / (1 + load))
    second = 1.5 * fixed_s / (1 - load) + per_row_s / 2 * (load + 2) / (1 - load * load)
    return min(first, second)


def mean_latency_bound_of(rate: float, sizes: Floats, seconds: Floats) -> float:
    """The same bound of passes whose cost is no straight line: the least bound of the lines that lie nowhere below it.

    sizes: float64[k] ascending; seconds: float64[k], of passes of so many rows; between them the cost is taken for straight.
    """
    slopes = np.unique(np.maximum((seconds[:, None] - seconds[None, :])[np.tril_indices(len(sizes), -1)], 0.0) / _gaps(sizes))
    fixed = np.maximum((seconds[None, :] - slopes[:, None] * sizes[None, :]).max(axis=1), 0.0)
    return min((mean_latency_bound_s(rate, slope, start) for slope, start in zip(slopes.tolist(), fixed.tolist(), strict=True)))


def _gaps(sizes: Floats) -> Floats:
    out: Floats = (sizes[:, None] - sizes[None, :])[np.tril_indices(len(sizes), -1)]
    return out


@dataclass(frozen=True, slots=True)
class Passes:
    """What one server did. starts, ends: float64[passes], s; rows, tasks: int64[passes]; latency: float64[n] of each row, s."""

    starts: Floats
    ends: Floats
    rows: Ints
    tasks: Ints
    latency: Floats

    def busy(self) -> float:
        """Share of the time at work."""
        span = float(self.ends[-1] - self.starts[0]) if len(self.ends) else 0.0
        return float((self.ends - self.starts).sum()) / span if span else 0.0


Cost = Callable[[int, int], float]  # seconds of a pass, by its rows and of how many tasks they are


def simulate(
    arrivals: Floats,
    seconds: Cost,
    rows_max: int,
    beside: Sequence[tuple[Cost, Cost]] = (),
    *,
    tasks: Ints | None = None,
    ahead: int = 2,
) -> Passes:
    """One server that takes what waits, at once, and others beside it that each pass goes to afterwards, one after the other.

    arrivals: float64[n] ascending, s. rows_max: no pass has more. beside: of each, for how long it is taken by a pass, and how long the
    pass takes there; at most so many passes are under way as `ahead` says, and they end in order. tasks: int64[n]; None: all of one.
    """
    latency = np.empty(len(arrivals))
    starts: list[float] = []
    ends: list[float] = []
    rows: list[int] = []
    of: list[int] = []
    free, begin = 0.0, 0
    others = [0.0] * len(beside)
    while begin < len(arrivals):
        room = ends[-ahead] if len(ends) >= ahead else 0.0
        start = max(free, float(arrivals[begin]), room)
        end = min(int(np.searchsorted(arrivals, start, side="right")), begin + rows_max)
        of.append(1 if tasks is None else len(np.unique(tasks[begin:end])))
        size = end - begin, of[-1]
        done = free = start + seconds(*size)
        for place, (occupies, takes) in enumerate(beside):
            came = max(done, others[place])
            others[place] = came + occupies(*size)
            done = came + takes(*size)
        done = max(done, ends[-1] if ends else done)
        latency[begin:end] = done - arrivals[begin:end]
        starts.append(start)
        ends.append(done)
        rows.append(end - begin)
        begin = end
    return Passes(np.array(starts), np.array(ends), np.array(rows, dtype=np.int64), np.array(of, dtype=np.int64), latency)


def visible_at(starts: Floats, ends: Floats, *, interval_s: float, commit_s: float, rest_s: float) -> Floats:
    """float64[passes]: when each pass' answers can be read, where they are committed together.

    starts, ends: of the passes, ascending. A commit begins interval_s after the last one ended, between two passes; while nothing
    waits, rest_s after it. It takes commit_s, during which passes go on.
    """
    out = np.empty(len(ends))
    last, begin = -math.inf, 0
    for place, end in enumerate(ends.tolist()):
        follows = float(starts[place + 1]) if place + 1 < len(ends) else math.inf
        at = max(end, last + min(rest_s, interval_s))
        if at >= follows:  # no rest before the next pass
            if end < last + interval_s:
                continue
            at = max(end, last)
        out[begin : place + 1] = last = at + commit_s
        begin = place + 1
    return out
