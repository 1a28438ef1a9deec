"""kafka consume: one consumer and the places it reads from. kafka_columns, inbox → *kafka_consume* → kafka.

A Reader's assignment is always exactly what was placed, at the offsets where we stand. Moving a place assigns anew instead of
seeking: seek() fails while an assignment is still under way, and an assignment made without offsets begins to fetch by itself.
With the group protocol "consumer" only what is new is assigned and what moves is sought, and nothing else is fetched anew.
Measured: 300 moves at random, none gave a record of before; the first record comes within the broker's fetch wait (20 ms).
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream_infer.edge.kafka_columns import columns, split
from stream_infer.edge.kafka_errors import error_of, explained, is_passing, is_unknown
from stream_infer.edge.kafka_native import Native, handle_of
from stream_infer.edge.kafka_native_inbox import Inbox
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.transport import Partition, nothing
from stream_infer.records import Fetched

ASK_S = 10.0  # one question to the broker
READ_ROWS = 4_000  # of a changelog at a time: some 5 ms of work between two looks at the group
READ_WAIT_MS = 5
UNKNOWN = 1 << 62
# How long the inbox is waited at before the group is served again: the longest that a rebalance waits for us on that account.
SLICE_MS = 20
SLICE_BUSY_MS = 2  # while topics with headers come by the other way, and after a move


class Reader:
    """Reads placed partitions from exactly where they were placed.

    header_topics: topics whose headers are worth their cost (+0.3 µs); they come through the Python client whatever native says.
    native: as in handle_of(). config with group.protocol consumer: librdkafka then wants to hear of changes only.
    """

    def __init__(self, config: dict[str, Any], header_topics: Collection[str] = (), native: Native = "off") -> None:
        self._by_change = config.get("group.protocol") == "consumer"
        self._assigned: dict[Partition, None] = {}  # by change: what librdkafka has been told to read
        self.consumer = Consumer(config)
        found = handle_of(self.consumer, "consumer", native)
        self._inbox = Inbox(*found, config.get("error_cb", _nothing)) if found else None
        # What an inbox holds keeps its consumer from ending: forgotten without close(), it would hang the process at its end.
        self._let_go = weakref.finalize(self, self._inbox.close if self._inbox else _nothing)
        self._header_topics = frozenset(header_topics)
        self._position: dict[Partition, int] = {}  # next offset to give
        self._end: dict[Partition, int] = {}  # where the broker said that a partition ends, while nothing came after it
        self._paused: dict[Partition, None] = {}
        self._moves: dict[Partition, None] = {}  # to be read elsewhere, or no more: librdkafka has yet to be told
        self._is_mixed = False  # some of what is placed does not come by the inbox

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._position

    def __bool__(self) -> bool:
        return bool(self._position)

    def place(self, partition: Partition, offset: int) -> None:
        """Read this partition from offset on."""
        self._position[partition] = offset
        self._end.pop(partition, None)
        self._moves[partition] = None

    def given(self) -> None:
        """Acknowledge, within the group's callback, what it gives. Nothing is fetched before it is placed."""
        (self.consumer.incremental_assign if self._by_change else self.consumer.assign)([])

    def taken(self, partitions: Sequence[Partition]) -> None:
        """Let go, within the group's callback, of what it takes; all of it unless the protocol goes by changes."""
        self.forget(partitions, assigned=False)
        if not self._by_change:
            self.consumer.unassign()
            return
        held = [p for p in partitions if p in self._assigned]
        for partition in held:
            del self._assigned[partition]
        self.consumer.incremental_unassign([TopicPartition(*p) for p in held])

    def forget(self, partitions: Iterable[Partition], *, assigned: bool = True) -> None:
        """Stop reading these. assigned: False when the group has taken them already."""
        for partition in partitions:
            if not assigned:
                self._moves.pop(partition, None)
            self._end.pop(partition, None)
            self._paused.pop(partition, None)
            if self._inbox is not None:
                self._inbox.forget(partition)
            if self._position.pop(partition, None) is not None and assigned:
                self._moves[partition] = None

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Give nothing of these; what was fetched ahead is thrown away and fetched again, so pause rarely."""
        fresh = [p for p in partitions if p not in self._paused]
        self._paused |= dict.fromkeys(fresh)
        self._tell(self.consumer.pause, fresh)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Undo pause()."""
        again = [p for p in partitions if p in self._paused]
        for partition in again:
            del self._paused[partition]
        self._tell(self.consumer.resume, again)

    def take(self, rows_max: int, wait_ms: int) -> list[Fetched]:
        """What is there, or hardly any of it with rows_max 0. Serves the group's callbacks, so placed partitions may vanish inside."""
        self._settle()
        asked_max = max(rows_max, 1)  # the group's callbacks come where records do
        if self._inbox is None:
            return self._asked(asked_max, wait_ms)[0]
        found, heard = self._asked(asked_max, 0)
        more, heard_more = self._delivered(rows_max - sum(map(len, found)), 0)
        found += more
        while wait_ms > 0 and not (heard or heard_more or self._moves):
            waited = min(wait_ms, SLICE_BUSY_MS if self._inbox.awaits or self._is_mixed else SLICE_MS)
            wait_ms -= waited
            found, heard_more = self._delivered(rows_max, waited)
            if not heard_more:
                found, heard = self._asked(rows_max, 0)
        return found

    def at_end(self, partition: Partition) -> bool:
        """True when all that the broker was known to hold has been given.

        The high watermark of the last fetch tells it at once where records end with a record; behind the marker of a
        transaction only an empty fetch does, fetch_wait_ms_max later.
        """
        if self._moves or partition not in self._position:
            return False
        return partition in self._end or self._position[partition] >= self.high(partition)

    def high(self, partition: Partition) -> int:
        """High watermark as of the last fetch of this partition; a number without end before the first one."""
        if self._inbox is not None:
            high = self._inbox.high(partition)
            return high if high >= 0 else UNKNOWN
        known: Any = self.consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
        return known[1] if known and known[1] >= 0 else UNKNOWN

    def reached(self, partition: Partition) -> int:
        """Where the next record would come from, transaction markers passed."""
        return max(self._position.get(partition, 0), self._end.get(partition, 0))

    def placed(self) -> list[Partition]:
        """What is being read, in the order it was placed."""
        return list(self._position)

    def read(self, partition: Partition, offset: int, patience_s: float) -> Iterator[Fetched]:
        """All committed records up to the high watermark as it is now, and an empty batch when none came for a moment.

        EnvironmentMissing when nothing moves for patience_s.
        """
        end: int | None = None
        moved_at = time.monotonic()
        self.place(partition, offset)
        try:
            while end is None or self.reached(partition) < end:
                before = self.reached(partition)
                fetched = self.take(READ_ROWS, READ_WAIT_MS)
                if end is None and (fetched or partition in self._end):
                    # Only now: an earlier answer could be of an earlier fetch. And not the last stable offset, which an open
                    # transaction holds back: restoring up to there silently leaves out what is committed after it.
                    end = self.high(partition)
                yield from fetched or [nothing(partition)]
                if self.reached(partition) > before:
                    moved_at = time.monotonic()
                elif time.monotonic() - moved_at > patience_s:
                    raise EnvironmentMissing(
                        f"{partition[0]}[{partition[1]}]@{self.reached(partition)}: nothing could be read for {patience_s:.0f} s",
                        expected=f"records up to offset {end}" if end is not None else "an answer of the broker",
                        fix="is the broker up? an open transaction of a dead producer? (kafka-transactions.sh find-hanging)",
                    )
        finally:
            self.forget([partition])

    def close(self) -> None:
        """Leave the group, if we are in one, and let go of everything."""
        self._let_go()
        self._inbox = None
        self.consumer.close()

    def _settle(self) -> None:
        if not self._moves:
            return
        moves = list(self._moves)
        self._moves.clear()
        begun = [p for p in (moves if self._by_change else self._position) if p in self._position]
        if self._inbox is not None:
            self._inbox.redirect(p for p in begun if p[0] not in self._header_topics)
            self._is_mixed = any(p[0] in self._header_topics for p in self._position)
        fresh = [p for p in begun if p not in self._assigned]
        places = [TopicPartition(*p, self._position[p]) for p in fresh]
        if not self._by_change:
            self.consumer.assign(places)
        elif places:
            self.consumer.incremental_assign(places)
            self._assigned |= dict.fromkeys(fresh)
        unmoved = [p for p in begun if p not in fresh and not self._sought(p)]
        # librdkafka keeps the pauses of partitions that were taken away and came back; ours end when a partition goes.
        self._tell(self.consumer.resume, [p for p in begun if p not in self._paused])
        self._tell(self.consumer.pause, [p for p in begun if p in self._paused])
        self._moves |= dict.fromkeys(unmoved)

    def _sought(self, partition: Partition) -> bool:
        """Whether librdkafka goes on at our place. It will not while an assignment is under way; then it is asked again.

        Never by taking the partition out and in: librdkafka takes any incremental_unassign() for the answer to a revocation that we
        have not heard of yet, and the next owner begins before we have committed (measured).
        """
        try:
            self.consumer.seek(TopicPartition(*partition, self._position[partition]))
        except KafkaException:
            return False
        return True

    def _tell(self, call: Callable[[list[TopicPartition]], None], partitions: Sequence[Partition]) -> None:
        assigned = [TopicPartition(*p) for p in partitions if p in self._position and p not in self._moves]
        if assigned and (self._by_change or not self._moves):  # else settling will
            call(assigned)

    def _asked(self, rows_max: int, wait_ms: int) -> tuple[list[Fetched], bool]:
        """What the Python client gives, and whether it gave anything at all."""
        # consume(n, t) waits for n records or t: it would add t to every quiet moment. poll(t) returns with the first.
        messages = self.consumer.consume(rows_max, 0)
        if not messages and wait_ms:
            first = self.consumer.poll(wait_ms / 1000)
            if first is not None:
                messages = [first, *self.consumer.consume(rows_max - 1, 0)]
        if not messages:
            return [], False
        if any(failed := [message.error() for message in messages]):
            for message, error in zip(messages, failed, strict=True):
                if error is not None:
                    self._note((message.topic() or "", int(message.partition() or 0)), int(message.offset() or 0), error)
            messages = [message for message, error in zip(messages, failed, strict=True) if error is None]
        return self._given(messages) if messages else [], True

    def _delivered(self, rows_max: int, wait_ms: int) -> tuple[list[Fetched], bool]:
        """The same of the inbox. Nothing after a move: what is there may be of where we stood before."""
        if self._inbox is None or (self._moves and not self._by_change) or rows_max <= 0:
            return [], False
        fetched, heard = self._inbox.take(rows_max, wait_ms, self._paused)
        for partition, offset, error in heard:
            self._note(partition, offset, error)
        return [batch for batch in fetched if self._accepts(batch)], bool(fetched or heard)

    def _given(self, messages: list[Any]) -> list[Fetched]:
        found = []
        for partition, group in split(messages).items():
            if partition not in self._position:
                continue  # revoked in this very call
            if self._inbox is not None and partition in self._inbox:
                self._moves[partition] = None  # of a topic made anew: redirect it, and fetch again
                continue
            batch = columns(partition, group, with_headers=partition[0] in self._header_topics)
            if self._accepts(batch):
                found.append(batch)
        return found

    def _accepts(self, batch: Fetched) -> bool:
        """Whether these records are next of their partition; then we stand behind them."""
        partition = (batch.topic, batch.partition)
        position = self._position.get(partition)
        if position is None or partition in self._moves:
            return False  # taken from us meanwhile, or of where we stood before
        if partition in self._paused or batch.offsets[0] < position:
            self._moves[partition] = None  # what librdkafka should have thrown away: stand where we stood and fetch again
            return False
        last = int(batch.offsets[-1])
        self._position[partition] = last + 1
        if self._end.get(partition, UNKNOWN) <= last:  # an end noted in this very call lies behind these records
            del self._end[partition]
        return True

    def _note(self, partition: Partition, offset: int, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 — librdkafka's name
            if offset >= self._position.get(partition, UNKNOWN):
                self._end[partition] = offset
        elif not is_passing(error):
            where = f"{partition[0]}[{partition[1]}]@{offset}" if partition[0] else "the consumer"
            raise explained(error, where)


def _nothing(*_: object) -> None:
    """For who hears no errors; and what there is to let go of without an inbox."""


def end_offsets(consumer: Consumer, partitions: Sequence[Partition], at_ms: int = -1) -> dict[Partition, int]:
    """Last stable offsets, all in one question: the offset 'latest' as a read-committed consumer is answered.

    at_ms: the first offsets with that timestamp or a later one instead, -1 where there is none.
    """
    if not partitions:
        return {}
    asked = [TopicPartition(topic, number, at_ms) for topic, number in partitions]
    found = _ask(consumer, asked, lambda: consumer.offsets_for_times(asked, timeout=ASK_S), "asking for end offsets", ASK_S * 3)
    return _answers(found, "end offset")


def committed(consumer: Consumer, partitions: Sequence[Partition], patience_s: float) -> dict[Partition, int | None]:
    """Committed offsets of the consumer's group. Waits up to patience_s for open transactions that hold some (KIP-447)."""
    if not partitions:
        return {}
    asked = [TopicPartition(topic, number) for topic, number in partitions]
    found = _ask(consumer, asked, lambda: consumer.committed(asked, timeout=ASK_S), "asking for committed offsets", patience_s)
    return {p: offset if offset >= 0 else None for p, offset in _answers(found, "committed offset").items()}


def _answers(found: list[TopicPartition], what: str) -> dict[Partition, int]:
    for answer in found:
        if answer.error is not None:
            raise explained(answer.error, f"{what} of {answer.topic}[{answer.partition}]")
    return {(answer.topic, answer.partition): answer.offset for answer in found}


def _ask(
    consumer: Consumer, asked: Sequence[TopicPartition], question: Callable[[], list[TopicPartition]], what: str, patience_s: float
) -> list[TopicPartition]:
    until = time.monotonic() + patience_s
    while True:
        try:
            return question()
        except KafkaException as problem:
            error = error_of(problem)
            passes = is_passing(error) or (is_unknown(error) and _are_there(consumer, asked))
            if not passes or time.monotonic() > until:
                raise explained(error, what) from problem


def _are_there(consumer: Consumer, asked: Sequence[TopicPartition]) -> bool:
    """Whether the broker knows them all: after an outage the client still says that it does not (seen once in ten)."""
    try:
        known = {topic: consumer.list_topics(topic, timeout=ASK_S).topics[topic] for topic in {place.topic for place in asked}}
    except KafkaException:
        return True  # nobody says that they are not
    return all(place.partition in known[place.topic].partitions for place in asked)
