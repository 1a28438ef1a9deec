"""features.packing: a key's row and tiles as few bytes, and back. layout, engine → *packing* → windows.

A packed key is `form` (4 bytes: the version and the layout), and then columns of whole numbers: one byte that says how many bytes each
number takes (0 to 8, for they all lie near each other or are zero), and the numbers, little-endian, signs in the lowest bit. Columns:

    newest time | turn | each total, less the one it is mostly like
    per frame with a ring: tiles | how far apart they are, less 1 | each sum over each tile, less the one it is mostly like | extremes
    per frame without: extremes
    per list: values | how far apart their times are, back from the newest time | the values

Floats that are whole when multiplied by their field's scale are kept as that number (one more is added, 0 is no value); if one of a
column is not, all of it takes its bits (RAW). Totals before a tile and peaks follow from what is there.
"""

from __future__ import annotations

import numpy as np

from stream_infer.features import words as w
from stream_infer.jit import byte_at, fetch, jit, long_at, place_of, put_byte, put_long
from stream_infer.records import Bytes, Floats, Ints

RAW = 9  # in place of a column's width: 8 bytes each, the bits of floats
_EXACT = 2.0**51  # whole numbers below it are exact as floats, and so are twice as large ones


@jit
def signed(value: int) -> int:
    """The number with its sign in the lowest bit: small ones of either sign are small."""
    return (value << 1) ^ (value >> 63)


