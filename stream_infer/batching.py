"""batching: when a model batch leaves, and how large it is. features → *batching* → models.

The rule is work-conserving: when the model is free and rows wait, it takes min(rows waiting, rows_max) at once. A timer would
only add its own length: in a queue, batches grow by themselves under load.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

ROWS_MAX = 4096  # no batch is larger, whatever the curve says: beyond, memory grows and seconds per row no longer fall
OVERHEAD_MAX = 0.05  # the knee: a batch may cost 5 % more per row than the cheapest size measured
SIZES_PROBED = tuple(2**power for power in range(13))  # 1 … 4096: what a warm-up sweep should time


@dataclass(frozen=True)
class CostCurve:
    """Measured cost of a forward pass: sizes (rows, ascending) and the seconds that a batch of each takes, never falling."""

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @staticmethod
    def fit(samples: Iterable[tuple[int, float]]) -> CostCurve:
        """Median per size of (rows, seconds) samples; the first sample of a size counts only if it is alone (it warms up).

        A larger batch never costs less than a smaller one: where noise says so, the larger size's time is raised.
        """
        by_size: dict[int, list[float]] = {}
        for rows, seconds in samples:
            by_size.setdefault(rows, []).append(seconds)
        sizes = tuple(sorted(by_size))
        medians = [float(np.median(by_size[rows][1:] or by_size[rows])) for rows in sizes]
        return CostCurve(sizes, tuple(np.maximum.accumulate(medians).tolist()) if medians else ())

    def knee(self) -> int:
        """The smallest measured size whose seconds per row are within 5 % of the best; 1 where nothing was measured."""
        if not self.sizes:
            return 1
        per_row = np.array(self.seconds) / np.array(self.sizes)
        return self.sizes[int(np.argmax(per_row <= (1 + OVERHEAD_MAX) * per_row.min()))]

    def estimate(self, rows: int) -> float:
        """Seconds for a batch of `rows`: linear between measured sizes, per row of the largest one beyond it."""
        if rows > self.sizes[-1]:
            return self.seconds[-1] * rows / self.sizes[-1]
        return float(np.interp(rows, self.sizes, self.seconds))


def rows_max(setting: int | None, curve: CostCurve | None) -> int:
    """Rows per batch: the topology's number if it states one, else the knee of the curve, else (nothing measured yet) 256."""
    if setting is not None:
        return min(setting, ROWS_MAX)
    return min(curve.knee(), ROWS_MAX) if curve is not None and curve.sizes else 256


def cut(rows_waiting: int, largest: int) -> list[int]:
    """Sizes of the batches that `rows_waiting` rows leave in: full ones first, the rest last."""
    full, rest = divmod(rows_waiting, largest)
    return [largest] * full + ([rest] if rest else [])
