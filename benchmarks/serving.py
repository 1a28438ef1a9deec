"""Serving: 1, 2 and 4 small nets behind one worker, each row answered by one of them. Ours beside Ray Serve and LitServe, from one topic.

    python -m benchmarks.serving                                    throughput and latency, three repeats
    python -m benchmarks.serving --models 4 --cases ours-eo,litserve --repeats 1

The nets are MLPs 8-64-64-1 with weights of their own; x0 says which one answers. Peers compute them in numpy, ours in torch. A row is a
request of its own to Ray Serve (a handle within its cluster) and to LitServe (HTTP), whose batching then puts rows together: that is what
they are for. Processor time is that of the whole tree of processes. Latency: an open-loop generator at a low rate, until a
read_committed consumer has the answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import environments, events, ours
from benchmarks.harness.bench import RESULTS, machine, selected
from benchmarks.harness.broker import Cluster, cluster
from benchmarks.harness.case import Case, Load
from benchmarks.harness.delay import started
from benchmarks.harness.peers import SHARED
from benchmarks.harness.preload import fill, made
from benchmarks.harness.run import run_case
from stream_infer.models.tensors import write_tensors
from stream_infer.records import Floats

MODELS = (1, 2, 4)
WIDTHS = (events.INPUTS, 64, 64, 1)
TOLERANCE = 1e-3  # float32, summed in other orders
WAKE_COUNT = 200


def nets(count: int) -> list[list[tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """Layers (weight, bias) of each net, drawn once and for all."""
    draw = np.random.default_rng(5)
    found = []
    for _ in range(count):
        layers = [(draw.normal(size=(out, into)) / np.sqrt(into), draw.normal(size=out) / 10) for into, out in pairwise(WIDTHS)]
        found.append([(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers])
    return found


def edges(count: int) -> list[float]:
    """Net i answers where edges[i - 1] ≤ x0 < edges[i]; x0 lies evenly between -8 and 8."""
    return [16.0 * place / count - 8.0 for place in range(1, count)]


def expected(of: events.Events, count: int) -> Floats:
    """float64[rows]: what numpy says."""
    which, out = np.searchsorted(edges(count), of.x[:, 0], side="right"), np.empty(len(of))
    for net, layers in enumerate(nets(count)):
        hidden = of.x[which == net]
        for place, (weight, bias) in enumerate(layers):
            hidden = hidden @ weight.T.astype(np.float64) + bias
            hidden = np.maximum(hidden, 0) if place < len(layers) - 1 else hidden
        out[which == net] = hidden[:, 0]
    return out


def spec(count: int) -> dict[str, object]:
    """What BENCH_SPEC holds."""
    weights = [[(weight.tolist(), bias.tolist()) for weight, bias in net] for net in nets(count)]
    return {**events.spec(), "nets": weights, "edges": edges(count)}


def parts(count: int) -> ours.Parts:
    """The topology's parts: the nets, and a route among them."""

    def made(folder: Path) -> dict[str, str]:
        columns = [f"x{i}" for i in range(events.INPUTS)]
        models = []
        for number, net in enumerate(nets(count)):
            zeros, ones = np.zeros(WIDTHS[0], dtype=np.float32), np.ones(WIDTHS[0], dtype=np.float32)
            tensors: dict[str, NDArray[Any]] = {"mean": zeros, "scale": ones}
            for place, (weight, bias) in enumerate(net):
                tensors |= {f"layers.{place}.weight": weight, f"layers.{place}.bias": bias}
            name = f"net{number}.safetensors"
            (folder / name).write_bytes(write_tensors(tensors, {"columns": json.dumps(columns), "widths": json.dumps(WIDTHS)}))
            models.append(f"{{kind: torch, artifact: {name}, inputs: [{', '.join(columns)}]}}")
        if count == 1:
            return {"model": models[0], "stages": "", "scored": "events"}
        when = ", ".join(f"{{where: x0 < {edge:g}, use: net{number}}}" for number, edge in enumerate(edges(count)))
        route = f"{{kind: route, when: [{when}], otherwise: net{count - 1}}}"
        return {"model": "\n  ".join([route, *(f"net{n}: {model}" for n, model in enumerate(models))]), "stages": "", "scored": "events"}

    return made


