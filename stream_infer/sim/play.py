"""sim.play: rows in, rows out: a topology on the simulated broker, to the end of its logs. `stream-infer test` and users' tests.

The same worker, core and codecs as in production; only broker, clock and the models' threads are simulated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from stream_infer.codec.json_codec import JsonDecoder
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import RecordSchema, parse_schema
from stream_infer.errors import StreamInferError
from stream_infer.flow.ports import Answerer
from stream_infer.flow.rows import GOOD, Intake
from stream_infer.flow.versions import statics
from stream_infer.flow.worker import Worker
from stream_infer.models.base import Model
from stream_infer.records import Column, Numbers, Text
from stream_infer.sim.broker import SimBroker
from stream_infer.sim.calling import SimCaller
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.transport import SimTransport
from stream_infer.topology.plan import Plan, StreamPlan

Row = Mapping[str, object]
STEPS_MAX = 1_000_000  # of one worker: far above what any test needs; a run that does not end is a bug, not a wait


def make_broker(plan: Plan, seed: int = 0) -> SimBroker:
    """A simulated broker with all topics of a plan."""
    broker = SimBroker(seed)
    for topic, partitions, _ in plan.topics:
        broker.create_topic(topic, partitions)
    return broker


def send(broker: SimBroker, stream: StreamPlan, rows: Sequence[Row]) -> None:
    """Append rows to a stream's topic as a producer would: encoded by its schema, keyed by its key."""
    schema = parse_schema(stream.schema, stream.name)
    columns = columns_of(schema, rows)
    values = RowEncoder(schema, stream.format, stream.framing).encode(columns).raw()
    keys = _keys(columns[stream.key]) if stream.key is not None else [None] * len(rows)
    times = columns[stream.event_time] if stream.event_time is not None else None
    stamps = times.values.astype(np.int64) if isinstance(times, Numbers) else np.zeros(len(rows), dtype=np.int64)
    broker.append(stream.topic, keys, values, timestamps=stamps)


def _keys(column: Column) -> list[bytes | None]:
    return column.raw() if isinstance(column, Text) else [str(value).encode() for value in column.to_list()]


def columns_of(schema: RecordSchema, rows: Sequence[Row]) -> dict[str, Column]:
    """Rows as columns; StreamInferError names the row and the field that does not fit."""
    texts = Text.of(json.dumps(row) for row in rows)
    columns, rejected = JsonDecoder(schema).decode(texts)
    if len(rejected):
        raise StreamInferError(f"row {rejected.index[0] + 1} of {schema.name}: {rejected.reason[0]}")
    return columns


def read(broker: SimBroker, stream: StreamPlan) -> list[dict[str, object]]:
    """All committed rows of a stream, partition by partition."""
    intake = Intake(stream)
    found: list[dict[str, object]] = []
    for fetched in broker.dump(stream.topic):
        if len(fetched):
            rows = intake.rows(fetched)
            good = rows.take(rows.flags == GOOD)
            names = list(good.columns)
            found += [dict(zip(names, values, strict=True)) for values in zip(*(good.columns[n].to_list() for n in names), strict=True)]
    return found


def play(
    plan: Plan, given: Mapping[str, Sequence[Row]], models: Mapping[str, Model], calls: Mapping[str, Answerer] | None = None, seed: int = 0
) -> dict[str, list[dict[str, object]]]:
    """Run a topology over the given rows per stream; the rows of its output streams by name. calls: what calling stages do."""
    broker = make_broker(plan, seed)
    for name, rows in given.items():
        send(broker, plan.streams[name], rows)
    run_to_end(plan, broker, models, calls)
    inputs = {i.stream for section in plan.sections for i in section.inputs}
    return {name: read(broker, stream) for name, stream in plan.streams.items() if name not in inputs}


def run_to_end(
    plan: Plan, broker: SimBroker, models: Mapping[str, Model], calls: Mapping[str, Answerer] | None = None, slot: str = "0"
) -> Worker:
    """One deterministic worker, until the logs are worked through."""
    transport = SimTransport(broker, plan.name, f"{plan.name}.{slot}")
    forwarder = SimForwarder(models, broker.draw)
    caller = SimCaller(calls or {}, broker.draw)
    worker = Worker(plan, statics(plan.models, models), transport, forwarder, lambda: broker.now_ms, deterministic=True, caller=caller)
    worker.start()
    for _ in range(STEPS_MAX):
        worker.step(0)
        broker.advance(1)
        if worker.finished():
            worker.close()
            return worker
    raise AssertionError(f"{plan.name} did not come to the end of its logs in {STEPS_MAX} steps")
