"""check: is what a case wrote what it should have written? events → *check* → run.

Decoded by fastavro and orjson, or, where all records are of one width, cut by numpy: nothing of the product's own codecs.
"""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import numpy as np
import orjson

from benchmarks.harness.events import LEAN, SCORE
from stream_infer.codec.internal import PREDICTION
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Floats, Ints

_SCORE_WIDTH = 28  # 5 frame, 1 + 8 id, 6 at_ms, 8 score
_SCHEMAS = {parse_schema(text).schema_id: fastavro.parse_schema(json.loads(text)) for text in (SCORE, LEAN, PREDICTION)}
_SCORE_ID = parse_schema(SCORE).schema_id
TOLERANCE = 1e-6


def problem(values: list[bytes], fmt: str, expected: Floats, first: int = 0, tolerance: float = TOLERANCE) -> str:
    """What is wrong with the output; "" when every id is there exactly once with its score.

    expected: float64[count] or [count, ways]. first: number of the first record.
    """
    try:
        numbers, found = answers(values, fmt)
    except Exception as error:  # noqa: BLE001 — whatever a case wrote, the other cases go on
        return f"the output cannot be read: {type(error).__name__}: {error}"
    count = len(expected)
    numbers = numbers - first
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= count):
        return "ids that are in no input"
    times = np.bincount(numbers, minlength=count)
    if (times != 1).any():
        return f"{int((times == 0).sum()):,} of {count:,} missing, {int((times > 1).sum()):,} more than once"
    given = np.empty(count)
    given[numbers] = found
    ways = expected.reshape(count, -1)
    off = (np.abs(given[:, None] - ways) > tolerance * (1 + np.abs(ways))).sum(axis=0)
    if not off.all():
        return ""
    worst = int(np.flatnonzero(np.abs(given - ways[:, 0]) > tolerance * (1 + np.abs(ways[:, 0])))[0])
    return f"{int(off.min()):,} wrong scores, the first at record {worst}: {given[worst]} instead of {ways[worst].tolist()}"


def answers(values: list[bytes], fmt: str) -> tuple[Ints, Floats]:
    """Number of the record and score of each output, in the order given."""
    if fmt == "json":
        rows: list[dict[str, Any]] = [orjson.loads(value) for value in values]
    elif values and len({len(value) for value in values}) == 1 and len(values[0]) == _SCORE_WIDTH and _id_of(values[0]) == _SCORE_ID:
        return _cut(values)
    else:
        rows = [_decoded(value) for value in values]
    if not rows:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    name, score = ("id", "score") if "score" in rows[0] else ("prediction_id", "answer")
    return np.array([int(row[name], 16) for row in rows], dtype=np.int64), np.array([row[score] for row in rows], dtype=np.float64)


def _cut(values: list[bytes]) -> tuple[Ints, Floats]:
    matrix = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), _SCORE_WIDTH)
    if (matrix[:, :6] != matrix[0, :6]).any() or matrix[0, 5] != 16:
        raise ValueError("not the frame of a score")
    digits = matrix[:, 6:14].astype(np.int64)
    digits = np.where(digits >= ord("a"), digits - ord("a") + 10, digits - ord("0"))
    numbers: Ints = (digits << np.arange(28, -1, -4)).sum(axis=1)
    return numbers, np.ascontiguousarray(matrix[:, 20:]).view("<f8").reshape(-1).astype(np.float64)


def _id_of(value: bytes) -> int:
    return int.from_bytes(value[1:5], "big")


def _decoded(value: bytes) -> dict[str, Any]:
    row = fastavro.schemaless_reader(io.BytesIO(value[5:]), _SCHEMAS[_id_of(value)], None)
    assert isinstance(row, dict)
    return row
