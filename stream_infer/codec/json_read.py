"""codec.json_read: the loop that finds the fields of JSON objects. schema → *json_read* → json_codec.

It reads flat objects written in the plainest way, and of them only where each value stands: texts are spans as they are, numbers are
read afterwards by codec.decimals. All else (an escape, an object within, a field twice, a missing field that has a default) makes
the row odd, and a reader that knows all of JSON judges it. So it must only never accept what that reader refuses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.json_text import unplain_at
from stream_infer.codec.schema import FieldSchema
from stream_infer.jit import byte_at, equal_at, jit, ones, place_of, put_byte, put_word, zeros_below
from stream_infer.records import Bytes, Ints, Text

BOOLEAN, NUMBER, TEXT, ENUM, ARRAY = range(5)
KINDS = {"boolean": BOOLEAN, "string": TEXT, "enum": ENUM, "array": ARRAY} | dict.fromkeys(("int", "long", "float", "double"), NUMBER)
GOOD, ODD, DOUBTFUL = 0, 1, 2  # DOUBTFUL: good if it is UTF-8
FIELDS_MAX = 60  # the fields that were seen are bits of a word
# The columns of a program: what the field is; the first plane of its values; that of its mask (0: not nullable); whether it may be
# missing; where its name and its symbols begin among the words, and how many symbols there are.
_KIND, _PLANE, _MASK, _MAY_MISS, _WORD, _SYMBOLS = range(6)
_QUOTE, _ESCAPE, _COLON, _COMMA, _OPEN, _CLOSE, _BEGIN, _END, _MINUS, _POINT, _ZERO, _NINE = b'"\\:,[]{}-.09'
_BEYOND = np.uint64(1 << 32)  # behind the last of 32 bits
_SIGNS = (43, 45, 46, 69, 101)  # what a number may have beside digits: + - . E e


def program(fields: Sequence[FieldSchema]) -> tuple[NDArray[np.int64], Text, int] | None:
    """The program, int64[fields, 6], its words (names and symbols), and how many planes it fills; None for what only the slower reader
    can read: nested records, base64, lists of booleans.

    Plane 0 holds which rows are odd; a boolean has one plane, a text two: starts and sizes; numbers three: starts
    and sizes of what is written, how many numbers it is.
    """
    if len(fields) > FIELDS_MAX or any("." in field.name or field.kind not in KINDS or field.item == "boolean" for field in fields):
        return None
    out = np.zeros((len(fields), 6), dtype=np.int64)
    planes, words = 1, list[str]()
    for line, field in zip(out, fields, strict=True):
        kind = KINDS[field.kind]
        line[:] = kind, planes, 0, field.nullable and not field.has_default, len(words), len(field.symbols)
        planes += {BOOLEAN: 1, NUMBER: 3, TEXT: 2, ENUM: 2, ARRAY: 3}[kind]
        if field.nullable:
            line[_MASK] = planes
            planes += 1
        words += [field.name, *field.symbols]
    return out, Text.of(words), planes


@jit
def _behind_blanks(at: int, end: int) -> int:
    while at < end and (byte_at(at) == 32 or 9 <= byte_at(at) <= 10 or byte_at(at) == 13):
        at += 1
    return at


@jit
def _behind_text(at: int, end: int) -> tuple[int, int]:
    """The place of the quote that ends a text, or 0; and 1 where there are bytes over 127."""
    high = 0
    while at < end:
        while at + 32 <= end:
            marks = unplain_at(at)
            if marks:
                at += zeros_below(marks)
                break
            at += 32
        if at >= end:
            break
        byte = byte_at(at)
        if byte == _QUOTE:
            return at, high
        if byte == _ESCAPE or byte < 32:
            return 0, 0
        high |= byte >> 7
        at += 1
    return 0, 0


@jit
def _behind_number(at: int, end: int, strictly: bool) -> int:
    """The place behind what looks like a number; 0 where there is none. strictly: nobody will read it, so it must be one, and plain."""
    begin = at
    if strictly:
        at += byte_at(at) == _MINUS
        first = at
        while at < end and _ZERO <= byte_at(at) <= _NINE:
            at += 1
        if at == first or (at > first + 1 and byte_at(first) == _ZERO) or at - begin > 40:
            return 0
        if at < end and byte_at(at) == _POINT:
            first = at + 1
            at += 1
            while at < end and _ZERO <= byte_at(at) <= _NINE:
                at += 1
            if at == first:
                return 0
        return at
    while at < end:
        byte = byte_at(at)
        if not (_ZERO <= byte <= _NINE or byte in _SIGNS):
            break
        at += 1
    return at if at > begin else 0


@jit
def _behind_word(at: int, end: int) -> tuple[int, int]:
    """The place behind null, false or true (or 0), and which it is: -1, 0, 1."""
    if end - at >= 4:
        if byte_at(at) == 110 and byte_at(at + 1) == 117 and byte_at(at + 2) == 108 and byte_at(at + 3) == 108:
            return at + 4, -1
        if byte_at(at) == 116 and byte_at(at + 1) == 114 and byte_at(at + 2) == 117 and byte_at(at + 3) == 101:
            return at + 4, 1
        if end - at >= 5 and byte_at(at) == 102 and byte_at(at + 1) == 97 and byte_at(at + 2) == 108 and byte_at(at + 3) == 115:
            return (at + 5 if byte_at(at + 4) == 101 else 0), 0
    return 0, 0


@jit
def _is_word(at: int, size: int, word: int, word_size: int) -> bool:
    same = size == word_size
    for place in range(size if same else 0):
        same &= byte_at(at + place) == byte_at(word + place)
    return same


@jit
def _behind_list(at: int, end: int) -> tuple[int, int]:
    """The place of the bracket that ends a list of what may be numbers (or 0), and how many they are."""
    commas, full = 0, False
    while at + 32 <= end:
        stops = equal_at(at, _CLOSE) | equal_at(at, _QUOTE) | equal_at(at, _OPEN) | equal_at(at, _BEGIN)
        behind = zeros_below(stops | _BEYOND)
        inside = np.uint64((1 << behind) - 1)
        between = equal_at(at, _COMMA) & inside
        blank = equal_at(at, 32) | equal_at(at, 9) | equal_at(at, 10) | equal_at(at, 13)
        commas += ones(between)
        full |= (between | blank) & inside != inside
        at += behind
        if behind < 32:
            break
    while at < end:
        byte = byte_at(at)
        if byte == _CLOSE:
            return at, (commas + 1 if commas or full else 0)
        commas += byte == _COMMA
        full |= not (byte == _COMMA or byte == 32 or 9 <= byte <= 10 or byte == 13)
        if byte in (_QUOTE, _OPEN, _BEGIN):
            return 0, 0
        at += 1
    return 0, 0


@jit
def _put_span(into: int, plane_bytes: int, start: int, size: int) -> None:
    put_word(into, np.uint64(start))
    put_word(into + plane_bytes, np.uint64(size))


@jit
def _read_value(
    kind: int, at: int, end: int, base: int, into: int, plane_bytes: int, words: int, spans: Ints, symbol: int, symbols: int
) -> tuple[int, int]:
    """Reads a value that is no null into its planes; gives the place behind it (0: odd), and 1 where there are bytes over 127."""
    byte = byte_at(at)
    if kind == BOOLEAN:
        at, truth = _behind_word(at, end)
        put_byte(into, truth)
        return at if truth >= 0 else 0, 0
    if kind == NUMBER:
        stop = _behind_number(at, end, False)
        _put_span(into, plane_bytes, at - base, stop - at)
        put_word(into + 2 * plane_bytes, np.uint64(1))
        return stop, 0
    if kind == ARRAY:
        if byte != _OPEN:
            return 0, 0
        stop, count = _behind_list(at + 1, end)
        _put_span(into, plane_bytes, at + 1 - base, stop - at - 1)
        put_word(into + 2 * plane_bytes, np.uint64(count))
        return (stop + 1 if stop else 0), 0
    if byte != _QUOTE:
        return 0, 0
    stop, high = _behind_text(at + 1, end)
    size = stop - at - 1
    _put_span(into, plane_bytes, at + 1 - base, size)
    known = kind == TEXT
    for one in range(symbol, symbol + symbols):
        known |= stop > 0 and _is_word(at + 1, size, words + spans[one], spans[one + 1] - spans[one])
    return (stop + 1 if stop and known else 0), high


@jit
def _put_null(kind: int, into: int, plane_bytes: int) -> None:
    if kind == BOOLEAN:
        put_byte(into, 0)
        return
    _put_span(into, plane_bytes, 0, 0)
    if kind in (NUMBER, ARRAY):
        put_word(into + 2 * plane_bytes, np.uint64(0))


@jit
def _behind_unknown(at: int, end: int) -> tuple[int, int]:
    """The place behind a plain value of a field that nobody knows (0: odd), and 1 where there are bytes over 127."""
    byte = byte_at(at)
    if byte == _QUOTE:
        stop, high = _behind_text(at + 1, end)
        return (stop + 1 if stop else 0), high
    if byte == _MINUS or _ZERO <= byte <= _NINE:
        return _behind_number(at, end, True), 0
    return _behind_word(at, end)[0], 0


@jit
def _read_object(
    lines: NDArray[np.int64], words: int, spans: Ints, at: int, end: int, base: int, out: int, plane_bytes: int, row: int
) -> int:
    """Reads one object into its row of the planes: GOOD, ODD or DOUBTFUL."""
    fields = len(lines)
    at = _behind_blanks(at, end)
    if at >= end or byte_at(at) != _BEGIN:
        return ODD
    at = _behind_blanks(at + 1, end)
    seen, doubts, next_field, more = 0, 0, 0, at < end and byte_at(at) != _END
    while more:
        if at >= end or byte_at(at) != _QUOTE:
            return ODD
        stop, high = _behind_text(at + 1, end)
        if stop == 0:
            return ODD
        doubts |= high
        found = -1
        for turn in range(fields):
            place = (next_field + turn) % fields  # mostly they come in the schema's order
            word = lines[place, _WORD]
            if _is_word(at + 1, stop - at - 1, words + spans[word], spans[word + 1] - spans[word]):
                found = place
                next_field = place + 1
                break
        at = _behind_blanks(stop + 1, end)
        if at >= end or byte_at(at) != _COLON or (found >= 0 and seen >> found & 1):
            return ODD
        at = _behind_blanks(at + 1, end)
        if at >= end:
            return ODD
        if found < 0:
            at, high = _behind_unknown(at, end)
        else:
            seen |= 1 << found
            kind, mask = lines[found, _KIND], lines[found, _MASK]
            into = out + lines[found, _PLANE] * plane_bytes + row * (1 if kind == BOOLEAN else 8)
            null = byte_at(at) == 110
            if mask:
                put_byte(out + mask * plane_bytes + row, not null)
            if null:
                behind, value = _behind_word(at, end)
                at, high = (behind if mask and value < 0 else 0), 0
                _put_null(kind, into, plane_bytes)
            else:
                at, high = _read_value(
                    kind, at, end, base, into, plane_bytes, words, spans, lines[found, _WORD] + 1, lines[found, _SYMBOLS]
                )
        doubts |= high
        if at == 0:
            return ODD
        at = _behind_blanks(at, end)
        more = at < end and byte_at(at) == _COMMA
        at = _behind_blanks(at + 1, end) if more else at
    if at >= end or byte_at(at) != _END or _behind_blanks(at + 1, end) != end:
        return ODD
    for place in range(fields):
        if not seen >> place & 1:
            if not lines[place, _MAY_MISS]:
                return ODD
            kind = lines[place, _KIND]
            put_byte(out + lines[place, _MASK] * plane_bytes + row, 0)
            _put_null(kind, out + lines[place, _PLANE] * plane_bytes + row * (1 if kind == BOOLEAN else 8), plane_bytes)
    return DOUBTFUL if doubts else GOOD


@jit
def read_objects(
    lines: NDArray[np.int64], words: Bytes, spans: Ints, blob: Bytes, start: Ints, size: Ints, planes: NDArray[np.int64]
) -> int:
    """Fills the planes; gives the number of rows that are not GOOD. Of odd rows the counts of numbers are 0, and nothing else
    means anything.

    lines, words: a program, words sealed; spans: int64[w + 1], where each word begins, and the end; blob: sealed; planes: int64[p * n].
    """
    rows = len(start)
    base, out = place_of(blob), place_of(planes)
    others = 0
    for row in range(rows):
        state = ODD
        if 0 < size[row] <= len(blob) and 0 <= start[row] <= len(blob) - size[row]:
            at = base + start[row]
            state = _read_object(lines, place_of(words), spans, at, at + size[row], base, out, rows * 8, row)
        put_byte(out + row, state)
        others += state != GOOD
        if state == ODD:
            for place in range(len(lines)):
                if lines[place, _KIND] == NUMBER or lines[place, _KIND] == ARRAY:
                    planes[(lines[place, _PLANE] + 2) * rows + row] = 0
    return others
