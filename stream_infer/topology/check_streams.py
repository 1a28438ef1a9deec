"""topology.check_streams: schemas can be read, and the fields that a stream names are there. check_names → *check_streams* → columns."""

from __future__ import annotations

import re
from collections.abc import Callable

from stream_infer.codec.schema import RecordSchema, parse_schema
from stream_infer.errors import SchemaError
from stream_infer.topology import columns as col
from stream_infer.topology.check_names import inputs_and_outputs
from stream_infer.topology.values import Findings, Section, Spec, Value

Files = Callable[[str], str | None]  # the text of a file, by its path relative to the topology; None where there is none

INPUT_ONLY = ("schema", "schema_ids", "key", "id", "event_time", "decide_at", "late_after_ms", "future_after_ms", "compacted")


def check_streams(spec: Spec, files: Files, found: Findings) -> tuple[dict[str, RecordSchema], dict[str, str]]:
    """Schemas by name of the stream, and texts of all schema files by path."""
    inputs, outputs = inputs_and_outputs(spec)
    schemas: dict[str, RecordSchema] = {}
    texts: dict[str, str] = {}
    for name, stream in spec.streams.items():
        if name in outputs and name not in inputs:
            _check_output(stream, outputs[name].key_line, found)
            continue
        if "schema" not in stream.given and name in inputs:
            what = f"stream `{name}`: `schema` is missing, and line {inputs[name].line} reads the stream"
            found.at(stream, what, expected="the Avro schema of its rows", fix=f"add `schema: schemas/{name}.avsc`")
        schema = _read_schema(stream, stream.get("schema"), files, texts, found)
        for value in stream.entries("schema_ids").values():
            _read_schema(stream, value, files, texts, found)
        if schema is not None:
            schemas[name] = schema
            _check_fields(name, stream, schema, found)
    for stage_name, stage in spec.stages_of("lookup"):
        table = spec.streams.get(stage.maybe_text("table") or "")
        if table is not None and "key" not in table.given:
            found.at(
                table,
                f"{table.label}: `key` is missing, and stage `{stage_name}` looks rows up by it",
                expected="the field of the record key",
                fix="add `key: …`",
            )
        if table is not None and table.maybe_text("format") == "faust" and not stage.flag("global"):
            what = f"stage `{stage_name}`: Faust keys the records of its tables by JSON, so they lie in other partitions"
            found.at(stage, what, expected="`global: true`", fix="add `global: true`: every worker then reads the whole table")
    return schemas, texts


def path_problem(path: str) -> str:
    """Why a path is refused, "" where it is fine: only files below the topology's folder may be named, for whoever can write the
    topology must not reach further than the operator put him."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", path):
        return "is a URL: nothing is fetched"
    if path.startswith(("/", "~", "\\")) or re.match(r"[a-zA-Z]:", path):
        return "is absolute"
    if ".." in re.split(r"[/\\]", path):
        return "climbs out of the folder with `..`"
    if "\\" in path or any(ord(letter) < 32 for letter in path):
        return "has characters that no path needs"
    return ""


def check_path(label: str, value: Value, found: Findings) -> str | None:
    """The path if it is safe; a problem and None where it is not."""
    path = value.data
    assert isinstance(path, str)
    why = path_problem(path)
    if why:
        name = re.split(r"[/\\]", path)[-1] or "file"
        found.at(
            value,
            f"{label}: the path {why}",
            expected="a path below the folder of the topology",
            fix=f"put the file there and write `{name}`",
        )
        return None
    return path


def _check_output(stream: Section, written_on: int, found: Findings) -> None:
    form, framing = stream.get("format"), stream.get("framing")
    if form is not None and form.data == "faust":
        found.at(form, f"{stream.label}: tables of Faust are only read", expected="avro or json", fix="write `format: json`")
    if framing is not None and framing.data == "header":
        found.at(
            framing,
            f"{stream.label}: written streams carry the schema's id in front of the value, not in a header",
            expected="confluent or bare",
            fix="write `framing: confluent`, or leave it out",
        )
    for setting in INPUT_ONLY:
        value = stream.get(setting)
        if value is not None and value.given:
            what = f"{stream.label}: `{setting}` has no meaning here, for line {written_on} writes the stream"
            found.at_name(
                value, what, expected="only topic, partitions, format and framing: its rows are made by us", fix=f"remove `{setting}`"
            )


def _read_schema(stream: Section, value: Value | None, files: Files, texts: dict[str, str], found: Findings) -> RecordSchema | None:
    if value is None or not isinstance(value.data, str):
        return None
    path = check_path(stream.label, value, found)
    if path is None:
        return None
    text = files(path)
    if text is None:
        found.at(
            value,
            f"{stream.label}: there is no file `{path}`",
            expected="an Avro schema, relative to the folder of the topology",
            fix="create it, or correct the path",
        )
        return None
    texts[path] = text
    try:
        return parse_schema(text, path)
    except SchemaError as error:
        # SchemaError has the same four lines that a problem has; its own place is the schema's, ours is the line that names it.
        said = dict(re.findall(r"^ +(got|expected|fix): +(.*)$", str(error), flags=re.MULTILINE))
        found.at(
            value,
            f"{stream.label}: {str(error).splitlines()[0]}",
            got=said.get("got", value.source),
            expected=said.get("expected", "an Avro schema"),
            fix=said.get("fix", f"correct `{path}`"),
        )
        return None


def _check_fields(name: str, stream: Section, schema: RecordSchema, found: Findings) -> None:
    form = stream.get("format")
    if form is not None and form.data == "faust" and not stream.has("key"):
        found.at(form, f"{stream.label}: the key of a Faust table has no field", expected="`key`", fix="add `key: …`, a field of it")
    columns = col.of_schema(schema, name)
    of = "its schema"
    for setting, want in (("key", col.A_KEY), ("id", col.A_TEXT), ("event_time", col.A_TIME)):
        col.check_column(found, stream.label, stream.get(setting), columns, want, of=of)
    moment = stream.section("decide_at")
    if moment is not None:
        col.check_column(found, stream.label, moment.get("field"), columns, col.A_TIME, of=of)
