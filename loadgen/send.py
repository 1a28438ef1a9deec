"""loadgen.send: records leave for Kafka at their own time or flat out, whatever becomes of the earlier ones. merge → *send*.

Open loop: the schedule comes from the events alone. A producer that waited for its consumer would hide every stall of it, so
this one never waits for an answer; where it falls behind its own schedule, it says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from loadgen.merge import MergedLog, Piece
from loadgen.wiring import Wire
from stream_infer.errors import EnvironmentMissing

PIECE_ROWS = 10_000  # large enough that encoding costs per row, small enough that the first record leaves at once
POLL_EVERY_ROWS = 1_000  # a poll per record would cost a fifth of the rate
BEHIND_TOLD_S = 0.5
FLUSH_S = 60.0
TOPIC_S = 30.0
PRODUCER = {
    "partitioner": "murmur2_random",  # Java's: whoever else writes the topic puts a key into the same partition
    "compression.type": "lz4",  # a million records cost the broker 0.4 s of processor time instead of 0.7, us about the same
    "linger.ms": 20,
    "enable.idempotence": True,  # a retry must not change the order of one key
    "delivery.report.only.error": True,
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 262_144,
}


@dataclass(frozen=True, slots=True)
class Report:
    """What was sent. rows: accepted by the client; lost: given up after retries; seconds: until the last one was acknowledged.

    behind_s_max: how far the schedule was missed, at worst; full_waits: how often the client's own queue was full.
    """

    rows: int
    lost: int
    seconds: float
    behind_s_max: float = 0.0
    full_waits: int = 0

    def __str__(self) -> str:
        text = f"{self.rows:,} records in {self.seconds:.2f} s: {self.rows / max(self.seconds, 1e-9):,.0f}/s, {self.lost:,} lost"
        if self.behind_s_max > BEHIND_TOLD_S:
            text += f"; could not keep the rate: up to {self.behind_s_max:.1f} s behind"
        return text


def ensure_topics(bootstrap: str, wires: Iterable[Wire]) -> None:
    """Create the topics that are missing. Errors: KafkaException when the broker refuses or is not there.

    Records carry the time of their event as timestamp: kept by age, those of 2013 would be deleted as soon as they came, and
    a segment that is closed by age would make one file per week of event time.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap})
    known = admin.list_topics(timeout=TOPIC_S).topics
    kept = {"retention.ms": "-1", "segment.ms": str(10 * 365 * 86_400_000)}
    missing = [
        NewTopic(wire.topic, wire.partitions, 1, config=kept | {"cleanup.policy": "compact" if wire.compacted else "delete"})
        for wire in wires
        if wire.topic not in known
    ]
    if not missing:
        return
    for future in admin.create_topics(missing, operation_timeout=TOPIC_S).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def send_flat_out(bootstrap: str, log: MergedLog) -> Report:
    """Everything as fast as the broker takes it. Errors: EnvironmentMissing when not all of it was acknowledged in a minute."""
    out = _Out(bootstrap)
    for piece in log.pieces(PIECE_ROWS):
        out.send(piece)
    return out.finish(0.0)


def send_paced(bootstrap: str, log: MergedLog, speed_up: float, told: Callable[[str], None] = print) -> Report:
    """Each record at its event time, time running `speed_up` times as fast as then. told: hears once a second when behind."""
    out = _Out(bootstrap)
    sent, behind_s_max, told_at = 0, 0.0, 0.0
    while sent < len(log):
        elapsed_s = time.monotonic() - out.began
        now_ms = log.begin_ms + elapsed_s * 1000 * speed_up
        due = int(np.searchsorted(log.event_time, now_ms, side="right"))
        if due <= sent:
            time.sleep(min(0.05, max(0.001, (int(log.event_time[sent]) - now_ms) / 1000 / speed_up)))
            out.producer.poll(0)
            continue
        behind_s = (now_ms - max(log.begin_ms, int(log.event_time[sent]))) / 1000 / speed_up
        behind_s_max = max(behind_s_max, behind_s)
        if behind_s > BEHIND_TOLD_S and elapsed_s - told_at > 1.0:
            told(f"cannot keep the rate: {behind_s:.1f} s behind after {sent:,} records")
            told_at = elapsed_s
        out.send(log.piece(sent, min(due, sent + PIECE_ROWS)))
        sent = min(due, sent + PIECE_ROWS)
    return out.finish(behind_s_max)


class _Out:
    """A producer that counts."""

    def __init__(self, bootstrap: str) -> None:
        self.producer = Producer({"bootstrap.servers": bootstrap, **PRODUCER, "on_delivery": self._delivered})
        self.began = time.monotonic()
        self.rows = 0
        self.lost = 0
        self.full_waits = 0

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self.lost += 1

    def send(self, piece: Piece) -> None:
        produce, poll = self.producer.produce, self.producer.poll
        records = zip(piece.topics, piece.keys, piece.values, piece.headers, piece.timestamps, strict=True)
        for row, (topic, key, value, headers, timestamp) in enumerate(records):
            if not row % POLL_EVERY_ROWS:
                poll(0)
            while True:
                try:
                    produce(topic, value=value, key=key, headers=headers, timestamp=timestamp)
                except BufferError:  # our own queue is full: what is due later can only wait
                    self.full_waits += 1
                    poll(0.01)
                else:
                    break
        self.rows += len(piece)

    def finish(self, behind_s_max: float) -> Report:
        left = self.producer.flush(FLUSH_S)
        if left:
            fix = "look at the broker's log, or whether it is there at all"
            raise EnvironmentMissing("the broker does not take the records", got=f"{left:,} not acknowledged in {FLUSH_S:.0f} s", fix=fix)
        return Report(self.rows, self.lost, time.monotonic() - self.began, behind_s_max, self.full_waits)
