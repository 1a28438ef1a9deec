from __future__ import annotations

import logging
import socket

import pytest
from confluent_kafka import Consumer, KafkaError

from stream_infer.edge import kafka_client
from stream_infer.edge.kafka_client import CLIENT_ALLOWED, KafkaSettings, check_client
from stream_infer.edge.kafka_errors import Complaints, Seldom, Verdict, explained, verdict
from stream_infer.edge.topics import check_connection
from stream_infer.errors import EnvironmentMissing

SETTINGS = KafkaSettings(
    "localhost:1", "flights", "flights.0", client={"linger.ms": "1", "fetch.max.bytes": "1000", "sasl.password": "secret"}
)


def note(_error: object) -> None:
    """An on_error for those who want none."""


@pytest.mark.parametrize(
    "name",
    [
        "plugin.library.paths",
        "sasl.kerberos.kinit.cmd",
        "ssl.engine.location",
        "sasl.oauthbearer.token.endpoint.url",
        "enable.ssl.certificate.verification",
        "enable.auto.commit",
        "isolation.level",
        "transactional.id",
        "enable.idempotence",
        "group.id",
        "auto.offset.reset",
    ],
)
def test_what_loads_code_or_changes_the_guarantees_is_refused(name: str) -> None:
    assert name not in CLIENT_ALLOWED
    with pytest.raises(EnvironmentMissing, match=name):
        check_client({name: "x"})


def test_a_misspelt_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(EnvironmentMissing, match=r"did you mean linger\.ms\?"):
        check_client({"lingr.ms": "1"})


def test_each_client_gets_its_own_settings_and_the_user_cannot_move_ours() -> None:
    consumer, producer = kafka_client.consumer(SETTINGS, note), kafka_client.producer(SETTINGS, note)
    assert (consumer["fetch.max.bytes"], producer["linger.ms"]) == ("1000", "1")
    assert "linger.ms" not in consumer
    assert "fetch.max.bytes" not in producer
    assert (consumer["isolation.level"], consumer["auto.offset.reset"], consumer["enable.auto.commit"]) == (
        "read_committed",
        "error",
        False,
    )
    assert consumer["partition.assignment.strategy"] == "range"
    assert (producer["partitioner"], producer["transactional.id"], producer["acks"]) == ("murmur2_random", "flights.0", "all")
    assert producer["delivery.timeout.ms"] <= producer["transaction.timeout.ms"]


def test_the_consumer_protocol_gets_no_setting_that_librdkafka_refuses_beside_it() -> None:
    settings = KafkaSettings("b:1", "g", "g.0", group_protocol="consumer")
    made = kafka_client.member(settings, print)
    classic = kafka_client.member(KafkaSettings("b:1", "g", "g.0", group_protocol="classic"), print)
    assert made["group.protocol"] == "consumer"
    assert made["group.remote.assignor"] == classic["partition.assignment.strategy"] == "range"
    assert classic.keys() - made.keys() == {"partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"}
    Consumer({name: value for name, value in made.items() if name not in ("logger", "error_cb")}).close()
    assert "group.protocol" not in kafka_client.consumer(settings, print)  # who reads beside the group has none


def test_the_environment_says_which_group_protocol() -> None:
    assert kafka_client.group_protocol_of({}) == "classic"
    assert kafka_client.group_protocol_of({"STREAM_INFER_GROUP_PROTOCOL": "consumer"}) == "consumer"
    with pytest.raises(EnvironmentMissing, match="classic or consumer"):
        kafka_client.group_protocol_of({"STREAM_INFER_GROUP_PROTOCOL": "eager"})


def test_at_least_once_has_no_transactional_id() -> None:
    config = kafka_client.producer(KafkaSettings("localhost:1", "g", "g.0", guarantee="at_least_once"), note)
    assert "transactional.id" not in config
    assert config["enable.idempotence"] is True


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(SETTINGS)


def test_a_broker_that_is_not_there_is_named_once_the_time_given_is_over() -> None:
    with socket.socket() as taken:  # bound, never listening: nobody else can start a broker here meanwhile
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EnvironmentMissing, match=rf"(?s)no Kafka broker answers at {address}.*refused.*start one"):
            check_connection(address, {}, wait_s_max=1.0)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (KafkaError._AUTO_OFFSET_RESET, "does not hold this offset"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "no such topic"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "ACLs"),
        (KafkaError.MSG_SIZE_TOO_LARGE, r"message\.max\.bytes"),
        (KafkaError.UNKNOWN, "Kafka failed"),
    ],
)
def test_an_error_that_will_not_pass_says_where_what_and_what_to_do(code: int, text: str) -> None:
    sentence = str(explained(KafkaError(code, "the broker's words"), "t[3]@17"))
    assert "t[3]@17" in sentence
    assert "the broker's words" in sentence
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(sentence)


def test_no_class_at_all_is_fatal() -> None:
    assert verdict(KafkaError(KafkaError.UNKNOWN, "")) is Verdict.FATAL


def test_a_refused_password_is_raised_and_a_lost_connection_is_not() -> None:
    complaints = Complaints("localhost:1")
    complaints(KafkaError(KafkaError._TRANSPORT, "gone"))
    complaints.raise_if_any()
    complaints(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    with pytest.raises(EnvironmentMissing, match="wrong password"):
        complaints.raise_if_any()


def test_an_outage_is_told_seldom_whatever_numbers_stand_in_it() -> None:
    now = [0.0]
    log = logging.getLogger("test.seldom")
    log.propagate = False
    log.addFilter(Seldom(30.0, lambda: now[0]))
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    for second in range(61):
        now[0] = float(second)
        log.error("FAIL consumer-%d: refused (after %dms)", second % 4, second * 17)
        log.warning("%d brokers are down", second)
    wanted = [(f"FAIL consumer-{second % 4}: refused (after {second * 17}ms)", f"{second} brokers are down") for second in (0, 30, 60)]
    assert told == [text for pair in wanted for text in pair]
    log.critical("ending")
    log.critical("ending")
    assert told[-2:] == ["ending", "ending"]
