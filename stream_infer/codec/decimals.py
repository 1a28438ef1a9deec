"""codec.decimals: decimal numbers in text → float64 and int64. jit → *decimals* → json_codec, number_text.

Every float is the one nearest to what is written, as Python's float() gives it. Up to 15 digits and small powers of ten are one
exact multiplication or division; up to 19 digits are rounded by Eisel and Lemire's algorithm (Lemire, Number parsing at a
gigabyte per second, 2021). What neither settles (more digits, numbers too large or below the normal ones) makes its row odd, and
a slower reader judges it.
"""

from __future__ import annotations

import numpy as np

from stream_infer.jit import byte_at, equal_at, jit, ones, part, place_of, word_at, zeros_below
from stream_infer.records import Bytes, Floats, Hashes, Ints

GOOD, ODD = 0, 1
FLOATS, HALVES, INTS = 0, 1, (32, 64)
_HALF_MAX = float(np.finfo(np.float32).max)
_MINUS, _PLUS, _POINT, _ZERO, _NINE, _E = b"-+.09e"
ZERO_POINT = np.uint64(int.from_bytes(b"0.", "little"))
_DIGITS_MAX = 19  # as many as always fit into 64 bits
EXACT_DIGITS_MAX = 15  # as many as one exact division settles
_LOWEST, _HIGHEST = -342, 308  # powers of ten beyond which all is zero or infinite


def _powers_of_five() -> Hashes:
    """5^q for q from _LOWEST to _HIGHEST, the 128 bits that matter, uint64[q, 2] (high, low): rounded down, below 5^0 up."""
    table = []
    for power in range(_LOWEST, _HIGHEST + 1):
        five = 5 ** abs(power)
        if power >= 0:
            bits = five.bit_length()
            value = five << 128 - bits if bits <= 128 else five >> bits - 128
        else:
            bits = (five - 1).bit_length()
            value = (1 << (bits + 127 if power >= -27 else 2 * bits + 128)) // five + 1
            value >>= max(value.bit_length() - 128, 0)
        table.append((value >> 64, value & (1 << 64) - 1))
    return np.array(table, dtype=np.uint64)


_FIVES = _powers_of_five()
TENS = np.array([10.0**power for power in range(23)])  # all exact
_TIMES = np.array([10**digits for digits in range(9)], dtype=np.uint64)


@part
def _product(left: np.uint64, right: np.uint64) -> tuple[np.uint64, np.uint64]:
    """High and low word of a product of 128 bits."""
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a, b, c, d = left >> half, left & low, right >> half, right & low
    middle = a * d + ((b * d) >> half)
    other = b * c + (middle & low)
    return a * c + (middle >> half) + (other >> half), left * right


