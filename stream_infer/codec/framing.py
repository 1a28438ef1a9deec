"""codec.framing: which schema wrote this record, and where its body begins. records, schema → *framing* → rows.

Three ways are in use: `confluent`, five bytes before the body (0x00 and the schema's id, big-endian); `header`, a record header
with the schema's 16-byte GUID; `bare`, nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream_infer.codec.schema import RecordSchema
from stream_infer.jit import byte_at, half_at, jit, place_of
from stream_infer.records import Bytes, Ints, Rejected, Text, plain, sealed

FRAMINGS = ("confluent", "header", "bare")
HEADER_NAME = "__value_schema_id"
PREFIX_BYTES = 5
_HEADER_MAGIC = b"\x01"


@dataclass(slots=True)
class Framed:
    """ids: int64[n], the schema's id of each row, -1 where rejected; bodies: the rows without their prefix."""

    ids: Ints
    bodies: Text
    rejected: Rejected


def prefix_of(schema: RecordSchema, framing: str) -> bytes:
    """What stands before every record of that schema."""
    return b"\x00" + schema.schema_id.to_bytes(4, "big") if framing == "confluent" else b""


def headers_of(schema: RecordSchema, framing: str) -> list[tuple[str, bytes]]:
    """The headers of every record of that schema."""
    return [(HEADER_NAME, _HEADER_MAGIC + schema.guid)] if framing == "header" else []


def split_prefix(values: Text) -> Framed:
    """Records with Confluent's five bytes; too short or another magic byte: rejected."""
    alike = _alike(values)
    if alike is not None:
        bodies = Text(values.blob, values.start + PREFIX_BYTES, values.size - PREFIX_BYTES, None, is_bytes=True)
        return Framed(np.full(len(values), alike, dtype=np.int64), bodies, Rejected())
    rejected = Rejected()
    ids = np.full(len(values), -1, dtype=np.int64)
    long_enough = np.flatnonzero(values.size >= PREFIX_BYTES)
    start = values.start[long_enough]
    right = values.blob[start] == 0 if len(start) else np.zeros(0, dtype=np.bool_)
    if right.all():
        rows = long_enough
    else:
        rows, start = long_enough[right], start[right]
    code = np.zeros(len(rows), dtype=np.int64)
    if len(rows):
        for place in range(1, PREFIX_BYTES):
            code = code << 8 | values.blob[start + place]
    ids[rows] = code
    for row in np.flatnonzero(ids < 0).tolist():
        size = int(values.size[row])
        if size < PREFIX_BYTES:
            rejected.add(row, f"{size} byte{'s' if size != 1 else ''}, too short for the {PREFIX_BYTES} bytes of Confluent's prefix")
        else:
            rejected.add(row, f"first byte is 0x{int(values.blob[values.start[row]]):02x}, expected 0x00 of Confluent's prefix")
    step = np.where(ids >= 0, PREFIX_BYTES, 0)
    return Framed(ids, Text(values.blob, values.start + step, values.size - step, None, is_bytes=True), rejected)


def _alike(values: Text) -> int | None:
    """The schema's id where all records have the same sound prefix, as they nearly always do: then nothing is to be told apart."""
    if not len(values):
        return None
    code = int(_shared_code(sealed(values.blob), plain(values.start), plain(values.size)))
    return None if code < 0 else code


@jit
def _shared_code(blob: Bytes, start: Ints, size: Ints) -> np.int64:
    """-1 where there is none, or a record lies outside of the block."""
    first, room = place_of(blob), len(blob) - PREFIX_BYTES
    code = np.uint64(0)
    for row in range(len(start)):
        if size[row] < PREFIX_BYTES or start[row] < 0 or start[row] > room:
            return np.int64(-1)
        place = first + start[row]
        if row == 0:
            code = half_at(place + 1)
        if byte_at(place) != 0 or half_at(place + 1) != code:
            return np.int64(-1)
    number = np.int64(0)
    for place in range(1, PREFIX_BYTES):  # big-endian
        number = number << 8 | byte_at(first + start[0] + place)
    return number


def split_headers(values: Text, headers: Sequence[Sequence[tuple[str, bytes]]] | None, guids: Mapping[bytes, int]) -> Framed:
    """Records whose header holds the GUID; guids: the ids of the known ones. The last header of that name counts, as Kafka has it."""
    rejected = Rejected()
    ids = np.full(len(values), -1, dtype=np.int64)
    for row in range(len(values)):
        found = next((value for name, value in reversed(headers[row]) if name == HEADER_NAME), None) if headers is not None else None
        if found is None:
            rejected.add(row, f"no header {HEADER_NAME}")
        elif len(found) != 1 + 16 or found[:1] != _HEADER_MAGIC:
            rejected.add(row, f"header {HEADER_NAME} has {len(found)} bytes, expected 0x01 and a GUID of 16 bytes")
        elif (known := guids.get(found[1:])) is None:
            rejected.add(row, f"schema GUID {found[1:].hex()} is not known")
        else:
            ids[row] = known
    return Framed(ids, values, rejected)
