"""attribution.settings: what a topology may say of explanations."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.records import Hashes, Ints

# auto: the exact way of a linear model, the gradients of a net, else Shapley values of its answers.
METHODS = ("auto", "linear", "integrated_gradients", "shap", "lime")
BASELINES = ("zeros", "mean")
STEPS = 64  # of the path's integral; 50 is captum's default, and a ReLU net of 30 inputs is complete to 1e-3 of its answer there
SAMPLES = 512  # answers asked per explanation: all coalitions of nine inputs


@dataclass(frozen=True)
class AttributionSettings:
    """How an answer is attributed. method: one of METHODS; output: which of the model's outputs is explained.

    baseline: what an input counts against: zeros, mean (that by which the model standardises), or numbers by column name (others 0).
    steps: of integrated gradients; samples: perturbed rows per explanation, of shap and lime; seed: they are a function of it and the key.
    """

    method: str = "auto"
    baseline: str | tuple[tuple[str, float], ...] = "zeros"
    output: int = 0
    steps: int = STEPS
    samples: int = SAMPLES
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Asked:
    """What a model's worker is told of rows to be explained. keys: uint64[n], of each row; starts, sizes: as in attribution_of()."""

    settings: AttributionSettings
    keys: Hashes
    starts: Ints
    sizes: tuple[int, ...] = ()
