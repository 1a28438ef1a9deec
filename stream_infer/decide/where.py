"""decide.where: which rows a decision is for. features → *where* → policy."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stream_infer.decide.settings import Where
from stream_infer.errors import Bug
from stream_infer.records import Bools, Column, Numbers, Text

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def rows(where: Where, columns: Mapping[str, Column]) -> Bools:
    """bool[n]: rows for which the comparison holds. An absent value (or NaN) compares false with everything, also under !=.

    Numbers are compared as float64, exact for integers up to 2**53. Raises Bug where `check` let a misfit through.
    """
    column = columns.get(where.field)
    if isinstance(column, Numbers) and not isinstance(where.literal, str):
        values = column.floats()
        holds: Bools = COMPARISONS[where.operator](values, where.literal) & ~np.isnan(values)
        return holds
    if isinstance(column, Text) and isinstance(where.literal, str) and where.operator in ("==", "!="):
        present = np.ones(len(column), dtype=np.bool_) if column.valid is None else column.valid
        same = _equal(column, where.literal.encode(), present)
        return same if where.operator == "==" else present & ~same
    kind = "no column" if column is None else type(column).__name__
    raise Bug(f"where: {where.field} {where.operator} {where.literal!r} cannot be asked of {kind}")


def _equal(column: Text, literal: bytes, present: Bools) -> Bools:
    """Rows whose bytes are the literal's: sizes first, then only rows of that size are gathered."""
    same: Bools = present & (column.size == len(literal))
    places = np.flatnonzero(same)
    if len(literal) and len(places):
        spans = column.start[places, None] + np.arange(len(literal))
        same[places] = (column.blob[spans] == np.frombuffer(literal, dtype=np.uint8)).all(axis=1)
    return same
