"""features.rings: the blocks in which keys' tiles lie. layout → *rings* → windows.

features.engine takes blocks as keys need them; here they are given back, and laid out anew when there is no room left.
"""

from __future__ import annotations

from stream_infer.features import words as w
from stream_infer.jit import jit
from stream_infer.records import Ints


@jit
def release(slots: Ints, plan: Ints, rows: Ints, rings: Ints, vacant: Ints) -> None:
    """Give back the blocks of keys that are to be forgotten; nothing of what was in them stays."""
    for i in range(len(slots)):
        for f in range(plan[0, w.FRAMES], plan[0, w.FRAMES] + plan[0, w.FRAMES + 1]):
            own = slots[i] * plan[0, w.STRIDE] + plan[f, w.AT]
            block, room = rows[own + w.BLOCK], rows[own + w.FORM] >> 2 * w.BITS
            for word in range(room * plan[f, w.WIDTH]):
                rings[block + word] = 0
            if room:
                rings[block] = vacant[f - plan[0, w.FRAMES], room]
                vacant[f - plan[0, w.FRAMES], room] = block + 1


@jit
def words_held(used: int, plan: Ints, rows: Ints) -> int:
    """The numbers in blocks that belong to keys."""
    held = 0
    for slot in range(used):
        if rows[slot * plan[0, w.STRIDE] + w.MARKS] & w.LIVE:
            for f in range(plan[0, w.FRAMES], plan[0, w.FRAMES] + plan[0, w.FRAMES + 1]):
                held += (rows[slot * plan[0, w.STRIDE] + plan[f, w.AT] + w.FORM] >> 2 * w.BITS) * plan[f, w.WIDTH]
    return held


@jit
def move(used: int, plan: Ints, rows: Ints, old: Ints, new: Ints) -> int:
    """Lay the blocks out anew: those of one key side by side, none vacant. Gives how far the new rings are used."""
    end = 0
    for slot in range(used):
        if rows[slot * plan[0, w.STRIDE] + w.MARKS] & w.LIVE:
            for f in range(plan[0, w.FRAMES], plan[0, w.FRAMES] + plan[0, w.FRAMES + 1]):
                own = slot * plan[0, w.STRIDE] + plan[f, w.AT]
                size = (rows[own + w.FORM] >> 2 * w.BITS) * plan[f, w.WIDTH]
                for word in range(size):
                    new[end + word] = old[rows[own + w.BLOCK] + word]
                rows[own + w.BLOCK] = end
                end += size
    return end
