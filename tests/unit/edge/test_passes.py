"""Forwards that leave together. Oracle: the same forwards one by one; the limits counted by hand."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge import passes
from stream_infer.edge.enduring import Known
from stream_infer.edge.one_pass import answers
from stream_infer.edge.passes import PassQueue
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.notices import ForwardDone, ForwardFailed
from stream_infer.records import Floats, Matrix


@dataclass
class Tenfold:
    """Answers ten times the input. passes: rows of each. Fails on a negative input; a row of 99 makes it answer too little."""

    passes: list[int] = field(default_factory=list)
    columns: tuple[str, ...] = ("amount",)
    outputs: int = 1
    digest: str = ""

    def forward(self, x: Matrix) -> Floats:
        self.passes.append(len(x))
        if (x < 0).any():
            raise RuntimeError("negative")
        return (x.astype(np.float64) * 10)[: -1 if (x == 99).any() else None]


def ask(job: int, amounts: list[float], together: Together | None, *, model: str = "net", sizes: tuple[int, ...] = ()) -> Forward:
    return Forward(job, model, 0, np.array(amounts, dtype=np.float32)[:, None], together, sizes)


def all_of(queue: PassQueue) -> list[ForwardDone | ForwardFailed]:
    made, known = [], Known()
    while (taken := queue.take()) is not None:
        made += answers(taken, lambda asked, matrix: asked.model.forward(matrix), known)
    return made


def nobody(_: object) -> None:
    """The answers are returned."""


FORWARDS = st.lists(st.tuples(st.lists(st.sampled_from([1.0, 2.0, 3.0, 99.0, -1.0]), min_size=1, max_size=4), st.booleans()), max_size=8)


@given(FORWARDS, st.integers(1, 9), st.sampled_from([(), (4,), (2, 8)]))
def test_each_gets_the_answer_that_it_would_have_had_alone(
    wanted: list[tuple[list[float], bool]], most: int, sizes: tuple[int, ...]
) -> None:
    queue, model = PassQueue(), Tenfold()
    for job, (amounts, shares) in enumerate(wanted):
        queue.put(ask(job, amounts, Together(most, "full") if shares else None, sizes=sizes), model, nobody)
    made = all_of(queue)
    assert [answer.job for answer in made] == list(range(len(wanted)))
    for answer, (amounts, _) in zip(made, wanted, strict=True):
        if -1.0 in amounts:
            assert answer == ForwardFailed(answer.job, "RuntimeError: negative")
        elif 99.0 in amounts:
            assert isinstance(answer, ForwardFailed) or len(answer.outputs) == len(amounts) - 1, "seen by whoever asked for it, and told"
        else:
            assert isinstance(answer, ForwardDone)
            assert answer.outputs[:, 0].tolist() == [10 * amount for amount in amounts]


def test_forwards_of_several_tasks_make_one_pass_as_far_as_the_limit_goes() -> None:
    queue, model = PassQueue(), Tenfold()
    for job, rows in enumerate((3, 2, 4, 1)):
        queue.put(ask(job, [1.0] * rows, Together(5, "full")), model, nobody)
    done = all_of(queue)
    assert model.passes == [5, 5]
    told = [answer.passed for answer in done if isinstance(answer, ForwardDone)]
    assert [(p.rows, p.why, p.rows_max) for p in told if p is not None] == [(5, "full", 5), (5, "full", 5)]
    assert [p is None for p in told] == [False, True, False, True], "each pass is told of once"
    assert [answer.place for answer in done if isinstance(answer, ForwardDone)] == [(0, 5), (3, 5), (0, 5), (4, 5)]


@pytest.mark.parametrize(
    ("limits", "rows", "why"),
    [
        ([Together(9, "full")] * 3, [6], ["nothing_waits"]),
        ([Together(9, "full"), Together(3, "deadline"), Together(9, "full")], [2, 2, 2], ["deadline", "deadline", "nothing_waits"]),
        ([Together(9, "full", None, 3.0, 5.0)] * 3, [2, 2, 2], ["cost", "cost", "nothing_waits"]),
        ([Together(9, "full", None, 3.0, 6.0)] * 3, [4, 2], ["cost", "nothing_waits"]),
        ([None, None, Together(9, "full")], [2, 2, 2], ["full", "full", "nothing_waits"]),
        ([Together(2, "full")] * 3, [2, 2, 2], ["full"] * 3),
        ([Together(1, "deadline")] * 3, [2, 2, 2], ["deadline"] * 3),
    ],
)
def test_the_reason_why_a_batch_left(limits: list[Together | None], rows: list[int], why: list[str]) -> None:
    queue, model = PassQueue(), Tenfold()
    for job, limit in enumerate(limits):
        queue.put(ask(job, [1.0, 2.0], limit), model, nobody)
    told = [answer.passed for answer in all_of(queue) if isinstance(answer, ForwardDone)]
    assert model.passes == rows
    assert [p.why for p in told if p is not None] == why


def test_rows_of_nothing_fill_a_pass_up_and_nobody_sees_their_answers() -> None:
    queue, model = PassQueue(), Tenfold()
    queue.put(ask(1, [1.0] * 3, Together(16, "full"), sizes=(4, 16)), model, nobody)
    queue.put(ask(2, [2.0], Together(16, "full"), sizes=(4, 16)), model, nobody)
    queue.put(ask(3, [3.0] * 3, Together(16, "full"), sizes=(4, 16)), model, nobody)
    done = all_of(queue)
    assert model.passes == [4, 4], "seven rows in sixteen would be more than four and four"
    assert [len(answer.outputs) for answer in done if isinstance(answer, ForwardDone)] == [3, 1, 3]
    told = [answer.passed for answer in done if isinstance(answer, ForwardDone)]
    assert [(p.rows, p.padded) for p in told if p is not None] == [(4, 0), (3, 1)]


def test_the_model_whose_rows_are_due_first_goes_first_and_who_has_no_deadline_waits_a_second_at_most() -> None:
    queue, model = PassQueue(), Tenfold()
    queue.put(ask(1, [1.0], Together(9, "full", 5_000.0), model="patient"), model, nobody)
    queue.put(ask(2, [1.0], Together(9, "full"), model="whenever"), model, nobody)
    queue.put(ask(3, [1.0], Together(9, "full", 20.0), model="urgent"), model, nobody)
    assert [answer.job for answer in all_of(queue)] == [3, 1, 2]


def test_what_fills_a_pass_up_counts_among_its_rows_and_a_forward_alone_has_no_place() -> None:
    queue, model = PassQueue(), Tenfold()
    queue.put(ask(0, [1.0] * 3, None, sizes=(4,)), model, nobody)
    queue.put(ask(1, [1.0] * 3, None), model, nobody)
    assert [answer.place for answer in all_of(queue) if isinstance(answer, ForwardDone)] == [(0, 4), None]


# ---------------------------------------------------------------------------------------------------------------- who goes first


@dataclass
class Clock:
    """Stands in for the time at which forwards are asked."""

    now: float = 100.0

    def perf_counter(self) -> float:
        return self.now


SLACKS = st.lists(st.tuples(st.sampled_from("abc"), st.floats(1.0, 900.0), st.integers(1, 4)), min_size=1, max_size=12)


@given(SLACKS, st.lists(st.sampled_from([0.001, 0.05, 0.3]), min_size=3, max_size=3))
def test_the_next_pass_is_the_one_that_must_start_first(asked: list[tuple[str, float, int]], costs: list[float]) -> None:
    """Oracle: every waiting forward is looked at. No model is ahead of another here: nothing is ever charged."""
    queue, model, clock = PassQueue(), Tenfold(), Clock()
    seconds = dict(zip("abc", costs, strict=True))
    for name, each in seconds.items():  # each model's cost is learned from passes of 1 to 4 rows, and then nobody has used anything
        for rows in (1, 2, 4):
            queue._share(name).curve.passed(rows, each * rows)
    waiting: list[tuple[str, float, int, int]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passes, "time", clock)
        for job, (name, slack_ms, rows) in enumerate(asked):
            queue.put(ask(job, [1.0] * rows, Together(1, "full", slack_ms), model=name), model, nobody)
            waiting.append((name, clock.now + slack_ms / 1000, rows, job))
            clock.now += 0.001
        while waiting:
            fronts = {name: next(w for w in waiting if w[0] == name) for name in {w[0] for w in waiting}}
            start = {name: due - seconds[name] * rows for name, (_, due, rows, _) in fronts.items()}
            taken = queue.take()
            assert taken is not None
            name, _, rows, job = next(w for w in waiting if w[3] == taken.parts[0].command.job)
            assert start[name] <= min(start.values()) + 1e-9
            assert fronts[name][3] == job, "of one model, in the order of asking"
            assert taken.expected_s == pytest.approx(seconds[name] * rows)
            for share in queue._shares.values():
                share.used = 0.0
            waiting = [w for w in waiting if w[3] != job]
    assert queue.take() is None


@pytest.mark.parametrize("weights", [{"a": 1.0, "b": 1.0}, {"a": 3.0, "b": 1.0}, {"a": 1.0, "b": 8.0}])
@pytest.mark.parametrize("cost", [{"a": 0.01, "b": 0.01}, {"a": 0.05, "b": 0.002}])
def test_of_models_that_always_wait_each_gets_the_time_of_its_weight(weights: dict[str, float], cost: dict[str, float]) -> None:
    """Whatever their deadlines: those of a are always the nearer ones. Oracle: the bound that the module's head promises."""
    queue, model = PassQueue(weights), Tenfold()
    used, job = {"a": 0.0, "b": 0.0}, 0
    for name in ("a", "b") * 3:
        queue.put(ask(job := job + 1, [1.0], Together(1, "full", 1.0 if name == "a" else 900.0), model=name), model, nobody)
    for _ in range(2000):
        taken = queue.take()
        assert taken is not None
        name = taken.parts[0].command.model
        queue.took(taken, 1, cost[name])
        used[name] += cost[name]
        queue.put(ask(job := job + 1, [1.0], Together(1, "full", 1.0 if name == "a" else 900.0), model=name), model, nobody)
        apart = abs(used["a"] / weights["a"] - used["b"] / weights["b"])
        assert apart <= passes.AHEAD_S_MAX + 2 * max(cost[n] / weights[n] for n in cost)
    assert min(used.values()) > 0.3, "the bound says something by now"


