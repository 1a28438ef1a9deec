from __future__ import annotations

import pytest

from stream_infer.errors import Fenced
from stream_infer.flow.transport import Outcome, Transport
from tests.conformance.clusters import Cluster, Recorder, all_of, until, values, visible
from tests.support import blobs


def member(cluster: Cluster, topic: str, slot: str = "0", group: str = "g", **options: object) -> tuple[Transport, Recorder]:
    transport, owner = cluster.transport(slot, group, **options), Recorder(slot)
    transport.join([topic], owner)
    until(lambda: owner.owned, transport, cluster=cluster)
    return transport, owner


def test_records_are_seen_after_the_commit_and_never_after_an_abort(cluster: Cluster) -> None:
    topic, writer, reader = cluster.topic("t"), cluster.transport("w"), cluster.transport("r")
    writer.produce(topic, blobs([b"k"] * 2), blobs([b"a", b"b"]))
    assert visible(reader, topic, cluster) == []
    assert writer.commit({}) is Outcome.COMMITTED
    assert values(reader, topic) == [b"a", b"b"]
    writer.produce(topic, blobs([b"k"]), blobs([b"taken back"]))
    while cluster.high((topic, 0)) < 4:
        cluster.let_pass(10)
    writer.abort()
    writer.produce(topic, blobs([b"k"]), blobs([b"c"]))
    assert writer.commit({}) is Outcome.COMMITTED
    assert values(reader, topic) == [b"a", b"b", b"c"]


