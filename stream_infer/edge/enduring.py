"""edge.enduring: a pass that its worker does not survive, or that finds no memory, is run again in another way. lanes → *enduring*.

Memory: the pass is halved until it fits; how many rows fitted is remembered, told to the core (Pass.rows_fit) and kept to.

A crash is no exception: the process is gone, and which row did it cannot be said from outside. So:
 1. the same pass runs again as it was, for a worker may die by chance, and the same pass gives the same bits;
 2. it dies again: its rows run one by one. One that kills alone has killed twice, and is named;
 3. where none does, it is the size that kills (the kernel ends processes that take too much memory): as if memory had run out.

Rows that have killed are known by their content and model version from then on: nothing dies of them again. The core is told that
the forward with such a row failed, halves it as it does for an exception, and every half without one is answered.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock

import numpy as np

from stream_infer.batching.cutting import padded
from stream_infer.models.base import out_of_memory
from stream_infer.records import Floats, Matrix

log = logging.getLogger("stream_infer.workers")
KILLERS_MAX = 1000  # rows that are remembered, of all models: some 100 bytes each
Run = Callable[[Matrix], Floats]  # float32[n, k] → float64[n, outputs]; raises Crashed, or whatever the model raises


class Crashed(Exception):
    """A worker ended within a pass, or was ended for taking too long. how: `signal 9`, `exit code 3`, `no answer in 30 s`."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Raised(Exception):
    """A model raised in a worker process, or answered for other rows than were asked; the text is the reason."""


class NoMemory(Exception):
    """A model in a worker process found no memory; the text is the reason."""


class Killed(Exception):
    """Rows that end whatever worker they come to. reasons: by row of the pass."""

    def __init__(self, reasons: dict[int, str]) -> None:
        super().__init__(next(iter(reasons.values())))
        self.reasons = reasons


class Known:
    """What was learned of passes that did not end well, by all workers of this process. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._fit: dict[str, int] = {}
        self._killers: OrderedDict[tuple[str, int, bytes], str] = OrderedDict()
        self.no_memory: dict[str, int] = {}  # passes that found none, by model

    def rows_fit(self, model: str) -> int:
        """More rows than these found no memory; 0: it has always been enough."""
        return self._fit.get(model, 0)

    def found_no_memory(self, model: str) -> None:
        """One pass did not fit."""
        with self._lock:
            self.no_memory[model] = self.no_memory.get(model, 0) + 1

    def fits(self, model: str, rows: int) -> None:
        """So many rows were answered after more of them were not."""
        with self._lock:
            if rows < self._fit.get(model, rows + 1):
                self._fit[model] = rows
                log.warning("model %s: no more than %d rows a pass from now on: more found no memory", model, rows)

    def kills(self, model: str, version: int, row: Matrix, reason: str) -> None:
        """A row is known from now on."""
        with self._lock:
            self._killers[model, version, row.tobytes()] = reason
            while len(self._killers) > KILLERS_MAX:
                self._killers.popitem(last=False)
        log.error("model %s: a row %s; it is rejected", model, reason)

    def killers(self, model: str, version: int, rows: Iterable[Matrix]) -> dict[int, str]:
        """Which of these rows are known, and why."""
        if not self._killers:
            return {}
        with self._lock:
            asked = ((place, self._killers.get((model, version, row.tobytes()))) for place, row in enumerate(rows))
            return {place: reason for place, reason in asked if reason is not None}


def endured(run: Run, matrix: Matrix, sizes: tuple[int, ...], known: Known, model: str, version: int) -> tuple[Floats, list[int]]:
    """float64[n, outputs] of float32[n, k], and the rows of each of the passes that it took; sizes: as of a Forward.

    Raises Killed where rows end their worker, and what the model raises.
    """
    crashes, innocent = 0, False
    while True:
        try:
            return _within_memory(run, matrix, sizes, known, model)
        except Crashed as crash:
            crashes += 1
            log.warning("model %s: a worker ended within a pass of %d rows: %s", model, len(matrix), crash.how)
            if crashes < 2:
                continue
            if not innocent:
                reasons = _one_by_one(run, matrix, sizes, known, (model, version), crash.how)
                if reasons:
                    raise Killed(reasons) from None
                innocent = True
            smaller = _smaller(min(known.rows_fit(model) or len(matrix), len(matrix)), sizes)
            if not smaller:
                raise
            known.found_no_memory(model)
            known.fits(model, smaller)


def _within_memory(run: Run, matrix: Matrix, sizes: tuple[int, ...], known: Known, model: str) -> tuple[Floats, list[int]]:
    """In pieces that have found memory so far, and smaller ones where one does not."""
    most = known.rows_fit(model) or len(matrix)
    lowered = False
    made: list[Floats] = []
    at = 0
    while at < len(matrix) or not made:
        part = matrix[at : at + most]
        try:
            answer = filled_up(run, part, sizes)
        except Exception as error:
            smaller = _smaller(len(part), sizes)
            if not (isinstance(error, NoMemory) or out_of_memory(error)) or not smaller:
                raise
            known.found_no_memory(model)
            most, lowered = smaller, True
            continue
        if lowered:
            known.fits(model, most)
            lowered = False
        made.append(answer)
        if len(answer) != len(part):  # whoever asked has to see it
            break
        at += len(part)
    return made[0] if len(made) == 1 else np.concatenate(made), [len(answer) for answer in made]


def _one_by_one(run: Run, matrix: Matrix, sizes: tuple[int, ...], known: Known, key: tuple[str, int], how: str) -> dict[int, str]:
    """Rows that end a worker alone. A pass of one row has ended two already: that was it."""
    found: dict[int, str] = {}
    for row in range(len(matrix)):
        one = matrix[row : row + 1]
        reasons = known.killers(*key, one)
        if reasons:
            found[row] = reasons[0]
            continue
        try:
            if len(matrix) > 1:
                filled_up(run, one, sizes)
                continue
        except Crashed as crash:
            how = crash.how
        except Exception as error:  # noqa: BLE001 — told when the row is asked again: here only who kills is looked for
            log.debug("row %d raised %s", row, error)
            continue
        found[row] = f"killed its worker ({how}) twice"
        known.kills(*key, one[0], found[row])
    return found


def filled_up(run: Run, matrix: Matrix, sizes: tuple[int, ...]) -> Floats:
    """The answers to these rows in a pass of an allowed size, the last rows of which are made of nothing."""
    rows = len(matrix)
    filled = padded(rows, sizes) - rows
    if not filled:
        return run(matrix)
    answer = run(np.concatenate([matrix, np.zeros((filled, matrix.shape[1]), dtype=matrix.dtype)]))
    if len(answer) != rows + filled:
        raise Raised(f"got {len(answer)} answers, expected one for each of {rows + filled} rows")
    return answer[:rows]


def _smaller(rows: int, sizes: tuple[int, ...]) -> int:
    """The next smaller pass to try: half as many rows, or the size below; 0 where there is none."""
    if not sizes:
        return (rows + 1) // 2 if rows > 1 else 0
    size = padded(rows, sizes)
    return max((other for other in sizes if other < size), default=0)
