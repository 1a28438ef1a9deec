"""attribution.coalitions: which inputs of a row stay, in each perturbed row. hashing → *coalitions* → game.

A coalition is a row of a mask: True where an input keeps its value. What is drawn is a function of the prediction's key and the seed.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from stream_infer.hashing import mix64, uniform
from stream_infer.records import Bools, Floats, Ints

_STEP = 0x9E3779B97F4A7C15  # splitmix64's: counters of one key lie far from those of another


def draws(key: int, seed: int, shape: tuple[int, int]) -> Floats:
    """float64[shape] in [0, 1): number i of a key is always the same, however many are asked for in all."""
    count = np.arange(shape[0] * shape[1], dtype=np.uint64)
    counters: NDArray[np.uint64] = mix64(np.full(1, key, dtype=np.uint64)) + count * np.uint64(_STEP)
    return uniform(counters, seed).reshape(shape)


def subsets(sizes: Ints, order: Floats) -> Bools:
    """bool[n, groups]: row i has sizes[i] members, those with the smallest numbers of order[i]."""
    rank = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1, kind="stable")
    picked: Bools = rank < sizes[:, None]
    return picked


def shapley_masks(groups: int, samples: int, key: int, seed: int) -> tuple[Bools, Floats]:
    """Coalitions and their weights under the Shapley kernel; neither the empty nor the full one. groups: at least 2.

    All of them where samples allow it. Else all of the smallest and the largest sizes, which weigh most, as far as a draw would bring
    them anyway; the rest of the weight goes to coalitions that are drawn, each with its complement, so that odd effects cancel.
    """
    whole, weight, left, sizes = _enumerated(groups, samples)
    pairs = left // 2
    if not len(sizes) or pairs < 1:
        return whole, weight
    share = _kernel(groups, sizes)
    numbers = draws(key, seed, (pairs, groups + 1))
    size = sizes[np.searchsorted(np.cumsum(share / share.sum())[:-1], numbers[:, 0], side="right")]
    drawn = subsets(size, numbers[:, 1:])
    masks = np.concatenate([whole, drawn, ~drawn])
    return masks, np.concatenate([weight, np.full(2 * pairs, share.sum() / (2 * pairs))])


@cache
def _enumerated(groups: int, samples: int) -> tuple[Bools, Floats, int, Ints]:
    """Coalitions that are all there and their weights, how many may be drawn beside them, and the sizes (to half) they are drawn of."""
    sizes = np.arange(1, groups // 2 + 1)
    masks, weights, left = [np.zeros((0, groups), dtype=np.bool_)], [np.zeros(0)], samples
    everything = 2**groups - 2 <= samples if groups < 60 else False
    while len(sizes):
        size = int(sizes[0])
        share = _kernel(groups, sizes)
        both = comb(groups, size) * (1 if 2 * size == groups else 2)
        if not everything and left * share[0] / share.sum() < both:
            break
        members = np.array(list(combinations(range(groups), size)), dtype=np.int64)
        mask = np.zeros((len(members), groups), dtype=np.bool_)
        np.put_along_axis(mask, members, True, axis=1)
        mask = mask if 2 * size == groups else np.concatenate([mask, ~mask])
        masks.append(mask)
        weights.append(np.full(both, share[0] / both))
        left -= both
        sizes = sizes[1:]
    return np.concatenate(masks), np.concatenate(weights), left, sizes


def _kernel(groups: int, sizes: Ints) -> Floats:
    """Weight of all coalitions of each size (1 to half) and of their complements together."""
    weight: Floats = (groups - 1) / (sizes * (groups - sizes)) * np.where(2 * sizes == groups, 1.0, 2.0)
    return weight


def near_masks(groups: int, samples: int, key: int, seed: int) -> Bools:
    """bool[samples, groups] around the row: the row itself, then rows of which any number of inputs, all equally likely, is replaced."""
    numbers = draws(key, seed, (max(samples - 1, 0), groups + 1))
    replaced = subsets(1 + (numbers[:, 0] * groups).astype(np.int64), numbers[:, 1:])
    return np.concatenate([np.ones((1, groups), dtype=np.bool_), ~replaced])
