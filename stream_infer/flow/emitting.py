"""flow.emitting: answers, decisions, rejects, joined rows and cuts as records. deciding | feedback → *emitting* → edge.

(step 8 in the life of an event)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stream_infer.codec.internal import CUT, DECISION, JOINED, PREDICTION, REJECT
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.feedback import Joined
from stream_infer.flow.commands import Produce
from stream_infer.flow.deciding import Choice, answer_keys
from stream_infer.flow.rows import Bad
from stream_infer.flow.transport import no_text
from stream_infer.records import Bools, Column, Floats, Ints, Lists, Matrix, Numbers, Text
from stream_infer.topology.plan import DecideStep, StreamPlan

# A producer takes 1,000,000 bytes a record by default, a topic 1,048,588; the key is written twice.
REJECTED_VALUE_BYTES_MAX = 700_000
REJECTED_KEY_BYTES_MAX = 100_000


def repeated(choices: Sequence[str], index: Ints) -> Text:
    """Text[n]: row i is choices[index[i]]; the texts are stored once."""
    raw = [choice.encode() for choice in choices]
    size = np.array([len(text) for text in raw], dtype=np.int64)
    start = np.zeros(len(raw), dtype=np.int64)
    np.cumsum(size[:-1], out=start[1:])
    return Text(np.frombuffer(b"".join(raw), dtype=np.uint8), start[index], size[index])


def constant(text: str, rows: int) -> Text:
    """Text[rows], every row the same."""
    return repeated([text], np.zeros(rows, dtype=np.int64))


def same_list(values: Floats | Ints, rows: int, dtype: type[np.generic]) -> Lists:
    """Lists[rows], every row the same list, stored once."""
    items = np.asarray(values, dtype=dtype)
    return Lists(items, np.zeros(rows, dtype=np.int64), np.full(rows, len(items), dtype=np.int64))


class AnswerEmitter:
    """Predictions and the decision log of one decide step."""

    def __init__(self, step: DecideStep, stream: StreamPlan | None, decisions_topic: str, partition: int, partitions: int) -> None:
        self._step, self._stream, self._decisions_topic, self._partition = step, stream, decisions_topic, partition
        schema, form, framing = (PREDICTION, "avro", "confluent") if stream is None else (stream.schema, stream.format, stream.framing)
        record = parse_schema(schema)
        self._fields = tuple(field.name for field in record.fields)
        self._predictions = RowEncoder(record, form, framing)
        self._decisions = RowEncoder(parse_schema(DECISION), "avro", "confluent")
        # Partition p answers into partition p where the counts allow it: then the order of the input is the order of the output.
        self._into = partition if stream is not None and stream.partitions == partitions else None

    def emit(self, choice: Choice, ok: Bools, offsets: Ints, cut: int, key: str | None, context: Matrix) -> list[Produce]:
        """Records for the rows that were answered. ok: bool[rows]; offsets: where the chunk began; context: what learners see."""
        rows = np.flatnonzero(ok)
        if not len(rows):
            return []
        common = self._common(choice, rows, cut)
        keys = answer_keys(choice, key).take(rows)
        out: list[Produce] = []
        if self._stream is not None:
            ours = common | self._answer_columns(choice, rows, offsets)
            carried = choice.flowing.columns
            predictions = {name: ours[name] if name in ours else carried[name].take(rows) for name in self._fields}
            out.append(Produce(self._stream.topic, self._into, keys, self._predictions.encode(predictions)))
        arm = Numbers(choice.arm[rows].astype(np.int32))
        decisions = common | {"arm": arm, "features": Lists.of_matrix(context[rows])}
        out.append(Produce(self._decisions_topic, self._partition, keys, self._decisions.encode(decisions)))
        return out

    def _common(self, choice: Choice, rows: Ints, cut: int) -> dict[str, Column]:
        count, flowing = len(rows), choice.flowing
        answers = self.answers(choice)
        return {
            "prediction_id": choice.ids.take(rows),
            "event_time": Numbers(flowing.times[rows]),
            "stage": constant(self._step.name, count),
            "propensity": Numbers(choice.propensity[rows]),
            "propensities": same_list(choice.shares, count, np.float64),
            "policy_version": Numbers(np.full(count, choice.policy_version, dtype=np.int64)),
            "answer": Numbers(answers.values[rows]),
            "outputs": self._outputs(choice, rows),
            "source_topic": constant(flowing.topic, count),
            "source_partition": Numbers(flowing.partition[rows].astype(np.int32)),
            "source_offset": Numbers(flowing.offsets[rows]),
            "cut": Numbers(np.full(count, cut, dtype=np.int64)),
        }

    def _answer_columns(self, choice: Choice, rows: Ints, offsets: Ints) -> dict[str, Column]:
        count, arms = len(rows), self._step.arms
        arm = choice.arm[rows]
        shadows = [choice.outputs[name][rows, 0] if name in choice.outputs else np.full(count, np.nan) for name in self._step.shadows]
        matrix = np.stack(shadows, axis=1) if shadows else np.zeros((count, 0))
        return {
            "model": repeated(arms, arm),
            "model_version": repeated([choice.versions[name][1] for name in arms], arm),
            "arm": repeated(arms, arm),
            "shadows": Lists.of_matrix(matrix),
            "offsets": same_list(offsets, count, np.int64),
        }

    def answers(self, choice: Choice) -> Numbers:
        """float64[rows]: the first output of the chosen model."""
        answer = np.full(len(choice), np.nan)
        for number, name in enumerate(self._step.arms):
            mine = choice.arm == number
            if name in choice.outputs:
                answer[mine] = choice.outputs[name][mine, 0]
        return Numbers(answer)

    def _outputs(self, choice: Choice, rows: Ints) -> Lists:
        """All outputs of the chosen model; models of one step may differ in how many they have."""
        width = np.array([choice.outputs[name].shape[1] if name in choice.outputs else 0 for name in self._step.arms], dtype=np.int64)
        table = np.full((len(choice), int(width.max(initial=0))), np.nan)
        for number, name in enumerate(self._step.arms):
            mine = choice.arm == number
            if name in choice.outputs:
                table[mine, : width[number]] = choice.outputs[name][mine]
        lists = Lists.of_matrix(table[rows])
        return Lists(lists.items, lists.start, width[choice.arm[rows]])


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
            "stage": constant(stage, len(bad)),
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
        self._topic, self._source = topic, source
        self._encoder = RowEncoder(parse_schema(JOINED), "avro", "confluent")

    def rows(self, joined: Joined) -> list[Produce]:
        """Decisions whose wait has ended, with label and reward where there are any."""
        count = len(joined.ids)
        if not count:
            return []
        label, reward = ~np.isnan(joined.labels), ~np.isnan(joined.rewards)
        columns: dict[str, Column] = {
            "prediction_id": joined.ids,
            "source": Numbers(np.full(count, self._source, dtype=np.int32)),
            "event_time": Numbers(joined.event_time),
            "closed_at": Numbers(joined.closed_at),
            "arm": Numbers(joined.arm.astype(np.int32)),
            "propensity": Numbers(joined.propensity),
            "policy_version": Numbers(joined.policy_version),
            "answer": Numbers(joined.answer),
            "label": Numbers(np.nan_to_num(joined.labels), label),
            "reward": Numbers(np.nan_to_num(joined.rewards), reward),
            "features": Lists.of_matrix(joined.features),
            "kind": constant("ROW", count),
        }
        return [Produce(self._topic, 0, joined.ids, self._encoder.encode(columns))]

    def mark(self, reached: int) -> list[Produce]:
        """The promise that no joined row that closed before `reached` will follow from this task."""
        zero, none = np.zeros(1), np.zeros(1, dtype=np.bool_)
        columns: dict[str, Column] = {
            "prediction_id": constant("", 1),
            "source": Numbers(np.full(1, self._source, dtype=np.int32)),
            "event_time": Numbers(np.full(1, reached, dtype=np.int64)),
            "closed_at": Numbers(np.full(1, reached, dtype=np.int64)),
            "arm": Numbers(np.zeros(1, dtype=np.int32)),
            "propensity": Numbers(zero),
            "policy_version": Numbers(np.zeros(1, dtype=np.int64)),
            "answer": Numbers(zero),
            "label": Numbers(zero, none),
            "reward": Numbers(zero, none),
            "features": Lists.of_matrix(np.zeros((1, 0), dtype=np.float32)),
            "kind": constant("MARK", 1),
        }
        return [Produce(self._topic, 0, no_text(1), self._encoder.encode(columns))]


class CutEmitter:
    """Where the chunks of a task were cut: what a rebuild of any prediction needs beside the logs."""

    def __init__(self, topic: str, section: str, partition: int) -> None:
        self._topic, self._section, self._partition = topic, section, partition
        self._encoder = RowEncoder(parse_schema(CUT), "avro", "confluent")

    def emit(self, number: int, rows: int, reached: int, offsets: Ints, versions: Sequence[int]) -> list[Produce]:
        """One record per chunk with answers. offsets: next offset per channel when it began; versions: of policy and models."""
        columns: dict[str, Column] = {
            "section": constant(self._section, 1),
            "partition": Numbers(np.full(1, self._partition, dtype=np.int32)),
            "cut": Numbers(np.full(1, number, dtype=np.int64)),
            "rows": Numbers(np.full(1, rows, dtype=np.int32)),
            "reached": Numbers(np.full(1, reached, dtype=np.int64)),
            "offsets": same_list(offsets, 1, np.int64),
            "versions": same_list(np.asarray(versions, dtype=np.int64), 1, np.int64),
        }
        return [Produce(self._topic, self._partition, no_text(1), self._encoder.encode(columns))]
