"""crayfish_load: events sent to a topic, at once or at a pace, by a process of its own. wire → *load* → run.

    python -m benchmarks.crayfish_load BOOTSTRAP TOPIC FILE '{"wire": "json", "points": 1, "width": 784, "pool": 256, "partitions": 4,
        "phases": [[700, 120], [1100, 30]]}'

phases: events a second, seconds; a rate of 0: that many events (in place of seconds), as fast as they go. FILE becomes int64 creation
times in ms, one per event. An event is made when its time has come, and its creation time is that moment: who
cannot keep the pace sends later.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from benchmarks.crayfish_wire import Pool
from benchmarks.harness.broker import ROOT

PRODUCER = {"linger.ms": 1, "batch.size": 1_000_000, "message.max.bytes": 50_000_000, "queue.buffering.max.kbytes": 500_000, "log_level": 2}
BEGIN_MS = 1_735_689_600_000  # of events that are sent at once: event i was created i ms later, so that each can be told


def start(bootstrap: str, topic: str, file: Path, given: dict[str, Any]) -> subprocess.Popen[bytes]:
    """The process."""
    command = [sys.executable, "-m", "benchmarks.crayfish_load", bootstrap, topic, str(file), json.dumps(given)]
    return subprocess.Popen(command, cwd=ROOT)


class Sender:
    """Event i goes to partition i % partitions and is number i % events of the pool."""

    def __init__(self, bootstrap: str, topic: str, given: dict[str, Any]) -> None:
        self.pool = Pool.drawn(given["wire"], given["points"], given["width"], given["pool"])
        self.tails = self.pool.tails()
        self.topic, self.partitions = topic, given["partitions"]
        self.lost = 0
        settings = {"bootstrap.servers": bootstrap, **PRODUCER, "on_delivery": self._delivered, "delivery.report.only.error": True}
        self.producer = Producer(settings)
        self.created: list[int] = []

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self.lost += error is not None

    def send(self, created_ms: int) -> None:
        number = len(self.created)
        value = self.pool.head(created_ms) + self.tails[number % len(self.tails)]
        key = (number * 2_654_435_761 & 0xFFFFFFFF).to_bytes(4, "big")
        while True:
            try:
                self.producer.produce(self.topic, value, key, number % self.partitions)
                break
            except BufferError:
                self.producer.poll(0.01)
        self.created.append(created_ms)

    def at_once(self, count: int) -> None:
        for number in range(count):
            self.send(BEGIN_MS + number)
            if not number % 256:
                self.producer.poll(0)

    def paced(self, rate: float, seconds: float) -> None:
        """Open loop: the k-th event is due k / rate after the beginning, whatever became of those before it."""
        began, due, sent = time.monotonic(), 0, 0
        while sent < round(rate * seconds):
            due = min(round(rate * seconds), int((time.monotonic() - began) * rate) + 1)
            while sent < due:
                self.send(time.time_ns() // 1_000_000)
                sent += 1
            self.producer.poll(0)
            time.sleep(max(0.0002, min(0.05, began + sent / rate - time.monotonic())))


def main() -> None:
    bootstrap, topic, file, text = sys.argv[1:]
    given = json.loads(text)
    sender = Sender(bootstrap, topic, given)
    for rate, amount in given["phases"]:
        if rate:
            sender.paced(rate, amount)
        else:
            sender.at_once(int(amount))
    if sender.producer.flush(60.0) or sender.lost:
        sys.exit(f"{sender.lost} events lost")
    np.array(sender.created, dtype=np.int64).tofile(file)


if __name__ == "__main__":
    main()
