"""attribution.lime: the linear model nearest to a model around one row. coalitions → *lime* → game."""

from __future__ import annotations

import numpy as np

from stream_infer.records import Bools, Floats

WIDTH = 0.25  # share of inputs replaced at which a row weighs 1/e: the kernel width of the paper's own code
RIDGE = 1e-9  # against inputs that no sample tells apart; so small that a linear answer keeps its weights to 1e-6


def fitted(mask: Bools, said: Floats) -> Floats:
    """float64[groups]: the linear answer nearest to what was said near the row. mask: bool[samples, groups]; said: float64[samples].

    What each input adds against the baseline; nothing makes the parts add up to the whole.
    """
    replaced = 1.0 - mask.mean(axis=1)
    weight = np.exp(-((replaced / WIDTH) ** 2))
    weight /= weight.sum()
    z = mask.astype(np.float64)
    z -= weight @ z
    weighted = z * weight[:, None]
    square = weighted.T @ z
    square[np.diag_indices(len(square))] += RIDGE * max(float(np.trace(square)) / len(square), 1e-300)
    parts: Floats = np.linalg.solve(square, weighted.T @ (said - weight @ said))
    return parts
