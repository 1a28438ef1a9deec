"""Joined rows, returned rows and counts against the oracle of support_join; edges by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.feedback import FeedbackJoin
from stream_infer.feedback.join import FEEDBACK_ROWS_MAX
from stream_infer.feedback_settings import FeedbackSettings
from stream_infer.state import StateError, Store, pack_text
from tests.unit.feedback.support_join import REWARD, Row, Run, decisions_of, feedback_of, logs, oracle

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
