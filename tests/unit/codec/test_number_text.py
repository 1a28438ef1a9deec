"""Numbers in text against Python's float()."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.codec.number_text import floats_of_texts
from stream_infer.records import Text

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
