"""codec.avro_row: one record read step by step in plain Python. schema → *avro_row* → avro_decode.

The judge of every malformed or unusual record, which alone knows the reasons. It reads a copy of the row's own bytes, so running
past the end is an IndexError and nothing of a neighbour can ever be seen.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np

from stream_infer.codec.resolution import Resolution
from stream_infer.codec.schema import INT_LIMITS, NUMBER_DTYPES, FieldSchema
from stream_infer.records import Bools, Column, Lists, Numbers, Rejected, Text

Read = Callable[[bytes, int], tuple[object, int]]
_VARINT_BITS_MAX = 64
_UNPACK_FLOAT = struct.Struct("<f").unpack_from
_UNPACK_DOUBLE = struct.Struct("<d").unpack_from


class _Malformed(ValueError):
    """What is wrong with the field being read; the text becomes the reason."""


class RowReader:
    """Reads records of the resolution's writer, row by row, to columns by writer field (enums as Numbers of indices)."""

    def __init__(self, resolution: Resolution) -> None:
        self._fields = resolution.writer.fields
        self._reads = [
            (field.name, _nullable(field, _reader(field, resolution.as_text(place)))) for place, field in enumerate(self._fields)
        ]
        self._blank = [None if field.nullable else _blank(field) for field in self._fields]

    def columns(self, values: Text) -> tuple[list[Column], Rejected]:
        """Columns of len(values) rows; rejected rows hold zeros or are absent."""
        rejected = Rejected()
        rows = []
        view = memoryview(values.blob)  # type: ignore[arg-type]
        starts = values.start.tolist()
        for index, (start, size) in enumerate(zip(starts, values.size.tolist(), strict=True)):
            row, reason = self.read(view[start : start + size].tobytes())
            if reason:
                rejected.add(index, reason)
            rows.append(row)
        by_field: list[Sequence[object]] = list(zip(*rows, strict=True)) if rows else [()] * len(self._fields)
        return [_column(field, cells, values, starts) for field, cells in zip(self._fields, by_field, strict=True)], rejected

    def read(self, data: bytes) -> tuple[Sequence[object], str]:
        """The row's values by field (texts as (start, size) in data) and an empty reason, or blanks and the reason in one line."""
        if not data:
            return self._blank, "the record is empty"
        pos = 0
        row = []
        try:
            for _, read in self._reads:
                value, pos = read(data, pos)
                row.append(value)
        except _Malformed as problem:
            return self._blank, f"field {self._reads[len(row)][0]}: {problem}"
        except (IndexError, struct.error):
            return self._blank, f"field {self._reads[len(row)][0]}: the record ends inside it"
        if pos != len(data):
            over = len(data) - pos
            return self._blank, f"{over} byte{'s' if over > 1 else ''} left over after the last field"
        return row, ""


def _blank(field: FieldSchema) -> object:
    if field.kind == "array":
        return ()
    return (0, 0) if field.kind in {"string", "bytes", "fixed"} else 0


def _column(field: FieldSchema, cells: Sequence[object], values: Text, starts: list[int]) -> Column:
    valid: Bools | None = None
    if field.nullable:
        valid = np.array([cell is not None for cell in cells], dtype=np.bool_)
        blank = _blank(field)
        cells = [blank if cell is None else cell for cell in cells]
    if field.kind in {"string", "bytes", "fixed"}:
        spans: Sequence[tuple[int, int]] = cells  # type: ignore[assignment]
        start = np.array([base + span[0] for base, span in zip(starts, spans, strict=True)], dtype=np.int64)
        return Text(values.blob, start, np.array([span[1] for span in spans], dtype=np.int64), valid, field.kind != "string")
    if field.kind == "array":
        lists: Sequence[Sequence[object]] = cells  # type: ignore[assignment]
        size = np.array([len(cell) for cell in lists], dtype=np.int64)
        items = np.array([item for cell in lists for item in cell], dtype=NUMBER_DTYPES[field.item])
        return Lists(items, np.cumsum(size) - size, size, valid)
    return Numbers(np.array(cells, dtype=NUMBER_DTYPES.get(field.kind, np.dtype(np.int64))), valid)


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    byte = data[pos]
    pos += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), pos
    code, shift = byte & 0x7F, 7
    while byte >= 0x80:
        if shift >= _VARINT_BITS_MAX:
            raise _Malformed("number of more than 10 bytes")
        byte = data[pos]
        pos += 1
        code |= (byte & 0x7F) << shift
        shift += 7
    if code >> _VARINT_BITS_MAX:
        raise _Malformed("number of more than 64 bits")
    return (code >> 1) ^ -(code & 1), pos


