"""codec.odd_rows: what a slower reader found, put into the columns of the faster one. records → *odd_rows* → avro_decode, json_codec."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stream_infer.records import Column, Ints, Lists, Numbers, Text


def replace_rows(column: Column, rows: Ints, right: Column) -> None:
    """Puts the rows of `right` into `column`, in place."""
    if column.valid is not None and right.valid is not None:
        column.valid[rows] = right.valid
    if isinstance(column, Numbers) and isinstance(right, Numbers):
        column.values[rows] = right.values
    elif isinstance(column, Text) and isinstance(right, Text):
        begin = 0
        if right.blob is not column.blob:
            begin = len(column.blob)
            column.blob = np.concatenate([column.blob, right.blob])
        column.start[rows] = right.start + begin
        column.size[rows] = right.size
    elif isinstance(column, Lists) and isinstance(right, Lists):
        column.start[rows] = right.start + len(column.items)
        column.size[rows] = right.size
        column.items = np.concatenate([column.items, right.items])


def blank(columns: Iterable[Column], rows: Ints) -> None:
    """Rows that were rejected say nothing: zero numbers, empty texts and lists, absent where a column can be. In place."""
    for column in columns:
        if column.valid is not None:
            column.valid[rows] = False
        if isinstance(column, Numbers):
            column.values[rows] = np.zeros(1, dtype=column.values.dtype)
        else:
            column.size = column.size.copy()  # several columns may share one array of sizes
            column.start = column.start.copy()
            column.size[rows] = 0
            column.start[rows] = 0
