"""workers: rows per second of a net by who runs it: a thread, processes, more threads a pass, fewer bits.

`python -m benchmarks.workers [--seconds 2] [--rows 256]`. Passes of `rows` rows are asked through the forwarder that production
uses, IN_FLIGHT at a time, so what is measured includes handing rows over and back. A small net (32-128-64-1) and a large one
(64-1024-1024-4). Three rounds over all variants, the median counts. `main` is the processor time of the asking process: with a thread
the net's own is in it, with a process what is left for reading and encoding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from stream_infer.edge.model_processes import ModelProcesses
from stream_infer.edge.workers import InProcess
from stream_infer.features.settings import Input
from stream_infer.flow.commands import Forward
from stream_infer.flow.notices import ForwardDone
from stream_infer.models.settings import ModelSettings, WorkerSettings
from stream_infer.models.torch_model import Mlp

NETS = {"small": [32, 128, 64, 1], "large": [64, 1024, 1024, 4]}
VARIANTS: dict[str, dict[str, Any]] = {
    "thread": {},
    "thread, bfloat16": {"precision": "bfloat16"},
    "thread, int8": {"precision": "int8"},
    "thread, 2 threads a pass": {"workers": WorkerSettings(threads=2)},
    "2 threads": {"workers": WorkerSettings(count=2)},
    "process": {"workers": WorkerSettings(where="process")},
    "process, bfloat16": {"workers": WorkerSettings(where="process"), "precision": "bfloat16"},
    "2 processes": {"workers": WorkerSettings(where="process", count=2)},
}
IN_FLIGHT = 4
ROUNDS = 3
RESULTS = Path(__file__).parent / "results"


def saved(widths: list[int]) -> bytes:
    torch.manual_seed(1)
    columns = [f"x{number}" for number in range(widths[0])]
    return safetensors.torch.save(Mlp(widths).state_dict(), metadata={"columns": json.dumps(columns), "widths": json.dumps(widths)})


def measured(settings: ModelSettings, data: bytes, rows: int, seconds: float) -> dict[str, float]:
    """Rows per second; ms of a pass, median; processor time of this process in µs a row; seconds until all was loaded."""
    began = time.perf_counter()
    processes = ModelProcesses({"net": settings})
    try:
        forwarder = InProcess(processes.start({"net": data}, {}), keepers=processes.keepers)
        loaded_s = time.perf_counter() - began
        x = np.random.default_rng(1).normal(size=(rows, len(settings.inputs))).astype(np.float32)
        job, flying, took = 0, 0, []

        def turn(until: float) -> int:
            nonlocal job, flying
            done = 0
            while time.perf_counter() < until or flying:
                while flying < IN_FLIGHT and time.perf_counter() < until:
                    job, flying = job + 1, flying + 1
                    forwarder.submit(Forward(job, "net", 0, x))
                for answer in forwarder.finished(50):
                    assert isinstance(answer, ForwardDone), answer
                    flying -= 1
                    done += len(answer.outputs)
                    took.append(answer.seconds)
            return done

        turn(time.perf_counter() + seconds / 4)
        took.clear()
        began, busy = time.perf_counter(), time.process_time()
        done = turn(began + seconds)
        wall, busy = time.perf_counter() - began, time.process_time() - busy
        return {
            "rows_per_s": done / wall,
            "pass_ms": 1e3 * statistics.median(took),
            "main_us_a_row": 1e6 * busy / done,
            "loaded_s": loaded_s,
        }
    finally:
        processes.close()


def main() -> None:
    wanted = argparse.ArgumentParser(description="Rows per second of a net by who runs it.")
    wanted.add_argument("--seconds", type=float, default=2.0, help="of each run (default: %(default)s)")
    wanted.add_argument("--rows", type=int, default=256, help="of each pass (default: %(default)s)")
    wanted.add_argument("--out", type=Path, default=RESULTS / "workers.json")
    given = wanted.parse_args()
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    files = {name: saved(widths) for name, widths in NETS.items()}
    for _ in range(ROUNDS):
        for net, widths in NETS.items():
            plain = ModelSettings("net", "torch", tuple(Input(f"x{n}") for n in range(widths[0])), artifact="net.safetensors")
            for variant, changed in VARIANTS.items():
                found.setdefault((net, variant), []).append(measured(replace(plain, **changed), files[net], given.rows, given.seconds))
    print("| net | run by | rows/s | against a thread | pass ms | main µs a row | loaded in s |\n|---|---|---|---|---|---|---|")
    table = []
    for (net, variant), runs in found.items():
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        against = middle["rows_per_s"] / statistics.median(run["rows_per_s"] for run in found[net, "thread"])
        table.append({"net": NETS[net], "run_by": variant, "against_a_thread": against, "median": middle, "runs": runs})
        told = f"{middle['rows_per_s']:,.0f} | {against:.2f} | {middle['pass_ms']:.2f} | {middle['main_us_a_row']:.2f}"
        told += f" | {middle['loaded_s']:.1f}"
        print(f"| {net} {'-'.join(map(str, NETS[net]))} | {variant} | {told} |")
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(json.dumps({"benchmark": "workers", "rows": given.rows, "table": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
