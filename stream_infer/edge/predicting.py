"""edge.predicting: single rows for whoever awaits their answers; rows asked at once share passes. models → *predicting* → faust_bridge.

The same passes and sizes as a topology's: while a model is at a pass, whoever asks joins the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from queue import SimpleQueue
from threading import Thread

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.edge.enduring import Known
from stream_infer.edge.one_pass import nowhere, run_next
from stream_infer.edge.passes import Answer, PassQueue
from stream_infer.edge.predicted import Predicted, columns_of
from stream_infer.edge.predicting_composed import PredictingComposed
from stream_infer.errors import ModelError
from stream_infer.features.vectorise import Vectoriser
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.notices import ForwardDone
from stream_infer.models.base import Model
from stream_infer.topology.plan import Plan

ROWS_WAITING_MAX = 10_000  # whoever asks beyond waits before it is queued: agents are held back, memory is not filled


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
        self._composed = PredictingComposed(plan, models, self._sizing, self._next_job, self._submit)
        self.passes: list[int] = []  # rows of each pass

    async def predict(self, model: str, row: Mapping[str, object]) -> Predicted:
        """The answer of a model to one row. ModelError: no such model, a row that it cannot read, or a pass that failed."""
        if model in self._composed.names:
            async with self._room:
                return await self._composed.predict(model, row)
        if model not in self._models:
            known = sorted({*self._models, *self._composed.names})
            raise ModelError(f"model {model}: there is none\n    expected: one of {', '.join(known)}")
        vectoriser = self._vectorisers[model]
        columns = columns_of(row, vectoriser.inputs, model)
        matrix = vectoriser.matrix(columns)
        if vectoriser.incomplete(matrix)[0]:
            raise ModelError(f"model {model}: {vectoriser.gap(columns, matrix, 0)}")
        async with self._room:
            job = self._next_job()
            came = self._open[job] = asyncio.get_running_loop().create_future()
            self._submit(Forward(job, model, 0, matrix, Together(*self._sizing.together(model, None)), self._sizes[model]))
            answer = await came
        if not isinstance(answer, ForwardDone):
            raise ModelError(f"model {model}: {answer.reason}")
        outputs = tuple(float(one) for one in np.asarray(answer.outputs)[0])
        if not all(np.isfinite(outputs)):
            raise ModelError(f"model {model} gave {outputs}")
        return Predicted(model, self._models[model].digest, outputs[0], outputs)

    def _next_job(self) -> int:
        self._job += 1
        return self._job

    def _submit(self, command: Forward) -> None:
        self._queue.put(command, self._models[command.model], nowhere)
        if self._thread is None:
            self._thread = Thread(target=self._work, args=(asyncio.get_running_loop(),), name="predictions")
            self._thread.start()
        self._asked.put(True)

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
            if self._composed.told(answer):
                continue
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
        self._composed.close()
