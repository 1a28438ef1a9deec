"""The column writer against fastavro, and what it says of columns that are none of its schema."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.codec.avro_decode import AvroDecoder
from stream_infer.codec.avro_encode import AvroEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Column, Lists, Numbers, Same, Text
from tests.unit.codec.avro_tables import SYMBOLS, WIDE, WIDE_ROW, by_fastavro, column_of, common, one_field, tables


@common
@given(tables(), st.sampled_from([b"", b"\x00\x00\x00\x00\x07", b"nine byte"]))
def test_encoding_gives_the_bytes_of_fastavro(table: tuple[dict[str, Any], list[dict[str, Any]]], prefix: bytes) -> None:
    schema, rows = table
    encoder = AvroEncoder(parse_schema(json.dumps(schema)))
    columns = {field["name"]: column_of(field["type"], [row[field["name"]] for row in rows]) for field in schema["fields"]}
    assert encoder.encode(columns, prefix).raw() == [prefix + by_fastavro(schema, row) for row in rows]


@common
@given(tables())
def test_decoded_columns_encode_to_the_same_bytes(table: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    """Spans into the records' own block, lists that do not begin at 0, rows in another order: all are columns."""
    schema, rows = table
    parsed = parse_schema(json.dumps(schema))
    raw = [by_fastavro(schema, row) for row in rows]
    columns, _ = AvroDecoder(parsed).decode(Text.of(raw, is_bytes=True))
    backwards = np.arange(len(rows), dtype=np.int64)[::-1]
    assert AvroEncoder(parsed).encode({name: column.take(backwards) for name, column in columns.items()}).raw() == raw[::-1]


@common
@given(tables(), st.data())
def test_what_is_the_same_in_all_rows_is_written_as_its_column_is(
    table: tuple[dict[str, Any], list[dict[str, Any]]], data: st.DataObject
) -> None:
    schema, rows = table
    first = rows[0] if rows else {}
    same = [name for name, value in first.items() if value is not None and data.draw(st.booleans())]
    rows = [row | {name: first[name] for name in same} for row in rows]
    columns: dict[str, Column | Same] = {
        field["name"]: column_of(field["type"], [row[field["name"]] for row in rows]) for field in schema["fields"]
    }
    columns |= {name: Same(first[name], len(rows)) for name in same}
    assert AvroEncoder(parse_schema(json.dumps(schema))).encode(columns).raw() == [by_fastavro(schema, row) for row in rows]


MIXED = {
    "type": "record",
    "name": "M",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "x", "type": ["null", "double"]},
        {"name": "t", "type": "string"},
        {"name": "l", "type": {"type": "array", "items": "double"}},
        {"name": "b", "type": "boolean"},
    ],
}
VALUES = {
    "n": st.sampled_from([0, 1, 63, 64, 2**40]),
    "x": st.sampled_from([0.0, -0.0, 1.0]),
    "t": st.sampled_from(["", "a", "b", "word"]),
    "l": st.lists(st.sampled_from([0.0, -0.0, 1.0]), max_size=2),
    "b": st.booleans(),
}


@common
@given(st.lists(st.tuples(st.fixed_dictionaries(VALUES), st.sets(st.sampled_from(sorted(VALUES))), st.integers(1, 3)), max_size=6))
def test_what_was_the_same_in_the_last_batch_is_not_taken_for_this_one(batches: list[tuple[dict[str, Any], set[str], int]]) -> None:
    """One encoder, batch after batch: it keeps bytes of the last one, and other fields are the same in all rows each time."""
    encoder = AvroEncoder(parse_schema(json.dumps(MIXED)))
    for row, same, count in batches:
        columns: dict[str, Column | Same] = {name: Same(value, count) for name, value in row.items()}
        columns |= {name: Same(row[name], count).spread() for name in row.keys() - same if row[name] != []}
        assert encoder.encode(columns).raw() == [by_fastavro(MIXED, row)] * count


def test_a_value_of_another_kind_is_not_taken_for_the_one_it_equals() -> None:
    encoder = AvroEncoder(parse_schema(json.dumps(one_field("long"))))
    encoder.encode({"f": Same(1, 1)})
    with pytest.raises(ValueError, match=r"field f: got 1\.0, expected long"):
        encoder.encode({"f": Same(1.0, 1)})


