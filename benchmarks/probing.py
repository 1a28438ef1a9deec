"""probing: events sent at a steady rate to every partition, and when each was answered. harness → *probing* → recovery, scaling."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.harness.broker import QUIET, Cluster
from benchmarks.harness.events import EVENT, INPUTS
from stream_infer.codec.internal import PREDICTION
from stream_infer.codec.schema import parse_schema

PREFIX = "probe-"


@dataclass(frozen=True)
class Gap:
    """Of one partition. silence: the longest time without an answer; served: from the stroke to the answer to an event sent after it."""

    silence_s: float
    served_s: float | None


class Probe:
    """Sends rate_hz events a second to each partition until stop(); notes when their answers could be read by a read-committed consumer.

    keys: of each partition, as bytes; they take turns. begin_ms: event time of the first; it goes on with the clock.
    """

    def __init__(
        self, cluster: Cluster, topics: tuple[str, str], keys: dict[int, list[bytes]], *, rate_hz: float, begin_ms: int, burst: int = 1
    ) -> None:
        self._cluster, (self._events, self._answers) = cluster, topics
        self._keys, self._pause_s, self._burst, self._begin_ms = keys, burst / rate_hz, burst, begin_ms
        self._over = threading.Event()
        self.sent: dict[int, list[float]] = {partition: [] for partition in keys}  # when, by number
        self.seen: dict[int, list[tuple[float, int]]] = {partition: [] for partition in keys}  # when, which number
        self._threads = [threading.Thread(target=self._send, daemon=True), threading.Thread(target=self._read, daemon=True)]

    def start(self) -> None:
        """Begin; returns when every partition answers."""
        for thread in self._threads:
            thread.start()
        self.wait_until_answered(time.monotonic(), 120.0)

    def stop(self) -> None:
        """No more events."""
        self._over.set()
        for thread in self._threads:
            thread.join(30.0)

    def wait_until_answered(self, since: float, patience_s: float) -> None:
        """Until every partition answered an event that was sent after `since` (monotonic)."""
        until = time.monotonic() + patience_s
        while any(self._served(partition, since) is None for partition in self._keys):
            if time.monotonic() > until:
                late = [p for p in self._keys if self._served(p, since) is None]
                raise RuntimeError(f"partitions {late} answer nothing within {patience_s:.0f} s")
            time.sleep(0.02)

    def gaps(self, since: float, until: float) -> dict[int, Gap]:
        """What each partition did between two moments."""
        found = {}
        for partition in self._keys:
            served = self._served(partition, since)
            moments = [when for when, _ in self.seen[partition] if since - 0.2 <= when <= until]
            inner = [b - a for a, b in zip([since, *moments], [*moments, until], strict=True)]
            found[partition] = Gap(max(inner), None if served is None else served - since)
        return found

    def _served(self, partition: int, since: float) -> float | None:
        sent = self.sent[partition]
        return next((when for when, number in self.seen[partition] if when >= since and sent[number] >= since), None)

    def _send(self) -> None:
        settings = {"bootstrap.servers": self._cluster.bootstrap, "linger.ms": 1, "enable.idempotence": True, **QUIET}
        producer = Producer(settings)
        schema, frame = _parsed(EVENT)
        began = due = time.monotonic()
        while not self._over.is_set():
            at_ms = self._begin_ms + round((time.monotonic() - began) * 1000)
            for partition, keys in self._keys.items():
                for _ in range(self._burst):
                    number = len(self.sent[partition])
                    key = keys[number % len(keys)]
                    row = {"id": f"{PREFIX}{number}", "user": key.decode(), "region": "EU", "at_ms": at_ms, "n": 1}
                    out = io.BytesIO()
                    out.write(frame)
                    fastavro.schemaless_writer(out, schema, row | {f"x{i}": 1.0 for i in range(INPUTS)})
                    self.sent[partition].append(time.monotonic())
                    producer.produce(self._events, out.getvalue(), key, partition)
            producer.poll(0)
            due += self._pause_s
            time.sleep(max(0.0, due - time.monotonic()))
        producer.flush(30)

    def _read(self) -> None:
        settings = {"bootstrap.servers": self._cluster.bootstrap, "group.id": "probe", "enable.auto.commit": False, **QUIET}
        consumer = Consumer({**settings, "isolation.level": "read_committed", "fetch.wait.max.ms": 20})
        ends = self._cluster.ends(self._answers, len(self._keys), committed=True)
        consumer.assign([TopicPartition(self._answers, partition, offset) for partition, offset in ends.items()])
        schema, frame = _parsed(PREDICTION)
        while not self._over.is_set():
            messages = consumer.consume(1000, 0) or [m for m in [consumer.poll(0.05)] if m is not None]
            when = time.monotonic()
            for message in messages:
                if message.error() is None:
                    row: Any = fastavro.schemaless_reader(io.BytesIO((message.value() or b"")[len(frame) :]), schema, None)
                    if row["prediction_id"].startswith(PREFIX):
                        self.seen[row["source_partition"]].append((when, int(row["prediction_id"].removeprefix(PREFIX))))
        consumer.close()


def answered(cluster: Cluster, topic: str, partitions: int) -> int:
    """Records and markers that stand committed in a topic."""
    return sum(cluster.ends(topic, partitions, committed=True).values())


def by_partition(users: Iterable[bytes], partitions: int, each: int) -> dict[int, list[bytes]]:
    """The first `each` keys of every partition, as the preloaded log has them: the user's number modulo partitions."""
    found: dict[int, list[bytes]] = {partition: [] for partition in range(partitions)}
    for user in users:
        place = found[int(user[1:]) % partitions]
        if len(place) < each:
            place.append(user)
    return found


def _parsed(schema: str) -> tuple[Any, bytes]:
    return fastavro.parse_schema(json.loads(schema)), b"\x00" + parse_schema(schema).schema_id.to_bytes(4, "big")
