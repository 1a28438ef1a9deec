"""decide.evidence: what a canary has seen, and what of it speaks against the challenger. settings → *evidence* → canary.

Every bound is a confidence sequence: it holds at every moment at once, so one may look after each chunk, but for ALPHA of all canaries
without a fault. With n observations of sum S and V = Σx² - S²/n, the mean lies within sqrt((V + 1) · ln((V + 1) / ALPHA²)) / n of S / n:
Robbins' normal mixture (1970) of variance 1, with the variance V estimated (asymptotic: Waudby-Smith et al. 2021, arXiv 2103.06476).

Rewards are weighed by 1 / propensity, for shares change from step to step and rewards come late. With b the mean reward of all rows before
row i (1/2 before the first), what row i says of the difference (challenger less champion) is

    d = (r - b) / p for a row of the challenger, -(r - b) / p for one of the champion, p the logged propensity of its arm.

Its mean given all before is the difference itself, whatever b is: b knows nothing of the row, and only takes the spread of the common level
away (off-policy inference with changing loggers: Waudby-Smith et al. 2022, arXiv 2210.10768). Rows that only one arm could get say nothing.

Times are those of forward passes, each divided by what the champion takes for as many rows just now (its cost curve): a challenger with few
rows has small passes, and a row of a small pass costs more in any model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from stream_infer.decide.settings import CanarySettings
from stream_infer.records import Floats, Ints

ALPHA = 0.05  # a sound challenger is rolled back in at most so many canaries by each test, however often one looks
CHAMPION, CHALLENGER = 0, 1
MICRO = 1_000_000
WEIGHT_MAX = 1000.0  # a share below 0.1 % is not weighed up further, as in learn.stats: that makes the difference look smaller
PASSES_MIN = 100  # the variance is estimated: fewer passes are no estimate

Pair = tuple[int, int]  # of champion and challenger


@dataclass(frozen=True)
class Counts:
    """rows, rejected: of (champion, challenger); compared, differing: rows of the challenger that the champion answered as well."""

    rows: Pair = (0, 0)
    rejected: Pair = (0, 0)
    compared: int = 0
    differing: int = 0

    def __add__(self, other: Counts) -> Counts:
        rows, rejected = zip(self.rows, other.rows, strict=True), zip(self.rejected, other.rejected, strict=True)
        (a, b), (c, d) = (tuple(map(sum, rows)), tuple(map(sum, rejected)))
        return Counts((a, b), (c, d), self.compared + other.compared, self.differing + other.differing)


@dataclass(frozen=True)
class Rewards:
    """rows, earned: with a reward, and the sum of theirs, of (champion, challenger); apart, apart_sq: Σd and Σd². In millionths."""

    rows: Pair = (0, 0)
    earned: Pair = (0, 0)
    apart: int = 0
    apart_sq: int = 0

    def then(self, arm: Ints, reward: Floats, propensity: Floats) -> Rewards:
        """With these rows after those before. arm: int64[n]; reward: float64[n] in [0, 1]; propensity: float64[n] in (0, 1)."""
        if not len(arm):
            return self
        micro = np.rint(np.clip(reward, 0.0, 1.0) * MICRO).astype(np.int64)
        before = sum(self.earned) + np.cumsum(micro) - micro
        count = sum(self.rows) + np.arange(len(micro))
        level = np.where(count > 0, before / np.maximum(count, 1), MICRO / 2)
        weight = np.minimum(1.0 / propensity, WEIGHT_MAX)
        new = arm == CHALLENGER
        apart = np.rint((micro - level) * np.where(new, weight, -weight)).astype(np.int64)
        rows, earned = (int(np.count_nonzero(~new)), int(np.count_nonzero(new))), (int(micro[~new].sum()), int(micro[new].sum()))
        return Rewards(
            (self.rows[0] + rows[0], self.rows[1] + rows[1]),
            (self.earned[0] + earned[0], self.earned[1] + earned[1]),
            self.apart + int(apart.sum()),
            self.apart_sq + sum((apart * apart).tolist()),  # each is below 10**18, their sum may not be
        )

    def difference(self) -> tuple[float, float]:
        """(mean reward of the challenger less that of the champion, radius)."""
        n = sum(self.rows)
        return _bounded(n, self.apart / MICRO, (self.apart_sq - self.apart * self.apart / n) / MICRO**2) if n else (0.0, 1.0)


@dataclass(frozen=True)
class Times:
    """Passes of the challenger. ratio, ratio_sq: sums of what each took, in times of what the champion takes for as many rows."""

    passes: int = 0
    ratio: float = 0.0
    ratio_sq: float = 0.0

    def then(self, seconds: float, champion_s: float) -> Times:
        """With one more pass. champion_s: above 0."""
        ratio = seconds / champion_s
        return Times(self.passes + 1, self.ratio + ratio, self.ratio_sq + ratio * ratio)

    def mean(self) -> tuple[float, float]:
        """(how many times as long the challenger takes, radius)."""
        n = self.passes
        return _bounded(n, self.ratio, self.ratio_sq - self.ratio * self.ratio / n) if n else (0.0, math.inf)


@dataclass(frozen=True)
class Gathered:
    """What is known of a challenger since it was first tried, over all its steps."""

    rewards: Rewards = field(default_factory=Rewards)
    times: Times = field(default_factory=Times)


@dataclass(frozen=True)
class Finding:
    """why: in words, "" where nothing was found; figures: those that decided it."""

    why: str = ""
    figures: tuple[tuple[str, float], ...] = ()


NOTHING = Finding()


def objection(settings: CanarySettings, seen: Counts, gathered: Gathered) -> Finding:
    """Why the challenger must go; NOTHING while nothing speaks against it, or too little was seen. seen: of this step."""
    of_rows = _rejects(settings, seen) or _differs(settings, seen)
    return of_rows or less_reward(settings, gathered.rewards) or _slower(settings, gathered.times) or NOTHING


def less_reward(settings: CanarySettings, rewards: Rewards) -> Finding | None:
    """It earns less, beyond doubt."""
    if settings.reward_below is None or min(rewards.rows) < settings.rows_min:
        return None
    apart, radius = rewards.difference()
    if apart + radius >= -settings.reward_below:
        return None
    plain = [earned / MICRO / rows for earned, rows in zip(rewards.earned, rewards.rows, strict=True)]
    rows = rewards.rows[CHALLENGER]
    why = f"it earns {-apart:.3g} less than the champion, {-apart - radius:.3g} at least ({rows} of its rows were rewarded)"
    return Finding(
        why,
        (
            ("reward_difference", apart),
            ("radius", radius),
            ("confidence", 1.0 - ALPHA),
            ("reward_below", settings.reward_below),
            ("rewarded_champion", rewards.rows[CHAMPION]),
            ("rewarded_challenger", rows),
            ("reward_mean_champion", plain[CHAMPION]),
            ("reward_mean_challenger", plain[CHALLENGER]),
        ),
    )


def _slower(settings: CanarySettings, times: Times) -> Finding | None:
    if settings.latency_above is None or times.passes < PASSES_MIN:
        return None
    mean, radius = times.mean()
    if mean - radius <= settings.latency_above:
        return None
    why = f"its passes take {mean:.3g} times as long as the champion's, {mean - radius:.3g} at least ({times.passes} passes)"
    figures = (("latency_ratio", mean), ("radius", radius), ("confidence", 1.0 - ALPHA), ("latency_above", settings.latency_above))
    return Finding(why, (*figures, ("passes", times.passes)))


def _rejects(settings: CanarySettings, seen: Counts) -> Finding | None:
    if seen.rows[CHALLENGER] < settings.rows_min:
        return None
    shares = [_share(rejected, rows) for rejected, rows in zip(seen.rejected, seen.rows, strict=True)]
    (old, old_radius), (new, new_radius) = shares
    radius = new_radius + (old_radius if seen.rows[CHAMPION] else 0.0)
    if new - old - radius <= settings.rejects_above:
        return None
    figures = (("rejects_challenger", new), ("rejects_champion", old), ("radius", radius), ("confidence", 1.0 - ALPHA))
    rows = (("rows_champion", seen.rows[CHAMPION]), ("rows_challenger", seen.rows[CHALLENGER]))
    limit = ("rejects_above", settings.rejects_above)
    return Finding(f"it rejects {new:.3g} of its rows, the champion {old:.3g}", (*figures, limit, *rows))


def _differs(settings: CanarySettings, seen: Counts) -> Finding | None:
    if settings.differ_by is None or min(seen.rows[CHALLENGER], seen.compared) < settings.rows_min:
        return None
    apart, radius = _share(seen.differing, seen.compared)
    if apart - radius <= settings.differ_share_max:
        return None
    figures = (("differing", apart), ("radius", radius), ("confidence", 1.0 - ALPHA), ("differ_share_max", settings.differ_share_max))
    return Finding(
        f"{apart:.3g} of its answers are more than {settings.differ_by:g} from the champion's", (*figures, ("compared", seen.compared))
    )


def _share(count: int, rows: int) -> tuple[float, float]:
    """(mean, radius) of rows that are each 0 or 1."""
    return _bounded(rows, count, count * (1.0 - count / rows)) if rows else (0.0, 1.0)


def _bounded(n: int, total: float, spread: float) -> tuple[float, float]:
    """(mean, radius): the mean is within the radius of the truth at every moment at once. spread: V of the head of this module."""
    varied = max(spread, 0.0) + 1.0
    return total / n, math.sqrt(varied * math.log(varied / ALPHA**2)) / n
