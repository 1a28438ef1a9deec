"""topology.emit_schema: what an emit stage writes: fields of predictions, columns of the answered rows. columns → *emit_schema* → build."""

from __future__ import annotations

import json
from collections.abc import Mapping

from stream_infer.codec.internal import EXPLANATION, PREDICTION, PREDICTION_COMPOSED, REJECT, SHADOW
from stream_infer.codec.schema import FieldSchema, RecordSchema
from stream_infer.topology import columns as col
from stream_infer.topology.check_calls import decider_of, functions_before
from stream_infer.topology.check_names import inputs_and_outputs
from stream_infer.topology.columns import Columns, added_by, check_column
from stream_infer.topology.hop_schema import made_type
from stream_infer.topology.parts import COMPOSED, asked_models, with_parts
from stream_infer.topology.spec_names import ANSWER_FIELDS
from stream_infer.topology.values import Findings, Section, Spec

_FLOATS = ("float", "double")


def check_emit(stage: Section, columns: Columns | None, of: str, found: Findings) -> None:
    """Each name once; carried columns are there and have names of their own. columns: of the answered rows."""
    for setting in ("fields", "carry"):
        seen: set[str] = set()
        for item in stage.items(setting):
            if not isinstance(item.data, str):
                continue
            if item.data in seen:
                what = f"{stage.label}: `{item.data}` stands twice in `{setting}`"
                found.at(item, what, expected="each name once", fix="remove one of them")
            seen.add(item.data)
    for item in stage.items("carry"):
        if item.data in ANSWER_FIELDS:
            what = f"{stage.label}: `{item.data}` is a field of predictions already"
            found.at(
                item, what, expected="a column of the answered rows with a name of its own", fix=f"list `{item.data}` in `fields` instead"
            )
        elif check_column(found, stage.label, item, columns, col.ANYTHING, of=of) is not None and "." in str(item.data):
            what = f"{stage.label}: `{item.data}` lies in a nested record"
            found.at(item, what, expected="a field at the top of its schema", fix="flatten the record, or leave the field out")


def written_schemas(spec: Spec, schemas: Mapping[str, RecordSchema]) -> dict[str, str]:
    """Schemas of the streams that are written, by name. schemas: of the streams that are read; columns of unknown streams count as made."""
    found: dict[str, str] = dict.fromkeys(inputs_and_outputs(spec)[1], PREDICTION)
    for _, stage in spec.stages_of("emit"):
        to, rejects = stage.maybe_text("to"), stage.maybe_text("rejects")
        root = schemas.get(_root(spec, stage))
        if to in found:
            fields = {} if root is None else {field.name: field for field in root.fields}
            passed = functions_before(spec, stage.maybe_text("from") or "")
            made = {name: kind for function in passed for name, kind in added_by(function).items()}
            form = spec.streams[to].maybe_text("format") or "avro"
            found[to] = emit_schema(stage, fields, made, form, composed=_composed(spec, stage))
        if rejects in found:
            found[rejects] = REJECT
    for kind, schema in (("explain", EXPLANATION), ("shadow", SHADOW)):
        for _, stage in spec.stages_of(kind):
            if (to := stage.maybe_text("to")) in found:
                found[to] = schema
    return found


def _composed(spec: Spec, emit: Section) -> bool:
    """Whether the stage whose answers are emitted asks models that are made of others."""
    stage = spec.stages.get(decider_of(spec, emit.maybe_text("from") or "") or "")
    return stage is not None and any(spec.models[name].kind in COMPOSED for name in with_parts(spec, asked_models(stage)))


def _root(spec: Spec, stage: Section) -> str:
    """The stream at the head of a stage's chain; a circle, told elsewhere, ends the search."""
    name, seen = stage.maybe_text("from") or "", set[str]()
    while name in spec.stages and name not in seen:
        seen.add(name)
        name = spec.stages[name].maybe_text("from") or ""
    return name


def emit_schema(stage: Section, root: Mapping[str, FieldSchema], made: Mapping[str, str], form: str, *, composed: bool = False) -> str:
    """The Avro schema of what an emit stage writes. root: fields of the stream whose rows are answered, by name; form: avro or json.

    composed: some model of the stage is made of others: then all fields are a few more. Columns that stages made may be null; their kinds
    are in `made`, or double. JSON knows no NaN: there, carried floats may be null.
    """
    whole = json.loads(PREDICTION)
    default = [field["name"] for field in whole["fields"] + (json.loads(PREDICTION_COMPOSED) if composed else [])]
    known = {field["name"]: field for field in whole["fields"] + json.loads(PREDICTION_COMPOSED)}
    # Each name once, also where the file has it twice: that is told elsewhere.
    names = [name for name in dict.fromkeys(stage.texts("fields")) if name in known]
    carried = [name for name in dict.fromkeys(stage.texts("carry")) if name not in known]
    if not names and not carried and not composed:
        return PREDICTION
    fields: list[dict[str, object]] = [known[name] for name in names or default]
    fields += [{"name": name, "type": _type(root[name], form) if name in root else made_type(made.get(name, "double"))} for name in carried]
    return json.dumps({**whole, "fields": fields})


def _type(field: FieldSchema, form: str) -> object:
    kind: object = field.kind
    if field.kind == "array":
        kind = {"type": "array", "items": field.item}
    elif field.kind == "enum":
        kind = {"type": "enum", "name": f"{field.name}_enum", "symbols": list(field.symbols)}
    elif field.kind == "fixed":
        kind = {"type": "fixed", "name": f"{field.name}_fixed", "size": field.size}
    elif field.logical is not None:
        kind = {"type": field.kind, "logicalType": field.logical}
    if not field.nullable:
        return ["null", kind] if form == "json" and field.kind in _FLOATS else kind
    return ["null", kind] if field.null_first else [kind, "null"]
