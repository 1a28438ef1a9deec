"""feedback.join: decisions ⋈ feedback by prediction id, a pure function of the two logs. decide → *join* → learn.

Nothing depends on how the logs are cut into calls: rows beyond `reached` are held back, the others are worked through by order
key and then arrival, and every question is one of order keys:
- of several decisions with one id the first counts, until it is forgotten;
- feedback counts for decision d when d.order_key - early_ms_max ≤ its order key ≤ d.event_time + wait_ms_max, each feedback id once;
- d is final when everything up to d.event_time + wait_ms_max has been seen; it is remembered for another wait_ms_max, so
  that what comes then is called late or a repeat, and afterwards it is forgotten;
- other feedback is returned: when it comes (late), or when no decision can follow any more (unknown).
"""

from __future__ import annotations

import numpy as np

from stream_infer.feedback.early import Early
from stream_infer.feedback.pending import Pending
from stream_infer.feedback.rewards import reward
from stream_infer.feedback.rows import (
    FEEDBACK_DTYPE,
    Decisions,
    FeedbackRows,
    Joined,
    Outcome,
    Rows,
    concat_rows,
    no_rows,
    rows_of_decisions,
    rows_of_feedback,
)
from stream_infer.feedback.stored import META, number_of, pack_meta, pack_waiting, unpack_meta, unpack_waiting
from stream_infer.feedback_settings import TAKES, FeedbackSettings
from stream_infer.records import Bools, Ints, Text
from stream_infer.state import Array, StateError, end_to_end, pack_text

# A flood of distinct feedback for one prediction must not grow its packed state without end.
FEEDBACK_ROWS_MAX = 1000


_Found = tuple[Rows, Ints]  # rows, and the slot of each one's decision or -1


