"""features.vectorise: columns become the matrix that a model reads. windows, table → *vectorise* → models.

Training rows and live rows go through this same function.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import ModelError
from stream_infer.features.filling import Filling
from stream_infer.features.settings import WIDE, Input
from stream_infer.features.wide import fill, finite_rows, gap
from stream_infer.hashing import hash64, words_at
from stream_infer.records import Bools, Bytes, Column, Lists, Matrix, Numbers, Text

CELLS = ("number", "is_missing")  # kinds that take one number of a row
_KINDS = {Numbers: "a number", Text: "a text", Lists: "a list"}
_TYPES: dict[str, tuple[type[Numbers] | type[Text] | type[Lists], ...]] = {
    "number": (Numbers,),
    "one_hot": (Text,),
    "is_missing": (Numbers, Text, Lists),
    "list": (Lists,),
    "numbers": (Text,),
    "floats32": (Text,),
    "output": (Lists,),
}


class Vectoriser:
    """The inputs of a model, in the order of its matrix's columns (`columns`)."""

    def __init__(self, inputs: tuple[Input, ...]) -> None:
        self.inputs = inputs
        self._widths = [len(entry.columns()) for entry in inputs]
        self.columns = tuple(name for entry in inputs for name in entry.columns())
        self._choices = {entry: _Choices(entry.values) for entry in inputs if entry.kind == "one_hot"}
        for entry in inputs:
            if entry.kind not in _TYPES:
                raise ModelError(f"input `{entry.field}`: got kind {entry.kind}, expected one of: {', '.join(_TYPES)}")
        placed = list(zip(inputs, (np.cumsum(self._widths) - self._widths).tolist(), self._widths, strict=True)) if inputs else []
        self._others = [(entry, at, at + width) for entry, at, width in placed if entry.kind not in CELLS]
        cells = [(entry, at) for entry, at, _ in placed if entry.kind in CELLS]
        # Of the entries of one field that wants most of it: what is asked for a number must be one.
        self._cells = {entry.field: entry for entry, _ in sorted(cells, key=lambda cell: cell[0].kind == "number")}
        sources = list(self._cells)
        lines = [(sources.index(entry.field), at, entry.kind == "is_missing") for entry, at in cells]
        self._filling = Filling(lines, [np.nan if entry.missing is None else entry.missing for entry, _ in cells])

    def matrix(self, columns: dict[str, Column]) -> Matrix:
        """float32[n, len(self.columns)], C-contiguous. columns: name → column, all of n rows; others than the inputs are left alone.

        number: absent rows and NaN become `missing`, or NaN if that is not given (see `incomplete`). one_hot: 1.0 in the
        column of the row's text, all 0.0 for other texts and absent ones. is_missing: 1.0 where absent or NaN. list, numbers,
        floats32: NaN in all columns of a row that has not exactly `size` numbers. output: likewise, or `missing`; the column is a list
        named by Input.source().
        ModelError names a field that is not there or of another kind.
        """
        rows = len(next(iter(columns.values()))) if columns else 0
        alone = len(self.inputs) == 1 and self.inputs[0].kind in WIDE  # then every cell is written anyway
        out = (np.empty if alone else np.zeros)((rows, len(self.columns)), dtype=np.float32)
        for entry, at, after in self._others:
            column = _column(entry, columns)
            if entry.kind == "one_hot":
                assert isinstance(column, Text)
                self._choices[entry].mark(column, out[:, at:after])
            elif entry.kind in WIDE:
                fill(entry, column, out[:, at:after])
            else:
                _fill_output(entry, column, out[:, at:after])
        self._filling.into(out, [_floats(_column(entry, columns)) for entry in self._cells.values()])
        return out

    def incomplete(self, matrix: Matrix) -> Bools:
        """bool[n]: rows in which a number without `missing` is absent, or a number is infinite: a model must not see them."""
        return ~finite_rows(matrix)

    def gap(self, columns: dict[str, Column], matrix: Matrix, row: int) -> str:
        """Why a row is incomplete. columns: as matrix() took them; matrix: what it gave."""
        place = int(np.flatnonzero(~np.isfinite(matrix[row]))[0])
        entry = self.inputs[int(np.searchsorted(np.cumsum(self._widths), place, side="right"))]
        wide = gap(entry, columns[entry.source()], row) if entry.kind in WIDE or entry.kind == "output" else None
        if wide is not None:
            return wide
        name, value = self.columns[place], float(matrix[row, place])
        if entry.kind not in ("number", "is_missing", "one_hot") or not np.isnan(value):
            return f"input `{name}` is {value}, expected a finite number"
        return f"input `{name}` is absent; give it a value with `{{name: {name}, missing: 0}}`"


class _Choices:
    """The values of a one_hot input, found by hash and confirmed by their bytes."""

    def __init__(self, values: tuple[str, ...]) -> None:
        text = Text.of(values)
        hashes = hash64(text)
        self._by_hash = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._by_hash]
        self._raw = [np.frombuffer(value.encode(), dtype=np.uint8) for value in values]
        self._sizes = np.array([len(raw) for raw in self._raw], dtype=np.int64)
        self._heads = words_at(text.blob, text.start, text.size) if values else np.zeros(0, dtype=np.uint64)

    def mark(self, text: Text, out: Matrix) -> None:
        """Set out[i, c] where row i is value c. out: zeros, [n, values]."""
        if not len(text) or not self._raw:
            return
        hashes = hash64(text)
        place = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        choice = self._by_hash[place]
        hit = self._hashes[place] == hashes
        if text.valid is not None:
            hit &= text.valid
        rows = np.flatnonzero(hit)
        size, start, choice = text.size[rows], text.start[rows], choice[rows]
        same = size == self._sizes[choice]
        if len(rows):
            same &= words_at(text.blob, start, size) == self._heads[choice]
        for i in np.flatnonzero(same & (size > 8)).tolist():
            same[i] = _equal(text.blob, int(start[i]), self._raw[int(choice[i])])
        out[rows[same], choice[same]] = 1.0


def _equal(blob: Bytes, start: int, raw: Bytes) -> bool:
    return bool(np.array_equal(blob[start : start + len(raw)], raw))


def _column(entry: Input, columns: dict[str, Column]) -> Column:
    column = columns.get(entry.source())
    expected = _TYPES[entry.kind]
    if column is None:
        raise ModelError(f"input `{entry.field}` ({entry.kind}): got no such column, expected one of: {', '.join(sorted(columns))}")
    if not isinstance(column, expected):
        raise ModelError(f"input `{entry.field}` ({entry.kind}): got {_KINDS[type(column)]}, expected {_KINDS[expected[0]]}")
    return column


def _fill_output(entry: Input, column: Column, out: Matrix) -> None:
    """What another model said, as float32; `missing` where it said nothing."""
    fill(entry, column, out)
    if entry.missing is not None:
        out[np.isnan(out)] = entry.missing


def _floats(column: Column) -> NDArray[np.generic]:
    """Numbers as they are, NaN where absent; of other columns 0 where there is something."""
    if isinstance(column, Numbers):
        return column.values if column.valid is None else column.floats()
    return np.zeros(len(column)) if column.valid is None else np.where(column.valid, 0.0, np.nan)
