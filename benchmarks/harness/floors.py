"""floors: what the same work costs with nothing around it: a C program on librdkafka. environments → *floors* → benchmarks."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import confluent_kafka

from benchmarks.harness.broker import ROOT, SCRATCH
from benchmarks.harness.case import Case

SOURCE = ROOT / "benchmarks/peers/c/floor.c"
PROGRAM = SCRATCH / "floor"


@cache
def absent() -> str | None:
    """Compiles the program; why it cannot be had, where that fails."""
    if shutil.which("gcc") is None:
        return "no C compiler"
    found = sorted(Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs").glob("librdkafka-*.so*"))
    if not found:
        return "confluent-kafka was not installed from a wheel with librdkafka in it"
    SCRATCH.mkdir(exist_ok=True)
    link = [str(found[0]), f"-Wl,-rpath,{found[0].parent}", "-Wl,--allow-shlib-undefined"]
    done = subprocess.run(
        ["gcc", "-O2", "-std=c11", "-D_GNU_SOURCE", "-o", str(PROGRAM), str(SOURCE), *link], capture_output=True, text=True, check=False
    )
    return f"gcc: {done.stderr.strip().splitlines()[0]}" if done.returncode else None


def cases(work: str, fmt: str) -> list[Case]:
    """work: transform | windows. Avro only: in C, JSON would measure a JSON parser."""
    if fmt != "avro":
        return []

    def command(given: Mapping[str, str]) -> tuple[str, ...]:
        spec = json.loads(Path(given["BENCH_SPEC"]).read_text())
        names = ("BOOTSTRAP", "IN", "OUT", "GROUP", "GUARANTEE", "COMMIT_MS", "LINGER_MS")
        rest = [str(spec["schema_in_id"]), str(spec["schema_out_id"]), work, repr(spec["bias"]), *map(repr, spec["weights"])]
        return (str(PROGRAM), *(given[f"BENCH_{name}"] for name in names), *rest)

    what = "C, librdkafka" + (", windows in arrays, no changelog" if work == "windows" else "")
    return [
        Case("c-eo", f"{what}, exactly once", command, "exactly_once", absent=absent(), floor=True),
        Case("c-alo", f"{what}, at least once", command, absent=absent(), floor=True),
    ]
