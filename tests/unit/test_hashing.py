"""hashing against its scalar twin, fixed vectors (the format), and what chance allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.hashing import ABSENT_HASH, hash64, hash64_bytes, mix64, mix64_int, uniform, words_at
from stream_infer.records import Text, concat_columns

# These values are the format: draws and table places of recorded runs depend on them. Never change them.
VECTORS = [
    (b"", 0, 0x48218226FF3CD4BF),
    (b"", 1, 0xDCE423FC82C0D5B8),
    (b"a", 0, 0xD30304712809190E),
    (b"a", -1, 0xE26BE1B842F4B850),
    (b"\0", 0, 0xE8F052B60D5E2BF6),
    (b"stream-infer", 0, 0x60A636AF8ABC9A47),
    (b"stream-infer", 1, 0xC559724B56769429),
    (bytes(range(100)), 0, 0x807C854549AD2BE0),
    (bytes(range(100)), -1, 0x6A65F78DC89F7D16),
]
DRAWS = [
    (0, [0.28176129772258496, 0.6172084904339515, 0.24154538009673077]),
    (42, [0.6977363416157777, 0.7758668271140825, 0.6363306455866122]),
]


@pytest.mark.parametrize(("data", "seed", "expected"), VECTORS)
def test_hash_vectors(data: bytes, seed: int, expected: int) -> None:
    assert hash64_bytes(data, seed) == expected
    assert hash64(Text.of([data]), seed).tolist() == [expected]


@pytest.mark.parametrize(("seed", "expected"), DRAWS)
def test_uniform_vectors(seed: int, expected: list[float]) -> None:
    assert uniform(np.arange(3, dtype=np.uint64), seed).tolist() == expected


@given(st.lists(st.none() | st.binary(max_size=40), max_size=12), st.integers())
def test_rows_hash_as_the_scalar_twin_says(rows: list[bytes | None], seed: int) -> None:
    expected = [ABSENT_HASH if row is None else hash64_bytes(row, seed) for row in rows]

    assert hash64(Text.of(rows), seed).tolist() == expected


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=8), st.lists(st.binary(max_size=20), min_size=1, max_size=8))
def test_neighbours_and_place_change_nothing(left: list[bytes], right: list[bytes]) -> None:
    both = concat_columns([Text.of(left), Text.of(right)])
    assert isinstance(both, Text)

    backwards = hash64(both.take(np.arange(len(both))[::-1]))[::-1]

    assert hash64(both).tolist() == hash64(Text.of(left)).tolist() + hash64(Text.of(right)).tolist()
    assert backwards.tolist() == hash64(both).tolist()


def test_long_rows_beside_short_ones() -> None:
    rows = [b"x" * 1_000_003, b"", b"x" * 1_000_002, b"y"]

    assert hash64(Text.of(rows)).tolist() == [hash64_bytes(row) for row in rows]


def test_spans_of_absent_rows_may_point_anywhere() -> None:
    blob = np.frombuffer(b"abc", dtype=np.uint8)
    text = Text(blob, np.array([0, 10**9]), np.array([3, 77]), np.array([True, False]))

    assert hash64(text).tolist() == [hash64_bytes(b"abc"), ABSENT_HASH]


@pytest.mark.parametrize(("start", "size"), [(-1, 1), (2, 2), (4, 0), (0, -1), (2**62, 1), (0, 2**62)])
def test_spans_outside_of_their_block_are_refused(start: int, size: int) -> None:
    with pytest.raises(ValueError, match="row 1 points outside of its block"):
        hash64(Text(np.zeros(3, dtype=np.uint8), np.array([3, start]), np.array([0, size])))


@given(st.binary(max_size=24), st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=6))
def test_words_are_the_bytes_from_each_start_on(data: bytes, spans: list[tuple[int, int]]) -> None:
    spans = [(min(start, len(data)), left) for start, left in spans]
    start, left = (np.array([pair[which] for pair in spans], dtype=np.int64) for which in (0, 1))

    words = words_at(np.frombuffer(data, dtype=np.uint8), start, left)

    assert words.tolist() == [int.from_bytes(data[at : at + min(count, 8)], "little") for at, count in spans]


def test_every_input_bit_moves_half_of_the_output_bits() -> None:
    data = bytes(range(7, 7 + 24))
    rows = [data]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        rows.append(bytes(flipped))
    hashes = hash64(Text.of(rows))

    flips = np.unpackbits((hashes[1:] ^ hashes[0]).view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)

    assert abs(flips.mean() - 32) < 1.5  # sd of the mean of 192 binomials(64, 1/2) is 0.29
    assert flips.min() >= 12  # 5 sd


def test_counters_as_text_do_not_collide_and_fill_buckets_evenly() -> None:
    hashes = hash64(Text.of([str(i) for i in range(100_000)]))

    assert len(np.unique(hashes)) == 100_000
    for shift in (0, 54):
        counts = np.bincount(((hashes >> np.uint64(shift)) & np.uint64(1023)).astype(np.int64), minlength=1024)
        assert _chi2_sigmas(counts) < 5


def test_swapped_words_hash_differently() -> None:
    assert hash64_bytes(b"12345678abcdefgh") != hash64_bytes(b"abcdefgh12345678")


@given(st.integers())
def test_mix_twin(value: int) -> None:
    assert mix64(np.array([value & (1 << 64) - 1], dtype=np.uint64)).tolist() == [mix64_int(value)]


def test_uniform_is_uniform_and_independent_between_seeds() -> None:
    counters = np.arange(200_000, dtype=np.uint64)
    one, two = uniform(counters, 1), uniform(counters, 2)

    assert one.min() >= 0
    assert one.max() < 1
    assert _chi2_sigmas(np.bincount((one * 256).astype(np.int64), minlength=256)) < 5
    assert abs(np.corrcoef(one, two)[0, 1]) < 5 / np.sqrt(len(one))
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 5 / np.sqrt(len(one))


def test_uniform_never_reaches_one() -> None:
    assert uniform(np.zeros(0, dtype=np.uint64), 0).shape == (0,)
    assert ((1 << 64) - 1 >> 11) * 2.0**-53 < 1


def _chi2_sigmas(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    return float(abs(((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom))
