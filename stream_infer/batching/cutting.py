"""batching.cutting: rows that wait are cut into batches, by number, by cost, by length. *cutting* → deciding.

Pure functions of counts and costs. Every row is in exactly one batch; the batches come in the order of their first rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stream_infer.records import Floats, Ints


def cut(rows_waiting: int, largest: int) -> list[int]:
    """Sizes of the batches that `rows_waiting` rows leave in: full ones first, the rest last."""
    full, rest = divmod(rows_waiting, largest)
    return [largest] * full + ([rest] if rest else [])


def by_cost(cost: Floats, rows_max: int, cost_max: float) -> list[int]:
    """Sizes of batches of at most rows_max rows that cost cost_max at most together; a row above it leaves alone.

    cost: float64[n], not negative. Each batch takes as many rows as it may, in order: no other way to cut in order needs fewer.
    """
    ends = np.cumsum(cost)
    sizes: list[int] = []
    begin, spent = 0, 0.0
    while begin < len(cost):
        fits = int(np.searchsorted(ends, spent + cost_max, side="right"))
        end = min(max(fits, begin + 1), begin + rows_max, len(cost))
        sizes.append(end - begin)
        begin, spent = end, float(ends[end - 1])
    return sizes


def in_buckets(length: Floats, edges: Sequence[float], rows_max: int, cost_max: float) -> list[Ints]:
    """Row numbers of batches whose rows lie between the same two edges; each row counts as the upper one, to which it is filled up.

    length: float64[n]; edges: ascending. Rows above the last edge share a bucket too, and count as the longest of them all.
    """
    tops = np.append(np.asarray(edges, dtype=np.float64), max(float(length.max(initial=0.0)), *edges))
    bucket = np.searchsorted(tops[:-1], length, side="left")
    batches: list[Ints] = []
    for place in np.unique(bucket).tolist():
        rows = np.flatnonzero(bucket == place)
        top = float(tops[place])
        largest = min(rows_max, max(1, int(cost_max // top))) if top > 0 else rows_max
        batches += np.split(rows, range(largest, len(rows), largest))
    return sorted(batches, key=lambda rows: int(rows[0]))


def filling(length: Floats, edges: Sequence[float]) -> float:
    """What in_buckets adds to the rows' own cost: the sum of (upper edge - length)."""
    tops = np.append(np.asarray(edges, dtype=np.float64), max(float(length.max(initial=0.0)), *edges))
    return float((tops[np.searchsorted(tops[:-1], length, side="left")] - length).sum())


def best_edges(length: Floats, buckets: int) -> tuple[float, ...]:
    """The edges, `buckets` at most and the last the longest row, that fill up least. Exact, by dynamic programming over distinct lengths.

    length: float64[n], n > 0. Of more than 256 distinct lengths, only 256 quantiles (and the longest) are thought of as edges.
    """
    found, count = np.unique(length, return_counts=True)
    if len(found) > 256:
        chosen = np.unique(np.quantile(length, np.linspace(0, 1, 257), method="higher"))
        count = np.bincount(np.searchsorted(chosen, length, side="left"), minlength=len(chosen))
        found = chosen
    below = np.concatenate([[0], np.cumsum(count)])
    # least[j]: rows up to the j-th length, counted at the edges of k buckets; what is filled up is that less the rows' own lengths.
    least = found * below[1:]
    before: list[Ints] = []
    for _ in range(min(buckets, len(found)) - 1):
        options = np.concatenate([[0.0], least])[:, None] + found[None, :] * (below[1:][None, :] - below[:, None])
        options[np.arange(len(found) + 1)[:, None] > np.arange(len(found))[None, :]] = np.inf
        before.append(np.argmin(options, axis=0))
        least = options.min(axis=0)
    edges, end = [float(found[-1])], len(found)
    for chosen_before in reversed(before):
        end = int(chosen_before[end - 1])
        if end == 0:
            break
        edges.append(float(found[end - 1]))
    return tuple(reversed(edges))


def padded(rows: int, sizes: Sequence[int]) -> int:
    """The smallest of sizes (ascending) that holds so many rows; as many as there are where sizes is empty or all are smaller."""
    return next((size for size in sizes if size >= rows), rows)


def at_sizes(rows_waiting: int, sizes: Sequence[int], seconds: Callable[[int], float]) -> list[int]:
    """Real rows of each pass where passes must have one of `sizes` (ascending) rows. seconds: cost of a pass of that size.

    Full passes of the largest size; then either the next larger size filled up with nothing, or the next smaller one and the rest after
    it: whichever takes fewer seconds. TensorFlow's batcher compares seconds per real row instead, for its rest waits for rows to come;
    here the rest leaves at once.
    """
    full, rest = divmod(rows_waiting, sizes[-1])
    return [sizes[-1]] * full + _cheapest(rest, sizes, seconds)[1]


def _cheapest(rows: int, sizes: Sequence[int], seconds: Callable[[int], float]) -> tuple[float, list[int]]:
    if rows == 0:
        return 0.0, []
    up = seconds(padded(rows, sizes)), [rows]
    down = max((size for size in sizes if size <= rows), default=0)
    if not down or down == rows:
        return up
    after, passes = _cheapest(rows - down, sizes, seconds)
    return min(up, (seconds(down) + after, [down, *passes]))
