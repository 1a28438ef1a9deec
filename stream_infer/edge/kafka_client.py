"""kafka client: which settings the Kafka clients get, and which of them a topology may name. *kafka_client* → consume, transactions, kafka.

A Kafka client can load code, run shell commands and read files by its settings alone, so a topology names only those that are
listed here; everything that the guarantees rest on is set by us and cannot be overridden.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, cast, get_args

from stream_infer.edge.kafka_native import Native
from stream_infer.errors import EnvironmentMissing

log = logging.getLogger("stream_infer.kafka")
GroupProtocol = Literal["classic", "consumer"]
OnError = Callable[[Any], None]
OnStatistics = Callable[[str], None] | None

CONNECTION_ALLOWED = frozenset(
    [
        "broker.address.family",
        "client.id",
        "client.rack",
        "metadata.max.age.ms",
        "reconnect.backoff.max.ms",
        "reconnect.backoff.ms",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.oauthbearer.config",
        "sasl.password",
        "sasl.username",
        "security.protocol",
        "socket.connection.setup.timeout.ms",
        "socket.keepalive.enable",
        "socket.receive.buffer.bytes",
        "socket.send.buffer.bytes",
        "socket.timeout.ms",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.crl.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.keystore.location",
        "ssl.keystore.password",
    ]
)
CONSUMER_ALLOWED = frozenset(
    [
        "fetch.max.bytes",
        "fetch.min.bytes",
        "fetch.wait.max.ms",
        "max.partition.fetch.bytes",
        "queued.max.messages.kbytes",
        "queued.min.messages",
    ]
)
PRODUCER_ALLOWED = frozenset(
    [
        "batch.num.messages",
        "batch.size",
        "compression.level",
        "compression.type",
        "linger.ms",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
    ]
)
BOTH_ALLOWED = frozenset({"message.max.bytes", "receive.message.max.bytes", "statistics.interval.ms"})
CLIENT_ALLOWED = CONNECTION_ALLOWED | CONSUMER_ALLOWED | PRODUCER_ALLOWED | BOTH_ALLOWED


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How one worker slot speaks to Kafka.

    group: consumer group. transactional_id: stable for the slot (`{app}.{slot}`), so that a restart ends what a crash left open:
    0.6 s, against 20 to 39 s of stalled readers with a fresh id per start. client: settings of librdkafka, those of CLIENT_ALLOWED.
    """

    bootstrap: str
    group: str
    transactional_id: str
    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    client: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold a password
    # "consumer" (KIP-848, for brokers from 4.3): a change of the group stops only the partitions that move; "classic" stops all of them.
    # From 4.0 on it works, but a commit under way while the member's epoch moves aborts there, for all that an older epoch says is refused.
    group_protocol: GroupProtocol = field(default_factory=lambda: group_protocol_of(os.environ))
    session_timeout_ms: int = 10_000  # a silent member is given up after this; as the broker admits it with "consumer", see kafka_group
    poll_gap_ms_max: int = 300_000  # a worker that polls less often than this loses its partitions
    transaction_timeout_ms: int = 30_000
    fetch_wait_ms_max: int = 20  # how long the broker holds an empty fetch: also how late the end of a transactional partition is known
    connect_wait_s_max: float = 5.0
    statistics_ms: int = 0  # 0: none
    # Whether records pass through librdkafka's C interface: "auto" where that is known to work, else "off" or "require".
    native: Native = field(default_factory=lambda: native_of(os.environ))


def native_of(environ: Mapping[str, str]) -> Native:
    """What STREAM_INFER_NATIVE says of the C interface; "auto" where it says nothing. EnvironmentMissing when it is another word."""
    return cast("Native", _word(environ, "STREAM_INFER_NATIVE", get_args(Native), "no such way to reach librdkafka"))


def group_protocol_of(environ: Mapping[str, str]) -> GroupProtocol:
    """What STREAM_INFER_GROUP_PROTOCOL says; "classic" where it says nothing. EnvironmentMissing when it is another word."""
    return cast("GroupProtocol", _word(environ, "STREAM_INFER_GROUP_PROTOCOL", get_args(GroupProtocol), "no such group protocol"))


def _word(environ: Mapping[str, str], name: str, known: Sequence[str], problem: str) -> str:
    """The first of the known words where nothing is said."""
    word = environ.get(name, known[0])
    if word in known:
        return word
    raise EnvironmentMissing(problem, got=f"{name}={word}", expected=" or ".join([", ".join(known[:-1]), known[-1]]))


def check_client(client: Mapping[str, str]) -> None:
    """EnvironmentMissing, naming the nearest admitted setting, when a client setting is not among CLIENT_ALLOWED."""
    for name in sorted(client):
        if name not in CLIENT_ALLOWED:
            near = get_close_matches(name, CLIENT_ALLOWED, n=1)
            raise EnvironmentMissing(
                f"the Kafka client setting {name} is not admitted",
                got=name,
                expected=f"one of {', '.join(sorted(CLIENT_ALLOWED))}",
                fix=f"did you mean {near[0]}?" if near else "leave it out: settings that load code or change the guarantees are ours",
            )


def connection(bootstrap: str, client: Mapping[str, str]) -> dict[str, Any]:
    """Settings of any client that only asks and administers."""
    check_client(client)
    # By default a client tries again only every ten seconds once a broker has been away for long.
    return {"bootstrap.servers": bootstrap, "logger": log, "reconnect.backoff.max.ms": 1000, **_only(client, CONNECTION_ALLOWED)}


