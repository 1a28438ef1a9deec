"""window: tumbling windows by hand, for peers that keep one value per key. peer → *window* → peers.

A key's state is a list: for each window its number, then count, sum, min, max. As short as can be: it is written for every event.
"""

from __future__ import annotations

from typing import Any

import peer

WINDOWS: list[int] = peer.SPEC["window_ms"]
VALUE: str = peer.SPEC["value"]
PARTS = 5
EMPTY: list[float] = [-1, 0, 0.0, 0.0, 0.0] * len(WINDOWS)


def updated(state: list[float] | None, at_ms: int, value: float) -> tuple[list[float], float]:
    """The state with this event, and its score."""
    new = list(state or EMPTY)
    score, weights, place = peer.BIAS, peer.WEIGHTS, 0
    for window in WINDOWS:
        number = at_ms // window
        if new[place] != number:
            new[place : place + PARTS] = number, 1, value, value, value
        else:
            new[place + 1] += 1
            new[place + 2] += value
            new[place + 3] = min(new[place + 3], value)
            new[place + 4] = max(new[place + 4], value)
        _, count, total, least, most = new[place : place + PARTS]
        w = weights[place : place + PARTS]
        score += w[0] * count + w[1] * total + w[2] * total / count + w[3] * least + w[4] * most
        place += PARTS
    return new, score


def answer(row: dict[str, Any], score: float) -> bytes:
    return peer.to_bytes({"id": row["id"], "at_ms": row["at_ms"], "score": score})
