"""topology.spec_rows: stages that add columns to rows. spec_names → *spec_rows* → spec."""

from __future__ import annotations

from stream_infer.features.settings import SHAPES
from stream_infer.topology.shape import (
    BOOLEAN,
    Setting,
    choice,
    integer,
    mapping,
    number,
    place,
    section,
    text,
)
from stream_infer.topology.spec_names import FIELD, KEYS, KIND_DOC, NAME, ROWS_FROM, SECONDS


def _aggregate(name: str, doc: str) -> Setting:
    return Setting(name, FIELD, doc, "dep_delay", one_of_these=True)


ROWS = (
    place(
        "stage.features",
        "a features stage",
        "Rows of `kept_from` update windows per key; rows of `from` read them (read first, then update, where both are the same stream).",
        Setting("kind", choice("features"), KIND_DOC, "features", required=True),
        Setting("from", ROWS_FROM, "whose rows read the features", "scheduled", required=True),
        Setting("kept_from", text(names=("stream",)), "whose rows update them (default: the rows of `from` themselves)", "departed"),
        Setting("group_by", FIELD, "the field that is the key", "origin", required=True),
        Setting("kept_by", FIELD, "its name in `kept_from`, where it differs", "airport"),
        Setting(
            "global",
            BOOLEAN,
            "every worker reads the whole of `kept_from`: for streams that are small, or keyed otherwise",
            "true",
            default=False,
        ),
        Setting(
            "values",
            mapping(section("aggregate"), pattern=NAME.pattern, words=NAME.pattern_words, at_least=1),
            "the features, by the name of their column",
            "{delay_mean_1h: {mean: dep_delay, window_s: 3600}}",
            required=True,
        ),
        Setting("keys_max", KEYS, "how many keys are remembered; the least recently updated goes first", "1000000", default=1_000_000),
        Setting("idle_s", SECONDS, "keys without an update for so long are forgotten (default: never)", "86400"),
    ),
    place(
        "aggregate",
        "a feature",
        "One number per key (last_k: k numbers, newest first).",
        Setting("count", BOOLEAN, "how many rows", "true", one_of_these=True),
        _aggregate("sum", "sum of a field"),
        _aggregate("mean", "mean of a field"),
        _aggregate("std", "standard deviation of a field"),
        _aggregate("min", "smallest value of a field"),
        _aggregate("max", "largest value of a field"),
        _aggregate("last", "newest value of a field"),
        _aggregate("last_k", "the k newest values of a field, as columns NAME_1 (newest) to NAME_k"),
        Setting("since_last", BOOLEAN, "seconds since the key's newest row", "true", one_of_these=True),
        Setting("k", integer(low=1, high=1_000), "with last_k: how many", "5"),
        Setting("window_s", SECONDS, "only rows of the last so many seconds count (default: the key's whole life)", "3600"),
        Setting("shape", choice(*SHAPES), "sliding windows end now; tumbling ones start anew every window_s", "sliding", default="sliding"),
        Setting(
            "hops",
            integer(low=1, high=1_000),
            "the tail of a sliding window moves in steps of window_s / hops: more is sharper and larger",
            "12",
            default=12,
        ),
        Setting("decimals", integer(low=0, high=9), "digits after the point that sums keep exactly", "3", default=3),
    ),
    place(
        "stage.lookup",
        "a lookup stage",
        "Rows take fields of the newest row that `table` had for their key at their own time, or what Redis holds for it now.",
        Setting("kind", choice("lookup"), KIND_DOC, "lookup", required=True),
        Setting("from", ROWS_FROM, "whose rows look up", "tail_now", required=True),
        Setting("table", text(names=("stream",)), "the stream that is remembered, by its own key", "weather", one_of_these=True),
        Setting(
            "redis",
            section("redis.lookup"),
            "where other systems keep what is looked up",
            "{url: {env: REDIS_URL}, key: 'user:{user_id}'}",
            one_of_these=True,
        ),
        Setting("key", FIELD, "with `table`: the field of the looking rows that is compared with the table's key", "origin"),
        Setting(
            "global", BOOLEAN, "every worker reads the whole table: for small tables, or tables keyed otherwise", "true", default=False
        ),
        Setting(
            "take",
            mapping(number(nullable=True), at_least=1),
            "numeric fields, each with its value where the key is unknown, or Redis does not answer (null: none)",
            "{wind_mph: 0}",
            required=True,
        ),
        Setting("keys_max", KEYS, "how many keys are remembered; the least recently updated goes first", "1000000", default=1_000_000),
    ),
)
