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
from stream_infer.jit import byte_at, copy, fetch, get, jit, place_of, put, put_byte
from stream_infer.records import Bytes, Ints

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
    return bits ^ ((bits >> 63) & 0x7FFFFFFFFFFFFFFF) if bits != w.LEAST else bits


@jit
def put_column(out: int, column: int, count: int) -> int:
    """Write a column of numbers; gives the place behind it. It may write 7 bytes more."""
    every, width = 0, 0
    for i in range(count):
        every |= get(column, i)
    if every < 0:
        width = 8
    while every > 0:
        every, width = every >> 8, width + 1
    put_byte(out, width)
    out += 1
    for i in range(count if width else 0):
        put(out, 0, get(column, i))
        out += width
    return out


@jit
def put_one(out: int, value: int) -> int:
    """Write a column of one number."""
    width = 8 if value < 0 else 0
    put(out + 1, 0, value)
    while value > 0:
        value, width = value >> 8, width + 1
    put_byte(out, width)
    return out + 1 + width


@jit
def put_floats(out: int, column: int, whole: int, count: int, scale: float) -> int:
    """Write a column of floats, given as their bits or LEAST for none. whole: room for as many numbers."""
    for i in range(count):
        bits = get(column, i)
        scaled = np.rint(np.int64(bits).view(np.float64) * scale)
        number = 0
        if bits != w.LEAST:
            if not abs(scaled) < _EXACT or np.float64(scaled / scale).view(np.int64) != bits:
                put_byte(out, RAW)
                copy(out + 1, column, 8 * count)
                return out + 1 + 8 * count
            number = signed(int(scaled)) + 1
        put(whole, i, number)
    return put_column(out, whole, count)


@jit
def take_column(at: int, end: int, last: int, column: int, count: int) -> int:
    """Read a column; gives the place behind it, 0 if it does not fit before `end`. last: the place behind all that may be read."""
    if at == 0 or at >= end:
        return 0
    width = byte_at(at)
    size = 8 if width == RAW else width
    at += 1
    if width > RAW or at + size * count > end:
        return 0
    mask = -1 if size == 8 else (1 << (8 * size)) - 1
    if at + size * count + 8 <= last:
        for i in range(count):
            put(column, i, get(at + size * i, 0) & mask)
    else:
        for i in range(count):
            number = 0
            for byte in range(size):
                number |= byte_at(at + size * i + byte) << (8 * byte)
            put(column, i, number)
    return at + size * count


@jit
def take_floats(at: int, end: int, last: int, column: int, count: int, scale: float) -> int:
    """The inverse of put_floats."""
    raw = at != 0 and at < end and byte_at(at) == RAW
    after = take_column(at, end, last, column, count)
    for i in range(0 if raw or after == 0 else count):
        number = get(column, i)
        bits = np.float64(unsigned(number - 1) / scale).view(np.int64)
        put(column, i, int(bits) if number else w.LEAST)
    return after


