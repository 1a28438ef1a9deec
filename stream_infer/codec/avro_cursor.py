"""codec.avro_cursor: all rows of a batch read in step, each at its own position. records → *avro_cursor* → avro_decode.

Every step is a handful of numpy operations over all rows, whatever the rows hold. A row that is malformed, or merely written in
an unusual way (an array in several blocks), is marked `odd` and stepped on with harmless values; codec.avro_row then judges it
alone. So the steps need not explain anything: they must only never accept what the row reader refuses. Positions only grow,
hence one comparison after the last field (`finish`) finds every row that ran past its end or stopped short of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.codec.schema import NUMBER_DTYPES
from stream_infer.records import Bools, Bytes, Hashes, Ints, Lists, Numbers, Text

FIELD_SLACK = 24  # what one field may read past the end of a row: a varint and a word
COPY_ITEMS_MIN = 48  # from so many items per row on, copying each row's bytes beats gathering each item

_ZIGZAG = np.array([(code >> 1) ^ -(code & 1) for code in range(128)], dtype=np.int64)
_BELOW = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)  # mask of the lowest `size` bytes
_STOPS = np.uint64(0x8080808080808080)
_ONE = np.uint64(1)
_GROUPS = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(shift))  # three steps squeeze eight groups of 7 bits together
    for low, high, shift in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)
_WORDS_CHECKED = 8  # texts longer than so many words are checked one by one

Live = Bools | None


class Cursor:
    """A position in each row. values: the rows' bytes; fields: how many fields will be read at most.

    All methods return columns of n rows; `live` (bool[n] or None for all) says which rows have the value at all. Rows that
    do not are neither moved nor checked, and what the columns hold there means nothing.
    """

    def __init__(self, values: Text, fields: int) -> None:
        low = int(values.start.min())
        high = int((values.start + values.size).max())
        self.blob = values.blob
        self.low = low
        self.bytes = np.zeros(high - low + FIELD_SLACK * (fields + 1), dtype=np.uint8)
        self.bytes[: high - low] = values.blob[low:high]
        self.words = np.ndarray((len(self.bytes) - 7,), dtype="<u8", buffer=self.bytes, strides=(1,))
        self.pos: Ints = values.start - low
        self.end: Ints = self.pos + values.size
        self.odd: Bools = np.zeros(len(values), dtype=np.bool_)
        self._stops: Ints | None = None

    def finish(self) -> Ints:
        """The odd rows, after the last field."""
        return np.flatnonzero(self.odd | (self.pos != self.end))

    def present(self, null_first: bool, live: Live = None) -> Bools:
        """Reads the branch of a union with null: which rows have a value."""
        branch = self._long(live)
        there: Bools = branch == (1 if null_first else 0)
        self._mark((branch < 0) | (branch > 1), live)
        if live is not None:
            there &= live
        return there

    def number(self, kind: str, live: Live) -> Numbers:
        """boolean, int, long, float or double in its own dtype."""
        if kind == "long":
            return Numbers(self._long(live), live)
        if kind == "int":
            values = self._long(live)
            narrow = values.astype(np.int32)
            self._mark(narrow != values, live)
            return Numbers(narrow, live)
        if kind == "boolean":
            codes = self.bytes[self.pos]
            self._move(1, live)
            self._mark(codes > 1, live)
            return Numbers(codes.astype(np.bool_), live)
        words = self.words[self.pos]
        self._move(8 if kind == "double" else 4, live)
        return Numbers(words.view(np.float64) if kind == "double" else words.astype(np.uint32).view(np.float32), live)

    def enum(self, symbols: int, live: Live) -> Numbers:
        """Index of the symbol, int64; always a valid index, whatever the row says."""
        index = self._long(live)
        bad = (index < 0) | (index >= symbols)
        if bad.any():
            self._mark(bad, live)
            index[bad] = 0
        return Numbers(index, live)

    def fixed(self, size: int, live: Live) -> Text:
        """Spans of `size` bytes."""
        return self._span(np.full(len(self.pos), size, dtype=np.int64), live, is_bytes=True)

    def text(self, live: Live, *, utf8: bool) -> Text:
        """Spans of a string or of bytes; utf8: rows that are not UTF-8 are odd."""
        column = self._span(self._long(live), live, is_bytes=not utf8)
        if utf8:
            self._check_utf8(column.start - self.low, column.size)
        return column

    def array(self, kind: str, live: Live) -> Lists:
        """Items in the dtype of `kind`. Rows with more than one block, or with the size of a block, are odd."""
        count = self._long(live)
        if live is not None:
            count *= live
        width = {"double": 8, "float": 4}.get(kind, 1)
        bad = (count < 0) | (count > (self.end - self.pos) // width)
        if bad.any():
            self.odd |= bad
            count[bad] = 0
        if kind in {"int", "long"}:
            items = self._varint_items(kind, count)
        else:
            items = self._fixed_items(kind, count, width)
            self.pos += count * width
        full = count > 0
        if full.any():
            self.odd |= full & (self.bytes[self.pos] != 0)  # the block after the only one must be the empty one
            self.pos += full
        return Lists(items, np.cumsum(count) - count, count, live)

    def _move(self, step: Ints | int, live: Live) -> None:
        self.pos += step if live is None else step * live

    def _mark(self, bad: Bools, live: Live) -> None:
        self.odd |= bad if live is None else bad & live

    def _long(self, live: Live) -> Ints:
        first = self.bytes[self.pos]
        if first.max() < 0x80:
            self._move(1, live)
            return _ZIGZAG[first]
        values, length, bad = read_varints(self.bytes, self.words, self.pos)
        if bad is not None:
            self._mark(bad, live)
        self._move(length, live)
        return values

    def _span(self, size: Ints, live: Live, *, is_bytes: bool) -> Text:
        if live is not None:
            size *= live
        bad = (size < 0) | (size > self.end - self.pos)
        if bad.any():  # the size goes to zero so that no position ever leaves the block
            self.odd |= bad
            size[bad] = 0
        start = self.pos + self.low
        self.pos += size
        return Text(self.blob, start, size, live, is_bytes)

    def _check_utf8(self, start: Ints, size: Ints) -> None:
        """Words first: a text without a byte over 127 is UTF-8. Only the others are decoded, one by one."""
        if not len(size):
            return
        longest = int(size.max())
        doubtful = size > 8 * _WORDS_CHECKED
        rows: Ints | None = None  # None: all
        for offset in range(0, min(longest, 8 * _WORDS_CHECKED), 8):
            if offset:
                rows = np.flatnonzero(size > offset)
            part, left = (start, size) if rows is None else (start[rows] + offset, size[rows] - offset)
            high = (self.words[part] & _STOPS & _BELOW[np.minimum(left, 8)]) != 0
            if high.any():
                doubtful[high if rows is None else rows[high]] = True
        for row in np.flatnonzero(doubtful).tolist():
            text = self.bytes[start[row] : start[row] + size[row]].tobytes()
            if not text.isascii() and not is_utf8(text):
                self.odd[row] = True

    def _fixed_items(self, kind: str, count: Ints, width: int) -> NDArray[np.generic]:
        total = int(count.sum())
        if total >= COPY_ITEMS_MIN * len(count):
            view = memoryview(self.bytes)  # type: ignore[arg-type]
            spans = zip(self.pos.tolist(), (self.pos + count * width).tolist(), strict=True)
            raw = np.frombuffer(b"".join([view[a:b] for a, b in spans]), dtype=np.uint8)
            items: NDArray[np.generic] = raw.view(NUMBER_DTYPES[kind] if width > 1 else np.uint8)
        else:
            flat = np.repeat(self.pos - (np.cumsum(count) - count) * width, count) + np.arange(total, dtype=np.int64) * width
            if width == 1:
                items = self.bytes[flat]
            else:
                words = self.words[flat]
                items = words.view(np.float64) if width == 8 else words.astype(np.uint32).view(np.float32)
        if kind == "boolean":
            self._mark_owners(items > 1, count)  # type: ignore[operator]
            items = items.astype(np.bool_)
        return items

    def _varint_items(self, kind: str, count: Ints) -> NDArray[np.generic]:
        """No loop over items: an item ends at each byte below 128, so the places of those bytes are the items' ends."""
        if self._stops is None:
            self._stops = np.flatnonzero(self.bytes < 0x80)
        stops = self._stops
        first = np.searchsorted(stops, self.pos)
        last = first + count - 1
        bad = (count > 0) & (stops[np.minimum(last, len(stops) - 1)] >= self.end)
        if bad.any():
            self.odd |= bad
            count[bad] = 0
            last = first + count - 1
        before = np.cumsum(count) - count
        place = np.repeat(first - before, count) + np.arange(int(count.sum()), dtype=np.int64)
        begin = stops[place - 1] + 1
        full = count > 0
        begin[before[full]] = self.pos[full]  # what stands before the first item is no item
        values, _, wrong = read_varints(self.bytes, self.words, begin)
        self.pos[full] = stops[last[full]] + 1
        if wrong is not None:
            self._mark_owners(wrong, count)
        if kind == "long":
            return values
        narrow = values.astype(np.int32)
        self._mark_owners(narrow != values, count)
        return narrow

    def _mark_owners(self, bad: Bools, count: Ints) -> None:
        if bad.any():
            self.odd[np.repeat(np.arange(len(count)), count)[bad]] = True


