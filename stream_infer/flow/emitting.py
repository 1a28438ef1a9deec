"""flow.emitting: answers, decisions, rejects and joined rows as records. deciding | feedback → *emitting* → edge.

(step 8 in the life of an event)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stream_infer.codec.internal import REJECT
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import FieldSchema, parse_schema
from stream_infer.decide.graph import Graph
from stream_infer.feedback import Joined
from stream_infer.flow.answers import SAID, Answers
from stream_infer.flow.blocks import BlockEmitter
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Produce
from stream_infer.flow.deciding import answer_keys
from stream_infer.flow.rows import Bad
from stream_infer.records import Bools, Column, Ints, Lists, Matrix, Numbers, Same, Text
from stream_infer.topology.plan import DecideStep, StreamPlan
from stream_infer.topology.spec_names import ANSWER_FIELDS, PREDICTION_FIELDS

# A producer takes 1,000,000 bytes a record by default, a topic 1,048,588; the key is written twice.
REJECTED_VALUE_BYTES_MAX = 700_000
REJECTED_KEY_BYTES_MAX = 100_000


class AnswerEmitter:
    """Predictions of one decide step, and the decision log: what learners saw, and what the predictions leave out."""

    def __init__(
        self, step: DecideStep, graph: Graph, stream: StreamPlan | None, decisions_topic: str, partition: int, partitions: int
    ) -> None:
        self._stream, self._partition = stream, partition
        self._answers = Answers(step, graph)
        fields: tuple[FieldSchema, ...] = ()
        self._encoder: RowEncoder | None = None
        if stream is not None:
            schema = parse_schema(stream.schema, stream.name)
            fields, self._encoder = schema.fields, RowEncoder(schema, stream.format, stream.framing)
        self._made = [field.name for field in fields if field.name in ANSWER_FIELDS]
        self._taken = [field.name for field in fields if field.name not in ANSWER_FIELDS]
        # JSON has no NaN, and a list of numbers may hold some.
        self._lists = [field for field in fields if field.kind == "array" and stream is not None and stream.format == "json"]
        self._logged, self._said = _logged(step, graph, {field.name for field in fields})
        self._decisions = BlockEmitter(decisions_topic, partition)
        # Partition p answers into partition p where the counts allow it: then the order of the input is the order of the output.
        self._into = partition if stream is not None and stream.partitions == partitions else None

    def emit(self, choice: Choice, ok: Bools, offsets: Ints, cut: int, key: str | None, context: Matrix) -> list[Produce]:
        """Records for the rows that were answered. ok: bool[rows]; offsets: where the chunk began; context: what learners see."""
        count = int(np.count_nonzero(ok))
        if not count:
            return []
        rows = None if count == len(ok) else np.flatnonzero(ok)
        out: list[Produce] = []
        self._answers.take(choice, slice(None) if rows is None else rows, count, offsets, cut)
        if self._stream is not None and self._encoder is not None:
            keys = answer_keys(choice, key)
            values = self._encoder.encode(self._columns(choice, rows))
            out.append(Produce(self._stream.topic, self._into, keys if rows is None else keys.take(rows), values))
        return out + self._decided(count, context if rows is None else context[rows])

    def told(self, choice: Choice, ok: Bools, offsets: Ints, cut: int, names: Sequence[str]) -> dict[str, Column]:
        """Fields of predictions, and columns of their rows, for whoever works on with the rows that were answered. As emit() otherwise."""
        rows = np.flatnonzero(ok)
        self._answers.take(choice, rows, len(rows), offsets, cut)
        ours = [name for name in names if name in ANSWER_FIELDS]
        made: dict[str, Column] = {name: self._answers.column(name) for name in ours}
        return made | {name: choice.flowing.columns[name].take(rows) for name in names if name not in ours}

    def _columns(self, choice: Choice, rows: Ints | None) -> dict[str, Column | Same]:
        """The fields of the predictions. rows: None: all."""
        flowing = choice.flowing.columns
        columns: dict[str, Column | Same] = {name: self._answers.field(name) for name in self._made}
        for name in self._taken:
            columns[name] = flowing[name] if rows is None else flowing[name].take(rows)
        for field in self._lists:
            column = columns[field.name]
            if isinstance(column, Lists):
                columns[field.name] = _finite(column, field)
        return columns

    def _decided(self, count: int, context: Matrix) -> list[Produce]:
        """Nothing where the predictions say it all."""
        columns: dict[str, Column] = {name: self._answers.column(name) for name in self._logged}
        if context.shape[1]:
            columns["features"] = Lists.of_matrix(context)
        if not columns and not self._said:
            return []
        said = self._answers.said()
        head = {name: said[name] for name in self._said}
        return self._decisions.rows({"prediction_id": self._answers.column("prediction_id"), **columns}, count, self._partition, head)

    def answers(self, choice: Choice) -> Numbers:
        """float64[rows]: the first output of the chosen model."""
        return self._answers.first(choice)


def _logged(step: DecideStep, graph: Graph, told: set[str]) -> tuple[list[str], list[str]]:
    """What the decision log holds: columns, and what is said once for all rows. told: fields of the predictions.

    Without predictions it is everything. Else it is what they leave out of what no replay can find again: where the row was, how an arm
    was drawn, what the shadows said, which members of ensembles were late.
    """
    wanted = set(PREDICTION_FIELDS if graph.plain else ANSWER_FIELDS)
    if told:
        wanted = {"source_topic", "source_partition", "source_offset", "cut"}
        wanted |= {"arm", "propensity", "propensities", "policy_version"} if len(step.arms) > 1 else set()
        wanted |= {"shadows"} if step.shadows else set()
        wanted |= {"missing"} if graph.timed else set()
    left = [name for name in ANSWER_FIELDS if name in wanted - told - {"prediction_id"}]
    said = [name for name in SAID if name != "propensities" or step.policy.segment is None]
    return [name for name in left if name not in said], [name for name in left if name in said]


def _finite(column: Lists, field: FieldSchema) -> Lists:
    """JSON has no NaN: a list that holds one (of a shadow that failed) is null where it may be, else empty."""
    bad = np.concatenate([[0], np.cumsum(~np.isfinite(column.items))])
    good = bad[column.start + column.size] == bad[column.start]
    if good.all():
        return column
    valid = (good if column.valid is None else good & column.valid) if field.nullable else column.valid
    return Lists(column.items, column.start, np.where(good, column.size, 0), valid)


class RejectEmitter:
    """Rows that could not be answered, with what came and why. Of what is too large for a record of ours, the first bytes are kept."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._encoder = RowEncoder(parse_schema(REJECT), "avro", "confluent")

    def emit(self, bad: Sequence[Bad], stage: str) -> list[Produce]:
        """One record per rejected row, keyed as it came."""
        if not bad:
            return []
        bad = [_short(b) for b in bad]
        columns: dict[str, Column] = {
            "source_topic": Text.of(b.topic for b in bad),
            "source_partition": Numbers(np.array([b.partition for b in bad], dtype=np.int32)),
            "source_offset": Numbers(np.array([b.offset for b in bad], dtype=np.int64)),
            "stage": Text.of([stage] * len(bad)),
            "reason": Text.of(b.reason for b in bad),
            "key": Text.of((b.key for b in bad), is_bytes=True),
            "value": Text.of((b.value for b in bad), is_bytes=True),
        }
        return [Produce(self._topic, None, Text.of((b.key for b in bad), is_bytes=True), self._encoder.encode(columns))]


