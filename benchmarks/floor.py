"""Floor: how fast this broker on this machine takes and gives records at all: Kafka's own tools, and a C program on librdkafka.

    python -m benchmarks.floor --n 1000000

ProducerPerformance and ConsumerPerformance are Kafka's (Java), their processor time that of the whole process, JVM start included. The
C rows do the transform's work (read, decode, score, encode, write, commit) and are held to its answers; they are the floor under every
other table.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import events, floors
from benchmarks.harness.bench import RESULTS, machine
from benchmarks.harness.broker import ROOT, SCRATCH, Cluster, cluster
from benchmarks.harness.case import Case, Load
from benchmarks.harness.preload import fill, made
from benchmarks.harness.processes import Program, cpu_s
from benchmarks.harness.run import run_case
from stream_infer.edge import kafka_jars, kafka_process
from stream_infer.edge.kafka_settings import KAFKA_VERSION

TOOLS = f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}"
RECORD_BYTES = 97
TOOL_S_MAX = 600.0
PLAIN = ("-Xms512m", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


def class_path() -> str:
    """Kafka's jars as locked, and the one with its tools, which nothing else here needs."""
    folder = SCRATCH / "maven"
    found = list(folder.rglob(f"kafka-tools-{KAFKA_VERSION}.jar"))
    if not found:
        from jgo.maven import MavenContext

        found = [MavenContext(repo_cache=folder, timeout=60).create_dependency(TOOLS).artifact.resolve()]
    return ":".join(str(path) for path in (*kafka_jars.ensure(print), found[0]))


def tool(broker: Cluster, name: str, arguments: list[str], records: int) -> dict[str, Any]:
    """Run one of Kafka's tools to its end. rate: as it says itself."""
    command = [str(kafka_process.java()), *PLAIN, "-cp", class_path(), f"org.apache.kafka.tools.{name}", *arguments]
    broker_s, began = cpu_s(broker.pid), time.monotonic()
    program = Program(tuple(command), {}, SCRATCH / f"{name}.log")
    while program.alive() and time.monotonic() - began < TOOL_S_MAX:
        time.sleep(0.05)
    program.end()
    said = program.log.read_text()
    found = re.findall(r"([\d.]+) records/sec", said) if name == "ProducerPerformance" else _consumer_rate(said)
    failed = "" if found and program.ended == 0 else f"exit {program.ended}: {program.words(3)}"
    figures: dict[str, Any] = {"failed": failed, "rate": float(found[-1]) if found else 0.0, "cpu_us": program.whole_s / records * 1e6}
    return figures | {"broker_us": (cpu_s(broker.pid) - broker_s) / records * 1e6, "seconds": time.monotonic() - began}


def _consumer_rate(said: str) -> list[str]:
    """nMsg.sec, by the name of its column."""
    lines = [line.split(",") for line in said.splitlines() if "," in line]
    heads = [[cell.strip() for cell in line] for line in lines if any(cell.strip() == "nMsg.sec" for cell in line)]
    return [lines[-1][heads[-1].index("nMsg.sec")].strip()] if heads and len(lines) > 1 else []


def rows(broker: Cluster, count: int, repeats: int) -> list[dict[str, Any]]:
    given = {"count": count, "format": "avro", "partitions": 4}
    load = Load(fill(broker, given), given, events.scores(made(given)), events.spec())
    found: dict[str, list[dict[str, Any]]] = {}
    cases: list[str | Case] = ["ProducerPerformance", "ConsumerPerformance", *floors.cases("transform", "avro")]
    draw = random.Random(1)
    for turn in range(repeats):
        draw.shuffle(cases)
        for case in cases:
            if isinstance(case, Case):
                if case.absent is None:
                    found.setdefault(case.title, []).append(run_case(broker, case, load, 500))
            elif case == "ProducerPerformance":
                topic = f"floor-{turn}"
                broker.create(topic, 4)
                sizes = ["--num-records", str(count), "--record-size", str(RECORD_BYTES), "--throughput", "-1"]
                settings = ("linger.ms=5", "batch.size=65536")
                props = ["--bootstrap-server", broker.bootstrap, *(word for one in settings for word in ("--command-property", one))]
                found.setdefault("Kafka's ProducerPerformance, Java", []).append(
                    tool(broker, case, ["--topic", topic, *sizes, *props], count)
                )
                broker.delete({topic})
            else:
                sizes = ["--num-records", str(count), "--timeout", "30000"]
                found.setdefault("Kafka's ConsumerPerformance, Java", []).append(
                    tool(broker, case, ["--bootstrap-server", broker.bootstrap, "--topic", load.topic, *sizes], count)
                )
    return [_row(title, runs) for title, runs in found.items()]


def _row(title: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    failed = next((run["failed"] for run in runs if run["failed"]), "")
    medians = {name: statistics.median(run.get(name, 0.0) for run in runs) for name in ("rate", "cpu_us", "broker_us")}
    return {"title": title, "failed": failed, **medians, "runs": runs}


def main() -> int:
    parser = argparse.ArgumentParser(description="the floor under every other table")
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--broker-folder", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "floor.json")
    wanted = parser.parse_args()
    with cluster(wanted.broker_folder) as broker:
        table = rows(broker, wanted.n, wanted.repeats)
    print(f"\n### The floor, {wanted.n:,} records of {RECORD_BYTES} bytes\n\n| program | records/s | CPU µs/record | broker µs/record |")
    print("|---|---:|---:|---:|")
    for row in sorted(table, key=lambda row: row["title"]):
        figures = (
            f"{row['rate']:,.0f} | {row['cpu_us']:.2f} | {row['broker_us']:.2f}" if not row["failed"] else f"FAILED: {row['failed']} | |"
        )
        print(f"| {row['title']} | {figures} |")
    result = {
        "benchmark": "floor",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "n": wanted.n,
        "rows": table,
    }
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    wanted.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{wanted.out.relative_to(ROOT) if wanted.out.is_relative_to(ROOT) else wanted.out}")
    return int(any(row["failed"] for row in table))


if __name__ == "__main__":
    sys.exit(main())
