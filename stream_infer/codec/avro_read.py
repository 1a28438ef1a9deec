"""codec.avro_read: the loop that reads Avro records, record by record and field by field. schema → *avro_read* → avro_decode.

One kernel for all schemas: what the fields are stands in a program of numbers, so nothing is compiled per schema. It explains
nothing: a row that is malformed, or merely written in an unusual way (an array in several blocks), is marked odd and left, and
codec.avro_row judges it alone. So it must only never accept what the row reader refuses, nor look at a byte outside of a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.schema import NUMBER_DTYPES, FieldSchema
from stream_infer.jit import byte_at, half_at, jit, place_of, put_byte, put_half, put_word, word_at
from stream_infer.records import Bytes, Ints

# What a field or an item is to the kernel. Spans are bytes, texts are spans that must be UTF-8.
BOOLEAN, INT, LONG, FLOAT, DOUBLE, ENUM, SPAN, TEXT, FIXED, ARRAY = range(10)
KINDS = {"boolean": BOOLEAN, "int": INT, "long": LONG, "float": FLOAT, "double": DOUBLE, "bytes": SPAN, "string": TEXT} | {
    "fixed": FIXED, "enum": ENUM, "array": ARRAY,
}  # fmt: skip
# The columns of a program: what the field is; the union's branch that has a value (-1: no union); size of a fixed, number of
# symbols, or kind of the items; the first plane of its values; that of its mask; bytes of a value.
_KIND, _THERE, _MORE, _PLANE, _MASK, _WIDTH = range(6)
_WORD = np.dtype(np.int64)
_STOPS = np.uint64(0x8080808080808080)


def program(fields: Sequence[FieldSchema], texts: Sequence[bool]) -> tuple[NDArray[np.int64], int]:
    """The program, int64[fields, 6], and how many planes it fills. texts: which spans must be UTF-8.

    Plane 0 holds which rows are odd; a number or the index of a symbol has one plane, a text or a list two: starts and sizes.
    """
    out = np.zeros((len(fields), 6), dtype=np.int64)
    planes = 1
    for line, field, text in zip(out, fields, texts, strict=True):
        kind = KINDS[field.kind]
        kind = TEXT if kind == SPAN and text else kind
        more = {ENUM: len(field.symbols), FIXED: field.size, ARRAY: KINDS.get(field.item, 0)}.get(kind, 0)
        line[:] = kind, int(field.null_first) if field.nullable else -1, more, planes, 0, NUMBER_DTYPES.get(field.kind, _WORD).itemsize
        planes += 2 if kind >= SPAN else 1
        if field.nullable:
            line[_MASK] = planes
            planes += 1
    return out, planes


@jit
def _varint(at: int, end: int) -> tuple[int, int]:
    """The zigzag number at this place, and the place behind it; 0 where it does not end before `end` or has over 64 bits."""
    if at >= end:
        return 0, 0
    byte = byte_at(at)
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    code = np.uint64(byte & 0x7F)
    shift = 7
    while byte >= 0x80:
        if at >= end or shift > 63:
            return 0, 0
        byte = byte_at(at)
        at += 1
        if shift == 63 and byte > 1:
            return 0, 0
        code |= np.uint64(byte & 0x7F) << np.uint64(shift)
        shift += 7
    return np.int64(code >> np.uint64(1)) ^ -np.int64(code & np.uint64(1)), at  # type: ignore[return-value]  # int() would keep the sign away


@jit
def _is_utf8(at: int, stop: int, limit: int) -> bool:
    """Whether these bytes are UTF-8, as Unicode's table 3-7 has it: no surrogates, no longer forms than needed. limit: of reading."""
    while at < stop:
        if at + 8 <= limit:  # eight bytes at once, for most texts have none over 127
            word = word_at(at)
            left = stop - at
            if left < 8:
                word <<= np.uint64(8 * (8 - left))
            if word & _STOPS == np.uint64(0):
                at += 8
                continue
        byte = byte_at(at)
        at += 1
        if byte < 0x80:
            continue
        low, high, more = 0x80, 0xBF, 0  # low, high: of the byte that follows
        if 0xC2 <= byte <= 0xDF:
            more = 1
        elif 0xE0 <= byte <= 0xEF:
            more = 2
            low = 0xA0 if byte == 0xE0 else 0x80
            high = 0x9F if byte == 0xED else 0xBF
        elif 0xF0 <= byte <= 0xF4:
            more = 3
            low = 0x90 if byte == 0xF0 else 0x80
            high = 0x8F if byte == 0xF4 else 0xBF
        if more == 0 or more > stop - at or not low <= byte_at(at) <= high:
            return False
        for place in range(at + 1, at + more):
            if byte_at(place) & 0xC0 != 0x80:
                return False
        at += more
    return True


