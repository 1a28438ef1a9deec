"""One suite, two brokers: the simulated one, and a real Kafka where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.clusters import Cluster, KafkaCluster, SimCluster


@pytest.fixture(params=["sim", pytest.param("kafka", marks=pytest.mark.broker)])
def cluster(request: pytest.FixtureRequest, topic: str) -> Iterator[Cluster]:
    made: Cluster
    made = SimCluster(topic, seed=1) if request.param == "sim" else KafkaCluster(topic, request.getfixturevalue("broker").bootstrap)
    yield made
    made.close()
