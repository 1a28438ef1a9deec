"""Look-ups: what Redis holds reaches the rows; Redis that is away, slow, emptied or wrong changes values, and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge import devredis
from stream_infer.edge.devredis import DevRedis
from stream_infer.edge.redis_lookup import RedisLookup
from stream_infer.errors import EnvironmentMissing
from stream_infer.online_settings import KeyTemplate, RedisLookupSettings, RedisSettings
from stream_infer.records import Column, Numbers, Text
from tests.support_redis import client_of

TAKE = (("score", 0.5), ("age", float("nan")))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def client(redis_server: DevRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("TEST_REDIS_URL", redis_server.url)
    found = client_of(redis_server)
    found.flushall()
    yield found
    found.close()


def settings(form: str = "hash", key: str = "user:{user}", **more: Any) -> RedisLookupSettings:
    take = TAKE[:1] if form == "string" else TAKE
    return RedisLookupSettings(RedisSettings("${env:TEST_REDIS_URL}", 500), KeyTemplate.of(key), form, take, **more)


def users(*names: str | None) -> dict[str, Column]:
    return {"user": Text.of(list(names))}


def scores(columns: dict[str, Column]) -> list[object]:
    return columns["score"].to_list()


def test_each_form_gives_its_numbers_and_the_defaults_for_the_rest(client: Any) -> None:
    client.hset("user:a", mapping={"score": "1.5", "age": "7"})
    client.hset("user:b", mapping={"score": "many", "other": "1"})
    client.hset("user:c", mapping={"other": "1"})
    rows = users("a", "b", "c", None, "a", "absent")
    lookup = RedisLookup("s", settings())
    found = lookup.answer(rows, 6)
    assert scores(found) == [1.5, 0.5, 0.5, 0.5, 1.5, 0.5]
    np.testing.assert_array_equal(found["age"].to_list(), [7, np.nan, np.nan, np.nan, 7, np.nan])
    client.flushall()
    for name, value in {"a": orjson.dumps({"score": 2, "age": "8"}), "b": b"[1]", "c": b"{"}.items():
        client.set(f"user:{name}", value)
    assert scores(RedisLookup("s", settings("json")).answer(rows, 6)) == [2, 0.5, 0.5, 0.5, 2, 0.5]
    client.set("user:a", "-3e2")
    assert scores(RedisLookup("s", settings("string")).answer(rows, 6)) == [-300, 0.5, 0.5, 0.5, -300, 0.5]


def test_a_key_of_another_type_spoils_no_neighbour(client: Any) -> None:
    client.set("user:a", "a string")
    client.hset("user:b", "score", 4)
    lookup = RedisLookup("s", settings())
    assert scores(lookup.answer(users("a", "b"), 2)) == [0.5, 4]
    assert lookup.stats.rows["wrong"] == 1
    client.rpush("user:list", 1)
    assert scores(RedisLookup("s", settings("string")).answer(users("list"), 1)) == [0.5]


def test_keys_of_several_fields_and_of_numbers(client: Any) -> None:
    client.hset("u:7/x:-1", "score", 1)
    lookup = RedisLookup("s", settings(key="u:{user}/x:{item}"))
    columns: dict[str, Column] = {"user": Numbers(np.array([7, 7])), "item": Numbers(np.array([-1, 2]))}
    assert scores(lookup.answer(columns, 2)) == [1, 0.5]


def test_a_value_is_asked_for_again_when_its_time_is_over_and_an_absent_one_too(client: Any) -> None:
    clock = Clock()
    lookup = RedisLookup("s", settings(ttl_ms=1000), clock=clock)
    client.hset("user:a", "score", 1)
    assert scores(lookup.answer(users("a", "b"), 2)) == [1, 0.5]
    client.hset("user:a", "score", 2)
    client.hset("user:b", "score", 3)
    clock.now += 0.999
    assert scores(lookup.answer(users("a", "b"), 2)) == [1, 0.5]
    clock.now += 0.001
    assert scores(lookup.answer(users("a", "b"), 2)) == [2, 3]
    assert lookup.stats.trips == {"ok": 2}
    assert lookup.stats.rows == {"found": 3, "absent": 1, "cached": 2}


def commands(client: Any, kind: str) -> int:
    return int(client.info("commandstats").get(f"cmdstat_{kind}", {"calls": 0})["calls"])


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20), max_size=8), st.integers(0, 4))
def test_each_key_is_asked_once_a_chunk_and_the_cache_is_bounded(redis_server: DevRedis, chunks: list[list[str]], cached_max: int) -> None:
    """Against a cache of one rule: the key asked for longest ago goes first."""
    os.environ["TEST_REDIS_URL"] = redis_server.url
    client = client_of(redis_server)
    client.flushall()
    client.config_resetstat()
    for name in "abcd":
        client.hset(f"user:{name}", "score", ord(name))
    lookup = RedisLookup("s", settings(cached_max=cached_max), clock=Clock())
    held: list[str] = []
    asked = 0
    for chunk in chunks:
        assert scores(lookup.answer(users(*chunk), len(chunk))) == [ord(name) if name in "abcd" else 0.5 for name in chunk]
        fresh = [name for name in dict.fromkeys(chunk) if name not in held]
        asked += len(fresh)
        held = (held + fresh)[-cached_max:] if cached_max else []
        assert len(lookup._cache) == len(held)
    assert commands(client, "hmget") == asked
    lookup.close()
    client.close()


def test_redis_that_comes_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Away, back, stopped in mid-air, going on, emptied: rows always have values, and the breaker spares the waiting."""
    clock = Clock()
    port = devredis.free_port()
    monkeypatch.setenv("TEST_REDIS_URL", f"redis://127.0.0.1:{port}/0")
    more = {"ttl_ms": 0, "failures_max": 2, "retry_ms": 1000, "retry_ms_max": 3000}
    lookup = RedisLookup("s", settings(**more), clock=clock)
    for _ in range(4):
        assert scores(lookup.answer(users("a"), 1)) == [0.5]
    assert lookup.stats.trips == {"refused": 2, "spared": 2}
    assert lookup.stats.is_open
    with devredis.running(port) as server:
        client = client_of(server)
        client.hset("user:a", "score", 9)
        assert scores(lookup.answer(users("a"), 1)) == [0.5]  # left alone still
        clock.now += 1.0
        assert scores(lookup.answer(users("a"), 1)) == [9]
        assert not lookup.stats.is_open
        os.kill(server.pid, signal.SIGSTOP)
        for _ in range(3):
            assert scores(lookup.answer(users("a"), 1)) == [0.5]
        assert lookup.stats.trips["timeout"] == 2
        clock.now += 1.0
        assert scores(lookup.answer(users("a"), 1)) == [0.5]  # one attempt, and twice the wait
        assert lookup.stats.trips["timeout"] == 3
        os.kill(server.pid, signal.SIGCONT)
        clock.now += 1.9
        assert scores(lookup.answer(users("a"), 1)) == [0.5]
        clock.now += 0.1
        assert scores(lookup.answer(users("a"), 1)) == [9]  # and no answer of a question before
        client.flushall()
        assert scores(lookup.answer(users("a"), 1)) == [0.5]
        client.close()
    assert lookup.stats.rows == {"defaulted": 10, "found": 2, "absent": 1}
    lookup.close()


def test_strict_ends_the_run_where_redis_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_REDIS_URL", f"redis://127.0.0.1:{devredis.free_port()}/0")
    with pytest.raises(EnvironmentMissing, match="stage s: Redis does not answer"):
        RedisLookup("s", settings(), strict=True).answer(users("a"), 1)


def test_an_address_that_is_none_is_told_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_REDIS_URL", "http://secret@somewhere")
    with pytest.raises(EnvironmentMissing) as told:
        RedisLookup("s", settings())
    assert "secret" not in str(told.value)
    monkeypatch.delenv("TEST_REDIS_URL")
    with pytest.raises(EnvironmentMissing, match="TEST_REDIS_URL"):
        RedisLookup("s", settings())


def test_no_rows_is_no_trip(client: Any) -> None:
    lookup = RedisLookup("s", settings())
    assert scores(lookup.answer(users(), 0)) == []
    assert lookup.stats.trips == {}
