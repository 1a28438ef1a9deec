"""feedback_settings: what a topology may say of the join of predictions and feedback."""

from __future__ import annotations

from dataclasses import dataclass

TAKES = ("first", "last", "sum", "max")


@dataclass(frozen=True)
class RewardSettings:
    """A reward in [0, 1] from answer and label. kind: closeness (1 - min(|answer - label| / scale, 1)), value (label clipped to
    [low, high] and scaled to [0, 1]), match (1 when answer and label lie on the same side of threshold)."""

    kind: str
    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0
    threshold: float = 0.5


@dataclass(frozen=True)
class FeedbackSettings:
    """wait_ms_max: event time after the decision within which feedback counts; early_ms_max: how long feedback waits for its decision.

    take: which of several distinct feedback rows of one decision makes the label. absent: the label where none came (None: no reward).
    label: field of the feedback stream. on: field of the feedback stream that holds the prediction id. feedback_id: field that
    names one feedback row, so that a repeat is known (None: the record's own address serves).
    """

    on: str
    label: str
    wait_ms_max: int
    reward: RewardSettings
    take: str = "first"
    absent: float | None = None
    early_ms_max: int = 0
    feedback_id: str | None = None
