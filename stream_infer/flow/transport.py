"""flow.transport: what the worker asks of a broker. Two things have this form: edge.kafka and sim.broker.

One thread owns a transport. Nothing here returns one object per record: records come and go as columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Protocol

import numpy as np

from stream_infer.records import Fetched, Ints, Text

Partition = tuple[str, int]  # (topic, partition)


class Outcome(Enum):
    """How a transaction ended. ABORTED: nothing of it is visible; everything done since the last commit must be forgotten."""

    COMMITTED = "committed"
    ABORTED = "aborted"


class Ownership(Protocol):
    """Told, inside poll() or close(), which partitions of the group's topics this member owns.

    Each call names what changes. By the classic protocol all that is owned is revoked and given anew at every change of the group; by
    changes (KIP-848) only what moves is, and the rest is read on meanwhile.
    """

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """These are ours now too, or none; nothing of them has been read yet. Must return quickly: restoring happens after poll()."""

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """These are ours until this call returns: the last chance to commit their work. Must not call poll()."""

    def lost(self, partitions: Sequence[Partition]) -> None:
        """These are someone else's already: nothing of them may be committed."""


class Logs(Protocol):
    """What Transport can do without being anyone's member and without writing: enough to work through logs again, and no more."""

    def partitions(self, topic: str) -> int:
        """As Transport.partitions."""

    def follow(self, partition: Partition, offset: int) -> None:
        """As Transport.follow."""

    def pause(self, partitions: Sequence[Partition]) -> None:
        """As Transport.pause."""

    def resume(self, partitions: Sequence[Partition]) -> None:
        """As Transport.resume."""

    def poll(self, rows_max: int, wait_ms: int) -> list[Fetched]:
        """As Transport.poll."""

    def at_end(self, partition: Partition) -> bool:
        """As Transport.at_end."""

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """As Transport.end_offsets."""

    def offsets_at(self, partitions: Sequence[Partition], time_ms: int) -> dict[Partition, int]:
        """As Transport.offsets_at."""

    def read(self, partition: Partition, offset: int) -> Iterator[Fetched]:
        """As Transport.read."""


class Transport(Protocol):
    """A consumer group member, a follower of single partitions, and a (transactional) producer in one."""

    def partitions(self, topic: str) -> int:
        """Number of partitions. EnvironmentMissing when the topic or the broker is not there."""

    def join(self, topics: Sequence[str], ownership: Ownership) -> None:
        """Become a member of the group for these topics. Equal partition numbers of topics with equal partition counts go to one member."""

    def follow(self, partition: Partition, offset: int) -> None:
        """Read a partition from offset on, outside the group; calling it again moves the place."""

    def unfollow(self, partition: Partition) -> None:
        """Stop following."""

    def seek(self, partition: Partition, offset: int) -> None:
        """poll() goes on at this offset, or at the first there is after it. Nothing is given of a partition before its first seek."""

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Give no records of these (owned or followed) until resume()."""

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo pause()."""

    def poll(self, rows_max: int, wait_ms: int, *, owned: bool = True) -> list[Fetched]:
        """What is there, at most about rows_max records, read committed; waits at most wait_ms and only when nothing is there.

        owned: False for followed partitions, and hardly a record of the others: those are kept for a later call.
        """

    def at_end(self, partition: Partition) -> bool:
        """True when everything that the broker was known to hold has been given by poll(): the partition is idle, not slow."""

    def lag(self, partition: Partition) -> int:
        """Records of an owned partition between what was given and where the broker was last known to end; 0 while that is unknown."""

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Offset after the last record a read-committed reader can reach now (asked of the broker)."""

    def offsets_at(self, partitions: Sequence[Partition], time_ms: int) -> dict[Partition, int]:
        """The first offsets with that timestamp or a later one, the ends where there is none."""

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        """The group's committed offsets, None where there is none. Waits for open transactions of the group to end."""

    def read(self, partition: Partition, offset: int) -> Iterator[Fetched]:
        """All committed records from offset to the end as it is now (high watermark, waiting for open transactions to end).

        Gives a batch without records when none came for a moment, so that the caller can do other things meanwhile.
        """

    def produce(
        self,
        topic: str,
        keys: Text,
        values: Text,
        partition: int | None = None,
        timestamps: Ints | None = None,
    ) -> None:
        """Send records; begins a transaction if none is open. Waits while the queue is full.

        keys, values: an absent one is null. partition None: by murmur2 of the key.
        """

    def commit(self, offsets: Mapping[Partition, int]) -> Outcome:
        """End the transaction with these group offsets in it. Fenced when another process took our place.

        ABORTED after every abortable error and after every end whose result is unknown: then the producer has been rebuilt and the
        caller must forget its work since the last commit, ask committed() and seek(). Does nothing but return COMMITTED when
        neither records nor offsets are pending.
        """

    def push(self) -> None:
        """Nothing more will be produced for the moment: the client need not gather records any longer. Waits for nothing."""

    @property
    def sends_on(self) -> bool:
        """Whether records may be produced while a commit is under way: they are of the next one. Never so in transactions."""

    def begin_commit(self, offsets: Mapping[Partition, int]) -> None:
        """Begin what commit() does. Until ended() has told the outcome nothing may be committed or aborted, nor, unless the transport
        sends on, produced; poll() goes on."""

    def ended(self, wait_ms: int) -> Outcome | None:
        """The outcome of begin_commit(), told once; None while it is not known, after waiting for at most wait_ms."""

    def abort(self) -> None:
        """End the transaction, if one is open, and leave nothing of it."""

    def close(self) -> None:
        """Leave the group (revoked() is called first) and let go of everything."""


def nothing(partition: Partition) -> Fetched:
    """A batch without records."""
    none = np.zeros(0, dtype=np.int64)
    return Fetched(*partition, none, none, no_text(0), no_text(0))


def no_text(rows: int) -> Text:
    """A column of rows absent keys."""
    zeros = np.zeros(rows, dtype=np.int64)
    return Text(np.zeros(0, dtype=np.uint8), zeros, zeros, np.zeros(rows, dtype=np.bool_), is_bytes=True)
