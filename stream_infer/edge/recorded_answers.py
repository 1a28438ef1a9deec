"""edge.recorded_answers: what a topology answered and what came of it, as columns. kafka → *recorded_answers* → edge.replaying."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from stream_infer.codec.block import Block, BlockError
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.blocks import read_blocks
from stream_infer.flow.rerun import deciding_section
from stream_infer.flow.rows import GOOD, Intake
from stream_infer.flow.transport import Logs
from stream_infer.records import Column, Floats, Numbers, Text, concat_columns
from stream_infer.topology.plan import FeedbackStep, Plan

# What is laid side by side. All but the answer may be missing on record.
NAMES = ("prediction_id", "source_partition", "source_offset", "event_time", "answer", "outputs", "arm", "propensity", "model_version")
PLACE = ("source_partition", "source_offset")
Columns = dict[str, Column]


@dataclass(frozen=True)
class Told:
    """label, reward: float64 by prediction id, NaN where none came."""

    label: dict[bytes, float]
    reward: dict[bytes, float]

    def of(self, ids: list[bytes]) -> tuple[Floats, Floats]:
        """(labels, rewards) of these predictions."""
        nan = float("nan")
        return np.array([self.label.get(one, nan) for one in ids]), np.array([self.reward.get(one, nan) for one in ids])


def recorded_answers(plan: Plan, logs: Logs) -> Columns:
    """Every committed answer of the topology: those of NAMES that predictions and decision log hold, always with PLACE."""
    _, step = deciding_section(plan)
    if step.emits_to is None:
        return _decisions(plan, logs, NAMES)
    stream = plan.streams[step.emits_to]
    intake = Intake(stream)
    fields = [field.name for field in intake.schema.fields if field.name in NAMES]
    if "answer" not in fields or "prediction_id" not in fields:
        fix = "leave `fields` out of the emit stage, or add prediction_id and answer"
        raise EnvironmentMissing(f"topic {stream.topic} does not hold what is to be compared", got=", ".join(fields), fix=fix)
    parts: list[Columns] = []
    for partition in range(stream.partitions):
        for fetched in filter(len, logs.read((stream.topic, partition), 0)):
            rows = intake.rows(fetched)
            rows = rows.take(rows.flags == GOOD)
            parts.append({name: rows.columns[name] for name in fields})
    answers = _joined(parts)
    missing = [name for name in NAMES if name not in fields]
    if not answers or not set(PLACE) & set(missing):
        return answers
    return answers | _by_id(answers["prediction_id"], _decisions(plan, logs, ("prediction_id", *missing)), stream.topic)


def _joined(parts: list[Columns]) -> Columns:
    return {name: concat_columns([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _decisions(plan: Plan, logs: Logs, names: tuple[str, ...]) -> Columns:
    """Those of the names that the decision log tells row by row."""
    partitions = next(count for topic, count, _ in plan.topics if topic == plan.decisions_topic)
    parts: list[Columns] = []
    for partition in range(partitions):
        for fetched in logs.read((plan.decisions_topic, partition), 0):
            parts += [_columns(block, names) for block in read_blocks(fetched) if isinstance(block, Block) and block.rows]
    return _joined(parts)


def _columns(block: Block, names: tuple[str, ...]) -> Columns:
    return {name: block.columns[name] for name in names if name in block.columns}


def _by_id(ids: Column, decisions: Columns, topic: str) -> Columns:
    """The decisions in the order of the predictions; of several with one id, the first goes with the first."""
    if not decisions:
        raise EnvironmentMissing(f"neither {topic} nor the decision log says where the rows were read", fix="add source_offset to `fields`")
    places: dict[object, deque[int]] = {}
    for row, one in enumerate(decisions["prediction_id"].to_list()):
        places.setdefault(one, deque()).append(row)
    found = np.array([places[one].popleft() if places.get(one) else -1 for one in ids.to_list()], dtype=np.int64)
    if (found < 0).any():
        raise EnvironmentMissing(f"the decision log does not hold all predictions of {topic}", fix="was it emptied by retention?")
    return {name: column.take(found) for name, column in decisions.items() if name != "prediction_id"}


def labels_of(plan: Plan, logs: Logs) -> Told:
    """What the join of feedback said of each decision that is closed: nothing where the topology has no feedback."""
    _, decide = deciding_section(plan)
    steps = [s for section in plan.sections for s in section.steps if isinstance(s, FeedbackStep) and s.decides == decide.name]
    told = Told({}, {})
    for step in steps[:1]:
        stream = plan.streams[step.joined_to]
        for partition in range(stream.partitions):
            for fetched in logs.read((stream.topic, partition), 0):
                for block in read_blocks(fetched):
                    if not isinstance(block, BlockError) and block.rows:
                        ids = block.columns["prediction_id"]
                        assert isinstance(ids, Text)
                        names = [one or b"" for one in ids.raw()]
                        told.label.update(zip(names, floats(block.columns["label"]).tolist(), strict=True))
                        told.reward.update(zip(names, floats(block.columns["reward"]).tolist(), strict=True))
    return told


def floats(column: Column) -> Floats:
    """float64[n], NaN where absent."""
    assert isinstance(column, Numbers)
    return column.floats()
