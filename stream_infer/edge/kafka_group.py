"""kafka group: how soon a silent member is missed, whether it was, and whether it is let in at all. kafka_client → *kafka_group* → kafka.

With the group protocol "consumer" the session is no setting of a client but one of the group, kept by the broker: 45 s unless somebody says
otherwise. So it is said when a member joins, and whoever may not say it, or wants what the broker does not allow, lives with the broker's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from stream_infer.edge import kafka_client
from stream_infer.edge.kafka_client import KafkaSettings, log
from stream_infer.edge.topics import check_connection
from stream_infer.errors import EnvironmentMissing

ASK_S = 5.0
LOOK_S = 1.0
OUTSIDE_S_MAX = 45.0  # of a session or an outage that ended, members came back after 3 to 15 s
AGAIN_S = 15.0  # … so a member that was outside during an outage is given as long once it is over


class Admission:
    """Whether the group lets this member in: if it stays outside though brokers answer, on_stall(what, seconds) is called.

    After an outage of all its brokers librdkafka (2.16) sometimes connects no more: "no broker available for coordinator query", for ever,
    while new clients reach them (seen in one of 18 outages of 10 s on a busy machine). With the group protocol "consumer" a member always
    has an id, so there nothing is seen.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        on_stall: Callable[[str, float], None],
        outside_s_max: float = OUTSIDE_S_MAX,
        again_s: float = AGAIN_S,
    ) -> None:
        self._settings, self._on_stall = settings, on_stall
        self._outside_s_max, self._again_s = outside_s_max, again_s
        self.begin()

    def begin(self) -> None:
        """It asks to be let in from now on."""
        self._inside_at = self._look_at = time.monotonic()
        self._answered = False  # whether brokers answered though it had been outside for too long

    def look(self, consumer: Consumer, *, owns: bool) -> None:
        """Now and then. owns: whether any partition is its own, which says that it is inside."""
        now = time.monotonic()
        if owns:
            self._inside_at, self._answered = now, False
        elif now >= self._look_at:
            self._look_at = now + LOOK_S
            if consumer.memberid():  # it has asked to be let in, or is
                self._inside_at, self._answered = now, False
            elif now - self._inside_at >= self._outside_s_max:
                self._doubt(now - self._inside_at)

    def _doubt(self, outside_s: float) -> None:
        """Twice, for brokers that answer may have come back just now."""
        told, self._answered = self._answered, self._answer()
        self._look_at = time.monotonic() + self._again_s
        if told and self._answered:
            self.begin()
            self._on_stall("joining the group", outside_s)

    def _answer(self) -> bool:
        try:
            check_connection(self._settings.bootstrap, self._settings.client, ASK_S)
        except EnvironmentMissing:  # an outage: it goes on waiting
            return False
        return True


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
