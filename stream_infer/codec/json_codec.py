"""codec.json_codec: JSON objects → columns, typed by the same schemas as Avro. schema, json_plain, odd_rows → *json_codec* → rows.

One object per record; a nested record is an object in an object; bytes and fixed are base64 text. JSON knows no NaN and no
infinity: they are refused when read.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence

import numpy as np
import orjson

from stream_infer.codec.json_plain import PlainReader
from stream_infer.codec.odd_rows import blank, replace_rows
from stream_infer.codec.schema import INT_LIMITS, NUMBER_DTYPES, FieldSchema, RecordSchema
from stream_infer.records import Bools, Column, Lists, Numbers, Rejected, Text

_MISSING = object()
_EXACT = 1 << 53  # whole floats up to here are exact, so 3.0 may stand for 3
_FLOAT_MAX = float(np.finfo(np.float32).max)
_PLAIN: dict[str, set[type]] = {"boolean": {bool}, "int": {int}, "long": {int}, "double": {int, float}, "string": {str}}
_EMPTY: dict[str, object] = {"string": "", "enum": "", "bytes": b"", "fixed": b"", "array": ()}
_NAMES = {bool: "a boolean", str: "text", list: "a list", dict: "an object", type(None): "null"}


class JsonDecoder:
    """Reads JSON objects as columns of `schema`.

    A missing field takes its default, or is absent when nullable; unknown fields are ignored; whole floats serve as integers. A row
    that does not fit is rejected alone, with the first field that is wrong.
    """

    def __init__(self, schema: RecordSchema) -> None:
        self.schema = schema
        self._plain = PlainReader.of(schema)

    def decode(self, values: Text) -> tuple[dict[str, Column], Rejected]:
        """values: one object per row; → columns of all rows, and the rejected rows with reasons."""
        if self._plain is None:
            columns, rejected = self._judged(values)
        else:
            columns, odd = self._plain.columns(values)
            rejected = Rejected()
            if len(odd):
                right, found = self._judged(values.take(odd))
                for name, column in columns.items():
                    replace_rows(column, odd, right[name])
                rejected = Rejected(odd[found.index].tolist(), found.reason)
        if rejected:
            blank(columns.values(), np.array(rejected.index, dtype=np.int64))
        return columns, rejected

    def _judged(self, values: Text) -> tuple[dict[str, Column], Rejected]:
        """All rows by a reader that knows all of JSON; what the columns hold of rejected rows means nothing."""
        reasons: dict[int, str] = {}
        objects = self._objects(values, reasons)
        columns: dict[str, Column] = {}
        for field in self.schema.fields:
            columns[field.name] = _column(field, _cells(field.name, objects), reasons)
        rejected = Rejected()
        for index in sorted(reasons):
            rejected.add(index, reasons[index])
        return columns, rejected

    def _objects(self, values: Text, reasons: dict[int, str]) -> list[dict[str, object]]:
        objects: list[dict[str, object]] = []
        view = memoryview(values.blob)  # type: ignore[arg-type]
        for index, (start, size) in enumerate(zip(values.start.tolist(), values.size.tolist(), strict=True)):
            one: object = None
            try:
                one = orjson.loads(view[start : start + size])
            except orjson.JSONDecodeError as error:
                reasons[index] = f"not JSON from character {error.pos} on"
            else:
                if not isinstance(one, dict):
                    reasons[index] = f"the value is {_described(one)}, expected an object"
            objects.append(one if isinstance(one, dict) else {})
        return objects


def _cells(name: str, objects: list[dict[str, object]]) -> list[object]:
    """The named member of each object, _MISSING where it has none."""
    *outer, last = name.split(".")
    for step in outer:
        inner = [one.get(step) for one in objects]
        objects = [one if isinstance(one, dict) else {} for one in inner]
    return [one.get(last, _MISSING) for one in objects]


def _column(field: FieldSchema, cells: list[object], reasons: dict[int, str]) -> Column:
    empty = _EMPTY.get(field.kind, 0)
    if not _is_plain(field.kind, cells):
        read = _READERS.get(field.kind, _number)
        for index, cell in enumerate(cells):
            try:
                cells[index] = _default(field) if cell is _MISSING else None if cell is None and field.nullable else read(field, cell)
            except ValueError as error:
                reasons.setdefault(index, f"field {field.name}: {error}")
                cells[index] = empty
    valid: Bools | None = None
    if field.nullable:
        valid = np.array([cell is not None for cell in cells], dtype=np.bool_)
        cells = [empty if cell is None else cell for cell in cells]
    if field.kind in NUMBER_DTYPES:
        return Numbers(np.array(cells, dtype=NUMBER_DTYPES[field.kind]), valid)
    if field.kind == "array":
        lists: Sequence[Sequence[object]] = cells  # type: ignore[assignment]
        size = np.array([len(cell) for cell in lists], dtype=np.int64)
        items = np.array([item for cell in lists for item in cell], dtype=NUMBER_DTYPES[field.item])
        return Lists(items, np.cumsum(size) - size, size, valid)
    text = Text.of(cells, is_bytes=field.kind in {"bytes", "fixed"})  # type: ignore[arg-type]
    return Text(text.blob, text.start, text.size, valid, text.is_bytes)


def _is_plain(kind: str, cells: list[object]) -> bool:
    """Whether every cell is of the one type that needs no look of its own: the common case, found out without a loop in Python."""
    if not cells or not set(map(type, cells)) <= _PLAIN.get(kind, set()):
        return False
    if kind not in INT_LIMITS:
        return True
    numbers: Sequence[int] = cells  # type: ignore[assignment]
    return -INT_LIMITS[kind] <= min(numbers) and max(numbers) < INT_LIMITS[kind]


def _default(field: FieldSchema) -> object:
    if field.has_default:
        return field.default
    if field.nullable:
        return None
    raise ValueError(f"missing, expected {field.kind}")


def _number(field: FieldSchema, cell: object) -> object:
    return _number_of(field.kind, cell)


def _number_of(kind: str, cell: object) -> object:
    if kind == "boolean":
        if isinstance(cell, bool):
            return cell
    elif isinstance(cell, (int, float)) and not isinstance(cell, bool):
        if kind in INT_LIMITS:
            if isinstance(cell, float):
                if not cell.is_integer() or abs(cell) > _EXACT:
                    raise ValueError(f"got {cell}, expected {kind}")
                cell = int(cell)
            if not -INT_LIMITS[kind] <= cell < INT_LIMITS[kind]:
                raise ValueError(f"{cell} is out of range for {kind}")
            return cell
        if abs(cell) <= (_FLOAT_MAX if kind == "float" else float(np.finfo(np.float64).max)):
            return float(cell)
        raise ValueError(f"{cell} is out of range for {kind}")
    raise ValueError(f"got {_described(cell)}, expected {kind}")


def _string(_field: FieldSchema, cell: object) -> object:
    if not isinstance(cell, str):
        raise ValueError(f"got {_described(cell)}, expected string")
    return cell


def _enum(field: FieldSchema, cell: object) -> object:
    if not isinstance(cell, str):
        raise ValueError(f"got {_described(cell)}, expected one of {', '.join(field.symbols)}")
    if cell in field.symbols:
        return cell
    if field.symbol_default is None:
        raise ValueError(f"{cell[:40]!r} is none of {', '.join(field.symbols)}")
    return field.symbol_default


def _binary(field: FieldSchema, cell: object) -> object:
    if not isinstance(cell, str):
        raise ValueError(f"got {_described(cell)}, expected {field.kind} in base64")
    try:
        raw = binascii.a2b_base64(cell.encode(), strict_mode=True)
    except binascii.Error:
        raise ValueError("text is not base64") from None
    if field.kind == "fixed" and len(raw) != field.size:
        raise ValueError(f"{len(raw)} bytes, expected {field.size}")
    return raw


def _array(field: FieldSchema, cell: object) -> object:
    if not isinstance(cell, list):
        raise ValueError(f"got {_described(cell)}, expected array of {field.item}")
    return [_number_of(field.item, item) for item in cell]


_READERS: dict[str, Callable[[FieldSchema, object], object]] = {
    "string": _string,
    "enum": _enum,
    "bytes": _binary,
    "fixed": _binary,
    "array": _array,
}


def _described(value: object) -> str:
    return _NAMES.get(type(value)) or str(value)
