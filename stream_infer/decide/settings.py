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
class PolicySettings:
    """How an arm is drawn. kind: fixed | epsilon_greedy | thompson | maillard.

    prior: (wins, losses) of the Beta prior for thompson. share_min: every arm keeps at least this share. shares: of a split, by arm.
    """

    kind: str
    epsilon: float = 0.1
    prior: tuple[float, float] = (1.0, 1.0)
    share_min: float = 0.0
    seed: int = 0
    shares: tuple[float, ...] = ()
