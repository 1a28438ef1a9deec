"""The column reader against fastavro, the avro package and our own reader of single rows."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.codec.avro_decode import AvroDecoder
from stream_infer.codec.avro_row import RowReader
from stream_infer.codec.resolution import Resolution
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Rejected, Text
from tests.unit.codec.avro_tables import LONG, SYMBOLS, WIDE, WIDE_ROW, by_avro, by_fastavro, common, one_field, rows_of, same, tables


@common
@given(tables())
def test_decoding_gives_back_what_both_writers_wrote(table: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    schema, rows = table
    decoder = AvroDecoder(parse_schema(json.dumps(schema)))
    raw = [by_fastavro(schema, row) for row in rows]
    assert raw == [by_avro(schema, row) for row in rows]  # the two oracles agree
    columns, rejected = decoder.decode(Text.of(raw, is_bytes=True))
    assert not rejected.reason
    assert same(rows_of(columns), rows)


# What fastavro reads and we refuse, each on purpose.
FASTAVRO_IS_LAX = (
    "more than 10 bytes",  # it goes on reading a number for as long as bytes say so
    "more than 64 bits",
    "out of range for int",
    "boolean byte is",  # anything but 1 is false
    "union branch is -",  # Python's negative index
    "enum index is -",
    "block says it ends",  # it does not look at the size of a block
    "block of -",  # a negative size
    "bytes, but",  # a size beyond the record
    "length is -",
)


def strict(schema: dict[str, Any], data: bytes) -> dict[str, Any] | None:
    """fastavro's value of a record, or None where it refuses or leaves bytes over."""
    source = io.BytesIO(data)
    try:
        row = fastavro.schemaless_reader(source, fastavro.parse_schema(schema))
    except (EOFError, IndexError, ValueError, OverflowError, MemoryError, struct.error, StopIteration, KeyError):
        return None
    return row if source.tell() == len(data) else None  # type: ignore[return-value]


def agrees(schema: dict[str, Any], raw: list[bytes]) -> tuple[list[dict[str, Any]], Rejected]:
    """Decodes, and checks the law: a row is refused with a reason of one line, or is what fastavro says it is.

    And it is what the row reader says, value and reason.
    """
    parsed = parse_schema(json.dumps(schema))
    values = Text.of(raw, is_bytes=True)
    columns, rejected = AvroDecoder(parsed).decode(values)
    rows = rows_of(columns)
    resolution = Resolution.of(parsed, parsed)
    written, judged = RowReader(resolution).columns(values)
    assert (judged.index, judged.reason) == (rejected.index, rejected.reason)
    slow = rows_of(resolution.columns(written, len(raw)))
    assert all(same(rows[place], slow[place]) for place in range(len(raw)) if place not in rejected.index)
    refused = dict(zip(rejected.index, rejected.reason, strict=True))
    assert rejected.index == sorted(refused)
    for place, data in enumerate(raw):
        if place in refused:
            assert refused[place]
            assert "\n" not in refused[place]
            assert not any(rows[place].values())
            assert strict(schema, data) is None or any(lax in refused[place] for lax in FASTAVRO_IS_LAX), (data, refused[place])
        else:
            assert same(rows[place], strict(schema, data)), data
    return rows, rejected


