"""features.engine: the loop over rows that reads and updates windows. layout, probing, amounts → *engine* → windows.

What a window knows of a key is a ring of tiles, oldest first, one for each stretch of hop_ms in which there was an update. A tile is
its number, the key's totals *as they were before it*, and the extremes of its own rows. What lies in a window is then a difference of
two totals, whatever its length, and exact because all numbers are integers (values in fixed point): it does not depend on the order of
adding, and even a total that runs over 2^63 gives true differences. Extremes cannot be taken back: the row keeps those over the ring
(its peaks), looked for anew when a tile leaves that had one. A minimum is the maximum of negated values, a float an integer in order.

A ring lies in a block of `rings` for 1, 2, 4, … tiles, and moves to a larger one when it is full: most keys have few tiles. Blocks that
were left are listed in `vacant` by frame and size, each with the next one's place (+ 1) in its first word.
"""

from __future__ import annotations

import numpy as np

from stream_infer.features import words as w
from stream_infer.features.amounts import HALF, LOW
from stream_infer.jit import copy, fetch, get, jit, place_of, put
from stream_infer.records import Bools, Floats, Ints

TIME_MAX = 1 << 52  # ms, 140,000 years: times beyond are taken for this
NOTHING = 0x7FF8000000000000  # the bits of an absent answer


@jit
def form_of(own: int) -> tuple[int, int, int]:
    """The ring of a key in one frame: its first tile, how many there are, how many fit."""
    form = get(own, w.FORM)
    return form & w.ONES, (form >> w.BITS) & w.ONES, form >> 2 * w.BITS


@jit
def tile_at(block: int, i: int, room: int, width: int) -> int:
    """The place of the i-th tile of a block, counted on from its beginning if that is behind its end."""
    return block + 8 * width * (i - room if i >= room else i)


@jit
def widen(frame: int, own: int, rings: int, vacant: int, progress: int) -> None:
    """Move a ring that is full into a block of twice the size; nothing stays where it was."""
    first, count, room = form_of(own)
    width, old, wider = get(frame, w.WIDTH), rings + 8 * get(own, w.BLOCK), min(max(2 * room, 1), get(frame, w.CELLS))
    new = get(vacant, wider) - 1
    if new >= 0:
        put(vacant, wider, get(rings, new))
    else:
        new = get(progress, w.RINGS_USED)
        put(progress, w.RINGS_USED, new + wider * width)
    for tile in range(count):
        source = tile_at(old, first + tile, room, width)
        copy(rings + 8 * (new + tile * width), source, 8 * width)
        for word in range(width):
            put(source, word, 0)
    if room:
        put(old, 0, get(vacant, room))
        put(vacant, room, get(own, w.BLOCK) + 1)
    put(own, w.BLOCK, new)
    put(own, w.FORM, (count << w.BITS) | (wider << 2 * w.BITS))


@jit
def roll(frame: int, row: int, tile: int, picks: int, rings: int, vacant: int, progress: int) -> None:
    """From now on this later tile is the key's newest one: what is too old leaves, and an empty tile comes."""
    own, width, sums, extremes = row + 8 * get(frame, w.AT), get(frame, w.WIDTH), get(frame, w.SUMS_N), get(frame, w.EXTREMES_N)
    first, count, room = form_of(own)
    block, low, stale = rings + 8 * get(own, w.BLOCK), tile - get(frame, w.BACK), False
    if get(own, w.HEAD) < low:
        first = count = 0
        for e in range(extremes):
            put(own, w.PEAKS + e, w.LEAST)
    while count and get(tile_at(block, first, room, width), 0) < low:
        for e in range(extremes):
            stale |= get(tile_at(block, first, room, width), 1 + sums + e) == get(own, w.PEAKS + e)
        first = first + 1 if first + 1 < room else 0
        count -= 1
    if stale:
        for e in range(extremes):
            peak = w.LEAST
            for left in range(count):
                peak = max(peak, get(tile_at(block, first + left, room, width), 1 + sums + e))
            put(own, w.PEAKS + e, peak)
    put(own, w.HEAD, tile)
    if count == room:
        put(own, w.FORM, first | (count << w.BITS) | (room << 2 * w.BITS))
        widen(frame, own, rings, vacant, progress)
        first, count, room = form_of(own)
        block = rings + 8 * get(own, w.BLOCK)
    put(own, w.FORM, first | ((count + 1) << w.BITS) | (room << 2 * w.BITS))
    newest = tile_at(block, first + count, room, width)
    put(newest, 0, tile)
    for place in range(sums):
        put(newest, 1 + place, get(row, w.ROW + get(picks, get(frame, w.SUMS_AT) + place)))
    for e in range(extremes):
        put(newest, 1 + sums + e, w.LEAST)


