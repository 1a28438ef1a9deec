"""topology.spec_online: what may be said of Redis: answers kept there, values looked up there. spec_names → *spec_online* → spec."""

from __future__ import annotations

from stream_infer.online_settings import FORMS
from stream_infer.topology.shape import Setting, choice, either, integer, listing, number, place, section, text
from stream_infer.topology.spec_names import DECIDER, FIELD, KEYS, KIND_DOC, SECONDS

_URL = Setting(
    "url",
    either(text(), section("secret")),
    "where its address is read when a worker starts, such as redis://host:6379/0: it may hold a password, and each place has its own",
    "{env: REDIS_URL}",
    required=True,
)
_TIMEOUT = integer(low=1, high=600_000)

ONLINE = (
    place(
        "redis.lookup",
        "a redis to look up in",
        "Where other systems keep what they know of a row, and how it is asked: once per chunk, each key once.",
        _URL,
        Setting("key", text(), "the Redis key of a row, its fields in braces", "user:{user_id}", required=True),
        Setting(
            "as",
            choice(*FORMS),
            "what lies there: a hash whose fields are taken, a text that is a JSON object, or a text that is the number",
            "json",
            default="hash",
        ),
        Setting("timeout_ms", _TIMEOUT, "rows wait at most so long, then go on with the values in `take`", "20", default=50),
        Setting(
            "cache_s",
            number(low=0, high=1e9),
            "what was read counts for so long, that a key is absent too (0: ask each time)",
            "5",
            default=60,
        ),
        Setting("cache_keys_max", KEYS, "so many keys are remembered; the one asked for longest ago goes first", "100000", default=100_000),
    ),
    place(
        "redis.store",
        "a redis to write to",
        "Where others find answers. It is written behind the run, never in its way.",
        _URL,
        Setting("timeout_ms", _TIMEOUT, "how long one write may take before it is tried again", "1000", default=1000),
    ),
    place(
        "stage.store",
        "a store stage",
        "The newest committed answer of each key is kept in Redis as a hash, for others to read.",
        Setting("kind", choice("store"), KIND_DOC, "store", required=True),
        Setting("from", DECIDER, "whose answers, as its emit stage writes them", "eta", required=True),
        Setting("redis", section("redis.store"), "where they go", "{url: {env: REDIS_URL}}", required=True),
        Setting("key", text(), "the Redis key of an answer, fields in braces", "eta:{prediction_id}", required=True),
        Setting(
            "fields",
            listing(FIELD, at_least=1),
            "fields of predictions and carried columns (features, say), by their names; absent ones are left out",
            "[answer, model_version]",
            required=True,
        ),
        Setting("ttl_s", SECONDS, "a key is gone so long after the record it was written from (default: never)", "86400"),
    ),
)
