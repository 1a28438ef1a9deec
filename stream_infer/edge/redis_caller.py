"""edge.redis_caller: look-ups in Redis as calls of the core. flow.calling → *redis_caller* → redis_lookup.

Each stage has a thread of its own. A chunk waits for Redis until the stage's timeout, counted from its asking, and then goes on with the
defaults whatever keeps the thread: a name that does not resolve, a server that sends a byte a second. What the thread brings
after that only fills the memory of the stage.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from threading import Thread

from stream_infer.edge.redis_lookup import RedisLookup
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.online_settings import RedisLookupSettings

Came = tuple[int, CallDone | BaseException]


class RedisCaller:
    """A Caller for look-up stages. strict: as of RedisLookup; then nothing is ever overdue. close() ends the threads."""

    def __init__(self, settings: Mapping[str, RedisLookupSettings], *, strict: bool = False) -> None:
        self.lookups = {name: RedisLookup(name, one, strict=strict) for name, one in settings.items()}
        self._strict = strict
        self._asked: dict[str, SimpleQueue[Call | None]] = {name: SimpleQueue() for name in settings}
        self._came: SimpleQueue[Came] = SimpleQueue()
        self._open: dict[int, tuple[float, Call]] = {}  # by job: until when, in the order of asking
        self._threads = [Thread(target=self._work, args=(name,), name=f"redis {name}", daemon=True) for name in settings]
        for thread in self._threads:
            thread.start()

    def submit(self, command: Call) -> None:
        """Start a look-up."""
        timeout_s = self.lookups[command.stage].settings.redis.timeout_ms / 1000
        self._open[command.job] = (time.monotonic() + timeout_s, command)
        self._asked[command.stage].put(command)

    def finished(self, wait_ms: int) -> list[CallDone]:
        """Look-ups that ended, and those that are overdue."""
        found: list[CallDone] = []
        until = time.monotonic() + wait_ms / 1000
        while self._open:
            try:
                job, came = self._came.get(timeout=self._patience(until) if not found else 0)
            except Empty:
                break
            if isinstance(came, BaseException):
                raise came
            if self._open.pop(job, None) is not None:
                found.append(came)
        return sorted([*found, *self._overdue()], key=lambda done: done.job)

    def close(self) -> None:
        """End the threads; what they still ask is dropped."""
        for queue in self._asked.values():
            queue.put(None)
        for thread in self._threads:
            thread.join(1.0)

    def _patience(self, until: float) -> float:
        first = until if self._strict else min(due for due, _ in self._open.values())
        return max(min(first, until) - time.monotonic(), 0.0)

    def _overdue(self) -> list[CallDone]:
        if self._strict:
            return []
        now = time.monotonic()
        late = [command for due, command in self._open.values() if due <= now]
        for command in late:
            del self._open[command.job]
            self.lookups[command.stage].stats.overdue += command.count
        return [CallDone(command.job, self.lookups[command.stage].defaults(command.count), {}) for command in late]

    def _work(self, name: str) -> None:
        """The thread of a stage. A call that was given up while it waited here is not asked any more."""
        lookup = self.lookups[name]
        while (command := self._asked[name].get()) is not None:
            if command.job not in self._open:
                continue
            try:
                self._came.put((command.job, CallDone(command.job, lookup.answer(command.columns, command.count), {})))
            except BaseException as error:  # noqa: BLE001 — told to whoever waits for the answer, where it can be seen
                self._came.put((command.job, error))
        lookup.close()