@part
def _nearest(digits: np.uint64, power: int) -> float:
    """The float nearest to digits * 10^power; NaN where that cannot be told here. digits: not 0."""
    if power < _LOWEST or power > _HIGHEST:
        return np.nan
    if digits <= np.uint64(1 << 53) and -22 <= power <= 22:
        exact: float = np.float64(np.int64(digits)) / TENS[-power] if power < 0 else np.float64(np.int64(digits)) * TENS[power]
        return exact
    shifted = 0
    while digits >> np.uint64(63) == np.uint64(0):
        digits <<= np.uint64(1)
        shifted += 1
    high, low = _product(digits, _FIVES[power - _LOWEST, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):  # the lower word of the power may carry up to the bits that are kept
        more, _ = _product(digits, _FIVES[power - _LOWEST, 1])
        low += more
        if more > low:
            high += np.uint64(1)
    if low == np.uint64(0xFFFFFFFFFFFFFFFF) and not -27 <= power <= 55:
        return np.nan
    top = np.int64(high >> np.uint64(63))
    mantissa = high >> np.uint64(top + 9)
    exponent = ((217706 * power) >> 16) + 63 + top - shifted + 1023
    if exponent <= 0:
        return np.nan
    near = low <= np.uint64(1) and -4 <= power <= 23 and mantissa & np.uint64(3) == np.uint64(1)
    if near and mantissa << np.uint64(top + 9) == high:  # exactly half way: to the even one
        mantissa &= ~np.uint64(1)
    mantissa = (mantissa + (mantissa & np.uint64(1))) >> np.uint64(1)
    if mantissa >= np.uint64(1 << 53):
        mantissa = np.uint64(1 << 52)
        exponent += 1
    if exponent >= 2047:
        return np.nan
    bits = (np.uint64(exponent) << np.uint64(52)) | (mantissa & np.uint64((1 << 52) - 1))
    found: float = np.uint64(bits).view(np.float64)
    return found


@part
def _leading(word: np.uint64) -> int:
    """How many digits stand at the front of eight bytes."""
    # Above the first byte that is no digit carries make the marks of others wrong; only the first is asked for.
    other = (word + np.uint64(0x4646464646464646)) | (word - np.uint64(0x3030303030303030))
    return zeros_below(other & np.uint64(0x8080808080808080)) >> 3


@part
def _eight(word: np.uint64, count: int) -> np.uint64:
    """The number that the first `count` bytes, all digits, write."""
    digits = word - np.uint64(0x3030303030303030)
    digits = digits << np.uint64(64 - 8 * count) if count else np.uint64(0)  # zeros in front
    digits = (digits * np.uint64(10)) + (digits >> np.uint64(8))
    return (
        (digits & np.uint64(0x000000FF000000FF)) * np.uint64(0x000F424000000064)
        + ((digits >> np.uint64(16)) & np.uint64(0x000000FF000000FF)) * np.uint64(0x0000271000000001)
    ) >> np.uint64(32)


@part
def _sixteen(at: int, value: np.uint64) -> tuple[np.uint64, int]:
    """value with the digits at the front of sixteen bytes behind it, and how many they are."""
    # Two words without asking whether the first is full, which nobody can foresee: 44 -> 18 ns a number of 7 to 9 digits.
    word, more = word_at(at), word_at(at + 8)
    first, second = _leading(word), _leading(more)
    second = second if first == 8 else 0
    return (value * _TIMES[first] + _eight(word, first)) * _TIMES[second] + _eight(more, second), first + second


@part
def _digits(at: int, stop: int, limit: int, value: np.uint64) -> tuple[np.uint64, int]:
    """value with the digits from `at` on behind it, and the place behind them. They may overflow; who calls counts them."""
    while at + 16 <= stop and at + 16 <= limit:
        value, count = _sixteen(at, value)
        at += count
        if count < 16:
            return value, at
    while at < stop and _ZERO <= byte_at(at) <= _NINE:
        value = value * np.uint64(10) + np.uint64(byte_at(at) - _ZERO)
        at += 1
    return value, at


@jit
def _zeros(at: int) -> int:
    """How many zeros stand at the front of a number that is not zero."""
    count = 0
    while byte_at(at) == _ZERO or byte_at(at) == _POINT:
        count += byte_at(at) == _ZERO
        at += 1
    return count


@part
def _fraction(at: int, stop: int, limit: int) -> tuple[float, int]:
    """The number at this place, and the place behind it, if it is 0 and up to 15 digits behind the point; else 0: others may read it.

    Most numbers that models are given are such. With 7 to 9 digits 22 -> 12 ns each.
    """
    if at + 18 > limit or word_at(at) & np.uint64(0xFFFF) != ZERO_POINT:
        return 0.0, 0
    value, count = _sixteen(at + 2, np.uint64(0))
    behind = at + 2 + count
    if count == 0 or count > EXACT_DIGITS_MAX or behind > stop or (behind < stop and byte_at(behind) | 0x20 == _E):
        return 0.0, 0
    return np.float64(np.int64(value)) / TENS[count], behind


@part
def float_at(at: int, stop: int, limit: int) -> tuple[float, int]:
    """The number at this place as JSON writes numbers, and the place behind it; 0 where there is none or another must judge."""
    found, behind = _fraction(at, stop, limit)
    if behind:
        return found, behind
    negative = at < stop and byte_at(at) == _MINUS
    at += negative
    begin = at
    value = np.uint64(0)
    while at < stop and _ZERO <= byte_at(at) <= _NINE:  # mostly one or two
        value = value * np.uint64(10) + np.uint64(byte_at(at) - _ZERO)
        at += 1
    count = at - begin
    if count == 0 or (count > 1 and byte_at(begin) == _ZERO):
        return 0.0, 0
    power, whole = 0, True
    if at < stop and byte_at(at) == _POINT:
        whole = False
        value, behind = _digits(at + 1, stop, limit, value)
        power = at + 1 - behind
        if power == 0:
            return 0.0, 0
        at = behind
    if count - power > _DIGITS_MAX and (value == np.uint64(0) or count - power - _zeros(begin) > _DIGITS_MAX):
        return 0.0, 0
    if at < stop and byte_at(at) | 0x20 == _E:
        whole = False
        at += 1
        lower = at < stop and byte_at(at) == _MINUS
        at += at < stop and (byte_at(at) == _MINUS or byte_at(at) == _PLUS)
        exponent, behind = _digits(at, stop, limit, np.uint64(0))
        if behind == at or behind - at > 4:
            return 0.0, 0
        power += -np.int64(exponent) if lower else np.int64(exponent)  # type: ignore[assignment]
        at = behind
    if value == np.uint64(0):
        if whole and negative:  # readers of JSON do not agree whether -0 has a sign
            return 0.0, 0
        return -0.0 if negative else 0.0, at
    found = _nearest(value, power)
    return -found if negative else found, 0 if np.isnan(found) else at


@part
def _int(at: int, stop: int, limit: int) -> tuple[int, int]:
    """The whole number at this place, and the place behind it; 0 where there is none, or it is -0 or beyond 64 bits."""
    negative = at < stop and byte_at(at) == _MINUS
    begin = at + negative
    value, at = _digits(begin, stop, limit, np.uint64(0))
    count = at - begin
    if count == 0 or count > _DIGITS_MAX or value > np.uint64(0x7FFFFFFFFFFFFFFF):
        return 0, 0
    if byte_at(begin) == _ZERO and (count > 1 or negative):
        return 0, 0
    return (-np.int64(value) if negative else np.int64(value)), at  # type: ignore[return-value]


@jit
def _behind_blanks(at: int, stop: int) -> int:
    while at < stop and (byte_at(at) == 32 or 9 <= byte_at(at) <= 10 or byte_at(at) == 13):
        at += 1
    return at


@jit
def read_numbers(
    form: tuple[int, int, bool], blob: Bytes, start: Ints, size: Ints, count: Ints, first: Ints, floats: Floats, ints: Ints, odd: Bytes
) -> None:
    """Reads `count` numbers out of each span, to item `first` and on. Rows that are odd are left out; others may become odd.

    form: the kind of number (FLOATS, HALVES for floats within the range of 32 bits, or the bits of INTS, which go to ints), the byte
    between two numbers (one may also stand at the end), and whether it is JSON: blanks may stand around numbers, and nothing at the
    end. blob: sealed.
    """
    kind, separator, json = form
    base = place_of(blob)
    limit = base + len(blob)
    highest = np.int64((1 << 31) - 1 if kind == 32 else (1 << 63) - 1)
    for row in range(len(start)):
        if odd[row] != GOOD or count[row] == 0:
            continue
        at = base + start[row]
        stop = at + size[row]
        left = count[row]
        item = first[row]
        while left > 0:
            if json:
                at = _behind_blanks(at, stop)
            if kind == FLOATS or kind == HALVES:  # noqa: SIM109  # a tuple's members are compared one by one, at each number
                number, at = float_at(at, stop, limit)
                if kind == HALVES and abs(number) > _HALF_MAX:
                    number, at = 0.0, 0
                floats[item] = number
            else:
                value, at = _int(at, stop, limit)
                ints[item] = value
                if value > highest or value < -highest - 1:
                    at = 0
            if at == 0:
                break
            if json:
                at = _behind_blanks(at, stop)
            item += 1
            left -= 1
            if at < stop and byte_at(at) == separator and (left > 0 or not json):
                at += 1
            elif left > 0:
                break
        if left > 0 or at != stop:
            odd[row] = ODD


@part
def lies_within(start: int, size: int, room: int) -> bool:
    """Whether a span lies within a blob of so many bytes; sums that overflow are not made."""
    return 0 <= size <= room and 0 <= start <= room - size


@jit
def count_numbers(separator: int, blob: Bytes, start: Ints, size: Ints, count: Ints, odd: Bytes) -> int:
    """How many numbers each row that is not odd holds; gives their sum. A span outside of the blob makes its row odd, and counts 0."""
    base = place_of(blob)
    total = 0
    for row in range(len(start)):
        count[row] = 0
        if odd[row] != GOOD or size[row] == 0:
            continue
        if not lies_within(start[row], size[row], len(blob)):
            odd[row] = ODD
            continue
        at = base + start[row]
        stop = at + size[row]
        found = np.int64(byte_at(stop - 1) != separator)
        while at + 32 <= stop:
            found += ones(equal_at(at, separator))
            at += 32
        while at < stop:
            found += byte_at(at) == separator
            at += 1
        count[row] = found
        total += found  # type: ignore[assignment]
    return total
