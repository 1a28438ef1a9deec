"""What is told of chunks. Oracle: fastavro reads the records; hand-counted passes."""

from __future__ import annotations

import io
import json

import fastavro
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.codec.internal import CUT
from stream_infer.codec.schema import parse_schema
from stream_infer.flow.cuts import Answered, CutEmitter
from stream_infer.flow.merge import Chunk
from stream_infer.flow.repeating import LateTold, PassTold, parts, place

LONG = st.integers(-(2**62), 2**62)
PASSES = st.lists(st.builds(PassTold, *[st.integers(0, 70_000)] * 5), max_size=3)
LONGS = st.lists(LONG, max_size=4)
LATE = st.lists(st.builds(LateTold, st.integers(0, 99), st.integers(-1, 9), st.integers(0, 4096), st.integers(0, 4096)), max_size=3)


@given(st.text(max_size=9), st.integers(0, 500), LONGS, LONGS, PASSES, st.none() | LONG, st.integers(1, 2**40), LATE)
def test_a_cut_is_the_avro_record_of_its_schema(
    section: str,
    partition: int,
    began: list[int],
    versions: list[int],
    passes: list[PassTold],
    wall: int | None,
    number: int,
    late: list[LateTold],
) -> None:
    ended = [min(value + 3, 2**62) for value in began]
    chunk = Chunk(number, [], 70, -5, np.array([9, *began]), np.array([9, *ended]))
    users = np.arange(1, len(began) + 1)
    emitter = CutEmitter("cuts", section, partition)
    emitter.note(chunk, users, Answered(tuple(versions), tuple(passes), wall, late))
    (made,) = emitter.emit()
    (value,) = made.values.raw()
    assert value is not None
    assert value[:5] == b"\x00" + parse_schema(CUT).schema_id.to_bytes(4, "big")
    body = io.BytesIO(value[5:])
    read = fastavro.schemaless_reader(body, fastavro.parse_schema({**json.loads(CUT), "fields": _plain(json.loads(CUT)["fields"])}), None)
    assert body.read() == b""
    assert read == {
        "section": section, "partition": partition, "cut": number, "rows": 70, "reached": -5, "offsets": began, "versions": versions,
        "ends": ended, "passes": [n for p in passes for n in (p.model, p.first, p.rows, p.at, p.size)], "wall": wall,
        "late": [n for one in late for n in (one.node, one.member, one.first, one.rows)],
    }  # fmt: skip
    assert (made.topic, made.partition, made.keys.raw()) == ("cuts", partition, [None])


def test_cuts_wait_for_the_checkpoint_and_those_that_do_not_hold_are_forgotten() -> None:
    emitter = CutEmitter("cuts", "main", 3)
    assert emitter.emit() == []
    for number in (1, 2):
        emitter.note(Chunk(number, [], 1, 0, np.array([0]), np.array([1])), np.array([0]), Answered())
    (made,) = emitter.emit()
    assert len(made.values) == len(set(made.values.raw())) == len(made.keys) == 2
    assert emitter.emit() == []
    emitter.note(Chunk(3, [], 1, 0, np.array([0]), np.array([1])), np.array([0]), Answered())
    emitter.forget()
    assert emitter.emit() == []


def _plain(fields: list[dict[str, object]]) -> list[dict[str, object]]:
    """Times as whole numbers, whatever calendar they are in."""
    text = json.dumps(fields).replace('{"type": "long", "logicalType": "timestamp-millis"}', '"long"')
    found: list[dict[str, object]] = json.loads(text)
    return found


def test_passes_are_cut_again_where_they_were_cut() -> None:
    rows = np.array([0, 2, 3, 5, 8, 9])
    none = np.zeros(6)
    told = [PassTold(0, 0, 3, 10, 64), PassTold(0, 5, 2, 0, 64)]
    assert [part.tolist() for part in parts(rows, none, told)] == [[0, 2, 3], [5, 8], [9]], "what failed went alone"
    assert [part.tolist() for part in parts(rows, none, ())] == [rows.tolist()]
    # Rows of odd numbers share one bucket, those of even numbers the other.
    buckets = rows % 2
    told = [PassTold(0, 0, 3, 0, 4), PassTold(0, 3, 2, 0, 4), PassTold(0, 9, 1, 0, 4)]
    assert [part.tolist() for part in parts(rows, buckets, told)] == [[0, 2, 8], [3, 5], [9]]
    assert place(np.array([3, 5]), told) == (0, 4)
    assert place(np.array([3]), told) is None
