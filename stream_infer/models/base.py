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


def self_check(model: Model, file: str = "model") -> None:
    """Run zeros and ones of several batch sizes; raise ModelError unless every answer is finite and of shape [n, outputs]."""
    for rows in SIZES_CHECKED:
        for value in (0.0, 1.0):
            out = model.forward(np.full((rows, len(model.columns)), value, dtype=np.float32))
            if out.shape != (rows, model.outputs):
                raise model_error(
                    f"the output's shape does not follow the batch of {rows}",
                    file,
                    got=str(out.shape),
                    expected=f"({rows}, {model.outputs})",
                    fix="keep the batch as the first, dynamic dimension",
                )
            if not np.isfinite(out).all():
                raise model_error(
                    f"a row of {value:g}s gives an answer that is not finite",
                    file,
                    got=str(out[~np.isfinite(out)][0]),
                    expected="finite numbers",
                    fix="check the weights and the scale of the inputs",
                )
