"""What tests of whole runs share: a topology in a folder, events on a real broker, a run to the end of the logs, everything read back.

Events are written and results are read by fastavro: nothing here is shared with the product but the ids of schemas.
"""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from stream_infer.cli import load_plan
from stream_infer.codec.block import read_block, rows_of_block
from stream_infer.codec.internal import PREDICTION, REJECT
from stream_infer.codec.schema import parse_schema
from stream_infer.edge.host import Host, RunSettings
from stream_infer.edge.progress import Progress
from stream_infer.models.linear import LinearModel
from tests.support import Row, admin, create_topics, produce_rows, read_all, wait_until

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
            {"name": "label", "type": ["null", "double"]},
            {"name": "outcome_id", "type": "string"},
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
# With feedback that counts for ten seconds of event time.
OUTCOMES = "  outcomes: {{topic: {name}-outcomes, schema: outcome.avsc, key: user, event_time: at_ms, partitions: {partitions}}}"
FEEDBACK = """\
  outcome:
    kind: feedback
    predictions: score
    feedback: outcomes
    on: event_id
    label: label
    feedback_id: outcome_id
    wait_s_max: 10
    reward: {closeness: {scale: 10}}
"""
ROOT = Path(__file__).parents[1]
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
        produce_rows(self.bootstrap, self.topic(stream), rows, keep=True, **config)

    def predictions(self) -> list[dict[str, Any]]:
        return self.read("predictions", PREDICTION)

    def rejects(self) -> list[dict[str, Any]]:
        return self.read("rejects", REJECT)

    def blocks(self, topic: str) -> list[dict[str, Any]]:
        """Rows of a topic between our own tasks, each with what is said of all rows of its record."""
        records = read_all(self.bootstrap, f"{self.name}.{topic}")
        return [row for record in records for row in rows_of_block(read_block(np.frombuffer(record.value, dtype=np.uint8)))]

    def _read(self, topic: str, schema: str) -> list[dict[str, Any]]:
        """Nothing where the topic is not there yet."""
        if topic not in admin(self.bootstrap).list_topics(timeout=10.0).topics:
            return []
        return [unframed(schema, row.value) for row in read_all(self.bootstrap, topic)]

    def read(self, stream: str, schema: str) -> list[dict[str, Any]]:
        return self._read(self.topic(stream), schema)


def score_case(bootstrap: str, folder: Path, name: str, *, partitions: int = 1, topics: bool = True, **parts: str) -> Case:
    """The topology SCORE. parts: what differs: events, model, more_streams, more_stages, scored, out, feedback."""
    plain = {"events": "", "model": LINEAR, "more_streams": "", "more_stages": "", "scored": "events", "out": "", "feedback": ""}
    name = name if len(name) <= 60 else f"{name[:50]}-{name[-8:]}"
    case = Case(bootstrap, folder, name)
    parts = {key: text.format(name=name, partitions=partitions) if key == "more_streams" else text for key, text in parts.items()}
    case.path.write_text(SCORE.format(name=name, partitions=partitions, **(plain | parts)))
    (folder / "event.avsc").write_text(EVENT)
    (folder / "outcome.avsc").write_text(OUTCOME)
    (folder / "twice.safetensors").write_bytes(twice().to_bytes())
    if topics:
        create_topics(bootstrap, {case.topic("events"): partitions})
    return case


class Running(subprocess.Popen[str]):
    """`stream-infer run` as a process of its own."""

    def __init__(self, case: Case, *arguments: str) -> None:
        self._words = case.folder / f"stderr-{uuid.uuid4().hex[:6]}.txt"
        command = [sys.executable, "-m", "stream_infer", "run", str(case.path), "--bootstrap", case.bootstrap, *arguments]
        with self._words.open("w") as out:
            super().__init__(command, cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL, text=True)

    def stderr_text(self) -> str:
        return self._words.read_text()

    def drained(self) -> int:
        """SIGTERM, once it listens to it (one that only starts is ended by it), and the exit code."""
        wait_until(self._listens, "the process takes SIGTERM")
        self.terminate()
        return self.wait(30.0)

    def _listens(self) -> bool:
        """Whether it has a handler for SIGTERM, or has ended: then drained() tells by what."""
        if self.poll() is not None:
            return True
        caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert caught is not None
        return bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@contextmanager
def running(case: Case, *arguments: str) -> Iterator[Running]:
    """A live run, killed at the end if it still works."""
    process = Running(case, *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@cache
def _parsed(schema: str) -> tuple[Any, bytes]:
    """The schema as fastavro takes it, and the five bytes before its records."""
    return fastavro.parse_schema(json.loads(schema)), b"\x00" + parse_schema(schema).schema_id.to_bytes(4, "big")


def framed(schema: str, row: Mapping[str, object]) -> bytes:
    """Confluent's wire format."""
    parsed, prefix = _parsed(schema)
    out = io.BytesIO()
    out.write(prefix)
    fastavro.schemaless_writer(out, parsed, dict(row))
    return out.getvalue()


def unframed(schema: str, value: bytes | None) -> dict[str, Any]:
    """What framed() was given."""
    parsed, prefix = _parsed(schema)
    assert value is not None
    assert value[:5] == prefix
    found = fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed, None)
    assert isinstance(found, dict)
    return found


def event(number: int, amount: float | None = None, *, user: str = "ann", at_ms: int | None = None) -> dict[str, object]:
    """The event e{number}, a second after the one before."""
    at = BEGIN_MS + number * 1000 if at_ms is None else at_ms
    return {"event_id": f"e{number}", "user": user, "at_ms": at, "amount": float(number) if amount is None else amount}


def event_row(row: Mapping[str, Any], partition: int = -1) -> Row:
    """An event as a producer sends it: keyed by its user, at its own time."""
    return Row(framed(EVENT, row), str(row["user"]).encode(), partition, timestamp_ms=row["at_ms"])


def outcome_row(event_id: str, at_ms: int, label: float | None, *, outcome_id: str, user: str = "ann") -> Row:
    """What the world said of an event."""
    outcome = {"event_id": event_id, "user": user, "at_ms": at_ms, "label": label, "outcome_id": outcome_id}
    return Row(framed(OUTCOME, outcome), user.encode(), timestamp_ms=at_ms)


def address(record: Mapping[str, Any]) -> tuple[str, int, int]:
    """Where the record that it speaks of was read."""
    return str(record["source_topic"]), int(record["source_partition"]), int(record["source_offset"])


def answers(predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Answer by id; every id once."""
    found = {str(p["prediction_id"]): float(p["answer"]) for p in predictions}
    assert len(found) == len(predictions), "an event was answered more than once"
    return found
