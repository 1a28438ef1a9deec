"""flow.notices: what happened. The only way into the core, and the only way time gets in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_infer.flow.transport import Partition
from stream_infer.records import Fetched, Floats

TaskId = tuple[str, int]  # (section, partition)


@dataclass(slots=True)
class TaskAssigned:
    """A task is ours. snapshot: its last, if one was found; keys and values: its changelog from there on, in order."""

    task: TaskId
    keys: list[bytes]
    values: list[bytes | None]
    snapshot: dict[str, dict[str, NDArray[np.generic]]] | None = None


@dataclass(slots=True)
class TaskRevoked:
    """A task is no longer ours; whatever is in flight for it is stale from now on."""

    task: TaskId


@dataclass(slots=True)
class Read:
    """Records were read."""

    fetched: Fetched


@dataclass(slots=True)
class ForwardDone:
    """A model answered. outputs: float64[rows, outputs]; seconds: what the forward pass took."""

    job: int
    outputs: Floats
    seconds: float


@dataclass(slots=True)
class ForwardFailed:
    """A model raised; reason: one line."""

    job: int
    reason: str


@dataclass(slots=True)
class Tick:
    """Time goes on. now: ms, monotone; at_end: partitions of which everything known has been read."""

    now: int
    at_end: frozenset[Partition]


@dataclass(slots=True)
class CommitWanted:
    """The work since the last commit should become visible now; nothing is in flight. leaving: tasks whose positions go out in any case."""

    leaving: tuple[TaskId, ...] = ()


@dataclass(slots=True)
class Committed:
    """The last Commit holds."""


Notice = TaskAssigned | TaskRevoked | Read | ForwardDone | ForwardFailed | Tick | CommitWanted | Committed
