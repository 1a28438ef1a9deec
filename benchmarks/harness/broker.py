"""broker: a real Kafka for one benchmark, its topics, their ends, and what stands in them. devbroker → *broker* → run."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from stream_infer.edge import devbroker
from stream_infer.records import Ints

ROOT = Path(__file__).parents[2]
SCRATCH = ROOT / ".bench"
QUIET = {"log_level": 2}
READ_ROWS = 10_000
READ_S_MAX = 300.0
ASK_S_MAX = 20.0
HEAP_MB = 1024


@dataclass(frozen=True)
class Written:
    """What stands in a topic. offsets, timestamps: int64[n] and the values, partition by partition."""

    offsets: dict[int, Ints]
    timestamps: dict[int, Ints]
    values: list[bytes]

    def __len__(self) -> int:
        return len(self.values)

    def below(self, ends: dict[int, int]) -> int:
        """How many records lie below these offsets."""
        return sum(int(np.searchsorted(offsets, ends.get(number, 0))) for number, offsets in self.offsets.items())


class Cluster:
    """One broker. pid: of its process, 0 where it is not ours to measure."""

    def __init__(self, bootstrap: str, pid: int) -> None:
        self.bootstrap = bootstrap
        self.pid = pid
        self.admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})

    def create(self, topic: str, partitions: int, keep_bytes: int = -1) -> None:
        """An empty topic; one of that name must not be there. keep_bytes: of each partition."""
        config = {
            "retention.ms": "-1",
            "retention.bytes": str(keep_bytes),
            "segment.bytes": str(256 << 20),
            "segment.ms": str(10 * 365 * 86_400_000),
        }
        for future in self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)], operation_timeout=30.0).values():
            future.result()
        # Asked too early, librdkafka keeps the answer "no leader" for longer than one can wait.
        while not self._led(topic, partitions):
            time.sleep(0.05)
        self.ends(topic, partitions)  # until it answers: whoever watches a program must not wait for it

    def _led(self, topic: str, partitions: int) -> bool:
        found = self.admin.list_topics(topic, timeout=10.0).topics[topic].partitions
        return len(found) == partitions and all(place.leader >= 0 and place.error is None for place in found.values())

    def topics(self) -> set[str]:
        """Names of all topics."""
        return set(self.admin.list_topics(timeout=10.0).topics)

    def delete(self, topics: set[str]) -> None:
        """Without them the page cache stays with what is measured."""
        if topics:
            for future in self.admin.delete_topics(sorted(topics), operation_timeout=30.0).values():
                try:
                    future.result()
                except KafkaException as error:
                    print(f"could not delete a topic: {error}")

    def ends(self, topic: str, partitions: int, *, committed: bool = False) -> dict[int, int]:
        """Next offset of each partition. committed: the last stable one."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}  # type: ignore[no-untyped-call]
        until = time.monotonic() + ASK_S_MAX
        while True:
            found = self.admin.list_offsets(asked, isolation_level=level, request_timeout=20.0)
            try:
                return {place.partition: future.result().offset for place, future in found.items()}
            except KafkaException:  # a topic that was just made has no leader yet
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
                self.admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})  # with nothing remembered

    def read(self, topic: str, partitions: int) -> Written:
        """All committed records, as they stand."""
        ends = self.ends(topic, partitions, committed=True)
        settings = {"bootstrap.servers": self.bootstrap, "group.id": "harness", "enable.auto.commit": False, "enable.partition.eof": True}
        consumer = Consumer({**settings, "isolation.level": "read_committed", "fetch.queue.backoff.ms": 5, **QUIET})
        left = {number for number, end in ends.items() if end}
        rows: dict[int, list[tuple[int, int, bytes]]] = {number: [] for number in ends}
        consumer.assign([TopicPartition(topic, number, 0) for number in left])
        until = time.monotonic() + READ_S_MAX
        while left and time.monotonic() < until:
            for message in consumer.consume(READ_ROWS, 0.1):
                number, offset = message.partition(), message.offset()
                if number is None or offset is None:
                    raise KafkaException(message.error())
                if message.error() is None:
                    rows[number].append((offset, message.timestamp()[1], message.value() or b""))
                elif offset >= ends[number]:
                    left.discard(number)
        consumer.close()
        if left:
            raise RuntimeError(f"{topic} could not be read to its end within {READ_S_MAX:.0f} s")
        columns = {number: np.array([row[:2] for row in found], dtype=np.int64).reshape(-1, 2) for number, found in rows.items()}
        offsets = {number: found[:, 0].copy() for number, found in columns.items()}
        timestamps = {number: found[:, 1].copy() for number, found in columns.items()}
        return Written(offsets, timestamps, [row[2] for found in rows.values() for row in found])


@contextmanager
def cluster(folder: Path | None) -> Iterator[Cluster]:
    """A broker in a folder of its own that goes when the benchmark does; with folder: one that stays there, with its topics."""
    SCRATCH.mkdir(exist_ok=True)
    if folder is not None:
        broker = devbroker.start(folder, stay=True, heap_mb=HEAP_MB)
        yield Cluster(broker.bootstrap, broker.pid)
        return
    made = Path(tempfile.mkdtemp(prefix="broker-", dir=SCRATCH))
    try:
        broker = devbroker.start(made, heap_mb=HEAP_MB)
        yield Cluster(broker.bootstrap, broker.pid)
    finally:
        devbroker.stop(made)
        shutil.rmtree(made, ignore_errors=True)
