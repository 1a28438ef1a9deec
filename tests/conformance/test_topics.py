"""What only a real broker has: topics made and deleted by administration."""

from __future__ import annotations

import pytest

from stream_infer.edge.devbroker import Broker
from stream_infer.edge.topics import cluster_id, create_topics, delete_group, delete_topics
from stream_infer.errors import EnvironmentMissing
from tests.conformance.clusters import KafkaCluster, Recorder, until
from tests.support import blobs, group_offsets

pytestmark = pytest.mark.broker


def test_topics_are_made_once_and_another_partition_count_is_refused(broker: Broker, topic: str) -> None:
    wanted = [(f"{topic}-a", 3, False), (f"{topic}-b", 1, True)]
    assert sorted(create_topics(broker.bootstrap, wanted, {})) == [f"{topic}-a", f"{topic}-b"]
    assert create_topics(broker.bootstrap, wanted, {}) == []
    with pytest.raises(EnvironmentMissing, match=rf"(?s){topic}-a.*got: +3.*expected: +4.*fix:"):
        create_topics(broker.bootstrap, [(f"{topic}-a", 4, False)], {})
    delete_topics(broker.bootstrap, [f"{topic}-a", f"{topic}-b", f"{topic}-never"], {})


def test_a_group_is_deleted_when_nobody_is_left_in_it(broker: Broker, topic: str) -> None:
    cluster = KafkaCluster(topic, broker.bootstrap, "auto")
    name, reader, owner, group = cluster.topic("t"), cluster.transport("r"), Recorder(), f"{topic}-g"
    cluster.append(name, [(b"k", b"v")] * 3)
    reader.join([name], owner)
    until(lambda: owner.owned, reader, cluster=cluster)
    reader.commit({(name, 0): 2})
    with pytest.raises(EnvironmentMissing, match=rf"(?s){group}.*got: +a member.*fix:"):
        delete_group(broker.bootstrap, group, {}, wait_s_max=0)
    assert group_offsets(broker.bootstrap, group) == {(name, 0): 2}
    reader.close()
    delete_group(broker.bootstrap, group, {})
    assert group_offsets(broker.bootstrap, group) == {}
    delete_group(broker.bootstrap, group, {})
    cluster.close()


def test_the_cluster_says_who_it_is(broker: Broker) -> None:
    assert cluster_id(broker.bootstrap, {}) == broker.cluster_id


def test_lag_counts_to_the_high_watermark_even_under_an_open_transaction(broker: Broker, topic: str) -> None:
    """librdkafka's own consumer_lag is measured to the last stable offset: a hanging transaction shows as 0."""
    cluster = KafkaCluster(topic, broker.bootstrap, "auto")
    name = cluster.topic("t")
    writer, reader = cluster.transport("w"), cluster.transport("r")
    cluster.append(name, [(b"k", b"v")] * 2)
    writer.produce(name, blobs([b"k"] * 3), blobs([b"open"] * 3))
    owner = Recorder()
    reader.join([name], owner)
    until(lambda: owner.owned and cluster.high((name, 0)) == 5, reader, cluster=cluster)
    reader.seek((name, 0), 0)
    until(lambda: reader.at_end((name, 0)), reader, cluster=cluster)
    assert reader.lag((name, 0)) == 3
    stands = reader.watermarks()[name, 0]
    assert (stands.position, stands.stable, stands.high) == (2, 2, 5)
    cluster.close()
