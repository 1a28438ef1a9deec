"""flow.calling: rows that go outside, or to the user's function, and come back with more columns. stations → *calling* → answering.

A call is a command, and what comes back a notice: the core waits for nothing. Rows that may not go on leave the chunk with a reason,
as a row does that a model cannot answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Call, Command
from stream_infer.flow.notices import CallDone
from stream_infer.flow.rows import absent
from stream_infer.flow.stations import Begun, Refused
from stream_infer.records import Bools, Column, Ints, concat_columns
from stream_infer.topology.plan import CallStep

Told = Callable[[Begun, Bools, tuple[str, ...]], dict[str, Column]]


class Calling:
    """One call step: a station. next_job: gives a number never given before; told: columns of answered rows."""

    def __init__(self, step: CallStep, next_job: Callable[[], int], told: Told) -> None:
        self._step, self._next_job, self._told = step, next_job, told

    def __call__(self, begun: Begun) -> list[Command]:
        """Ask about the rows of a chunk, if it has any."""
        return self._about_answers(begun) if self._step.of_answers else self._about_rows(begun)

    def _about_rows(self, begun: Begun) -> list[Command]:
        flowing = begun.flowing
        if flowing is None:
            return []
        call = Call(self._next_job(), self._step.name, {name: flowing.columns[name] for name in self._step.reads}, len(flowing))
        begun.call = (call.job, partial(self._rows_came, begun))
        return [call]

    def _rows_came(self, begun: Begun, notice: CallDone) -> None:
        flowing = begun.flowing
        assert flowing is not None
        flowing.columns |= self._given(notice, len(flowing))
        if not notice.faults:
            return
        faults = sorted(notice.faults.items())
        bad = np.zeros(len(flowing), dtype=np.bool_)
        bad[[row for row, _ in faults]] = True
        begun.refused.append(Refused(self._step.name, flowing.take(bad), [reason for _, reason in faults]))
        begun.flowing = None if bad.all() else flowing.take(~bad)

    def _about_answers(self, begun: Begun) -> list[Command]:
        ok = answered(begun.choice) if begun.choice is not None else None
        if ok is None or not ok.any():
            return []
        call = Call(self._next_job(), self._step.name, self._told(begun, ok, self._step.reads), int(np.count_nonzero(ok)))
        begun.call = (call.job, partial(self._answers_came, begun, np.flatnonzero(ok)))
        return [call]

    def _answers_came(self, begun: Begun, rows: Ints, notice: CallDone) -> None:
        choice = begun.choice
        assert choice is not None
        given = self._given(notice, len(rows))
        choice.flowing.columns |= {name: _spread(given[name], kind, rows, len(choice)) for name, kind in self._step.gives}
        for place, reason in notice.faults.items():
            choice.faults[int(rows[place])] = reason
            begun.spoilt[int(rows[place])] = self._step.name

    def _given(self, notice: CallDone, count: int) -> dict[str, Column]:
        """The columns that came back for `count` rows."""
        found = notice.columns
        if len(notice.faults) == count and not found:
            return {name: absent(kind, count) for name, kind in self._step.gives}
        right = found.keys() == {name for name, _ in self._step.gives} and all(len(column) == count for column in found.values())
        got = [(name, len(column)) for name, column in found.items()]
        assert right, f"stage {self._step.name}: got {got}, expected {self._step.gives}, {count} rows each"
        return found


def answered(choice: Choice) -> Bools:
    """bool[rows]: nothing spoilt their answer so far."""
    ok = np.ones(len(choice), dtype=np.bool_)
    if choice.faults:
        ok[list(choice.faults)] = False
    return ok


def _spread(column: Column, kind: str, rows: Ints, count: int) -> Column:
    """A column of `count` rows that has `column` at `rows` (ascending) and nothing elsewhere."""
    if len(rows) == count:
        return column
    place = np.full(count, len(rows), dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return concat_columns([column, absent(kind, 1)]).take(place)
