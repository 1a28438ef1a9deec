"""Faust: an agent that reads one topic and sends to another. application → *transform*.

transform.py default    one event at a time, Faust's own settings; JSON as Records
transform.py best       take(1000), raw bytes, uvloop, logging off, linger 5 ms: its best of what was tried
"""

from __future__ import annotations

import sys

BEST = sys.argv[1] == "best"
if BEST:
    import mode.loop

    mode.loop.use("uvloop")

import application  # noqa: E402 — the loop is chosen before Faust is imported
import faust  # noqa: E402
import numpy as np  # noqa: E402
import peer  # noqa: E402

NAMES = [f"x{i}" for i in range(len(peer.WEIGHTS))]
WEIGHTS = np.array(peer.WEIGHTS)
app = application.made(**application.QUICK if BEST else {})


class Event(faust.Record, serializer="json"):
    id: str
    user: str
    region: str
    x0: float
    x1: float
    x2: float
    x3: float
    x4: float
    x5: float
    x6: float
    x7: float
    at_ms: int
    n: int


class Score(faust.Record, serializer="json", include_metadata=False):
    id: str
    at_ms: int
    score: float


if BEST:
    writes = application.raw(app, peer.OUT)

    @app.agent(application.raw(app, peer.IN))
    async def batches(stream: faust.StreamT[bytes]) -> None:
        async for values in stream.take(1000, within=0.05):
            rows = [peer.from_bytes(value) for value in values]
            x = np.array([[row[name] for name in NAMES] for row in rows])
            for row, score in zip(rows, (x @ WEIGHTS + peer.BIAS).tolist(), strict=True):
                await writes.send(value=peer.to_bytes({"id": row["id"], "at_ms": row["at_ms"], "score": score}))

elif peer.FORMAT == "json":
    records = app.topic(peer.OUT, value_type=Score)

    @app.agent(app.topic(peer.IN, key_type=bytes, key_serializer="raw", value_type=Event))
    async def events(stream: faust.StreamT[Event]) -> None:
        w = peer.WEIGHTS
        async for e in stream:
            score = peer.BIAS + w[0] * e.x0 + w[1] * e.x1 + w[2] * e.x2 + w[3] * e.x3
            score += w[4] * e.x4 + w[5] * e.x5 + w[6] * e.x6 + w[7] * e.x7
            await records.send(value=Score(id=e.id, at_ms=e.at_ms, score=score))

else:
    plain = application.raw(app, peer.OUT)

    @app.agent(application.raw(app, peer.IN))
    async def values(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            await plain.send(value=peer.to_bytes(peer.scored(peer.from_bytes(value))))


if __name__ == "__main__":
    faust.Worker(app, loglevel="CRITICAL" if BEST else "WARNING").execute_from_commandline()
