"""edge.predicting: single rows for whoever awaits their answers; rows asked at once share passes. models → *predicting* → faust_bridge.

The same passes and sizes as a topology's: while a model is at a pass, whoever asks joins the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.edge.call_columns import column_of
from stream_infer.edge.enduring import Known
from stream_infer.edge.one_pass import nowhere, run_next
from stream_infer.edge.passes import Answer, PassQueue
from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.features.vectorise import Vectoriser
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.notices import ForwardDone
from stream_infer.models.base import Model
from stream_infer.records import Column, Text
from stream_infer.topology.plan import Plan

ROWS_WAITING_MAX = 10_000  # whoever asks beyond waits before it is queued: agents are held back, memory is not filled
_KINDS = {"number": "double", "one_hot": "string", "numbers": "string", "list": "array"}


@dataclass(frozen=True, slots=True)
class Predicted:
    """An answer. version: the digest of the model's weights; answer: the first of its outputs."""

    model: str
    version: str
    answer: float
    outputs: tuple[float, ...]


class Predictor:
    """Models of a plan, loaded. To be used in one event loop; close() ends its thread."""

    def __init__(self, plan: Plan, models: Mapping[str, Model]) -> None:
        self._models = dict(models)
        self._vectorisers = {name: Vectoriser(plan.models[name].inputs) for name in models}
        self._sizes = {name: plan.models[name].batch.sizes for name in models}
        self._sizing = Sizing({name: plan.models[name].batch for name in models}, live=True)
        self._queue, self._known = PassQueue(), Known()
        self._asked: SimpleQueue[bool] = SimpleQueue()  # True for each row, False ends the thread
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._job = 0
        self._room = asyncio.Semaphore(ROWS_WAITING_MAX)
        self._thread: Thread | None = None
        self.passes: list[int] = []  # rows of each pass

    async def predict(self, model: str, row: Mapping[str, object]) -> Predicted:
        """The answer of a model to one row. ModelError: no such model, a row that it cannot read, or a pass that failed."""
        if model not in self._models:
            raise ModelError(f"model {model}: there is none\n    expected: one of {', '.join(sorted(self._models))}")
        vectoriser = self._vectorisers[model]
        columns = columns_of(row, vectoriser.inputs, model)
        matrix = vectoriser.matrix(columns)
        if vectoriser.incomplete(matrix)[0]:
            raise ModelError(f"model {model}: {vectoriser.gap(columns, matrix, 0)}")
        async with self._room:
            self._job += 1
            job, loop = self._job, asyncio.get_running_loop()
            came = self._open[job] = loop.create_future()
            together = Together(*self._sizing.together(model, None))
            self._queue.put(Forward(job, model, 0, matrix, together, self._sizes[model]), self._models[model], nowhere)
            self._began(loop)
            self._asked.put(True)
            answer = await came
        if not isinstance(answer, ForwardDone):
            raise ModelError(f"model {model}: {answer.reason}")
        outputs = tuple(float(one) for one in np.asarray(answer.outputs)[0])
        if not all(np.isfinite(outputs)):
            raise ModelError(f"model {model} gave {outputs}")
        return Predicted(model, self._models[model].digest, outputs[0], outputs)

    def _began(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._work, args=(loop,), name="predictions")
            self._thread.start()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """One turn for each row: a turn takes all that may go together, and those that find nothing left end at once."""
        while self._asked.get():
            answers = run_next(self._queue, self._known)
            if answers:
                loop.call_soon_threadsafe(self._told, answers)

    def _told(self, answers: list[Answer]) -> None:
        for answer in answers:
            passed = answer.passed if isinstance(answer, ForwardDone) else None
            if passed is not None:
                self.passes = [*self.passes[-999:], passed.rows]
            came = self._open.pop(answer.job, None)
            if came is not None and not came.done():  # whoever asked may have been cancelled
                came.set_result(answer)

    def close(self) -> None:
        """End the thread; what it still computes is dropped."""
        self._queue.close()
        if self._thread is not None:
            self._asked.put(False)
            self._thread.join()
            self._thread = None
        for came in self._open.values():
            came.cancel()


def columns_of(row: Mapping[str, object], inputs: tuple[Input, ...], model: str) -> dict[str, Column]:
    """The inputs of a model as columns of one row."""
    columns: dict[str, Column] = {}
    for entry in inputs:
        if entry.field not in row:
            raise ModelError(f"model {model}: the row has no field `{entry.field}`\n    got:      {', '.join(sorted(row)) or 'nothing'}")
        value = row[entry.field]
        if isinstance(value, bytes):
            columns[entry.field] = Text.of([value], is_bytes=True)
            continue
        guessed = "string" if isinstance(value, str) else "array" if isinstance(value, list | tuple) else "double"
        columns[entry.field], faults = column_of([value], entry.field, _KINDS.get(entry.kind, guessed))
        if faults:
            raise ModelError(f"model {model}: {faults[0].replace('the function gave', 'got')}")
    return columns