@jit
def put_late(frame: int, own: int, tile: int, amounts: int, picks: int, rings: int, vacant: int, progress: int) -> int:
    """Add a row to the totals before all later tiles. Gives the place of its own tile, 0 if that is too old for the ring."""
    width, sums, extremes, fits = (
        get(frame, w.WIDTH),
        get(frame, w.SUMS_N),
        get(frame, w.EXTREMES_N),
        tile >= get(own, w.HEAD) - get(frame, w.BACK),
    )
    first, count, room = form_of(own)
    if fits and count == room and room < get(frame, w.CELLS):
        widen(frame, own, rings, vacant, progress)
        first, count, room = form_of(own)
    block, mine = rings + 8 * get(own, w.BLOCK), count
    while mine > 0 and get(tile_at(block, first + mine - 1, room, width), 0) >= tile:
        mine -= 1
        later = tile_at(block, first + mine, room, width)
        for place in range(sums if get(later, 0) > tile else 0):
            put(later, 1 + place, get(later, 1 + place) + get(amounts, get(picks, get(frame, w.SUMS_AT) + place)))
    if not fits:
        return 0
    found = tile_at(block, first + mine, room, width)
    if get(found, 0) != tile:
        for i in range(count, mine, -1):
            copy(tile_at(block, first + i, room, width), tile_at(block, first + i - 1, room, width), 8 * width)
        put(found, 0, tile)
        for place in range(sums):  # the tile behind has this row's amounts already
            put(found, 1 + place, get(found, 1 + place) - get(amounts, get(picks, get(frame, w.SUMS_AT) + place)))
        for e in range(extremes):
            put(found, 1 + sums + e, w.LEAST)
        put(own, w.FORM, first | ((count + 1) << w.BITS) | (room << 2 * w.BITS))
    return found


@jit
def add(
    frame: int, own: int, tile: int, amounts: int, marks: int, picks: int, rings: int, vacant: int, progress: int, counters: int
) -> None:
    """Bring a row that updates, whose tile is the newest one or earlier, into a frame; its totals are not added yet."""
    width, mine, late = get(frame, w.WIDTH), 0, get(frame, w.HOP) and tile < get(own, w.HEAD)
    if late:
        put(counters, w.LATE, get(counters, w.LATE) + (tile < get(own, w.HEAD) - get(frame, w.BACK)))
        if not width:
            return
        mine = put_late(frame, own, tile, amounts, picks, rings, vacant, progress)
        if not mine:
            return
    elif width:
        first, count, room = form_of(own)
        mine = tile_at(rings + 8 * get(own, w.BLOCK), first + count - 1, room, width)
    for e in range(get(frame, w.EXTREMES_N)):
        mark = get(marks, get(picks, get(frame, w.EXTREMES_AT) + e))
        put(own, w.PEAKS + e, max(get(own, w.PEAKS + e), mark))
        if mine:
            at = 1 + get(frame, w.SUMS_N) + e
            put(mine, at, max(get(mine, at), mark))


