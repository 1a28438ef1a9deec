"""The pause after a commit, beside a broker whose markers take a known time."""

from __future__ import annotations

import pytest

from stream_infer.edge.kafka_markers import PAUSE_S_MAX, REFUSED_S, MarkersPause


def refused(markers_s: list[float]) -> tuple[int, MarkersPause]:
    """How many transactions of a row are refused: those that begin before the markers of the one before stand."""
    pause, count = MarkersPause(), 0
    for needed_s in markers_s:
        early = pause.seconds < needed_s
        pause.flushed(REFUSED_S + 0.003 if early else 0.003)
        count += early
    return count, pause


@pytest.mark.parametrize("markers_ms", [0.0, 0.5, 1.9, 4.0, 4.9])
def test_few_transactions_are_refused_however_long_markers_take(markers_ms: float) -> None:
    count, pause = refused([markers_ms / 1e3] * 5000)
    assert count <= 5000 / 50 + 5
    assert pause.seconds <= markers_ms / 1e3 + 0.001


def test_the_pause_follows_markers_that_become_slower_and_faster_again() -> None:
    count, pause = refused([0.001] * 500 + [0.005] * 500 + [0.001] * 1000)
    assert count <= 2000 / 50 + 10
    assert pause.seconds <= 0.002


def test_markers_that_take_longer_than_the_longest_pause_cost_no_more_than_that() -> None:
    count, pause = refused([0.5] * 1000)
    assert count == 1000
    assert pause.seconds == PAUSE_S_MAX
