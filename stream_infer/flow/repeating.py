"""flow.repeating: forward passes cut as they were once, and who was not waited for, when a chunk is worked through again.
cuts → *repeating* → deciding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream_infer.records import Bools, Ints


@dataclass(frozen=True, slots=True)
class PassTold:
    """One forward pass of a chunk. model: its number among those of the step; first: the chunk's first row in it; rows: how many.

    at: the number of that row within the pass; size: the rows of the pass, those of other chunks and what filled it up included.
    """

    model: int
    first: int
    rows: int
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class LateTold:
    """Rows that an ensemble went on without a member for, since it was late. node: the ensemble's number in the graph; member: the place of
    the member in it; first, rows: a stretch of the chunk's rows. With NOT_ASKED as member: a model that was stalled, and not even asked.
    """

    node: int
    member: int
    first: int
    rows: int


NOT_ASKED = -1


@dataclass(frozen=True, slots=True)
class Told:
    """How a chunk was answered. passes: by model; one of which nothing is told had one pass of just its rows."""

    passes: Mapping[str, Sequence[PassTold]]
    late: Sequence[LateTold] = ()

    def not_asked(self, node: int) -> bool:
        """Whether this node was stalled."""
        return any(one.node == node and one.member == NOT_ASKED for one in self.late)

    def without(self, node: int, member: int, count: int) -> Bools:
        """bool[count]: the rows that this ensemble went on without that member for."""
        found = np.zeros(count, dtype=np.bool_)
        for one in self.late:
            if (one.node, one.member) == (node, member):
                found[one.first : one.first + one.rows] = True
        return found


def late_told(node: int, member: int, rows: Bools) -> list[LateTold]:
    """What is on record of the rows that a member was late for."""
    edges = np.flatnonzero(np.diff(rows.astype(np.int8), prepend=0, append=0)).tolist()
    return [LateTold(node, member, first, last - first) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def parts(rows: Ints, bucket: Ints, told: Sequence[PassTold]) -> list[Ints]:
    """The rows of each pass; those that none is told of (they failed, each alone) one by one. bucket: of each row, for passes keep to one.

    rows: ascending.
    """
    if not told:
        return [rows]
    left = np.ones(len(rows), dtype=np.bool_)
    found: list[Ints] = []
    for one in told:
        begin = int(np.searchsorted(rows, one.first))
        if begin == len(rows) or rows[begin] != one.first:
            continue  # other rows than then: a changed topology, which the answers will show
        mine = begin + np.flatnonzero(bucket[begin:] == bucket[begin])[: one.rows]
        left[mine] = False
        found.append(rows[mine])
    return sorted([*found, *np.split(rows[left], range(1, int(left.sum())))], key=lambda part: int(part[0])) if left.any() else found


def place(rows: Ints, told: Sequence[PassTold]) -> tuple[int, int] | None:
    """Where in which pass these rows were; None: alone."""
    return next(((one.at, one.size) for one in told if one.first == rows[0] and one.rows == len(rows)), None)
