"""One suite, two brokers: the simulated one, and a real Kafka where there is one, by the Python client and by librdkafka's C interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.clusters import Cluster, KafkaCluster, SimCluster


@pytest.fixture(params=["sim", *(pytest.param(way, marks=pytest.mark.broker) for way in ("plain", "native"))])
def cluster(request: pytest.FixtureRequest, topic: str) -> Iterator[Cluster]:
    made: Cluster
    if request.param == "sim":
        made = SimCluster(topic, seed=1)
    else:
        bootstrap = request.getfixturevalue("broker").bootstrap
        made = KafkaCluster(topic, bootstrap, "require" if request.param == "native" else "off")
    yield made
    made.close()
