"""floors: what the same work costs with nothing around it: a C program on librdkafka. environments → *floors* → benchmarks."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import confluent_kafka

from benchmarks.harness.broker import ROOT, SCRATCH
from benchmarks.harness.case import Case

SOURCES = ROOT / "benchmarks/peers/c"


def program(name: str) -> Path:
    """Where the compiled program stands."""
    return SCRATCH / f"c-{name}"


@cache
def absent(name: str) -> str | None:
    """Compiles the program; why it cannot be had, where that fails."""
    if shutil.which("gcc") is None:
        return "no C compiler"
    found = sorted(Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs").glob("librdkafka-*.so*"))
    if not found:
        return "confluent-kafka was not installed from a wheel with librdkafka in it"
    SCRATCH.mkdir(exist_ok=True)
    link = [str(found[0]), f"-Wl,-rpath,{found[0].parent}", "-Wl,--allow-shlib-undefined"]
    options = ["-O3", "-march=native", "-std=c11", "-D_GNU_SOURCE"]
    command = ["gcc", *options, "-o", str(program(name)), str(SOURCES / f"{name}.c"), *link]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"gcc: {done.stderr.strip().splitlines()[0]}" if done.returncode else None


def cases(work: str, fmt: str, commit_ms: int | None = None) -> list[Case]:
    """work: transform | windows. Avro only: in C, JSON would measure a JSON parser. commit_ms: where it is not that of the other cases."""
    if fmt != "avro":
        return []

    def rest(given: Mapping[str, str]) -> list[str]:
        spec = json.loads(Path(given["BENCH_SPEC"]).read_text())
        return [str(spec["schema_in_id"]), str(spec["schema_out_id"]), work, repr(spec["bias"]), *map(repr, spec["weights"])]

    title = "C, librdkafka" + (", windows in arrays, no changelog" if work == "windows" else "")
    return _both("floor", title + (f", a commit every {commit_ms} ms" if commit_ms else ""), rest, commit_ms)


def crayfish(wire: str, weights: Path) -> list[Case]:
    """wire: json | binary. weights: of the FFNN, as the program reads them."""
    return _both("crayfish", "C, librdkafka", lambda _: ["json" if wire == "json" else "avro", str(weights)])


def _both(name: str, title: str, rest: Callable[[Mapping[str, str]], list[str]], commit_ms: int | None = None) -> list[Case]:
    """With both guarantees. rest: the arguments behind those that all programs take."""

    def command(given: Mapping[str, str]) -> tuple[str, ...]:
        names = ("BOOTSTRAP", "IN", "OUT", "GROUP", "GUARANTEE", "COMMIT_MS", "LINGER_MS")
        own = given if commit_ms is None else {**given, "BENCH_COMMIT_MS": str(commit_ms)}
        return (str(program(name)), *(own[f"BENCH_{one}"] for one in names), *rest(given))

    return [
        Case("c-eo", f"{title}, exactly once", command, "exactly_once", absent=absent(name), floor=True),
        Case("c-alo", f"{title}, at least once", command, absent=absent(name), floor=True),
    ]
