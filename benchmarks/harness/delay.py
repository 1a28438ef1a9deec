"""delay: one case under an open-loop generator, its answers read as they become visible. broker, paced, processes → *delay* → latency."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from benchmarks.harness import environments, events, paced
from benchmarks.harness.bench import RESULTS, Expected, java_cases, machine, selected
from benchmarks.harness.broker import QUIET, ROOT, SCRATCH, Cluster, cluster
from benchmarks.harness.case import Case, Load, environment, variables
from benchmarks.harness.check import TOLERANCE, answers, problem
from benchmarks.harness.processes import Program
from benchmarks.harness.report import delay_table, plot
from loadgen.openloop import BEHIND_MS_P99_MAX
from stream_infer.records import Floats

WAKE_COUNT = 200
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
SKIP_SHARE = 0.15  # of a phase, at its beginning
SILENT_S_MAX = 60.0
SHARES = (0.8, 0.65, 0.5, 0.4, 0.3, 0.2)  # of the rate that waiting records are worked off at, tried for what is kept up with as they come
PACED_S, BEHIND_S_MAX = 4.0, 0.25  # each for so long; kept up with: so soon after the last record was due its answer is there
AHEAD_S, AHEAD_S_PER_ROW = 3.0, 15e-6  # the generator's imports; and, at worst, JSON texts made in Python


class Sink:
    """Reads what becomes visible, and notes when."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        settings = {"bootstrap.servers": bootstrap, "group.id": "sink", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._consumer = Consumer({**settings, "fetch.wait.max.ms": 50, "fetch.queue.backoff.ms": 2, **QUIET})
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])

    def take(self, count: int, alive: Callable[[], bool]) -> tuple[list[bytes], Floats]:
        """Values, and µs since 1970 when each was there, until there are `count`, or the case is gone, or nothing comes for a minute."""
        values: list[bytes] = []
        times: list[int] = []
        grown_s = time.monotonic()
        while len(values) < count and alive() and time.monotonic() - grown_s < SILENT_S_MAX:
            first = self._consumer.poll(0.1)
            if first is None:
                continue
            messages = [message for message in (first, *self._consumer.consume(999, 0)) if message.error() is None]
            now_us = time.time_ns() // 1000
            values += [message.value() or b"" for message in messages]
            times += [now_us] * len(messages)
            grown_s = time.monotonic()
        return values, np.array(times, dtype=np.float64)

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


