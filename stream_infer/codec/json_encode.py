"""codec.json_encode: columns → JSON objects, typed by the same schemas as Avro. columns_check, json_write → *json_encode* → rows.

Numbers of a whole column become text in one call of orjson; texts that need no escape are copied as they are. JSON knows no NaN and
no infinity: they are null where the field is nullable; a row that holds one elsewhere cannot be written (`refused` names such rows,
`encode` raises).
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_infer.codec.columns_check import checked, symbol_indices
from stream_infer.codec.json_write import BARE, LIST, QUOTED, copy_plain_texts, mark_odd_texts, split_items, write_objects
from stream_infer.codec.odd_rows import replace_rows
from stream_infer.codec.schema import FieldSchema, RecordSchema
from stream_infer.records import Bools, Bytes, Column, Ints, Lists, Numbers, Rejected, Text, copy_spans, plain, sealed


class JsonEncoder:
    """Writes columns as JSON objects, the fields in the schema's order."""

    def __init__(self, schema: RecordSchema) -> None:
        self.schema = schema
        self._pieces = _pieces([field.name for field in schema.fields])
        self._lines = np.zeros((len(schema.fields), 3), dtype=np.int64)
        self._planes = 2
        for line, field in zip(self._lines, schema.fields, strict=True):
            form = {"string": QUOTED, "enum": QUOTED, "bytes": QUOTED, "fixed": QUOTED, "array": LIST}.get(field.kind, BARE)
            line[:] = form, self._planes, self._planes + 2 if field.nullable else 0
            self._planes += 2 + field.nullable
        self._are_plain = True  # texts were so far: then they are copied before anybody has looked whether they can stand as they are

    def refused(self, columns: Mapping[str, Column]) -> Rejected:
        """The rows that JSON cannot hold: NaN or infinity in a field that is not nullable, or in a list."""
        return self._refused(*checked(self.schema, columns))

    def _refused(self, ready: list[Column], rows: int) -> Rejected:
        reasons: dict[int, str] = {}
        for field, column in zip(self.schema.fields, ready, strict=True):
            bad = _unwritable(field, column, rows)
            if bad is not None:
                for row in np.flatnonzero(bad).tolist():
                    reasons.setdefault(row, f"field {field.name}: JSON has no NaN and no infinity")
        rejected = Rejected()
        for row in sorted(reasons):
            rejected.add(row, reasons[row])
        return rejected

    def encode(self, columns: Mapping[str, Column], prefix: bytes = b"") -> Text:
        """columns: by field name, n rows each; prefix: put before every record. ValueError names what cannot be written."""
        ready, rows = checked(self.schema, columns)
        refused = self._refused(ready, rows)
        if refused:
            raise ValueError(f"row {refused.index[0]}, {refused.reason[0]}")
        texts = [_text(field, column) for field, column in zip(self.schema.fields, ready, strict=True)]
        written = self._laid_out(ready, texts, rows, prefix) if self._are_plain else None
        if written is None:
            right = [_escaped(text) if field.kind == "string" else text for field, text in zip(self.schema.fields, texts, strict=True)]
            self._are_plain = all(one is other for one, other in zip(texts, right, strict=True))
            written = self._laid_out(ready, right, rows, prefix, as_they_are=False)
            assert written is not None  # nobody looked
        return written

    def _laid_out(self, ready: list[Column], texts: list[Text], rows: int, prefix: bytes, *, as_they_are: bool = True) -> Text | None:
        """The records. as_they_are: no text has been looked at; None when one cannot stand so."""
        planes = np.empty((self._planes, rows), dtype=np.int64)
        for (_, plane, mask), text, column in zip(self._lines.tolist(), texts, ready, strict=True):
            planes[plane] = text.size
            if mask:
                planes[mask] = True if column.valid is None else column.valid
        pieces = [prefix + self._pieces[0], *self._pieces[1:]]
        cuts = np.cumsum([0, *map(len, pieces)])
        blob = write_objects(self._lines, np.frombuffer(b"".join(pieces), dtype=np.uint8), cuts, planes)
        if rows and not len(blob):
            raise ValueError(f"schema {self.schema.name}: a text or list of negative size")
        for field, plane, text in zip(self.schema.fields, self._lines[:, 1].tolist(), texts, strict=True):
            source, first, size, into = sealed(text.blob), plain(text.start), planes[plane], planes[plane + 1]
            if as_they_are and field.kind == "string":
                wrong, odd = copy_plain_texts(source, first, size, blob, into)
                if odd:
                    return None
            else:
                wrong = copy_spans(1, source, first, size, blob, into)
            if wrong >= 0:
                raise ValueError(f"field {field.name}: row {wrong} points outside of its block")
        spans = planes[:2].copy()
        return Text(blob, spans[0], spans[1], None, is_bytes=True)


