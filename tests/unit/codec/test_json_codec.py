"""Rows of JSON. Oracles: rows by hand, and the reader that knows all of JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.codec.json_codec import JsonDecoder
from stream_infer.codec.json_plain import PlainReader
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Column, Numbers, Rejected, Text
from tests.unit.codec.json_tables import SCHEMA

ROW = {
    "id": "a", "n": 1, "big": 2, "x": 1.5, "y": 0.25, "flag": True, "c": "B", "raw": "/w==", "v": [1, 2], "in": {"z": 3},
}  # fmt: skip
SEEN = {"id": "a", "n": 1, "big": 2, "x": 1.5, "y": 0.25, "flag": True, "c": "B", "raw": b"\xff", "v": [1, 2], "in.z": 3}
BLANK = {"id": "", "n": 0, "big": 0, "x": None, "y": 0.0, "flag": False, "c": "", "raw": None, "v": [], "in.z": None}


def decode(*texts: bytes | str) -> tuple[list[dict[str, Any]], dict[int, str]]:
    columns, rejected = JsonDecoder(SCHEMA).decode(Text.of(texts, is_bytes=True))
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*(column.to_list() for column in columns.values()), strict=True)]
    return rows, dict(zip(rejected.index, rejected.reason, strict=True))


def test_an_object_becomes_a_row_and_unknown_fields_are_ignored() -> None:
    rows, rejected = decode(json.dumps(ROW), json.dumps({**ROW, "more": {"a": [1]}}))
    assert rows == [SEEN, SEEN]
    assert rejected == {}


def test_what_is_missing_takes_its_default_or_is_absent() -> None:
    rows, rejected = decode('{"id": "a", "n": 1}', '{"id": "a", "n": 1, "in": null}')
    assert rows == [{**BLANK, "id": "a", "n": 1, "big": 7, "y": 0.5, "c": "A", "v": [1]}] * 2
    assert rejected == {}


def test_whole_floats_are_integers_and_integers_are_floats() -> None:
    rows, _ = decode(json.dumps({**ROW, "n": 3.0, "big": -0.0, "x": 3, "y": 2, "v": [1.0]}))
    assert rows == [{**SEEN, "n": 3, "big": 0, "x": 3.0, "y": 2.0, "v": [1]}]


BAD: list[tuple[Any, str]] = [
    ({"id": 3}, "field id: got 3, expected string"),
    ({"id": None}, "field id: got null, expected string"),
    ({"n": "1"}, "field n: got text, expected int"),
    ({"n": True}, "field n: got a boolean, expected int"),
    ({"n": 1.5}, "field n: got 1.5, expected int"),
    ({"n": 2**31}, "field n: 2147483648 is out of range for int"),
    ({"big": 2**63}, "field big: 9223372036854775808 is out of range for long"),
    ({"big": 10**30}, "field big: got 1e+30, expected long"),
    ({"big": None}, "field big: got null, expected long"),
    ({"x": "NaN"}, "field x: got text, expected double"),
    ({"y": 1e300}, "field y: 1e+300 is out of range for float"),
    ({"flag": 1}, "field flag: got 1, expected boolean"),
    ({"c": "Z\r\n"}, "field c: 'Z\\r\\n' is none of A, B"),
    ({"c": 1}, "field c: got 1, expected one of A, B"),
    ({"raw": "%%"}, "field raw: text is not base64"),
    ({"raw": 1}, "field raw: got 1, expected bytes in base64"),
    ({"v": 1}, "field v: got 1, expected array of long"),
    ({"v": [1, "a"]}, "field v: got text, expected long"),
    ({"in": {"z": []}}, "field in.z: got a list, expected long"),
]


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_a_row_that_does_not_fit_is_rejected_alone_with_its_field(change: dict[str, Any], reason: str) -> None:
    rows, rejected = decode(json.dumps(ROW), json.dumps({**ROW, **change}), json.dumps(ROW))
    assert rejected == {1: reason}
    assert rows == [SEEN, BLANK, SEEN]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON from character 0 on"),
        (b'{"id": NaN}', "not JSON"),
        (b'{"id": 1e999}', "not JSON"),
        (b'{"id": Infinity}', "not JSON"),
        (b'{"id": "\xff"}', "not JSON"),
        (b'{"id": "\\ud800"}', "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b'{"id": "a"', "not JSON"),
        (b"[1]", "the value is a list, expected an object"),
        (b"null", "the value is null, expected an object"),
        (b"{}", "field id: missing, expected string"),
    ],
)
def test_what_is_no_object_is_rejected(text: bytes, reason: str) -> None:
    rows, rejected = decode(json.dumps(ROW), text)
    assert rejected[1].startswith(reason)
    assert rows == [SEEN, BLANK]


def test_no_rows_are_fine() -> None:
    assert decode() == ([], {})


FLAT = parse_schema(
    json.dumps(
        {
            "type": "record",
            "name": "Flat",
            "fields": [
                {"name": "id", "type": "string"},
                {"name": "n", "type": "int"},
                {"name": "big", "type": "long", "default": 7},
                {"name": "x", "type": ["null", "double"]},
                {"name": "y", "type": "float"},
                {"name": "flag", "type": ["null", "boolean"]},
                {"name": "c", "type": {"type": "enum", "name": "C", "symbols": ["A", "BB"]}},
                {"name": "v", "type": {"type": "array", "items": "double"}},
                {"name": "w", "type": ["null", {"type": "array", "items": "int"}]},
                {"name": "z", "type": {"type": "array", "items": "float"}},
                {"name": "note", "type": ["null", "string"], "default": None},
            ],
        }
    )
)
FLAT_ROW = {
    "id": "user-17 é", "n": -3, "big": 2**62, "x": 0.1, "y": 1.5, "flag": True, "c": "BB",
    "v": [1.5, -2, 3e-7, 12345678901234567], "w": [1, 0], "z": [0.1], "note": "a",
}  # fmt: skip


def cells_of(columns: dict[str, Column]) -> list[str]:
    """The rows as texts in which every bit of a float shows."""
    return [repr(cells) for cells in zip(*(column.to_list() for column in columns.values()), strict=True)]


def judged_alike(texts: list[bytes]) -> Rejected:
    """The law: what the fast reader and the one that knows all of JSON say of each row is the same."""
    decoder = JsonDecoder(FLAT)
    values = Text.of([b"}", *texts], is_bytes=True).take(np.arange(1, len(texts) + 1))
    columns, rejected = decoder.decode(values)
    slow, right = decoder._judged(values)
    assert rejected.index == right.index
    assert rejected.reason == right.reason
    fast_rows, slow_rows = cells_of(columns), cells_of(slow)
    assert [row for place, row in enumerate(fast_rows) if place not in right.index] == [
        row for place, row in enumerate(slow_rows) if place not in right.index
    ]
    for name, column in columns.items():
        assert isinstance(column, type(slow[name]))
        assert (column.valid is None) == (slow[name].valid is None)
        if isinstance(column, Numbers):
            assert column.values.dtype == slow[name].values.dtype  # type: ignore[union-attr]
    return rejected


numbers = (
    st.sampled_from(["0", "-0", "-0.0", "1e5", "1E+05", "3.0", "01", "1.", ".5", "+1", "1e999", "-", "2147483648", "9223372036854775808"])
    | st.integers(-(2**65), 2**65).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr)
)
texts = st.text(max_size=9).map(json.dumps) | st.text(max_size=20).map(lambda text: json.dumps(text, ensure_ascii=False))
plain = numbers | texts | st.sampled_from(["null", "true", "false", "nul", "", "{}", "[]", '"A"', '"BB"'])
parts = plain | st.lists(numbers | plain, max_size=4).map(lambda items: "[" + " , ".join(items) + "]")
blanks = st.sampled_from(["", "", "", " ", "\n\t", "\x0b", "\r "])


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """Objects that may fit, written in any way."""
    good = {name: json.dumps(cell, ensure_ascii=draw(st.booleans())) for name, cell in FLAT_ROW.items()}
    changed = draw(st.dictionaries(st.sampled_from([*FLAT_ROW, "more", "ids", "é"]), parts, max_size=3))
    members = list({**good, **changed}.items())
    for _ in range(draw(st.integers(0, 2))):
        members.pop(draw(st.integers(0, len(members) - 1)))
    members += draw(st.lists(st.sampled_from(members), max_size=1))
    if draw(st.booleans()):
        members = draw(st.permutations(members))
    between = [draw(blanks) for _ in range(4)]
    inside = ",".join(f'{between[0]}"{name}"{between[1]}:{between[2]}{cell}{between[3]}' for name, cell in members)
    return (between[2] + "{" + inside + "}" + between[3]).encode(errors="surrogatepass")


@settings(deadline=None, max_examples=400)
@given(st.lists(objects(), min_size=1, max_size=4))
def test_any_object_is_read_as_by_the_reader_that_knows_all_of_json(rows: list[bytes]) -> None:
    judged_alike(rows)


@settings(deadline=None, max_examples=300)
@given(objects(), st.data())
def test_mutated_objects_are_read_as_by_the_reader_that_knows_all_of_json(row: bytes, data: st.DataObject) -> None:
    victim = bytearray(row)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(victim) - 1))
        victim[place : place + data.draw(st.integers(0, 1))] = data.draw(
            st.sampled_from(list(b'"\\,:[]{}0-.e \x00\x7f\x80\xff')).map(lambda one: bytes([one]))
        )
    judged_alike([row, bytes(victim), row])


def test_an_object_cut_or_changed_at_any_byte_is_judged_alike() -> None:
    whole = json.dumps(FLAT_ROW, ensure_ascii=False).encode()
    assert judged_alike([whole[:size] for size in range(len(whole))] + [whole]).index == list(range(len(whole)))
    for bits in (0x01, 0x10, 0x80):
        judged_alike([whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :] for place in range(len(whole))])


@pytest.mark.parametrize("size", [0, 1, 30, 31, 32, 33, 63, 64, 65, 100])
def test_long_texts_and_lists_changed_at_any_byte_are_judged_alike(size: int) -> None:
    """Both are looked through in steps of 32 bytes."""
    row = {**FLAT_ROW, "id": "x" * size, "v": [0.25] * (size // 3), "w": [7] * size, "note": "y" * (size + 7)}
    whole = (json.dumps(row, ensure_ascii=False)[:-1] + ', "z": [' + " " * size + "]}").replace('"z": [0.1], ', "").encode()
    assert not judged_alike([whole]).index
    for changed in (b'"', b"\\", b"]", b"[", b"{", b",", b" ", b"\x1f", b"\xc3", b"5"):
        judged_alike([whole[:place] + changed + whole[place + 1 :] for place in range(len(whole))])


def test_plain_objects_are_read_without_a_python_object_for_each() -> None:
    values = Text.of(
        [
            json.dumps(FLAT_ROW, ensure_ascii=False),
            '{"more": -0.5, "id": "a", "big": 1, "n": 1, "y": 2, "c": "A", "v": [], "z": [], "note": null}',
        ]
    )
    assert PlainReader.of(FLAT) is not None
    assert not len(PlainReader.of(FLAT).columns(values)[1])  # type: ignore[union-attr]
    assert PlainReader.of(SCHEMA) is None  # a nested record
