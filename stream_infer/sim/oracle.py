"""sim.oracle: what the answers must be made from, worked out the slow way from everything that was ever written. *oracle* → invariants.

It shares nothing with the core but the plan: rows are Python dicts, their order is one sort of whole logs, a window is a search through a
key's whole history, a join a search through all feedback. It holds for deterministic runs, where the logs alone decide the order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import numpy as np

from stream_infer.decide.graph import Graph
from stream_infer.decide.settings import Where
from stream_infer.features.settings import Aggregate
from stream_infer.feedback_settings import FeedbackSettings
from stream_infer.flow.channel import TOLD
from stream_infer.flow.commands import Call
from stream_infer.flow.ports import Answerer
from stream_infer.records import Column, Numbers, Text
from stream_infer.sim.murmur2 import partition_of
from stream_infer.topology.plan import (
    CallStep,
    DecideStep,
    FeatureStep,
    FeedbackStep,
    InputPlan,
    LearnStep,
    LookupStep,
    Plan,
    RepartitionStep,
    SectionPlan,
    StreamPlan,
)

Row = Mapping[str, object]
Place = tuple[str, int, int]
BEGIN = -(2**62)
COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}


@dataclass(frozen=True, slots=True)
class Written:
    """A record as its producer meant it. row None: a tombstone, or (bad) a value that cannot be read."""

    stream: str
    place: Place
    key: str
    row: Row | None
    bad: bool = False


@dataclass(slots=True)
class Expected:
    """What must come of a row: time and order as it is answered, its columns; answered False: `where` lets it pass unanswered."""

    place: Place
    task: tuple[str, int]
    time: int
    order: int
    columns: dict[str, object]
    answered: bool = True


@dataclass(slots=True)
class _Entry:
    sort: tuple[int, int, int, int, int]
    stream: str
    row: dict[str, object]
    dead: str | None  # the key of a tombstone
    time: int
    origin: Place


@dataclass(slots=True)
class _Told:
    """A feedback row: its order, id, label and name."""

    order: int
    id: str
    label: float
    name: object
    place: Place


@dataclass
class Oracle:
    """expected: by the place where a row was first read. labels: decision id → label at its closing, by the order of decisions."""

    plan: Plan
    calls: Mapping[str, Answerer] = field(default_factory=dict)  # what calling stages do, by stage: asked about one row at a time
    expected: dict[Place, Expected] = field(default_factory=dict)
    labels: list[tuple[str, float | None]] = field(default_factory=list)

    def run(self, written: Iterable[Written]) -> None:
        """Work through everything."""
        logs: dict[tuple[str, int], list[Written]] = {}
        for record in written:
            logs.setdefault((record.stream, record.place[1]), []).append(record)
        handed: dict[tuple[str, int, int], list[_Entry]] = {}  # rows that went on: (stream, partition, source)
        for section in self.plan.sections:
            if any(isinstance(step, LearnStep) for step in section.steps):
                continue
            for partition in range(section.partitions):
                entries = sorted(self._entries(section, partition, logs, handed), key=lambda entry: entry.sort)
                self._work(section, partition, entries, handed)

    # -- the order of rows ---------------------------------------------------------------------------------------------------

    def _entries(
        self,
        section: SectionPlan,
        partition: int,
        logs: Mapping[tuple[str, int], list[Written]],
        handed: Mapping[tuple[str, int, int], list[_Entry]],
    ) -> Iterator[_Entry]:
        for source in section.inputs:
            if source.stream in TOLD:
                continue
            stream = self.plan.streams[source.stream]
            if source.sources:
                for upstream in range(source.sources):
                    for number, entry in enumerate(handed.get((source.stream, partition, upstream), [])):
                        sort = (entry.sort[0], source.rank, partition, upstream, number)
                        yield _Entry(sort, source.stream, dict(entry.row), None, entry.time, entry.origin)
                continue
            for number in range(stream.partitions) if source.is_global else (partition,):
                waits = source.stream == section.flowing
                yield from _channel(stream, source, number, logs.get((source.stream, number), []), waits=waits)

    # -- steps ---------------------------------------------------------------------------------------------------------------

    def _work(self, section: SectionPlan, partition: int, entries: list[_Entry], handed: dict[tuple[str, int, int], list[_Entry]]) -> None:
        kept: dict[tuple[str, object], list[tuple[int, Row]]] = {}  # (step, key) → updates in order
        tables: dict[tuple[str, object], Row] = {}
        decisions: list[Expected] = []
        told: dict[str, list[_Told]] = {}
        for entry in entries:
            for step in section.steps:
                if isinstance(step, FeatureStep):
                    _features(step, entry, section.flowing, kept)
                elif isinstance(step, LookupStep):
                    _lookup(step, entry, section.flowing, tables)
                elif entry.stream != section.flowing or entry.dead is not None:
                    if isinstance(step, FeedbackStep) and entry.stream == step.feedback and entry.dead is None:
                        self._tell(step, partition, entry, told)
                elif isinstance(step, RepartitionStep):
                    to = self.plan.streams[step.stream]
                    where = partition_of(str(entry.row[step.by]).encode(), to.partitions)
                    handed.setdefault((step.stream, where, partition), []).append(entry)
                elif isinstance(step, CallStep):
                    found = self.expected.get(entry.origin) if step.of_answers else None
                    if not step.of_answers or (found is not None and found.answered):
                        refused = self._call(step, entry)
                        if found is None and refused:
                            break
                        if found is not None:
                            found.answered, found.columns = not refused, dict(entry.row)
                elif isinstance(step, DecideStep):
                    answered = step.where is None or _passes(step.where, entry.row)
                    found = Expected(entry.origin, (section.name, partition), entry.time, entry.sort[0], dict(entry.row), answered)
                    self.expected[entry.origin] = found
                    entry.row["answer"] = float(np.float32(_number(entry.row[self._shown(step)])))
                    decisions.append(found)
        for step in section.steps:
            if isinstance(step, FeedbackStep):
                name = self.plan.streams[section.flowing].id
                self.labels += list(_labels(step.settings, name, [d for d in decisions if d.answered], told.get(step.name, [])))

    def _shown(self, step: DecideStep) -> str:
        """The field that the answer shows: all models of a step answer with their inputs, those that composed ones ask too."""
        name = step.arms[0]
        if name in self.plan.composed:
            name = Graph.of(step.arms, self.plan.models, self.plan.composed).leaves[0]
        return self.plan.models[name].inputs[0].field

    def _call(self, step: CallStep, entry: _Entry) -> bool:
        """Take the row of an entry outside, alone; whether it may not go on."""
        came = self.calls[step.name](Call(0, step.name, {name: _column(entry.row[name]) for name in step.reads}, 1))
        entry.row |= {name: column.to_list()[0] for name, column in came.columns.items()}
        return bool(came.faults)

    def _tell(self, step: FeedbackStep, partition: int, entry: _Entry, told: dict[str, list[_Told]]) -> None:
        if entry.origin[1] == partition:
            settings = step.settings
            name = entry.origin if settings.feedback_id is None else entry.row[settings.feedback_id]
            found = _Told(entry.sort[0], str(entry.row[settings.on]), _number(entry.row[settings.label]), name, entry.origin)
            told.setdefault(step.name, []).append(found)


def _channel(stream: StreamPlan, source: InputPlan, number: int, log: list[Written], *, waits: bool) -> Iterator[_Entry]:
    reached = BEGIN
    for offset, record in enumerate(log):
        if record.bad:
            continue
        if record.row is None:
            row: dict[str, object] = {} if stream.key is None else {stream.key: record.key}
            yield _Entry((reached, source.rank, number, 0, offset), stream.name, row, record.key, reached, record.place)
            continue
        assert stream.event_time is not None
        time = order = _whole(record.row[stream.event_time])
        reached = order = max(reached, time)
        if waits and stream.decide_at is not None:
            time = order = max(order, _whole(record.row[stream.decide_at.field]) - stream.decide_at.lead_ms)
        yield _Entry((order, source.rank, number, 0, offset), stream.name, dict(record.row), None, time, record.place)


def _features(step: FeatureStep, entry: _Entry, flowing: str, kept: dict[tuple[str, object], list[tuple[int, Row]]]) -> None:
    if entry.stream == flowing and entry.dead is None:
        history = kept.get((step.name, entry.row[step.read_by]), [])
        for aggregate in step.settings.values:
            entry.row[aggregate.name] = _aggregate(aggregate, history, entry.time)
    if entry.stream == step.kept_from and entry.dead is None:
        kept.setdefault((step.name, entry.row[step.kept_by]), []).append((entry.time, dict(entry.row)))


def _aggregate(aggregate: Aggregate, history: list[tuple[int, Row]], now: int) -> float:
    """One feature from the whole history of a key, NaN where there is nothing."""
    inside = [row for time, row in _within(aggregate, history, now)]
    if aggregate.kind == "count":
        return float(len(inside))
    assert aggregate.field is not None
    if aggregate.kind == "last":
        found = sorted(((time, number) for number, (time, _) in enumerate(history)), reverse=True)
        return _number(history[found[0][1]][1][aggregate.field]) if found else math.nan
    values = [_number(row[aggregate.field]) for row in inside]
    if not values:
        return 0.0 if aggregate.kind == "sum" else math.nan
    if aggregate.kind in ("min", "max"):
        return min(values) if aggregate.kind == "min" else max(values)
    scale: int = 10**aggregate.decimals
    total = sum(round(Fraction(value) * scale) for value in values)
    return float(Fraction(total, scale)) if aggregate.kind == "sum" else float(Fraction(total, scale * len(values)))


def _within(aggregate: Aggregate, history: list[tuple[int, Row]], now: int) -> Iterator[tuple[int, Row]]:
    """The updates that count. A window reaches back a whole number of hops; what was too old when it came never counts."""
    if aggregate.window_ms is None:
        yield from history
        return
    tumbling = aggregate.shape == "tumbling"
    hop = aggregate.window_ms if tumbling else math.ceil(Fraction(aggregate.window_ms, aggregate.hops))
    back = 0 if tumbling else math.ceil(Fraction(aggregate.window_ms, hop))
    newest = max((time for time, _ in history), default=BEGIN)
    before = BEGIN
    for time, row in history:
        before = max(before, time)
        late = time // hop < before // hop - back
        if not late and max(now // hop, newest // hop) - back <= time // hop <= now // hop:
            yield time, row


def _lookup(step: LookupStep, entry: _Entry, flowing: str, tables: dict[tuple[str, object], Row]) -> None:
    if entry.stream == step.table:
        key = (step.name, entry.row[step.table_key])
        if entry.dead is not None:
            tables.pop(key, None)
        else:
            tables[key] = dict(entry.row)
    if entry.stream == flowing and entry.dead is None:
        found = tables.get((step.name, entry.row[step.read_by]), {})
        for name, default in step.settings.take:
            entry.row[name] = _number(found[name]) if name in found else default


def _passes(where: Where, row: Row) -> bool:
    return bool(COMPARE[where.operator](row[where.field], where.literal))


def _labels(
    settings: FeedbackSettings, name: str | None, decisions: list[Expected], told: list[_Told]
) -> Iterator[tuple[str, float | None]]:
    """Per decision that counts: (id, label; None where no feedback came and no default is set)."""
    lives: dict[str, list[tuple[int, Expected]]] = {}  # per id: (remembered until, decision)
    for found in decisions:
        key = f"{found.place[0]}-{found.place[1]}-{found.place[2]}" if name is None else str(found.columns[name])
        final = max(found.time + settings.wait_ms_max + 1, found.order)
        mine = lives.setdefault(key, [])
        if not mine or found.order > mine[-1][0]:
            mine.append((final + settings.wait_ms_max, found))
    for key, mine in lives.items():
        for number, (_, found) in enumerate(mine):
            since = mine[number - 1][0] if number else BEGIN
            low, high = max(found.order - settings.early_ms_max, since + 1), found.time + settings.wait_ms_max
            names: dict[object, float] = {}
            for row in told:
                if row.id == key and low <= row.order <= high:
                    names.setdefault(row.name, row.label)
            yield key, _taken(settings, list(names.values()))


def _taken(settings: FeedbackSettings, labels: list[float]) -> float | None:
    if not labels:
        return settings.absent
    return {"first": labels[0], "last": labels[-1], "sum": math.fsum(labels), "max": max(labels)}[settings.take]


def _column(value: object) -> Column:
    return Text.of([value]) if isinstance(value, str) else Numbers(np.array([_number(value)]))


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value
