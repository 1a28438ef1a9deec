"""Tables for the tests of Avro, and the two independent writers that they are judged by: fastavro and the avro package."""

from __future__ import annotations

import io
import json
import math
import struct
from typing import Any

import avro.io
import avro.schema
import fastavro
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from stream_infer.records import Column, Lists, Numbers, Text

INT = st.integers(-(2**31), 2**31 - 1) | st.integers(-70, 70)
LONG = st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70) | st.sampled_from([2**55, -(2**55), 2**56, 2**62, -(2**63), 2**63 - 1])
NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "int": INT,
    "long": LONG,
    "float": st.floats(width=32),
    "double": st.floats(),
}
TEXTS = st.text(max_size=20) | st.text("abc é", max_size=90)
SYMBOLS = ["RED", "GREEN", "BLUE"]


def kinds(place: int) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
    """An Avro type with a strategy for its values; place makes names of named types unique."""
    plain = st.sampled_from(
        list(NUMBERS.items())
        + [({"type": "array", "items": kind}, st.lists(values, max_size=6)) for kind, values in NUMBERS.items()]
        + [
            ("string", TEXTS),
            ("bytes", st.binary(max_size=90)),
            ({"type": "enum", "name": f"Enum{place}", "symbols": SYMBOLS}, st.sampled_from(SYMBOLS)),
            ({"type": "fixed", "name": f"Fixed{place}", "size": 11}, st.binary(min_size=11, max_size=11)),
        ]
    )
    null = plain.flatmap(lambda pair: st.sampled_from([(["null", pair[0]], st.none() | pair[1]), ([pair[0], "null"], st.none() | pair[1])]))
    return plain | null


@st.composite
def tables(draw: st.DrawFn, rows_max: int = 6) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A schema of up to five fields, and rows for it."""
    pairs = [draw(kinds(place)) for place in range(draw(st.integers(1, 5)))]
    schema = {"type": "record", "name": "Row", "fields": [{"name": f"f{place}", "type": pair[0]} for place, pair in enumerate(pairs)]}
    row = st.fixed_dictionaries({f"f{place}": pair[1] for place, pair in enumerate(pairs)})
    return schema, draw(st.lists(row, min_size=1, max_size=rows_max))


def by_fastavro(schema: dict[str, Any], row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), row)
    return out.getvalue()


def by_avro(schema: dict[str, Any], row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    avro.io.DatumWriter(avro.schema.parse(json.dumps(schema))).write(row, avro.io.BinaryEncoder(out))
    return out.getvalue()


def rows_of(columns: dict[str, Column]) -> list[dict[str, Any]]:
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*(column.to_list() for column in columns.values()), strict=True)]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("<d", left) == struct.pack("<d", right) or (math.isnan(left) and math.isnan(right))
    return type(left) is type(right) and left == right


def column_of(kind: Any, cells: list[Any]) -> Column:
    """Cells as a column, the way a caller would build it."""
    if isinstance(kind, list):
        kind = next(branch for branch in kind if branch != "null")
    valid = np.array([cell is not None for cell in cells], dtype=np.bool_)
    dtypes = {"boolean": np.bool_, "int": np.int32, "long": np.int64, "float": np.float32, "double": np.float64}
    if isinstance(kind, str) and kind in dtypes:
        return Numbers(np.array([0 if cell is None else cell for cell in cells], dtype=dtypes[kind]), valid)
    if isinstance(kind, dict) and kind["type"] == "array":
        size = np.array([len(cell or []) for cell in cells], dtype=np.int64)
        items: Any = np.array([item for cell in cells for item in cell or []], dtype=dtypes[kind["items"]])
        return Lists(items, np.cumsum(size) - size, size, valid)
    text = Text.of(cells, is_bytes=kind == "bytes" or (isinstance(kind, dict) and kind["type"] == "fixed"))
    return Text(text.blob, text.start, text.size, valid, text.is_bytes)


common = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

WIDE = {
    "type": "record",
    "name": "Wide",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "ts", "type": "long"},
        {"name": "n", "type": "int"},
        {"name": "x", "type": "double"},
        {"name": "y", "type": "float"},
        {"name": "flag", "type": "boolean"},
        {"name": "note", "type": ["null", "string"]},
        {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": SYMBOLS}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}},
        {"name": "xs", "type": {"type": "array", "items": "double"}},
        {"name": "ns", "type": [{"type": "array", "items": "long"}, "null"]},
        {"name": "raw", "type": "bytes"},
    ],
}
WIDE_ROW = {
    "id": "flight-0000017 é", "ts": 1_700_000_000_000, "n": -3, "x": 0.5, "y": 0.25, "flag": True, "note": "hello", "colour": "BLUE",
    "hash": b"\x00\xff\x80\x01", "xs": [1.0, -2.0], "ns": [1, -300, 2**62], "raw": b"\x00\x01",
}  # fmt: skip


def one_field(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "One", "fields": [{"name": "f", "type": kind}]}
