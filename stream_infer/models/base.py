"""models.base: what a model is to the rest, and how its faults are told. features → *models* → decide."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from stream_infer.errors import ModelError
from stream_infer.records import Floats, Matrix

# What the edge resolves from entry points and admitted modules: a name → a function of the file's metadata that makes the module.
Factory = Callable[[Mapping[str, str]], object]
Registry = Mapping[str, Factory]

# One row, an even batch, an odd batch: shapes that squeeze, broadcast or are fixed at export differ between these.
SIZES_CHECKED = (1, 2, 7)
# How far a row's answers may lie apart in batches of different sizes, as a share of the largest answer. Matrix products add in another
# order by the size of the batch: float32 is off by 1e-6, bfloat16, which rounds at 4e-3, by 1.6e-3 in a net 784-1024-1024-10 (measured).
# What mixes rows (normalising by the batch, attention over it, dropout left on) is off by tenths.
BATCH_DIFFERENCE_MAX = 1e-2
# What libraries say in a plain RuntimeError when memory has run out: torch's allocator on a CPU, and the libraries below it on a GPU.
OUT_OF_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad allocation")


class Model(Protocol):
    """A model maps a matrix of inputs to a matrix of answers, row by row."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        ...

    @property
    def outputs(self) -> int:
        """Numbers per answer."""
        ...

    @property
    def digest(self) -> str:
        """sha256 (hex) of the bytes it was loaded from."""
        ...

    def forward(self, x: Matrix) -> Floats:
        """x: float32[n, columns] → float64[n, outputs]."""
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A model that also tells how an answer changes with each input."""

    def gradients(self, x: Matrix, output: int) -> Floats:
        """x: float32[n, k] → float64[n, k]: of one output, at each row."""
        ...


def model_error(what: str, file: str, *, got: str = "", expected: str = "", fix: str = "") -> ModelError:
    """A ModelError in the form of every message here: file, what, got, expected, fix."""
    lines = [f"{file}: {what}"]
    lines += [f"    {label + ':':<10}{text}" for label, text in (("got", got), ("expected", expected), ("fix", fix)) if text]
    return ModelError("\n".join(lines))


def check_digest(data: bytes, pinned: str | None, file: str) -> str:
    """The sha256 (hex) of data; raises ModelError where another is pinned (hex, in any case, with or without "sha256:")."""
    digest = hashlib.sha256(data).hexdigest()
    wanted = (pinned or digest).lower().removeprefix("sha256:")
    if digest != wanted:
        raise model_error(
            "the file is not the one that is pinned",
            file,
            got=f"sha256 {digest}",
            expected=f"sha256 {wanted}",
            fix="restore the file, or pin the new checksum if the change is wanted",
        )
    return digest


def out_of_memory(error: BaseException) -> bool:
    """Whether a model raised for want of memory, on its device or in the machine. torch is not imported here: its class goes by name."""
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def check_columns(got: tuple[str, ...], expected: tuple[str, ...], file: str) -> None:
    """Raise ModelError unless the file's columns are the topology's inputs, name by name and in the same order."""
    if got == expected:
        return
    fix = "train the model on the topology's inputs, in the topology's order, or change `inputs`"
    if len(got) != len(expected):
        extra = [f"+{name}" for name in got if name not in expected] + [f"-{name}" for name in expected if name not in got]
        shown = ", ".join(extra[:8]) or "names repeat"
        raise model_error(
            "the model was made for another number of inputs",
            file,
            got=f"{len(got)} columns ({shown})",
            expected=f"{len(expected)} columns",
            fix=fix,
        )
    place = next(i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b)
    raise model_error(
        f"column {place} of the model is another than the topology's", file, got=got[place], expected=expected[place], fix=fix
    )


def check_width(x: Matrix, columns: tuple[str, ...], file: str) -> None:
    """Raise ModelError unless x is a matrix with so many columns."""
    if x.ndim != 2 or x.shape[1] != len(columns):
        raise model_error("the input matrix has another width", file, got=str(x.shape), expected=f"(n, {len(columns)})")


def as_answers(out: object, rows: int, outputs: int, file: str) -> Floats:
    """What a library answered as float64[rows, outputs], a vector as one column; ModelError for other forms. outputs: 0 for any."""
    if not isinstance(out, np.ndarray) or out.dtype.kind not in "fiub":
        got = str(out.dtype) if isinstance(out, np.ndarray) else type(out).__name__
        raise model_error("the answer is no matrix of numbers", file, got=got, expected="numbers [n, outputs]")
    matrix = out[:, None] if out.ndim == 1 else out
    if matrix.ndim != 2 or matrix.shape[0] != rows or not matrix.shape[1] or (outputs and matrix.shape[1] != outputs):
        raise model_error(
            "the output's shape does not follow the batch",
            file,
            got=str(out.shape),
            expected=f"({rows}, {outputs or 'outputs'})",
            fix="keep the batch as the first, dynamic dimension",
        )
    return matrix.astype(np.float64, copy=False)


def self_check(model: Model, file: str = "model", batch_variant: str = "refuse") -> None:
    """Run zeros, ones and rows of both in several batch sizes. Raises ModelError unless every answer is finite and of shape [n, outputs].

    batch_variant: refuse, or allow answers to rows that depend on the batch that they were in by more than BATCH_DIFFERENCE_MAX.
    """
    for rows in SIZES_CHECKED:
        for value in (0.0, 1.0):
            _sound(model, np.full((rows, len(model.columns)), value, dtype=np.float32), f"a row of {value:g}s", file)
    difference = batch_difference(model, _sound_rows(model, file))
    if difference > BATCH_DIFFERENCE_MAX and batch_variant != "allow":
        raise model_error(
            "a row's answer depends on the rows beside it in the batch",
            file,
            got=f"answers that differ by {difference:.2g} of the largest, in batches of {', '.join(map(str, SIZES_CHECKED))} rows",
            expected=f"at most {BATCH_DIFFERENCE_MAX:g}",
            fix="put the module in eval() before it is exported, and normalise by what was trained; or `batch_variant: allow`",
        )


def batch_difference(model: Model, x: Matrix) -> float:
    """How far the answers to the same rows lie apart in batches of different sizes, as a share of the largest answer of their column."""
    whole = model.forward(x)
    scale = np.abs(whole).max(axis=0, initial=0.0)
    scale[scale == 0] = 1.0
    worst = 0.0
    for size in SIZES_CHECKED:
        parts = np.concatenate([model.forward(x[place : place + size]) for place in range(0, len(x), size)])
        worst = max(worst, float((np.abs(parts - whole) / scale).max()))
    return worst


def _sound_rows(model: Model, file: str) -> Matrix:
    """Rows of zeros and ones, no two alike: values that a model of any domain knows, categories included."""
    row, column = np.meshgrid(np.arange(1, SIZES_CHECKED[-1] + 1), np.arange(1, len(model.columns) + 1), indexing="ij")
    x = ((row * 2_654_435_761 ^ column * 2_246_822_519) >> 13 & 1).astype(np.float32)
    _sound(model, x, "a row of 0s and 1s", file)
    return x


def check_shape(shape: tuple[int, ...], rows: int, outputs: int, file: str) -> None:
    """Raises ModelError where an answer is not (rows, outputs)."""
    if shape != (rows, outputs):
        raise model_error(
            f"the output's shape does not follow the batch of {rows}",
            file,
            got=str(shape),
            expected=f"({rows}, {outputs})",
            fix="keep the batch as the first, dynamic dimension",
        )


def _sound(model: Model, x: Matrix, what: str, file: str) -> None:
    out = model.forward(x)
    check_shape(out.shape, len(x), model.outputs, file)
    if not np.isfinite(out).all():
        raise model_error(
            f"{what} gives an answer that is not finite",
            file,
            got=str(out[~np.isfinite(out)][0]),
            expected="finite numbers",
            fix="check the weights and the scale of the inputs",
        )
