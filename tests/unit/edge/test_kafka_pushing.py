from __future__ import annotations

from threading import Event

from stream_infer.edge.kafka_pushing import Pusher

LONG_S = 20.0


class Flushed:
    """Counts, and stays in a flush until it may go on."""

    def __init__(self) -> None:
        self.count = 0
        self.begun, self.go_on = Event(), Event()

    def flush(self) -> None:
        self.count += 1
        self.begun.set()
        assert self.go_on.wait(LONG_S)


def test_a_push_within_a_flush_makes_another_one() -> None:
    """What was queued after the flush began may have been missed by it."""
    flushed = Flushed()
    pusher = Pusher(flushed.flush)
    pusher.push()
    assert flushed.begun.wait(LONG_S)
    flushed.begun.clear()
    pusher.push()
    pusher.push()
    flushed.go_on.set()
    assert flushed.begun.wait(LONG_S)
    pusher.close()
    assert flushed.count == 2


def test_nothing_is_flushed_unasked_or_after_the_end() -> None:
    flushed = Flushed()
    flushed.go_on.set()
    pusher = Pusher(flushed.flush)
    pusher.close()
    pusher.push()
    assert flushed.count == 0
