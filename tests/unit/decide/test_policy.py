"""Oracles: shares written out by hand, counts of draws, and the regret theory of Lai & Robbins in increments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.decide.policy import ArmStats, draw, propensities
from stream_infer.decide.settings import PolicySettings
from stream_infer.errors import StreamInferError

KINDS = ["fixed", "epsilon_greedy", "thompson", "maillard"]


def stats_of(*arms: tuple[int, float]) -> ArmStats:
    """(pulls, sum of rewards) per arm, every reward 0 or 1 or the rest."""
    pulls = np.array([pulls for pulls, _ in arms], dtype=np.int64)
    micro = np.array([round(wins * 1e6) for _, wins in arms], dtype=np.int64)
    return ArmStats(pulls, micro, micro)


rewards = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1) | st.just(np.nan)), max_size=40)


@given(rewards, rewards, st.randoms())
def test_statistics_add_exactly_in_any_order_and_can_be_taken_back(
    first: list[tuple[int, float]], second: list[tuple[int, float]], random
) -> None:
    def of(rows: list[tuple[int, float]]) -> ArmStats:
        return ArmStats.of(4, np.array([a for a, _ in rows], dtype=np.int64), np.array([r for _, r in rows], dtype=np.float64))

    both = first + second
    random.shuffle(both)
    assert of(both).to_bytes() == (of(first) + of(second)).to_bytes()
    assert ((of(first) + of(second)) - of(second)).to_bytes() == of(first).to_bytes()
    assert ArmStats.from_bytes(of(both).to_bytes()).to_bytes() == of(both).to_bytes()


def test_rewards_without_value_are_passed_over_and_others_clipped() -> None:
    stats = ArmStats.of(2, np.array([0, 0, 1, 1]), np.array([0.5, np.nan, 2.0, -1.0]))
    assert stats.pulls.tolist() == [1, 2]
    assert stats.reward_micro.tolist() == [500_000, 1_000_000]
    assert stats.reward_sq_micro.tolist() == [250_000, 1_000_000]


@pytest.mark.parametrize("data", [b"", b"\x02" + bytes(24), b"\x01" + bytes(23)])
def test_broken_statistics_are_refused(data: bytes) -> None:
    with pytest.raises(StreamInferError, match="expected format 1"):
        ArmStats.from_bytes(data)


def test_fixed_answers_with_the_first_arm() -> None:
    assert propensities(PolicySettings("fixed"), ArmStats.zeros(1)).tolist() == [1.0]
    assert propensities(PolicySettings("fixed"), ArmStats.zeros(3)).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("stats", "best"),
    [(stats_of((10, 3), (10, 5), (10, 5)), 1), (stats_of((10, 3), (4, 2), (8, 4)), 1), (stats_of((10, 10), (0, 0), (0, 0)), 1)],
)
def test_epsilon_greedy_by_hand(stats: ArmStats, best: int) -> None:
    expected = [0.1 / 3] * 3
    expected[best] += 0.9
    assert propensities(PolicySettings("epsilon_greedy", epsilon=0.1), stats) == pytest.approx(expected, abs=1e-15)


def test_thompson_uses_the_prior_and_fractions_of_success() -> None:
    stats = stats_of((4, 1.5), (9, 7.25))
    rng = np.random.default_rng(1)
    share = (rng.beta(2 + 7.25, 3 + 1.75, 400_000) > rng.beta(2 + 1.5, 3 + 2.5, 400_000)).mean()
    assert propensities(PolicySettings("thompson", prior=(2.0, 3.0)), stats)[1] == pytest.approx(share, abs=4.5 * 0.5 / 632)


def test_maillard_by_hand() -> None:
    # kl(1/4, 1/2) = ¼ ln ½ + ¾ ln 3/2; twelve pulls.
    weight = np.exp(-12 * (0.25 * np.log(0.5) + 0.75 * np.log(1.5)))
    got = propensities(PolicySettings("maillard"), stats_of((12, 3), (10, 5)))
    assert got == pytest.approx([weight / (1 + weight), 1 / (1 + weight)], abs=1e-12)


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (stats_of((0, 0), (0, 0)), [0.5, 0.5]),
        (stats_of((5, 0), (7, 0)), [0.5, 0.5]),
        (stats_of((5, 5), (7, 7)), [0.5, 0.5]),
        (stats_of((5, 5), (7, 6)), [1.0, 0.0]),
        (stats_of((50, 25), (0, 0)), [0.5, 0.5]),
    ],
)
def test_maillard_at_its_edges(stats: ArmStats, expected: list[float]) -> None:
    assert propensities(PolicySettings("maillard"), stats).tolist() == expected


arms_seen = st.lists(st.integers(0, 400).flatmap(lambda n: st.tuples(st.just(n), st.floats(0, n))), min_size=1, max_size=8)


@given(st.sampled_from(KINDS), arms_seen, st.floats(0, 1))
def test_shares_sum_to_one_above_the_floor_and_draws_use_exactly_them(kind: str, arms: list[tuple[int, float]], floor: float) -> None:
    settings = PolicySettings(kind, share_min=floor / len(arms))
    p = propensities(settings, stats_of(*arms))
    assert abs(p.sum() - 1.0) <= 1e-12
    assert (p >= settings.share_min * (1 - 1e-12)).all()
    # Each arm's stretch of [0, 1) is as long as its propensity: u just inside either end draws it.
    ends = np.cumsum(p)
    for arm in np.flatnonzero(p > 1e-9):
        inside = np.array([ends[arm] - p[arm] + 1e-12, min(ends[arm], 1.0) - 1e-12])
        assert draw(p, inside).tolist() == [arm, arm]


def test_an_arm_of_share_zero_is_never_drawn() -> None:
    p = np.array([0.0, 0.7, 0.0, 0.3 - 1e-16, 0.0])
    assert draw(p, np.array([0.0, 0.7, np.nextafter(1.0, 0.0)])).tolist() == [1, 3, 3]


def test_counts_of_draws_follow_the_propensities() -> None:
    p = np.array([0.02, 0.5, 0.48])
    counts = np.bincount(draw(p, np.random.default_rng(0).random(200_000)), minlength=3)
    assert ((counts - 200_000 * p) ** 2 / (200_000 * p)).sum() < 13.8  # χ² with 2 degrees of freedom, 0.1 %


def test_a_floor_above_the_whole_and_an_unknown_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="more than the whole"):
        propensities(PolicySettings("maillard", share_min=0.4), ArmStats.zeros(3))
    with pytest.raises(ValueError, match="expected one of"):
        propensities(PolicySettings("ucb"), ArmStats.zeros(3))


# The environment of the literature's figures: one good arm among ten; Lai & Robbins' constant is Σ Δ / kl = 17.445.
MEANS = np.array([0.1, 0.05, 0.05, 0.05, 0.02, 0.02, 0.02, 0.01, 0.01, 0.01])


def regret(settings: PolicySettings, rounds: int, every: int, seeds: int) -> np.ndarray:
    """Mean pseudo-regret after each `every` rounds; a new version of the statistics each `every` rounds."""
    out = np.zeros((seeds, rounds // every))
    for seed in range(seeds):
        rng, stats = np.random.default_rng(seed), ArmStats.zeros(len(MEANS))
        for step in range(rounds // every):
            arm = draw(propensities(settings, stats), rng.random(every))
            stats = stats + ArmStats.of(len(MEANS), arm, (rng.random(every) < MEANS[arm]).astype(np.float64))
            out[seed, step] = (MEANS.max() - MEANS[arm]).sum()
    return out.cumsum(axis=1).mean(axis=0)


@pytest.mark.parametrize("kind", ["thompson", "maillard"])
def test_regret_grows_with_the_logarithm(kind: str) -> None:
    curve = regret(PolicySettings(kind), 20_000, 50 if kind == "thompson" else 10, 5)
    half, whole = curve[len(curve) // 2 - 1], curve[-1]
    assert 0.4 <= (whole - half) / (17.445 * np.log(2)) <= 2.5
    assert whole <= 150
    assert whole / half <= 1.3


def test_constant_exploration_pays_linearly() -> None:
    curve = regret(PolicySettings("epsilon_greedy", epsilon=0.1), 40_000, 20, 6)
    quarters = np.diff(curve[len(curve) // 4 - 1 :: len(curve) // 4])
    # Once the best arm is found, each round costs epsilon times the mean gap.
    expected = 0.1 * (MEANS.max() - MEANS).mean() * 10_000
    assert quarters[1:] == pytest.approx([expected] * 2, rel=0.2)
