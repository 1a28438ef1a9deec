from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from stream_infer.flow.transport import Outcome, Partition
from stream_infer.records import Fetched
from tests.conformance.clusters import Cluster, Recorder, until, values
from tests.support import blobs

SHORT: dict[str, Any] = {"session_timeout_ms": 1500, "poll_gap_ms_max": 1500}


def test_one_member_gets_everything_and_topics_of_equal_partitions_stay_together(cluster: Cluster) -> None:
    topics = [cluster.topic(name, 3) for name in "abc"]
    first, second, owner, other = cluster.transport("a"), cluster.transport("b"), Recorder("a"), Recorder("b")
    first.join(topics, owner)
    until(lambda: owner.owned, first, cluster=cluster)
    assert owner.owned == [(t, n) for t in topics for n in range(3)]

    second.join(topics, other)
    until(lambda: other.owned and 0 < len(owner.owned) < 9, first, second, cluster=cluster)
    assert sorted(owner.owned + other.owned) == [(t, n) for t in topics for n in range(3)]
    for held in (owner.owned, other.owned):
        numbers = {n for _, n in held}
        assert held == [(t, n) for t in topics for n in sorted(numbers)]


def test_the_first_gives_back_before_the_second_is_given(cluster: Cluster) -> None:
    topic, log = cluster.topic("t", 2), list[tuple[str, str, list[Partition]]]()
    first, second = cluster.transport("a"), cluster.transport("b")
    owner, other = Recorder("a", log), Recorder("b", log)
    first.join([topic], owner)
    until(lambda: owner.owned, first, cluster=cluster)
    second.join([topic], other)
    until(lambda: other.owned and owner.owned, first, second, cluster=cluster)

    told = [(name, what) for name, what, partitions in log if partitions]
    assert told[:2] == [("a", "assigned"), ("a", "revoked")]
    assert sorted(told[2:]) == [("b", "assigned")] if cluster.by_change else [("a", "assigned"), ("b", "assigned")]
    assert sorted(owner.owned + other.owned) == [(topic, 0), (topic, 1)]


def test_a_commit_inside_revoked_counts(cluster: Cluster) -> None:
    topic, out = cluster.topic("in", 2), cluster.topic("out")
    first, second, owner, other = cluster.transport("a"), cluster.transport("b"), Recorder("a"), Recorder("b")
    outcomes = []
    owner.at_revoke = lambda partitions: outcomes.append(first.commit(dict.fromkeys(partitions, 5)))
    first.join([topic], owner)
    until(lambda: owner.owned, first, cluster=cluster)
    first.produce(out, blobs([b"k"]), blobs([b"just in time"]))
    second.join([topic], other)
    until(lambda: other.owned, first, second, cluster=cluster)

    assert outcomes == [Outcome.COMMITTED]
    left = other.owned if cluster.by_change else [(topic, 0), (topic, 1)]
    assert second.committed([(topic, 0), (topic, 1)]) == {(topic, 0): None, (topic, 1): None} | dict.fromkeys(left, 5)
    assert values(second, out) == [b"just in time"]


def test_a_move_while_a_revocation_is_yet_unheard_gives_nothing_away(cluster: Cluster) -> None:
    """librdkafka takes an incremental_unassign() at such a moment for the answer to the revocation."""
    topic = cluster.topic("t", 2)
    first, second, owner, other = cluster.transport("a"), cluster.transport("b"), Recorder("a"), Recorder("b")
    first.join([topic], owner)
    until(lambda: owner.owned, first, cluster=cluster)
    for number in (0, 1):
        first.seek((topic, number), 0)
    first.poll(10, 50)
    second.join([topic], other)
    cluster.stall(first, 1500, others=[second])
    seen = []

    def look(_: Sequence[Partition]) -> None:
        cluster.stall(first, 1500, others=[second])
        seen.append(list(other.owned))

    owner.at_revoke = look
    for number in (0, 1):
        first.seek((topic, number), 0)
    until(lambda: other.owned, first, second, cluster=cluster)
    assert seen == [[]]
    owner.at_revoke = None


def is_another(batch: Fetched, owner: Recorder) -> bool:
    """Whether these came after a rebalance, of a partition that was not sought since."""
    taken = {partition for _, what, partitions in owner.log if what == "revoked" for partition in partitions}
    return (batch.topic, batch.partition) in taken


def test_after_a_rebalance_nothing_is_given_before_the_next_seek(cluster: Cluster) -> None:
    topic = cluster.topic("t", 2)
    for number in (0, 1):
        cluster.append(topic, [(b"k", b"v")] * 50, partition=number)
    first, second, owner, other = cluster.transport("a"), cluster.transport("b"), Recorder("a"), Recorder("b")
    first.join([topic], owner)
    until(lambda: owner.owned, first, cluster=cluster)
    for number in (0, 1):
        first.seek((topic, number), 0)
    first.poll(10, 50)
    second.join([topic], other)
    seen: list[Partition] = []
    for _ in range(3000):
        seen += [(f.topic, f.partition) for f in first.poll(10, 10) if is_another(f, owner)]
        seen += [(f.topic, f.partition) for f in second.poll(10, 10)]
        if "revoked" in owner.told() and owner.owned and other.owned:
            break
    seen += [(f.topic, f.partition) for _ in range(10) for f in first.poll(10, 10) if is_another(f, owner)]
    assert seen == []
    if not cluster.by_change:
        assert not first.at_end(owner.owned[0])


