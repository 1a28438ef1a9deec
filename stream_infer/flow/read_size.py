"""flow.read_size: how many records are read at once. records → *read_size* → worker.

Many, because each read and each chunk of rows has its price; but what is worked on should be near the processor, and within the limit
of the topology.
"""

from __future__ import annotations

from stream_infer.records import Fetched

POLL_ROWS_MAX = 10_000  # a chunk and more; 5,000 records a call cost 1.2 µs each against 1.35 at 100 (consume with key, value, timestamp)
POLL_ROWS_MIN = 16
# Events of 8.6 kB (Crayfish, JSON): 14.9 µs each read by 4 MB, 13.1 by 8, 12.2 by 16 and as much by 24 and 32, with 32 MB of shared cache.
# Another processor once took 40 by 8 MB, 46 by 4 and 55 by 32.
POLL_BYTES_MAX = 16 << 20
ROOM_ROWS_MIN = 1000  # of a partition: with less, reading would pause and go on all the time


class ReadSize:
    """rows_max: of the next read. rows_in_flight_max: the topology's limit, which a single read must not get around."""

    def __init__(self, rows_in_flight_max: int) -> None:
        self._most = min(POLL_ROWS_MAX, max(rows_in_flight_max, ROOM_ROWS_MIN))
        self.rows_max = self._most

    def saw(self, fetched: list[Fetched]) -> bool:
        """Size the next read by how large these records were. Whether this one gave all it was asked for."""
        rows, full_at = sum(map(len, fetched)), self.rows_max
        if rows:
            size = sum(len(batch.values.blob) for batch in fetched) // rows
            self.rows_max = max(min(self._most, POLL_BYTES_MAX // max(size, 1)), POLL_ROWS_MIN)
        return rows >= full_at
