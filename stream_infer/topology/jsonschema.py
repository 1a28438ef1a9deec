"""topology.jsonschema: the format for editors, as JSON Schema (draft 2020-12). spec → *jsonschema* → schemas/topology.schema.json.

Editors read YAML with guesses of their own, so texts without a pattern may be numbers and booleans there.
"""

from __future__ import annotations

import json

from stream_infer.topology.shape import Place, Setting, Type
from stream_infer.topology.spec import PLACES

Schema = dict[str, object]


def json_schema_text() -> str:
    """The text of schemas/topology.schema.json."""
    schema: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "stream-infer topology, format 1",
        "description": "Made from the tables of stream_infer.topology.spec; do not edit.",
        "$ref": "#/$defs/topology",
        "$defs": {name: _place(place) for name, place in PLACES.items()},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _place(place: Place) -> Schema:
    out: Schema = {
        "description": place.doc,
        "type": "object",
        "properties": {setting.name: _setting(setting) for setting in place.settings},
        "additionalProperties": False,
    }
    required = [setting.name for setting in place.settings if setting.required]
    if required:
        out["required"] = required
    if place.alternatives():
        out["oneOf"] = [{"required": [name]} for name in place.alternatives()]
    return out


def _setting(setting: Setting) -> Schema:
    out: Schema = {"description": setting.doc, **_type(setting.type)}
    if setting.default is not None:
        out["default"] = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    return out


def _type(kind: Type) -> Schema:
    if kind.nullable:
        return {"anyOf": [_form(kind), {"type": "null"}]}
    return _form(kind)


def _form(kind: Type) -> Schema:
    match kind.form:
        case "text":
            return {"type": "string", "pattern": f"^(?:{kind.pattern})$"} if kind.pattern else {"type": ["string", "number", "boolean"]}
        case "number" | "integer":
            bounds = {"minimum": kind.low, "exclusiveMinimum": kind.above, "maximum": kind.high}
            return {"type": kind.form, **{name: value for name, value in bounds.items() if value is not None}}
        case "boolean":
            return {"type": "boolean"}
        case "choice":
            return {"enum": list(kind.choices)}
        case "list":
            assert kind.item is not None
            return {"type": "array", "items": _type(kind.item), **({"minItems": kind.items_min} if kind.items_min else {})}
        case "mapping":
            return _mapping(kind)
        case "section":
            return _ref(kind.place)
        case "kinds":
            return _kinds(kind)
        case "one_of":
            properties = {word: _ref(place) for word, place in kind.places}
            return {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1, "maxProperties": 1}
        case "either":
            return {"anyOf": [_type(option) for option in kind.options]}
    return {}


def _mapping(kind: Type) -> Schema:
    assert kind.item is not None
    out: Schema = {"type": "object", "additionalProperties": _type(kind.item)}
    if kind.pattern:
        out["propertyNames"] = {"pattern": f"^(?:{kind.pattern})$"}
    if kind.items_min:
        out["minProperties"] = kind.items_min
    return out


def _kinds(kind: Type) -> Schema:
    """One `if` per kind: an editor then complains about the kind that was meant, not about all of them."""
    by = kind.selector
    choose = [{"if": {"properties": {by: {"const": word}}, "required": [by]}, "then": _ref(place)} for word, place in kind.places]
    return {"type": "object", "required": [by], "properties": {by: {"enum": list(kind.words())}}, "allOf": choose}


def _ref(place: str) -> Schema:
    return {"$ref": f"#/$defs/{place}"}
