"""sim.broker: a whole Kafka in memory, its clock in the world's hands. log, groups → *broker* → transport.

No threads, no clock, no chance but the seed's: the same calls give the same logs, byte for byte. It holds what our guarantees rest on:
transactions with epochs, fencing and timeouts, markers that take offsets, stable and high watermarks, group generations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stream_infer.errors import EnvironmentMissing
from stream_infer.hashing import mix64_int
from stream_infer.records import Fetched, Ints
from stream_infer.sim.groups import ChangingGroup, Group, Partition
from stream_infer.sim.log import PLAIN, PartitionLog, fetched
from stream_infer.sim.murmur2 import partition_of

# How the next commit of a producer ends: aborted and said so; nobody knows, though it was committed; nobody knows, and it was aborted.
CommitFault = Literal["aborted", "unknown_committed", "unknown_aborted"]
EVERYTHING = 1 << 62


class EpochGone(Exception):
    """The producer's epoch is no longer the newest of its transactional id."""


@dataclass(slots=True)
class Producer:
    """What the transaction coordinator knows of a transactional id. transaction: serial of the open one, PLAIN when none is."""

    timeout_ms: int
    epoch: int = -1
    transaction: int = PLAIN
    began_ms: int = 0
    partitions: dict[Partition, None] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)


