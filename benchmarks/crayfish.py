"""Crayfish (EDBT 2024): a small network, and ResNet50, on a stream; ours beside Kafka Streams, Quix and Faust with ONNX Runtime.

    python -m benchmarks.crayfish                                      throughput, batches and bursts of the FFNN, shortened
    python -m benchmarks.crayfish --experiments throughput --n 100000 --repeats 5
    python -m benchmarks.crayfish --experiments batches --every-s 3 --events 40         the paper's pace
    python -m benchmarks.crayfish --experiments bursts --calm-s 120 --burst-s 30        the paper's bursts
    python -m benchmarks.crayfish --experiments resnet

throughput: all events wait in the topic (processor time, steady rate); then they come faster than the program can answer (the paper's
rate). batches: one event of 32, 128 or 512 points now and then: latency without a queue. bursts: 70 % of what the program can do, then
110 %, then 70 % until it has recovered. Latency is the broker's append time of the output minus the creation time of the input. The
first quarter is thrown away. Processor time is that of the whole process, the JVM's collector and compiler threads included, from the
first event that is kept to the last. A JVM compiles for seconds: with few events the second half of them says more (last_half_cpu_us).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import crayfish_models
from benchmarks.crayfish_cases import cases
from benchmarks.crayfish_models import Network
from benchmarks.crayfish_run import Setting, filled, run
from benchmarks.harness.bench import RESULTS, machine
from benchmarks.harness.broker import SCRATCH, Cluster, cluster
from benchmarks.harness.case import Case

WIRES = ("json", "binary")
EXPERIMENTS = ("throughput", "batches", "bursts", "resnet")
POINTS = (32, 128, 512)
OVERLOAD = 1.3  # times the steady rate, so that a queue grows
CALM, BURST = 0.7, 1.1  # the paper's shares of what a program sustains
CALM_MS_MAX = 1000.0  # a queue from the start-up is still there: no state to return to
COLUMNS = {
    "throughput": ("cpu_us", "last_half_cpu_us", "all_cpu_us", "whole_process_cpu_us", "rate", "broker_us", "foreign_cores", "bytes_out"),
    "overload": ("rate", "paper_rate", "sent_rate", "cpu_us", "p50_ms", "p99_ms", "foreign_cores"),
    "batches": ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms", "cpu_us", "foreign_cores"),
    "bursts": ("sustained", "calm_p50_ms", "calm_p95_ms", "burst_p99_ms", "recovery_s", "p99_ms", "foreign_cores"),
    "resnet": ("cpu_us", "rate", "whole_process_cpu_us", "broker_us", "foreign_cores"),
}
Rows = dict[str, list[dict[str, Any]]]


class Crayfish:
    """One run of the benchmark. rows: by experiment, every run's figures by case."""

    def __init__(self, broker: Cluster, wanted: argparse.Namespace, folder: Path) -> None:
        self.broker, self.wanted, self.folder = broker, wanted, folder
        self.tables: dict[str, Rows] = {}
        self.titles: dict[str, str] = {}
        self._draw = random.Random(1)

    def chosen(self, wire: str, points: int, network: Network, *, quick: bool = False, live: bool = False) -> list[Case]:
        found = cases(wire, points, network, quick=quick, live=live)
        self.titles |= {case.name: case.title for case in found}
        names = self.wanted.cases.split(",") if self.wanted.cases else None
        wanted = [case for case in found if names is None or case.name in names]
        for case in wanted:
            if case.absent:
                print(f"{case.title} is absent: {case.absent}", flush=True)
        return [case for case in wanted if not case.absent]

    def setting(self, wire: str, points: int, network: Network, phases: Sequence[tuple[float, float]], *, live: bool) -> Setting:
        return Setting(wire, points, network, tuple(phases), live, self.wanted.partitions, self.wanted.commit_ms)

    def waiting(self, experiment: str, wire: str, network: Network, count: int, *, quick: bool = False) -> dict[str, float]:
        """All events are there already. Returns the median rate of each case."""
        table = f"{experiment} {wire}"
        chosen = self.chosen(wire, 1, network, quick=quick)
        sources = {}
        for share in {case.share for case in chosen}:
            setting = self.setting(wire, 1, network, [(0, max(20, int(count * share)))], live=False)
            sources[share] = (setting, filled(self.broker, setting, self.folder / "sent"))
        expected = self.setting(wire, 1, network, [(0, 1)], live=False).expected()
        for _ in range(self.wanted.repeats):
            for case in self._draw.sample(chosen, len(chosen)):
                setting, source = sources[case.share]
                self.note(table, case, run(self.broker, case, setting, expected, source))
        self.show(table, experiment)
        self.broker.delete({source[0] for _, source in sources.values()})
        return {name: _median(runs, "rate") for name, runs in self.tables[table].items() if not any(one["failed"] for one in runs)}

    def live(self, table: str, case: Case, setting: Setting) -> dict[str, Any]:
        """Events come while the program runs."""
        found = run(self.broker, case, setting, setting.expected())
        self.note(table, case, found)
        return found

    def note(self, table: str, case: Case, found: dict[str, Any]) -> None:
        self.tables.setdefault(table, {}).setdefault(case.name, []).append(found)
        said = {name: round(value, 2) for name, value in found.items() if isinstance(value, float)}
        print(f"{table} {case.name}: {found['failed'] or said}", flush=True)

    def show(self, table: str, kind: str) -> None:
        """Medians, cheapest first."""
        columns = COLUMNS[kind]
        print(f"\n### {table}\n\n| case | " + " | ".join(columns) + " | runs |\n|---|" + "---:|" * (len(columns) + 1))
        rows = self.tables.get(table, {})
        for name in sorted(rows, key=lambda name: _median(rows[name], columns[0])):
            failed = next((one["failed"] for one in rows[name] if one["failed"]), "")
            cells = [f"FAILED: {failed}"] if failed else [f"{_median(rows[name], column):,.2f}" for column in columns]
            print(f"| {self.titles[name]} | " + " | ".join([*cells, str(len(rows[name]))]) + " |")
        print(flush=True)

    # -------------------------------------------------------------------------------------------------------- experiments

    def throughput(self) -> None:
        """Experiment A."""
        network = crayfish_models.ffnn(self.folder, 1)
        for wire in self.wanted.wires.split(","):
            rates = self.waiting("throughput", wire, network, self.wanted.n)
            for case in self.chosen(wire, 1, network):
                if case.name in rates and self.wanted.overload_s:
                    phases = [(max(1.0, rates[case.name] * OVERLOAD), self.wanted.overload_s)]
                    self.live(f"overload {wire}", case, self.setting(wire, 1, network, phases, live=True))
            if self.wanted.overload_s:
                self.show(f"overload {wire}", "overload")

    def batches(self) -> None:
        """Experiment B."""
        for points in POINTS:
            network = crayfish_models.ffnn(self.folder, points)
            for wire in self.wanted.wires.split(","):
                table = f"batches of {points} {wire}"
                for _ in range(self.wanted.repeats):
                    for case in self.chosen(wire, points, network, quick=True, live=True):
                        phases = [(1 / self.wanted.every_s, self.wanted.events * self.wanted.every_s)]
                        self.live(table, case, self.setting(wire, points, network, phases, live=True))
                self.show(table, "batches")

    def bursts(self) -> None:
        """Experiment C. What a program sustains is what it answers while too much comes, with the sender beside it."""
        network = crayfish_models.ffnn(self.folder, 1)
        for wire in self.wanted.wires.split(","):
            rates = self.waiting("throughput", wire, network, max(2000, self.wanted.n // 4), quick=True)
            for case in self.chosen(wire, 1, network, quick=True, live=True):
                if case.name not in rates:
                    continue
                probe = self.setting(wire, 1, network, [(rates[case.name] * OVERLOAD, self.wanted.probe_s)], live=True)
                sustained = run(self.broker, case, probe, probe.expected()).get("rate", rates[case.name])
                calm, burst = sustained * CALM, sustained * BURST
                phases = [(calm, self.wanted.warm_s + self.wanted.calm_s), (burst, self.wanted.burst_s), (calm, self.wanted.after_s)]
                setting = self.setting(wire, 1, network, phases, live=True)
                found = run(self.broker, case, setting, setting.expected())
                found |= {"sustained": float(sustained)} | self.recovery(found)
                self.note(f"bursts {wire}", case, found)
            self.show(f"bursts {wire}", "bursts")

    def recovery(self, run: dict[str, Any]) -> dict[str, float]:
        """recovery_s: from the end of the burst until half of a second's events come through as quickly as 95 % did before it."""
        if "series" not in run:
            return {}
        created, ms = run["series"]
        since = (created - created.min()) / 1000
        calm_s, burst_s = self.wanted.warm_s + self.wanted.calm_s, self.wanted.burst_s
        calm = ms[(since >= self.wanted.warm_s) & (since < calm_s)]
        burst = ms[(since >= calm_s) & (since < calm_s + burst_s)]
        p95 = float(np.quantile(calm, 0.95))
        end = calm_s + burst_s
        slow = [second for second in range(int(self.wanted.after_s)) if _half(ms, since, end + second) > p95]
        recovery = float(slow[-1] + 1) if slow else 0.0
        if p95 > CALM_MS_MAX or (slow and slow[-1] == int(self.wanted.after_s) - 1):
            recovery = float("nan")  # it was never calm, or has not recovered yet
        found = {"calm_p50_ms": float(np.median(calm)), "calm_p95_ms": p95}
        return found | {"burst_p99_ms": float(np.quantile(burst, 0.99)), "recovery_s": recovery}

    def resnet(self) -> None:
        """Experiment D, on the CPU, few events."""
        network = crayfish_models.resnet50(self.folder)
        for wire in self.wanted.wires.split(","):
            self.waiting("resnet", wire, network, self.wanted.images, quick=True)


def _half(ms: Any, since: Any, second: float) -> float:
    inside = ms[(since >= second) & (since < second + 1)]
    return float(np.median(inside)) if len(inside) else 0.0


def _median(runs: list[dict[str, Any]], name: str) -> float:
    values = [run[name] for run in runs if name in run]
    return float(statistics.median(values)) if values else float("nan")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Crayfish: a small network on a stream")
    made.add_argument("--experiments", default="throughput,batches,bursts", help=f"of {', '.join(EXPERIMENTS)} (default: %(default)s)")
    made.add_argument("--wires", default=",".join(WIRES), help="(default: %(default)s)")
    made.add_argument("--cases", help="only these, comma-separated")
    made.add_argument("--n", type=int, default=40_000, help="events of throughput (default: %(default)s; official figures: 100000)")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--overload-s", type=float, default=10.0, help="seconds of too many events; 0: leave it out (default: %(default)s)")
    made.add_argument("--every-s", type=float, default=0.3, help="between two events of batches (default: %(default)s; the paper: 3)")
    made.add_argument("--events", type=int, default=40, help="of batches (default: %(default)s)")
    made.add_argument("--warm-s", type=float, default=20.0, help="before the calm of bursts, not counted (default: %(default)s)")
    made.add_argument("--calm-s", type=float, default=20.0, help="before a burst (default: %(default)s; the paper: 120)")
    made.add_argument("--burst-s", type=float, default=8.0, help="of a burst (default: %(default)s; the paper: 30)")
    made.add_argument("--after-s", type=float, default=20.0, help="after a burst (default: %(default)s)")
    made.add_argument("--probe-s", type=float, default=15.0, help="of too many events, to see what it sustains (default: %(default)s)")
    made.add_argument("--images", type=int, default=40, help="events of resnet (default: %(default)s)")
    made.add_argument("--partitions", type=int, default=4)
    made.add_argument("--commit-ms", type=int, default=500)
    made.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/crayfish.json where nothing was left out)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 where a case failed."""
    wanted = parser().parse_args(arguments)
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="crayfish-", dir=SCRATCH) as folder, cluster(None) as broker:
        crayfish = Crayfish(broker, wanted, Path(folder))
        for name in wanted.experiments.split(","):
            {"throughput": crayfish.throughput, "batches": crayfish.batches, "bursts": crayfish.bursts, "resnet": crayfish.resnet}[name]()
    for runs in (one for rows in crayfish.tables.values() for one in rows.values()):
        for one in runs:
            one.pop("series", None)
    settings = {name: value for name, value in vars(wanted).items() if name != "out"}
    result = {"benchmark": "crayfish", "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "settings": settings}
    whole = wanted.cases is None and wanted.wires == ",".join(WIRES) and len(crayfish.tables) > len(WIRES) * len(POINTS)
    path = wanted.out or (RESULTS / "crayfish.json" if whole else None)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**result, "titles": crayfish.titles, "tables": crayfish.tables}, indent=1) + "\n")
        print(path)
    return int(any(one["failed"] for rows in crayfish.tables.values() for runs in rows.values() for one in runs))


if __name__ == "__main__":
    sys.exit(main())
