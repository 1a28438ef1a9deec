"""edge.one_pass: a pass from the forwards in it to their answers. passes → *one_pass* → workers.

If a shared pass fails, each forward has one of its own, so that nobody answers for another's rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from stream_infer.attribution import answer
from stream_infer.batching.cutting import padded
from stream_infer.edge.enduring import Killed, Known, NoMemory, Raised, endured
from stream_infer.edge.passes import Answer, PassQueue, Taken, Waiting
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.notices import ForwardDone, ForwardFailed, Pass
from stream_infer.models.base import Model
from stream_infer.records import Floats, Matrix

REASON_CHARS_MAX = 200


def answers(taken: Taken, run: Callable[[Waiting, Matrix], Floats], known: Known) -> list[Answer]:
    """The answers of all forwards of a pass. run: rows of a forward's model and version to float64[n, outputs]."""
    command = taken.parts[0].command
    if command.explain is not None:
        return [_explained(taken.parts[0], run, known)]
    if known.killers(command.model, command.version, (row for part in taken.parts for row in part.command.matrix)):
        return _without_killers(taken, run, known)
    return _run(taken.parts, taken.why, run, known)


def run_next(queue: PassQueue, known: Known) -> list[Answer]:
    """The next pass, in the calling thread, by the models themselves. [] when nothing waits."""
    taken = queue.take()
    return [] if taken is None else answers(taken, lambda asked, matrix: asked.model.forward(matrix), known)


def nowhere(_: Answer | BaseException) -> None:
    """For put(), where answers are returned by run_next()."""


def _run(parts: Sequence[Waiting], why: str, run: Callable[[Waiting, Matrix], Floats], known: Known) -> list[Answer]:
    commands, first = [part.command for part in parts], parts[0].command
    matrix = first.matrix if len(commands) == 1 else np.concatenate([command.matrix for command in commands])
    rows = len(matrix)
    began = time.perf_counter()
    try:
        outputs, pieces = endured(lambda x: run(parts[0], x), matrix, first.sizes, known, first.model, first.version)
    except Killed:
        return _without_killers(Taken(tuple(parts), why), run, known)
    except EnvironmentMissing:
        raise  # no worker is left: nothing of the rows
    except Exception as error:  # noqa: BLE001 — a model is the user's code; whatever it raises spoils its rows, not the worker
        if len(parts) > 1:
            return _apart(parts, why, run, known)
        return [ForwardFailed(first.job, reason_of(error))]
    seconds = time.perf_counter() - began
    if len(outputs) != rows and len(parts) > 1:
        return _apart(parts, why, run, known)  # whoever asked will see it in an answer of its own
    limits = [command.together.rows_max for command in commands if command.together is not None]
    filled = padded(rows, first.sizes) - rows
    passed = Pass(rows, seconds, filled, began - parts[0].at, why, min(limits, default=rows), known.rows_fit(first.model))
    if len(parts) == 1:
        alone = len(pieces) == 1 and not filled
        return [ForwardDone(first.job, outputs, seconds, passed, None if alone else _place(0, pieces, first.sizes))]
    made: list[Answer] = []
    at = 0
    for command in commands:
        end = at + len(command.matrix)
        place = _place(at, pieces, first.sizes)
        made.append(ForwardDone(command.job, outputs[at:end], seconds, None if made else passed, place))
        at = end
    return made


def _place(row: int, pieces: Sequence[int], sizes: tuple[int, ...]) -> tuple[int, int]:
    """Where a row of the pass was in the piece that was run, and how large that was."""
    for rows in pieces:
        if row < rows:
            return row, padded(rows, sizes)
        row -= rows
    return row, padded(pieces[-1], sizes)


def _explained(asked: Waiting, run: Callable[[Waiting, Matrix], Floats], known: Known) -> Answer:
    """Many passes, none of them an answer: the cost curve learns nothing of it."""
    command, model = asked.command, asked.model
    began = time.perf_counter()
    try:
        through = Through(model, lambda x: endured(lambda y: run(asked, y), x, (), known, command.model, command.version)[0])
        outputs = answer(through if isinstance(model, Elsewhere) else model, command.matrix, command.explain)
    except EnvironmentMissing:
        raise
    except Exception as error:  # noqa: BLE001 — as above
        return ForwardFailed(command.job, reason_of(error))
    return ForwardDone(command.job, outputs, time.perf_counter() - began)


@runtime_checkable
class Elsewhere(Protocol):
    """A model that cannot be called from a lane's thread: it would wait for itself."""

    elsewhere: bool


class Through:
    """Such a model, asked by the lane that is at work already. mean: as of the model, where it tells."""

    def __init__(self, model: Model, forward: Callable[[Matrix], Floats]) -> None:
        self.columns, self.outputs, self.digest = model.columns, model.outputs, model.digest
        self.mean = getattr(model, "mean", None)
        self._forward = forward

    def forward(self, x: Matrix) -> Floats:
        """As Model.forward."""
        return self._forward(x)


def _apart(parts: Sequence[Waiting], why: str, run: Callable[[Waiting, Matrix], Floats], known: Known) -> list[Answer]:
    return [answer for part in parts for answer in _run([part], why, run, known)]


def _without_killers(taken: Taken, run: Callable[[Waiting, Matrix], Floats], known: Known) -> list[Answer]:
    """Forwards with a row that kills fail without being run; the others go together all the same."""
    failed: dict[int, Answer] = {}
    for place, part in enumerate(taken.parts):
        reasons = known.killers(part.command.model, part.command.version, part.command.matrix)
        if reasons:
            failed[place] = ForwardFailed(part.command.job, next(iter(reasons.values())))
    rest = [part for place, part in enumerate(taken.parts) if place not in failed]
    made = iter(_run(rest, taken.why, run, known) if rest else [])
    return [failed[place] if place in failed else next(made) for place in range(len(taken.parts))]


def reason_of(error: BaseException) -> str:
    """One line; of what was raised in another process, the line it sent."""
    first = (str(error).splitlines() or [""])[0][:REASON_CHARS_MAX]
    return first if isinstance(error, Raised | NoMemory) else f"{type(error).__name__}: {first}"
