"""decide.settings: what a topology may say of choosing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """One comparison: field, operator (== != < <= > >=), literal (number, or text for == and !=)."""

    field: str
    operator: str
    literal: float | str


@dataclass(frozen=True)
class DeadlineSettings:
    """A row should be answered within after_ms of its event time. late: what becomes of one that was not even begun by then.

    serve: answered all the same; fallback: answered by the last arm; topic: rejected, with a reason; drop: passed over, and counted.
    """

    after_ms: int
    late: str = "serve"


LATE_WORDS = {
    "serve": "it is answered all the same",
    "fallback": "the model `fallback` answers it",
    "topic": "it goes to the rejects, which say how late it was",
    "drop": "it is passed over, and counted",
}


@dataclass(frozen=True)
class CanarySettings:
    """steps: the challenger's shares, ascending; every_ms: event time of each; rows_min: rows of the challenger before it is judged.

    rejects_above: it goes when it rejects so much more of its rows than the champion, beyond doubt. differ_by, differ_share_max: it goes
    when more than this share of its answers is further than differ_by from what the champion would have said (None: nobody asks).
    reward_below: it goes when its mean reward is so much below the champion's, beyond doubt. latency_above: it goes when its forward passes
    take more than so many times as long as the champion's of as many rows, beyond doubt; live alone (None: nobody asks).
    """

    steps: tuple[float, ...]
    every_ms: int
    rows_min: int = 100
    rejects_above: float = 0.01
    differ_by: float | None = None
    differ_share_max: float = 0.1
    reward_below: float | None = None
    latency_above: float | None = None


@dataclass(frozen=True)
class SegmentSettings:
    """A policy of its own for each value of the field `by`, of at most segments_max values; all others share the pooled one.

    prior_rows: at most so many rows of each arm in the other segments count for a segment as if they were its own.
    """

    by: str
    segments_max: int = 1000
    prior_rows: int = 20


@dataclass(frozen=True)
class PolicySettings:
    """How an arm is drawn. kind: fixed | epsilon_greedy | thompson | maillard | split | canary.

    prior: (wins, losses) of the Beta prior for thompson. share_min: every arm keeps at least this share. shares: of a split, by arm.
    by: the field whose value decides the draw of a split or canary, so that equal values get the same arm; None: the prediction id.
    segment: what a bandit learns apart; None: one policy for all rows.
    """

    kind: str
    epsilon: float = 0.1
    prior: tuple[float, float] = (1.0, 1.0)
    share_min: float = 0.0
    seed: int = 0
    shares: tuple[float, ...] = ()
    by: str | None = None
    canary: CanarySettings | None = None
    segment: SegmentSettings | None = None

    @property
    def learns(self) -> bool:
        """Whether rewards change it."""
        return self.kind not in ("fixed", "split", "canary")
