"""What tests of whole runs share: a topology in a folder, events on a real broker, a run to the end of the logs, everything read back.

Events are written and results are read by fastavro: nothing here is shared with the product but the ids of schemas.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from stream_infer.cli import load_plan
from stream_infer.codec.internal import DECISION, PREDICTION, REJECT
from stream_infer.codec.schema import parse_schema
from stream_infer.edge.host import Host, RunSettings
from stream_infer.edge.progress import Progress
from stream_infer.models.linear import LinearModel
from tests.support import Row, create_topics, produce_rows, read_all

EVENT = json.dumps(
    {
        "type": "record",
        "name": "Event",
        "fields": [
            {"name": "event_id", "type": "string"},
            {"name": "user", "type": "string"},
            {"name": "at_ms", "type": ["null", "long"]},
            {"name": "amount", "type": "double"},
        ],
    }
)
OUTCOME = json.dumps(
    {
        "type": "record",
        "name": "Outcome",
        "fields": [
            {"name": "event_id", "type": "string"},
            {"name": "user", "type": "string"},
            {"name": "at_ms", "type": "long"},
            {"name": "label", "type": "double"},
        ],
    }
)
# One stream of events, one model: answer = 2 · amount + 1.
SCORE = """\
name: {name}
format: 1
limits: {{wait_ms_max: 50}}
streams:
  events: {{topic: {name}-events, schema: event.avsc, key: user, id: event_id, event_time: at_ms, partitions: {partitions}{events}}}
  predictions: {{topic: {name}-predictions, partitions: {partitions}}}
  rejects: {{topic: {name}-rejects, partitions: 1}}
{more_streams}
models:
  twice: {model}
stages:
{more_stages}
  score: {{kind: model, from: {scored}, model: twice}}
  out: {{kind: emit, from: score, to: predictions, rejects: rejects{out}}}
{feedback}
"""
LINEAR = "{kind: linear, artifact: twice.safetensors, inputs: [amount]}"
BEGIN_MS = 1_370_000_000_000


def twice(columns: tuple[str, ...] = ("amount",)) -> LinearModel:
    """answer = 2 · the first column + 1."""
    weights = np.zeros((len(columns), 1))
    weights[0] = 2.0
    return LinearModel(weights, np.ones(1), np.zeros(len(columns)), np.ones(len(columns)), "identity", columns)


@dataclass(frozen=True)
class Case:
    """A topology in a folder of its own, on a broker."""

    bootstrap: str
    folder: Path
    name: str

    @property
    def path(self) -> Path:
        return self.folder / "topology.yaml"

    def topic(self, of: str) -> str:
        return f"{self.name}-{of}"

    def run(self, **settings: Any) -> Host:
        """In this process, deterministic unless told otherwise, to the end of the logs."""
        host = self.host(**settings)
        host.run()
        return host

    def host(self, **settings: Any) -> Host:
        plain: dict[str, Any] = {"deterministic": True}
        registry = settings.pop("registry", {})
        return Host(load_plan(self.path), RunSettings(self.bootstrap, **(plain | settings)), registry, Progress(io.StringIO()))

    def send(self, stream: str, rows: Iterable[Row], **config: Any) -> None:
        produce_rows(self.bootstrap, self.topic(stream), rows, **config)

    def predictions(self) -> list[dict[str, Any]]:
        return self.read("predictions", PREDICTION)

    def rejects(self) -> list[dict[str, Any]]:
        return self.read("rejects", REJECT)

    def decisions(self) -> list[dict[str, Any]]:
        return [unframed(DECISION, row.value) for row in read_all(self.bootstrap, f"{self.name}.decisions")]

    def read(self, stream: str, schema: str) -> list[dict[str, Any]]:
        return [unframed(schema, row.value) for row in read_all(self.bootstrap, self.topic(stream))]


def score_case(bootstrap: str, folder: Path, name: str, *, partitions: int = 1, topics: bool = True, **parts: str) -> Case:
    """The topology SCORE. parts: what differs: events, model, more_streams, more_stages, scored, out, feedback."""
    plain = {"events": "", "model": LINEAR, "more_streams": "", "more_stages": "", "scored": "events", "out": "", "feedback": ""}
    case = Case(bootstrap, folder, name)
    case.path.write_text(SCORE.format(name=name, partitions=partitions, **(plain | parts)))
    (folder / "event.avsc").write_text(EVENT)
    (folder / "outcome.avsc").write_text(OUTCOME)
    (folder / "twice.safetensors").write_bytes(twice().to_bytes())
    if topics:
        create_topics(bootstrap, {case.topic("events"): partitions})
    return case


def framed(schema: str, row: Mapping[str, object]) -> bytes:
    """Confluent's wire format."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, json.loads(schema), dict(row))
    return b"\x00" + parse_schema(schema).schema_id.to_bytes(4, "big") + out.getvalue()


def unframed(schema: str, value: bytes | None) -> dict[str, Any]:
    """What framed() was given."""
    assert value is not None
    assert value[0] == 0
    assert int.from_bytes(value[1:5], "big") == parse_schema(schema).schema_id
    found = fastavro.schemaless_reader(io.BytesIO(value[5:]), json.loads(schema), None)
    assert isinstance(found, dict)
    return found


def event(number: int, amount: float | None = None, *, user: str = "ann", at_ms: int | None = None) -> dict[str, object]:
    """The event e{number}, a second after the one before."""
    at = BEGIN_MS + number * 1000 if at_ms is None else at_ms
    return {"event_id": f"e{number}", "user": user, "at_ms": at, "amount": float(number) if amount is None else amount}


def event_row(row: Mapping[str, Any], partition: int = -1) -> Row:
    """An event as a producer sends it: keyed by its user, at its own time."""
    return Row(framed(EVENT, row), str(row["user"]).encode(), partition, timestamp_ms=row["at_ms"])


def outcome_row(event_id: str, at_ms: int, label: float, user: str = "ann") -> Row:
    return Row(framed(OUTCOME, {"event_id": event_id, "user": user, "at_ms": at_ms, "label": label}), user.encode(), timestamp_ms=at_ms)


def address(record: Mapping[str, Any]) -> tuple[str, int, int]:
    """Where the record that it speaks of was read."""
    return str(record["source_topic"]), int(record["source_partition"]), int(record["source_offset"])


def answers(predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Answer by id; every id once."""
    found = {str(p["prediction_id"]): float(p["answer"]) for p in predictions}
    assert len(found) == len(predictions), "an event was answered more than once"
    return found
