"""topology.read_scalars: one scalar of the file, read as the type of its setting says. nodes → *read_scalars* → read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from stream_infer.errors import Problem
from stream_infer.topology.literals import NO, NOTHING, YES, duration_hint, integer_of, number_of
from stream_infer.topology.nodes import Scalar
from stream_infer.topology.shape import Setting, Type, describe
from stream_infer.topology.suggest import did_you_mean
from stream_infer.topology.values import Findings

Refuse = Callable[..., None]  # (what, fix): records the problem; the scalar then has no value


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting that is being read. label: the section it stands in, as a prefix of messages; words: how messages call the value;
    source: the entry as written; inner: the label of the section below it, where it has one of its own."""

    label: str
    name: str
    line: int
    column: int
    source: str
    words: str
    inner: str = ""


def read_scalar(found: Findings, setting: Setting, kind: Type, node: Scalar, entry: Entry) -> str | float | bool | None:
    """The scalar as text, int, float or bool; None, and a problem in `found`, where it is not of the kind."""

    def problem(what: str, fix: str = "") -> None:
        advice = fix or f"write it like `{setting.name}: {setting.example}`"
        found.problems.append(
            Problem(
                found.file, node.start.line, node.start.column, f"{entry.label}{entry.words} {what}", entry.source, describe(kind), advice
            )
        )

    if node.plain and node.text in NOTHING:
        problem("is empty")
        return None
    if kind.form == "text":
        legal, fix = not kind.pattern or re.fullmatch(kind.pattern, node.text) is not None, ""
    elif kind.form == "choice":
        legal, fix = node.text in kind.choices, did_you_mean(node.text, kind.choices)
    elif kind.form == "boolean":
        return _boolean(node, problem)
    else:
        return _number(kind, node, entry, problem)
    if legal:
        return node.text
    problem(f"cannot be `{node.text[:60]}`", fix)
    return None


def _boolean(node: Scalar, problem: Refuse) -> bool | None:
    if node.plain and node.text in ("true", "false"):
        return node.text == "true"
    word = "true" if node.text in ("true", *YES) else "false" if node.text in ("false", *NO) else ""
    problem(f"cannot be `{node.text[:60]}`" if node.plain else "stands in quotes", f"write {word}" if word else "write true or false")
    return None


def _number(kind: Type, node: Scalar, entry: Entry, problem: Refuse) -> float | None:
    value = integer_of(node.text) if kind.form == "integer" else number_of(node.text)
    if value is not None and not node.plain:
        problem("is text in quotes", "remove the quotes")
        return None
    if value is None:
        problem(f"cannot be `{node.text[:60]}`", duration_hint(entry.name, node.text))
        return None
    low, high = kind.low, kind.high
    if (low is not None and value < low) or (high is not None and value > high) or (kind.above is not None and value <= kind.above):
        problem("is out of bounds")
        return None
    return value