@jit
def std(count: int, total: int, high: int, low: int, scale: float) -> float:
    """Sample standard deviation, NaN where count < 2. high, low: sums of the upper and lower 31 bits of the squares.

    The sum of squared distances from m, the integer nearest to the mean, is exact in two limbs of 31 bits, and small:
    nothing cancels when the values are large and close together. The mean's own distance from m is < 1 and goes off in floats.
    """
    if count < 2:
        return np.nan
    m = np.int64(np.rint(total / count))
    square, total_high, total_low = m * m, total >> HALF, total & LOW
    cross = 2 * m * total_low
    upper = high - 2 * m * total_high - (cross >> HALF) + count * (square >> HALF)
    lower = low - (cross & LOW) + count * (square & LOW)
    upper += lower >> HALF
    around_m = np.float64(upper) * 2.0**HALF + np.float64(lower & LOW)
    off = np.float64(total - m * count)
    variance = (around_m - off * off / count) / (count - 1)
    return float(np.sqrt(max(variance, 0.0)) / scale)


@jit
def tell_newest(own: int, k: int, wanted: int, begin: int, end: int, out: int) -> None:
    """The newest values with begin ≤ time < end, newest first."""
    told = 0
    for entry in range(min(get(own, 0), wanted)):
        if begin <= get(own, 1 + entry) < end:
            put(out, told, get(own, 1 + k + entry))
            told += 1
    for rest in range(told, wanted):
        put(out, rest, NOTHING)


@jit
def tell(frame: int, row: int, time: int, high: int, plan: int, picks: int, scales: int, rings: int, seen: int, out: int) -> None:
    """What a reader at `time`, in tile `high`, sees of a known key in one window. seen: room for the frame's sums and extremes."""
    own, width, sums, hop = row + 8 * get(frame, w.AT), get(frame, w.WIDTH), get(frame, w.SUMS_N), get(frame, w.HOP)
    head, block = get(own, w.HEAD), rings + 8 * get(own, w.BLOCK)
    low = max(high, head) - get(frame, w.BACK)
    begin, end = low * hop if hop else -TIME_MAX, (high + 1) * hop if hop else TIME_MAX + 1
    first, count, room = form_of(own)
    a, b = count if head < low else 0, count
    while a < b and get(tile_at(block, first + a, room, width), 0) < low:
        a += 1
    while high < head and b > a and get(tile_at(block, first + b - 1, room, width), 0) > high:
        b -= 1
    since, upto = tile_at(block, first + a, room, width), tile_at(block, first + b, room, width)
    for place in range(sums):
        total = get(row, w.ROW + get(picks, get(frame, w.SUMS_AT) + place))
        if hop:
            total = 0 if a == b else (total if b == count else get(upto, 1 + place)) - get(since, 1 + place)
        put(seen, place, total)
    for e in range(get(frame, w.EXTREMES_N)):
        peak = get(own, w.PEAKS + e)
        if hop and (a > 0 or b < count):
            peak = w.LEAST
            for i in range(a, b):
                peak = max(peak, get(tile_at(block, first + i, room, width), 1 + sums + e))
        put(seen, sums + e, peak)
    for number in range(get(frame, w.OUTPUTS_FROM), get(frame, w.OUTPUTS_TO)):
        output = plan + 8 * w.ENTRY * number
        kind, place, mine, value = get(output, w.KIND), get(output, w.PLACE), seen + 8 * get(output, w.PLACE), np.nan
        scale = np.int64(get(scales, 2 * get(output, w.OUT_SCALE))).view(np.float64)
        if kind == w.IS_COUNT:
            value = np.float64(get(mine, 0))
        elif kind == w.IS_SUM:
            value = get(mine, 1) / scale
        elif kind == w.IS_MEAN:
            value = get(mine, 1) / get(mine, 0) / scale if get(mine, 0) else np.nan
        elif kind == w.IS_STD:
            value = std(get(mine, 0), get(mine, 1), get(mine, 2), get(mine, 3), scale)
        elif kind == w.IS_EXTREME:
            order, extreme = get(mine, sums), get(plan, w.EXTREMES) + get(picks, get(frame, w.EXTREMES_AT) + place)
            if order > w.LEAST:
                value = np.int64(order ^ ((order >> 63) & 0x7FFFFFFFFFFFFFFF)).view(np.float64)
                value = value * get(plan + 8 * w.ENTRY * extreme, w.SIGN) + 0.0
        elif kind == w.IS_NEWEST:
            newest = plan + 8 * w.ENTRY * (get(plan, w.LISTS) + place)
            tell_newest(
                row + 8 * get(newest, w.LIST_AT), get(newest, w.K), get(output, w.OUT_N), begin, end, out + 8 * get(output, w.OUT_AT)
            )
            continue
        elif begin <= get(row, w.EVENT) < end:
            value = max(time - get(row, w.EVENT), 0) / 1000.0
        put(out, get(output, w.OUT_AT), int(np.float64(value).view(np.int64)))


