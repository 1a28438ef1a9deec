"""Rules about the source itself. Each message names the place and what to do."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES_MAX = 350  # a module that one sitting can hold
FORBIDDEN = ("hash", "open", "print", "input", "exec", "eval")
TOOLS = ("tests/test_tidy.py",)  # names what it forbids


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for path in committed():
        name = str(path.relative_to(ROOT))
        if name not in TOOLS and path.suffix not in (".png", ".ico", ".safetensors"):
            yield name, path.read_text()


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def core() -> list[Path]:
    """Every module but those of the edge, of testing and the command line."""
    outside = ("edge", "cli", "__main__", "testing")
    return [path for path in modules("stream_infer") if not path.relative_to(ROOT / "stream_infer").parts[0].startswith(outside)]


def found(pattern: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Where a pattern stands in committed files."""
    places = []
    for name, text in texts():
        if name in allowed:
            continue
        places += [f"{name}:{text[: hit.start()].count(chr(10)) + 1}: {hit[0]}" for hit in re.finditer(pattern, text)]
    return places


def test_the_core_opens_prints_and_hashes_nothing() -> None:
    """hash() differs between processes, open() is I/O, print() is the command line's."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.func.id}() does not belong into the core"
        for path in core()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN
    ]
    assert wrong == []


def test_the_core_iterates_over_no_set() -> None:
    """The order of a set of texts differs between processes: sort it first."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.iter.lineno}: iterates over a set; use sorted()"
        for path in core()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.For | ast.comprehension) and is_set(node.iter)
    ]
    assert wrong == []


def is_set(node: ast.expr) -> bool:
    """As far as can be seen without types."""
    made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset")
    return made or isinstance(node, ast.Set | ast.SetComp)


def test_no_module_is_longer_than_one_sitting() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules("stream_infer", "loadgen")}
    long = {name: size for name, size in sizes.items() if size > LINES_MAX}
    assert long == {}, f"split it by idea: at most {LINES_MAX} lines"


def test_every_module_says_its_place_first() -> None:
    """`name: what it is about. above → *name* → below.`; what lies at an end, or is used everywhere, has no arrows."""
    wrong = []
    for path in modules("stream_infer", "loadgen"):
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        name = path.stem.replace("_", "[_ .]")
        if not first or not (path.stem.startswith("__") or re.match(rf"([\w. ]+[. ])?{name}( \w+)?: \S", first)):
            wrong.append(f"{path.relative_to(ROOT)}: {first or 'no docstring'}")
    assert wrong == []


def test_nothing_is_left_to_be_done() -> None:
    assert found(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError") == []


def test_nothing_points_outside_of_the_repository() -> None:
    assert found(r"\.\./(shared|contract)\b|/work/|/home/\w+") == []


def test_packages_come_from_wherever_the_reader_s_pip_looks() -> None:
    """An index, mirror or proxy in a committed file would send everybody there."""
    assert found(r"https?://[^/\s]*(pypi|pythonhosted|mirror|proxy|artifact)|(?<!emit)-(index-url|find-links)[ =]") == []


def test_every_ignored_rule_has_its_reason() -> None:
    """A `noqa` names its rule, and says why where the rule is one of style or safety."""
    assert [place for place in found(r"# noqa(?!: [A-Z]+\d+)") if place.endswith("noqa")] == []
    assert found(r"# type: ignore(?!\[)") == []


def test_layers_hold() -> None:
    """The contracts of pyproject.toml: who may import whom, who may do I/O, who may import torch."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    assert "kept, 0 broken" in said.stdout