@common
@given(tables(rows_max=3), st.data())
def test_mutated_bytes_are_refused_or_read_as_fastavro_reads_them(
    table: tuple[dict[str, Any], list[dict[str, Any]]], data: st.DataObject
) -> None:
    schema, rows = table
    raw = [by_fastavro(schema, row) for row in rows]
    victim = bytearray(raw[0])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(victim) - 1)) if victim else 0
        match data.draw(st.sampled_from(["set", "insert", "delete"])):
            case "set" if victim:
                victim[place] = data.draw(st.sampled_from([0, 1, 2, 3, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
            case "delete" if victim:
                del victim[place]
            case _:
                victim.insert(place, data.draw(st.integers(0, 255)))
    batch = [bytes(victim), *raw, bytes(victim)]
    seen, rejected = agrees(schema, batch)
    assert set(rejected.index) <= {0, len(batch) - 1}  # the neighbours are untouched
    alone, only = agrees(schema, [bytes(victim)])  # a row alone is the row in the batch
    assert same(alone[0], seen[0])
    assert only.reason == rejected.reason[:1]


def test_a_record_cut_at_any_byte_is_refused_alone() -> None:
    whole = by_fastavro(WIDE, WIDE_ROW)
    cut = [whole[:size] for size in range(len(whole))]
    rows, rejected = agrees(WIDE, [*cut, whole, *cut[::-1], whole + b"\x00"])
    assert len(rejected) == 2 * len(cut) + 1
    assert same(rows[len(cut)], WIDE_ROW)
    assert rejected.reason[0] == "the record is empty"
    assert rejected.reason[-1] == "1 byte left over after the last field"


BAD = [
    ("long", b"\x80" * 40 + b"\x00", "number of more than 10 bytes"),
    ("long", b"\xff" * 9 + b"\x02", "number of more than 64 bits"),
    ("int", by_fastavro(one_field("long"), {"f": 2**31}), "2147483648 is out of range for int"),
    ("int", by_fastavro(one_field("long"), {"f": 2**62}), "4611686018427387904 is out of range for int"),
    ("boolean", b"\x02", "boolean byte is 2"),
    ("double", b"\x00" * 7, "the record ends inside it"),
    ("string", by_fastavro(one_field("long"), {"f": 2**40}), "length is 1099511627776, but 0 bytes are left"),
    ("bytes", by_fastavro(one_field("long"), {"f": -5}), "length is -5"),
    ("bytes", by_fastavro(one_field("long"), {"f": -(2**63)}), "length is -9223372036854775808"),
    ("string", b"\x04\xc3\x28", "text is not UTF-8"),
    ("string", b"\x06\xed\xa0\x80", "text is not UTF-8"),  # a lone surrogate
    ("string", bytes([0x90, 0x03]) + b"a" * 199 + b"\xff", "text is not UTF-8"),
    (["null", "long"], b"\x04", "union branch is 2"),
    (["null", "long"], b"\x01", "union branch is -1"),
    ({"type": "enum", "name": "E", "symbols": SYMBOLS}, b"\x06", "enum index is 3"),
    ({"type": "enum", "name": "E", "symbols": SYMBOLS}, b"\x01", "enum index is -1"),
    ({"type": "fixed", "name": "F", "size": 4}, b"abc", "length is 4, but 3 bytes are left"),
    ({"type": "array", "items": "long"}, by_fastavro(one_field("long"), {"f": 2**33}), "block of 8589934592 items"),
    (
        {"type": "array", "items": "double"},
        by_fastavro(one_field("long"), {"f": 2**62}) + b"\x00" * 16,
        "block of 4611686018427387904 items",
    ),
    (
        {"type": "array", "items": "boolean"},
        by_fastavro(one_field("long"), {"f": -(2**63)}) + b"\x00",
        "block of 9223372036854775808 items",
    ),
    ({"type": "array", "items": "boolean"}, b"\x02\x02\x00", "boolean byte is 2"),
    ({"type": "array", "items": "int"}, b"\x02" + by_fastavro(one_field("long"), {"f": 2**31}) + b"\x00", "out of range for int"),
    ({"type": "array", "items": "int"}, b"\x02\x02", "the record ends inside it"),
    ({"type": "array", "items": "long"}, b"\x01\x07\x02\x00", "block of -4 bytes"),
    ({"type": "array", "items": "long"}, b"\x01\x04\x02\x00\x00", "block says it ends"),
    ({"type": "array", "items": "long"}, b"\x04\x80\x80", "the record ends inside it"),
]


@pytest.mark.parametrize(("kind", "data", "reason"), BAD)
def test_malformed_records_are_refused_with_their_reason(kind: Any, data: bytes, reason: str) -> None:
    decoder = AvroDecoder(parse_schema(json.dumps(one_field(kind))))
    columns, rejected = decoder.decode(Text.of([data] * 3, is_bytes=True))
    assert rejected.index == [0, 1, 2]
    assert rejected.reason[0].startswith("field f: ")
    assert reason in rejected.reason[0]
    assert len(columns["f"]) == 3
    behind = {"type": "record", "name": "Two", "fields": [{"name": "f", "type": kind}, {"name": "g", "type": "string"}]}
    good = b"" if kind == "long" else data
    both = Text.of([good + b"\x02b", b"\xff" * 30, b""], is_bytes=True)  # an error is never carried into a neighbour or read past the end
    assert AvroDecoder(parse_schema(json.dumps(behind))).decode(both)[1].index[-2:] == [1, 2]


def test_blocks_of_every_legal_form_are_read() -> None:
    """Several blocks, blocks with their size, longer forms of small numbers: rare on the wire, and right all the same."""
    schema = one_field({"type": "array", "items": "long"})
    raw = [
        b"\x00",
        b"\x04\x02\x04\x00",
        b"\x02\x02\x02\x04\x00",
        b"\x03\x04\x02\x04\x00",
        b"\x03\x04\x02\x04\x02\x06\x00",
        b"\x84\x00\x82\x00\x04\x80\x00",
    ]
    rows, rejected = agrees(schema, raw)
    assert not rejected.reason
    assert [row["f"] for row in rows] == [[], [1, 2], [1, 2], [1, 2], [1, 2, 3], [1, 2]]


def test_a_block_of_bombs_needs_no_more_memory_than_its_bytes() -> None:
    import tracemalloc

    bomb = by_fastavro(one_field("long"), {"f": 2**33})
    values = Text.of([bomb] * 64, is_bytes=True)
    decoder = AvroDecoder(parse_schema(json.dumps(one_field({"type": "array", "items": "long"}))))
    tracemalloc.start()
    _, rejected = decoder.decode(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(rejected) == 64
    assert peak < 1_000_000


def test_long_lists_are_copied_row_by_row_and_come_out_the_same() -> None:
    rng = np.random.default_rng(5)
    for kind, items in (("float", rng.random(784, dtype=np.float32)), ("double", rng.random(200)), ("boolean", rng.random(99) < 0.5)):
        schema = one_field({"type": "array", "items": kind})
        rows = [{"f": items[: len(items) - place].tolist()} for place in range(60)]
        got, rejected = agrees(schema, [by_fastavro(schema, row) for row in rows])
        assert not rejected.reason
        assert same(got, rows)


def test_any_number_of_rows_decodes_and_none_is_fine() -> None:
    decoder = AvroDecoder(parse_schema(json.dumps(WIDE)))
    whole = by_fastavro(WIDE, WIDE_ROW)
    for rows in (0, 1, 31, 32, 33, 300):
        columns, rejected = decoder.decode(Text.of([whole] * rows, is_bytes=True))
        assert not rejected.reason
        assert same(rows_of(columns), [WIDE_ROW] * rows)
    assert columns["n"].values.dtype == np.int32  # type: ignore[union-attr]
    assert columns["y"].values.dtype == np.float32  # type: ignore[union-attr]


def test_texts_are_spans_into_the_records_own_block() -> None:
    values = Text.of([by_fastavro(WIDE, WIDE_ROW)] * 64, is_bytes=True)
    columns, _ = AvroDecoder(parse_schema(json.dumps(WIDE))).decode(values)
    for name in ("id", "note", "hash", "raw"):
        assert columns[name].blob is values.blob  # type: ignore[union-attr]


def test_rows_may_be_any_spans_of_a_larger_block() -> None:
    whole = by_fastavro(WIDE, WIDE_ROW)
    values = Text.of([b"\xff" * 100, whole, b"junk", whole] * 40, is_bytes=True).take(np.arange(159, 0, -2))
    columns, rejected = AvroDecoder(parse_schema(json.dumps(WIDE))).decode(values)
    assert not rejected.reason
    assert same(rows_of(columns), [WIDE_ROW] * 80)


@given(LONG)
@settings(deadline=None)
def test_a_number_alone_in_its_word_is_read_at_any_length(value: int) -> None:
    decoder = AvroDecoder(parse_schema(json.dumps(one_field("long"))))
    columns, rejected = decoder.decode(Text.of([by_fastavro(one_field("long"), {"f": value}), b"\x00"], is_bytes=True))
    assert columns["f"].to_list() == [value, 0]
    assert not rejected.reason


def test_every_mutated_byte_is_judged_as_the_row_reader_judges_it() -> None:
    whole = by_fastavro(WIDE, WIDE_ROW)
    for bits in (0x01, 0x80, 0xFF):
        changed = [whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :] for place in range(len(whole))]
        agrees(WIDE, [*changed, whole])


@given(st.binary(max_size=12) | st.text(max_size=12).map(str.encode), st.data())
@settings(deadline=None, max_examples=500)
def test_a_text_is_utf8_when_python_says_so(text: bytes, data: st.DataObject) -> None:
    broken = bytearray(text)
    if broken:
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.sampled_from([0x80, 0xC1, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xF5]))
    texts = [text, bytes(broken), text + bytes(broken)]
    raw = [by_fastavro(one_field("bytes"), {"f": one}) for one in texts]
    _, rejected = AvroDecoder(parse_schema(json.dumps(one_field("string")))).decode(Text.of(raw, is_bytes=True))
    assert rejected.index == [place for place, one in enumerate(texts) if one.decode(errors="replace").encode() != one]
