"""Look-ups answered by what a test says: as Redis would have answered them."""

from __future__ import annotations

from stream_infer.edge.redis_held import held
from stream_infer.flow.commands import Call
from stream_infer.online_settings import KeyTemplate, RedisLookupSettings, RedisSettings
from stream_infer.records import Text

SETTINGS = RedisLookupSettings(RedisSettings("${env:NONE}"), KeyTemplate.of("user:{user}"), "string", (("score", -1.0),))


def test_what_a_test_says_that_redis_holds_is_found_and_nothing_else() -> None:
    answer = held(SETTINGS, {"user:a": {"score": 2.0}, "user:b": {}})
    done = answer(Call(3, "s", {"user": Text.of(["a", "b", "c", None])}, 4))
    assert (done.job, done.faults, done.columns["score"].to_list()) == (3, {}, [2.0, -1.0, -1.0, -1.0])
    assert held(SETTINGS, {})(Call(4, "s", {"user": Text.of([])}, 0)).columns["score"].to_list() == []
