"""A stretch of a live run is worked through again. Oracles: the run itself; numpy; sums by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stream_infer.edge.comparing import Replayed, Stretch
from stream_infer.edge.replaying import ReplaySettings, replay
from stream_infer.errors import EnvironmentMissing
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.sim.play import run_to_end
from stream_infer.sim.reading import all_of, joined_of
from stream_infer.sim.transport import SimTransport
from tests.support_flow import plan_of
from tests.unit.edge.support_rebuilding import HELD, STAGES, Live, live


def again(run: Live, models: Mapping[str, Model] | None = None, **more: Any) -> Replayed:
    settings = ReplaySettings(more.pop("stretch", Stretch()), **more)
    return replay(run.pay.plan, SimTransport(run.pay.broker, "x", "x", guarantee="at_least_once"), models or run.pay.models, settings)


def other_plain(run: Live) -> dict[str, Model]:
    """Another model for the arm `plain`: 2 · amount + 3."""
    weights = np.array([[2.0], [0.0], [0.0]])
    made = LinearModel(weights, np.array([3.0]), np.zeros(3), np.ones(3), "identity", run.pay.plan.models["plain"].columns())
    return {**run.pay.models, "plain": made}


def everything_written(run: Live) -> object:
    """Every record and every offset of the group."""
    broker, plan = run.pay.broker, run.pay.plan
    partitions = [(topic, p) for topic, count, _ in plan.topics for p in range(count)]
    group = SimTransport(broker, plan.name, "y", guarantee="at_least_once").committed(partitions)
    return [(place, broker.log(place).high) for place in partitions], group


def amounts(run: Live) -> dict[str, float]:
    return {str(row["payment"]): float(str(row["amount"])) for row in run.pay.values("payments")}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("payments", ["", HELD])
def test_with_the_same_models_nothing_differs(seed: int, payments: str) -> None:
    run = live(seed, payments=payments)
    run.run(60, deaths=1)
    found = again(run)
    assert len(found.ids) == len(run.pay.ids())
    assert sorted(found.ids) == sorted(run.pay.ids())
    assert list(found.rows()) == []
    assert found.summary()["all"]["changed"] == 0  # type: ignore[index]


def test_another_model_differs_by_exactly_what_numpy_says_and_nothing_is_written() -> None:
    run = live(2)
    run.run(60, deaths=1)
    before = everything_written(run)
    found = again(run, other_plain(run), fixed=("plain",))
    assert everything_written(run) == before

    amount, recorded = amounts(run), {str(r.row["prediction_id"]): r.row for r in run.pay.predictions()}
    mine = {one for one, row in recorded.items() if row["arm"] == "plain"}
    rows = {str(row["prediction_id"]): row for row in found.rows()}
    assert rows.keys() == mine, "the net's answers are those of then, to the bit"
    for one, row in rows.items():
        then, now = row["then"], row["now"]
        assert isinstance(then, dict)
        assert isinstance(now, dict)
        assert now["answer"] == 2.0 * amount[one] + 3.0
        assert then["answer"] == recorded[one]["answer"]
        assert now["arm"] == "plain"
    summary = found.summary()["all"]
    assert isinstance(summary, dict)
    gaps = np.array([2.0 * amount[one] + 3.0 - float(str(recorded[one]["answer"])) for one in mine])
    assert summary["changed"] == len(mine)
    assert summary["changed_share"] == len(mine) / len(recorded)
    assert summary["difference_abs_max"] == np.abs(gaps).max()
    assert summary["difference_mean"] == pytest.approx(gaps.sum() / len(recorded))


def test_a_stretch_holds_the_rows_between_two_times_or_two_offsets() -> None:
    run = live(3)
    run.run(60)
    rows = [read.row for read in run.pay.predictions()]
    offsets = {0: (3, 9), 1: (2, 4)}
    inside = {
        str(row["prediction_id"])
        for row in rows
        if offsets[int(str(row["source_partition"]))][0] <= int(str(row["source_offset"])) < offsets[int(str(row["source_partition"]))][1]
    }
    assert set(again(run, stretch=Stretch(offsets=offsets)).ids) == inside
    found = again(run, stretch=Stretch(1_010_000, 1_030_000))
    assert list(found.rows()) == []
    assert found.ids
    for one, time in zip(found.ids, found.compared.time.tolist(), strict=True):
        assert time < 1_030_000, one  # order in time is the running maximum: a late row counts where it was worked on
    with pytest.raises(EnvironmentMissing, match="no row lies in the stretch"):
        again(run, stretch=Stretch(5_000_000_000, 6_000_000_000))


def test_by_event_time_a_deterministic_run_is_met_again_and_another_topology_answers_as_it_would_have() -> None:
    run = live(4)
    run.run(40)
    fresh = Live(type(run.pay)(run.pay.plan, run.pay.models), np.random.default_rng(0))
    for stream in ("payments", "cards"):
        fresh.pay.send(stream, *run.pay.values(stream))
    run_to_end(fresh.pay.plan, fresh.pay.broker, fresh.pay.models)
    assert list(again(fresh, recorded=False).rows()) == []
    assert list(again(fresh).rows()) == []

    other = plan_of(STAGES.replace("{sum: amount}", "{max: amount}").replace("epsilon: 0.5", "epsilon: 0.2"), partitions=2)
    found = again(fresh, recorded=False, other=other)
    theirs = Live(type(run.pay)(other, run.pay.models), np.random.default_rng(0))
    for stream in ("payments", "cards"):
        theirs.pay.send(stream, *run.pay.values(stream))
    run_to_end(other, theirs.pay.broker, theirs.pay.models)
    answered = [read.row for read in theirs.pay.predictions()]
    expected = {str(row["prediction_id"]): (row["answer"], row["arm"], row["propensity"]) for row in answered}
    rows = {str(row["prediction_id"]): row["now"] for row in found.rows(everything=True)}
    assert {one: (now["answer"], now["arm"], now["propensity"]) for one, now in rows.items() if isinstance(now, dict)} == expected
    assert any(found.compared.differs())


def test_the_value_of_another_choice_is_told_where_feedback_came() -> None:
    """Oracle: the estimates by hand from the predictions on record, and the shares of a policy that follows from no feedback."""
    stages = STAGES.replace(
        "  out:", "  outcome: {kind: feedback, predictions: score, feedback: told, on: payment, label: truth, wait_s_max: 2,"
        " reward: {closeness: {scale: 50}}}\n  out:",
    )  # fmt: skip
    run = live(8, stages=stages)
    draw = np.random.default_rng(1)
    for n in range(60):
        run.pay.send("told", {"payment": f"p{n}", "card": f"c{draw.integers(6)}", "truth": 1.0 * n, "at_ms": 1_000_000 + n * 1000})
    run.run(60)
    other = plan_of(stages.replace("epsilon: 0.5", "epsilon: 1.0"), partitions=2)
    found = again(run, recorded=False, other=other)
    told: Any = found.summary()
    joined = {str(read.row["prediction_id"]): read.row for read in all_of(run.pay.broker, joined_of(run.pay.plan))}
    recorded = {str(read.row["prediction_id"]): read.row for read in run.pay.predictions()}
    known = {one: row for one, row in joined.items() if row["reward"] is not None}
    assert len(known) > 5, "some cards of the feedback were those of the payments"
    reward = np.array([float(str(row["reward"])) for row in known.values()])
    weight = np.array([0.5 / float(str(recorded[one]["propensity"])) for one in known])
    off: Any = told["off_policy"]
    assert off["rows"] == len(known)
    assert off["ips"] == pytest.approx((weight * reward).mean())
    assert off["snips"] == pytest.approx((weight * reward).sum() / weight.sum())
    assert off["logged"] == pytest.approx(reward.mean())
    assert told["all"]["labels"] == len(known)
    assert sum(group["rows"] for group in told["by_arm_then"].values()) == told["all"]["rows"]
