"""kafka native producer: librdkafka's producer without the Python client's. kafka_native → *kafka_native_producer* → deliveries.

For at-least-once: the Python client calls back for each record, delivered or not, and without its callback failures stay unheard. This
one is made by the public C interface. Reports come by the thousand, as events beside errors, logs and statistics, and are counted in a
kernel: so it is known when all records up to some moment are with the broker, while later ones go on being sent.
"""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable, Mapping
from ctypes import byref, c_char_p, c_int, create_string_buffer
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException

from stream_infer.edge import kafka_native_kernels as kernels
from stream_infer.edge.kafka_native import Library, Native, Unfit, fitting, library
from stream_infer.edge.kafka_native_outbox import Outbox

if TYPE_CHECKING:
    from stream_infer.records import Ints

PRODUCER = 0  # rd_kafka_type_t
DR, LOG, ERROR, STATS = 0x1, 0x4, 0x8, 0x40  # rd_kafka_event_type_t
PURGE_ALL = 0x1 | 0x2  # queued and in flight
TEXT_BYTES = 512
FLUSH_MS = 50  # how late a failure is heard while a flush waits
SETTLE_S = 0.005  # about as long as records linger
_LEVELS = (50, 50, 50, 40, 30, 20, 20, 10)  # of syslog, in those of logging


def native_producer(config: Mapping[str, Any], native: Native) -> NativeProducer | None:
    """What Producer(config) would be; None where only that may be used. native: as in kafka_native.handle_of()."""

    def made() -> NativeProducer:
        if any(str(config.get(name)).upper() == "OAUTHBEARER" for name in ("sasl.mechanism", "sasl.mechanisms")):
            raise Unfit("the Python client fetches the tokens of OAUTHBEARER")
        return NativeProducer(library(), config)

    return fitting(made, native)


