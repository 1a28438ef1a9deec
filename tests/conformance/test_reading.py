from __future__ import annotations

import numpy as np
import pytest

from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.transport import Outcome, Partition
from stream_infer.sim.murmur2 import partition_of
from tests.conformance.clusters import Cluster, Recorder, all_of, rows_of, until
from tests.support import blobs

ODD_ROWS = [(b"k", b"v"), (None, b"no key"), (b"gone", None), (None, None), (b"", b""), (b"large", b"x" * 200_000), (b"k", b"last")]


def test_what_is_produced_comes_back_in_order_with_absent_and_empty_kept_apart(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    keys, values = [k for k, _ in ODD_ROWS], [v for _, v in ODD_ROWS]
    transport.produce(topic, blobs(keys), blobs(values), partition=0, timestamps=np.arange(1, 8) * 1000)
    assert transport.commit({}) is Outcome.COMMITTED

    transport.follow((topic, 0), 0)
    found = until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster)

    assert [(k, v) for _, k, v in rows_of(found)] == ODD_ROWS
    assert [o for o, _, _ in rows_of(found)] == list(range(7))
    assert [t for f in found for t in f.timestamps.tolist()] == [1000, 2000, 3000, 4000, 5000, 6000, 7000]
    assert all(f.headers is None for f in found)


def test_headers_come_only_for_the_topics_that_were_named(cluster: Cluster) -> None:
    plain, headed = cluster.topic("plain"), cluster.topic("headed")
    for topic in (plain, headed):
        cluster.append(topic, [(b"a", b"1"), (b"b", b"2")], headers=[[("trace", b"x"), ("trace", b"y")], []])
    transport = cluster.transport(header_topics=[headed])
    for topic in (plain, headed):
        transport.follow((topic, 0), 0)
    found = until(lambda: transport.at_end((plain, 0)) and transport.at_end((headed, 0)), transport, cluster=cluster)

    assert [f.headers for f in found if f.topic == plain] == [None]
    assert [h for f in found if f.topic == headed for h in f.headers or ()] == [[("trace", b"x"), ("trace", b"y")], []]


def test_a_key_goes_to_the_partition_that_murmur2_says(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t", 7), cluster.transport()
    rng = np.random.default_rng(3)
    keys: list[bytes | None] = [rng.bytes(int(size)) for size in rng.integers(0, 40, 300)]
    transport.produce(topic, blobs(keys), blobs([b"v"] * 300))
    assert transport.commit({}) is Outcome.COMMITTED

    for number in range(7):
        got = [key for _, key, _ in all_of(transport, topic, number)]
        assert got == [key for key in keys if partition_of(key or b"", 7) == number]


def test_nothing_is_given_before_the_first_seek_and_then_exactly_from_there(cluster: Cluster) -> None:
    topic = cluster.topic("t")
    cluster.append(topic, [(b"k", b"%d" % n) for n in range(10)])
    transport, owner = cluster.transport(), Recorder()
    transport.join([topic], owner)
    before = until(lambda: owner.owned, transport, cluster=cluster) + [f for _ in range(5) for f in transport.poll(100, 10)]
    transport.seek((topic, 0), 4)
    first = until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster)
    transport.seek((topic, 0), 2)
    again = until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster)

    assert before == []
    assert [o for o, _, _ in rows_of(first)] == [4, 5, 6, 7, 8, 9]
    assert [o for o, _, _ in rows_of(again)] == [2, 3, 4, 5, 6, 7, 8, 9]


def test_seeking_back_and_forth_in_the_middle_never_mixes_places(cluster: Cluster) -> None:
    topic = cluster.topic("t", 2)
    for number in (0, 1):
        cluster.append(topic, [(b"k", b"%d" % n) for n in range(500)], partition=number)
    transport, owner = cluster.transport(), Recorder()
    transport.join([topic], owner)
    until(lambda: len(owner.owned) == 2, transport, cluster=cluster)
    rng = np.random.default_rng(1)
    expected: dict[Partition, int] = {}
    for _ in range(40):
        for number in (0, 1) if rng.random() < 0.5 else (0,):
            expected[topic, number] = int(rng.integers(0, 480))
            transport.seek((topic, number), expected[topic, number])
        for _ in range(int(rng.integers(0, 4))):
            for f in transport.poll(int(rng.integers(1, 20)), 30):
                assert f.offsets.tolist() == list(range(expected[f.topic, f.partition], expected[f.topic, f.partition] + len(f)))
                expected[f.topic, f.partition] += len(f)


