"""A schedule is a closed form; what is sent on it carries its moments; a generator that was late says so."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from loadgen.__main__ import main
from loadgen.openloop import BEHIND_MS_P99_MAX, Kept, schedule, send_on_schedule
from stream_infer.edge import devbroker
from tests.support import create_topics, read_all

BEGIN_US = 1_735_689_600_000_000
IN_TIME = Kept(rows=1000, lost=0, seconds=1.0, behind_ms_p50=0.1, behind_ms_p99=0.9, behind_ms_max=20.0)


def test_an_even_schedule_is_a_straight_line() -> None:
    assert schedule(4.0, 5, BEGIN_US).tolist() == [BEGIN_US + i * 250_000 for i in range(5)]


def test_a_poisson_schedule_begins_at_its_begin_and_keeps_the_mean_and_the_spread() -> None:
    due = schedule(1000.0, 100_000, BEGIN_US, poisson_seed=3)
    gaps = np.diff(due)
    assert due[0] == BEGIN_US
    assert (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(1000, rel=0.02)  # standard deviation of the mean: 0.3 %
    assert gaps.std() == pytest.approx(1000, rel=0.03)  # of exponential gaps, the same as their mean
    assert (due == schedule(1000.0, 100_000, BEGIN_US, poisson_seed=3)).all()


def test_a_run_is_valid_while_records_left_in_time_and_none_was_lost() -> None:
    assert IN_TIME.valid
    assert "INVALID" not in str(IN_TIME)
    for spoilt in (dataclasses.replace(IN_TIME, lost=1), dataclasses.replace(IN_TIME, behind_ms_p99=BEHIND_MS_P99_MAX + 0.1)):
        assert not spoilt.valid
        assert str(spoilt).endswith("INVALID, the generator did not keep its own schedule")


def test_open_loop_and_another_pace_exclude_each_other() -> None:
    with pytest.raises(SystemExit) as refused:
        main(["payments", "--bootstrap", "nowhere.invalid:1", "--topology", "t.yaml", "--open-loop", "--flat-out"])
    assert refused.value.code == 2


@pytest.mark.broker
def test_records_leave_after_their_moment_each_once_and_carry_it(broker: devbroker.Broker, topic: str) -> None:
    create_topics(broker.bootstrap, {topic: 2})
    due = schedule(500.0, 400, time.time_ns() // 1000 + 200_000)
    values = [str(place).encode() for place in range(400)]
    kept = send_on_schedule(broker.bootstrap, topic, [b"k"] * 400, values, due, [place % 2 for place in range(400)])
    rows = sorted(read_all(broker.bootstrap, topic), key=lambda row: int(row.value or b""))
    assert [row.value for row in rows] == values
    assert [row.timestamp_ms for row in rows] == (due // 1000).tolist()
    assert (kept.rows, kept.lost) == (400, 0)
    assert kept.seconds >= 399 / 500  # the last one was not due earlier
    assert 0 <= kept.behind_ms_p50 <= kept.behind_ms_p99 <= kept.behind_ms_max
