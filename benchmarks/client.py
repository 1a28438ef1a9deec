"""Client: what a record costs between the broker and our columns, by the Python client and by librdkafka's C interface. µs of CPU.

    python -m benchmarks.client                                     1,000,000 records, 5 runs of each case
    python -m benchmarks.client --n 300000 --repeats 3

Reading: records of 103 bytes in 4 partitions, lz4, to columns; `bare` is consume(1000) with nothing looked at. Writing: such columns, with
times, partitioned by key, a commit per 100,000; `bare` is produce() in a loop. Each run is a process of its own; its first 10 % warm up and
are not counted. main: of the thread that calls; threads: of librdkafka's own; the broker is in neither.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.harness.bench import RESULTS, machine
from benchmarks.harness.broker import ROOT, cluster
from stream_infer.edge import kafka_client
from stream_infer.edge.kafka_alternating import Alternating
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.kafka_consume import Reader
from stream_infer.edge.kafka_deliveries import Deliveries
from stream_infer.edge.kafka_transactions import Transactions
from stream_infer.edge.kafka_watchdog import Watchdog
from stream_infer.records import Text

PARTITIONS = 4
VALUE_BYTES, KEY_BYTES = 95, 8
CHUNK = 4000  # rows that a task works through together, about
COMMIT_ROWS = 100_000
BARE_ROWS = 1000
WAIT_S = 60.0
CASES = ("read-bare", "read-plain", "read-native", "write-bare", "write-plain-eo", "write-native-eo", "write-plain-alo", "write-native-alo")
Step = Callable[[], int]  # does some of the work; how many records that was


def columns() -> tuple[Text, Text, np.ndarray[Any, np.dtype[np.int64]]]:
    """A chunk of keys, values half of which can be compressed, and times."""
    rng = np.random.default_rng(1)
    half = VALUE_BYTES // 2
    text = b'{"user":"u","score":0.5,"arm":"some other text of it"}'[: VALUE_BYTES - half]
    values = b"".join(rng.bytes(half) + text for _ in range(CHUNK))
    keys = b"".join(b"%08d" % number for number in rng.integers(0, 100_000, CHUNK))
    return _equal(keys, KEY_BYTES), _equal(values, VALUE_BYTES), 1_700_000_000_000 + np.arange(CHUNK)


def _equal(blob: bytes, size: int) -> Text:
    start = np.arange(len(blob) // size, dtype=np.int64) * size
    return Text(np.frombuffer(blob, np.uint8), start, np.full(len(start), size, np.int64), None, is_bytes=True)


def reading(way: str, settings: KafkaSettings, topic: str) -> Step:
    """Read on from the beginning."""
    config = kafka_client.consumer(settings, _heard)
    if way == "bare":
        consumer = Consumer(config)
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])

        def bare() -> int:
            found = consumer.consume(BARE_ROWS, 0)
            if not found and (first := consumer.poll(0.05)) is not None:
                found = [first]
            return len(found)

        return bare
    reader = Reader(config, native=settings.native)
    for number in range(PARTITIONS):
        reader.place((topic, number), 0)
    return lambda: sum(map(len, reader.take(CHUNK, 50)))


def writing(way: str, settings: KafkaSettings, topic: str) -> Step:
    """Write a chunk, and commit when one is due."""
    config = kafka_client.producer(settings, _heard)
    keys, values, times = columns()
    done = [0, 0]

    def written(send: Callable[[], object], commit: Callable[[], object]) -> int:
        send()
        done[0] += CHUNK
        if done[0] - done[1] >= COMMIT_ROWS:
            commit()
            done[1] = done[0]
        return CHUNK

    if way == "bare":
        producer = Producer(config)
        heads, bodies, at = keys.raw(), values.raw(), times.tolist()

        def bare() -> None:
            for place in range(CHUNK):
                producer.produce(topic, bodies[place], heads[place], timestamp=at[place])
                if not place % BARE_ROWS:
                    producer.poll(0)

        return lambda: written(bare, producer.flush)
    if settings.guarantee == "exactly_once":
        made = lambda one: Transactions({**config, "transactional.id": one}, WAIT_S, Watchdog(WAIT_S), native=settings.native)  # noqa: E731
        transactions = Alternating(settings.transactional_id, made)
        return lambda: written(lambda: transactions.send(topic, keys, values, None, times), lambda: transactions.commit([], None))
    deliveries = Deliveries(config, WAIT_S, Consumer(kafka_client.consumer(settings, _heard)), settings.native)
    return lambda: written(lambda: deliveries.send(topic, keys, values, None, times), lambda: deliveries.settled(deliveries.delivery()()))


def run(case: str, bootstrap: str, topic: str, count: int) -> dict[str, float]:
    """One case in this process. µs of CPU a record; per_s: records by the clock."""
    logging.getLogger("stream_infer.kafka").setLevel(logging.ERROR)
    side, way, *rest = case.split("-")
    settings = KafkaSettings(
        bootstrap, "client", f"client.{case}", "at_least_once" if rest != ["eo"] else "exactly_once",
        native="require" if way == "native" else "off",
    )  # fmt: skip
    step = (reading if side == "read" else writing)(way, settings, topic)
    done = 0
    while done < count // 10:
        done += step()
    warm, began = done, np.array([time.process_time(), time.thread_time(), time.perf_counter()])
    while done < count:
        done += step()
    process, main, wall = (np.array([time.process_time(), time.thread_time(), time.perf_counter()]) - began).tolist()
    each = 1e6 / (done - warm)
    return {"process_us": process * each, "main_us": main * each, "threads_us": (process - main) * each, "per_s": (done - warm) / wall}


def main(arguments: Sequence[str] | None = None) -> int:
    """Every case, interleaved; the table, and the JSON beside it."""
    parser = argparse.ArgumentParser(description="what a record costs in the Kafka client")
    parser.add_argument("--n", type=int, default=1_000_000, help="records of each run (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "client.json")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    if wanted.child:
        case, bootstrap, topic = wanted.child
        print(json.dumps(run(case, bootstrap, topic, wanted.n)), flush=True)
        os._exit(0)  # leaving the group and closing are no part of it
    runs: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    draw = random.Random(1)
    with cluster(None) as broker:
        broker.create("client-in", PARTITIONS)
        _child("write-native-eo", broker.bootstrap, "client-in", wanted.n + COMMIT_ROWS)  # the last transaction stays open
        for turn in range(wanted.repeats):
            for case in draw.sample(CASES, len(CASES)):
                topic = "client-in" if case.startswith("read") else f"client-{case}-{turn}"
                if topic != "client-in":
                    broker.create(topic, PARTITIONS)
                runs[case].append(_child(case, broker.bootstrap, topic, wanted.n))
                print(f"[{turn + 1}/{wanted.repeats}] {case}: {runs[case][-1]['process_us']:.2f} µs", flush=True)
                broker.delete({topic} - {"client-in"})
    medians = {case: {name: statistics.median(one[name] for one in found) for name in found[0]} for case, found in runs.items()}
    ratios = {f"{case.replace('native', 'plain')} / {case}": {
        name: medians[case.replace("native", "plain")][name] / medians[case][name] for name in ("process_us", "main_us")
    } for case in CASES if "native" in case}  # fmt: skip
    print(f"\n{'case':<18}{'process':>9}{'main':>9}{'threads':>9}{'records/s':>12}   (µs of CPU a record, medians of {wanted.repeats})")
    for case, found in medians.items():
        print(f"{case:<18}{found['process_us']:>9.2f}{found['main_us']:>9.2f}{found['threads_us']:>9.2f}{found['per_s']:>12,.0f}")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio['process_us']:.1f} times the process, {ratio['main_us']:.1f} times its main thread")
    result = {"benchmark": "client", "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "n": wanted.n}
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps({**result, "medians": medians, "ratios": ratios, "runs": runs}, indent=1) + "\n")
    print(wanted.out.relative_to(ROOT) if wanted.out.is_relative_to(ROOT) else wanted.out)
    return 0


def _child(case: str, bootstrap: str, topic: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.client", "--n", str(count), "--child", case, bootstrap, topic]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=600).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def _heard(_error: object) -> None:
    """What a case tells of itself is its figures."""


if __name__ == "__main__":
    sys.exit(main())
