"""codec.avro_decode: Avro records → columns. resolution, avro_cursor, avro_row → *avro_decode* → rows."""

from __future__ import annotations

import numpy as np

from stream_infer.codec.avro_cursor import Cursor
from stream_infer.codec.avro_row import RowReader
from stream_infer.codec.resolution import Resolution
from stream_infer.codec.schema import RecordSchema
from stream_infer.records import Bools, Column, Ints, Lists, Numbers, Rejected, Text

ROWS_TOGETHER_MIN = 32  # fewer rows are cheaper one by one (benchmarks/codec.py prints the crossover)


class AvroDecoder:
    """Reads records that `writer` wrote as columns of `reader` (default: the writer itself).

    Texts are spans into the records' own bytes. A malformed row is rejected alone; its columns hold zeros, or are absent where the
    field is nullable. Nullable columns always carry a mask. Raises SchemaError when the reader cannot read the writer.
    """

    def __init__(self, writer: RecordSchema, reader: RecordSchema | None = None) -> None:
        self._resolution = Resolution.of(writer, reader or writer)
        self._rows = RowReader(self._resolution)
        self._plan = [(field, self._resolution.as_text(place)) for place, field in enumerate(writer.fields)]

    def decode(self, values: Text) -> tuple[dict[str, Column], Rejected]:
        """values: one record per row, without any prefix; → columns of all rows by reader field, and the rejected rows with reasons."""
        written, rejected = self._together(values) if len(values) >= ROWS_TOGETHER_MIN else self._rows.columns(values)
        columns = self._resolution.columns(written, len(values))
        if rejected:
            blank(columns, np.array(rejected.index, dtype=np.int64))
        return columns, rejected

    def _together(self, values: Text) -> tuple[list[Column], Rejected]:
        cursor = Cursor(values, len(self._plan))
        written: list[Column] = []
        for field, utf8 in self._plan:
            live: Bools | None = cursor.present(field.null_first) if field.nullable else None
            match field.kind:
                case "string" | "bytes":
                    column: Column = cursor.text(live, utf8=utf8)
                case "enum":
                    column = cursor.enum(len(field.symbols), live)
                case "fixed":
                    column = cursor.fixed(field.size, live)
                case "array":
                    column = cursor.array(field.item, live)
                case _:
                    column = cursor.number(field.kind, live)
            written.append(column)
        odd = cursor.finish()
        if not len(odd):
            return written, Rejected()
        judged, rejected = self._rows.columns(values.take(odd))
        for column, right in zip(written, judged, strict=True):
            _replace(column, odd, right)
        return written, Rejected(odd[rejected.index].tolist(), rejected.reason)


def _replace(column: Column, rows: Ints, right: Column) -> None:
    """Puts the rows of `right` into `column`, in place."""
    if column.valid is not None and right.valid is not None:
        column.valid[rows] = right.valid
    if isinstance(column, Numbers) and isinstance(right, Numbers):
        column.values[rows] = right.values
    elif isinstance(column, Text) and isinstance(right, Text):
        column.start[rows] = right.start
        column.size[rows] = right.size
    elif isinstance(column, Lists) and isinstance(right, Lists):
        column.start[rows] = right.start + len(column.items)
        column.size[rows] = right.size
        column.items = np.concatenate([column.items, right.items])


def blank(columns: dict[str, Column], rows: Ints) -> None:
    """Rows that were rejected say nothing: zero numbers, empty texts and lists, absent where a column can be. In place."""
    for column in columns.values():
        if column.valid is not None:
            column.valid[rows] = False
        if isinstance(column, Numbers):
            column.values[rows] = np.zeros(1, dtype=column.values.dtype)
        else:
            column.size = column.size.copy()  # several columns may share one array of sizes
            column.start = column.start.copy()
            column.size[rows] = 0
            column.start[rows] = 0
