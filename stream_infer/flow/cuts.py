"""flow.cuts: where the chunks of a task were cut, and how models saw them. answering → *cuts* → flow.recorded.

With the logs this is all that a rebuild of any prediction needs. Within a chunk rows are in the order of their keys, so the places where
chunks began tell the order in which a live task saw its rows. A matrix product differs in its last bits with the number of rows, so what
is said of a pass is how many rows it had, and which of them were these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream_infer.codec.internal import CUT
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.flow.commands import Produce
from stream_infer.flow.deciding import Choice
from stream_infer.flow.merge import Chunk
from stream_infer.flow.repeating import PassTold
from stream_infer.flow.transport import no_text
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Column, Ints, Lists, Numbers, Text


@dataclass(frozen=True, slots=True)
class Answered:
    """How a chunk was answered. versions: of policy and models; passes: of the models that had others than one of just their rows."""

    versions: tuple[int, ...] = ()
    passes: tuple[PassTold, ...] = ()
    wall_ms: int | None = None


NOT_ANSWERED = Answered()


def passes_told(choice: Choice, order: Sequence[str], models: Mapping[str, ModelSettings]) -> Iterator[PassTold]:
    """What cannot be known otherwise: nothing of linear models, to which neighbours mean nothing, nor of a pass of just these rows."""
    for number, name in enumerate(order):
        if models[name].kind == "linear":
            continue
        mine = [(rows, place or (0, len(rows))) for model, rows, place in choice.passes if model == name]
        if len(mine) == 1 and mine[0][1] == (0, len(mine[0][0])):
            continue
        for rows, (at, size) in sorted(mine, key=lambda one: int(one[0][0])):
            yield PassTold(number, int(rows[0]), len(rows), at, size)


class CutEmitter:
    """One record per chunk of a task, in the chunk's transaction."""

    def __init__(self, topic: str, section: str, partition: int) -> None:
        self._topic, self._partition = topic, partition
        self._section = Text.of([section])
        self._encoder = RowEncoder(parse_schema(CUT), "avro", "confluent")

    def emit(self, chunk: Chunk, users: Ints, how: Answered) -> list[Produce]:
        """users: numbers of the channels that bring users' rows."""
        told = [value for p in how.passes for value in (p.model, p.first, p.rows, p.at, p.size)]
        wall = None if how.wall_ms is not None else np.zeros(1, dtype=np.bool_)
        columns: dict[str, Column] = {
            "section": self._section,
            "partition": Numbers(np.full(1, self._partition, dtype=np.int32)),
            "cut": Numbers(np.full(1, chunk.number, dtype=np.int64)),
            "rows": Numbers(np.full(1, chunk.rows, dtype=np.int32)),
            "reached": Numbers(np.full(1, chunk.reached, dtype=np.int64)),
            "offsets": Lists.of_matrix(chunk.began[users].reshape(1, -1)),
            "versions": Lists.of_matrix(np.array([how.versions], dtype=np.int64)),
            "ends": Lists.of_matrix(chunk.ended[users].reshape(1, -1)),
            "passes": Lists.of_matrix(np.array([told], dtype=np.int64)),
            "wall": Numbers(np.full(1, how.wall_ms or 0, dtype=np.int64), wall),
        }
        return [Produce(self._topic, self._partition, no_text(1), self._encoder.encode(columns))]
