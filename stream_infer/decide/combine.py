"""decide.combine: many models' outputs become one answer, and how far it can be trusted. graph → *combine* → flow.

All rows and members at once, in numpy; yet who else is in the batch changes no bit of a row.

The confidence of an ensemble's answer is *share* times *agreement*, from 0 to 1:
- share: of the weight of all members, what belongs to those that answered; one that is an ensemble counts with its own confidence;
- agreement, of those that answered: with `vote`, the share of their weight that is for the winner; otherwise
  1 - Σ w |y - m| / Σ w (|y| + |m|) over members and outputs, where y is a member's output, w its weight, m the weighted mean of all. It
  is 1 where all say the same, and for outputs that are probabilities of classes 1 minus the mean distance in total variation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_infer.decide.composed import Ensemble
from stream_infer.records import Bools, Floats

THRESHOLD = 0.5  # from here on one output counts as yes


def weighted(outputs: Sequence[Floats], there: Bools, weights: Floats) -> Floats:
    """float64[rows, k]: Σ w·y / Σ w over the members that are there; NaN where none is.

    outputs: float64[rows, k] of each member, anything where it is not there; there: bool[members, rows]; weights: float64[members] > 0.
    Added in the order of the members, so that a row repeats to the last bit.
    """
    total, weight = np.zeros_like(outputs[0]), np.zeros(len(outputs[0]))
    for mine, here, w in zip(outputs, there, weights.tolist(), strict=True):
        total += np.where(here[:, None], w * mine, 0.0)
        weight += w * here
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = total / weight[:, None]
    return out


def votes(outputs: Floats, threshold: float) -> Floats:
    """float64[rows, k]: a vote for the largest of a member's outputs (the first of equals); of one output: 1 from the threshold on."""
    if outputs.shape[1] == 1:
        return (outputs >= threshold).astype(np.float64)
    cast = np.zeros_like(outputs)
    cast[np.arange(len(outputs)), np.argmax(outputs, axis=1)] = 1.0
    return cast


def agreement(outputs: Sequence[Floats], there: Bools, weights: Floats) -> Floats:
    """float64[rows] in [0, 1]: see the head of this module; 1 where one member or none is there, or all say 0."""
    middle = weighted(outputs, there, weights)
    apart, size = np.zeros(len(middle)), np.zeros(len(middle))
    for mine, here, w in zip(outputs, there, weights.tolist(), strict=True):
        apart += np.where(here, w * np.abs(mine - middle).sum(axis=1), 0.0)
        size += np.where(here, w * (np.abs(mine) + np.abs(middle)).sum(axis=1), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        out: Floats = np.where(size > 0.0, 1.0 - apart / size, 1.0)
    return np.clip(out, 0.0, 1.0)


def combined(ensemble: Ensemble, outputs: Sequence[Floats], there: Bools, trust: Floats) -> tuple[Floats | None, Floats]:
    """(answers, confidence): float64[rows, k], None where a judge is still to give them; float64[rows].

    outputs, there: as weighted() takes them. trust: float64[members, rows], each member's own confidence, 1 for a plain model. A vote's
    answer is the share of the votes of each class; of members with one output, the share that says yes.
    """
    weights = np.array(ensemble.weights)
    held = np.zeros(there.shape[1])
    for here, sure, w in zip(there, trust, ensemble.weights, strict=True):
        held += np.where(here, w * sure, 0.0)
    share = held / weights.sum()
    if ensemble.combine == "vote":
        threshold = THRESHOLD if ensemble.threshold is None else ensemble.threshold
        shares = weighted([votes(mine, threshold) for mine in outputs], there, weights)
        winner = np.maximum(shares, 1.0 - shares)[:, 0] if shares.shape[1] == 1 else shares.max(axis=1)
        return shares, share * winner
    alike = len({mine.shape[1] for mine in outputs}) == 1
    agreed = agreement(outputs, there, weights) if alike else np.ones(len(share))
    if ensemble.combine == "stack":
        return None, share * agreed
    equal = np.ones_like(weights) if ensemble.combine == "mean" else weights
    return weighted(outputs, there, equal), share * agreed


def measure(name: str, outputs: Floats, confidence: Floats) -> Floats:
    """float64[rows]: what a cascade asks of an answer, one of composed.MEASURES. outputs: float64[rows, k]; confidence: float64[rows].

    max_probability: the largest output; of one output p, the larger of p and 1 - p. margin: between the two largest; of one, |2p - 1|.
    """
    if name == "answer":
        return outputs[:, 0]
    if name == "confidence":
        return confidence
    if outputs.shape[1] == 1:
        p = outputs[:, 0]
        return np.maximum(p, 1.0 - p) if name == "max_probability" else np.abs(2.0 * p - 1.0)
    ordered = np.sort(outputs, axis=1)
    largest: Floats = ordered[:, -1]
    return largest if name == "max_probability" else largest - ordered[:, -2]
