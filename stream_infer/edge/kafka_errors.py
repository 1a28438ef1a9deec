"""kafka errors: what a Kafka error means for us, and the sentence a user gets. *kafka_errors* → consume, transactions, kafka.

The classes are librdkafka's own (fatal, abortable, retriable); a result that timed out is a class of its own here, because a late
commit request can still end a *later* transaction of the same producer (librdkafka has no KIP-890): only a new producer is safe.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable
from enum import Enum

from confluent_kafka import KafkaError, KafkaException

from stream_infer.errors import EnvironmentMissing, Fenced, StreamInferError

log = logging.getLogger("stream_infer.kafka")
MESSAGES_MAX = 1000
_NUMBERS = re.compile(r"\d+")
_TIMED_OUT = frozenset({KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError.REQUEST_TIMED_OUT})  # noqa: SLF001 — the names of librdkafka's own codes
_DENIED = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError._SSL,  # noqa: SLF001
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_UNKNOWN_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001
_NO_OFFSET = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})  # noqa: SLF001
_PASSING = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError.FENCED_LEADER_EPOCH,  # of before an outage: the client asks for the new one
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001 — lost() follows by itself
    }
)


class Seldom(logging.Filter):
    """Lets a message through once in every_s, whatever numbers stand in it: an outage made 40 lines a second of the same few."""

    def __init__(self, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s, self._clock = every_s, clock
        self._told_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is told; those of level critical always are."""
        words, now = _NUMBERS.sub("#", record.getMessage()), self._clock()
        if record.levelno >= logging.CRITICAL or now - self._told_at.get(words, -math.inf) >= self._every_s:
            if len(self._told_at) >= MESSAGES_MAX:
                self._told_at.clear()
            self._told_at[words] = now
            return True
        return False


log.addFilter(Seldom(30.0))


class Verdict(Enum):
    """What to do after an error of a transactional call."""

    AGAIN = "the same call again"
    ABORT = "abort the transaction"
    UNKNOWN = "nobody knows how it ended"
    FATAL = "this producer is finished"


def error_of(exception: KafkaException) -> KafkaError:
    """The error inside an exception of confluent-kafka."""
    error = exception.args[0]
    assert isinstance(error, KafkaError), exception
    return error


def verdict(error: KafkaError) -> Verdict:
    """The class of a transactional error. None of librdkafka's three classes means fatal, as its documentation says."""
    if error.fatal():
        return Verdict.FATAL
    if error.txn_requires_abort():
        return Verdict.ABORT
    if error.code() in _TIMED_OUT:
        return Verdict.UNKNOWN
    return Verdict.AGAIN if error.retriable() else Verdict.FATAL


def is_purged(error: KafkaError) -> bool:
    """True for records that we threw away ourselves when we aborted."""
    return error.code() in _PURGED


def is_lasting(error: KafkaError) -> bool:
    """True when doing the work once more would end the same way: rights, names and sizes do not change by themselves."""
    return error.code() in _DENIED | _UNKNOWN_TOPIC | _TOO_LARGE


def is_passing(error: KafkaError) -> bool:
    """True for what the client mends by itself, a lost connection for one."""
    return not error.fatal() and (error.code() in _PASSING | _TIMED_OUT or error.retriable())


def is_unknown(error: KafkaError) -> bool:
    """True when a topic or a partition is said not to be there."""
    return error.code() in _UNKNOWN_TOPIC


def fenced(error: KafkaError, transactional_id: str) -> Fenced:
    """The producer's last word."""
    if error.code() == KafkaError._FENCED:  # noqa: SLF001
        return Fenced(
            f"another process works under the transactional id {transactional_id}, or ours stood still for longer than its timeout\n"
            f"    got:      {error.str()}\n"
            "    fix:      give each worker slot its own number; if it only stood still, start it again: nothing was lost or doubled"
        )
    return Fenced(
        f"the broker refuses the producer {transactional_id} for good\n"
        f"    got:      {error.name()}: {error.str()}\n"
        "    fix:      start it again; the broker's log says more"
    )


def explained(error: KafkaError, where: str) -> StreamInferError:
    """The sentence for an error that will not pass. where: what was being done, topic[partition]@offset where there is one."""
    code, got = error.code(), f"{error.name()}: {error.str()}"
    if code in _NO_OFFSET:
        return EnvironmentMissing(
            f"{where}: the broker does not hold this offset",
            got=got,
            expected="every record since the committed offset: nothing is skipped silently",
            fix="was retention shorter than the outage? the topic made anew? lengthen retention.ms; reset the group's offsets on purpose",
        )
    if code in _UNKNOWN_TOPIC:
        return EnvironmentMissing(
            f"{where}: no such topic or partition", got=got, fix="create it with the partitions that the topology states"
        )
    if code in _DENIED:
        return EnvironmentMissing(
            f"{where}: the broker denies it", got=got, fix="check credentials, security.protocol and this user's ACLs"
        )
    if code in _TOO_LARGE:
        return EnvironmentMissing(
            f"{where}: a record is too large", got=got, fix="raise the client's message.max.bytes and the topic's max.message.bytes"
        )
    return EnvironmentMissing(f"{where}: Kafka failed", got=got)


class Complaints:
    """What the clients' own threads report. Called with each error; a lasting one is kept until raise_if_any().

    misses_topic: something was said not to be there, which its broker knows better; whoever asks it takes the word back.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._lasting: StreamInferError | None = None
        self.misses_topic = False

    def __call__(self, error: KafkaError) -> None:
        """Take an error in, as librdkafka's error_cb."""
        log.warning("%s: %s: %s", self._bootstrap, error.name(), error.str())
        self.misses_topic |= is_unknown(error)
        if error.code() in _DENIED:
            self._lasting = explained(error, self._bootstrap)

    def raise_if_any(self) -> None:
        """Raise what will not pass: a refused password, a certificate that is not believed."""
        if self._lasting is not None:
            raise self._lasting
