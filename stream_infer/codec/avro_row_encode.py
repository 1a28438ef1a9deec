"""codec.avro_row_encode: a handful of records written one by one with fastavro. schema → *avro_row_encode* → avro_encode.

Below a few dozen rows the fixed cost of numpy's calls is higher than that of a Python object per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import fastavro
import numpy as np

from stream_infer.codec.schema import FieldSchema, RecordSchema
from stream_infer.records import Column, Text


class RowWriter:
    """Writes columns, as `avro_encode` has checked them, to the same bytes as it does."""

    def __init__(self, schema: RecordSchema) -> None:
        fields = [{"name": f"f{place}", "type": _wire(field, place)} for place, field in enumerate(schema.fields)]
        self._schema = fastavro.parse_schema({"type": "record", "name": "Wire", "fields": fields})
        self._names = [f"f{place}" for place in range(len(fields))]

    def write(self, columns: Sequence[Column], prefix: bytes) -> Text:
        """columns: by field, enums as Numbers of indices; → one record per row, each behind the prefix."""
        buffer = BytesIO()
        ends = [0]
        for row in zip(*[_cells(column) for column in columns], strict=True):
            buffer.write(prefix)
            fastavro.schemaless_writer(buffer, self._schema, dict(zip(self._names, row, strict=True)))
            ends.append(buffer.tell())
        place = np.array(ends, dtype=np.int64)
        return Text(np.frombuffer(buffer.getvalue(), dtype=np.uint8), place[:-1], np.diff(place), None, is_bytes=True)


def _wire(field: FieldSchema, place: int) -> Any:
    """What the field is on the wire: an enum is its index, a string is bytes; so nothing is converted on the way."""
    kind: Any = {"enum": "int", "string": "bytes"}.get(field.kind, field.kind)
    if field.kind == "array":
        kind = {"type": "array", "items": field.item}
    elif field.kind == "fixed":
        kind = {"type": "fixed", "name": f"Fixed{place}", "size": field.size}
    if not field.nullable:
        return kind
    return ["null", kind] if field.null_first else [kind, "null"]


def _cells(column: Column) -> list[object]:
    if not isinstance(column, Text):
        return column.to_list()
    view = memoryview(column.blob)  # type: ignore[arg-type]  # slices, for the block may be far larger than these few rows
    spans = zip(column.start.tolist(), (column.start + column.size).tolist(), strict=True)
    rows: list[object] = [view[a:b].tobytes() for a, b in spans]
    return rows if column.valid is None else [row if there else None for row, there in zip(rows, column.valid.tolist(), strict=True)]
