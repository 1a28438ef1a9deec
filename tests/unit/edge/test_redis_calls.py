"""Look-ups as calls: every call comes back, in time, with what Redis holds or with the defaults."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from stream_infer.edge import devredis
from stream_infer.edge.calls import Done, Tally
from stream_infer.edge.redis_calls import RedisCalls
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


def call(job: int, *users: str) -> Call:
    return Call(job, "s", {"user": Text.of(users)}, len(users))


class Came:
    """Where calls come back to."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Done | BaseException] = SimpleQueue()
        self.tally = Tally()

    def take(self, jobs: int) -> list[CallDone]:
        found = []
        for _ in range(jobs):
            one = self.queue.get(timeout=30)
            if isinstance(one, BaseException):
                raise one
            found.append(one[0])
            self.tally.add(one[1])
        return found


def scores(done: list[CallDone]) -> dict[int, list[object]]:
    assert all(not one.faults for one in done)
    return {one.job: one.columns["score"].to_list() for one in done}


def test_calls_come_back_with_what_redis_holds(server: devredis.DevRedis) -> None:
    client, came = client_of(server), Came()
    client.mset({f"user:u{n}": n for n in range(50)})
    calls = RedisCalls("s", settings())
    for job in range(40):
        calls.begin(call(job, f"u{job}", "absent"), came.queue.put)
    assert scores(came.take(40)) == {job: [job, -1.0] for job in range(40)}
    assert (came.tally.calls, came.tally.rows, came.tally.failed) == (40, 80, 0)
    calls.close()
    assert came.queue.empty()
    client.close()


def test_a_server_that_stands_still_keeps_nobody_waiting_beyond_the_timeout(server: devredis.DevRedis) -> None:
    client, came = client_of(server), Came()
    client.set("user:a", 7)
    calls = RedisCalls("s", settings(1_000, ttl_ms=0, failures_max=100))
    calls.begin(call(1, "a"), came.queue.put)
    assert scores(came.take(1)) == {1: [7]}
    os.kill(server.pid, signal.SIGSTOP)
    for job in range(2, 22):  # one after the other they would take 20 times as long
        calls.begin(call(job, "a", "b"), came.queue.put)
    assert scores(came.take(20)) == {job: [-1, -1] for job in range(2, 22)}
    assert calls.lookup.stats.overdue >= 2 * 18
    assert (came.tally.rows, came.tally.failed, came.tally.defaulted) == (41, 40, 40)
    os.kill(server.pid, signal.SIGCONT)
    until = time.monotonic() + 30
    for job in range(100, 10_000):
        calls.begin(call(job, "a"), came.queue.put)
        if scores(came.take(1)) == {job: [7]}:
            break
        assert time.monotonic() < until
    calls.close()
    assert came.queue.empty(), "nothing comes back twice"
    client.close()


def test_strict_tells_the_fault_to_whoever_waits(server: devredis.DevRedis) -> None:
    devredis.stop(server)
    calls, came = RedisCalls("s", settings(), strict=True), Came()
    calls.begin(call(1, "a"), came.queue.put)
    with pytest.raises(EnvironmentMissing, match="deterministic"):
        came.take(1)
    calls.close()


def test_nothing_is_begun_where_nothing_is_asked(server: devredis.DevRedis) -> None:
    RedisCalls("s", settings()).close()
