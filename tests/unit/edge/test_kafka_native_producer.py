from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream_infer.edge.kafka_native_producer import NativeProducer, native_producer
from stream_infer.errors import EnvironmentMissing
from tests.support import blobs


class Told:
    """What a producer without a broker tells."""

    def __init__(self, **settings: Any) -> None:
        self.failed: list[KafkaError] = []
        self.errors: list[KafkaError] = []
        self.statistics: list[str] = []
        made = native_producer(
            {
                "bootstrap.servers": "localhost:1",
                "logger": logging.getLogger("test.kafka"),
                "error_cb": self.errors.append,
                "stats_cb": self.statistics.append,
                "on_delivery": lambda error, _message: self.failed.append(error),
                "delivery.report.only.error": True,
                **settings,
            },
            "require",
        )
        assert made is not None
        self.producer: NativeProducer = made

    def until(self, what: str) -> None:
        over = time.monotonic() + 20
        while not getattr(self, what) and time.monotonic() < over:
            self.producer.poll(0.01)


def test_errors_statistics_and_log_lines_reach_those_who_asked(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(**{"statistics.interval.ms": 10, "client.id": "who", "debug": "topic"})
    with caplog.at_level(logging.DEBUG, "test.kafka"):
        told.until("errors")
        told.until("statistics")
    told.producer.close()
    assert {error.code() for error in told.errors} <= {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}
    assert told.errors
    assert '"client_id":"who"' in told.statistics[0].replace(" ", "")
    assert any("who#producer-" in line for line in caplog.messages)


def test_every_record_that_is_purged_or_late_is_reported_once() -> None:
    told = Told(**{"delivery.timeout.ms": 100, "linger.ms": 1})
    with told.producer.outbox.queueing("t", blobs([b"k"] * 7), blobs([b"v"] * 7), 0, None) as queue:
        assert queue(0, 7) == 7
    assert told.producer.flush(20.0) == 0
    assert [error.code() for error in told.failed] == [KafkaError._MSG_TIMED_OUT] * 7
    told.failed.clear()
    with told.producer.outbox.queueing("t", blobs([b"k"] * 5), blobs([b"v"] * 5), 0, None) as queue:
        assert queue(1, 4) == 4
    told.producer.purge()
    assert told.producer.flush(20.0) == 0
    assert [error.code() for error in told.failed] == [KafkaError._PURGE_QUEUE] * 3
    told.producer.close()
    told.producer.close()


def test_a_full_queue_tells_how_far_it_came() -> None:
    told = Told(**{"queue.buffering.max.messages": 10})
    with told.producer.outbox.queueing("t", blobs([b"k"] * 30), blobs([None] * 30), -1, None) as queue:
        assert queue(0, 30) == 10
        assert queue(10, 30) == 10
    told.producer.purge()
    assert told.producer.flush(20.0) == 0
    assert len(told.failed) == 10
    told.producer.close()


def test_a_wrong_setting_is_named() -> None:
    """By the name that librdkafka has for linger.ms."""
    with pytest.raises(KafkaException, match=r"queue\.buffering\.max\.ms"):
        Told(**{"linger.ms": "soon"})


def test_tokens_are_left_to_the_python_client() -> None:
    config = {"sasl.mechanism": "OAUTHBEARER", "on_delivery": print, "logger": logging.getLogger("test.kafka")}
    assert native_producer(config, "auto") is None
    assert native_producer(config, "off") is None
    with pytest.raises(EnvironmentMissing, match="OAUTHBEARER"):
        native_producer(config, "require")


def test_what_was_queued_before_the_mark_is_waited_for_and_nothing_else() -> None:
    told = Told()
    with told.producer.outbox.queueing("t", blobs([b"k"] * 9), blobs([b"v"] * 9), 0, None) as queue:
        told.producer.mark()
        assert told.producer.settle(20.0) == 0
        assert queue(0, 5) == 5
        assert told.producer.settle(20.0) == 0  # they came after the mark
        told.producer.mark()
        assert queue(5, 9) == 9
    assert told.producer.settle(0.05) == 5
    told.producer.purge()
    assert told.producer.settle(20.0) == 0
    told.producer.flush(20.0)
    assert len(told.failed) == 9
    told.producer.close()
