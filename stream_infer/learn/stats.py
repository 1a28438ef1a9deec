"""learn.stats: rewards of joined rows → statistics of the arms. feedback → *stats* → decide.policy (as versions).

Rewards are weighed by 1 / propensity. When the world changes while the shares of the arms do, plain means compare an arm's good
days with another's bad ones: the arm that happened to answer more in the calm months wins (Simpson's paradox, and it feeds
itself). Weighed so, every stretch of time counts the same for every arm (self-normalised inverse propensity), and what
that costs in certainty is counted: an arm's rows are its effective ones, (Σw)² / Σw².

All sums are whole numbers, so that their order never matters and a reward can be taken back.
"""

from __future__ import annotations

import numpy as np

from stream_infer.decide.policy import MICRO, ArmStats
from stream_infer.learn.arrays import ArrayStore
from stream_infer.records import Floats, Ints

MILLI = 1000
WEIGHT_MAX = 1000.0  # an arm below a share of 0.1 % is not weighed up further: one row must not outweigh a thousand
NAMES = ("weight", "weight_sq", "reward", "reward_sq")


class PolicyLearner(ArrayStore):
    """The sums that a policy decides from, over all rewards of one decide step. arms: how many there are."""

    def __init__(self, arms: int) -> None:
        super().__init__({name: np.zeros(arms, dtype=np.int64) for name in NAMES})

    def learn(self, arm: Ints, reward: Floats, propensity: Floats) -> None:
        """arm: int64[n]; reward: float64[n] in [0, 1], NaN where there is none (passed over); propensity: float64[n] in (0, 1]."""
        self._add(arm, reward, propensity, 1)

    def forget(self, arm: Ints, reward: Floats, propensity: Floats) -> None:
        """Take rewards back that were learned: exactly as if they had never been."""
        self._add(arm, reward, propensity, -1)

    def stats(self) -> ArmStats:
        """Effective rows, and reward sums that give the weighed means over them."""
        return arm_stats(np.stack([self.arrays[name] for name in NAMES]))

    def _add(self, arm: Ints, reward: Floats, propensity: Floats, sign: int) -> None:
        seen = ~np.isnan(reward)
        if not seen.any():
            return
        for name, column in zip(NAMES, weighed(reward[seen], propensity[seen]), strict=True):
            np.add.at(self.arrays[name], arm[seen], sign * column)
        self.touch()


def weighed(reward: Floats, propensity: Floats) -> tuple[Ints, Ints, Ints, Ints]:
    """What each row adds to the sums of NAMES, all int64[n]. As PolicyLearner.learn takes them, without a NaN."""
    reward = np.clip(reward, 0.0, 1.0)
    weight = np.rint(np.minimum(1.0 / propensity, WEIGHT_MAX) * MILLI).astype(np.int64)
    return (
        weight,
        weight * weight,
        weight * np.rint(reward * MICRO).astype(np.int64),
        weight * np.rint(reward * reward * MICRO).astype(np.int64),
    )


def arm_stats(sums: Ints) -> ArmStats:
    """Effective rows, and reward sums that give the weighed means over them. sums: int64[4, arms], by NAMES."""
    rows, rewards, squares = [], [], []
    for w, w_sq, r, r_sq in sums.T.tolist():
        count = _rounded(w * w, w_sq)
        rows.append(count)
        rewards.append(_rounded(r * count, w))
        squares.append(_rounded(r_sq * count, w))
    return ArmStats(*(np.array(column, dtype=np.int64) for column in (rows, rewards, squares)))


def _rounded(above: int, below: int) -> int:
    """above / below to the nearest whole number, in whole numbers of any size; 0 for nothing."""
    return (2 * above + below) // (2 * below) if below else 0