def test_what_does_not_move_is_read_on_through_a_change(cluster: Cluster) -> None:
    if not cluster.by_change:
        pytest.skip("everything is given back")
    topic = cluster.topic("t", 4)
    sent = {number: [b"%d" % n for n in range(1500)] for number in range(4)}
    for number in sent:
        cluster.append(topic, [(b"k", value) for value in sent[number]], partition=number)
    first, second, owner, other = cluster.transport("a"), cluster.transport("b"), Recorder("a"), Recorder("b")
    first.join([topic], owner)
    until(lambda: owner.owned, first, cluster=cluster)
    for number in sent:
        first.seek((topic, number), 0)
    given = defaultdict[int, list[bytes | None]](list)
    second.join([topic], other)

    def shared() -> bool:
        for batch in first.poll(50, 1):
            given[batch.partition] += batch.values.raw()
        return bool(other.owned)

    until(shared, second, cluster=cluster)
    kept = [number for _, number in owner.owned]
    assert len(kept) == 2
    until(lambda: shared() and all(first.at_end((topic, number)) for number in kept), second, cluster=cluster)
    assert [given[number] for number in kept] == [sent[number] for number in kept]
    assert [what for name, what, partitions in owner.log if partitions] == ["assigned", "revoked"]
    assert set(owner.log[1][2]) == set(other.owned)


def test_who_stood_still_too_long_lost_its_partitions_and_its_commit_aborts(cluster: Cluster) -> None:
    topic, out = cluster.topic("in", 1), cluster.topic("out")
    # By change, the session is the group's: the last to join says how long it is.
    second = cluster.transport("b", session_timeout_ms=SHORT["session_timeout_ms"])
    first, owner, other = cluster.transport("a", **SHORT), Recorder("a"), Recorder("b")
    first.join([topic], owner)
    until(lambda: owner.owned, first, cluster=cluster)
    first.produce(out, blobs([b"k"]), blobs([b"stale"]))
    second.join([topic], other)
    cluster.stall(first, 2500, others=[second])  # its session is over after 1500
    until(lambda: other.owned, second, cluster=cluster)

    assert first.commit({(topic, 0): 5}) is Outcome.ABORTED
    assert second.commit({(topic, 0): 1}) is Outcome.COMMITTED
    until(lambda: "lost" in owner.told(), first, second, cluster=cluster)
    until(lambda: owner.told()[-1] == "assigned", first, second, cluster=cluster)
    assert second.committed([(topic, 0)]) == {(topic, 0): 1}
    assert values(second, out) == []


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_closing_gives_back_with_a_last_commit_and_the_next_goes_on_there(cluster: Cluster, guarantee: str) -> None:
    topic, out = cluster.topic("in"), cluster.topic("out")
    cluster.append(topic, [(b"k", b"%d" % n) for n in range(5)])
    first, owner = cluster.transport("a", guarantee=guarantee), Recorder("a")
    owner.at_revoke = lambda partitions: first.commit(dict.fromkeys(partitions, 3))
    first.join([topic], owner)
    until(lambda: owner.owned, first, cluster=cluster)
    first.produce(out, blobs([b"k"]), blobs([b"last words"]))
    first.close()
    assert owner.told() == ["assigned", "revoked"]

    second, other = cluster.transport("b"), Recorder("b")
    second.join([topic], other)
    until(lambda: other.owned, second, cluster=cluster)
    assert second.committed([(topic, 0)]) == {(topic, 0): 3}
    assert values(second, out) == [b"last words"]


def test_closing_without_a_commit_leaves_nothing_of_the_open_transaction(cluster: Cluster) -> None:
    out, first = cluster.topic("out"), cluster.transport("a")
    first.produce(out, blobs([b"k"]), blobs([b"half"]))
    first.close()
    second = cluster.transport("b")
    assert values(second, out) == []


def test_owned_and_followed_live_side_by_side(cluster: Cluster) -> None:
    topic, models = cluster.topic("t"), cluster.topic("models")
    cluster.append(topic, [(b"k", b"row")])
    cluster.append(models, [(b"m", b"v1")])
    transport, owner = cluster.transport(), Recorder()
    transport.follow((models, 0), 0)
    transport.join([topic], owner)
    found = until(lambda: owner.owned, transport, cluster=cluster)
    transport.seek((topic, 0), 0)
    found += until(lambda: transport.at_end((topic, 0)) and transport.at_end((models, 0)), transport, cluster=cluster)
    assert sorted((f.topic, f.values.raw()) for f in found) == sorted([(topic, [b"row"]), (models, [b"v1"])])


def test_a_pause_ends_when_the_partition_goes(cluster: Cluster) -> None:
    """librdkafka itself keeps a pause until someone resumes, through any number of owners."""
    topic = cluster.topic("t", 2)
    first, second, owner, other = cluster.transport("a"), cluster.transport("b"), Recorder("a"), Recorder("b")
    first.join([topic], owner)
    until(lambda: len(owner.owned) == 2, first, cluster=cluster)
    for number in (0, 1):
        first.seek((topic, number), 0)
    first.poll(10, 10)
    first.pause([(topic, 0), (topic, 1)])
    first.poll(10, 10)
    second.join([topic], other)
    until(lambda: owner.owned and other.owned, first, second, cluster=cluster)
    (mine,) = owner.owned
    if cluster.by_change:  # the one that stays is still paused; the other one comes back
        (mine,) = other.owned
        second.close()
        until(lambda: mine in owner.owned, first, cluster=cluster)
    first.seek(mine, 0)
    cluster.append(topic, [(b"k", b"v")], partition=mine[1])
    given: list[Fetched] = []

    def came() -> bool:  # at_end() alone may still speak of the log as it was fetched before the pause
        given.extend(first.poll(10, 10))
        return bool(given)

    given += until(came, *([] if cluster.by_change else [second]), cluster=cluster)
    assert [f.values.raw() for f in given] == [[b"v"]]
