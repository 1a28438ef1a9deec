"""sim.reading: the topics of a simulated run as plain rows. broker, codec → *reading* → ledger, verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stream_infer.codec.internal import JOINED, JOINED_BY_SEGMENT, REJECT
from stream_infer.flow.blocks import PLACE_BITS, BlockIntake
from stream_infer.flow.rows import GOOD, Intake, Rows
from stream_infer.records import Fetched
from stream_infer.sim.broker import EVERYTHING, SimBroker
from stream_infer.sim.groups import Partition
from stream_infer.sim.history import Answer, Place
from stream_infer.sim.log import Record, fetched
from stream_infer.topology.plan import DecideStep, Plan, StreamPlan


@dataclass(frozen=True, slots=True)
class Read:
    """One decoded record."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    row: dict[str, object]


class Follower:
    """Reads a topic on and on, each record once. committed: as a read-committed reader would."""

    def __init__(self, broker: SimBroker, stream: StreamPlan, *, committed: bool = True) -> None:
        self._broker, self._stream, self._committed = broker, stream, committed
        self._blocks = BlockIntake(stream) if stream.schema in (JOINED, JOINED_BY_SEGMENT) else None
        self._intake = Intake(stream)
        self._next = [0] * broker.partitions(stream.topic)

    def new(self) -> Iterator[Read]:
        """What has come since the last call, partition by partition."""
        for partition in range(len(self._next)):
            log = self._broker.log((self._stream.topic, partition))
            if self._next[partition] < (log.stable if self._committed else log.high):
                records, self._next[partition] = log.fetch(self._next[partition], EVERYTHING, committed=self._committed)
                yield from self._decoded(partition, records)

    def _decoded(self, partition: int, records: Sequence[Record]) -> Iterator[Read]:
        if not records:
            return
        batch: Fetched = fetched(self._stream.topic, partition, records)
        if self._blocks is not None:
            for source, rows in self._blocks.rows(batch).rows.items():
                for place, row in zip(rows.offsets.tolist(), self._plain(rows), strict=True):
                    yield Read(partition, place >> PLACE_BITS, None, None, {"source": source, **row})
            return
        for record, row in zip(records, self._plain(self._intake.rows(batch)), strict=True):
            yield Read(partition, record.offset, record.key, record.value, row)

    def _plain(self, rows: Rows) -> Iterator[dict[str, object]]:
        assert (rows.flags == GOOD).all(), f"{self._stream.topic} holds what we cannot read"
        names = list(rows.columns)
        for values in zip(*(rows.columns[name].to_list() for name in names), strict=True):
            yield dict(zip(names, values, strict=True))


def predictions_of(plan: Plan) -> StreamPlan:
    """The stream of predictions as a reader knows it."""
    steps = [step for section in plan.sections for step in section.steps if isinstance(step, DecideStep)]
    return next(plan.streams[step.emits_to] for step in steps if step.emits_to is not None)


def rejects_of(plan: Plan) -> StreamPlan:
    """The stream of rejects as a reader knows it."""
    partitions = next(count for topic, count, _ in plan.topics if topic == plan.emit.rejects_topic)
    return StreamPlan("rejects", plan.emit.rejects_topic, REJECT, partitions)


def joined_of(plan: Plan) -> StreamPlan:
    """The internal stream of joined rows."""
    topic = f"{plan.name}.joined"
    return plan.streams.get(topic) or StreamPlan("joined", topic, JOINED, 1, event_time="closed_at")


def source_of(row: dict[str, object]) -> Place:
    """Where the input of a prediction or reject was read."""
    topic, partition, offset = (row[f"source_{part}"] for part in ("topic", "partition", "offset"))
    assert isinstance(topic, str)
    assert isinstance(partition, int)
    assert isinstance(offset, int)
    return topic, partition, offset


def answer_of(topic: str, read: Read, *, id_: str, whole: bool) -> Answer:
    """A prediction or reject as checkers want it. whole False: chunks are not those of the source's own task."""
    row, source = read.row, source_of(read.row)
    if "answer" not in row:
        return Answer(topic, read.partition, read.offset, id_, source)
    offsets, cut, answer, propensity, version = (row[n] for n in ("offsets", "cut", "answer", "propensity", "policy_version"))
    assert isinstance(offsets, list)
    assert isinstance(cut, int)
    assert isinstance(answer, float)
    assert isinstance(propensity, float)
    assert isinstance(version, int)
    return Answer(
        topic,
        read.partition,
        read.offset,
        str(row["prediction_id"]),
        source,
        tuple(offsets) if whole else (),
        cut if whole else -1,
        answer,
        str(row["arm"]),
        propensity,
        str(row["model_version"]),
        version,
    )


def all_of(broker: SimBroker, stream: StreamPlan, *, committed: bool = True) -> list[Read]:
    """Every record of a topic, by partition and offset."""
    return list(Follower(broker, stream, committed=committed).new())


def watermarks(broker: SimBroker, plan: Plan) -> dict[Partition, tuple[int, int]]:
    """(stable, high) of every partition."""
    places = [(topic, number) for topic, count, _ in plan.topics for number in range(count)]
    return {place: (broker.log(place).stable, broker.log(place).high) for place in places}
