"""hashing: 64-bit hashes of texts, and the randomness of the whole product. records → *hashing* → state, features, decide.

Every draw is a pure function of what it is about: uniform(hash of the decision's id, the policy's seed). No generator has
a state, so a replay, another batch size or another worker draws the same. The functions below are therefore part of the
format: the test vectors in tests/unit/test_hashing.py must never change.

How a text is hashed: its bytes are cut into little-endian 64-bit words (the last one filled up with zeros), each word is
scrambled together with its place, the results are added, and the sum is scrambled once more with size and seed.
"""

from __future__ import annotations

import numpy as np

from stream_infer.jit import byte_at, jit, place_of, word_at
from stream_infer.records import Bools, Bytes, Floats, Hashes, Ints, Text, plain, sealed

ABSENT_HASH = 0  # what an absent row hashes to, for every seed
_MASK = (1 << 64) - 1
_GOLDEN, _STIR, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_U_FIRST, _U_SECOND = np.array([_FIRST, _SECOND], dtype=np.uint64)
_ALL_VALID = np.zeros(0, dtype=np.bool_)


def mix64(values: Hashes) -> Hashes:
    """splitmix64's finaliser: a bijection of 64-bit numbers in which every input bit moves every output bit.

    values: uint64[n]; gives uint64[n], a new array.
    """
    out = values ^ (values >> np.uint64(30))
    out *= _U_FIRST
    out ^= out >> np.uint64(27)
    out *= _U_SECOND
    out ^= out >> np.uint64(31)
    return out


def mix64_int(value: int) -> int:
    """The same as `mix64` for one number; only its low 64 bits count."""
    value &= _MASK
    value = (value ^ (value >> 30)) * _FIRST & _MASK
    value = (value ^ (value >> 27)) * _SECOND & _MASK
    return value ^ (value >> 31)


def hash64(text: Text, seed: int = 0) -> Hashes:
    """A 64-bit hash per row: equal bytes give equal hashes, wherever they lie. Absent rows give ABSENT_HASH.

    text: n rows; seed: any int, its low 64 bits count; gives uint64[n]. Not secure against someone who picks the bytes. ValueError for
    a row that is there and lies outside of its block.
    """
    out = np.empty(len(text), dtype=np.uint64)
    valid = _ALL_VALID if text.valid is None else plain(text.valid)
    wrong = _hash_rows(sealed(text.blob), plain(text.start), plain(text.size), valid, np.uint64(_salt(seed)), out)
    if wrong >= 0:
        raise ValueError(f"row {wrong} points outside of its block")
    return out


def hash64_bytes(data: bytes, seed: int = 0) -> int:
    """The hash that `hash64` gives a row with these bytes."""
    total = 0
    for place in range(max((len(data) + 7) >> 3, 1)):
        word = int.from_bytes(data[place << 3 : (place << 3) + 8], "little")
        word = word * _STIR & _MASK
        word = (word ^ (word >> 32)) + place * _GOLDEN & _MASK
        word = word * _FIRST & _MASK
        total += word ^ (word >> 29)
    return mix64_int(total & _MASK ^ len(data) * _STIR & _MASK ^ _salt(seed))


def uniform(hashes: Hashes, seed: int) -> Floats:
    """Counter-based random numbers in [0, 1): the same (hash, seed) always gives the same number, to the last of 53 bits.

    hashes: uint64[n], what each draw is about (counters are fine too); seed: any int, another one for each purpose, so
    that two draws about the same thing are independent; gives float64[n].
    """
    bits: Floats = (mix64(hashes ^ np.uint64(_salt(seed))) >> np.uint64(11)).astype(np.float64)
    return bits * 2.0**-53


def _salt(seed: int) -> int:
    return mix64_int(seed + _GOLDEN)


def words_at(blob: Bytes, start: Ints, left: Ints) -> Hashes:
    """The 8 bytes from each start on as one little-endian number; bytes beyond `left` (≥ 0, of which 8 count) read as zero.

    blob: uint8[b], beyond which all reads as zero; start, left: int64[n]; gives uint64[n]. ValueError for a start outside of [0, b].
    """
    out = np.empty(len(start), dtype=np.uint64)
    wrong = _read_words(sealed(blob), plain(start), plain(left), out)
    if wrong >= 0:
        raise ValueError(f"row {wrong} points outside of its block")
    return out


@jit
def _word(at: int, stop: int, limit: int) -> np.uint64:
    """The bytes from `at` to `stop`, 1 to 8, as one number; none from limit on may be read."""
    if at + 8 <= limit:
        return word_at(at) & (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(8 * (8 - (stop - at))))
    word = np.uint64(0)
    for place in range(stop - at):
        word |= np.uint64(byte_at(at + place)) << np.uint64(8 * place)
    return word


@jit
def _hash_rows(blob: Bytes, start: Ints, size: Ints, valid: Bools, salt: np.uint64, out: Hashes) -> int:
    """The hash of each row; gives the first row that lies outside of the block, or -1. valid: bool[n], or empty when all are there."""
    first = place_of(blob)
    limit = first + len(blob)
    for row in range(len(start)):
        if len(valid) and not valid[row]:
            out[row] = np.uint64(ABSENT_HASH)
            continue
        left = size[row]
        if left < 0 or start[row] < 0 or start[row] > len(blob) - left:
            return row
        at = first + start[row]
        total = np.uint64(0)
        for place in range(max((left + 7) >> 3, 1)):
            word = np.uint64(0)
            if left > 0:
                word = _word(at, at + min(left, 8), limit)
            word *= np.uint64(_STIR)
            word = (word ^ (word >> np.uint64(32))) + np.uint64(place) * np.uint64(_GOLDEN)
            word *= np.uint64(_FIRST)
            total += word ^ (word >> np.uint64(29))
            at += 8
            left -= 8
        total ^= np.uint64(size[row]) * np.uint64(_STIR) ^ salt
        total = (total ^ (total >> np.uint64(30))) * np.uint64(_FIRST)
        total = (total ^ (total >> np.uint64(27))) * np.uint64(_SECOND)
        out[row] = total ^ (total >> np.uint64(31))
    return -1


@jit
def _read_words(blob: Bytes, start: Ints, left: Ints, out: Hashes) -> int:
    first = place_of(blob)
    limit = first + len(blob)
    for row in range(len(start)):
        if not 0 <= start[row] <= len(blob):
            return row
        at = first + start[row]
        stop = min(at + max(min(left[row], 8), 0), limit)
        out[row] = _word(at, stop, limit) if stop > at else np.uint64(0)
    return -1
