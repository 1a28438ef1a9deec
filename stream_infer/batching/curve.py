"""batching.curve: what a forward pass costs by its number of rows, measured at the start and kept fresh. *curve* → sizing, queueing."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

ROWS_MAX = 4096  # no batch is larger, whatever the curve says: beyond, memory grows and seconds per row no longer fall
ROWS_UNKNOWN = 256  # per batch, while nothing was measured
OVERHEAD_MAX = 0.05  # the knee: a batch may cost 5 % more per row than the cheapest size measured
PASS_S = 1e-4  # what a pass costs us beside the model: asking, taking the answer apart (benchmarks.core: 80 to 120 µs)
SIZES_PROBED = tuple(2**power for power in range(13))  # 1 … 4096: what a warm-up sweep should time

WEIGHT = 0.1  # of one live pass in the moving mean of its size
OUTLIER = 8.0  # a pass that took so many times longer than expected counts as that: a stop of the whole machine says nothing of a size
SLOW_SHARE = 0.99  # `slow` is the quantile of (seconds of a pass / seconds expected) that so many passes stay below
SLOW_STEP = 0.01  # of its logarithm per pass: some hundred passes to move by a factor of two
APART = 1.25  # a pass of so many times more rows than any before is a size of its own


@dataclass(frozen=True)
class CostCurve:
    """Measured cost of a forward pass: sizes (rows, ascending) and the seconds that a batch of each takes, never falling.

    slow: 99 of 100 passes take at most so many times longer. rows_most: more rows failed, for want of memory.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    slow: float = 1.0
    rows_most: int = ROWS_MAX

    @staticmethod
    def fit(samples: Iterable[tuple[int, float]], rows_most: int = ROWS_MAX) -> CostCurve:
        """Median per size of (rows, seconds) samples; the first sample of a size counts only if it is alone (it warms up).

        A larger batch never costs less than a smaller one: where noise says so, the larger size's time is raised.
        """
        by_size: dict[int, list[float]] = {}
        for rows, seconds in samples:
            by_size.setdefault(rows, []).append(seconds)
        sizes = tuple(sorted(by_size))
        medians = [float(np.median(by_size[rows][1:] or by_size[rows])) for rows in sizes]
        return CostCurve(sizes, tuple(np.maximum.accumulate(medians).tolist()) if medians else (), rows_most=rows_most)

    def knee(self) -> int:
        """The smallest measured size whose seconds per row, ours included, are within 5 % of the best; 1 where nothing was measured."""
        if not self.sizes:
            return 1
        per_row = (np.array(self.seconds) + PASS_S) / np.array(self.sizes)
        return self.sizes[int(np.argmax(per_row <= (1 + OVERHEAD_MAX) * per_row.min()))]

    def best(self) -> int:
        """Rows per batch for the most rows per second: the knee.

        256 at least where the largest size seen was still the cheapest (time ran out, or nothing was seen): there the knee lies beyond.
        """
        knee = self.knee()
        beyond = not self.sizes or knee == self.sizes[-1] < SIZES_PROBED[-1]
        return min(max(knee, ROWS_UNKNOWN) if beyond else knee, self.rows_most, ROWS_MAX)

    def estimate(self, rows: int) -> float:
        """Seconds for a batch of `rows`: linear between measured sizes, per row of the largest one beyond it."""
        sizes, seconds = self.sizes, self.seconds
        if rows >= sizes[-1]:
            return seconds[-1] * rows / sizes[-1]
        place = bisect_left(sizes, rows)
        if place == 0:
            return seconds[0]
        low, high = sizes[place - 1], sizes[place]
        return seconds[place - 1] + (seconds[place] - seconds[place - 1]) * (rows - low) / (high - low)

    def total(self, rows: int, largest: int) -> float:
        """Seconds for `rows` rows in passes of at most `largest`."""
        full, rest = divmod(rows, largest)
        return full * self.estimate(largest) + (self.estimate(rest) if rest else 0.0)

    def largest_within(self, seconds: float) -> int:
        """The most rows (up to 4096) that 99 of 100 passes end within `seconds`; 0 where a single row takes longer, or nothing is known."""
        if not self.sizes or self.slow * self.estimate(1) > seconds:
            return 0
        low, high = 1, ROWS_MAX + 1  # low fits, high does not, or is one too many
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.slow * self.estimate(middle) <= seconds else (low, middle)
        return low


class LiveCurve:
    """A cost curve that every live pass moves a little. start: as measured before the work, or None."""

    def __init__(self, start: CostCurve | None) -> None:
        start = start or CostCurve((), ())
        self._sizes, self._seconds = list(start.sizes), list(start.seconds)
        self._slow = math.log(start.slow)
        self._rows_most = start.rows_most
        self._made: CostCurve | None = None

    def passed(self, rows: int, seconds: float) -> None:
        """A pass of `rows` took `seconds`: the sizes on both sides move towards it, the nearer one further."""
        if seconds <= 0.0 or rows <= 0:
            return
        self._made = None
        sizes = self._sizes
        if not sizes or rows > APART * sizes[-1] or APART * rows < sizes[0]:
            at = bisect_left(sizes, rows)
            sizes.insert(at, rows)
            self._seconds.insert(at, seconds)
            return
        ratio = min(seconds / self._expected(rows), OUTLIER)
        at = bisect_left(sizes, rows)
        low, high = max(at - 1, 0), min(at, len(sizes) - 1)
        share = 1.0 if low == high else min(max((rows - sizes[low]) / (sizes[high] - sizes[low]), 0.0), 1.0)
        self._seconds[high] *= 1.0 + WEIGHT * share * (ratio - 1.0)
        if low != high:
            self._seconds[low] *= 1.0 + WEIGHT * (1.0 - share) * (ratio - 1.0)
        above = math.log(ratio) > self._slow
        self._slow = max(0.0, self._slow + SLOW_STEP * (SLOW_SHARE if above else SLOW_SHARE - 1.0))

    def _expected(self, rows: int) -> float:
        return CostCurve(tuple(self._sizes), tuple(self._seconds)).estimate(rows)

    def curve(self) -> CostCurve:
        """The curve as of now, its seconds made never to fall."""
        if self._made is None:
            seconds = np.maximum.accumulate(self._seconds).tolist() if self._seconds else []
            self._made = CostCurve(tuple(self._sizes), tuple(seconds), math.exp(self._slow), self._rows_most)
        return self._made
