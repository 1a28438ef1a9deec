"""Replay and rebuild on a real broker, after a live run that was killed once.

Oracles: the run's own records; numpy; what the broker holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from stream_infer.cli import load_plan, main
from stream_infer.edge.devbroker import Broker
from stream_infer.models.torch_model import Mlp
from stream_infer.topology.plan import Plan
from tests.support import admin, create_topics, group_offsets, wait_until
from tests.support_run import FEEDBACK, OUTCOMES, Case, event, event_row, outcome_row, running, score_case, twice

pytestmark = pytest.mark.broker
USERS = ("ann", "bob", "cyd", "dan", "eve")
PARTS = {
    "model": "{kind: torch, artifact: net.safetensors, inputs: [amount, {name: spent, missing: 0}]}\n"
    "  line: {kind: linear, artifact: line.safetensors, inputs: [amount]}",
    "more_stages": "  before: {kind: features, from: events, group_by: user, values: {spent: {sum: amount}}}\n",
    "scored": "before",
    "more_streams": OUTCOMES,
    "feedback": FEEDBACK,
}


def written(bootstrap: str, plan: Plan) -> tuple[dict[tuple[str, int], int], dict[tuple[str, int], int]]:
    """Where every topic of the topology ends, and the offsets of its group."""
    client = admin(bootstrap)
    asked = {TopicPartition(topic, p): OffsetSpec.latest() for topic, count, _ in plan.topics for p in range(count)}
    ends = {(tp.topic, tp.partition): future.result().offset for tp, future in client.list_offsets(asked).items()}
    return ends, group_offsets(bootstrap, plan.name)


def net_and_line(broker: Broker, folder: Path, name: str) -> Case:
    """A bandit of a net and a line over two partitions, with feedback."""
    case = score_case(broker.bootstrap, folder, name, partitions=2, **PARTS)
    create_topics(broker.bootstrap, {case.topic("outcomes"): 2})
    model, bandit = "kind: model, from: before, model: twice", "kind: bandit, from: before, arms: [twice, line], policy: {maillard: {}}"
    case.path.write_text(case.path.read_text().replace(model, bandit))
    torch.manual_seed(4)
    module = Mlp([2, 64, 64, 1], "identity")
    metadata = {"columns": json.dumps(["amount", "spent"]), "widths": "[2, 64, 64, 1]"}
    (folder / "net.safetensors").write_bytes(safetensors.torch.save(module.state_dict(), metadata=metadata))
    (folder / "line.safetensors").write_bytes(twice().to_bytes())
    return case


def test_a_live_run_is_made_again_to_the_bit_and_worked_through_again_without_touching_it(
    broker: Broker, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = net_and_line(broker, tmp_path, topic)
    draw = np.random.default_rng(2)
    sent: list[dict[str, Any]] = [event(number, float(draw.integers(1, 9)), user=USERS[number % 5]) for number in range(160)]
    rows = [event_row(row) for row in sent]
    outcomes = [
        outcome_row(row["event_id"], row["at_ms"] + 500, row["amount"] * 2, outcome_id=f"o{number}", user=row["user"])
        for number, row in enumerate(sent)
    ]
    first = 0
    for last, size in ((80, 16), (160, 20)):
        with running(case, "--session-timeout-s", "2") as process:
            while first < last:
                case.send("events", rows[first : first + size])
                case.send("outcomes", outcomes[first : first + size])
                first += size
                # A killed process is missed after its session: two seconds.
                wait_until(lambda: len(case.predictions()) >= first or process.poll() is not None, "answered", timeout_s=90)  # noqa: B023
                assert process.poll() is None, process.stderr_text()
            if last == 160:
                assert process.drained() == 0
            # else it is killed as it stands
    recorded = {p["prediction_id"]: p for p in case.predictions()}
    assert len(recorded) == 160
    assert {p["arm"] for p in recorded.values()} == {"twice", "line"}
    plan = load_plan(case.path)
    before = written(case.bootstrap, plan)

    for number in (0, 79, 159):  # on both sides of the kill; all of them are replayed below
        assert main(["explain", str(case.path), "--prediction", f"e{number}", "--bootstrap", case.bootstrap]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"e{number}  identical\n"), said
        assert f"amount                   {sent[number]['amount']!r}" in said

    summary, differences = replayed(case, tmp_path / "same")
    assert (summary["all"]["rows"], summary["all"]["changed"], differences) == (160, 0, [])
    assert summary["off_policy"]["weight_mean"] == 1.0

    (tmp_path / "other.safetensors").write_bytes(twice(("amount",)).to_bytes().replace(b'"identity"', b'"logistic"'))
    summary, differences = replayed(case, tmp_path / "other", "--model", f"line={tmp_path / 'other.safetensors'}")
    assert {row["prediction_id"] for row in differences} == {one for one, p in recorded.items() if p["arm"] == "line"}
    for row in differences:
        amount = sent[int(row["prediction_id"][1:])]["amount"]
        assert row["then"]["answer"] == 2 * amount + 1
        assert row["now"]["answer"] == pytest.approx(1 / (1 + np.exp(-(2 * amount + 1))), rel=1e-15)

    inside = [p for p in recorded.values() if 3 <= p["source_offset"] < 20]
    summary, _ = replayed(case, tmp_path / "few", "--from", "0:3,1:3", "--to", "0:20,1:20")
    assert summary["all"]["rows"] == len(inside)
    assert written(case.bootstrap, plan) == before, "a replay wrote something, or moved an offset"


def replayed(case: Case, out: Path, *arguments: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """`stream-infer replay`: the summary and the rows that differ."""
    assert main(["replay", str(case.path), "--bootstrap", case.bootstrap, "--out", str(out), *arguments]) == 0
    lines = (out / "differences.jsonl").read_text().splitlines()
    return json.loads((out / "summary.json").read_text()), [json.loads(line) for line in lines]
