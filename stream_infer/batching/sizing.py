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

_Asked = tuple[tuple[tuple[str, ...], ...], tuple[str, ...], float, int]  # arms, shadows, ms, the most rows
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
        self._chunks: dict[_Asked, int] = {}
        self._commits: dict[_Asked, int] = {}
        self._fits = dict.fromkeys(settings, ROWS_MAX)
        self._best = {name: self._largest(name) for name in settings}

    def passed(self, model: str, rows: int, seconds: float) -> None:
        """A live pass ended."""
        if not self.live:
            return
        self._curves[model].passed(rows, seconds)
        self._passes[model] += 1
        if self._passes[model] % REFRESH_PASSES == 0:
            self._size_anew(model)

    def fits(self, model: str, rows: int) -> None:
        """More rows than these found no memory: from now on a pass has no more. A deterministic run cuts as before: its edge cuts again."""
        if not self.live or rows >= self._fits[model]:
            return
        self._fits[model] = rows
        self._size_anew(model)

    def _size_anew(self, model: str) -> None:
        """More is known of a model: whatever was reckoned with it is reckoned again."""
        self._best[model] = self._largest(model)
        self._chunks.clear()
        self._commits.clear()

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

    def rows_a_commit(self, arms: tuple[tuple[str, ...], ...], shadows: tuple[str, ...], interval_ms: float, most: int) -> int:
        """How many rows a task may take at once so that a commit, which waits for the chunk under way, need not wait much longer than
        interval_ms; backlog or not, but no fewer than the slowest model does best with. arms, shadows: as in chunk_rows().
        """
        if not self.live:
            return most
        asked = (arms, shadows, interval_ms, most)
        if asked not in self._commits:
            slowest = max((name for arm in (*arms, shadows) for name in arm), key=lambda name: self._seconds(name, 1), default=None)
            least = 1 if slowest is None else self._best[slowest]
            self._commits[asked] = min(max(self._fitting(arms, shadows, interval_ms / 1000, most), least), most)
        return self._commits[asked]

    def rows_within(self, models: tuple[str, ...], wait_ms: float, most: int) -> int:
        """How many rows a task may take at once so that all these models, one after the other, answer within wait_ms, backlog or not."""
        if not self.live:
            return most
        asked = ((models,), (), wait_ms, most)
        if asked not in self._chunks:
            self._chunks[asked] = self._chunk_rows((models,), (), SLACK_SHARE * wait_ms / 1000, most)
        return self._chunks[asked]

    def _seconds(self, name: str, rows: int) -> float:
        """What all passes over so many rows take; 0 where nothing was measured."""
        curve = self.curve(name)
        return curve.slow * curve.total(rows, self._best[name]) if curve.sizes else 0.0

    def _chunk_rows(self, arms: tuple[tuple[str, ...], ...], shadows: tuple[str, ...], budget_s: float, most: int) -> int:
        return self._fitting(arms, shadows, budget_s, most) or most

    def _fitting(self, arms: tuple[tuple[str, ...], ...], shadows: tuple[str, ...], budget_s: float, most: int) -> int:
        """The most rows whose models end within the time; 0 where one row's do not."""

        def whole(rows: int) -> float:
            slowest = max((sum(self._seconds(name, rows) for name in arm) for arm in arms), default=0.0)
            return slowest + sum(self._seconds(name, rows) for name in shadows)

        low, high = 0, most + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if whole(middle) <= budget_s else (low, middle)
        return low

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
