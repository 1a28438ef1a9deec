"""Reading: types by the setting, not by YAML's guesses; positions; nothing that a file may hold makes the reader raise."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.topology.check import check
from stream_infer.topology.nodes import DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX, Mapping, Scalar, Sequence, compose
from stream_infer.topology.read import _Reader, read
from stream_infer.topology.read_scalars import Entry
from stream_infer.topology.shape import Setting
from stream_infer.topology.spec import PLACES
from stream_infer.topology.values import Value
from tests.unit.topology.goods import NAMES, files, text_of

SETTINGS = [(place.name, setting) for place in PLACES.values() for setting in place.settings]


def read_setting(setting: Setting, text: str) -> tuple[Value | None, list[str]]:
    """One setting read alone, with the messages it earned."""
    source = f"{setting.name}: {text}\n"
    root, problems = compose(source, "f.yaml")
    assert isinstance(root, Mapping)
    assert not problems
    reader = _Reader("f.yaml", source.split("\n"))
    key, node = root.entries[0]
    value = reader.value(setting, setting.type, node, Entry("", key.text, 1, 1, source, f"`{key.text}`"))
    return value, [problem.what for problem in reader.found.problems]


def setting(place: str, name: str) -> Setting:
    found = PLACES[place].setting(name)
    assert found is not None
    return found


@pytest.mark.parametrize(("place", "one"), SETTINGS, ids=[f"{place}.{one.name}" for place, one in SETTINGS])
def test_the_example_of_every_setting_has_its_form(place: str, one: Setting) -> None:
    value, problems = read_setting(one, one.example)

    assert value is not None, problems
    # Examples of whole sections show some settings only.
    assert [what for what in problems if "is missing" not in what] == [], place


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e3", 1000), ("1_000", 1000), ("+7", 7), ("0", 0)],
)
def test_integers_by_value(text: str, number: int) -> None:
    value, problems = read_setting(setting("stage.bandit", "seed"), text)

    assert problems == []
    assert value is not None
    assert number == value.data


@pytest.mark.parametrize(
    "text", ["12:30:00", "0x10", "010", "1.5", "1e400", ".inf", ".nan", "yes", '"7"', "7 s", "[7]", "{a: 7}", "~", "null", ""]
)
def test_no_integers(text: str) -> None:
    value, problems = read_setting(setting("stage.bandit", "seed"), text)

    assert value is None
    assert len(problems) == 1


@pytest.mark.parametrize("text", ["on", "yes", "12:30:00", "1e3", "2013-07-01", "0x10", "true"])
def test_text_stays_the_text_that_was_written(text: str) -> None:
    value, problems = read_setting(setting("test", "name"), text)

    assert problems == []
    assert value is not None
    assert text == value.data


@pytest.mark.parametrize("text", ["yes", "on", "True", '"true"', "1", "no"])
def test_a_boolean_is_true_or_false(text: str) -> None:
    value, problems = read_setting(setting("stream", "compacted"), text)

    assert value is None
    assert len(problems) == 1


def test_a_problem_names_line_and_column_of_the_value() -> None:
    _, problems = read(text_of("minimal").replace("partitions: 2}\n  scores", "partitions: two}\n  scores"), "f.yaml")

    (problem,) = problems
    line = text_of("minimal").split("\n")[problem.line - 1]
    assert line[problem.column - 1 :] == "2}"


@pytest.mark.parametrize("name", NAMES)
def test_reading_a_good_file_finds_nothing(name: str) -> None:
    spec, problems = read(text_of(name), name)

    assert problems == []
    assert spec is not None
    assert check(spec, files)[1] == []


def test_too_large_a_file_is_refused_before_it_is_parsed() -> None:
    spec, (problem,) = read("#" * (TEXT_BYTES_MAX + 1), "f.yaml")

    assert spec is None
    assert "too large" in problem.what


def test_too_many_values_end_the_reading() -> None:
    spec, (problem,) = read("a: [" + "1," * NODES_MAX + "1]", "f.yaml")

    assert spec is None
    assert "too many" in problem.what


def test_depth_ends_the_reading_and_not_the_interpreter() -> None:
    assert read("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), "f.yaml")[0] is None
    assert "deeply" in read("{a: " * 90_000, "f.yaml")[1][0].what


@pytest.mark.parametrize(
    "text",
    ["a: \x00", "a: \x07b", "\ud800", "a: 'b", "a: |\n\tb\n", "%YAML 9.9\n---\na: 1", "? [a]\n: b\n", "{a: 1}: b", "a: !<x> b", "&a a: b"],
)
def test_broken_yaml_is_a_problem_with_a_place(text: str) -> None:
    spec, problems = read(text, "f.yaml")

    assert spec is None or problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    spec, problems = read(text, "f.yaml")

    assert spec is not None or problems


def plain(data: object) -> object:
    """Nodes as plain data, every scalar as its text."""
    if isinstance(data, Scalar):
        return data.text
    if isinstance(data, Sequence):
        return [plain(item) for item in data.items]
    assert isinstance(data, Mapping)
    return {key.text: plain(value) for key, value in data.entries}


leaves = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]), max_size=8)
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(leaves, inner, max_size=3), max_leaves=12)


@settings(deadline=None)
@given(trees)
def test_nodes_say_what_yaml_says(tree: object) -> None:
    root, problems = compose(yaml.safe_dump(tree, allow_unicode=True, default_style='"'), "f.yaml")

    assert problems == []
    assert root is not None
    assert tree == plain(root)


lines = text_of("flights").split("\n")


@settings(deadline=None)
@given(
    st.integers(0, len(lines) - 1), st.integers(0, 60), st.sampled_from(["", " ", "{", "}", "[", ",", ":", "x", "1", '"', "~", "- ", "\t"])
)
def test_a_slip_anywhere_in_a_good_file_never_makes_the_checks_raise(line: int, column: int, typed: str) -> None:
    broken = list(lines)
    broken[line] = broken[line][:column] + typed + broken[line][column + 1 :]
    spec, problems = read("\n".join(broken), "f.yaml")
    if spec is not None:
        problems += check(spec, files)[1]

    assert all(str(problem) for problem in problems)


@settings(deadline=None)
@given(st.sets(st.integers(0, len(lines) - 1), max_size=4))
def test_lines_that_are_lost_never_make_the_checks_raise(lost: set[int]) -> None:
    spec, _ = read("\n".join(line for number, line in enumerate(lines) if number not in lost), "f.yaml")
    if spec is not None:
        check(spec, files)


def test_json_is_yaml() -> None:
    root, problems = compose(json.dumps({"a": [1, {"b": "c"}]}), "f.yaml")

    assert problems == []
    assert root is not None
    assert plain(root) == {"a": ["1", {"b": "c"}]}
