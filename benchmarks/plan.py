"""plan: is `stream-infer plan` right? What it says of one worker, and what the same topology then does on a real broker.

`python -m benchmarks.plan [--rates 500,5000,20000] [--seconds 10] [--repeats 3]`. The topology is the linear one of benchmarks.latency.
The plan asks the broker for the costs of its client; then records come from the open-loop generator, and answers are read as they
become visible. A plan speaks of workers that have a core each: how long the worker was ready to run and had none is told beside.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import events, ours
from benchmarks.harness.bench import RESULTS, machine
from benchmarks.harness.broker import SCRATCH, Cluster, cluster
from benchmarks.harness.case import Case, Load, environment, variables
from benchmarks.harness.delay import WAKE_COUNT, Phases, Sink
from benchmarks.harness.processes import Program, tree

CASE = ours.case("plan", "8 numbers into a linear model", "eo", ours.linear)


def waited_s(pid: int) -> float:
    """How long threads of the tree were ready to run and had no core, so far: a plan speaks of workers that have one."""
    waits = [path.read_text().split()[1] for one in tree(pid) for path in Path(f"/proc/{one}/task").glob("*/schedstat")]
    return sum(map(int, waits)) / 1e9


def forecast(topology: Path, bootstrap: str, rate: float) -> dict[str, Any]:
    """What the command says; its forecast for one worker."""
    command = [ours.PROGRAM, "plan", str(topology), "--rate", str(rate), "--slo-ms", "10000", "--bootstrap", bootstrap, "--json"]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    said = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | threads)
    if not said.stdout:
        raise SystemExit(said.stderr)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def run(broker: Cluster, case: Case, rates: list[float], wanted: argparse.Namespace) -> list[dict[str, Any]]:
    """One worker through all rates, each planned right before."""
    unique = uuid.uuid4().hex[:8]
    load = Load(f"bench-in-{case.name}-{unique}", {"count": 0, "format": "avro", "partitions": 4}, np.zeros(0), events.spec())
    before, output = broker.topics(), f"bench-{case.name}-{unique}"
    for topic in (load.topic, output):
        broker.create(topic, load.partitions)
    folder = Path(tempfile.mkdtemp(prefix=f"{case.name}-", dir=SCRATCH))
    inside = variables(case, load, broker.bootstrap, output, folder, wanted.commit_ms, linger_ms=1)
    assert callable(case.command)
    command = case.command(inside)
    plans = [forecast(Path(command[2]), broker.bootstrap, rate) for rate in rates]
    program = Program(command, environment(case, inside), SCRATCH / f"{case.name}.log", cwd=folder)
    sink = Sink(broker.bootstrap, output, load.partitions)
    phases = Phases(broker, case, load, program, sink, events.scores)
    out = []
    try:
        phases.phase("wake", 100.0, WAKE_COUNT)
        for rate, plan in zip(rates, plans, strict=True):
            waited = waited_s(program.pid)
            measured = phases.phase(f"{rate:g}", rate, max(100, round(rate * wanted.seconds)))
            measured["starved"] = (waited_s(program.pid) - waited) / wanted.seconds
            if measured["failed"]:
                raise SystemExit(f"{measured['failed']}\n{program.words()}")
            out.append({"rate": rate, "plan": plan, "measured": measured})
    finally:
        program.end()
        sink.close()
        shutil.rmtree(folder, ignore_errors=True)
        broker.delete(broker.topics() - before - {"__consumer_offsets", "__transaction_state"})
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description="what `stream-infer plan` says, and what then happens")
    parser.add_argument("--rates", default="500,5000,20000")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--commit-ms", type=int, default=100)
    parser.add_argument("--broker-folder", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "plan.json")
    wanted = parser.parse_args()
    rates = [float(rate) for rate in wanted.rates.split(",")]
    result: dict[str, Any] = {"benchmark": "plan", "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "rows": []}
    SCRATCH.mkdir(exist_ok=True)
    heads = ["rows/s", "workers", "mean ms", "p50 ms said", "did", "p99 ms said", "did", "cores said", "did"]
    heads += ["without a core, s/s", "valid"]
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    with cluster(wanted.broker_folder) as broker:
        runs = [run(broker, CASE, rates, wanted) for _ in range(wanted.repeats)]
    for place, rate in enumerate(rates):
        rows = [one[place] for one in runs]
        result["rows"].append({"rate": rate, "runs": rows})
        print(_line(rate, rows), flush=True)
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _line(rate: float, rows: list[dict[str, Any]]) -> str:
    said = [row["plan"]["forecast"] for row in rows if row["plan"]["forecast"]]
    if not said:
        return f"| {rate:,.0f} | {rows[0]['plan']['why_not']} |"

    def middle(found: list[dict[str, Any]], figure: str) -> float:
        return float(statistics.median(one[figure] for one in found))

    did = [row["measured"] for row in rows]
    cells = [f"{middle(said, 'workers'):.0f}", f"{middle(said, 'mean_ms'):.1f}"]
    cells += [f"{middle(said, f'{at}_ms'):.1f} | {middle(did, at):.1f}" for at in ("p50", "p99")]
    cells += [f"{middle(said, 'busy'):.2f} | {middle(did, 'cores'):.2f}", f"{middle(did, 'starved'):.2f}"]
    cells += [f"{sum(one['valid'] for one in did)} of {len(did)}"]
    return f"| {rate:,.0f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