class FeedbackJoin:
    """The join of one task, and its state. features: width of the decisions' feature matrix; segmented: decisions have a segment.

    ValueError for an unknown `take`.
    """

    def __init__(self, settings: FeedbackSettings, features: int, *, segmented: bool = False) -> None:
        if settings.take not in TAKES:
            raise ValueError(f"take {settings.take!r}: expected one of {', '.join(TAKES)}")
        self._settings, self._features, self._segmented = settings, features, segmented
        self._clear()

    def _clear(self) -> None:
        self._pending = Pending(self._settings.wait_ms_max, self._features, segmented=self._segmented)
        self._early = Early(self._settings.early_ms_max)
        self._decisions, self._feedback = no_rows(self._pending.rows.dtype), no_rows(FEEDBACK_DTYPE)  # those beyond `reached`
        self._sequence = self._sequence_written = 0
        self._moved: dict[bytes, None] = {}  # keys of held and early rows that came or went since the last changes()
        self._written: set[bytes] = set()  # keys of those that are in the changelog

    def apply(self, decisions: Decisions, feedback: FeedbackRows, reached: int) -> Joined:
        """Take up new rows; give the decisions that are final and the feedback that counts for nothing.

        reached: all rows with order_key ≤ reached are in this call or were in earlier ones; never falls. Rows beyond it are held.
        """
        dtype, first = self._pending.rows.dtype, self._sequence
        self._sequence += len(decisions.event_time) + len(feedback.labels)
        self._move_held()
        held_decisions = concat_rows([self._decisions, rows_of_decisions(decisions, dtype, first)]).sorted()
        held_feedback = concat_rows([self._feedback, rows_of_feedback(feedback, first + len(decisions.event_time))]).sorted()
        outcome, upto = Outcome(), None
        while upto != reached:
            now_decisions, now_feedback, upto = self._window(held_decisions, held_feedback, reached)
            self._pass(now_decisions, now_feedback, upto, outcome)
            held_decisions = held_decisions.take(slice(len(now_decisions[0]), None))
            held_feedback = held_feedback.take(slice(len(now_feedback[0]), None))
        self._decisions, self._feedback = held_decisions, held_feedback
        self._move_held()
        return self._joined(outcome)

    def _window(self, decisions: Rows, feedback: Rows, reached: int) -> tuple[_Found, _Found, int]:
        """The rows to be worked through together now, and the order key up to which they reach.

        It ends before the first row whose id belongs to a decision that is to be forgotten by then: that must happen first.
        """
        keys = [int(rows.fixed["order_key"][0]) for rows in (decisions, feedback) if len(rows)]
        # A decision of this window lives for at least wait_ms_max beyond its own key, so within it nothing of itself expires.
        upto = min([reached, *(key + self._settings.wait_ms_max for key in keys)])
        found = [(now, self._pending.find(now.ids)) for now in (_until(decisions, upto), _until(feedback, upto))]
        first = min(self._pending.first_expired(slots, now.fixed["order_key"]) for now, slots in found)
        if first <= upto:
            upto = first - 1
            found = [(_until(now, upto), slots[: len(_until(now, upto))]) for now, slots in found]
        return found[0], found[1], upto

    def _pass(self, decisions: _Found, feedback: _Found, upto: int, outcome: Outcome) -> None:
        repeats = self._pending.open(*decisions)
        outcome.counts["decisions"] += len(decisions[0]) - repeats
        outcome.counts["decisions_repeated"] += repeats
        waiting = self._early.take(decisions[0].ids.tolist()) if len(self._early) else []
        if waiting or (feedback[1] < 0).any():
            rows = concat_rows([feedback[0], *waiting]).sorted()
            feedback = rows, self._pending.find(rows.ids)  # once more: some were opened just now
        self._count(*feedback, upto, outcome)
        expired = self._early.expired(upto)
        for row in expired:
            outcome.give_back(row, self._unknown(), self._settings.early_ms_max)
        self._move([*waiting, *expired])
        outcome.end_of_pass()
        slots = self._pending.due(upto)
        outcome.closed.append((self._pending.ids[slots], self._pending.rows[slots], self._pending.due_at[slots]))
        self._pending.close(slots)
        self._pending.forget(upto)

    def _count(self, feedback: Rows, slots: Ints, upto: int, outcome: Outcome) -> None:
        """Sort feedback rows into those that count, early ones, and those that go back."""
        if not len(feedback):
            return
        pending, settings = self._pending, self._settings
        keys, labelled = feedback.fixed["order_key"], ~np.isnan(feedback.fixed["label"])
        known = (slots >= 0) & labelled
        too_early = known & (keys < pending.rows["order_key"][slots] - settings.early_ms_max)
        late = known & ~too_early & (keys > pending.rows["event_time"][slots] + settings.wait_ms_max)
        in_time = known & ~too_early & ~late
        self._take(feedback.take(in_time), slots[in_time], outcome)
        waits = (slots < 0) & labelled & (keys + settings.early_ms_max > upto)
        if in_time.all():
            return
        repeated = np.zeros_like(late)
        repeated[late] = pending.has_seen(slots[late], feedback.fixed["name"][late])
        outcome.counts["feedback_repeated"] += int(repeated.sum())
        outcome.give_back(feedback.take(late & ~repeated), f"late: more than {settings.wait_ms_max} ms after its prediction")
        outcome.give_back(feedback.take(~labelled), "incomplete: without a label or a prediction id")
        unknown = feedback.take(too_early | (labelled & (slots < 0) & ~waits))
        outcome.give_back(unknown, self._unknown(), settings.early_ms_max)
        self._early.keep(feedback.take(waits))
        self._move([feedback.take(waits)])

    def _unknown(self) -> str:
        return f"unknown: no prediction has this id, or only one more than {self._settings.early_ms_max} ms later"

    def _take(self, feedback: Rows, slots: Ints, outcome: Outcome) -> None:
        """Bring labels that are in time to their decisions, in order, each feedback id once."""
        fresh = self._first_of_its_name(feedback, slots, outcome)
        slots, labels, rows = slots[fresh], feedback.fixed["label"][fresh], self._pending.rows
        if self._settings.take == "last":
            rows["label"][slots] = labels  # of several for one slot, the last is what stays
        elif self._settings.take == "sum":
            np.add.at(rows["label"], slots, labels)
        else:
            of, first = np.unique(slots, return_index=True)
            bare = rows["rows"][of] == 0
            rows["label"][of[bare]] = labels[first[bare]]
            if self._settings.take == "max":
                np.maximum.at(rows["label"], slots, labels)
        np.add.at(rows["rows"], slots, 1)
        outcome.counts["feedback"] += len(slots)
        self._pending.touch(slots)

    def _first_of_its_name(self, feedback: Rows, slots: Ints, outcome: Outcome) -> Bools:
        fresh, full = np.ones(len(slots), dtype=np.bool_), np.zeros(len(slots), dtype=np.bool_)
        for place, (slot, name) in enumerate(zip(slots.tolist(), feedback.fixed["name"].tolist(), strict=True)):
            seen = self._pending.seen[slot]
            if seen is None:
                self._pending.seen[slot] = [name]
            elif name in seen or len(seen) == FEEDBACK_ROWS_MAX:
                fresh[place], full[place] = False, name not in seen
            else:
                seen.append(name)
        outcome.counts["feedback_repeated"] += int((~fresh & ~full).sum())
        outcome.give_back(feedback.take(full), f"too many: its prediction has {FEEDBACK_ROWS_MAX} feedback rows already")
        return fresh

    def _joined(self, outcome: Outcome) -> Joined:
        ids, rows, closed_at = (np.concatenate(parts) for parts in zip(*outcome.closed, strict=True))
        absent = np.nan if self._settings.absent is None else self._settings.absent
        answer, labels = rows["answer"].copy(), np.where(rows["rows"] > 0, rows["label"], absent)
        outcome.counts["joined"] += len(ids)
        outcome.counts["never"] += int((rows["rows"] == 0).sum())
        return Joined(
            ids=Text.of(ids.tolist()),
            event_time=rows["event_time"].copy(),
            closed_at=closed_at,
            arm=rows["arm"].astype(np.int64),
            propensity=rows["propensity"].copy(),
            policy_version=rows["policy_version"].copy(),
            answer=answer,
            features=np.ascontiguousarray(rows["features"]),
            labels=labels,
            rewards=reward(self._settings.reward, answer, labels),
            feedback_rows=rows["rows"].astype(np.int64),
            returned=outcome.returned,
            counts=outcome.counts,
            segment=rows["segment"].copy() if self._segmented else None,
        )

    def _move(self, rows: list[Rows]) -> None:
        for part in rows:
            self._moved.update(dict.fromkeys(pack_waiting(part)))

    def _move_held(self) -> None:
        self._move([self._decisions, self._feedback])

    def _waiting(self) -> dict[bytes, bytes]:
        return {key: value for rows in (self._decisions, self._feedback, *self._early.rows()) for key, value in pack_waiting(rows).items()}

    def changes(self) -> tuple[Text, Text]:
        """Keys and values of what changed; see Store."""
        ids, packed = self._pending.changes()
        waiting = self._waiting() if self._moved else {}
        # A row that was read back is held, sorted out and early again: it moved, but what is written of it still holds.
        moved = [key for key in self._moved if key not in self._written or key not in waiting]
        keys = [b"P" + key for key in ids] + moved
        values = packed + [waiting.get(key) for key in moved]
        self._written = self._written.union(moved).intersection(waiting) if moved else self._written
        if self._sequence != self._sequence_written:
            keys.append(META)
            values.append(pack_meta(self._sequence))
        self._moved, self._sequence_written = {}, self._sequence
        return pack_text(keys), pack_text(values)

    def restore(self, keys: Text, values: Text) -> None:
        """Apply changelog records; see Store. Early rows are held again: the next call sorts them out as before."""
        latest = {key or b"": value for key, value in zip(keys.raw(), values.raw(), strict=True)}
        ids = [key for key in latest if key[:1] == b"P"]
        self._pending.restore([key[1:] for key in ids], [latest[key] for key in ids])
        self._pending.changes()
        waiting: dict[bytes, bytes | None] = {**self._waiting(), **{key: value for key, value in latest.items() if key[:1] in (b"D", b"F")}}
        kept = {key: value for key, value in sorted(waiting.items(), key=lambda item: number_of(item[0])) if value is not None}
        self._early = Early(self._settings.early_ms_max)
        self._decisions = unpack_waiting({key: value for key, value in kept.items() if key[:1] == b"D"}, self._pending.rows.dtype)
        self._feedback = unpack_waiting({key: value for key, value in kept.items() if key[:1] == b"F"}, FEEDBACK_DTYPE)
        self._moved, self._written = {}, set(kept)
        meta = latest.get(META)
        if meta is not None:
            self._sequence = self._sequence_written = unpack_meta(meta)

    def snapshot(self) -> dict[str, Array]:
        """Everything as keys and values end to end; see Store."""
        slots, waiting = self._pending.slots(), self._waiting()
        keys = pack_text([*(b"P" + key for key in self._pending.ids[slots]), *waiting, META])
        values = pack_text([*self._pending.pack(slots), *waiting.values(), pack_meta(self._sequence)])
        width = np.array([self._features])
        return {"keys": keys.blob, "key_size": keys.size, "values": values.blob, "value_size": values.size, "features": width}

    def load(self, arrays: dict[str, Array]) -> None:
        """Become the object that gave the snapshot; see Store."""
        if arrays["features"].tolist() != [self._features]:
            raise StateError(f"the join's snapshot has {arrays['features'].tolist()} features, expected {self._features}")
        self._clear()
        self.restore(end_to_end(arrays["keys"], arrays["key_size"]), end_to_end(arrays["values"], arrays["value_size"]))

    def bytes_used(self) -> int:
        """Arrays of the pending decisions and an estimate for what Python holds; see Store."""
        return self._pending.bytes_used() + 600 * (len(self._early) + len(self._feedback)) + self._decisions.fixed.nbytes


def _until(rows: Rows, upto: int) -> Rows:
    """The sorted rows with order keys up to `upto`."""
    return rows.take(slice(0, int(np.searchsorted(rows.fixed["order_key"], upto, side="right"))))
