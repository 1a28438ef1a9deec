"""topology.spec_top: the file itself, limits, streams, client settings, tests. spec_names → *spec_top* → spec."""

from __future__ import annotations

from stream_infer.topology.shape import (
    BOOLEAN,
    FREE,
    Setting,
    choice,
    either,
    integer,
    kinds,
    listing,
    mapping,
    number,
    place,
    section,
    text,
)
from stream_infer.topology.spec_names import FIELD, NAME, PATH, TOPIC

TOP = (
    place(
        "topology",
        "the topology",
        "The whole file.",
        Setting(
            "name",
            text(pattern=r"[a-z][a-z0-9_-]{0,63}", words="a name of lower-case letters, digits, _ and -"),
            "the consumer group, and the prefix of every internal topic",
            "flights",
            required=True,
        ),
        Setting("format", integer(low=1, high=1), "the version of this format", "1", required=True),
        Setting("limits", section("limits"), "bounds that hold for each worker", "{rows_in_flight_max: 20000}"),
        Setting(
            "streams",
            mapping(section("stream"), pattern=NAME.pattern, words=NAME.pattern_words, at_least=1),
            "the topics that are read and written",
            "{scheduled: {topic: flights-scheduled}}",
            required=True,
        ),
        Setting(
            "models",
            mapping(
                kinds(
                    linear="model.linear",
                    torch="model.torch",
                    ensemble="model.ensemble",
                    cascade="model.cascade",
                    route="model.route",
                ),
                pattern=NAME.pattern,
                words=NAME.pattern_words,
            ),
            "the models that stages may ask",
            "{ridge: {kind: linear}}",
        ),
        Setting(
            "stages",
            mapping(
                kinds(
                    features="stage.features",
                    lookup="stage.lookup",
                    function="stage.function",
                    model="stage.model",
                    bandit="stage.bandit",
                    split="stage.split",
                    canary="stage.canary",
                    shadow="stage.shadow",
                    feedback="stage.feedback",
                    learn="stage.learn",
                    explain="stage.explain",
                    emit="stage.emit",
                    store="stage.store",
                ),
                pattern=NAME.pattern,
                words=NAME.pattern_words,
                at_least=1,
            ),
            "the steps, each naming with `from` what it reads",
            "{out: {kind: emit, from: eta, to: predictions}}",
            required=True,
        ),
        Setting(
            "client",
            mapping(either(text(), section("secret"))),
            "settings of the Kafka client that the allow-list admits",
            "{security.protocol: SASL_SSL}",
        ),
        Setting("tests", listing(section("test")), "examples that `stream-infer test` runs without a broker", "[{name: a late plane}]"),
    ),
    place(
        "limits",
        "limits",
        "Bounds of each worker: reading pauses at them, nothing is dropped.",
        Setting(
            "rows_in_flight_max",
            integer(low=1, high=10_000_000),
            "reading pauses while this many rows are unanswered",
            "20000",
            default=20_000,
        ),
        Setting(
            "wait_ms_max",
            integer(low=0, high=3_600_000),
            "how long rows wait for an input that is behind, so that rows of several streams meet in event-time order",
            "200",
            default=200,
        ),
    ),
    place(
        "stream",
        "a stream",
        "One topic of rows of one schema. A stream that an emit stage writes has only topic, partitions, format and framing.",
        Setting("topic", TOPIC, "the Kafka topic", "flights-scheduled", required=True),
        Setting("schema", PATH, "the Avro schema of its rows: a path relative to this file", "schemas/scheduled.avsc"),
        Setting(
            "schema_ids",
            mapping(PATH, pattern=r"[0-9]{1,10}", words="the id of a schema in the registry, such as 17"),
            "older writers' schemas, by the id their records carry",
            "{17: schemas/scheduled-1.avsc}",
        ),
        Setting("partitions", integer(low=1, high=10_000), "how many partitions the topic has", "4", required=True),
        Setting("key", FIELD, "the field that the record key repeats; its rows of one key share a partition", "origin"),
        Setting("id", FIELD, "the text field that names a row; it becomes prediction_id (default: topic-partition-offset)", "flight_id"),
        Setting(
            "event_time", FIELD, "the field (ms since 1970) that says when it happened (default: the record's timestamp)", "announced_at_ms"
        ),
        Setting(
            "decide_at",
            section("decide_at"),
            "rows wait in event time until a moment that they name themselves",
            "{field: departs_at_ms, lead_s: 1800}",
        ),
        Setting(
            "format",
            choice("avro", "json", "faust"),
            "how values are encoded; faust: the changelog of a Faust table, whose record key fills the field `key` (only read)",
            "avro",
            default="avro",
        ),
        Setting(
            "framing",
            choice("confluent", "header", "bare"),
            "where the schema id stands: 5 bytes before the value, a header, nowhere",
            "confluent",
            default="confluent",
        ),
        Setting(
            "late_after_ms",
            integer(low=0, high=10**12),
            "rows further than this behind the newest row of their partition are rejected (default: none is)",
            "30000",
        ),
        Setting(
            "future_after_ms",
            integer(low=0, high=10**12),
            "rows dated further than this after their record's timestamp are rejected (default: none is)",
            "3600000",
        ),
        Setting("compacted", BOOLEAN, "whether the topic keeps only the newest record of each key, as a table does", "true", default=False),
        Setting(
            "record_bytes_max",
            integer(low=1, high=100_000_000),
            "larger records are rejected before they are decoded",
            "1000000",
            default=1_000_000,
        ),
    ),
    place(
        "decide_at",
        "decide_at",
        "When a row is answered, if not at once.",
        Setting("field", FIELD, "a field of the stream, in ms since 1970", "departs_at_ms", required=True),
        Setting("lead_s", number(low=0, high=1e9), "so many seconds before it", "1800", default=0),
    ),
)

REST = (
    place(
        "secret",
        "a value from outside",
        "Where the value is read when a worker starts; it is never printed.",
        Setting(
            "env",
            text(pattern=r"[A-Za-z_][A-Za-z0-9_]*", words="the name of an environment variable"),
            "an environment variable",
            "KAFKA_PASSWORD",
            one_of_these=True,
        ),
        Setting("file", text(), "a file, without its last newline", "/run/secrets/kafka_password", one_of_these=True),
    ),
    place(
        "test",
        "a test",
        "Rows in, predictions out, without a broker.",
        Setting("name", text(), "what must be true, as a sentence", "a late plane makes a late arrival", required=True),
        Setting(
            "given",
            mapping(either(listing(FREE), PATH), at_least=1),
            "rows per stream, or the path of a .jsonl file",
            "{scheduled: [{flight_id: UA1}]}",
            required=True,
        ),
        Setting(
            "expect",
            mapping(listing(FREE), at_least=1),
            "rows per written stream; a number may be {near: 35, within: 10}",
            "{predictions: [{answer: {near: 35, within: 10}}]}",
            required=True,
        ),
    ),
)
