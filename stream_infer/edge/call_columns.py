"""edge.call_columns: columns as a user's function sees them, and what it gave as columns again. flow.commands → *call_columns* → calls.

What a function gives is looked at value by value only where it is odd: a value of the wrong type spoils its own row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.flow.rows import absent
from stream_infer.functions import Given, Rejected, Values
from stream_infer.records import Column, Lists, Numbers, Text, concat_columns

WORDS = {"double": "a number", "long": "a whole number", "boolean": "true or false", "string": "a text", "array": "numbers"}
WHOLE_MAX = 2**63


Gives = Sequence[tuple[str, str]]  # names and Avro kinds of the columns that a stage gives


@dataclass(slots=True)
class Outcome:
    """What became of some rows. columns: all that the stage gives; rejected: rows that the function would not let pass; failed: rows for
    which it failed. Columns mean nothing where a row is in either."""

    columns: dict[str, Column]
    rejected: dict[int, str]
    failed: dict[int, str]


class Odd(Exception):
    """A function gave what its stage does not declare; the message says what."""


def batch_of(columns: Mapping[str, Column], rows: slice) -> dict[str, object]:
    """Some rows as a batch function takes them: copies, which it may change."""
    return {name: _values(column.take(rows)) for name, column in columns.items()}


def _values(column: Column) -> object:
    if isinstance(column, Numbers):
        return column.floats()  # always: a type that follows from what is absent would change with how rows are cut into batches
    if isinstance(column, Text):
        return column.to_list()
    return [None if row is None else np.array(row) for row in column.to_list()]


def rows_of(columns: Mapping[str, Column], count: int) -> list[dict[str, object]]:
    """Rows as a row function takes them; a NaN is None."""
    listed = {name: [None if value != value else value for value in column.to_list()] for name, column in columns.items()}
    return [{name: values[row] for name, values in listed.items()} for row in range(count)]


def of_batch(made: object, gives: Gives, count: int) -> Outcome:
    """What a batch function gave for `count` rows. Odd where it is not even of the right form."""
    rejected: dict[int, str] = {}
    failed: dict[int, str] = {}
    if isinstance(made, Given):
        for row, reason in made.rejected.items():
            if isinstance(row, bool) or not isinstance(row, int | np.integer) or not 0 <= row < count:
                raise Odd(f"rejected row {row!r}, expected a row from 0 to {count - 1}")
            rejected[int(row)] = line(str(reason))
        made = made.columns
    values = _named(made, gives)
    columns: dict[str, Column] = {}
    for name, kind in gives:
        given = values[name]
        if not isinstance(given, np.ndarray) and (isinstance(given, str | bytes) or not isinstance(given, Sequence)):
            raise Odd(f"gave {type(given).__name__} as `{name}`, expected a list or an array of {count} values")
        if len(given) != count:
            raise Odd(f"gave {len(given)} values of `{name}`, expected {count}")
        columns[name], faults = column_of(given, name, kind)
        failed |= faults
    return Outcome(columns, rejected, {row: reason for row, reason in failed.items() if row not in rejected})


def _named(made: object, gives: Gives) -> Values:
    made = {} if made is None else made
    if not isinstance(made, Mapping):
        raise Odd(f"gave {type(made).__name__}, expected columns by name")
    names = {name for name, _ in gives}
    if set(made) != names:
        raise Odd(f"gave {_listed(made)}, its stage declares {_listed(names)}")
    return made


def of_rows(made: Sequence[object], gives: Gives) -> Outcome:
    """What a row function gave, row by row: its values, Rejected, or another exception, as it raised it."""
    rejected = {row: line(str(one)) for row, one in enumerate(made) if isinstance(one, Rejected)}
    failed = {row: said(one) for row, one in enumerate(made) if isinstance(one, Exception) and row not in rejected}
    named: list[Values] = []
    nothing = dict.fromkeys(name for name, _ in gives)
    for row, one in enumerate(made):
        if row in rejected or row in failed:
            named.append(nothing)
            continue
        try:
            named.append(_named(one, gives))
        except Odd as odd:
            failed[row] = said(odd)
            named.append(nothing)
    columns: dict[str, Column] = {}
    for name, kind in gives:
        columns[name], faults = column_of([values[name] for values in named], name, kind)
        failed |= faults
    return Outcome(columns, rejected, failed)


def said(error: Exception) -> str:
    """An exception in one line."""
    return line(f"the function {error}" if isinstance(error, Odd) else f"{type(error).__name__}: {error}")


def nothing_of(gives: Gives, count: int) -> dict[str, Column]:
    """Columns without a value."""
    return {name: absent(kind, count) for name, kind in gives}


def joined(parts: Sequence[tuple[Outcome, int]]) -> Outcome:
    """Outcomes of neighbouring rows as one, each with its number of rows."""
    if len(parts) == 1:
        return parts[0][0]
    whole = Outcome({name: concat_columns([part.columns[name] for part, _ in parts]) for name in parts[0][0].columns}, {}, {})
    first = 0
    for part, count in parts:
        whole.rejected |= {first + row: reason for row, reason in part.rejected.items()}
        whole.failed |= {first + row: reason for row, reason in part.failed.items()}
        first += count
    return whole


def with_defaults(outcome: Outcome, defaults: Values, gives: Gives, count: int) -> Outcome:
    """The same with defaults where the function failed."""
    if not outcome.failed:
        return outcome
    place = np.arange(count)
    place[list(outcome.failed)] = count
    columns: dict[str, Column] = {}
    for name, kind in gives:
        default, faults = column_of([defaults.get(name)], name, kind)
        assert not faults, f"the default of `{name}` was checked"
        columns[name] = concat_columns([outcome.columns[name], default]).take(place)
    return Outcome(columns, outcome.rejected, {})


def _listed(names: object) -> str:
    assert isinstance(names, set | Mapping)
    return ", ".join(f"`{name}`" for name in sorted(map(str, names))) or "nothing"


def column_of(given: Sequence[object] | NDArray[np.generic], name: str, kind: str) -> tuple[Column, dict[int, str]]:
    """A column of an Avro kind from a function's values, and the rows whose value does not fit, with the reason."""
    if isinstance(given, np.ndarray):
        plain = _of_array(given, kind)
        if plain is not None:
            return plain, {}
        given = given.tolist()
    faults: dict[int, str] = {}
    values: list[object] = []
    for row, value in enumerate(given):
        value = None if value != value else value
        fitting = _fitting(value, kind)
        if fitting is None and value is not None:
            faults[row] = f"`{name}`: the function gave {_shown(value)}, expected {WORDS[kind]} or nothing"
        values.append(fitting)
    return _of_list(values, kind), faults


