"""sim.calling: calls in the simulation: each comes back when the world says so, in any order. commands → *calling* → notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.flow.ports import Answerer


class SimCaller:
    """A Caller whose calls come back one by one. draw(n): a whole number below n, which of the open ones is next.

    answerers: what each stage does, by its name. held: while True, nothing comes back.
    """

    def __init__(self, answerers: Mapping[str, Answerer], draw: Callable[[int], int]) -> None:
        self._answerers, self._draw = answerers, draw
        self._open: list[Call] = []
        self.held = False

    def submit(self, command: Call) -> None:
        """Begin; it comes back in some later finished()."""
        self._open.append(command)

    def finished(self, wait_ms: int) -> list[CallDone]:
        """One call at most, any of the open ones; with wait_ms all of them."""
        if self.held or not self._open:
            return []
        count = len(self._open) if wait_ms else 1
        taken = [self._open.pop(self._draw(len(self._open))) for _ in range(count)]
        return [self._answerers[call.stage](call) for call in taken]
