"""preload: a topic full of events, written by a process of its own. events → *preload* → run.

    python -m benchmarks.harness.preload BOOTSTRAP TOPIC '{"count": 300000, "format": "avro", "partitions": 4, "keys": 10000}'

A process of its own, because what it leaves behind (librdkafka's threads, a heap full of records) should not stand beside what is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.harness import events
from benchmarks.harness.broker import ROOT, Cluster

PIECE = 50_000
PRODUCER = {"linger.ms": 20, "batch.size": 1_000_000, "queue.buffering.max.messages": 500_000, "log_level": 2}


def fill(cluster: Cluster, given: dict[str, Any]) -> str:
    """The topic that holds these events; filled unless it is there. given: count, format, partitions, and what events() takes."""
    topic = "bench-in-" + "-".join(str(value) for value in given.values())
    if topic not in cluster.topics():
        cluster.create(topic, given["partitions"])
        _send(cluster, topic, given)
    found = sum(cluster.ends(topic, given["partitions"]).values())
    if found != given["count"]:
        raise RuntimeError(f"{topic} holds {found} records and should hold {given['count']}: it was left half filled")
    return topic


def refill(cluster: Cluster, topic: str, given: dict[str, Any], first: int, count: int) -> int:
    """More events behind those that the topic holds already, which were `first`. Returns how many it holds now."""
    _send(cluster, topic, {**given, "count": count, "first": first})
    return first + count


def _send(cluster: Cluster, topic: str, given: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "benchmarks.harness.preload", cluster.bootstrap, topic, json.dumps(given)]
    subprocess.run(command, check=True, cwd=ROOT)


def made(given: dict[str, Any]) -> events.Events:
    """The events that fill() writes."""
    others = {name: value for name, value in given.items() if name not in ("count", "format", "partitions")}
    return events.events(given["count"], **others)


def main() -> None:
    bootstrap, topic, text = sys.argv[1:]
    given = json.loads(text)
    of = made(given)
    places = of.partition(given["partitions"]).tolist()
    times = of.at_ms.tolist()
    lost = 0

    def delivered(error: KafkaError | None, _: Message) -> None:
        nonlocal lost
        lost += error is not None

    settings = {"bootstrap.servers": bootstrap, **PRODUCER, "on_delivery": delivered, "delivery.report.only.error": True}
    producer = Producer(settings)
    write = events.avro if given["format"] == "avro" else events.json_texts
    names = events.keys(of).tolist()
    for first in range(0, len(of), PIECE):
        after = min(first + PIECE, len(of))
        for row, value in enumerate(write(of, first, after), start=first):
            while True:
                try:
                    producer.produce(topic, value, names[row], places[row], timestamp=times[row])
                    break
                except BufferError:
                    producer.poll(0.01)
            if not row % 1000:
                producer.poll(0)
    if producer.flush(60.0) or lost:
        sys.exit(f"{lost} records lost")


if __name__ == "__main__":
    main()
