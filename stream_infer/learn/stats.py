"""learn.stats: rewards of joined rows → statistics of the arms. feedback → *stats* → decide.policy (as versions)."""

from __future__ import annotations

import numpy as np

from stream_infer.decide.policy import ArmStats
from stream_infer.learn.arrays import ArrayStore
from stream_infer.records import Floats, Ints


class PolicyLearner(ArrayStore):
    """The sums that a policy decides from, over all rewards of one decide step. arms: how many there are."""

    def __init__(self, arms: int) -> None:
        super().__init__({name: np.zeros(arms, dtype=np.int64) for name in ("pulls", "reward_micro", "reward_sq_micro")})

    def learn(self, arm: Ints, reward: Floats) -> None:
        """arm: int64[n]; reward: float64[n] in [0, 1], NaN where there is none (passed over)."""
        self._add(ArmStats.of(len(self.arrays["pulls"]), arm, reward), 1)

    def forget(self, arm: Ints, reward: Floats) -> None:
        """Take rewards back that were learned: exactly as if they had never been."""
        self._add(ArmStats.of(len(self.arrays["pulls"]), arm, reward), -1)

    def stats(self) -> ArmStats:
        """The sums so far, a copy."""
        return ArmStats(**self.snapshot())

    def _add(self, stats: ArmStats, sign: int) -> None:
        if not stats.pulls.any():
            return
        for name, array in self.arrays.items():
            array += sign * getattr(stats, name)
        self.touch()
