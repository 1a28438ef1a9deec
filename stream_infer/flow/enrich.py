"""flow.enrich: rows of a chunk pass the feature and lookup steps, in merged order. merge → *enrich* → deciding.

(step 3 in the life of an event)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.features.table import TableState
from stream_infer.features.windows import FeatureState
from stream_infer.flow.addresses import addresses
from stream_infer.flow.merge import Chunk, Taken
from stream_infer.flow.rows import BAD, DEAD, Bad
from stream_infer.records import Bools, Column, Floats, Ints, Numbers, Text, concat_columns
from stream_infer.topology.plan import FeatureStep, LookupStep, Plan, SectionPlan, StreamPlan

ORIGIN = ("_topic", "_partition", "_offset")  # columns of rows that came under another key


@dataclass(slots=True)
class Flowing:
    """The good rows of the flowing stream in a chunk, in merged order. times: as of when they are answered."""

    topic: str
    partition: Ints
    offsets: Ints
    times: Ints
    keys: Ints
    order: Ints
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, rows: Bools | Ints) -> Flowing:
        """Some of the rows."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return Flowing(self.topic, self.partition[rows], self.offsets[rows], self.times[rows], self.keys[rows], self.order[rows], columns)


@dataclass(slots=True)
class Kept:
    """Rows of one stream in a chunk that change state, in merged order. dead: tombstones."""

    times: Ints
    keys: Ints
    order: Ints
    partition: Ints
    offsets: Ints
    dead: Bools
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.order)

    def take(self, rows: Bools) -> Kept:
        """Some of the rows."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return Kept(self.times[rows], self.keys[rows], self.order[rows], self.partition[rows], self.offsets[rows], self.dead[rows], columns)


def row_ids(stream: StreamPlan, flowing: Flowing) -> Text:
    """The ids of the rows: their own, or their address."""
    if stream.id is None:
        return addresses(flowing.topic, flowing.partition, flowing.offsets)
    column = flowing.columns[stream.id]
    if isinstance(column, Text):
        return column
    assert isinstance(column, Numbers)
    return Text.of(str(value) for value in column.values.tolist())


def flowing_rows(chunk: Chunk, stream: str) -> Flowing | None:
    """The good rows of `stream` in merged order; None when there are none."""
    kept = kept_rows(chunk, stream)
    if kept is None:
        return None
    held = any(t.channel.stream == stream and t.channel.decide_at is not None for t in chunk.taken)
    topic = next(t.channel.topic for t in chunk.taken if t.channel.stream == stream)
    live = ~kept.dead
    partition, offsets = kept.partition, kept.offsets
    if all(name in kept.columns for name in ORIGIN):  # rows that came by an internal topic point to where they were first read
        topic = str(kept.columns[ORIGIN[0]].take(slice(0, 1)).to_list()[0])
        partition, offsets = (numbers(kept.columns[name]).astype(np.int64) for name in ORIGIN[1:])
    rows = Flowing(topic, partition, offsets, kept.keys if held else kept.times, kept.keys, kept.order, kept.columns)
    return rows if live.all() else rows.take(live)


def kept_rows(chunk: Chunk, stream: str) -> Kept | None:
    """The good rows and tombstones of `stream`, from all its channels, in merged order; None when there are none."""
    parts = [_usable(taken) for taken in chunk.taken if taken.channel.stream == stream]
    parts = [part for part in parts if len(part.rows)]
    if not parts:
        return None
    if len(parts) == 1 and parts[0].channel.decide_at is None:
        return _kept_one(parts[0])
    order = np.concatenate([part.order for part in parts])
    sort = np.argsort(order, kind="stable")
    rows = [part.rows for part in parts]
    return Kept(
        np.concatenate([r.times for r in rows])[sort],
        np.concatenate([r.keys for r in rows])[sort],
        order[sort],
        np.concatenate([np.full(len(p.rows), p.channel.place.partition, dtype=np.int64) for p in parts])[sort],
        np.concatenate([r.offsets for r in rows])[sort],
        np.concatenate([r.flags == DEAD for r in rows])[sort],
        {name: concat_columns([r.columns[name] for r in rows]).take(sort) for name in rows[0].columns},
    )


def _kept_one(part: Taken) -> Kept:
    """Rows of one channel are in order already."""
    rows = part.rows
    partition = np.full(len(rows), part.channel.place.partition, dtype=np.int64)
    return Kept(rows.times, rows.keys, part.order, partition, rows.offsets, rows.flags == DEAD, dict(rows.columns))


def _usable(taken: Taken) -> Taken:
    good = taken.rows.flags != BAD
    return taken if good.all() else Taken(taken.channel, taken.rows.take(good), taken.order[good])


def rejects_of(chunk: Chunk, plan: Plan, section: SectionPlan, partition: int) -> list[Bad]:
    """The rejected rows of a chunk that this task reports: each record is reported once, however many sections and tasks read it."""
    bad = [taken.rows.bad[offset] for taken in chunk.taken for offset in taken.rows.offsets[taken.rows.flags == BAD].tolist()]
    return [one for one in bad if _reports(one, plan, section, partition)]


def _reports(bad: Bad, plan: Plan, section: SectionPlan, partition: int) -> bool:
    first = next(s for s in plan.sections if any(i.stream == bad.stream for i in s.inputs))
    whole = section.input(bad.stream).is_global
    return first is section and (not whole or bad.partition % section.partitions == partition)


def apply_features(step: FeatureStep, state: FeatureState, chunk: Chunk, flowing: Flowing | None, flowing_stream: str) -> None:
    """Kept rows update, flowing rows read; the feature columns are added to flowing.columns."""
    names = step.settings.columns()
    fields = step.settings.fields()
    if step.kept_from == flowing_stream:
        if flowing is not None:
            everything = np.ones(len(flowing), dtype=np.bool_)
            values = {field: numbers(flowing.columns[field]) for field in fields}
            _add(flowing, names, state.apply(as_text(flowing.columns[step.read_by]), flowing.times, values, everything, everything))
        return
    kept = kept_rows(chunk, step.kept_from)
    if kept is not None and kept.dead.any():  # a tombstone happened to nobody: it has no values
        kept = kept.take(~kept.dead) if not kept.dead.all() else None
    found = _interleaved(kept, flowing, step.kept_by, step.read_by, fields)
    if found is not None:
        keys, times, values, updates, _ = found
        features = state.apply(keys, times, values, updates, ~updates)
        if flowing is not None:
            _add(flowing, names, features)


def apply_lookup(step: LookupStep, state: TableState, chunk: Chunk, flowing: Flowing | None) -> None:
    """Rows of the table are remembered; flowing rows take the fields as of their place in the merged order."""
    kept = kept_rows(chunk, step.table)
    found = _interleaved(kept, flowing, step.table_key, step.read_by, step.settings.columns())
    if found is not None:
        keys, _, values, updates, dead = found
        taken = state.apply(keys, values, updates & ~dead, updates & dead, ~updates)
        if flowing is not None:
            _add(flowing, step.settings.columns(), taken)


def _interleaved(
    kept: Kept | None, flowing: Flowing | None, kept_by: str, read_by: str, fields: tuple[str, ...]
) -> tuple[Text, Ints, dict[str, Floats], Bools, Bools] | None:
    """Kept and flowing rows in merged order: keys, times, values (NaN for flowing rows), which update, which are tombstones."""
    if kept is None and flowing is None:
        return None
    if kept is None:
        assert flowing is not None
        nothing = {field: np.full(len(flowing), np.nan) for field in fields}
        none = np.zeros(len(flowing), dtype=np.bool_)
        return as_text(flowing.columns[read_by]), flowing.times, nothing, none, none
    if flowing is None:
        values = {field: numbers(kept.columns[field]) for field in fields}
        return as_text(kept.columns[kept_by]), kept.times, values, np.ones(len(kept), dtype=np.bool_), kept.dead
    sort = np.argsort(np.concatenate([kept.order, flowing.order]), kind="stable")
    count = len(flowing)
    keys = concat_columns([as_text(kept.columns[kept_by]), as_text(flowing.columns[read_by])]).take(sort)
    assert isinstance(keys, Text)
    times = np.concatenate([kept.times, flowing.times])[sort]
    absent = np.full(count, np.nan)
    values = {field: np.concatenate([numbers(kept.columns[field]), absent])[sort] for field in fields}
    updates = np.concatenate([np.ones(len(kept), dtype=np.bool_), np.zeros(count, dtype=np.bool_)])[sort]
    dead = np.concatenate([kept.dead, np.zeros(count, dtype=np.bool_)])[sort]
    return keys, times, values, updates, dead


def _add(flowing: Flowing, names: tuple[str, ...], features: Floats) -> None:
    for name, column in zip(names, np.ascontiguousarray(features.T), strict=True):
        flowing.columns[name] = Numbers(column)


def numbers(column: Column) -> Floats:
    """float64[n], NaN where absent."""
    assert isinstance(column, Numbers), "the checker lets only numeric fields be aggregated"
    return column.floats()


def as_text(column: Column) -> Text:
    """A key column as spans; whole numbers become their 8 bytes, little-endian."""
    if isinstance(column, Text):
        return column
    assert isinstance(column, Numbers), "the checker lets only texts and whole numbers be keys"
    values = np.ascontiguousarray(column.values.astype("<i8"))
    count = len(values)
    return Text(values.view(np.uint8), np.arange(count, dtype=np.int64) * 8, np.full(count, 8, dtype=np.int64), column.valid, is_bytes=True)
