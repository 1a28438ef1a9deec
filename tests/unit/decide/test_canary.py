"""A canary's steps. Oracle: closed forms, and simulated challengers whose true shares are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream_infer.decide.canary import SEEN_AFTER, CanaryState
from stream_infer.decide.evidence import CHALLENGER, Counts
from stream_infer.decide.settings import CanarySettings

SETTINGS = CanarySettings((0.1, 0.5), every_ms=1000, rows_min=100)


def run(settings: CanarySettings, rejects: tuple[float, float], *, seed: int = 0, chunks: int = 400, rows: int = 100) -> CanaryState:
    """Chunks of one second each."""
    draw = np.random.default_rng(seed)
    state = CanaryState()
    for chunk in range(1, chunks + 1):
        state, _ = state.at(settings, chunk, chunk * 100)
        state = CanaryState.from_bytes(state.to_bytes())  # a restart between any two
        new = int(draw.binomial(rows, state.share(settings)))
        faults = (int(draw.binomial(rows - new, rejects[0])), int(draw.binomial(new, rejects[1])))
        state = state.counted(chunk, Counts((rows - new, new), faults))
    return state


def test_a_sound_challenger_takes_over_step_by_step_in_event_time() -> None:
    state, shares = CanaryState(), []
    for second in range(5):
        for chunk in range(second * 10 + 1, second * 10 + 11):
            state, _ = state.at(SETTINGS, chunk, second * 1000)
            shares.append(state.share(SETTINGS)) if chunk % 10 == 5 else None
            state = state.counted(chunk, Counts((50, 50)))
    assert shares == [0.1, 0.5, 1.0, 1.0, 1.0]
    assert state.policy == 2


def test_time_alone_proves_nothing() -> None:
    state, _ = CanaryState().at(SETTINGS, 1, 0)
    state, why = state.counted(1, Counts((10_000, 99))).at(SETTINGS, 9, 10**9)
    assert (state.step, why.why) == (0, "")
    state, why = state.counted(9, Counts((0, 1))).at(SETTINGS, 11, 10**9)
    assert (state.step, why.why) == (1, "nothing against it in 100 rows")
    assert dict(why.figures)["rows_challenger"] == 100


def test_what_a_chunk_counted_is_seen_two_chunks_later() -> None:
    """The next chunk may have been decided on before this one was answered, or after: it must not matter."""
    bad = Counts((0, 200), (0, 200))
    begun, _ = CanaryState().at(SETTINGS, 1, 0)
    before = begun.at(SETTINGS, 2, 0)[0].counted(1, bad)
    after = begun.counted(1, bad).at(SETTINGS, 2, 0)[0]
    assert before == after
    assert before.share(SETTINGS) == 0.1
    assert before.at(SETTINGS, 1 + SEEN_AFTER, 0)[0].share(SETTINGS) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_a_bad_challenger_is_rolled_back_and_a_sound_one_is_not(seed: int) -> None:
    assert run(SETTINGS, (0.01, 0.15), seed=seed).step == -1
    assert run(SETTINGS, (0.05, 0.05), seed=seed).step == len(SETTINGS.steps)


def test_looking_all_the_time_does_not_make_doubt_certain() -> None:
    settings = CanarySettings((0.5,), every_ms=10**9, rows_min=10, rejects_above=0.0)
    rolled_back = sum(run(settings, (0.05, 0.05), seed=seed, chunks=200).step == -1 for seed in range(100))
    assert rolled_back <= 5


JUDGED = CanarySettings((0.1, 0.5), every_ms=1000, rows_min=100, reward_below=0.05)


def rewarded(state: CanaryState, share: float, means: tuple[float, float], draw: np.random.Generator, rows: int = 100) -> CanaryState:
    """Decisions made with this share of the challenger meet their feedback."""
    arm = (draw.random(rows) < share).astype(np.int64)
    reward = (draw.random(rows) < np.where(arm == CHALLENGER, means[1], means[0])).astype(np.float64)
    rewards = state.gathered.rewards.then(arm, reward, np.where(arm == CHALLENGER, share, 1.0 - share))
    return replace(state, gathered=replace(state.gathered, rewards=rewards))


def judged(means: tuple[float, float], *, seed: int, delay: int = 5, chunks: int = 1000) -> tuple[CanaryState, list[float]]:
    """Chunks of a second; rewards come `delay` chunks after their decisions. The last state, and the shares there were."""
    draw, state, shares = np.random.default_rng(seed), CanaryState(), [0.0]
    for chunk in range(1, chunks + 1):
        state = CanaryState.from_bytes(state.at(JUDGED, chunk, chunk * 1000)[0].to_bytes())
        shares.append(state.share(JUDGED))
        if chunk > delay and 0.0 < shares[chunk - delay] < 1.0:
            state = rewarded(state, shares[chunk - delay], means, draw)
        new = int(draw.binomial(100, shares[-1]))
        state = state.counted(chunk, Counts((100 - new, new)))
    return state, shares


@pytest.mark.parametrize("seed", range(5))
def test_one_that_earns_less_is_rolled_back_and_one_that_earns_as_much_is_not(seed: int) -> None:
    assert judged((0.6, 0.3), seed=seed)[0].step == -1
    assert judged((0.6, 0.6), seed=seed)[0].step == 2
    assert judged((0.6, 0.58), seed=seed)[0].step == 2, "a little less is allowed"


def test_without_rewards_it_does_not_go_on_and_they_can_still_undo_the_last_step() -> None:
    draw, state = np.random.default_rng(1), CanaryState()
    for chunk in range(1, 40):
        state, _ = state.at(JUDGED, chunk, chunk * 1000)
        state = state.counted(chunk, Counts((900, 100)))
    assert state.step == 0
    state = rewarded(state, 0.5, (0.5, 0.5), draw, rows=500)
    for chunk in range(40, 60):
        state = state.counted(chunk, Counts((900, 100))).at(JUDGED, chunk + 1, chunk * 1000)[0]
    assert state.step == 2
    state = rewarded(state, 0.5, (0.9, 0.1), draw, rows=2000).counted(60, Counts((0, 100)))
    state, why = state.at(JUDGED, 62, 0)
    assert (state.step, state.share(JUDGED)) == (-1, 0.0)
    assert dict(why.figures)["reward_difference"] < -0.5


def test_a_new_trial_begins_with_nothing_and_knows_since_when() -> None:
    state = rewarded(CanaryState(policy=4), 0.5, (0.9, 0.1), np.random.default_rng(0)).turned(0)
    assert (state.since, state.gathered.rewards.rows, state.judged.rewards.rows) == (5, (0, 0), (0, 0))


def test_chunks_without_answers_do_not_pile_up() -> None:
    state = CanaryState()
    for chunk in range(1, 50):
        state = state.counted(chunk, Counts((1, 1)))
    assert len(state.waiting) == 2
    state, _ = state.at(SETTINGS, 60, 0)
    assert state.seen == Counts((49, 49))
