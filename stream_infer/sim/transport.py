"""sim.transport: flow.transport on the simulated broker, and the faults that can befall a worker. broker → *transport* → the worker.

Rebalances reach a member inside its own poll(), as in Kafka; time passes only when the world advances it, or while a call waits that
waits in Kafka too (committed() and read() under an open transaction).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from stream_infer.errors import Bug, Fenced
from stream_infer.flow.transport import Outcome, Ownership, Partition, nothing
from stream_infer.records import Fetched, Ints, Text
from stream_infer.sim.broker import EpochGone, SimBroker
from stream_infer.sim.fetching import Places, fetch
from stream_infer.sim.groups import ChangingGroup
from stream_infer.sim.log import fetched

WAIT_STEP_MS = 100  # of simulated time, while a call waits
READ_ROWS = 10_000


class SimTransport:
    """Transport over a SimBroker. Arguments as those of KafkaSettings and KafkaTransport."""

    read_rows = READ_ROWS

    def __init__(
        self,
        broker: SimBroker,
        group: str,
        transactional_id: str,
        *,
        guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once",
        session_timeout_ms: int = 10_000,
        transaction_timeout_ms: int = 30_000,
        header_topics: Collection[str] = (),
    ) -> None:
        self._broker = broker
        self._group_name = group
        self._group = broker.group(group)
        self._id = transactional_id
        self._exactly_once = guarantee == "exactly_once"
        self._session_timeout_ms = session_timeout_ms
        self._transaction_timeout_ms = transaction_timeout_ms
        self._header_topics = frozenset(header_topics)
        self._read = Places(broker, self._header_topics)  # of the owned partitions, those sought
        self._followed = Places(broker, self._header_topics)
        self._epoch = broker.init_producer(transactional_id, transaction_timeout_ms) if self._exactly_once else 0
        self._is_open = False
        self._ending: dict[Partition, int] | Outcome | None = None  # the offsets of the commit under way, or its outcome …
        self._looks = 0  # … and how often it will be looked at in vain
        self._reading = False
        self._topics: tuple[str, ...] = ()
        self._ownership: Ownership | None = None
        self._member_id = ""
        self._generation = -1
        self._owned: dict[Partition, None] = {}
        self._gone = False
        self.producers_rebuilt = 0

    # -------------------------------------------------------------------------------------------------------------- faults

    def crash(self) -> None:
        """kill -9: nothing is said to anyone. Any later call is a Bug."""
        self.stall()
        self._gone = True

    def stall(self) -> None:
        """Stand still from now on (SIGSTOP): no heartbeats, until wake(). The world must not call us meanwhile."""
        member = self._group.members.get(self._member_id)
        if member is not None:
            member.silent_since = self._broker.now_ms

    def wake(self) -> None:
        """Go on after stall(), knowing nothing of what happened."""
        member = self._group.members.get(self._member_id)
        if member is not None:
            member.silent_since = None

    # ------------------------------------------------------------------------------------------------------------- reading

    def partitions(self, topic: str) -> int:
        """Number of partitions. EnvironmentMissing when the topic is not there."""
        return self._broker.partitions(topic)

    def join(self, topics: Sequence[str], ownership: Ownership) -> None:
        """Become a member of the group for these topics; what it owns is told in poll()."""
        self._topics, self._ownership = tuple(topics), ownership
        for topic in topics:
            self._broker.partitions(topic)
        self._enter()

    def follow(self, partition: Partition, offset: int) -> None:
        """Read a partition from offset on, outside the group; calling it again moves the place."""
        self._followed.put(partition, offset)

    def unfollow(self, partition: Partition) -> None:
        """Stop following."""
        self._followed.forget([partition])

    def seek(self, partition: Partition, offset: int) -> None:
        """The next record of this owned partition has this offset or a higher one. Ignored when it is no longer ours."""
        if partition in self._owned:
            self._read.put(partition, offset)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Give no records of these (owned or followed) until resume()."""
        for places in (self._read, self._followed):
            places.pause(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo pause()."""
        for places in (self._read, self._followed):
            places.resume(partitions)

    def poll(self, rows_max: int, wait_ms: int, *, owned: bool = True) -> list[Fetched]:  # noqa: ARG002 — nothing arrives while we wait
        """What is there, followed partitions first. Ownership is told inside."""
        self._must_live()
        if self._ownership is not None:
            self._serve_group(self._ownership)
        followed = self._followed.take(rows_max)
        return followed + self._read.take(max(rows_max - sum(map(len, followed)), rows_max // 2, 1) if owned else 0)

    def at_end(self, partition: Partition) -> bool:
        """True when everything that the broker was known to hold has been given (by both, when owned and followed)."""
        readers = [places for places in (self._read, self._followed) if partition in places]
        return bool(readers) and all(places.at_end(partition) for places in readers)

    def lag(self, partition: Partition) -> int:
        """Records of an owned partition between what was given and the high watermark; markers count as records."""
        return self._read.lag(partition)

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Last stable offsets."""
        return {partition: self._broker.log(partition).stable for partition in partitions}

    def offsets_at(self, partitions: Sequence[Partition], time_ms: int) -> dict[Partition, int]:
        """The first offsets with that timestamp or a later one, the ends where there is none."""
        return {partition: self._broker.log(partition).offset_at(time_ms) for partition in partitions}

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """The group's committed offsets, None where there is none. Time passes while a transaction holds one of them."""
        self._must_live()
        while self._group.is_unstable(partitions):
            self._broker.advance(WAIT_STEP_MS)
        return {partition: self._group.committed.get(partition) for partition in partitions}

    def read(self, partition: Partition, offset: int) -> Iterator[Fetched]:
        """All committed records from offset to the high watermark as it is now. One at a time. Time passes while a transaction is open
        below it."""
        assert not self._reading, "read() begun before the last one was finished"
        self._reading = True
        try:
            yield from self._all_of(partition, offset)
        finally:
            self._reading = False

    def _all_of(self, partition: Partition, offset: int) -> Iterator[Fetched]:
        log = self._broker.log(partition)
        end = log.high
        while log.stable < end:
            yield nothing(partition)
            self._broker.advance(WAIT_STEP_MS)
        while offset < end:
            records, offset = fetch(self._broker, partition, offset, self.read_rows)
            if records := [record for record in records if record.offset < end]:
                yield fetched(*partition, records, with_headers=partition[0] in self._header_topics)

    # ------------------------------------------------------------------------------------------------------------- writing

    def produce(
        self,
        topic: str,
        keys: Text,
        values: Text,
        partition: int | None = None,
        timestamps: Ints | None = None,
    ) -> None:
        """Send records; begins a transaction if none is open. A fenced producer's records vanish; its commit says so."""
        self._must_live()
        if not self.sends_on:
            self._must_not_end()
        if not len(values):
            return
        self._is_open = True
        if not self._exactly_once:
            self._broker.append(topic, keys.raw(), values.raw(), partition, timestamps)
            return
        try:
            self._broker.write(self._id, self._epoch, topic, keys.raw(), values.raw(), partition, timestamps)
        except EpochGone:
            return

    def push(self) -> None:
        """Nothing: records are there as they are produced."""

    @property
    def sends_on(self) -> bool:
        """Whether produce() may be called while a commit is under way."""
        return not self._exactly_once

    def commit(self, offsets: Mapping[Partition, int]) -> Outcome:
        """End the transaction with these group offsets in it. Fenced when another took the transactional id, or the broker gave it up."""
        self._must_live()
        self._must_not_end()
        if not offsets and not self._is_open:
            return Outcome.COMMITTED
        fault = self._broker.take_fault(self._id)
        ours = all(p in self._owned for p in offsets) and (not offsets or self._group.accepts(self._member_id, self._generation))
        if not self._exactly_once:
            return self._commit_plainly(offsets, ours=ours, fault=fault)
        if not ours or fault == "aborted":
            self.abort()
            return Outcome.ABORTED
        try:
            if offsets:
                self._broker.add_offsets(self._id, self._epoch, self._group_name, dict(offsets))
            if fault != "unknown_aborted":
                self._broker.end_transaction(self._id, self._epoch, committed=True)
        except EpochGone:
            raise self._fenced() from None
        self._is_open = False
        if fault is None:
            return Outcome.COMMITTED
        self._epoch = self._broker.init_producer(self._id, self._transaction_timeout_ms)
        self.producers_rebuilt += 1
        return Outcome.ABORTED

    def begin_commit(self, offsets: Mapping[Partition, int]) -> None:
        """Begin what commit() does; whether the broker does it at once or when last looked at, and how long that takes, is drawn."""
        self._must_live()
        self._must_not_end()
        at_once, self._looks = self._broker.draw(2), self._broker.draw(3)
        self._ending = self.commit(offsets) if at_once else dict(offsets)

    def ended(self, wait_ms: int) -> Outcome | None:
        """The outcome, None at first; simulated time does not pass here."""
        assert wait_ms >= 0
        self._must_live()
        if self._ending is None:
            raise Bug(f"{self._id} asks for the end of a commit that was not begun")
        if self._looks > 0:
            self._looks -= 1
            return None
        ending, self._ending = self._ending, None
        return ending if isinstance(ending, Outcome) else self.commit(ending)

    def abort(self) -> None:
        """End the transaction, if one is open, and leave nothing of it. Fenced as commit()."""
        self._must_live()
        self._must_not_end()
        if self._is_open and self._exactly_once:
            try:
                self._broker.end_transaction(self._id, self._epoch, committed=False)
            except EpochGone:
                raise self._fenced() from None
        self._is_open = False

    def close(self) -> None:
        """Leave the group (revoked() is called first) and let go of everything."""
        self._must_live()
        if self._ownership is not None and self._member_id in self._group.members:
            self._give_back(self._ownership, list(self._owned))
            self._group.leave(self._member_id, self._broker.now_ms)
        with suppress(Fenced):  # it is over either way
            self.abort()
        self._gone = True

    # --------------------------------------------------------------------------------------------------------------- group

    def _serve_group(self, ownership: Ownership) -> None:
        member = self._group.members.get(self._member_id)
        if member is None:  # expelled while we stood still
            lost = self._disown(list(self._owned))
            if lost:
                ownership.lost(lost)
            self._enter()
        if isinstance(self._group, ChangingGroup):
            self._serve_changes(self._group, ownership)
            return
        if member is not None and not member.joined:
            self._give_back(ownership, list(self._owned))
            if self._member_id in self._group.members:
                self._group.rejoin(self._member_id)
            else:  # expelled while it gave back
                self._enter()
        if self._group.rebalancing_since is None and self._generation != self._group.generation:
            self._generation = self._group.generation
            self._owned = dict.fromkeys(self._group.owned(self._member_id))
            ownership.assigned(list(self._owned))

    def _serve_changes(self, group: ChangingGroup, ownership: Ownership) -> None:
        leaving = group.leaving(self._member_id)
        if leaving:
            self._give_back(ownership, leaving)
            if self._member_id not in group.members:
                return  # expelled while it gave back: the next poll tells what else is lost
            group.give_back(self._member_id, leaving)
        fresh = group.take(self._member_id)
        if leaving or fresh or self._generation < 0:  # who is new is told, be it of nothing
            self._generation = group.generation
            self._owned |= dict.fromkeys(fresh)
            ownership.assigned(fresh)

    def _enter(self) -> None:
        self._member_id = self._broker.new_member_id(self._group_name)
        self._generation = -1
        self._group.join(self._member_id, self._topics, self._session_timeout_ms, self._broker.now_ms)

    def _give_back(self, ownership: Ownership, leaving: list[Partition]) -> None:
        try:
            if leaving:
                ownership.revoked(leaving)
        finally:
            self._disown(leaving)

    def _disown(self, gone: list[Partition]) -> list[Partition]:
        for partition in gone:
            self._owned.pop(partition, None)
        self._read.forget(gone)
        return gone

    def _commit_plainly(self, offsets: Mapping[Partition, int], *, ours: bool, fault: str | None) -> Outcome:
        self._is_open = False
        if ours and fault in (None, "unknown_committed"):
            self._group.committed.update(offsets)
        return Outcome.COMMITTED if ours and fault is None else Outcome.ABORTED

    def _fenced(self) -> Fenced:
        return Fenced(
            f"another process works under the transactional id {self._id}, or ours stood still for longer than its timeout\n"
            "    fix:      give each worker slot its own number; if it only stood still, start it again: nothing was lost or doubled"
        )

    def _must_not_end(self) -> None:
        if self._ending is not None:
            raise Bug(f"{self._id} writes while a commit is under way")

    def _must_live(self) -> None:
        if self._gone:
            raise Bug(f"the transport of {self._id} was used after it crashed or was closed")