def _short(bad: Bad) -> Bad:
    """With key and value cut where they are longer than a reject can hold: a record that we cannot write would stop us for ever."""
    for part, limit in (("value", REJECTED_VALUE_BYTES_MAX), ("key", REJECTED_KEY_BYTES_MAX)):
        whole = getattr(bad, part)
        if whole is not None and len(whole) > limit:
            bad = replace(bad, **{part: whole[:limit]}, reason=f"{bad.reason} (of its {part}, the first {limit} bytes are kept)")
    return bad


class JoinedEmitter:
    """Joined rows and marks for the learn section. source: number of the task that writes them."""

    def __init__(self, topic: str, source: int) -> None:
        self._blocks = BlockEmitter(topic, source)

    def rows(self, joined: Joined) -> list[Produce]:
        """Decisions whose wait has ended, with label and reward where there are any."""
        label, reward = ~np.isnan(joined.labels), ~np.isnan(joined.rewards)
        columns: dict[str, Column] = {
            "prediction_id": joined.ids,
            "event_time": Numbers(joined.event_time),
            "closed_at": Numbers(joined.closed_at),
            "arm": Numbers(joined.arm.astype(np.int32)),
            "propensity": Numbers(joined.propensity),
            "policy_version": Numbers(joined.policy_version),
            "answer": Numbers(joined.answer),
            "label": Numbers(np.nan_to_num(joined.labels), label),
            "reward": Numbers(np.nan_to_num(joined.rewards), reward),
            "features": Lists.of_matrix(joined.features),
        }
        if joined.segment is not None:
            columns["segment"] = Numbers(joined.segment)
        return self._blocks.rows(columns, len(joined), 0)

    def mark(self, reached: int) -> list[Produce]:
        """The promise that no joined row that closed before `reached` will follow from this task."""
        return [self._blocks.mark(reached, 0)]
