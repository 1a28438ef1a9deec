"""Rows as JSON. Oracles: orjson, byte for byte, and the rows that went in."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.codec.json_codec import JsonDecoder
from stream_infer.codec.json_encode import JsonEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Lists, Numbers, Text
from tests.unit.codec.json_tables import ROWS, SCHEMA


@settings(deadline=None, max_examples=60)
@given(st.lists(ROWS, min_size=1, max_size=5))
def test_rows_go_out_as_they_came_in(rows: list[dict[str, Any]]) -> None:
    texts = [{**row, "raw": None if row["raw"] is None else base64.b64encode(row["raw"]).decode()} for row in rows]
    columns, rejected = JsonDecoder(SCHEMA).decode(Text.of([json.dumps(text) for text in texts], is_bytes=True))
    assert not rejected.reason
    out = JsonEncoder(SCHEMA).encode(columns, b"\x00prefix").raw()
    assert [json.loads(raw[7:]) for raw in out if raw] == texts
    assert list(json.loads(out[0][7:])) == [name.split(".")[0] for name in columns]  # type: ignore[index]


def test_what_json_cannot_hold_is_null_where_it_may_be_and_named_where_not() -> None:
    kinds = {"must": "double", "may": ["null", "double"], "many": {"type": "array", "items": "double"}}
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    encoder = JsonEncoder(parse_schema(json.dumps({"type": "record", "name": "R", "fields": fields})))
    nan, inf = float("nan"), float("inf")
    columns: dict[str, Any] = {
        "must": Numbers(np.array([1.0, nan, 3.0])),
        "may": Numbers(np.array([nan, inf, 3.0])),
        "many": Lists.of_matrix(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, inf]])),
    }
    refused = encoder.refused(columns)
    assert refused.index == [1, 2]
    assert refused.reason == ["field must: JSON has no NaN and no infinity", "field many: JSON has no NaN and no infinity"]
    with pytest.raises(ValueError, match="row 1, field must"):
        encoder.encode(columns)
    good = {name: column.take(np.array([0])) for name, column in columns.items()}
    assert encoder.encode(good).raw() == [b'{"must":1.0,"may":null,"many":[1.0,2.0]}']
    assert not encoder.refused(good).index


WRITTEN = parse_schema(
    json.dumps(
        {
            "type": "record",
            "name": "Written",
            "fields": [
                *json.loads(SCHEMA.text)["fields"],
                {"name": "must", "type": "double"},
                {"name": "many", "type": ["null", {"type": "array", "items": "double"}]},
                {"name": "few", "type": {"type": "array", "items": "float"}},
                {"name": "yes", "type": {"type": "array", "items": "boolean"}},
            ],
        }
    )
)
wider = st.tuples(
    ROWS,
    st.fixed_dictionaries(
        {
            "must": st.floats(allow_nan=False, allow_infinity=False),
            "many": st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3),
            "few": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=3),
            "yes": st.lists(st.booleans(), max_size=3),
        }
    ),
).map(lambda pair: pair[0] | pair[1])


@settings(deadline=None, max_examples=150)
@given(st.lists(wider, min_size=1, max_size=5), st.data())
def test_rows_are_written_byte_for_byte_as_orjson_writes_them(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    names = [field["name"] for field in json.loads(WRITTEN.text)["fields"]]
    texts = [{**row, "raw": None if row["raw"] is None else base64.b64encode(row["raw"]).decode()} for row in rows]
    objects = [{name: row[name] for name in names} for row in texts]
    columns, rejected = JsonDecoder(WRITTEN).decode(Text.of([orjson.dumps(one) for one in objects], is_bytes=True))
    assert not rejected.reason
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    some = {name: column.take(np.array(picked, dtype=np.int64)) for name, column in columns.items()}
    written = JsonEncoder(WRITTEN).encode(some, b"@p").raw()
    assert written == [b"@p" + orjson.dumps(objects[place]) for place in picked]


@pytest.mark.parametrize("behind", [0, 40])
@pytest.mark.parametrize("size", [1, 31, 32, 33, 70])
def test_texts_with_any_byte_at_any_place_are_written_as_orjson_writes_them(size: int, behind: int) -> None:
    """behind: bytes of the block that follow the text and are none of its business."""
    encoder = JsonEncoder(parse_schema('{"type": "record", "name": "T", "fields": [{"name": "t", "type": "string"}]}'))

    def written(texts: list[str]) -> None:
        column = Text.of([*texts, '"' * behind]).take(np.arange(len(texts)))
        assert encoder.encode({"t": column}).raw() == [orjson.dumps({"t": text}) for text in texts]

    codes = (0, 31, 32, 33, 34, 91, 92, 93, 127, 128, 255)
    for place in range(size):
        texts = ["x" * place + chr(code) + "x" * (size - place - 1) for code in codes]
        written(texts)
        for text in texts:  # each after one that needs no look, so that it is found while it is copied; then looked at before
            written(["plain"])
            written(["plain", text, "x" * size])
            written(["plain", text, "x" * size])


def test_spans_outside_of_their_block_are_not_written() -> None:
    encoder = JsonEncoder(parse_schema(json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]})))
    for start, size in ((0, -1), (2, 2), (-1, 1), (0, 2**40)):
        text = Text(np.frombuffer(b"abc", dtype=np.uint8), np.array([0, start]), np.array([3, min(size, 9)]))
        with pytest.raises(ValueError, match=r"negative size|row 1 points outside"):
            encoder.encode({"a": text})
