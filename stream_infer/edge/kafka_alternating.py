"""kafka alternating: two transactional producers of one worker slot take turns. kafka_transactions → *kafka_alternating* → kafka.

commit_transaction() returns once the coordinator has decided; the markers in the partitions are written after that. A producer that
begins anew before they stand hears CONCURRENT_TRANSACTIONS, and librdkafka sleeps 20 ms before it asks again, whatever retry.backoff.ms
says: one transaction in seven without a pause in between, one in fifty with the shortest pause that helped. The other producer need not
wait. By turns with such a pause, 20,000 and 44,000 records/s on four partitions: p99 51 → 38 and 48 → 43 ms (read_committed reader,
medians of three, two cores shared with the broker).

Nothing of a transaction is sent before the one before it has been decided, so records stand in the order of their transactions whoever
sent them. Of two offsets of a group the broker keeps those that were sent last, whichever marker comes first.
"""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import TopicPartition

from stream_infer.edge.kafka_client import transactional_ids
from stream_infer.edge.kafka_transactions import Transactions
from stream_infer.flow.transport import Outcome
from stream_infer.records import Ints, Text


class Alternating:
    """One transaction at a time, each on the other producer than the last. first: transactional id; made: the producer of an id."""

    def __init__(self, first: str, made: Callable[[str], Transactions]) -> None:
        self._now, self._next = map(made, transactional_ids(first))

    @property
    def is_open(self) -> bool:
        """True when a transaction has begun and not ended."""
        return self._now.is_open

    @property
    def rebuilt(self) -> int:
        """How often a producer was made anew."""
        return self._now.rebuilt + self._next.rebuilt

    def send(self, topic: str, keys: Text, values: Text, partition: int | None, timestamps: Ints | None) -> None:
        """Queue records in the open transaction, which begins if there is none."""
        self._now.send(topic, keys, values, partition, timestamps)

    def commit(self, offsets: list[TopicPartition], metadata: object) -> Outcome:
        """End the transaction with these offsets in it. metadata: the group's, taken on this thread just now; None without offsets."""
        return self._ended(self._now.commit(offsets, metadata))

    def abort(self) -> Outcome:
        """End the transaction, if one is open, without a trace. Always ABORTED."""
        return self._ended(self._now.abort())

    def _ended(self, outcome: Outcome) -> Outcome:
        self._now, self._next = self._next, self._now
        return outcome

    def give_up(self) -> None:
        """After an error: one short try to abort what is open, for readers and successors wait for its end."""
        self._now.give_up()

    def close(self) -> None:
        """Abort what is open and let go of both producers."""
        self._now.close()
        self._next.close()
