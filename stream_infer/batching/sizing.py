"""batching.sizing: how many rows a pass and a chunk may have right now. curve, settings → *sizing* → deciding, flow.

The size is the smallest of three: the topology's, the knee of the cost curve, and what ends before the oldest row's deadline. The
third holds while little waits. In a backlog the rows are late already, and small batches would only keep them so: there the knee alone
counts. What tells the two apart is the number of records of our partitions that wait; as long as it is not known, nothing is a backlog.
"""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.batching.curve import ROWS_MAX, CostCurve, LiveCurve
from stream_infer.batching.patience import Patience
from stream_infer.batching.settings import BatchSettings

ROWS_REPEATABLE = 1024  # per pass of a deterministic run, whose batches must not depend on how fast a machine is
BACKLOG_BATCHES = 8  # so many of the largest batches wait: a backlog …
CALM_BATCHES = 2  # … until no more than so many do
SLACK_SHARE = 0.9  # of the time to a deadline that a pass may take: the rest is for encoding and sending
REFRESH_PASSES = 32  # the knee is looked up anew after so many passes of a model

FULL, DEADLINE, COST, NOTHING_WAITS, DRAIN = "full", "deadline", "cost", "nothing_waits", "drain"


class Sizing:
    """The models of one process. settings: by model. live: False: constants, whatever was measured."""

    def __init__(self, settings: Mapping[str, BatchSettings], *, live: bool) -> None:
        self.live = live
        self.backlog = False
        self.wall_ms: int | None = None  # ms since 1970, as it was told last; None: deadlines do not count
        self.now_ms = 0  # monotone, as it was told last
        self.patience = Patience()
        self.late: dict[tuple[str, str], int] = {}  # rows that came after their deadline, by step and what became of them
        self._settings = dict(settings)
        self._curves = {name: LiveCurve(batch.curve) for name, batch in settings.items()}
        self._passes = dict.fromkeys(settings, 0)
        self._chunks: dict[tuple[tuple[tuple[str, ...], ...], tuple[str, ...], float, int], int] = {}
        self._fits = dict.fromkeys(settings, ROWS_MAX)
        self._best = {name: self._largest(name) for name in settings}

    def passed(self, model: str, rows: int, seconds: float) -> None:
        """A live pass ended."""
        if not self.live:
            return
        self._curves[model].passed(rows, seconds)
        self._passes[model] += 1
        if self._passes[model] % REFRESH_PASSES == 0:
            self._best[model] = self._largest(model)
            self._chunks.clear()

    def fits(self, model: str, rows: int) -> None:
        """More rows than these found no memory: from now on a pass has no more. A deterministic run cuts as before: its edge cuts again."""
        if not self.live or rows >= self._fits[model]:
            return
        self._fits[model] = rows
        self._best[model] = self._largest(model)
        self._chunks.clear()

    def waiting(self, rows: int | None) -> None:
        """So many records of our partitions are not worked on; None: not known."""
        if not self.live:
            return
        largest = max(self._best.values(), default=ROWS_MAX)
        self.backlog = rows is not None and rows > (CALM_BATCHES if self.backlog else BACKLOG_BATCHES) * largest

    def count_late(self, step: str, what: str, rows: int) -> None:
        """Rows came to a decide step after their deadline."""
        self.late[step, what] = self.late.get((step, what), 0) + rows

    def curve(self, model: str) -> CostCurve:
        """The cost curve as of now."""
        return self._curves[model].curve()

    def rows(self, model: str) -> int:
        """The most rows of a pass, for throughput: the topology's number or the knee."""
        return self._best[model]

    def seconds(self, model: str, rows: int) -> float:
        """What a pass is expected to take; in proportion to its rows where nothing may be said: nothing measured, or not live."""
        curve = self._curves[model].curve()
        return curve.estimate(rows) if self.live and curve.sizes else float(rows)

    def known_seconds(self, model: str, rows: int) -> float:
        """What a pass of a model takes as of now; 0 where that may not be said: not live, nothing measured, a model made of others."""
        curve = self._curves[model].curve() if self.live and model in self._curves else None
        return curve.estimate(rows) if curve is not None and curve.sizes else 0.0

    def together(self, model: str, slack_ms: float | None) -> tuple[int, str]:
        """(the most rows that forwards of several tasks make together, what a pass of so many is called). slack_ms: of the oldest.

        A deadline that even a pass of one row would miss bounds nothing: a small batch would not save that row, but slow down all others.
        """
        best = self._best[model]
        if slack_ms is None or self.backlog:
            return best, FULL
        within = self._curves[model].curve().largest_within(SLACK_SHARE * slack_ms / 1000)
        return (within, DEADLINE) if 0 < within < best else (best, FULL)

    def chunk_rows(self, arms: tuple[tuple[str, ...], ...], shadows: tuple[str, ...], deadline_ms: float, most: int) -> int:
        """How many rows a task may take at once so that its models, one after the other, end within the deadline; `most` in a backlog.

        Each row is asked of one arm, the slowest for all we know, and of every shadow. arms: the models that each may take; shadows: all
        models of all shadows.
        """
        if not self.live or self.backlog:
            return most
        asked = (arms, shadows, deadline_ms, most)
        if asked not in self._chunks:
            self._chunks[asked] = self._chunk_rows(arms, shadows, SLACK_SHARE * deadline_ms / 1000, most)
        return self._chunks[asked]

    def rows_within(self, models: tuple[str, ...], wait_ms: float, most: int) -> int:
        """How many rows a task may take at once so that all these models, one after the other, answer within wait_ms, backlog or not."""
        if not self.live:
            return most
        asked = ((models,), (), wait_ms, most)
        if asked not in self._chunks:
            self._chunks[asked] = self._chunk_rows((models,), (), SLACK_SHARE * wait_ms / 1000, most)
        return self._chunks[asked]

    def _chunk_rows(self, arms: tuple[tuple[str, ...], ...], shadows: tuple[str, ...], budget_s: float, most: int) -> int:
        def seconds(name: str, rows: int) -> float:
            curve = self.curve(name)
            return curve.slow * curve.total(rows, self._best[name]) if curve.sizes else 0.0

        def whole(rows: int) -> float:
            return max(sum(seconds(name, rows) for name in arm) for arm in arms) + sum(seconds(name, rows) for name in shadows)

        low, high = 1, most + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if whole(middle) <= budget_s else (low, middle)
        return low if whole(1) <= budget_s else most

    def _largest(self, model: str) -> int:
        batch = self._settings[model]
        if not self.live:
            largest = min(batch.rows_max or ROWS_REPEATABLE, ROWS_MAX)
        elif batch.rows_max is not None:
            largest = min(batch.rows_max, ROWS_MAX)
        else:
            largest = self._curves[model].curve().best()
        largest = min(largest, self._fits[model])
        fitting = [size for size in batch.sizes if size <= largest]
        return fitting[-1] if fitting else (batch.sizes[0] if batch.sizes else largest)
