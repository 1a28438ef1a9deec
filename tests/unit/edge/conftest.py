"""What several tests of the edge begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream_infer.edge.kafka_watchdog import Watchdog


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    made = Watchdog(60)
    yield made
    made.close()
