"""bench: cases and repeats, interleaved, on one broker; then the table, the JSON beside it, and the plot. run, report → *bench*.

Every benchmark that compares programs goes through here, so that all of them take the same options and judge alike.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import environments, events
from benchmarks.harness.broker import ROOT, Cluster, cluster
from benchmarks.harness.case import Case, Load
from benchmarks.harness.preload import fill, made
from benchmarks.harness.report import plot, table
from benchmarks.harness.run import run_case
from stream_infer.records import Floats

RESULTS = ROOT / "benchmarks/results"
JAVA = ROOT / "benchmarks/peers/java/cases.py"
Cases = Callable[[str], list[Case]]
Expected = Callable[[events.Events], Floats]


@dataclass(frozen=True)
class Bench:
    """name: of the module and of the files. cases: by format. expected: the right scores. given: what events() takes besides the count."""

    name: str
    title: str
    cases: Cases
    expected: Expected
    spec: dict[str, object]
    formats: tuple[str, ...] = ("avro", "json")
    given: dict[str, Any] = field(default_factory=dict)


def parser(title: str, formats: tuple[str, ...]) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(description=title)
    made.add_argument("--cases", help="only these, comma-separated; a name that ends in * means all that begin so")
    made.add_argument("--n", type=int, default=300_000, help="records (default: %(default)s; official figures: 1000000)")
    made.add_argument("--repeats", type=int, default=3, help="runs of each case (default: %(default)s)")
    made.add_argument("--formats", default=",".join(formats), help="(default: %(default)s)")
    made.add_argument("--partitions", type=int, default=4)
    made.add_argument("--commit-ms", type=int, default=500, help="commit interval of all cases (default: %(default)s)")
    made.add_argument("--broker-folder", type=Path, help="keep the broker there, with its input topics, for the next time")
    made.add_argument("--out", type=Path, help="the JSON file (default: benchmarks/results/NAME.json where all cases ran)")
    made.add_argument("--list", action="store_true", help="print the names of the cases")
    return made


def main(bench: Bench, arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 where a case failed."""
    wanted = parser(bench.title, bench.formats).parse_args(arguments)
    formats = wanted.formats.split(",")
    chosen = {fmt: chosen_cases(bench, fmt, wanted.cases) for fmt in formats}
    if wanted.list:
        for case in chosen[formats[0]]:
            print(f"{case.name:<20}{case.title}" + (f" (absent: {case.absent})" if case.absent else ""))
        return 0
    result: dict[str, Any] = {"benchmark": bench.name, "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    result |= {"n": wanted.n, "partitions": wanted.partitions, "commit_ms": wanted.commit_ms, "formats": {}}
    path = wanted.out or (RESULTS / f"{bench.name}.json" if not wanted.cases else None)
    with cluster(wanted.broker_folder) as broker:
        for fmt in formats:
            result["formats"][fmt] = run_all(broker, bench, fmt, chosen[fmt], wanted)
            print(f"\n### {bench.title}, {fmt}, {wanted.n:,} records\n\n{table(result['formats'][fmt])}", flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(f"\n{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
        plot(path)
    rows = [row for rows in result["formats"].values() for row in rows]
    return int(any(run["failed"] for row in rows for run in row["runs"]))


def run_all(broker: Cluster, bench: Bench, fmt: str, cases: list[Case], wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of the table, each with all its runs: every repeat runs all cases, in another order."""
    cases = [replace(case, absent=case.absent or (environments.absent(case.peer) if case.peer else None)) for case in cases]
    runs: dict[str, list[dict[str, Any]]] = {case.name: [] for case in cases}
    loads: dict[int, Load] = {}
    draw = random.Random(1)
    for turn in range(wanted.repeats):
        order = [case for case in cases if case.absent is None]
        draw.shuffle(order)
        for case in order:
            count = max(1000, round(wanted.n * case.share))
            if count not in loads:
                given = {"count": count, "format": fmt, "partitions": wanted.partitions, **bench.given}
                loads[count] = Load(fill(broker, given), given, bench.expected(made(given)), bench.spec)
            began = time.monotonic()
            found = run_case(broker, case, loads[count], wanted.commit_ms)
            runs[case.name].append(found)
            said = found["failed"] or f"{found.get('cpu_us', 0):.2f} µs CPU/event, {found.get('rate', 0):,.0f}/s"
            print(f"[{turn + 1}/{wanted.repeats}] {fmt} {case.name}: {said} ({time.monotonic() - began:.0f} s)", flush=True)
    return [row(case, runs[case.name]) for case in cases]


def row(case: Case, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the runs that were right; none where one was wrong: a case that is right at times is not right."""
    found: dict[str, Any] = {"case": case.name, "title": case.title, "guarantee": case.guarantee, "ours": case.ours, "floor": case.floor}
    found |= {"absent": case.absent, "failed": next((run["failed"] for run in runs if run["failed"]), ""), "runs": runs}
    if runs and not found["failed"]:
        numbers = {name for run in runs for name, value in run.items() if isinstance(value, int | float) and not isinstance(value, bool)}
        found |= {name: statistics.median(run[name] for run in runs if name in run and run[name] is not None) for name in sorted(numbers)}
    return found


def chosen_cases(bench: Bench, fmt: str, names: str | None) -> list[Case]:
    """Of the benchmark and of the other runners, those that were asked for."""
    cases = bench.cases(fmt) + java_cases(bench.name, fmt)
    known = {case.name for other in bench.formats for case in bench.cases(other) + java_cases(bench.name, other)}
    return selected(cases, names, known)


def selected(cases: list[Case], names: str | None, known: set[str] | None = None) -> list[Case]:
    """Those that `--cases` names. known: names that other formats have, and so are no mistake."""
    if not names:
        return cases
    wanted = names.split(",")
    known = known or {case.name for case in cases}
    unknown = [name for name in wanted if not name.endswith("*") and name not in known]
    if unknown:
        raise SystemExit(f"no such case: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [case for case in cases if any(case.name == name or (name[-1:] == "*" and case.name.startswith(name[:-1])) for name in wanted)]


def java_cases(benchmark: str, fmt: str) -> list[Case]:
    """Cases of the runner beside the Python peers, where it is there."""
    if not JAVA.exists():
        return []
    spec = importlib.util.spec_from_file_location("benchmarks_java_cases", JAVA)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[Case] = module.cases(benchmark, fmt)
    return found


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    said = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {"cpu": said[0] if said else "", "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
