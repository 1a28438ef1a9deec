"""What is on record of a prediction, and what follows when it was changed, is brief, or is gone. Oracle: the records of a live run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.errors import EnvironmentMissing, StreamInferError
from stream_infer.flow.rows import Intake
from stream_infer.records import Column, Lists, Numbers, Text
from stream_infer.sim.log import fetched
from stream_infer.topology.plan import StreamPlan
from tests.unit.edge.support_rebuilding import STAGES, Live, live, sample


def tampered(run: Live, id_: str, **fields: Any) -> None:
    """The record of a prediction is given other values, as somebody with access to the broker's files might."""
    stream = run.pay.plan.streams["scores"]
    for partition in range(stream.partitions):
        log = run.pay.broker.log((stream.topic, partition))
        for at, record in enumerate(log._records):
            read = Intake(stream).rows(fetched(stream.topic, partition, [record]))
            row = {name: column.to_list()[0] for name, column in read.columns.items()}
            if row["prediction_id"] == id_:
                encoder = RowEncoder(parse_schema(stream.schema), stream.format, stream.framing)
                value = encoder.encode(_columns(stream, row | fields)).raw()[0]
                log._records[at] = record._replace(value=value)


def _columns(stream: StreamPlan, row: dict[str, Any]) -> dict[str, Column]:
    made = {}
    for one in parse_schema(stream.schema).fields:
        value = row[one.name]
        if isinstance(value, list):
            made[one.name] = Lists.of_matrix(np.array([value], dtype=np.int64 if one.item == "long" else np.float64))
        else:
            kinds = {"int": np.int32, "long": np.int64, "double": np.float64}
            made[one.name] = Text.of([value]) if one.kind == "string" else Numbers(np.array([value], dtype=kinds[one.kind]))
    return made


def test_a_record_that_was_changed_is_told_from_the_one_that_was_written() -> None:
    run = live(5)
    run.run(30)
    id_ = sample(run, 9)[5]
    answer = float(str(run.rebuilt(id_).recorded.row["answer"]))
    tampered(run, id_, answer=answer)
    assert run.rebuilt(id_).identical, "the same values are the same bytes"
    for changed, words in ((answer + 1.0, "changed after it was written"), (float(np.nextafter(answer, 2.0)), "last digits")):
        tampered(run, id_, answer=changed)
        found = run.rebuilt(id_)
        assert not found.identical
        assert found.differences == (("answer", changed, answer),)
        assert words in found.reason


def test_what_is_not_there_any_more_is_named() -> None:
    run = live(7)
    run.run(30)
    with pytest.raises(EnvironmentMissing, match="no prediction 'nobody' on topic scores"):
        run.rebuilt("nobody")
    id_ = sample(run, 9)[5]
    place = run.rebuilt(id_).recorded
    assert run.rebuilt(id_, partition=place.partition, offset=place.offset).identical
    source = int(str(place.row["source_partition"]))
    run.pay.broker.log(("payments", source))._records.pop(0)
    with pytest.raises(StreamInferError, match=r"the chunk held \d+ rows, \d+ of them are still in the logs"):
        run.rebuilt(id_)


def test_a_prediction_that_says_little_is_completed_by_the_decision_log() -> None:
    little = STAGES.replace("to: scores,", "to: scores, fields: [prediction_id, answer],")
    run = live(9, stages=little)
    run.run(40, deaths=1)
    for id_ in sample(run, 6):
        found = run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)
        assert found.recorded.row.keys() >= {"answer", "arm", "propensities", "cut"}


def test_a_warm_up_as_long_as_the_windows_is_enough_for_them_and_said_to_be_less_than_all() -> None:
    windows = "values: {n: {count: true, window_s: 8}, total: {sum: amount, window_s: 8}}"
    run = live(15, stages=STAGES.replace("values: {n: {count: true}, total: {sum: amount}}", windows))
    run.run(90)
    ids = [f"p{number}" for number in range(70, 88, 4)]
    for id_ in ids:
        found, all_read = run.rebuilt(id_, warm_up_ms=20_000), run.rebuilt(id_)
        assert found.identical, (id_, found.differences, found.reason)
        assert all_read.identical
        assert (found.whole, all_read.whole) == (False, True)
    lifetime = live(15)
    lifetime.run(90)
    short = [lifetime.rebuilt(id_, warm_up_ms=2_000) for id_ in ids]
    assert not all(found.identical for found in short)
    assert {found.reason for found in short if not found.identical} == {
        "the inputs were not read from their beginning, so older rows may be missing in the state"
    }
