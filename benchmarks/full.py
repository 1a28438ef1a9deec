"""Full: the whole path in one process: windows by key, a torch MLP 32-128-64-1, predictions, changelog; and where its time goes.

    python -m benchmarks.full --n 500000

The first table is events per second and processor time per event, answers held to numpy. The second says what each step of it costs:
Python's threads are sampled (py-spy; the innermost frame of ours decides the step) and the processor time of each is split by its own
samples; that of librdkafka's threads is the kernel's own account of them. The steps add up to the whole.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import environments, events, ours, window_oracle
from benchmarks.harness.bench import RESULTS, machine
from benchmarks.harness.broker import SCRATCH, Cluster, cluster
from benchmarks.harness.case import Load
from benchmarks.harness.preload import fill, made
from benchmarks.harness.processes import TICKS, Program
from benchmarks.harness.run import run_case
from stream_infer.records import Floats

GIVEN = {"keys": 100_000, "zipf": 1.1, "per_second": 100.0}
TOLERANCE = 2e-4  # three layers of float32 in another order of adding
# The first that fits the module of the innermost frame of ours.
STEPS = (
    ("read", r"edge/kafka_(consume|columns|native_inbox)"),
    ("write and commit", r"edge/kafka"),
    ("decode", r"codec/(.*decode|avro_read|avro_cursor|framing|resolution|rows|avro_row\b)"),
    ("encode", r"codec/"),
    ("windows", r"features/(?!vectorise)"),
    ("model", r"models/|edge/(workers|passes|pool)|batching|vectorise"),
    ("state", r"state\.py|flow/(committing|keeping|restoring|standby)"),
    ("flow", r"flow/|decide/|records\.py|hashing\.py"),
    ("host", r"edge/|cli"),
)


def expected(of: events.Events) -> Floats:
    """float64[count]: numpy's answer of the same net to the oracle's windows."""
    width = np.array(events.WINDOW_MS, dtype=np.int64)
    hops = np.full_like(width, window_oracle.HOPS)
    windows = window_oracle.numbers(of.user, of.at_ms, of.x[:, 0].copy(), -(-width // window_oracle.HOPS), hops, False)
    # Of an empty window nothing but the count is known; a sum over nothing is nothing, too.
    absent = np.repeat(windows[:, ::5] == 0, 5, axis=1)
    absent[:, 0::5] = absent[:, 1::5] = False
    x = np.concatenate([windows, of.x, absent[:, ours.ASKED]], axis=1) / ours.network_scale()
    layers = ours.network_weights()
    for place, (weight, bias) in enumerate(layers):
        x = x @ weight.T.astype(np.float64) + bias
        x = np.maximum(x, 0) if place < len(layers) - 1 else x
    answers: Floats = x[:, 0]
    return answers


class Profile:
    """py-spy on all Python threads, and the kernel's account of every thread, from the first output on.

    samples: by thread, how often each step was seen; used_s: by thread, its kernel name and processor seconds.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.samples: dict[int, Counter[str]] = {}
        self.used_s: dict[int, tuple[str, float]] = {}
        self.lines: Counter[str] = Counter()

    def __call__(self, program: Program) -> None:
        pyspy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or _installed()
        if pyspy is None:
            raise SystemExit("py-spy cannot be installed here")
        file = SCRATCH / "full.profile"
        file.unlink(missing_ok=True)
        command = [pyspy, "record", "--pid", str(program.pid), "--rate", "200", "--threads", "--nonblocking", "--format", "raw"]
        with subprocess.Popen([*command, "--output", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
            time.sleep(0.3)
            before = _threads(program.pid)
            time.sleep(self._seconds)
            after = _threads(program.pid)
            spy.send_signal(signal.SIGINT)
        self.used_s = {tid: (name, seconds - before.get(tid, ("", 0.0))[1]) for tid, (name, seconds) in after.items()}
        for line in file.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            thread, *frames = stack.split(";")
            frame = next((frame for frame in reversed(frames) if "stream_infer/" in frame), "")
            tid = int(re.findall(r"\((?:0x)?\w+\)", thread)[0].strip("()"), 0)
            self.samples.setdefault(tid, Counter())[_step(frame)] += int(count)
            self.lines[frame] += int(count)


def _installed() -> str | None:
    python = environments.ready("profile")
    return None if python is None else str(python.with_name("py-spy"))


def _threads(pid: int) -> dict[int, tuple[str, float]]:
    """Name and processor seconds of each thread."""
    found: dict[int, tuple[str, float]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        found[int(task.name)] = name, sum(map(int, text.rpartition(")")[2].split()[11:13])) / TICKS
    return found


def _step(frame: str) -> str:
    file = re.search(r"stream_infer/([\w/]+\.py|[\w/]+)", frame)
    return next((name for name, pattern in STEPS if file and re.search(pattern, file[1])), "other")


def steps(profile: Profile, cpu_us: float) -> list[tuple[str, float]]:
    """µs per event of each step, the largest first; their sum is cpu_us. A thread's time goes to steps as its own samples do."""
    all_s = sum(seconds for _, seconds in profile.used_s.values())
    found: dict[str, float] = {}
    for tid, (name, seconds) in profile.used_s.items():
        unseen = "librdkafka threads" if name.startswith("rdk") else "other threads"
        seen = profile.samples.get(tid) or Counter({unseen: 1})
        for step, count in seen.items():
            found[step] = found.get(step, 0.0) + seconds / all_s * cpu_us * count / seen.total()
    return sorted(found.items(), key=lambda pair: -pair[1])


def measure(broker: Cluster, wanted: argparse.Namespace) -> dict[str, Any]:
    given = {"count": wanted.n, "format": "avro", "partitions": 4, **GIVEN}
    load = Load(fill(broker, given), given, expected(made(given)), events.spec(windows=True), TOLERANCE)
    result: dict[str, Any] = {}
    for guarantee in ("eo", "alo"):
        case = ours.case(f"full-{guarantee}", f"stream-infer, the whole path, {ours.GUARANTEES[guarantee]}", guarantee, ours.network)
        runs = [run_case(broker, case, load, wanted.commit_ms) for _ in range(wanted.repeats)]
        good = [run for run in runs if not run["failed"] and "cpu_us" in run]
        row: dict[str, Any] = {"title": case.title, "failed": next((run["failed"] for run in runs if run["failed"]), ""), "runs": runs}
        row |= {name: statistics.median(run[name] for run in good) for name in ("rate", "cpu_us", "broker_us", "whole_us") if good}
        result[guarantee] = row
        said = row["failed"] or f"{row.get('rate', 0):,.0f}/s, {row.get('cpu_us', 0):.2f} µs/event"
        print(f"{case.title}: {said}", flush=True)
    profile = Profile(wanted.profile_s)
    case = ours.case("full-profile", "profile", "eo", ours.network)
    run_case(broker, case, load, wanted.commit_ms, profile)
    result["steps"] = steps(profile, result["eo"].get("cpu_us", 0.0))
    result["places"] = profile.lines.most_common(25)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="the whole path in one process")
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--commit-ms", type=int, default=500)
    parser.add_argument("--profile-s", type=float, default=3.0, help="how long to sample; the run must last longer (default: %(default)s)")
    parser.add_argument("--broker-folder", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "full.json")
    wanted = parser.parse_args()
    with cluster(wanted.broker_folder) as broker:
        found = measure(broker, wanted)
    print("\n| | events/s | CPU µs/event | whole µs | broker µs |\n|---|---:|---:|---:|---:|")
    for guarantee in ("eo", "alo"):
        row = found[guarantee]
        figures = [
            f"{row[name]:,.{digits}f}" for name, digits in (("rate", 0), ("cpu_us", 2), ("whole_us", 2), ("broker_us", 2)) if name in row
        ]
        print(f"| {row['title']} | {' | '.join(figures) or row['failed'] or 'too few looks: take more records'} |")
    print("\n| step | µs/event | share |\n|---|---:|---:|")
    total = sum(cost for _, cost in found["steps"])
    for name, cost in found["steps"]:
        print(f"| {name} | {cost:.2f} | {cost / total:.0%} |")
    print(f"| sum | {total:.2f} | |")
    result = {"benchmark": "full", "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "n": wanted.n, **found}
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(found[guarantee]["failed"] for guarantee in ("eo", "alo")))


if __name__ == "__main__":
    sys.exit(main())
