"""kafka watchdog: a hard deadline over the calls that Kafka promises to end, and sometimes does not. *kafka_watchdog* → transactions.

librdkafka's commit must be called without a timeout, and has open bugs that make transactional calls wait for ever. A worker that
hangs there holds its partitions and an open transaction; ended, it is replaced and nothing is lost.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("stream_infer.kafka")
EXIT_CODE = 75  # EX_TEMPFAIL: start it again


def end_process(what: str, seconds: float) -> None:
    """Log and leave at once: the stuck call holds the thread that could clean up."""
    log.critical("%s has not returned for %.0f s; this process ends so that another can take over", what, seconds)
    logging.shutdown()
    os._exit(EXIT_CODE)


class Watchdog:
    """Calls on_stall(what, seconds) from its own thread when a watched call outlasts seconds_max."""

    def __init__(self, seconds_max: float, on_stall: Callable[[str, float], None] = end_process) -> None:
        self._seconds_max = seconds_max
        self._on_stall = on_stall
        self._call: tuple[str, float] | None = None  # name and begin: one tuple, written and read whole, needs no lock
        self._stop = threading.Event()
        # Looked at from time to time rather than woken: arming costs nothing on the hot path, a thread hand-off costs 12 µs.
        self._thread = threading.Thread(target=self._watch, args=(min(1.0, seconds_max / 4),), name="kafka-watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def over(self, what: str) -> Iterator[None]:
        """Watch the body of a with statement."""
        self._call = (what, time.monotonic())
        try:
            yield
        finally:
            self._call = None

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _watch(self, period_s: float) -> None:
        while not self._stop.wait(period_s):
            call = self._call
            if call is not None and time.monotonic() - call[1] > self._seconds_max:
                self._call = None
                self._on_stall(call[0], time.monotonic() - call[1])
