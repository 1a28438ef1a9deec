"""Models whose answers are written in a line, and the slow definition of a Shapley value."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np

from stream_infer.records import Floats, Ints, Matrix


class Told:
    """A model that answers with a function of the rows; it remembers how many it was asked at once."""

    def __init__(self, wide: int, answer: Callable[[Floats], Floats]) -> None:
        self.columns, self.outputs, self.digest, self._answer = tuple(f"x{i}" for i in range(wide)), 1, "t" * 64, answer
        self.asked: list[int] = []

    def forward(self, x: Matrix) -> Floats:
        self.asked.append(len(x))
        return self._answer(x.astype(np.float64))[:, None]


def twisted(x: Floats) -> Floats:
    """Far from additive: products, a threshold, a maximum."""
    return x[:, 0] * x[:, 1] + np.maximum(x[:, 2], x[:, 3]) + 3.0 * (x.sum(axis=1) > 1.0) - x[:, -1] ** 2


def shapley_by_orders(model: Told, row: Matrix, baseline: Matrix, starts: Ints) -> Floats:
    """The mean of what each input adds when inputs come in, over all orders in which they may."""
    groups = len(starts)
    owner = np.searchsorted(starts, np.arange(len(row)), side="right") - 1
    total = np.zeros(groups)
    orders = list(permutations(range(groups)))
    known: dict[tuple[int, ...], float] = {}

    def says(members: tuple[int, ...]) -> float:
        if members not in known:
            known[members] = float(model.forward(np.where(np.isin(owner, members), row, baseline)[None, :])[0, 0])
        return known[members]

    for order in orders:
        inside: tuple[int, ...] = ()
        for member in order:
            after = tuple(sorted((*inside, member)))
            total[member] += says(after) - says(inside)
            inside = after
    return total / len(orders)


def rows_of(count: int, wide: int, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).normal(size=(count, wide)).astype(np.float32)


def keys_of(count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
