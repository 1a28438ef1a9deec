"""hashing: 64-bit hashes of texts, and the randomness of the whole product. records → *hashing* → state, features, decide.

Every draw is a pure function of what it is about: uniform(hash of the decision's id, the policy's seed). No generator has
a state, so a replay, another batch size or another worker draws the same. The functions below are therefore part of the
format: the test vectors in tests/unit/test_hashing.py must never change.

How a text is hashed: its bytes are cut into little-endian 64-bit words (the last one filled up with zeros), each word is
scrambled together with its place, the results are added, and the sum is scrambled once more with size and seed. A sum
needs no loop over the words of a row, so long and short rows cost the same per byte.
"""

from __future__ import annotations

import numpy as np

from stream_infer.records import Bytes, Floats, Hashes, Ints, Text

ABSENT_HASH = 0  # what an absent row hashes to, for every seed
_MASK = (1 << 64) - 1
_GOLDEN, _STIR, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_U_GOLDEN, _U_STIR, _U_FIRST, _U_SECOND = np.array([_GOLDEN, _STIR, _FIRST, _SECOND], dtype=np.uint64)
# The mask of a word of which only s bytes belong to the text, by s.
_TAILS = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)


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

    text: n rows; seed: any int, its low 64 bits count; gives uint64[n]. Not secure against someone who picks the bytes.
    """
    count = len(text)
    if not count:
        return np.zeros(0, dtype=np.uint64)
    size = text.size
    start = text.start
    if text.valid is not None:
        # Spans of absent rows mean nothing and may point anywhere.
        size, start = np.where(text.valid, size, 0), np.where(text.valid, start, 0)
    words = np.maximum((size + 7) >> 3, 1)
    if int(words.max()) == 1:
        sums = _scramble(words_at(text.blob, start, size), np.zeros(1, dtype=np.uint64))
    else:
        first = np.cumsum(words) - words
        place = np.arange(int(words.sum()), dtype=np.int64) - np.repeat(first, words)
        left = np.repeat(size, words) - (place << 3)
        scrambled = _scramble(words_at(text.blob, np.repeat(start, words) + (place << 3), left), place.astype(np.uint64))
        sums = np.add.reduceat(scrambled, first)
    out = mix64(sums ^ (size.astype(np.uint64) * _U_STIR) ^ np.uint64(_salt(seed)))
    if text.valid is not None:
        out[~text.valid] = ABSENT_HASH
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


def _scramble(words: Hashes, place: Hashes) -> Hashes:
    """words: uint64[w], overwritten; place: of each word in its row. Two multiplications keep words from trading places."""
    words *= _U_STIR
    words ^= words >> np.uint64(32)
    words += place * _U_GOLDEN
    words *= _U_FIRST
    words ^= words >> np.uint64(29)
    return words


def words_at(blob: Bytes, start: Ints, left: Ints) -> Hashes:
    """The 8 bytes from each start on as one little-endian number; bytes beyond `left` (≥ 0, of which 8 count) read as zero.

    blob: uint8[b]; start: int64[n] in [0, b]; left: int64[n]; n ≥ 1; gives uint64[n].
    """
    if len(blob) < 8:
        blob = np.concatenate([blob, np.zeros(8, dtype=np.uint8)])
    last = len(blob) - 8
    # Every byte of the blob begins a word of this view: one gather reads eight bytes.
    view = np.ndarray(shape=(last + 1,), dtype="<u8", buffer=blob if blob.flags.c_contiguous else blob.copy(), strides=(1,))
    if int(start.max()) <= last:
        words: Hashes = view[start].astype(np.uint64, copy=False)
    else:
        # Words that would end behind the blob are read earlier and shifted down.
        begin = np.minimum(start, last)
        words = view[begin].astype(np.uint64, copy=False) >> ((start - begin) << 3).astype(np.uint64)
    words &= _TAILS[np.minimum(left, 8)]
    return words
