"""decide.policy: statistics of arms → how likely each arm answers → which one does. learn → *policy* → models.

A policy gives the whole vector of probabilities, never just a choice: the propensity that is logged is exactly the mass that
the draw used, so that any other policy can be judged on the log afterwards. It is computed once per version of the
statistics, not per row. Rewards lie in [0, 1]; one of 0.3 counts as 0.3 of a success and 0.7 of a failure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stream_infer.decide.settings import PolicySettings
from stream_infer.decide.thompson import best_arm_probabilities
from stream_infer.errors import StreamInferError
from stream_infer.records import Floats, Ints

FORMAT = 1
MICRO = 1_000_000


@dataclass(frozen=True, eq=False)
class ArmStats:
    """pulls, reward_micro, reward_sq_micro: int64[arms]; sums over rewards seen, in millionths, so that order never matters.

    A decision whose reward has not come is not in it: counted as a failure it would punish whoever answers slowly.
    """

    pulls: Ints
    reward_micro: Ints
    reward_sq_micro: Ints

    @staticmethod
    def zeros(arms: int) -> ArmStats:
        """Nothing seen."""
        return ArmStats(*(np.zeros(arms, dtype=np.int64) for _ in range(3)))

    @staticmethod
    def of(arms: int, arm: Ints, reward: Floats) -> ArmStats:
        """arm: int64[n]; reward: float64[n] in [0, 1], clipped to it; NaN (no reward) is passed over."""
        seen = ~np.isnan(reward)
        arm, reward = arm[seen], np.clip(reward[seen], 0.0, 1.0)
        stats = ArmStats.zeros(arms)
        np.add.at(stats.pulls, arm, 1)
        np.add.at(stats.reward_micro, arm, np.rint(reward * MICRO).astype(np.int64))
        np.add.at(stats.reward_sq_micro, arm, np.rint(reward * reward * MICRO).astype(np.int64))
        return stats

    def __add__(self, other: ArmStats) -> ArmStats:
        return ArmStats(self.pulls + other.pulls, self.reward_micro + other.reward_micro, self.reward_sq_micro + other.reward_sq_micro)

    def __sub__(self, other: ArmStats) -> ArmStats:
        return ArmStats(self.pulls - other.pulls, self.reward_micro - other.reward_micro, self.reward_sq_micro - other.reward_sq_micro)

    def means(self) -> Floats:
        """float64[arms]: mean reward, NaN for an arm without any."""
        with np.errstate(invalid="ignore", divide="ignore"):
            out: Floats = self.reward_micro / MICRO / self.pulls
        return out

    def to_bytes(self) -> bytes:
        """One byte of format, then three rows of int64 little-endian."""
        return bytes([FORMAT]) + np.stack([self.pulls, self.reward_micro, self.reward_sq_micro]).astype("<i8").tobytes()

    @staticmethod
    def from_bytes(data: bytes) -> ArmStats:
        """The inverse of to_bytes; StreamInferError for anything else."""
        if len(data) % 24 != 1 or data[0] != FORMAT:
            raise StreamInferError(f"statistics of arms: got {len(data)} bytes, expected format {FORMAT}")
        return ArmStats(*np.frombuffer(data, dtype="<i8", offset=1).astype(np.int64).reshape(3, -1))


def propensities(settings: PolicySettings, stats: ArmStats) -> Floats:
    """float64[arms], summing to 1 within 1e-12: the share of each arm, the floor share_min included.

    Raises ValueError for an unknown kind or a floor that leaves nothing to decide (arms · share_min > 1).
    """
    arms = len(stats.pulls)
    if arms * settings.share_min > 1.0 + 1e-12:
        raise ValueError(f"share_min {settings.share_min} of {arms} arms is more than the whole")
    if settings.kind not in _KINDS:
        raise ValueError(f"policy {settings.kind!r}: expected one of {', '.join(_KINDS)}")
    wanted = _KINDS[settings.kind](settings, stats)
    out: Floats = settings.share_min + (1.0 - arms * settings.share_min) * (wanted / wanted.sum())
    return out


def draw(p: Floats, u: Floats) -> Ints:
    """The arm in whose stretch of the cumulated shares each u falls; an arm of share 0 is never drawn.

    p: float64[arms] summing to 1; u: float64[n] uniform in [0, 1). Returns int64[n].
    """
    last = int(np.flatnonzero(p > 0.0)[-1])
    # Rounding may leave the last sum a hair below 1; what lies above it belongs to the last arm that has a share.
    return np.minimum(np.searchsorted(np.cumsum(p), u, side="right"), last).astype(np.int64)


def _fixed(_: PolicySettings, stats: ArmStats) -> Floats:
    """The first arm answers every row."""
    out = np.zeros(len(stats.pulls))
    out[0] = 1.0
    return out


def _epsilon_greedy(settings: PolicySettings, stats: ArmStats) -> Floats:
    """1 - epsilon on the arm with the best mean, epsilon on all alike. An arm without a reward is best; ties go to the first."""
    best = int(np.argmax(np.where(stats.pulls > 0, np.nan_to_num(stats.means()), math.inf)))
    out = np.full(len(stats.pulls), settings.epsilon / len(stats.pulls))
    out[best] += 1.0 - settings.epsilon
    return out


def _thompson(settings: PolicySettings, stats: ArmStats) -> Floats:
    """Each arm's probability to have the best mean, under Beta(prior wins + successes, prior losses + failures)."""
    wins = stats.reward_micro / MICRO
    return best_arm_probabilities(settings.prior[0] + wins, settings.prior[1] + stats.pulls - wins)


def _maillard(_: PolicySettings, stats: ArmStats) -> Floats:
    """KL-Maillard sampling (Bian & Jun 2021): share ∝ exp(-pulls · kl(mean, best mean)); closed form, hence exact.

    An arm without a reward weighs as much as the best one: it is tried soon, yet an arm whose feedback takes hours (or
    never comes) cannot take all rows until then, as the rule "untried arms first" would let it.
    """
    tried = stats.pulls > 0
    if not tried.any():
        return np.ones(len(tried))
    means = np.where(tried, np.nan_to_num(stats.means()), 0.0)
    best = float(means[tried].max())
    out: Floats = np.exp(-stats.pulls * np.where(tried, _kl_bernoulli(means, best), 0.0))
    return out


def _kl_bernoulli(p: Floats, q: float) -> Floats:
    """float64[n]: p·ln(p/q) + (1-p)·ln((1-p)/(1-q)), with 0·ln 0 = 0; infinite where q rules out what p allows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        wins = np.where(p > 0.0, p * np.log(p / q), 0.0)
        losses = np.where(p < 1.0, (1.0 - p) * np.log((1.0 - p) / (1.0 - q)), 0.0)
    out: Floats = np.maximum(wins + losses, 0.0)
    return out


_KINDS = {"fixed": _fixed, "epsilon_greedy": _epsilon_greedy, "thompson": _thompson, "maillard": _maillard}