def test_markers_and_aborted_records_take_offsets(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    for count, kept in ((2, True), (1, False), (3, True)):
        transport.produce(topic, blobs([b"k"] * count), blobs([b"v"] * count))
        while cluster.high((topic, 0)) < {2: 2, 1: 4, 3: 8}[count]:
            cluster.let_pass(10)
        transport.commit({}) if kept else transport.abort()
    assert [offset for offset, _, _ in all_of(transport, topic)] == [0, 1, 5, 6, 7]
    until(lambda: transport.end_offsets([(topic, 0)]) == {(topic, 0): 9}, cluster=cluster)


def test_an_open_transaction_holds_the_end_back_for_all(cluster: Cluster) -> None:
    topic, first, second, reader = cluster.topic("t"), cluster.transport("a"), cluster.transport("b"), cluster.transport("r")
    first.produce(topic, blobs([b"k"]), blobs([b"slow"]))
    while cluster.high((topic, 0)) < 1:
        cluster.let_pass(10)
    second.produce(topic, blobs([b"k"]), blobs([b"quick"]))
    assert second.commit({}) is Outcome.COMMITTED
    assert reader.end_offsets([(topic, 0)]) == {(topic, 0): 0}
    reader.follow((topic, 0), 0)
    assert until(lambda: reader.at_end((topic, 0)), reader, cluster=cluster) == []
    assert first.commit({}) is Outcome.COMMITTED
    assert values(reader, topic) == [b"slow", b"quick"]


def test_offsets_move_with_the_transaction_and_only_with_it(cluster: Cluster) -> None:
    topic, out = cluster.topic("in", 2), cluster.topic("out")
    transport, _ = member(cluster, topic)
    places = [(topic, 0), (topic, 1)]
    assert transport.committed(places) == {(topic, 0): None, (topic, 1): None}
    transport.produce(out, blobs([b"k"]), blobs([b"v"]))
    assert transport.commit({(topic, 0): 7}) is Outcome.COMMITTED
    assert transport.committed(places) == {(topic, 0): 7, (topic, 1): None}
    transport.produce(out, blobs([b"k"]), blobs([b"taken back"]))
    transport.abort()
    assert transport.committed(places) == {(topic, 0): 7, (topic, 1): None}
    assert transport.commit({(topic, 0): 9, (topic, 1): 0}) is Outcome.COMMITTED  # offsets alone are a transaction too
    assert transport.committed(places) == {(topic, 0): 9, (topic, 1): 0}
    assert values(transport, out) == [b"v"]


def test_nothing_pending_is_committed_at_once(cluster: Cluster) -> None:
    transport = cluster.transport()
    assert transport.commit({}) is Outcome.COMMITTED
    transport.abort()
    transport.produce("no such topic", blobs([]), blobs([]))
    assert transport.commit({}) is Outcome.COMMITTED


def test_an_abort_right_after_the_first_record_leaves_the_producer_usable(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    for _ in range(5):
        transport.produce(topic, blobs([b"k"]), blobs([b"taken back"]))
        transport.abort()
    transport.produce(topic, blobs([b"k"]), blobs([b"kept"]))
    assert transport.commit({}) is Outcome.COMMITTED
    assert values(transport, topic) == [b"kept"]


def test_who_never_joined_commits_no_offsets(cluster: Cluster) -> None:
    """Kafka itself takes such a commit: a generation of -1 fences nothing."""
    topic, out = cluster.topic("in"), cluster.topic("out")
    transport = cluster.transport()
    transport.produce(out, blobs([b"k"]), blobs([b"v"]))
    assert transport.commit({(topic, 0): 5}) is Outcome.ABORTED
    assert transport.committed([(topic, 0)]) == {(topic, 0): None}
    assert values(transport, out) == []


def test_offsets_of_a_partition_of_another_member_abort(cluster: Cluster) -> None:
    """The broker fences members and generations, never partitions: looking at ownership is our part."""
    topic, out = cluster.topic("in", 2), cluster.topic("out")
    first, owner = member(cluster, topic, "a")
    second, other = cluster.transport("b"), Recorder("b")
    second.join([topic], other)
    until(lambda: len(owner.owned) == 1 and len(other.owned) == 1, first, second, cluster=cluster)
    first.produce(out, blobs([b"k"]), blobs([b"stale"]))
    assert first.commit({other.owned[0]: 5}) is Outcome.ABORTED
    assert first.committed([other.owned[0]]) == {other.owned[0]: None}
    assert values(second, out) == []


def test_the_older_of_two_with_one_transactional_id_is_fenced(cluster: Cluster) -> None:
    topic = cluster.topic("t")
    older = cluster.transport("0")
    older.produce(topic, blobs([b"k"]), blobs([b"zombie's"]))
    newer = cluster.transport("0")
    with pytest.raises(Fenced, match=rf"{cluster.prefix}\.0"):
        older.commit({})
    newer.produce(topic, blobs([b"k"]), blobs([b"successor's"]))
    assert newer.commit({}) is Outcome.COMMITTED
    assert values(newer, topic) == [b"successor's"]


def test_a_restart_with_the_same_id_ends_what_the_crash_left_open(cluster: Cluster) -> None:
    topic = cluster.topic("t")
    crashed = cluster.transport("0")
    crashed.produce(topic, blobs([b"k"]), blobs([b"half"]))
    while cluster.high((topic, 0)) < 1:
        cluster.let_pass(10)
    restarted = cluster.transport("0")
    restarted.produce(topic, blobs([b"k"]), blobs([b"whole"]))
    assert restarted.commit({}) is Outcome.COMMITTED
    assert values(restarted, topic) == [b"whole"]


def test_a_transaction_that_outlasts_its_timeout_is_fenced(cluster: Cluster) -> None:
    topic, reader = cluster.topic("t"), cluster.transport("r")
    slow = cluster.transport("slow", transaction_timeout_ms=1000)
    slow.produce(topic, blobs([b"k"]), blobs([b"late"]))
    while cluster.high((topic, 0)) < 2:  # the record, and the marker of the broker's abort
        cluster.let_pass(100)
    with pytest.raises(Fenced):
        slow.commit({})
    assert values(reader, topic) == []


def test_at_least_once_shows_records_before_the_commit_and_offsets_after_it(cluster: Cluster) -> None:
    topic, out = cluster.topic("in"), cluster.topic("out")
    transport, _ = member(cluster, topic, guarantee="at_least_once")
    transport.produce(out, blobs([b"k"]), blobs([b"early"]))
    while cluster.high((out, 0)) < 1:
        cluster.let_pass(10)
    assert visible(transport, out, cluster) == [b"early"]
    assert transport.committed([(topic, 0)]) == {(topic, 0): None}
    assert transport.commit({(topic, 0): 3}) is Outcome.COMMITTED
    assert transport.committed([(topic, 0)]) == {(topic, 0): 3}
    assert cluster.high((out, 0)) == 1  # no marker


def test_at_least_once_nothing_waits_for_a_commit_under_way(cluster: Cluster) -> None:
    out = cluster.topic("out")
    transport, _ = member(cluster, cluster.topic("in"), guarantee="at_least_once")
    sent: list[bytes | None] = []
    for number in range(20):
        for name in ("a", "b"):
            sent.append(f"{name}{number}".encode())
            transport.produce(out, blobs([b"k"]), blobs(sent[-1:]))
            if name == "a":
                transport.begin_commit({})
            if not transport.sends_on and name == "a":
                assert outcome_of(transport) is Outcome.COMMITTED
        if transport.sends_on:
            assert outcome_of(transport) is Outcome.COMMITTED
    assert transport.commit({}) is Outcome.COMMITTED
    assert values(transport, out) == sent


def outcome_of(transport: Transport) -> Outcome:
    for _ in range(1000):
        if (outcome := transport.ended(30)) is not None:
            return outcome
    raise AssertionError("the commit did not end")


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_a_commit_ends_beside_reading(cluster: Cluster, guarantee: str) -> None:
    """What was produced before it is in, the offsets with it; poll() goes on meanwhile, and what is produced next is the next one's."""
    topic, out = cluster.topic("t"), cluster.topic("out")
    transport, owner = member(cluster, topic, guarantee=guarantee)
    (mine,) = owner.owned
    transport.seek(mine, 0)
    transport.produce(out, blobs([b"k"] * 3), blobs([b"a", b"b", b"c"]))
    transport.begin_commit({mine: 3})
    cluster.append(topic, [(b"k", b"v")], partition=mine[1])
    given = transport.poll(10, 10)
    outcome = None
    while outcome is None or not given:
        outcome = outcome or transport.ended(10)
        given += transport.poll(10, 10)
        cluster.let_pass(10)
    assert outcome is Outcome.COMMITTED
    assert [f.values.raw() for f in given] == [[b"v"]]
    assert transport.committed([mine]) == {mine: 3}
    transport.produce(out, blobs([b"k"]), blobs([b"d"]))
    transport.begin_commit({mine: 4})
    assert outcome_of(transport) is Outcome.COMMITTED
    assert values(transport, out) == [b"a", b"b", b"c", b"d"]
    transport.begin_commit({})  # nothing to end
    assert outcome_of(transport) is Outcome.COMMITTED


def test_a_commit_that_ends_beside_reading_aborts_as_any_other(cluster: Cluster) -> None:
    topic, out = cluster.topic("t"), cluster.topic("out")
    transport, owner = member(cluster, topic)
    (mine,) = owner.owned
    transport.produce(out, blobs([b"k"]), blobs([b"taken back"]))
    transport.begin_commit({mine: 1, ("another topic", 0): 1})
    assert outcome_of(transport) is Outcome.ABORTED
    assert transport.committed([mine]) == {mine: None}
    assert values(transport, out) == []
