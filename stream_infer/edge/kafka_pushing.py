"""kafka pushing: what lingers goes out when nothing more is coming. deliveries → *kafka_pushing* → the producer.

librdkafka sends a batch once it is full or its first record has lingered. That nothing more is coming it can only be told by a flush, which
waits for the broker: so a thread flushes, for a moment. At full load, where nobody pushes, batches have the time to fill.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread


class Pusher:
    """flush: sends what is queued, waiting for a moment; called on a thread of its own."""

    def __init__(self, flush: Callable[[], object]) -> None:
        self._flush = flush
        self._wanted = Event()
        self._ends = False
        self._thread = Thread(target=self._run, name="push", daemon=True)
        self._thread.start()

    def push(self) -> None:
        """Flush soon; waits for nothing."""
        self._wanted.set()

    def close(self) -> None:
        """Return when flush() is not called any more."""
        self._ends = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ends:
                return
            self._flush()
