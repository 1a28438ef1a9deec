"""models.manifest: what is on record of one version of a model, for ever. cli → *manifest* → rollout, load."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from stream_infer.models.base import Model, model_error
from stream_infer.models.tensors import read_tensors, write_tensors
from stream_infer.records import Floats, Matrix

GOLDEN_ROWS = 8  # enough that a swapped column or a lost layer shows in some of them
GOLDEN_BYTES_MAX = 400_000  # a record has 1 MB by default, and base64 makes it a third longer
WITHIN = 1e-4  # of the larger of 1 and the answer: float32 sums on other machines differ by less, another model by more


@dataclass(frozen=True)
class Manifest:
    """One version. artifact: path below the topology's folder, or URL; sha256: of its bytes; golden: sha256 of the golden answers, or "".

    code: digest of the class that makes it of its bytes; features: of what the topology feeds it; trained_on: "topic[partition]" →
    (from, to) offsets; made_from: models whose outputs are its inputs, with the version that it was trained on.
    """

    name: str
    version: int
    artifact: str
    sha256: str
    kind: str
    code: str = ""
    features: str = ""
    trained_on: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    made_from: Mapping[str, int] = field(default_factory=dict)
    parent: int | None = None
    golden: str = ""

    def json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self) | {"trained_on": {name: list(offsets) for name, offsets in self.trained_on.items()}}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Manifest:
        """The inverse of json(); raises ModelError for what is none."""
        try:
            trained_on = {str(name): (int(begin), int(end)) for name, (begin, end) in data["trained_on"].items()}
            return Manifest(**{**data, "trained_on": trained_on})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise model_error("the record is no manifest", "changes topic", got=f"{type(error).__name__}: {error}") from error


def golden_inputs(columns: int) -> Matrix:
    """float32[rows, columns] that every model of this width can be asked: nothing of them is anybody's data. No rows for a huge width."""
    rows = min(GOLDEN_ROWS, GOLDEN_BYTES_MAX // max(1, 4 * columns + 64))
    place = np.arange(rows * columns, dtype=np.float64)
    # Thirds of an irrational step lie evenly in [-1, 1) and repeat nowhere.
    return np.ascontiguousarray(((place * 0.6180339887498949) % 1.0 * 2.0 - 1.0).reshape(rows, columns).astype(np.float32))


def write_golden(inputs: Matrix, outputs: Floats) -> bytes:
    """A safetensors file of questions and answers; b"" where there are none."""
    if not len(inputs):
        return b""
    return write_tensors({"inputs": inputs.astype("<f4"), "outputs": outputs.astype("<f8")}, {"kind": "golden"})


def check_golden(model: Model, golden: bytes, sha256: str, file: str) -> None:
    """Ask the golden questions; raises ModelError unless the model gives the answers on record. Nothing is on record: nothing is asked."""
    if not sha256 and not golden:
        return
    digest = hashlib.sha256(golden).hexdigest()
    if digest != sha256:
        raise model_error(
            "the golden answers are not those of the manifest", file, got=f"sha256 {digest}", expected=sha256, fix="publish it again"
        )
    arrays = read_tensors(golden, file).arrays
    inputs, expected = arrays["inputs"].astype(np.float32), arrays["outputs"].astype(np.float64)
    if inputs.shape[1] != len(model.columns):
        raise model_error(
            "the golden questions have another width", file, got=f"{inputs.shape[1]} columns", expected=f"{len(model.columns)}"
        )
    got = model.forward(np.ascontiguousarray(inputs))
    if got.shape != expected.shape:
        raise model_error("it answers the golden questions in another shape", file, got=str(got.shape), expected=str(expected.shape))
    off = np.abs(got - expected) / np.maximum(1.0, np.abs(expected))
    if not (off <= WITHIN).all():
        row, output = np.unravel_index(int(np.argmax(np.where(np.isnan(off), np.inf, off))), off.shape)
        raise model_error(
            f"golden question {row} is answered otherwise than when it was published",
            file,
            got=f"{got[row, output]:.9g} in output {output}",
            expected=f"{expected[row, output]:.9g}, within {WITHIN:g} of the larger of 1 and itself",
            fix="publish the version again from where it is to run, or find out what differs (library, device, code of the class)",
        )
