"""edge.predicting_composed: single rows for models that are made of others, or read them. predicted → *predicting_composed* → predicting.

Each row is a chunk of its own to a decide step whose only arm is the model, as in a live run: passes of rows that are asked at once are
shared, and ensembles with `wait_ms_max` go on without late members.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.decide.composed import Route
from stream_infer.decide.settings import PolicySettings
from stream_infer.edge.passes import Answer
from stream_infer.edge.predicted import Predicted, column, columns_of
from stream_infer.errors import ModelError
from stream_infer.flow.answers import Answers
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command, Forward
from stream_infer.flow.deciding import Decider
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.notices import ForwardDone
from stream_infer.flow.versions import VersionTable, statics
from stream_infer.models.base import Model
from stream_infer.records import Column, Ints
from stream_infer.topology.plan import DecideStep, Plan, StreamPlan

_NO_STREAM = StreamPlan("", "", "", 1)


class PredictingComposed:
    """submit: a pass that is to be run; what comes of it goes to told(). To be used in one event loop."""

    def __init__(
        self, plan: Plan, models: Mapping[str, Model], sizing: Sizing, next_job: Callable[[], int], submit: Callable[[Forward], None]
    ) -> None:
        self._plan, self._sizing, self._submit = plan, sizing, submit
        reading = [name for name in models if any(entry.kind == "output" for entry in plan.models[name].inputs)]
        versions = VersionTable(statics(plan.models, models))
        steps = [DecideStep(name, (name,), PolicySettings("fixed")) for name in [*plan.composed, *reading]]
        self._deciders = {step.name: Decider(step, _NO_STREAM, plan.models, versions, next_job, sizing, plan.composed) for step in steps}
        self._awaited: list[tuple[Decider, Choice, asyncio.Future[None]]] = []

    @property
    def names(self) -> frozenset[str]:
        """The models that are asked here."""
        return frozenset(self._deciders)

    async def predict(self, model: str, row: Mapping[str, object]) -> Predicted:
        """The answer to one row. ModelError: as Predictor.predict."""
        decider, loop = self._deciders[model], asyncio.get_running_loop()
        self._sizing.now_ms = round(loop.time() * 1000)
        choice, _, commands = decider.begin(_flowing(self._columns(decider, model, row)))
        assert choice is not None, "a row without a choice"
        came = loop.create_future()
        self._awaited.append((decider, choice, came))
        self._carry_out(commands)
        await came
        return self._answer(decider, choice, model)

    def _columns(self, decider: Decider, model: str, row: Mapping[str, object]) -> dict[str, Column]:
        """All that any of the models in the graph may read of the row."""
        columns: dict[str, Column] = {}
        for leaf in decider.graph.leaves:
            columns |= columns_of(row, tuple(entry for entry in self._plan.models[leaf].inputs if entry.kind != "output"), leaf)
        routes = [node.composed for node in decider.graph.nodes.values() if isinstance(node.composed, Route)]
        compared = {where.field for route in routes for where, _ in route.cases}
        return {name: column(row, name, model) for name in compared if name not in columns} | columns

    def told(self, answer: Answer) -> bool:
        """Whether a pass that ended was asked for here; whoever waited for it goes on."""
        decider = next((one for one in self._deciders.values() if one.asked(answer.job)), None)
        if decider is None:
            return False
        self._sizing.patience.ended(answer.job)
        if isinstance(answer, ForwardDone):
            self._carry_out(decider.done(answer.job, answer.outputs))
        else:
            self._carry_out(decider.failed(answer.job, answer.reason))
        return True

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            assert isinstance(command, Forward), "a decide step only asks models"
            self._submit(command)
        for decider, choice, came in [one for one in self._awaited if not one[1].waits]:
            decider.close(choice)
            if not came.done():  # whoever asked may have been cancelled
                came.set_result(None)
        self._awaited = [one for one in self._awaited if one[1].waits]
        loop = asyncio.get_running_loop()
        for decider, choice, _ in self._awaited:
            if choice.due_ms is not None:
                loop.call_at(choice.due_ms / 1000, self._overdue, decider, choice.due_ms)

    def _overdue(self, decider: Decider, due_ms: int) -> None:
        self._sizing.now_ms = max(round(asyncio.get_running_loop().time() * 1000), due_ms)
        self._carry_out(decider.overdue(self._sizing.now_ms))

    def _answer(self, decider: Decider, choice: Choice, model: str) -> Predicted:
        if 0 in choice.faults:
            raise ModelError(choice.faults[0])
        answers = Answers(decider.step, decider.graph)
        answers.take(choice, slice(None), 1, np.zeros(1, dtype=np.int64), 1)
        by, missing, confidence = (answers.column(name).to_list()[0] for name in ("answered_by", "missing", "confidence"))
        outputs = tuple(float(one) for one in choice.outputs[model][0])
        without = tuple(str(missing).split(", ")) if missing is not None else ()
        sure = confidence if isinstance(confidence, float) else None
        return Predicted(model, choice.versions[model][1], outputs[0], outputs, str(by), without, sure)

    def close(self) -> None:
        """Nobody is answered any more."""
        for _, _, came in self._awaited:
            came.cancel()
        self._awaited = []


def _flowing(columns: dict[str, Column]) -> Flowing:
    zero: Ints = np.zeros(1, dtype=np.int64)
    return Flowing("", zero, zero, zero, zero, zero, columns)
