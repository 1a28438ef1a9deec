from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from stream_infer.codec import internal
from stream_infer.codec.schema import FieldSchema, parse_schema
from stream_infer.errors import SchemaError


def record(*fields: Any, **more: Any) -> str:
    return json.dumps({"type": "record", "name": "Row", "namespace": "a.b", "fields": list(fields), **more})


def field(kind: Any, **more: Any) -> str:
    return record({"name": "f", "type": kind, **more})


def test_every_kind_of_field_is_described() -> None:
    schema = parse_schema(
        record(
            {"name": "id", "type": "string", "doc": "x"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "n", "type": ["int", "null"], "default": 3},
            {"name": "x", "type": ["null", "double"], "default": None, "aliases": ["old_x"]},
            {"name": "c", "type": {"type": "enum", "name": "C", "symbols": ["A", "B"], "default": "B"}},
            {"name": "h", "type": {"type": "fixed", "name": "H", "size": 2}, "default": "\u00ff\u0000"},
            {"name": "v", "type": {"type": "array", "items": "float"}, "default": [1, 2.5]},
            {"name": "inner", "type": {"type": "record", "name": "Inner", "fields": [{"name": "y", "type": "boolean"}]}},
        )
    )
    assert schema.name == "a.b.Row"
    assert schema.fields == (
        FieldSchema("id", "string"),
        FieldSchema("at", "long", logical="timestamp-millis"),
        FieldSchema("n", "int", nullable=True, null_first=False, has_default=True, default=3),
        FieldSchema("x", "double", nullable=True, has_default=True, aliases=("old_x",)),
        FieldSchema("c", "enum", symbols=("A", "B"), symbol_default="B"),
        FieldSchema("h", "fixed", size=2, has_default=True, default=b"\xff\x00"),
        FieldSchema("v", "array", item="float", has_default=True, default=(1.0, 2.5)),
        FieldSchema("inner.y", "boolean"),
    )
    assert schema.field("v").item == "float"
    with pytest.raises(KeyError):
        schema.field("nothing")


@pytest.mark.parametrize("name", ["PREDICTION", "REJECT", "JOINED", "CUT"])
def test_the_id_is_31_bits_of_the_canonical_forms_digest(name: str) -> None:
    text = getattr(internal, name)
    canonical = fastavro.schema.to_parsing_canonical_form(json.loads(text))
    digest = hashlib.sha256(canonical.encode()).digest()
    schema = parse_schema(text)
    assert schema.schema_id == int.from_bytes(digest[:4], "big") % (1 << 31)
    assert len(schema.guid) == 16


def test_id_and_guid_see_the_wire_and_nothing_else() -> None:
    plain = parse_schema(field("long"))
    dressed = parse_schema(field({"type": "long", "logicalType": "timestamp-millis"}, doc="x", default=0))
    assert (plain.schema_id, plain.guid) == (dressed.schema_id, dressed.guid)
    assert parse_schema(field("int")).schema_id != plain.schema_id
    assert parse_schema(field("int")).guid != plain.guid


def test_the_shipped_file_is_the_schema_that_is_written() -> None:
    shipped = Path(__file__).parents[3] / "schemas"
    assert (shipped / "prediction.avsc").read_text() == internal.PREDICTION
    assert (shipped / "explanation.avsc").read_text() == internal.EXPLANATION


REFUSED = [
    (field({"type": "map", "values": "long"}), "field f", "map"),
    (field({"type": "array", "items": "string"}), "field f", "array of string"),
    (field({"type": "array", "items": ["null", "long"]}), "field f", "array of union"),
    (field(["long", "string"]), "field f", "union of long, string"),
    (field(["null", "long", "string"]), "field f", "union of null, long, string"),
    (field("null"), "field f", "null"),
    (field(["null", {"type": "record", "name": "I", "fields": [{"name": "g", "type": "long"}]}]), "field f", "record"),
    (record({"name": "next", "type": ["null", "Row"]}), "field next", "record"),
    (record({"name": "next", "type": "Row"}), "field next", "record a.b.Row inside itself"),
    (field({"type": "fixed", "name": "F", "size": 0}), "field f", "fixed of 0 bytes"),
    (field("long", default="x"), "field f: default", "'x'"),
    (field("int", default=2**31), "field f: default", "2147483648"),
    (field("boolean", default=1), "field f: default", "1"),
    (field("string", default=None), "field f: default", "None"),
    (field({"type": "enum", "name": "E", "symbols": ["A"]}, default="B"), "field f: default", "'B'"),
    (field({"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}), "not an Avro schema", "'B'"),
    (field("bytes", default="\u0100"), "field f: default", "expected"),
    (record(), "is empty", "no fields"),
    ('"string"', "a topic's schema is a record", "string"),
    ("{", "not an Avro schema", "expected"),
    ("[" * 100_000, "not an Avro schema", "expected"),
    ("{}", "not an Avro schema", "type"),
    ('{"type": "record", "name": "R", "fields": 3}', "not an Avro schema", "Fields"),
    (field("nonsense"), "not an Avro schema", "nonsense"),
    (" " * 2_000_000, "too long", "2000000"),
]


@pytest.mark.parametrize(("text", "what", "got"), REFUSED)
def test_what_cannot_become_columns_is_refused_with_its_place(text: str, what: str, got: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(text, "schemas/x.avsc")
    message = str(caught.value)
    assert message.startswith("schemas/x.avsc: ")
    for part in (what, got, "got:", "expected:", "fix:"):
        assert part in message
