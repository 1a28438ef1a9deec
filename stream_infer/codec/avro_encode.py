"""codec.avro_encode: columns → Avro records. columns_check, avro_row_encode → *avro_encode* → rows.

Field by field, all rows at once: first every field says how many bytes each row needs, then each is written at its rows'
positions. Numbers and pieces of text are written as whole 8-byte words; what a word spills past its value is overwritten by the
next field, and the last field's spill falls into a gap between the records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.avro_row_encode import RowWriter
from stream_infer.codec.columns_check import checked, symbol_indices
from stream_infer.codec.schema import FieldSchema, RecordSchema
from stream_infer.records import Bytes, Column, Hashes, Ints, Lists, Numbers, Text

GAP = 16  # an absent last field may write a length, a varint or a word, 10 bytes at most, past the record's end
ROWS_TOGETHER_MIN = 32  # fewer rows are cheaper one by one (benchmarks/codec.py prints the crossover)
WORDS_COPIED_MAX = 8  # longer texts are copied one by one

_ONE = np.uint64(1)
_WIDE = np.uint64(1 << 56)  # codes from here on need a ninth byte
_LIMITS = tuple(np.uint64(1 << 7 * size) for size in range(1, 10))  # a code of at least the k-th needs k + 1 bytes
_CONTINUED = np.array([0x8080808080808080 & ((1 << 8 * max(size - 1, 0)) - 1) for size in range(11)], dtype=np.uint64)
_SPREAD = tuple(
    (np.uint64(keep), np.uint64(move), np.uint64(shift))  # three steps pull 56 bits apart into eight groups of 7
    for keep, move, shift in (
        (0x000000000FFFFFFF, 0x00FFFFFFF0000000, 4),
        (0x00003FFF00003FFF, 0x0FFFC0000FFFC000, 2),
        (0x007F007F007F007F, 0x3F803F803F803F80, 1),
    )
)


class _Out:
    """The block being written, as bytes and as words at every byte."""

    def __init__(self, size: int) -> None:
        self.bytes: Bytes = np.zeros(size + GAP, dtype=np.uint8)
        self.words: Hashes = np.ndarray((size + GAP - 7,), dtype="<u8", buffer=self.bytes, strides=(1,))
        self.halves: NDArray[np.uint32] = np.ndarray((size + GAP - 3,), dtype="<u4", buffer=self.bytes, strides=(1,))


@dataclass(slots=True)
class _Piece:
    """size: bytes that each row needs; write(out, pos): writes them, and may spill into what comes behind."""

    size: Ints | int
    write: Callable[[_Out, Ints], None]


class AvroEncoder:
    """Writes columns as records of `schema`, byte for byte what the reference writers make of the same values."""

    def __init__(self, schema: RecordSchema) -> None:
        self.schema = schema
        self._few = RowWriter(schema)

    def encode(self, columns: Mapping[str, Column], prefix: bytes = b"") -> Text:
        """columns: by field name, n rows each; prefix: put before every record. ValueError names a column of the wrong kind or length."""
        ready, rows = checked(self.schema, columns)
        ready = [_indexed(field, column) for field, column in zip(self.schema.fields, ready, strict=True)]
        if rows < ROWS_TOGETHER_MIN:
            return self._few.write(ready, prefix)
        pieces = [_prefix(prefix)] if prefix else []
        for field, column in zip(self.schema.fields, ready, strict=True):
            piece = _piece(field, column)
            if field.nullable:
                pieces.append(_branch(field, column, rows))
                if column.valid is not None:
                    piece.size *= column.valid
            pieces.append(piece)
        size = np.zeros(rows, dtype=np.int64)
        for piece in pieces:
            size += piece.size
        start = np.cumsum(size + GAP) - (size + GAP)
        out = _Out(int(size.sum()) + GAP * rows)
        pos = start.copy()
        for piece in pieces:
            piece.write(out, pos)
            pos += piece.size
        return Text(out.bytes, start, size, None, is_bytes=True)


def _indexed(field: FieldSchema, column: Column) -> Column:
    """An enum's symbols as their indices."""
    return Numbers(symbol_indices(field, column), column.valid) if isinstance(column, Text) and field.kind == "enum" else column


def _prefix(prefix: bytes) -> _Piece:
    padded = np.frombuffer(prefix + bytes(-len(prefix) % 8), dtype="<u8")

    def write(out: _Out, pos: Ints) -> None:
        for place, word in enumerate(padded):
            out.words[pos + 8 * place] = word

    return _Piece(len(prefix), write)


def _branch(field: FieldSchema, column: Column, rows: int) -> _Piece:
    null, value = (0, 2) if field.null_first else (2, 0)
    codes = np.full(rows, value, dtype=np.uint8) if column.valid is None else np.where(column.valid, value, null).astype(np.uint8)
    return _bytes(codes)


def _piece(field: FieldSchema, column: Column) -> _Piece:
    if isinstance(column, Lists):
        return _array(column)
    if isinstance(column, Text):
        return _spans(column, counted=field.kind != "fixed")
    match field.kind:
        case "boolean":
            return _bytes(column.values.astype(np.uint8))
        case "float":
            halves = column.values.view(np.uint32)
            return _Piece(4, lambda out, pos: out.halves.__setitem__(pos, halves))
        case "double":
            words = column.values.view(np.uint64)
            return _Piece(8, lambda out, pos: out.words.__setitem__(pos, words))
    return _varints(column.values.astype(np.int64))


