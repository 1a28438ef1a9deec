"""batching.arrivals: when rows can be read that producers gather before they send them. *arrivals* → forecasting.

A producer's client holds the first record for a partition back for its linger, and sends it with all that came for that partition
meanwhile. So rows come in clusters of one task each, and a turn that works on them costs less than as many rows that come alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.records import Floats, Ints


@dataclass(frozen=True, slots=True)
class Producers:
    """So many clients write the rows, each as many. linger_s: their `linger.ms`, by default 5 (librdkafka, Kafka's own since 4.0)."""

    count: int = 1
    linger_s: float = 5e-3


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Rows by the time at which they are sent. sent, made: float64[n], s; tasks: int64[n], whose partition; batches: how many were sent."""

    sent: Floats
    made: Floats
    tasks: Ints
    batches: int


def drawn(rate: float, count: int, tasks: int, producers: Producers) -> Arrivals:
    """So many rows, made at random (Poisson) with `rate` per second, for partitions and by producers at random. Always the same ones."""
    draw = np.random.default_rng(1)
    made = np.cumsum(draw.exponential(1 / rate, count))
    task = draw.integers(tasks, size=count)
    by_whom = draw.integers(producers.count, size=count)
    sent, batches = gathered(made, task * producers.count + by_whom, producers.linger_s)
    order = np.argsort(sent, kind="stable")
    return Arrivals(sent[order], made[order], task[order], batches)


def gathered(made: Floats, queues: Ints, linger_s: float) -> tuple[Floats, int]:
    """When each row is sent, float64[n], s, and in how many batches: linger_s after the first of those that its queue holds.

    made: float64[n] ascending, s; queues: int64[n], of one producer and partition each.
    """
    if not linger_s:
        return made, len(made)
    sent = np.empty(len(made))
    order = np.argsort(queues, kind="stable")
    batches = 0
    for rows in np.split(order, np.flatnonzero(np.diff(queues[order])) + 1):
        times, begin = made[rows], 0
        while begin < len(times):
            due = float(times[begin]) + linger_s
            end = int(np.searchsorted(times, due, side="right"))
            sent[rows[begin:end]] = due
            begin, batches = end, batches + 1
    return sent, batches
