"""batching.settings: what a topology may say of a model's batches, and what was measured of them. curve → *settings* → sizing."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.batching.curve import CostCurve


@dataclass(frozen=True)
class BatchSettings:
    """rows_max: no batch is larger; None: the cost curve decides. sizes: ascending; a pass has one of these numbers of rows, the last
    ones made of nothing where rows are missing; (): any number.

    cost: a number of the row, or a list whose length counts; the rows of a pass cost cost_max together at most, a single row excepted.
    buckets: ascending upper edges of cost; rows of a pass lie between the same two edges, and each counts as the upper one.
    curve: measured at the start, never from a file.
    """

    rows_max: int | None = None
    sizes: tuple[int, ...] = ()
    cost: str | None = None
    cost_max: float | None = None
    buckets: tuple[float, ...] = ()
    curve: CostCurve | None = None