def cases(count: int) -> list[Case]:
    """All programs with so many nets."""
    found = [
        ours.case("ours-eo", "stream-infer, exactly once", "eo", parts(count), lean=True),
        ours.case("ours-alo", "stream-infer, at least once", "alo", parts(count), lean=True),
    ]
    for name, title in (("ray", "Ray Serve, @serve.batch"), ("litserve", "LitServe, batching")):
        command = (environments.python_of(name), str(environments.PEERS / name / "serving.py"))
        found.append(Case(name, title, command, environment=SHARED, peer=name, share=0.02))
    return found


def measure(broker: Cluster, wanted: argparse.Namespace, count: int) -> list[dict[str, Any]]:
    """Rows of the table for so many nets."""
    chosen = selected(cases(count), wanted.cases)
    chosen = [replace(case, absent=environments.absent(case.peer) if case.peer else None) for case in chosen]
    runs: dict[str, list[dict[str, Any]]] = {case.name: [] for case in chosen}
    for turn in range(wanted.repeats):
        for case in chosen[turn % len(chosen) :] + chosen[: turn % len(chosen)]:
            if case.absent is None:
                runs[case.name].append(once(broker, wanted, case, count))
    return [row(case, count, runs[case.name]) for case in chosen]


def once(broker: Cluster, wanted: argparse.Namespace, case: Case, count: int) -> dict[str, Any]:
    """One run for throughput, one for latency."""
    given = {"count": max(1000, round(wanted.n * case.share)), "format": "avro", "partitions": wanted.partitions}
    load = Load(fill(broker, given), given, expected(made(given), count), spec(count), TOLERANCE)
    found = run_case(broker, case, load, wanted.commit_ms)
    with started(broker, case, "avro", spec(count), wanted, lambda of: expected(of, count), TOLERANCE) as phases:
        phases.phase("wake", 100.0, WAKE_COUNT)
        delay = phases.phase("low", wanted.rate, round(wanted.rate * wanted.seconds))
    found |= {"failed": found["failed"] or delay["failed"], "delay": delay}
    if not delay["failed"] and delay["valid"]:
        found |= {name: delay[name] for name in ("p50", "p99")}
    said = found["failed"] or f"{found.get('rate', 0):,.0f}/s, {found.get('cpu_us', 0):.1f} µs/event, p99 {found.get('p99', 0):.1f} ms"
    print(f"{count} models, {case.title}: {said}", flush=True)
    return found


def row(case: Case, count: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the runs; none where one was wrong."""
    found: dict[str, Any] = {"case": case.name, "title": case.title, "models": count, "absent": case.absent, "runs": runs}
    found["failed"] = next((run["failed"] for run in runs if run["failed"]), "")
    if not found["failed"]:
        for name in ("rate", "cpu_us", "p50", "p99", "foreign_cores"):
            if known := [run[name] for run in runs if name in run]:
                found[name] = statistics.median(known)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="several models behind one worker")
    parser.add_argument("--models", type=int, nargs="*", default=list(MODELS))
    parser.add_argument("--cases", help="only these, comma-separated; a name that ends in * means all that begin so")
    parser.add_argument("--n", type=int, default=500_000, help="records of ours; the servers get a fiftieth (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100.0, help="of the latency's generator, records/s (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of it (default: %(default)s)")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--commit-ms", type=int, default=100)
    parser.add_argument("--broker-folder", type=Path)
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    with cluster(wanted.broker_folder) as broker:
        rows = [row for count in wanted.models for row in measure(broker, wanted, count)]
    print("\n| models | case | events/s | CPU µs/event | p50 ms | p99 ms |\n|---:|---|---:|---:|---:|---:|")
    shown = (("rate", 0), ("cpu_us", 1), ("p50", 1), ("p99", 1))
    for one in rows:
        figures = [f"{one[name]:,.{digits}f}" if name in one else "" for name, digits in shown]
        print(f"| {one['models']} | {one['title']} | {' | '.join(figures)} |" + (one["absent"] or one["failed"] or ""))
    result = {"benchmark": "serving", "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "rows": rows}
    result |= {"n": wanted.n, "rate": wanted.rate, "commit_ms": wanted.commit_ms}
    path = wanted.out or (RESULTS / "serving.json" if not wanted.cases else None)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(one["failed"] for one in rows))


if __name__ == "__main__":
    sys.exit(main())
