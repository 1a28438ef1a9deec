"""A canary's steps. Oracle: closed forms, and simulated challengers whose true shares are known."""

from __future__ import annotations

import numpy as np
import pytest

from stream_infer.decide.canary import SEEN_AFTER, CanaryState, Counts, objection
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
    assert (state.step, why) == (0, "")
    state, why = state.counted(9, Counts((0, 1))).at(SETTINGS, 11, 10**9)
    assert (state.step, why) == (1, "nothing against it in 100 rows")


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


def test_answers_that_differ_too_often_are_an_objection() -> None:
    settings = CanarySettings((0.5,), 1000, rows_min=100, differ_by=1.0, differ_share_max=0.2)
    assert objection(settings, Counts((0, 1000), (0, 0), 1000, 210)) == ""
    assert "0.5 of its answers" in objection(settings, Counts((0, 1000), (0, 0), 1000, 500))
    assert objection(settings, Counts((0, 1000), (0, 0), 50, 50)) == "", "too few were compared"
