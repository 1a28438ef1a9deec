"""edge.redis_client: one connection to Redis, and when it is left alone. secrets → *redis_client* → redis_lookup, redis_store."""

from __future__ import annotations

from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from stream_infer.edge.secrets import resolved
from stream_infer.errors import EnvironmentMissing
from stream_infer.online_settings import RedisSettings

# Whatever may come of a round trip when Redis is away, slow, full, or not ready.
FAULTS = (RedisError, OSError)


def connect(settings: RedisSettings, what: str) -> redis.Redis:
    """A client that tries nothing twice: who calls decides when to ask again. what: the stage. EnvironmentMissing for a bad address.

    The address is the operator's, so it may hold a password: no message repeats it.
    """
    url = resolved({f"{what}.redis.url": settings.url})[f"{what}.redis.url"]
    seconds = settings.timeout_ms / 1000
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=seconds,
            socket_connect_timeout=max(seconds, 0.25),
            retry=Retry(NoBackoff(), 0),
            single_connection_client=False,
            max_connections=2,
            protocol=2,
        )
    except (ValueError, TypeError) as error:
        raise EnvironmentMissing(
            f"{what}: the address of Redis cannot be used",
            got=f"(not shown; {type(error).__name__})",
            expected="redis://[[user]:password@]host:port/database, rediss://… or unix://…",
            fix=f"correct what {settings.url} holds",
        ) from None


def reason(error: BaseException) -> str:
    """A fault in a few words, for a metric's label: timeout, refused, loading, memory or error."""
    if isinstance(error, redis.exceptions.TimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return "loading"
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return "memory"
    return "refused" if isinstance(error, redis.exceptions.ConnectionError | OSError) else "error"


@dataclass(slots=True)
class Breaker:
    """After failures_max failures in a row nothing is asked for retry_s, then once; each failure of that one doubles the wait.

    A clock's seconds are given to each call.
    """

    failures_max: int
    retry_s: float
    retry_s_max: float
    failures: int = 0
    open_until: float | None = None
    wait_s: float = 0.0

    def allows(self, now: float) -> bool:
        """Whether to ask."""
        return self.open_until is None or now >= self.open_until

    def succeeded(self) -> None:
        """An answer came."""
        self.failures, self.open_until, self.wait_s = 0, None, 0.0

    def failed(self, now: float) -> None:
        """None came."""
        self.failures += 1
        if self.failures >= self.failures_max:
            self.wait_s = min(self.wait_s * 2 or self.retry_s, self.retry_s_max)
            self.open_until = now + self.wait_s