def test_pauses_and_seeks_in_a_backlog_of_many_partitions_mix_nothing(cluster: Cluster) -> None:
    topics = [cluster.topic(name, 3) for name in ("events", "labels")]
    partitions = [(topic, number) for topic in topics for number in range(3)]
    for topic, number in partitions:
        cluster.append(topic, [(b"k", b"%d" % n) for n in range(300)], partition=number)
    transport, owner = cluster.transport(), Recorder()
    transport.join(topics, owner)
    until(lambda: len(owner.owned) == len(partitions), transport, cluster=cluster)
    rng = np.random.default_rng(2)
    expected = dict.fromkeys(partitions, 0)
    for one in partitions:
        transport.seek(one, 0)
    paused: set[Partition] = set()
    for _ in range(150):
        one = partitions[int(rng.integers(len(partitions)))]
        act = rng.choice(["seek", "pause", "resume", "read", "read", "read"])
        if act == "seek":
            expected[one] = int(rng.integers(0, 200))
            transport.seek(one, expected[one])
        elif act == "pause":
            transport.pause([one])
            paused.add(one)
        elif act == "resume":
            transport.resume(sorted(paused))
            paused.clear()
        for f in transport.poll(int(rng.integers(1, 40)), 20 if act == "read" else 0):
            assert (f.topic, f.partition) not in paused
            assert f.offsets.tolist() == list(range(expected[f.topic, f.partition], expected[f.topic, f.partition] + len(f)))
            expected[f.topic, f.partition] += len(f)
    transport.resume(sorted(paused))
    for f in until(lambda: all(map(transport.at_end, partitions)), transport, cluster=cluster):
        assert f.offsets.tolist() == list(range(expected[f.topic, f.partition], expected[f.topic, f.partition] + len(f)))
        expected[f.topic, f.partition] += len(f)
    assert set(expected.values()) == {300}


def test_a_paused_partition_gives_nothing_and_loses_nothing(cluster: Cluster) -> None:
    topic = cluster.topic("t", 2)
    for number in (0, 1):
        cluster.append(topic, [(b"k", b"%d" % n) for n in range(20)], partition=number)
    transport, owner = cluster.transport(), Recorder()
    transport.join([topic], owner)
    until(lambda: len(owner.owned) == 2, transport, cluster=cluster)
    for number in (0, 1):
        transport.seek((topic, number), 0)
    transport.pause([(topic, 0)])
    first = until(lambda: transport.at_end((topic, 1)), transport, cluster=cluster)
    cluster.append(topic, [(b"k", b"late")], partition=0)
    transport.resume([(topic, 0)])
    rest = until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster)

    assert {f.partition for f in first} == {1}
    assert [v for _, _, v in rows_of(rest)] == [b"%d" % n for n in range(20)] + [b"late"]


def test_what_is_not_asked_for_stays_where_it_is_while_the_group_and_the_followed_are_served(cluster: Cluster) -> None:
    topic, other = cluster.topic("t"), cluster.topic("other")
    cluster.append(topic, [(b"k", b"%d" % n) for n in range(500)])
    cluster.append(other, [(b"k", b"%d" % n) for n in range(5)])
    transport, owner = cluster.transport(), Recorder()
    transport.join([topic], owner)
    while not owner.owned:
        transport.poll(1000, 0, owned=False)
        cluster.let_pass(10)
    transport.seek((topic, 0), 0)
    transport.follow((other, 0), 0)
    polls, found = 0, []
    while transport.lag((topic, 0)) == 0 or not transport.at_end((other, 0)):
        found += transport.poll(1000, 0, owned=False)
        polls += 1
        assert polls < 3000, "it never came"
        cluster.let_pass(10)
    kept = transport.lag((topic, 0))
    rest = until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster)

    assert [o for f in found if f.topic == other for o in f.offsets.tolist()] == list(range(5))
    early = [o for f in found if f.topic == topic for o in f.offsets.tolist()]
    assert len(early) <= polls, "no more than one a call comes along"
    assert kept == 500 - len(early)
    assert early + [o for f in rest for o in f.offsets.tolist()] == list(range(500))
    assert transport.lag((topic, 0)) == 0


