"""Streams between tasks: places of rows, marks, what is no block, and what the group is told of records that are half done."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from stream_infer.codec.internal import JOINED
from stream_infer.flow.blocks import PLACE_BITS, BlockEmitter, BlockIntake
from stream_infer.flow.rows import BAD, GOOD
from stream_infer.records import Fetched, Numbers, Text
from stream_infer.sim.transport import SimTransport
from stream_infer.topology.plan import StreamPlan
from tests.support_flow import Pay, payment, plan_of

SCHEMA = json.dumps({"type": "record", "name": "R", "fields": [{"name": "x", "type": "double"}, {"name": "at", "type": "long"}]})
STREAM = StreamPlan("hop", "pay.hop", SCHEMA, 1, event_time="at")


def fetched(*values: bytes | None) -> Fetched:
    """Records at offsets 10, 12, 14, …"""
    count = len(values)
    keys, offsets = Text.of([None] * count), 10 + 2 * np.arange(count)
    return Fetched("pay.hop", 0, offsets, np.full(count, 99), keys, Text.of(values, is_bytes=True))


def rows(*numbers: int, source: int = 0) -> bytes:
    columns = {"x": Numbers(np.array(numbers, dtype=np.float64)), "at": Numbers(np.array(numbers) * 10)}
    (produce,) = BlockEmitter("pay.hop", source).rows(columns, len(numbers), 0)
    (value,) = produce.values.raw()
    assert value is not None
    return value


def mark(time: int, source: int = 0) -> bytes:
    (value,) = BlockEmitter("pay.hop", source).mark(time, 0).values.raw()
    assert value is not None
    return value


def test_each_row_has_a_place_and_each_writer_its_own_rows() -> None:
    found = BlockIntake(STREAM).rows(fetched(rows(1, 2), rows(5, source=2), mark(30), rows(3), mark(50, source=2), mark(20)))

    assert sorted(found.rows) == [0, 2]
    assert found.rows[0].offsets.tolist() == [10 << PLACE_BITS, (10 << PLACE_BITS) + 1, 16 << PLACE_BITS]
    assert found.rows[2].offsets.tolist() == [12 << PLACE_BITS]
    assert found.rows[0].columns["x"].to_list() == [1.0, 2.0, 3.0]
    assert found.rows[0].times.tolist() == found.rows[0].keys.tolist() == [10, 20, 30]
    assert (found.rows[0].flags == GOOD).all()
    assert found.marks == {0: 30, 2: 50}


def test_no_rows_no_record() -> None:
    assert BlockEmitter("pay.hop", 0).rows({}, 0, 0) == []


@pytest.mark.parametrize(("value", "reason"), [(None, "0 bytes"), (b"\0" * 40, "begins with 0x0 0x0"), (rows(1)[:-1], "cut off")])
def test_what_is_no_block_is_rejected_at_its_offset(value: bytes | None, reason: str) -> None:
    found = BlockIntake(STREAM).rows(fetched(rows(1), value, rows(2)))

    assert found.rows[0].flags.tolist() == [GOOD, BAD, GOOD]
    ((place, bad),) = found.rows[0].bad.items()
    assert (place, bad.offset, bad.topic, bad.value) == (12 << PLACE_BITS, 12, "pay.hop", value)
    assert reason in bad.reason


HOP = """
models:
  probe: {kind: linear, artifact: none.safetensors, inputs: [amount, n]}
stages:
  spent: {kind: features, from: payments, group_by: shop, values: {n: {count: true}}}
  score: {kind: model, from: spent, model: probe}
  out: {kind: emit, from: score, to: scores, commit_interval_ms: 1}
"""


def test_a_record_counts_as_done_when_all_its_rows_are() -> None:
    """Chunks of 3 rows, records of up to 8, commits within them: nothing is passed over, nothing answered twice."""
    plan = plan_of(HOP, partitions=2)
    pay = Pay(plan)
    pay.send("payments", *(payment(n, shop=f"s{n % 3}", card=f"c{n % 5}") for n in range(64)))
    hop = next(name for name in plan.streams if name.startswith("hops") or ".by_" in name)
    topic = plan.streams[hop].topic
    halves = 0
    for number in range(12):  # each works a little and is killed
        worker = pay.worker(chunk_rows_max=8 if number == 0 else 3)
        pay.step(worker, times=4 + number % 3)
        for task in worker.flow.tasks.values():
            for channel in task.merge.channels if task.section.flowing == hop else []:
                left = channel.candidates()
                halves += left is not None and bool(left.offsets[0] & ((1 << PLACE_BITS) - 1))
        transport = worker.transport
        assert isinstance(transport, SimTransport)
        transport.crash()
        pay.broker.advance(600)
    pay.step(pay.worker(), times=100)

    assert halves > 0
    assert sorted(pay.ids()) == sorted(f"p{n}" for n in range(64))
    for partition in range(2):  # only the end of the last transaction lies beyond
        assert pay.broker.log((topic, partition)).high - 1 <= pay.broker.group("pay").committed[topic, partition]


def test_rows_that_went_on_are_few_records() -> None:
    plan = plan_of(HOP)
    pay = Pay(plan)
    pay.send("payments", *(payment(n, shop=f"s{n % 3}") for n in range(500)))
    worker = pay.worker(deterministic=True)
    pay.settle(worker, done=worker.finished)

    assert len(pay.ids()) == 500
    topic = next(stream.topic for stream in plan.streams.values() if ".by_" in stream.name)
    (log,) = pay.broker.dump(topic)
    assert len(log) < 20
    read = BlockIntake(replace(plan.streams[topic])).rows(log)
    assert sum(map(len, read.rows.values())) == 500


def test_joined_rows_have_the_columns_of_their_schema() -> None:
    stream = StreamPlan("joined", "pay.joined", JOINED, 1, event_time="closed_at")

    assert BlockIntake(stream).rows(fetched(mark(5))).marks == {0: 5}
