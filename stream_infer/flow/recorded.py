"""flow.recorded: what a topology told of its chunks, read back. cuts → *recorded* → recutting, replaying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from stream_infer.codec.internal import CUT
from stream_infer.errors import StreamInferError
from stream_infer.flow.repeating import LateTold, PassTold
from stream_infer.flow.rows import GOOD, Intake
from stream_infer.flow.transport import Logs
from stream_infer.records import Column, Ints, Lists, Numbers, concat_columns
from stream_infer.topology.plan import Plan, StreamPlan


@dataclass(frozen=True, slots=True)
class Cut:
    """One chunk as its task recorded it (flow.cuts). began, ends: int64[channels of users' rows]; versions: (): no row was answered."""

    number: int
    rows: int
    reached: int
    began: Ints
    ends: Ints
    versions: tuple[int, ...]
    passes: tuple[PassTold, ...]
    wall_ms: int | None
    late: tuple[LateTold, ...]


class Cuts(Sequence[Cut]):
    """The chunks of one task that hold, one after the other. columns: by field of CUT."""

    def __init__(self, columns: dict[str, Column]) -> None:
        self._columns = columns
        self.numbers = _whole(columns["cut"])
        self.reached = _whole(columns["reached"])

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> Cut: ...
    @overload
    def __getitem__(self, at: slice) -> Cuts: ...
    def __getitem__(self, at: int | slice) -> Cut | Cuts:
        if isinstance(at, slice):
            rows = np.arange(len(self))[at]
            return Cuts({name: column.take(rows) for name, column in self._columns.items()})
        wall = self._columns["wall"]
        known = wall.valid is None or bool(wall.valid[at])
        passes = self._list("passes", at).reshape(-1, 5).tolist()
        late = self._list("late", at).reshape(-1, 4).tolist()
        return Cut(
            int(self.numbers[at]),
            int(_whole(self._columns["rows"])[at]),
            int(self.reached[at]),
            self._list("offsets", at),
            self._list("ends", at),
            tuple(self._list("versions", at).tolist()),
            tuple(PassTold(*one) for one in passes),
            int(_whole(wall)[at]) if known else None,
            tuple(LateTold(*one) for one in late),
        )

    def _list(self, name: str, at: int) -> Ints:
        column = self._columns[name]
        assert isinstance(column, Lists)
        first = int(column.start[at])
        return column.items[first : first + int(column.size[at])].astype(np.int64)

    def of(self, number: int) -> Cut | None:
        """The chunk of that number."""
        at = int(np.searchsorted(self.numbers, number))
        return self[at] if at < len(self) and self.numbers[at] == number else None


def read_cuts(logs: Logs, plan: Plan, section: str, partition: int) -> Cuts:
    """The chunks of a task that hold.

    Under at_least_once a chunk may be told of twice: the task began again at its last commit, and what it told after that counts. So of
    two chunks of one number the later one holds.
    """
    return _holding(_told(logs, plan, section, partition))


def cuts_up_to(logs: Logs, plan: Plan, section: str, partition: int, number: int, began: Sequence[int] | None) -> list[Cuts]:
    """The chunks of a task up to one of that number which began there (None: anywhere): as often as it is told of, each time as things
    stood then."""
    told = _told(logs, plan, section, partition)
    all_of = Cuts(told)
    same = [at for at in np.flatnonzero(all_of.numbers == number).tolist() if began is None or all_of[at].began.tolist() == list(began)]
    if not same:
        raise StreamInferError(f"{plan.cuts_topic}[{partition}] does not tell of cut {number} of {section}: its records were deleted")
    return [_holding({name: column.take(slice(at + 1)) for name, column in told.items()}) for at in same]


def _told(logs: Logs, plan: Plan, section: str, partition: int) -> dict[str, Column]:
    """Every record of the cuts of a task, as columns."""
    partitions = next(count for topic, count, _ in plan.topics if topic == plan.cuts_topic)
    intake = Intake(StreamPlan("cuts", plan.cuts_topic, CUT, partitions))
    parts: list[dict[str, Column]] = []
    for fetched in filter(len, logs.read((plan.cuts_topic, partition), 0)):
        rows = intake.rows(fetched)
        if (rows.flags != GOOD).any():
            reason = next(iter(rows.bad.values())).reason
            raise StreamInferError(f"{plan.cuts_topic}[{partition}]: {reason}; was it written by another release?")
        mine = np.array([name == section for name in rows.columns["section"].to_list()], dtype=np.bool_)
        if mine.any():
            parts.append(rows.take(mine).columns)
    if not parts:
        raise StreamInferError(f"{plan.cuts_topic}[{partition}] tells of no chunk of {section}: it was emptied, or the task never worked")
    return {name: concat_columns([part[name] for part in parts]) for name in parts[0]}


def _holding(told: dict[str, Column]) -> Cuts:
    numbers = _whole(told["cut"])
    later = np.minimum.accumulate(numbers[::-1])[::-1]
    holds = np.append(numbers[:-1] < later[1:], True)
    return Cuts({name: column.take(np.flatnonzero(holds)) for name, column in told.items()})


def check_chain(cuts: Cuts, where: str) -> None:
    """StreamInferError unless each chunk begins where the one before it ended."""
    for at in range(1, len(cuts)):
        before, after = cuts[at - 1], cuts[at]
        if before.ends.tolist() != after.began.tolist():
            raise StreamInferError(
                f"{where}: cut {before.number} ends at {before.ends.tolist()}, cut {after.number} begins at {after.began.tolist()}: "
                "a chunk between them is not on record"
            )


def _whole(column: Column) -> Ints:
    assert isinstance(column, Numbers)
    return column.values.astype(np.int64)