class NativeProducer:
    """As much of confluent_kafka.Producer as Deliveries needs; records go in by its outbox.

    config: as for Producer, of which error_cb, stats_cb, logger and on_delivery(error, None), for what is not delivered, are called in
    poll(), flush() and settle(), by whichever thread is in them.
    """

    def __init__(self, known: Library, config: Mapping[str, Any]) -> None:
        self._library = known
        settings = dict(config)
        self._on_error: Callable[[KafkaError], object] = settings.pop("error_cb", _nothing)
        self._on_statistics: Callable[[str], object] = settings.pop("stats_cb", _nothing)
        self._on_delivery: Callable[[KafkaError, None], object] = settings.pop("on_delivery")
        self._logger: logging.Logger = settings.pop("logger")
        settings["delivery.report.only.error"] = False
        conf = self._configured(settings)
        known.conf_set_events(conf, DR | LOG | ERROR | STATS)
        text = create_string_buffer(TEXT_BYTES)
        self._handle: int = known.new(PRODUCER, conf, text, TEXT_BYTES) or 0
        if not self._handle:
            known.conf_destroy(conf)
            raise KafkaException(KafkaError(known.last_error(), text.value.decode()))
        known.set_log_queue(self._handle, None)  # log lines come as events too
        self._events: int = known.queue_get_main(self._handle)
        self.outbox = Outbox(known, self._handle, numbered=True)
        self._counting = Lock()
        self._settled = 0  # records reported on
        self._mark = self._unsettled = 0  # the last record that is waited for; how many up to it have not been reported on
        self._messages: Ints = np.empty(0, np.int64)
        self._failed: Ints = np.empty(0, np.int64)

    def __len__(self) -> int:
        """Records that are not delivered yet, and reports of them that were not heard."""
        return int(self._library.outq_len(self._handle))

    def poll(self, timeout: float) -> int:
        """Hear what there is to be told, waiting for the first of it; how many things."""
        heard, wait_ms = 0, int(timeout * 1000)
        while event := self._library.queue_poll(self._events, wait_ms if not heard else 0):
            try:
                self._tell(event)
            finally:
                self._library.event_destroy(event)
            heard += 1
        return heard

    def flush(self, timeout: float) -> int:
        """Wait until every record is delivered or has failed; how many are left after the timeout, in seconds."""
        until = time.monotonic() + timeout
        while True:
            self.poll(0)
            self._library.flush(self._handle, FLUSH_MS)  # sends at once what lingers
            self.poll(0)
            left = len(self)
            if not left or time.monotonic() > until:
                return left

    def push(self, timeout: float) -> None:
        """Send at once what lingers and what comes until the timeout, in seconds. Hears nothing."""
        self._library.flush(self._handle, round(timeout * 1000))

    def mark(self) -> None:
        """What is queued by now is what settle() waits for. For the thread that queues."""
        with self._counting:
            self._mark = self.outbox.queued
            self._unsettled = self._mark - self._settled

    def settle(self, timeout: float) -> int:
        """Wait until every record up to mark() is delivered or has failed; how many are left after the timeout, in seconds."""
        until = time.monotonic() + timeout
        while self._unsettled and time.monotonic() < until:
            self.poll(SETTLE_S)
        return self._unsettled

    def purge(self, blocking: bool = True) -> None:
        """Drop what is queued or under way; each record of it is reported as failed. blocking: for likeness, it never takes long."""
        del blocking
        self._library.purge(self._handle, PURGE_ALL)

    def close(self) -> None:
        """End it. What was not flushed is dropped."""
        if self._handle:
            self._library.queue_destroy(self._events)
            self._library.destroy(self._handle)
            self._handle = 0

    def _configured(self, settings: Mapping[str, Any]) -> int:
        conf: int = self._library.conf_new()
        text = create_string_buffer(TEXT_BYTES)
        for name, value in {**settings, "log.queue": True}.items():
            spelt = str(value).lower() if isinstance(value, bool) else str(value)
            if self._library.conf_set(conf, name.encode(), spelt.encode(), text, TEXT_BYTES):
                self._library.conf_destroy(conf)
                raise KafkaException(KafkaError(KafkaError._INVALID_ARG, text.value.decode()))  # noqa: SLF001 — librdkafka's name
        return conf

    def _tell(self, event: int) -> None:
        kind = self._library.event_type(event)
        if kind == DR:
            for code in self._reported(event):
                self._on_delivery(KafkaError(code), None)
        elif kind == ERROR:
            self._on_error(self._error(event))
        elif kind == STATS:
            self._on_statistics(self._library.event_stats(event).decode())
        elif kind == LOG:
            facility, text, level = c_char_p(), c_char_p(), c_int()
            self._library.event_log(event, byref(facility), byref(text), byref(level))
            words = [(word or b"").decode(errors="replace") for word in (facility.value, self._library.name(self._handle), text.value)]
            self._logger.log(_LEVELS[level.value & 7], "%s [%s] %s", *words)

    def _reported(self, event: int) -> list[int]:
        """Count the records that an event tells of; the errors of those that were not delivered."""
        count = self._library.event_message_count(event)
        with self._counting:
            if count > len(self._messages):
                self._messages, self._failed = np.empty(count, np.int64), np.empty(count, np.int64)
            self._library.event_message_array(event, self._messages.ctypes.data, count)
            below, faults = kernels.settled(self._messages, count, self._mark, self._failed)
            self._settled += count
            self._unsettled -= below
            return [int(code) for code in self._failed[:faults]]

    def _error(self, event: int) -> KafkaError:
        code: int = self._library.event_error(event)
        if code != KafkaError._FATAL:  # noqa: SLF001
            return KafkaError(code, (self._library.event_error_string(event) or b"").decode(errors="replace"))
        text = ctypes.create_string_buffer(TEXT_BYTES)
        return KafkaError(self._library.fatal_error(self._handle, text, TEXT_BYTES), text.value.decode(errors="replace"), True)


def _nothing(*_: object) -> None:
    """For those who want to hear nothing."""
