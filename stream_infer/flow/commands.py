"""flow.commands: what is to be done. The only way out of the core."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stream_infer.attribution import Asked
from stream_infer.flow.transport import Partition
from stream_infer.models.manifest import Manifest
from stream_infer.records import Column, Matrix, Text


@dataclass(frozen=True, slots=True)
class Together:
    """A pass may be shared with other forwards of the same version: rows_max rows and cost_max of cost in all.

    why: what a pass of rows_max rows is called; slack_ms: to the deadline of the oldest row, None without one; cost: of these rows.
    """

    rows_max: int
    why: str
    slack_ms: float | None = None
    cost: float = 0.0
    cost_max: float = math.inf


@dataclass(slots=True)
class Forward:
    """Run rows through a version of a model and say ForwardDone or ForwardFailed with the same job number.

    together: None: in a pass of its own. sizes: ascending; a pass has one of these numbers of rows, filled up with nothing; (): any.
    place: when a chunk is worked through again, the number of the first of these rows in the pass that they were in, and its rows.
    explain: not to be answered but explained, in a pass of its own; the outputs are then Attributions.to_matrix().
    at_ms: the latest event time of the rows, where answers are remembered for a while of it. perturbed: rows that nobody sent, asked about
    to explain another: what is said of them is not remembered.
    """

    job: int
    model: str
    version: int
    matrix: Matrix
    together: Together | None = None
    sizes: tuple[int, ...] = ()
    place: tuple[int, int] | None = None
    explain: Asked | None = None
    at_ms: int = 0
    perturbed: bool = False


@dataclass(slots=True)
class Call:
    """Take `count` rows outside, or to the user's own function, as `stage` says, and say CallDone with the same job number.

    columns: what the stage reads, one value per row; they are shared with the core and must not be changed.
    """

    job: int
    stage: str
    columns: dict[str, Column]
    count: int


@dataclass(slots=True)
class Install:
    """Make a version of a model ready. Twice the same is harmless.

    Without a manifest the payload is the model, which may be asked for by the next Forward. With one the artifact is to be loaded, warmed
    and asked its golden questions beside the traffic; Installed or InstallFailed tells of it, however often it is asked, and only then
    may a Forward ask for it. keep: of the model, the versions that some task may still ask for; others may go.
    """

    model: str
    version: int
    payload: bytes
    manifest: Manifest | None = None
    golden: bytes = b""
    keep: frozenset[int] = frozenset()


@dataclass(slots=True)
class Produce:
    """Send records within the current transaction. keys, values: an absent one is null. partition None: by the key."""

    topic: str
    partition: int | None
    keys: Text
    values: Text


@dataclass(slots=True)
class Commit:
    """End the transaction with these offsets of the group in it."""

    offsets: dict[Partition, int]


@dataclass(slots=True)
class Seek:
    """Read an input from offset on. owned: as a partition of the group; otherwise it is followed."""

    partition: Partition
    offset: int
    owned: bool


@dataclass(slots=True)
class Stop:
    """No task needs this followed partition any more."""

    partition: Partition


@dataclass(slots=True)
class Pause:
    """Read no more of these for now: their buffers are full."""

    partitions: list[Partition]


@dataclass(slots=True)
class Resume:
    """Read on."""

    partitions: list[Partition]


Command = Forward | Call | Install | Produce | Commit | Seek | Stop | Pause | Resume
