"""decide.canary: a challenger gets more rows step by step, or none any more. decide.settings → *canary* → flow.canaries.

Everything follows from the chunks of a task and their event times. What a chunk counted is seen two chunks later, when it is sure to be
over: by then it does not matter how the work on them overlapped.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stream_infer.decide.settings import CanarySettings

SEEN_AFTER = 2  # chunks; at most two are under way at once
ALPHA = 0.05  # a sound challenger is rolled back in at most so many canaries, however often one looks
CHAMPION, CHALLENGER = 0, 1


@dataclass(frozen=True)
class Counts:
    """rows, rejected: of (champion, challenger); compared, differing: rows of the challenger that the champion answered as well."""

    rows: tuple[int, int] = (0, 0)
    rejected: tuple[int, int] = (0, 0)
    compared: int = 0
    differing: int = 0

    def __add__(self, other: Counts) -> Counts:
        rows, rejected = zip(self.rows, other.rows, strict=True), zip(self.rejected, other.rejected, strict=True)
        (a, b), (c, d) = (tuple(map(sum, rows)), tuple(map(sum, rejected)))
        return Counts((a, b), (c, d), self.compared + other.compared, self.differing + other.differing)


@dataclass(frozen=True)
class CanaryState:
    """Where a canary stands in one task. step: of the settings' steps; len(steps): promoted; -1: rolled back; -2: shares set by hand.

    policy: its version, one more with every change of shares. number: of the last change by hand. versions: of the two models. began_ms:
    the event time of the first row of the step. waiting: counts of chunks that are not seen yet, by the chunk's number.
    """

    step: int = 0
    policy: int = 0
    number: int = 0
    versions: tuple[int, int] = (0, 0)
    began_ms: int | None = None
    seen: Counts = field(default_factory=Counts)
    waiting: tuple[tuple[int, Counts], ...] = ()
    by_hand: float = 0.0

    def share(self, settings: CanarySettings) -> float:
        """The challenger's."""
        if self.step == -2:
            return self.by_hand
        return 0.0 if self.step < 0 else 1.0 if self.step >= len(settings.steps) else settings.steps[self.step]

    def turned(self, step: int, *, by_hand: float = 0.0) -> CanaryState:
        """At another step, with nothing counted."""
        return replace(self, step=step, policy=self.policy + 1, began_ms=None, seen=Counts(), waiting=(), by_hand=by_hand)

    def counted(self, chunk: int, counts: Counts) -> CanaryState:
        """A chunk was answered."""
        return replace(self, waiting=(*self.waiting, (chunk, counts)))

    def at(self, settings: CanarySettings, chunk: int, now_ms: int) -> tuple[CanaryState, str]:
        """(as of this chunk, whose first row is of now_ms; why shares changed, or "")."""
        ready = [counts for number, counts in self.waiting if number + SEEN_AFTER <= chunk]
        found = replace(self, seen=sum(ready, self.seen), waiting=tuple(w for w in self.waiting if w[0] + SEEN_AFTER > chunk))
        if not 0 <= found.step < len(settings.steps):
            return found, ""
        if found.began_ms is None:
            found = replace(found, began_ms=now_ms)
        why = objection(settings, found.seen)
        if why:
            return found.turned(-1), why
        assert found.began_ms is not None
        if now_ms - found.began_ms < settings.every_ms or found.seen.rows[CHALLENGER] < settings.rows_min:
            return found, ""
        rows = found.seen.rows[CHALLENGER]
        return found.turned(found.step + 1), f"nothing against it in {rows} rows"

    def to_bytes(self) -> bytes:
        """One JSON object."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(data: bytes) -> CanaryState:
        """The inverse of to_bytes."""
        given: dict[str, Any] = json.loads(data)
        waiting = tuple((number, _counts(counts)) for number, counts in given["waiting"])
        first, second = given["versions"]
        return CanaryState(**{**given, "versions": (first, second), "seen": _counts(given["seen"]), "waiting": waiting})


def _counts(given: dict[str, Any]) -> Counts:
    (a, b), (c, d) = given["rows"], given["rejected"]
    return Counts((a, b), (c, d), given["compared"], given["differing"])


def objection(settings: CanarySettings, seen: Counts) -> str:
    """Why the challenger must go; "" while nothing speaks against it, or too little was seen."""
    if seen.rows[CHALLENGER] < settings.rows_min:
        return ""
    shares = [_share(rejected, rows) for rejected, rows in zip(seen.rejected, seen.rows, strict=True)]
    (old, old_radius), (new, new_radius) = shares
    if new - new_radius > old + (old_radius if seen.rows[CHAMPION] else 0.0) + settings.rejects_above:
        return f"it rejects {new:.3g} of its rows, the champion {old:.3g}"
    if settings.differ_by is not None and seen.compared >= settings.rows_min:
        apart, radius = _share(seen.differing, seen.compared)
        if apart - radius > settings.differ_share_max:
            return f"{apart:.3g} of its answers are more than {settings.differ_by:g} from the champion's"
    return ""


def _share(count: int, rows: int) -> tuple[float, float]:
    """(mean, radius): the mean is within the radius of the truth at every moment at once, but for ALPHA of all runs.

    Normal mixture of variance 1 (asymptotic confidence sequence): sqrt((V + 1) · ln((V + 1) / ALPHA²)) / n, where V = n · p · (1 - p).
    """
    if rows == 0:
        return 0.0, 1.0
    mean = count / rows
    spread = rows * mean * (1.0 - mean) + 1.0
    return mean, math.sqrt(spread * math.log(spread / ALPHA**2)) / rows