def member(settings: KafkaSettings, on_error: OnError, on_statistics: OnStatistics = None) -> dict[str, Any]:
    """Settings of the consumer in the group."""
    out = consumer(settings, on_error, on_statistics)
    if settings.group_protocol == "consumer":
        for classic in ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"):
            del out[classic]  # librdkafka refuses them beside the new protocol
        # The broker's range keeps equal partition numbers together too, and moves as few as it can.
        out |= {"group.protocol": "consumer", "group.remote.assignor": "range"}
    return out


def consumer(settings: KafkaSettings, on_error: OnError, on_statistics: OnStatistics = None) -> dict[str, Any]:
    """Settings of the consumers that read single partitions, and of the classic group's member."""
    ours = {
        "group.id": settings.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        # A missing offset is an error: librdkafka's default skips to the end without a word.
        "auto.offset.reset": "error",
        # Range gives equal partition numbers of equally partitioned topics to one member, which is what makes joins local.
        "partition.assignment.strategy": "range",
        "session.timeout.ms": settings.session_timeout_ms,
        # A member hears of a rebalance by its next heartbeat: at a fifth of the session it took 3 s until two shared a topic.
        "heartbeat.interval.ms": heartbeat_ms(settings),
        "max.poll.interval.ms": poll_gap_ms(settings),
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
    }
    defaults = {
        # librdkafka waits 1000 ms before it asks again once its queue was full: 165 k/s instead of 722 k/s.
        "fetch.queue.backoff.ms": 2,
        "fetch.wait.max.ms": settings.fetch_wait_ms_max,
        "queued.min.messages": 50_000,
        "queued.max.messages.kbytes": 65_536,
        "retry.backoff.ms": 5,
    }
    return _client(settings, defaults, CONSUMER_ALLOWED, ours, on_error, on_statistics)


def poll_gap_ms(settings: KafkaSettings) -> int:
    """How long a member may not poll before it puts itself out of the group."""
    return max(settings.poll_gap_ms_max, settings.session_timeout_ms)


def heartbeat_ms(settings: KafkaSettings) -> int:
    """How often a member says that it is there, and hears of the others."""
    return min(settings.session_timeout_ms // 5, 500)


def transactional_ids(first: str) -> tuple[str, str]:
    """Of the two producers that take turns, see kafka_alternating. Whoever takes a slot over takes over both."""
    return first, f"{first}~2"


def producer(settings: KafkaSettings, on_error: OnError, on_statistics: OnStatistics = None) -> dict[str, Any]:
    """Settings of the producer, transactional with exactly_once."""
    ours: dict[str, Any] = {
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",  # what Java's clients do: equal keys meet in one partition, whoever wrote them
        # Whoever adds partitions while the markers of his last transaction are still written hears CONCURRENT_TRANSACTIONS, and librdkafka
        # sleeps this long, by default 100: transactions in a row 112 → 8 ms each. Producers that take turns meet it rarely.
        "retry.backoff.ms": 2,
        "retry.backoff.max.ms": 50,
        "delivery.timeout.ms": settings.transaction_timeout_ms,  # must not exceed the transaction's
    }
    exactly_once = settings.guarantee == "exactly_once"
    if exactly_once:
        ours |= {"transactional.id": settings.transactional_id, "transaction.timeout.ms": settings.transaction_timeout_ms}
    defaults = {
        # Neither guarantee waits for it while there is little to do. At least once a push sends what there is (see kafka_pushing), and 5 ms
        # hold at full load: 1 ms cost 6 % more here and 5 to 25 % more in the broker, 0 twice as much there. In a transaction nothing is
        # seen before its end, which begins with a flush: full batches cost 8 % less here and 10 % less in the broker than those of 1 ms.
        "linger.ms": 50 if exactly_once else 5,
        # batch.size stays librdkafka's, 1,000,000: by 262,144 records of 8.6 kB cost 12.2 µs and not 10.9, the broker 8.7 and not 7.1
        # (medians of three, by turns), small ones as much.
        "batch.num.messages": 10_000,
        "compression.type": "lz4",  # halves the broker's CPU for nothing measurable here
        # Reports of transactional records are heard when it ends (see kafka_send), so the queue holds all that one sends.
        "queue.buffering.max.messages": 300_000 if exactly_once else 100_000,
        "queue.buffering.max.kbytes": 131_072,
        # What a broker takes by default; librdkafka's 1,000,000 would refuse a repartitioned row of that size for its few bytes more.
        "message.max.bytes": 1_048_576,
    }
    return _client(settings, defaults, PRODUCER_ALLOWED, ours, on_error, on_statistics)


def _client(
    settings: KafkaSettings,
    defaults: dict[str, Any],
    allowed: frozenset[str],
    ours: dict[str, Any],
    on_error: OnError,
    on_statistics: OnStatistics,
) -> dict[str, Any]:
    out = {**connection(settings.bootstrap, settings.client), **defaults, **_only(settings.client, allowed | BOTH_ALLOWED), **ours}
    out["error_cb"] = on_error
    if on_statistics is not None and settings.statistics_ms:
        out |= {"stats_cb": on_statistics, "statistics.interval.ms": settings.statistics_ms}
    return out


def _only(client: Mapping[str, str], allowed: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in client.items() if name in allowed}
