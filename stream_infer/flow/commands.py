"""flow.commands: what is to be done. The only way out of the core."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.flow.transport import Partition
from stream_infer.records import Matrix, Text


@dataclass(slots=True)
class Forward:
    """Run rows through a version of a model and say ForwardDone or ForwardFailed with the same job number."""

    job: int
    model: str
    version: int
    matrix: Matrix


@dataclass(slots=True)
class Install:
    """Make a version of a model ready; it may be asked for by the next Forward. Twice the same is harmless."""

    model: str
    version: int
    payload: bytes


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


Command = Forward | Install | Produce | Commit | Seek | Stop | Pause | Resume
