from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.codec.framing import HEADER_NAME, headers_of, prefix_of
from stream_infer.codec.rows import Decoded, RowDecoder, RowEncoder
from stream_infer.codec.schema import RecordSchema, parse_schema
from stream_infer.errors import SchemaError
from stream_infer.records import Column, Fetched, Numbers, Text

FIELDS: list[dict[str, Any]] = [{"name": "id", "type": "string"}, {"name": "n", "type": "int"}]
OLD = {"type": "record", "name": "Row", "fields": FIELDS}
NEW = {
    "type": "record",
    "name": "Row",
    "fields": [{"name": "n", "type": "long"}, FIELDS[0], {"name": "note", "type": "string", "default": "-"}],
}
OLD_SCHEMA, NEW_SCHEMA = parse_schema(json.dumps(OLD)), parse_schema(json.dumps(NEW))


def body(schema: dict[str, Any], **row: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), row)
    return out.getvalue()


def fetched(values: list[bytes | None], headers: list[list[tuple[str, bytes]]] | None = None) -> Fetched:
    count = np.arange(len(values), dtype=np.int64)
    text = Text.of(values, is_bytes=True)
    return Fetched("t", 0, count * 3, count, Text.of([None] * len(values), is_bytes=True), text, headers)


def rows_of(decoded: Decoded) -> list[dict[str, Any]]:
    columns = decoded.columns
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*(column.to_list() for column in columns.values()), strict=True)]


def reasons(decoded: Decoded) -> dict[int, str]:
    return dict(zip(decoded.rejected.index, decoded.rejected.reason, strict=True))


def decoder(
    framing: str = "confluent", writers: dict[int, RecordSchema] | None = None, form: str = "avro", limit: int = 1000
) -> RowDecoder:
    return RowDecoder(NEW_SCHEMA, form, framing, {7: OLD_SCHEMA, 8: NEW_SCHEMA} if writers is None else writers, limit)


def test_each_record_ends_in_exactly_one_list_and_its_neighbours_do_not_notice() -> None:
    old, new = b"\x00\x00\x00\x00\x07", b"\x00\x00\x00\x00\x08"
    own = prefix_of(NEW_SCHEMA, "confluent")
    decoded = decoder().decode(
        fetched(
            [
                new + body(NEW, n=1, id="a", note="x"),
                None,
                old + body(OLD, n=2, id="b"),
                b"",
                b"\x01" + new[1:] + body(NEW, n=1, id="a", note="x"),
                b"\x00\x00\x00\x00\x4d" + body(OLD, n=2, id="b"),
                new[:4],
                old + body(OLD, n=3, id="c"),
                new + body(NEW, n=1, id="a", note="x")[:-1],
                new + b"x" * 2000,
                own + body(NEW, n=4, id="d", note="y"),
                None,
                new,
            ]
        )
    )
    assert decoded.rows.tolist() == [0, 2, 7, 10]
    assert rows_of(decoded) == [
        {"n": 1, "id": "a", "note": "x"},
        {"n": 2, "id": "b", "note": "-"},
        {"n": 3, "id": "c", "note": "-"},
        {"n": 4, "id": "d", "note": "y"},
    ]
    assert decoded.tombstones.tolist() == [1, 11]
    assert reasons(decoded) == {
        3: "the value is empty",
        4: "first byte is 0x01, expected 0x00 of Confluent's prefix",
        5: "schema id 77 is not known",
        6: "4 bytes, too short for the 5 bytes of Confluent's prefix",
        8: "field note: length is 1, but 0 bytes are left",
        9: "2005 bytes, the limit is 1000",
        12: "the record is empty",
    }


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["old", "new", "null", "empty", "magic", "id", "cut"]), max_size=130))
def test_mixed_writers_come_out_in_log_order(kinds: list[str]) -> None:
    values: list[bytes | None] = []
    for place, kind in enumerate(kinds):
        new = b"\x00\x00\x00\x00\x08" + body(NEW, n=place, id=f"row {place}", note="x")
        values.append(
            {
                "old": b"\x00\x00\x00\x00\x07" + body(OLD, n=place, id=f"row {place}"),
                "new": new,
                "null": None,
                "empty": b"",
                "magic": b"{" + new,
                "id": b"\x00\xff\xff\xff\xff" + new,
                "cut": new[:-1],
            }[kind]
        )
    decoded = decoder().decode(fetched(values))
    good = [place for place, kind in enumerate(kinds) if kind in {"old", "new"}]
    assert decoded.rows.tolist() == good
    assert rows_of(decoded) == [{"n": place, "id": f"row {place}", "note": "x" if kinds[place] == "new" else "-"} for place in good]
    assert decoded.tombstones.tolist() == [place for place, kind in enumerate(kinds) if kind == "null"]
    assert decoded.rejected.index == [place for place, kind in enumerate(kinds) if kind in {"empty", "magic", "id", "cut"}]


