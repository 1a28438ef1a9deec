"""Soak: the whole path at full load for a long time: does memory grow, and is a backlog of millions worked off?

    python -m benchmarks.soak                          20 minutes, a backlog of 5 million events to begin with
    python -m benchmarks.soak --minutes 1 --backlog 300000

The process begins with the backlog; a feeder then keeps at least a million events waiting until the time is over, and what is left is
worked off. Resident memory is sampled every second; its slope over the second half of the time (least squares) is the figure to watch.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition

from benchmarks.full import GIVEN
from benchmarks.harness import events, ours
from benchmarks.harness.bench import RESULTS, machine
from benchmarks.harness.broker import QUIET, SCRATCH, Cluster, cluster
from benchmarks.harness.case import Load, environment, variables
from benchmarks.harness.preload import refill
from benchmarks.harness.processes import Program, rss_mb

PARTITIONS = 4
LOW_WATER = 1_000_000
PIECE = 500_000
SAMPLE_S = 1.0
LEFT_S_MAX = 600.0
KEEP_BYTES = 2 << 30  # of each partition: an hour at full load would fill a disk


def waiting(broker: Cluster, group: str, topic: str, sent: int) -> int:
    """Events that the group has not committed yet; all of them while the broker still makes the topic that it keeps offsets in."""
    asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in range(PARTITIONS)])]
    try:
        found: list[TopicPartition] = broker.admin.list_consumer_group_offsets(asked)[group].result().topic_partitions
    except KafkaException as problem:
        if problem.args[0].code() != KafkaError.COORDINATOR_LOAD_IN_PROGRESS:
            raise
        return sent
    return sent - sum(max(0, place.offset) for place in found)


def counted(broker: Cluster, topic: str) -> int | None:
    """Committed records in the output; None where the oldest are deleted already."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "soak-count", "isolation.level": "read_committed", **QUIET})
    lows = [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20.0) for number in range(PARTITIONS)]
    consumer.close()
    if any(low for low, _ in lows):
        return None
    return len(broker.read(topic, PARTITIONS))


def soak(broker: Cluster, wanted: argparse.Namespace) -> dict[str, Any]:
    unique = uuid.uuid4().hex[:8]
    reads, writes = f"soak-in-{unique}", f"soak-{unique}"
    for topic in (reads, writes):
        broker.create(topic, PARTITIONS, keep_bytes=KEEP_BYTES)
    given = {"format": "avro", "partitions": PARTITIONS, **GIVEN}
    sent = refill(broker, reads, given, 0, wanted.backlog)
    load = Load(reads, {"count": 0, **given}, np.zeros(0), events.spec(windows=True))
    case = ours.case("soak", "stream-infer, the whole path", wanted.guarantee, ours.network)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=SCRATCH))
    inside = variables(case, load, broker.bootstrap, writes, folder, 500)
    assert not isinstance(case.command, tuple)
    program = Program(case.command(inside), environment(case, inside), SCRATCH / "soak.log", cwd=folder)
    samples: list[tuple[float, float, int]] = []
    began, backlog_s, failed = time.monotonic(), None, ""
    until, said = began + wanted.minutes * 60, began
    try:
        while True:
            now = time.monotonic()
            left = waiting(broker, writes, reads, sent)
            samples.append((now - began, rss_mb(program.pid), sent - left))
            if backlog_s is None and sent - left >= wanted.backlog:
                backlog_s = now - began
            if not program.alive():
                failed = f"it ended by itself, exit {program.ended}: {program.words(5)}"
                break
            if now > until and left == 0:
                break
            if now > until + LEFT_S_MAX:
                failed = f"{left:,} events were still waiting {LEFT_S_MAX:.0f} s after the last one was sent"
                break
            if now < until and left < LOW_WATER and not wanted.no_feed:
                sent = refill(broker, reads, given, sent, PIECE)
            if now - said > 30:
                print(f"{now - began:.0f} s: {sent - left:,} done, {left:,} waiting, {samples[-1][1]:.0f} MB", flush=True)
                said = now
            time.sleep(SAMPLE_S)
        used_s = program.cpu_s()
    finally:
        program.end()
        shutil.rmtree(folder, ignore_errors=True)
    found = counted(broker, writes)
    if not failed and found is not None and found != sent:
        failed = f"{found:,} answers to {sent:,} events"
    done, seconds = samples[-1][2], samples[-1][0]
    result: dict[str, Any] = {"failed": failed, "sent": sent, "done": done, "seconds": seconds, "answers": found, "backlog_s": backlog_s}
    result |= {"rate": done / seconds, "cpu_us": used_s / max(1, done) * 1e6, "samples": samples}
    return result | slope(samples)


def slope(samples: list[tuple[float, float, int]]) -> dict[str, Any]:
    """MB per minute by least squares over the second half, and per million events."""
    half = [sample for sample in samples if sample[0] >= samples[-1][0] / 2]
    if len(half) < 3:
        return {"rss_mb": samples[-1][1], "slope_mb_per_min": None}
    at_s, rss, done = (np.array(column) for column in zip(*half, strict=True))
    return {
        "rss_mb": float(rss[-1]),
        "rss_mb_max": float(max(sample[1] for sample in samples)),
        "slope_mb_per_min": float(np.polyfit(at_s / 60, rss, 1)[0]),
        "slope_mb_per_million": float(np.polyfit(done / 1e6, rss, 1)[0]) if done[-1] > done[0] else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="the whole path at full load for a long time")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--backlog", type=int, default=5_000_000)
    parser.add_argument("--guarantee", choices=("eo", "alo"), default="eo")
    parser.add_argument("--no-feed", action="store_true", help="only work off the backlog")
    parser.add_argument("--broker-folder", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "soak.json")
    wanted = parser.parse_args()
    with cluster(wanted.broker_folder) as broker:
        found = soak(broker, wanted)
    backlog = f"worked off in {found['backlog_s']:.0f} s" if found["backlog_s"] else "not worked off"
    print(
        f"\n{found['done']:,} events in {found['seconds']:.0f} s: {found['rate']:,.0f}/s, {found['cpu_us']:.2f} µs of processor time each"
    )
    print(f"backlog of {wanted.backlog:,}: {backlog}; answers counted: {found['answers']}")
    if found["slope_mb_per_min"] is not None:
        print(f"memory: {found['rss_mb']:.0f} MB at the end, slope of the second half {found['slope_mb_per_min']:+.2f} MB/min")
    if found["failed"]:
        print(f"FAILED: {found['failed']}")
    result = {
        "benchmark": "soak",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "minutes": wanted.minutes,
        **found,
    }
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps(result) + "\n")
    return int(bool(found["failed"]))


if __name__ == "__main__":
    sys.exit(main())