@jit
def pack_frame(at: int, row: int, frame: int, plan: int, picks: int, like: int, scales: int, rings: int, room: int, longest: int) -> int:
    """Write a frame of a key with a ring. room: for longest · (3 + sums) numbers."""
    own, width, sums = row + 8 * get(frame, w.AT), get(frame, w.WIDTH), get(frame, w.SUMS_N)
    form, block = get(own, w.FORM), rings + 8 * get(own, w.BLOCK)
    first, count, held = form & w.ONES, (form >> w.BITS) & w.ONES, form >> 2 * w.BITS
    tiles, column, amounts = room, room + 8 * longest, room + 24 * longest
    for t in range(count):
        put(tiles, t, block + 8 * width * (first + t - (held if first + t >= held else 0)))
    at = put_one(at, count)
    for t in range(count - 1):
        put(column, t, get(get(tiles, t + 1), 0) - get(get(tiles, t), 0) - 1)
    at = put_column(at, column, count - 1)
    for p in range(sums):
        after, mine = get(row, w.ROW + get(picks, get(frame, w.SUMS_AT) + p)), amounts + 8 * longest * p
        for t in range(count - 1, -1, -1):
            before = get(get(tiles, t), 1 + p)
            put(mine, t, after - before)
            after = before
        guess = get(like, get(plan, w.SUMS) + get(frame, w.SUMS_AT) + p)
        if guess >= 0:
            for t in range(count):
                put(column, t, signed(get(mine, t) - get(amounts + 8 * longest * guess, t)))
        else:
            for t in range(count):
                put(column, t, signed(get(mine, t)))
        at = put_column(at, column, count)
    for e in range(get(frame, w.EXTREMES_N)):
        extreme = plan + 8 * w.ENTRY * (get(plan, w.EXTREMES) + get(picks, get(frame, w.EXTREMES_AT) + e))
        scale = np.int64(get(scales, 2 * get(extreme, w.EXTREME_SCALE))).view(np.float64)
        for t in range(count):
            put(column, t, flipped(get(get(tiles, t), 1 + sums + e)))
        at = put_floats(at, column, column + 8 * longest, count, scale)
    return at


def numbers_for(plan: Ints) -> Ints:
    """Room for the numbers of one key while it is packed or unpacked, int64. plan: see features.layout.

    Who calls holds it: a kernel lets go of an array of its own after the last use of its name, while it still writes to its place.
    """
    return np.empty(int(plan[0, w.LONGEST]) * (4 + int(plan[0, w.SUMS])), dtype=np.int64)


@jit
def pack(begin: int, slots: Ints, sizes: Ints, form: int, held: Ints, like: Ints, numbers: Ints, out: Bytes) -> int:
    """Pack the keys of slots[begin:] end to end into out, as long as there is room for plan[0, BYTES_MAX], and fill their sizes.
    Gives how many slots are done. held: see features.engine; numbers: see numbers_for."""
    plan, picks, scales, rows, rings = held[w.PLAN], held[w.PICKS], held[w.SCALES], held[w.ROWS], held[w.RINGS]
    longest, stride = get(plan, w.LONGEST), 8 * get(plan, w.STRIDE)
    room, start, limit = place_of(numbers), place_of(out), place_of(out) + len(out) - get(plan, w.BYTES_MAX)
    for i in range(begin, len(slots)):
        if start > limit:
            return i
        if i + 6 < len(slots):
            for line in range(0, stride, 64):
                fetch(rows + stride * slots[i + 6] + line)
        if i + 3 < len(slots):
            for f in range(get(plan, w.FRAMES + 1)):
                frame = plan + 8 * w.ENTRY * (get(plan, w.FRAMES) + f)
                own = rows + stride * slots[i + 3] + 8 * get(frame, w.AT)
                for line in range(0, min(8 * get(frame, w.WIDTH) * (get(own, w.FORM) >> 2 * w.BITS), 1024), 64):
                    fetch(rings + 8 * get(own, w.BLOCK) + line)
        row = rows + stride * slots[i]
        put(start, 0, form)
        at = put_one(start + 4, signed(get(row, w.EVENT)))
        at = put_one(at, get(row, w.TURN))
        for c in range(get(plan, w.SUMS)):
            guess = get(place_of(like), c)
            at = put_one(at, signed(get(row, w.ROW + c) - (get(row, w.ROW + guess) if guess >= 0 else 0)))
        for f in range(get(plan, w.FRAMES + 1)):
            frame = plan + 8 * w.ENTRY * (get(plan, w.FRAMES) + f)
            if get(frame, w.WIDTH):
                at = pack_frame(at, row, frame, plan, picks, place_of(like), scales, rings, room, longest)
            for e in range(0 if get(frame, w.WIDTH) else get(frame, w.EXTREMES_N)):
                extreme = plan + 8 * w.ENTRY * (get(plan, w.EXTREMES) + get(picks, get(frame, w.EXTREMES_AT) + e))
                put(room, 0, flipped(get(row, get(frame, w.AT) + w.PEAKS + e)))
                scale = np.int64(get(scales, 2 * get(extreme, w.EXTREME_SCALE))).view(np.float64)
                at = put_floats(at, room, room + 8 * longest, 1, scale)
        for number in range(get(plan, w.LISTS), get(plan, w.LISTS) + get(plan, w.LISTS + 1)):
            entry = plan + 8 * w.ENTRY * number
            own, k = row + 8 * get(entry, w.LIST_AT), get(entry, w.K)
            count, before = get(own, 0), get(row, w.EVENT)
            at = put_one(at, count)
            for place in range(count):
                put(room, place, before - get(own, 1 + place))
                before = get(own, 1 + place)
            at = put_column(at, room, count)
            scale = np.int64(get(scales, 2 * get(entry, w.LIST_SCALE))).view(np.float64)
            at = put_floats(at, own + 8 * (1 + k), room, count, scale)
        sizes[i] = at - start
        start = at
    return len(slots)


