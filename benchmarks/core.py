"""core: what the product itself costs per event, without a Kafka client: records in memory in, columns of records out.

`python -m benchmarks.core [--count N] [--profile transform:4096]`. The same Worker, Flow and codecs as in production over a transport that
gives prepared batches and drops what it is given, so that what remains is ours alone. Both topologies, by rows per fetched batch; the
difference to benchmarks.transform and benchmarks.full is the client's.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import events as made
from benchmarks.harness import ours
from stream_infer.cli import load_plan
from stream_infer.edge.measuring import measured
from stream_infer.edge.workers import InProcess, load_models
from stream_infer.flow.transport import Outcome, Ownership, Partition
from stream_infer.flow.versions import statics
from stream_infer.flow.worker import Worker
from stream_infer.models.tensors import write_tensors
from stream_infer.records import Fetched, Ints, Text

PARTITIONS = 4
RESULTS = Path(__file__).parent / "results"


class Prepared:
    """A Transport of records that are there already. batches: by partition, in order."""

    def __init__(self, topic: str, batches: list[list[Fetched]]) -> None:
        self.topic, self._batches = topic, batches
        self._next = [0] * len(batches)
        self._turn = 0
        self._paused: set[Partition] = set()
        self._ownership: Ownership | None = None
        self.records: dict[str, int] = {}
        self.bytes: dict[str, int] = {}
        self.commits = self.polls = 0

    def partitions(self, topic: str) -> int:
        return 1 if topic.endswith(".rejects") else PARTITIONS

    def join(self, topics: Sequence[str], ownership: Ownership) -> None:
        self._ownership = ownership

    def follow(self, partition: Partition, offset: int) -> None: ...
    def unfollow(self, partition: Partition) -> None: ...
    def seek(self, partition: Partition, offset: int) -> None: ...

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._paused |= set(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._paused -= set(partitions)

    def lag(self, partition: Partition) -> int:
        return len(self._batches[partition[1]]) - self._next[partition[1]]

    def poll(self, rows_max: int, wait_ms: int, *, owned: bool = True) -> list[Fetched]:
        self.polls += 1
        if self._ownership is not None:
            self._ownership.assigned([(self.topic, number) for number in range(PARTITIONS)])
            self._ownership = None
            return []
        for _ in range(PARTITIONS if owned else 0):
            number = self._turn = (self._turn + 1) % PARTITIONS
            if self._next[number] < len(self._batches[number]) and (self.topic, number) not in self._paused:
                self._next[number] += 1
                return [self._batches[number][self._next[number] - 1]]
        return []

    def done(self) -> bool:
        return all(place == len(batches) for place, batches in zip(self._next, self._batches, strict=True))

    def at_end(self, partition: Partition) -> bool:
        return partition[0] != self.topic or self._next[partition[1]] == len(self._batches[partition[1]])

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 0)

    def committed(self, partitions: Sequence[Partition]) -> dict[Partition, int | None]:
        return dict.fromkeys(partitions, None)

    def offsets_at(self, partitions: Sequence[Partition], time_ms: int) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 0)

    def read(self, partition: Partition, offset: int) -> Iterator[Fetched]:
        return iter(())

    def produce(self, topic: str, keys: Text, values: Text, partition: int | None = None, timestamps: Ints | None = None) -> None:
        self.records[topic] = self.records.get(topic, 0) + len(values)
        self.bytes[topic] = self.bytes.get(topic, 0) + int(values.size.sum())

    def push(self) -> None:
        """Nothing is gathered."""

    @property
    def sends_on(self) -> bool:
        return False

    def commit(self, offsets: Mapping[Partition, int]) -> Outcome:
        self.commits += 1
        return Outcome.COMMITTED

    def begin_commit(self, offsets: Mapping[Partition, int]) -> None:
        self.commit(offsets)

    def ended(self, wait_ms: int) -> Outcome | None:
        return Outcome.COMMITTED

    def abort(self) -> None: ...
    def close(self) -> None: ...


def net(folder: Path) -> dict[str, str]:
    """15 windowed features and 8 fields into an MLP 23-128-64-1."""
    given = ours.windowed("sliding")(folder)
    columns = [*ours.window_columns(), *(f"x{i}" for i in range(made.INPUTS))]
    draw, widths = np.random.default_rng(1), (len(columns), 128, 64, 1)
    tensors: dict[str, NDArray[Any]] = {"mean": np.zeros(len(columns), np.float32), "scale": np.ones(len(columns), np.float32)}
    for number, (into, out) in enumerate(pairwise(widths)):
        tensors[f"layers.{number}.weight"] = (draw.normal(size=(out, into)) / np.sqrt(into)).astype(np.float32)
        tensors[f"layers.{number}.bias"] = np.zeros(out, np.float32)
    (folder / "net.safetensors").write_bytes(write_tensors(tensors, {"columns": json.dumps(columns), "widths": json.dumps(widths)}))
    inputs = ", ".join(f"{{name: {name}, missing: 0}}" for name in columns)
    return given | {"model": f"{{kind: torch, artifact: net.safetensors, inputs: [{inputs}]}}"}


TOPOLOGIES: dict[str, Callable[[Path], dict[str, str]]] = {
    "transform": ours.linear,
    "windows": ours.windowed("sliding"),
    "full": net,
}


def prepared(count: int, rows: int) -> list[list[Fetched]]:
    """Avro records by partition in batches of `rows`."""
    of = made.events(count, keys=100_000, zipf=1.1)
    values, keys, partition = made.avro(of, 0, count), made.keys(of).tolist(), of.partition(PARTITIONS)
    batches: list[list[Fetched]] = []
    for number in range(PARTITIONS):
        mine = np.flatnonzero(partition == number)
        batches.append([])
        for first in range(0, len(mine), rows):
            part = mine[first : first + rows]
            offsets = np.arange(first, first + len(part), dtype=np.int64)
            texts = Text.of([keys[i] for i in part], is_bytes=True), Text.of([values[i] for i in part], is_bytes=True)
            batches[-1].append(Fetched("in", number, offsets, of.at_ms[part], *texts))
    return batches


def run(
    parts: Callable[[Path], dict[str, str]],
    batches: list[list[Fetched]],
    profile: cProfile.Profile | None = None,
) -> tuple[float, float, Prepared]:
    """(processor seconds, seconds by the clock, the transport). profile: of the loop alone, which then repeats: a turn takes 1 ms."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = load_plan(ours.write_topology(folder, parts, group="core", source="in", out="out", partitions=PARTITIONS))
        models = load_models(plan, {})
        if profile is None:
            plan = measured(plan, models, time.perf_counter)  # as `stream-infer run` does
    transport, forwarder = Prepared("in", batches), InProcess(models)
    clock = (lambda: time.monotonic_ns() // 1_000_000) if profile is None else (lambda: transport.polls)
    worker = Worker(plan, statics(plan.models, models), transport, forwarder, clock)
    worker.start()
    worker.step(0)
    cpu, wall = time.process_time(), time.perf_counter()
    if profile is not None:
        profile.enable()
    while not transport.done() or not worker.settled() or worker.flow.in_flight():
        worker.step(0)
        worker.stats.drain()
    if profile is not None:
        profile.disable()
    took = time.process_time() - cpu, time.perf_counter() - wall
    forwarder.close()
    return *took, transport


def calls(name: str, rows: int, turns: int = 100) -> float:
    """Function calls of the loop, C functions included, for each batch of so many rows: a count that repeats, unlike a time.

    Each turn reads one batch and takes 1 ms. Beginning and end fall out: it is the difference to half as many batches.
    """

    def count(batches: int) -> int:
        profile = cProfile.Profile()
        run(TOPOLOGIES[name], prepared(rows * batches, rows), profile)
        return sum(entry.callcount for entry in profile.getstats())

    return (count(2 * turns) - count(turns)) / turns


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--count", type=int, default=200_000)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--rows", type=int, nargs="*", default=[16, 256, 4096])
    arguments.add_argument("--profile", help="TOPOLOGY:ROWS, e.g. transform:4096")
    arguments.add_argument("--calls", help="TOPOLOGY:ROWS: function calls per batch")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    if options.calls:
        name, rows = options.calls.split(":")
        print(f"{name} {rows} rows a batch: {calls(name, int(rows)):.1f} calls")
        return
    if options.profile:
        name, rows = options.profile.split(":")
        batches = prepared(options.count, int(rows))
        run(TOPOLOGIES[name], prepared(20_000, int(rows)))
        profile = cProfile.Profile()
        profile.runcall(run, TOPOLOGIES[name], batches)
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    figures = []
    for rows in options.rows:
        count = max(rows * 40, options.count if rows > 64 else options.count // 5)
        batches = prepared(count, rows)
        for name, parts in TOPOLOGIES.items():
            run(parts, prepared(min(count, 20_000), rows))  # compiles what is not in the cache
            runs = [run(parts, batches) for _ in range(options.repeats)]
            cpu, wall = statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)
            sent = runs[0][2]
            print(f"{name:10} {rows:5} rows a batch: {1e6 * cpu / count:7.2f} µs CPU an event, {count / wall:9,.0f} events/s, ", end="")
            print(f"{sent.commits} commits, ", end="")
            print(", ".join(f"{topic} {n / count:.2f} records {sent.bytes[topic] / count:.0f} B" for topic, n in sent.records.items()))
            figures.append({"topology": name, "rows": rows, "count": count, "runs": [{"cpu_s": r[0], "wall_s": r[1]} for r in runs]})
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "core.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
