"""kafka: flow.transport on a real broker. consume, alternating, deliveries, topics → *kafka* → the worker.

Two consumers and what sends, all used by the thread that polls: the member reads what the group gave it, the follower reads single
partitions beside the group. That thread also takes the group's metadata for a commit, so what is committed is what it owns *now*.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from stream_infer.edge import kafka_client, kafka_consume
from stream_infer.edge.kafka_alternating import Alternating
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.kafka_consume import Reader
from stream_infer.edge.kafka_deliveries import Deliveries
from stream_infer.edge.kafka_ending import Ending
from stream_infer.edge.kafka_errors import Complaints
from stream_infer.edge.kafka_fencing import Fencing
from stream_infer.edge.kafka_group import Admission, Presence, tell_session
from stream_infer.edge.kafka_transactions import Transactions
from stream_infer.edge.kafka_watchdog import Watchdog, end_process
from stream_infer.edge.topics import check_connection
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.transport import Outcome, Ownership, Partition
from stream_infer.records import Fetched, Ints, Text

log = logging.getLogger("stream_infer.kafka")
WATCHDOG_SLACK_S = 30.0  # over the transaction timeout: the broker looks for dead transactions every 10 s only


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Of one owned partition. position: next offset to give; stable: what a read-committed reader reaches; high: all that is written.

    high - position is the lag. stable below high for long means an open transaction that holds every reader back, which a lag
    measured against stable would report as 0.
    """

    position: int
    stable: int
    high: int