def test_the_header_form_names_the_schema_by_its_guid() -> None:
    good, other = headers_of(NEW_SCHEMA, "header"), headers_of(OLD_SCHEMA, "header")
    new, old = body(NEW, n=1, id="a", note="x"), body(OLD, n=2, id="b")
    heads: list[list[tuple[str, bytes]]] = [
        good,
        [("traceparent", b"\xff"), *other],
        [],
        [(HEADER_NAME, b"\x01")],
        [(HEADER_NAME, b"\x01" + bytes(16))],
        [*good, *other],
        good,
    ]
    decoded = decoder("header").decode(fetched([new, old, new, new, new, old, None], heads))
    assert decoded.rows.tolist() == [0, 1, 5]
    assert [row["id"] for row in rows_of(decoded)] == ["a", "b", "b"]
    assert decoded.tombstones.tolist() == [6]
    assert reasons(decoded) == {
        2: "no header __value_schema_id",
        3: "header __value_schema_id has 1 bytes, expected 0x01 and a GUID of 16 bytes",
        4: "schema GUID 00000000000000000000000000000000 is not known",
    }
    assert reasons(decoder("header").decode(fetched([new]))) == {0: "no header __value_schema_id"}


def test_bare_records_have_one_writer() -> None:
    own = decoder("bare", {}).decode(fetched([body(NEW, n=1, id="a", note="x")]))
    assert rows_of(own) == [{"n": 1, "id": "a", "note": "x"}]
    former = decoder("bare", {7: OLD_SCHEMA}).decode(fetched([body(OLD, n=1, id="a")]))
    assert rows_of(former) == [{"n": 1, "id": "a", "note": "-"}]
    with pytest.raises(SchemaError, match="7, 8"):
        decoder("bare")


def test_json_is_framed_and_refused_alike() -> None:
    decoded = decoder(form="json").decode(
        fetched([b'\x00\x00\x00\x00\x07{"id": "a", "n": 1}', b'{"id": "a", "n": 1}', b"\x00\x00\x00\x00\x09{}"])
    )
    assert rows_of(decoded) == [{"n": 1, "id": "a", "note": "-"}]
    assert reasons(decoded) == {1: "first byte is 0x7b, expected 0x00 of Confluent's prefix", 2: "schema id 9 is not known"}
    bare = decoder("bare", {}, form="json").decode(fetched([None, b'{"id": "a", "n": 1}', b"{"]))
    assert bare.rows.tolist() == [1]
    assert reasons(bare) == {2: "not JSON from character 1 on"}


@pytest.mark.parametrize("values", [[], [None], [b""], [b"\x00\x00\x00\x00\x4d\x02"]])
def test_no_good_rows_still_give_every_column(values: list[bytes | None]) -> None:
    decoded = decoder().decode(fetched(values))
    assert {name: len(column) for name, column in decoded.columns.items()} == {"n": 0, "id": 0, "note": 0}
    assert len(decoded.rows) == 0


@pytest.mark.parametrize("form", ["avro", "json"])
@pytest.mark.parametrize("framing", ["confluent", "header", "bare"])
def test_what_is_encoded_is_decoded(form: str, framing: str) -> None:
    encoder = RowEncoder(NEW_SCHEMA, form, framing)
    for rows in (0, 1, 100):
        ids = [f"row {place}" for place in range(rows)]
        columns: dict[str, Column] = {"n": Numbers(np.arange(rows)), "id": Text.of(ids), "note": Text.of(["é"] * rows)}
        values = encoder.encode(columns)
        heads = [encoder.headers] * rows if encoder.headers else None
        again = RowDecoder(NEW_SCHEMA, form, framing, {}, 1000).decode(fetched(values.raw(), heads))
        assert rows_of(again) == [{"n": place, "id": ids[place], "note": "é"} for place in range(rows)]
        assert not encoder.refused(columns)


def test_what_is_not_a_format_is_said() -> None:
    with pytest.raises(SchemaError, match="got:      xml"):
        RowEncoder(NEW_SCHEMA, "xml", "bare")
    with pytest.raises(SchemaError, match="expected: confluent or header or bare"):
        RowEncoder(NEW_SCHEMA, "avro", "prefix")
    writer = parse_schema(json.dumps({"type": "record", "name": "Row", "fields": [{"name": "n", "type": "string"}]}))
    with pytest.raises(SchemaError, match="cannot be read"):
        decoder(writers={3: writer})
