from __future__ import annotations

import pytest

from stream_infer.edge.health import Health


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_ready_means_every_condition_holds_and_started_means_each_has_held_once() -> None:
    health = Health(("assignment held", "models loaded"), clock=Clock())
    assert health.ready() == ["assignment held: not yet", "models loaded: not yet"] == health.started()
    health.holds("assignment held")
    health.lacks("models loaded", "ridge: file absent")
    assert health.ready() == ["models loaded: ridge: file absent"] == health.started()
    health.holds("models loaded")
    assert health.ready() == [] == health.started()
    health.lacks("assignment held", "revoked")
    assert health.ready() == ["assignment held: revoked"]
    assert health.started() == []


def test_a_stuck_poll_thread_is_not_alive_and_a_missing_condition_is_no_reason_to_die() -> None:
    clock = Clock()
    health = Health(beat_age_s_max=10, clock=clock)
    clock.now += 10
    assert health.alive() == []
    clock.now += 0.5
    assert health.alive() == ["the poll thread has not gone round for 10.5 s (limit 10 s)"]
    health.beat()
    assert health.alive() == []


def test_fatal_stays_and_draining_is_not_ready() -> None:
    health = Health((), clock=Clock())
    assert health.ready() == []
    health.drain()
    assert health.ready() == ["draining"]
    assert health.alive() == []
    health.fail("fenced")
    health.fail("something after it")
    assert health.alive() == ["fatal: fenced"]


def test_a_misspelt_condition_is_found_at_once() -> None:
    with pytest.raises(KeyError, match="known: a, b"):
        Health(("a", "b")).holds("c")
