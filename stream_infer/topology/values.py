"""topology.values: what was read from a topology file, with the place of every value. nodes → *values* → check, build."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from stream_infer.errors import Problem


@dataclass(frozen=True, slots=True)
class Value:
    """One value. data: str, int, float, bool, None, a list of values, a dict of values by name, or a section.

    line, column: where it stands; key_line, key_column: where its name stands; source: the entry as written, for `got:` lines;
    plain: a scalar without quotes (it matters for rows of tests, whose types the schemas decide); given: whether it stood in the file.
    """

    data: Data
    line: int
    column: int
    source: str
    key_line: int = 0
    key_column: int = 0
    plain: bool = False
    given: bool = True


@dataclass(frozen=True)
class Section:
    """Settings of one place of the format. place: its name in the spec, "" where the kind is unknown; kind: the word that chose the place.

    values: the settings that were read or have a default; a setting that was given but cannot be read is absent. label: how
    messages call the section, such as "stage `eta`". given: the settings that stood in the file, readable or not.
    """

    place: str
    label: str
    line: int
    column: int
    source: str
    kind: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    def get(self, name: str) -> Value | None:
        """The value of a setting, given or default; None where it is absent."""
        return self.values.get(name)

    def has(self, name: str) -> bool:
        """Whether the setting has a value."""
        return name in self.values

    def maybe_text(self, name: str) -> str | None:
        """The text, None where there is none."""
        value = self.values.get(name)
        return value.data if value is not None and isinstance(value.data, str) else None

    def maybe_number(self, name: str) -> float | None:
        """The number, None where there is none."""
        value = self.values.get(name)
        return value.data if value is not None and isinstance(value.data, int | float) else None

    def text(self, name: str) -> str:
        """The text of a setting that is surely there."""
        found = self.maybe_text(name)
        assert found is not None, f"{self.label}: no text in {name}"
        return found

    def number(self, name: str) -> float:
        """The number of a setting that is surely there."""
        found = self.maybe_number(name)
        assert found is not None, f"{self.label}: no number in {name}"
        return float(found)

    def integer(self, name: str) -> int:
        """The whole number of a setting that is surely there."""
        return int(self.number(name))

    def flag(self, name: str) -> bool:
        """Whether a boolean setting is true."""
        value = self.values.get(name)
        return value is not None and value.data is True

    def items(self, name: str) -> list[Value]:
        """The items of a list, () where there is none."""
        value = self.values.get(name)
        return value.data if value is not None and isinstance(value.data, list) else []

    def texts(self, name: str) -> tuple[str, ...]:
        """The items of a list that are texts."""
        return tuple(item.data for item in self.items(name) if isinstance(item.data, str))

    def entries(self, name: str) -> dict[str, Value]:
        """Values by name of a mapping."""
        value = self.values.get(name)
        return value.data if value is not None and isinstance(value.data, dict) else {}

    def section(self, name: str) -> Section | None:
        """The section below a setting."""
        value = self.values.get(name)
        return value.data if value is not None and isinstance(value.data, Section) else None

    def sections(self, name: str) -> dict[str, Section]:
        """Sections by name of a mapping."""
        return {key: value.data for key, value in self.entries(name).items() if isinstance(value.data, Section)}


Data = str | int | float | bool | list[Value] | dict[str, Value] | Section | None


@dataclass(frozen=True)
class Spec:
    """A topology file as it was read: names are there, whether what stands below them is right is for the checks."""

    file: str
    top: Section

    @cached_property
    def name(self) -> str:
        """The topology's name."""
        return self.top.maybe_text("name") or "topology"

    @cached_property
    def streams(self) -> dict[str, Section]:
        """Streams by name."""
        return self.top.sections("streams")

    @cached_property
    def models(self) -> dict[str, Section]:
        """Models by name."""
        return self.top.sections("models")

    @cached_property
    def stages(self) -> dict[str, Section]:
        """Stages by name, in the order of the file."""
        return self.top.sections("stages")

    @cached_property
    def tests(self) -> list[Section]:
        """The tests, in the order of the file."""
        return [item.data for item in self.top.items("tests") if isinstance(item.data, Section)]

    def stages_of(self, *kinds: str) -> Iterator[tuple[str, Section]]:
        """Names and sections of the stages of some kinds, in the order of the file."""
        return ((name, stage) for name, stage in self.stages.items() if stage.kind in kinds)


class Findings:
    """Collects problems of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def at(self, place: Value | Section, what: str, *, got: str | None = None, expected: str = "", fix: str = "") -> None:
        """A problem at a value or section; got: default is the entry as written."""
        self.problems.append(Problem(self.file, place.line, place.column, what, place.source if got is None else got, expected, fix))

    def at_name(self, place: Value, what: str, *, got: str | None = None, expected: str = "", fix: str = "") -> None:
        """A problem at the name that stands before a value."""
        line, column = place.key_line or place.line, place.key_column or place.column
        self.problems.append(Problem(self.file, line, column, what, place.source if got is None else got, expected, fix))