@jit
def _skip_items(at: int, end: int, count: int, kind: int) -> int:
    """The place behind the one block of `count` items and the empty block; 0 where the bytes are anything else."""
    if count == 0:
        return at
    width = 8 if kind == DOUBLE else 4 if kind == FLOAT else 1
    if count < 0 or count > (end - at) // width:
        return 0
    if kind in (FLOAT, DOUBLE):
        at += count * width
    elif kind == BOOLEAN:
        for place in range(at, at + count):
            if byte_at(place) > 1:
                return 0
        at += count
    else:
        for _ in range(count):
            value, at = _varint(at, end)
            if at == 0 or (kind == INT and value != np.int32(value)):
                return 0
    return at + 1 if at < end and byte_at(at) == 0 else 0


@jit
def _read_value(kind: int, more: int, at: int, end: int, limit: int, blob: int, into: int, plane_bytes: int) -> int:
    """Reads one value from `at` to `into`, the size of a span or list one plane further; gives the place behind it, or 0."""
    if kind == DOUBLE:
        if end - at < 8:
            return 0
        put_word(into, word_at(at))
        return at + 8
    if kind == FLOAT:
        if end - at < 4:
            return 0
        put_half(into, half_at(at))
        return at + 4
    if kind == BOOLEAN:
        if at >= end or byte_at(at) > 1:
            return 0
        put_byte(into, byte_at(at))
        return at + 1
    value = more
    if kind != FIXED:
        value, at = _varint(at, end)
        if at == 0:
            return 0
    if kind == INT:
        put_half(into, np.uint64(value))
        return at if value == np.int32(value) else 0
    if kind < SPAN:
        put_word(into, np.uint64(value))
        return at if kind == LONG or 0 <= value < more else 0
    put_word(into, np.uint64(at - blob))
    put_word(into + plane_bytes, np.uint64(value))
    if kind == ARRAY:
        return _skip_items(at, end, value, more)
    if value < 0 or value > end - at or (kind == TEXT and not _is_utf8(at, at + value, limit)):
        return 0
    return at + value


@jit
def read_records(lines: NDArray[np.int64], blob: Bytes, start: Ints, size: Ints, planes: NDArray[np.int64]) -> int:
    """Fills the planes; gives the number of odd rows, whose values (but for the sizes of lists: 0) mean nothing.

    lines: a program; blob: read-only; start, size: of the rows; planes: int64[p * n + fields], each plane n words, of which narrower
    values fill a part; behind them, by field, the number of items of all lists. A list begins where its items do in the blob.
    """
    rows, fields = len(start), len(lines)
    totals = len(planes) - fields
    planes[totals:] = 0
    first, out = place_of(blob), place_of(planes)
    limit = first + len(blob)
    odd = 0
    for row in range(rows):
        at = first + start[row]
        end = at + size[row]
        if not first <= at < end <= limit:
            at = 0
        for place in range(fields):
            if at == 0:
                break
            kind, there, width = lines[place, _KIND], lines[place, _THERE], lines[place, _WIDTH]
            into = out + lines[place, _PLANE] * rows * 8 + row * width
            if there >= 0:
                branch, at = _varint(at, end)
                put_byte(out + lines[place, _MASK] * rows * 8 + row, branch == there)
                if branch != there:
                    for byte in range(width):  # what is absent is zero
                        put_byte(into + byte, 0)
                    if kind >= SPAN:
                        put_word(into + rows * 8, np.uint64(0))
                    if branch < 0 or branch > 1:
                        at = 0
                    continue
                if at == 0:
                    break
            at = _read_value(kind, lines[place, _MORE], at, end, limit, first, into, rows * 8)
        good = at == end
        put_byte(out + row, not good)
        odd += not good
        for place in range(fields):
            if lines[place, _KIND] == ARRAY:
                at = (lines[place, _PLANE] + 1) * rows + row
                planes[at] *= good
                planes[totals + place] += planes[at]
    return odd


@jit
def read_items(kind: int, blob: Bytes, start: Ints, size: Ints, items: Bytes) -> None:
    """Copies the items of lists, whose places read_records found, end to end; start becomes each list's first item.

    items: the bytes of an array in the dtype of `kind`.
    """
    out, first = place_of(items), place_of(blob)
    limit = first + len(blob)
    width = 8 if kind in (DOUBLE, LONG) else 1 if kind == BOOLEAN else 4
    done = 0
    for row in range(len(start)):
        at, count = first + start[row], size[row]
        into = out + done * width
        if kind in (INT, LONG):
            for item in range(count):
                value, at = _varint(at, limit)
                if kind == LONG:
                    put_word(into + item * 8, np.uint64(value))
                else:
                    put_half(into + item * 4, np.uint64(value))
        else:
            stop = at + count * width
            while at + 8 <= stop:
                put_word(into, word_at(at))
                at += 8
                into += 8
            while at < stop:
                put_byte(into, byte_at(at))
                at += 1
                into += 1
        start[row] = done
        done += count


@jit
def judge_texts(blob: Bytes, start: Ints, size: Ints, odd: Bytes) -> None:
    """Of the rows that are doubtful (odd is 2), those that are UTF-8 are good (0), the others odd (1)."""
    first = place_of(blob)
    for row in range(len(start)):
        if odd[row] == 2:
            at = first + start[row]
            odd[row] = not _is_utf8(at, at + size[row], first + len(blob))
