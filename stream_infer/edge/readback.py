"""edge.readback: what a run wrote and what the world said, as columns for a report. kafka → *readback* → report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stream_infer.codec.framing import PREFIX_BYTES
from stream_infer.codec.internal import PREDICTION
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.report.columns import Labels, Predictions
from stream_infer.edge.report.digest import digest
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.rows import GOOD, Intake, Rows, concat_rows
from stream_infer.records import Column, Lists, Numbers, Text, concat_columns
from stream_infer.topology.plan import DecideStep, FeedbackStep, Plan, StreamPlan


@dataclass(frozen=True, slots=True)
class Outcome:
    """Predictions of a topology, the labels that belong to them, and the digest over all predictions."""

    predictions: Predictions
    labels: Labels
    sha256: str


def read_outcome(plan: Plan, transport: KafkaTransport) -> Outcome:
    """Everything that a read-committed reader sees now, of the first decide step and its feedback."""
    steps = [step for section in plan.sections for step in section.steps]
    decide = next(s for s in steps if isinstance(s, DecideStep))
    if decide.emits_to is None:
        raise EnvironmentMissing(f"stage {decide.name} emits nothing", fix="add an emit stage that names it in `from`")
    stream = plan.streams[decide.emits_to]
    columns, values = _columns(stream, transport)
    feedback = next((s for s in steps if isinstance(s, FeedbackStep) and s.decides == decide.name), None)
    predictions = _predictions(decide, columns)
    labels = (
        _labels(plan.streams[feedback.feedback], feedback, columns, transport) if feedback is not None else _no_labels(len(predictions))
    )
    addresses = list(zip(_texts(columns["source_topic"]), _ints(columns["source_partition"]), _ints(columns["source_offset"]), strict=True))
    return Outcome(predictions, labels, digest(values, addresses))


def _read(stream: StreamPlan, transport: KafkaTransport) -> Iterator[Rows]:
    intake = Intake(stream)
    for partition in range(stream.partitions):
        for fetched in transport.read((stream.topic, partition), 0):
            yield intake.rows(fetched)


def _columns(stream: StreamPlan, transport: KafkaTransport) -> tuple[dict[str, Column], list[bytes]]:
    intake = Intake(StreamPlan(stream.name, stream.topic, PREDICTION, stream.partitions, format=stream.format, framing=stream.framing))
    parts: list[Rows] = []
    values: list[bytes] = []
    skip = PREFIX_BYTES if stream.framing == "confluent" and stream.format == "avro" else 0
    for partition in range(stream.partitions):
        for fetched in transport.read((stream.topic, partition), 0):
            rows = intake.rows(fetched)
            assert (rows.flags == GOOD).all(), f"{stream.topic}[{partition}] holds records that are no predictions"
            parts.append(rows)
            values += [(value or b"")[skip:] for value in fetched.values.raw()]
    if not parts:
        raise EnvironmentMissing(
            f"topic {stream.topic} holds no predictions", fix="run the topology first, and send it events that pass `where`"
        )
    return {name: concat_columns([part.columns[name] for part in parts]) for name in parts[0].columns}, values


def _predictions(decide: DecideStep, columns: dict[str, Column]) -> Predictions:
    arms = _texts(columns["arm"])
    place = {name: number for number, name in enumerate(decide.arms)}
    ids = columns["prediction_id"]
    assert isinstance(ids, Text)
    return Predictions(
        event_time=np.array(_ints(columns["event_time"]), dtype=np.int64),
        arm=np.array([place[arm] for arm in arms], dtype=np.int64),
        arms=decide.arms,
        answer=_floats(columns["answer"]),
        propensity=_floats(columns["propensity"]),
        propensities=_matrix(columns["propensities"], len(decide.arms)),
        policy_version=np.array(_ints(columns["policy_version"]), dtype=np.int64),
        shadows=_matrix(columns["shadows"], len(decide.shadows)),
        shadow_names=decide.shadows,
        prediction_id=ids,
    )


def _labels(stream: StreamPlan, step: FeedbackStep, columns: dict[str, Column], transport: KafkaTransport) -> Labels:
    """The first feedback row of each prediction, as the join takes it, if it came in time."""
    known: dict[bytes | None, tuple[float, int]] = {}
    parts = list(_read(stream, transport))
    rows = concat_rows(parts) if parts else None
    if rows is not None:
        good = rows.take(rows.flags == GOOD)
        on, label = good.columns[step.settings.on], good.columns[step.settings.label]
        assert isinstance(on, Text)
        assert isinstance(label, Numbers)
        for name, value, time in zip(on.raw(), label.floats().tolist(), good.times.tolist(), strict=True):
            known.setdefault(name, (value, time))
    ids = columns["prediction_id"]
    assert isinstance(ids, Text)
    found = [known.get(name, (np.nan, 0)) for name in ids.raw()]
    labels = np.array([value for value, _ in found], dtype=np.float64)
    times = np.array([time for _, time in found], dtype=np.int64)
    late = times > np.array(_ints(columns["event_time"]), dtype=np.int64) + step.settings.wait_ms_max
    labels[late] = np.nan
    return Labels(labels, times)


def _no_labels(rows: int) -> Labels:
    return Labels(np.full(rows, np.nan), np.zeros(rows, dtype=np.int64))


def _texts(column: Column) -> list[str]:
    return [str(text) for text in column.to_list()]


def _ints(column: Column) -> list[int]:
    assert isinstance(column, Numbers)
    return [int(value) for value in column.values.tolist()]


def _floats(column: Column) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    assert isinstance(column, Numbers)
    return column.floats()


def _matrix(column: Column, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    assert isinstance(column, Lists)
    places = column.start[:, None] + np.arange(width, dtype=np.int64)
    out: np.ndarray[tuple[int, int], np.dtype[np.float64]] = column.items[places].astype(np.float64).reshape(len(column), width)
    return out
