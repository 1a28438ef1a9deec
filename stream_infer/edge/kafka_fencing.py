"""kafka fencing: ends what a process that died left open, so that nobody waits for its timeout. kafka_client → *kafka_fencing* → kafka.

The transaction of a killed process stays open until its timeout (30 s, and up to 10 s more until the broker looks), and holds back whoever
reads its changelog to the end. Whoever takes its transactional ids over ends it at once, and stops a process that is not dead but only
stood still: the group gave it up before, so nothing that it has in hand could hold. Members tell the first of their ids as the client id
of their consumer.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from stream_infer.edge import kafka_client
from stream_infer.edge.kafka_client import KafkaSettings, transactional_ids
from stream_infer.edge.kafka_errors import Complaints

log = logging.getLogger("stream_infer.kafka")
ASK_S = 5.0
# Whoever was started again takes its own id over before it joins the group: it must not be taken for gone in between.
GRACE_S = 3.0


class Fencing:
    """Watches who is in the group, from rebalance to rebalance, on threads of its own: rebalances do not wait."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        # A client id that the user chose is everybody's: it names nobody, and the transaction's timeout has to do.
        self._names_members = settings.guarantee == "exactly_once" and "client.id" not in settings.client
        self._known: frozenset[str] = frozenset()
        self._turn = threading.Lock()
        self.fenced = 0  # how many that were gone

    def client_id(self) -> dict[str, str]:
        """Settings of the group's member that tell the others its transactional id."""
        return {"client.id": self._settings.transactional_id} if self._names_members else {}

    def rebalanced(self) -> None:
        """The group may have new members, or fewer."""
        if self._names_members:
            threading.Thread(target=self._look, name="fencing", daemon=True).start()

    def _look(self) -> None:
        with self._turn:
            try:
                now = self._members()
                gone = self._known - now - {self._settings.transactional_id}
                if gone:
                    time.sleep(GRACE_S)
                    now = self._members()
                for one in sorted(gone - now):
                    self._end(one)
            except KafkaException as problem:  # then its timeout does it
                log.warning("could not look for what members that are gone have left open: %s", problem)
                return
            self._known = now

    def _members(self) -> frozenset[str]:
        admin: Any = AdminClient(kafka_client.connection(self._settings.bootstrap, self._settings.client))
        asked = admin.describe_consumer_groups([self._settings.group], request_timeout=ASK_S)
        return frozenset(member.client_id for member in asked[self._settings.group].result().members)

    def _end(self, member: str) -> None:
        config = kafka_client.connection(self._settings.bootstrap, self._settings.client)
        for one in transactional_ids(member):
            producer: Any = Producer({**config, "transactional.id": one, "error_cb": Complaints(self._settings.bootstrap)})
            producer.init_transactions(ASK_S)
            producer.close()
        self.fenced += 1
        log.info("%s is gone from the group: what it left open has been ended", member)
