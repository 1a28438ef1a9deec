"""codec.avro_write: the loops that write Avro records. schema → *avro_write* → avro_encode.

As in avro_read, one kernel serves all schemas: a program says what the fields are, and the values stand in planes, one word per row.
First all records are measured, then each is written once, end to end. What has bytes elsewhere (texts, lists) is left out and
copied to its place afterwards, column by column, for each column has a block of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.schema import FieldSchema
from stream_infer.jit import copy, jit, place_of, put_byte, put_half, put_word
from stream_infer.records import Bytes, Ints

# What a field is to the kernels (a constant of another module would stay in the kept machine code when it changes there).
BOOLEAN, VARINT, FLOAT, DOUBLE, SPAN, FIXED, ARRAY, SAME = range(8)
KINDS = {"boolean": BOOLEAN, "int": VARINT, "long": VARINT, "enum": VARINT, "float": FLOAT, "double": DOUBLE} | {
    "string": SPAN, "bytes": SPAN, "fixed": FIXED, "array": ARRAY,
}  # fmt: skip
# The columns of a program: what the field is; the union's byte where the value is absent and where it is there (-1: no union); the
# first plane of its values; that of its mask. Of SAME: where its bytes begin, and how many they are.
_KIND, _ABSENT, _THERE, _PLANE, _MASK = range(5)
_FROM, _BYTES = _THERE, _PLANE


def program(fields: Sequence[FieldSchema]) -> tuple[NDArray[np.int64], int]:
    """The program, int64[fields, 5], and how many planes it reads.

    Planes 0 and 1 are the records' starts and sizes; a number has one plane; a text or fixed two: its size, and where in the records its
    bytes go; a list three: its number of items, how many bytes they take, where they go. Then the mask of a nullable field.
    """
    out = np.zeros((len(fields), 5), dtype=np.int64)
    planes = 2
    for line, field in zip(out, fields, strict=True):
        kind = KINDS[field.kind]
        absent, there = ((0, 2) if field.null_first else (2, 0)) if field.nullable else (-1, -1)
        line[:] = kind, absent, there, planes, 0
        planes += 3 if kind == ARRAY else 2 if kind >= SPAN else 1
        if field.nullable:
            line[_MASK] = planes
            planes += 1
    return out, planes


def with_same(lines: NDArray[np.int64], same: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """The program where some fields, (number, how many bytes) and ascending, are the same in all rows; neighbours are written as one."""
    if not same:
        return lines
    out, kept = lines.copy(), np.ones(len(lines), dtype=np.bool_)
    at, head, last = 0, 0, -2
    for number, size in same:
        if number == last + 1:
            out[head, _BYTES] += size
            kept[number] = False
        else:
            head = number
            out[head] = SAME, -1, at, size, 0
        at, last = at + size, number
    return out[kept]


@jit
def _put_varint(at: int, value: int) -> int:
    """Writes a zigzag number; gives the place behind it."""
    code = (np.uint64(value) << np.uint64(1)) ^ np.uint64(value >> 63)
    while code >= np.uint64(0x80):
        put_byte(at, np.int64(code & np.uint64(0x7F)) | 0x80)  # type: ignore[arg-type]
        code >>= np.uint64(7)
        at += 1
    put_byte(at, np.int64(code))  # type: ignore[arg-type]
    return at + 1


@jit
def _varint_bytes(value: int) -> int:
    """How many bytes a zigzag number takes."""
    code = (np.uint64(value) << np.uint64(1)) ^ np.uint64(value >> 63)
    size = 1
    while code >= np.uint64(0x80):
        code >>= np.uint64(7)
        size += 1
    return size


@jit
def _bytes_of(lines: NDArray[np.int64], planes: NDArray[np.int64], row: int) -> int:
    """How many bytes a record takes, without its prefix; -1 where a size is negative. Absent texts and lists get size 0."""
    total = 0
    for place in range(len(lines)):
        kind, plane = lines[place, _KIND], lines[place, _PLANE]
        if lines[place, _ABSENT] >= 0:
            total += 1
            if not planes[lines[place, _MASK], row]:
                if kind >= SPAN:
                    planes[plane, row] = 0
                    planes[plane + 1, row] = 0
                continue
        if kind == DOUBLE:
            total += 8
        elif kind == FLOAT:
            total += 4
        elif kind == BOOLEAN:
            total += 1
        elif kind == SAME:
            total += lines[place, _BYTES]
        else:
            value = planes[plane, row]
            if kind != FIXED:
                total += _varint_bytes(value)
            if kind >= SPAN and value < 0:
                return -1
            if kind == ARRAY:
                total += planes[plane + 1, row] + (value > 0)
            elif kind >= SPAN:
                total += value
    return total


@jit
def write_records(lines: NDArray[np.int64], planes: NDArray[np.int64], prefix: Bytes, same: Bytes) -> Bytes:
    """The records end to end, each behind the prefix; their starts and sizes, and where texts and items go, are written to the planes.

    lines: a program; planes: int64[p, n], of which a number fills its plane with its value (floats with their bits); same: what the
    lines of SAME point into. Nothing is written where a size is negative.
    """
    rows = planes.shape[1]
    total = 0
    for row in range(rows):
        planes[0, row] = total
        size = _bytes_of(lines, planes, row)
        if size < 0:
            return np.empty(0, dtype=np.uint8)
        planes[1, row] = len(prefix) + size
        total += planes[1, row]
    out = np.empty(total, dtype=np.uint8)
    first = place_of(out)
    at = first
    for row in range(rows):
        for place in range(len(prefix)):
            put_byte(at, prefix[place])
            at += 1
        for place in range(len(lines)):
            kind, plane = lines[place, _KIND], lines[place, _PLANE]
            if lines[place, _ABSENT] >= 0:
                there = planes[lines[place, _MASK], row] != 0
                put_byte(at, lines[place, _THERE] if there else lines[place, _ABSENT])
                at += 1
                if not there:
                    continue
            if kind == SAME:
                copy(at, place_of(same) + lines[place, _FROM], lines[place, _BYTES])
                at += lines[place, _BYTES]
                continue
            value = planes[plane, row]
            if kind == DOUBLE:
                put_word(at, np.uint64(value))
                at += 8
            elif kind == FLOAT:
                put_half(at, np.uint64(value))
                at += 4
            elif kind == BOOLEAN:
                put_byte(at, value)
                at += 1
            else:
                if kind != FIXED:
                    at = _put_varint(at, value)
                if kind == ARRAY:
                    planes[plane + 2, row] = at - first
                    at += planes[plane + 1, row]
                    if value > 0:
                        put_byte(at, 0)
                        at += 1
                elif kind >= SPAN:
                    planes[plane + 1, row] = at - first
                    at += value
    return out


@jit
def measure_items(items: Ints, start: Ints, count: Ints, size: Ints) -> int:
    """How many bytes the items of each list take as varints, into size; gives the first row whose span lies outside, or -1."""
    for row in range(len(start)):
        if count[row] < 0 or (count[row] > 0 and (start[row] < 0 or start[row] > len(items) - count[row])):
            return row
        total = 0
        for item in range(start[row], start[row] + count[row]):
            total += _varint_bytes(items[item])
        size[row] = total
    return -1


@jit
def write_items(items: Ints, start: Ints, count: Ints, out: Bytes, into: Ints) -> None:
    """Writes the items of each list as varints; the spans are those that measure_items found good."""
    target = place_of(out)
    for row in range(len(start)):
        at = target + into[row]
        for item in range(start[row], start[row] + count[row]):
            at = _put_varint(at, items[item])