@jit
def keep_newest(own: int, k: int, time: int, value: float) -> None:
    """Put a value into the list of the newest ones, by time; of two with one time the later one is newer."""
    count, at = get(own, 0), 0
    while at < count and get(own, 1 + at) > time:
        at += 1
    for entry in range(min(count, k - 1), at, -1):
        put(own, 1 + entry, get(own, entry))
        put(own, 1 + k + entry, get(own, k + entry))
    if at < k:
        put(own, 1 + at, time)
        put(own, 1 + k + at, int(np.float64(value).view(np.int64)))
        put(own, 0, min(count + 1, k))


@jit
def begin_life(row: int, plan: int) -> None:
    """Nothing is known of the key any more; its blocks stay its own."""
    put(row, w.EVENT, w.NEVER)
    for column in range(get(plan, w.SUMS)):
        put(row, w.ROW + column, 0)
    for f in range(get(plan, w.FRAMES), get(plan, w.FRAMES) + get(plan, w.FRAMES + 1)):
        frame = plan + 8 * w.ENTRY * f
        own = row + 8 * get(frame, w.AT)
        put(own, w.HEAD, w.NEVER)
        put(own, w.FORM, get(own, w.FORM) >> 2 * w.BITS << 2 * w.BITS)
        for e in range(get(frame, w.EXTREMES_N)):
            put(own, w.PEAKS + e, w.LEAST)
    for number in range(get(plan, w.LISTS), get(plan, w.LISTS) + get(plan, w.LISTS + 1)):
        put(row, get(plan + 8 * w.ENTRY * number, w.LIST_AT), 0)


