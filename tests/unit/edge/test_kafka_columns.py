from __future__ import annotations

from itertools import groupby

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge.kafka_columns import columns, split

rows = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 2),
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=20),
    st.integers(0, 1 << 40),
    st.none() | st.lists(st.tuples(st.sampled_from("xy"), st.none() | st.binary(max_size=3)), max_size=3),
)


@given(st.lists(rows, min_size=1, max_size=40))
def test_columns_hold_what_the_messages_held_partition_by_partition(
    table: list[tuple[str, int, bytes | None, bytes | None, int, object]],
) -> None:
    """Against a loop over the rows."""
    messages = [
        Message(topic=t, partition=p, offset=n, key=k, value=v, timestamp=(1, ms), headers=h)  # type: ignore[arg-type]
        for n, (t, p, k, v, ms, h) in enumerate(table)
    ]
    found = {place: columns(place, group, with_headers=True) for place, group in split(list(messages)).items()}

    numbered = [((row[0], row[1]), n, *row[2:]) for n, row in enumerate(table)]
    expected = {place: list(group) for place, group in groupby(sorted(numbered, key=lambda row: (row[0], row[1])), key=lambda row: row[0])}
    assert set(found) == set(expected)
    for place, group in expected.items():
        got = found[place]
        assert (got.topic, got.partition) == place
        assert got.offsets.tolist() == [row[1] for row in group]
        assert got.keys.raw() == [row[2] for row in group]
        assert got.values.raw() == [row[3] for row in group]
        assert got.timestamps.tolist() == [row[4] for row in group]
        assert got.headers == [[(name, value or b"") for name, value in row[5] or []] for row in group]  # type: ignore[attr-defined]


def test_headers_stay_unread_where_nobody_wants_them() -> None:
    message = Message(topic="t", partition=0, offset=0, key=b"k", value=b"v", timestamp=(1, 5), headers=[("x", b"y")])
    assert columns(("t", 0), [message]).headers is None
