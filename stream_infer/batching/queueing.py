"""batching.queueing: what the work-conserving rule does to a stream of rows, as a bound and simulated. curve → *queueing* → planning."""

from __future__ import annotations

import math
from collections.abc import Callable

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


def line_of(sizes: Ints, seconds: Floats) -> tuple[float, float]:
    """(seconds per row, fixed seconds), neither negative, of the straight line that fits best; each size counts alike."""
    weight = 1.0 / seconds
    made = np.stack([sizes, np.ones(len(sizes))], axis=1) * weight[:, None]
    slope, fixed = np.linalg.lstsq(made, np.ones(len(sizes)), rcond=None)[0].tolist()
    if fixed < 0:
        slope, fixed = float((sizes * weight).sum() / ((sizes * weight) ** 2).sum()), 0.0
    if slope < 0:
        slope, fixed = 0.0, float(weight.sum() / (weight**2).sum())
    return slope, fixed


def simulate(arrivals: Floats, seconds: Callable[[int], float], rows_max: int) -> tuple[Floats, Ints, float]:
    """(latency of each row in s, rows of each pass, share of the time at work) of one server that takes what waits, at once.

    arrivals: float64[n] ascending, s. seconds: of a pass of so many rows; rows_max: no pass has more.
    """
    latency = np.empty(len(arrivals))
    sizes: list[int] = []
    free, busy, begin = 0.0, 0.0, 0
    while begin < len(arrivals):
        start = max(free, float(arrivals[begin]))
        end = min(int(np.searchsorted(arrivals, start, side="right")), begin + rows_max)
        took = seconds(end - begin)
        free, busy = start + took, busy + took
        latency[begin:end] = free - arrivals[begin:end]
        sizes.append(end - begin)
        begin = end
    span = free - float(arrivals[0]) if len(arrivals) else 0.0
    return latency, np.array(sizes, dtype=np.int64), busy / span if span else 0.0
