"""recovery: how long partitions stand still when a process dies, leaves or joins, with large state. probing, harness → *recovery*.

    python -m benchmarks.recovery [--keys 700000] [--repeats 3] [--cases plain,snapshots,standby]

Two processes of one topology hold 15 windows of many keys. Probes go to every partition at a steady rate, and a
read-committed consumer notes when answers come. Then one process is killed (-9), started again, and told to leave. Told are: the time until
each partition of the dead answers an event sent after the stroke (`served`), and the longest silence of the partitions that did not move.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import bench, events, ours, preload
from benchmarks.harness.broker import ROOT, SCRATCH, Cluster, cluster
from benchmarks.harness.processes import Program, rss_mb
from benchmarks.probing import Gap, Probe, answered, by_partition

RESULTS = ROOT / "benchmarks/results/recovery.json"
PORTS = (18_000, 32_000)
SETTLE_S = 3.0  # after all partitions answer again: gaps that come late belong to the stroke too
CASES = {
    "plain": ("changelog only", ()),
    "snapshots": ("a snapshot every 10 s in a folder of each process", ("--state", "--snapshot-every-s=10")),
    "standby": ("warm copies of what others own", ("--standby-gb=8",)),
}


def _free_port() -> int:
    """Of this machine, below those that outgoing connections are given: one of them could have it before the process does."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as asked, suppress(OSError):
            asked.bind(("127.0.0.1", port))
            return port


