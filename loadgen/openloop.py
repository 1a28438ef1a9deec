"""loadgen.openloop: every record has a moment at which it is due, and leaves then, whatever became of the earlier ones. merge → *openloop*.

A generator that waits for answers sends less while its consumer stalls, and the stall hardly shows in its figures (coordinated
omission). Here the schedule is made before the first record leaves, records carry when they were due, and latency counts from
there. Where the generator itself falls behind, it says so: such a run measured the generator and is not valid.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from loadgen.send import FLUSH_S, PRODUCER
from stream_infer.errors import EnvironmentMissing
from stream_infer.records import Floats, Ints

CHUNK_ROWS = 500  # records between two looks at the clock: 0.5 ms of work
NAP_S_MAX = 0.02
NAP_S_MIN = 0.001  # where more than one record a nap is due: half a core less at 40,000/s, for at most a millisecond, which shows as behind
BEHIND_MS_P99_MAX = 5.0  # a tenth of the shortest latency that matters here (50 ms, transactions of 100 ms)
LINGER_MS = 5  # both clients' default, and part of every latency; with 1 the generator's requests alone keep a core of the broker busy
ONLY_FAILURES = {"delivery.report.only.error": True}  # a call per record costs as much again as producing it


@dataclass(frozen=True, slots=True)
class Kept:
    """How the schedule was kept. rows: sent; lost: given up after retries; behind_ms_…: how long after its moment a record was queued."""

    rows: int
    lost: int
    seconds: float
    behind_ms_p50: float
    behind_ms_p99: float
    behind_ms_max: float

    @property
    def valid(self) -> bool:
        """Whether latencies of this run may be believed."""
        return not self.lost and self.behind_ms_p99 <= BEHIND_MS_P99_MAX

    def __str__(self) -> str:
        text = f"{self.rows:,} records in {self.seconds:.2f} s: {self.rows / max(self.seconds, 1e-9):,.0f}/s, {self.lost:,} lost; "
        text += f"behind schedule p50 {self.behind_ms_p50:.2f} ms, p99 {self.behind_ms_p99:.2f} ms, at most {self.behind_ms_max:.1f} ms"
        return text if self.valid else f"{text}: INVALID, the generator did not keep its own schedule"


def schedule(rate: float, count: int, begin_us: int, poisson_seed: int | None = None) -> Ints:
    """int64[count]: when each record is due, µs since 1970. Evenly spaced, or with exponential gaps of the same mean (poisson_seed)."""
    if poisson_seed is None:
        gaps: Floats = np.full(count, 1e6 / rate)
    else:
        gaps = np.random.default_rng(poisson_seed).exponential(1e6 / rate, count)
    return begin_us + (np.cumsum(gaps) - gaps[:1]).astype(np.int64)


def send_on_schedule(
    bootstrap: str,
    topic: str,
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    due_us: Ints,
    partitions: Sequence[int] | None = None,
) -> Kept:
    """Send record i at due_us[i] (µs since 1970, ascending). partitions: -1, or None, for the key's.

    Errors: EnvironmentMissing when not all of it was acknowledged in a minute.
    """
    lost = 0

    def delivered(error: KafkaError | None, _: Message) -> None:
        nonlocal lost
        lost += error is not None

    producer = Producer({"bootstrap.servers": bootstrap, **PRODUCER, "linger.ms": LINGER_MS, "on_delivery": delivered, **ONLY_FAILURES})
    producer.list_topics(topic, timeout=10.0)  # else the first records wait for it in the client
    places = partitions if partitions is not None else [-1] * len(due_us)
    times = (due_us // 1000).tolist()
    behind: Floats = np.zeros(len(due_us))
    sent, nap_s_min = 0, _nap_s_min(due_us)
    while sent < len(due_us):
        now_us = time.time_ns() // 1000
        due = min(int(np.searchsorted(due_us[sent : sent + CHUNK_ROWS], now_us, side="right")), CHUNK_ROWS) + sent
        if due == sent:
            producer.poll(0)
            time.sleep(min(NAP_S_MAX, max(nap_s_min, (int(due_us[sent]) - time.time_ns() // 1000) / 1e6)))
            continue
        for row in range(sent, due):
            _queue(producer, topic, values[row], keys[row], places[row], times[row])
        behind[sent:due] = (time.time_ns() // 1000 - due_us[sent:due]) / 1000
        sent = due
        producer.poll(0)
    left = producer.flush(FLUSH_S)
    if left:
        fix = "look at the broker's log, or whether it is there at all"
        raise EnvironmentMissing("the broker does not take the records", got=f"{left:,} not acknowledged in {FLUSH_S:.0f} s", fix=fix)
    seconds = time.time() - int(due_us[0]) / 1e6 if len(due_us) else 0.0
    p50, p99, worst = np.quantile(behind, [0.5, 0.99, 1.0]).tolist() if len(behind) else (0.0, 0.0, 0.0)
    return Kept(len(due_us), lost, seconds, p50, p99, worst)


def _nap_s_min(due_us: Ints) -> float:
    seconds = (int(due_us[-1]) - int(due_us[0])) / 1e6 if len(due_us) else 0.0
    return NAP_S_MIN if len(due_us) * NAP_S_MIN > seconds else 0.0


def _queue(producer: Producer, topic: str, value: bytes | None, key: bytes | None, place: int, time_ms: int) -> None:
    while True:
        try:
            producer.produce(topic, value, key, place, timestamp=time_ms)
        except BufferError:  # our own queue is full; the wait shows in what is behind
            producer.poll(0.01)
        else:
            return
