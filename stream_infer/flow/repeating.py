"""flow.repeating: forward passes cut as they were once, when a chunk is worked through again. cuts → *repeating* → deciding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream_infer.records import Ints


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


Told = Mapping[str, Sequence[PassTold]]  # by model; a model of which nothing is told had one pass of just its rows


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