def read_varints(data: Bytes, words: Hashes, pos: Ints) -> tuple[Ints, Ints, Bools | None]:
    """Zigzag varints at pos: values int64[n], lengths int64[n], and which are over 64 bits (None: none).

    words: data as a little-endian word at every byte. A whole word is read at once: its lowest byte below 128 ends the number.
    """
    raw = words[pos]
    stop = ~raw & _STOPS
    low = stop & -stop  # the highest bit of the byte that ends the number; 0 when none of the eight does
    mask = (low << _ONE) - _ONE
    length = (np.bitwise_count(mask) >> 3).astype(np.int64)
    code = raw & mask & ~_STOPS
    for keep, move, shift in _GROUPS:
        code = (code & keep) | ((code & move) >> shift)
    bad = None
    longer = np.flatnonzero(low == 0)
    if len(longer):
        place = pos[longer]
        ninth, tenth = data[place + 8].astype(np.uint64), data[place + 9].astype(np.uint64)
        two = ninth >= 0x80
        code[longer] |= ((ninth & np.uint64(0x7F)) << np.uint64(56)) | np.where(two, tenth << np.uint64(63), np.uint64(0))
        length[longer] += 1 + two
        over = two & (tenth > 1)
        if over.any():
            bad = np.zeros(len(pos), dtype=np.bool_)
            bad[longer[over]] = True
    return (code >> _ONE).view(np.int64) ^ -(code & _ONE).view(np.int64), length, bad


def is_utf8(text: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
