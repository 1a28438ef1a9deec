"""codec.avro_value: one value as Avro writes it, without numpy. schema → *avro_value* → avro_encode."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from stream_infer.codec.schema import INT_LIMITS, FieldSchema


def value_bytes(field: FieldSchema, value: object) -> bytes:
    """The bytes of a value that is there; ValueError where it is none of the field's kind."""
    there = (b"\x02" if field.null_first else b"\x00") if field.nullable else b""
    return there + _written(field, field.kind, value)


def _written(field: FieldSchema, kind: str, value: object) -> bytes:
    if kind in INT_LIMITS and isinstance(value, int) and -INT_LIMITS[kind] <= value < INT_LIMITS[kind]:
        return _varint(value)
    if kind == "boolean" and isinstance(value, bool):
        return b"\x01" if value else b"\x00"
    if kind in ("float", "double") and isinstance(value, int | float):
        return struct.pack("<f" if kind == "float" else "<d", value)
    if kind == "string" and isinstance(value, str):
        raw = value.encode()
        return _varint(len(raw)) + raw
    if kind == "enum" and value in field.symbols:
        return _varint(field.symbols.index(str(value)))
    if kind == "bytes" and isinstance(value, bytes):
        return _varint(len(value)) + value
    if kind == "fixed" and isinstance(value, bytes) and len(value) == field.size:
        return value
    if kind == "array" and isinstance(value, Sequence) and not isinstance(value, str | bytes):
        items = b"".join(_written(field, field.item, item) for item in value)
        return _varint(len(value)) + items + b"\x00" if value else b"\x00"
    raise ValueError(f"field {field.name}: got {value!r}, expected {kind}{' of ' + field.item if kind == 'array' else ''}")


def _varint(value: int) -> bytes:
    code = value << 1 if value >= 0 else ~(value << 1)
    out = bytearray()
    while code >= 0x80:
        out.append(code & 0x7F | 0x80)
        code >>= 7
    out.append(code)
    return bytes(out)
