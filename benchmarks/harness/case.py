"""case: one program to be measured, and what it reads. *case* → run, peers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream_infer.records import Floats


@dataclass(frozen=True)
class Case:
    """One row of a table. README.md in this folder says what its process is given and must do.

    command: the command line; in place of one that needs files in its folder first: a function of the BENCH_ variables that makes them and
    returns it. share: of the records of a full run. environment: besides the BENCH_ variables. absent: why it cannot run here.
    peer: whose environment it needs, made before the first run. floor: this row is what the others are compared with, not a competitor.
    """

    name: str
    title: str
    command: tuple[str, ...] | Callable[[Mapping[str, str]], tuple[str, ...]]
    guarantee: str = "at_least_once"
    share: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)
    absent: str | None = None
    peer: str | None = None
    floor: bool = False
    ours: bool = False


@dataclass(frozen=True)
class Load:
    """What a case reads. given: what events() made it from. expected: float64[count], the score of each record by its number.

    expected may hold several columns: every one of them is a right answer.
    """

    topic: str
    given: Mapping[str, Any]
    expected: Floats
    spec: Mapping[str, object]
    tolerance: float = 1e-6

    @property
    def count(self) -> int:
        """How many records."""
        return int(self.given["count"])

    @property
    def partitions(self) -> int:
        """Of the input, and of the output."""
        return int(self.given["partitions"])

    @property
    def format(self) -> str:
        """avro or json."""
        return str(self.given["format"])


def variables(case: Case, load: Load, bootstrap: str, output: str, folder: Path, commit_ms: int, linger_ms: int = 5) -> dict[str, str]:
    """The BENCH_ variables of one run. BENCH_GROUP is the name of the output topic, which nobody had before."""
    path = folder / "spec.json"
    path.write_text(json.dumps(dict(load.spec)))
    return {
        "BENCH_BOOTSTRAP": bootstrap,
        "BENCH_IN": load.topic,
        "BENCH_OUT": output,
        "BENCH_PARTITIONS": str(load.partitions),
        "BENCH_GROUP": output,
        "BENCH_COUNT": str(load.count),
        "BENCH_FORMAT": load.format,
        "BENCH_GUARANTEE": case.guarantee,
        "BENCH_COMMIT_MS": str(commit_ms),
        "BENCH_LINGER_MS": str(linger_ms),
        "BENCH_FOLDER": str(folder),
        "BENCH_SPEC": str(path),
    }


def environment(case: Case, given: Mapping[str, str]) -> dict[str, str]:
    """Of the process: ours, one thread for every library that would take all cores, and the BENCH_ variables."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "PYTHON"))}
    return plain | threads | {"PYTHONUNBUFFERED": "1"} | dict(case.environment) | dict(given)
