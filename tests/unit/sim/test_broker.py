from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from confluent_kafka import murmur2 as murmur2_of_librdkafka
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.errors import Bug, EnvironmentMissing, Fenced
from stream_infer.flow.transport import Outcome, Partition
from stream_infer.records import Fetched
from stream_infer.sim.broker import CommitFault, SimBroker
from stream_infer.sim.groups import range_assignment
from stream_infer.sim.log import PLAIN, PartitionLog
from stream_infer.sim.murmur2 import murmur2, partition_of
from stream_infer.sim.transport import SimTransport
from tests.support import blobs

# Of Apache Kafka's own UtilsTest.
MURMUR2_OF_KAFKA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


class Owner:
    """Seeks to what is committed as soon as it may, as a worker does."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.owned: list[Partition] = []

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.told.append("assigned")
        self.owned = list(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        self.told.append("revoked")
        self.owned = [p for p in self.owned if p not in partitions]

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.told.append("lost")
        self.owned = [p for p in self.owned if p not in partitions]


def joined(broker: SimBroker, slot: str = "0", topic: str = "in") -> tuple[SimTransport, Owner]:
    transport, owner = SimTransport(broker, "g", f"app.{slot}"), Owner()
    transport.join([topic], owner)
    transport.poll(1, 0)
    return transport, owner


def values(fetched: Sequence[Fetched]) -> list[bytes | None]:
    return [value for f in fetched for value in f.values.raw()]


@pytest.mark.parametrize(("key", "expected"), MURMUR2_OF_KAFKA.items())
def test_murmur2_is_kafkas(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % (1 << 32)


@given(st.binary(max_size=60), st.integers(1, 50))
def test_a_key_has_the_partition_that_librdkafka_gives_it(key: bytes, count: int) -> None:
    assert partition_of(key, count) == murmur2_of_librdkafka(key, count)


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), max_size=12))
def test_a_log_gives_what_is_committed_before_the_first_open_transaction(steps: list[tuple[int, bool, bool]]) -> None:
    """Against rows kept by hand; steps: (transaction, whether it ends now, how)."""
    log, high = PartitionLog(), 0
    rows: list[tuple[int, int]] = []  # offset, transaction
    ended: dict[int, bool] = {}  # transaction → committed
    for producer, ends, committed in steps:
        transaction = producer + 10 * sum(1 for done in ended if done % 10 == producer)  # an ended one never writes again
        log.append(b"k", b"v", 0, (), transaction)
        rows.append((high, transaction))
        high += 1
        if ends:
            log.end(transaction, committed=committed)
            ended[transaction] = committed
            high += 1
    stable = min((offset for offset, transaction in rows if transaction not in ended), default=high)
    assert (log.high, log.stable) == (high, stable)
    found, after = log.fetch(0, 1000)
    assert [r.offset for r in found] == [offset for offset, transaction in rows if ended.get(transaction) and offset < stable]
    assert after == stable


def test_compaction_keeps_the_last_of_each_key_with_its_offset() -> None:
    broker = SimBroker()
    broker.create_topic("t", 1)
    broker.append("t", [b"a", b"b", b"a", b"c"], [b"1", b"2", b"3", None])
    broker.compact("t")
    assert broker.dump("t")[0].offsets.tolist() == [1, 2, 3]
    broker.compact("t", drop_tombstones=True)
    assert broker.dump("t")[0].offsets.tolist() == [1, 2]
    transport = SimTransport(broker, "g", "app.0")
    transport.follow(("t", 0), 0)
    assert values(transport.poll(10, 0)) == [b"2", b"3"]
    assert transport.at_end(("t", 0))


def test_retention_makes_an_old_offset_an_error_with_what_is_there() -> None:
    broker = SimBroker()
    broker.create_topic("t", 1)
    broker.append("t", [b"k"] * 5, [b"v"] * 5)
    broker.log(("t", 0)).delete_before(3)
    transport = SimTransport(broker, "g", "app.0")
    transport.follow(("t", 0), 2)
    with pytest.raises(EnvironmentMissing, match=r"(?s)t\[0\]@2.*offsets 3 to 5"):
        transport.poll(10, 0)


@given(st.integers(1, 5), st.integers(0, 6))
def test_range_gives_each_partition_once_and_equal_numbers_to_one_member(members: int, partitions: int) -> None:
    names = [f"m{n}" for n in range(members)]
    given = range_assignment({name: ["a", "b"] for name in names}, {"a": partitions, "b": partitions})
    assert sorted(p for held in given.values() for p in held) == [(t, n) for t in "ab" for n in range(partitions)]
    for held in given.values():
        assert {n for t, n in held if t == "a"} == {n for t, n in held if t == "b"}
    sizes = [len(given[name]) for name in names]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 2


@pytest.mark.parametrize("how", ["aborted", "unknown_aborted", "unknown_committed"])
def test_a_commit_that_fails_says_aborted_and_committed_offsets_tell_the_truth(how: CommitFault) -> None:
    broker = SimBroker()
    broker.create_topic("in", 1)
    broker.create_topic("out", 1)
    transport, _ = joined(broker)
    broker.fail_next_commit("app.0", how)
    transport.produce("out", blobs([b"k"]), blobs([b"v"]))
    assert transport.commit({("in", 0): 4}) is Outcome.ABORTED
    happened = how == "unknown_committed"
    assert transport.committed([("in", 0)]) == {("in", 0): 4 if happened else None}
    assert values(broker.dump("out")) == ([b"v"] if happened else [])
    assert transport.producers_rebuilt == (how != "aborted")
    transport.produce("out", blobs([b"k"]), blobs([b"next"]))
    assert transport.commit({("in", 0): 5}) is Outcome.COMMITTED
    assert values(broker.dump("out"))[-1] == b"next"


def test_a_crash_is_noticed_after_the_session_and_its_transaction_ends_with_its_timeout() -> None:
    broker = SimBroker()
    for topic in ("in", "out"):
        broker.create_topic(topic, 1)
    crashed, _ = joined(broker, "0")
    crashed.produce("out", blobs([b"k"]), blobs([b"half"]))
    crashed.crash()
    other, owner = joined(broker, "1")
    broker.advance(10_000)
    other.poll(1, 0)
    assert owner.owned == []
    broker.advance(1)
    other.poll(1, 0)
    assert owner.owned == [("in", 0)]
    assert other.end_offsets([("out", 0)]) == {("out", 0): 0}
    broker.advance(20_000)
    assert other.end_offsets([("out", 0)]) == {("out", 0): 2}
    assert values(broker.dump("out")) == []
    assert values(broker.dump("out", committed=False)) == [b"half"]
    with pytest.raises(Bug):
        crashed.poll(1, 0)


def test_waiting_for_offsets_in_an_open_transaction_takes_its_time() -> None:
    broker = SimBroker()
    broker.create_topic("in", 1)
    transport, _ = joined(broker)
    broker.add_offsets("app.0", 0, "g", {("in", 0): 5})
    reader = SimTransport(broker, "g", "app.1")
    assert reader.committed([("in", 0)]) == {("in", 0): None}
    assert broker.now_ms > 30_000
    transport.produce("in", blobs([b"k"]), blobs([b"v"]))
    with pytest.raises(Fenced):
        transport.commit({})


def test_who_does_not_come_back_to_a_rebalance_is_expelled() -> None:
    broker = SimBroker(rebalance_timeout_ms=1000)
    broker.create_topic("in", 2)
    _busy, owner = joined(broker, "0")
    other, heir = joined(broker, "1")
    broker.advance(1001)
    other.poll(1, 0)
    assert heir.owned == [("in", 0), ("in", 1)]
    assert owner.told == ["assigned"]


@settings(max_examples=25)
@given(st.integers(0, 1 << 32), st.floats(0, 1))
def test_slow_fetches_change_when_records_come_never_which_and_repeat_on_the_seed(seed: int, share: float) -> None:
    def run() -> list[tuple[int, list[int]]]:
        broker = SimBroker(seed, slow_fetch_share=share)
        broker.create_topic("t", 3)
        for number in range(3):
            broker.append("t", [b"k"] * 20, [b"v"] * 20, number)
        transport = SimTransport(broker, "g", "app.0")
        for number in range(3):
            transport.follow(("t", number), 0)
        given: list[tuple[int, list[int]]] = []
        for _ in range(2000):
            given += [(f.partition, f.offsets.tolist()) for f in transport.poll(10, 0)]
            if all(transport.at_end(("t", number)) for number in range(3)):
                return given
        raise AssertionError("never came to the end")

    first = run()
    for number in range(3):
        assert [o for partition, offsets in first if partition == number for o in offsets] == list(range(20))
    assert run() == first


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32))
def test_copying_exactly_once_under_faults_copies_each_record_once_and_in_order(seed: int) -> None:
    """The protocol in twenty lines: whatever crashes, stalls or ends unknown, the output is the input."""
    rng = np.random.default_rng(seed)
    broker = SimBroker(seed, slow_fetch_share=0.3)
    broker.create_topic("in", 2)
    broker.create_topic("out", 2)
    rows = [b"%d" % n for n in range(60)]
    broker.append("in", rows, rows)
    workers: dict[str, tuple[SimTransport, Owner, dict[Partition, int]]] = {}
    for _ in range(3000):
        slot = str(rng.integers(0, 2))
        if slot not in workers:
            workers[slot] = (*joined(broker, slot), {})
        chance = rng.random()
        if chance < 0.02:
            workers.pop(slot)[0].crash()
            continue
        if chance < 0.04:
            broker.fail_next_commit(f"app.{slot}", ("aborted", "unknown_committed", "unknown_aborted")[rng.integers(0, 3)])
        broker.advance(int(rng.integers(0, 1500)))
        try:
            step(*workers[slot])
        except Fenced:
            workers.pop(slot)[0].crash()
        if broker.group("g").committed == {p: broker.log(p).high for p in (("in", 0), ("in", 1))}:
            break
    for number in range(2):
        assert broker.dump("out")[number].values.raw() == broker.dump("in")[number].values.raw()


def step(transport: SimTransport, owner: Owner, position: dict[Partition, int]) -> None:
    """One turn of a copying worker."""
    epoch = len(owner.told)
    fetched = transport.poll(7, 0)
    if len(owner.told) != epoch:
        transport.abort()
        position.clear()
        return
    if list(position) != owner.owned:
        position |= {p: offset or 0 for p, offset in transport.committed(owner.owned).items()}
        for partition, offset in position.items():
            transport.seek(partition, offset)
        return
    for f in fetched:
        transport.produce("out", f.keys, f.values, f.partition)
        position[f.topic, f.partition] = int(f.offsets[-1]) + 1
    if fetched and transport.commit(position) is Outcome.ABORTED:
        position.clear()


def test_records_outside_of_transactions_have_none() -> None:
    log = PartitionLog()
    log.append(None, b"v", 5, (("h", b"x"),), PLAIN)
    assert (log.high, log.stable) == (1, 1)
    assert log.fetch(0, 9)[0][0].headers == (("h", b"x"),)
