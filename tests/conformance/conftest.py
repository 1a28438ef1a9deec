"""One suite, two brokers: the simulated one, and a real Kafka where there is one, by the Python client and by librdkafka's C interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.clusters import Cluster, KafkaCluster, SimCluster

# 848: the group goes by changes (KIP-848), which nobody gets without asking; a real one is for `make test-long`.
REAL = [pytest.param(way, marks=pytest.mark.broker) for way in ("plain", "native")]
REAL_BY_CHANGE = [pytest.param(way, marks=[pytest.mark.broker, pytest.mark.slow]) for way in ("plain-848", "native-848")]


@pytest.fixture(params=["sim", "sim-848", *REAL, *REAL_BY_CHANGE])
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
