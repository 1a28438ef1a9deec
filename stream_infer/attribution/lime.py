"""attribution.lime: the linear model nearest to a model around one row. coalitions, asking → *lime* → attribute."""

from __future__ import annotations

import numpy as np

from stream_infer.attribution.asking import Asking
from stream_infer.attribution.coalitions import near_masks
from stream_infer.attribution.settings import AttributionSettings
from stream_infer.records import Bools, Floats, Hashes, Ints, Matrix

WIDTH = 0.25  # share of inputs replaced at which a row weighs 1/e: the kernel width of the paper's own code
RIDGE = 1e-9  # against inputs that no sample tells apart; so small that a linear answer keeps its weights to 1e-6


def lime(asking: Asking, x: Matrix, baseline: Matrix, starts: Ints, keys: Hashes, settings: AttributionSettings) -> Floats:
    """float64[n, groups]: what each input of a row, against the baseline, adds near the row. Nothing makes them add up to the whole."""
    masks = [near_masks(len(starts), settings.samples, int(key), settings.seed) for key in keys]
    answers = asking.of_masks(x, baseline, masks, starts)
    return np.stack([fitted(mask, said) for mask, said in zip(masks, answers, strict=True)])


def fitted(mask: Bools, said: Floats) -> Floats:
    """float64[groups]: the linear answer nearest to what was said. mask: bool[samples, groups]; said: float64[samples]."""
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