@jit
def block_for(count: int, frame: int, own: int, rings: int, vacant: int, progress: int) -> int:
    """A block for so many tiles, which begin at its first place: the one that the key has, or a new one. Gives its place in memory."""
    room, width = get(own, w.FORM) >> 2 * w.BITS, get(frame, w.WIDTH)
    if room < count:
        if room:
            for word in range(room * width):
                put(rings + 8 * get(own, w.BLOCK), word, 0)
            put(rings + 8 * get(own, w.BLOCK), 0, get(vacant, room))
            put(vacant, room, get(own, w.BLOCK) + 1)
        room = 1
        while room < count:
            room *= 2
        room = min(room, get(frame, w.CELLS))
        put(own, w.BLOCK, get(progress, w.RINGS_USED))
        put(progress, w.RINGS_USED, get(progress, w.RINGS_USED) + room * width)
    put(own, w.FORM, (count << w.BITS) | (room << 2 * w.BITS))
    return rings + 8 * get(own, w.BLOCK)


@jit
def unpack_frame(at: int, end: int, last: int, row: int, frame: int, held: int, like: int, vacant: int, room: int, longest: int) -> int:
    """The inverse of pack_frame, 0 if it does not fit."""
    plan, picks, scales, own = get(held, w.PLAN), get(held, w.PICKS), get(held, w.SCALES), row + 8 * get(frame, w.AT)
    width, sums, column, amounts = get(frame, w.WIDTH), get(frame, w.SUMS_N), room, room + 8 * longest
    at = take_column(at, end, last, column, 1)
    count = get(column, 0)
    if at == 0 or not 0 < count <= get(frame, w.CELLS):
        return 0
    block = block_for(count, frame, own, get(held, w.RINGS), vacant, get(held, w.PROGRESS))
    at = take_column(at, end, last, column, count - 1)
    tile = get(own, w.HEAD)
    put(block, (count - 1) * width, tile)
    for t in range(count - 2, -1, -1):
        tile -= 1 + get(column, t)
        put(block, t * width, tile)
    for p in range(sums):
        at, mine = take_column(at, end, last, column, count), amounts + 8 * longest * p
        guess = get(like, get(plan, w.SUMS) + get(frame, w.SUMS_AT) + p)
        after = get(row, w.ROW + get(picks, get(frame, w.SUMS_AT) + p))
        for t in range(count - 1, -1, -1):
            amount = unsigned(get(column, t)) + (get(amounts + 8 * longest * guess, t) if guess >= 0 else 0)
            after -= amount
            put(mine, t, amount)
            put(block, t * width + 1 + p, after)
    for e in range(get(frame, w.EXTREMES_N)):
        extreme = plan + 8 * w.ENTRY * (get(plan, w.EXTREMES) + get(picks, get(frame, w.EXTREMES_AT) + e))
        at = take_floats(at, end, last, column, count, np.int64(get(scales, 2 * get(extreme, w.EXTREME_SCALE))).view(np.float64))
        peak = w.LEAST
        for t in range(count):
            order = flipped(get(column, t))
            peak = max(peak, order)
            put(block, t * width + 1 + sums + e, order)
        put(own, w.PEAKS + e, peak)
    return at


