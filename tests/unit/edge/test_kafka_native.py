from __future__ import annotations

import ctypes
import logging
import mmap

import pytest
from confluent_kafka import Consumer, Producer

from stream_infer.edge import kafka_native
from stream_infer.edge.kafka_client import native_of
from stream_infer.edge.kafka_native import Kind, handle_of
from stream_infer.errors import EnvironmentMissing


def consumer(**settings: str) -> Consumer:
    return Consumer({"bootstrap.servers": "localhost:1", "group.id": "g", "log_level": 0, **settings})


def producer(**settings: str) -> Producer:
    return Producer({"bootstrap.servers": "localhost:1", "log_level": 0, **settings})


class Stranger:
    """Of the size of a client, with something else in the place of its handle."""

    __slots__ = ("first", "second")

    def __init__(self, first: object) -> None:
        self.first = first


@pytest.mark.parametrize("settings", [{}, {"client.id": "mine#consumer-1"}, {"client.id": "a client of 3 words"}])
def test_a_client_holds_its_handle_whatever_it_is_called(settings: dict[str, str]) -> None:
    """Against librdkafka's own name for it, which begins with the client's."""
    reader, writer = consumer(**settings), producer(**settings)
    for client, kind in ((reader, "consumer"), (writer, "producer")):
        found = handle_of(client, kind, "require")  # type: ignore[arg-type]
        assert found is not None
        known, handle = found
        assert known.name(handle).startswith(settings.get("client.id", "rdkafka").encode() + f"#{kind}-".encode())
    reader.close()


@pytest.mark.parametrize("kind", ["consumer", "producer"])
@pytest.mark.parametrize("first", [None, 17, "a text of some length, in the place of a handle" * 300, bytearray(1 << 20)])
def test_what_is_no_handle_is_not_believed(first: object, kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    kafka_native._told.cache_clear()
    with caplog.at_level(logging.WARNING, "stream_infer.kafka"):
        assert handle_of(Stranger(first), kind, "auto") is None
        assert handle_of(Stranger(first), kind, "auto") is None
    assert len(caplog.messages) <= 1  # once; none where the line was just told, which is the log's rule
    with pytest.raises(EnvironmentMissing, match="what stands in Stranger is no"):
        handle_of(Stranger(first), kind, "require")


def test_a_client_of_the_other_kind_is_not_believed() -> None:
    with pytest.raises(EnvironmentMissing, match="is no consumer"):
        handle_of(producer(), "consumer", "require")


def test_memory_is_readable_across_mappings_and_not_across_a_hole() -> None:
    """One piece of the heap may be several mappings, for instance where numpy asked for huge pages."""
    page, memory = mmap.PAGESIZE, mmap.mmap(-1, 6 * mmap.PAGESIZE)
    place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    memory.madvise(mmap.MADV_DONTFORK, 2 * page, 2 * page)
    assert len([first for first, _, _ in kafka_native._mappings(readable=True) if place < first < place + 6 * page]) == 2
    assert kafka_native._readable(place + page // 2, 5 * page)
    assert not kafka_native._readable(place, 1 << 46)

    libc = ctypes.CDLL(None)
    assert libc.mprotect(ctypes.c_void_p(place + 4 * page), page, 0) == 0
    assert kafka_native._readable(place, 4 * page)
    assert not kafka_native._readable(place, 4 * page + 1)
    assert not kafka_native._readable(place, 6 * page)
    assert not kafka_native._readable(place + 4 * page, 1)
    assert libc.mprotect(ctypes.c_void_p(place + 4 * page), page, mmap.PROT_READ | mmap.PROT_WRITE) == 0


def test_off_asks_nothing() -> None:
    assert handle_of(object(), "consumer", "off") is None


def test_a_librdkafka_that_nobody_tested_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka_native.library.cache_clear()
    monkeypatch.setattr(kafka_native, "VERSIONS", (0x03000000, 0x03010000))
    with pytest.raises(EnvironmentMissing, match=r"librdkafka 2\.\d+\.\d+ at .* is not among the tested versions"):
        handle_of(producer(), "producer", "require")
    kafka_native.library.cache_clear()


def test_the_environment_says_which_way() -> None:
    assert native_of({}) == "auto"
    assert native_of({"STREAM_INFER_NATIVE": "off"}) == "off"
    with pytest.raises(EnvironmentMissing, match="auto, off or require"):
        native_of({"STREAM_INFER_NATIVE": "yes"})
