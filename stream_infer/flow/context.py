"""flow.context: what learners see of a decision. deciding → *context* → joining, learning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.features.vectorise import Vectoriser
from stream_infer.flow.choice import Choice
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Matrix
from stream_infer.topology.plan import LearnStep, Plan


@dataclass(slots=True)
class Context:
    """What learners see of a decision: the union of the inputs of all models that learn, each model's matrix side by side."""

    models: tuple[ModelSettings, ...]
    vectorisers: tuple[Vectoriser, ...]

    @property
    def width(self) -> int:
        """Columns of matrix()."""
        return sum(len(model.columns()) for model in self.models)

    def matrix(self, choice: Choice) -> Matrix:
        """float32[rows, width]."""
        parts = []
        for model, vectoriser in zip(self.models, self.vectorisers, strict=True):
            made = choice.matrices.get(model.name)
            parts.append(vectoriser.matrix(choice.flowing.columns) if made is None else made)
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(choice), 0), dtype=np.float32)


def context_inputs(plan: Plan) -> Context:
    """The context of a plan: of its learn step's models, in the plan's order."""
    steps = [step for section in plan.sections for step in section.steps if isinstance(step, LearnStep)]
    models = tuple(plan.models[name] for step in steps for name in step.models)
    return Context(models, tuple(Vectoriser(model.inputs) for model in models))
