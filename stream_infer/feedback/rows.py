"""feedback.rows: what goes into the join and what comes out, in columns. decide → *rows* → join → learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_infer.hashing import hash64
from stream_infer.records import Floats, Ints, Matrix, Text

Objects = NDArray[np.object_]


@dataclass(slots=True)
class Decisions:
    """Answers given. ids: of the predictions, all present; event_time, order_key: int64[n] ms; arm, policy_version: int64[n];
    propensity, answer: float64[n]; features: float32[n, features], what a learner will learn from (0 wide where nothing learns).

    order_key: the running maximum of event time in the order in which the task merges its inputs. segment: int64[n], the bits of a hash;
    None where nothing is learned by segment.
    """

    ids: Text
    event_time: Ints
    order_key: Ints
    arm: Ints
    propensity: Floats
    policy_version: Ints
    answer: Floats
    features: Matrix
    segment: Ints | None = None


@dataclass(slots=True)
class FeedbackRows:
    """What the world said. ids: of the predictions meant; labels: float64[n], NaN where absent; event_time, order_key as in Decisions.

    feedback_ids: names one feedback row, so that its repeat is known; None (or an absent row): its address does.
    address: topic-partition-offset.
    """

    ids: Text
    event_time: Ints
    order_key: Ints
    labels: Floats
    feedback_ids: Text | None
    address: Text


@dataclass(slots=True)
class Returned:
    """Feedback that counts for nothing and goes to the rejects. address: topic-partition-offset; reason: one line each."""

    address: list[bytes] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.address)


@dataclass(slots=True)
class Joined:
    """Decisions whose wait is over, each once, in the order in which it ended. labels, rewards: float64[n], NaN where none came.

    closed_at: int64[n], the order key at which the row was final; feedback_rows: int64[n], distinct feedback rows in the label.
    returned: in the order in which it was certain. counts: what happened in this call, by name. segment: as in Decisions.
    """

    ids: Text
    event_time: Ints
    closed_at: Ints
    arm: Ints
    propensity: Floats
    policy_version: Ints
    answer: Floats
    features: Matrix
    labels: Floats
    rewards: Floats
    feedback_rows: Ints
    returned: Returned
    counts: Counter[str]
    segment: Ints | None = None

    def __len__(self) -> int:
        return len(self.event_time)


def decision_dtype(features: int, *, segmented: bool = False) -> np.dtype[np.void]:
    """A decision as it is kept and written. closed stands first and features last: a closed decision is written without them."""
    names = [("closed", "u1"), ("event_time", "<i8"), ("order_key", "<i8"), ("sequence", "<i8"), ("arm", "<i4"), ("policy_version", "<i8")]
    names += [("propensity", "<f8"), ("answer", "<f8"), ("label", "<f8"), ("rows", "<i4")]
    names += [("segment", "<i8")] if segmented else []
    return np.dtype([*names, ("features", "<f4", (features,))])


FEEDBACK_DTYPE = np.dtype([("order_key", "<i8"), ("sequence", "<i8"), ("label", "<f8"), ("name", "<u8"), ("id_size", "<i4")])


class Outcome:
    """What one call of the join has led to so far."""

    def __init__(self) -> None:
        self.closed: list[tuple[Objects, NDArray[Any], Ints]] = []  # ids, rows, closed_at
        self.returned = Returned()
        self.counts: Counter[str] = Counter()
        self._back: list[tuple[int, int, bytes, str]] = []

    def give_back(self, rows: Rows, reason: str, certain_after_ms: int = 0) -> None:
        """These count for nothing, which was certain that long after their order key. What stands before the colon is counted."""
        self.counts[f"feedback_{reason.split(':', maxsplit=1)[0].replace(' ', '_')}"] += len(rows)
        certain = (rows.fixed["order_key"] + certain_after_ms).tolist()
        self._back += zip(certain, rows.fixed["sequence"].tolist(), rows.address, [reason] * len(rows), strict=True)

    def end_of_pass(self) -> None:
        """Put what came back since the last pass in the order in which it was certain, so that cuts of calls do not show."""
        self._back.sort()
        self.returned.address += [address for _, _, address, _ in self._back]
        self.returned.reason += [reason for _, _, _, reason in self._back]
        self._back = []


@dataclass(slots=True)
class Rows:
    """Rows on their way through the join. fixed: structured[n] with order_key, sequence; ids, address: bytes (empty for decisions)."""

    fixed: NDArray[Any]
    ids: Objects
    address: Objects

    def __len__(self) -> int:
        return len(self.fixed)

    def take(self, rows: NDArray[Any] | slice) -> Rows:
        """The rows at these places, of this stretch, or where the mask holds."""
        return Rows(self.fixed[rows], self.ids[rows], self.address[rows])

    def sorted(self) -> Rows:
        """By order key, then by arrival."""
        keys = self.fixed["order_key"]
        # Rows nearly always come in order already; then nothing is moved.
        if (keys[1:] >= keys[:-1]).all() and (self.fixed["sequence"][1:] > self.fixed["sequence"][:-1]).all():
            return self
        return self.take(np.lexsort((self.fixed["sequence"], keys)))


def concat_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of one kind joined end to end; empty parts cost nothing."""
    full = [part for part in parts if len(part)] or list(parts[:1])
    if len(full) == 1:
        return full[0]
    fixed, ids, address = zip(*((part.fixed, part.ids, part.address) for part in full), strict=True)
    return Rows(np.concatenate(fixed), np.concatenate(ids), np.concatenate(address))


def no_rows(dtype: np.dtype[np.void]) -> Rows:
    """Nothing, of a kind."""
    return Rows(np.zeros(0, dtype=dtype), objects([]), objects([]))


def objects(items: Sequence[bytes | None]) -> Objects:
    """object[n], for taking many by place at once."""
    out = np.empty(len(items), dtype=np.object_)
    out[:] = items
    return out


def rows_of_decisions(decisions: Decisions, dtype: np.dtype[np.void], first: int) -> Rows:
    """Decisions with sequence numbers from `first` on."""
    fixed = np.zeros(len(decisions.event_time), dtype=dtype)
    for name in ("event_time", "order_key", "arm", "policy_version", "propensity", "answer", "features"):
        fixed[name] = getattr(decisions, name)
    if decisions.segment is not None:
        fixed["segment"] = decisions.segment
    fixed["sequence"] = first + np.arange(len(fixed))
    return Rows(fixed, objects(decisions.ids.raw()), objects([b""] * len(fixed)))


def rows_of_feedback(feedback: FeedbackRows, first: int) -> Rows:
    """Feedback with sequence numbers from `first` on; a row without a prediction id has no label either.

    name: hash of the feedback id; 64 bits suffice, as it is compared with the names of one decision's rows only.
    """
    fixed = np.zeros(len(feedback.labels), dtype=FEEDBACK_DTYPE)
    fixed["order_key"] = feedback.order_key
    fixed["label"] = feedback.labels if feedback.ids.valid is None else np.where(feedback.ids.valid, feedback.labels, np.nan)
    fixed["id_size"] = feedback.ids.size if feedback.ids.valid is None else np.where(feedback.ids.valid, feedback.ids.size, 0)
    fixed["sequence"] = first + np.arange(len(fixed))
    fixed["name"] = names = hash64(feedback.address)
    if feedback.feedback_ids is not None:
        valid = feedback.feedback_ids.valid
        fixed["name"] = np.where(True if valid is None else valid, hash64(feedback.feedback_ids), names)
    ids = feedback.ids.raw()
    return Rows(fixed, objects(ids if feedback.ids.valid is None else [key or b"" for key in ids]), objects(feedback.address.raw()))
