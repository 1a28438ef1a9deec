"""flow.choice: rows of one chunk while they are being answered. deciding, asking, composing → *choice* → answers, stats."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stream_infer.decide.segments import Segmented
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.repeating import LateTold, Told
from stream_infer.records import Bools, Column, Floats, Ints, Matrix, Text


@dataclass(slots=True)
class Said:
    """What one model, composed or not, says of the rows of a choice. need: bool[rows], who is to hear it; now: of those, for whom it is
    still to be worked out.

    outputs: float64[rows, k], NaN in rows without an answer; None where there is none. faults: row → why it has none. open: its passes
    that have not ended; settled: nothing more will come. Of composed models alone: confidence, missing (bits of the members that were
    left out), by (number of the model whose answer it is), without (of an ensemble, by member: the rows that it was too late for).
    """

    need: Bools
    now: Bools
    outputs: Floats | None = None
    faults: dict[int, str] = field(default_factory=dict)
    open: int = 0
    settled: bool = False
    phase: int = -1
    asked: int = 0  # how many of those who may ask have asked
    due_ms: int | None = None  # of an ensemble whose members are at work
    overdue: bool = False
    stalled: bool = False  # it was left out without being asked
    masks: dict[str, Bools] = field(default_factory=dict)  # by part, of those that are asked about some rows only
    confidence: Floats | None = None
    missing: Ints | None = None
    by: Ints | None = None
    without: dict[str, Bools] = field(default_factory=dict)

    def answered(self) -> Bools:
        """bool[rows]: there is an answer. A row has all of its outputs, or none."""
        return np.zeros(len(self.need), dtype=np.bool_) if self.outputs is None else ~np.isnan(self.outputs[:, 0])


@dataclass(slots=True)
class Choice:
    """Rows being answered. arm, propensity: per row; shares: float64[arms], of rows of no segment; outputs: model → float64[rows, outputs],
    NaN where not run.

    open: job → node of the graph and rows of a pass that has not ended. passes: those that have, by model, with their place
    (notices.ForwardDone). waits: an answer is still to come. said: by node; columns: of the rows, and what models said of them for others
    to read. due_ms: when the first ensemble stops waiting; late: whom ensembles went on without. wall_ms: the clock that deadlines were
    measured against, None without any. told: where it is worked through again, how it was answered then.
    """

    flowing: Flowing
    ids: Text
    arm: Ints
    propensity: Floats
    shares: Floats
    policy_version: int
    versions: dict[str, tuple[int, str]]
    outputs: dict[str, Floats] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    open: dict[int, tuple[str, Ints]] = field(default_factory=dict)
    matrices: dict[str, Matrix] = field(default_factory=dict)
    passes: list[tuple[str, Ints, tuple[int, int] | None]] = field(default_factory=list)
    wall_ms: int | None = None
    said: dict[str, Said] = field(default_factory=dict)
    columns: dict[str, Column] = field(default_factory=dict)
    slack_ms: float | None = None
    due_ms: int | None = None
    late: list[LateTold] = field(default_factory=list)
    told: Told | None = None
    waits: bool = False
    segmented: Segmented | None = None  # where a policy decides by segment

    def __len__(self) -> int:
        return len(self.arm)
