"""events: what the cases read, as bytes, and what they should answer. *events* → preload, check, ours.

Both are closed forms of the record's number, made column by column: a million records take a second. Numbers are multiples of 1/8, which
float32 and decimal text hold exactly, so every case can be held to one answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadgen.synthetic import zipf_keys
from stream_infer.codec.internal import PREDICTION
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Bytes, Floats, Ints

BEGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
INPUTS = 8
WINDOW_MS = (60_000, 600_000, 3_600_000)
AGGREGATES = ("count", "sum", "mean", "min", "max")
VALUE = "x0"
_STRINGS = ("id", "user", "region")
EVENT = json.dumps(
    {
        "type": "record",
        "name": "BenchEvent",
        "fields": [{"name": name, "type": "string"} for name in _STRINGS]
        + [{"name": f"x{i}", "type": "double"} for i in range(INPUTS)]
        + [{"name": "at_ms", "type": "long"}, {"name": "n", "type": "long"}],
    }
)
SCORE = json.dumps(
    {
        "type": "record",
        "name": "BenchScore",
        "fields": [{"name": "id", "type": "string"}, {"name": "at_ms", "type": "long"}, {"name": "score", "type": "double"}],
    }
)
# What a case of ours writes that answers as briefly as the others do.
LEAN_FIELDS = ("prediction_id", "event_time", "answer")
_WHOLE = json.loads(PREDICTION)
LEAN = json.dumps({**_WHOLE, "fields": [field for name in LEAN_FIELDS for field in _WHOLE["fields"] if field["name"] == name]})
WEIGHTS = np.array([0.5, -0.25, 1.0, 0.125, -0.75, 0.375, 2.0, -1.5])
BIAS = 0.25
# count, sum, mean, min, max of one window, then the next one: small for what grows, so that no term drowns another
WINDOW_WEIGHTS = np.array([0.001, 0.01, 1.0, 0.5, -0.25] * 3) * np.repeat([1.0, 0.5, 0.25], 5)


@dataclass(frozen=True, eq=False)
class Events:
    """count records. user: int64[count], the key; x: float64[count, 8]; at_ms, n: int64[count]."""

    user: Ints
    x: Floats
    at_ms: Ints
    n: Ints
    number: int = 0  # of the first record

    def __len__(self) -> int:
        return len(self.user)

    def part(self, first: int, after: int) -> Events:
        """Records [first, after)."""
        rows = slice(first, after)
        return Events(self.user[rows], self.x[rows], self.at_ms[rows], self.n[rows], self.number + first)

    def due(self, due_us: Ints, number: int) -> Events:
        """The same, dated when they are due to be sent, numbered from number on; n carries the moment itself, in µs."""
        return Events(self.user, self.x, due_us // 1000, due_us, number)

    def partition(self, partitions: int) -> Ints:
        """Where each record goes: by its key."""
        return self.user % partitions


def events(count: int, *, keys: int = 10_000, zipf: float = 0.0, per_second: float = 1000.0, seed: int = 1, first: int = 0) -> Events:
    """Records [first, first + count) of one run; the same settings give the same records. per_second: of event time."""
    draw = np.random.default_rng(seed + first)
    user = zipf_keys(draw, count, keys, zipf)
    x = draw.integers(-64, 65, (count, INPUTS)) / 8.0
    at_ms = BEGIN_MS + (np.arange(first, first + count) * 1000.0 / per_second).astype(np.int64)
    return Events(user, x, at_ms, np.arange(count, dtype=np.int64) % 50, first)


def scores(of: Events) -> Floats:
    """float64[count]: the linear model's answers."""
    found: Floats = of.x @ WEIGHTS + BIAS
    return found


def spec(*, windows: bool = False) -> dict[str, object]:
    """What BENCH_SPEC holds."""
    given: dict[str, object] = {"schema_in": EVENT, "schema_out": SCORE, "bias": BIAS}
    given |= {"schema_in_id": parse_schema(EVENT).schema_id, "schema_out_id": parse_schema(SCORE).schema_id}
    if windows:
        return given | {"weights": WINDOW_WEIGHTS.tolist(), "window_ms": list(WINDOW_MS), "value": VALUE}
    return given | {"weights": WEIGHTS.tolist()}


