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
class WorkerSettings:
    """By whom a model's passes are run. where: thread (of this process) or process (its own, over shared memory).

    count: workers, of each device. threads: of one pass on a CPU. weight: share of a worker that several models want. pool: processes of
    the same pool serve all models that name it (None: the model's own on a CPU, the device's on a GPU). devices: where they stand,
    (): on the model's `device`. pass_s_max: a pass that takes longer has killed its worker; start_s_max: until a worker is ready.
    restarts_max: a worker that ends so often without one answer is given up.
    """

    where: str = "thread"
    count: int = 1
    threads: int = 1
    weight: float = 1.0
    pool: str | None = None
    devices: tuple[str, ...] = ()
    pass_s_max: float = 30.0
    start_s_max: float = 120.0
    restarts_max: int = 20


@dataclass(frozen=True)
class ModelSettings:
    """One model. artifact: path of its file below the topology's folder, or a URL; None for a learner from zero.

    versions_kept: how many versions stay in memory beside the one that answers; None where no version can be published.
    output: which of its answers (by kind: probability, label, margin; of ONNX the name of an output); None for the usual one.
    batch_variant: refuse or allow answers that depend on the batch.
    precision: float32, bfloat16 or int8, in which a net computes. compile: by torch.compile, on a GPU, while it already answers.
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
    precision: str = "float32"
    compile: bool = False
    workers: WorkerSettings = field(default_factory=WorkerSettings)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the model's input matrix, in order."""
        return tuple(name for entry in self.inputs for name in entry.columns())
