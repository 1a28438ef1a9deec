"""models.linear: weights times standardised inputs, in float64, the same to the last bit in every batch. features → *linear* → decide."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import orjson

from stream_infer.jit import jit
from stream_infer.models.base import model_error
from stream_infer.models.tensors import read_tensors, write_tensors
from stream_infer.records import Floats, Matrix, plain

LINKS = ("identity", "logistic")


@dataclass(frozen=True, eq=False)
class LinearModel:
    """link(((x - mean) / scale) · weights + bias). weights: float64[k, outputs]; bias: float64[outputs]; mean, scale: float64[k].

    link: identity | logistic. columns: names of the k inputs. digest: sha256 of the bytes it came from ("" means: of to_bytes()).
    """

    weights: Floats
    bias: Floats
    mean: Floats
    scale: Floats
    link: str
    columns: tuple[str, ...] = ()
    digest: str = ""
    _plain: tuple[Floats, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        arrays = tuple(plain(array.astype(np.float64)) for array in (self.weights, self.bias, self.mean, self.scale))
        object.__setattr__(self, "_plain", arrays)
        if not self.columns:
            object.__setattr__(self, "columns", tuple(str(i) for i in range(len(self.mean))))
        if not self.digest:
            object.__setattr__(self, "digest", hashlib.sha256(self.to_bytes()).hexdigest())

    @property
    def outputs(self) -> int:
        """Numbers per answer."""
        return len(self.bias)

    def forward(self, x: Matrix) -> Floats:
        """x: float32[n, k]. Returns float64[n, outputs]; a row's answer does not depend on its neighbours or on n."""
        if x.ndim != 2 or x.shape[1] != len(self.columns):
            raise model_error("the input matrix has another width", "linear model", got=str(x.shape), expected=f"(n, {len(self.columns)})")
        out = np.empty((len(x), len(self.bias)))
        weights, bias, mean, scale = self._plain
        _scores(plain(x), weights, bias, mean, scale, out)
        return logistic(out) if self.link == "logistic" else out

    def to_bytes(self) -> bytes:
        """A safetensors file; the same model gives the same bytes."""
        arrays = {"weights": self.weights, "bias": self.bias, "mean": self.mean, "scale": self.scale}
        metadata = {"kind": "linear", "link": self.link, "columns": orjson.dumps(self.columns).decode()}
        return write_tensors({name: array.astype("<f8") for name, array in arrays.items()}, metadata)

    @staticmethod
    def from_bytes(data: bytes, file: str = "linear model") -> LinearModel:
        """Raises ModelError where the bytes are no sound linear model; float32 arrays are widened."""
        tensors = read_tensors(data, file)
        arrays = {}
        for name in ("weights", "bias", "mean", "scale"):
            array = tensors.arrays.get(name)
            if array is None:
                raise model_error(
                    f"the file lacks the tensor {name}",
                    file,
                    got=", ".join(sorted(tensors.arrays)) or "no tensors",
                    expected="weights, bias, mean, scale",
                    fix="save it with LinearModel.to_bytes()",
                )
            if array.dtype not in (np.float64, np.float32):
                raise model_error(f"tensor {name} has the wrong type", file, got=str(array.dtype), expected="float64 or float32")
            arrays[name] = array.astype(np.float64)
            if not np.isfinite(arrays[name]).all():
                raise model_error(
                    f"tensor {name} holds NaN or infinity",
                    file,
                    got=str(array[~np.isfinite(array)][0]),
                    expected="finite numbers",
                    fix="train again: the model diverged",
                )
        link = tensors.metadata.get("link", "")
        if link not in LINKS:
            raise model_error("the metadata names no known link", file, got=link or "none", expected=" or ".join(LINKS))
        columns = read_columns(tensors.metadata, file)
        _check_shapes({name: array.shape for name, array in arrays.items()}, len(columns), file)
        if not (arrays["scale"] > 0).all():
            raise model_error(
                "a scale is not above zero", file, got=str(arrays["scale"].min()), expected="> 0", fix="use 1 for a constant column"
            )
        return LinearModel(**arrays, link=link, columns=columns, digest=hashlib.sha256(data).hexdigest())

    @staticmethod
    def unscaled(columns: tuple[str, ...], weights: list[list[float]], bias: list[float], link: str = "identity") -> LinearModel:
        """A model of inputs as they are. weights: of each column, for each output; bias: of each output."""
        wide = len(columns)
        return LinearModel(np.array(weights), np.array(bias), np.zeros(wide), np.ones(wide), link, columns)

    @staticmethod
    def zeros(columns: tuple[str, ...], link: str) -> LinearModel:
        """What a learner answers with before its first version."""
        wide = len(columns)
        return LinearModel(np.zeros((wide, 1)), np.zeros(1), np.zeros(wide), np.ones(wide), link, columns)


@jit
def _scores(x: Matrix, weights: Floats, bias: Floats, mean: Floats, scale: Floats, out: Floats) -> None:
    """Input after input, row by row, and not a matrix product: BLAS picks another kernel, hence another order of adding, by the size of
    the batch, and an answer would then depend on who else was in it."""
    for row in range(len(x)):
        for output in range(len(bias)):
            total = bias[output]
            for place in range(len(mean)):
                total += weights[place, output] * ((np.float64(x[row, place]) - mean[place]) / scale[place])
            out[row, output] = total


def logistic(scores: Floats) -> Floats:
    """1 / (1 + exp(-scores)), elementwise, without overflow."""
    out: Floats = 1.0 / (1.0 + np.exp(-np.clip(scores, -700.0, 700.0)))
    return out


def read_columns(metadata: dict[str, str], file: str) -> tuple[str, ...]:
    """The names of the inputs from a file's metadata; ModelError where they are absent: a swapped column would go unseen."""
    fix = 'save with metadata={"columns": json.dumps([…names in order…]), …}'
    try:
        columns = orjson.loads(metadata.get("columns", "null"))
    except orjson.JSONDecodeError:
        columns = None
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns) or not columns:
        raise model_error(
            "the metadata does not name the input columns",
            file,
            got=metadata.get("columns", "nothing")[:80],
            expected="a JSON list of names",
            fix=fix,
        )
    return tuple(columns)


def _check_shapes(shapes: dict[str, tuple[int, ...]], wide: int, file: str) -> None:
    outputs = shapes["weights"][1] if len(shapes["weights"]) == 2 else 0
    for name, expected in (("weights", (wide, outputs)), ("bias", (outputs,)), ("mean", (wide,)), ("scale", (wide,))):
        if shapes[name] != expected or outputs == 0:
            raise model_error(
                f"tensor {name} has the wrong shape",
                file,
                got=str(shapes[name]),
                expected=str(expected) if outputs else "(columns, outputs)",
            )
