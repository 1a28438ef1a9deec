"""topology.nodes: YAML text to nodes that know their place in the file. text → *nodes* → read.

Only YAML's syntax is used, none of its guesses: every scalar stays the text that was written (`on`, `12:30:00`, `1e3` and
`no` mean nothing here; the type of the setting decides). Anchors, aliases, tags and further documents are refused, so a small
file cannot become a large tree (billion laughs) nor name a Python object; size, depth and count of nodes are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from stream_infer.errors import Problem

TEXT_BYTES_MAX = 1_000_000
NODES_MAX = 50_000  # PyYAML reads so many in 0.8 s; the flights topology has some 600
DEPTH_MAX = 16  # the format needs 9


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the file, both from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Scalar:
    """text: as written, without quotes; plain: whether it stood there without quotes."""

    start: Mark
    end: Mark
    text: str
    plain: bool


@dataclass(slots=True)
class Sequence:
    """A list."""

    start: Mark
    end: Mark
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """entries in the order of the file; keys are unique."""

    start: Mark
    end: Mark
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)


Node = Scalar | Sequence | Mapping


def compose(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """text: one YAML document. Returns its root node, None where the syntax is broken or a bound is passed, and all problems."""
    problems = _refuse_text(text, file)
    if problems:
        return None, problems
    composer = _Composer(file)
    try:
        root = composer.run(yaml.parse(text, Loader=yaml.SafeLoader))
    except _Refused as refused:
        return None, [refused.problem]
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        return None, [
            Problem(file, line, column, "a character that YAML does not allow", f"U+{error.character:04X}", "printable text", "remove it")
        ]
    except yaml.MarkedYAMLError as error:
        return None, [_syntax_problem(error, file)]
    return root, composer.problems


def _refuse_text(text: str, file: str) -> list[Problem]:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > TEXT_BYTES_MAX:
        return [
            Problem(
                file,
                1,
                1,
                "the file is too large",
                f"{size} bytes",
                f"at most {TEXT_BYTES_MAX}",
                "is this a topology? put rows of tests into .jsonl files",
            )
        ]
    problems = []
    for number, line in enumerate(text.split("\n"), start=1):
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent and line.strip():
            problems.append(
                Problem(
                    file,
                    number,
                    indent.index("\t") + 1,
                    "a tab in the indentation",
                    repr(indent + line.strip()[:40]),
                    "spaces: YAML forbids tabs there",
                    "replace each tab by two spaces",
                )
            )
    return problems


class _Refused(Exception):
    """Ends the reading at once: what comes after it could cost too much or mean something else."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Composer:
    """Builds nodes from events with a stack of its own, so depth is a number here and not a crash of the interpreter."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def run(self, events: Iterator[yaml.Event]) -> Node | None:
        root: Node | None = None
        stack: list[Sequence | _OpenMapping] = []
        documents = 0
        for count, event in enumerate(events):
            mark = _start(event)
            if count > NODES_MAX:
                raise self._refused(
                    mark,
                    "the file has too many values",
                    f"more than {NODES_MAX}",
                    f"at most {NODES_MAX}",
                    "put rows of tests into .jsonl files",
                )
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refused(mark, "a second document", "---", "one topology per file", "split the file")
            node = self._opened(event, mark, len(stack))
            if node is not None and not isinstance(node, _OpenMapping):
                root = self._place(node, stack, root)
            if isinstance(event, yaml.CollectionStartEvent):
                assert isinstance(node, Sequence | _OpenMapping)
                stack.append(node)
            elif isinstance(event, yaml.CollectionEndEvent):
                closed = stack.pop()
                end = _end(event)
                if isinstance(closed, _OpenMapping):
                    root = self._place(Mapping(closed.start, end, closed.entries), stack, root)
                else:
                    closed.end = end
        return root

    def _opened(self, event: yaml.Event, mark: Mark, depth: int) -> Scalar | Sequence | _OpenMapping | None:
        if isinstance(event, yaml.AliasEvent):
            raise self._refused(mark, "an alias", f"*{event.anchor}", "values that are written out", "write the value again in full")
        if not isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            return None
        if event.anchor is not None:
            raise self._refused(mark, "an anchor", f"&{event.anchor}", "values that are written out", f"remove `&{event.anchor}`")
        if event.tag is not None and event.tag != "!":
            raise self._refused(mark, "a tag", _tag(event.tag), "plain YAML: a topology cannot name Python objects", "remove the tag")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(mark, _end(event), event.value, event.style is None)
        if depth >= DEPTH_MAX:
            raise self._refused(
                mark,
                "values are nested too deeply",
                f"more than {DEPTH_MAX} levels",
                f"at most {DEPTH_MAX}",
                "no setting lies so deep: look for a missing bracket",
            )
        return _OpenMapping(mark) if isinstance(event, yaml.MappingStartEvent) else Sequence(mark, mark)

    def _place(self, node: Node, stack: list[Sequence | _OpenMapping], root: Node | None) -> Node | None:
        if not stack:
            return node
        top = stack[-1]
        if isinstance(top, Sequence):
            top.items.append(node)
        elif top.key is None:
            if not isinstance(node, Scalar):
                raise self._refused(
                    node.start, "a list or a mapping as a name", "[…] or {…} before `:`", "text", "write the name as plain text"
                )
            top.key = node
        else:
            self._add(top, top.key, node)
            top.key = None
        return root

    def _add(self, mapping: _OpenMapping, key: Scalar, node: Node) -> None:
        first = mapping.lines.get(key.text)
        if first is None:
            mapping.lines[key.text] = key.start.line
            mapping.entries.append((key, node))
        else:
            self.problems.append(
                Problem(
                    self.file,
                    key.start.line,
                    key.start.column,
                    f"`{key.text}` stands here twice",
                    f"`{key.text}`, first on line {first}",
                    "each name once",
                    "remove or rename one of them",
                )
            )

    def _refused(self, mark: Mark, what: str, got: str, expected: str, fix: str) -> _Refused:
        return _Refused(Problem(self.file, mark.line, mark.column, what, got, expected, fix))


@dataclass(slots=True)
class _OpenMapping:
    start: Mark
    key: Scalar | None = None
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)


def _start(event: yaml.Event) -> Mark:
    mark = event.start_mark
    assert mark is not None, "SafeLoader marks every event"
    return Mark(mark.line + 1, mark.column + 1)


def _end(event: yaml.Event) -> Mark:
    mark = event.end_mark
    assert mark is not None, "SafeLoader marks every event"
    return Mark(mark.line + 1, mark.column + 1)


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


# PyYAML's words for the slips that happen most, and what to do about each.
_FIXES = (
    ("mapping values are not allowed here", "put quotes around a text that contains `: `, or check the indentation of this line"),
    ("cannot start any token", "put quotes around a text that starts with this character"),
    ("expected ',' or '}'", "close the brace, or put a comma between the settings"),
    ("expected ',' or ']'", "close the bracket, or put a comma between the items"),
    ("could not find expected ':'", "write `name: value`"),
    ("unexpected end of stream", "close the quote"),
    ("expected <block end>", "indent all settings of one section equally"),
)


def _syntax_problem(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    said = error.problem or "broken syntax"
    begun = ""
    if error.context and error.context_mark is not None and error.context_mark.line + 1 != line:
        begun = f" ({error.context}, begun on line {error.context_mark.line + 1})"
    fix = next((fix for words, fix in _FIXES if words in said), "check brackets, quotes and indentation up to here")
    return Problem(file, line, column, "this is not YAML", said + begun, fix=fix)
