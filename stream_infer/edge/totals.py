"""edge.totals: what the live view shows of a run, taken at one moment. telemetry → *totals* → progress."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.edge.metrics import quantile
from stream_infer.records import Floats, Ints


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """Of one arm since the start: rows it answered, rows of these with a label, and the sum of their absolute errors."""

    stage: str
    arm: str
    pulls: int
    labelled: int
    absolute_error: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the live view shows, as plain values. latency_counts: int64[bounds + 1] since the start, bounds in seconds.

    rows_out: decisions taken, those of an aborted transaction and their repeats included; records_out_total has only committed ones.
    baseline: name of the first shadow, its mean absolute error and ours on the same rows, if there is one.
    """

    time_s: float
    rows_in: int
    rows_out: int
    rows_rejected: int
    rows_in_flight: int
    lag_rows: int
    lag_seconds: float
    commits: int
    feedback: int
    latency_bounds: Floats
    latency_counts: Ints
    arms: tuple[ArmFigures, ...]
    baseline: tuple[str, float, float] | None = None
    partitions_assigned: int = 0
    partitions_paused: int = 0

    def latency_seconds(self, share: float, before: Snapshot | None = None) -> float | None:
        """The latency that `share` of the rows stay below, since `before` or since the start."""
        counts = self.latency_counts if before is None else self.latency_counts - before.latency_counts
        return quantile(self.latency_bounds, counts, share)
