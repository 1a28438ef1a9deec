"""Reading with another schema than was written, against fastavro's own resolution."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import numpy as np
import pytest

from stream_infer.codec.avro_decode import AvroDecoder
from stream_infer.codec.schema import parse_schema
from stream_infer.errors import SchemaError
from stream_infer.records import Numbers, Text


def schema(*fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Row", "fields": list(fields)}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def array(items: str) -> dict[str, Any]:
    return {"type": "array", "items": items}


ORDER = ["boolean", "int", "long", "float", "double"]
PAIRS: list[tuple[Any, Any, list[Any]]] = [
    *[(a, b, [1, 0, 7]) for at, a in enumerate(ORDER[1:]) for b in ORDER[1:][at:]],
    *[(array(a), array(b), [[1, 2], [], [3]]) for at, a in enumerate(ORDER[1:]) for b in ORDER[1:][at:]],
    ("string", "bytes", ["a", "é"]),
    ("bytes", "string", [b"a", "é".encode()]),
    ("int", ["null", "long"], [1, 2]),
    (["null", "int"], ["double", "null"], [1, None]),
    ("string", ["null", "string"], ["a"]),
    (enum("A", "B"), enum("B", "C", "A"), ["A", "B", "A"]),
    (enum("A", "B"), enum("B", "C", default="C"), ["A", "B"]),
    (["null", enum("A", "B")], ["null", enum("B", "A")], ["A", None]),
]


@pytest.mark.parametrize(("written", "read", "cells"), PAIRS)
def test_columns_are_promoted_as_fastavro_promotes_values(written: Any, read: Any, cells: list[Any]) -> None:
    keep, drop, added = (
        {"name": "keep", "type": written},
        {"name": "drop", "type": "string"},
        {"name": "added", "type": "long", "default": 9},
    )
    writer, reader = schema(drop, keep), schema({"name": "keep", "type": read}, added)
    raw: list[bytes] = []
    expected: list[Any] = []
    for cell in cells:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(writer), {"keep": cell, "drop": "x"})
        raw.append(out.getvalue())
        expected.append(
            fastavro.schemaless_reader(io.BytesIO(out.getvalue()), fastavro.parse_schema(writer), fastavro.parse_schema(reader))
        )
    decoder = AvroDecoder(parse_schema(json.dumps(writer)), parse_schema(json.dumps(reader)))
    columns, rejected = decoder.decode(Text.of(raw, is_bytes=True))
    assert not rejected.reason
    assert list(columns) == ["keep", "added"]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*(column.to_list() for column in columns.values()), strict=True)]
    assert rows == expected
    if isinstance(columns["keep"], Numbers):
        assert columns["keep"].values.dtype.name.rstrip("0123456789") in {"int", "float"}
        assert all(type(row["keep"]) is type(cell["keep"]) for row, cell in zip(rows, expected, strict=True))


def test_bytes_read_as_a_string_must_be_utf8() -> None:
    writer, reader = (parse_schema(json.dumps(schema({"name": "f", "type": kind}))) for kind in ("bytes", "string"))
    columns, rejected = AvroDecoder(writer, reader).decode(Text.of([b"\x02\xff", b"\x02a"], is_bytes=True))
    assert (rejected.index, rejected.reason) == ([0], ["field f: text is not UTF-8"])
    assert columns["f"].to_list() == ["", "a"]


@pytest.mark.parametrize(
    ("kind", "default", "expected"),
    [
        ("boolean", True, True), ("int", 3, 3), ("double", 3, 3.0), ("string", "é", "é"), ("bytes", "\u00ff", b"\xff"),
        (enum("A", "B"), "B", "B"), (array("long"), [1, 2], [1, 2]), (["null", "long"], None, None), (["long", "null"], 4, 4),
        (["null", "long"], 4, 4), ({"type": "fixed", "name": "F", "size": 1}, "x", b"x"),
    ],
)  # fmt: skip
def test_a_field_nobody_wrote_holds_its_default(kind: Any, default: Any, expected: Any) -> None:
    writer = parse_schema(json.dumps(schema({"name": "id", "type": "long"})))
    reader = parse_schema(json.dumps(schema({"name": "id", "type": "long"}, {"name": "f", "type": kind, "default": default})))
    for rows in (0, 2, 100):
        columns, _ = AvroDecoder(writer, reader).decode(Text.of([b"\x02"] * rows, is_bytes=True))
        assert columns["f"].to_list() == [expected] * rows
    columns, rejected = AvroDecoder(writer, reader).decode(Text.of([b"", b"\x02"], is_bytes=True))
    assert rejected.index == [0]
    assert not columns["f"].to_list()[0]
    assert columns["f"].to_list()[1] == expected


def test_fields_are_found_under_their_former_names() -> None:
    inner = {"type": "record", "name": "I", "fields": [{"name": "old", "type": "long"}]}
    renamed = {"type": "record", "name": "I", "fields": [{"name": "new", "type": "double", "aliases": ["old"]}]}
    writer = parse_schema(json.dumps(schema({"name": "was", "type": inner})))
    reader = parse_schema(json.dumps(schema({"name": "now", "type": renamed, "aliases": ["was"]})))
    columns, _ = AvroDecoder(writer, reader).decode(Text.of([b"\x0a"] * 60, is_bytes=True))
    assert columns["now.new"].to_list() == [5.0] * 60


@pytest.mark.parametrize(
    ("written", "read", "got"),
    [
        ("long", "int", "type mismatch"),
        ("string", "long", "type mismatch"),
        (["null", "long"], "long", "type mismatch"),
        (enum("A", "B"), enum("B"), "missing enum symbols"),
        ({"type": "fixed", "name": "F", "size": 1}, {"type": "fixed", "name": "F", "size": 2}, "fixed size mismatch"),
        ({"type": "long", "logicalType": "timestamp-micros"}, {"type": "long", "logicalType": "timestamp-millis"}, "timestamp-micros"),
    ],
)
def test_an_unreadable_writer_is_refused_before_the_first_record(written: Any, read: Any, got: str) -> None:
    writer, reader = (parse_schema(json.dumps(schema({"name": "f", "type": kind}))) for kind in (written, read))
    with pytest.raises(SchemaError, match=got):
        AvroDecoder(writer, reader)


def test_a_new_field_without_default_is_refused() -> None:
    writer, reader = (parse_schema(json.dumps(schema({"name": name, "type": "long"}))) for name in ("a", "b"))
    with pytest.raises(SchemaError, match=r"reader field missing default value at /fields/0"):
        AvroDecoder(writer, reader)


def test_a_rejected_row_never_shares_its_blank_with_its_neighbours() -> None:
    """Constant columns and symbols share arrays between rows; blanking one row must leave the others."""
    writer = parse_schema(json.dumps(schema({"name": "c", "type": enum("A", "B")})))
    reader = parse_schema(json.dumps(schema({"name": "c", "type": enum("A", "B")}, {"name": "s", "type": "string", "default": "x"})))
    raw = [b"\x02"] * 100
    raw[50] = b"\x09"
    columns, rejected = AvroDecoder(writer, reader).decode(Text.of(raw, is_bytes=True))
    assert rejected.index == [50]
    assert columns["c"].to_list() == ["B"] * 50 + [""] + ["B"] * 49
    assert columns["s"].to_list() == ["x"] * 50 + [""] + ["x"] * 49
    assert isinstance(columns["c"].take(np.array([50])), Text)
