"""topology.build_online: what stages say of Redis, as settings. values → *build_online* → build, build_steps."""

from __future__ import annotations

from stream_infer.online_settings import KeyTemplate, RedisLookupSettings, RedisSettings, StoreSettings
from stream_infer.topology.build_settings import ms, numbers_taken
from stream_infer.topology.client import reference_to
from stream_infer.topology.plan import StorePlan
from stream_infer.topology.values import Section, Spec


def redis_lookup_settings(stage: Section) -> RedisLookupSettings:
    """Settings of a lookup stage with `redis`."""
    redis = stage.section("redis")
    assert redis is not None
    return RedisLookupSettings(
        redis=_redis(redis),
        key=KeyTemplate.of(redis.text("key")),
        form=redis.text("as"),
        take=numbers_taken(stage),
        ttl_ms=round(redis.number("cache_s") * 1000),
        cached_max=redis.integer("cache_keys_max"),
    )


def store_plans(spec: Spec) -> tuple[StorePlan, ...]:
    """The store stages, in the order of the file."""
    streams = {emit.text("from"): emit.text("to") for _, emit in spec.stages_of("emit")}
    return tuple(StorePlan(name, streams[stage.text("from")], _store(stage)) for name, stage in spec.stages_of("store"))


def _store(stage: Section) -> StoreSettings:
    redis = stage.section("redis")
    assert redis is not None
    return StoreSettings(_redis(redis), KeyTemplate.of(stage.text("key")), stage.texts("fields"), ms(stage, "ttl_s"))


def _redis(redis: Section) -> RedisSettings:
    url = redis.section("url")
    assert url is not None
    return RedisSettings(reference_to(url), redis.integer("timeout_ms"))
