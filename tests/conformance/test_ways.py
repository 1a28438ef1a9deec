"""What the Python client and librdkafka's C interface must do alike, and the simulated broker has no part in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError

from stream_infer.edge import devbroker
from stream_infer.edge.devbroker import Broker
from stream_infer.edge.kafka_client import KafkaSettings, consumer, producer
from stream_infer.edge.kafka_consume import Reader
from stream_infer.edge.kafka_deliveries import Deliveries
from stream_infer.edge.kafka_native import Native
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.transport import Outcome
from tests.conformance.clusters import KafkaCluster, Recorder, all_of, rows_of, until
from tests.support import Row, blobs, create_topics, produce_rows, wait_until

pytestmark = pytest.mark.broker
Made = Callable[[Native], KafkaCluster]


@pytest.fixture
def made(topic: str, broker: devbroker.Broker) -> Iterator[Made]:
    clusters: list[KafkaCluster] = []

    def make(native: Native) -> KafkaCluster:
        clusters.append(KafkaCluster(topic, broker.bootstrap, native))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


@pytest.fixture(params=["plain", "native"])
def cluster(request: pytest.FixtureRequest, made: Made) -> KafkaCluster:
    return made("require" if request.param == "native" else "off")


def rows(rng: np.random.Generator, count: int) -> tuple[list[bytes | None], list[bytes | None]]:
    def some(size_max: int) -> list[bytes | None]:
        return [None if rng.random() < 0.1 else rng.bytes(int(size)) for size in rng.integers(0, size_max, count)]

    return some(12), some(300)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_more_records_than_the_queue_holds_arrive_in_order(cluster: KafkaCluster, guarantee: Any) -> None:
    topic = cluster.topic("t")
    transport = cluster.transport(guarantee=guarantee, client={"queue.buffering.max.messages": "150"})
    keys, values = rows(np.random.default_rng(1), 4000)
    transport.produce(topic, blobs(keys), blobs(values), partition=0)
    assert transport.commit({}) is Outcome.COMMITTED
    assert [(key, value) for _, key, value in all_of(transport, topic)] == list(zip(keys, values, strict=True))


@pytest.mark.parametrize("native", ["off", "require"])
def test_what_lingers_goes_out_when_it_is_pushed(made: Made, broker: Broker, native: Native) -> None:
    """Sooner than they linger. Not every push meets a client that is ready: so it is more than one."""
    cluster = made(native)
    topic, group = cluster.topic("t"), f"{cluster.prefix}-g"
    settings = KafkaSettings(broker.bootstrap, group, group, "at_least_once", native=native)
    reader = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    deliveries = Deliveries({**producer(settings, print), "linger.ms": 29_000}, 10.0, reader, native)

    def there() -> bool:
        deliveries.send(topic, blobs([b"k"]), blobs([b"v"]), 0, None)
        deliveries.push()
        return cluster.high((topic, 0)) > 0

    wait_until(there, "a record in the log", timeout_s=20)
    deliveries.close()
    reader.close()


def test_rows_taken_from_others_are_sent_as_what_they_are(cluster: KafkaCluster) -> None:
    """Spans with gaps, backwards and over each other, times and partitions given or not."""
    topic, transport = cluster.topic("t", 3), cluster.transport()
    keys, values = rows(np.random.default_rng(2), 600)
    chosen = np.arange(len(keys) - 1, 0, -7)
    times = np.arange(len(keys)) * 1000 + 5
    transport.produce(topic, blobs(keys).take(chosen), blobs(values).take(chosen), partition=2, timestamps=times[chosen])
    odd = slice(3, 300, 2)
    transport.produce(topic, blobs(keys).take(odd), blobs(values).take(odd), partition=1, timestamps=times[odd])
    assert transport.commit({}) is Outcome.COMMITTED
    expected = {1: list(range(3, 300, 2)), 2: chosen.tolist()}
    for number, places in expected.items():
        found = list(transport.read((topic, number), 0))
        assert [(key, value) for _, key, value in rows_of(found)] == [(keys[n], values[n]) for n in places]
        assert [time for f in found for time in f.timestamps.tolist()] == [int(times[n]) for n in places]
    assert all_of(transport, topic, 0) == []


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_record_too_large_is_said_to_be(cluster: KafkaCluster, guarantee: Any) -> None:
    topic, transport = cluster.topic("t"), cluster.transport(guarantee=guarantee, client={"message.max.bytes": "2000"})
    with pytest.raises(EnvironmentMissing, match=r"(?s)writing to .*a record is too large"):
        transport.produce(topic, blobs([b"k"] * 3), blobs([b"fits", b"x" * 3000, b"fits"]), partition=0)
    transport.abort()


def test_what_the_broker_refuses_fails_the_commit_with_the_reason(cluster: KafkaCluster) -> None:
    """Heard by at-least-once alone in the report of the record; the broker takes less here than the client thinks."""
    topic = f"{cluster.prefix}-small"
    create_topics(cluster._bootstrap, {topic: 1}, {"max.message.bytes": "2000"})
    transport = cluster.transport(guarantee="at_least_once")
    transport.produce(topic, blobs([b"k"]), blobs([b"fits"]), partition=0)
    assert transport.commit({}) is Outcome.COMMITTED
    transport.produce(topic, blobs([b"k"]), blobs([np.random.default_rng(4).bytes(9000)]), partition=0)
    with pytest.raises(EnvironmentMissing, match=r"(?s)writing.*a record is too large"):
        transport.commit({})
    assert [value for _, _, value in all_of(transport, topic)] == [b"fits"]


def test_a_failed_commit_leaves_nothing_for_the_next(cluster: KafkaCluster) -> None:
    """Refused by the broker, so heard by the commit: a partition that is not there may be told by produce() already."""
    topic, transport = f"{cluster.prefix}-small", cluster.transport(guarantee="at_least_once")
    create_topics(cluster._bootstrap, {topic: 1}, {"max.message.bytes": "2000"})
    transport.produce(topic, blobs([b"k"]), blobs([np.random.default_rng(4).bytes(9000)]), partition=0)
    with pytest.raises(EnvironmentMissing, match="a record is too large"):
        transport.commit({})
    transport.produce(topic, blobs([b"k"]), blobs([b"w"]), partition=0)
    transport.abort()  # taken back, unless it is under way already
    transport.produce(topic, blobs([b"k"]), blobs([b"x"]), partition=0)
    assert transport.commit({}) is Outcome.COMMITTED
    assert [value for _, _, value in all_of(transport, topic)][-1] == b"x"


def test_a_partition_that_is_not_there_ends_alike(made: Made) -> None:
    """Told at once or by the commit: whichever it is, both ways say the same."""
    said = []
    for native in ("off", "require"):
        cluster = made(native)  # type: ignore[arg-type]
        topic, transport = cluster.topic(native, 2), cluster.transport(native)
        transport.produce(topic, blobs([b"k"]), blobs([b"v"]))
        assert transport.commit({}) is Outcome.COMMITTED  # the number of partitions is known now
        try:
            transport.produce(topic, blobs([b"k"]), blobs([b"v"]), partition=7)
            said.append(str(transport.commit({})))
        except EnvironmentMissing as error:
            said.append(str(error).replace(topic, "TOPIC"))
    assert said[0] == said[1]


@pytest.mark.parametrize("native", ["off", "require"])
def test_a_topic_that_is_not_there_is_told_by_the_error_callback_and_others_are_read_on(broker: Broker, topic: str, native: Native) -> None:
    """librdkafka calls it from wherever records are asked for; the Python client's own would end the process there."""
    heard: list[KafkaError] = []
    settings = KafkaSettings(broker.bootstrap, topic, topic)
    # Half a minute by default: a topic might just have been made.
    reader = Reader(consumer(settings, heard.append) | {"topic.metadata.propagation.max.ms": 500}, native=native)
    create_topics(broker.bootstrap, {topic: 1})
    for place in ((f"{topic}-nowhere", 0), (topic, 0)):
        reader.place(place, 0)
    wait_until(lambda: not reader.take(10, 10) and bool(heard), "it is told")
    # Which of the two depends on who says it first: the metadata or the list of offsets.
    assert heard[0].code() in (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART)
    produce_rows(broker.bootstrap, topic, [Row(b"v")])
    given = []
    wait_until(lambda: bool(given.extend(reader.take(10, 10)) or given), "it is read")
    assert given[0].values.raw() == [b"v"]
    reader.close()


