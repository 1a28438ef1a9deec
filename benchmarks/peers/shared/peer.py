"""peer: what every Python peer is given, and the two codecs that they use record by record. environment → *peer* → peers.

It runs in the peers' own environments, so it needs nothing but the standard library, fastavro and orjson. README.md of the
harness says what the variables mean.
"""

from __future__ import annotations

import io
import json
import os
import signal
from typing import Any

import fastavro
import orjson

BOOTSTRAP = os.environ["BENCH_BOOTSTRAP"]
IN = os.environ["BENCH_IN"]
OUT = os.environ["BENCH_OUT"]
PARTITIONS = int(os.environ["BENCH_PARTITIONS"])
GROUP = os.environ["BENCH_GROUP"]
COUNT = int(os.environ["BENCH_COUNT"])
FORMAT = os.environ["BENCH_FORMAT"]
EXACTLY_ONCE = os.environ["BENCH_GUARANTEE"] == "exactly_once"
COMMIT_S = int(os.environ["BENCH_COMMIT_MS"]) / 1000
LINGER_MS = int(os.environ["BENCH_LINGER_MS"])
FOLDER = os.environ["BENCH_FOLDER"]
with open(os.environ["BENCH_SPEC"]) as _file:
    SPEC: dict[str, Any] = json.load(_file)
WEIGHTS: list[float] = SPEC["weights"]
BIAS: float = SPEC["bias"]
SCHEMA_IN = fastavro.parse_schema(json.loads(SPEC["schema_in"]))
SCHEMA_OUT = fastavro.parse_schema(json.loads(SPEC["schema_out"]))
FRAME_IN = b"\x00" + SPEC["schema_in_id"].to_bytes(4, "big")
FRAME_OUT = b"\x00" + SPEC["schema_out_id"].to_bytes(4, "big")
_read, _write = fastavro.schemaless_reader, fastavro.schemaless_writer


def from_avro(value: bytes) -> dict[str, Any]:
    if value[:5] != FRAME_IN:
        raise ValueError("another schema")
    return _read(io.BytesIO(value[5:]), SCHEMA_IN)  # type: ignore[no-any-return]


def to_avro(row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(FRAME_OUT)
    _write(out, SCHEMA_OUT, row)
    return out.getvalue()


from_bytes = from_avro if FORMAT == "avro" else orjson.loads
to_bytes = to_avro if FORMAT == "avro" else orjson.dumps


def scored(row: dict[str, Any]) -> dict[str, Any]:
    """The answer to one record: as quick as plain Python is (0.3 µs)."""
    w = WEIGHTS
    score = (
        BIAS + w[0] * row["x0"] + w[1] * row["x1"] + w[2] * row["x2"] + w[3] * row["x3"]
        + w[4] * row["x4"] + w[5] * row["x5"] + w[6] * row["x6"] + w[7] * row["x7"]
    )  # fmt: skip
    return {"id": row["id"], "at_ms": row["at_ms"], "score": score}


class Stop:
    """Set by SIGTERM."""

    def __init__(self) -> None:
        self.now = False
        signal.signal(signal.SIGTERM, self._set)

    def _set(self, *_: object) -> None:
        self.now = True
