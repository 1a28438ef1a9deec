"""topology.columns: which columns a row has at each stage. check_names → *columns* → check_stages, build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stream_infer.codec.schema import RecordSchema
from stream_infer.features.settings import AGGREGATES
from stream_infer.functions import KINDS
from stream_infer.topology.suggest import closest, listed
from stream_infer.topology.values import Findings, Section, Spec, Value

NUMERIC = ("boolean", "int", "long", "float", "double")
TEXTUAL = ("string", "enum")
WHOLE = ("int", "long")
BINARY = ("bytes", "fixed")


@dataclass(frozen=True, slots=True)
class Column:
    """kind: the Avro kind of its values; logical: its logical type; origin: who makes it, in words."""

    kind: str
    logical: str | None
    origin: str


Columns = dict[str, Column]


@dataclass(frozen=True, slots=True)
class Want:
    """What a reference needs of a column. words: for `expected:` lines; fits: whether a column will do."""

    words: str
    fits: Callable[[Column], bool]


A_NUMBER = Want("a numeric field", lambda column: column.kind in NUMERIC)
A_TEXT = Want("a text field", lambda column: column.kind in TEXTUAL)
A_KEY = Want("a text or integer field", lambda column: column.kind in (*TEXTUAL, *WHOLE, *BINARY))
A_TIME = Want(
    "a field of Avro type long in ms since 1970", lambda column: column.kind == "long" and column.logical in (None, "timestamp-millis")
)
A_LIST = Want("an array of numbers", lambda column: column.kind == "array")
PACKED = Want("a field of bytes", lambda column: column.kind in BINARY)
ANYTHING = Want("a field", lambda _: True)


def of_schema(schema: RecordSchema, stream: str) -> Columns:
    """The columns of a stream's rows."""
    return {field.name: Column(field.kind, field.logical, f"a field of stream `{stream}`") for field in schema.fields}


def of_stages(spec: Spec, schemas: dict[str, RecordSchema], order: list[str], found: Findings) -> dict[str, Columns | None]:
    """Columns of the rows as they leave each stage (and each stream); None where they cannot be known, for want of a schema.

    A column that a stage adds must be new in all that flows from the same stream: branches travel together.
    """
    after: dict[str, Columns | None] = dict.fromkeys(spec.streams)
    after |= {name: of_schema(schema, name) for name, schema in schemas.items()}
    roots: dict[str, str] = {name: name for name in spec.streams}
    flowing: dict[str, Columns] = {name: dict(after[name] or {}) for name in spec.streams}
    for name in order:
        stage = spec.stages[name]
        source = stage.maybe_text("from")
        root = roots.get(source or "")
        if source is None or root is None:
            after[name] = None
            continue
        roots[name] = root
        added = {column: Column(kind, None, f"made by stage `{name}`") for column, kind in added_by(stage).items()}
        for column, value in _places(stage).items():
            other = flowing[root].get(column)
            if other is not None:
                found.at_name(
                    value,
                    f"stage `{name}`: column `{column}` exists already: {other.origin}",
                    expected="a new name",
                    fix=f"call it `{name}_{column}`",
                )
        flowing[root] |= added
        before = after.get(source)
        after[name] = None if before is None else before | added
    return after


def added_by(stage: Section) -> dict[str, str]:
    """The columns that a features, lookup or function stage adds, each with its Avro kind."""
    if stage.kind == "function":
        return {name: KINDS[value.data] for name, value in stage.entries("gives").items() if isinstance(value.data, str)}
    return dict.fromkeys(_places(stage), "double")


def _places(stage: Section) -> dict[str, Value]:
    if stage.kind == "lookup":
        return stage.entries("take")
    if stage.kind == "function":
        return stage.entries("gives")
    places: dict[str, Value] = {}
    for name, value in stage.entries("values").items():
        section = value.data
        if isinstance(section, Section) and "last_k" in section.given:
            count = section.maybe_number("k") or 1
            places |= {f"{name}_{i + 1}": value for i in range(int(count))}
        else:
            places[name] = value
    return places


def kind_of_aggregate(section: Section) -> str | None:
    """Which aggregate a feature is; None where it names none or two."""
    named = [kind for kind in AGGREGATES if kind in section.given]
    return named[0] if len(named) == 1 else None


# Settings of a feature that mean something for some aggregates only; `window_s` is asked for by the two others.
_MEANING = {
    "k": ("last_k",),
    "window_s": ("count", "sum", "mean", "std", "min", "max"),
    "decimals": ("sum", "mean", "std"),
}


def aggregates_with(setting: str) -> tuple[str, ...]:
    """The aggregates for which a setting of a feature has a meaning."""
    return _MEANING.get(setting, AGGREGATES)


def has_meaning(section: Section, setting: str) -> bool:
    """Whether a setting of a feature says anything, given the feature's other settings."""
    if setting in ("hops", "shape") and "window_s" not in section.given:
        return False
    if setting == "hops" and section.maybe_text("shape") == "tumbling":
        return False
    return kind_of_aggregate(section) in aggregates_with(setting)


def check_column(
    found: Findings, label: str, value: Value | None, columns: Columns | None, want: Want, *, of: str, fix: str = ""
) -> Column | None:
    """The column that a setting names; a problem where it does not exist or is of the wrong type. None also where nothing can be known."""
    if value is None or not isinstance(value.data, str) or columns is None:
        return None
    name = value.data
    column = columns.get(name)
    fitting = [other for other, fact in columns.items() if want.fits(fact)]
    if column is None:
        near = closest(name, fitting) or closest(name, columns)
        expected = f"{want.words} of {of}: {listed(fitting)}" if fitting else f"{want.words} of {of}, but it has none"
        found.at(
            value,
            f"{label}: unknown field `{name}` of {of}",
            expected=expected,
            fix=f"did you mean `{near}`?" if near else fix or f"name a field of {of}",
        )
        return None
    if not want.fits(column):
        logical = f" ({column.logical})" if column.logical else ""
        expected = f"{want.words}: {listed(fitting)}" if fitting else f"{want.words}, but {of} has none"
        found.at(
            value,
            f"{label}: field `{name}` of {of} has Avro type {column.kind}{logical}",
            expected=expected,
            fix=fix or "name another field, or change the schema",
        )
        return None
    return column
