"""decide.canary: a challenger gets more rows step by step, or none any more. evidence → *canary* → flow.canaries.

Everything follows from the chunks of a task and their event times. What a chunk counted is seen two chunks later, when it is sure to be
over: by then it does not matter how the work on them overlapped. Rewards that come between two chunks are those of the later one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stream_infer.decide.evidence import CHALLENGER, NOTHING, Counts, Finding, Gathered, Rewards, Times, less_reward, objection
from stream_infer.decide.settings import CanarySettings

SEEN_AFTER = 2  # chunks; at most two are under way at once


@dataclass(frozen=True)
class Waiting:
    """Of a chunk that is not seen yet: what it counted, and all that was gathered by its end."""

    chunk: int
    counts: Counts
    gathered: Gathered


@dataclass(frozen=True)
class CanaryState:
    """Where a canary stands in one task. step: of the settings' steps; len(steps): promoted; -1: rolled back; -2: shares set by hand.

    policy: its version, one more with every change of shares. number: of the last change by hand. versions: of the two models. began_ms:
    the event time of the first row of the step. seen: in this step; since: the policy's version with which the challenger's trial began;
    gathered: in this trial, judged: that of it which is seen.
    """

    step: int = 0
    policy: int = 0
    number: int = 0
    versions: tuple[int, int] = (0, 0)
    began_ms: int | None = None
    seen: Counts = field(default_factory=Counts)
    waiting: tuple[Waiting, ...] = ()
    by_hand: float = 0.0
    since: int = 0
    gathered: Gathered = field(default_factory=Gathered)
    judged: Gathered = field(default_factory=Gathered)

    def share(self, settings: CanarySettings) -> float:
        """The challenger's."""
        if self.step == -2:
            return self.by_hand
        return 0.0 if self.step < 0 else 1.0 if self.step >= len(settings.steps) else settings.steps[self.step]

    def turned(self, step: int, *, by_hand: float = 0.0) -> CanaryState:
        """At another step, with nothing counted; at the first one with nothing gathered either."""
        found = replace(self, step=step, policy=self.policy + 1, began_ms=None, seen=Counts(), waiting=(), by_hand=by_hand)
        return found if step else replace(found, since=found.policy, gathered=Gathered(), judged=Gathered())

    def counted(self, chunk: int, counts: Counts) -> CanaryState:
        """A chunk is over. Those before it are seen by the next that begins, so they wait as one."""
        before = [one for one in self.waiting if one.chunk < chunk]
        if len(before) > 1:
            before = [Waiting(before[-1].chunk, sum((one.counts for one in before), Counts()), before[-1].gathered)]
        return replace(self, waiting=(*before, Waiting(chunk, counts, self.gathered)))

    def at(self, settings: CanarySettings, chunk: int, now_ms: int) -> tuple[CanaryState, Finding]:
        """(as of this chunk, whose first row is of now_ms; why shares changed, or NOTHING)."""
        found = self._looked(chunk)
        promoted = found.step >= len(settings.steps)
        if found.step < 0 or promoted:
            # Rewards of the time when both answered go on coming after the last step.
            why = less_reward(settings, found.judged.rewards) if promoted else None
            return (found, NOTHING) if why is None else (found.turned(-1), why)
        if found.began_ms is None:
            found = replace(found, began_ms=now_ms)
        why = objection(settings, found.seen, found.judged)
        if why.why:
            return found.turned(-1), why
        return (found.turned(found.step + 1), found.sound()) if found.through(settings, now_ms) else (found, NOTHING)

    def _looked(self, chunk: int) -> CanaryState:
        ready = [one for one in self.waiting if one.chunk + SEEN_AFTER <= chunk]
        if not ready:
            return self
        seen = sum((one.counts for one in ready), self.seen)
        return replace(self, seen=seen, judged=ready[-1].gathered, waiting=tuple(one for one in self.waiting if one not in ready))

    def through(self, settings: CanarySettings, now_ms: int) -> bool:
        """Whether the step is over: by its time, its rows and, where rewards are judged, as many rewarded rows for each step so far."""
        assert self.began_ms is not None
        if now_ms - self.began_ms < settings.every_ms or self.seen.rows[CHALLENGER] < settings.rows_min:
            return False
        return settings.reward_below is None or self.judged.rewards.rows[CHALLENGER] >= settings.rows_min * (self.step + 1)

    def sound(self) -> Finding:
        """What a step says that is over without an objection."""
        rows, rewarded = self.seen.rows[CHALLENGER], self.judged.rewards.rows[CHALLENGER]
        figures = (("rows_challenger", rows), ("rewarded_challenger", rewarded), ("passes", self.judged.times.passes))
        return Finding(f"nothing against it in {rows} rows", figures)

    def to_bytes(self) -> bytes:
        """One JSON object."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(data: bytes) -> CanaryState:
        """The inverse of to_bytes."""
        given: dict[str, Any] = json.loads(data)
        waiting = tuple(Waiting(one["chunk"], _counts(one["counts"]), _gathered(one["gathered"])) for one in given["waiting"])
        known = {"seen": _counts(given["seen"]), "gathered": _gathered(given["gathered"]), "judged": _gathered(given["judged"])}
        first, second = given["versions"]
        return CanaryState(**{**given, **known, "versions": (first, second), "waiting": waiting})


def _counts(given: dict[str, Any]) -> Counts:
    (a, b), (c, d) = given["rows"], given["rejected"]
    return Counts((a, b), (c, d), given["compared"], given["differing"])


def _gathered(given: dict[str, Any]) -> Gathered:
    rewards, times = given["rewards"], given["times"]
    (a, b), (c, d) = rewards["rows"], rewards["earned"]
    return Gathered(Rewards((a, b), (c, d), rewards["apart"], rewards["apart_sq"]), Times(**times))
