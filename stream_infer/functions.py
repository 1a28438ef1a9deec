"""functions: what a user's function is to the rest: what it takes and gives, how it is called. errors → *functions* → topology, edge.

A function gets columns (`per: batch`) or one row (`per: row`), by name, and gives the columns that its stage declares, by name. It is
called again with a part of its rows when it raises, and with rows that were worked on before a crash: it should depend on its rows alone.

In a batch numbers (and booleans, and times) are float64 arrays, NaN where absent, texts lists of str or None, lists of numbers lists of
arrays or None. In a row they are float, int, bool, str, list or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Values = Mapping[str, object]
Function = Callable[[Values], object]  # gives Values, Given or None; if it is `async def`, something to await

# What a column that a function gives may hold, and its Avro kind.
KINDS: Mapping[str, str] = {"number": "double", "integer": "long", "boolean": "boolean", "text": "string", "numbers": "array"}


class Rejected(Exception):
    """Raised by a function: this row may not go on. The message becomes the reason of its reject.

    A batch function tells of several rows with Given; what it raises is taken for the fault of one of them, which is then searched for.
    """


@dataclass(frozen=True, slots=True)
class Given:
    """What a batch function gives: columns by name, and the rows that may not go on, with the reason of each."""

    columns: Values = field(default_factory=dict)
    rejected: Mapping[Any, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BreakerSettings:
    """failures: so many in a row open it; open_ms: for so long it then lets nothing through."""

    failures: int = 5
    open_ms: int = 10_000


@dataclass(frozen=True)
class OutsideSettings:
    """How an async function is called. timeout_ms: of each try; retries: tries after the first; backoff_ms: before the first of these.

    Each further wait is twice as long, at most backoff_ms_max, and a random part of up to a half is taken off. concurrency_max: calls
    of this stage under way in one process, of batches or rows.
    """

    concurrency_max: int = 64
    timeout_ms: int = 1_000
    retries: int = 2
    backoff_ms: int = 50
    backoff_ms_max: int = 5_000
    breaker: BreakerSettings | None = None
    seed: int = 0


@dataclass(frozen=True)
class FunctionSettings:
    """function: its name in the registry; per: batch or row. defaults: by column, given where a call fails; None: such rows are rejected.

    workers: threads or processes of its own (0: the thread of the worker itself); outside: set for async functions.
    """

    function: str
    per: str = "batch"
    defaults: tuple[tuple[str, object], ...] | None = None
    workers: int = 0
    workers_are: str = "threads"
    outside: OutsideSettings | None = None
