"""topology.full: a topology with everything said that it leaves to the defaults. values → *full* → cli explain --full."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from stream_infer.topology.check_names import inputs_and_outputs
from stream_infer.topology.columns import has_meaning
from stream_infer.topology.literals import NOTHING
from stream_infer.topology.spec import PLACES
from stream_infer.topology.values import Data, Section, Spec, Value

WIDTH_MAX = 120
_PLAIN = re.compile(r"[A-Za-z0-9_./$(]([A-Za-z0-9_./$()=<>+ @-]*[A-Za-z0-9_./$()=<>+@-])?")


def full(spec: Spec) -> str:
    """The file again as YAML, comments gone, defaults filled in. Reading it gives the same plan."""
    lines: list[str] = []
    _, outputs = inputs_and_outputs(spec)
    for name, value in _settings(spec.top):
        if name == "streams":
            value = replace(
                value,
                data={
                    key: replace(item, data=_written(item.data) if key in outputs else item.data)
                    for key, item in spec.top.entries(name).items()
                },
            )
        _write(lines, name, value, 0)
    return "\n".join(lines) + "\n"


_ONLY_WITH = {"segments_max": "segment", "segment_prior_rows": "segment", "differ_share_max": "differ_by"}


def _settings(section: Section) -> list[tuple[str, Value]]:
    """Settings in the order of the reference; where no place is known, in the order of the file."""
    place = PLACES.get(section.place)
    names = place.names() if place is not None else tuple(section.values)
    return [(name, value) for name in names if (value := section.get(name)) is not None and (value.given or _matters(section, name, value))]


def _matters(section: Section, name: str, value: Value) -> bool:
    """Whether a default says anything: settings without meaning for a kind of feature would be refused when read again."""
    if isinstance(value.data, Section):
        return bool(_settings(value.data))
    if (needed := _ONLY_WITH.get(name)) is not None:
        return section.has(needed)
    return section.place != "aggregate" or has_meaning(section, name)


def _written(data: Data) -> Data:
    """A stream that is written has no settings of a stream that is read."""
    assert isinstance(data, Section)
    return replace(
        data, values={name: value for name, value in data.values.items() if name in ("topic", "partitions", "format", "framing")}
    )


def _write(lines: list[str], name: str, value: Value, depth: int) -> None:
    indent = "  " * depth
    flat = f"{indent}{_key(name)}: {_flow(value, name)}"
    roomy = depth == 0 and isinstance(value.data, dict | list) and name not in ("limits", "client")
    if (len(flat) <= WIDTH_MAX and not roomy) or isinstance(value.data, str | int | float | None):
        lines.append(flat)
        return
    lines.append(f"{indent}{_key(name)}:")
    if isinstance(value.data, list):
        for item in value.data:
            _write_item(lines, item, name, depth + 1)
        return
    for inner, item in _pairs(value, name):
        _write(lines, inner, item, depth + 1)


def _write_item(lines: list[str], item: Value, name: str, depth: int) -> None:
    indent = "  " * depth
    flat = f"{indent}- {_flow(item, name)}"
    if len(flat) <= WIDTH_MAX or not isinstance(item.data, dict | Section):
        lines.append(flat)
        return
    first = len(lines)
    for inner, below in _pairs(item, name):
        _write(lines, inner, below, depth + 1)
    lines[first] = f"{indent}- {lines[first].lstrip()}"


def _pairs(value: Value, name: str) -> list[tuple[str, Value]]:
    """What stands below a section or mapping. Below `policy` and `reward` the word that chose the section stands first."""
    data = value.data
    if isinstance(data, dict):
        return list(data.items())
    assert isinstance(data, Section)
    if name in ("policy", "reward"):
        return [(data.kind, value)]
    return _settings(data)


def _flow(value: Value, name: str) -> str:
    data = value.data
    if data is None:
        return "null"
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, int | float):
        return repr(int(data)) if float(data).is_integer() and abs(data) < 1e15 else repr(data)
    if isinstance(data, str):
        return _text(data, plain=value.plain or not value.given)
    if isinstance(data, list):
        return "[" + ", ".join(_flow(item, "") for item in data) + "]"
    return "{" + ", ".join(f"{_key(inner)}: {_flow(item, inner)}" for inner, item in _pairs(value, name)) + "}"


def _text(text: str, *, plain: bool) -> str:
    return text if plain and _PLAIN.fullmatch(text) and text not in NOTHING else json.dumps(text, ensure_ascii=False)


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)
