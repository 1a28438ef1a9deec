"""edge.redis_lookup: what other systems keep in Redis about the rows of a chunk. redis_client, redis_keys → *redis_lookup* → redis_calls.

One round trip for all rows at once, each key once, and only for keys that were not asked for a moment ago. Whatever goes wrong, rows go
on with the values that the topology says, and it is counted: Redis that is away, slow or empty makes predictions poorer, not absent.
A deterministic run is `strict`: what should repeat must not depend on whether Redis answered in time, so there a fault ends the run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import orjson
import redis

from stream_infer.edge.redis_client import FAULTS, Breaker, connect, reason
from stream_infer.edge.redis_keys import keys_of
from stream_infer.errors import EnvironmentMissing
from stream_infer.online_settings import RedisLookupSettings, number_of
from stream_infer.records import Column, Numbers

Values = tuple[float, ...]
Known = dict[bytes | None, Values | None]  # by key; None: nothing is there
# What became of rows, as metrics tell it.
CACHED, FOUND, ABSENT, DEFAULTED, WRONG = "cached", "found", "absent", "defaulted", "wrong"


@dataclass(slots=True)
class LookupStats:
    """Totals since the start. rows: by what became of them; trips: by how they ended; seconds: of the trips since they were drained.

    overdue: rows that had gone on before their answer came; whoever gave them up counts them.
    """

    rows: dict[str, int] = field(default_factory=dict)
    trips: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    is_open: bool = False
    overdue: int = 0

    def count(self, into: dict[str, int], name: str, count: int = 1) -> None:
        """So many more."""
        if count:
            into[name] = into.get(name, 0) + count


class RedisLookup:
    """One lookup stage. clock: seconds, monotone. Used by one thread at a time. EnvironmentMissing for an address that cannot be used."""

    def __init__(
        self, name: str, settings: RedisLookupSettings, *, strict: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name, self.settings, self.stats = name, settings, LookupStats()
        self._strict, self._clock = strict, clock
        self._client: Any = cast("Any", connect(settings.redis, f"stage {name}"))  # redis-py says of every answer that it may be awaited
        self._breaker = Breaker(settings.failures_max, settings.retry_ms / 1000, settings.retry_ms_max / 1000)
        self._defaults = settings.defaults()
        self._names = [column.encode() for column in settings.columns()]
        self._cache: dict[bytes | None, tuple[float, Values | None]] = {}  # in the order of expiry; None: no such key

    def answer(self, columns: Mapping[str, Column], count: int) -> dict[str, Column]:
        """The columns taken, for `count` rows. columns: the fields of the key. Never fails, unless strict: then EnvironmentMissing."""
        keys = keys_of(self.settings.key, columns, escaped=False)
        now = self._clock()
        known: Known = {}
        asked: list[bytes] = []
        for key in dict.fromkeys(keys):
            held = self._cache.get(key) if key is not None else None
            if held is not None and held[0] > now:
                known[key] = held[1]
            elif key is not None:
                asked.append(key)
        fresh = self._asked(asked, now) if asked else {}
        self._count(keys, known, fresh)
        found = {**known, **fresh}
        rows = [found.get(key) or self._defaults for key in keys]
        return self._columns(np.array(rows, dtype=np.float64).reshape(count, len(self._defaults)))

    def defaults(self, count: int) -> dict[str, Column]:
        """The columns where nothing is known. May be called by any thread."""
        return self._columns(np.tile(np.array(self._defaults, dtype=np.float64), (count, 1)))

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _columns(self, matrix: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Column]:
        return {name: Numbers(np.ascontiguousarray(matrix[:, place])) for place, name in enumerate(self.settings.columns())}

    def _asked(self, keys: list[bytes], now: float) -> Known:
        """What Redis says of keys; {} where it says nothing."""
        if not self._breaker.allows(now):
            self.stats.count(self.stats.trips, "spared")
            return {}
        try:
            found = self._trip(keys)
        except FAULTS as error:
            if self._strict:
                what = f"stage {self.name}: Redis does not answer, and a deterministic run goes on with nothing else"
                got = f"{type(error).__name__} ({reason(error)})"
                raise EnvironmentMissing(what, got=got, fix="start it, or raise timeout_ms") from error
            self._breaker.failed(self._clock())
            self.stats.count(self.stats.trips, reason(error))
            self.stats.is_open = self._breaker.open_until is not None
            return {}
        self._breaker.succeeded()
        self.stats.is_open = False
        self.stats.count(self.stats.trips, "ok")
        self.stats.seconds.append(self._clock() - now)
        self._keep(found, now)
        return found

    def _keep(self, found: Known, now: float) -> None:
        if self.settings.ttl_ms == 0 or self.settings.cached_max == 0:
            return
        until, cache = now + self.settings.ttl_ms / 1000, self._cache
        for key, values in found.items():
            cache.pop(key, None)  # to the end of the order
            cache[key] = (until, values)
        while len(cache) > self.settings.cached_max:
            del cache[next(iter(cache))]

    def _trip(self, keys: list[bytes]) -> Known:
        if self.settings.form == "hash":
            with self._client.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.hmget(key, self._names)
                answers = pipeline.execute(raise_on_error=False)
            return {key: self._of_hash(answer) for key, answer in zip(keys, answers, strict=True)}
        read = self._of_json if self.settings.form == "json" else self._of_string
        return {key: read(answer) for key, answer in zip(keys, self._client.mget(keys), strict=True)}

    def _of_hash(self, answer: object) -> Values | None:
        """A hash's fields; a key that is no hash counts as absent, and is told apart in the metrics."""
        if isinstance(answer, redis.exceptions.ResponseError) and str(answer).startswith("WRONGTYPE"):
            self.stats.count(self.stats.rows, WRONG)
            return None
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, list)
        return None if all(value is None for value in answer) else self._values(answer)

    def _of_json(self, answer: bytes | None) -> Values | None:
        if answer is None:
            return None
        try:
            found = orjson.loads(answer)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            self.stats.count(self.stats.rows, WRONG)
            return None
        return self._values([found.get(name) for name in self.settings.columns()])

    def _of_string(self, answer: bytes | None) -> Values | None:
        return None if answer is None else self._values([answer])

    def _values(self, found: list[Any]) -> Values:
        numbers = [number_of(value) for value in found]
        return tuple(default if math.isnan(number) else number for number, default in zip(numbers, self._defaults, strict=True))

    def _count(self, keys: list[bytes | None], known: Known, fresh: Known) -> None:
        """Rows by what became of them; those without a key count as absent."""
        asked = [key for key in keys if key not in known]
        found = sum(fresh.get(key) is not None for key in asked)
        silent = sum(key is not None and key not in fresh for key in asked)
        for name, count in ((CACHED, len(keys) - len(asked)), (FOUND, found), (DEFAULTED, silent), (ABSENT, len(asked) - found - silent)):
            self.stats.count(self.stats.rows, name, count)
