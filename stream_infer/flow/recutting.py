"""flow.recutting: the chunks of a task as they were cut once, out of the same logs. flow.recorded → *recutting* → replaying.

A recorded chunk says how far each channel was worked through when it ended, so which rows it held does not depend on how fast they were
read then or are read now. Of a stream with `decide_at` it held what had come by then and was due by its last key.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_infer.errors import StreamInferError
from stream_infer.flow.channel import BEGIN, END, TOLD, Channel
from stream_infer.flow.merge import Chunk, Merge, Taken
from stream_infer.flow.recorded import Cut
from stream_infer.flow.rows import Rows
from stream_infer.records import Ints


class Recut(Merge):
    """A Merge that cuts as recorded. cuts: of this task, one after the other; where: of the task, for messages."""

    def __init__(self, channels: Sequence[Channel], cuts: Sequence[Cut], where: str) -> None:
        super().__init__(list(channels), 1, 0, deterministic=True, every_ms=None)
        self._cuts, self._at, self._where = cuts, 0, where
        self._whole = bool(len(cuts)) and not cuts[0].began.any()  # else rows that waited when the first chunk began are missing
        self._users = [channel for channel in self.channels if channel.stream not in TOLD]
        for cut in cuts:
            if len(cut.ends) != len(self._users):
                raise StreamInferError(
                    f"{where}, cut {cut.number}: recorded with {len(cut.ends)} inputs, the topology has {len(self._users)}; "
                    "give the topology that was running then"
                )

    def _next(self) -> Cut | None:
        return self._cuts[self._at] if self._at < len(self._cuts) else None

    def chunk_waits(self, now: int) -> bool:  # noqa: ARG002 — the record is the clock
        """Whether all rows of the next recorded chunk are here."""
        cut = self._next()
        return cut is not None and all(c.received_to(end) for c, end in zip(self._users, cut.ends.tolist(), strict=True))

    def limiting(self) -> Channel | None:
        """A channel of which the next chunk lacks rows."""
        cut = self._next()
        if cut is None:
            return None
        return next((c for c, end in zip(self._users, cut.ends.tolist(), strict=True) if not c.received_to(end)), None)

    def progress(self, now: int) -> int:  # noqa: ARG002
        """END after the last recorded chunk."""
        return END if self._next() is None else BEGIN

    def through(self) -> bool:
        """All that is on record was given; the logs may hold more."""
        return self._next() is None

    def chunk(self, now: int) -> Chunk | None:
        """The next recorded chunk, once its rows are here. StreamInferError when the logs hold other rows than then."""
        cut = self._next()
        if cut is None or not self.chunk_waits(now):
            return None
        ends = dict(zip(map(id, self._users), cut.ends.tolist(), strict=True))
        aside = [(c, c.set_aside(ends[id(c)])) for c in self._users]
        parts = [(c, rows, _within(c, rows, cut.reached)) for c in self._users if (rows := c.candidates()) is not None]
        found = self._taken(cut, parts)
        for channel, later in aside:
            channel.put_back(later)
        self._at += 1
        self.number = cut.number
        return found

    def _taken(self, cut: Cut, parts: list[tuple[Channel, Rows, Ints]]) -> Chunk:
        began = self._nexts()
        keys = np.concatenate([rows.keys[mine] for _, rows, mine in parts] or [np.zeros(0, dtype=np.int64)])
        # Tables are read from their beginning even where the rest begins later: what came before the first chunk belongs to it then.
        starts = dict(zip(map(id, self._users), cut.began.tolist(), strict=True))
        before = [int(np.searchsorted(rows.offsets, starts[id(c)])) for c, rows, _ in parts if c.decide_at is None]
        count = cut.rows + sum(before)
        order = np.argsort(keys, kind="stable")[:count]
        if len(order) < count and self._whole:
            raise StreamInferError(
                f"{self._where}, cut {cut.number}: the chunk held {cut.rows} rows, {len(order)} of them are still in the logs; "
                "records were deleted (retention), or the topics were made anew"
            )
        rank = np.full(len(keys), -1, dtype=np.int64)
        rank[order] = np.arange(len(order))
        taken, first = [], 0
        for channel, _, mine in parts:
            places = rank[first : first + len(mine)]
            first += len(mine)
            if channel.decide_at is None:
                if (places < 0).any():
                    raise StreamInferError(f"{self._where}, cut {cut.number}: the logs hold more rows than the {cut.rows} of the chunk")
                out = channel.release(slice(len(mine)), cut.reached)
            else:
                out = channel.release(mine[places >= 0], cut.reached)
            if len(out):
                taken.append(Taken(channel, out, places[places >= 0]))
        return Chunk(cut.number, taken, len(order), cut.reached, began, self._nexts())


def _within(channel: Channel, rows: Rows, reached: int) -> Ints:
    """The candidates that were due: without `decide_at` all that had come, or the chunk had ended before them."""
    return np.arange(len(rows)) if channel.decide_at is None else np.flatnonzero(rows.keys <= reached)
