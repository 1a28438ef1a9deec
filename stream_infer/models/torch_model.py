"""models.torch_model: nets as models. tensors → *torch_model* → the edge's workers."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import orjson
import torch
from torch import nn

from stream_infer.models.base import Registry, model_error
from stream_infer.models.linear import read_columns
from stream_infer.models.tensors import Tensors, read_tensors
from stream_infer.models.torch_cuda import CudaRunner
from stream_infer.models.torch_precision import in_precision
from stream_infer.records import Floats, Matrix

Forward = Callable[[torch.Tensor], torch.Tensor]
COMPILED_SIZES_MAX = 8  # torch.compile gives up silently after so many shapes (recompile_limit); more are compiled as one of any size


@dataclass(frozen=True, slots=True)
class Computing:
    """How a net computes. precision: float32, bfloat16 or int8; threads: of a pass (CPU); sizes: of passes, each with a graph (GPU)."""

    precision: str = "float32"
    threads: int = 1
    sizes: tuple[int, ...] = ()


PLAIN = Computing()


class Mlp(nn.Module):
    """The built-in net: standardise, then linear layers with ReLU between. widths: from the inputs to the outputs, at least two.

    State: mean, scale [inputs]; layers.0.weight, layers.0.bias, layers.1.weight … as nn.Linear names them.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, widths: list[int], link: str = "identity") -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(widths[0]))
        self.register_buffer("scale", torch.ones(widths[0]))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.link = link
        self.standardises = True

    def settle(self) -> None:
        """What the weights allow to leave out: a mean of 0 and a scale of 1 change no bit."""
        self.standardises = bool((self.mean != 0).any() or (self.scale != 1).any())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: float32[n, inputs], left as it is → float32[n, outputs]."""
        # In place from the second step on: a fresh matrix for each costs as much as its arithmetic (784 inputs: 2.0 -> 0.8 µs a row).
        hidden = (x - self.mean).div_(self.scale) if self.standardises else x
        for layer in self.layers[:-1]:
            hidden = torch.relu_(layer(hidden))
        out: torch.Tensor = self.layers[-1](hidden)
        return torch.sigmoid(out) if self.link == "logistic" else out


class TorchModel:
    """A module in inference mode behind the common form of models. Its products may differ in the last bits between batch sizes."""

    def __init__(
        self, forward: Forward, columns: tuple[str, ...], digest: str, device: str, file: str = "torch model", how: Computing = PLAIN
    ) -> None:
        self.columns, self.digest = columns, digest
        self._forward, self._device, self._file, self._how = forward, torch.device(device), file, how
        self._is_ours = isinstance(forward, Mlp)  # it writes into nothing that it is given
        self._cuda: CudaRunner | None = None
        self.outputs = 0
        self.outputs = self._run(np.zeros((1, len(columns)), dtype=np.float32)).shape[1]
        if self._device.type == "cuda":
            bfloat16 = how.precision == "bfloat16"
            self._cuda = CudaRunner(forward, len(columns), self.outputs, self._device, how.sizes, bfloat16=bfloat16)

    def compile(self) -> None:
        """Compile a copy for the device while this one answers, and answer with it from then on. Takes up to minutes; on a CPU nothing."""
        if self._cuda is not None:
            few = 0 < len(self._how.sizes) <= COMPILED_SIZES_MAX
            self._cuda.capture(torch.compile(copy.deepcopy(self._forward), dynamic=not few), self._how.sizes)

    def forward(self, x: Matrix) -> Floats:
        """x: float32[n, k]. Returns float64[n, outputs]; ModelError where the module answers in another shape."""
        if x.ndim != 2 or x.shape[1] != len(self.columns):
            raise model_error("the input matrix has another width", self._file, got=str(x.shape), expected=f"(n, {len(self.columns)})")
        return self._run(x)

    def _run(self, x: Matrix) -> Floats:
        if self._cuda is not None:
            return self._cuda.forward(x)
        # By default one thread: workers scale by processes, and a second thread of ours would take the core from the neighbour's batch.
        if torch.get_num_threads() != self._how.threads:
            torch.set_num_threads(self._how.threads)
        with torch.inference_mode():
            # The copy keeps a user's module from ever writing into a caller's columns, and torch from warning about read-only ones.
            rows = x if self._is_ours and x.flags.writeable and x.dtype == np.float32 else np.array(x, dtype=np.float32, order="C")
            answer = self._forward(torch.from_numpy(rows).to(self._device))
            if not isinstance(answer, torch.Tensor):
                raise model_error(
                    "the module does not answer with one tensor", self._file, got=type(answer).__name__, expected="a tensor [n, outputs]"
                )
            out: Floats = answer.to("cpu", torch.float64).numpy()
        out = out[:, None] if out.ndim == 1 else out
        if out.ndim != 2 or out.shape[0] != len(x) or (self.outputs and out.shape[1] != self.outputs):
            raise model_error(
                "the output's shape does not follow the batch",
                self._file,
                got=str(out.shape),
                expected=f"({len(x)}, {self.outputs or 'outputs'})",
                fix="keep the batch as the first, dynamic dimension",
            )
        return out

    @property
    def mean(self) -> Floats | None:
        """float64[k]: the buffer `mean` of the module, by which the built-in net standardises; None where it has none of that shape."""
        found = getattr(self._forward, "mean", None)
        if not isinstance(found, torch.Tensor) or found.shape != (len(self.columns),):
            return None
        mean: Floats = found.detach().to("cpu", torch.float64).numpy()
        return mean

    def gradients(self, x: Matrix, output: int) -> Floats:
        """How one output changes with each input. x: float32[n, k] → float64[n, k]; what the module keeps of its own is left alone."""
        with torch.enable_grad():
            rows = torch.from_numpy(np.array(x, dtype=np.float32, order="C")).to(self._device).requires_grad_(True)
            answer = self._forward(rows)
            answer = answer[:, None] if answer.ndim == 1 else answer
            # Rows do not depend on each other, so the gradient of the sum is each row's own.
            (slope,) = torch.autograd.grad(answer[:, output].sum(), rows)
            slopes: Floats = slope.to("cpu", torch.float64).numpy()
        return slopes

    @staticmethod
    def from_bytes(
        data: bytes, class_name: str, registry: Registry, device: str, file: str = "torch model", how: Computing = PLAIN
    ) -> TorchModel:
        """A safetensors file into a module of class_name: `mlp`, or a factory of the registry that gets the file's metadata.

        Raises ModelError where the class is unknown or the tensors are not the module's, by name, shape, type or finiteness.
        """
        tensors = read_tensors(data, file)
        columns = read_columns(tensors.metadata, file)
        module = _module(class_name, registry, tensors.metadata, file)
        _fill(module, tensors, file)
        module.eval()
        if isinstance(module, Mlp):
            module.settle()
        try:
            module.to(device)
        except (RuntimeError, AssertionError) as error:
            raise model_error(
                "the device cannot be used", file, got=f"{device}: {error}", expected="cpu, or cuda where there is a GPU"
            ) from None
        if torch.device(device).type == "cpu":  # on a GPU the runner does it, for all kinds of layers
            module = in_precision(module, how.precision, file)
        return TorchModel(module, columns, hashlib.sha256(data).hexdigest(), device, file, how)

    @staticmethod
    def from_exported(
        data: bytes, columns: tuple[str, ...], device: str, file: str = "torch model", how: Computing = PLAIN
    ) -> TorchModel:
        """A program of torch.export (.pt2). It can run code: the caller has checked trust and checksum."""
        try:
            module = torch.export.load(io.BytesIO(data)).module()
        except Exception as error:  # noqa: BLE001  torch raises anything here, from KeyError to zipfile's own; all mean one thing
            raise model_error(
                "torch.export cannot load the file",
                file,
                got=f"{type(error).__name__}: {error}"[:300],
                expected="a .pt2 archive",
                fix="export it again with this version of torch",
            ) from None
        module.to(device)
        try:
            return TorchModel(module, columns, hashlib.sha256(data).hexdigest(), device, file, how)
        except (AssertionError, RuntimeError) as error:
            raise model_error(
                "the exported program refuses a batch of one row of the topology's inputs",
                file,
                got=str(error)[:300],
                expected=f"float32[n, {len(columns)}] with n dynamic",
                fix='export with dynamic_shapes=({0: torch.export.Dim("n")},)',
            ) from None


def _module(class_name: str, registry: Registry, metadata: Mapping[str, str], file: str) -> nn.Module:
    if class_name == "mlp":
        return _mlp(metadata, file)
    factory = registry.get(class_name)
    if factory is None:
        raise model_error(
            "the class of the model is not registered",
            file,
            got=class_name,
            expected=", ".join(["mlp", *sorted(registry)]),
            fix="install its package (entry points) or admit its module on the command line",
        )
    module = factory(metadata)
    if not isinstance(module, nn.Module):
        raise model_error(f"the factory {class_name} made no torch.nn.Module", file, got=type(module).__name__, expected="torch.nn.Module")
    return module


def _mlp(metadata: Mapping[str, str], file: str) -> nn.Module:
    try:
        widths = orjson.loads(metadata.get("widths", "null"))
    except orjson.JSONDecodeError:
        widths = None
    if not isinstance(widths, list) or len(widths) < 2 or not all(type(width) is int and 0 < width <= 65_536 for width in widths):
        raise model_error(
            "the metadata does not say the widths of the mlp",
            file,
            got=metadata.get("widths", "nothing")[:80],
            expected="a JSON list from inputs to outputs, e.g. [12, 64, 1]",
            fix='save with metadata={"widths": …, "columns": …}',
        )
    link = metadata.get("link", "identity")
    if link not in ("identity", "logistic"):
        raise model_error("the metadata names no known link", file, got=link, expected="identity or logistic")
    return Mlp(widths, link)


def _fill(module: nn.Module, tensors: Tensors, file: str) -> None:
    """load_state_dict casts types silently and lists names without their shapes; so every name is looked at here first."""
    expected = module.state_dict()
    lacking, extra = [name for name in expected if name not in tensors.arrays], [name for name in tensors.arrays if name not in expected]
    if lacking or extra:
        raise model_error(
            "the file's tensors are not the module's",
            file,
            got=", ".join(f"+{name}" for name in sorted(extra)[:6]) or "fewer",
            expected=", ".join(sorted(lacking)[:6]) or "no others",
            fix="save the state_dict of the same class and widths",
        )
    state = {}
    for name, target in expected.items():
        array = tensors.arrays[name]
        # A copy: frombuffer's view is read-only, and weights must not share memory with the bytes of a message.
        tensor = torch.from_numpy(array.copy())
        if tensor.dtype != target.dtype or tensor.shape != target.shape:
            raise model_error(
                f"tensor {name} has another type or shape",
                file,
                got=f"{tensor.dtype} {tuple(tensor.shape)}",
                expected=f"{target.dtype} {tuple(target.shape)}",
                fix="save the state_dict of the same class and widths, in float32",
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise model_error(
                f"tensor {name} holds NaN or infinity", file, expected="finite numbers", fix="train again: the model diverged"
            )
        state[name] = tensor
    module.load_state_dict(state)
