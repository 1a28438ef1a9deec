"""Records become rows: what is refused here can do no harm further on. Oracle: the record's own fields, in plain Python."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_infer.codec.internal import REJECT
from stream_infer.flow.emitting import RejectEmitter
from stream_infer.flow.rows import BAD, GOOD, NAME_BYTES_MAX, TIME_MS_MAX, Bad, Intake, Rows
from stream_infer.records import Fetched, Text
from stream_infer.topology.plan import DecideAt, StreamPlan
from tests.support_run import framed, unframed

INT64 = st.integers(-(2**63), 2**63 - 1)
SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Event",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "at_ms", "type": ["null", "long"]},
            {"name": "due_ms", "type": ["null", "long"]},
        ],
    }
)
Event = tuple[str, int | None, int | None]


def taken(events: list[Event], timestamps: list[int], **stream: object) -> Rows:
    plain = {"key": "id", "id": "id", "event_time": "at_ms", "decide_at": DecideAt("due_ms", 1000)} | stream
    intake = Intake(StreamPlan("events", "t", SCHEMA, 1, **plain))  # type: ignore[arg-type]
    values = Text.of((framed(SCHEMA, {"id": i, "at_ms": at, "due_ms": due}) for i, at, due in events), is_bytes=True)
    keys = Text.of([None] * len(events), is_bytes=True)
    return intake.rows(Fetched("t", 0, np.arange(len(events)), np.array(timestamps, dtype=np.int64), keys, values, None))


def usable(time: int | None) -> bool:
    return time is not None and abs(time) <= TIME_MS_MAX


@given(st.lists(st.tuples(st.none() | INT64, st.none() | INT64, INT64), min_size=1, max_size=8))
def test_no_row_lies_beyond_every_calendar_whatever_its_record_says(found: list[tuple[int | None, int | None, int]]) -> None:
    rows = taken([("a", at, due) for at, due, _ in found], [stamp for *_, stamp in found])
    good = [usable(at) and (due is None or usable(due)) for at, due, _ in found]
    assert (rows.flags == GOOD).tolist() == good
    assert sorted(rows.bad) == [offset for offset, fine in enumerate(good) if not fine]
    assert all(usable(time) for time in rows.times.tolist())
    assert rows.times[rows.flags == GOOD].tolist() == [at for (at, *_), fine in zip(found, good, strict=True) if fine]


@example([-(2**63), 2**63 - 1])
@given(st.lists(INT64, min_size=1, max_size=8))
def test_a_records_own_timestamp_is_held_to_the_same_bounds(stamps: list[int]) -> None:
    rows = taken([("a", None, None)] * len(stamps), stamps, event_time=None)
    assert (rows.flags == GOOD).tolist() == [usable(stamp) for stamp in stamps]
    assert all(usable(time) for time in rows.times.tolist())


@pytest.mark.parametrize("size", [NAME_BYTES_MAX, NAME_BYTES_MAX + 1])
def test_a_name_too_long_to_write_again_is_refused(size: int) -> None:
    rows = taken([("a", 1, None), ("b" * size, 2, None), ("c", 3, None)], [0, 0, 0])
    assert (rows.flags == BAD).tolist() == [False, size > NAME_BYTES_MAX, False]
    assert [bad.reason for bad in rows.bad.values()] == [f"`id`: {NAME_BYTES_MAX + 1} bytes, an id or a key has at most {NAME_BYTES_MAX}"][
        : len(rows.bad)
    ]


@given(st.integers(0, 1_000_000), st.integers(0, 1_000_000))
def test_a_reject_always_fits_into_a_record_and_says_what_it_left_out(key: int, value: int) -> None:
    bad = Bad("s", "t", 3, 17, "too large", b"k" * key, b"v" * value)
    (sent,) = RejectEmitter("rejects").emit([bad], "read")
    (key_sent,), (value_sent,) = sent.keys.raw(), sent.values.raw()
    assert value_sent is not None
    assert len(value_sent) + len(key_sent or b"") < 1_000_000
    found = unframed(REJECT, value_sent)
    for part, whole in (("key", bad.key), ("value", bad.value)):
        cut = len(found[part]) < len(whole or b"")
        assert whole is not None
        assert whole.startswith(found[part])
        assert (f"of its {part}, the first {len(found[part])} bytes" in found["reason"]) is cut
