"""flow.notices: what happened. The only way into the core, and the only way time gets in."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.flow.transport import Partition
from stream_infer.records import Column, Fetched, Floats

TaskId = tuple[str, int]  # (section, partition)


@dataclass(slots=True)
class TaskRevoked:
    """A task is no longer ours; whatever is in flight for it is stale from now on."""

    task: TaskId


@dataclass(slots=True)
class Read:
    """Records were read."""

    fetched: Fetched


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward pass as it was run. rows: real ones, of all jobs in it; padded: rows of nothing beside them; seconds: what it took.

    waited_s: how long its oldest rows waited for the model; why: what made it leave (batching.sizing); rows_max: so many could have gone.
    rows_fit: more rows than these found no memory, of late or before; 0: it has always been enough.
    """

    rows: int
    seconds: float
    padded: int = 0
    waited_s: float = 0.0
    why: str = ""
    rows_max: int = 0
    rows_fit: int = 0


@dataclass(slots=True)
class ForwardDone:
    """A model answered. outputs: float64[rows, outputs]; seconds: what the forward pass took.

    passed: the pass; None when another job of the same pass has told of it. place: the number of the first of these rows in the pass, and
    how many rows the pass had with what filled it up; None: these rows alone.
    """

    job: int
    outputs: Floats
    seconds: float
    passed: Pass | None = None
    place: tuple[int, int] | None = None


@dataclass(slots=True)
class ForwardFailed:
    """A model raised; reason: one line."""

    job: int
    reason: str


@dataclass(slots=True)
class CallDone:
    """A call came back. columns: all that the stage gives, one value per row of the call; faults: row → why it may not go on, one line.

    What columns say of a row with a fault means nothing; where every row has one, columns may be empty.
    """

    job: int
    columns: dict[str, Column]
    faults: dict[int, str]


@dataclass(slots=True)
class Installed:
    """A version that came with a manifest is ready; seconds: what loading, warming and checking it took, beside the traffic."""

    model: str
    version: int
    seconds: float = 0.0


@dataclass(slots=True)
class InstallFailed:
    """It is not to be had, and never answered a row; reason: one line."""

    model: str
    version: int
    reason: str


@dataclass(slots=True)
class Tick:
    """Time goes on. now: ms, monotone; at_end: partitions of which everything known has been read.

    wall: ms since 1970, for deadlines; None in a deterministic run, where no row is ever late.
    """

    now: int
    at_end: frozenset[Partition]
    wall: int | None = None


@dataclass(slots=True)
class Overdue:
    """Time went on while nothing new may begin: who is waited for only so long may be late by now. now: ms, monotone."""

    now: int


@dataclass(slots=True)
class CommitWanted:
    """The work since the last commit should become visible now; nothing is in flight. leaving: tasks whose positions go out in any case."""

    leaving: tuple[TaskId, ...] = ()


@dataclass(slots=True)
class Committed:
    """The last Commit holds."""


Ended = ForwardDone | ForwardFailed | Installed | InstallFailed  # what a forwarder tells
Notice = TaskRevoked | Read | Ended | CallDone | Tick | Overdue | CommitWanted | Committed