def _int(data: bytes, pos: int) -> tuple[int, int]:
    value, pos = _varint(data, pos)
    if not -INT_LIMITS["int"] <= value < INT_LIMITS["int"]:
        raise _Malformed(f"{value} is out of range for int")
    return value, pos


def _boolean(data: bytes, pos: int) -> tuple[bool, int]:
    byte = data[pos]
    if byte > 1:
        raise _Malformed(f"boolean byte is {byte}, expected 0 or 1")
    return byte == 1, pos + 1


def _float(data: bytes, pos: int) -> tuple[float, int]:
    return _UNPACK_FLOAT(data, pos)[0], pos + 4


def _double(data: bytes, pos: int) -> tuple[float, int]:
    return _UNPACK_DOUBLE(data, pos)[0], pos + 8


_NUMBERS: dict[str, Read] = {"boolean": _boolean, "int": _int, "long": _varint, "float": _float, "double": _double}


def _reader(field: FieldSchema, utf8: bool) -> Read:
    if field.kind == "array":
        return _array(field.item)
    if field.kind == "enum":
        return _enum(len(field.symbols))
    if field.kind in {"string", "bytes", "fixed"}:
        return _span(field.size, utf8)
    return _NUMBERS[field.kind]


def _nullable(field: FieldSchema, read: Read) -> Read:
    if not field.nullable:
        return read
    there = 1 if field.null_first else 0

    def union(data: bytes, pos: int) -> tuple[object, int]:
        branch, pos = _varint(data, pos)
        if branch == there:
            return read(data, pos)
        if branch not in (0, 1):
            raise _Malformed(f"union branch is {branch}, expected 0 or 1")
        return None, pos

    return union


def _enum(symbols: int) -> Read:
    def enum(data: bytes, pos: int) -> tuple[object, int]:
        index, pos = _varint(data, pos)
        if not 0 <= index < symbols:
            raise _Malformed(f"enum index is {index}, expected 0 to {symbols - 1}")
        return index, pos

    return enum


def _span(fixed: int, utf8: bool) -> Read:
    def span(data: bytes, pos: int) -> tuple[object, int]:
        size, pos = (fixed, pos) if fixed else _varint(data, pos)
        stop = pos + size
        if size < 0:
            raise _Malformed(f"length is {size}")
        if stop > len(data):
            raise _Malformed(f"length is {size}, but {len(data) - pos} bytes are left")
        if utf8 and not _is_utf8(data[pos:stop]):
            raise _Malformed("text is not UTF-8")
        return (pos, size), stop

    return span


def _array(item: str) -> Read:
    read = _NUMBERS[item]
    width = {"float": 4, "double": 8}.get(item, 1)

    def array(data: bytes, pos: int) -> tuple[object, int]:
        items: list[object] = []
        while True:
            count, pos = _varint(data, pos)
            if count == 0:
                return items, pos
            stop = -1
            if count < 0:
                count = -count
                size, pos = _varint(data, pos)
                if not 0 <= size <= len(data) - pos:
                    raise _Malformed(f"block of {size} bytes, but {len(data) - pos} are left")
                stop = pos + size
            if count * width > len(data) - pos:
                raise _Malformed(f"block of {count} items, but {len(data) - pos} bytes are left")
            if width > 1:
                items += struct.unpack_from(f"<{count}{'f' if width == 4 else 'd'}", data, pos)
                pos += count * width
            else:
                for _ in range(count):
                    value, pos = read(data, pos)
                    items.append(value)
            if stop >= 0 and pos != stop:
                raise _Malformed(f"block says it ends {stop - pos} bytes from where its items end")

    return array


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
