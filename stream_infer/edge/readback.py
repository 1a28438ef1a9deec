"""edge.readback: what a run wrote and what the world said, as columns for a report. kafka → *readback* → report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from stream_infer.codec.framing import PREFIX_BYTES
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.report.columns import Labels, Predictions
from stream_infer.edge.report.digest import digest
from stream_infer.errors import EnvironmentMissing
from stream_infer.feedback_settings import FeedbackSettings
from stream_infer.flow.rows import GOOD, Intake, Rows
from stream_infer.records import Column, Lists, Numbers, Text, concat_columns
from stream_infer.topology.plan import DecideStep, FeedbackStep, Plan, StreamPlan

_NEEDED: tuple[str, ...] = ("prediction_id", "event_time", "answer", "arm", "propensity", "propensities", "policy_version", "shadows")
_NEEDED += ("source_topic", "source_partition", "source_offset")


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
        for fetched in filter(len, transport.read((stream.topic, partition), 0)):
            yield intake.rows(fetched)


def _columns(stream: StreamPlan, transport: KafkaTransport) -> tuple[dict[str, Column], list[bytes]]:
    intake = Intake(stream)
    lacking = [name for name in _NEEDED if name not in {field.name for field in intake.schema.fields}]
    if lacking:
        fix = f"leave `fields` out of the emit stage, or add: {', '.join(lacking)}"
        raise EnvironmentMissing(f"topic {stream.topic} does not hold what a report tells", got=f"no {lacking[0]}", fix=fix)
    parts: list[Rows] = []
    values: list[bytes] = []
    skip = PREFIX_BYTES if stream.framing == "confluent" and stream.format == "avro" else 0
    for partition in range(stream.partitions):
        for fetched in filter(len, transport.read((stream.topic, partition), 0)):
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
    """What the feedback that came in time says of each prediction, as the join takes it, and when the last of it came."""
    settings = step.settings
    told: dict[bytes | None, dict[object, tuple[float, int]]] = {}  # by prediction, then by name of the feedback row
    number = count()
    for rows in _read(stream, transport):
        good = rows.take(rows.flags == GOOD)
        on, label = good.columns[settings.on], good.columns[settings.label]
        assert isinstance(on, Text)
        assert isinstance(label, Numbers)
        names = [next(number) for _ in range(len(good))] if settings.feedback_id is None else good.columns[settings.feedback_id].to_list()
        for row, name, value, time in zip(on.raw(), names, label.floats().tolist(), good.times.tolist(), strict=True):
            if not np.isnan(value):
                told.setdefault(row, {}).setdefault(name, (value, time))
    ids = columns["prediction_id"]
    assert isinstance(ids, Text)
    decided = zip(ids.raw(), _ints(columns["event_time"]), strict=True)
    found = [_label(told.get(row, {}), decided_at, settings) for row, decided_at in decided]
    return Labels(np.array([label for label, _ in found], dtype=np.float64), np.array([time for _, time in found], dtype=np.int64))


def _label(told: dict[object, tuple[float, int]], decided_at: int, settings: FeedbackSettings) -> tuple[float, int]:
    """The label of one decision and when it was known."""
    end = decided_at + settings.wait_ms_max
    rows = [row for row in told.values() if decided_at - settings.early_ms_max <= row[1] <= end]
    if not rows:
        return (np.nan, 0) if settings.absent is None else (settings.absent, end)
    if settings.take == "first":
        return rows[0]
    values = [value for value, _ in rows]
    return (values[-1] if settings.take == "last" else sum(values) if settings.take == "sum" else max(values)), max(t for _, t in rows)


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
