"""sim.chance: all luck of a simulated run, from one seed. hashing → *chance* → scenarios, world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from stream_infer.hashing import mix64_int

Item = TypeVar("Item")
SHARE = 1 << 53


class Chance:
    """A sequence of numbers. path: names one of many independent sequences of a seed."""

    def __init__(self, seed: int, *path: int) -> None:
        self._state = mix64_int(seed)
        for number in path:
            self._state = mix64_int(self._state ^ mix64_int(number + 1))
        self._draws = 0

    def below(self, limit: int) -> int:
        """The next whole number n, 0 <= n < limit."""
        self._draws += 1
        return mix64_int(self._state ^ mix64_int(self._draws)) % limit

    def between(self, low: int, high: int) -> int:
        """The next whole number from low to high, both included."""
        return low + self.below(high - low + 1)

    def happens(self, share: float) -> bool:
        """True in this share of the calls."""
        return self.below(SHARE) < share * SHARE

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.below(len(items))]
