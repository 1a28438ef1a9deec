"""codec.columns_check: is this column what the schema says it is? schema, records → *columns_check* → encoders.

A wrong column here is our own caller's mistake, so it is a ValueError that names the field, what came and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.schema import INT_LIMITS, NUMBER_DTYPES, FieldSchema, RecordSchema
from stream_infer.records import Column, Lists, Numbers, Same, Text


def checked(schema: RecordSchema, columns: Mapping[str, Column]) -> tuple[list[Column], int]:
    """The schema's columns in its order, numbers in its dtypes, and the number of rows. Other columns are ignored."""
    rows = rows_of(schema, columns)
    return [checked_column(field, columns[field.name], rows) for field in schema.fields], rows


def rows_of(schema: RecordSchema, columns: Mapping[str, Column] | Mapping[str, Column | Same]) -> int:
    """How many rows there are, by the first column; ValueError where a field has none."""
    missing = [field.name for field in schema.fields if field.name not in columns]
    if missing:
        raise ValueError(f"schema {schema.name}: no column for {', '.join(missing)}")
    return len(columns[schema.fields[0].name])


def checked_column(field: FieldSchema, column: Column, rows: int) -> Column:
    """The field's column, numbers in its dtype."""
    if len(column) != rows:
        raise ValueError(f"field {field.name}: {len(column)} rows, expected {rows}")
    if not field.nullable and column.valid is not None and not column.valid.all():
        raise ValueError(f"field {field.name}: row {int(np.argmin(column.valid))} is absent, expected {field.kind} in every row")
    if field.kind in NUMBER_DTYPES:
        if isinstance(column, Numbers):
            if column.values.dtype == NUMBER_DTYPES[field.kind]:
                return column
            return Numbers(_numbers(field, field.kind, column.values), column.valid)
    elif field.kind == "array":
        if isinstance(column, Lists):
            if column.items.dtype == NUMBER_DTYPES[field.item]:
                return column
            return Lists(_numbers(field, field.item, column.items), column.start, column.size, column.valid)
    elif isinstance(column, Text):
        if field.kind == "fixed":
            wrong = column.size != field.size
            if column.valid is not None:
                wrong &= column.valid
            if wrong.any():
                row = int(np.argmax(wrong))
                raise ValueError(f"field {field.name}: row {row} has {int(column.size[row])} bytes, expected fixed of {field.size}")
        if field.kind in {"bytes", "fixed"} or not column.is_bytes:
            return column
    raise ValueError(f"field {field.name}: got {_described(column)}, expected {field.kind}{' of ' + field.item if field.item else ''}")


def _numbers(field: FieldSchema, kind: str, values: NDArray[np.generic]) -> NDArray[np.generic]:
    dtype = NUMBER_DTYPES[kind]
    if values.dtype == dtype:
        return values
    if values.dtype.kind not in {"boolean": "b", "int": "iu", "long": "iu"}.get(kind, "fiu"):
        raise ValueError(f"field {field.name}: got {values.dtype}, expected {kind}")
    if kind in INT_LIMITS and len(values):
        low, high = int(values.min()), int(values.max())
        if low < -INT_LIMITS[kind] or high >= INT_LIMITS[kind]:
            raise ValueError(f"field {field.name}: values from {low} to {high}, expected {kind}")
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    if kind == "float" and values.dtype.kind == "f" and (np.isinf(cast) & ~np.isinf(values)).any():
        raise ValueError(f"field {field.name}: values beyond the range of float, expected float")
    return cast


def _described(column: Column) -> str:
    if isinstance(column, Numbers):
        return str(column.values.dtype)
    if isinstance(column, Lists):
        return f"lists of {column.items.dtype}"
    return "bytes" if column.is_bytes else "text"


def symbol_indices(field: FieldSchema, column: Text) -> NDArray[np.int64]:
    """Index of each row's symbol, int64[n] (absent rows 0); ValueError for a text that is no symbol of the enum."""
    there = np.ones(len(column), dtype=np.bool_) if column.valid is None else column.valid
    spans = np.where(there, column.start, -1) * (int(column.size.max(initial=0)) + 1) + np.where(there, column.size, 0)
    _, first, back = np.unique(spans, return_index=True, return_inverse=True)  # few different spans when they point into a table of symbols
    places = {symbol.encode(): place for place, symbol in enumerate(field.symbols)}
    found = np.zeros(len(first), dtype=np.int64)
    for at, text in enumerate(column.take(first).raw()):
        place = 0 if text is None else places.get(text)
        if place is None:
            raise ValueError(f"field {field.name}: row {int(first[at])} is {text!r}, expected one of {', '.join(field.symbols)}")
        found[at] = place
    return found[back]
