"""One suite, two brokers: the simulated one, and a real Kafka where there is one, by the Python client and by librdkafka's C interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.clusters import Cluster, KafkaCluster, SimCluster

REAL = ("plain", "native", "plain-848", "native-848")  # 848: the group goes by changes (KIP-848)


@pytest.fixture(params=["sim", "sim-848", *(pytest.param(way, marks=pytest.mark.broker) for way in REAL)])
def cluster(request: pytest.FixtureRequest, topic: str) -> Iterator[Cluster]:
    made: Cluster
    if request.param.startswith("sim"):
        made = SimCluster(topic, seed=1, by_change=request.param == "sim-848")
    else:
        bootstrap = request.getfixturevalue("broker").bootstrap
        way, by_change = str(request.param).removesuffix("-848"), str(request.param).endswith("-848")
        made = KafkaCluster(topic, bootstrap, "require" if way == "native" else "off", "consumer" if by_change else "classic")
    yield made
    made.close()
