"""codec.block: columns of many rows as one record, for topics between our own tasks. records → *block* → flow.

A block is 16 bytes (format, version, CRC-32 of what follows it, sizes), a header in JSON that names every column with its kind and where
its numbers are, and these, each beginning at a multiple of 8. Whole numbers lie above their least in as few bytes as they need; what is
the same in all rows stands once. Everything is little-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_infer.jit import jit
from stream_infer.records import Bools, Bytes, Column, Ints, Lists, Numbers, Text

FORMAT, VERSION = 0xB1, 1
ROWS_MAX = 65_535  # of one block: a row's place in its record has 16 bits
BYTES_MAX = 512_000  # wanted of one block: a topic takes records of 1,048,588 bytes by default, and one row may be long
_HEAD = struct.Struct("<BBHIII")  # format, version, nothing, CRC-32, bytes in all, bytes of the header
_DTYPES = {"?": "bool", "i4": "int32", "i8": "int64", "f4": "float32", "f8": "float64"}
_NAMES = {np.dtype(name): code for code, name in _DTYPES.items()}
_UNSIGNED: dict[int, np.dtype[Any]] = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}

Said = int | float | str | bool | list[float] | None
Head = Mapping[str, Said]


class BlockError(ValueError):
    """These bytes are no block, or not all of one; the text says why in one line."""


@dataclass(frozen=True, slots=True)
class Block:
    """head: what is said of all rows at once; columns: by name, `rows` rows each."""

    rows: int
    head: dict[str, Any]
    columns: dict[str, Column]


def write_blocks(columns: Mapping[str, Column], rows: int, head: Head) -> list[bytes]:
    """The rows as blocks of at most ROWS_MAX rows and about BYTES_MAX bytes, in order. A column has one of the kinds of codec.schema."""
    if rows > ROWS_MAX:
        return _halves(columns, rows, head)
    block = _written(columns, rows, head)
    return [block] if len(block) <= BYTES_MAX or rows < 2 else _halves(columns, rows, head)


def _halves(columns: Mapping[str, Column], rows: int, head: Head) -> list[bytes]:
    found = []
    for part in (slice(0, rows // 2), slice(rows // 2, rows)):
        taken = {name: column.take(part) for name, column in columns.items()}
        found += write_blocks(taken, part.stop - part.start, head)
    return found


def read_block(data: Bytes) -> Block:
    """What write_blocks wrote. data: uint8[b]; the columns are views of a copy of it. Raises BlockError."""
    if len(data) < _HEAD.size:
        raise BlockError(f"{len(data)} bytes, expected a block of columns, which has {_HEAD.size} at least")
    own = np.array(data, dtype=np.uint8)  # where every array of numbers begins at a multiple of its size
    form, version, _, crc, total, header = _HEAD.unpack(own[: _HEAD.size].tobytes())
    if (form, version) != (FORMAT, VERSION):
        raise BlockError(f"begins with {form:#x} {version:#x}, expected a block of columns: {FORMAT:#x} {VERSION:#x}")
    if total != len(own) or _HEAD.size + header > total:
        raise BlockError(f"{len(own)} bytes, expected {total}: the block is cut off, or goes on")
    if zlib.crc32(memoryview(own[8:])) != crc:  # type: ignore[arg-type]  # arrays are buffers, which numpy's types do not say
        raise BlockError("the checksum does not fit: the block was changed")
    told = orjson.loads(own[_HEAD.size : _HEAD.size + header].tobytes())
    reader = _Reader(own, _HEAD.size + header)
    columns = {name: reader.column(told["rows"], *parts) for name, *parts in told["columns"]}
    return Block(told["rows"], told["head"], columns)


def rows_of_block(block: Block) -> list[dict[str, object]]:
    """The rows as Python values, each with all that the head says: for tests and for people who look."""
    told = {name: value for name, value in block.head.items() if value is not None}
    columns = [column.to_list() for column in block.columns.values()]
    return [told | dict(zip(block.columns, row, strict=True)) for row in zip(*columns, strict=True)]


# -- writing -------------------------------------------------------------------------------------------------------------------


def _written(columns: Mapping[str, Column], rows: int, head: Head) -> bytes:
    writer = _Writer()
    told = [[name, *writer.column(column)] for name, column in columns.items()]
    header = orjson.dumps({"rows": rows, "head": dict(head), "columns": told})
    body = header + bytes(-len(header) % 8) + b"".join(writer.parts)
    total = _HEAD.size + len(body)
    sizes = struct.pack("<II", total, len(header))
    return struct.pack("<BBHI", FORMAT, VERSION, 0, zlib.crc32(body, zlib.crc32(sizes))) + sizes + body


class _Writer:
    """parts: the numbers of all columns so far, each filled up to a multiple of 8 bytes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def _put(self, array: NDArray[np.generic]) -> None:
        raw = array.tobytes()
        self.parts.append(raw)
        if len(raw) % 8:
            self.parts.append(bytes(-len(raw) % 8))

    def column(self, column: Column) -> list[object]:
        """Writes a column; what the header says of it."""
        if column.valid is not None:
            self._put(np.packbits(column.valid))
        there = column.valid is not None
        if isinstance(column, Numbers):
            return ["n", there, self._numbers(column.values)]
        count = column.size if column.valid is None else np.where(column.valid, column.size, 0)
        pool: NDArray[np.generic] = column.blob if isinstance(column, Text) else column.items
        same = len(count) > 1 and bool((column.start == column.start[0]).all()) and bool((count == count[0]).all())
        sizes = self._numbers(count)
        items = _laid(pool, column.start[:1], count[:1]) if same else _laid(pool, column.start, count)
        kind = ("b" if column.is_bytes else "t") if isinstance(column, Text) else "l"
        if isinstance(column, Text):
            self._put(items)
            return [kind, there, sizes, same, len(items)]
        return [kind, there, sizes, same, len(items), self._numbers(items)]

    def _numbers(self, values: NDArray[np.generic]) -> list[object]:
        """[type, width, base]. width: bytes of each number above the base; 0: all are the base; -1: as they are; -2: bits."""
        dtype = values.dtype.newbyteorder("=")
        code = _NAMES.get(dtype)
        if code is None:
            raise ValueError(f"numbers of type {values.dtype} do not go into blocks")
        if not len(values):
            return [code, 0, 0]
        if code == "?":
            self._put(np.packbits(values.astype(np.bool_)))
            return [code, -2, 0]
        if code in ("f4", "f8"):
            bits = np.ascontiguousarray(values).view(f"<u{dtype.itemsize}")
            once = bool((bits == bits[0]).all())
            if once:
                return [code, 0, int(bits[0])]
            self._put(bits)
            return [code, -1, 0]
        low, high = int(values.min()), int(values.max())
        if low == high:
            return [code, 0, low]
        width = next((size for size in _UNSIGNED if high - low < 1 << 8 * size), 8)
        if width >= dtype.itemsize:
            self._put(values)
            return [code, -1, 0]
        self._put((values - np.asarray(low, dtype=dtype)).astype(_UNSIGNED[width]))
        return [code, width, low]


