"""models.boosted_trees: are these arrays trees? Asked before a library walks them without looking. *boosted_trees* → xgboost, lightgbm.

The loaders of both libraries trust their files: a cut LightGBM file, or a child beyond the end in an XGBoost file, ends the whole
process (LightGBM 4.7 and XGBoost 3.2 call terminate()), and a feature beyond the row is read from whatever lies there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.models.base import model_error

Ints = NDArray[np.int64]


def check_tree(
    tree: str, file: str, *, nodes: int, children: tuple[Ints, Ints], features: Ints, columns: int, values: NDArray[np.float64]
) -> None:
    """Raise ModelError unless every split has two children in the tree, no node two parents, and each split an input of the row.

    nodes: of the tree, numbered from the root, 0; children: left and right by split; features: by split; values: of the leaves, finite.
    """
    left, right = children
    if len(left) != len(features) or len(right) != len(features):
        raise broken(file, f"{tree} of {len(features)} splits with {len(left)} and {len(right)} children")
    both = np.sort(np.concatenate([left, right]))
    if len(both) and (both[0] < 1 or both[-1] >= nodes or (np.diff(both) == 0).any()):
        raise broken(file, f"{tree} of {nodes} nodes whose children are not theirs alone")
    if len(features) and not (features.min() >= 0 and features.max() < columns):
        raise broken(file, f"{tree} that asks for input {features.max()} of {columns}")
    if not np.isfinite(values).all():
        raise model_error(
            f"{tree} has a leaf that is not finite",
            file,
            got=str(values[~np.isfinite(values)][0]),
            expected="finite numbers",
            fix="train again: the model diverged",
        )


def whole(numbers: NDArray[np.float64], what: str, file: str) -> Ints:
    """int64 of numbers that must be whole; ModelError where they are not."""
    if not (np.abs(numbers) < 2**53).all() or (np.floor(numbers) != numbers).any():  # NaN is not below anything
        raise broken(file, f"{what} with numbers that are not whole")
    return numbers.astype(np.int64)


def broken(file: str, got: str) -> Exception:
    """A ModelError about a file that is no sound model."""
    return model_error(
        "the file is no sound model", file, got=got, expected="the whole file, as its library saved it", fix="copy or save it again"
    )
