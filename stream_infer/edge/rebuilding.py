"""edge.rebuilding: one prediction is made again from the logs, and compared with the record to the bit. flow.rerun → *rebuilding* → cli.

Nothing is written. The inputs are read from their beginning (or from a warm-up on) up to the prediction's chunk, whose rows, versions and
forward passes are on record (flow.cuts).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from stream_infer.attribution.attribute import attribution_of
from stream_infer.attribution.settings import AttributionSettings
from stream_infer.codec.block import Block, rows_of_block
from stream_infer.errors import EnvironmentMissing, StreamInferError
from stream_infer.flow.blocks import read_blocks
from stream_infer.flow.commands import Install, Produce
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.history import History
from stream_infer.flow.merge import Chunk
from stream_infer.flow.ports import Answerer
from stream_infer.flow.recorded import Cuts, cuts_up_to
from stream_infer.flow.replaying import Again, Replaying
from stream_infer.flow.rerun import Rerun, Wanted, deciding_section
from stream_infer.flow.rows import GOOD, Intake
from stream_infer.flow.transport import Logs
from stream_infer.hashing import hash64
from stream_infer.models.base import Model
from stream_infer.records import Fetched, Matrix, Text
from stream_infer.topology.plan import DecideStep, Plan, SectionPlan, StreamPlan

Row = dict[str, object]
ROWS_MAX = 50_000_000  # of the output topic that are looked through for an id: beyond that, say where it is


@dataclass(frozen=True)
class Sought:
    """Which prediction. partition, offset: of the output topic, where known; warm_up_ms: of event time to read before it (None: all)."""

    id: str
    partition: int | None = None
    offset: int | None = None
    warm_up_ms: int | None = None


@dataclass(frozen=True)
class Recorded:
    """A prediction as it stands on the output topic (value None: only the decision log has it). row: its fields, the log's included."""

    partition: int
    offset: int
    value: bytes | None
    row: Row


@dataclass(frozen=True)
class Rebuilt:
    """What became of it. row: as made again (None: no answer, `fault` says why); features: by model and input; cut, began: of its chunk.

    whole: the inputs were read from their beginning, so that nothing of the state can be missing. parts: what each input adds to the answer
    over `baseline`, that of inputs of 0 (attribution.attribute).
    """

    recorded: Recorded
    row: Row | None
    identical: bool
    differences: tuple[tuple[str, object, object], ...]
    reason: str
    features: dict[str, dict[str, float]]
    task: tuple[str, int]
    cut: int
    began: tuple[int, ...]
    records_read: int
    whole: bool
    fault: str = ""
    parts: dict[str, float] = field(default_factory=dict)
    baseline: float = 0.0


def rebuild(
    plan: Plan,
    logs: Logs,
    models: Mapping[str, Model],
    sought: Sought,
    calls: Mapping[str, Answerer] | None = None,
    load: Callable[[Install], Model] | None = None,
) -> Rebuilt:
    """Find a prediction and make it again. EnvironmentMissing when it is not there, StreamInferError when what it was made of is not."""
    section, step = deciding_section(plan)
    recorded = find(plan, logs, step, sought)
    ways, partition = _cuts(plan, logs, section, recorded)

    def rerun_of(wanted: Wanted) -> Rerun:
        return Rerun(plan, logs, models, wanted, calls, load)

    for cuts in ways:  # more than one only under at_least_once: then it is the one that leads to the record
        found = _rebuilt(plan, History(logs, plan), rerun_of, sought, recorded, (section.name, partition), cuts)
        if found.identical:
            break
    return found


def _rebuilt(
    plan: Plan,
    history: History,
    rerun_of: Callable[[Wanted], Rerun],
    sought: Sought,
    recorded: Recorded,
    task: tuple[str, int],
    cuts: Cuts,
) -> Rebuilt:
    _, step = deciding_section(plan)
    whole = not cuts[0].began.any()
    if sought.warm_up_ms is not None:
        first = int(np.searchsorted(cuts.reached, _whole(recorded.row, "event_time") - sought.warm_up_ms))
        whole, cuts = whole and first == 0, cuts[min(first, len(cuts) - 1) :]
    last = cuts[len(cuts) - 1]
    catch = _Catch(last.number, sought.id, recorded)
    wanted = Wanted({task[1]: cuts}, history, catch.wants, catch.tell, {}, {})
    rerun = rerun_of(wanted)
    read = rerun.run()
    row, value = _made(plan, step, catch)
    differences = tuple(_differences(recorded.row, row)) if row is not None else ()
    identical = row is not None and not differences and (recorded.value is None or recorded.value == value)
    reason = "" if identical else _reason(row, differences, whole=whole)
    parts, baseline = _parts(rerun, catch, row)
    found = recorded, row, identical, differences, reason, catch.features, task, last.number, tuple(last.began.tolist())
    return Rebuilt(*found, read, whole, catch.fault, parts, baseline)