@dataclass
class Group:
    """The processes of one topology, by slot."""

    cluster: Cluster
    folder: Path
    name: str
    options: tuple[str, ...]
    session_s: float
    programs: dict[str, Program] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def start(self, slot: str) -> None:
        """One more process."""
        port = _free_port()
        command = [ours.PROGRAM, "run", str(self.folder / "topology.yaml"), "--bootstrap", self.cluster.bootstrap, "--slot", slot]
        command += ["--session-timeout-s", str(self.session_s), "--port", str(port)]
        for option in self.options:
            command += [option, str(self.folder / f"state-{slot}")] if option == "--state" else [option]
        log = self.folder / f"{slot}-{len(list(self.folder.glob(f'{slot}-*.log')))}.log"
        self.programs[slot], self.ports[slot] = Program(tuple(command), _environment(), log), port

    def kill(self, slot: str) -> None:
        """kill -9."""
        program = self.programs.pop(slot)
        with suppress(ProcessLookupError):  # ended by itself: what it said is told elsewhere
            os.kill(program.pid, signal.SIGKILL)
        while program.alive():
            time.sleep(0.001)

    def leave(self, slot: str) -> None:
        """SIGTERM; returns at once."""
        os.kill(self.programs[slot].pid, signal.SIGTERM)

    def gone(self, slot: str) -> None:
        """Wait for one that was told to leave."""
        program = self.programs.pop(slot)
        until = time.monotonic() + 60
        while program.alive() and time.monotonic() < until:
            time.sleep(0.05)
        program.end()

    def end(self) -> None:
        """All of them, at once."""
        for slot in list(self.programs):
            self.kill(slot)

    def figures(self, slot: str) -> dict[str, float]:
        """Counters of restoring, from the process' own page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[slot]}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        found: dict[str, float] = {}
        for name in ("restore_records_total", "restore_seconds_total", "rebalances_total", "state_bytes"):
            found[name] = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"stream_infer_{name}"))
        return found

    def owners(self) -> dict[int, str]:
        """Which slot's page names which partition: the lag is told for owned partitions alone."""
        found: dict[int, str] = {}
        for slot in self.programs:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[slot]}/metrics", timeout=20) as answer:
                for line in answer.read().decode().splitlines():
                    if line.startswith("stream_infer_lag_records{") and "-in-" in line:
                        found[int(line.split('partition="')[1].split('"')[0])] = slot
        return found


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> int:
    """Run it."""
    wanted = _options()
    keys = wanted.keys
    result: dict[str, Any] = {"benchmark": "recovery", "machine": bench.machine(), "keys": keys}
    result |= {"partitions": wanted.partitions, "session_s": wanted.session_s, "rate_hz": wanted.rate, "cases": {}}
    with cluster(wanted.broker_folder) as broker:
        for case in wanted.cases.split(","):
            result["cases"][case] = run_case(broker, case, keys, wanted)
            print(_table(case, result["cases"][case]), flush=True)
    path = wanted.out or RESULTS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="how long partitions stand still when a process dies, leaves or joins")
    parser.add_argument("--keys", type=int, default=700_000, help="drawn twice, so 86 in 100 are known (default: %(default)s)")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rate", type=float, default=200.0, help="probes a second and partition (default: %(default)s)")
    parser.add_argument("--session-s", type=float, default=6.0, help="session timeout; Kafka's brokers allow 6 s (default: %(default)s)")
    parser.add_argument(
        "--settle-s", type=float, default=25.0, help="between strokes, so that snapshots are written (default: %(default)s)"
    )
    parser.add_argument("--options", default="", help="more options of `stream-infer run`, space-separated")
    parser.add_argument("--broker-folder", type=Path)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def run_case(broker: Cluster, case: str, keys: int, wanted: argparse.Namespace) -> dict[str, Any]:
    """All strokes of one case, `repeats` times each."""
    given = {"count": 2 * keys, "format": "avro", "partitions": wanted.partitions, "keys": keys, "seed": 1 + list(CASES).index(case)}
    source = preload.fill(broker, given)
    folder = Path(tempfile.mkdtemp(prefix="recovery-", dir=SCRATCH))
    name = f"rec-{case}-{time.time_ns() % 10**9}"
    out = f"{name}-out"
    broker.create(out, wanted.partitions)
    ours.write_topology(folder, ours.windowed("tumbling"), group=name, source=source, out=out, partitions=wanted.partitions)
    group = Group(broker, folder, name, (*CASES[case][1], *wanted.options.split()), wanted.session_s)
    strokes: dict[str, list[dict[str, Any]]] = {"kill": [], "join": [], "leave": []}
    try:
        began = time.monotonic()
        for slot in "ab":
            group.start(slot)
        while answered(broker, out, wanted.partitions) < 2 * keys:
            time.sleep(0.5)
            if not all(program.alive() for program in group.programs.values()):
                raise RuntimeError("\n".join(program.words() for program in group.programs.values()))
        print(f"{case}: {keys:,} keys in {time.monotonic() - began:.0f} s, rss {_rss(group)}", flush=True)
        users = by_partition(events.keys(preload.made(given)).tolist()[: wanted.partitions * 1000], wanted.partitions, 50)
        probe = Probe(broker, (source, out), users, rate_hz=wanted.rate, begin_ms=events.BEGIN_MS + 2 * keys + 1000)
        probe.start()
        time.sleep(wanted.settle_s)
        for _ in range(wanted.repeats):
            for kind in ("kill", "join", "leave", "join"):
                strokes[kind].append(_stroke(group, probe, kind))
                print(f"  {kind}: {_line(strokes[kind][-1])}", flush=True)
                time.sleep(wanted.settle_s)
        probe.stop()
    except Exception:
        print("\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted(folder.glob("*.log"))), flush=True)
        raise
    finally:
        group.end()
        shutil.rmtree(folder, ignore_errors=True)
        broker.delete({topic for topic in broker.topics() if topic.startswith(name)})
    return {"title": CASES[case][0], "strokes": strokes, "medians": {kind: _median(found) for kind, found in strokes.items()}}


def _stroke(group: Group, probe: Probe, kind: str) -> dict[str, Any]:
    before = _all_owners(group, len(probe.sent))
    since = time.monotonic()
    {"kill": group.kill, "leave": group.leave, "join": group.start}[kind]("b")
    figures = group.figures("a")
    if kind == "join":
        while len(set(_owners(group).values())) < 2 and time.monotonic() < since + 90:
            time.sleep(0.2)
    probe.wait_until_answered(max(since, time.monotonic() - 0.1), 180.0)
    time.sleep(SETTLE_S)
    if kind == "leave":
        group.gone("b")
    until = time.monotonic()
    gaps, after = probe.gaps(since, until), group.figures("a")
    now = _all_owners(group, len(gaps))
    moved = sorted(p for p in gaps if before.get(p) != now.get(p))
    return {
        "moved": moved,
        "gaps": {p: [round(g.silence_s, 3), g.served_s and round(g.served_s, 3)] for p, g in gaps.items()},
        "moved_silence_s": _longest(gaps, moved),
        "kept_silence_s": _longest(gaps, [p for p in gaps if p not in moved]),
        "restored_records": after["restore_records_total"] - figures["restore_records_total"],
        "restore_s": after["restore_seconds_total"] - figures["restore_seconds_total"],
        "rebalances": after["rebalances_total"] - figures["rebalances_total"],
        "state_mb": round(sum(group.figures(slot)["state_bytes"] for slot in group.programs) / 1e6),
        "rss_mb": _rss(group),
    }


def _owners(group: Group) -> dict[int, str]:
    """As Group.owners, nothing while a page does not answer yet."""
    try:
        return group.owners()
    except OSError:
        return {}


def _all_owners(group: Group, partitions: int) -> dict[int, str]:
    """When the pages know of every partition: they look every few seconds."""
    until = time.monotonic() + 30
    while len(found := _owners(group)) < partitions and time.monotonic() < until:
        time.sleep(0.2)
    return found


def _longest(gaps: dict[int, Gap], partitions: list[int]) -> float | None:
    return max((gaps[p].silence_s for p in partitions), default=None)


def _median(found: list[dict[str, Any]]) -> dict[str, float | None]:
    names = ("moved_silence_s", "kept_silence_s", "restored_records", "restore_s")
    return {name: statistics.median(values) if (values := [f[name] for f in found if f[name] is not None]) else None for name in names}


def _rss(group: Group) -> dict[str, int]:
    return {slot: round(rss_mb(program.pid)) for slot, program in group.programs.items()}


def _line(stroke: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}" for name, value in stroke.items())


def _table(case: str, found: dict[str, Any]) -> str:
    lines = [f"\n### {case}: {found['title']}\n", "| stroke | moved partitions silent | others silent | records read back | restoring |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for kind, median in found["medians"].items():
        cells = [f"{value:.2f} s" if value is not None else "-" for value in (median["moved_silence_s"], median["kept_silence_s"])]
        lines.append(f"| {kind} | {cells[0]} | {cells[1]} | {median['restored_records']:,.0f} | {median['restore_s']:.2f} s |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
