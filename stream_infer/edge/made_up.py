"""edge.made_up: rows of a stream that nobody sent, for measuring. plan → *made_up* → costing.

Keys repeat as those of a real stream do, ids are new, numbers lie between 0 and 100, texts that a model knows are among its values.
"""

from __future__ import annotations

import numpy as np

from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import NUMBER_DTYPES, FieldSchema, parse_schema
from stream_infer.features.settings import Input
from stream_infer.records import Column, Fetched, Ints, Lists, Numbers, Text
from stream_infer.topology.plan import Plan, StreamPlan

BEGIN_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
LIST_ITEMS = 8  # of an array that no model reads


class MadeUp:
    """Batches of one stream, each later than the one before. keys: how many different ones; rate: rows per second of event time."""

    def __init__(self, plan: Plan, stream: StreamPlan, *, keys: int, rate: float) -> None:
        self._stream, self._keys, self._rate = stream, keys, rate
        self._schema = parse_schema(stream.schema, stream.name)
        self._encoder = RowEncoder(self._schema, stream.format, stream.framing)
        self._inputs = {entry.field: entry for model in plan.models.values() for entry in model.inputs if entry.kind != "output"}
        self._draw = np.random.default_rng(1)
        self._next = 0

    def batch(self, rows: int) -> Fetched:
        """The next `rows` records of partition 0."""
        offsets = np.arange(self._next, self._next + rows, dtype=np.int64)
        self._next += rows
        times = BEGIN_MS + (offsets * 1000 / self._rate).astype(np.int64)
        columns = {field.name: self._column(field, offsets, times) for field in self._schema.fields}
        key = columns.get(self._stream.key or "")
        keys = key if isinstance(key, Text) else Text.of((str(number) for number in offsets.tolist()), is_bytes=True)
        headers = [self._encoder.headers] * rows if self._encoder.headers else None
        return Fetched(self._stream.topic, 0, offsets, times, keys, self._encoder.encode(columns), headers)

    def _column(self, field: FieldSchema, offsets: Ints, times: Ints) -> Column:
        rows, entry = len(offsets), self._inputs.get(field.name)
        due = self._stream.decide_at.field if self._stream.decide_at is not None else None
        if field.name in (self._stream.event_time, due):
            return Numbers(times.astype(NUMBER_DTYPES.get(field.kind, np.dtype(np.int64))))
        if field.name == self._stream.id:
            return Numbers(offsets) if field.kind in NUMBER_DTYPES else Text.of(f"row-{number:012d}" for number in offsets.tolist())
        if field.kind in NUMBER_DTYPES:
            top = 2 if field.kind == "boolean" else min(100, self._keys)
            return Numbers(self._draw.integers(top, size=rows).astype(NUMBER_DTYPES[field.kind]))
        if field.kind == "array":
            size = entry.size if entry is not None and entry.kind == "list" else LIST_ITEMS
            return Lists.of_matrix(self._draw.random((rows, size)).astype(NUMBER_DTYPES.get(field.item, np.dtype(np.float64))))
        return self._texts(field, entry, rows)

    def _texts(self, field: FieldSchema, entry: Input | None, rows: int) -> Text:
        if field.kind in ("bytes", "fixed"):
            size = 4 * entry.size if entry is not None and entry.kind == "floats32" else field.size or 8
            floats = self._draw.random(-(-size // 4)).astype("<f4")
            return Text.of([floats.tobytes()[:size]] * rows, is_bytes=True)
        if entry is not None and entry.kind == "numbers":
            return Text.of([entry.separator.join(f"{x:.6f}" for x in self._draw.random(entry.size))] * rows)
        known = field.symbols or (entry.values if entry is not None else ())
        chosen = self._draw.integers(len(known) or self._keys, size=rows).tolist()
        return Text.of(known[place] if known else f"key-{place:08d}" for place in chosen)
