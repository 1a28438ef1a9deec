"""codec.avro_decode: Avro records → columns. resolution, avro_read, avro_row → *avro_decode* → rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.avro_read import KINDS, program, read_items, read_records
from stream_infer.codec.avro_row import RowReader
from stream_infer.codec.resolution import Resolution, constant, convert
from stream_infer.codec.schema import NUMBER_DTYPES, FieldSchema, RecordSchema
from stream_infer.records import Bools, Bytes, Column, Ints, Lists, Numbers, Rejected, Text, sealed

_NOTHING = np.zeros(0, dtype=np.int64)


class AvroDecoder:
    """Reads records that `writer` wrote as columns of `reader` (default: the writer itself).

    Texts are spans into the records' own bytes. A malformed row is rejected alone; its columns hold zeros, or are absent where the
    field is nullable. Nullable columns always carry a mask. Raises SchemaError when the reader cannot read the writer.
    """

    def __init__(self, writer: RecordSchema, reader: RecordSchema | None = None) -> None:
        self._resolution = plan = Resolution.of(writer, reader or writer)
        self._rows = RowReader(plan)
        self._lines, self._planes = program(writer.fields, [plan.as_text(place) for place in range(len(writer.fields))])
        self._symbols = np.zeros((2, sum(len(field.symbols) for field in writer.fields)), dtype=np.int64)
        tables: dict[int, Bytes] = {}
        for source, table in zip(plan.sources, plan.symbols, strict=True):
            if source is not None and table is not None:
                begin = self._lines[source, 5]
                self._symbols[:, begin : begin + len(table.start)] = table.start, table.size
                tables[source] = table.blob
        self._fields = [
            _Field(field, None, [0] * 6, None) if source is None else _Field(
                field, writer.fields[source], self._lines[source].tolist(), tables.get(source)
            )
            for field, source in zip(plan.reader.fields, plan.sources, strict=True)
        ]

    def decode(self, values: Text) -> tuple[dict[str, Column], Rejected]:
        """values: one record per row, without any prefix; → columns of all rows by reader field, and the rejected rows with reasons."""
        rows = len(values)
        planes = np.empty(self._planes * rows + len(self._lines), dtype=np.int64)
        start, size = np.ascontiguousarray(values.start), np.ascontiguousarray(values.size)
        odd = read_records(self._lines, sealed(values.blob), start, size, self._symbols, planes)
        grid = _Grid(planes, self._planes, rows, values.blob)
        columns = {field.name: field.column(grid) for field in self._fields}
        return columns, self._judged(values, columns, np.flatnonzero(grid.bools[0])) if odd else Rejected()

    def _judged(self, values: Text, columns: dict[str, Column], odd: Ints) -> Rejected:
        """Has the row reader judge the odd rows, and puts what it says into the columns."""
        written, rejected = self._rows.columns(values.take(odd))
        right = self._resolution.columns(written, len(odd))
        for name, column in columns.items():
            _replace(column, odd, right[name])
        rejected = Rejected(odd[rejected.index].tolist(), rejected.reason)
        if rejected:
            blank(columns, np.array(rejected.index, dtype=np.int64))
        return rejected
