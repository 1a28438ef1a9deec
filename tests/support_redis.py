"""What tests of a real Redis share: a server of the session, emptied for each test."""

from __future__ import annotations

from typing import Any, cast

import redis

from stream_infer.edge.devredis import DevRedis
from stream_infer.online_settings import KeyTemplate, RedisSettings, StoreSettings


def client_of(server: DevRedis) -> Any:
    """Untyped on purpose: redis-py says of every answer that it may be awaited."""
    return cast("Any", redis.Redis.from_url(server.url, socket_timeout=10.0, protocol=2))


def store_settings(*fields: str, key: str = "eta:{user}", ttl_ms: int | None = None) -> StoreSettings:
    return StoreSettings(RedisSettings("${env:TEST_REDIS_URL}", 5_000), KeyTemplate.of(key), fields, ttl_ms)


def contents(client: Any, pattern: str = "*") -> dict[bytes, dict[bytes, bytes]]:
    """All hashes by key."""
    return {key: client.hgetall(key) for key in sorted(client.scan_iter(pattern, count=1000))}
