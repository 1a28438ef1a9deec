"""Against the stock Confluent serializers' own idea of the wire."""

from __future__ import annotations

import struct
import uuid

import numpy as np

from stream_infer.codec.framing import headers_of, prefix_of, split_prefix
from stream_infer.codec.schema import parse_schema
from stream_infer.records import Text

SCHEMA = parse_schema('{"type": "record", "name": "Row", "fields": [{"name": "n", "type": "long"}]}')


def test_the_prefix_is_a_zero_and_the_id_in_network_order() -> None:
    assert struct.unpack(">bI", prefix_of(SCHEMA, "confluent")) == (0, SCHEMA.schema_id)
    assert prefix_of(SCHEMA, "header") == prefix_of(SCHEMA, "bare") == b""


def test_the_header_holds_a_uuid() -> None:
    ((name, value),) = headers_of(SCHEMA, "header")
    assert name == "__value_schema_id"
    assert value[:1] == b"\x01"
    guid = uuid.UUID(bytes=value[1:])
    assert guid.variant == uuid.RFC_4122
    assert guid.version == 8
    assert headers_of(SCHEMA, "confluent") == headers_of(SCHEMA, "bare") == []


def test_ids_are_split_off_wherever_the_rows_lie() -> None:
    ids = [0, 1, 255, 65536, 2**31 - 1, 2**32 - 1]
    values = Text.of([b"junk", *(struct.pack(">bI", 0, one) + b"body" for one in ids)], is_bytes=True)
    framed = split_prefix(values.take(np.arange(len(ids), 0, -1)))
    assert framed.ids.tolist() == ids[::-1]
    assert framed.bodies.raw() == [b"body"] * len(ids)
    assert not framed.rejected
    assert len(split_prefix(Text.of([], is_bytes=True)).ids) == 0
