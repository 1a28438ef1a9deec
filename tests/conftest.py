"""Fixtures of all tests: one real broker per session, a topic prefix per test, and what must be there for a marked test to run."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from stream_infer.edge import devbroker, devredis
from stream_infer.errors import EnvironmentMissing

# A machine that others use is slow at times: that is no finding. In CI the same examples come every time; elsewhere new ones are tried.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ)
settings.load_profile("shared")


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[devbroker.Broker]:
    """A real Kafka: STREAM_INFER_BOOTSTRAP if set, else one started once, in a folder of its own, ended with the session.

    Without jars and network there is none: the tests are skipped with the reason, or fail where STREAM_INFER_REQUIRE names `broker`.
    """
    folder = tmp_path_factory.mktemp("broker")
    try:
        found = devbroker.reach(folder, progress=lambda text: _show(request, text))
    except EnvironmentMissing as error:
        _absent("broker", str(error))
    yield found
    devbroker.stop(folder)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[devredis.DevRedis]:
    """A real Redis of the session on loopback; each test empties it for itself."""
    try:
        devredis.program()
    except EnvironmentMissing as error:
        _absent("redis", str(error))
    with devredis.running() as server:
        yield server


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A prefix for topics and groups that no other test and no other run has."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return f"{name[:60]}-{uuid.uuid4().hex[:8]}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None:
        import torch  # here: most sessions never need it

        if not torch.cuda.is_available():
            _absent("gpu", "no CUDA device")


def _absent(what: str, reason: str) -> None:
    if what in os.environ.get("STREAM_INFER_REQUIRE", "").split(","):
        pytest.fail(f"{what} is required here: {reason}")
    pytest.skip(f"no {what}: {reason}")


def _show(request: pytest.FixtureRequest, text: str) -> None:
    """Past pytest's capture: a wait of seconds has to say what for."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n  {text}", end="", flush=True)