@pytest.mark.parametrize(
    ("kind", "value"),
    [("long", 1.5), ("int", 2**31), ("boolean", 1), ("double", "1"), ("string", b"1"), ({"type": "array", "items": "long"}, [1, "2"])],
)
def test_one_value_of_another_kind_is_named(kind: Any, value: object) -> None:
    with pytest.raises(ValueError, match=r"field f: got .*, expected "):
        AvroEncoder(parse_schema(json.dumps(one_field(kind)))).encode({"f": Same(value, 2)})


WRONG: list[tuple[str, Column, str]] = [
    ("long", Numbers(np.zeros(2)), "field f: got float64, expected long"),
    ("int", Numbers(np.array([0, 2**31])), "values from 0 to 2147483648, expected int"),
    ("long", Numbers(np.array([0, 2**63], dtype=np.uint64)), "expected long"),
    ("boolean", Numbers(np.zeros(2, dtype=np.int64)), "got int64, expected boolean"),
    ("float", Numbers(np.array([0, 1e300])), "beyond the range of float"),
    ("double", Text.of(["1", "2"]), "got text, expected double"),
    ("string", Text.of([b"1", b"2"], is_bytes=True), "got bytes, expected string"),
    ("string", Text.of(["1", None]), "row 1 is absent, expected string"),
    ("string", Numbers(np.zeros(2)), "got float64, expected string"),
]


@pytest.mark.parametrize(("kind", "column", "message"), WRONG)
def test_a_wrong_column_is_named_with_what_was_expected(kind: str, column: Column, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AvroEncoder(parse_schema(json.dumps(one_field(kind)))).encode({"f": column})


def test_wrong_symbols_sizes_lengths_and_missing_columns_are_named() -> None:
    enum = AvroEncoder(parse_schema(json.dumps(one_field({"type": "enum", "name": "E", "symbols": SYMBOLS}))))
    with pytest.raises(ValueError, match=r"field f: row 1 is b'PINK', expected one of RED, GREEN, BLUE"):
        enum.encode({"f": Text.of(["RED", "PINK"])})
    fixed = AvroEncoder(parse_schema(json.dumps(one_field({"type": "fixed", "name": "F", "size": 2}))))
    with pytest.raises(ValueError, match="field f: row 0 has 1 bytes, expected fixed of 2"):
        fixed.encode({"f": Text.of([b"a", b"bc"], is_bytes=True)})
    array = AvroEncoder(parse_schema(json.dumps(one_field({"type": "array", "items": "long"}))))
    with pytest.raises(ValueError, match="field f: got float64, expected long"):
        array.encode({"f": Lists.of_matrix(np.zeros((2, 2)))})
    two = AvroEncoder(parse_schema(json.dumps(WIDE)))
    with pytest.raises(ValueError, match="no column for ts, n"):
        two.encode({"id": Text.of(["a"])})
    columns, _ = AvroDecoder(two.schema).decode(Text.of([by_fastavro(WIDE, WIDE_ROW)] * 2, is_bytes=True))
    with pytest.raises(ValueError, match="field ts: 1 rows, expected 2"):
        two.encode({**columns, "ts": columns["ts"].take(np.array([0]))})


def test_integers_widen_to_the_schemas_numbers_when_written() -> None:
    encoder = AvroEncoder(parse_schema(json.dumps(one_field("double"))))
    assert encoder.encode({"f": Numbers(np.array([3]))}).raw() == [struct.pack("<d", 3.0)]
    assert encoder.encode({"f": Numbers(np.zeros(0))}).raw() == []


LONGS, DOUBLES = ({"type": "array", "items": kind} for kind in ("long", "double"))
SPANS: list[tuple[Any, Any]] = [
    ("string", lambda start, size: Text(np.zeros(9, dtype=np.uint8), start, size)),
    (LONGS, lambda start, size: Lists(np.zeros(9, dtype=np.int64), start, size)),
    (DOUBLES, lambda start, size: Lists(np.zeros(9), start, size)),
]


@pytest.mark.parametrize(("kind", "column"), SPANS)
@pytest.mark.parametrize(("start", "size"), [(-1, 2), (8, 2), (10, 1), (2**62, 1), (0, 10), (0, -1)])
def test_spans_outside_of_their_block_are_refused_and_never_read(kind: Any, column: Any, start: int, size: int) -> None:
    encoder = AvroEncoder(parse_schema(json.dumps(one_field(["null", kind]))))
    spans = column(np.array([0, start]), np.array([1, size]))
    with pytest.raises(ValueError, match=r"field f: row 1 points outside of its block|negative size"):
        encoder.encode({"f": spans})
    spans.valid = np.array([True, False])  # what is absent may point anywhere
    assert len(encoder.encode({"f": spans})) == 2
