"""sim.forwarding: models in the simulation: each pass ends when the world says so, in any order. commands → *forwarding* → notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream_infer.attribution import answer
from stream_infer.batching.sizing import NOTHING_WAITS
from stream_infer.flow.commands import Forward, Install
from stream_infer.flow.notices import ForwardDone, ForwardFailed, Pass
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel


class SimForwarder:
    """A Forwarder whose answers come one by one. draw(n): a whole number below n, which of the open passes ends next.

    held: while True, nothing ends (a model that takes long).
    """

    def __init__(self, models: Mapping[str, Model], draw: Callable[[int], int]) -> None:
        self._models, self._draw = models, draw
        self._learned: dict[tuple[str, int], Model] = {}
        self._open: list[Forward] = []
        self.held = False

    def install(self, command: Install) -> None:
        """Load a learned version."""
        self._learned[command.model, command.version] = LinearModel.from_bytes(command.payload)

    def submit(self, command: Forward) -> None:
        """Begin; it ends in some later finished()."""
        self._open.append(command)

    def finished(self, wait_ms: int) -> list[ForwardDone | ForwardFailed]:
        """One pass at most, any of the open ones; with wait_ms all of them."""
        if self.held or not self._open:
            return []
        count = len(self._open) if wait_ms else 1
        return [self._end(self._open.pop(self._draw(len(self._open)))) for _ in range(count)]

    def _end(self, command: Forward) -> ForwardDone | ForwardFailed:
        model = self._models[command.model] if command.version == 0 else self._learned[command.model, command.version]
        try:
            outputs = answer(model, command.matrix, command.explain)
            passed = Pass(len(command.matrix), 0.0, why=NOTHING_WAITS) if command.explain is None else None
            return ForwardDone(command.job, outputs, 0.0, passed)
        except Exception as error:  # noqa: BLE001 — a model is the user's code; whatever it raises spoils its rows only
            return ForwardFailed(command.job, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
