"""crayfish_wire: events of the paper as bytes, on both wires, and what stands in the outputs. *wire* → load, run.

json: {creationTimestamp, dataPointSz1, dataPointSz2, dataPoint, prediction: null}; dataPoint is one text of all numbers, each followed by a
comma. binary: Avro without a frame, {creationTimestamp: long, dataPoint: bytes of float32, little-endian}.

A few hundred points are drawn once and used again and again; which one an output answers is known by its numbers.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np
import orjson
from numpy.typing import NDArray

from stream_infer.records import Floats, Ints

CREATED, FIELD = "creationTimestamp", "dataPoint"
JSON_SCHEMA = {
    "type": "record",
    "name": "CrayfishBatch",
    "fields": [
        {"name": CREATED, "type": "long"},
        {"name": "dataPointSz1", "type": "int"},
        {"name": "dataPointSz2", "type": "int"},
        {"name": FIELD, "type": "string"},
        {"name": "prediction", "type": ["null", "string"]},
    ],
}
BINARY_SCHEMA = {
    "type": "record",
    "name": "CrayfishBatch",
    "fields": [{"name": CREATED, "type": "long"}, {"name": FIELD, "type": "bytes"}],
}
_ANSWER = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Answer",
        "fields": [{"name": "outputs", "type": {"type": "array", "items": "double"}}, {"name": CREATED, "type": "long"}],
    }
)
TOLERANCE = 1e-3  # float32 through six layers, summed in other orders; fifty of ResNet


@dataclass(frozen=True)
class Pool:
    """The events that are sent in turn. x: float32[events, points, width]."""

    wire: str
    x: NDArray[np.float32]

    @staticmethod
    def drawn(wire: str, points: int, width: int, events: int) -> Pool:
        """Uniform in [0, 1), as the paper's generator."""
        return Pool(wire, np.random.default_rng(3).random((events, points, width), dtype=np.float32))

    def tails(self) -> list[bytes]:
        """Each event's bytes behind its creation time."""
        if self.wire == "binary":
            return [_long(event.nbytes) + event.astype("<f4").tobytes() for event in self.x]
        _, points, width = self.x.shape
        form = ',"dataPointSz1":%d,"dataPointSz2":%d,"dataPoint":"%s","prediction":null}'
        return [(form % (points, width, "".join(f"{number}," for number in map(str, event.reshape(-1))))).encode() for event in self.x]

    def head(self, created_ms: int) -> bytes:
        """What stands before a tail."""
        return _long(created_ms) if self.wire == "binary" else b'{"%s":%d' % (CREATED.encode(), created_ms)


def _long(value: int) -> bytes:
    raw = value << 1
    out = bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes([*out, raw])


@dataclass(frozen=True)
class Answers:
    """What stands in outputs, in their order. created_ms: int64[n]; numbers: float64[n, points · outputs]."""

    created_ms: Ints
    numbers: Floats


def answers(values: list[bytes], wire: str) -> Answers:
    """Outputs decoded: by fastavro, or by orjson, where the numbers are a list `outputs` or the text `prediction`."""
    rows = [_row(value, wire) for value in values]
    created = np.array([row[CREATED] for row in rows], dtype=np.int64)
    numbers = [row["outputs"] if "outputs" in row else orjson.loads(row["prediction"]) for row in rows]
    return Answers(created, np.array(numbers, dtype=np.float64).reshape(len(rows), -1))


def _row(value: bytes, wire: str) -> dict[str, Any]:
    if wire == "json":
        row: dict[str, Any] = orjson.loads(value)
        return row
    found = fastavro.schemaless_reader(io.BytesIO(value), _ANSWER, None)
    assert isinstance(found, dict)
    return found


def problem(found: Answers, sent_ms: Ints, expected: Floats) -> str:
    """What is wrong; "" where every event was answered once and rightly.

    sent_ms: int64[n], when each event was created; event i is number i % events of the pool. expected: float64[events, points · outputs].
    """
    if len(found.created_ms) != len(sent_ms):
        return f"{len(found.created_ms):,} outputs of {len(sent_ms):,} events"
    if found.numbers.shape[1] != expected.shape[1]:
        return f"{found.numbers.shape[1]} numbers in an answer instead of {expected.shape[1]}"
    events = len(expected)
    place = np.concatenate([_nearest(part, expected) for part in np.array_split(found.numbers, max(1, len(found.numbers) // 4096))])
    off = np.abs(found.numbers - expected[place]).max(axis=1) > TOLERANCE * (1 + np.abs(expected).max())
    if off.any():
        return f"{int(off.sum()):,} wrong answers"
    got = np.sort(found.created_ms * events + place)
    if (got != np.sort(sent_ms * events + np.arange(len(sent_ms)) % events)).any():
        return "some events were answered twice and others never, or for another one"
    return ""


def _nearest(numbers: Floats, expected: Floats) -> Ints:
    found: Ints = ((expected**2).sum(axis=1) - 2 * numbers @ expected.T).argmin(axis=1)
    return found


def schema(wire: str) -> str:
    """Of the input, for a topology."""
    return json.dumps(JSON_SCHEMA if wire == "json" else BINARY_SCHEMA)
