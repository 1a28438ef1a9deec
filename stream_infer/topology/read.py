"""topology.read: nodes of YAML and the tables of the format to a spec, with every problem at once. nodes, spec → *read* → check.

Reading never stops at the first problem: a setting that cannot be read is left out, and the rest of the file is read on, so
that one run of `check` tells everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from stream_infer.errors import Problem
from stream_infer.topology.literals import NOTHING
from stream_infer.topology.nodes import Mapping, Node, Scalar, Sequence, compose
from stream_infer.topology.read_scalars import Entry, read_scalar
from stream_infer.topology.read_settings import fill_defaults, find_missing, find_unknown
from stream_infer.topology.shape import Place, Setting, Type, describe
from stream_infer.topology.spec import PLACES
from stream_infer.topology.suggest import did_you_mean
from stream_infer.topology.values import Data, Findings, Section, Spec, Value

SOURCE_CHARS_MAX = 100


def read(text: str, file: str) -> tuple[Spec | None, list[Problem]]:
    """text: the file's content; file: its name for messages. Returns the spec (None where the YAML itself is broken) and all problems."""
    root, problems = compose(text, file)
    if root is None:
        if not problems:
            problems = [
                Problem(
                    file, 1, 1, "the file is empty", "nothing", "a topology", "start with `name:`, `format: 1`, `streams:` and `stages:`"
                )
            ]
        return None, problems
    reader = _Reader(file, text.split("\n"))
    reader.found.problems += problems
    if not isinstance(root, Mapping):
        reader.found.problems.append(
            Problem(
                file,
                root.start.line,
                root.start.column,
                f"the file is {_form(root)}",
                "",
                "names at the left margin: name, format, streams, stages",
                "start with `name: …`",
            )
        )
        return None, reader.found.problems
    top = reader.section(PLACES["topology"], root, _Where("", root.start.line, root.start.column, "the topology"), kind="", siblings=())
    return Spec(file, top), reader.found.problems


@dataclass(frozen=True, slots=True)
class _Where:
    """The label, place and source of a section that is about to be read."""

    label: str
    line: int
    column: int
    source: str


_NOUNS = {"streams": "stream", "models": "model", "stages": "stage", "values": "feature", "tests": "test"}