def _parts(rerun: Rerun, catch: _Catch, row: Row | None) -> tuple[dict[str, float], float]:
    """What each input of the model that answered adds, and to what; nothing where several models made the answer."""
    name = str(row["arm"]) if row is not None and "arm" in row else ""
    if name not in catch.asked:
        return {}, 0.0
    version, x = catch.asked[name]
    found = attribution_of(rerun.model(name, version), x, AttributionSettings(), hash64(Text.of([catch.id])))
    return dict(zip(catch.features[name], found.parts[0].tolist(), strict=True)), float(found.baseline[0])


# -- the record ----------------------------------------------------------------------------------------------------------------


def find(plan: Plan, logs: Logs, step: DecideStep, sought: Sought) -> Recorded:
    """The prediction with that id, and what the decision log adds to it. Of several with one id the first, unless the place is told."""
    if step.emits_to is None:
        return _in_the_log(plan, logs, sought.id, sought.partition)
    return _with_the_log(plan, logs, _emitted(plan.streams[step.emits_to], logs, sought), sought)


def _emitted(stream: StreamPlan, logs: Logs, sought: Sought) -> Recorded:
    """What the output topic holds of it."""
    logs.partitions(stream.topic)  # told at once where it is not there
    intake = Intake(stream)
    wanted, seen = {sought.id.encode(), json.dumps(sought.id, ensure_ascii=False)[1:-1].encode()}, 0
    for partition in range(stream.partitions) if sought.partition is None else [sought.partition]:
        for fetched in filter(len, logs.read((stream.topic, partition), sought.offset or 0)):
            seen += len(fetched)
            blob = fetched.values.blob.tobytes()
            if any(text in blob for text in wanted):  # no decoding where the id cannot be
                rows = intake.rows(fetched)
                good = np.flatnonzero(rows.flags == GOOD)
                ids = rows.columns["prediction_id"].take(good).to_list()
                at = next((int(good[n]) for n, one in enumerate(ids) if one == sought.id), None)
                if at is not None:
                    row = {name: column.take(slice(at, at + 1)).to_list()[0] for name, column in rows.columns.items()}
                    return Recorded(partition, int(fetched.offsets[at]), fetched.values.take(slice(at, at + 1)).raw()[0], row)
            if sought.offset is not None or seen > ROWS_MAX:
                break
    raise EnvironmentMissing(
        f"no prediction {sought.id!r} on topic {stream.topic}",
        got=f"{seen} records looked through",
        expected="the prediction_id of a committed prediction",
        fix="give its place if you know it: --at PARTITION:OFFSET",
    )


def _with_the_log(plan: Plan, logs: Logs, found: Recorded, sought: Sought) -> Recorded:
    """With what the decision log says, where the prediction does not say all that is needed."""
    if {"cut", "source_partition", "source_offset"} <= found.row.keys():
        return found
    logged = _in_the_log(plan, logs, sought.id, None)
    return Recorded(found.partition, found.offset, found.value, {**logged.row, **found.row})


def _in_the_log(plan: Plan, logs: Logs, id_: str, only: int | None) -> Recorded:
    partitions = next(count for topic, count, _ in plan.topics if topic == plan.decisions_topic)
    for partition in range(partitions) if only is None else [only]:
        for fetched in logs.read((plan.decisions_topic, partition), 0):
            for at, block in enumerate(read_blocks(fetched)):
                found = _of_block(block, id_) if isinstance(block, Block) else None
                if found is not None:
                    return Recorded(partition, int(fetched.offsets[at]), None, found)
    raise EnvironmentMissing(f"no decision {id_!r} on topic {plan.decisions_topic}", fix="was the log emptied by retention?")


def _of_block(block: Block, id_: str) -> Row | None:
    ids = block.columns.get("prediction_id")
    if not isinstance(ids, Text) or id_.encode() not in ids.raw():
        return None
    return next(row for row in rows_of_block(block) if row["prediction_id"] == id_)


def _cuts(plan: Plan, logs: Logs, section: SectionPlan, recorded: Recorded) -> tuple[list[Cuts], int]:
    """The chunks of the task up to that of the prediction, in each way in which they are told, and the task's partition."""
    row = recorded.row
    number = _whole(row, "cut")
    offsets = row.get("offsets")
    began = [int(str(offset)) for offset in offsets] if isinstance(offsets, list) else None
    step = next(s for s in section.steps if isinstance(s, DecideStep))
    if step.emits_to is None or plan.streams[step.emits_to].partitions == section.partitions:
        tasks = [recorded.partition]
    elif not section.input(section.flowing).sources:
        tasks = [_whole(row, "source_partition")]
    else:
        tasks = list(range(section.partitions))
    problem = None
    for partition in tasks:
        try:
            return cuts_up_to(logs, plan, section.name, partition, number, began), partition
        except StreamInferError as error:
            problem = error
    assert problem is not None
    raise problem


