"""sim.forwarding: models in the simulation: each pass ends when the world says so, in any order. commands → *forwarding* → notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream_infer.attribution import answer
from stream_infer.batching.sizing import NOTHING_WAITS
from stream_infer.errors import ModelError
from stream_infer.flow.commands import Forward, Install
from stream_infer.flow.notices import Ended, ForwardDone, ForwardFailed, Installed, InstallFailed, Pass
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel


class SimForwarder:
    """A Forwarder whose answers come one by one. draw(n): a whole number below n, which of the open passes ends next.

    held: while True, nothing ends (a model that takes long). stalled: models whose passes do not end. seconds: what the passes of a model
    are said to take, 0 where nothing is said. load: makes published versions, or
    raises; one or none of those asked for is there per call of finished().
    """

    def __init__(self, models: Mapping[str, Model], draw: Callable[[int], int], load: Callable[[Install], Model] | None = None) -> None:
        self._models, self._draw, self._load = models, draw, load
        self._published: dict[tuple[str, int], Model] = {}
        self._installs: list[Install] = []
        self._learned: dict[tuple[str, int], Model] = {}
        self._open: list[Forward] = []
        self._asked: dict[int, Model] = {}  # by job: the version that was there when it was asked
        self.held = False
        self.stalled: set[str] = set()
        self.seconds: dict[str, float] = {}

    def install(self, command: Install) -> None:
        """Load a learned version; begin with a published one."""
        if command.manifest is not None:
            for name in [n for n in self._published if n[0] == command.model and n[1] not in command.keep]:
                del self._published[name]
            self._installs.append(command)
            return
        self._learned[command.model, command.version] = LinearModel.from_bytes(command.payload)

    def submit(self, command: Forward) -> None:
        """Begin; it ends in some later finished(), by the version that was there now: what is under way when its task goes outlives it."""
        name = (command.model, command.version)
        self._asked[command.job] = self._models[command.model] if command.version == 0 else self._learned.get(name) or self._published[name]
        self._open.append(command)

    def finished(self, wait_ms: int) -> list[Ended]:
        """One pass at most, any of the open ones; with wait_ms all of them; now and then a version."""
        if self.held:
            return []
        told: list[Ended] = []
        if self._installs and self._draw(2) == 0:
            told.append(self._install(self._installs.pop(self._draw(len(self._installs)))))
        going = [command for command in self._open if command.model not in self.stalled]
        ended = [going.pop(self._draw(len(going))) for _ in range(len(going) if wait_ms else min(1, len(going)))]
        jobs = {command.job for command in ended}
        self._open = [command for command in self._open if command.job not in jobs]
        return told + [self._end(command) for command in ended]

    def _install(self, command: Install) -> Installed | InstallFailed:
        name = (command.model, command.version)
        if name not in self._published:
            if self._load is None:
                return InstallFailed(*name, "there are no artifacts here")
            try:
                self._published[name] = self._load(command)
            except ModelError as error:
                return InstallFailed(*name, " ".join(str(error).split()))
        return Installed(*name)

    def _end(self, command: Forward) -> ForwardDone | ForwardFailed:
        model = self._asked.pop(command.job)
        try:
            outputs = answer(model, command.matrix, command.explain)
            seconds = self.seconds.get(command.model, 0.0)
            passed = Pass(len(command.matrix), seconds, why=NOTHING_WAITS) if command.explain is None else None
            return ForwardDone(command.job, outputs, seconds, passed)
        except Exception as error:  # noqa: BLE001 — a model is the user's code; whatever it raises spoils its rows only
            return ForwardFailed(command.job, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
