"""kafka group: how soon a silent member is missed, told to the broker, and whether it was. kafka_client → *kafka_group* → kafka.

With the group protocol "consumer" the session is no setting of a client but one of the group, kept by the broker: 45 s unless somebody says
otherwise. So it is said when a member joins, and whoever may not say it, or wants what the broker does not allow, lives with the broker's.
"""

from __future__ import annotations

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from stream_infer.edge import kafka_client
from stream_infer.edge.kafka_client import KafkaSettings, log

ASK_S = 5.0


class Presence:
    """Whether this member polls as often as it must. Around each call that serves the group: `with presence`.

    With the group protocol "consumer" a member that did not is put out, yet keeps its id, and a revocation of before is still told as one:
    nothing but our own clock says that its partitions are somebody else's by now.
    """

    def __init__(self, gap_ms_max: int) -> None:
        self._gap_s_max = gap_ms_max / 1000
        self._left_at = time.monotonic()
        self.missed = False  # it did not poll for too long, until the call that is under way

    def begin(self) -> None:
        """It becomes a member now."""
        self._left_at = time.monotonic()

    def __enter__(self) -> None:
        self.missed = time.monotonic() - self._left_at > self._gap_s_max

    def __exit__(self, *_: object) -> None:
        self._left_at = time.monotonic()


def tell_session(settings: KafkaSettings) -> None:
    """Set session and heartbeat of the group; a warning where the broker refuses. Nothing with the classic protocol."""
    if settings.group_protocol == "classic":
        return
    wanted = {"session.timeout": settings.session_timeout_ms, "heartbeat.interval": kafka_client.heartbeat_ms(settings)}
    admin = AdminClient(kafka_client.connection(settings.bootstrap, settings.client))
    for name, ms in wanted.items():  # one by one: a broker may admit the one and not the other
        entry = ConfigEntry(f"consumer.{name}.ms", str(ms), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.GROUP, settings.group, incremental_configs=[entry])
        try:
            for done in admin.incremental_alter_configs([resource], request_timeout=ASK_S).values():
                done.result()
        except KafkaException as problem:
            log.warning("group %s keeps the broker's consumer.%s.ms instead of %d: %s", settings.group, name, ms, problem.args[0].str())