def _whole(row: Row, name: str) -> int:
    value = row.get(name)
    if not isinstance(value, int):
        raise EnvironmentMissing(f"the prediction does not say its `{name}`, nor does the decision log", got=repr(value))
    return value


# -- made again ----------------------------------------------------------------------------------------------------------------


@dataclass
class _Catch:
    """Waits for one row of one chunk."""

    number: int
    id: str
    recorded: Recorded
    produced: list[Produce] = field(default_factory=list)
    at: int | None = None
    features: dict[str, dict[str, float]] = field(default_factory=dict)
    asked: dict[str, tuple[int, Matrix]] = field(default_factory=dict)  # by model: its version, and the row as it went in
    fault: str = "its chunk does not hold the row"

    def wants(self, chunk: Chunk, flowing: Flowing) -> bool:
        return chunk.number == self.number and len(flowing) > 0

    def tell(self, work: Replaying, again: Again) -> None:
        choice = again.begun.choice
        if choice is None or work.deciding is None:
            self.fault = "its chunk answers no row"
            return
        offset = self.recorded.row["source_offset"]
        same = [n for n, one in enumerate(choice.ids.to_list()) if _text(one) == self.id and int(choice.flowing.offsets[n]) == offset]
        if not same:
            return
        row = same[0]
        decider = work.deciding.decider
        for key, matrix in choice.matrices.items():
            if not choice.said[key].now[row]:
                continue  # others of the chunk were asked of it, or a repeat had this one's answer already
            name = decider.graph.nodes[key].model
            self.asked[name] = choice.versions[name][0], matrix[row : row + 1]
            self.features[name] = dict(zip(decider.vectorisers[name].columns, matrix[row].astype(np.float64).tolist(), strict=True))
        self.fault = choice.faults.get(row, "")
        if not self.fault:
            self.at = row - sum(fault < row for fault in choice.faults)
            self.produced = work.records(again)


def _made(plan: Plan, step: DecideStep, catch: _Catch) -> tuple[Row | None, bytes | None]:
    """The row as it would be written now, with what the decision log would say, and the bytes of its prediction."""
    if catch.at is None:
        return None, None
    row: Row = {}
    value = None
    at = catch.at
    for produce in catch.produced:
        if produce.topic == plan.decisions_topic:
            fetched = _fetched(produce)
            logged = [one for block in read_blocks(fetched) if isinstance(block, Block) for one in rows_of_block(block)]
            row = {**logged[at], **row}
        else:
            stream = plan.streams[step.emits_to or ""]
            mine = _fetched(produce).take(slice(at, at + 1))
            columns = Intake(stream).rows(mine).columns
            row |= {name: column.to_list()[0] for name, column in columns.items()}
            value = mine.values.raw()[0]
    return row, value


def _fetched(produce: Produce) -> Fetched:
    count = len(produce.values)
    return Fetched(produce.topic, produce.partition or 0, np.arange(count), np.zeros(count, dtype=np.int64), produce.keys, produce.values)


def _differences(recorded: Row, row: Row) -> Iterator[tuple[str, object, object]]:
    for name, value in recorded.items():
        if name != "source" and name in row and _bits(value) != _bits(row[name]):
            yield name, value, row[name]


def _bits(value: object) -> object:
    """Equal only for what is equal to the bit; any NaN is like any other."""
    if isinstance(value, float):
        return "nan" if value != value else struct.pack("<d", value)
    return tuple(_bits(one) for one in value) if isinstance(value, list | tuple) else value


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _reason(row: Row | None, differences: tuple[tuple[str, object, object], ...], *, whole: bool) -> str:
    """The likely cause, the surest first."""
    named = {name: (before, now) for name, before, now in differences}
    if row is None:
        return "the row is not answered any more: the topology, its schemas or its models are others than then"
    if "model_version" in named:
        return f"another model: {named['model_version'][0]} answered, the file or version is {named['model_version'][1]} now"
    if not whole:
        return "the inputs were not read from their beginning, so older rows may be missing in the state"
    if "arm" in named or "propensities" in named or "propensity" in named:
        return "another choice of arms: the stage's policy, seed or arms were changed in the topology"
    numbers = [(a, b) for a, b in (named.get("answer", (0.0, 1.0)),) if isinstance(a, float) and isinstance(b, float)]
    if "answer" in named and numbers and np.isclose(*numbers[0], rtol=1e-5, atol=1e-8):
        return "only the last digits differ: an answer from a cache, another processor, number of threads or library, or a changed record"
    if not differences:
        return "all fields are the same, the bytes are not: another release wrote them"
    return "the record was changed after it was written, or the topology (features, inputs) is another than then"
