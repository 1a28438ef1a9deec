"""peers: the other programs as cases, each at its best settings that keep its guarantee. environments → *peers* → benchmarks."""

from __future__ import annotations

import sys

from benchmarks.harness import environments
from benchmarks.harness.case import Case

PEERS = environments.PEERS
SHARED = {"PYTHONPATH": str(PEERS / "shared")}


def python_case(
    name: str, title: str, script: str, *arguments: str, peer: str | None = None, exactly_once: bool = False, share: float = 1.0
) -> Case:
    """script: below benchmarks/peers. peer: whose environment it runs in (None: ours)."""
    python = sys.executable if peer is None else environments.python_of(peer)
    return Case(
        name,
        title,
        (python, str(PEERS / script), *arguments),
        "exactly_once" if exactly_once else "at_least_once",
        share,
        SHARED,
        peer=peer,
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


def windows(fmt: str) -> list[Case]:
    """Windows by key: each framework's own, and what is cheapest in it."""
    codec = "fastavro" if fmt == "avro" else "orjson"
    quix, faust = "quix/windows.py", "faust/windows.py"
    own, kept = "its windows, RocksDB", "one stateful function, RocksDB"
    return [
        python_case("dict", f"confluent-kafka, consume(1000), {codec}, windows in a dict, no changelog", "loops/loops.py", "dict"),
        python_case("quix-alo", f"Quix Streams, {own}, at least once", quix, "own", peer="quix", share=0.3),
        python_case("quix-eo", f"Quix Streams, {own}, exactly once", quix, "own", peer="quix", exactly_once=True, share=0.3),
        python_case("quix-state-alo", f"Quix Streams, {kept}, at least once", quix, "state", peer="quix", share=0.3),
        python_case("quix-state-eo", f"Quix Streams, {kept}, exactly once", quix, "state", peer="quix", exactly_once=True, share=0.3),
        python_case("faust", "Faust, windowed Tables in memory, uvloop", faust, "own", peer="faust", share=0.05),
        python_case("faust-state", "Faust, one Table in memory, uvloop", faust, "state", peer="faust", share=0.05),
    ]


def frameworks(fmt: str) -> list[Case]:
    """Faust, Quix, Bytewax and aiokafka: consume, score, produce."""
    codec = "fastavro" if fmt == "avro" else "orjson"
    cases = [
        python_case("aiokafka", f"aiokafka, getmany(1000), {codec} + numpy, uvloop", "aiokafka/transform.py", peer="aiokafka"),
        python_case("quix-alo", f"Quix Streams, {codec}, at least once", "quix/transform.py", peer="quix"),
        python_case("quix-eo", f"Quix Streams, {codec}, exactly once", "quix/transform.py", peer="quix", exactly_once=True),
        python_case("faust-best", f"Faust, take(1000), {codec} + numpy, uvloop", "faust/transform.py", "best", peer="faust", share=0.05),
        python_case(
            "faust",
            f"Faust, {'fastavro' if fmt == 'avro' else 'Records'}, defaults",
            "faust/transform.py",
            "default",
            peer="faust",
            share=0.05,
        ),
    ]
    command = (environments.python_of("bytewax"), "-m", "bytewax.run", str(PEERS / "bytewax/transform.py"))
    title = f"Bytewax, batches of 1000, {codec} + numpy (no recovery store)"
    return [*cases, Case("bytewax", title, command, environment=SHARED, peer="bytewax")]
