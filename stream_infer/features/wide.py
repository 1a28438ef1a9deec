"""features.wide: one field that holds many inputs of a model: a list, joined numbers, packed floats. records → *wide* → vectorise.

Its numbers go straight into their columns of the matrix. A row whose field holds another count of them than the model wants gets
NaN there, which `gap` puts into words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.number_text import floats_of_texts, matrix_of_texts
from stream_infer.features.settings import Input
from stream_infer.jit import copy, jit, place_of
from stream_infer.records import Bools, Column, Lists, Matrix, Text

_FLOAT_BYTES = 4


def fill(entry: Input, column: Column, out: Matrix) -> None:
    """Write the numbers of each row into out (float32[n, entry.size], rows may lie apart); NaN throughout a row that does not fit."""
    # The kernels write rows that follow each other: numbers of a matrix with other inputs too are copied once more.
    block = out if out.flags.c_contiguous else np.empty(out.shape, dtype=np.float32)
    if entry.kind == "floats32":
        assert isinstance(column, Text)
        _unpack(column.blob, column.start, column.size, _present(column), block.view(np.uint8), block)
    elif isinstance(column, Text):
        odd = np.flatnonzero(matrix_of_texts(column, ord(entry.separator), block))
        if len(odd):
            others = np.empty((len(odd), entry.size), dtype=np.float32)
            _from_lists(entry, column.take(odd), others)
            block[odd] = others
    else:
        _from_lists(entry, column, block)
    if block is not out:
        out[:] = block


def gap(entry: Input, column: Column, row: int) -> str | None:
    """Why a row's numbers are not as many as the model wants; None where they are."""
    said = f"input `{entry.field}`"
    if column.valid is not None and not column.valid[row]:
        return f"{said} is absent, expected {entry.size} numbers"
    one, size = column.take(slice(row, row + 1)), len(entry.columns())
    if entry.kind == "floats32":
        assert isinstance(one, Text)
        count = int(one.size[0])
        return None if count == entry.size * _FLOAT_BYTES else f"{said}: got {count} bytes, expected {entry.size * _FLOAT_BYTES}"
    lists, good = _lists(entry, one)
    if not good[0]:
        return f"{said}: got a text that is no finite numbers joined by `{entry.separator}`"
    return None if lists.size[0] == size else f"{said}: got {lists.size[0]} numbers, expected {size}"


def finite_rows(matrix: Matrix) -> Bools:
    """bool[n]: rows without NaN or infinity. matrix: C-contiguous."""
    return _finite(matrix.view(np.uint32))


def _from_lists(entry: Input, column: Column, out: Matrix) -> None:
    lists, good = _lists(entry, column)
    _spread(np.ascontiguousarray(lists.items), lists.start, lists.size, good, out)


def _lists(entry: Input, column: Column) -> tuple[Lists, Bools]:
    if entry.kind == "numbers":
        assert isinstance(column, Text)
        lists, bad = floats_of_texts(column, ord(entry.separator))
        return lists, _present(column) & ~bad
    assert isinstance(column, Lists)
    return column, _present(column)


def _present(column: Column) -> Bools:
    return np.ones(len(column), dtype=np.bool_) if column.valid is None else column.valid


@jit
def _spread(
    items: NDArray[np.generic], start: NDArray[np.int64], size: NDArray[np.int64], good: NDArray[np.bool_], out: NDArray[np.float32]
) -> None:
    rows, width = out.shape
    for row in range(rows):
        if good[row] and size[row] == width:
            first = start[row]
            for place in range(width):
                out[row, place] = np.float32(items[first + place])
        else:
            out[row, :] = np.float32(np.nan)


@jit
def _unpack(
    blob: NDArray[np.uint8],
    start: NDArray[np.int64],
    size: NDArray[np.int64],
    good: NDArray[np.bool_],
    raw: NDArray[np.uint8],  # the bytes of out: a float within a record may begin at any byte
    out: NDArray[np.float32],
) -> None:
    rows, wanted = raw.shape
    for row in range(rows):
        if good[row] and size[row] == wanted:
            copy(place_of(raw) + row * wanted, place_of(blob) + start[row], wanted)  # byte by byte it took 3.3 µs for 784 floats
        else:
            out[row, :] = np.float32(np.nan)


@jit
def _finite(bits: NDArray[np.uint32]) -> NDArray[np.bool_]:
    rows, width = bits.shape
    out = np.empty(rows, dtype=np.bool_)
    for row in range(rows):
        found = np.uint32(0)
        for place in range(width):  # without a jump, so that it runs many at a time
            found |= np.uint32((bits[row, place] & np.uint32(0x7F800000)) == np.uint32(0x7F800000))
        out[row] = found == 0
    return out
