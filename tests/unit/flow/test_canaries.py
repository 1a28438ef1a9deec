"""Splits and canaries in a running task. Oracle: shares counted over all answers, and the log of changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_infer.decide.policy import draw
from stream_infer.hashing import hash64, uniform
from stream_infer.models.rollout import RESTART, REVERTED, SHARE, STEP, Change, Told, read_record
from stream_infer.records import Floats, Matrix, Text
from stream_infer.sim.forwarding import SimForwarder
from tests.support_flow import Flawed, Pay, models_of, payment, plan_of

MODELS = """
models:
  old: {kind: linear, artifact: none.safetensors, inputs: [amount]}
  new: {kind: linear, artifact: none.safetensors, inputs: [amount]}
stages:
"""
OUT = "  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}\n"
SPLIT = MODELS + "  score: {kind: split, from: payments, arms: [old, new], shares: [0.75, 0.25], by: shop, seed: 3}\n" + OUT
CANARY = (
    MODELS
    + "  score: {kind: canary, from: payments, champion: old, challenger: new, steps: [0.2, 0.5], every_s: 100, rows_min: 20, seed: 3}\n"
    + OUT
)


def say(pay: Pay, number: int, what: str, **shares: float) -> None:
    said = Change("score", number, what, who="ann", writer=f"w{number}", shares=tuple(shares.items()))
    pay.broker.append(pay.plan.changes_topic, [b"score"], [said.to_bytes()])


def told(pay: Pay) -> list[Told]:
    records = [read_record(v) for fetched in pay.broker.dump(pay.plan.changes_topic) for v in fetched.values.raw() if v is not None]
    return [record for record in records if isinstance(record, Told)]


def rows(pay: Pay) -> list[dict[str, Any]]:
    return [dict(read.row) for read in pay.predictions()]


def test_a_split_is_sticky_by_the_field_and_logs_exactly_what_it_drew_with() -> None:
    pay = Pay(plan_of(SPLIT))
    worker = pay.worker()
    pay.send("payments", *(payment(n, shop=f"s{n % 50}") for n in range(400)))
    pay.step(worker)
    shops = Text.of([f"s{n}" for n in range(50)])
    right = draw(np.array([0.75, 0.25]), uniform(hash64(shops), 3))
    for row in rows(pay):
        arm = int(right[int(row["prediction_id"][1:]) % 50])
        assert row["arm"] == ["old", "new"][arm]
        assert row["propensities"] == [0.75, 0.25]
        assert row["propensity"] == [0.75, 0.25][arm]
        assert row["policy_version"] == 0
    say(pay, 1, SHARE, old=0.0, new=1.0)
    pay.step(worker)
    pay.send("payments", *(payment(n, shop=f"s{n % 50}") for n in range(400, 500)))
    pay.step(worker)
    last = [row for row in rows(pay) if int(row["prediction_id"][1:]) >= 400]
    assert {(row["arm"], row["propensity"], row["policy_version"]) for row in last} == {("new", 1.0, 1)}


def canary(*, flaw: str = "", deterministic: bool = False, chunk: int = 16, partitions: int = 1) -> tuple[Pay, Any]:
    plan = plan_of(CANARY, partitions=partitions)
    models = models_of(plan)
    if flaw:
        models["new"] = Flawed(("amount",), lambda _: flaw)
    pay = Pay(plan, models)
    return pay, pay.worker(deterministic=deterministic, chunk_rows_max=chunk) if not deterministic else None


def test_a_canary_goes_through_its_steps_and_then_has_all_rows() -> None:
    pay, worker = canary()
    for first in range(0, 600, 50):
        pay.send("payments", *(payment(n, shop=f"s{n}") for n in range(first, first + 50)))
        pay.step(worker, times=20)
    shares = {round(row["propensities"][1], 6) for row in rows(pay)}
    assert shares == {0.2, 0.5, 1.0}
    assert [(t.what, dict(t.shares)["new"]) for t in told(pay)] == [(STEP, 0.5), (STEP, 1.0)]
    for one in told(pay):  # what is told is where it took effect
        late = [row for row in rows(pay) if row["source_offset"] >= one.offset and row["policy_version"] == one.version]
        early = [row for row in rows(pay) if row["source_offset"] < one.offset and row["policy_version"] >= one.version]
        assert late
        assert not early


def test_a_challenger_that_rejects_is_rolled_back_everywhere_and_only_its_own_rows_suffer() -> None:
    pay, worker = canary(flaw="raise", partitions=2)
    for first in range(0, 600, 50):
        pay.send("payments", *(payment(n, card="a" if n % 25 else f"c{n}", shop=f"s{n}") for n in range(first, first + 50)))
        pay.step(worker, times=20)
    assert {t.what for t in told(pay)} == {REVERTED, STEP}
    assert len(told(pay)) == 2, "one task rolled back, the other followed"
    assert len(rows(pay)) + len(pay.rejects()) == 600
    assert {row["arm"] for row in rows(pay)} == {"old"}
    last = [row for row in rows(pay) if int(row["prediction_id"][1:]) >= 500]
    assert {(row["propensity"], row["propensities"][1]) for row in last} == {(1.0, 0.0)}


def test_by_hand_beats_the_steps_and_restart_begins_again() -> None:
    pay, worker = canary()
    say(pay, 1, SHARE, old=0.1, new=0.9)
    pay.step(worker)
    pay.send("payments", *(payment(n) for n in range(50)))
    pay.step(worker)
    assert {row["propensities"][1] for row in rows(pay)} == {0.9}
    say(pay, 2, RESTART)
    pay.step(worker)
    pay.send("payments", *(payment(n) for n in range(50, 60)))
    pay.step(worker)
    assert {row["propensities"][1] for row in rows(pay)[50:]} == {0.2}
    assert [t.why for t in told(pay)] == ["by hand", "by hand"]


def test_a_deterministic_run_repeats_every_step() -> None:
    found = []
    for seed in range(2):
        plan = plan_of(CANARY)
        pay = Pay(plan, models_of(plan), seed=seed)
        pay.send("payments", *(payment(n, shop=f"s{n}") for n in range(600)))
        worker = pay.worker(deterministic=True, chunk_rows_max=16)
        pay.settle(worker)
        worker.close()
        found.append([read.value for read in pay.predictions()])
        assert {round(row["propensities"][1], 6) for row in rows(pay)} == {0.2, 0.5, 1.0}
    assert found[0] == found[1]


JUDGED = (
    CANARY.replace("rows_min: 20", "rows_min: 20, reward_below: 0.05")
    + "  outcome: {kind: feedback, predictions: score, feedback: told, on: payment, label: truth, wait_s_max: 200, reward: {value: {}}}\n"
)


def earned(pay: Pay, known: set[str], new: float) -> None:
    """Feedback on what was answered since: old earns 0.8."""
    for row in rows(pay):
        if row["prediction_id"] not in known:
            known.add(row["prediction_id"])
            truth = new if row["arm"] == "new" else 0.8
            pay.send("told", {"payment": row["prediction_id"], "card": "a", "truth": truth, "at_ms": row["event_time"] + 1000})


@pytest.mark.parametrize(("new", "last"), [(0.8, 1.0), (0.1, 0.0)])
def test_a_challenger_is_judged_by_what_it_earns(new: float, last: float) -> None:
    pay, known = Pay(plan_of(JUDGED)), set[str]()
    worker = pay.worker(chunk_rows_max=16)
    for first in range(0, 1500, 50):
        pay.send("payments", *(payment(n, shop=f"s{n}") for n in range(first, first + 50)))
        pay.step(worker, times=10)
        earned(pay, known, new)
        pay.step(worker, times=10)
        if first == 700:  # its state outlives its worker
            worker.close()
            worker = pay.worker("1", chunk_rows_max=16)
    assert rows(pay)[-1]["propensities"][1] == last
    records = told(pay)
    assert [t.what for t in records] == ([REVERTED] if new < 0.8 else [STEP, STEP])
    if new < 0.8:
        figures = dict(records[0].figures)
        assert figures["reward_difference"] + figures["radius"] < -0.05
        assert figures["reward_mean_challenger"] == pytest.approx(0.1)
        assert figures["reward_mean_champion"] == pytest.approx(0.8)
        assert figures["rewarded_challenger"] >= 20
        first = next(row for row in rows(pay) if row["policy_version"] == records[0].version)
        assert (records[0].offset, records[0].at_ms) == (first["source_offset"], first["event_time"])
        assert read_record(records[0].to_bytes()) == records[0]


def test_a_deterministic_run_judges_alike_however_it_is_read() -> None:
    """The truth is the amount, which `old` answers with; the reward is the same for both arms, but for the prediction itself."""
    text = JUDGED.replace("reward: {value: {}}", "reward: {closeness: {scale: 10}}").replace("wait_s_max: 200", "wait_s_max: 5")
    found = []
    for seed, slow in ((0, 0.0), (1, 0.9), (2, 0.6)):
        plan = plan_of(text)
        models = models_of(plan)
        models["new"] = Off(("amount",))
        pay = Pay(plan, models, seed=seed)
        pay.send("payments", *(payment(n, shop=f"s{n}") for n in range(800)))
        pay.send("told", *({"payment": f"p{n}", "card": "a", "truth": float(n), "at_ms": n * 1000 + 700} for n in range(800)))
        pay.broker.slow_fetch_share = slow
        worker = pay.worker(deterministic=True, chunk_rows_max=16)
        pay.settle(worker)
        found.append(([read.value for read in pay.predictions()], [t.to_bytes() for t in told(pay)]))
        assert [t.what for t in told(pay)] == [REVERTED]
    assert found[0] == found[1] == found[2]


class Off:
    """Answers 8 more than it should."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns, self.outputs, self.digest = columns, 1, "e" * 64

    def forward(self, x: Matrix) -> Floats:
        return x[:, :1].astype(np.float64) + 8.0


def test_live_slow_passes_roll_back_and_a_deterministic_run_does_not_ask() -> None:
    text = CANARY.replace("every_s: 100, rows_min: 20", "every_s: 10000, rows_min: 20, latency_above: 1.5")
    for slow, deterministic in ((0.010, False), (0.001, False), (0.010, True)):
        plan = plan_of(text)
        pay = Pay(plan, models_of(plan))
        worker = pay.worker(deterministic=deterministic, chunk_rows_max=16)
        forwarder = worker._forwarder
        assert isinstance(forwarder, SimForwarder)
        forwarder.seconds = {"old": 0.001, "new": slow}
        if deterministic:
            pay.send("payments", *(payment(n, shop=f"s{n}") for n in range(3000)))
            pay.settle(worker)
        else:
            for first in range(0, 3000, 50):
                pay.send("payments", *(payment(n, shop=f"s{n}") for n in range(first, first + 50)))
                pay.step(worker, times=10)
        bad = slow > 0.001 and not deterministic
        assert [t.what for t in told(pay)] == ([REVERTED] if bad else [])
        if bad:
            figures = dict(told(pay)[-1].figures)
            assert figures["latency_ratio"] - figures["radius"] > 1.5
            assert figures["passes"] >= 100
