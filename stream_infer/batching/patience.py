"""batching.patience: passes that came too late to be waited for: how many are still out, and when to ask no more. flow → *patience* → flow.

A member of an ensemble that does not answer within `wait_ms_max` is left out, but its pass goes on, and stands before whatever is asked
next. So while LATE_MAX passes that nobody waits for are out, a member is *stalled*: it is left out at once, and costs neither time nor
memory. One of them ending, well or not, is the sign to try again.
"""

from __future__ import annotations

from collections.abc import Iterable

LATE_MAX = 4  # passes: one may be a hiccup; each costs its chunk the whole wait before the next is skipped

LATE, STALLED, FAILED = "late", "stalled", "failed"


class Patience:
    """The models of one process. left_out: rows that were answered without a member, by (step, member, why)."""

    def __init__(self) -> None:
        self._late: dict[int, str] = {}  # job → model
        self._count: dict[str, int] = {}
        self.left_out: dict[tuple[str, str, str], int] = {}

    def gave_up(self, jobs: Iterable[tuple[int, str]]) -> None:
        """Nobody waits for these passes any more: (job, model)."""
        for job, model in jobs:
            self._late[job] = model
            self._count[model] = self._count.get(model, 0) + 1

    def ended(self, job: int) -> None:
        """A pass ended."""
        model = self._late.pop(job, None)
        if model is not None:
            self._count[model] -= 1

    def stalled(self, model: str) -> bool:
        """Whether no further pass should be asked of it by anyone who can do without."""
        return self._count.get(model, 0) >= LATE_MAX

    def out(self, model: str) -> int:
        """Passes that nobody waits for."""
        return self._count.get(model, 0)

    def count(self, step: str, member: str, why: str, rows: int) -> None:
        """So many rows went without a member."""
        if rows:
            self.left_out[step, member, why] = self.left_out.get((step, member, why), 0) + rows
