"""batching: the latency of the work-conserving rule, measured, simulated and bounded by theory.

`python -m benchmarks.batching [--seconds 4]`. Rows come at random (Poisson) to the forwarder that production uses, those that are due at
one look in one forward. Its model sleeps 2 ms + 0.05 ms a row, so that what is measured is the rule and not this machine's arithmetic.
The simulation gets the same arrivals and the curve as it was timed before; `as lived` gets the moments at which rows were really asked
and the curve that the passes of the run made of it, for on a busy machine nobody wakes up in time. The bound is Inoue's (2019), for
batches without a limit. A rule that waits is simulated beside: a pass leaves when its oldest row has waited 10 ms, or at 128 rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from stream_infer.batching import ROWS_MAX, CostCurve
from stream_infer.batching.curve import LiveCurve
from stream_infer.batching.queueing import mean_latency_bound_of, simulate
from stream_infer.edge.workers import InProcess
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.notices import ForwardDone
from stream_infer.records import Floats, Matrix

FIXED_S, PER_ROW_S = 2e-3, 5e-5
LOADS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)
RUNS = 3
LIMIT, WAIT_S = 128, 10e-3
LOOK_S = 1e-4  # between two looks at the clock and at the answers
RESULTS = Path(__file__).parent / "results"


class Sleeper:
    """Takes 2 ms and 0.05 ms for each row."""

    columns, outputs, digest = ("x",), 1, ""

    def forward(self, x: Matrix) -> Floats:
        time.sleep(FIXED_S + PER_ROW_S * len(x))
        return x.astype(np.float64)


def timed_curve() -> CostCurve:
    model, samples = Sleeper(), []
    for rows in (1, 4, 16, 64, 256, 1024):
        for _ in range(12):
            began = time.perf_counter()
            model.forward(np.zeros((rows, 1), dtype=np.float32))
            samples.append((rows, time.perf_counter() - began))
    return CostCurve.fit(samples)


def measured(arrivals: Floats, start: CostCurve) -> dict[str, float]:
    """Mean and tail in ms of rows that are due at `arrivals` (s); rows per pass; ms by which rows were asked late; and as lived."""
    forwarder = InProcess({"sleeper": Sleeper()})
    latency, behind, passes = np.empty(len(arrivals)), np.empty(len(arrivals)), []
    lived = LiveCurve(start)
    began, asked, answered = time.perf_counter() + 0.05, 0, 0
    while answered < len(arrivals):
        now = time.perf_counter() - began
        due = int(np.searchsorted(arrivals, now, side="right"))
        if due > asked:
            matrix = np.zeros((due - asked, 1), dtype=np.float32)
            forwarder.submit(Forward(asked, "sleeper", 0, matrix, Together(ROWS_MAX, "full")))
            behind[asked:due] = now - arrivals[asked:due]
            asked = due
        answers = forwarder.finished(0)
        now = time.perf_counter() - began
        for answer in answers:
            assert isinstance(answer, ForwardDone)
            rows = slice(answer.job, answer.job + len(answer.outputs))
            latency[rows] = now - arrivals[rows]
            answered += len(answer.outputs)
            if answer.passed is not None:
                passes.append(answer.passed.rows)
                lived.passed(answer.passed.rows, answer.passed.seconds)
        time.sleep(LOOK_S)
    forwarder.close()
    kept = latency[len(latency) // 10 :]
    estimate = lived.curve().estimate
    again = simulate(arrivals + behind, lambda rows, _: estimate(rows), ROWS_MAX).latency
    return {
        "asked_mean_ms": 1e3 * float((kept - behind[len(latency) // 10 :]).mean()),
        "lived_ms": 1e3 * float(again[len(latency) // 10 :].mean()),
        "mean_ms": 1e3 * float(kept.mean()),
        "p99_ms": 1e3 * float(np.quantile(kept, 0.99)),
        "rows_per_pass": statistics.fmean(passes),
        "behind_p99_ms": 1e3 * float(np.quantile(behind, 0.99)),
    }


def waiting_mean_ms(arrivals: Floats, curve: CostCurve) -> float:
    """The rule with a timer on the oldest row's age and a limit, simulated."""
    free, begin, total = 0.0, 0, 0.0
    while begin < len(arrivals):
        full = float(arrivals[begin + LIMIT - 1]) if begin + LIMIT <= len(arrivals) else float("inf")
        start = max(free, min(float(arrivals[begin]) + WAIT_S, full))
        end = min(int(np.searchsorted(arrivals, start, side="right")), begin + LIMIT)
        free = start + curve.estimate(end - begin)
        total += float((free - arrivals[begin:end]).sum())
        begin = end
    return 1e3 * total / len(arrivals)


def main() -> None:
    wanted = argparse.ArgumentParser(description="The latency of the work-conserving rule against theory.")
    wanted.add_argument("--seconds", type=float, default=4.0, help="of each run (default: %(default)s)")
    wanted.add_argument("--out", type=Path, default=RESULTS / "batching.json")
    given = wanted.parse_args()
    curve = timed_curve()
    rows: list[dict[str, Any]] = []
    heads = ["load", "rows/s", "measured mean ms", "simulated", "bound", "measured / bound", "since asked", "as lived"]
    heads += ["p99", "rows a pass", "behind p99", "with a timer of 10 ms"]
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    for load in LOADS:
        rate = load / PER_ROW_S
        runs = []
        for run in range(RUNS):
            arrivals = np.cumsum(np.random.default_rng(run).exponential(1 / rate, max(int(rate * given.seconds), 500)))
            simulated = simulate(arrivals, lambda rows, _: curve.estimate(rows), ROWS_MAX).latency
            runs.append(measured(arrivals, curve) | {"simulated_ms": 1e3 * float(simulated[len(simulated) // 10 :].mean())})
            runs[-1]["timer_ms"] = waiting_mean_ms(arrivals, curve)
        bound = 1e3 * mean_latency_bound_of(rate, np.array(curve.sizes, dtype=np.float64), np.array(curve.seconds))
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        rows.append({"load": load, "rate": rate, "bound_ms": bound, "median": middle, "runs": runs})
        told = [middle["mean_ms"], middle["simulated_ms"], bound, middle["mean_ms"] / bound]
        told += [middle[name] for name in ("asked_mean_ms", "lived_ms", "p99_ms", "rows_per_pass", "behind_p99_ms", "timer_ms")]
        cells = " | ".join(f"{value:.2f}" for value in told)
        print(f"| {load:g} | {rate:,.0f} | {cells} |", flush=True)
    given.out.parent.mkdir(exist_ok=True)
    result = {"benchmark": "batching", "curve": {"sizes": curve.sizes, "seconds": curve.seconds}, "loads": rows}
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
