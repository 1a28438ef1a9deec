"""window oracle: what windows of a key should tell, tile by tile in the order of the log. events → *window oracle* → windows.

Written for plainness, not speed: for every event it walks over all tiles of all windows. Compiled, because it does so for a million events.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness.events import BIAS, WINDOW_MS, WINDOW_WEIGHTS, Events
from stream_infer.jit import jit
from stream_infer.records import Floats, Ints

HOPS = 12  # of a sliding window: its tail moves in steps of a twelfth
NUMBERS = 5  # count, sum, mean, min, max


def scores(of: Events) -> Floats:
    """float64[count, 3]: tumbling windows with the event itself, tumbling without, sliding without. Any one of them is a right answer."""
    width = np.array(WINDOW_MS, dtype=np.int64)
    tumbling, sliding = (width, np.zeros_like(width)), (-(-width // HOPS), np.full_like(width, HOPS))
    found = [
        numbers(of.user, of.at_ms, of.x[:, 0].copy(), *shape, include)
        for shape, include in ((tumbling, True), (tumbling, False), (sliding, False))
    ]
    return np.stack([one @ WINDOW_WEIGHTS + BIAS for one in found], axis=1)


@jit
def numbers(user: Ints, at_ms: Ints, value: Floats, hop_ms: Ints, back: Ints, include: bool) -> Floats:
    """float64[count, windows · 5]. A window is the event's tile, of hop_ms, and `back` tiles before it; 0 where it holds nothing."""
    windows, cells = len(hop_ms), back.max() + 1
    keys = user.max() + 1
    tile_of = np.full((keys, windows, cells), -1, dtype=np.int64)
    kept = np.zeros((keys, windows, cells, 4))  # count, sum, min, max
    out = np.zeros((len(user), windows * NUMBERS))
    for row in range(len(user)):
        for window in range(windows):
            tile, cell = at_ms[row] // hop_ms[window], at_ms[row] // hop_ms[window] % cells
            tiles, cut = tile_of[user[row], window], kept[user[row], window]
            for turn in range(2):
                if (turn == 0) == include:  # take the event in: before the window is told, or after
                    if tiles[cell] != tile:
                        tiles[cell] = tile
                        cut[cell, 0], cut[cell, 1], cut[cell, 2], cut[cell, 3] = 0.0, 0.0, value[row], value[row]
                    cut[cell, 0] += 1.0
                    cut[cell, 1] += value[row]
                    cut[cell, 2] = min(cut[cell, 2], value[row])
                    cut[cell, 3] = max(cut[cell, 3], value[row])
                else:
                    _tell(out[row, window * NUMBERS : (window + 1) * NUMBERS], tiles, cut, tile - back[window], tile)
    return out


@jit
def _tell(out: Floats, tiles: Ints, kept: Floats, first: int, last: int) -> None:
    for cell in range(len(tiles)):
        if first <= tiles[cell] <= last and tiles[cell] >= 0:
            out[3] = kept[cell, 2] if out[0] == 0.0 else min(out[3], kept[cell, 2])
            out[4] = kept[cell, 3] if out[0] == 0.0 else max(out[4], kept[cell, 3])
            out[0] += kept[cell, 0]
            out[1] += kept[cell, 1]
    if out[0] > 0.0:
        out[2] = out[1] / out[0]