class Phases:
    """One case from its start to its end, phase by phase."""

    def __init__(self, cluster: Cluster, case: Case, load: Load, program: Program, sink: Sink, expected: Expected) -> None:
        self._cluster, self._case, self._load, self._program, self._sink = cluster, case, load, program, sink
        self._expected, self._number = expected, 0

    def words(self) -> str:
        """The last of what the case printed."""
        return self._program.words()

    def phase(self, name: str, rate: float, count: int) -> dict[str, Any]:
        """Send count records at a rate (0: all at once) and read their answers. `failed` where answers are wrong."""
        begin_us = round((time.time() + AHEAD_S + count * AHEAD_S_PER_ROW) * 1e6)
        given: dict[str, Any] = {"rate": rate, "count": count, "number": self._number, "begin_us": begin_us, "seed": self._number + 1}
        given |= {"format": self._load.format, "partitions": self._load.partitions}
        command = [sys.executable, "-m", "benchmarks.harness.paced", self._cluster.bootstrap, self._load.topic, json.dumps(given)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as generator:
            time.sleep(max(0.0, begin_us / 1e6 - time.time() - 0.1))
            before_s, from_s = self._program.cpu_s(), time.monotonic()
            values, times = self._sink.take(count, self._program.alive)
            used_s, seconds = self._program.cpu_s() - before_s, time.monotonic() - from_s
            kept = json.loads(generator.communicate(timeout=120)[0] or "{}")
        found: dict[str, Any] = {"phase": name, "rate": rate, "count": count, "kept": kept, "cores": used_s / seconds}
        of, due_us = paced.made(given)
        number, self._number = self._number, self._number + count
        found["failed"] = problem(values, self._load.format, self._expected(of), number, tolerance=self._load.tolerance)
        if found["failed"]:
            return found
        numbers, _ = answers(values, self._load.format)
        delays: Floats = np.empty(count)
        delays[numbers - number] = (times - due_us[numbers - number]) / 1000
        late_ms = kept.get("behind_ms_p99", 1e9)
        found["valid"] = bool(kept) and not kept["lost"] and not kept["late_start"]
        found["last_s"] = float((times.max() - due_us[-1]) / 1e6)
        in_order = np.sort(times)
        low, high = in_order[count // 10], in_order[count * 9 // 10]
        found["sustained"] = 0.8 * count / max(1e-3, (high - low) / 1e6)
        found |= {name: float(np.quantile(delays[round(count * SKIP_SHARE) :], at)) for name, at in QUANTILES.items()}
        # Lateness of the generator is part of every delay here, so it can only overstate them; by a tenth at most where the phase is valid.
        found["valid"] &= late_ms <= max(BEHIND_MS_P99_MAX, found["p99"] / 10)
        return found


@contextmanager
def started(
    cluster: Cluster,
    case: Case,
    fmt: str,
    spec: Mapping[str, object],
    wanted: argparse.Namespace,
    expected: Expected = events.scores,
    tolerance: float = TOLERANCE,
) -> Iterator[Phases]:
    """The case, running on topics of its own. wanted: partitions, commit_ms."""
    unique = uuid.uuid4().hex[:8]
    given = {"count": 0, "format": fmt, "partitions": wanted.partitions}
    load = Load(f"bench-in-{case.name}-{unique}", given, np.zeros(0), spec, tolerance)
    before, output = cluster.topics(), f"bench-{case.name}-{unique}"
    for topic in (load.topic, output):
        cluster.create(topic, wanted.partitions)
    folder = Path(tempfile.mkdtemp(prefix=f"{case.name}-", dir=SCRATCH))
    inside = variables(case, load, cluster.bootstrap, output, folder, wanted.commit_ms, linger_ms=1)
    command = case.command if isinstance(case.command, tuple) else case.command(inside)
    program = Program(command, environment(case, inside), SCRATCH / f"{case.name}.log", cwd=folder)
    sink = Sink(cluster.bootstrap, output, wanted.partitions)
    try:
        yield Phases(cluster, case, load, program, sink, expected)
    finally:
        program.end()
        sink.close()
        shutil.rmtree(folder, ignore_errors=True)
    cluster.delete(cluster.topics() - before - {"__consumer_offsets", "__transaction_state"})


def run_case(
    cluster: Cluster, case: Case, wanted: argparse.Namespace, fmt: str, spec: Mapping[str, object], rate: float = 0.0
) -> dict[str, Any]:
    """All phases of one repeat. rate: what it keeps up with, where that is not to be found first."""
    found: dict[str, Any] = {"case": case.name, "rate": rate, "phases": []}
    with started(cluster, case, fmt, spec, wanted) as phases:
        for phase in _plan(phases, case, wanted, found):
            found["phases"].append(phase)
            said = phase["failed"] or f"p50 {phase['p50']:.1f} ms, p99 {phase['p99']:.1f} ms, sustained {phase['sustained']:,.0f}/s"
            print(f"  {fmt} {case.name} {phase['phase']} {phase['rate']:,.0f}/s: {said}; {_words(phase)}", flush=True)
            if phase["failed"]:
                print(phases.words(), flush=True)
                break
    return found


def _plan(phases: Phases, case: Case, wanted: argparse.Namespace, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Phase by phase; puts the rate into found where it is not there."""
    yield phases.phase("wake", 100.0, WAKE_COUNT)
    if not found["rate"]:
        probe = phases.phase("flat out", 0.0, max(2000, round(wanted.n * case.share)))
        yield probe
        for share in SHARES if not probe["failed"] else ():
            tried = probe["sustained"] * share
            paced = phases.phase("paced", tried, max(100, round(tried * PACED_S)))
            yield paced
            if _kept_up(paced):
                found["rate"] = tried
                break
    yield phases.phase("low", wanted.low, max(100, round(wanted.low * wanted.seconds)))
    for name, part in (("half", 0.5), ("80 %", 0.8)) if found["rate"] else ():
        part_rate = found["rate"] * part
        yield phases.phase(name, part_rate, max(100, round(part_rate * wanted.seconds)))


def _kept_up(paced: dict[str, Any]) -> bool:
    return not paced["failed"] and paced["valid"] and paced["last_s"] <= BEHIND_S_MAX


def _words(phase: dict[str, Any]) -> str:
    kept = phase["kept"]
    return "no word from the generator" if not kept else f"generator behind p99 {kept['behind_ms_p99']:.1f} ms"


def main(cases: Callable[[str], list[Case]], spec: Mapping[str, object], arguments: Sequence[str] | None = None) -> int:
    """The benchmark; 1 where a case failed."""
    parser = argparse.ArgumentParser(description="latency at three loads")
    parser.add_argument("--cases", help="only these, comma-separated; a name that ends in * means all that begin so")
    parser.add_argument("--n", type=int, default=200_000, help="records of the phase that finds the sustained rate (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load (default: %(default)s)")
    parser.add_argument("--low", type=float, default=200.0, help="the low rate (default: %(default)s/s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--format", default="avro")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--commit-ms", type=int, default=100, help="commit interval of all cases (default: %(default)s)")
    parser.add_argument("--broker-folder", type=Path)
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args(arguments)
    chosen = selected(cases(wanted.format) + java_cases("latency", wanted.format), wanted.cases)
    chosen = [replace(case, absent=case.absent or (environments.absent(case.peer) if case.peer else None)) for case in chosen]
    runs: dict[str, list[dict[str, Any]]] = {case.name: [] for case in chosen}
    draw = random.Random(1)
    with cluster(wanted.broker_folder) as broker:
        for turn in range(wanted.repeats):
            print(f"repeat {turn + 1} of {wanted.repeats}", flush=True)
            order = [case for case in chosen if case.absent is None]
            draw.shuffle(order)
            rates: dict[str, float] = {}  # what ours kept up with, by guarantee
            for case in sorted(order, key=lambda case: case.floor):
                found = run_case(broker, case, wanted, wanted.format, spec, rates.get(case.guarantee, 0.0) if case.floor else 0.0)
                runs[case.name].append(found)
                if case.ours:
                    rates[case.guarantee] = found["rate"]
    rows = [row(case, runs[case.name]) for case in chosen]
    print(f"\n### From due to visible, {wanted.format}, commit interval {wanted.commit_ms} ms; ms\n\n{delay_table(rows)}")
    result = {"benchmark": "latency", "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "rows": rows}
    result |= {name: value for name, value in vars(wanted).items() if name in ("n", "seconds", "low", "format", "commit_ms", "partitions")}
    path = wanted.out or (RESULTS / "latency.json" if not wanted.cases else None)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        plot(path)
    return int(any(phase["failed"] for found in runs.values() for run in found for phase in run["phases"]))


def row(case: Case, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the repeats, load by load, of the phases whose generator kept its schedule."""
    found: dict[str, Any] = {"case": case.name, "title": case.title, "guarantee": case.guarantee, "ours": case.ours, "floor": case.floor}
    found |= {"absent": case.absent, "runs": runs, "loads": {}}
    phases = [phase for run in runs for phase in run["phases"]]
    found["failed"] = next((phase["failed"] for phase in phases if phase["failed"]), "")
    for name in ("flat out", "paced", "low", "half", "80 %"):
        of = [phase for phase in phases if phase["phase"] == name and not phase["failed"]]
        good = [phase for phase in of if name == "flat out" or (_kept_up(phase) if name == "paced" else phase["valid"])]
        load: dict[str, Any] = {"runs": len(of), "valid": len(good)}
        if good:
            for figure in (*QUANTILES, "rate", "sustained", "cores", "last_s"):
                load[figure] = statistics.median(phase[figure] for phase in good)
        found["loads"][name] = load
    return found
