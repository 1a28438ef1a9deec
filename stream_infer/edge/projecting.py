"""edge.projecting: the committed answers of a topology, brought to Redis beside the run. kafka_consume → *projecting* → redis_store.

A projector is a reader like any other: in a thread of its own, with a consumer of its own that reads committed records only, and with
its position in Redis, moved by the very script that writes. It takes no part in a transaction, and nothing ever waits for it. What it
cannot write stays in Kafka: whenever Redis fails, it forgets what it read, waits, asks Redis for its positions and reads on from there.
Its lag is exported. Several processes share the partitions through a group that commits nothing; that two of them may work on one
partition for a moment is harmless, for the fence in redis_store is what keeps order, not the group.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition

from stream_infer.edge.kafka_client import KafkaSettings, member
from stream_infer.edge.kafka_consume import UNKNOWN, Reader
from stream_infer.edge.kafka_errors import error_of, explained, is_passing
from stream_infer.edge.redis_client import FAULTS, connect, reason
from stream_infer.edge.redis_store import ROWS_MAX, RedisStore, batch_of
from stream_infer.edge.secrets import resolved
from stream_infer.errors import EnvironmentMissing, StreamInferError
from stream_infer.flow.rows import GOOD, Intake
from stream_infer.flow.transport import Partition, nothing
from stream_infer.records import Fetched
from stream_infer.topology.plan import Plan, StorePlan

log = logging.getLogger("stream_infer.projecting")
TAKE_ROWS = 2_000
WAIT_MS = 100  # for records; also how soon a stop is heard
ASK_S = 10.0  # one question to the broker
PROVE_S = 5.0  # a quiet partition's position is compared with Redis so often: Redis may have been emptied
BACKOFF_S = (0.1, 5.0)  # after a fault, doubling from the first to the second
TELL_S = 0.5  # between two looks at the lag
QUEUE_KBYTES = 8_192  # what the client fetches ahead at most
Told = Callable[[Consumer, list[TopicPartition]], None]


@dataclass(slots=True)
class StoreStats:
    """Totals since the start; lag and behind_s are as of now. lag: records by partition; rows: by what became of them."""

    rows: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    rebuilt: int = 0
    lag: dict[int, int] = field(default_factory=dict)
    stopped: str = ""

    def count(self, into: dict[str, int], name: str, count: int) -> None:
        """So many more."""
        if count:
            into[name] = into.get(name, 0) + count


@dataclass(slots=True)
class _Place:
    """Where a partition stands. next: offset up to which all is written; time: latest timestamp so far; begin: of its log."""

    next: int
    time: int
    begin: int
    proved_at: float


class Projector:
    """One store stage. start() and stop() are called by the host; everything else happens in its thread."""

    def __init__(self, plan: Plan, store: StorePlan, bootstrap: str, *, session_timeout_ms: int = 10_000) -> None:
        self.store, self.stats = store, StoreStats()
        stream = plan.streams[store.stream]
        self._topic, self._intake = stream.topic, Intake(stream)
        group = f"{plan.name}.{store.name}"
        client_of_redis = connect(store.settings.redis, f"stage {store.name}")
        self._redis = RedisStore(client_of_redis, group, stream.topic, store.settings)
        client = {**resolved(plan.client), "queued.max.messages.kbytes": str(QUEUE_KBYTES)}
        settings = KafkaSettings(bootstrap, group, group, "at_least_once", client, session_timeout_ms=session_timeout_ms)
        self._headers = [stream.topic] if stream.framing == "header" else []
        self._config = member(settings, lambda _: None)
        self._owned: dict[int, _Place | None] = {}  # None: Redis has not said yet where it stands
        self._reached: dict[int, int] = {}
        self._wait_s, self._again_at, self._told_at = 0.0, 0.0, 0.0
        self._stop = Event()
        self._thread = Thread(target=self._run, name=f"store {store.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch in hand; what is not written is written after the next start."""
        self._stop.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        reader = Reader(self._config, self._headers, "off")
        try:
            given, taken = self._given(reader), self._taken(reader)
            reader.consumer.subscribe([self._topic], on_assign=given, on_revoke=taken, on_lost=taken)
            while not self._stop.is_set():
                self._turn(reader)
        except StreamInferError as error:
            self.stats.stopped = str(error)
            log.error("store %s has stopped: %s", self.store.name, error)
        except Exception as error:  # a bug here must not end the run beside it, but must be seen
            self.stats.stopped = f"{type(error).__name__}: {error}"
            log.exception("store %s has stopped", self.store.name)
        finally:
            reader.close()

    def _given(self, reader: Reader) -> Told:
        def on_assign(_: Consumer, partitions: list[TopicPartition]) -> None:
            reader.given()
            self._owned |= {p.partition: None for p in partitions if p.partition not in self._owned}

        return on_assign

    def _taken(self, reader: Reader) -> Told:
        def on_revoke(_: Consumer, partitions: list[TopicPartition]) -> None:
            reader.taken([(p.topic, p.partition) for p in partitions])
            for p in partitions:
                self._owned.pop(p.partition, None)
                self.stats.lag.pop(p.partition, None)

        return on_revoke

    def _turn(self, reader: Reader) -> None:
        now = time.monotonic()
        if now >= self._again_at:
            try:
                self._place(reader, now)
                self._prove(reader, now)
            except FAULTS as error:
                self._failed(reader, reason(error), error)
            except KafkaException as problem:
                if not is_passing(error_of(problem)):
                    raise explained(error_of(problem), f"asking where {self._topic} ends") from problem
                self._failed(reader, "broker", problem)
        try:
            came = reader.take(TAKE_ROWS, WAIT_MS)
        except EnvironmentMissing as error:  # records that were deleted before they were read, for one: go on where the log begins
            self._failed(reader, "log", error)
            return
        for fetched in came:
            try:
                self._write(reader, fetched)
            except FAULTS as error:
                self._failed(reader, reason(error), error)
        if now >= self._told_at + TELL_S:
            self._told_at = now
            self._tell_lag(reader)

    def _failed(self, reader: Reader, why: str, error: BaseException) -> None:
        """Forget what was read; everything is asked for again after a while, which doubles."""
        if not self._wait_s:
            log.warning("store %s waits: %s: %s", self.store.name, type(error).__name__, error)
        self.stats.count(self.stats.faults, why, 1)
        self._wait_s = min(self._wait_s * 2 or BACKOFF_S[0], BACKOFF_S[1])
        self._again_at = time.monotonic() + self._wait_s
        reader.forget([(self._topic, partition) for partition in self._owned if (self._topic, partition) in reader])
        self._owned = dict.fromkeys(self._owned)

    def _place(self, reader: Reader, now: float) -> None:
        """Read on where Redis says, from the log's beginning where it says nothing."""
        for partition in [p for p, place in self._owned.items() if place is None]:
            found = self._redis.position(partition)
            self._wait_s = 0.0
            low, high = _watermarks(reader.consumer, (self._topic, partition))
            if found is not None and found[0] > high:
                raise EnvironmentMissing(
                    f"stage {self.store.name}: Redis holds positions of another log than {self._topic}[{partition}]",
                    got=f"position {found[0]}",
                    expected=f"at most {high}, where the log ends",
                    fix=f"if the topic was made anew, delete {self._redis.position_key(partition)} and keys `{self.store.settings.key}`",
                )
            position, latest = found or (low, 0)
            self._owned[partition] = _Place(max(position, low), latest, low, now)
            reader.place((self._topic, partition), max(position, low))

    def _prove(self, reader: Reader, now: float) -> None:
        """An empty batch for each partition that was quiet for long: it moves the position behind markers, and finds out what was lost."""
        for partition, place in list(self._owned.items()):
            if place is not None and now - place.proved_at >= PROVE_S:
                self._send(reader, partition, place, nothing((self._topic, partition)), reader.reached((self._topic, partition)))

    def _write(self, reader: Reader, fetched: Fetched) -> None:
        for first in range(0, len(fetched), ROWS_MAX):
            place = self._owned.get(fetched.partition)
            if place is None:
                return
            part = fetched.take(slice(first, first + ROWS_MAX))
            if not self._send(reader, fetched.partition, place, part, int(part.offsets[-1]) + 1):
                return

    def _send(self, reader: Reader, partition: int, place: _Place, fetched: Fetched, end: int) -> bool:
        """Write records and move the position to `end`; False where Redis stands elsewhere, and reading goes on there."""
        times = np.maximum.accumulate(np.maximum(fetched.timestamps, place.time)) if len(fetched) else fetched.timestamps
        latest = int(times[-1]) if len(fetched) else place.time
        rows = self._intake.rows(fetched)
        good = rows.flags == GOOD
        columns = {name: column if good.all() else column.take(good) for name, column in rows.columns.items()}
        span = (place.next, end)
        batch = batch_of(self.store.settings, partition, span, rows.offsets[good], times[good], columns, latest)
        found = self._redis.write(batch, place.begin)
        self._wait_s = 0.0
        if found.gap_at is not None:
            self.stats.rebuilt += 1
            log.warning("store %s: Redis stands at %d of partition %d, not at %d", self.store.name, found.gap_at, partition, place.next)
            reader.forget([(self._topic, partition)])
            self._owned[partition] = None
            return False
        place.next, place.time, place.proved_at = end, latest, time.monotonic()
        bad = int(len(good) - np.count_nonzero(good))
        counts = {"written": found.written, "stale": found.stale, "refused": found.refused, "unreadable": bad}
        for name, count in counts.items() | {("replaced", len(fetched) - sum(counts.values()))}:
            self.stats.count(self.stats.rows, name, count)
        return True

    def _tell_lag(self, reader: Reader) -> None:
        """What is not in Redis yet; while Redis is away the broker has to be asked, for nothing is fetched."""
        for partition, place in self._owned.items():
            where = (self._topic, partition)
            if place is not None and reader.at_end(where):
                self.stats.lag[partition] = 0
                continue
            self._reached[partition] = place.next if place is not None else self._reached.get(partition, 0)
            high = reader.high(where) if place is not None else UNKNOWN
            if high == UNKNOWN:
                with suppress(KafkaException):
                    _, high = _watermarks(reader.consumer, where)
            if high == UNKNOWN:
                continue
            self.stats.lag[partition] = max(high - self._reached[partition], 0)


def _watermarks(consumer: Consumer, partition: Partition) -> tuple[int, int]:
    """The first offset that the log holds, and the one after its last."""
    found: tuple[int, int] = consumer.get_watermark_offsets(TopicPartition(*partition), timeout=ASK_S)
    return found
