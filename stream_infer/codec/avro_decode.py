"""codec.avro_decode: Avro records → columns. resolution, avro_read, avro_row, odd_rows → *avro_decode* → rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.avro_read import KINDS, program, read_items, read_records
from stream_infer.codec.avro_row import RowReader
from stream_infer.codec.odd_rows import blank, replace_rows
from stream_infer.codec.resolution import Resolution
from stream_infer.codec.schema import NUMBER_DTYPES, FieldSchema, RecordSchema
from stream_infer.records import Bools, Bytes, Column, Ints, Lists, Numbers, Rejected, Text, plain, sealed

_LONG, _BOOL = np.dtype(np.int64), np.dtype(np.bool_)


class AvroDecoder:
    """Reads records that `writer` wrote as columns of `reader` (default: the writer itself).

    Texts are spans into the records' own bytes. A malformed row is rejected alone; its columns hold zeros, or are absent where the
    field is nullable. Nullable columns always carry a mask. Raises SchemaError when the reader cannot read the writer.
    """

    def __init__(self, writer: RecordSchema, reader: RecordSchema | None = None) -> None:
        self._resolution = Resolution.of(writer, reader or writer)
        self._rows = RowReader(self._resolution)
        self._lines, self._planes = program(writer.fields, [self._resolution.as_text(place) for place in range(len(writer.fields))])
        kinds = [NUMBER_DTYPES.get(field.kind, _LONG) for field in writer.fields]
        self._dtypes = [_LONG, _BOOL, *(dtype for dtype in NUMBER_DTYPES.values() if dtype in kinds and dtype not in (_LONG, _BOOL))]
        # Of each field: its planes and the mask's (0: none), and which view of the planes has its dtype.
        planes = zip(writer.fields, self._lines[:, 3:5].tolist(), kinds, strict=True)
        self._fields = [(field, plane, mask, self._dtypes.index(dtype)) for field, (plane, mask), dtype in planes]

    def decode(self, values: Text) -> tuple[dict[str, Column], Rejected]:
        """values: one record per row, without any prefix; → columns of all rows by reader field, and the rejected rows with reasons."""
        rows = len(values)
        planes = np.empty(self._planes * rows + len(self._lines), dtype=np.int64)
        blob = sealed(values.blob)
        odd = read_records(self._lines, blob, plain(values.start), plain(values.size), planes)
        longs = planes[: self._planes * rows].reshape(self._planes, rows)
        views = [longs.view(dtype)[:, :rows] for dtype in self._dtypes]
        written: list[Column] = []
        for place, (field, plane, mask, view) in enumerate(self._fields):
            valid: Bools | None = views[1][mask] if mask else None
            if field.kind == "array":
                total = int(planes[self._planes * rows + place])
                written.append(_lists(field, blob, longs[plane], longs[plane + 1], total, valid))
            elif field.kind in _SPANS:
                written.append(Text(values.blob, longs[plane], longs[plane + 1], valid, field.kind != "string"))
            else:
                written.append(Numbers(views[view][plane], valid))
        rejected = self._judged(values, written, np.flatnonzero(views[1][0])) if odd else Rejected()
        columns = self._resolution.columns(written, rows)
        if rejected:
            blank(columns.values(), np.array(rejected.index, dtype=np.int64))
        return columns, rejected

    def _judged(self, values: Text, written: list[Column], odd: Ints) -> Rejected:
        """Has the row reader judge the odd rows, and puts what it says into the columns."""
        judged, rejected = self._rows.columns(values.take(odd))
        for column, right in zip(written, judged, strict=True):
            replace_rows(column, odd, right)
        return Rejected(odd[rejected.index].tolist(), rejected.reason)


_SPANS = frozenset({"string", "bytes", "fixed"})


def _lists(field: FieldSchema, blob: Bytes, start: Ints, size: Ints, total: int, valid: Bools | None) -> Lists:
    items: NDArray[np.generic] = np.empty(total, dtype=NUMBER_DTYPES[field.item])
    read_items(KINDS[field.item], blob, start, size, items.view(np.uint8))
    return Lists(items, start, size, valid)