@jit
def unpack(begin: int, blob: Bytes, start: Ints, size: Ints, slots: Ints, form: int, held: Ints, like: Ints, numbers: Ints) -> int:
    """Set the keys in slots[begin:] (-1: none) to what was packed. Gives the first one for which the rings must grow, or how many there
    are, or -1 - i for the first that has another form. held: see features.engine; numbers: see numbers_for."""
    plan, picks, scales, rows, progress = held[w.PLAN], held[w.PICKS], held[w.SCALES], held[w.ROWS], held[w.PROGRESS]
    longest, last = get(plan, w.LONGEST), place_of(blob) + len(blob)
    column = place_of(numbers)
    for i in range(begin, len(slots)):
        if slots[i] < 0:
            continue
        if get(progress, w.RINGS_USED) + get(plan, w.MOST) > held[w.RINGS_SIZE]:
            return i
        at, row = place_of(blob) + start[i], rows + 8 * get(plan, w.STRIDE) * slots[i]
        end = at + size[i]
        if size[i] < 4 or byte_at(at) | byte_at(at + 1) << 8 | byte_at(at + 2) << 16 | byte_at(at + 3) << 24 != form:
            return -1 - i
        at = take_column(at + 4, end, last, column, 1)
        put(row, w.EVENT, unsigned(get(column, 0)))
        at = take_column(at, end, last, column, 1)
        put(row, w.TURN, get(column, 0))
        for c in range(get(plan, w.SUMS)):
            at, guess = take_column(at, end, last, column, 1), get(place_of(like), c)
            put(row, w.ROW + c, unsigned(get(column, 0)) + (get(row, w.ROW + guess) if guess >= 0 else 0))
        for f in range(get(plan, w.FRAMES + 1)):
            frame = plan + 8 * w.ENTRY * (get(plan, w.FRAMES) + f)
            own, hop = row + 8 * get(frame, w.AT), get(frame, w.HOP)
            put(own, w.HEAD, get(row, w.EVENT) // hop if hop else 0)
            if get(frame, w.WIDTH):
                vacant = held[w.VACANT] + 8 * held[w.VACANT_WIDE] * f
                at = unpack_frame(at, end, last, row, frame, place_of(held), place_of(like), vacant, column, longest)
            for e in range(0 if get(frame, w.WIDTH) else get(frame, w.EXTREMES_N)):
                extreme = plan + 8 * w.ENTRY * (get(plan, w.EXTREMES) + get(picks, get(frame, w.EXTREMES_AT) + e))
                at = take_floats(at, end, last, column, 1, np.int64(get(scales, 2 * get(extreme, w.EXTREME_SCALE))).view(np.float64))
                put(own, w.PEAKS + e, flipped(get(column, 0)))
        for number in range(get(plan, w.LISTS), get(plan, w.LISTS) + get(plan, w.LISTS + 1)):
            entry, before = plan + 8 * w.ENTRY * number, get(row, w.EVENT)
            own, k = row + 8 * get(entry, w.LIST_AT), get(entry, w.K)
            at = take_column(at, end, last, column, 1)
            count = get(column, 0)
            if at == 0 or not 0 <= count <= k:
                return -1 - i
            put(own, 0, count)
            at = take_column(at, end, last, column, count)
            for place in range(count):
                before -= get(column, place)
                put(own, 1 + place, before)
            scale = np.int64(get(scales, 2 * get(entry, w.LIST_SCALE))).view(np.float64)
            at = take_floats(at, end, last, own + 8 * (1 + k), count, scale)
        if at != end:
            return -1 - i
    return len(slots)
