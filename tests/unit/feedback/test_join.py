"""Oracle: a slow function of the whole history, id by id, that knows nothing of calls, slots or packed state."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.feedback import Decisions, FeedbackJoin, FeedbackRows, Joined
from stream_infer.feedback.join import FEEDBACK_ROWS_MAX
from stream_infer.feedback_settings import FeedbackSettings, RewardSettings
from stream_infer.records import Text
from stream_infer.state import StateError, Store, pack_text

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


ids = st.sampled_from("abc")
labels = st.integers(-3, 8).map(float) | st.just(float("nan"))
decision = st.builds(Row, ids, st.integers(0, 9))
feedback = st.builds(Row, st.sampled_from(["a", "b", "c", "d", ""]), st.integers(0, 9), labels, st.none() | st.sampled_from("xyz"))
# Times drift upwards over a history, with disorder and sometimes a leap, so that decisions live, end and are forgotten.
histories = st.lists(st.tuples(decision | feedback, st.sampled_from([0, 0, 1, 2, 5, 40])), max_size=30)
hows = st.builds(
    FeedbackSettings,
    on=st.just("id"),
    label=st.just("y"),
    wait_ms_max=st.sampled_from([0, 1, 4, 10]),
    reward=st.just(REWARD),
    take=st.sampled_from(["first", "last", "sum", "max"]),
    absent=st.none() | st.just(0.25),
    early_ms_max=st.sampled_from([0, 3, 12]),
)


def drifting(history: list[tuple[Row, int]]) -> list[Row]:
    base, rows = 0, []
    for row, step in history:
        base += step
        rows.append(Row(row.id, base + row.time, row.label, row.name))
    return logs(rows)


@settings(max_examples=100, deadline=None)
@given(histories, hows, st.booleans(), st.data())
def test_the_join_is_a_function_of_the_logs(history: list, how: FeedbackSettings, named: bool, data: st.DataObject) -> None:
    rows = drifting(history)
    run, place, reached = Run(how, named), 0, -1
    while place < len(rows):
        end = data.draw(st.integers(place, len(rows)))
        # Everything up to `reached` has been given; how far that lags behind what was given is up to the caller.
        highest = rows[end].key - 1 if end < len(rows) else rows[-1].key
        reached = max(reached, data.draw(st.integers(-1, highest)))
        run.feed(rows[place:end], reached)
        expected = oracle(rows[:end], how, named, reached)
        assert same(run.joined, expected[0])
        assert run.back == expected[1]
        assert +run.counts == +expected[2]
        place = end
        restart = data.draw(st.sampled_from(["no", "no", "changelog", "snapshot"]))
        if restart != "no":
            run.restart(restart)
    last = reached + data.draw(st.integers(0, 60))
    run.feed([], last)
    expected = oracle(rows, how, named, last)
    assert same(run.joined, expected[0])
    assert run.back == expected[1]
    assert +run.counts == +expected[2]


def same(got: list[tuple], expected: list[tuple]) -> bool:
    return repr(got) == repr(expected)


HOW = FeedbackSettings("id", "y", wait_ms_max=10, reward=REWARD, early_ms_max=5)


def run_of(*rows: Row, reached: int, how: FeedbackSettings = HOW, named: bool = True) -> Run:
    run = Run(how, named)
    run.feed(logs(list(rows)), reached)
    return run


def test_it_is_a_store() -> None:
    assert isinstance(FeedbackJoin(HOW, 2), Store)


@pytest.mark.parametrize(
    ("key", "outcome"),
    [(94, "unknown"), (95, "counts"), (100, "counts"), (110, "counts"), (111, "late"), (121, "late"), (122, "unknown")],
)
def test_the_edges_of_the_wait(key: int, outcome: str) -> None:
    rows = [Row("a", 100), Row("a", key, 1.0, "x")]
    run = run_of(*rows, reached=500)
    assert run.back == ([] if outcome == "counts" else [("feedback-0-0", outcome)])
    assert [row[-1] for row in run.joined] == [int(outcome == "counts")]


def test_a_decision_is_final_one_ms_after_the_wait_and_not_before() -> None:
    run = run_of(Row("a", 100), reached=110)
    assert run.joined == []
    run.feed([], 111)
    assert [row[0] for row in run.joined] == ["a"]


@pytest.mark.parametrize(("take", "label"), [("first", 2.0), ("last", -1.0), ("sum", 6.0), ("max", 5.0)])
def test_takes(take: str, label: float) -> None:
    how = FeedbackSettings("id", "y", 10, REWARD, take=take)
    rows = [Row("a", 0), Row("a", 1, 2.0, "x"), Row("a", 2, 5.0, "y"), Row("a", 3, 2.0, "x"), Row("a", 4, -1.0, "z")]
    run = run_of(*rows, reached=50, how=how)
    assert run.joined[0][8] == label
    assert run.joined[0][10] == 3
    assert run.counts["feedback_repeated"] == 1


def test_the_largest_of_negative_labels_is_negative() -> None:
    how = FeedbackSettings("id", "y", 10, REWARD, take="max")
    run = run_of(Row("a", 0), Row("a", 1, -5.0, "x"), Row("a", 2, -2.0, "y"), reached=50, how=how)
    assert run.joined[0][8] == -2.0


def test_a_repeat_after_the_end_is_called_a_repeat() -> None:
    run = run_of(Row("a", 0), Row("a", 5, 1.0, "x"), reached=12)
    run.feed([Row("a", 15, 1.0, "x", key=15, number=1), Row("a", 15, 1.0, "y", key=15, number=2), Row("a", 13, key=15, number=1)], 20)
    assert run.counts["feedback_repeated"] == 1
    assert run.counts["decisions_repeated"] == 1
    assert run.back == [("feedback-0-2", "late")]
    assert len(run.joined) == 1


def test_no_feedback_is_seen_as_nan_or_as_the_default() -> None:
    assert np.isnan(run_of(Row("a", 0), reached=50).joined[0][8])
    how = FeedbackSettings("id", "y", 10, REWARD, absent=0.0)
    run = run_of(Row("a", 0), reached=50, how=how)
    assert run.joined[0][8] == 0.0
    assert run.counts["never"] == 1


def test_a_flood_for_one_prediction_has_an_end() -> None:
    rows = [Row("a", 0), *(Row("a", 1, 1.0, f"n{i}") for i in range(FEEDBACK_ROWS_MAX + 3))]
    how = FeedbackSettings("id", "y", 10, REWARD, take="sum")
    run = run_of(*rows, reached=50, how=how)
    assert run.joined[0][8] == FEEDBACK_ROWS_MAX
    assert run.back == [(f"feedback-0-{FEEDBACK_ROWS_MAX + i}", "too many") for i in range(3)]


def test_the_log_ends_empty_but_for_the_counter() -> None:
    run = run_of(Row("a", 0), Row("b", 3, 1.0, "x"), Row("a", 5, 1.0, "x"), reached=4)
    run.feed([], 1000)
    assert [key for key, value in run.log.items() if value is not None] == [b"M"]


def test_a_restored_join_writes_the_same_changes() -> None:
    rows = logs([Row(key, t) for t, key in enumerate("abcdefgh")] + [Row(key, t + 4, float(t), "x") for t, key in enumerate("aabbxcde")])
    whole, again = Run(HOW, True), Run(HOW, True)
    for run in (whole, again):
        run.feed(rows[:9], rows[9].key - 1)
    again.restart("changelog")
    for run in (whole, again):
        run.feed(rows[9:], 17)
    assert again.log == whole.log


def test_many_pending_decisions_grow_the_table() -> None:
    rows = logs([Row(f"id{i}", 0) for i in range(1000)] + [Row(f"id{i}", 5, float(i), "x") for i in range(0, 1000, 3)])
    run = Run(HOW, True)
    run.feed(rows[:700], -1)
    run.feed(rows[700:], 5)
    run.restart("snapshot")
    run.feed([], 11)
    assert [row[0] for row in run.joined] == [f"id{i}" for i in range(1000)]
    assert [row[8] for row in run.joined[::3]] == [float(i) for i in range(0, 1000, 3)]


def test_state_of_another_width_or_format_is_refused() -> None:
    run = run_of(Row("a", 0), Row("b", 9, 1.0, "x"), reached=5)
    keys, values = list(run.log), list(run.log.values())
    with pytest.raises(StateError):
        FeedbackJoin(HOW, 3).restore(pack_text(keys), pack_text(values))
    with pytest.raises(StateError):
        FeedbackJoin(HOW, 3).load(run.join.snapshot())
    for key, value in zip(keys, values, strict=True):
        with pytest.raises(StateError):
            FeedbackJoin(HOW, 2).restore(pack_text([key]), pack_text([b"\x02" + value[1:]]))
        with pytest.raises(StateError):
            FeedbackJoin(HOW, 2).restore(pack_text([key]), pack_text([value[:5]]))


def test_a_segment_travels_with_its_decision_and_is_part_of_the_format() -> None:
    rows = logs([Row("a", 0), Row("b", 1), Row("b", 2, 1.0, "x")])
    decisions, nothing = decisions_of(rows), logs([])
    decisions.segment = np.array([7, -3])
    one, two, plain = FeedbackJoin(HOW, 2, segmented=True), FeedbackJoin(HOW, 2, segmented=True), FeedbackJoin(HOW, 2)
    one.apply(decisions, feedback_of(rows, True), 2)
    written, snapshot = one.changes(), one.snapshot()
    two.restore(*written)
    joined = two.apply(decisions_of(nothing), feedback_of(nothing, True), 10**6)
    assert (joined.ids.to_list(), joined.segment is not None and joined.segment.tolist()) == (["a", "b"], [7, -3])
    with pytest.raises(StateError):
        plain.restore(*written)
    with pytest.raises(StateError):
        FeedbackJoin(HOW, 2).load(snapshot)
    plain.apply(decisions_of(rows), feedback_of(rows, True), 2)
    with pytest.raises(StateError):
        FeedbackJoin(HOW, 2, segmented=True).restore(*plain.changes())


def test_an_unknown_take_is_refused() -> None:
    with pytest.raises(ValueError, match="take 'mean'"):
        FeedbackJoin(FeedbackSettings("id", "y", 1, REWARD, take="mean"), 0)
