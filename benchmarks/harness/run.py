"""run: one case, once: started, watched from outside, ended, its output judged. broker, processes, case, check → *run* → bench."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.broker import SCRATCH, Cluster, Written
from benchmarks.harness.case import Case, Load, environment, variables
from benchmarks.harness.check import problem
from benchmarks.harness.processes import Program, cpu_s, machine_cpu_s

LOOK_S = 0.025
LOOK_SHARE = 0.004  # of the run so far: 250 looks and more, and the last one late by no more than that
SILENT_S = 1.5  # so long without growth, with enough in the topic, and the output is read
GIVE_UP_S = 60.0  # so long without growth while something is missing
START_S_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Look:
    """One moment. Seconds of processor time so far: case, broker, this process, machine. ends, stable: next offsets of the output."""

    at_s: float
    case_s: float
    broker_s: float
    own_s: float
    machine_s: float
    ends: dict[int, int]
    stable: dict[int, int]


def run_case(cluster: Cluster, case: Case, load: Load, commit_ms: int, started: Callable[[Program], None] | None = None) -> dict[str, Any]:
    """The figures of one run; with `failed`, a sentence, where it did not do what it should. started: told of the first output."""
    output = f"bench-{case.name}-{uuid.uuid4().hex[:8]}"
    before = cluster.topics()
    cluster.create(output, load.partitions)
    folder = Path(tempfile.mkdtemp(prefix=f"{case.name}-", dir=SCRATCH))
    given = variables(case, load, cluster.bootstrap, output, folder, commit_ms)
    command = case.command if isinstance(case.command, tuple) else case.command(given)
    log = SCRATCH / f"{case.name}.log"
    program = Program(command, environment(case, given), log, cwd=folder)
    began = time.monotonic()
    try:
        looks, written = _watch(cluster, program, output, load, began, started)
    finally:
        left = program.end()
        shutil.rmtree(folder, ignore_errors=True)
    figures: dict[str, Any] = {"case": case.name, "count": load.count, "left_by_itself": left}
    figures |= {"exit": program.ended, "whole_us": program.whole_s / load.count * 1e6}
    figures["failed"] = problem(written.values, load.format, load.expected, tolerance=load.tolerance)
    if figures["failed"]:
        print(f"{case.name} failed: {figures['failed']}\n{program.words()}", flush=True)
    if len(written):
        figures |= between(looks, written)
        figures["bytes_out"] = sum(map(len, written.values)) / len(written)
    cluster.delete(cluster.topics() - before - {"__consumer_offsets", "__transaction_state"})
    return figures


def look(cluster: Cluster, program: Program, output: str, partitions: int) -> Look:
    """As things stand: the processor times lie between the two answers of the broker."""
    stable = cluster.ends(output, partitions, committed=True)
    times = os.times()
    now = time.monotonic()
    case_s, broker_s, machine_s = program.cpu_s(), cpu_s(cluster.pid), machine_cpu_s()
    ends = cluster.ends(output, partitions)
    return Look(now, case_s, broker_s, times.user + times.system, machine_s, ends, stable)


def _watch(
    cluster: Cluster, program: Program, output: str, load: Load, began: float, started: Callable[[Program], None] | None
) -> tuple[list[Look], Written]:
    """Looks from before the first output to after the last, and all that was written."""
    looks: list[Look] = []
    grown_at, ends = began, 0
    while True:
        seen = look(cluster, program, output, load.partitions)
        total = sum(seen.stable.values())
        looks.append(seen)
        if started is not None and total:
            started(program)
            started = None
        if sum(seen.ends.values()) + total > ends:
            ends, grown_at = sum(seen.ends.values()) + total, seen.at_s
        silent_s = seen.at_s - grown_at
        over = not program.alive() or silent_s > (GIVE_UP_S if total else START_S_MAX)
        # Markers of transactions take offsets too: enough offsets are not yet enough records.
        if over or (total >= load.count and silent_s > SILENT_S):
            written = cluster.read(output, load.partitions)
            if over or len(written) >= load.count:
                return looks, written
            grown_at = time.monotonic() - SILENT_S / 2
        # A look costs the broker a millisecond: the longer a run, the fewer of them a second are needed.
        wait_s = max(LOOK_S, (seen.at_s - began) * LOOK_SHARE) if total else LOOK_S
        time.sleep(max(0.0, wait_s - (time.monotonic() - seen.at_s)))


def between(looks: list[Look], written: Written) -> dict[str, Any]:
    """Figures from the first look with output to the first with all of it; and of the second half of the records."""
    first = next((one for one in looks if written.below(one.ends)), looks[-1])
    last_of = {number: int(offsets[-1]) for number, offsets in written.offsets.items() if len(offsets)}
    last = next((one for one in looks if all(one.stable[n] > end for n, end in last_of.items())), looks[-1])
    half = next((one for one in looks if written.below(one.ends) >= len(written) / 2), last)
    figures = _figures(first, last, len(written) - written.below(first.ends))
    if half.at_s < last.at_s and (rows := len(written) - written.below(half.ends)):
        figures["second_half_cpu_us"] = (last.case_s - half.case_s) / rows * 1e6
    inside = [one for one in looks if first.at_s <= one.at_s <= last.at_s]
    return figures | {"looks": len(inside), "first_output_s": first.at_s - looks[0].at_s}


def _figures(first: Look, last: Look, rows: int) -> dict[str, Any]:
    seconds = last.at_s - first.at_s
    if rows <= 0 or seconds <= 0:
        return {"rows": 0}
    case_s, broker_s = last.case_s - first.case_s, last.broker_s - first.broker_s
    foreign_s = last.machine_s - first.machine_s - case_s - broker_s - (last.own_s - first.own_s)
    return {
        "rows": rows,
        "seconds": seconds,
        "rate": rows / seconds,
        "cpu_us": case_s / rows * 1e6,
        "broker_us": broker_s / rows * 1e6,
        "foreign_cores": max(0.0, foreign_s) / seconds,
        "cores": case_s / seconds,
    }
