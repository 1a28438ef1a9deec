"""crayfish_run: one program on one load, its outputs judged, its figures by both formulas. cases, load, harness → *run* → crayfish.

The first quarter of the events is thrown away as warm-up, as in the paper; figures of the whole stand beside those of what is kept.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka.cimpl import NewTopic

from benchmarks import crayfish_load, crayfish_wire
from benchmarks.crayfish_models import Network
from benchmarks.crayfish_wire import Pool
from benchmarks.harness.broker import SCRATCH, Cluster, Written
from benchmarks.harness.case import Case, Load, environment, variables
from benchmarks.harness.processes import Program
from benchmarks.harness.run import Look, look
from stream_infer.records import Floats, Ints

KEPT = 0.75
LOOK_S = 0.05
LOOKS_MIN = 8  # fewer, and a figure is mostly the width of a look
START_S_MAX = 120.0
SILENT_S_MAX = 60.0
READY_S = 1.0  # after the first answer to an event that only asks whether the program is there
POOL_BYTES = 20_000_000


@dataclass(frozen=True)
class Setting:
    """What all programs are given. points: of an event; phases: see crayfish_load; live: they are sent while the program runs."""

    wire: str
    points: int
    network: Network
    phases: tuple[tuple[float, float], ...]
    live: bool
    partitions: int
    commit_ms: int

    @property
    def pool(self) -> int:
        """How many events are drawn."""
        return max(2, min(256, POOL_BYTES // (self.points * self.network.width * 4)))

    def count(self) -> int:
        """How many events are sent."""
        return sum(round(rate * amount) if rate else int(amount) for rate, amount in self.phases)

    def given(self) -> dict[str, Any]:
        """For crayfish_load."""
        drawn = {"wire": self.wire, "points": self.points, "width": self.network.width, "pool": self.pool}
        return {**drawn, "partitions": self.partitions, "phases": self.phases}

    def expected(self) -> Floats:
        """float64[pool, points · outputs]."""
        x = Pool.drawn(self.wire, self.points, self.network.width, self.pool).x
        return self.network.answers(x.reshape(-1, self.network.width)).reshape(self.pool, -1)


def topic(cluster: Cluster, name: str, partitions: int) -> str:
    """A new topic. Its records are stamped by the broker when they are appended, as in the paper."""
    config = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime", "segment.bytes": str(256 << 20)}
    for future in cluster.admin.create_topics([NewTopic(name, partitions, 1, config=config)], operation_timeout=30.0).values():
        future.result()
    return name


def filled(cluster: Cluster, setting: Setting, file: Path) -> tuple[str, Ints]:
    """A topic with all events in it, and when they were created."""
    name = topic(cluster, f"crayfish-{setting.wire}-{uuid.uuid4().hex[:8]}", setting.partitions)
    _finished(crayfish_load.start(cluster.bootstrap, name, file, setting.given()))
    return name, np.fromfile(file, dtype=np.int64)


def run(cluster: Cluster, case: Case, setting: Setting, expected: Floats, source: tuple[str, Ints] | None = None) -> dict[str, Any]:
    """The figures of one run, with `failed`, a sentence. source: what filled() gave; None: the events are sent while it runs."""
    before = cluster.topics()
    tag = uuid.uuid4().hex[:8]
    output = topic(cluster, f"crayfish-out-{case.name}-{tag}", setting.partitions)
    read = source[0] if source else topic(cluster, f"crayfish-in-{case.name}-{tag}", setting.partitions)
    folder = Path(tempfile.mkdtemp(prefix=f"crayfish-{case.name}-", dir=SCRATCH))
    load = Load(read, {"count": setting.count(), "partitions": setting.partitions, "format": setting.wire}, expected, {})
    given = variables(case, load, cluster.bootstrap, output, folder, setting.commit_ms)
    given["BENCH_FORMAT"] = "json" if setting.wire == "json" else "avro"
    command = case.command if isinstance(case.command, tuple) else case.command(given)
    program = Program(command, environment(case, given), SCRATCH / f"crayfish-{case.name}.log", cwd=folder)
    try:
        if source is None:
            skip = _ready(cluster, program, setting, read, output)
            sender = crayfish_load.start(cluster.bootstrap, read, folder / "sent", setting.given())
        else:
            skip, sender = 0, None
        looks = _watch(cluster, program, output, setting, skip)
        if sender is not None:
            _finished(sender)
        sent = source[1] if source else np.fromfile(folder / "sent", dtype=np.int64)
        written = cluster.read(output, setting.partitions)
        looks.append(look(cluster, program, output, setting.partitions))
    finally:
        program.end()
        shutil.rmtree(folder, ignore_errors=True)
    cluster.delete(cluster.topics() - before - {"__consumer_offsets", "__transaction_state"})
    found = _figures(looks, written, sent, setting, expected)
    found |= {"case": case.name, "whole_process_cpu_us": program.whole_s / len(sent) * 1e6, "exit": program.ended}
    if found["failed"]:
        print(f"{case.name} failed: {found['failed']}\n{program.words()}", flush=True)
    return found


def _finished(process: subprocess.Popen[bytes]) -> None:
    if process.wait(1800):
        raise RuntimeError("the events could not be sent")


def _ready(cluster: Cluster, program: Program, setting: Setting, source: str, output: str) -> int:
    """Send an event now and then until one is answered, so that the start of a program is no latency. Returns how many were sent."""
    sender = crayfish_load.Sender(cluster.bootstrap, source, setting.given())
    until = time.monotonic() + START_S_MAX
    while time.monotonic() < until and program.alive() and not sum(cluster.ends(output, setting.partitions, committed=True).values()):
        sender.send(0)
        sender.producer.flush(10.0)
        time.sleep(0.5)
    # Each partition once, so that each has been seen, and the answers to all of them behind us.
    for _ in range(setting.partitions):
        sender.send(0)
    sender.producer.flush(10.0)
    until = time.monotonic() + START_S_MAX
    while time.monotonic() < until and program.alive():
        if sum(cluster.ends(output, setting.partitions, committed=True).values()) >= len(sender.created):
            break
        time.sleep(0.1)
    time.sleep(READY_S)
    return len(sender.created)


def _watch(cluster: Cluster, program: Program, output: str, setting: Setting, skip: int) -> list[Look]:
    looks: list[Look] = []
    count, grown_at, seen = setting.count() + skip, time.monotonic(), 0
    while True:
        looks.append(one := look(cluster, program, output, setting.partitions))
        total = sum(one.stable.values())
        if total > seen:
            seen, grown_at = total, one.at_s
        # Markers of transactions take offsets too; without them the last record is the last offset.
        silent_s = one.at_s - grown_at
        if not program.alive() or (total >= count and silent_s > 1.0) or silent_s > START_S_MAX:
            return looks
        if total > skip and silent_s > SILENT_S_MAX:
            return looks
        time.sleep(max(0.0, LOOK_S - (time.monotonic() - one.at_s)))


def _figures(looks: list[Look], written: Written, sent: Ints, setting: Setting, expected: Floats) -> dict[str, Any]:
    appended = np.concatenate([written.timestamps[number] for number in sorted(written.timestamps)] or [np.zeros(0, np.int64)])
    if not len(written):
        return {"failed": "no output"}
    try:
        found = crayfish_wire.answers(written.values, setting.wire)
    except Exception as error:  # noqa: BLE001 — whatever a program wrote, the others go on
        return {"failed": f"the output cannot be read: {type(error).__name__}: {error}"}
    real = found.created_ms > 0  # others only asked whether the program was there
    failed = crayfish_wire.problem(crayfish_wire.Answers(found.created_ms[real], found.numbers[real]), sent, expected)
    out: dict[str, Any] = {"failed": failed, "events": len(sent), "bytes_out": sum(map(len, written.values)) / len(written)}
    if not real.any():
        return {**out, "failed": failed}
    created, appended = found.created_ms[real], appended[real]
    order = np.argsort(appended, kind="stable")
    created, appended = created[order], appended[order]
    kept = int(len(created) * (1 - KEPT))
    out |= _rates(created[kept:], appended[kept:], live=setting.live)
    out |= _cpu(looks, written, appended, kept)
    if setting.live:
        out |= latencies(appended[kept:] - created[kept:])
        out["series"] = (created, appended - created)
    return out


def _rates(created: Ints, appended: Ints, *, live: bool) -> dict[str, float]:
    """rate: outputs a second between the first and the last that are kept; paper_rate: kept / (last output - first kept creation)."""
    spent_s = (appended[-1] - appended[0]) / 1000
    found = {"rate": float((len(appended) - 1) / spent_s) if spent_s > 0 else float("nan")}
    if live:
        found["paper_rate"] = float(len(appended) / ((appended[-1] - created.min()) / 1000))
        # What came in meanwhile: below it, the program kept up and the rate is the sender's.
        found["sent_rate"] = float((len(created) - 1) / max(1e-3, (created.max() - created.min()) / 1000))
    return found


def latencies(ms: Ints) -> dict[str, float]:
    """Of the events kept: the paper's mean, and quantiles."""
    p50, p95, p99 = np.quantile(ms, [0.5, 0.95, 0.99]).tolist()
    return {"mean_ms": float(ms.mean()), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": float(ms.max())}


def _cpu(looks: list[Look], written: Written, appended: Ints, kept: int) -> dict[str, float]:
    """Processor time per event: of those kept, of the last half, of all from the first output on; none where it was too quick."""
    rows = [written.below(one.ends) for one in looks]
    extra = len(written) - len(appended)
    last = next(place for place, row in enumerate(rows) if row >= len(written) or place == len(rows) - 1)
    found = {}
    halves = (("cpu_us", kept + extra), ("last_half_cpu_us", len(appended) // 2 + extra), ("all_cpu_us", extra + 1))
    for name, least in halves:
        first = next((place for place, row in enumerate(rows) if row >= least), last)
        if last - first >= LOOKS_MIN and rows[last] > rows[first]:
            events, seconds = rows[last] - rows[first], looks[last].at_s - looks[first].at_s
            used, broker = looks[last].case_s - looks[first].case_s, looks[last].broker_s - looks[first].broker_s
            found[name] = used / events * 1e6
            if name == "cpu_us":
                machine, own = looks[last].machine_s - looks[first].machine_s, looks[last].own_s - looks[first].own_s
                found |= {"broker_us": broker / events * 1e6, "foreign_cores": max(0.0, machine - used - broker - own) / seconds}
    return found