def _of_array(given: NDArray[np.generic], kind: str) -> Column | None:
    """Without looking at each value, where the array's type is right."""
    if given.ndim == 2 and kind == "array" and given.dtype.kind in "fiu":
        return Lists.of_matrix(np.ascontiguousarray(given, dtype=np.float64))
    if given.ndim != 1 or len(given) == 0:
        return None
    if kind == "double" and given.dtype.kind in "fiub":
        made = np.ascontiguousarray(given, dtype=np.float64)
        known = np.isfinite(made)
        return (
            Numbers(made if known.all() else np.where(known, made, 0.0), None if known.all() else known)
            if not np.isinf(made).any()
            else None
        )
    if kind == "long" and (given.dtype.kind == "i" or (given.dtype.kind == "u" and int(given.max()) < WHOLE_MAX)):
        return Numbers(np.ascontiguousarray(given, dtype=np.int64))
    if kind == "boolean" and given.dtype.kind == "b":
        return Numbers(np.ascontiguousarray(given))
    return None


def _fitting(value: object, kind: str) -> object:
    """The value as its kind holds it; None where there is none, or where it does not fit."""
    if isinstance(value, np.generic):
        value = value.item()
    if kind == "string":
        return value if isinstance(value, str) and _encodable(value) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "array":
        listed = value.tolist() if isinstance(value, np.ndarray) else value
        fits = isinstance(listed, list | tuple) and all(isinstance(item, int | float) and math.isfinite(item) for item in listed)
        return [float(item) for item in listed] if fits else None  # type: ignore[union-attr]  # a list, or it does not fit
    if isinstance(value, float) and kind == "long":
        value = int(value) if value.is_integer() else None
    if isinstance(value, bool) and kind == "long":
        return None
    if isinstance(value, int) and kind == "long":
        return value if -WHOLE_MAX <= value < WHOLE_MAX else None
    return float(value) if isinstance(value, int | float) and kind == "double" and math.isfinite(value) else None


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair: no text that could be sent
        return False
    return True


def _of_list(values: list[object], kind: str) -> Column:
    there = [value is not None for value in values]
    if not any(there):
        return absent(kind, len(values))
    valid = None if all(there) else np.array(there, dtype=np.bool_)
    if kind == "string":
        return Text.of(value if isinstance(value, str) else None for value in values)
    if kind == "array":
        rows = [np.array(value if isinstance(value, list) else [], dtype=np.float64) for value in values]
        size = np.array([len(row) for row in rows], dtype=np.int64)
        return Lists(np.concatenate(rows), np.cumsum(size) - size, size, valid)
    dtype = {"double": np.float64, "long": np.int64, "boolean": np.bool_}[kind]
    return Numbers(np.array([0 if value is None else value for value in values], dtype=dtype), valid)


def _shown(value: object) -> str:
    return line(f"{type(value).__name__} {value!r}")[:100]


def line(text: str) -> str:
    """The first line, at most 200 characters: reasons are one line."""
    return (text.splitlines() or [""])[0][:200]
