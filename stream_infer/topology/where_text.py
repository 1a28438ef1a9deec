"""topology.where_text: `departs_at_ms >= 2013-07-01T00:00:00Z` to a comparison. columns → *where_text* → build."""

from __future__ import annotations

import re

from stream_infer.decide.settings import Where
from stream_infer.topology.columns import NUMERIC, TEXTUAL, Columns, Want, check_column
from stream_infer.topology.literals import number_of, time_ms_of
from stream_infer.topology.values import Findings, Section, Value

_COMPARISON = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*(==|!=|<=|>=|=|<|>)\s*(\S.*?)\s*")
_COMPARABLE = Want("a number or a text", lambda column: column.kind in (*NUMERIC, *TEXTUAL))
_EXAMPLE = "write it like `where: departs_at_ms >= 2013-07-01T00:00:00Z`"


def parse_where(stage: Section, columns: Columns | None, found: Findings, *, of: str, word: str = "where") -> Where | None:
    """The comparison of a stage, None where it has none or where it cannot be read (then with a problem). word: how the file calls it."""
    value = stage.get("where")
    if value is None or not isinstance(value.data, str):
        return None
    label = stage.label
    matched = _COMPARISON.fullmatch(value.data)
    if matched is None:
        found.at(
            value,
            f"{label}: `{word}` is no comparison",
            expected="a name, one of == != < <= > >=, a number, a text or a time",
            fix=_EXAMPLE if word == "where" else "write it like `unless: max_probability >= 0.9`",
        )
        return None
    name, operator, literal = matched.groups()
    if re.search(r"\s(and|or|not)\s|&&|\|\|", literal):
        found.at(
            value,
            f"{label}: `{word}` has more than one comparison",
            expected="one comparison",
            fix="compute a yes/no field where events are produced, and compare that",
        )
        return None
    if operator == "=":
        found.at(value, f"{label}: `=` compares nothing", expected="one of == != < <= > >=", fix=f"write `{word}: {name} == {literal}`")
        return None
    place = Value(name, value.line, value.column, value.source)
    column = check_column(found, label, place, columns, _COMPARABLE, of=of)
    if column is None:
        return None
    if column.kind in TEXTUAL:
        return _text(label, value, name, operator, literal, found)
    return _number(label, value, name, operator, literal, column.kind, found)


def _text(label: str, value: Value, name: str, operator: str, literal: str, found: Findings) -> Where | None:
    if operator not in ("==", "!="):
        found.at(
            value, f"{label}: `{name}` is text, which has no order here", expected="== or !=", fix=f"write `where: {name} == {literal}`"
        )
        return None
    quoted = re.fullmatch(r"'(.*)'|\"(.*)\"", literal)
    return Where(name, operator, literal if quoted is None else quoted[1] or quoted[2] or "")


def _number(label: str, value: Value, name: str, operator: str, literal: str, kind: str, found: Findings) -> Where | None:
    number = number_of(literal)
    if kind == "boolean":
        number = {"true": 1.0, "false": 0.0}.get(literal)
    if number is None and kind == "long":
        moment = time_ms_of(literal)
        number = None if moment is None else float(moment)
    if number is None:
        zone = re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", literal) is not None
        expected = {"boolean": "true or false", "long": "a number, or a time with its zone"}.get(kind, "a number")
        fix = f"write the time like `{literal[:10]}T00:00:00Z`" if zone and kind == "long" else f"compare `{name}` with {expected}"
        found.at(value, f"{label}: `{literal[:60]}` cannot be compared with `{name}` ({kind})", expected=expected, fix=fix)
        return None
    return Where(name, operator, number)
