"""A join fed in calls, and its oracle: a slow function of the whole history, id by id, that knows of no calls, slots or packed state."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from stream_infer.feedback import Decisions, FeedbackJoin, FeedbackRows, Joined
from stream_infer.feedback_settings import FeedbackSettings, RewardSettings
from stream_infer.records import Text
from stream_infer.state import pack_text

REWARD = RewardSettings("closeness", scale=10.0)


@dataclass
class Row:
    """A decision (label None) or a feedback row of one id."""

    id: str
    time: int
    label: float | None = None
    name: str | None = None
    key: int = 0
    number: int = 0  # order of arrival within its log

    @property
    def address(self) -> str:
        return f"feedback-0-{self.number}"


def logs(rows: list[Row]) -> list[Row]:
    """Order keys as each channel has them, then both logs merged by them."""
    for is_feedback in (False, True):
        latest = 0
        for number, row in enumerate(r for r in rows if (r.label is not None) == is_feedback):
            latest = max(latest, row.time)
            row.key, row.number = latest, number
    return sorted(rows, key=lambda row: row.key)


def decisions_of(rows: list[Row]) -> Decisions:
    rows = [row for row in rows if row.label is None]
    number = np.array([row.number for row in rows], dtype=np.int64)
    return Decisions(
        Text.of([row.id for row in rows]),
        np.array([row.time for row in rows], dtype=np.int64),
        np.array([row.key for row in rows], dtype=np.int64),
        number % 3,
        1 / (1 + number),
        number * 7,
        number * 0.5,
        np.stack([number, -number], axis=1).astype(np.float32),
    )


def feedback_of(rows: list[Row], named: bool) -> FeedbackRows:
    rows = [row for row in rows if row.label is not None]
    return FeedbackRows(
        Text.of([row.id or None for row in rows]),
        np.array([row.time for row in rows], dtype=np.int64),
        np.array([row.key for row in rows], dtype=np.int64),
        np.array([row.label for row in rows], dtype=np.float64),
        Text.of([row.name for row in rows]) if named else None,
        Text.of([row.address for row in rows]),
    )


@dataclass
class Life:
    """A decision from its coming to its being forgotten."""

    row: Row
    close: int
    final: int
    expiry: int
    taken: list[tuple[str, float]] = field(default_factory=list)


def oracle(rows: list[Row], how: FeedbackSettings, named: bool, reached: int) -> tuple[list[tuple], list[tuple], Counter[str]]:
    """(joined rows, returned rows, counts)."""
    lives: dict[str, list[Life]] = {}
    counts: Counter[str] = Counter()
    for row in (r for r in rows if r.label is None and r.key <= reached):
        of_id = lives.setdefault(row.id, [])
        if of_id and row.key <= of_id[-1].expiry:
            counts["decisions_repeated"] += 1
            continue
        close = row.time + how.wait_ms_max
        final = max(close + 1, row.key)
        of_id.append(Life(row, close, final, final + how.wait_ms_max))
        counts["decisions"] += 1
    back: list[tuple[int, int, str, str]] = []
    for row in (r for r in rows if r.label is not None and r.key <= reached):
        life = next((one for one in lives.get(row.id, []) if row.key <= one.expiry), None)
        name = row.name if named and row.name is not None else row.address
        if np.isnan(row.label) or not row.id:
            back.append((row.key, row.number, row.address, "incomplete"))
        elif life is None or row.key < life.row.key - how.early_ms_max:
            if row.key + how.early_ms_max <= reached:
                back.append((row.key + how.early_ms_max, row.number, row.address, "unknown"))
        elif name in [taken for taken, _ in life.taken]:
            counts["feedback_repeated"] += 1
        elif row.key > life.close:
            back.append((row.key, row.number, row.address, "late"))
        else:
            life.taken.append((name, row.label))
            counts["feedback"] += 1
    joined = []
    for life in sorted((one for of_id in lives.values() for one in of_id), key=lambda one: (one.final, one.row.number)):
        if life.final <= reached:
            labels = [label for _, label in life.taken]
            take = {"first": lambda x: x[0], "last": lambda x: x[-1], "sum": sum, "max": max}[how.take]
            label = float(take(labels)) if labels else (np.nan if how.absent is None else how.absent)
            number = life.row.number
            reward = 1.0 - min(abs(number * 0.5 - label) / 10, 1.0) if label == label else np.nan
            answers = (number % 3, 1 / (1 + number), number * 7, number * 0.5, [float(number), float(-number)])
            joined.append((life.row.id, life.row.time, life.final, *answers, label, reward, len(labels)))
    for _, _, _, reason in back:
        counts[f"feedback_{reason}"] += 1
    counts["joined"] = len(joined)
    counts["never"] = sum(row[-1] == 0 for row in joined)
    return joined, [(address, reason) for _, _, address, reason in sorted(back)], counts


def rows_of(joined: Joined) -> list[tuple]:
    columns = [
        joined.ids.to_list(),
        joined.event_time,
        joined.closed_at,
        joined.arm,
        joined.propensity,
        joined.policy_version,
        joined.answer,
    ]
    columns += [joined.features, joined.labels, joined.rewards, joined.feedback_rows]
    return list(zip(*(column if isinstance(column, list) else column.tolist() for column in columns), strict=True))


def back_of(joined: Joined) -> list[tuple[str, str]]:
    return [(a.decode(), r.split(":")[0]) for a, r in zip(joined.returned.address, joined.returned.reason, strict=True)]


class Run:
    """A join fed in calls, with its changelog; what came out so far."""

    def __init__(self, how: FeedbackSettings, named: bool) -> None:
        self.how, self.named, self.join = how, named, FeedbackJoin(how, 2)
        self.log: dict[bytes, bytes | None] = {}
        self.joined: list[tuple] = []
        self.back: list[tuple[str, str]] = []
        self.counts: Counter[str] = Counter()

    def feed(self, rows: list[Row], reached: int) -> None:
        out = self.join.apply(decisions_of(rows), feedback_of(rows, self.named), reached)
        self.joined += rows_of(out)
        self.back += back_of(out)
        self.counts += out.counts
        keys, values = (part.raw() for part in self.join.changes())
        assert len(set(keys)) == len(keys)
        self.log |= dict(zip(keys, values, strict=True))

    def restart(self, how: str) -> None:
        old, self.join = self.join, FeedbackJoin(self.how, 2)
        if how == "changelog":
            keys, values = list(self.log), list(self.log.values())
            half = len(keys) // 2
            self.join.restore(pack_text(keys[:half]), pack_text(values[:half]))
            self.join.restore(pack_text(keys[half:]), pack_text(values[half:]))
        else:
            file = io.BytesIO()
            np.savez(file, **old.snapshot())
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                self.join.load(dict(arrays))
        assert [len(part) for part in self.join.changes()] == [0, 0]