def _pieces(names: list[str]) -> list[bytes]:
    """What stands before each value, and behind the last: of nested records, objects in objects."""
    out: dict[str, object] = {}
    for name in names:
        *outer, last = name.split(".")
        inner = out
        for step in outer:
            inner = inner.setdefault(step, {})  # type: ignore[assignment]
        inner[last] = "@"  # which no name can hold
    return orjson.dumps(out).split(b'"@"')


def _unwritable(field: FieldSchema, column: Column, rows: int) -> Bools | None:
    bad: Bools | None = None
    if isinstance(column, Numbers) and column.values.dtype.kind == "f" and not field.nullable:
        bad = ~np.isfinite(column.values)
    elif isinstance(column, Lists) and column.items.dtype.kind == "f" and not np.isfinite(column.items).all():
        wild = np.concatenate([[0], np.cumsum(~np.isfinite(column.items))])
        there = np.ones(rows, dtype=np.bool_) if column.valid is None else column.valid
        bad = there.copy()
        bad[there] = wild[column.start[there] + column.size[there]] > wild[column.start[there]]
    return bad


def _text(field: FieldSchema, column: Column) -> Text:
    """The values as they will stand in the records, but for quotes and brackets."""
    if isinstance(column, Numbers):
        blob, begin, end = _written(column.values)
        return Text(blob, begin, end - begin, column.valid)
    if isinstance(column, Lists):
        column = column.compact()
        size = column.size if column.valid is None else column.size * column.valid
        if size.max(initial=0) == 0:
            return Text(np.zeros(0, dtype=np.uint8), size, size)
        blob, begin, end = _written(column.items)
        first = np.where(size > 0, column.start, 0)
        start = begin[first]
        return Text(blob, start, np.where(size > 0, end[first + np.maximum(size, 1) - 1] - start, 0))
    if field.kind == "enum":
        symbol_indices(field, column)  # raises for a text that is no symbol
    elif field.kind in {"bytes", "fixed"}:
        return Text.of(None if raw is None else binascii.b2a_base64(raw, newline=False) for raw in column.raw())
    return column


def _written(values: NDArray[np.generic]) -> tuple[Bytes, Ints, Ints]:
    """Numbers as text: the block, and where each begins and ends in it."""
    if values.dtype == np.float32:
        values = values.astype(np.float64)
    blob = np.frombuffer(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY), dtype=np.uint8)
    end = np.empty(len(values), dtype=np.int64)
    split_items(blob, end)
    begin = np.ones(len(values), dtype=np.int64)
    np.add(end[:-1], 1, out=begin[1:])
    return blob, begin, end


def _escaped(column: Text) -> Text:
    """Texts as they may stand between quotes. Those with other than plain ASCII are decoded, so that what is no UTF-8 is found."""
    start, size = plain(column.start), plain(column.size if column.valid is None else column.size * column.valid)
    odd = np.empty(len(column), dtype=np.uint8)
    if not mark_odd_texts(sealed(column.blob), start, size, odd):
        return column
    rows = np.flatnonzero(odd)
    right = Text.of(orjson.dumps(cell)[1:-1] for cell in column.take(rows).to_list())
    own = Text(column.blob, start.copy(), size.copy(), None)
    replace_rows(own, rows, right)
    return own
