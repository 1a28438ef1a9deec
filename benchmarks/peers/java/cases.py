"""java: Kafka Streams as cases of the harness, built from the sources beside this file. Main.java → *java* → harness, crayfish.

Figures are of the whole process: the JVM's compiler and collector threads are in them, as the interpreter's are in those of Python.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks import crayfish_onnx
from benchmarks.harness.broker import SCRATCH
from benchmarks.harness.case import Case

HERE = Path(__file__).parent
BUILT = SCRATCH / "java"
JAR = BUILT / "peers.jar"
BUILD_S_MAX = 600.0
HEAP_MB = 1024
MACHINE = (f"-Xms{HEAP_MB}m", f"-Xmx{HEAP_MB}m", "-XX:+UseParallelGC", "-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")

# Measured with events of 8 kB: a 16 kB batch, the default, holds one; it costs the producer's thread twice, the broker 2.3 times as much.
TUNED = (
    "producer.batch.size=1048576",
    "producer.buffer.memory=134217728",
    "producer.send.buffer.bytes=1048576",
    "consumer.receive.buffer.bytes=1048576",
    "consumer.max.partition.fetch.bytes=8388608",
)
# Streams' own linger is 100 ms, which is all that one would see of its latency.
PROMPT = (*TUNED, "producer.linger.ms=5")

Command = tuple[str, ...] | Callable[[Mapping[str, str]], tuple[str, ...]]


def absent() -> str | None:
    """Why Kafka Streams cannot run here; None once its jar stands, built where need be."""
    if lacking := [name for name in ("java", "mvn") if shutil.which(name) is None]:
        return f"needs Java 17 and Maven; {' and '.join(lacking)} not found"
    sources = [HERE / "pom.xml", *HERE.glob("src/**/*.java")]
    if JAR.exists() and JAR.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return None
    BUILT.mkdir(parents=True, exist_ok=True)
    command = ["mvn", "--quiet", "--batch-mode", "package", f"-Dtarget={BUILT}"]
    try:
        done = subprocess.run(command, check=False, cwd=HERE, capture_output=True, text=True, timeout=BUILD_S_MAX)
    except subprocess.TimeoutExpired:
        return f"Maven did not end within {BUILD_S_MAX:.0f} s"
    return None if done.returncode == 0 else f"Maven could not build it: {done.stdout.strip()[-300:]}"


def command(application: str, *options: str, machine: tuple[str, ...] = MACHINE) -> tuple[str, ...]:
    """The command line of one application."""
    return ("java", *machine, "-jar", str(JAR), application, *options)


def scored(given: Mapping[str, str]) -> tuple[str, ...]:
    """The transform by ONNX Runtime: its model is made of the run's weights first."""
    spec = json.loads(Path(given["BENCH_SPEC"]).read_text())
    file = Path(given["BENCH_FOLDER"]) / "score.onnx"
    file.write_bytes(crayfish_onnx.mlp([(np.array([spec["weights"]]), np.array([spec["bias"]]))]))
    return command("transform", "scorer=onnx", f"model={file}", *TUNED)


def cases(benchmark: str, fmt: str) -> list[Case]:
    """What Kafka Streams brings to a benchmark of the harness, one row per guarantee and variant."""
    del fmt  # the application is told by BENCH_FORMAT
    if benchmark not in ("transform", "windows", "latency"):
        return []
    why = absent()
    found = []
    for short, guarantee, words in (("alo", "at_least_once", "at_least_once"), ("eo", "exactly_once", "exactly_once_v2")):
        for name, title, run in _variants(benchmark):
            found.append(Case(f"kstreams{name}-{short}", f"Kafka Streams 4.3{title}, {words}", run, guarantee, absent=why))
    return found


def _variants(benchmark: str) -> list[tuple[str, str, Command]]:
    if benchmark == "windows":
        return [("", ", RocksDB", command("windows", *TUNED)), ("-default", ", RocksDB, default settings", command("windows"))]
    settings = PROMPT if benchmark == "latency" else TUNED
    found: list[tuple[str, str, Command]] = [("", ", score in Java", command("transform", *settings))]
    if benchmark == "transform":
        found += [("-ort", " + ONNX Runtime", scored), ("-default", ", score in Java, default settings", command("transform"))]
    return found
