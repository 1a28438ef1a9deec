"""Two topologies, one reading what the other writes: a pipeline through a topic. Oracle: the answers of the first, by hand."""

from __future__ import annotations

from stream_infer.codec.internal import PREDICTION
from stream_infer.sim.play import make_broker, read, run_to_end, send
from stream_infer.sim.scenarios import probe
from stream_infer.topology.build import load
from tests.support_flow import payment, plan_of

FIRST = """
models:
  embed: {kind: linear, artifact: none.safetensors, inputs: [amount, at_ms]}
stages:
  score: {kind: model, from: payments, model: embed}
  out: {kind: emit, from: score, to: scores}
"""
SECOND = """
name: verdict
format: 1
streams:
  embedded: {topic: scores, schema: prediction.avsc, key: prediction_id, id: prediction_id, event_time: event_time, partitions: 1}
  verdicts: {topic: verdicts, partitions: 1}
models:
  judge: {kind: linear, artifact: none.safetensors, inputs: [{list: outputs, size: 3}]}
stages:
  judged: {kind: model, from: embedded, model: judge}
  out: {kind: emit, from: judged, to: verdicts}
"""


def test_a_topology_reads_the_answers_of_another_with_the_shipped_schema() -> None:
    first = plan_of(FIRST)
    second = load(SECOND, "second.yaml", {"prediction.avsc": PREDICTION}.get)
    broker = make_broker(first)
    for topic, partitions, _ in second.topics:
        if topic != "scores":
            broker.create_topic(topic, partitions)
    send(broker, first.streams["payments"], [payment(number) for number in range(20)])
    run_to_end(first, broker, {"embed": probe(("amount", "at_ms"), "embed")})
    run_to_end(second, broker, {"judge": probe(second.models["judge"].columns(), "judge")})

    name = sum(b"embed")
    verdicts = {row["prediction_id"]: row["outputs"][:3] for row in read(broker, second.streams["verdicts"])}  # type: ignore[index]
    assert verdicts == {f"p{n}": [float(n), 1000.0 * n, float(name)] for n in range(20)}
