"""An ensemble on a real broker, with a member that blocks. Oracle: 2 · amount + 1, which each member would say alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from stream_infer.codec.internal import PREDICTION, PREDICTION_COMPOSED
from stream_infer.edge.devbroker import Broker
from tests import admitted
from tests.support import create_topics
from tests.support_run import EVENT, Case, event, event_row, twice

pytestmark = pytest.mark.broker
TOPOLOGY = """\
name: {name}
format: 1
limits: {{wait_ms_max: 50}}
streams:
  events: {{topic: {name}-events, schema: event.avsc, key: user, id: event_id, event_time: at_ms, partitions: 1}}
  predictions: {{topic: {name}-predictions, partitions: 1}}
models:
  quick: {{kind: linear, artifact: twice.safetensors, inputs: [amount]}}
  slow: {{kind: torch, class: blocking, artifact: blocking.safetensors, inputs: [amount], batch: {{rows_max: 64}}}}
  both: {{kind: ensemble, members: {{quick: 1, slow: 3}}, combine: weighted_mean, quorum: 1, wait_ms_max: 300}}
stages:
  score: {{kind: model, from: events, model: both}}
  out: {{kind: emit, from: score, to: predictions}}
"""


def test_the_ensemble_answers_at_its_deadline_and_names_the_member_that_blocks(broker: Broker, topic: str, tmp_path: Path) -> None:
    name = f"{topic[:50]}-{topic[-8:]}" if len(topic) > 60 else topic
    case = Case(broker.bootstrap, tmp_path, name)
    case.path.write_text(TOPOLOGY.format(name=name))
    (tmp_path / "event.avsc").write_text(EVENT)
    (tmp_path / "twice.safetensors").write_bytes(twice().to_bytes())
    safetensors.torch.save_file({"weight": torch.full((1, 1), 2.0)}, tmp_path / "blocking.safetensors", {"columns": json.dumps(["amount"])})
    create_topics(broker.bootstrap, {case.topic("events"): 1})
    case.send("events", [event_row(event(number, admitted.BLOCKS)) for number in (1, 2, 3)])
    admitted.LET_GO.clear()
    host = case.host(deterministic=False, registry=admitted.STREAM_INFER_MODELS)
    more: list[int] = []

    def watch() -> None:
        written = host.worker.pace.written.get(case.topic("predictions"), 0)
        if written >= 3 and not more:
            more.append(written)
            admitted.LET_GO.set()
        if more and len(more) == 1 and host.worker.flow.sizing.patience.out("slow") == 0:
            more.append(written)
            case.send("events", [event_row(event(4)), event_row(event(5, admitted.BLOCKS))])
        if written >= 5:
            host.stop()

    try:
        host.run(watch)
    finally:
        admitted.LET_GO.set()
    schema = json.loads(PREDICTION)
    schema["fields"] += json.loads(PREDICTION_COMPOSED)
    found = {row["prediction_id"]: row for row in case.read("predictions", json.dumps(schema))}
    assert {name: row["answer"] for name, row in found.items()} == {"e1": 199.0, "e2": 199.0, "e3": 199.0, "e4": 9.0, "e5": 199.0}
    assert {name: row["missing"] for name, row in found.items()} == {"e1": "slow", "e2": "slow", "e3": "slow", "e4": None, "e5": None}
    assert {name: row["confidence"] for name, row in found.items()} == {"e1": 0.25, "e2": 0.25, "e3": 0.25, "e4": 1.0, "e5": 1.0}
    assert case.rejects() == []
