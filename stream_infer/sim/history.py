"""sim.history: what is known of a run after it came to rest. *history* → checkers.

The caller decodes the topics; here are plain values only, so that a user's own harness can fill them as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Partition = tuple[str, int]
Place = tuple[str, int, int]  # topic, partition, offset


@dataclass(frozen=True, slots=True)
class Input:
    """A record that was written to an input topic and acknowledged. Written by a committed transaction, or by none."""

    offset: int
    id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A prediction or a reject, where it lies and what it says of itself.

    source: the input it answers; offsets: next offset of each input of its task when its chunk began, in the plan's order (empty: not
    stated, as in rejects); cut: number of its chunk in its task, -1 when not stated.
    """

    topic: str
    partition: int
    offset: int
    id: str
    source: Place
    offsets: tuple[int, ...] = ()
    cut: int = -1
    answer: float = math.nan
    arm: str = ""
    propensity: float = math.nan
    model_version: str = ""
    policy_version: int = 0

    @property
    def place(self) -> Place:
        """Where it lies."""
        return (self.topic, self.partition, self.offset)


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of a run after it came to rest.

    inputs: by partition of the topics whose rows are answered, in offset order. predictions and rejects: as a read-committed reader
    gets them, in offset order per partition; the *_uncommitted ones with what was aborted as well. waiting: inputs that are rightly
    not answered yet. unordered: input topics whose rows wait for a time of their own and so are answered in another order. flowing: by
    input topic whose rows are answered, the column of its own offset in Answer.offsets.
    committed: offsets of the group. watermarks: (stable, high) by partition. changelog: last committed value by partition and key,
    None where deleted; state: what the reference makes of the same inputs. joined: joined rows in offset order, as (place, prediction
    id, arm);
    credited: rows that the policies say they learnt, by arm. store: the view in an online store by (partition, key), with the source
    offset it claims.
    """

    inputs: Mapping[Partition, Sequence[Input]]
    predictions: Sequence[Answer]
    rejects: Sequence[Answer] = ()
    predictions_uncommitted: Sequence[Answer] = ()
    rejects_uncommitted: Sequence[Answer] = ()
    waiting: frozenset[Place] = frozenset()
    unordered: frozenset[str] = frozenset()
    flowing: Mapping[str, int] = field(default_factory=dict)
    committed: Mapping[Partition, int] = field(default_factory=dict)
    watermarks: Mapping[Partition, tuple[int, int]] = field(default_factory=dict)
    changelog: Mapping[Partition, Mapping[bytes, bytes | None]] = field(default_factory=dict)
    state: Mapping[Partition, Mapping[bytes, bytes]] | None = None
    joined: Sequence[tuple[Place, str, str]] = ()
    credited: Mapping[str, float] | None = None
    store: Mapping[Partition, Mapping[bytes, tuple[int, bytes]]] | None = None
