"""codec.json_plain: plain JSON objects → columns, and which rows are not plain. json_read, decimals → *json_plain* → json_codec."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.avro_read import judge_texts
from stream_infer.codec.decimals import FLOATS, HALVES, INTS, read_numbers
from stream_infer.codec.json_read import program, read_objects
from stream_infer.codec.schema import NUMBER_DTYPES, FieldSchema, RecordSchema
from stream_infer.records import Bools, Bytes, Column, Floats, Ints, Lists, Numbers, Text, plain, sealed

_COMMA = ord(",")
_NO_INTS, _NO_FLOATS = np.zeros(0, dtype=np.int64), np.zeros(0)


@dataclass(frozen=True, slots=True)
class PlainReader:
    """Reads objects of one schema. lines, words, spans: the program of the kernel; fields: with plane and mask."""

    lines: NDArray[np.int64]
    words: Bytes
    spans: Ints
    planes: int
    fields: list[tuple[FieldSchema, int, int]]

    @staticmethod
    def of(schema: RecordSchema) -> PlainReader | None:
        """None for schemas of which no object is plain."""
        made = program(schema.fields)
        if made is None:
            return None
        lines, words, planes = made
        spans = np.append(words.start, len(words.blob))
        return PlainReader(lines, sealed(words.blob), spans, planes, list(zip(schema.fields, *lines[:, 1:3].T.tolist(), strict=True)))

    def columns(self, values: Text) -> tuple[dict[str, Column], Ints]:
        """Columns of all rows, and the odd rows: of these the columns hold nothing that means anything."""
        rows = len(values)
        flat = np.empty(self.planes * rows, dtype=np.int64)
        blob, start, size = sealed(values.blob), plain(values.start), plain(values.size)
        others = read_objects(self.lines, self.words, self.spans, blob, start, size, flat)
        planes = flat.reshape(self.planes, rows)
        state = flat.view(np.uint8)[:rows]
        if others:
            judge_texts(blob, start, size, state)
        found = _Found(values.blob, blob, planes, state, np.arange(rows, dtype=np.int64))
        columns = {field.name: found.column(field, plane, mask) for field, plane, mask in self.fields}
        return columns, np.flatnonzero(state)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the kernel found: where each value stands. state: of each row; places: 0 to n - 1."""

    own: Bytes
    blob: Bytes
    planes: NDArray[np.int64]
    state: Bytes
    places: Ints

    def column(self, field: FieldSchema, plane: int, mask: int) -> Column:
        rows = len(self.places)
        valid: Bools | None = self.planes[mask].view(np.bool_)[:rows] if mask else None
        start = self.planes[plane]
        if field.kind == "boolean":
            return Numbers(start.view(np.bool_)[:rows], valid)
        if field.kind in {"string", "enum"}:
            return Text(self.own, start, self.planes[plane + 1], valid)
        count = self.planes[plane + 2]
        if field.kind != "array":
            items = self._numbers(field.kind, plane, count, self.places, rows)
            if mask:
                items[count == 0] = 0
            return Numbers(items, valid)
        ends = np.cumsum(count)
        first = ends - count
        return Lists(self._numbers(field.item, plane, count, first, int(ends[-1]) if rows else 0), first, count, valid)

    def _numbers(self, kind: str, plane: int, count: Ints, first: Ints, total: int) -> NDArray[np.generic]:
        """The numbers in the kind's dtype; rows that hold others become odd."""
        start, size = self.planes[plane], self.planes[plane + 1]
        if kind in {"int", "long"}:
            longs: Ints = np.empty(total, dtype=np.int64)
            form = (INTS[kind == "long"], _COMMA, True)
            read_numbers(form, self.blob, start, size, count, first, _NO_FLOATS, longs, self.state)
            return longs.astype(NUMBER_DTYPES[kind], copy=False)
        halves = kind == "float"
        floats: Floats = np.zeros(total) if halves else np.empty(total)
        form = (HALVES if halves else FLOATS, _COMMA, True)
        read_numbers(form, self.blob, start, size, count, first, floats, _NO_INTS, self.state)
        return floats.astype(np.float32) if halves else floats
