"""What a member that is gone has left open ends at once. Otherwise reading would wait for ten minutes here, and the test with it."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from stream_infer.edge import kafka_client
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.kafka_errors import Complaints
from stream_infer.edge.kafka_native import Native
from stream_infer.edge.kafka_transactions import Transactions
from stream_infer.edge.kafka_watchdog import Watchdog
from stream_infer.errors import Fenced
from stream_infer.flow.transport import Outcome
from tests.conformance.clusters import KafkaCluster, Recorder, until, values
from tests.support import blobs

pytestmark = pytest.mark.broker
NEVER_MS = 600_000  # until the broker itself would end a transaction


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.timeout(90)
def test_the_transaction_of_a_member_that_stood_still_ends_when_another_takes_over(broker: Broker, topic: str, before: int) -> None:
    """before: transactions that ended well: two producers take turns, and either may have left one open."""
    cluster = KafkaCluster(topic, broker.bootstrap, "auto")
    events, out = cluster.topic("in", 2), cluster.topic("out")
    first = cluster.transport("a", session_timeout_ms=1500, poll_gap_ms_max=1500, transaction_timeout_ms=NEVER_MS)
    second, owner, other = cluster.transport("b", transaction_timeout_ms=NEVER_MS), Recorder("a"), Recorder("b")
    first.join([events], owner)
    second.join([events], other)
    until(lambda: len(owner.owned) == len(other.owned) == 1, first, second, cluster=cluster)
    for _ in range(before):
        first.produce(out, blobs([b"k"]), blobs([b"before"]), partition=0)
        assert first.commit({}) is Outcome.COMMITTED
    first.produce(out, blobs([b"k"]), blobs([b"never"]), partition=0)
    until(lambda: cluster.high((out, 0)) > 2 * before, first, second, cluster=cluster)  # a record and its marker each
    until(lambda: len(other.owned) == 2, second, cluster=cluster)  # the first is not polled any more: the group gives it up

    assert values(second, out) == [b"before"] * before
    second.produce(out, blobs([b"k"]), blobs([b"kept"]), partition=0)
    assert second.commit({}) is Outcome.COMMITTED
    assert values(second, out) == [b"before"] * before + [b"kept"]
    with pytest.raises(Fenced):
        first.commit({})


@pytest.mark.timeout(90)
def test_a_member_that_stays_keeps_its_transaction_when_others_come_and_go(broker: Broker, topic: str) -> None:
    cluster = KafkaCluster(topic, broker.bootstrap, "auto")
    events, out = cluster.topic("in", 2), cluster.topic("out")
    stays, comes, owner, other = cluster.transport("a"), cluster.transport("b"), Recorder("a"), Recorder("b")
    stays.join([events], owner)
    until(lambda: len(owner.owned) == 2, stays, cluster=cluster)
    stays.produce(out, blobs([b"k"]), blobs([b"kept"]), partition=0)
    comes.join([events], other)
    until(lambda: len(other.owned) == 1, stays, comes, cluster=cluster)
    comes.close()
    until(lambda: len(owner.owned) == 2, stays, cluster=cluster)

    assert stays.commit({}) is Outcome.COMMITTED
    assert values(stays, out) == [b"kept"]


@pytest.mark.parametrize("native", ["off", "require"])
def test_the_group_takes_offsets_only_when_the_broker_has_the_records(broker: Broker, topic: str, native: Native) -> None:
    """They linger for ten seconds here. Those of a worker that stood still in between would be missed by whoever takes over."""
    cluster = KafkaCluster(topic, broker.bootstrap, native)
    events, changelog = cluster.topic("in"), cluster.topic("changelog")
    there: list[int] = []

    class Looking(Producer):
        def send_offsets_to_transaction(self, *arguments: Any) -> None:
            there.append(cluster.high((changelog, 0)))
            super().send_offsets_to_transaction(*arguments)

    settings = KafkaSettings(broker.bootstrap, topic, f"{topic}.0", client={"linger.ms": "10000"})
    watchdog = Watchdog(60)
    writer = Transactions(kafka_client.producer(settings, Complaints(broker.bootstrap)), 30.0, watchdog, Looking, native)
    reader = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": topic})
    writer.send(changelog, blobs([b"k"]), blobs([b"state"]), 0, None)
    assert writer.commit([TopicPartition(events, 0, 1)], reader.consumer_group_metadata()) is Outcome.COMMITTED
    writer.close()
    reader.close()
    watchdog.close()
    assert there == [1]
