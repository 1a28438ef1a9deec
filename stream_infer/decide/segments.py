"""decide.segments: statistics of arms segment by segment, and the shares that follow from them. learn.segments → *segments* → deciding.

A segment is known by the 64-bit hash of its value; a row whose value is absent, or is no segment of its own (yet), is decided by the pooled
statistics. Shares of a segment are computed once per version, when the first of its rows comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.decide.policy import ArmStats, propensities
from stream_infer.decide.settings import PolicySettings
from stream_infer.errors import StreamInferError
from stream_infer.hashing import ABSENT_HASH
from stream_infer.records import Floats, Hashes, Ints

FORMAT = 2  # 1: statistics without segments (decide.policy)
ROW_BYTES = 24  # of one arm: three sums
PAYLOAD_BYTES_MAX = 900_000  # a topic takes records of 1,048,588 bytes by default, and a version has a header


@dataclass(frozen=True, eq=False)
class SegmentStats:
    """pooled: of all rows. hashes: uint64[segments], ascending; sums: int64[segments, 3, arms], what each decides from, as ArmStats."""

    pooled: ArmStats
    hashes: Hashes
    sums: Ints

    @staticmethod
    def zeros(arms: int) -> SegmentStats:
        """Nothing seen."""
        return SegmentStats(ArmStats.zeros(arms), np.zeros(0, dtype=np.uint64), np.zeros((0, 3, arms), dtype=np.int64))

    def of(self, place: int) -> ArmStats:
        """Of the segment with the hash at this place; -1: the pooled ones."""
        return self.pooled if place < 0 else ArmStats(*self.sums[place])

    def to_bytes(self) -> bytes:
        """One byte of format, u32 little-endian number of segments, the pooled statistics, the hashes, the sums, all little-endian."""
        head = bytes([FORMAT]) + len(self.hashes).to_bytes(4, "little")
        return head + self.pooled.to_bytes()[1:] + self.hashes.astype("<u8").tobytes() + self.sums.astype("<i8").tobytes()

    @staticmethod
    def from_bytes(data: bytes) -> SegmentStats:
        """The inverse of to_bytes, also for statistics without segments; StreamInferError for anything else."""
        if data[:1] != bytes([FORMAT]):
            pooled = ArmStats.from_bytes(data)
            return SegmentStats(pooled, *_none(len(pooled.pulls)))
        count, left = int.from_bytes(data[1:5], "little"), len(data) - 5
        arms = (left - 8 * count) // (ROW_BYTES * (count + 1))
        if left != 8 * count + ROW_BYTES * arms * (count + 1):
            raise StreamInferError(f"statistics of segments: got {len(data)} bytes, expected those of {count} segments")
        pooled, end = ArmStats.from_bytes(b"\x01" + data[5 : 5 + ROW_BYTES * arms]), 5 + ROW_BYTES * arms + 8 * count
        hashes = np.frombuffer(data[5 + ROW_BYTES * arms : end], dtype="<u8").astype(np.uint64)
        return SegmentStats(pooled, hashes, np.frombuffer(data[end:], dtype="<i8").astype(np.int64).reshape(count, 3, arms))


def _none(arms: int) -> tuple[Hashes, Ints]:
    zero = SegmentStats.zeros(arms)
    return zero.hashes, zero.sums


def segments_fit(arms: int) -> int:
    """How many segments a version of a policy over so many arms may have: it is one record."""
    return (PAYLOAD_BYTES_MAX - ROW_BYTES * arms) // (8 + ROW_BYTES * arms)


@dataclass(frozen=True, slots=True)
class Segmented:
    """The rows of a choice by segment. hashes: uint64[rows]; group: int64[rows], place in shares; shares: float64[groups, arms]."""

    hashes: Hashes
    group: Ints
    shares: Floats

    def draw(self, u: Floats) -> Ints:
        """int64[rows]: each row's arm, as policy.draw gives it from the shares of its group. u: float64[rows] uniform in [0, 1)."""
        arms = self.shares.shape[1]
        last = arms - 1 - np.argmax(self.shares[:, ::-1] > 0.0, axis=1)
        below = np.cumsum(self.shares, axis=1)[self.group] <= u[:, None]
        out: Ints = np.minimum(below.sum(axis=1), last[self.group]).astype(np.int64)
        return out


class SegmentShares:
    """The exact shares of every segment under one version of the statistics. settings: their `segment` is not asked."""

    def __init__(self, settings: PolicySettings, stats: SegmentStats) -> None:
        self._settings, self._stats = settings, stats
        self.pooled = propensities(settings, stats.pooled)
        self._known: dict[int, Floats] = {-1: self.pooled}

    def of(self, hashes: Hashes) -> Segmented:
        """For rows of these segments. hashes: uint64[rows]."""
        known = self._stats.hashes
        place = np.minimum(np.searchsorted(known, hashes), max(len(known) - 1, 0))
        here = (known[place] == hashes) & (hashes != ABSENT_HASH) if len(known) else np.zeros(len(hashes), dtype=np.bool_)
        used, group = np.unique(np.where(here, place, -1), return_inverse=True)
        return Segmented(hashes, group.reshape(-1), np.stack([self._shares(place) for place in used.tolist()]))

    def _shares(self, place: int) -> Floats:
        found = self._known.get(place)
        if found is None:
            found = self._known[place] = propensities(self._settings, self._stats.of(place))
        return found
