"""flow.merge: the channels of a task become one sequence of rows, in event-time order. rows → *merge* → task.

Order of rows: (order key, channel, offset). The order key of a row is the running maximum of event time in its channel, so
rows of one channel keep their log order whatever their times say; channels are numbered by rank, partition and source.
A row of a stream with `decide_at` takes its place at that later time: until then it is held.

What may be released: rows up to the lowest watermark of all channels. A channel's watermark is the key of the last row that it
received (or a promise it carried): nothing lower can follow. Live, a channel that is idle does not hold the others back for
longer than wait_ms_max; in a deterministic run only the end of the log does, so that the order is a function of the logs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.flow.channel import BEGIN, END, TOLD, Channel
from stream_infer.flow.rows import Rows
from stream_infer.records import Ints


@dataclass(slots=True)
class Taken:
    """Rows of one channel in a chunk. order: int64[n], the place of each row in the merged sequence of the chunk."""

    channel: Channel
    rows: Rows
    order: Ints


@dataclass(slots=True)
class Chunk:
    """What a task works through next. began: next offset per channel before it, ended: after it; reached: the key of its last row."""

    number: int
    taken: list[Taken]
    rows: int
    reached: int
    began: Ints
    ended: Ints


class Merge:
    """The channels of one task.

    rows_max: the size of a chunk; live it may change. every_ms: chunks end where event time passes a multiple of it (or None).
    """

    def __init__(self, channels: list[Channel], rows_max: int, wait_ms_max: int, deterministic: bool, every_ms: int | None) -> None:
        self.channels = sorted(channels, key=lambda channel: channel.place)
        self.rows_max = rows_max
        self._wait_ms_max = wait_ms_max
        self._deterministic = deterministic
        self._every_ms = every_ms
        self.number = 0
        self._received_at: int | None = None  # None: nothing since the start; clocks of processes have no common zero

    def bound(self, now: int) -> tuple[int, int]:
        """(key, channel number): rows up to here may be released."""
        if self._resuming():
            return BEGIN, -1
        lowest = (END, len(self.channels))
        for number, channel in enumerate(self.channels):
            if not channel.ended and channel.gates and not self._idle(channel, now):
                # No version takes effect before all times: rows without a time of their own need not wait for one.
                watermark = max(channel.watermark, BEGIN + 1) if channel.stream in TOLD else channel.watermark
                lowest = min(lowest, (watermark, number))
        return lowest

    def _resuming(self) -> bool:
        """Whether held rows are still to be read again after a restart: nothing may pass them, and nothing may be promised."""
        return any(channel.resume_held for channel in self.channels)

    def _idle(self, channel: Channel, now: int) -> bool:
        if self._deterministic:
            return False
        if channel.at_end:
            return True
        if channel.waits() or channel.empty_since is None:
            return False
        return now - channel.empty_since >= self._wait_ms_max

    def _look(self, now: int) -> None:
        """Note which channels have run dry. Not done by chunk_waits(): whoever only asks must leave no trace."""
        for channel in self.channels:
            if channel.empty_since is None and not channel.at_end and not channel.waits():
                channel.empty_since = now

    def clock(self, now: int) -> int:
        """How far event time has come: the highest order key seen; live, it goes on at the pace of the clock while nothing arrives."""
        seen = max((c.reached for c in self.channels if c.gates), default=BEGIN)
        if self._deterministic or seen == BEGIN:
            return seen
        if self._received_at is None:
            self._received_at = now
        return seen + max(0, now - self._received_at)

    def stand(self) -> int:
        """All logs have ended: the highest order key of all. Rows of a later run have no lower one, whatever channel they are of."""
        told = [c for c in self.channels if c.gates and c.stream not in TOLD]
        seen = max((c.reached for c in told), default=BEGIN)
        for channel in told:
            channel.promise(seen)
        return seen

    def through(self) -> bool:
        """All logs have ended and all of their rows were given; versions may still come after them."""
        return all(channel.ended and not channel.waits() for channel in self.channels if channel.gates)

    def received(self, now: int | None) -> None:
        """Something that tells the time was read now; None: reading begins anew."""
        self._received_at = now

    def progress(self, now: int) -> int:
        """No row released from now on has a lower key (live: except late rows of a channel that was idle)."""
        self._look(now)
        if self._resuming():
            return BEGIN
        told = [c for c in self.channels if c.gates and c.stream not in TOLD]
        known = [head for c in told if (head := c.head()) is not None]
        held = [int(c.held_keys().min()) for c in self.channels if len(c.held_keys())]
        unknown = [c.following() for c in told if not self._idle(c, now)] or [self.clock(now)]
        return min(known + held + unknown)

    def limiting(self) -> Channel | None:
        """The channel that holds the others back: of the lowest watermark. More of it must be read before anything else helps."""
        waiting = [c for c in self.channels if c.gates and not c.ended]
        return min(waiting, key=lambda c: (c.watermark, c.place), default=None)

    def chunk(self, now: int) -> Chunk | None:
        """The next rows in order, or None when too little is known yet."""
        self._look(now)
        found = self._eligible(now)
        return None if found is None else self._cut(*found)

    def _eligible(self, now: int) -> tuple[list[tuple[Channel, Rows]], list[Ints], int] | None:
        """The rows of each channel that may be released, as indices of its candidates, at most a chunk of each; how many there are."""
        if not self._has_rows():
            return None
        key, number = self.bound(now)
        whole = True  # a deterministic chunk has rows_max rows unless the log itself ends it earlier
        if self._every_ms is not None:
            edge = self._edge()
            if edge is not None and key >= edge:
                key, number = edge - 1, len(self.channels)
                whole = False
        if self._deterministic and key >= END:
            whole = False
        parts: list[tuple[Channel, Rows]] = []
        eligible: list[Ints] = []
        for place, channel in enumerate(self.channels):
            rows = channel.candidates(self.rows_max)
            if rows is None:
                continue
            found = self._within(channel, rows, self._limit(channel, key if place <= number else key - 1, now))
            if len(found) or channel.decide_at is not None:  # what came and is not due yet becomes held with this chunk
                parts.append((channel, rows))
                eligible.append(found)
        total = sum(len(e) for e in eligible)
        if total == 0 or (self._deterministic and whole and total < self.rows_max):
            return None
        return parts, eligible, total

    def _limit(self, channel: Channel, key: int, now: int) -> int:
        """Rows of the channel up to this key may be released. key: what the other channels allow."""
        if channel.decide_at is None or all(c.ended for c in self.channels if c.gates):
            return key
        return min(key, self.clock(now))  # held rows wait for event time, also when nothing else is read

    def _within(self, channel: Channel, rows: Rows, limit: int) -> Ints:
        if channel.decide_at is not None:
            return np.flatnonzero(rows.keys <= limit)
        # Keys of a channel never fall, so these are its first rows; more than a chunk of them cannot be in the next one.
        return np.arange(min(int(np.searchsorted(rows.keys, limit, side="right")), self.rows_max))

    def chunk_waits(self, now: int) -> bool:
        """Whether chunk() would give one."""
        if self._deterministic:
            return self._eligible(now) is not None
        if not self._has_rows():
            return False
        # Live, one row is enough, and the first edge lies above the lowest key that waits: no rows need be gathered.
        key, number = self.bound(now)
        for place, channel in enumerate(self.channels):
            head = channel.lowest()
            if head is not None and head <= self._limit(channel, key if place <= number else key - 1, now):
                return True
        return False

    def _has_rows(self) -> bool:
        return any(channel.has_rows() for channel in self.channels)

    def _edge(self) -> int | None:
        """The first multiple of every_ms above the lowest key that waits."""
        assert self._every_ms is not None
        waiting = [lowest for c in self.channels if (lowest := c.lowest()) is not None]
        if waiting and min(waiting) == BEGIN:
            return BEGIN + 1  # rows without a time: rejected ones and tombstones before the first usable row of their channel
        return (min(waiting) // self._every_ms + 1) * self._every_ms if waiting else None

    def _cut(self, parts: list[tuple[Channel, Rows]], eligible: list[Ints], total: int) -> Chunk:
        if len(parts) == 1 and parts[0][0].decide_at is None:
            return self._cut_one(*parts[0], min(total, self.rows_max))
        keys = np.concatenate([rows.keys[e] for (_, rows), e in zip(parts, eligible, strict=True)])
        owner = np.repeat(np.arange(len(parts)), [len(e) for e in eligible])
        order = np.argsort(keys, kind="stable")  # ties: channel order, then offset, for that is how they are laid out
        count = self._cut_at_versions(parts, owner[order], min(total, self.rows_max))
        order = order[:count]
        rank = np.full(len(keys), -1, dtype=np.int64)
        rank[order] = np.arange(count)
        reached = int(keys[order[-1]])
        began = self._nexts()
        taken, first = [], 0
        for (channel, _), rows in zip(parts, eligible, strict=True):
            mine = rank[first : first + len(rows)]
            first += len(rows)
            out = channel.release(rows[mine >= 0], reached)
            if len(out):
                taken.append(Taken(channel, out, mine[mine >= 0]))
        self.number += 1
        return Chunk(self.number, taken, count, reached, began, self._nexts())

    def _nexts(self) -> Ints:
        return np.array([channel.next for channel in self.channels], dtype=np.int64)

    def _cut_one(self, channel: Channel, rows: Rows, count: int) -> Chunk:
        """The first rows of the one channel that has any: in order already."""
        began = self._nexts()
        reached = int(rows.keys[count - 1])
        taken = Taken(channel, channel.release(slice(count), reached), np.arange(count))
        self.number += 1
        return Chunk(self.number, [taken], count, reached, began, self._nexts())

    def _cut_at_versions(self, parts: list[tuple[Channel, Rows]], owner: Ints, count: int) -> int:
        """A chunk holds versions or rows, never both: versions take effect between two chunks."""
        versions = [i for i, (c, _) in enumerate(parts) if c.stream in TOLD]
        if not versions:
            return count
        is_version = np.isin(owner[:count], versions)
        changes = np.flatnonzero(is_version != is_version[0])
        return int(changes[0]) if len(changes) else count
