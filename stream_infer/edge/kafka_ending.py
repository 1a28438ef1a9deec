"""kafka ending: the end of a transaction on a thread of its own. transactions, deliveries → *kafka_ending* → kafka.

The client's calls wait for the broker without the interpreter lock, so the polling thread reads and computes meanwhile. One thread, one
end at a time: a producer may be used by any thread, but not for a new transaction while one ends.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from stream_infer.flow.transport import Outcome


class Ending:
    """At most one call under way."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        self._call: Future[Outcome] | None = None
        self._last: Callable[[Outcome], Outcome] | None = None

    @property
    def under_way(self) -> bool:
        """Whether an outcome is still to be taken."""
        return self._call is not None

    def begin(self, call: Callable[[], Outcome], last: Callable[[Outcome], Outcome] | None = None) -> None:
        """Run the call on the thread; last: what the thread that asks for the outcome does with it first."""
        assert self._call is None, "an end within an end"
        self._call, self._last = self._thread.submit(call), last

    def known(self, outcome: Outcome) -> None:
        """There is nothing to end."""
        assert self._call is None, "an end within an end"
        self._call, self._last = Future(), None
        self._call.set_result(outcome)

    def outcome(self, wait_ms: int) -> Outcome | None:
        """What came of it, once; None while it is under way. Raises what the call raised."""
        assert self._call is not None, "the end of nothing"
        if not wait([self._call], wait_ms / 1000).done:  # result() would time out in the very moment in which the call ends
            return None
        try:
            found = self._call.result()
        except BaseException:
            self._call = None
            raise
        self._call, last = None, self._last
        return found if last is None else last(found)

    def close(self, *, wait: bool) -> None:
        """End the thread once what is under way has ended. wait: return only then."""
        self._thread.shutdown(wait=wait)
