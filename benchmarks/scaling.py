"""scaling: one topology with 1, 2, 4 processes over its partitions: events a second, and processor time per event. harness → *scaling*.

    python -m benchmarks.scaling [--n 400000] [--processes 1,2,4] [--repeats 3]

Processes share the machine's cores with the broker, so beyond the cores that are left the rate cannot grow: what must hold is that the
processor time of an event does not grow with the number of processes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import bench, ours, preload
from benchmarks.harness.broker import ROOT, SCRATCH, Cluster, cluster
from benchmarks.harness.processes import Program
from benchmarks.probing import answered
from benchmarks.recovery import Group

RESULTS = ROOT / "benchmarks/results/scaling.json"
CASES = {"transform": ours.linear, "windows": ours.windowed("tumbling")}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="one topology with more and more processes")
    parser.add_argument("--n", type=int, default=400_000, help="records (default: %(default)s)")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--broker-folder", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    counts = [int(count) for count in wanted.processes.split(",")]
    result: dict[str, Any] = {
        "benchmark": "scaling",
        "machine": bench.machine(),
        "n": wanted.n,
        "partitions": wanted.partitions,
        "cases": {},
    }
    with cluster(wanted.broker_folder) as broker:
        given = {"count": wanted.n, "format": "avro", "partitions": wanted.partitions, "keys": 10_000}
        source = preload.fill(broker, given)
        for case in wanted.cases.split(","):
            runs: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
            for _ in range(wanted.repeats):
                for count in counts:
                    runs[count].append(run(broker, case, source, count, wanted.n, wanted.partitions))
                    print(f"{case} {count}: {runs[count][-1]}", flush=True)
            result["cases"][case] = runs
            print(_table(case, runs), flush=True)
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def run(broker: Cluster, case: str, source: str, count: int, n: int, partitions: int) -> dict[str, float]:
    """All records through `count` processes: rate from the first committed answer to the last, processor time of all of them per event."""
    folder = Path(tempfile.mkdtemp(prefix="scaling-", dir=SCRATCH))
    name = f"scale-{case}-{time.time_ns() % 10**9}"
    out = f"{name}-out"
    broker.create(out, partitions)
    ours.write_topology(folder, CASES[case], group=name, source=source, out=out, partitions=partitions, commit_ms=500)
    group = Group(broker, folder, name, (), 6.0)
    try:
        for number in range(count):
            group.start(str(number))
        first = _when(broker, out, partitions, 1, group.programs)
        cpu_s = sum(program.cpu_s() for program in group.programs.values())
        before = answered(broker, out, partitions)
        last = _when(broker, out, partitions, n, group.programs)
        cpu_s = sum(program.cpu_s() for program in group.programs.values()) - cpu_s
        return {"rate": (n - before) / (last - first), "cpu_us": cpu_s / (n - before) * 1e6}
    finally:
        group.end()
        shutil.rmtree(folder, ignore_errors=True)
        broker.delete({topic for topic in broker.topics() if topic.startswith(name)})


def _when(broker: Cluster, out: str, partitions: int, wanted: int, programs: dict[str, Program]) -> float:
    until = time.monotonic() + 300
    while answered(broker, out, partitions) < wanted:
        if time.monotonic() > until or not all(program.alive() for program in programs.values()):
            raise RuntimeError("\n".join(program.words() for program in programs.values()))
        time.sleep(0.05)
    return time.monotonic()


def _table(case: str, runs: dict[int, list[dict[str, float]]]) -> str:
    lines = [f"\n### {case}\n", "| processes | events/s | µs CPU per event |", "| --- | --- | --- |"]
    for count, found in runs.items():
        rate, cpu = (statistics.median(run[name] for run in found) for name in ("rate", "cpu_us"))
        lines.append(f"| {count} | {rate:,.0f} | {cpu:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
