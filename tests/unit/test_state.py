"""state: rows there and back, and values that are not ours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.records import Text
from stream_infer.state import (
    StateError,
    begins_with,
    cut,
    end_to_end,
    gather_bytes,
    join_texts,
    pack_rows,
    pack_text,
    unpack_rows,
    with_prefix,
)

DTYPE = np.dtype([("when", "<i8"), ("ring", "<f8", (3,)), ("flag", "u1")])


@given(
    st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.lists(st.floats(), min_size=3, max_size=3), st.integers(0, 255)), max_size=5)
)
def test_rows_come_back_bit_for_bit(rows: list[tuple[int, list[float], int]]) -> None:
    table = np.array([(when, ring, flag) for when, ring, flag in rows], dtype=DTYPE)

    packed = pack_rows(3, table)

    assert [len(value) for value in packed] == [1 + 8 + 24 + 1] * len(rows)
    assert all(value[0] == 3 for value in packed)
    assert unpack_rows(3, packed, DTYPE).tobytes() == table.tobytes()


@pytest.mark.parametrize("value", [b"", b"\x02" + bytes(33), b"\x03" + bytes(32)])
def test_values_of_another_format_are_refused(value: bytes) -> None:
    good = pack_rows(3, np.zeros(1, dtype=DTYPE))

    with pytest.raises(StateError, match="expected version 3, 34 bytes"):
        unpack_rows(3, [*good, value], DTYPE)


def test_pieces() -> None:
    assert cut(b"aabbcc", 2) == [b"aa", b"bb", b"cc"]


@given(st.lists(st.binary(max_size=9), max_size=9), st.data())
def test_spans_are_joined_in_the_given_order(rows: list[bytes], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(rows))))
    text = pack_text(rows).take(np.array(order, dtype=np.int64))

    assert gather_bytes(text.blob, text.start, text.size).tobytes() == b"".join(rows[i] for i in order)


def test_keys_as_text() -> None:
    assert pack_text([b"a", b"", b"\xff"]).raw() == Text.of([b"a", b"", b"\xff"], is_bytes=True).raw() == [b"a", b"", b"\xff"]


@given(st.lists(st.lists(st.none() | st.binary(max_size=9), max_size=5), min_size=1, max_size=4))
def test_texts_end_to_end_and_joined(parts: list[list[bytes | None]]) -> None:
    there = [row or b"" for rows in parts for row in rows]
    blob = np.frombuffer(b"".join(there), dtype=np.uint8)

    assert end_to_end(blob, np.array([len(row) for row in there], dtype=np.int64)).raw() == there
    assert join_texts([pack_text(rows) for rows in parts]).raw() == [row for rows in parts for row in rows]


@given(st.lists(st.binary(max_size=20), max_size=9), st.binary(max_size=9), st.data())
def test_prefixes_go_on_and_are_found(rows: list[bytes], prefix: bytes, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(rows))))
    keys = pack_text(rows).take(np.array(order, dtype=np.int64))

    assert with_prefix(prefix, keys).raw() == [prefix + rows[i] for i in order]
    assert begins_with(with_prefix(prefix, keys), prefix).all()
    assert begins_with(keys, prefix).tolist() == [rows[i].startswith(prefix) for i in order]
