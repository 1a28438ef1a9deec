"""codec.schema: what a record may look like. errors → *schema* → resolution, decoders, encoders.

Only flat records become columns: numbers, texts, bytes, enums, fixed, arrays of numbers, each of them nullable, and nested
records of these, whose fields are flattened to `outer.inner` (on the wire a nested record is nothing but its fields in order).
Maps, recursion and other unions are refused here, before the first byte of a record is read.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import avro.errors
import avro.schema
import numpy as np

from stream_infer.errors import SchemaError

NUMBER_DTYPES: dict[str, np.dtype[np.generic]] = {
    "boolean": np.dtype(np.bool_),
    "int": np.dtype(np.int32),
    "long": np.dtype(np.int64),
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
}
LOGICALS = frozenset({"timestamp-millis", "timestamp-micros", "date", "time-millis", "time-micros", "uuid"})
INT_LIMITS = {"int": 1 << 31, "long": 1 << 63}
SCHEMA_BYTES_MAX = 1_000_000
FIXED_BYTES_MAX = 1 << 24
NESTING_MAX = 16


@dataclass(frozen=True)
class FieldSchema:
    """One column. kind: boolean|int|long|float|double|string|bytes|enum|fixed|array; item: kind of an array's items.

    null_first says which branch of the union is null. default: None, bool, int, float, str, bytes or tuple, by kind.
    aliases: other full names under which a writer may know the field. Logical times stay integers in their unit.
    """

    name: str
    kind: str
    nullable: bool = False
    null_first: bool = True
    item: str = ""
    symbols: tuple[str, ...] = ()
    symbol_default: str | None = None
    logical: str | None = None
    size: int = 0
    has_default: bool = False
    default: object = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordSchema:
    """A record as columns. schema_id: 31 bits, and guid: 16 bytes, both from SHA-256 of the parsing canonical form.

    Schemas that differ only in docs, defaults, aliases or logical types share id and guid: their bytes are the same.
    """

    name: str
    fields: tuple[FieldSchema, ...]
    text: str
    schema_id: int
    guid: bytes

    def field(self, name: str) -> FieldSchema:
        """The field of that name; KeyError when there is none."""
        for one in self.fields:
            if one.name == name:
                return one
        raise KeyError(name)


def schema_error(where: str, what: str, *, got: str, expected: str, fix: str) -> SchemaError:
    """A SchemaError in the form all messages have: where and what, then got, expected, fix."""
    head = f"{where}: {what}" if where else what
    return SchemaError(f"{head}\n    got:      {got}\n    expected: {expected}\n    fix:      {fix}")


@lru_cache(maxsize=256)  # each task asks for the same few again; one takes a millisecond
def parse_schema(text: str, where: str = "") -> RecordSchema:
    """An Avro schema as columns. where: file or topic, for messages. Raises SchemaError."""
    top = parse_avro(text, where)
    if not isinstance(top, avro.schema.RecordSchema):
        raise schema_error(
            where, "a topic's schema is a record", got=str(top.type), expected="record", fix="wrap the type in a record with one field"
        )
    fields = tuple(_fields(top, where, top.fullname, "", ("",), (top.fullname,)))
    if not fields:
        raise schema_error(where, f"schema {top.fullname} is empty", got="no fields", expected="at least one field", fix="add a field")
    digest = hashlib.sha256(canonical_form(top).encode()).digest()
    guid = bytearray(digest[4:20])
    guid[6] = guid[6] & 0x0F | 0x80  # version 8 of RFC 9562: the content is ours
    guid[8] = guid[8] & 0x3F | 0x80
    return RecordSchema(top.fullname, fields, text, int.from_bytes(digest[:4], "big") & 0x7FFFFFFF, bytes(guid))


def parse_avro(text: str, where: str = "") -> avro.schema.Schema:
    """The text as a schema of the avro package, which knows the rules of names and references. Raises SchemaError."""
    if len(text) > SCHEMA_BYTES_MAX:
        raise schema_error(
            where, "schema is too long", got=f"{len(text)} characters", expected=f"at most {SCHEMA_BYTES_MAX}", fix="split the record"
        )
    problem = "nested too deeply"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a logical type nobody knows is its plain type, says the specification
            return avro.schema.parse(text)
    except (avro.errors.AvroException, ValueError, TypeError, AttributeError, KeyError) as error:
        problem = " ".join(str(error).split())[:300]
    except RecursionError:
        pass
    raise schema_error(where, "not an Avro schema", got=problem, expected="an Avro schema in JSON", fix="correct the schema text")


def canonical_form(schema: avro.schema.Schema) -> str:
    """Avro's parsing canonical form: the same text for all schemas that write the same bytes.

    The avro package leaves {"type": "long"} of a logical type as it is, where the specification says "long".
    """
    return json.dumps(_plain_names(schema.to_canonical_json()), separators=(",", ":"))


def _plain_names(node: object) -> object:
    if isinstance(node, list):
        return [_plain_names(one) for one in node]
    if isinstance(node, dict):
        if node.keys() == {"type"}:
            return _plain_names(node["type"])
        return {key: _plain_names(one) for key, one in node.items()}
    return node


def _fields(
    record: avro.schema.RecordSchema, where: str, schema: str, prefix: str, aliased: tuple[str, ...], path: tuple[str, ...]
) -> Iterator[FieldSchema]:
    """The record's columns in wire order. prefix: "outer."; aliased: all prefixes a writer may use; path: the records around."""
    for raw in record.fields:
        at = f"schema {schema}, field {prefix}{raw.name}"
        others = raw.get_prop("aliases")
        names = (raw.name, *(str(alias) for alias in others)) if isinstance(others, list) else (raw.name,)
        full = tuple(outer + name for outer, name in product(aliased, names))
        if isinstance(raw.type, avro.schema.RecordSchema):
            inner = raw.type.fullname
            if inner in path or len(path) >= NESTING_MAX:
                raise _refused(where, at, f"record {inner} inside itself" if inner in path else f"records nested over {NESTING_MAX} deep")
            if raw.has_default:
                raise _refused(where, at, "a nested record with a default")
            yield from _fields(raw.type, where, schema, f"{prefix}{raw.name}.", tuple(name + "." for name in full), (*path, inner))
        else:
            yield _field(raw, where, at, full)


