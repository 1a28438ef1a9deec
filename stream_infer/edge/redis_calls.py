"""edge.redis_calls: look-ups in Redis as calls of the core. edge.calls → *redis_calls* → redis_lookup.

Each stage has two threads. One asks Redis; the other keeps time: a chunk waits until the stage's timeout, counted from its asking, and
then goes on with the defaults, whatever keeps the first: a name that does not resolve, a server that sends a byte a second. What Redis
says after that only fills the memory of the stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

from stream_infer.edge.breaker import CLOSED, OPEN
from stream_infer.edge.calls import Done, Tally
from stream_infer.edge.redis_lookup import DEFAULTED, RedisLookup
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.online_settings import RedisLookupSettings

Told = Callable[[Done | BaseException], None]
_Asked = tuple[Call, Told]
_Came = tuple[int, Done | BaseException]


class RedisCalls:
    """Calls of one look-up stage. strict: as of RedisLookup; then nothing is ever overdue. Nothing starts before the first call."""

    def __init__(self, name: str, settings: RedisLookupSettings, *, strict: bool = False) -> None:
        self.lookup = RedisLookup(name, settings, strict=strict)
        self._timeout_s = None if strict else settings.redis.timeout_ms / 1000
        self._events: SimpleQueue[_Asked | _Came | None] = SimpleQueue()
        self._todo: SimpleQueue[Call | None] = SimpleQueue()
        self._open: dict[int, tuple[float, Call, Told]] = {}  # by job: until when, in the order of asking
        self._threads: list[Thread] = []

    def begin(self, call: Call, done: Told) -> None:
        """Start a look-up; done is called once, from another thread."""
        if not self._threads:
            self._threads = [Thread(target=work, name=f"redis {self.lookup.name}", daemon=True) for work in (self._serve, self._ask)]
            for thread in self._threads:
                thread.start()
        self._events.put((call, done))

    def breaker(self) -> str:
        """OPEN or CLOSED."""
        return OPEN if self.lookup.stats.is_open else CLOSED

    def tell(self, put: Callable[..., None]) -> None:
        """Say in metrics what became of the rows. put: of Telemetry."""
        stats, name = self.lookup.stats, self.lookup.name
        for outcome, count in (*list(stats.rows.items()), ("overdue", stats.overdue)):
            put("lookup_rows_total", count, name, outcome)
        for outcome, count in list(stats.trips.items()):
            put("lookup_trips_total", count, name, outcome)

    def close(self) -> None:
        """End the threads; what they still ask is dropped."""
        self._events.put(None)
        self._todo.put(None)
        for thread in self._threads:
            thread.join(1.0)

    def _serve(self) -> None:
        """The thread that keeps time."""
        while True:
            try:
                event = self._events.get(timeout=self._patience_s())
            except Empty:
                self._give_up()
                continue
            if event is None:
                return
            first, second = event
            if isinstance(first, Call):
                assert callable(second)
                due = time.monotonic() + (self._timeout_s or 0.0)
                self._open[first.job] = (due, first, second)
                self._todo.put(first)
            elif first in self._open:
                assert not callable(second)
                self._open.pop(first)[2](second)

    def _patience_s(self) -> float | None:
        if self._timeout_s is None or not self._open:
            return None
        return max(next(iter(self._open.values()))[0] - time.monotonic(), 0.0)

    def _give_up(self) -> None:
        """Calls that are overdue go on with the defaults."""
        now = time.monotonic()
        for job, (due, call, done) in list(self._open.items()):
            if due <= now:
                del self._open[job]
                self.lookup.stats.overdue += call.count
                tally = Tally(calls=1, rows=call.count, failed=call.count, defaulted=call.count, timeouts=1)
                done((CallDone(job, self.lookup.defaults(call.count), {}), tally))

    def _answered(self, call: Call) -> Done:
        stats, began = self.lookup.stats, time.monotonic()
        before = stats.rows.get(DEFAULTED, 0), stats.trips.get("timeout", 0), stats.trips.get("spared", 0)
        done = CallDone(call.job, self.lookup.answer(call.columns, call.count), {})
        after = stats.rows.get(DEFAULTED, 0), stats.trips.get("timeout", 0), stats.trips.get("spared", 0)
        failed, timeouts, refused = (now - then for now, then in zip(after, before, strict=True))
        seconds = [time.monotonic() - began]
        return done, Tally(1, call.count, seconds, failed=failed, defaulted=failed, timeouts=timeouts, refused=refused)

    def _ask(self) -> None:
        """The thread that asks. A call that was given up while it waited here is not asked any more."""
        while (call := self._todo.get()) is not None:
            if call.job not in self._open:
                continue
            try:
                self._events.put((call.job, self._answered(call)))
            except BaseException as error:  # noqa: BLE001 — told to whoever waits for the answer, where it can be seen
                self._events.put((call.job, error))
        self.lookup.close()


def asked(name: str, settings: RedisLookupSettings) -> Callable[[Call], CallDone]:
    """Answers calls from Redis in the thread that asks; EnvironmentMissing where it does not answer."""
    lookup = RedisLookup(name, settings, strict=True)
    return lambda call: CallDone(call.job, lookup.answer(call.columns, call.count), {})
