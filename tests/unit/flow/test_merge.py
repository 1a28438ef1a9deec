"""The merged order of channels, against a plain sort of all rows; and that a deterministic run cuts the same chunks however it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.flow.channel import BEGIN, Channel, Place
from stream_infer.flow.merge import Merge
from stream_infer.flow.rows import BAD, GOOD, Rows
from stream_infer.records import Numbers
from stream_infer.topology.plan import DecideAt

LEAD_MS = 5


@dataclass
class Log:
    """One channel's log: event times and (for the flowing channel) due times."""

    times: list[int]
    due: list[int] | None = None


def rows_of(log: Log, first: int, last: int) -> Rows:
    times = np.array(log.times[first:last], dtype=np.int64)
    columns = {} if log.due is None else {"due": Numbers(np.array(log.due[first:last], dtype=np.int64))}
    return Rows(np.arange(first, last), times, times.copy(), np.full(last - first, GOOD, dtype=np.uint8), columns)


def oracle(logs: list[Log]) -> list[tuple[int, int]]:
    """(channel, offset) in merged order: by running maximum (or due time), channel, offset."""
    order = []
    for channel, log in enumerate(logs):
        reached = BEGIN
        for offset, time in enumerate(log.times):
            reached = max(reached, time)
            key = reached if log.due is None else max(reached, log.due[offset] - LEAD_MS)
            order.append((key, channel, offset))
    return [(channel, offset) for _, channel, offset in sorted(order)]


def merge_of(logs: list[Log], rows_max: int, every_ms: int | None) -> Merge:
    channels = [
        Channel(f"s{i}", f"t{i}", Place(i, 0, 0), None if log.due is None else DecideAt("due", LEAD_MS)) for i, log in enumerate(logs)
    ]
    return Merge(channels, rows_max, 100, True, every_ms)


def run(logs: list[Log], rows_max: int, every_ms: int | None, reads: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Chunks of a deterministic merge that reads as told: (channel, how many rows) at a time."""
    merge = merge_of(logs, rows_max, every_ms)
    at = [0] * len(logs)
    chunks: list[list[tuple[int, int]]] = []

    def drain() -> None:
        while (chunk := merge.chunk(0)) is not None:
            found = {
                int(o): (merge.channels.index(t.channel), int(offset))
                for t in chunk.taken
                for o, offset in zip(t.order, t.rows.offsets, strict=True)
            }
            assert sorted(found) == list(range(chunk.rows))
            chunks.append([found[i] for i in range(chunk.rows)])

    def read(channel: int, count: int) -> None:
        first, last = at[channel], min(at[channel] + count, len(logs[channel].times))
        if last > first:
            merge.channels[channel].receive(rows_of(logs[channel], first, last))
            at[channel] = last
        if last == len(logs[channel].times):
            merge.channels[channel].ended = True
        drain()

    for channel, count in reads:
        read(channel % len(logs), count)
    for channel, log in enumerate(logs):
        read(channel, len(log.times))
    return chunks


times = st.lists(st.integers(0, 60), max_size=25)


@st.composite
def some_logs(draw: st.DrawFn) -> list[Log]:
    logs = [Log(draw(times)) for _ in range(draw(st.integers(0, 2)))]
    flowing = draw(times)
    waits = draw(st.lists(st.integers(-5, 30), min_size=len(flowing), max_size=len(flowing)))
    with_due = draw(st.booleans())
    logs.append(Log(flowing, [t + w for t, w in zip(flowing, waits, strict=True)] if with_due else None))
    return logs


reads = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=30)


@settings(max_examples=300, deadline=None)
@given(some_logs(), st.integers(1, 12), st.none() | st.integers(3, 40), reads, reads)
def test_order_and_chunks_are_functions_of_the_logs(
    logs: list[Log], rows_max: int, every_ms: int | None, one: list[tuple[int, int]], two: list[tuple[int, int]]
) -> None:
    chunks = run(logs, rows_max, every_ms, one)

    assert oracle(logs) == [row for chunk in chunks for row in chunk]
    assert chunks == run(logs, rows_max, every_ms, two)


@settings(max_examples=200, deadline=None)
@given(some_logs(), st.integers(1, 8), st.integers(0, 8))
def test_a_rewound_merge_goes_on_where_it_stood(logs: list[Log], rows_max: int, chunks_before: int) -> None:
    whole = run(logs, rows_max, None, [])
    merge = merge_of(logs, rows_max, None)
    for channel, log in zip(merge.channels, logs, strict=True):
        if log.times:
            channel.receive(rows_of(log, 0, len(log.times)))
        channel.ended = True
    for _ in range(min(chunks_before, len(whole))):
        merge.chunk(0)
    positions = [channel.position() for channel in merge.channels]
    again = merge_of(logs, rows_max, None)
    for channel, position, log in zip(again.channels, positions, logs, strict=True):
        channel.rewind(position)
        low = min([channel.next, *channel.resume_held])
        if low < len(log.times):
            channel.receive(rows_of(log, low, len(log.times)))
        channel.ended = True
    rest = []
    while (chunk := again.chunk(0)) is not None:
        found = {
            int(o): (again.channels.index(t.channel), int(f)) for t in chunk.taken for o, f in zip(t.order, t.rows.offsets, strict=True)
        }
        rest.append([found[i] for i in range(chunk.rows)])

    assert whole[min(chunks_before, len(whole)) :] == rest


def test_live_an_idle_channel_holds_the_others_back_only_so_long() -> None:
    logs = [Log([1, 2]), Log([])]
    channels = [Channel("a", "a", Place(0, 0, 0)), Channel("b", "b", Place(1, 0, 0))]
    merge = Merge(channels, 10, wait_ms_max=100, deterministic=False, every_ms=None)
    channels[0].receive(rows_of(logs[0], 0, 2))

    assert merge.chunk(0) is None
    assert merge.chunk(99) is None
    chunk = merge.chunk(100)
    assert chunk is not None
    assert chunk.rows == 2


def test_live_a_channel_at_its_end_is_idle_at_once() -> None:
    channels = [Channel("a", "a", Place(0, 0, 0)), Channel("b", "b", Place(1, 0, 0), at_end=True)]
    merge = Merge(channels, 10, wait_ms_max=100, deterministic=False, every_ms=None)
    channels[0].receive(rows_of(Log([7]), 0, 1))

    chunk = merge.chunk(0)
    assert chunk is not None
    assert chunk.rows == 1


def test_rows_too_far_behind_are_rejected_where_they_stand() -> None:
    channel = Channel("a", "topic", Place(0, 3, 0), late_after_ms=10)
    rows = rows_of(Log([100, 90, 89, 120, 110, 100]), 0, 6)
    before = rows.flags.copy()
    channel.receive(rows.take(slice(None)))
    channel.ended = True
    chunk = Merge([channel], 10, 100, True, None).chunk(0)

    assert chunk is not None
    taken = chunk.taken[0].rows
    assert np.flatnonzero(taken.flags == BAD).tolist() == [2, 5]
    assert "11 ms behind" in taken.bad[2].reason
    assert (taken.bad[5].topic, taken.bad[5].partition, taken.bad[5].offset) == ("topic", 3, 5)
    assert (rows.flags == before).all()
