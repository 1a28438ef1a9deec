"""peers: the other programs as cases, each at its best settings that keep its guarantee. environments → *peers* → benchmarks."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.harness import environments
from benchmarks.harness.case import Case

PEERS = environments.PEERS
SHARED = {"PYTHONPATH": str(PEERS / "shared")}


def python_case(
    name: str, title: str, script: str, *arguments: str, peer: str | None = None, exactly_once: bool = False, share: float = 1.0
) -> Case:
    """script: below benchmarks/peers. peer: whose environment it runs in (None: ours)."""
    python: Path | None = Path(sys.executable) if peer is None else environments.ready(peer)
    return Case(
        name,
        title,
        (str(python), str(PEERS / script), *arguments),
        "exactly_once" if exactly_once else "at_least_once",
        share,
        SHARED,
        None if peer is None else environments.absent(peer),
    )


def loops(fmt: str) -> list[Case]:
    """Written by hand with confluent-kafka."""
    codec = "fastavro" if fmt == "avro" else "orjson"
    script = "loops/loops.py"
    cases = [
        python_case("poll", f"confluent-kafka, poll() loop, {codec}", script, "poll"),
        python_case("batch", f"confluent-kafka, consume(1000), {codec} + numpy", script, "batch"),
    ]
    if fmt == "avro":
        what = "confluent-kafka, consume(1000), our Avro codec + numpy, nothing else"
        cases.append(python_case("bare", f"{what}, transactions", script, "bare", exactly_once=True))
    return cases


def frameworks(benchmark: str, fmt: str) -> list[Case]:
    """Faust, Quix, Bytewax, aiokafka."""
    return []
