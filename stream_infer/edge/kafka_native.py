"""kafka native: librdkafka's own C functions, on the handle inside a client of confluent-kafka. *kafka_native* → inbox, outbox.

The Python client makes an object per record; librdkafka's C interface gives and takes thousands at a time. The client stays in charge
of membership, transactions, errors and callbacks: only messages pass by it. Its handle is the first field of the Python object, which
no interface promises, so it is believed only when everything that can be checked about it is right; else the client does the work alone.
"""

from __future__ import annotations

import ctypes
import logging
import re
import sys
from collections.abc import Callable, Sequence
from ctypes import c_char_p, c_int, c_int32, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import confluent_kafka

from stream_infer.errors import EnvironmentMissing

log = logging.getLogger("stream_infer.kafka")
Native = Literal["auto", "off", "require"]
Kind = Literal["producer", "consumer"]
T = TypeVar("T")

VERSIONS = (0x02100000, 0x02110000)  # librdkafka from, below: those that the tests ran with
RK_BYTES = 8192  # how much of rd_kafka_t must be readable before its name is asked for; it is larger
_KINDS: dict[Kind, int] = {"producer": 0, "consumer": 1}
_LIBRARY = re.compile(r"/librdkafka[^/]*\.so[.0-9]*$")
_FUNCTIONS: dict[str, tuple[Any, Sequence[Any]]] = {
    "rd_kafka_version": (c_int, ()),
    "rd_kafka_name": (c_char_p, (c_void_p,)),
    "rd_kafka_type": (c_int, (c_void_p,)),
    "rd_kafka_queue_new": (c_void_p, (c_void_p,)),
    "rd_kafka_queue_get_consumer": (c_void_p, (c_void_p,)),
    "rd_kafka_queue_get_partition": (c_void_p, (c_void_p, c_char_p, c_int32)),
    "rd_kafka_queue_forward": (None, (c_void_p, c_void_p)),
    "rd_kafka_queue_destroy": (None, (c_void_p,)),
    "rd_kafka_get_watermark_offsets": (c_int, (c_void_p, c_char_p, c_int32, c_void_p, c_void_p)),
    "rd_kafka_consume_batch_queue": (ctypes.c_ssize_t, (c_void_p, c_int, c_void_p, c_size_t)),
    "rd_kafka_message_errstr": (c_char_p, (c_void_p,)),
    "rd_kafka_message_timestamp": (ctypes.c_int64, (c_void_p, c_void_p)),
    "rd_kafka_message_destroy": (None, (c_void_p,)),
    "rd_kafka_topic_name": (c_char_p, (c_void_p,)),
    "rd_kafka_topic_new": (c_void_p, (c_void_p, c_char_p, c_void_p)),
    "rd_kafka_topic_destroy": (None, (c_void_p,)),
    "rd_kafka_produceva": (c_void_p, (c_void_p, c_void_p, c_size_t)),
    "rd_kafka_error_code": (c_int, (c_void_p,)),
    "rd_kafka_error_destroy": (None, (c_void_p,)),
    "rd_kafka_last_error": (c_int, ()),
    "rd_kafka_conf": (c_void_p, (c_void_p,)),
    "rd_kafka_conf_new": (c_void_p, ()),
    "rd_kafka_conf_set": (c_int, (c_void_p, c_char_p, c_char_p, c_char_p, c_size_t)),
    "rd_kafka_conf_set_error_cb": (None, (c_void_p, c_void_p)),
    "rd_kafka_conf_set_events": (None, (c_void_p, c_int)),
    "rd_kafka_conf_destroy": (None, (c_void_p,)),
    "rd_kafka_new": (c_void_p, (c_int, c_void_p, c_char_p, c_size_t)),
    "rd_kafka_destroy": (None, (c_void_p,)),
    "rd_kafka_set_log_queue": (c_int, (c_void_p, c_void_p)),
    "rd_kafka_queue_get_main": (c_void_p, (c_void_p,)),
    "rd_kafka_queue_poll": (c_void_p, (c_void_p, c_int)),
    "rd_kafka_event_type": (c_int, (c_void_p,)),
    "rd_kafka_event_error": (c_int, (c_void_p,)),
    "rd_kafka_event_error_string": (c_char_p, (c_void_p,)),
    "rd_kafka_event_stats": (c_char_p, (c_void_p,)),
    "rd_kafka_event_log": (c_int, (c_void_p, c_void_p, c_void_p, c_void_p)),
    "rd_kafka_event_message_count": (c_size_t, (c_void_p,)),
    "rd_kafka_event_message_array": (c_size_t, (c_void_p, c_void_p, c_size_t)),
    "rd_kafka_event_destroy": (None, (c_void_p,)),
    "rd_kafka_fatal_error": (c_int, (c_void_p, c_char_p, c_size_t)),
    "rd_kafka_flush": (c_int, (c_void_p, c_int)),
    "rd_kafka_purge": (c_int, (c_void_p, c_int)),
    "rd_kafka_outq_len": (c_int, (c_void_p,)),
}


