"""Rows that come after their deadline, and how rows are asked for. Oracles: a wall clock set by hand; probes that answer their inputs."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.batching import BatchSettings, CostCurve, Sizing
from stream_infer.decide.settings import DeadlineSettings
from stream_infer.flow.asking import costs
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.deciding import Decider
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.versions import VersionTable
from stream_infer.records import Column, Lists, Numbers, Text
from stream_infer.topology.plan import DecideStep
from tests.support_flow import Pay, payment, plan_of

STAGES = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  cheap: {kind: linear, artifact: none.safetensors, inputs: [amount, at_ms]}
stages:
  score: {kind: model, from: payments, model: probe%s}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""
UNUSED = "  cheap: {kind: linear, artifact: none.safetensors, inputs: [amount, at_ms]}\n"


def stages(late: str) -> str:
    text = STAGES % f", deadline_ms: 1500, late: {late}"
    return text if "fallback" in late else text.replace(UNUSED, "")


def run(late: str, *, deterministic: bool = False) -> Pay:
    """Payments at seconds 0 to 4 come to be answered at second 4: those of seconds 0, 1 and 2 are late."""
    pay = Pay(plan_of(stages(late)))
    pay.send("payments", *(payment(number) for number in range(5)))
    worker = pay.worker(deterministic=deterministic, wall=lambda: 4_000)
    pay.settle(worker, done=None if deterministic else lambda: worker.flow.stats.rows_in == 5 and worker.settled())
    pay.step(worker, times=20)  # until the commit is over
    pay.late = dict(worker.flow.sizing.late)  # type: ignore[attr-defined]
    return pay


def late_of(pay: Pay) -> object:
    return pay.late  # type: ignore[attr-defined]


ALL = [f"p{number}" for number in range(5)]


def test_serve_answers_them_all_the_same_and_counts() -> None:
    pay = run("serve")
    assert sorted(pay.ids()) == ALL
    assert late_of(pay) == {("score", "serve"): 3}


def test_drop_passes_them_over_and_says_how_many() -> None:
    pay = run("drop")
    assert sorted(pay.ids()) == ["p3", "p4"]
    assert pay.reasons() == []
    assert late_of(pay) == {("score", "drop"): 3}


def test_topic_rejects_them_and_says_how_late_they_were() -> None:
    pay = run("topic")
    assert sorted(pay.ids()) == ["p3", "p4"]
    assert sorted(pay.reasons()) == [(0, "late by 2500 ms"), (1, "late by 1500 ms"), (2, "late by 500 ms")]
    assert late_of(pay) == {("score", "topic"): 3}


def test_fallback_answers_them_by_the_other_model_and_every_answer_names_its_own() -> None:
    pay = run("fallback, fallback: cheap")
    found = {str(read.row["prediction_id"]): read.row for read in pay.predictions()}
    assert sorted(found) == ALL
    for number, name in enumerate(ALL):
        row = found[name]
        assert (row["model"], row["propensity"]) == (("cheap", 1.0) if number < 3 else ("probe", 1.0))
        width = 2 if number < 3 else 1
        assert row["outputs"][:width] == [number, 1000.0 * number][:width]
        assert row["propensities"] == [1.0, 0.0], "no draw gives the fallback"


@pytest.mark.parametrize("late", ["drop", "topic", "fallback, fallback: cheap"])
def test_nothing_is_late_in_a_deterministic_run(late: str) -> None:
    pay = run(late, deterministic=True)
    assert sorted(pay.ids()) == ALL
    assert pay.reasons() == []
    assert late_of(pay) == {}


def test_chunks_end_within_the_deadline_while_little_waits() -> None:
    """A row takes 50 ms: with 250 ms, four may be taken at once; in a backlog, as many as there is time for until a commit is due."""
    text = STAGES.replace("interval_ms: 1}", "interval_ms: 500}")
    plan = plan_of((text % ", deadline_ms: 250").replace(UNUSED, ""))
    slow = BatchSettings(curve=CostCurve((1, 4096), (0.05, 0.05 * 4096)))
    pay = Pay(replace(plan, models={"probe": replace(plan.models["probe"], batch=slow)}))
    pay.send("payments", *(payment(number) for number in range(20)))
    worker = pay.worker(wall=lambda: 0)
    pay.settle(worker, done=lambda: len(pay.ids()) == 20)
    cuts = Counter(read.row["cut"] for read in pay.predictions())
    assert max(cuts.values()) == 4
    worker.flow.sizing.waiting(10**6)
    pay.send("payments", *(payment(number) for number in range(20, 40)))
    pay.settle(worker, done=lambda: len(pay.ids()) == 40)
    assert max(Counter(read.row["cut"] for read in pay.predictions()).values()) == 10, "a backlog"


# ------------------------------------------------------------------------------------------------------- how rows are asked for


def flowing(amounts: list[float], times: list[int] | None = None) -> Flowing:
    count = len(amounts)
    at = np.array(times if times is not None else range(count), dtype=np.int64)
    columns: dict[str, Column] = {"amount": Numbers(np.array(amounts)), "payment": Text.of(f"p{n}" for n in range(count))}
    numbers = np.arange(count, dtype=np.int64)
    return Flowing("payments", np.zeros(count, dtype=np.int64), numbers, at, at, numbers, columns)


def decider(batch: BatchSettings, *, live: bool, after_ms: str = "") -> tuple[Decider, Sizing]:
    plan = plan_of((STAGES % after_ms).replace(UNUSED, ""))
    step = plan.sections[0].steps[-1]
    assert isinstance(step, DecideStep)
    models = {"probe": replace(plan.models["probe"], batch=batch)}
    sizing = Sizing({"probe": batch}, live=live)
    versions = VersionTable({})
    return Decider(step, plan.streams["payments"], models, versions, itertools.count(1).__next__, sizing), sizing


def asked(made: Decider, rows: Flowing) -> list[Forward]:
    return [command for command in made.begin(rows)[2] if isinstance(command, Forward)]


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.sampled_from(
        [
            BatchSettings(rows_max=7),
            BatchSettings(sizes=(4, 8)),
            BatchSettings(rows_max=9, cost="amount", cost_max=40.0),
            BatchSettings(rows_max=9, cost="amount", cost_max=60.0, buckets=(5.0, 20.0)),
        ]
    ),
    st.booleans(),
)
def test_every_row_is_in_exactly_one_pass_within_the_limits_and_gets_its_own_answer(
    amounts: list[int], batch: BatchSettings, live: bool
) -> None:
    made, _ = decider(batch, live=live)
    choice, _, commands = made.begin(flowing([float(amount) for amount in amounts]))
    forwards = [command for command in commands if isinstance(command, Forward)]
    assert sorted(np.concatenate([forward.matrix[:, 0] for forward in forwards]).tolist()) == sorted(amounts)
    for forward in forwards:
        count = len(forward.matrix)
        assert count <= (batch.sizes[-1] if batch.sizes else batch.rows_max or 0)
        assert batch.cost_max is None or count == 1 or forward.matrix.sum() <= batch.cost_max
        assert (forward.together is not None) == (live and not batch.buckets)
        assert forward.sizes == batch.sizes
    for forward in reversed(forwards):
        made.done(forward.job, 10.0 * forward.matrix.astype(np.float64))
    assert choice is not None
    assert choice.outputs["probe"][:, 0].tolist() == [10.0 * amount for amount in amounts]


def test_a_shared_pass_is_bounded_by_the_slack_of_the_oldest_row_that_can_still_be_in_time() -> None:
    curve = CostCurve.fit((n, 2e-3 + 5e-5 * n) for n in (1, 64, 4096))
    made, sizing = decider(BatchSettings(curve=curve), live=True, after_ms=", deadline_ms: 50")
    sizing.wall_ms = 1_000
    (forward,) = asked(made, flowing([1.0, 1.0, 1.0], [900, 965, 990]))  # late; 15 ms left; 40 ms left
    assert forward.together == Together(230, "deadline", 15.0)
    (forward,) = asked(made, flowing([1.0], [5_000]))
    assert forward.together is not None
    assert forward.together.slack_ms == 50.0, "a clock ahead of ours gains no time"
    (forward,) = asked(made, flowing([1.0], [10]))
    assert forward.together == Together(curve.best(), "full", None), "late anyway"


def test_a_cost_is_a_number_or_the_length_of_a_list_and_never_nonsense() -> None:
    lists = Lists(np.zeros(5), np.array([0, 3, 3]), np.array([3, 0, 2]))
    assert costs(lists).tolist() == [3, 0, 2]
    odd = Numbers(np.array([1.5, np.nan, -3.0, np.inf, 7.0]), np.array([True, True, True, True, False]))
    assert costs(odd).tolist() == [1.5, 0.0, 0.0, 1e15, 0.0]
    assert costs(Text.of(["a"])).tolist() == [0.0]


def test_what_the_topology_says_of_batches_and_deadlines_is_in_the_plan() -> None:
    batch = "batch: {rows_max: 64, cost: amount, cost_max: 500, buckets: [8, 16.5]}"
    text = (STAGES % ", deadline_ms: 250, late: fallback, fallback: cheap").replace("inputs: [amount]}", f"inputs: [amount], {batch}}}")
    plan = plan_of(text.replace("inputs: [amount, at_ms]}", "inputs: [amount, at_ms], batch: {sizes: [4, 16]}}"))
    assert plan.models["probe"].batch == BatchSettings(64, (), "amount", 500.0, (8.0, 16.5))
    assert plan.models["cheap"].batch == BatchSettings(sizes=(4, 16))
    step = plan.sections[0].steps[-1]
    assert isinstance(step, DecideStep)
    assert (step.arms, step.deadline) == (("probe", "cheap"), DeadlineSettings(250, "fallback"))