def test_a_full_inbox_may_be_closed_at_any_time(made: Made) -> None:
    writer = made("require")
    topic = writer.topic("t", 4)
    keys, values = rows(np.random.default_rng(3), 8000)
    sender = writer.transport("writer")
    sender.produce(topic, blobs(keys), blobs(values))
    sender.commit({})
    for turn in range(8):
        cluster = made("require")
        transport, owner = cluster.transport(f"reader{turn}", group=f"g{turn}"), Recorder()
        transport.join([topic], owner)
        until(lambda owner=owner: owner.owned, transport, cluster=cluster)  # type: ignore[misc]
        for partition in owner.owned:
            transport.seek(partition, 0)
        transport.follow((topic, turn % 4), 0)
        given = [f for _ in range(turn) for f in transport.poll(7, 20)]
        assert sum(map(len, given)) <= 7 * 2 * max(turn, 1)
        cluster.close()
        cluster._made.clear()


@pytest.mark.parametrize("end", ["", "del transport; gc.collect()", "transport.abandon()", "transport.close()"])
def test_a_process_ends_with_records_in_its_inbox(cluster: KafkaCluster, end: str) -> None:
    """Forgotten, given up or closed: librdkafka waits for every record that somebody holds."""
    topic = cluster.topic("t", 2)
    for number in (0, 1):
        cluster.append(topic, [(b"k", b"v" * 100)] * 500, number)
    program = f"""if True:
        import gc
        from stream_infer.edge.kafka import KafkaTransport
        from stream_infer.edge.kafka_client import KafkaSettings
        transport = KafkaTransport(KafkaSettings({cluster._bootstrap!r}, {topic!r}, {topic!r}, native={cluster._native!r}))
        for number in (0, 1):
            transport.follow(({topic!r}, number), 0)
        given = 0
        while not given:
            given += sum(map(len, transport.poll(3, 100)))
        assert given <= 3
        {end}
        print("end")
    """
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=60, check=True)
    assert ended.stdout == b"end\n"


def test_topics_with_headers_and_without_are_read_side_by_side(cluster: KafkaCluster) -> None:
    plain, headed = cluster.topic("plain", 2), cluster.topic("headed", 2)
    transport = cluster.transport(header_topics=[headed])
    for number in (0, 1):
        cluster.append(headed, [(b"k", b"%d" % n) for n in range(300)], number, headers=[[("n", b"%d" % n)] for n in range(300)])
        cluster.append(plain, [(b"k", b"%d" % n) for n in range(300)], number)
        transport.follow((plain, number), 0)
        transport.follow((headed, number), 0)
    places = [(topic, number) for topic in (plain, headed) for number in (0, 1)]
    found = until(lambda: all(transport.at_end(p) for p in places), transport, cluster=cluster)
    for place in places:
        mine = [f for f in found if (f.topic, f.partition) == place]
        assert [value for _, _, value in rows_of(mine)] == [b"%d" % n for n in range(300)]
        heads = [head for f in mine for head in f.headers or ()]
        assert heads == ([[("n", b"%d" % n)] for n in range(300)] if place[0] == headed else [])
