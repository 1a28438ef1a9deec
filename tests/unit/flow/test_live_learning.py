"""Live, learning keeps up with events that never pause. Oracle: the number of epochs that passed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from loadgen.synthetic import PaymentSettings, payments
from stream_infer.cli import load_plan
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.edge.workers import load_models
from stream_infer.flow.versions import statics
from stream_infer.flow.worker import Worker
from stream_infer.records import Text
from stream_infer.sim.forwarding import SimForwarder
from stream_infer.sim.play import make_broker, read
from stream_infer.sim.transport import SimTransport

ROOT = Path(__file__).parents[3]
TURN_MS = 60_000  # of event time per turn: chunks then pass the edge of an epoch as often as not


def test_live_a_version_comes_with_every_epoch_though_events_never_pause() -> None:
    plan = load_plan(ROOT / "topologies" / "payments" / "payments.yaml")
    models, events = load_models(plan, {}), payments(PaymentSettings(rate=1, duration_s=18_000, cards=200))
    broker = make_broker(plan)
    transport, forwarder = SimTransport(broker, plan.name, "0"), SimForwarder(models, broker.draw)
    worker = Worker(plan, statics(plan.models, models), transport, forwarder, lambda: broker.now_ms)
    worker.start()
    begin = int(events.tables["payments"].event_time[0])
    for turn in range(18_000_000 // TURN_MS):
        for name in ("payments", "outcomes"):
            stream, table = plan.streams[name], events.tables[name]
            now = (table.event_time >= begin + turn * TURN_MS) & (table.event_time < begin + (turn + 1) * TURN_MS)
            if now.any():
                part, schema = table.take(np.flatnonzero(now)), parse_schema(stream.schema, name)
                columns = {field.name: part.columns[field.name] for field in schema.fields}
                values = RowEncoder(schema, stream.format, stream.framing).encode(columns)
                keys = part.columns["card_id"]
                assert isinstance(keys, Text)
                broker.append(stream.topic, keys.raw(), values.raw(), timestamps=part.event_time)
        for _ in range(8):
            worker.step(0)
            broker.advance(50)
    used = {str(row["model_version"]) for row in read(broker, plan.streams["scores"])}
    # 5 h of events, 2 h until the first outcome is final: 18 epochs of ten minutes are left
    assert len(used) >= 15, sorted(used)
