"""models.settings: what a topology may say of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_infer.batching.settings import BatchSettings
from stream_infer.features.settings import Input
from stream_infer.models.answer_table import CacheSettings


@dataclass(frozen=True)
class LearnerSettings:
    """How a model learns from rewards. by: sgd (squared loss, linear) or ftrl (logistic loss, FTRL-Proximal)."""

    by: str
    rate: float = 0.01
    l2: float = 0.0
    alpha: float = 0.1
    beta: float = 1.0
    l1: float = 0.0


@dataclass(frozen=True)
class ModelSettings:
    """One model. artifact: path of its file below the topology's folder, or a URL; None for a learner from zero.

    versions_kept: how many versions stay in memory beside the one that answers; None where no version can be published.
    output: which of its answers (by kind: probability, label, margin; of ONNX the name of an output); None for the usual one.
    batch_variant: refuse or allow answers that depend on the batch.
    """

    name: str
    kind: str
    inputs: tuple[Input, ...]
    artifact: str | None = None
    model_class: str = "mlp"
    sha256: str | None = None
    trusted: bool = False
    device: str = "cpu"
    batch: BatchSettings = field(default_factory=BatchSettings)
    learns: LearnerSettings | None = None
    versions_kept: int | None = None
    cache: CacheSettings | None = None
    output: str | None = None
    batch_variant: str = "refuse"

    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the model's input matrix, in order."""
        return tuple(name for entry in self.inputs for name in entry.columns())
