"""The fence: what Redis holds is a function of the set of records written, whoever wrote them and in which order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge.devredis import DevRedis
from stream_infer.edge.redis_store import FENCE, Batch, RedisStore, Written, batch_of
from stream_infer.records import Numbers, Text
from tests.support_redis import client_of, contents, store_settings

SETTINGS = store_settings("answer", "arm")
LATER = 4_000_000_000_000  # in the year 2096: far enough for a time to live to lie ahead


@pytest.fixture
def client(redis_server: DevRedis) -> Iterator[Any]:
    found = client_of(redis_server)
    found.flushall()
    yield found
    found.close()


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int
    time: int
    user: str
    answer: float


def fold(records: Sequence[Record]) -> dict[bytes, dict[bytes, bytes]]:
    """The oracle: each key as of its last record by (latest timestamp of the partition so far, partition, offset)."""
    newest: dict[bytes, tuple[tuple[int, int, int], Record]] = {}
    latest: dict[int, int] = {}
    for record in sorted(records, key=lambda r: (r.partition, r.offset)):
        latest[record.partition] = max(latest.get(record.partition, 0), record.time)
        place, key = (latest[record.partition], record.partition, record.offset), f"eta:{record.user}".encode()
        if key not in newest or newest[key][0] < place:
            newest[key] = (place, record)
    return {
        key: {b"answer": repr(r.answer).encode(), b"arm": b"a", FENCE.encode(): f"{r.partition}:{r.offset}:{place[0]}".encode()}
        for key, (place, r) in newest.items()
    }


def batch(records: Sequence[Record], begin: int, end: int, before: int = 0, partition: int = 0) -> Batch:
    """Records of a partition, those with begin ≤ offset < end."""
    mine = [r for r in records if begin <= r.offset < end]
    times = np.maximum.accumulate(np.array([before, *(r.time for r in mine)], dtype=np.int64))[1:]
    columns = {
        "user": Text.of([r.user for r in mine]),
        "answer": Numbers(np.array([r.answer for r in mine], dtype=np.float64)),
        "arm": Text.of(["a"] * len(mine)),
    }
    offsets = np.array([r.offset for r in mine], dtype=np.int64)
    return batch_of(SETTINGS, partition, (begin, end), offsets, times, columns, int(times[-1]) if mine else before)


def before(records: Sequence[Record], offset: int) -> int:
    return max((r.time for r in records if r.offset < offset), default=0)


logs = st.lists(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abc"), st.integers(0, 3)), max_size=12), min_size=1, max_size=3)


@given(logs, st.data())
def test_any_order_and_repetition_of_batches_leaves_the_fold_over_the_log(redis_server: DevRedis, log: Any, data: st.DataObject) -> None:
    """Batches with any borders, of several projectors at once: repeated, overlapping, late. Those over a gap change nothing."""
    client = client_of(redis_server)
    client.flushall()
    store = RedisStore(client, "t.s", "log", SETTINGS)
    parts = [[Record(p, 2 * o, t, u, float(a)) for o, (t, u, a) in enumerate(rows)] for p, rows in enumerate(log)]  # offsets with gaps
    spans = st.tuples(st.integers(0, len(parts) - 1), st.integers(0, 26), st.integers(0, 26))
    for place, one, other in data.draw(st.lists(spans, max_size=20)):
        begin, end = sorted((one, other))
        held = client.hgetall(store.position_key(place))
        found = store.write(batch(parts[place], begin, end, before(parts[place], begin), place), 0)
        position = int(held.get(b"next", 0))
        assert (found.gap_at is not None) == (begin > position)
        assert found.gap_at in (None, position)
    for place, records in enumerate(parts):  # at last somebody reads all that is left, from the position on
        found_at = store.position(place) or (0, 0)
        assert found_at[1] == before(records, found_at[0])
        store.write(batch(records, found_at[0], 30, found_at[1], place), 0)
    assert contents(client, "eta:*") == fold([r for records in parts for r in records])
    client.close()


def test_the_position_moves_with_the_keys_and_never_back(client: Any) -> None:
    store, records = RedisStore(client, "t.s", "log", SETTINGS), [Record(0, o, 100 - o, "u", o) for o in range(10)]
    assert store.position(0) is None
    assert store.write(batch(records, 0, 5), 0) == Written(1, 0, 0)  # five records of one key are one write
    assert store.position(0) == (5, 100)
    assert store.write(batch(records, 2, 4), 0) == Written(0, 1, 0)
    assert store.position(0) == (5, 100)
    assert store.write(batch(records, 7, 10), 0) == Written(0, 0, 0, gap_at=5)
    assert client.hget("eta:u", "answer") == b"4.0"


def test_a_log_that_begins_later_is_no_gap(client: Any) -> None:
    store, records = RedisStore(client, "t.s", "log", SETTINGS), [Record(0, o, o, "u", o) for o in range(10)]
    assert store.write(batch(records, 6, 8), 6) == Written(1, 0, 0)
    assert store.write(batch(records, 8, 10), 6) == Written(1, 0, 0)


def test_emptied_in_between_is_a_gap(client: Any) -> None:
    store, records = RedisStore(client, "t.s", "log", SETTINGS), [Record(0, o, o, f"u{o}", o) for o in range(10)]
    store.write(batch(records, 0, 5), 0)
    client.flushall()
    assert store.write(batch(records, 5, 10), 0).gap_at == 0
    assert contents(client) == {}
    assert store.write(batch([], 5, 5), 0).gap_at == 0  # an empty batch tells it too


def test_a_key_that_holds_something_else_is_left_alone_and_its_neighbours_are_written(client: Any) -> None:
    client.set("eta:u0", "not ours")
    store, records = RedisStore(client, "t.s", "log", SETTINGS), [Record(0, o, o, f"u{o}", o) for o in range(3)]
    assert store.write(batch(records, 0, 3), 0) == Written(2, 0, 1)
    assert client.get("eta:u0") == b"not ours"
    assert store.position(0) == (3, 2)


def test_absent_values_are_no_fields_and_rows_without_a_key_no_keys(client: Any) -> None:
    store = RedisStore(client, "t.s", "log", SETTINGS)
    columns = {"user": Text.of(["a", None]), "answer": Numbers(np.array([np.nan, 1.0])), "arm": Text.of(["", None])}
    made = batch_of(SETTINGS, 0, (0, 2), np.arange(2), np.arange(2), columns, 1)
    assert store.write(made, 0) == Written(1, 0, 0)
    assert contents(client, "eta:*") == {b"eta:a": {b"arm": b"", b"_from": b"0:0:0"}}


def test_the_time_to_live_counts_from_the_records_time(client: Any) -> None:
    settings = store_settings("answer", ttl_ms=60_000)
    store = RedisStore(client, "t.s", "log", settings)
    now = time.time_ns() // 1_000_000
    columns = {"user": Text.of(["old", "new", "later"]), "answer": Numbers(np.array([1.0, 2.0, 3.0]))}
    times = np.array([now - 120_000, now, LATER])
    assert store.write(batch_of(settings, 0, (0, 3), np.arange(3), times, columns, LATER), 0).written == 3
    assert sorted(client.keys("eta:*")) == [b"eta:later", b"eta:new"]
    assert abs(client.pttl("eta:new") - 60_000) < 30_000
    assert client.pttl("eta:later") > LATER - now - 60_000
    assert store.position(0) == (3, LATER)


def test_texts_that_nobody_expected_come_back_as_they_were(client: Any) -> None:
    store = RedisStore(client, "t.s", "log", SETTINGS)
    odd = ["", "=", "a b\r\n", "ü:{}", "x" * 1000]
    columns = {"user": Text.of(odd), "answer": Numbers(np.arange(5.0)), "arm": Text.of(odd)}
    store.write(batch_of(SETTINGS, 0, (0, 5), np.arange(5), np.arange(5), columns, 4), 0)
    assert {key.decode(): row[b"arm"].decode() for key, row in contents(client, "eta:*").items()} == {f"eta:{o}": o for o in odd}
