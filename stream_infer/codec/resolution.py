"""codec.resolution: columns as they were written become columns as they are read. schema → *resolution* → decoders.

Everything is decided once per pair of schemas; what is left per batch is a change of dtype, a table of symbols or a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from stream_infer.codec.schema import NUMBER_DTYPES, FieldSchema, RecordSchema, parse_avro, schema_error
from stream_infer.records import Bytes, Column, Ints, Lists, Numbers, Text


@dataclass(frozen=True)
class Symbols:
    """The symbols of an enum as one block: symbol i is blob[start[i] : start[i] + size[i]]."""

    blob: Bytes
    start: Ints
    size: Ints

    @staticmethod
    def of(names: Sequence[str]) -> Symbols:
        """Symbols in the order given."""
        table = Text.of(names)
        return Symbols(table.blob, table.start, table.size)


@dataclass(frozen=True)
class Resolution:
    """How each field of reader is made. sources: the writer's field by index, or None for the default.

    symbols: by reader field, writer's enum index → reader's symbol (None for other kinds). same: whether the column stays as it is.
    """

    writer: RecordSchema
    reader: RecordSchema
    sources: tuple[int | None, ...]
    symbols: tuple[Symbols | None, ...]
    same: tuple[bool, ...]

    @staticmethod
    def of(writer: RecordSchema, reader: RecordSchema) -> Resolution:
        """The plan; SchemaError when the reader cannot read everything that the writer may write."""
        if writer.text != reader.text:
            _check(writer, reader)
        places = {field.name: place for place, field in enumerate(writer.fields)}
        sources = tuple(next((places[name] for name in (field.name, *field.aliases) if name in places), None) for field in reader.fields)
        tables, same = [], []
        for field, source in zip(reader.fields, sources, strict=True):
            written = None if source is None else writer.fields[source]
            if written is not None:
                _check_logical(writer, written, reader, field)
            tables.append(_table(field, written))
            same.append(written is not None and _is_same(field, written))
        return Resolution(writer, reader, sources, tuple(tables), tuple(same))

    def columns(self, written: Sequence[Column], rows: int) -> dict[str, Column]:
        """written: one column per writer field (enums as Numbers of indices), each of `rows` rows; → columns by reader field."""
        out: dict[str, Column] = {}
        for field, source, table, same in zip(self.reader.fields, self.sources, self.symbols, self.same, strict=True):
            if same and source is not None:
                out[field.name] = written[source]
            else:
                out[field.name] = constant(field, rows) if source is None else _convert(written[source], field, table)
        return out

    def as_text(self, place: int) -> bool:
        """Whether the writer's field at `place` must hold UTF-8: because it was written as a string or will be read as one."""
        return self.writer.fields[place].kind == "string" or any(
            source == place and field.kind == "string" for field, source in zip(self.reader.fields, self.sources, strict=True)
        )


def _check(writer: RecordSchema, reader: RecordSchema) -> None:
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(parse_avro(reader.text), parse_avro(writer.text))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return
    kinds = ", ".join(sorted({kind.value.replace("_", " ") for kind in result.incompatibilities}))
    places = ", ".join(sorted(result.locations))
    raise schema_error(
        "",
        f"records written with schema {writer.name} (id {writer.schema_id}) cannot be read with schema {reader.name}",
        got=f"{kinds} at {places}: {'; '.join(sorted(result.messages))}",
        expected="a reader that can read everything the writer writes",
        fix="give new fields a default, and widen types instead of changing them",
    )


def _check_logical(writer: RecordSchema, written: FieldSchema, reader: RecordSchema, field: FieldSchema) -> None:
    """Avro ignores logical types here; but milliseconds read as microseconds are a thousandfold error that no test of types finds."""
    if written.logical and field.logical and written.logical != field.logical:
        raise schema_error(
            "",
            f"schema {reader.name}, field {field.name}: written by {writer.name} in another unit",
            got=written.logical,
            expected=field.logical,
            fix="read the field in the unit in which it is written",
        )


def _is_same(field: FieldSchema, written: FieldSchema) -> bool:
    return field.kind != "enum" and (field.kind, field.item, field.nullable) == (written.kind, written.item, written.nullable)


def _table(field: FieldSchema, written: FieldSchema | None) -> Symbols | None:
    if written is None or field.kind != "enum":
        return None
    own = Symbols.of(field.symbols)
    fallback = field.symbol_default or field.symbols[0]  # the checker saw to it that no symbol needs it unless there is a default
    index = np.array([field.symbols.index(name if name in field.symbols else fallback) for name in written.symbols], dtype=np.int64)
    return Symbols(own.blob, own.start[index], own.size[index])


def _convert(column: Column, field: FieldSchema, table: Symbols | None) -> Column:
    valid = column.valid
    if valid is None and field.nullable:
        valid = np.ones(len(column), dtype=np.bool_)
    if isinstance(column, Text):
        return Text(column.blob, column.start, column.size, valid, field.kind != "string")
    if isinstance(column, Lists):
        return Lists(column.items.astype(NUMBER_DTYPES[field.item], copy=False), column.start, column.size, valid)
    if table is None:
        return Numbers(column.values.astype(NUMBER_DTYPES[field.kind], copy=False), valid)
    start, size = table.start[column.values], table.size[column.values]
    return Text(table.blob, start, size if valid is None else size * valid, valid)


def constant(field: FieldSchema, rows: int) -> Column:
    """The field's default, `rows` times (the zero of its kind where it has none)."""
    there = field.default is not None
    valid = np.full(rows, there, dtype=np.bool_) if field.nullable else None
    if field.kind in NUMBER_DTYPES:
        value = field.default if isinstance(field.default, (bool, int, float)) else 0
        return Numbers(np.full(rows, value, dtype=NUMBER_DTYPES[field.kind]), valid)
    zeros = np.zeros(rows, dtype=np.int64)
    if field.kind == "array":
        items = np.array(field.default if isinstance(field.default, tuple) else (), dtype=NUMBER_DTYPES[field.item])
        return Lists(items, zeros, np.full(rows, len(items), dtype=np.int64), valid)
    raw = field.default.encode() if isinstance(field.default, str) else field.default if isinstance(field.default, bytes) else b""
    return Text(np.frombuffer(raw, dtype=np.uint8), zeros, np.full(rows, len(raw), dtype=np.int64), valid, field.kind in {"bytes", "fixed"})
