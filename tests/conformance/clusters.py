"""The two brokers under one set of tests, the real one by both of our ways: how each makes topics, transports and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import GroupProtocol, KafkaSettings
from stream_infer.edge.kafka_native import Native
from stream_infer.edge.topics import create_topics
from stream_infer.flow.transport import Outcome, Partition, Transport
from stream_infer.records import Fetched
from stream_infer.sim.broker import SimBroker
from stream_infer.sim.transport import SimTransport
from tests.support import Row, admin, produce_rows

Rows = list[tuple[int, bytes | None, bytes | None]]  # offset, key, value


class Recorder:
    """An Ownership that writes down what it is told; at_revoke runs inside revoked()."""

    def __init__(self, name: str = "", log: list[tuple[str, str, list[Partition]]] | None = None) -> None:
        self.name = name
        self.log = [] if log is None else log
        self.owned: list[Partition] = []
        self.at_revoke: Callable[[Sequence[Partition]], object] | None = None

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.log.append((self.name, "assigned", list(partitions)))
        self.owned = sorted({*self.owned, *partitions})

    def revoked(self, partitions: Sequence[Partition]) -> None:
        if self.at_revoke is not None:
            self.at_revoke(partitions)
        self.log.append((self.name, "revoked", list(partitions)))
        self.owned = [p for p in self.owned if p not in partitions]

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.log.append((self.name, "lost", list(partitions)))
        self.owned = [p for p in self.owned if p not in partitions]

    def told(self) -> list[str]:
        return [what for name, what, _ in self.log if name == self.name]


class Cluster(Protocol):
    prefix: str
    by_change: bool  # a member keeps what does not move, instead of giving everything back

    def topic(self, name: str, partitions: int = 1) -> str: ...
    def transport(self, slot: str = "0", group: str = "g", **options: Any) -> Transport: ...
    def append(self, topic: str, rows: Sequence[tuple[bytes | None, bytes | None]], partition: int = 0, headers: Any = None) -> None: ...
    def high(self, partition: Partition) -> int: ...
    def let_pass(self, ms: int) -> None: ...
    def stall(self, transport: Transport, ms: int, others: Sequence[Transport] = ()) -> None: ...
    def close(self) -> None: ...


class SimCluster:
    def __init__(self, prefix: str, seed: int, *, by_change: bool = False) -> None:
        self.prefix = prefix
        self.by_change = by_change
        self.broker = SimBroker(seed, by_change=by_change)
        self._made: list[SimTransport] = []

    def topic(self, name: str, partitions: int = 1) -> str:
        self.broker.create_topic(f"{self.prefix}-{name}", partitions)
        return f"{self.prefix}-{name}"

    def transport(self, slot: str = "0", group: str = "g", **options: Any) -> Transport:
        options.pop("poll_gap_ms_max", None)
        made = SimTransport(self.broker, f"{self.prefix}-{group}", f"{self.prefix}.{slot}", **options)
        self._made.append(made)
        return made

    def append(self, topic: str, rows: Sequence[tuple[bytes | None, bytes | None]], partition: int = 0, headers: Any = None) -> None:
        self.broker.append(topic, [k for k, _ in rows], [v for _, v in rows], partition, headers=headers)

    def high(self, partition: Partition) -> int:
        return self.broker.log(partition).high

    def let_pass(self, ms: int) -> None:
        self.broker.advance(ms)

    def stall(self, transport: Transport, ms: int, others: Sequence[Transport] = ()) -> None:
        assert isinstance(transport, SimTransport)
        transport.stall()
        for _ in range(10):
            self.broker.advance(ms // 10)
            for other in others:
                other.poll(100, 0)
        transport.wake()

    def close(self) -> None:
        """Nothing outlives a simulation."""


class KafkaCluster:
    def __init__(self, prefix: str, bootstrap: str, native: Native, protocol: GroupProtocol = "classic") -> None:
        self.prefix = prefix
        self.protocol: GroupProtocol = protocol
        self.by_change = protocol == "consumer"
        self._bootstrap = bootstrap
        self._native: Native = native
        self._made: list[KafkaTransport] = []

    def topic(self, name: str, partitions: int = 1) -> str:
        create_topics(self._bootstrap, [(f"{self.prefix}-{name}", partitions, False)], {})
        return f"{self.prefix}-{name}"

    def transport(self, slot: str = "0", group: str = "g", **options: Any) -> KafkaTransport:
        heads = options.pop("header_topics", ())
        options = {"native": self._native, "group_protocol": self.protocol} | options
        settings = KafkaSettings(self._bootstrap, f"{self.prefix}-{group}", f"{self.prefix}.{slot}", **options)
        made = KafkaTransport(settings, header_topics=heads)
        self._made.append(made)
        return made

    def append(self, topic: str, rows: Sequence[tuple[bytes | None, bytes | None]], partition: int = 0, headers: Any = None) -> None:
        heads = headers or [[]] * len(rows)
        given = [Row(value, key, partition, headers=head) for (key, value), head in zip(rows, heads, strict=True)]
        produce_rows(self._bootstrap, topic, given, keep=True)

    def high(self, partition: Partition) -> int:
        place = TopicPartition(*partition)
        return int(admin(self._bootstrap).list_offsets({place: OffsetSpec.latest()})[place].result(10).offset)

    def let_pass(self, ms: int) -> None:
        time.sleep(ms / 1000)

    def stall(self, transport: Transport, ms: int, others: Sequence[Transport] = ()) -> None:
        until = time.monotonic() + ms / 1000
        while time.monotonic() < until:
            time.sleep(0.02)
            for other in others:
                other.poll(100, 20)

    def close(self) -> None:
        for made in self._made:
            made.close()


def rows_of(fetched: Sequence[Fetched]) -> Rows:
    return [row for f in fetched for row in zip(f.offsets.tolist(), f.keys.raw(), f.values.raw(), strict=True)]


def until(condition: Callable[[], object], *transports: Transport, cluster: Cluster, ms_max: int = 30_000) -> list[Fetched]:
    """Poll transports until the condition holds; gives what the polls gave."""
    found: list[Fetched] = []
    for _ in range(ms_max // 10):
        for transport in transports:
            found += transport.poll(1000, 10)
        if condition():
            return found
        if isinstance(cluster, SimCluster):
            cluster.let_pass(10)
    raise AssertionError("it did not come true in time")


def all_of(transport: Transport, topic: str, partition: int = 0) -> Rows:
    """All committed records of a partition. read() waits for transactions that end: their markers come after commit() returned."""
    return rows_of(list(transport.read((topic, partition), 0)))


def values(transport: Transport, topic: str) -> list[bytes | None]:
    """The values among them."""
    return [value for _, _, value in all_of(transport, topic)]


def visible(transport: Transport, topic: str, cluster: Cluster) -> list[bytes | None]:
    """What a read-committed reader is given of partition 0 while it does not wait for anyone."""
    transport.follow((topic, 0), 0)
    found = until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster)
    transport.unfollow((topic, 0))
    return [value for _, _, value in rows_of(found)]


__all__ = ["Cluster", "KafkaCluster", "Outcome", "Recorder", "SimCluster", "all_of", "rows_of", "until", "values", "visible"]