class _Reader:
    def __init__(self, file: str, lines: list[str]) -> None:
        self.lines = lines
        self.found = Findings(file)

    def section(self, place: Place, node: Mapping, where: _Where, *, kind: str, siblings: tuple[tuple[str, str], ...]) -> Section:
        """A section of a known place. siblings: (word, place) of the other kinds, for settings that stand in the wrong one."""
        values: dict[str, Value] = {}
        names = {key.text for key, _ in node.entries}
        given = set(names)
        for key, child in node.entries:
            setting = place.setting(key.text)
            entry = self._entry(where.label, key, child)
            meant = setting or find_unknown(place, entry, kind, siblings, self.found)
            if meant is None or (setting is None and meant.name in names):
                continue
            given.add(meant.name)
            value = self.value(meant, meant.type, child, entry)
            if value is not None:
                values[meant.name] = value
        section = Section(place.name, where.label, where.line, where.column, where.source, kind, values, frozenset(given))
        find_missing(place, section, self.found)
        fill_defaults(place, section)
        return section

    def value(self, setting: Setting, kind: Type, node: Node, entry: Entry) -> Value | None:
        """The value of one setting, None (and a problem) where it is not of the kind."""
        if isinstance(node, Scalar) and kind.nullable and node.plain and node.text in NOTHING:
            return self._value(None, node, entry)
        if kind.form == "free":
            return self._free(node, entry)
        if kind.form == "either":
            option = next((option for option in kind.options if _fits(option, node)), None)
            if option is not None:
                return self.value(setting, option, node, entry)
        if kind.form == "either" or not _fits(kind, node):
            self._problem(entry, node, f"{entry.words} is {_form(node)}", describe(kind), setting)
            return None
        if isinstance(node, Scalar):
            data = read_scalar(self.found, setting, kind, node, entry)
            return None if data is None else self._value(data, node, entry)
        if isinstance(node, Sequence):
            return self._list(setting, kind, node, entry)
        if kind.form == "mapping":
            return self._mapping(setting, kind, node, entry)
        section = self._subsection(kind, node, entry)
        return None if section is None else self._value(section, node, entry)

    def _list(self, setting: Setting, kind: Type, node: Sequence, entry: Entry) -> Value | None:
        assert kind.item is not None
        if len(node.items) < kind.items_min:
            self._problem(entry, node, f"`{entry.name}` has too few items", describe(kind), setting)
        items = []
        for number, child in enumerate(node.items, start=1):
            label = f"{entry.label}test {number}" if setting.name == "tests" else f"{entry.label}item {number} of `{entry.name}`"
            value = self.value(
                setting,
                kind.item,
                child,
                replace(
                    entry,
                    words=f"item {number} of `{entry.name}`",
                    inner=label,
                    line=child.start.line,
                    column=child.start.column,
                    source=self._item_source(entry, child),
                ),
            )
            if value is not None:
                items.append(value)
        return self._value(items, node, entry)

    def _mapping(self, setting: Setting, kind: Type, node: Mapping, entry: Entry) -> Value | None:
        assert kind.item is not None
        if len(node.entries) < kind.items_min:
            self._problem(entry, node, f"`{entry.name}` is empty", describe(kind), setting)
        noun = _NOUNS.get(setting.name, setting.name)
        read: dict[str, Value] = {}
        for key, child in node.entries:
            inner = self._entry(entry.label, key, child)
            if kind.pattern and not re.fullmatch(kind.pattern, key.text):
                legal = re.sub(r"[^a-z0-9_]+", "_", key.text.lower()).strip("_")
                fix = f"write `{legal}`" if re.fullmatch(kind.pattern, legal) else ""
                self.found.problems.append(
                    Problem(
                        self.found.file,
                        key.start.line,
                        key.start.column,
                        f"{entry.label}`{key.text[:60]}` cannot be the name of a {noun}",
                        inner.source,
                        kind.pattern_words,
                        fix,
                    )
                )
            value = self.value(setting, kind.item, child, replace(inner, inner=f"{entry.label}{noun} `{key.text}`"))
            if value is not None:
                read[key.text] = value
        return self._value(read, node, entry)

    def _subsection(self, kind: Type, node: Mapping, entry: Entry) -> Section | None:
        where = _Where(entry.inner or f"{entry.label}{entry.name}", entry.line, entry.column, entry.source)
        if kind.form == "section":
            return self.section(PLACES[kind.place], node, where, kind="", siblings=())
        if kind.form == "one_of":
            return self._chosen(kind, node, entry, where)
        selector = next(((key, child) for key, child in node.entries if key.text == kind.selector), None)
        if selector is None:
            self._say(
                where,
                entry,
                f"`{kind.selector}` is missing",
                entry.source,
                "one of: " + ", ".join(kind.words()),
                f"add `{kind.selector}: {kind.words()[0]}`",
            )
            return self._of_unknown_kind(node, where)
        word = selector[1].text if isinstance(selector[1], Scalar) else ""
        place = kind.place_of(word)
        if place is None:
            inner = self._entry("", *selector)
            at = replace(inner, line=selector[1].start.line, column=selector[1].start.column)
            self._say(
                where,
                at,
                f"unknown {kind.selector} `{word}`",
                inner.source,
                "one of: " + ", ".join(kind.words()),
                did_you_mean(word, kind.words()),
            )
            return self._of_unknown_kind(node, where)
        return self.section(PLACES[place], node, where, kind=word, siblings=kind.places)

    def _chosen(self, kind: Type, node: Mapping, entry: Entry, where: _Where) -> Section | None:
        expected = describe(kind)
        if len(node.entries) != 1:
            self._say(
                where,
                entry,
                f"`{entry.name}` has {len(node.entries)} settings",
                entry.source,
                expected,
                f"keep one, such as `{entry.name}: {{{kind.words()[0]}: …}}`",
            )
            return None
        key, child = node.entries[0]
        inner = self._entry(where.label + ": ", key, child)
        place = kind.place_of(key.text)
        if place is None:
            self._say(where, inner, f"unknown {entry.name} `{key.text}`", entry.source, expected, did_you_mean(key.text, kind.words()))
            return None
        if not isinstance(child, Mapping):
            fix = (
                f"write `{key.text}: {{}}`"
                if not any(s.required for s in PLACES[place].settings)
                else f"write `{key.text}: {{{PLACES[place].settings[0].name}: …}}`"
            )
            self._say(where, inner, f"`{key.text}` is {_form(child)}", inner.source, "its settings in braces", fix)
            return None
        return self.section(PLACES[place], child, where, kind=key.text, siblings=kind.places)

    def _of_unknown_kind(self, node: Mapping, where: _Where) -> Section:
        """A section that is there by name only; what it reads and asks is kept, so that the rest is not called unused."""
        values = {}
        for key, child in node.entries:
            if isinstance(child, Scalar) and key.text not in ("kind", "by"):
                values[key.text] = self._value(child.text, child, self._entry(where.label, key, child))
            elif isinstance(child, Sequence):
                values[key.text] = self._free(child, self._entry(where.label, key, child))
        return Section("", where.label, where.line, where.column, where.source, "", values, frozenset(values))

    def _free(self, node: Node, entry: Entry) -> Value:
        if isinstance(node, Scalar):
            return self._value(None if node.plain and node.text in NOTHING else node.text, node, entry)
        if isinstance(node, Sequence):
            return self._value([self._free(child, entry) for child in node.items], node, entry)
        return self._value({key.text: self._free(child, self._entry(entry.label, key, child)) for key, child in node.entries}, node, entry)

    def _problem(self, entry: Entry, node: Node, what: str, expected: str, setting: Setting) -> None:
        fix = f"write it like `{setting.name}: {setting.example}`"
        self.found.problems.append(
            Problem(self.found.file, node.start.line, node.start.column, entry.label + what, entry.source, expected, fix)
        )

    def _say(self, where: _Where, entry: Entry, what: str, got: str, expected: str, fix: str) -> None:
        self.found.problems.append(Problem(self.found.file, entry.line, entry.column, f"{where.label}: {what}", got, expected, fix))

    def _entry(self, label: str, key: Scalar, node: Node) -> Entry:
        prefix = label if not label or label.endswith(": ") else f"{label}: "
        return Entry(prefix, key.text, key.start.line, key.start.column, self._source(key, node), f"`{key.text}`")

    def _value(self, data: Data, node: Node, entry: Entry) -> Value:
        plain = isinstance(node, Scalar) and node.plain
        return Value(data, node.start.line, node.start.column, entry.source, entry.line, entry.column, plain)

    def _item_source(self, entry: Entry, node: Node) -> str:
        """The whole list where that is short, else the item alone."""
        line = self.lines[node.start.line - 1]
        if not entry.source.endswith("…") or node.start.line != node.end.line:
            return entry.source
        return f"{entry.name}: [… {line[node.start.column - 1 : node.end.column - 1].strip()} …]"

    def _source(self, key: Scalar, node: Node) -> str:
        """The entry as it stands in the file, its first line at most."""
        line = self.lines[key.start.line - 1]
        if node.end.line == key.start.line:
            text = line[key.start.column - 1 : node.end.column - 1].strip()
        else:
            text = line[key.start.column - 1 :].strip() + " …"
        return text if len(text) <= SOURCE_CHARS_MAX else text[:SOURCE_CHARS_MAX] + "…"


def _fits(kind: Type, node: Node) -> bool:
    if kind.form == "either":
        return any(_fits(option, node) for option in kind.options)
    if isinstance(node, Sequence):
        return kind.form == "list"
    if isinstance(node, Mapping):
        return kind.form in ("mapping", "section", "kinds", "one_of")
    return kind.form in ("text", "number", "integer", "boolean", "choice")


def _form(node: Node) -> str:
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a section of settings"
    return "empty" if node.plain and node.text in NOTHING else f"the single value `{node.text[:60]}`"
