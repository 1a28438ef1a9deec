"""ours: the product as a case: a topology in the run's folder, and the command that anybody would type. events → *ours* → case."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.case import Case
from benchmarks.harness.events import AGGREGATES, BIAS, EVENT, INPUTS, LEAN_FIELDS, VALUE, WEIGHTS, WINDOW_MS, WINDOW_WEIGHTS
from stream_infer.models.linear import LinearModel
from stream_infer.models.tensors import write_tensors
from stream_infer.records import Floats

# Another checkout's program, to measure it against this one.
PROGRAM = os.environ.get("STREAM_INFER_PROGRAM") or str(Path(sys.executable).with_name("stream-infer"))
AVRO, JSON = "format: avro", "format: json, framing: bare"
GUARANTEES = {"eo": "exactly_once", "alo": "at_least_once"}
TOPOLOGY = """\
name: {group}
format: 1
streams:
  events: {{topic: {source}, schema: event.avsc, key: user, id: id, event_time: at_ms, partitions: {partitions}, {wire}}}
  scores: {{topic: {out}, partitions: {partitions}, {wire}}}
models:
  scorer: {model}
stages:
{stages}
  score: {{kind: model, from: {scored}, model: scorer}}
  out: {{kind: emit, from: score, to: scores, guarantee: {guarantee}, commit_interval_ms: {commit_ms}{fields}}}
client: {{compression.type: none}}  # as all other cases: librdkafka's own default; ours is lz4
"""
WIDTHS = (32, 128, 64, 1)  # of the net, from its inputs to its answer
ASKED = tuple(range(6, 15))  # numbers of windows whose absence is an input of the net, too
Parts = Callable[[Path], dict[str, str]]  # writes a model into the folder, gives the topology's parts: model, stages, scored


def case(name: str, title: str, guarantee: str, parts: Parts, *, lean: bool = False, **others: Any) -> Case:
    """guarantee: eo | alo. lean: predictions hold what the other cases write, and no more."""
    def command(given: Mapping[str, str]) -> tuple[str, ...]:
        path = write_topology(
            Path(given["BENCH_FOLDER"]),
            parts,
            group=given["BENCH_GROUP"],
            source=given["BENCH_IN"],
            out=given["BENCH_OUT"],
            partitions=int(given["BENCH_PARTITIONS"]),
            commit_ms=int(given["BENCH_COMMIT_MS"]),
            guarantee=given["BENCH_GUARANTEE"],
            wire=AVRO if given["BENCH_FORMAT"] == "avro" else JSON,
            lean=lean,
        )
        return PROGRAM, "run", str(path), "--bootstrap", given["BENCH_BOOTSTRAP"]

    return Case(name, title, command, GUARANTEES[guarantee], ours=True, **others)


def write_topology(
    folder: Path,
    parts: Parts,
    *,
    group: str,
    source: str,
    out: str,
    partitions: int,
    commit_ms: int = 100,
    guarantee: str = "exactly_once",
    wire: str = AVRO,
    lean: bool = False,
) -> Path:
    """The topology in the folder, with its schema and its model. lean: as case()."""
    (folder / "event.avsc").write_text(EVENT)
    fields = f", fields: [{', '.join(LEAN_FIELDS)}]" if lean else ""
    path = folder / "topology.yaml"
    path.write_text(
        TOPOLOGY.format(
            group=group,
            source=source,
            out=out,
            partitions=partitions,
            commit_ms=commit_ms,
            guarantee=guarantee,
            wire=wire,
            fields=fields,
            **parts(folder),
        )
    )
    return path


def linear(folder: Path) -> dict[str, str]:
    """score = bias + Σ weights · x."""
    columns = tuple(f"x{i}" for i in range(INPUTS))
    _write_linear(folder, WEIGHTS, columns)
    return {"model": _model(columns), "stages": "", "scored": "events"}


def windowed(shape: str) -> Parts:
    """score = bias + Σ weights · numbers of the windows, all of which are missing for a key's first event."""

    def parts(folder: Path) -> dict[str, str]:
        columns = window_columns()
        _write_linear(folder, WINDOW_WEIGHTS, columns)
        inputs = ", ".join(f"{{name: {name}, missing: 0}}" for name in columns)
        model = f"{{kind: linear, artifact: score.safetensors, inputs: [{inputs}]}}"
        return {"model": model, "stages": _features(shape), "scored": "known"}

    return parts


def network_weights() -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Layers of an MLP 32-128-64-1, drawn once and for all; the first makes up for the size of sums and counts."""
    draw = np.random.default_rng(1)
    layers = [(draw.normal(size=(out, into)) / np.sqrt(into), draw.normal(size=out) / 10) for into, out in pairwise(WIDTHS)]
    return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers]


def network_scale() -> NDArray[np.float32]:
    """float32[32]: what each input is divided by."""
    of_window = {"count": 100.0, "sum": 100.0, "mean": 8.0, "min": 8.0, "max": 8.0}
    return np.array([of_window[name] for _ in WINDOW_MS for name in AGGREGATES] + [8.0] * INPUTS + [1.0] * len(ASKED), dtype=np.float32)


def network(folder: Path) -> dict[str, str]:
    """The whole path: sliding windows, and a torch MLP on their 15 numbers, the event's own 8, and which of 9 were missing."""
    names, own = window_columns(), tuple(f"x{i}" for i in range(INPUTS))
    asked = [names[place] for place in ASKED]
    tensors: dict[str, NDArray[Any]] = {"mean": np.zeros(WIDTHS[0], dtype=np.float32), "scale": network_scale()}
    for number, (weight, bias) in enumerate(network_weights()):
        tensors |= {f"layers.{number}.weight": weight, f"layers.{number}.bias": bias}
    inputs = [f"{{name: {name}, missing: 0}}" for name in names] + list(own) + [f"{{is_missing: {name}}}" for name in asked]
    columns = [*names, *own, *(f"{name}?" for name in asked)]
    data = write_tensors(tensors, {"columns": json.dumps(columns), "widths": json.dumps(WIDTHS)})
    (folder / "net.safetensors").write_bytes(data)
    model = f"{{kind: torch, artifact: net.safetensors, inputs: [{', '.join(inputs)}]}}"
    return {"model": model, "stages": _features("sliding"), "scored": "known"}


def window_columns() -> tuple[str, ...]:
    """Window by window: count_60s, sum_60s, …"""
    return tuple(f"{aggregate}_{window // 1000}s" for window in WINDOW_MS for aggregate in AGGREGATES)


def _features(shape: str) -> str:
    lines = ["  known:", "    kind: features", "    from: events", "    group_by: user", "    values:"]
    for window in WINDOW_MS:
        for aggregate in AGGREGATES:
            what = "count: true" if aggregate == "count" else f"{aggregate}: {VALUE}"
            lines.append(f"      {aggregate}_{window // 1000}s: {{{what}, window_s: {window // 1000}, shape: {shape}}}")
    return "\n".join(lines)


def _model(columns: tuple[str, ...]) -> str:
    return f"{{kind: linear, artifact: score.safetensors, inputs: [{', '.join(columns)}]}}"


def _write_linear(folder: Path, weights: Floats, columns: tuple[str, ...]) -> None:
    wide = len(columns)
    model = LinearModel(weights.reshape(-1, 1), np.array([BIAS]), np.zeros(wide), np.ones(wide), "identity", columns)
    (folder / "score.safetensors").write_bytes(model.to_bytes())