def test_nobody_saves_up_time_by_resting() -> None:
    queue, model, job = PassQueue(), Tenfold(), 0

    def put(name: str, slack_ms: float) -> None:
        nonlocal job
        job += 1
        queue.put(ask(job, [1.0], Together(1, "full", slack_ms), model=name), model, nobody)

    for _ in range(100):  # one works for ten seconds while nobody else is there
        put("busy", 500.0)
        taken = queue.take()
        assert taken is not None
        queue.took(taken, 1, 0.1)
    for _ in range(10):
        put("busy", 1.0)
        put("rested", 900.0)
    first = [taken.parts[0].command.model for _ in range(4) if (taken := queue.take()) is not None]
    assert "busy" in first, "ten seconds are not owed to who did not ask"


def test_a_lane_is_given_only_the_models_that_it_serves_and_a_closed_queue_lets_go() -> None:
    queue, model = PassQueue(), Tenfold()
    queue.put(ask(1, [1.0], None, model="theirs"), model, nobody)
    assert queue.take({"mine"}) is None
    assert queue.rows() == {"theirs": 1}
    taken = queue.take({"theirs"})
    assert taken is not None
    assert taken.parts[0].command.job == 1
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(queue.take({"mine"}, wait_s=60)))
    thread.start()
    queue.close()
    thread.join(10)
    assert found == [None]
