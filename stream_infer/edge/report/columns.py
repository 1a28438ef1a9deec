"""edge.report.columns: what a report is made from, as plain arrays. run → *columns* → figures, series → page, summary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.errors import Bug
from stream_infer.records import Floats, Ints, Text


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions of one decide step, one row each, in any order.

    event_time: int64[n] ms since 1970. arm: int64[n], place in `arms`. answer, propensity: float64[n].
    propensities: float64[n, arms]. policy_version: int64[n]. shadows: float64[n, shadow_names], what those models would have said.
    """

    event_time: Ints
    arm: Ints
    arms: tuple[str, ...]
    answer: Floats
    propensity: Floats
    propensities: Floats
    policy_version: Ints
    shadows: Floats
    shadow_names: tuple[str, ...]
    prediction_id: Text | None = None

    def __post_init__(self) -> None:
        """Columns that do not fit together are a Bug of the caller."""
        rows = len(self.event_time)
        wanted = {
            "arm": (self.arm.shape, (rows,)),
            "answer": (self.answer.shape, (rows,)),
            "propensity": (self.propensity.shape, (rows,)),
            "propensities": (self.propensities.shape, (rows, len(self.arms))),
            "policy_version": (self.policy_version.shape, (rows,)),
            "shadows": (self.shadows.shape, (rows, len(self.shadow_names))),
        }
        for name, (got, expected) in wanted.items():
            if got != expected:
                raise Bug(f"report: {name} has shape {got}, expected {expected}")

    def __len__(self) -> int:
        """Number of predictions."""
        return len(self.event_time)

    def shadow(self, name: str) -> Floats:
        """float64[n]: the answers of shadow `name`."""
        return self.shadows[:, self.shadow_names.index(name)]


@dataclass(frozen=True, slots=True)
class Labels:
    """What the world said, row by row with the predictions. label: float64[n], NaN = never.

    feedback_time: int64[n] ms since 1970, read only where there is a label.
    """

    label: Floats
    feedback_time: Ints

    def __post_init__(self) -> None:
        """Columns that do not fit together are a Bug of the caller."""
        if self.label.shape != self.feedback_time.shape:
            raise Bug(f"report: label has shape {self.label.shape}, feedback_time {self.feedback_time.shape}")


@dataclass(frozen=True, slots=True)
class RunTrace:
    """How the run went. seconds: float64[m] since its start, one sample a second; rows: int64[m] records read since the last sample;
    lag_rows: int64[m]; lag_seconds: float64[m]. latency_ms: float64[any], samples of the span `latency_of` names.
    batch_rows, batch_count: int64[k], so many batches had so many rows.
    """

    seconds: Floats
    rows: Ints
    lag_rows: Ints
    lag_seconds: Floats
    latency_ms: Floats
    batch_rows: Ints
    batch_count: Ints
    latency_of: str = "from read to committed"


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of event time that is judged by itself: begin_ms ≤ event time < end_ms."""

    name: str
    begin_ms: int
    end_ms: int

    @staticmethod
    def of_dates(name: str, begin: str, end: str) -> Period:
        """begin, end: ISO dates, UTC; end is the first day that is not in it."""
        ms = [int(np.datetime64(day, "ms").astype(np.int64)) for day in (begin, end)]
        return Period(name, ms[0], ms[1])


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What the arrays cannot tell. seconds: wall time of the run. baseline: the shadow that others are measured against.

    unit: of the answers. periods: judged beside the whole range. machine: one line on where it ran.
    late, duplicate, unknown: feedback rows that were not used. guarantee: of the emit stage.
    """

    name: str
    seconds: float
    baseline: str | None = None
    unit: str = "min"
    rows_read: int = 0
    rows_rejected: int = 0
    feedback_late: int = 0
    feedback_duplicate: int = 0
    feedback_unknown: int = 0
    versions_published: int = 0
    commits: int = 0
    restarts: int = 0
    workers: int = 1
    guarantee: str = "exactly_once"
    sha256: str = ""
    machine: str = ""
    began_at: str = ""
    periods: tuple[Period, ...] = ()
