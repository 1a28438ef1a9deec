"""errors: every error a user can meet, sorted by whose fault it is. Nothing lies below this module.

Five people can be at fault, and each needs another sentence: the author of the topology (`TopologyError`), whoever
produced the event (`Rejected`), the author of the model (`ModelError`), the operator (`EnvironmentMissing`), and us (`Bug`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a topology file: where, what, got, expected, fix. line and column count from 1."""

    file: str
    line: int
    column: int
    what: str
    got: str = ""
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        lines = [f"{self.file}:{self.line}:{self.column}: {self.what}"]
        for label, text in (("got", self.got), ("expected", self.expected), ("fix", self.fix)):
            if text:
                lines.append(f"    {label + ':':<10}{text}")
        return "\n".join(lines)


class StreamInferError(Exception):
    """Base of all errors this package raises on purpose. exit_code: what the command line ends with."""

    exit_code = 1


class TopologyError(StreamInferError):
    """The topology file is wrong; problems: all of them at once, in the order of the lines. Exit code 78 (EX_CONFIG)."""

    exit_code = 78

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SchemaError(StreamInferError):
    """A schema cannot be read or cannot be decoded to columns. Exit code 78."""

    exit_code = 78


class ModelError(StreamInferError):
    """A model file or a model's answer is not what was promised."""


class EnvironmentMissing(StreamInferError):
    """Something outside this program is absent: a broker, a file, a port, a package. Exit code 69 (EX_UNAVAILABLE)."""

    exit_code = 69

    def __init__(self, what: str, *, got: str = "", expected: str = "", fix: str = "") -> None:
        lines = [what]
        for label, text in (("got", got), ("expected", expected), ("fix", fix)):
            if text:
                lines.append(f"    {label + ':':<10}{text}")
        super().__init__("\n".join(lines))


class Fenced(StreamInferError):
    """Another process works under our transactional id, or the broker refuses this one for good. Exit code 75."""

    exit_code = 75


class Bug(StreamInferError):
    """One of our own invariants broke; the text tells the story of the batch."""

    exit_code = 70
