"""Look-ups as calls: every call comes back, in time, with what Redis holds or with the defaults."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from stream_infer.edge import devredis
from stream_infer.edge.redis_caller import RedisCaller
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.online_settings import KeyTemplate, RedisLookupSettings, RedisSettings
from stream_infer.records import Text
from tests.support_redis import client_of


def settings(timeout_ms: int = 5_000, **more: Any) -> RedisLookupSettings:
    redis = RedisSettings("${env:TEST_REDIS_URL}", timeout_ms)
    return RedisLookupSettings(redis, KeyTemplate.of("user:{user}"), "string", (("score", -1.0),), **more)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[devredis.DevRedis]:
    with devredis.running() as found:
        monkeypatch.setenv("TEST_REDIS_URL", found.url)
        yield found


def call(job: int, *users: str, stage: str = "s") -> Call:
    return Call(job, stage, {"user": Text.of(users)}, len(users))


def all_of(caller: RedisCaller, jobs: int) -> list[CallDone]:
    found: list[CallDone] = []
    until = time.monotonic() + 30
    while len(found) < jobs:
        assert time.monotonic() < until, f"{len(found)} of {jobs} calls came back"
        found += caller.finished(1000)
    return found


def scores(done: list[CallDone]) -> dict[int, list[object]]:
    assert all(not one.faults for one in done)
    return {one.job: one.columns["score"].to_list() for one in done}


def test_calls_of_several_stages_come_back_with_what_redis_holds(server: devredis.DevRedis) -> None:
    client = client_of(server)
    client.mset({f"user:u{n}": n for n in range(50)})
    caller = RedisCaller({"s": settings(), "t": settings()})
    for job in range(40):
        caller.submit(call(job, f"u{job}", "absent", stage="st"[job % 2]))
    assert scores(all_of(caller, 40)) == {job: [job, -1.0] for job in range(40)}
    assert caller.finished(10_000) == []  # nothing is open: no waiting
    caller.close()
    client.close()


def test_a_server_that_stands_still_keeps_nobody_waiting_beyond_the_timeout(server: devredis.DevRedis) -> None:
    client = client_of(server)
    client.set("user:a", 7)
    caller = RedisCaller({"s": settings(200, ttl_ms=0, failures_max=100)})
    caller.submit(call(1, "a"))
    assert scores(all_of(caller, 1)) == {1: [7]}
    os.kill(server.pid, signal.SIGSTOP)
    for job in range(2, 22):  # one after the other they would take 20 times as long
        caller.submit(call(job, "a", "b"))
    assert scores(all_of(caller, 20)) == {job: [-1, -1] for job in range(2, 22)}
    assert caller.lookups["s"].stats.overdue >= 2 * 18
    os.kill(server.pid, signal.SIGCONT)
    until = time.monotonic() + 30
    for job in range(100, 10_000):
        caller.submit(call(job, "a"))
        if scores(all_of(caller, 1)) == {job: [7]}:
            break
        assert time.monotonic() < until
    caller.close()
    client.close()


def test_strict_tells_the_fault_to_whoever_waits(server: devredis.DevRedis) -> None:
    devredis.stop(server)
    caller = RedisCaller({"s": settings()}, strict=True)
    caller.submit(call(1, "a"))
    with pytest.raises(EnvironmentMissing, match="deterministic"):
        all_of(caller, 1)
    caller.close()