@jit
def work(
    begin: int, end: int, slots: Ints, times: Ints, flags: Bools, values: Floats, amounts: Ints, marks: Ints, held: Ints, out: Floats
) -> int:
    """Work through rows begin … end, one after the other. Gives the row before which the rings must grow, or end.

    slots: int64[n], -1: unknown; flags: bool[n, 2], updates and reads; values: float64[fields, n]; amounts, marks: see features.amounts;
    held: int64[14], where the arrays lie that stay from call to call, see w.PLAN …; out: float64[reading rows, columns], from the
    progress[w.READ]-th on.
    """
    plan, picks, scales, rows, rings = held[w.PLAN], held[w.PICKS], held[w.SCALES], held[w.ROWS], held[w.RINGS]
    vacant, progress, listed, counts = held[w.VACANT], held[w.PROGRESS], held[w.LISTED_SLOTS], held[w.COUNTS]
    counters, tiles = held[w.COUNTERS], held[w.TILES]
    stride, idle, sums, frames = 8 * get(plan, w.STRIDE), get(plan, w.IDLE), get(plan, w.SUMS), get(plan, w.FRAMES + 1)
    first_frame, room = plan + 8 * w.ENTRY * get(plan, w.FRAMES), held[w.RINGS_SIZE] - get(plan, w.MOST)
    seen = np.empty(sums + get(plan, w.EXTREMES + 1) + 4, dtype=np.int64)
    for i in range(begin, end):
        if get(progress, w.RINGS_USED) > room:
            return i
        if i + 12 < end:  # the lines of the row, and then those of its oldest and newest tiles, come while earlier rows are at work
            for line in range(0, min(stride, 320), 64):
                fetch(rows + stride * slots[i + 12] + line)
        if i + 5 < end and slots[i + 5] >= 0:
            for f in range(frames):
                frame = first_frame + 8 * w.ENTRY * f
                own, width = rows + stride * slots[i + 5] + 8 * get(frame, w.AT), get(frame, w.WIDTH)
                first, count, fit = form_of(own)
                block = rings + 8 * get(own, w.BLOCK)
                oldest, newest = tile_at(block, first, fit, width), tile_at(block, first + count, fit, width)
                for line in (oldest, oldest + 64, newest - 64, newest, newest + 64):
                    fetch(line)
        time, slot, updates, reads = min(max(times[i], -TIME_MAX), TIME_MAX), slots[i], flags[i, 0], flags[i, 1]
        if updates:
            put(counters, w.TURNS, get(counters, w.TURNS) + 1)
            put(counters, w.CLOCK, max(get(counters, w.CLOCK), time))
        row, mine = rows + stride * slot, place_of(amounts) + 8 * sums * i
        known = slot >= 0 and get(row, w.EVENT) > w.NEVER and (idle < 0 or time - get(row, w.EVENT) <= idle)
        updates = updates and slot >= 0
        answer = place_of(out) + 8 * get(plan, w.COLUMNS) * get(progress, w.READ)
        if reads:
            put(progress, w.READ, get(progress, w.READ) + 1)
            for column in range(0 if known else get(plan, w.COLUMNS)):
                put(answer, column, get(held[w.EMPTY], column))
        if updates and not known:
            begin_life(row, plan)
        for f in range(frames if known or updates else 0):
            frame, blocks, now = first_frame + 8 * w.ENTRY * f, vacant + 8 * held[w.VACANT_WIDE] * f, tiles + 24 * f
            own, hop, tile = row + 8 * get(frame, w.AT), get(frame, w.HOP), 0
            if hop:  # rows come mostly in the order of their times: a division is slower than looking at the last one's
                if not get(now, 1) <= time < get(now, 1) + get(now, 2):
                    put(now, 0, time // hop)
                    put(now, 1, time // hop * hop)
                    put(now, 2, hop)
                tile = get(now, 0)
            if updates and hop and tile > get(own, w.HEAD):
                if get(frame, w.WIDTH):
                    roll(frame, row, tile, picks, rings, blocks, progress)
                put(own, w.HEAD, tile)
            if reads and known:
                tell(frame, row, time, tile, plan, picks, scales, rings, place_of(seen), answer)
            if updates:
                add(frame, own, tile, mine, place_of(marks) + 8 * marks.shape[1] * i, picks, rings, blocks, progress, counters)
        if updates:
            for column in range(sums):
                put(row, w.ROW + column, get(row, w.ROW + column) + get(mine, column))
            for number in range(get(plan, w.LISTS), get(plan, w.LISTS) + get(plan, w.LISTS + 1)):
                entry = plan + 8 * w.ENTRY * number
                if not np.isnan(values[get(entry, w.FIELD), i]):
                    keep_newest(row + 8 * get(entry, w.LIST_AT), get(entry, w.K), time, values[get(entry, w.FIELD), i])
            put(row, w.EVENT, max(get(row, w.EVENT), time))
            put(row, w.TURN, get(counters, w.TURNS))
            if get(row, w.MARKS) & w.LISTED == 0:
                put(row, w.MARKS, get(row, w.MARKS) | w.LISTED)
                put(listed, get(counts, w.CHANGED), slot)
                put(counts, w.CHANGED, get(counts, w.CHANGED) + 1)
    return end
