"""kafka transactions: one transactional producer and its rules. kafka_send, hanging, watchdog → *kafka_transactions* → kafka_alternating.

1. A transaction begins with its first record or offset. 2. Offsets go in with the group's metadata, once the broker has every record:
there the group looks for the last time who owns what. Records that come later could be those of a worker that stood still in between; its
successor, which reads the changelog to the end, would miss them, and they would be committed all the same. 3. Commit without a timeout,
the watchdog over it. 4. An abortable error aborts; the caller rewinds. 5. A result that nobody knows makes a new producer with the same
id, whose epoch fences whatever is still on its way: a late commit must not end a later transaction (KIP-890, absent in librdkafka).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from stream_infer.edge.kafka_errors import Verdict, error_of, explained, fenced, is_lasting, is_unknown, verdict
from stream_infer.edge.kafka_hanging import LeftBehindError, or_left_behind
from stream_infer.edge.kafka_native import Native
from stream_infer.edge.kafka_native_outbox import Outbox
from stream_infer.edge.kafka_send import send
from stream_infer.edge.kafka_watchdog import Watchdog
from stream_infer.errors import EnvironmentMissing, Fenced
from stream_infer.flow.transport import Outcome
from stream_infer.records import Ints, Text

log = logging.getLogger("stream_infer.kafka")
ASK_S = 10.0
OFFSETS_S = 5.0  # it takes 2 ms; what times out is tried again
GIVE_UP_S = 2.0
AGAIN_S = 0.005  # between two tries of a call that the broker asked to repeat


class Transactions:
    """A transactional producer.

    config: of kafka_client.producer; wait_s_max: the transaction timeout; native: as in handle_of().
    """

    def __init__(
        self,
        config: dict[str, Any],
        wait_s_max: float,
        watchdog: Watchdog,
        make: Callable[[dict[str, Any]], Producer] = Producer,
        native: Native = "off",
    ) -> None:
        self._config = {**config, "error_cb": self._heard}
        self._complain: Callable[[KafkaError], object] = config.get("error_cb") or (lambda _: None)
        self._was_cut_off = False
        self._make = make
        self._native: Native = native
        self._id: str = config["transactional.id"]
        self._wait_s_max = wait_s_max
        self._watchdog = watchdog
        self._open = False
        self._doomed = ""  # why the open transaction can only abort
        self._topics: set[str] = set()  # written to so far
        self.rebuilt = 0  # how often the producer was made anew
        self._producer = self._made()
        self._outbox = Outbox.of(self._producer, native)

    @property
    def is_open(self) -> bool:
        """True when a transaction has begun and not ended."""
        return self._open

    def send(
        self, topic: str, keys: Text, values: Text, partition: int | None, timestamps: Ints | None
    ) -> None:
        """Queue records in the open transaction, which begins if there is none. What cannot be queued dooms the transaction."""
        self._begin()
        self._topics.add(topic)
        if self._doomed:
            return
        try:
            # Reports say nothing that the commit does not, and to hear them is to free the records, waiting for the interpreter lock each
            # time: the flush does so beside the loop, on the commit's thread (full path 155,000 → 176,000/s).
            if not send(self._producer, self._outbox, topic, keys, values, partition, timestamps, self._wait_s_max, hear=False):
                self._doomed = f"the queue to {topic} stayed full for {self._wait_s_max:.0f} s"
        except KafkaException as problem:
            self._doomed = f"{topic}: {error_of(problem).str()}"  # were it fatal, the abort will say so

    def commit(self, offsets: list[TopicPartition], metadata: object) -> Outcome:
        """End the transaction with these offsets in it. metadata: the group's, taken on this thread just now; None without offsets."""
        self._begin()
        self._serve()
        if offsets and not self._doomed and not self._was_cut_off:
            found = self._try("flush", self._deliver)  # librdkafka lets offsets overtake records (seen: 102 rows were answered twice)
            if found is not None:
                return self._failed("flush", found)
        if self._was_cut_off and offsets:  # also while records were awaited
            self._doomed = self._doomed or "all brokers were away"
        if self._doomed:
            log.warning("transaction aborted: %s", self._doomed)
            return self.abort()
        if offsets:
            send_offsets = partial(self._producer.send_offsets_to_transaction, offsets, metadata, OFFSETS_S)
            try:
                found = self._try("send_offsets_to_transaction", lambda: or_left_behind(send_offsets, self._is_cut_off))
            except LeftBehindError:
                return self._rebuild("send_offsets_to_transaction does not return", left_behind=True)
            if found is not None:  # also when nobody knows: offsets are in or not, the abort takes both back
                return self._failed("send_offsets_to_transaction", found)
        # librdkafka: "strongly recommended to always pass -1", other timeouts risk that its state and the broker's part.
        found = self._try("commit_transaction", lambda: self._producer.commit_transaction(-1), unknown_ends=True)
        if found is None:
            self._open = False
            return Outcome.COMMITTED
        if verdict(found) is Verdict.UNKNOWN:
            return self._rebuild(f"commit_transaction: {found.str()}")
        return self._failed("commit_transaction", found)

    def abort(self) -> Outcome:
        """End the transaction, if one is open, without a trace. Always ABORTED."""
        if not self._open:
            return Outcome.ABORTED
        found = self._try("abort_transaction", lambda: self._producer.abort_transaction(-1), unknown_ends=True)
        if found is None:
            self._open, self._doomed = False, ""
            return Outcome.ABORTED
        # An abort right after the first record can end in INVALID_TXN_STATE (librdkafka #4849): nobody else is there, so begin anew.
        if verdict(found) is Verdict.FATAL and found.code() != KafkaError.INVALID_TXN_STATE:
            raise fenced(found, self._id)
        return self._rebuild(f"abort_transaction: {found.str()}")

    def give_up(self) -> None:
        """After an error: one short try to abort what is open, for readers and successors wait for its end."""
        if self._open:
            with suppress(KafkaException):
                self._producer.abort_transaction(GIVE_UP_S)

    def close(self) -> None:
        """Abort what is open and let go of the producer; what remains the broker ends after the transaction timeout."""
        try:
            self.abort()
            self._producer.close()
        except (Fenced, KafkaException) as problem:  # a fenced producer says so once more when it is closed
            log.warning("closing the producer %s: %s", self._id, problem)

    def _begin(self) -> None:
        if not self._open:
            self._serve()
            if self._was_cut_off:
                self._renew()
            try:
                self._producer.begin_transaction()
            except KafkaException as problem:
                raise fenced(error_of(problem), self._id) from problem
            self._open, self._doomed = True, ""

    def _serve(self) -> None:
        """Hear what the client's threads have to tell; that somebody took our place over is raised here, or by the next call."""
        try:
            self._producer.poll(0)
        except KafkaException as problem:
            raise fenced(error_of(problem), self._id) from problem

    def _deliver(self) -> None:
        left = self._producer.flush(self._wait_s_max)
        if left:
            why = f"{left} records were not taken within {self._wait_s_max:.0f} s"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, why, txn_requires_abort=True))  # noqa: SLF001 — librdkafka's name

    def _failed(self, what: str, error: KafkaError) -> Outcome:
        if verdict(error) is Verdict.FATAL:
            raise fenced(error, self._id)
        log.warning("%s: %s; the transaction is aborted", what, error.str())
        outcome = self.abort()
        if is_lasting(error):
            missing = self._missing() if is_unknown(error) else []
            raise explained(error, f"writing to {', '.join(missing)}" if missing else what)
        return outcome

    def _missing(self) -> list[str]:
        """Topics that were written to and are not there, where the broker says so."""
        try:
            known = self._producer.list_topics(timeout=ASK_S).topics  # all of them: asked for one, a broker may make it
        except KafkaException:
            return []
        return sorted(self._topics - set(known))

    def _heard(self, error: KafkaError) -> None:
        """What the client's threads report, told in poll().

        A producer that lost all its brokers waits for ever for the group's coordinator, which it still takes for the one that left
        (librdkafka #5511): measured after a restart of a single broker, until the watchdog ended the process. A new one does not.
        """
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 — librdkafka's name
            self._was_cut_off = True
        self._complain(error)

    def _is_cut_off(self) -> bool:
        self._serve()
        return self._was_cut_off

    def _try(self, what: str, call: Callable[[], None], *, unknown_ends: bool = False) -> KafkaError | None:
        """None when the call succeeded, else the error it ended with. What may be repeated is, with the same arguments."""
        until = time.monotonic() + self._wait_s_max
        while True:
            with self._watchdog.over(what):
                try:
                    call()
                except KafkaException as problem:
                    error = error_of(problem)
                    kind = verdict(error)
                    again = kind is Verdict.AGAIN or (kind is Verdict.UNKNOWN and not unknown_ends)
                    if not again or time.monotonic() > until:
                        return error
                    time.sleep(AGAIN_S)
                else:
                    return None

    def _rebuild(self, why: str, *, left_behind: bool = False) -> Outcome:
        log.warning("nobody knows how the transaction ended (%s): a new producer takes over its id", why)
        self._renew(left_behind=left_behind)
        return Outcome.ABORTED

    def _renew(self, *, left_behind: bool = False) -> None:
        """A new producer. left_behind: the last one is in use by a call that does not return."""
        self._open, self._doomed, self._was_cut_off = False, "", False
        if not left_behind:
            self._producer.purge(blocking=False)
            with suppress(KafkaException):  # a fatal error is told once more
                self._producer.close()
        self._producer = self._made()
        self._outbox = Outbox.of(self._producer, self._native)
        self.rebuilt += 1

    def _made(self) -> Producer:
        producer = self._make(self._config)
        until = time.monotonic() + self._wait_s_max + ASK_S
        with self._watchdog.over("init_transactions"):
            while True:
                try:
                    producer.init_transactions(ASK_S)
                except KafkaException as problem:
                    error = error_of(problem)
                    if is_lasting(error):
                        raise explained(error, f"transactional id {self._id}") from problem
                    if error.fatal() or not error.retriable():
                        raise fenced(error, self._id) from problem
                    if time.monotonic() > until:
                        raise EnvironmentMissing(
                            f"no transaction coordinator answers for {self._id}", got=error.str(), fix="are the brokers up, and in sync?"
                        ) from problem
                else:
                    return producer