@jit
def unsigned(value: int) -> int:
    """The inverse of signed."""
    return ((value >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(value & 1)


@jit
def flipped(bits: int) -> int:
    """The bits of a float as an integer of the same order, and back."""
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF)


@jit
def put_column(out: int, column: Ints, count: int) -> int:
    """Write a column; gives the place behind it. It may write 7 bytes more."""
    every, width = 0, 0
    for i in range(count):
        every |= column[i]
    while width < 8 and every >> (8 * width) != 0:
        width = width + 1 if every >= 0 else 8
    put_byte(out, width)
    out += 1
    for i in range(count if width else 0):
        put_long(out, column[i])
        out += width
    return out


@jit
def put_floats(out: int, column: Ints, count: int, scale: float) -> int:
    """Write a column of floats, given as their bits or w.LEAST for none; overwrites it."""
    whole = True
    for i in range(count):
        value = np.int64(column[i]).view(np.float64)
        scaled = np.rint(value * scale)
        if column[i] != w.LEAST:
            whole = whole and abs(scaled) < _EXACT and np.float64(scaled / scale).view(np.int64) == column[i]
    if not whole:
        put_byte(out, RAW)
        for i in range(count):
            put_long(out + 1 + 8 * i, column[i])
        return out + 1 + 8 * count
    for i in range(count):
        bits = column[i]
        column[i] = 0
        if bits != w.LEAST:
            column[i] = signed(int(np.rint(np.int64(bits).view(np.float64) * scale))) + 1
    return put_column(out, column, count)


@jit
def take_column(place: int, end: int, last: int, column: Ints, count: int) -> int:
    """Read a column; gives the place behind it, 0 if it does not fit before `end`. last: the place behind all that may be read."""
    if place == 0 or place >= end:
        return 0
    width = byte_at(place)
    size = 8 if width == RAW else width
    place += 1
    if width > RAW or place + size * count > end:
        return 0
    mask = -1 if size == 8 else (1 << (8 * size)) - 1
    for i in range(count):
        if place + 8 <= last:
            column[i] = long_at(place) & mask
        else:
            column[i] = 0
            for byte in range(size):
                column[i] |= byte_at(place + byte) << (8 * byte)
        place += size
    return place


@jit
def take_floats(place: int, end: int, last: int, column: Ints, count: int, scale: float) -> int:
    """The inverse of put_floats."""
    raw = place != 0 and place < end and byte_at(place) == RAW
    after = take_column(place, end, last, column, count)
    for i in range(0 if raw or after == 0 else count):
        number = column[i]
        column[i] = w.LEAST
        if number:
            column[i] = np.float64(unsigned(number - 1) / scale).view(np.int64)
    return after


@jit
def pack(
    begin: int,
    slots: Ints,
    form: int,
    plan: Ints,
    picks: Ints,
    like: Ints,
    scales: Floats,
    rows: Ints,
    rings: Ints,
    out: Bytes,
    sizes: Ints,
) -> int:
    """Pack the keys of slots[begin:] end to end into out, as long as there is room for plan[0, w.BYTES_MAX], and fill their sizes.
    Gives how many slots are done."""
    column, own = np.empty(plan[0, w.LONGEST], dtype=np.int64), np.empty((plan[0, w.SUMS] + 1, plan[0, w.LONGEST]), dtype=np.int64)
    used = 0
    for i in range(begin, len(slots)):
        if used + plan[0, w.BYTES_MAX] > len(out):
            return i
        if i + 4 < len(slots):
            for line in range(0, plan[0, w.STRIDE], 8):
                fetch(place_of(rows) + 8 * (slots[i + 4] * plan[0, w.STRIDE] + line))
        base = slots[i] * plan[0, w.STRIDE]
        start = at = place_of(out) + used
        put_long(at, form)
        at += 4
        column[0] = signed(rows[base + w.EVENT])
        at = put_column(at, column, 1)
        column[0] = rows[base + w.TURN]
        at = put_column(at, column, 1)
        for c in range(plan[0, w.SUMS]):
            column[0] = signed(rows[base + w.ROW + c] - (rows[base + w.ROW + like[c]] if like[c] >= 0 else 0))
            at = put_column(at, column, 1)
        for f in range(plan[0, w.FRAMES], plan[0, w.FRAMES] + plan[0, w.FRAMES + 1]):
            mine, width, sums = base + plan[f, w.AT], plan[f, w.WIDTH], plan[f, w.SUMS_N]
            if width:
                packed = rows[mine + w.FORM]
                first, count, room = packed & w.ONES, (packed >> w.BITS) & w.ONES, packed >> 2 * w.BITS
                column[0] = count
                at = put_column(at, column, 1)
                block = rows[mine + w.BLOCK]
                for t in range(count - 1):
                    a, b = first + t, first + t + 1
                    column[t] = (
                        rings[block + (b - room if b >= room else b) * width] - rings[block + (a - room if a >= room else a) * width] - 1
                    )
                at = put_column(at, column, count - 1)
                for p in range(sums):
                    after = rows[base + w.ROW + picks[plan[f, w.SUMS_AT] + p]]
                    for t in range(count - 1, -1, -1):
                        a = first + t
                        before = rings[block + (a - room if a >= room else a) * width + 1 + p]
                        own[p, t] = after - before
                        after = before
                    guess = like[plan[0, w.SUMS] + plan[f, w.SUMS_AT] + p]
                    for t in range(count):
                        column[t] = signed(own[p, t] - (own[guess, t] if guess >= 0 else 0))
                    at = put_column(at, column, count)
            for e in range(plan[f, w.EXTREMES_N]):
                scale = scales[2 * plan[plan[0, w.EXTREMES] + picks[plan[f, w.EXTREMES_AT] + e], w.EXTREME_SCALE]]
                if width:
                    for t in range(count):
                        a = first + t
                        column[t] = rings[block + (a - room if a >= room else a) * width + 1 + sums + e]
                else:
                    column[0], count = rows[mine + w.PEAKS + e], 1
                for t in range(count):
                    column[t] = flipped(column[t]) if column[t] != w.LEAST else w.LEAST
                at = put_floats(at, column, count, scale)
        for number in range(plan[0, w.LISTS], plan[0, w.LISTS] + plan[0, w.LISTS + 1]):
            k, mine = plan[number, w.K], base + plan[number, w.LIST_AT]
            count = rows[mine]
            column[0] = count
            at = put_column(at, column, 1)
            for entry in range(count):
                column[entry] = (rows[base + w.EVENT] if entry == 0 else rows[mine + entry]) - rows[mine + 1 + entry]
            at = put_column(at, column, count)
            for entry in range(count):
                column[entry] = rows[mine + 1 + k + entry]
            at = put_floats(at, column, count, scales[2 * plan[number, w.LIST_SCALE]])
        sizes[i] = at - start
        used += sizes[i]
    return len(slots)


@jit
def unpack(
    begin: int,
    blob: Bytes,
    start: Ints,
    size: Ints,
    slots: Ints,
    form: int,
    plan: Ints,
    picks: Ints,
    like: Ints,
    scales: Floats,
    rows: Ints,
    rings: Ints,
    vacant: Ints,
    progress: Ints,
) -> int:
    """Set the keys in slots[begin:] (-1: none) to what was packed. Gives the first one for which the rings must grow, or how many there
    are, or -1 - i for the first that has another form."""
    column, own = np.empty(plan[0, w.LONGEST], dtype=np.int64), np.empty((plan[0, w.SUMS] + 1, plan[0, w.LONGEST]), dtype=np.int64)
    last = place_of(blob) + len(blob)
    for i in range(begin, len(slots)):
        if slots[i] < 0:
            continue
        if progress[w.RINGS_USED] + plan[0, w.MOST] > len(rings):
            return i
        at, end, base = place_of(blob) + start[i], place_of(blob) + start[i] + size[i], slots[i] * plan[0, w.STRIDE]
        if size[i] < 4 or byte_at(at) | byte_at(at + 1) << 8 | byte_at(at + 2) << 16 | byte_at(at + 3) << 24 != form:
            return -1 - i
        at = take_column(at + 4, end, last, column, 1)
        rows[base + w.EVENT] = unsigned(column[0])
        at = take_column(at, end, last, column, 1)
        rows[base + w.TURN] = column[0]
        for c in range(plan[0, w.SUMS]):
            at = take_column(at, end, last, column, 1)
            rows[base + w.ROW + c] = unsigned(column[0]) + (rows[base + w.ROW + like[c]] if like[c] >= 0 else 0)
        for f in range(plan[0, w.FRAMES], plan[0, w.FRAMES] + plan[0, w.FRAMES + 1]):
            mine, width, sums, hop, count, block = base + plan[f, w.AT], plan[f, w.WIDTH], plan[f, w.SUMS_N], plan[f, w.HOP], 1, 0
            rows[mine + w.HEAD] = rows[base + w.EVENT] // hop if hop else 0
            if width:
                at = take_column(at, end, last, column, 1)
                count = column[0]
                if at == 0 or not 0 < count <= plan[f, w.CELLS]:
                    return -1 - i
                block = _block_for(count, plan[f, w.CELLS], width, rows, mine, rings, vacant[f - plan[0, w.FRAMES]], progress)
                at = take_column(at, end, last, column, count - 1)
                rings[block + (count - 1) * width] = rows[mine + w.HEAD]
                for t in range(count - 2, -1, -1):
                    rings[block + t * width] = rings[block + (t + 1) * width] - 1 - column[t]
                for p in range(sums):
                    at = take_column(at, end, last, column, count)
                    guess = like[plan[0, w.SUMS] + plan[f, w.SUMS_AT] + p]
                    after = rows[base + w.ROW + picks[plan[f, w.SUMS_AT] + p]]
                    for t in range(count - 1, -1, -1):
                        own[p, t] = unsigned(column[t]) + (own[guess, t] if guess >= 0 else 0)
                        after -= own[p, t]
                        rings[block + t * width + 1 + p] = after
            for e in range(plan[f, w.EXTREMES_N]):
                at = take_floats(
                    at, end, last, column, count, scales[2 * plan[plan[0, w.EXTREMES] + picks[plan[f, w.EXTREMES_AT] + e], w.EXTREME_SCALE]]
                )
                peak = w.LEAST
                for t in range(count):
                    order = flipped(column[t]) if column[t] != w.LEAST else w.LEAST
                    peak = max(peak, order)
                    if width:
                        rings[block + t * width + 1 + sums + e] = order
                rows[mine + w.PEAKS + e] = peak
        for number in range(plan[0, w.LISTS], plan[0, w.LISTS] + plan[0, w.LISTS + 1]):
            k, mine = plan[number, w.K], base + plan[number, w.LIST_AT]
            at = take_column(at, end, last, column, 1)
            count = column[0]
            if at == 0 or not 0 <= count <= k:
                return -1 - i
            rows[mine] = count
            at = take_column(at, end, last, column, count)
            before = rows[base + w.EVENT]
            for entry in range(count):
                before -= column[entry]
                rows[mine + 1 + entry] = before
            at = take_floats(at, end, last, column, count, scales[2 * plan[number, w.LIST_SCALE]])
            for entry in range(count):
                rows[mine + 1 + k + entry] = column[entry]
        if at != end:
            return -1 - i
    return len(slots)


@jit
def _block_for(count: int, cells: int, width: int, rows: Ints, own: int, rings: Ints, vacant: Ints, progress: Ints) -> int:
    """A block for so many tiles, which begin at its first place: the one that the key has, or a new one."""
    room = rows[own + w.FORM] >> 2 * w.BITS
    if room < count:
        if room:
            rings[rows[own + w.BLOCK] : rows[own + w.BLOCK] + room * width] = 0
            rings[rows[own + w.BLOCK]] = vacant[room]
            vacant[room] = rows[own + w.BLOCK] + 1
        room = 1
        while room < count:
            room *= 2
        room = min(room, cells)
        rows[own + w.BLOCK] = progress[w.RINGS_USED]
        progress[w.RINGS_USED] += room * width
    rows[own + w.FORM] = (count << w.BITS) | (room << 2 * w.BITS)
    return int(rows[own + w.BLOCK])