# ------------------------------------------------------------------------------------------------------------------ bytes


def keys(of: Events) -> NDArray[np.bytes_]:
    """S8[count]: k0001234."""
    made = np.concatenate([np.full((len(of), 1), ord("k"), dtype=np.uint8), _digits(of.user, 7)], axis=1)
    return np.ascontiguousarray(made).view("S8").reshape(-1)


def ids(first: int, after: int) -> NDArray[np.bytes_]:
    """S8[after - first]: the number of the record in hexadecimal digits."""
    places = np.arange(first, after, dtype=np.int64)[:, None] >> np.arange(28, -1, -4) & 15
    return np.ascontiguousarray(np.frombuffer(b"0123456789abcdef", np.uint8)[places]).view("S8").reshape(-1)


def avro(of: Events, first: int, after: int) -> list[bytes]:
    """Records [first, after) in the Confluent frame: all of one width, so they are written as one matrix of bytes."""
    part = of.part(first, after)
    frame = b"\x00" + parse_schema(EVENT).schema_id.to_bytes(4, "big")
    columns = [
        _repeated(frame, len(part)),
        _text(ids(part.number, part.number + len(part))),
        _text(keys(part)),
        _repeated(b"\x04EU", len(part)),
    ]
    columns += [np.ascontiguousarray(part.x.astype("<f8")).view(np.uint8).reshape(len(part), -1), _longs(part.at_ms), _longs(part.n)]
    matrix = np.concatenate(columns, axis=1)
    blob, width = matrix.tobytes(), matrix.shape[1]
    return [blob[place : place + width] for place in range(0, len(blob), width)]


def json_texts(of: Events, first: int, after: int) -> list[bytes]:
    """The same as flat JSON objects."""
    form = '{"id":"%s","user":"%s","region":"EU",' + "".join(f'"x{i}":%s,' for i in range(INPUTS)) + '"at_ms":%d,"n":%d}'
    part = of.part(first, after)
    names = [text.decode() for text in ids(part.number, part.number + len(part)).tolist()]
    users = [text.decode() for text in keys(part).tolist()]
    rows = zip(names, users, part.x.tolist(), part.at_ms.tolist(), part.n.tolist(), strict=True)
    return [(form % (name, user, *x, at_ms, n)).encode() for name, user, x, at_ms, n in rows]


def _digits(values: Ints, width: int) -> Bytes:
    digits: Bytes = (values[:, None] // 10 ** np.arange(width - 1, -1, -1, dtype=np.int64) % 10 + ord("0")).astype(np.uint8)
    return digits


def _repeated(text: bytes, count: int) -> Bytes:
    return np.tile(np.frombuffer(text, np.uint8), (count, 1))


def _text(texts: NDArray[np.bytes_]) -> Bytes:
    width = texts.dtype.itemsize
    body = np.frombuffer(texts.tobytes(), np.uint8).reshape(len(texts), width)
    return np.concatenate([np.full((len(texts), 1), 2 * width, dtype=np.uint8), body], axis=1)


def _longs(values: Ints) -> Bytes:
    """Zigzag varints of non-negative numbers, all as wide as the widest needs; ValueError where some would be shorter."""
    left = values.astype(np.uint64) << np.uint64(1)
    widths = np.maximum(1, np.ceil(np.log2(left.astype(np.float64) + 1) / 7)).astype(int)
    if len(values) and widths.min() != widths.max():
        raise ValueError("numbers of several widths")
    width = int(widths.max()) if len(values) else 1
    parts = left[:, None] >> (np.uint64(7) * np.arange(width, dtype=np.uint64)) & np.uint64(0x7F)
    parts[:, :-1] |= np.uint64(0x80)
    return parts.astype(np.uint8)