class SimBroker:
    """Topics, transactions and groups. seed: of every choice that faults make; slow_fetch_share: of fetches that give less, or later.

    rebalance_timeout_ms: how long a rebalance waits for a member that does not poll; by_change: groups go by changes.
    """

    def __init__(
        self, seed: int = 0, *, slow_fetch_share: float = 0.0, rebalance_timeout_ms: int = 300_000, by_change: bool = False
    ) -> None:
        self.by_change = by_change
        self.now_ms = 0
        self.slow_fetch_share = slow_fetch_share
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._seed = seed
        self._draws = 0
        self._logs: dict[str, list[PartitionLog]] = {}
        self._counts: dict[str, int] = {}
        self._groups: dict[str, Group] = {}
        self._producers: dict[str, Producer] = {}
        self._faults: dict[str, CommitFault] = {}
        self._transactions = 0
        self._members = 0
        self._unkeyed = 0

    # ---------------------------------------------------------------------------------------------------- topics and time

    def create_topic(self, topic: str, partitions: int) -> None:
        """Make a topic. EnvironmentMissing when it exists with another number of partitions."""
        if self._counts.setdefault(topic, partitions) != partitions:
            raise EnvironmentMissing(
                f"topic {topic} has another number of partitions", got=str(self._counts[topic]), expected=str(partitions)
            )
        self._logs.setdefault(topic, [PartitionLog() for _ in range(partitions)])

    def partitions(self, topic: str) -> int:
        """Number of partitions. EnvironmentMissing when there is no such topic."""
        if topic not in self._counts:
            raise EnvironmentMissing(f"topic {topic} is not there", expected="a topic of the simulated broker", fix="create_topic() first")
        return self._counts[topic]

    def log(self, partition: Partition) -> PartitionLog:
        """The log of a partition. EnvironmentMissing when there is none."""
        if not 0 <= partition[1] < self.partitions(partition[0]):
            raise EnvironmentMissing(f"{partition[0]}[{partition[1]}] is not there", expected=f"0 to {self._counts[partition[0]] - 1}")
        return self._logs[partition[0]][partition[1]]

    def group(self, name: str) -> Group:
        """The group of this name, made when first asked for."""
        return self._groups.setdefault(name, (ChangingGroup if self.by_change else Group)(self._counts))

    def advance(self, ms: int) -> None:
        """Let time pass: sessions expire, transactions time out (their producer is fenced then, as in Kafka)."""
        self.now_ms += ms
        for producer in self._producers.values():
            if producer.transaction != PLAIN and self.now_ms - producer.began_ms > producer.timeout_ms:
                producer.epoch += 1
                self._end(producer, committed=False)
        for group in self._groups.values():
            group.expel(self.now_ms, self._rebalance_timeout_ms)

    def append(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        partition: int | None = None,
        timestamps: Ints | None = None,
        headers: Sequence[Sequence[tuple[str, bytes]]] | None = None,
        transaction: int = PLAIN,
    ) -> list[tuple[int, int]]:
        """Write records; returns (partition, offset) of each. partition None: by murmur2 of the key, in turn without one."""
        times = [self.now_ms] * len(values) if timestamps is None else timestamps.tolist()
        heads: Iterable[Sequence[tuple[str, bytes]]] = [()] * len(values) if headers is None else headers
        count = self.partitions(topic)
        written = []
        for key, value, time, head in zip(keys, values, times, heads, strict=True):
            where = self._choose(key, count) if partition is None else partition
            written.append((where, self.log((topic, where)).append(key, value, time, tuple(head), transaction)))
        return written

    def dump(self, topic: str, *, committed: bool = True) -> list[Fetched]:
        """Every record of a topic, one Fetched per partition: what checkers compare."""
        logs = [self.log((topic, number)) for number in range(self.partitions(topic))]
        return [
            fetched(topic, n, log.fetch(log.start, EVERYTHING, committed=committed)[0], with_headers=True) for n, log in enumerate(logs)
        ]

    def compact(self, topic: str, *, drop_tombstones: bool = False) -> None:
        """Run the log cleaner over a topic."""
        for log in self._logs[topic]:
            log.compact(drop_tombstones=drop_tombstones)

    # ------------------------------------------------------------------------------------------------------- transactions

    def init_producer(self, transactional_id: str, timeout_ms: int) -> int:
        """Take a transactional id over: returns the new epoch; what an older one left open is aborted."""
        producer = self._producers.setdefault(transactional_id, Producer(timeout_ms))
        producer.timeout_ms = timeout_ms
        producer.epoch += 1
        self._end(producer, committed=False)
        return producer.epoch

    def transaction(self, transactional_id: str, epoch: int) -> int:
        """The open transaction of a producer, begun if there is none. EpochGone when another has taken the id over."""
        producer = self._checked(transactional_id, epoch)
        if producer.transaction == PLAIN:
            self._transactions += 1
            producer.transaction, producer.began_ms = self._transactions, self.now_ms
        return producer.transaction

    def write(
        self,
        transactional_id: str,
        epoch: int,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        partition: int | None,
        timestamps: Ints | None,
    ) -> None:
        """Write records in the producer's transaction."""
        transaction = self.transaction(transactional_id, epoch)
        written = self.append(topic, keys, values, partition, timestamps, transaction=transaction)
        self._producers[transactional_id].partitions |= dict.fromkeys((topic, where) for where, _ in written)

    def add_offsets(self, transactional_id: str, epoch: int, group: str, offsets: dict[Partition, int]) -> None:
        """Put a group's offsets into the producer's transaction."""
        self.group(group).prepare(self.transaction(transactional_id, epoch), offsets)
        self._producers[transactional_id].groups[group] = None

    def end_transaction(self, transactional_id: str, epoch: int, *, committed: bool) -> None:
        """Commit or abort what the producer has open."""
        self._end(self._checked(transactional_id, epoch), committed=committed)

    def fail_next_commit(self, transactional_id: str, how: CommitFault) -> None:
        """The next commit of this id ends like this."""
        self._faults[transactional_id] = how

    def take_fault(self, transactional_id: str) -> CommitFault | None:
        """The fault planned for this commit, which is used up by asking."""
        return self._faults.pop(transactional_id, None)

    # -------------------------------------------------------------------------------------------------------------- chance

    def draw(self, below: int) -> int:
        """The next number of the seed's sequence, 0 <= n < below."""
        self._draws += 1
        return mix64_int(mix64_int(self._seed) ^ self._draws) % below

    def is_slow(self) -> bool:
        """Whether this fetch is one of the slow ones."""
        return self.slow_fetch_share > 0 and self.draw(1_000_000) < self.slow_fetch_share * 1_000_000

    def new_member_id(self, group: str) -> str:
        """A name that no member had before."""
        self._members += 1
        return f"{group}-{self._members:06d}"

    def _choose(self, key: bytes | None, count: int) -> int:
        if key is not None:
            return partition_of(key, count)
        self._unkeyed += 1
        return self._unkeyed % count

    def _checked(self, transactional_id: str, epoch: int) -> Producer:
        producer = self._producers[transactional_id]
        if producer.epoch != epoch:
            raise EpochGone(transactional_id)
        return producer

    def _end(self, producer: Producer, *, committed: bool) -> None:
        if producer.transaction == PLAIN:
            return
        for partition in producer.partitions:
            self.log(partition).end(producer.transaction, committed=committed)
        for name in producer.groups:
            self._groups[name].end(producer.transaction, committed=committed)
        producer.transaction = PLAIN
        producer.partitions.clear()
        producer.groups.clear()
