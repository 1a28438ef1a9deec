"""Faust: windows by key in Tables with changelogs, one output per event; raw bytes, uvloop, logging off. application, window → *windows*.

windows.py own        three windowed Tables (tumbling), read and written for every event
windows.py state      one Table whose value holds all windows of a key: its cheapest way
"""

from __future__ import annotations

import sys

import mode.loop

mode.loop.use("uvloop")

import application  # noqa: E402 — the loop is chosen before Faust is imported
import faust  # noqa: E402
import peer  # noqa: E402
import window  # noqa: E402

app = application.made(table_standby_replicas=0, **application.QUICK)
writes = application.raw(app, peer.OUT)
VALUE = window.VALUE

if sys.argv[1] == "state":
    table = app.Table("windows", default=list, partitions=peer.PARTITIONS)

    @app.agent(application.raw(app, peer.IN))
    async def events(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            row = peer.from_bytes(value)
            table[row["user"]], score = window.updated(table[row["user"]], row["at_ms"], row[VALUE])
            await writes.send(value=window.answer(row, score))

else:
    tables = [
        app.Table(f"w{width_ms}", default=list, partitions=peer.PARTITIONS).tumbling(width_ms / 1000, expires=2 * width_ms / 1000)
        for width_ms in window.WINDOWS
    ]

    @app.agent(application.raw(app, peer.IN))
    async def windowed(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            row = peer.from_bytes(value)
            user, number, score = row["user"], row[VALUE], peer.BIAS
            for place, table in enumerate(tables):
                count, total, least, most = table[user].current() or (0, 0.0, number, number)
                new = [count + 1, total + number, min(least, number), max(most, number)]
                table[user] = new
                w = peer.WEIGHTS[place * window.PARTS : (place + 1) * window.PARTS]
                score += w[0] * new[0] + w[1] * new[1] + w[2] * new[1] / new[0] + w[3] * new[2] + w[4] * new[3]
            await writes.send(value=window.answer(row, score))


if __name__ == "__main__":
    faust.Worker(app, loglevel="CRITICAL").execute_from_commandline()
