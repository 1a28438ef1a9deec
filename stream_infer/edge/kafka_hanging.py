"""kafka hanging: a call of the client that may never return, on a thread that can be left behind. *kafka_hanging* → kafka_transactions.

A producer that loses its brokers while it sends offsets waits for the coordinator that left, and keeps no timeout (librdkafka #5511; seen
in one of five outages under load). Its process would have to end for that. Instead the thread is left behind, with the producer that it
holds: a new one with the same id fences it. It is a daemon, so it keeps no process from ending; if the call returns after all, both go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread

LOOK_S = 0.05
HANGS_S = 8.0  # more than the timeout of the call itself
CUT_OFF_S = 2.0  # after all brokers were lost, whether they came back or not


class LeftBehindError(Exception):
    """The call has not returned, and whatever it uses must not be used again."""


def or_left_behind(call: Callable[[], None], cut_off: Callable[[], bool]) -> None:
    """Run the call, and raise what it raises. LeftBehindError once it hangs. cut_off: whether all brokers were lost meanwhile."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 — whoever waits gets it
            done.set_exception(error)
        else:
            done.set_result(None)

    Thread(target=run, name="kafka-hanging", daemon=True).start()
    until = time.monotonic() + HANGS_S
    while not wait([done], LOOK_S).done:
        now = time.monotonic()
        if now > until:
            raise LeftBehindError
        if cut_off():
            until = min(until, now + CUT_OFF_S)  # of the first time: later ones are later
    done.result()
