"""features.words: names for the numbers that the loops of this package share. *words* → probing, layout, engine, packing, rings.

Kernels know arrays of numbers and the places in them; what stands where is said here, once.
"""

from __future__ import annotations

NEVER = -(1 << 60)  # the time of a key that was never updated
LEAST = -(1 << 63)  # an extreme of nothing

# A row of the key table: hash, bytes of the key, the key (up to SHORT bytes) or where it begins, time of the newest update, number of the
# row that updated it last, marks. ROW: where its owner's words begin.
HASH, SIZE, KEY, EVENT, TURN, MARKS, ROW = 0, 1, 2, 5, 6, 7, 8
SHORT = 24
LIVE, LISTED = 1, 2  # marks: has a key; stands in the list of changes
# What a key table counts: keys, slots ever handed out, freed slots to hand out again, bytes in use for long keys, those of keys that are
# still there, slots in the list of changes, keys freed since then, their bytes.
COUNT, USED, FREED, LONG_USED, LONG_LIVE, CHANGED, GONE, GONE_BYTES = range(8)

# The first row of a plan: where each of its parts begins and how many rows it has (two numbers each), sums per key, words of a key's row,
# idle_ms or -1, words of rings that one row may take, features, the most tiles or newest values in one column, bytes that a packed key
# may have. ENTRY: the width of the plan.
FRAMES, LANES, EXTREMES, LISTS, SUMS, STRIDE, IDLE, MOST, COLUMNS, LONGEST, BYTES_MAX, ENTRY = 0, 2, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15
# A frame: hop_ms (0: all time), back, cells, words per tile (0: no ring), its place in a key's row, sums and extremes kept in it (how many,
# and the first one in `picks`), its outputs (the first, and the one behind the last).
HOP, BACK, CELLS, WIDTH, AT, SUMS_N, SUMS_AT, EXTREMES_N, EXTREMES_AT, OUTPUTS_FROM, OUTPUTS_TO = range(11)
# A lane: index of its field or -1, whether it has squares, its first column, place of its scale. An extreme: index of its field, sign,
# place of its scale. A list: index of its field, k, its place in a key's row, place of its scale.
FIELD, SQUARES, COLUMN, LANE_SCALE = range(4)
SIGN, EXTREME_SCALE = 1, 2
K, LIST_AT, LIST_SCALE = 1, 2, 3
# An output: kind, place of what it needs (in the frame, or among the lists), its first column, columns, place of its scale.
KIND, PLACE, OUT_AT, OUT_N, OUT_SCALE = range(5)
IS_COUNT, IS_SUM, IS_MEAN, IS_STD, IS_EXTREME, IS_NEWEST, IS_SINCE = range(7)

# A frame in a key's row: newest tile, place of its block in the rings, form of its ring, extremes over the ring.
HEAD, BLOCK, FORM, PEAKS = range(4)
# A form: the first tile's place in the block, the number of tiles, and how many fit, so many bits each.
BITS = 21
ONES = (1 << BITS) - 1

# Counters of what was done, which travel with the state.
TURNS, CLOCK, SWEPT_AT, LATE, CLIPPED, EVICTED = range(6)
# Progress: how far the rings are used, how many rows of a call were read.
RINGS_USED, READ = range(2)
# What the engine holds from call to call: where arrays lie, how long the rings are, how wide `vacant` is.
PLAN, PICKS, SCALES, EMPTY, ROWS, RINGS, VACANT, PROGRESS, LISTED_SLOTS, COUNTS, COUNTERS, TILES, RINGS_SIZE, VACANT_WIDE = range(14)