def _field(raw: avro.schema.Field, where: str, at: str, full: tuple[str, ...]) -> FieldSchema:
    kind, nullable, null_first = raw.type, False, True
    if isinstance(kind, avro.schema.UnionSchema):
        branches = list(kind.schemas)
        nulls = [branch.type == "null" for branch in branches]
        if len(branches) != 2 or sum(nulls) != 1:
            raise _refused(where, at, "union of " + ", ".join(branch.type for branch in branches))
        nullable, null_first = True, nulls[0]
        kind = branches[1 if null_first else 0]
    item = ""
    if isinstance(kind, avro.schema.ArraySchema):
        item = str(kind.items.type)
        if item not in NUMBER_DTYPES:
            raise _refused(where, at, f"array of {item}")
    elif kind.type not in NUMBER_DTYPES and kind.type not in {"string", "bytes", "enum", "fixed"}:
        raise _refused(where, at, str(kind.type))
    logical = kind.props.get("logicalType")
    symbols = tuple(kind.symbols) if isinstance(kind, avro.schema.EnumSchema) else ()
    if isinstance(kind, avro.schema.EnumSchema) and not symbols:
        raise _refused(where, at, "enum without symbols")
    symbol_default = kind.props.get("default") if symbols else None
    size = kind.size if isinstance(kind, avro.schema.FixedSchema) else 0
    if kind.type == "fixed" and not (isinstance(size, int) and 0 < size <= FIXED_BYTES_MAX):
        raise _refused(where, at, f"fixed of {size} bytes")
    plain = FieldSchema(
        full[0],
        str(kind.type),
        nullable,
        null_first,
        item,
        symbols,
        symbol_default,
        logical if logical in LOGICALS else None,
        size,
        aliases=full[1:],
    )
    if not raw.has_default:
        return plain
    try:
        default = _default(plain, raw.default)
    except ValueError as error:
        raise schema_error(
            where, f"{at}: default", got=repr(raw.default), expected=str(error), fix="give a default of the field's type"
        ) from None
    return FieldSchema(**{**plain.__dict__, "has_default": True, "default": default})


def _refused(where: str, at: str, got: str) -> SchemaError:
    expected = "boolean, int, long, float, double, string, bytes, enum, fixed, array of numbers; each also nullable; records of these"
    return schema_error(where, f"{at}: this type cannot become a column", got=got, expected=expected, fix="flatten or drop the field")


def _default(field: FieldSchema, value: object) -> object:
    """The JSON default as a Python value of the field's kind; ValueError says what was expected."""
    if value is None:
        if field.nullable:
            return None
        raise ValueError(field.kind)
    if field.kind == "array":
        if not isinstance(value, list):
            raise ValueError(f"array of {field.item}")
        return tuple(_number(field.item, item) for item in value)
    if field.kind in NUMBER_DTYPES:
        return _number(field.kind, value)
    if not isinstance(value, str):
        raise ValueError(field.kind)
    if field.kind == "enum" and value not in field.symbols:
        raise ValueError("one of " + ", ".join(field.symbols))
    if field.kind in {"bytes", "fixed"}:
        if any(ord(letter) > 255 for letter in value) or (field.kind == "fixed" and len(value) != field.size):
            raise ValueError(f"{field.size or 'any number of'} characters up to \\u00ff, one per byte")
        return value.encode("latin-1")
    return value


def _number(kind: str, value: object) -> bool | int | float:
    if kind == "boolean":
        if isinstance(value, bool):
            return value
    elif isinstance(value, int) and not isinstance(value, bool):
        if kind not in INT_LIMITS:
            return float(value)
        if -INT_LIMITS[kind] <= value < INT_LIMITS[kind]:
            return value
    elif isinstance(value, float) and kind not in INT_LIMITS and math.isfinite(value):
        return value
    raise ValueError(kind)