def _bytes(codes: Bytes) -> _Piece:
    return _Piece(1, lambda out, pos: out.bytes.__setitem__(pos, codes))


def _codes(values: Ints) -> tuple[Hashes, Ints]:
    """Zigzag codes, and how many bytes each needs."""
    code = (values.view(np.uint64) << _ONE) ^ (values >> 63).view(np.uint64)
    size = np.ones(len(code), dtype=np.int64)
    highest = code.max(initial=0)
    for limit in _LIMITS:
        if highest < limit:
            break
        size += code >= limit
    return code, size


def _varint_words(code: Hashes, size: Ints) -> Hashes:
    """The first eight bytes of each varint."""
    word = code
    for keep, move, shift in _SPREAD:
        word = (word & keep) | ((word & move) << shift)
    return word | _CONTINUED[size]


def _varints(values: Ints) -> _Piece:
    code, size = _codes(values)
    if size.max(initial=1) == 1:
        return _bytes(code.astype(np.uint8))

    def write(out: _Out, pos: Ints) -> None:
        out.words[pos] = _varint_words(code, size)
        wide = np.flatnonzero(code >= _WIDE)
        if len(wide):
            high = code[wide] >> np.uint64(56)
            out.bytes[pos[wide] + 8] = (high & np.uint64(0x7F)) | np.where(size[wide] == 10, np.uint64(0x80), np.uint64(0))
            ten = wide[size[wide] == 10]
            out.bytes[pos[ten] + 9] = 1

    return _Piece(size, write)


def _spans(column: Text, *, counted: bool) -> _Piece:
    size = column.size if column.valid is None else column.size * column.valid
    head = _varints(size) if counted else _Piece(0, lambda _out, _pos: None)

    def write(out: _Out, pos: Ints) -> None:
        head.write(out, pos)
        _copy(column.blob, column.start, size, out, pos + head.size)

    return _Piece(head.size + size, write)


def _copy(blob: Bytes, start: Ints, size: Ints, out: _Out, pos: Ints) -> None:
    longest = int(size.max(initial=0))
    if longest == 0:
        return
    steps = min((longest + 7) // 8, WORDS_COPIED_MAX)
    if int(start.max()) + 8 * steps > len(blob):  # only then may a word read past the end of the block
        blob = np.concatenate([blob, np.zeros(8 * steps, dtype=np.uint8)])
    words = np.ndarray((len(blob) - 7,), dtype="<u8", buffer=np.ascontiguousarray(blob), strides=(1,))
    for step in range(steps):
        if step == 0:
            out.words[pos] = words[start]
        else:
            rows = np.flatnonzero(size > 8 * step)
            out.words[pos[rows] + 8 * step] = words[start[rows] + 8 * step]
    done = 8 * WORDS_COPIED_MAX
    for row in np.flatnonzero(size > done).tolist():
        out.bytes[pos[row] + done : pos[row] + size[row]] = blob[start[row] + done : start[row] + size[row]]


def _array(column: Lists) -> _Piece:
    """One block of all items, then the empty block; an empty list is the empty block alone."""
    count = column.size if column.valid is None else column.size * column.valid
    before = np.cumsum(count) - count
    total = int(count.sum())
    if np.array_equal(column.start[count > 0], before[count > 0]):
        items = column.items[:total]
    else:
        items = column.items[np.repeat(column.start - before, count) + np.arange(total, dtype=np.int64)]
    head = _varints(count)
    if items.dtype.kind == "i":
        code, sizes = _codes(items.astype(np.int64))
        ends = np.concatenate([[0], np.cumsum(sizes)])
        inside = ends[before + count] - ends[before]
    else:
        sizes = np.full(total, items.dtype.itemsize, dtype=np.int64)
        ends = np.arange(total + 1, dtype=np.int64) * items.dtype.itemsize
        inside = count * items.dtype.itemsize

    def write(out: _Out, pos: Ints) -> None:
        head.write(out, pos)
        pos = pos + head.size
        at = np.repeat(pos - ends[before], count) + ends[:-1]
        if items.dtype.kind == "b":
            out.bytes[at] = items
        elif items.dtype.kind == "f":
            (out.words if items.dtype.itemsize == 8 else out.halves)[at] = items.view(f"<u{items.dtype.itemsize}")
        else:
            _write_items(out, at, code, sizes)
        full = count > 0
        out.bytes[(pos + inside)[full]] = 0

    return _Piece(head.size + inside + (count > 0), write)


def _write_items(out: _Out, pos: Ints, code: Hashes, size: Ints) -> None:
    """Varints that stand side by side: byte by byte, for a word would spill over the item behind it."""
    for place in range(int(size.max(initial=0))):
        rows = np.flatnonzero(size > place)
        group = (code[rows] >> np.uint64(7 * place)) & np.uint64(0x7F)
        out.bytes[pos[rows] + place] = group | np.where(size[rows] > place + 1, np.uint64(0x80), np.uint64(0))
