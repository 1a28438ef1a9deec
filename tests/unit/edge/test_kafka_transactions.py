"""The error table, against a producer that answers as told: which calls follow which error, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from stream_infer.edge.kafka_transactions import Transactions
from stream_infer.edge.kafka_watchdog import Watchdog
from stream_infer.errors import EnvironmentMissing, Fenced
from stream_infer.flow.transport import Outcome
from tests.support import blobs

RETRIABLE = KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, "loading", retriable=True)
TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "no answer", retriable=True)
ABORTABLE = KafkaError(KafkaError.ILLEGAL_GENERATION, "generation", txn_requires_abort=True)
FORBIDDEN = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no right", txn_requires_abort=True)
FENCED = KafkaError(KafkaError._FENCED, "newer instance", fatal=True)
BAD_STATE = KafkaError(KafkaError.INVALID_TXN_STATE, "state", fatal=True)
NONE_OF_THREE = KafkaError(KafkaError.UNKNOWN, "what?")


class ScriptedProducer:
    """Notes every call; the n-th call of a name fails as the script says."""

    def __init__(self, script: Mapping[str, Sequence[KafkaError | None]], calls: list[str]) -> None:
        self._script = {name: list(answers) for name, answers in script.items()}
        self.calls = calls
        self.left = 0
        self.flushing: Callable[[], object] = lambda: None
        self.sending_offsets: Callable[[], object] = lambda: None

    def _answer(self, name: str) -> None:
        self.calls.append(name)
        error = self._script[name].pop(0) if self._script.get(name) else None
        if error is not None:
            raise KafkaException(error)

    def init_transactions(self, timeout: float) -> None:
        self._answer("init")

    def begin_transaction(self) -> None:
        self._answer("begin")

    def produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int) -> None:
        self._answer("produce")

    def flush(self, timeout: float) -> int:
        self._answer("flush")
        self.flushing()
        return self.left

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], metadata: object, timeout: float) -> None:
        self.sending_offsets()
        self._answer(f"offsets {[(o.topic, o.partition, o.offset) for o in offsets]} {metadata}")

    def commit_transaction(self, timeout: float) -> None:
        assert timeout == -1
        self._answer("commit")

    def abort_transaction(self, timeout: float) -> None:
        self._answer("abort")

    def purge(self, blocking: bool) -> None:
        self._answer("purge")

    def close(self) -> None:
        self._answer("close")

    def poll(self, timeout: float) -> int:
        if self._script.get("poll"):
            raise KafkaException(self._script["poll"].pop(0))
        return 0


def begun(
    watchdog: Watchdog, configs: list[dict[str, Any]] | None = None, **script: Sequence[KafkaError | None]
) -> tuple[Transactions, list[str]]:
    """One record is in the open transaction; calls holds what comes after it. Later producers succeed in everything."""
    calls: list[str] = []
    scripts = iter([script])

    def make(config: dict[str, Any]) -> Any:
        if configs is not None:
            configs.append(config)
        return ScriptedProducer(next(scripts, {}), calls)

    transactions = Transactions({"transactional.id": "app.0"}, 0.2, watchdog, make)
    transactions.send("t", blobs([b"k"]), blobs([b"v"]), None, None)
    assert calls == ["init", "begin", "produce"]
    calls.clear()
    return transactions, calls


OFFSETS = [TopicPartition("in", 0, 7)]
SENT = "offsets [('in', 0, 7)] meta"


def test_a_commit_without_trouble(watchdog: Watchdog) -> None:
    transactions, calls = begun(watchdog)
    assert transactions.commit(OFFSETS, "meta") is Outcome.COMMITTED
    assert calls == ["flush", SENT, "commit"]
    assert not transactions.is_open


def test_what_may_be_repeated_is_repeated_with_the_same_arguments(watchdog: Watchdog) -> None:
    transactions, calls = begun(watchdog, **{SENT: [RETRIABLE, TIMED_OUT, None], "commit": [RETRIABLE, None]})
    assert transactions.commit(OFFSETS, "meta") is Outcome.COMMITTED
    assert calls == ["flush", SENT, SENT, SENT, "commit", "commit"]


def test_offsets_wait_for_records_that_the_broker_does_not_take(watchdog: Watchdog) -> None:
    transactions, calls = begun(watchdog)
    producer: Any = transactions._producer
    producer.left = 3
    assert transactions.commit(OFFSETS, "meta") is Outcome.ABORTED
    assert calls == ["flush", "abort"]


@pytest.mark.parametrize("where", ["flush", SENT, "commit"])
def test_an_abortable_error_aborts_and_the_next_transaction_begins_anew(watchdog: Watchdog, where: str) -> None:
    transactions, calls = begun(watchdog, **{where: [ABORTABLE]})
    assert transactions.commit(OFFSETS, "meta") is Outcome.ABORTED
    assert calls[-2:] == [where, "abort"]
    assert transactions.commit(OFFSETS, "meta") is Outcome.COMMITTED
    assert calls[-4:] == ["begin", "flush", SENT, "commit"]
    assert transactions.rebuilt == 0


@pytest.mark.parametrize(
    "script", [{"commit": [TIMED_OUT]}, {"commit": [ABORTABLE], "abort": [TIMED_OUT]}, {"commit": [ABORTABLE], "abort": [BAD_STATE]}]
)
def test_an_end_that_nobody_knows_makes_a_new_producer_of_the_same_id(
    watchdog: Watchdog, script: dict[str, list[KafkaError | None]]
) -> None:
    transactions, calls = begun(watchdog, **script)
    assert transactions.commit([], None) is Outcome.ABORTED
    assert calls[-3:] == ["purge", "close", "init"]
    assert transactions.rebuilt == 1
    assert transactions.commit(OFFSETS, "meta") is Outcome.COMMITTED


@pytest.mark.parametrize("error", [FENCED, BAD_STATE, NONE_OF_THREE])
def test_a_fatal_error_and_one_without_class_end_the_producer(watchdog: Watchdog, error: KafkaError) -> None:
    transactions, calls = begun(watchdog, commit=[error])
    with pytest.raises(Fenced, match=r"app\.0"):
        transactions.commit([], None)
    assert calls == ["commit"]


def test_being_fenced_shows_in_an_abort_too(watchdog: Watchdog) -> None:
    transactions, _ = begun(watchdog, abort=[FENCED])
    with pytest.raises(Fenced, match="another process works under the transactional id"):
        transactions.abort()


def test_being_fenced_shows_where_the_client_tells_what_it_heard(watchdog: Watchdog) -> None:
    transactions, calls = begun(watchdog)
    transactions._producer._script["poll"] = [FENCED]  # type: ignore[attr-defined]
    with pytest.raises(Fenced, match="another process works under the transactional id"):
        transactions.commit([], None)
    assert calls == []


def test_a_right_that_is_missing_aborts_and_stops_instead_of_going_round_for_ever(watchdog: Watchdog) -> None:
    transactions, calls = begun(watchdog, commit=[FORBIDDEN])
    with pytest.raises(EnvironmentMissing, match="ACLs"):
        transactions.commit([], None)
    assert calls == ["commit", "abort"]


def test_a_record_that_cannot_be_queued_dooms_its_transaction(watchdog: Watchdog) -> None:
    calls: list[str] = []
    script: dict[str, list[KafkaError | None]] = {"produce": [KafkaError(KafkaError._STATE, "in error")]}
    transactions = Transactions({"transactional.id": "app.0"}, 0.2, watchdog, lambda _: ScriptedProducer(script, calls))  # type: ignore[arg-type,return-value]
    transactions.send("t", blobs([b"k"]), blobs([b"v"]), None, None)
    transactions.send("t", blobs([b"k"]), blobs([b"v"]), None, None)
    assert transactions.commit(OFFSETS, "meta") is Outcome.ABORTED
    assert calls == ["init", "begin", "produce", "abort"]


def test_nothing_is_sent_to_end_a_transaction_that_never_began(watchdog: Watchdog) -> None:
    transactions, calls = begun(watchdog)
    transactions.abort()
    calls.clear()
    assert transactions.abort() is Outcome.ABORTED
    assert calls == []


def test_the_watchdog_calls_out_over_a_call_that_hangs_and_only_then() -> None:
    stalled: list[str] = []
    fired = threading.Event()

    def on_stall(what: str, seconds: float) -> None:
        assert seconds > 0.1
        stalled.append(what)
        fired.set()

    watchdog = Watchdog(0.1, on_stall)
    with watchdog.over("quick"):
        pass
    with watchdog.over("commit_transaction"):
        assert fired.wait(10)
    watchdog.close()
    assert stalled == ["commit_transaction"]


CUT_OFF = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
LOST_ONE = KafkaError(KafkaError._TRANSPORT, "one of them")


def test_a_producer_that_lost_all_its_brokers_is_not_used_again(watchdog: Watchdog) -> None:
    """It would wait for ever for a coordinator that left (librdkafka #5511)."""
    configs: list[dict[str, Any]] = []
    transactions, calls = begun(watchdog, configs)
    configs[0]["error_cb"](CUT_OFF)
    assert transactions.commit(OFFSETS, "meta") is Outcome.ABORTED
    assert calls == ["abort"]
    calls.clear()
    transactions.send("t", blobs([b"k"]), blobs([b"v"]), None, None)
    assert transactions.commit(OFFSETS, "meta") is Outcome.COMMITTED
    assert calls == ["purge", "close", "init", "begin", "produce", "flush", SENT, "commit"]
    assert transactions.rebuilt == 1
    calls.clear()
    configs[1]["error_cb"](CUT_OFF)  # while no transaction is open
    transactions.send("t", blobs([b"k"]), blobs([b"v"]), None, None)
    assert calls == ["purge", "close", "init", "begin", "produce"]


def test_offsets_are_not_sent_by_a_producer_that_lost_its_brokers_while_records_were_awaited(watchdog: Watchdog) -> None:
    configs: list[dict[str, Any]] = []
    transactions, calls = begun(watchdog, configs)
    producer: Any = transactions._producer
    producer.flushing = lambda: configs[0]["error_cb"](CUT_OFF)
    assert transactions.commit(OFFSETS, "meta") is Outcome.ABORTED
    assert calls == ["flush", "abort"]


def test_a_producer_that_lost_its_brokers_while_it_sends_offsets_is_left_behind(watchdog: Watchdog) -> None:
    configs: list[dict[str, Any]] = []
    transactions, calls = begun(watchdog, configs)
    producer: Any = transactions._producer
    returns = threading.Event()

    def hang() -> None:
        configs[0]["error_cb"](CUT_OFF)
        returns.wait()

    producer.sending_offsets = hang
    assert transactions.commit(OFFSETS, "meta") is Outcome.ABORTED
    assert calls == ["flush", "init"]  # neither purged nor closed: both wait for the call
    assert transactions.rebuilt == 1
    calls.clear()
    transactions.send("t", blobs([b"k"]), blobs([b"v"]), None, None)
    assert transactions.commit(OFFSETS, "meta") is Outcome.COMMITTED
    assert calls == ["begin", "produce", "flush", SENT, "commit"]
    returns.set()


def test_the_loss_of_one_broker_is_left_to_the_client(watchdog: Watchdog) -> None:
    configs: list[dict[str, Any]] = []
    transactions, calls = begun(watchdog, configs)
    configs[0]["error_cb"](LOST_ONE)
    assert transactions.commit(OFFSETS, "meta") is Outcome.COMMITTED
    assert calls == ["flush", SENT, "commit"]


def test_what_the_client_reports_is_passed_on(watchdog: Watchdog) -> None:
    configs: list[dict[str, Any]] = []
    heard: list[KafkaError] = []

    def make(config: dict[str, Any]) -> Any:
        configs.append(config)
        return ScriptedProducer({}, [])

    Transactions({"transactional.id": "app.0", "error_cb": heard.append}, 0.2, watchdog, make)
    configs[0]["error_cb"](LOST_ONE)
    configs[0]["error_cb"](CUT_OFF)
    assert heard == [LOST_ONE, CUT_OFF]
