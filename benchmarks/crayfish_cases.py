"""crayfish_cases: who answers the events of Crayfish, as command lines. models, wire → *cases* → run.

At least once unless said otherwise, as in the paper. Kafka Streams comes three times on the JSON wire: as the paper's adapter works, as
Jackson is meant to be used, and reading the numbers from the bytes by hand, its best.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from benchmarks import crayfish_wire
from benchmarks.crayfish_models import Network
from benchmarks.harness import environments, floors
from benchmarks.harness.case import Case
from benchmarks.harness.ours import PROGRAM
from benchmarks.peers.java import cases as java

BYTES_MAX = 50_000_000  # of a message: the paper's
BROKER_BYTES_MAX = 8_388_608  # what the broker of the benchmarks takes
TOPOLOGY = """\
name: {BENCH_GROUP}
format: 1
limits: {{rows_in_flight_max: {rows}}}
streams:
  events:
    topic: {BENCH_IN}
    schema: event.avsc
    partitions: {BENCH_PARTITIONS}
    record_bytes_max: {bytes}
    framing: bare
    format: {form}
  answers: {{topic: {BENCH_OUT}, partitions: {BENCH_PARTITIONS}, framing: bare, format: {form}}}
models:
  net:
    {model}
    inputs: [{{{kind}: dataPoint, size: {size}}}]
stages:
  answer: {{kind: model, from: events, model: net}}
  out:
    kind: emit
    from: answer
    to: answers
    fields: [outputs]
    carry: [{carry}]
    guarantee: {BENCH_GUARANTEE}
    commit_interval_ms: {BENCH_COMMIT_MS}
client: {{message.max.bytes: {bytes}, compression.type: none}}  # as the others
"""
IN_FLIGHT_BYTES = 100_000_000


def cases(wire: str, points: int, network: Network, *, quick: bool = False, live: bool = False) -> list[Case]:
    """All programs on one wire. points: of one event. quick: only the best of each, at least once. live: latency counts."""
    settings = java.PROMPT if live else java.TUNED
    kstreams = [_kstreams(network, wire, "bytes", "", "by hand" if wire == "json" else "", settings)]
    if not quick:
        words = "by hand, exactly_once_v2" if wire == "json" else "exactly_once_v2"
        kstreams.append(_kstreams(network, wire, "bytes", "-eo", words, settings))
        if wire == "json":
            kstreams.append(_kstreams(network, wire, "jackson", "-jackson", "Jackson, streaming", settings))
            kstreams.append(_kstreams(network, wire, "paper", "-paper", "as the paper", ()))
    ours = [_ours("ours", "stream-infer", "at_least_once", wire, points, network)]
    if not quick:
        ours.append(_ours("ours-eo", "stream-infer, exactly once", "exactly_once", wire, points, network))
    if network.name == "resnet50":  # a net of convolutions: with the engine that the others have as well
        ours.append(_ours("ours-onnx", "stream-infer, ONNX Runtime", "at_least_once", wire, points, network, onnx=True))
    python = [_python(network, wire, peer, f"{title} + ONNX Runtime") for peer, title in (("quix", "Quix Streams"), ("faust", "Faust"))]
    floor = floors.crayfish(wire, network.onnx.with_name("ffnn.f32")) if network.name == "ffnn" and not quick else []
    return [*ours, *kstreams, *python, *floor]


def _ours(name: str, title: str, guarantee: str, wire: str, points: int, network: Network, *, onnx: bool = False) -> Case:
    size = points * network.width
    settings = f"kind: onnx, artifact: {network.onnx.name}" if onnx else f"kind: torch, {network.ours}"

    def command(given: Mapping[str, str]) -> tuple[str, ...]:
        folder = Path(given["BENCH_FOLDER"])
        (folder / "event.avsc").write_text(crayfish_wire.schema(wire))
        lines = dict(part.split(": ", 1) for part in settings.split(", "))
        shutil.copy(network.onnx.with_name(lines["artifact"]), folder)
        # The whole input goes along, as the paper's programs echo it.
        carry = "creationTimestamp, dataPointSz1, dataPointSz2, dataPoint" if wire == "json" else "creationTimestamp"
        text = TOPOLOGY.format(
            **given,
            rows=max(1000, min(20_000, IN_FLIGHT_BYTES // (size * 11))),
            bytes=BROKER_BYTES_MAX,
            form="json" if wire == "json" else "avro",
            model="\n    ".join(f"{setting}: {value}" for setting, value in lines.items()),
            kind="numbers" if wire == "json" else "floats32",
            size=size,
            carry=carry,
        )
        (folder / "topology.yaml").write_text(text)
        return PROGRAM, "run", str(folder / "topology.yaml"), "--bootstrap", given["BENCH_BOOTSTRAP"]

    return Case(name, title, command, guarantee, ours=True)


def _kstreams(network: Network, wire: str, mode: str, suffix: str, words: str, tuned: tuple[str, ...]) -> Case:
    form = "avro" if wire == "binary" else "json"
    settings = (f"producer.max.request.size={BYTES_MAX}", *tuned)
    command = java.command("crayfish", f"wire={form}", f"mode={mode}", f"model={network.onnx}", *settings)
    title = "Kafka Streams + ONNX Runtime" + (f", {words}" if words else "")
    guarantee = "exactly_once" if suffix == "-eo" else "at_least_once"
    return Case(f"kstreams{suffix}", title, command, guarantee, absent=java.absent())


def _python(network: Network, wire: str, peer: str, title: str) -> Case:
    name = f"onnx_{peer}"
    command = (environments.python_of(name), str(environments.PEERS / name / "app.py"), *(("worker",) if peer == "faust" else ()))
    variables = {"PYTHONPATH": str(environments.PEERS / "onnx_shared"), "CRAYFISH_WIRE": wire, "CRAYFISH_MODEL": str(network.onnx)}
    return Case(peer, title, command, environment=variables, share=0.25 if peer == "faust" else 1.0, absent=environments.absent(name))