def test_a_pause_in_the_middle_goes_on_where_it_stopped(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    cluster.append(topic, [(b"k", b"%d" % n) for n in range(100)])
    transport.follow((topic, 0), 0)
    found: list[int] = []
    while len(found) < 100:
        found += [o for o, _, _ in rows_of(transport.poll(7, 100))]
        transport.pause([(topic, 0)])
        assert transport.poll(7, 1) == []
        transport.resume([(topic, 0)])
    assert found == list(range(100))


def test_at_end_is_false_until_all_was_given_and_again_when_more_came(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    cluster.append(topic, [(b"k", b"%d" % n) for n in range(6)])
    transport.follow((topic, 0), 0)
    assert not transport.at_end((topic, 0))
    first = until(lambda: True, transport, cluster=cluster)
    while len(rows_of(first)) < 3:
        first += transport.poll(1, 20)
        assert transport.at_end((topic, 0)) == (len(rows_of(first)) == 6)
    until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster)
    cluster.append(topic, [(b"k", b"more")])
    got = until(lambda: transport.at_end((topic, 0)) and transport.end_offsets([(topic, 0)]) == {(topic, 0): 7}, transport, cluster=cluster)
    got += [f for _ in range(10) for f in transport.poll(10, 20)]
    assert [v for _, _, v in rows_of(got)] == [b"more"]
    assert not transport.at_end(("never placed", 0))


def test_an_empty_partition_is_at_its_end(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    transport.follow((topic, 0), 0)
    assert until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster) == []


def test_unfollowed_is_silent_and_following_again_moves(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    cluster.append(topic, [(b"k", b"%d" % n) for n in range(5)])
    transport.follow((topic, 0), 0)
    until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster)
    transport.follow((topic, 0), 3)
    assert [o for o, _, _ in rows_of(until(lambda: transport.at_end((topic, 0)), transport, cluster=cluster))] == [3, 4]
    transport.unfollow((topic, 0))
    cluster.append(topic, [(b"k", b"unseen")])
    assert [f for _ in range(5) for f in transport.poll(10, 10)] == []


def test_an_offset_that_is_not_there_is_an_error_that_names_it(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    cluster.append(topic, [(b"k", b"v")])
    transport.follow((topic, 0), 99)
    with pytest.raises(EnvironmentMissing, match=rf"{topic}\[0\]@99"):
        until(lambda: False, transport, cluster=cluster, ms_max=5000)


def test_partitions_are_counted_and_a_missing_topic_is_named(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t", 3), cluster.transport()
    assert transport.partitions(topic) == 3
    with pytest.raises(EnvironmentMissing, match="nowhere"):
        transport.partitions(f"{cluster.prefix}-nowhere")


def test_reading_all_stops_at_the_end_as_it_was(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    assert rows_of(list(transport.read((topic, 0), 0))) == []
    transport.produce(topic, blobs([b"k"] * 3), blobs([b"a", b"b", b"c"]), partition=0)
    transport.commit({})
    transport.produce(topic, blobs([b"k"]), blobs([b"taken back"]), partition=0)
    transport.abort()
    assert [v for _, _, v in rows_of(list(transport.read((topic, 0), 1)))] == [b"b", b"c"]


def test_reading_all_waits_for_an_open_transaction_below_the_high_watermark(cluster: Cluster) -> None:
    """Up to the last stable offset it would miss what another producer committed behind the open one; it ends by its timeout."""
    topic = cluster.topic("t")
    dead, writer, reader = cluster.transport("dead", transaction_timeout_ms=6000), cluster.transport("w"), cluster.transport("r")
    dead.produce(topic, blobs([b"k"]), blobs([b"never"]), partition=0)
    while not cluster.high((topic, 0)):  # its record must lie before the others; a producer sends when it likes
        cluster.let_pass(10)
    writer.produce(topic, blobs([b"k"]), blobs([b"kept"]), partition=0)
    writer.commit({})
    assert reader.end_offsets([(topic, 0)]) == {(topic, 0): 0}
    assert [v for _, _, v in rows_of(list(reader.read((topic, 0), 0)))] == [b"kept"]


def test_a_time_leads_to_the_first_offset_that_is_not_older(cluster: Cluster) -> None:
    topic, transport = cluster.topic("t"), cluster.transport()
    stamps = np.array([1000, 3000, 2000, 5000])
    transport.produce(topic, blobs([b"k"] * 4), blobs([b"v"] * 4), partition=0, timestamps=stamps)
    assert transport.commit({}) is Outcome.COMMITTED
    reader = cluster.transport()
    until(lambda: reader.end_offsets([(topic, 0)])[topic, 0] >= 4, cluster=cluster)
    for time, offset in ((0, 0), (1000, 0), (1001, 1), (2000, 1), (3001, 3), (5000, 3)):
        assert reader.offsets_at([(topic, 0)], time) == {(topic, 0): offset}, time
    assert reader.offsets_at([(topic, 0)], 5001)[topic, 0] >= 4, "the end of the transaction has a time, too"
    assert reader.offsets_at([(topic, 0)], 10**15) == reader.end_offsets([(topic, 0)])
