"""kafka markers: how long after a commit the next transaction should begin. *kafka_markers* → kafka_transactions.

commit_transaction() returns once the coordinator has decided; the markers in the partitions are written after that. Whoever registers a
partition before they stand hears CONCURRENT_TRANSACTIONS, and librdkafka sleeps 20 ms before it asks again, whatever retry.backoff.ms
says: seen as flushes of 24 ms instead of 3, in more than one of ten transactions of 200 records/s. A pause of a few ms, in which
the loop computes on, spares them: p50 34 → 24 ms, p99 77 → 57 ms (read_committed reader, one partition, two cores shared with the broker).
"""

from __future__ import annotations

REFUSED_S = 0.020  # librdkafka's sleep: a flush that took less was not refused
FIRST_S = 0.002
PAUSE_S_MAX = 0.006  # slower markers cost the 20 ms: a longer pause would cost every transaction as much
LONGER_S, SHORTER_S = 0.001, 0.000_02  # after a refusal, after none: one in fifty is refused where the markers' time stays the same


class MarkersPause:
    """Finds the pause by trying: a little less after every flush that went well, more after one that was refused."""

    def __init__(self) -> None:
        self.seconds = FIRST_S

    def flushed(self, took_s: float) -> None:
        """The flush of a transaction took so long. One that many records make long counts as refused: beside it the pause is little."""
        step = LONGER_S if took_s >= REFUSED_S else -SHORTER_S
        self.seconds = min(max(self.seconds + step, 0.0), PAUSE_S_MAX)
