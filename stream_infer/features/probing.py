"""features.probing: the loops of the key table. keys → *probing*.

`places` is a table with open addressing: 0 where nothing stands, else the upper half of a key's hash and its slot + 1. A search begins
at the hash's lowest bits and goes on place by place; whoever leaves makes the ones behind move up, so nothing marks where it stood.
A slot's row holds its key, so that one line of memory confirms it: the hash, the bytes' number, and up to 24 bytes, or where longer
ones begin in `long`.
"""

from __future__ import annotations

from stream_infer.features import words as w
from stream_infer.jit import byte_at, fetch, jit, long_at, place_of, put_byte, put_long
from stream_infer.records import Bools, Bytes, Ints

LOW = (1 << 32) - 1


@jit
def tail(place: int, left: int) -> int:
    """Fewer than 8 bytes as one number."""
    word = 0
    for at in range(left):
        word |= byte_at(place + at) << (8 * at)
    return word


@jit
def same(mine: int, theirs: int, size: int) -> bool:
    """Whether the bytes at two places are equal; nothing behind them is read."""
    at = 0
    while at + 8 <= size:
        if long_at(mine + at) != long_at(theirs + at):
            return False
        at += 8
    if size >= 8:  # the last words may overlap the ones before
        return at == size or long_at(mine + size - 8) == long_at(theirs + size - 8)
    return tail(mine, size) == tail(theirs, size)


@jit
def find(
    begin: int,
    end: int,
    blob: Bytes,
    spans: Ints,
    insert: Bools,
    places: Ints,
    rows: Ints,
    stride: int,
    long: Bytes,
    freed: Ints,
    counts: Ints,
    slots: Ints,
) -> int:
    """Slots of keys, in order; those to be inserted that are not there get one, and a row of zeros. Gives the row before which the table
    must grow, or end. spans: int64[3, n], start, size (-1: absent) and hash of each key; insert: bool[n, 1 or more], its first column."""
    mask = len(places) - 1
    text, table, store, longs = place_of(blob), place_of(places), place_of(rows), place_of(long)
    capacity = len(rows) // stride
    for i in range(begin, end):
        if i + 16 < end:
            fetch(table + 8 * (spans[2, i + 16] & mask))
        if i + 8 < end:
            fetch(store + 8 * stride * ((long_at(table + 8 * (spans[2, i + 8] & mask)) & LOW) - 1))
        size = spans[1, i]
        if size < 0:
            slots[i] = -1
            continue
        wanted = spans[2, i]
        at = wanted & mask
        slot = -1
        while True:
            entry = long_at(table + 8 * at)
            if entry == 0:
                break
            if (entry ^ wanted) >> 32 == 0:
                row = store + 8 * stride * ((entry & LOW) - 1)
                if long_at(row + 8 * w.HASH) == wanted and long_at(row + 8 * w.SIZE) == size:
                    theirs = row + 8 * w.KEY if size <= w.SHORT else longs + long_at(row + 8 * w.KEY)
                    if same(text + spans[0, i], theirs, size):
                        slot = (entry & LOW) - 1
                        break
            at = (at + 1) & mask
        if slot < 0 and insert[i, 0]:
            if 2 * (counts[w.COUNT] + 1) > len(places) or (counts[w.FREED] == 0 and counts[w.USED] == capacity):
                return i
            if size > w.SHORT and counts[w.LONG_USED] + size > len(long):
                return i
            if counts[w.FREED] > 0:
                counts[w.FREED] -= 1
                slot = freed[counts[w.FREED]]
            else:
                slot = counts[w.USED]
                counts[w.USED] += 1
                rows[slot * stride + w.MARKS] = 0
            counts[w.COUNT] += 1
            places[at] = ((wanted >> 32) << 32) | (slot + 1)
            base = slot * stride
            marks = rows[base + w.MARKS]
            rows[base : base + stride] = 0
            rows[base + w.HASH], rows[base + w.SIZE] = wanted, size
            rows[base + w.EVENT], rows[base + w.MARKS] = w.NEVER, marks | w.LIVE
            begins = store + 8 * (base + w.KEY)
            if size > w.SHORT:
                rows[base + w.KEY] = counts[w.LONG_USED]
                begins = longs + counts[w.LONG_USED]
                counts[w.LONG_USED] += size
                counts[w.LONG_LIVE] += size
            for place in range(size):
                put_byte(begins + place, byte_at(text + spans[0, i] + place))
        slots[i] = slot
    return end


