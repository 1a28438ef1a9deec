"""flow.intake: which stream a record belongs to, and how it is read. edge → *intake* → merge."""

from __future__ import annotations

import numpy as np

from stream_infer.flow.channel import BEGIN, VERSIONS
from stream_infer.flow.reparting import IS_MARK, ORDER_MS, SOURCE
from stream_infer.flow.rows import Intake, Rows
from stream_infer.flow.versions import read_versions
from stream_infer.records import Fetched, Numbers, Text
from stream_infer.topology.plan import Plan


class Intakes:
    """One intake per stream that any section reads; a topic belongs to one stream. at_once: versions take effect when read."""

    def __init__(self, plan: Plan, *, at_once: bool) -> None:
        names = {i.stream for section in plan.sections for i in section.inputs}
        self._by_topic = {plan.streams[name].topic: name for name in sorted(names)}
        self._internal = {i.stream for section in plan.sections for i in section.inputs if i.sources}
        self._intakes = {name: Intake(plan.streams[name], ours=name in self._internal) for name in sorted(names - {VERSIONS})}
        self._at_once = at_once

    def rows(self, fetched: Fetched) -> tuple[str, Rows, int | None]:
        """(stream, rows in log order, promise of the stream's writer if it came)."""
        stream = self._by_topic[fetched.topic]
        if stream == VERSIONS:
            rows, promised = read_versions(fetched, at_once=self._at_once, begin=BEGIN)
            return stream, rows, promised
        rows = self._intakes[stream].rows(fetched)
        if stream in self._internal:
            _name_marks(rows)
        return stream, rows, None


def _name_marks(rows: Rows) -> None:
    """Internal streams tell their writer and their marks in columns of one name: source, is_mark."""
    if SOURCE in rows.columns:
        rows.columns["source"], rows.columns["is_mark"] = rows.columns[SOURCE], rows.columns[IS_MARK]
        order = rows.columns[ORDER_MS]
        assert isinstance(order, Numbers)
        rows.keys = order.values.astype(np.int64)
        return
    kind = rows.columns["kind"]
    assert isinstance(kind, Text)
    rows.columns["is_mark"] = Numbers(kind.size == np.int64(len("MARK")))  # the symbols are ROW and MARK
