"""Quix Streams: windows by key in RocksDB with a changelog, one output per event. peer, window → *windows*.

windows.py own        its own tumbling windows with current(), one after the other: each hands the event on to the next larger one
windows.py state      one stateful function that keeps all windows of a key in one value: its cheapest way
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import peer
import window
from application import app, reads, writes
from quixstreams import State
from quixstreams.dataframe.windows import Count, Latest, Max, Mean, Min, Sum

VALUE = window.VALUE


def kept(value: bytes, state: State) -> bytes:
    row = peer.from_bytes(value)
    new, score = window.updated(state.get("w"), row["at_ms"], row[VALUE])
    state.set("w", new)
    return window.answer(row, score)


def begun(value: bytes) -> dict[str, Any]:
    row = peer.from_bytes(value)
    return {"v": row[VALUE], "e": [row["id"], row["at_ms"], peer.BIAS]}


def told(place: int) -> Any:
    """Adds a window's numbers to the score that the event carries."""
    w = peer.WEIGHTS[place : place + window.PARTS]

    def add(found: dict[str, Any]) -> dict[str, Any]:
        name, at_ms, score, value = found["last"]
        score += w[0] * found["n"] + w[1] * found["s"] + w[2] * found["m"] + w[3] * found["least"] + w[4] * found["most"]
        return {"v": value, "e": [name, at_ms, score]}

    return add


frame = app.dataframe(reads)
if sys.argv[1] == "state":
    frame = frame.apply(kept, stateful=True)
else:
    frame = frame.apply(begun)
    for number, width_ms in enumerate(window.WINDOWS):
        frame = frame.apply(lambda row: {"v": row["v"], "last": [*row["e"], row["v"]]})
        numbers = {"n": Count(), "s": Sum("v"), "m": Mean("v"), "least": Min("v"), "most": Max("v"), "last": Latest("last")}
        frame = frame.tumbling_window(timedelta(milliseconds=width_ms)).agg(**numbers).current().apply(told(number * window.PARTS))
    frame = frame.apply(lambda row: peer.to_bytes(dict(zip(("id", "at_ms", "score"), row["e"], strict=True))))
frame.to_topic(writes)

if __name__ == "__main__":
    app.run()
