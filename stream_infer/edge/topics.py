"""topics: what exists on the broker, and making what a topology needs. kafka_client → *topics* → kafka, cli."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from stream_infer.edge.kafka_client import connection
from stream_infer.edge.kafka_errors import error_of, explained
from stream_infer.errors import EnvironmentMissing, StreamInferError

ASK_S = 10.0
CONNECT_S = 5.0  # until a broker that does not answer is told to be absent
SEEN_S_MAX = 10.0  # until a topic that was made is known everywhere
LEFT_S_MAX = 60.0  # until a member that died is given up: 45 s where neither side sets it
_NOT_YET = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NON_EMPTY_GROUP,
    }
)


def check_connection(bootstrap: str, client: Mapping[str, str], wait_s_max: float = CONNECT_S) -> None:
    """EnvironmentMissing, within about wait_s_max seconds, when no broker answers at bootstrap or it refuses us."""
    _partition_counts(bootstrap, client, wait_s_max)


def cluster_id(bootstrap: str, client: Mapping[str, str], wait_s_max: float = CONNECT_S) -> str:
    """The id of the cluster behind bootstrap: compare it before the first write to a cluster that is meant to be a certain one."""
    check_connection(bootstrap, client, wait_s_max)
    return str(AdminClient(connection(bootstrap, client)).cluster_id(timeout=wait_s_max))


def create_topics(bootstrap: str, wanted: Sequence[tuple[str, int, bool]], client: Mapping[str, str]) -> list[str]:
    """Make the topics that are absent; returns their names. wanted: (name, partitions, compacted).

    EnvironmentMissing when one exists with another number of partitions: keys would move, and state with them.
    """
    there = _partition_counts(bootstrap, client, CONNECT_S)
    for name, partitions, _ in wanted:
        if there.get(name, partitions) != partitions:
            raise EnvironmentMissing(
                f"topic {name} has another number of partitions",
                got=str(there[name]),
                expected=str(partitions),
                fix=f"write partitions: {there[name]} in the topology, or delete the topic (and its records)",
            )
    absent = [topic for topic in wanted if topic[0] not in there]
    fresh = [NewTopic(name, partitions, config=_config(name, compacted=compacted)) for name, partitions, compacted in absent]
    if not fresh:
        return []
    admin = AdminClient(connection(bootstrap, client))
    made = []
    for name, future in admin.create_topics(fresh, operation_timeout=ASK_S).items():
        try:
            future.result()
            made.append(name)
        except KafkaException as problem:
            if error_of(problem).code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was quicker
                raise explained(error_of(problem), f"creating topic {name}") from problem
    _wait_for(bootstrap, client, {topic.topic: topic.num_partitions for topic in fresh})
    return made


def delete_topics(bootstrap: str, names: Sequence[str], client: Mapping[str, str]) -> None:
    """Delete topics with all their records, and wait until they are gone; those that are absent already are no error."""
    if not names:
        return
    admin = AdminClient(connection(bootstrap, client))  # held: its futures die with it
    for name, future in admin.delete_topics(list(names), operation_timeout=ASK_S).items():
        try:
            future.result()
        except KafkaException as problem:
            if error_of(problem).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise explained(error_of(problem), f"deleting topic {name}") from problem
    until = time.monotonic() + SEEN_S_MAX
    while time.monotonic() < until and set(names) & set(_partition_counts(bootstrap, client, ASK_S)):
        time.sleep(0.05)


def delete_group(bootstrap: str, group: str, client: Mapping[str, str], wait_s_max: float = LEFT_S_MAX) -> None:
    """Delete a consumer group with its offsets; one that is absent already is no error. EnvironmentMissing when it keeps a member.

    Deleting the topics is not enough: a broker that is still reading its groups after a start only logs that their offsets stay (4.3.0).
    """
    admin = AdminClient(connection(bootstrap, client))
    until = time.monotonic() + wait_s_max
    while True:
        try:
            admin.delete_consumer_groups([group], request_timeout=ASK_S)[group].result()
            return
        except KafkaException as problem:
            error = error_of(problem)
        if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
            return
        if error.code() not in _NOT_YET or time.monotonic() > until:
            break
        time.sleep(0.05)
    if error.code() == KafkaError.NON_EMPTY_GROUP:
        raise EnvironmentMissing(
            f"consumer group {group} cannot be deleted",
            got="a member, still alive",
            expected="nobody who reads in its name",
            fix="end the process that runs this topology; if it is meant to run, start this one on another broker",
        )
    raise explained(error, f"deleting consumer group {group}")


def no_broker(bootstrap: str, error: KafkaError) -> StreamInferError:
    """The sentence for a broker that is not there."""
    return EnvironmentMissing(
        f"no Kafka broker answers at {bootstrap}",
        got=f"{error.name()}: {error.str()}",
        expected="a broker that takes connections there",
        fix="start one (stream-infer broker start), or give another address with --bootstrap; with TLS or SASL, state them under client:",
    )


def _partition_counts(bootstrap: str, client: Mapping[str, str], wait_s_max: float) -> dict[str, int]:
    refused: list[KafkaError] = []
    # Not in librdkafka's words: it repeats them ten times a second, and what matters is in the sentence that follows.
    admin = AdminClient(connection(bootstrap, client) | {"error_cb": refused.append, "log_level": 0})
    try:
        topics = admin.list_topics(timeout=wait_s_max).topics
    except KafkaException as problem:
        admin.poll(0)  # the callbacks tell why: refused, unresolved, denied
        raise no_broker(bootstrap, refused[0] if refused else error_of(problem)) from problem
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}


def _wait_for(bootstrap: str, client: Mapping[str, str], wanted: Mapping[str, int]) -> None:
    until = time.monotonic() + SEEN_S_MAX
    while (there := _partition_counts(bootstrap, client, ASK_S)) and any(there.get(name) != count for name, count in wanted.items()):
        if time.monotonic() > until:
            raise EnvironmentMissing(f"topics {', '.join(wanted)} were made but are not seen", fix="is the controller up?")
        time.sleep(0.05)


def _config(name: str, *, compacted: bool) -> dict[str, str]:
    if name.endswith(".changes"):
        return {"retention.ms": "-1"}  # who changed what is kept for ever, and a new task reads all of it
    # Tombstones stay a day: longer than any worker that is still to read them should be away.
    return {"cleanup.policy": "compact", "delete.retention.ms": "86400000"} if compacted else {}
