"""Wrong files and the exact messages they earn. UPDATE=1 writes the messages anew: read the diff before you commit it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from stream_infer.errors import TopologyError
from stream_infer.topology.build import load

ROOT = Path(__file__).parents[3]
BAD = sorted((ROOT / "topologies" / "bad").glob("*.yaml"))


def check(path: Path) -> str:
    """The message that a file earns, "" where it is fine."""

    def files(relative: str) -> str | None:
        found = path.parent / relative
        return found.read_text() if found.is_file() else None

    try:
        load(path.read_text(), path.relative_to(ROOT).as_posix(), files)
    except TopologyError as error:
        return f"{error}\n"
    return ""


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_a_wrong_file_earns_exactly_this_message(path: Path) -> None:
    expected = path.with_suffix(".expected")
    said = check(path)
    if os.environ.get("UPDATE"):
        expected.write_text(said)

    assert expected.read_text() == said
    assert said, "the file is not wrong"


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_every_problem_has_a_place_and_a_way_out(path: Path) -> None:
    problems = re.split(r"\n(?=\S)", check(path).strip())

    for problem in problems:
        head, *rest = problem.splitlines()
        place = re.match(r"(\S+):(\d+):(\d+): \S", head)
        assert place is not None, head
        line = (ROOT / place[1]).read_text().splitlines()[int(place[2]) - 1]
        assert 1 <= int(place[3]) <= len(line) + 1
        assert any(text.startswith(("    fix:", "    expected:")) for text in rest), problem


def test_a_wrong_file_ends_with_ex_config() -> None:
    assert TopologyError([]).exit_code == 78


def test_no_message_is_left_behind_without_its_file() -> None:
    left = {path.stem for path in (ROOT / "topologies" / "bad").glob("*.expected")} - {path.stem for path in BAD}

    assert set() == left
    assert len(BAD) >= 35


def test_secrets_are_never_printed() -> None:
    said = check(ROOT / "topologies" / "bad" / "client-secret.yaml")

    assert "hunter2" not in said
    assert "PRIVATE KEY" not in said
