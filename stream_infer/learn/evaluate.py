"""learn.evaluate: how well did the answers do, and how would another policy have done? feedback → *evaluate* → reports, gate.

All sums are exact: a float64 is a whole number of units of 2**-1130, and whole numbers of Python add without rounding. So parts of a
stream, added in any order or merged from any number of workers, give the same figures to the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from stream_infer.records import Floats, Ints

UNIT = 1130  # below the last bit of the least float64: 2**-1074, whose 53-bit mantissa begins at 2**-1126


def exact_sum(values: Floats) -> int:
    """The sum of finite float64 values in units of 2**-1130, without rounding."""
    if not len(values):
        return 0
    mantissas, exponents = np.frexp(values)
    places = exponents.astype(np.int64) - 53 + UNIT
    whole = np.rint(mantissas * 2.0**53).astype(np.int64)
    low = int(places.min())
    total = 0
    # Three parts of 18 bits, each summed per exponent: below 2**53, up to 2**35 values, float64 sums are exact.
    for part in range(3):
        digits = (np.abs(whole) >> 18 * part & 0x3FFFF) * np.sign(whole)
        sums = np.bincount(places - low, weights=digits.astype(np.float64))
        total += sum(int(sums[place]) << int(place) + 18 * part for place in np.flatnonzero(sums))
    return total << low


def value(units: int) -> float:
    """The float64 nearest to a sum in units of 2**-1130."""
    return units / (1 << UNIT)


@dataclass
class Errors:
    """Sums over answers and labels of one arm in one stretch of time."""

    rows: int = 0
    absolute: int = 0
    squared: int = 0
    label: int = 0
    label_squared: int = 0

    def add(self, answer: Floats, label: Floats) -> None:
        """answer, label: finite float64[n]."""
        error = answer - label
        self.rows += len(error)
        self.absolute += exact_sum(np.abs(error))
        self.squared += exact_sum(error * error)
        self.label += exact_sum(label)
        self.label_squared += exact_sum(label * label)

    def merge(self, other: Errors) -> None:
        """As if the other's rows had been added here."""
        for name in ("rows", "absolute", "squared", "label", "label_squared"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def mae(self) -> float:
        """Mean absolute error; NaN without rows."""
        return value(self.absolute) / self.rows if self.rows else math.nan

    def rmse(self) -> float:
        """Root of the mean squared error; NaN without rows."""
        return math.sqrt(value(self.squared) / self.rows) if self.rows else math.nan

    def r2(self) -> float:
        """Share of the labels' variance that the answers explain; NaN where the labels do not vary."""
        # rows · Σy² - (Σy)², in whole numbers; only each y² was rounded, by 2**-53 of itself: less than 2**-50 is no variance.
        squares = self.rows * self.label_squared << UNIT
        spread = squares - self.label * self.label
        return 1.0 - (self.squared * self.rows << UNIT) / spread if spread > squares >> 50 else math.nan


class Progress:
    """Progressive validation: each answer was given before its label was learned, so its error is honest. Per arm and bucket of time."""

    def __init__(self, bucket_ms: int) -> None:
        self.bucket_ms = bucket_ms
        self.errors: dict[tuple[int, int], Errors] = {}

    def add(self, arm: Ints, event_time: Ints, answer: Floats, label: Floats) -> None:
        """All [n]; rows whose answer or label is not finite are passed over."""
        seen = np.isfinite(label) & np.isfinite(answer)
        cells = np.stack([arm[seen], event_time[seen] // self.bucket_ms], axis=1)
        answer, label = answer[seen], label[seen]
        for cell in np.unique(cells, axis=0):
            rows = (cells == cell).all(axis=1)
            self._cell(int(cell[0]), int(cell[1])).add(answer[rows], label[rows])

    def merge(self, other: Progress) -> None:
        """As if the other's rows had been added here. ValueError for another bucket."""
        if other.bucket_ms != self.bucket_ms:
            raise ValueError(f"buckets of {other.bucket_ms} ms cannot be merged into buckets of {self.bucket_ms} ms")
        for (arm, bucket), errors in other.errors.items():
            self._cell(arm, bucket).merge(errors)

    def of_arm(self, arm: int) -> Errors:
        """All of one arm's time."""
        out = Errors()
        for (one, _), errors in self.errors.items():
            if one == arm:
                out.merge(errors)
        return out

    def table(self) -> list[tuple[int, int, Errors]]:
        """(arm, start of the bucket in ms, errors), by arm and time."""
        return [(arm, bucket * self.bucket_ms, errors) for (arm, bucket), errors in sorted(self.errors.items())]

    def _cell(self, arm: int, bucket: int) -> Errors:
        return self.errors.setdefault((arm, bucket), Errors())


@dataclass
class OffPolicy:
    """What another policy would have earned on logged decisions, by weights w = its share of the chosen arm / the logged propensity.

    The standard errors hold for a logger that did not change; under a learning one they are a guide, no more.
    """

    rows: int = 0
    weight_max: float = 0.0
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("w", "ww", "wr", "wwr", "wwrr"), 0))

    def add(self, share: Floats, propensity: Floats, reward: Floats) -> None:
        """share: of the chosen arm under the other policy; propensity: as logged, > 0; reward: NaN rows are passed over. All float64[n]."""
        seen = np.isfinite(reward)
        weight, reward = share[seen] / propensity[seen], reward[seen]
        self.rows += len(weight)
        self.weight_max = max(self.weight_max, float(weight.max(initial=0.0)))
        terms = {"w": weight, "ww": weight * weight, "wr": weight * reward, "wwr": weight * weight * reward, "wwrr": (weight * reward) ** 2}
        for name, term in terms.items():
            self.sums[name] += exact_sum(term)

    def merge(self, other: OffPolicy) -> None:
        """As if the other's rows had been added here."""
        self.rows += other.rows
        self.weight_max = max(self.weight_max, other.weight_max)
        self.sums = {name: total + other.sums[name] for name, total in self.sums.items()}

    def ips(self) -> tuple[float, float]:
        """(estimate, standard error): the mean of w·r, unbiased. NaN with fewer than two rows."""
        if self.rows < 2:
            return math.nan, math.nan
        total, squares = self.sums["wr"], self.sums["wwrr"]
        spread = max((self.rows * squares << UNIT) - total * total, 0)  # below 0 by the rounding of squares only
        variance = spread / (1 << 2 * UNIT) / self.rows / (self.rows - 1)
        return value(total) / self.rows, math.sqrt(variance / self.rows)

    def snips(self) -> tuple[float, float]:
        """(estimate, standard error): Σwr / Σw; slightly biased, and steadier when weights vary. NaN where no weight is."""
        weight = value(self.sums["w"])
        if weight <= 0.0:
            return math.nan, math.nan
        estimate = value(self.sums["wr"]) / weight
        spread = value(self.sums["wwrr"]) - 2.0 * estimate * value(self.sums["wwr"]) + estimate**2 * value(self.sums["ww"])
        return estimate, math.sqrt(max(spread, 0.0)) / weight

    def effective_rows(self) -> float:
        """(Σw)² / Σw²: how many rows of its own the other policy would have needed for this much evidence."""
        return value(self.sums["w"]) ** 2 / value(self.sums["ww"]) if self.sums["ww"] else 0.0

    def weight_mean(self) -> float:
        """Tends to 1 if the propensities are right: the alarm of this method. NaN without rows."""
        return value(self.sums["w"]) / self.rows if self.rows else math.nan


@dataclass
class Mean:
    """A mean and its standard error, from exact sums."""

    rows: int = 0
    total: int = 0
    squares: int = 0

    @staticmethod
    def of(values: Floats) -> Mean:
        """values: finite float64[n]."""
        return Mean(len(values), exact_sum(values), exact_sum(values * values))

    def value(self) -> float:
        """NaN without rows."""
        return value(self.total) / self.rows if self.rows else math.nan

    def error(self) -> float:
        """The standard error; NaN with fewer than two rows."""
        if self.rows < 2:
            return math.nan
        spread = max((self.rows * self.squares << UNIT) - self.total * self.total, 0)  # below 0 by the rounding of squares only
        return math.sqrt(spread / (1 << 2 * UNIT) / self.rows / (self.rows - 1) / self.rows)


def doubly_robust(shares: Floats, arm: Ints, propensity: Floats, reward: Floats) -> tuple[float, float]:
    """(estimate, standard error) of the mean of Σ share·q + w·(r - q of the arm), rows in the order of time.

    q: what each arm earned on average in the rows before (all arms together before its first, 0.5 before any): it knows nothing of the
    row that it is used for, so the estimate is as unbiased as IPS is, and steadier where arms earn differently from 0. shares: float64[n,
    arms] of the other policy; propensity: > 0; reward: finite; all [n].
    """
    rows, arms = shares.shape
    mine = np.zeros((rows, arms))
    mine[np.arange(rows), arm] = 1.0
    count = np.cumsum(mine, axis=0) - mine
    total = np.cumsum(mine * reward[:, None], axis=0) - mine * reward[:, None]
    seen = count.sum(axis=1, keepdims=True)
    whole = np.where(seen > 0, total.sum(axis=1, keepdims=True) / np.maximum(seen, 1.0), 0.5)
    expected = np.where(count > 0, total / np.maximum(count, 1.0), whole)
    chosen = np.arange(rows), arm
    terms = (shares * expected).sum(axis=1) + shares[chosen] / propensity * (reward - expected[chosen])
    found = Mean.of(terms)
    return found.value(), found.error()
