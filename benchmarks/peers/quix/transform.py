"""Quix Streams: apply() and to_topic(), one record at a time, which is the only way it has. peer → *transform*.

Bytes in and out with the codec of all peers: its own JSON serialisers do the same with one more call.
"""

from __future__ import annotations

import peer
from application import app, reads, writes


def work(value: bytes) -> bytes:
    return peer.to_bytes(peer.scored(peer.from_bytes(value)))


app.dataframe(reads).apply(work).to_topic(writes)

if __name__ == "__main__":
    app.run()
