"""codec.avro_encode: columns → Avro records. columns_check, avro_write, avro_same → *avro_encode* → rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.avro_same import SameWriter
from stream_infer.codec.avro_write import measure_items, program, write_items, write_records
from stream_infer.codec.columns_check import checked_column, rows_of, symbol_indices
from stream_infer.codec.schema import FieldSchema, RecordSchema
from stream_infer.records import Column, Ints, Lists, Numbers, Same, Text, copy_spans, plain, sealed

Planes = NDArray[np.int64]


class AvroEncoder:
    """Writes columns as records of `schema`, byte for byte what the reference writers make of the same values."""

    def __init__(self, schema: RecordSchema) -> None:
        self.schema = schema
        self._lines, self._planes = program(schema.fields)
        self._fields = list(zip(schema.fields, *self._lines[:, 3:].T.tolist(), strict=True))
        self._same = SameWriter(self._lines)

    def encode(self, columns: Mapping[str, Column | Same], prefix: bytes = b"") -> Text:
        """columns: by field name, n rows each; prefix: put before every record. ValueError names a column of the wrong kind or length,
        or one whose spans lie outside of their block."""
        rows = rows_of(self.schema, columns)
        planes: Planes = np.empty((self._planes, rows), dtype=np.int64)
        apart: list[tuple[FieldSchema, Text | Lists, Ints, int]] = []  # columns that have their bytes elsewhere
        same: list[tuple[int, FieldSchema, object]] = []
        for number, (field, plane, mask) in enumerate(self._fields):
            given = columns[field.name]
            if isinstance(given, Same):
                same.append((number, field, given.value))
                continue
            column = checked_column(field, given, rows)
            if mask:
                planes[mask] = True if column.valid is None else column.valid
            if isinstance(column, Numbers):
                planes[plane] = _bits(column.values)
            elif field.kind == "enum" and isinstance(column, Text):
                planes[plane] = symbol_indices(field, column)
            else:
                apart.append((field, column, plain(column.start), plane))
                planes[plane] = column.size if column.valid is None else column.size * column.valid
                if isinstance(column, Lists):
                    _measure(planes, *apart[-1])
        lines, pieces = self._same.of(same)
        blob = write_records(lines, planes, np.frombuffer(prefix, dtype=np.uint8), pieces)
        if rows and not len(blob):  # every record has bytes
            raise ValueError(f"schema {self.schema.name}: a text or list of negative size")
        for field, column, start, plane in apart:
            if isinstance(column, Text):
                _check(field, copy_spans(1, sealed(column.blob), start, planes[plane], blob, planes[plane + 1]))
            elif column.items.dtype.kind == "i":
                write_items(_longs(column), start, planes[plane], blob, planes[plane + 2])
            else:
                items = sealed(column.items).view(np.uint8)
                _check(field, copy_spans(column.items.itemsize, items, start, planes[plane], blob, planes[plane + 2]))
        spans = planes[:2].copy()  # so that the records do not keep all planes
        return Text(blob, spans[0], spans[1], None, is_bytes=True)


def _bits(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Floats as the integers of their bits; other numbers as they are."""
    return values.view(f"i{values.itemsize}") if values.dtype.kind == "f" else values


def _longs(column: Lists) -> Ints:
    longs: Ints = sealed(column.items.astype(np.int64, copy=False))
    return longs


def _measure(planes: Planes, field: FieldSchema, column: Column, start: Ints, plane: int) -> None:
    """How many bytes the items of each list take."""
    assert isinstance(column, Lists)
    if column.items.dtype.kind == "i":
        _check(field, measure_items(_longs(column), start, planes[plane], planes[plane + 1]))
    else:
        np.multiply(planes[plane], column.items.itemsize, out=planes[plane + 1])


def _check(field: FieldSchema, row: int) -> None:
    if row >= 0:
        raise ValueError(f"field {field.name}: row {row} points outside of its block")
