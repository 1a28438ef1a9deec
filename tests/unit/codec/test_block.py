"""Blocks of columns: what is written is read again, and what was not written is told as such."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.codec.block import BYTES_MAX, FORMAT, ROWS_MAX, BlockError, read_block, write_blocks
from stream_infer.records import Column, Lists, Numbers, Text

KINDS = ("bool", "int32", "int64", "float32", "float64", "text", "bytes", "list")
INTEGERS = {"int32": st.integers(-(2**31), 2**31 - 1), "int64": st.integers(-(2**63), 2**63 - 1)}
NEAR = {kind: st.integers(-3, 300) | whole for kind, whole in INTEGERS.items()}


@st.composite
def columns_of(draw: st.DrawFn, kind: str, rows: int) -> Column:
    """A column of a kind: absent rows, rows all alike, spans in any order within a block that holds much else."""
    valid = draw(st.none() | st.lists(st.booleans(), min_size=rows, max_size=rows).map(lambda v: np.array(v, dtype=np.bool_)))
    alike = draw(st.booleans())
    place = [0] * rows if alike else draw(st.permutations(range(rows)))
    if kind in ("text", "bytes", "list"):
        if kind == "list":
            dtype = draw(st.sampled_from(["bool", "int32", "int64", "float32", "float64"]))
            lists = draw(st.lists(st.lists(st.integers(0, 1), max_size=4), min_size=rows, max_size=rows))
            size = np.array([len(one) for one in lists], dtype=np.int64)
            items = np.array([0, *(item for one in lists for item in one)], dtype=dtype)
            column: Column = Lists(items, np.cumsum(size) - size + 1, size)
        else:
            column = Text.of(draw(st.lists(st.text(max_size=9), min_size=rows, max_size=rows)), is_bytes=kind == "bytes")
        taken = column.take(np.array(place, dtype=np.int64))
    else:
        values = {"bool": st.booleans(), "float32": st.floats(width=32), "float64": st.floats()} | NEAR
        drawn = draw(st.lists(values[kind], min_size=rows, max_size=rows))
        taken = Numbers(np.array(drawn, dtype=kind)[place] if rows else np.zeros(0, dtype=kind))
    taken.valid = valid
    return taken


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, Column], int]:
    rows = draw(st.integers(0, 12))
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=5))
    return {f"c{n} {kind}": draw(columns_of(kind, rows)) for n, kind in enumerate(kinds)}, rows


def bytes_of(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, dtype=np.uint8)


def same(one: Column, other: Column) -> None:
    assert type(one) is type(other)
    assert (one.valid is None) == (other.valid is None)
    if isinstance(one, Numbers):
        assert isinstance(other, Numbers)
        assert one.values.dtype == other.values.dtype
        assert one.values.tobytes() == other.values.tobytes()
        if one.valid is not None and other.valid is not None:
            assert one.valid.tolist() == other.valid.tolist()
        return
    if isinstance(one, Text):
        assert isinstance(other, Text)
        assert one.is_bytes == other.is_bytes
    elif isinstance(other, Lists):
        assert one.items.dtype == other.items.dtype
    assert one.to_list() == other.to_list()


@given(tables(), st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=3)))
def test_a_block_is_read_as_it_was_written(table: tuple[dict[str, Column], int], head: dict[str, int | str | bool | None]) -> None:
    columns, rows = table
    (data,) = write_blocks(columns, rows, head)
    block = read_block(bytes_of(data))

    assert (block.rows, block.head, list(block.columns)) == (rows, head, list(columns))
    for name, column in columns.items():
        same(column, block.columns[name])
        for part in vars_of(block.columns[name]):
            assert part.flags.aligned


def vars_of(column: Column) -> list[np.ndarray]:
    if isinstance(column, Numbers):
        return [column.values]
    return [column.start, column.size, column.blob if isinstance(column, Text) else column.items]


PLAIN = {"x": Numbers(np.arange(3.0)), "t": Text.of(["a", None, "b"])}


@pytest.mark.parametrize("columns", [PLAIN, {}], ids=["full", "empty"])
def test_a_block_cut_off_anywhere_is_no_block(columns: dict[str, Column]) -> None:
    (data,) = write_blocks(columns, 3, {"source": 1})
    for size in range(len(data)):
        with pytest.raises(BlockError, match="bytes, expected"):
            read_block(bytes_of(data[:size]))
    with pytest.raises(BlockError, match="cut off, or goes on"):
        read_block(bytes_of(data + b"\0"))


def test_a_changed_byte_is_seen() -> None:
    (data,) = write_blocks(PLAIN, 3, {})
    for place in range(4, len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(BlockError):
            read_block(bytes_of(bytes(changed)))


@pytest.mark.parametrize("data", [b"\x00" * 64, struct.pack("<BB", FORMAT, 2) + bytes(62)])
def test_another_format_or_version_is_told(data: bytes) -> None:
    with pytest.raises(BlockError, match="expected a block of columns: 0xb1 0x1"):
        read_block(bytes_of(data))


@pytest.mark.parametrize("rows", [ROWS_MAX, ROWS_MAX + 1, 3 * ROWS_MAX])
def test_many_rows_make_several_blocks_in_order(rows: int) -> None:
    blocks = [read_block(bytes_of(data)) for data in write_blocks({"x": Numbers(np.arange(rows))}, rows, {"source": 3})]

    assert max(block.rows for block in blocks) <= ROWS_MAX
    assert len(blocks) == (1 if rows == ROWS_MAX else 2 if rows == ROWS_MAX + 1 else 4)
    values = [block.columns["x"] for block in blocks]
    assert np.array_equal(np.concatenate([column.values for column in values if isinstance(column, Numbers)]), np.arange(rows))
    assert all(block.head == {"source": 3} for block in blocks)


def test_long_rows_make_several_blocks() -> None:
    text = Text.of([bytes([row]) * 100_000 for row in range(20)], is_bytes=True)
    written = write_blocks({"t": text}, 20, {})

    assert max(map(len, written)) <= BYTES_MAX
    assert [row for data in written for row in read_block(bytes_of(data)).columns["t"].to_list()] == text.to_list()


def test_what_is_the_same_in_all_rows_takes_no_room() -> None:
    rows = 4096
    columns: dict[str, Column] = {
        "topic": Text.of(["payments"]).take(np.zeros(rows, dtype=np.int64)),
        "version": Numbers(np.full(rows, 7)),
        "share": Numbers(np.full(rows, 0.25)),
        "at": Numbers(1_700_000_000_000 + np.arange(rows)),
    }
    (data,) = write_blocks(columns, rows, {})

    assert len(data) < 2 * rows + 400