@jit
def settle(places: Ints, rows: Ints, stride: int, used: int) -> None:
    """Put all live slots into empty places."""
    mask = len(places) - 1
    for slot in range(used):
        if rows[slot * stride + w.MARKS] & w.LIVE:
            wanted = rows[slot * stride + w.HASH]
            at = wanted & mask
            while places[at] != 0:
                at = (at + 1) & mask
            places[at] = ((wanted >> 32) << 32) | (slot + 1)


@jit
def free(slots: Ints, places: Ints, rows: Ints, stride: int, long: Bytes, freed: Ints, counts: Ints, gone: Bytes, gone_sizes: Ints) -> None:
    """Forget the keys in these slots; their bytes go to `gone`, and nothing of them stays. gone must have room for all of them."""
    mask = len(places) - 1
    for i in range(len(slots)):
        slot = slots[i]
        base = slot * stride
        at = rows[base + w.HASH] & mask
        while (places[at] & LOW) - 1 != slot:
            at = (at + 1) & mask
        hole = at
        while True:
            at = (at + 1) & mask
            entry = places[at]
            if entry == 0:
                break
            home = rows[((entry & LOW) - 1) * stride + w.HASH] & mask
            if (at - home) & mask >= (at - hole) & mask:
                places[hole] = entry
                hole = at
        places[hole] = 0
        size = rows[base + w.SIZE]
        theirs = place_of(rows) + 8 * (base + w.KEY) if size <= w.SHORT else place_of(long) + rows[base + w.KEY]
        put = place_of(gone) + counts[w.GONE_BYTES]
        for place in range(size):
            put_byte(put + place, byte_at(theirs + place))
            put_byte(theirs + place, 0)
        gone_sizes[counts[w.GONE]] = size
        counts[w.GONE] += 1
        counts[w.GONE_BYTES] += size
        counts[w.LONG_LIVE] -= size if size > w.SHORT else 0
        marks = rows[base + w.MARKS]
        rows[base : base + stride] = 0
        rows[base + w.EVENT], rows[base + w.MARKS] = w.NEVER, marks & w.LISTED
        freed[counts[w.FREED]] = slot
        counts[w.FREED] += 1
        counts[w.COUNT] -= 1


@jit
def move_long(rows: Ints, stride: int, used: int, old: Bytes, new: Bytes) -> int:
    """Lay the long keys end to end into a new block; gives the bytes used there."""
    at = 0
    for slot in range(used):
        base = slot * stride
        size = rows[base + w.SIZE]
        if rows[base + w.MARKS] & w.LIVE and size > w.SHORT:
            for place in range(size):
                new[at + place] = old[rows[base + w.KEY] + place]
            rows[base + w.KEY] = at
            at += size
    return at


@jit
def write_keys(slots: Ints, rows: Ints, stride: int, long: Bytes, lead: int, out: Bytes) -> None:
    """The keys of these slots end to end, each behind the byte `lead` (none if negative). out has 32 bytes more than they need."""
    put = place_of(out)
    for i in range(len(slots)):
        if i + 8 < len(slots):
            fetch(place_of(rows) + 8 * stride * slots[i + 8])
        base = slots[i] * stride
        size = rows[base + w.SIZE]
        if lead >= 0:
            put_byte(put, lead)
            put += 1
        if size <= w.SHORT:
            for word in range(3):
                put_long(put + 8 * word, rows[base + w.KEY + word])
        else:
            for place in range(size):
                put_byte(put + place, long[rows[base + w.KEY] + place])
        put += size
