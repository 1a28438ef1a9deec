"""Swaps: how late answers are while versions of the model are swapped, beside the same load without swaps. Open loop, exactly once.

    python -m benchmarks.swap                        500 rows a second, 20 s a phase, a swap a second, three pairs of phases
    python -m benchmarks.swap --rate 2000 --seconds 10 --pairs 1

A row is due at a moment that was fixed beforehand and carries it as its event time; its delay ends when a read_committed consumer has the
answer. Phases with and without swaps alternate, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Producer

from stream_infer.cli import load_plan
from stream_infer.edge import devbroker
from stream_infer.edge.control import Control
from stream_infer.edge.publishing import Origin, prepare
from stream_infer.edge.topics import create_topics
from stream_infer.models.linear import LinearModel
from stream_infer.models.rollout import PROMOTE, Change

WIDTH = 16
SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at_ms", "type": "long"},
        *({"name": f"x{i}", "type": "double"} for i in range(WIDTH)),
    ],
}
TOPOLOGY = """
name: swap
format: 1
streams:
  rows: {{topic: rows, schema: row.avsc, key: id, id: id, event_time: at_ms, partitions: 2, format: json, framing: bare}}
  answers: {{topic: answers, partitions: 2, format: json, framing: bare}}
models:
  one: {{kind: linear, artifact: v0.safetensors, inputs: [{inputs}], versions_kept: 1}}
stages:
  score: {{kind: model, from: rows, model: one}}
  out: {{kind: emit, from: score, to: answers, fields: [prediction_id, event_time, model_version], commit_interval_ms: 50}}
"""


def artifact(folder: Path, version: int) -> str:
    weights = np.full((WIDTH, 1), 0.1 * (version + 1))
    columns = tuple(f"x{i}" for i in range(WIDTH))
    model = LinearModel(weights, np.zeros(1), np.zeros(WIDTH), np.ones(WIDTH), "identity", columns)
    (folder / f"v{version}.safetensors").write_bytes(model.to_bytes())
    return f"v{version}.safetensors"


class Reader(threading.Thread):
    """delays: (due ms, delay ms, version) of every answer."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(daemon=True)
        config = {"bootstrap.servers": bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"}
        self._consumer = Consumer(config | {"fetch.wait.max.ms": 5, "isolation.level": "read_committed"})
        self._consumer.subscribe(["answers"])
        self.delays: list[tuple[float, float, str]] = []
        self.stop = False

    def run(self) -> None:
        while not self.stop:
            for message in self._consumer.consume(1000, 0.01):
                if message.error() is None:
                    now, row = time.time() * 1000, json.loads(message.value() or b"{}")
                    self.delays.append((row["event_time"], now - row["event_time"], row["model_version"]))
        self._consumer.close()


def send(bootstrap: str, rate: float, seconds: float, first: int) -> tuple[int, float]:
    """(the number after the last row, ms by which the generator itself was late at worst)."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": 1})
    values = {f"x{i}": 0.5 for i in range(WIDTH)}
    begin, count, worst = time.time(), int(rate * seconds), 0.0
    for number in range(count):
        due = begin + number / rate
        while (now := time.time()) < due:
            time.sleep(min(0.001, due - now))
        worst = max(worst, (now - due) * 1000)
        key = f"r{first + number}"
        producer.produce("rows", key=key, value=json.dumps({"id": key, "at_ms": int(due * 1000), **values}))
        producer.poll(0)
    producer.flush(10)
    return first + count, worst


def swapping(control: Control, plan: object, folder: Path, stop: threading.Event, made: list[int]) -> None:
    while not stop.wait(max(0.0, 1.0 - time.time() % 1.0)):
        version = len(made) + 1
        manifest, golden = prepare(plan, "one", artifact(folder, version), Origin(), {})  # type: ignore[arg-type]
        change = Change("one", 0, PROMOTE, version, "bench", "", 0, "", replace(manifest, version=version), golden)
        control.change(lambda _, change=change: change)  # type: ignore[misc]
        made.append(version)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pairs", type=int, default=3)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "row.avsc").write_text(json.dumps(SCHEMA))
        (folder / "swap.yaml").write_text(TOPOLOGY.format(inputs=", ".join(f"x{i}" for i in range(WIDTH))))
        artifact(folder, 0)
        broker = devbroker.start(folder / "broker")
        plan = load_plan(folder / "swap.yaml")
        create_topics(broker.bootstrap, [("rows", 2, False), ("answers", 2, False)], {})
        command = [sys.executable, "-m", "stream_infer", "run", str(folder / "swap.yaml"), "--bootstrap", broker.bootstrap]
        process = subprocess.Popen(command)
        try:
            measure(wanted, broker.bootstrap, plan, folder)
        finally:
            process.terminate()
            process.wait(30)
            devbroker.stop(folder / "broker")
    return 0


def measure(wanted: argparse.Namespace, bootstrap: str, plan: object, folder: Path) -> None:
    control, reader, made = Control(plan, bootstrap), Reader(bootstrap), []  # type: ignore[arg-type, var-annotated]
    reader.start()
    first, _ = send(bootstrap, 50, 2, 0)
    while len(reader.delays) < first:
        time.sleep(0.1)
    print("phase     rows   p50 ms   p99 ms   max ms   swaps   generator late ms")
    found: dict[str, list[float]] = {"still": [], "swaps": []}
    for _ in range(wanted.pairs):
        for phase in found:
            stop, before = threading.Event(), len(made)
            thread = threading.Thread(target=swapping, args=(control, plan, folder, stop, made))
            if phase == "swaps":
                thread.start()
            begin = time.time() * 1000
            sent, late = send(bootstrap, wanted.rate, wanted.seconds, first)
            stop.set()
            if phase == "swaps":
                thread.join()
            while len(reader.delays) < sent:
                time.sleep(0.1)
            delays = np.array([delay for due, delay, _ in reader.delays if due >= begin - 1])
            p50, p99 = np.quantile(delays, [0.5, 0.99])
            found[phase].append(float(p99))
            print(f"{phase:<8}{sent - first:>6}{p50:>9.1f}{p99:>9.1f}{delays.max():>9.1f}{len(made) - before:>8}{late:>20.1f}", flush=True)
            first = sent
    still, swaps = (float(np.median(found[phase])) for phase in ("still", "swaps"))
    print(f"p99 with swaps / without (medians): {swaps / still:.2f}; versions seen: {len({version for _, _, version in reader.delays})}")
    reader.stop = True
    reader.join()


if __name__ == "__main__":
    sys.exit(main())
