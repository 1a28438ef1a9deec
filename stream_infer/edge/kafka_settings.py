"""kafka settings: how a Kafka of one node is set up, for the dev broker and for docker-compose alike. *kafka_settings* → kafka_process.

One table, two forms: a properties file, and the environment that the container image reads. A test holds them equal.
"""

from __future__ import annotations

from collections.abc import Mapping

KAFKA_VERSION = "4.3.0"
_NEVER = "9223372036854775807"

SETTINGS: Mapping[str, str] = {
    # One node: nothing can be replicated.
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # 50 partitions each by default; on one node they only cost files and the time to make them at the first commit.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "1",
    # A topic that nobody declared is a typing error.
    "auto.create.topics.enable": "false",
    # Rows carry the time of their event as timestamp: 2013 in the demo, years ahead in tests. None is too old to keep or too new to take.
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    "log.message.timestamp.before.max.ms": _NEVER,
    "log.message.timestamp.after.max.ms": _NEVER,
    # Segments roll by size alone: rolled by time, a year of event time replayed in a minute makes a segment per week and partition.
    "log.roll.ms": _NEVER,
    # Only closed segments are compacted; 64 MiB lets the changelogs of a demo reach that.
    "log.segment.bytes": "67108864",
    "log.index.size.max.bytes": "1048576",
    "log.segment.delete.delay.ms": "1000",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "16777216",  # of 128 MiB: it is heap
    # Whoever comes back after a month still finds where the group stood.
    "offsets.retention.minutes": "5256000",
    "message.max.bytes": "8388608",
    # Members join and are missed within seconds: a killed worker's partitions move on, a test need not wait 45 s.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "1000",
    # An open transaction of a dead worker holds back every read_committed reader until it is aborted.
    "transaction.max.timeout.ms": "900000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # After a kill -9 the broker registers anew only when its former self is given up: measured 12.1 s at the default of 9 s, 2.4 s fresh.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Two cores serve broker and workers.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "2",
}


def properties(broker_port: int, controller_port: int, data: str) -> dict[str, str]:
    """Every setting of a dev broker: one process is broker and controller, on the loopback interface only. data: folder of logs."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{broker_port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        **SETTINGS,
    }


def to_properties_file(settings: Mapping[str, str]) -> str:
    """The text of server.properties. A backslash is that format's escape, so it is doubled."""
    return "".join(f"{name}={value.replace(chr(92), chr(92) * 2)}\n" for name, value in settings.items())


def to_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The same for the container image, which turns KAFKA_LOG_ROLL_MS into log.roll.ms."""
    return {"KAFKA_" + name.upper().replace(".", "_"): value for name, value in settings.items()}
