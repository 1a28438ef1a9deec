"""learn.segments: rewards of joined rows → statistics of the arms, segment by segment. feedback → *segments* → decide (as versions).

A segment is known by the hash of its value. The first segments_max to earn a reward get sums of their own; rows of all others, and of an
absent value, count in the pooled sums alone, and the pooled policy decides for them.

What a segment decides from, for each arm (all sums are those of learn.stats, n the effective rows, r their summed reward):

    n = n_own + c,  r = r_own + r_others · c / n_others,  c = min(n_others, prior_rows)

where "others" are the rows of all other segments: pooled sums less its own. That is a power prior (Ibrahim & Chen 2000, Statistical
Science 15(1)): the likelihood of the others' rows counts to the power c / n_others. The mean of an arm is then the m-estimate of Cestnik
(1990, ECAI) with m = c: a new segment begins from the pooled means with the certainty of at most prior_rows rows, and its own rows outweigh
them as they come. With prior_rows 0 segments learn apart; with one segment there are no others, and it is the plain policy.
"""

from __future__ import annotations

import numpy as np

from stream_infer.decide.policy import ArmStats
from stream_infer.decide.segments import SegmentStats
from stream_infer.decide.settings import SegmentSettings
from stream_infer.hashing import ABSENT_HASH
from stream_infer.learn.stats import NAMES, arm_stats, weighed
from stream_infer.records import Floats, Hashes, Ints, Text
from stream_infer.state import Array, StateError, pack_text

FORMAT = 2  # 1: sums without segments (learn.stats), which have the same size
_POOLED = 0  # the row of sums of all rows


class SegmentLearner:
    """A Store of the sums of all rows, and of those of each segment. arms: how many there are."""

    def __init__(self, arms: int, settings: SegmentSettings) -> None:
        self._arms, self._settings = arms, settings
        self._sums = np.zeros((16, len(NAMES), arms), dtype=np.int64)
        self._row: dict[int, int] = {ABSENT_HASH: _POOLED}
        self._touched: set[int] = set()

    def learn(self, arm: Ints, reward: Floats, propensity: Floats, segment: Hashes) -> None:
        """As PolicyLearner.learn; segment: uint64[n], the hash of each row's value."""
        seen = ~np.isnan(reward)
        if not seen.any():
            return
        arm, rows = arm[seen], self._places(segment[seen])
        own = rows != _POOLED
        for sums, column in zip(np.moveaxis(self._sums, 1, 0), weighed(reward[seen], propensity[seen]), strict=True):
            np.add.at(sums[_POOLED], arm, column)
            np.add.at(sums, (rows[own], arm[own]), column[own])
        self._touched.update([_POOLED, *rows.tolist()])

    def _places(self, segment: Hashes) -> Ints:
        """int64[n]: the row of each segment's sums. In the order of their first rows, so that cuts of calls do not say who is the first."""
        values, first, inverse = np.unique(segment, return_index=True, return_inverse=True)
        rows = np.zeros(len(values), dtype=np.int64)
        for place in np.argsort(first, kind="stable").tolist():
            rows[place] = self._place(int(values[place]))
        out: Ints = rows[inverse.reshape(-1)]
        return out

    def _place(self, segment: int) -> int:
        """The row of a segment's sums; _POOLED for one that has none and gets none."""
        found = self._row.get(segment)
        if found is not None:
            return found
        return self._new(segment) if len(self._row) <= self._settings.segments_max else _POOLED

    def _new(self, segment: int) -> int:
        row = self._row[segment] = len(self._row)
        if row == len(self._sums):
            self._sums = np.concatenate([self._sums, np.zeros_like(self._sums)])
        return row

    def stats(self) -> SegmentStats:
        """What every segment decides from."""
        pooled = self._sums[_POOLED]
        segments = sorted(segment for segment in self._row if segment != ABSENT_HASH)
        found = [self._stats(self._sums[self._row[segment]], pooled) for segment in segments]
        sums = np.array([[s.pulls, s.reward_micro, s.reward_sq_micro] for s in found], dtype=np.int64)
        hashes = np.array(segments, dtype=np.uint64)
        return SegmentStats(arm_stats(pooled), hashes, sums.reshape(len(segments), 3, self._arms))

    def _stats(self, own: Ints, pooled: Ints) -> ArmStats:
        return arm_stats(own) + _weakened(arm_stats(pooled - own), self._settings.prior_rows)

    # -- Store -----------------------------------------------------------------------------------------------------------------

    def changes(self) -> tuple[Text, Text]:
        """Store: the sums that changed since the last call, by segment; the pooled ones under the hash of an absent value."""
        by_row = {row: segment for segment, row in self._row.items() if row in self._touched}
        rows = sorted(by_row)
        self._touched.clear()
        values = [bytes([FORMAT]) + self._sums[row].astype("<i8").tobytes() for row in rows]
        return pack_text([by_row[row].to_bytes(8, "little") for row in rows]), pack_text(values)

    def restore(self, keys: Text, values: Text) -> None:
        """Store: undo changes(). StateError for other arms."""
        size = 1 + self._sums[_POOLED].nbytes
        for key, value in zip(keys.raw(), values.raw(), strict=True):
            if key is None or len(key) != 8 or value is None or len(value) != size or value[0] != FORMAT:
                got = len(value or b"")
                raise StateError(f"statistics of segments: got {got} bytes, expected format {FORMAT}, {size} bytes (other arms?)")
            segment = int.from_bytes(key, "little")
            row = self._row[segment] if segment in self._row else self._new(segment)
            self._sums[row] = np.frombuffer(value, dtype="<i8", offset=1).reshape(self._sums.shape[1:])

    def snapshot(self) -> dict[str, Array]:
        """Store: hashes and sums, the pooled ones first."""
        segments = sorted(self._row, key=lambda segment: self._row[segment])
        return {"segments": np.array(segments, dtype=np.uint64), "sums": self._sums[: len(segments)].copy()}

    def load(self, arrays: dict[str, Array]) -> None:
        """Store: undo snapshot(). StateError for other arms."""
        sums, segments = arrays["sums"], arrays["segments"].tolist()
        if sums.shape != (len(segments), len(NAMES), self._arms):
            raise StateError(f"statistics of segments: got {sums.shape}, expected {(len(segments), len(NAMES), self._arms)} (other arms?)")
        self._sums = np.concatenate([sums.astype(np.int64), np.zeros((16, len(NAMES), self._arms), dtype=np.int64)])
        self._row, self._touched = {segment: row for row, segment in enumerate(segments)}, set()

    def bytes_used(self) -> int:
        """Store: the sums, and some 100 bytes per segment for its place in the dict."""
        return self._sums.nbytes + 100 * len(self._row)


def _weakened(others: ArmStats, rows_max: int) -> ArmStats:
    """The same means from at most rows_max rows of each arm, to the nearest whole numbers."""
    columns: list[list[int]] = [[], [], []]
    for rows, *sums in zip(others.pulls.tolist(), others.reward_micro.tolist(), others.reward_sq_micro.tolist(), strict=True):
        counted = min(rows, rows_max)
        for column, value in zip(columns, (rows, *sums), strict=True):
            column.append((2 * value * counted + rows) // (2 * rows) if rows else 0)
    return ArmStats(*(np.array(column, dtype=np.int64) for column in columns))
