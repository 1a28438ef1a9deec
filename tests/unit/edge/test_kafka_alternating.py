"""Two producers that take turns, against producers that answer as told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from stream_infer.edge.kafka_alternating import Alternating
from stream_infer.edge.kafka_transactions import Transactions
from stream_infer.edge.kafka_watchdog import Watchdog
from stream_infer.flow.transport import Outcome
from tests.support import blobs
from tests.unit.edge.test_kafka_transactions import ABORTABLE, FENCED, ScriptedProducer

OFFSETS = [TopicPartition("in", 0, 7)]


def two(watchdog: Watchdog, **script: Sequence[KafkaError | None]) -> tuple[Alternating, dict[str, list[str]]]:
    """Two that take turns, and the calls of each transactional id. script: of the first."""
    calls: dict[str, list[str]] = {}

    def make(config: dict[str, Any]) -> Any:
        mine = calls.setdefault(config["transactional.id"], [])
        return ScriptedProducer(script if len(calls) == 1 and not mine else {}, mine)

    made = Alternating("app.0", lambda one: Transactions({"transactional.id": one}, 0.2, watchdog, make))
    assert calls == {"app.0": ["init"], "app.0~2": ["init"]}  # both: either may have been left with something open
    for mine in calls.values():
        mine.clear()
    return made, calls


def send(to: Alternating) -> None:
    to.send("t", blobs([b"k"]), blobs([b"v"]), None, None)


def took(calls: dict[str, list[str]]) -> dict[str, int]:
    """How many transactions each began."""
    return {one: mine.count("begin") for one, mine in calls.items()}


def test_each_transaction_is_on_the_other_producer_than_the_last(watchdog: Watchdog) -> None:
    alternating, calls = two(watchdog)
    for number in range(1, 7):
        send(alternating)
        send(alternating)
        assert alternating.is_open
        assert alternating.commit(OFFSETS, "meta") is Outcome.COMMITTED
        assert not alternating.is_open
        assert took(calls) == {"app.0": (number + 1) // 2, "app.0~2": number // 2}


def test_a_transaction_follows_an_abort_on_the_other_producer_too(watchdog: Watchdog) -> None:
    alternating, calls = two(watchdog)
    send(alternating)
    assert alternating.abort() is Outcome.ABORTED
    send(alternating)
    assert took(calls) == {"app.0": 1, "app.0~2": 1}
    assert calls["app.0"][-1] == "abort"


def test_a_commit_that_aborts_leaves_nothing_open(watchdog: Watchdog) -> None:
    alternating, calls = two(watchdog, flush=[ABORTABLE])
    send(alternating)
    assert alternating.commit(OFFSETS, "meta") is Outcome.ABORTED
    assert not alternating.is_open
    send(alternating)
    assert alternating.commit(OFFSETS, "meta") is Outcome.COMMITTED
    assert took(calls) == {"app.0": 1, "app.0~2": 1}


def test_an_end_that_nobody_knows_renews_its_own_producer(watchdog: Watchdog) -> None:
    timed_out = KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True)
    alternating, calls = two(watchdog, commit=[timed_out])
    send(alternating)
    assert alternating.commit(OFFSETS, "meta") is Outcome.ABORTED
    assert (alternating.rebuilt, calls["app.0"].count("init"), calls["app.0~2"]) == (1, 1, [])


def test_both_are_closed_and_the_fenced_one_says_so_where_it_is_used(watchdog: Watchdog) -> None:
    alternating, calls = two(watchdog, begin=[FENCED])
    with pytest.raises(Exception, match=r"another process works under the transactional id app\.0"):
        send(alternating)
    alternating.close()
    assert [mine[-1] for mine in calls.values()] == ["close", "close"]
