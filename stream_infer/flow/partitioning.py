"""flow.partitioning: which partition a key goes to, as users' producers choose it. records → *partitioning* → reparting.

Java's clients and librdkafka's murmur2_random take murmur2 of the key's bytes: streams that meet at a key are partitioned so.
"""

from __future__ import annotations

import numpy as np

from stream_infer.jit import jit
from stream_infer.records import Bytes, Ints, Text, plain, sealed


def partitions_of(keys: Text, partitions: int) -> Ints:
    """int64[n]: the partition of each key; 0 where it is absent."""
    found = np.empty(len(keys), dtype=np.int64)
    _partitions(sealed(keys.blob), plain(keys.start), plain(keys.size), partitions, found)
    if keys.valid is not None:
        found[~keys.valid] = 0
    return found


@jit
def _partitions(blob: Bytes, start: Ints, size: Ints, partitions: int, out: Ints) -> None:
    mask, m = np.uint64(0xFFFFFFFF), np.uint64(0x5BD1E995)
    for row in range(len(start)):
        first, count = start[row], size[row]
        if first < 0 or count < 0 or first + count > len(blob):  # of an absent key
            out[row] = 0
            continue
        h = np.uint64(0x9747B28C) ^ np.uint64(count)
        whole = count & ~3
        for place in range(first, first + whole, 4):
            k = np.uint64(blob[place]) | np.uint64(blob[place + 1]) << np.uint64(8)
            k |= np.uint64(blob[place + 2]) << np.uint64(16) | np.uint64(blob[place + 3]) << np.uint64(24)
            k = k * m & mask
            k = (k ^ (k >> np.uint64(24))) * m & mask
            h = (h * m & mask) ^ k
        if whole < count:
            rest = np.uint64(0)
            for place in range(count - whole):
                rest |= np.uint64(blob[first + whole + place]) << np.uint64(8 * place)
            h = (h ^ rest) * m & mask
        h = (h ^ (h >> np.uint64(13))) * m & mask
        h ^= h >> np.uint64(15)
        out[row] = np.int64(h & np.uint64(0x7FFFFFFF)) % partitions
