"""Numbers in text against Python's float()."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.codec.number_text import floats_of_texts, matrix_of_texts
from stream_infer.records import Floats, Text

WRITTEN = (
    st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda value: f"{value:.18e}")
    | st.floats(-1, 1).map(lambda value: f"{value:.8f}")
    | st.from_regex(r"-?0\.[0-9]{1,21}(e-?[0-9])?", fullmatch=True)
    | st.integers().map(str)
    | st.builds(lambda digits, power: f"{digits}e{power}", st.integers(0, 10**20), st.integers(-345, 310))
    | st.builds(lambda odd, power: str(odd * 2**power), st.integers(2**53, 2**54), st.integers(0, 9))  # near the middle of two floats
    | st.sampled_from(["0", "-0", "-0.0", "0e5", "1e23", "9007199254740993", "2.2250738585072011e-308", "5e-324", "1.7976931348623157e308"])
)
ANY = WRITTEN | st.text("0123456789+-.eE_ naif", max_size=8) | st.text(max_size=3)


def bits(values: list[float]) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


def expected(text: bytes, separator: bytes) -> list[float] | None:
    """None where the text is anything but finite decimal numbers."""
    parts = text.split(separator)
    if parts[-1] == b"":
        parts.pop()
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return None
    return values if text.isascii() and b"_" not in text and all(map(math.isfinite, values)) else None


@settings(deadline=None, max_examples=300)
@given(st.lists(st.none() | st.lists(ANY, max_size=5), max_size=5), st.sampled_from([b",", b";", b" "]), st.booleans())
def test_every_row_is_the_floats_that_python_reads_or_bad(rows: list[list[str] | None], separator: bytes, trailing: bool) -> None:
    texts = [None if row is None else separator.join(one.encode() for one in row) + separator * (trailing and bool(row)) for row in rows]
    lists, bad = floats_of_texts(Text.of(texts), separator[0])
    for text, row, wrong in zip(texts, lists.to_list(), bad.tolist(), strict=True):
        values = None if text is None else expected(text, separator)
        assert wrong == (text is not None and values is None)
        if text is None:
            assert row is None
        else:
            assert bits(row) == bits(values or [])  # type: ignore[arg-type]


@settings(deadline=None, max_examples=500)
@given(st.lists(WRITTEN.filter(lambda text: math.isfinite(float(text))), min_size=1, max_size=20))
def test_every_number_is_rounded_exactly(numbers: list[str]) -> None:
    lists, bad = floats_of_texts(Text.of([",".join(numbers)]), ord(","))
    assert not bad.any()
    assert bits(lists.items.tolist()) == bits([float(text) for text in numbers])


def test_any_double_comes_back_from_its_shortest_form() -> None:
    made = np.random.default_rng(1).integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    made = made[np.isfinite(made)]
    lists, bad = floats_of_texts(Text.of([",".join(map(repr, made.tolist()))]), ord(","))
    assert not bad.any()
    assert lists.items.tobytes() == made.tobytes()


def test_fractions_of_any_length_end_where_their_row_ends() -> None:
    """The next row's digits stand right behind a row's last one."""
    draw = np.random.default_rng(2)
    numbers = ["0." + "".join(map(str, draw.integers(0, 10, size))) for size in range(1, 23) for _ in range(20)]
    numbers += ["0.", "0.5"]
    lists, bad = floats_of_texts(Text.of(numbers), ord(","))
    assert not bad.any()
    assert bits(lists.items.tolist()) == bits([*map(float, numbers)])


@pytest.mark.parametrize("text", ["a", "1,,2", ",", ",1", "1,2,,", "1 2", "nan", "1,inf", "1e999", "1_0", "0x1", "1,é", "--1", "1e", "."])
def test_what_is_no_list_of_numbers_is_bad_alone(text: str) -> None:
    lists, bad = floats_of_texts(Text.of(["1,2", text, "3,", ""]), ord(","))
    assert bad.tolist() == [False, True, False, False]
    assert lists.to_list() == [[1.0, 2.0], [], [3.0], []]


def test_spans_outside_of_their_block_are_bad_and_never_read() -> None:
    lists, bad = floats_of_texts(Text(np.frombuffer(b"1,2", dtype=np.uint8), np.array([0, 2, -5]), np.array([3, 9, 2])), ord(","))
    assert bad.tolist() == [False, True, True]
    assert lists.to_list() == [[1.0, 2.0], [], []]


def as_floats32(values: list[float]) -> Floats:
    with np.errstate(over="ignore"):  # infinite, which no model sees
        return np.array(values, dtype=np.float64).astype(np.float32)


def matrix_of(column: Text, width: int, separator: int = ord(",")) -> tuple[Floats, list[bool]]:
    """Rows that are read for oneself are all 7 before."""
    out = np.full((len(column), width), 7, dtype=np.float32)
    odd = matrix_of_texts(column, separator, out)
    return out, odd.tolist()


@settings(deadline=None, max_examples=300)
@given(st.lists(st.none() | st.lists(ANY, max_size=12), max_size=5), st.integers(1, 12), st.sampled_from([b",", b";", b" "]), st.booleans())
def test_rows_of_a_matrix_are_the_floats_that_python_reads(
    rows: list[list[str] | None], width: int, separator: bytes, trailing: bool
) -> None:
    texts = [None if row is None else separator.join(one.encode() for one in row) + separator * (trailing and bool(row)) for row in rows]
    column = Text.of(texts)
    out, odd = matrix_of(column, width, separator[0])
    general, bad = floats_of_texts(column, separator[0])
    for text, row, other, wrong, values in zip(texts, out, odd, bad.tolist(), general.to_list(), strict=True):
        if text is None:
            assert np.isnan(row).all()
            assert not other
        elif not other:
            assert not wrong
            assert row.tobytes() == as_floats32(values).tobytes()  # type: ignore[arg-type]
            assert row.tobytes() == as_floats32(expected(text, separator) or []).tobytes()


@pytest.mark.parametrize("behind", ["", "x" * 100])
@pytest.mark.parametrize("before", ["", "x" * 16, "x" * 70])
@pytest.mark.parametrize("width", [1, 2, 5, 63, 64, 65, 200])
def test_fractions_of_all_lengths_are_read_wherever_they_stand(before: str, behind: str, width: int) -> None:
    """All that a model is mostly given is read at once: no row is left to the general reader."""
    draw = np.random.default_rng(width)
    rows = [["0." + "".join(map(str, draw.integers(0, 10, size))) for size in draw.integers(1, 18, width)] for _ in range(5)]
    texts = [before, *(",".join(row) + "," * (place % 2) for place, row in enumerate(rows)), behind]
    out, odd = matrix_of(Text.of(texts).take(np.arange(1, 6)), width)
    assert not any(odd)
    assert out.tobytes() == np.array([[float(one) for one in row] for row in rows]).astype(np.float32).tobytes()
    for more in (-1, 1):
        assert all(matrix_of(Text.of(texts).take(np.arange(1, 6)), width + more)[1]), "as many numbers as columns, or not at all"


def test_a_row_that_is_changed_at_any_byte_is_read_as_python_reads_it_or_not_at_all() -> None:
    row = b"0.25,0.123456789012345,-1.5e-3,7,0.0000001,"
    for place in range(len(row)):
        texts = [row[:place] + bytes([code]) + row[place + 1 :] for code in (0, 9, 32, 43, 44, 45, 46, 47, 48, 57, 58, 101, 128, 255)]
        out, odd = matrix_of(Text.of(texts, is_bytes=True), 5)
        for text, numbers, other in zip(texts, out.tolist(), odd, strict=True):
            if not other:
                assert numbers == as_floats32(expected(text, b",") or []).tolist()


def test_no_row_is_read_from_outside_of_its_block() -> None:
    blob = np.frombuffer(b"0.5,0.25", dtype=np.uint8)
    out, odd = matrix_of(Text(blob, np.array([0, 4, 4, -5, 9]), np.array([4, 4, 5, 2, 0])), 1)
    assert odd == [False, False, True, True, True]
    assert out[:2, 0].tolist() == [0.5, 0.25]