class Unfit(Exception):
    """Why the C interface is not used here."""


class Library:
    """librdkafka as this process has it loaded. Functions by their names without rd_kafka_; call() gives one's place in memory."""

    def __init__(self, path: str) -> None:
        loaded = ctypes.CDLL(path)  # the same handle: it is loaded already
        self._functions: dict[str, Any] = {}
        for name, (result, arguments) in _FUNCTIONS.items():
            try:
                function = getattr(loaded, name)
            except AttributeError:
                raise Unfit(f"{path} has no {name}") from None
            function.restype, function.argtypes = result, arguments
            self._functions[name.removeprefix("rd_kafka_")] = function

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            found: Callable[..., Any] = self._functions[name]
        except KeyError:
            raise AttributeError(name) from None
        return found

    def place(self, name: str) -> int:
        """Where a function lies, for kernels."""
        return int(ctypes.cast(self._functions[name], c_void_p).value or 0)


def handle_of(client: Any, kind: Kind, native: Native) -> tuple[Library, int] | None:
    """The library and the rd_kafka_t of a Consumer or Producer; None, with a line in the log, where only the client itself may be used.

    native: "off" never asks; "require" makes EnvironmentMissing of what "auto" logs.
    """
    return fitting(lambda: (library(), _handle(library(), client, kind)), native)


def fitting(make: Callable[[], T], native: Native) -> T | None:
    """What make() gives; None when it is Unfit, or native is "off". native "require": EnvironmentMissing instead of a line in the log."""
    if native == "off":
        return None
    try:
        return make()
    except Unfit as reason:
        if native == "require":
            raise EnvironmentMissing(
                "librdkafka's C interface cannot be used",
                got=str(reason),
                expected=f"confluent-kafka's Linux wheel of a librdkafka from {_spelt(VERSIONS[0])}, below {_spelt(VERSIONS[1])}",
                fix="install the locked version, or do not require it: STREAM_INFER_NATIVE=auto",
            ) from None
        _told(str(reason))
        return None


@cache
def library() -> Library:
    """librdkafka as confluent-kafka loaded it. Unfit when it is not known well enough."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32 or sys.byteorder != "little":
        raise Unfit(f"tested on 64-bit Linux only, this is {sys.platform}")
    if sys.implementation.name != "cpython":
        raise Unfit(f"tested on CPython only, this is {sys.implementation.name}")
    paths = sorted({path for _, _, path in _mappings() if _LIBRARY.search(path)})
    if len(paths) != 1:
        raise Unfit(f"librdkafka is loaded from {paths or 'nowhere'}, not from one file")
    found = Library(paths[0])
    version = found.version()
    if version != confluent_kafka.libversion()[1] or not VERSIONS[0] <= version < VERSIONS[1]:
        raise Unfit(f"librdkafka {_spelt(version)} at {paths[0]} is not among the tested versions")
    return found


def _handle(known: Library, client: Any, kind: Kind) -> int:
    """The client's rd_kafka_t, after everything that can be said about it beforehand was found to be so."""
    at = object.__basicsize__  # the first field after what every Python object begins with
    if type(client).__basicsize__ < at + 8:
        raise Unfit(f"{type(client).__name__} has no room for a handle")
    handle = c_void_p.from_address(id(client) + at).value or 0
    if handle % 16 or not _readable(handle, RK_BYTES):
        raise Unfit(f"what stands in {type(client).__name__} is no pointer")
    name = known.name(handle)
    # "<client.id>#consumer-7": the number counts this process's clients, so no other memory says the same.
    if not re.fullmatch(rb"[ -~]+#" + kind.encode() + rb"-[1-9][0-9]*", name) or known.type(handle) != _KINDS[kind]:
        raise Unfit(f"what stands in {type(client).__name__} is no {kind}: {name[:40]!r}")
    return handle


def _readable(place: int, size: int) -> bool:
    end = place + size
    for first, after, _ in _mappings(readable=True):
        if first <= place < after:
            place = after  # it may go on in the next one: numpy's huge pages, for instance, part the heap for good
    return place >= end


def _mappings(*, readable: bool = False) -> list[tuple[int, int, str]]:
    """First byte, byte after, file of what this process has mapped."""
    out = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, *rest = line.split(maxsplit=5)
        if rights.startswith("rw") or not readable:
            first, after = (int(end, 16) for end in span.split("-"))
            out.append((first, after, rest[-1] if len(rest) == 4 else ""))
    return out


@cache
def _told(reason: str) -> None:
    log.warning("Kafka records pass through the Python client one by one, at some 2 µs more each: %s", reason)


def _spelt(version: int) -> str:
    return ".".join(str(version >> shift & 0xFF) for shift in (24, 16, 8))
