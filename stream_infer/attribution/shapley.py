"""attribution.shapley: Shapley values of an answer's inputs, exact or sampled (KernelSHAP). coalitions → *shapley* → game."""

from __future__ import annotations

import numpy as np

from stream_infer.records import Bools, Floats


def fitted(masks: Bools, weights: Floats, gained: Floats, total: float) -> Floats:
    """float64[groups]: the additive game nearest to what was gained, in the kernel's weights, whose members get the total between them.

    masks: bool[samples, groups]; weights, gained: float64[samples]. With all coalitions they are the Shapley values of the game "inputs
    outside the coalition are the baseline's".
    """
    z = masks.astype(np.float64)
    weighted = z * weights[:, None]
    square, mixed = weighted.T @ z, weighted.T @ gained
    ones = np.ones(len(square))
    try:
        solved = np.linalg.solve(square, np.stack([mixed, ones], axis=1))
    except np.linalg.LinAlgError:  # two inputs were never told apart by what was drawn: share evenly what they earn together
        solved = np.linalg.lstsq(square, np.stack([mixed, ones], axis=1), rcond=None)[0]
    free, even = solved[:, 0], solved[:, 1]
    parts: Floats = free - even * ((free.sum() - total) / even.sum())
    return parts
