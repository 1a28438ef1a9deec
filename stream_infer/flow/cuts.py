"""flow.cuts: where the chunks of a task were cut, and how models saw them. answering → *cuts* → flow.recorded.

With the logs this is all that a rebuild of any prediction needs; for ensembles that do not wait for all, also whom they went on without
(flow.repeating). Within a chunk rows are in the order of their keys, so the places where
chunks began tell the order in which a live task saw its rows. A matrix product differs in its last bits with the number of rows, so what
is said of a pass is how many rows it had, and which of them were these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stream_infer.codec.framing import prefix_of
from stream_infer.codec.internal import CUT
from stream_infer.codec.schema import parse_schema
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Produce
from stream_infer.flow.merge import Chunk
from stream_infer.flow.repeating import LateTold, PassTold
from stream_infer.flow.transport import no_text
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Ints, Text


@dataclass(frozen=True, slots=True)
class Answered:
    """How a chunk was answered. versions: of policy and models; passes: of the models that had others than one of just their rows."""

    versions: tuple[int, ...] = ()
    passes: tuple[PassTold, ...] = ()
    wall_ms: int | None = None
    late: Sequence[LateTold] = ()


NOT_ANSWERED = Answered()


def how_answered(choice: Choice, order: Sequence[str], models: Mapping[str, ModelSettings]) -> Answered:
    """How the rows of a choice were. order: of the models, as passes number them."""
    versions = (choice.policy_version, *(choice.versions[name][0] for name in order))
    return Answered(versions, tuple(passes_told(choice, order, models)), choice.wall_ms, choice.late)


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
    """One record per chunk of a task, in the chunk's transaction; those of several chunks may go together.

    It is written number by number: the encoder of columns costs 120 µs a call, of which a chunk of few rows would feel a quarter.
    """

    def __init__(self, topic: str, section: str, partition: int) -> None:
        self._topic, self._partition = topic, partition
        name = section.encode()
        self._head = bytearray(prefix_of(parse_schema(CUT), "confluent"))
        _put(self._head, len(name))
        self._head += name
        _put(self._head, partition)
        self._noted: list[bytes] = []

    def note(self, chunk: Chunk, users: Ints, how: Answered) -> None:
        """A chunk is over. users: numbers of the channels that bring users' rows."""
        out = self._head.copy()
        for number in (chunk.number, chunk.rows, chunk.reached):
            _put(out, number)
        _list(out, chunk.began[users].tolist())
        _list(out, how.versions)
        _list(out, chunk.ended[users].tolist())
        _list(out, [value for p in how.passes for value in (p.model, p.first, p.rows, p.at, p.size)])
        _put(out, 0 if how.wall_ms is None else 1)
        if how.wall_ms is not None:
            _put(out, how.wall_ms)
        _list(out, [value for one in how.late for value in (one.node, one.member, one.first, one.rows)])
        self._noted.append(bytes(out))

    def emit(self) -> list[Produce]:
        """The records of the chunks since the last call."""
        noted, self._noted = self._noted, []
        return [Produce(self._topic, self._partition, no_text(len(noted)), Text.of(noted, is_bytes=True))] if noted else []

    def forget(self) -> None:
        """The chunks since the last checkpoint do not hold."""
        self._noted = []


def _list(out: bytearray, values: Sequence[int]) -> None:
    """An Avro array of whole numbers: one block, then its end."""
    if values:
        _put(out, len(values))
        for value in values:
            _put(out, value)
    _put(out, 0)


def _put(out: bytearray, value: int) -> None:
    """A whole number as Avro writes it: zigzag, seven bits a byte, the low ones first."""
    left = value << 1 if value >= 0 else ~(value << 1)
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
