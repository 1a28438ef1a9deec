"""learn.whatif: answers as they were given beside answers as they would be given. rerun, records → *whatif* → edge.replaying.

Two questions, answered apart. Would the answers have been better? Where labels are known that is a matter of counting, for a label does
not change with the answer. Would another choice of arms have earned more? There the reward of the arm that was not chosen is missing, and
the logged propensities stand in for it (learn.evaluate).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stream_infer.learn.evaluate import Errors, Mean, OffPolicy, doubly_robust
from stream_infer.records import Bools, Floats, Ints

NORMAL_95 = 1.959963984540054  # the two-sided 95 % point of the normal distribution
GROUPS_MAX = 50  # of a segment in a summary, the largest first

Figures = dict[str, object]


@dataclass(frozen=True)
class Side:
    """One side, row by row. answered: bool[n]; answer: float64[n], NaN where not; arm: int64[n], -1 where not; propensity: float64[n].

    shares: float64[n, arms], how likely each arm was; None where that is not known.
    """

    answered: Bools
    answer: Floats
    arm: Ints
    propensity: Floats
    shares: Floats | None = None


@dataclass(frozen=True)
class Compared:
    """Both sides of the same n rows. same: bool[n], all outputs agree to the bit; arms: names, of both sides; order: of time, int64[n].

    label, reward: of the recorded answer, NaN where unknown; replayed_reward: of the replayed answer by the same label.
    """

    recorded: Side
    replayed: Side
    same: Bools
    arms: tuple[str, ...]
    time: Ints
    label: Floats
    reward: Floats
    replayed_reward: Floats

    def both(self) -> Bools:
        """bool[n]: answered on both sides."""
        answered: Bools = self.recorded.answered & self.replayed.answered
        return answered

    def differs(self) -> Bools:
        """bool[n]: another answer, another arm, or an answer on one side only."""
        both = self.both()
        other = both & (~self.same | (self.recorded.arm != self.replayed.arm))
        differs: Bools = other | (self.recorded.answered != self.replayed.answered)
        return differs


def figures(compared: Compared, rows: Bools | None = None) -> Figures:
    """How many answers there are, how many differ, by how much. rows: bool[n], of these only."""
    mine = np.ones(len(compared.time), dtype=np.bool_) if rows is None else rows
    one, other = compared.recorded, compared.replayed
    both = compared.both() & mine
    changed = both & ~compared.same
    gap = other.answer[both] - one.answer[both]
    gap = gap[np.isfinite(gap)]
    found: Figures = {
        "rows": int(mine.sum()),
        "answered_by_both": int(both.sum()),
        "answered_only_then": int((one.answered & ~other.answered & mine).sum()),
        "answered_only_now": int((other.answered & ~one.answered & mine).sum()),
        "changed": int(changed.sum()),
        "changed_share": _share(int(changed.sum()), int(both.sum())),
        "other_arm": int((both & (one.arm != other.arm)).sum()),
        "difference_mean": Mean.of(gap).value(),
        "difference_abs_mean": Mean.of(np.abs(gap)).value(),
        "difference_abs_max": float(np.abs(gap).max(initial=0.0)),
    }
    return found | _judged(compared, both)


def _judged(compared: Compared, both: Bools) -> Figures:
    """Errors and rewards of both sides where the label is known."""
    known = both & np.isfinite(compared.label)
    if not known.any():
        return {}
    label = compared.label[known]
    found: Figures = {"labels": int(known.sum())}
    for name, side in (("then", compared.recorded), ("now", compared.replayed)):
        errors = Errors()
        errors.add(side.answer[known], label)
        found[name] = {"mean_absolute_error": errors.mae(), "root_mean_square_error": errors.rmse()}
    earned = known & np.isfinite(compared.reward) & np.isfinite(compared.replayed_reward)
    if earned.any():
        gain = Mean.of(compared.replayed_reward[earned] - compared.reward[earned])
        found["reward_then"] = Mean.of(compared.reward[earned]).value()
        found["reward_now"] = Mean.of(compared.replayed_reward[earned]).value()
        found["reward_gain"], found["reward_gain_95"] = gain.value(), _interval(gain.value(), gain.error())
    return found


def by(compared: Compared, names: list[str]) -> dict[str, Figures]:
    """figures() by group. names: of each row's group."""
    groups, index, count = np.unique(np.array(names, dtype=np.str_), return_inverse=True, return_counts=True)
    largest = np.argsort(-count, kind="stable")[:GROUPS_MAX]
    return {str(groups[number]): figures(compared, index == number) for number in largest.tolist()}


def off_policy(compared: Compared) -> Figures:
    """What the replayed choice of arms would have earned, with 95 % intervals; {} where nothing is known, or nothing was chosen.

    It counts rows that were answered with a known propensity and reward. An arm stands for the rewards that it earned then: one whose
    model is another now is judged by its labels (figures), not here.
    """
    one, other = compared.recorded, compared.replayed
    rows = one.answered & np.isfinite(compared.reward) & np.isfinite(one.propensity) & (one.propensity > 0) & (one.arm >= 0)
    rows &= other.answered
    if other.shares is None or not rows.any() or len(compared.arms) < 2:
        return {}
    order = np.flatnonzero(rows)
    order = order[np.argsort(compared.time[order], kind="stable")]
    arm, reward, propensity = one.arm[order], compared.reward[order], one.propensity[order]
    shares = other.shares[order]
    share = shares[np.arange(len(order)), arm]
    weighed = OffPolicy()
    weighed.add(share, propensity, reward)
    logged = Mean.of(reward)
    robust = doubly_robust(shares, arm, propensity, reward)
    found: Figures = {"rows": weighed.rows, "logged": logged.value(), "logged_95": _interval(logged.value(), logged.error())}
    for name, (estimate, error) in (("ips", weighed.ips()), ("snips", weighed.snips()), ("dr", robust)):
        found[name], found[f"{name}_95"] = estimate, _interval(estimate, error)
    return found | {
        "effective_rows": weighed.effective_rows(),
        "weight_mean": weighed.weight_mean(),
        "weight_max": weighed.weight_max,
    }


def _interval(estimate: float, error: float) -> list[float]:
    return [estimate - NORMAL_95 * error, estimate + NORMAL_95 * error]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
