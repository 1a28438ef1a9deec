"""codec.json_write: the loops that write JSON objects. jit → *json_write* → json_encode.

Values come as text already: numbers as orjson writes them, texts as they stand in their blocks. What is left is to lay the records
out: pieces of the object that are the same in every row, and between them room for the values, which are copied afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.json_text import is_unplain, unplain_at
from stream_infer.jit import byte_at, copy, jit, part, place_of, put_byte, put_half
from stream_infer.records import Bytes, Ints

BARE, QUOTED, LIST = range(3)
_QUOTE, _COMMA, _OPEN, _CLOSE = b'",[]'
_WIDE = 32  # bytes that are looked at at once
_NULL = np.uint64(int.from_bytes(b"null", "little"))


@jit
def split_items(text: Bytes, ends: Ints) -> None:
    """Where each item ends in the text of a list of plain numbers, `[1,2]`: the places of the commas and of the last bracket."""
    first = place_of(text)
    item = 0
    for place in range(len(text) - 1):
        if byte_at(first + place) == _COMMA:
            ends[item] = place
            item += 1
    if item < len(ends):
        ends[item] = len(text) - 1


@jit
def mark_odd_texts(blob: Bytes, start: Ints, size: Ints, odd: Bytes) -> int:
    """Which texts cannot stand between quotes as they are, or have bytes over 127: 1; gives their number. Spans outside of the blob are
    left to those who copy them."""
    base = place_of(blob)
    limit, found = base + len(blob), 0
    for row in range(len(start)):
        odd[row] = 0
        at = base + start[row]
        stop = at + size[row]
        if size[row] <= 0 or size[row] > len(blob) or start[row] < 0 or start[row] > len(blob) - size[row]:
            continue
        while at < stop and odd[row] == 0 and at + 32 <= limit:
            marks, left = unplain_at(at), stop - at
            odd[row] = (marks if left >= 32 else marks & np.uint64((1 << left) - 1)) != 0
            at += 32
        while at < stop and odd[row] == 0:
            odd[row] = is_unplain(byte_at(at))
            at += 1
        found += odd[row]
    return found


@part
def _copy_text(to: int, at: int, size: int) -> bool:
    """Copies a text; whether it cannot stand between quotes as it is, or has bytes over 127."""
    if size < _WIDE:
        plain = True
        for place in range(size):
            byte = byte_at(at + place)
            plain &= not is_unplain(byte)
            put_byte(to + place, byte)
        return not plain
    odd = np.uint64(0)
    stop = at + size
    while at + _WIDE <= stop:
        odd |= unplain_at(at)
        copy(to, at, _WIDE)
        at, to = at + _WIDE, to + _WIDE
    if at < stop:  # the last bytes overlap those before
        back = at + _WIDE - stop
        odd |= unplain_at(at - back)
        copy(to - back, at - back, _WIDE)
    return bool(odd != 0)


@jit
def copy_plain_texts(blob: Bytes, start: Ints, size: Ints, out: Bytes, into: Ints) -> tuple[int, bool]:
    """Copies texts as copy_spans() does, and looks at them on the way: a text of 8.4 kB is then read once.

    Gives the first row whose span lies outside of the blob, or -1; and True, at the first text that cannot stand between quotes as it is.
    """
    first, target, room = place_of(blob), place_of(out), len(blob)
    for row in range(len(start)):
        if size[row] == 0:
            continue
        if size[row] < 0 or size[row] > room or start[row] < 0 or start[row] > room - size[row]:
            return row, False
        if _copy_text(target + into[row], first + start[row], size[row]):
            return -1, True
    return -1, False


@jit
def write_objects(lines: NDArray[np.int64], pieces: Bytes, cuts: Ints, planes: NDArray[np.int64]) -> Bytes:
    """The records end to end, without their values; starts and sizes, and where values go, are written to the planes.

    lines: int64[fields, 3]: BARE, QUOTED or LIST; the plane with the size of the value's text, behind which is that of its place; the plane
    of its mask, or 0. pieces: what stands before each value and behind the last; cuts: int64[fields + 2], where each begins.
    planes: int64[p, n], 0 and 1 for starts and sizes. Nothing is written where a size is negative.
    """
    fields, rows = len(lines), planes.shape[1]
    total = 0
    for row in range(rows):
        planes[0, row] = total
        total += len(pieces)
        for field in range(fields):
            plane, mask = lines[field, 1], lines[field, 2]
            if mask and not planes[mask, row]:
                planes[plane, row] = 0
                total += 4
            elif planes[plane, row] < 0:
                return np.empty(0, dtype=np.uint8)
            else:
                total += planes[plane, row] + (0 if lines[field, 0] == BARE else 2)
        planes[1, row] = total - planes[0, row]
    out = np.empty(total, dtype=np.uint8)
    base, piece = place_of(out), place_of(pieces)
    at = base
    for row in range(rows):
        for field in range(fields + 1):
            for place in range(piece + cuts[field], piece + cuts[field + 1]):
                put_byte(at, byte_at(place))
                at += 1
            if field == fields:
                break
            form, plane, mask = lines[field, 0], lines[field, 1], lines[field, 2]
            if mask and not planes[mask, row]:
                put_half(at, _NULL)
                at += 4
                continue
            if form != BARE:
                put_byte(at, _QUOTE if form == QUOTED else _OPEN)
                at += 1
            planes[plane + 1, row] = at - base
            at += planes[plane, row]
            if form != BARE:
                put_byte(at, _QUOTE if form == QUOTED else _CLOSE)
                at += 1
    return out
