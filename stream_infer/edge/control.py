"""edge.control: the changes topic of a topology, as an operator reads and writes it. cli_models → *control* → rollout.

A change is sent, then the log is read back: whoever was first holds, the other sees it, looks again at how things stand now, and
tries once more. Nothing is locked, and a running topology need not be asked.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from confluent_kafka import Producer

from stream_infer.edge import kafka_client
from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.kafka_errors import Complaints
from stream_infer.edge.secrets import resolved
from stream_infer.edge.topics import create_topics
from stream_infer.errors import EnvironmentMissing, StreamInferError
from stream_infer.models.rollout import Book, Change
from stream_infer.models.version import ModelVersion
from stream_infer.topology.plan import Plan

TRIES = 20  # each is lost only to somebody else's change
SEND_S = 30.0


@dataclass(frozen=True)
class Entry:
    """A record of the changes topic. at_ms: when the broker, or its writer, stamped it."""

    offset: int
    at_ms: int
    value: bytes


class Control:
    """Reads and writes the changes of a topology. EnvironmentMissing where nothing of it can be changed while it runs."""

    def __init__(self, plan: Plan, bootstrap: str) -> None:
        if not plan.changes_topic:
            raise EnvironmentMissing(
                f"topology {plan.name}: nothing of it can be changed while it runs",
                expected="a model with `versions_kept`, or a split or canary stage",
                fix="add `versions_kept: 1` to a model, and restart the topology once",
            )
        self._plan, self._bootstrap = plan, bootstrap
        client = resolved(plan.client)
        group = f"{plan.name}.control"
        self._settings = KafkaSettings(bootstrap, group, group, "at_least_once", client)
        create_topics(bootstrap, [(plan.changes_topic, 1, False)], client)

    def entries(self) -> list[Entry]:
        """All committed records, in order."""
        transport = KafkaTransport(self._settings)
        try:
            batches = [fetched for fetched in transport.read((self._plan.changes_topic, 0), 0) if len(fetched)]
        finally:
            transport.close()
        return [
            Entry(offset, at_ms, value)
            for fetched in batches
            for offset, at_ms, value in zip(fetched.offsets.tolist(), fetched.timestamps.tolist(), fetched.values.raw(), strict=True)
            if value is not None
        ]

    def book(self) -> Book:
        """What the records add up to."""
        return Book.of(entry.value for entry in self.entries())

    def learned(self, name: str) -> dict[int, bytes]:
        """The versions of a model that the models topic still holds: number → record."""
        if not self._plan.models_topic:
            return {}
        transport = KafkaTransport(self._settings)
        try:
            batches = [fetched for fetched in transport.read((self._plan.models_topic, 0), 0) if len(fetched)]
        finally:
            transport.close()
        key = name.encode()
        records = [record for fetched in batches for record in zip(fetched.keys.raw(), fetched.values.raw(), strict=True)]
        return {ModelVersion.from_bytes(value).version: value for mine, value in records if mine == key and value is not None}

    def change(self, make: Callable[[Book], Change]) -> Change:
        """Write a change and see it hold. make: the change, given how things stand; its number and writer are filled in here."""
        for _ in range(TRIES):
            book = self.book()
            wanted = make(book)
            at_ms = wanted.effective_ms or time.time_ns() // 1_000_000
            said = replace(wanted, number=book.number(wanted.name) + 1, writer=uuid.uuid4().hex, effective_ms=at_ms)
            self._send(said)
            if any(change.writer == said.writer for change in self.book().changes.get(said.name, ())):
                return said
        raise StreamInferError(f"{TRIES} times somebody else changed it first: what is going on there?")

    def _send(self, change: Change) -> None:
        failed: list[str] = []
        producer = Producer(kafka_client.producer(self._settings, Complaints(self._bootstrap)))
        producer.produce(
            self._plan.changes_topic,
            key=change.name.encode(),
            value=change.to_bytes(),
            partition=0,
            on_delivery=lambda error, _: failed.append(str(error)) if error is not None else None,
        )
        if producer.flush(SEND_S) or failed:
            raise EnvironmentMissing(f"the change could not be written: {failed[0] if failed else f'no answer in {SEND_S:.0f} s'}")
