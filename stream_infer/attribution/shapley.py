"""attribution.shapley: Shapley values of an answer's inputs, exact or sampled (KernelSHAP). coalitions, asking → *shapley* → attribute."""

from __future__ import annotations

import numpy as np

from stream_infer.attribution.asking import Asking
from stream_infer.attribution.coalitions import shapley_masks
from stream_infer.attribution.settings import AttributionSettings
from stream_infer.models.base import model_error
from stream_infer.records import Bools, Floats, Hashes, Ints, Matrix


def shapley(
    asking: Asking, x: Matrix, baseline: Matrix, starts: Ints, keys: Hashes, settings: AttributionSettings, full: Floats, none: float
) -> Floats:
    """float64[n, groups] that add up to full - none. full: what the model says of each row of x; none: of the baseline.

    With samples ≥ 2^groups - 2 they are the Shapley values of the game "inputs outside the coalition are the baseline's".
    """
    groups = len(starts)
    if groups == 1:
        return (full - none)[:, None]
    if settings.samples < min(2 * groups, 2**groups - 2 if groups < 60 else 2 * groups):
        got, fix = f"{settings.samples} samples for {groups} inputs", f"write `samples: {2 * groups}` or more"
        raise model_error("too few samples for Shapley values", "explanation", got=got, expected=f"at least {2 * groups}", fix=fix)
    asked = [shapley_masks(groups, settings.samples, int(key), settings.seed) for key in keys]
    answers = asking.of_masks(x, baseline, [masks for masks, _ in asked], starts)
    out = np.empty((len(x), groups))
    for row, ((masks, weights), said) in enumerate(zip(asked, answers, strict=True)):
        out[row] = fitted(masks, weights, said - none, full[row] - none)
    return out


def fitted(masks: Bools, weights: Floats, gained: Floats, total: float) -> Floats:
    """The additive game nearest to what was gained, in the kernel's weights, whose members get the total between them."""
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