def _laid(pool: NDArray[np.generic], start: Ints, size: Ints) -> NDArray[np.generic]:
    """The items of the spans end to end."""
    if not len(start):
        return pool[:0]
    end = start + size
    if np.array_equal(start[1:], end[:-1]):
        return pool[int(start[0]) : int(end[-1])]
    out = np.empty(int(size.sum()), dtype=pool.dtype)
    width = pool.dtype.itemsize
    _copied(np.ascontiguousarray(pool).view(np.uint8), start * width, size * width, out.view(np.uint8))
    return out


@jit
def _copied(blob: Bytes, start: Ints, size: Ints, out: Bytes) -> None:
    at = 0
    for row in range(len(start)):
        first = start[row]
        for place in range(size[row]):
            out[at + place] = blob[first + place]
        at += size[row]


# -- reading -------------------------------------------------------------------------------------------------------------------


class _Reader:
    """Takes the arrays of a block in the order in which they were written."""

    def __init__(self, data: Bytes, at: int) -> None:
        self._data, self._at = data, at + -at % 8

    def _take(self, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        size = dtype.itemsize * count
        found: NDArray[Any] = self._data[self._at : self._at + size].view(dtype)
        self._at += size + -size % 8
        return found

    def column(self, rows: int, kind: str, there: bool, *parts: Any) -> Column:
        """One column. there: whether rows may be absent; parts: as _Writer.column told them."""
        valid = self._bits(rows) if there else None
        if kind == "n":
            return Numbers(self._numbers(rows, parts[0]), valid)
        size: Ints = self._numbers(rows, parts[0])
        same, count = parts[1], parts[2]
        start = np.zeros(rows, dtype=np.int64) if same else np.cumsum(size) - size
        if kind == "l":
            return Lists(self._numbers(count, parts[3]), start, size, valid)
        return Text(self._take(np.dtype(np.uint8), count), start, size, valid, kind == "b")

    def _bits(self, count: int) -> Bools:
        return np.unpackbits(self._take(np.dtype(np.uint8), (count + 7) // 8), count=count).view(np.bool_)

    def _numbers(self, count: int, told: list[Any]) -> NDArray[Any]:
        code, width, base = told
        dtype = np.dtype(_DTYPES[code])
        if width == -2:
            return self._bits(count)
        if width == -1:
            return self._take(dtype, count)
        if width:
            above: NDArray[Any] = self._take(_UNSIGNED[width], count).astype(dtype)
            above += np.asarray(base, dtype=dtype)
            return above
        if code in ("f4", "f8"):
            return np.full(count, base, dtype=f"<u{dtype.itemsize}").view(dtype)
        same: NDArray[Any] = np.full(count, base, dtype=dtype)
        return same
