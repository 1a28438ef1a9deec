"""topology.check_tests: rows and expectations of the `tests:` block, typed by the schemas. columns → *check_tests* → build, sim."""

from __future__ import annotations

import json
from collections.abc import Callable

from stream_infer.codec.schema import FieldSchema, RecordSchema, parse_schema
from stream_infer.topology.check_names import inputs_and_outputs
from stream_infer.topology.check_online import check_held
from stream_infer.topology.check_streams import Files, check_path
from stream_infer.topology.emit_schema import written_schemas
from stream_infer.topology.literals import integer_of, number_of, time_ms_of
from stream_infer.topology.plan import TestPlan
from stream_infer.topology.suggest import did_you_mean, listed
from stream_infer.topology.values import Findings, Section, Spec, Value

_NEAR = ("near", "within")


def check_tests(spec: Spec, schemas: dict[str, RecordSchema], files: Files, found: Findings) -> tuple[TestPlan, ...]:
    """Tests with typed rows, in the order of the file. Given rows are complete: absent fields have their default or null."""
    inputs, outputs = inputs_and_outputs(spec)
    written = {name: parse_schema(text) for name, text in written_schemas(spec, schemas).items()}
    plans = []
    for test in spec.tests:
        given = {}
        for name, value in test.entries("given").items():
            if _known(name, value, test, list(inputs), "a stream that is read", found) and name in schemas:
                rows = _file_rows(test, value, files, found) if isinstance(value.data, str) else [(found, row) for row in _items(value)]
                given[name] = [
                    row for place, at in rows if (row := _row(at, schemas[name], name, test, place, _given, complete=True)) is not None
                ]
        expect = {}
        for name, value in test.entries("expect").items():
            if _known(name, value, test, list(outputs), "a stream that is written", found):
                rows_of = [_row(at, written[name], name, test, found, _expected, complete=False) for at in _items(value)]
                expect[name] = [row for row in rows_of if row is not None]
        plans.append(TestPlan(test.maybe_text("name") or test.label, given, expect, check_held(spec, test, found)))
    return tuple(plans)


def _known(name: str, value: Value, test: Section, names: list[str], words: str, found: Findings) -> bool:
    if name not in names:
        found.at_name(value, f"{test.label}: `{name}` is not {words}", expected=f"{words}: {listed(names)}", fix=did_you_mean(name, names))
    return name in names


def _items(value: Value) -> list[Value]:
    return value.data if isinstance(value.data, list) else []


def _file_rows(test: Section, value: Value, files: Files, found: Findings) -> list[tuple[Findings, Value]]:
    """Rows of a .jsonl file, each with the findings of that file, so that messages point into it."""
    path = check_path(test.label, value, found)
    if path is None:
        return []
    text = files(path)
    if text is None:
        found.at(
            value, f"{test.label}: there is no file `{path}`", expected="rows as JSON, one per line", fix="create it, or correct the path"
        )
        return []
    folder = found.file.rpartition("/")[0]
    inside = Findings(f"{folder}/{path}" if folder else path)
    inside.problems = found.problems
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append((inside, _of_json(json.loads(line), number, line[:100])))
        except (ValueError, RecursionError):
            inside.at(
                Value(None, number, 1, line[:100]),
                f"{test.label}: this is not JSON",
                expected="one JSON object per line",
                fix="correct or remove the line",
            )
    return rows


def _of_json(data: object, line: int, source: str) -> Value:
    """JSON in the form that the reader gives YAML: scalars as text, `plain` where they stood without quotes."""
    if isinstance(data, dict):
        return Value({str(name): _of_json(item, line, source) for name, item in data.items()}, line, 1, source)
    if isinstance(data, list):
        return Value([_of_json(item, line, source) for item in data], line, 1, source)
    if isinstance(data, str) or data is None:
        return Value(data, line, 1, source, plain=data is None)
    return Value(json.dumps(data), line, 1, source, plain=True)


def _row(
    at: Value,
    schema: RecordSchema,
    stream: str,
    test: Section,
    found: Findings,
    typed: Callable[[Value, FieldSchema], object],
    *,
    complete: bool,
) -> dict[str, object] | None:
    label = f"{test.label}, stream `{stream}`"
    if not isinstance(at.data, dict):
        found.at(at, f"{label}: a row is no list of fields", expected="fields in braces", fix="write `{field: value, …}`")
        return None
    fields = {field.name: field for field in schema.fields}
    row: dict[str, object] = {}
    for name, value in _flat(at.data, fields).items():
        field = fields.get(name)
        if field is None:
            found.at_name(
                value,
                f"{label}: unknown field `{name}`",
                expected=f"fields of its schema: {listed(fields)}",
                fix=did_you_mean(name, fields),
            )
            continue
        try:
            row[name] = typed(value, field)
        except _Misfit as misfit:
            found.at(value, f"{label}: field `{name}` does not fit its schema", expected=str(misfit), fix="write a value of that type")
            row[name] = None
    if complete:
        for field in schema.fields:
            if field.name not in row and not field.nullable and not field.has_default:
                found.at(
                    at,
                    f"{label}: field `{field.name}` is missing",
                    expected=f"{field.kind}: the schema has neither null nor a default for it",
                    fix=f"add `{field.name}: …`",
                )
            row.setdefault(field.name, field.default if field.has_default else None)
    return row


def _flat(data: dict[str, Value], fields: dict[str, FieldSchema], prefix: str = "") -> dict[str, Value]:
    """Nested records by their dotted names, as columns have them."""
    flat: dict[str, Value] = {}
    for name, value in data.items():
        if isinstance(value.data, dict) and any(other.startswith(f"{prefix}{name}.") for other in fields):
            flat |= _flat(value.data, fields, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


class _Misfit(Exception):
    """The value is not of the field's type; the text says what was expected."""


def _given(value: Value, field: FieldSchema) -> object:
    data = value.data
    if data is None:
        if not field.nullable:
            raise _Misfit(f"{field.kind}, never null")
        return None
    if field.kind == "array":
        if not isinstance(data, list):
            raise _Misfit(f"a list of {field.item}")
        return [_scalar(item, field.item, field) for item in data]
    return _scalar(value, field.kind, field)


def _scalar(value: Value, kind: str, field: FieldSchema) -> object:
    text = value.data
    if not isinstance(text, str):
        raise _Misfit(kind)
    if kind == "enum" and text not in field.symbols:
        raise _Misfit("one of: " + ", ".join(field.symbols))
    if kind in ("string", "enum"):
        return text
    if kind in ("bytes", "fixed"):
        return text.encode()
    if kind == "boolean":
        if text not in ("true", "false") or not value.plain:
            raise _Misfit("true or false")
        return text == "true"
    moment = time_ms_of(text) if kind == "long" else None
    if moment is not None:
        return moment
    number = integer_of(text) if kind in ("int", "long") else number_of(text)
    if number is None or not value.plain:
        raise _Misfit({"int": "a whole number", "long": "a whole number, or a time like 2013-07-01T00:00:00Z"}.get(kind, "a number"))
    return number


def _expected(value: Value, field: FieldSchema) -> object:
    data = value.data
    if not isinstance(data, dict):
        return _given(value, field)
    if field.kind not in ("int", "long", "float", "double") or sorted(data) != sorted(_NEAR):
        raise _Misfit("a value, or {near: 35, within: 10} for a number")
    bounds = {name: number_of(item.data) if isinstance(item.data, str) else None for name, item in data.items()}
    if None in bounds.values():
        raise _Misfit("numbers in {near: 35, within: 10}")
    return bounds
