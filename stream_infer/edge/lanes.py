"""edge.lanes: who runs passes: threads of this process, and processes of their own. plan → *lanes* → workers.

A lane runs one pass at a time, of any model that it serves. Lanes of one model share its queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from stream_infer.edge.passes import Waiting
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Floats, Matrix

THREAD, PROCESS = "thread", "process"


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """One lane. models: whose passes it runs; device: on which, "" for the devices that the models name."""

    name: str
    where: str
    models: tuple[str, ...]
    device: str = ""


@dataclass(slots=True)
class LaneStatus:
    """What a lane has done. state: starting, waiting, working, restarting or ended; bytes_shared: of the memory that rows travel in."""

    name: str
    where: str
    models: tuple[str, ...]
    state: str = "starting"
    process: int = 0
    passes: int = 0
    rows: int = 0
    busy_s: float = 0.0
    restarts: int = 0
    bytes_shared: int = 0


class Lane(Protocol):
    """Runs passes, always from one and the same thread."""

    @property
    def status(self) -> LaneStatus:
        """As of now."""
        ...

    def start(self) -> None:
        """Be ready. ModelError, EnvironmentMissing where that cannot be."""

    def run(self, asked: Waiting, matrix: Matrix) -> Floats:
        """Rows of a forward's model and version → float64[n, outputs]. Raises what the model raises; Crashed."""
        ...

    def look(self) -> None:
        """Nothing is to do: is all well?"""

    def interrupt(self) -> None:
        """From another thread: whatever it does is not wanted any more."""

    def close(self) -> None:
        """End; nothing of it is left."""


class ThreadLane:
    """The thread that calls run(): torch lets go of the interpreter lock while it computes."""

    def __init__(self, settings: LaneSettings) -> None:
        self.status = LaneStatus(settings.name, THREAD, settings.models)

    def start(self) -> None:
        """Nothing is to be done."""

    def run(self, asked: Waiting, matrix: Matrix) -> Floats:
        """The model itself."""
        return asked.model.forward(matrix)

    def look(self) -> None:
        """Nothing can be wrong."""

    def interrupt(self) -> None:
        """A thread cannot be interrupted: its pass ends when it ends."""

    def close(self) -> None:
        """Nothing is to be done."""


def lanes_of(models: Mapping[str, ModelSettings]) -> list[LaneSettings]:
    """All lanes of these models, which do not run in the calling thread.

    Threads: one group for all models, as many as the model that wants most. Processes: a group for each device of a GPU, and for each
    pool, by default its own for each model. The n-th lane of a group serves the models of it that want n or more.
    """
    groups: dict[tuple[str, str, str], dict[str, int]] = {}
    for name, settings in models.items():
        workers = settings.workers
        for device in workers.devices or (settings.device,):
            on_gpu = device.startswith("cuda")
            pool = "models" if workers.where == THREAD else workers.pool or (device if on_gpu else name)
            group = (pool, workers.where, device if workers.where == PROCESS else "")
            groups.setdefault(group, {})[name] = workers.count
    lanes = []
    for (pool, where, device), counts in groups.items():
        for number in range(max(counts.values())):
            serves = tuple(name for name, count in counts.items() if count > number)
            stem = pool if pool == device or not device.startswith("cuda") else f"{pool}.{device}"
            lanes.append(LaneSettings(f"{stem}-{number}", where, serves, device))
    return lanes