class KafkaTransport:
    """Transport over confluent-kafka. EnvironmentMissing within connect_wait_s_max when the broker is not there.

    header_topics: topics whose records' headers are wanted; on_stall: called from another thread with (call, seconds) when a
    transactional call hangs; on_statistics: gets librdkafka's JSON, if settings.statistics_ms.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        header_topics: Collection[str] = (),
        on_stall: Callable[[str, float], None] = end_process,
        on_statistics: Callable[[str], None] | None = None,
    ) -> None:
        check_connection(settings.bootstrap, settings.client, settings.connect_wait_s_max)
        self._settings = settings
        self._patience_s = settings.transaction_timeout_ms / 1000 + WATCHDOG_SLACK_S
        self._complaints = Complaints(settings.bootstrap)
        self._owned: dict[Partition, None] = {}
        self._topics: tuple[str, ...] = ()
        self._reading = False
        self._abandoned = False
        self._presence = Presence(kafka_client.poll_gap_ms(settings))
        self._admission = Admission(settings, on_stall)
        self._ending = Ending()
        self.on_read: Callable[[], None] = _nothing  # called as read() goes on: a long restore is no standstill
        wait_s = settings.transaction_timeout_ms / 1000
        config = kafka_client.consumer(settings, self._complaints)
        self._watchdog = Watchdog(self._patience_s, on_stall)
        # The producers first: taking their ids over ends what a crash left open, which the consumer would otherwise wait for.
        sender = kafka_client.producer(settings, self._complaints, on_statistics)
        exactly_once = settings.guarantee == "exactly_once"
        made = lambda one: Transactions({**sender, "transactional.id": one}, wait_s, self._watchdog, native=settings.native)  # noqa: E731
        transactions = Alternating(settings.transactional_id, made) if exactly_once else None
        self._fencing = Fencing(settings)
        member = kafka_client.member(settings, self._complaints, on_statistics) | self._fencing.client_id()
        self._member = Reader(member, header_topics, settings.native)
        self._follower = Reader(config, header_topics, settings.native)
        self._restorer = Reader(config, header_topics, settings.native)
        self._sender: Alternating | Deliveries = transactions or self._deliveries(sender, wait_s)

    def partitions(self, topic: str) -> int:
        """Number of partitions. EnvironmentMissing when the topic or the broker is not there."""
        found = self._follower.consumer.list_topics(topic, timeout=kafka_consume.ASK_S).topics[topic]
        if found.error is not None or not found.partitions:
            raise EnvironmentMissing(
                f"topic {topic} is not there",
                got=str(found.error) if found.error else "no partitions",
                expected=f"a topic on {self._settings.bootstrap}",
                fix="create it first; what a topology writes is made by `stream-infer run`",
            )
        return len(found.partitions)

    def join(self, topics: Sequence[str], ownership: Ownership) -> None:
        """Become a member of the group for these topics; what it owns is told in poll()."""
        self._topics = tuple(topics)
        self._presence.begin()
        self._admission.begin()
        tell_session(self._settings)

        def on_assign(_: Consumer, given: list[TopicPartition]) -> None:
            self._member.given()  # and nothing fetched: reading begins where seek() says
            fresh = _plain(given)
            self._owned |= dict.fromkeys(fresh)
            self._fencing.rebalanced()
            ownership.assigned(fresh)

        def on_revoke(consumer: Consumer, taken: list[TopicPartition]) -> None:
            if self._presence.missed or not consumer.memberid():
                # A rebalance was announced, then we did not poll and were put out: librdkafka still calls it a revocation (measured).
                on_lost(consumer, taken)
                return
            try:
                if taken and not self._abandoned:
                    ownership.revoked(_plain(taken))
            finally:
                self._disown(taken)

        def on_lost(_: Consumer, taken: list[TopicPartition]) -> None:
            self._disown(taken)
            if taken and not self._abandoned:
                ownership.lost(_plain(taken))

        self._member.consumer.subscribe(list(topics), on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def follow(self, partition: Partition, offset: int) -> None:
        """Read a partition from offset on, outside the group; calling it again moves the place."""
        self._follower.place(partition, offset)

    def unfollow(self, partition: Partition) -> None:
        """Stop following."""
        self._follower.forget([partition])

    def seek(self, partition: Partition, offset: int) -> None:
        """The next record of this owned partition has this offset or a higher one. Ignored when it is no longer ours."""
        if partition in self._owned:
            self._member.place(partition, offset)

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Give no records of these (owned or followed) until resume()."""
        for reader in (self._member, self._follower):
            reader.pause([p for p in partitions if p in reader])

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo pause()."""
        for reader in (self._member, self._follower):
            reader.resume([p for p in partitions if p in reader])

    def poll(self, rows_max: int, wait_ms: int, *, owned: bool = True) -> list[Fetched]:
        """What is there, followed partitions first; waits only when nothing is. Serves the group: ownership is told inside."""
        self._complaints.raise_if_any()
        if self._complaints.misses_topic:
            self._look_for_topics()
        followed = self._follower.take(rows_max, 0) if self._follower else []
        if not self._topics:
            return followed or (self._follower.take(rows_max, wait_ms) if self._follower else [])
        self._admission.look(self._member.consumer, owns=bool(self._owned))
        # The member waits for both: what comes meanwhile for the follower is given by the next call.
        left = max(rows_max - sum(map(len, followed)), rows_max // 2, 1) if owned else 0
        with self._presence:
            return followed + self._member.take(left, 0 if followed else wait_ms)

    def at_end(self, partition: Partition) -> bool:
        """True when everything that the broker was known to hold has been given (by both, when owned and followed)."""
        owned, followed = partition in self._member, partition in self._follower
        return (owned or followed) and (not owned or self._member.at_end(partition)) and (not followed or self._follower.at_end(partition))

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Last stable offsets, asked of the broker."""
        return kafka_consume.end_offsets(self._follower.consumer, partitions)

    def offsets_at(self, partitions: Sequence[Partition], time_ms: int) -> dict[Partition, int]:
        """The first offsets with that timestamp or a later one, the ends where there is none."""
        found = kafka_consume.end_offsets(self._follower.consumer, partitions, max(time_ms, 0))
        return found | self.end_offsets([partition for partition, offset in found.items() if offset < 0])

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """The group's committed offsets, None where there is none. Waits for open transactions of the group to end."""
        return kafka_consume.committed(self._member.consumer, partitions, self._patience_s)

    def read(self, partition: Partition, offset: int) -> Iterator[Fetched]:
        """All committed records from offset to the high watermark as it is now. One at a time."""
        assert not self._reading, "read() begun before the last one was finished"
        self._reading = True
        try:
            for fetched in self._restorer.read(partition, offset, self._patience_s):
                self.on_read()
                yield fetched
        finally:
            self._reading = False

    def produce(
        self,
        topic: str,
        keys: Text,
        values: Text,
        partition: int | None = None,
        timestamps: Ints | None = None,
    ) -> None:
        """Send records; begins a transaction if none is open. partition None: by murmur2 of the key. Waits while the queue is full."""
        assert self.sends_on or not self._ending.under_way, "records sent while a transaction ends"
        if len(values):
            self._sender.send(topic, keys, values, partition, timestamps)

    def push(self) -> None:
        """Nothing more is coming for the moment: what lingers goes out. In transactions nothing is seen before their end, which does so."""
        if isinstance(self._sender, Deliveries):
            self._sender.push()

    @property
    def sends_on(self) -> bool:
        """Whether produce() may be called while a commit is under way."""
        return isinstance(self._sender, Deliveries) and self._sender.sends_on

    def commit(self, offsets: Mapping[Partition, int]) -> Outcome:
        """End the transaction with these offsets in it. Fenced when another process took our place."""
        self.begin_commit(offsets)
        while (outcome := self.ended(1000)) is None:
            pass
        return outcome

    def begin_commit(self, offsets: Mapping[Partition, int]) -> None:
        """Begin what commit() does, on a thread of its own.

        Offsets of partitions that this member does not own, or of a member that the group does not know, abort: such a commit
        would not be fenced by the broker (a generation of -1 is accepted).
        """
        sender = self._sender
        if not offsets:
            if not sender.is_open:
                self._ending.known(Outcome.COMMITTED)
            elif isinstance(sender, Deliveries):
                self._ending.begin(sender.delivery(), sender.settled)
            else:
                self._ending.begin(lambda: sender.commit([], None))
            return
        strangers = [p for p in offsets if p not in self._owned]
        if strangers or not self._member.consumer.memberid():
            log.warning("offsets of %s are not ours to commit", strangers or "a group that we are not a member of")
            if isinstance(sender, Deliveries):
                self._ending.known(sender.abort())  # on the thread that sends: it may get a new producer by it
            else:
                self._ending.begin(sender.abort)
            return
        wanted = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        if isinstance(sender, Deliveries):
            # The group's offsets are moved by the thread that polls: from another one, while the member leaves, it never ends (measured).
            moved = lambda found: sender.move(wanted) if sender.settled(found) is Outcome.COMMITTED else Outcome.ABORTED  # noqa: E731
            self._ending.begin(sender.delivery(), moved)
            return
        # Taken now, on the thread that serves rebalances: whatever was taken from us has been told by revoked() or lost() before.
        metadata = self._member.consumer.consumer_group_metadata()
        self._ending.begin(lambda: sender.commit(wanted, metadata))

    def ended(self, wait_ms: int) -> Outcome | None:
        """The outcome of begin_commit(), once; None while it is not known."""
        return self._ending.outcome(wait_ms)

    def abort(self) -> None:
        """End the transaction, if one is open, and leave nothing of it."""
        assert not self._ending.under_way, "a transaction aborted while it ends"
        if self._sender.is_open:
            self._sender.abort()

    def close(self) -> None:
        """Leave the group (revoked() is called first) and let go of everything."""
        try:
            with self._presence:
                self._member.close()
        finally:
            self._follower.close()
            self._restorer.close()
            self._ending.close(wait=True)
            self._sender.close()
            self._watchdog.close()

    def abandon(self) -> None:
        """Leave the group after an error: nothing since the last commit will hold, and ownership is told nothing.

        Others take over at once, not after the timeouts of session and transaction (measured: 1.7 s instead of 9.8 s).
        """
        self._abandoned = True
        self._ending.close(wait=False)
        self._sender.give_up()
        self._member.close()

    def lag(self, partition: Partition) -> int:
        """Records of an owned partition between what was given and the high watermark as of the last fetch; markers count as records."""
        high = self._member.high(partition)
        return 0 if high >= kafka_consume.UNKNOWN else max(high - self._member.reached(partition), 0)

    def watermarks(self) -> dict[Partition, Watermarks]:
        """Where each owned partition stands; asks the broker once."""
        known = [p for p in self._member.placed() if self._member.high(p) < kafka_consume.UNKNOWN]
        stable = self.end_offsets(known)
        return {p: Watermarks(self._member.reached(p), stable[p], max(self._member.high(p), stable[p])) for p in known}

    @property
    def producers_rebuilt(self) -> int:
        """How often the end of a transaction was unknown and a new producer took over."""
        return self._sender.rebuilt

    def _deliveries(self, config: dict[str, Any], wait_s: float) -> Deliveries:
        # Whoever says how long records linger wants it so.
        pushes = "linger.ms" not in self._settings.client
        return Deliveries(config, wait_s, self._member.consumer, self._settings.native, pushes=pushes)

    def _look_for_topics(self) -> None:
        """EnvironmentMissing when one that we read was deleted: the group would just give nothing of it any more, without a word."""
        self._complaints.misses_topic = False
        for topic in sorted({*self._topics, *(name for name, _ in self._follower.placed())}):
            with suppress(KafkaException):  # nobody to ask
                self.partitions(topic)

    def _disown(self, taken: Sequence[Any]) -> None:
        gone = _plain(taken)
        for partition in gone:
            self._owned.pop(partition, None)
        self._member.taken(gone)


def _nothing() -> None:
    """For those who want to hear nothing."""


def _plain(partitions: Sequence[Any]) -> list[Partition]:
    return sorted((p.topic, p.partition) for p in partitions)
