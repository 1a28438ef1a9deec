"""edge.model_processes: models that run in processes of their own: loaded there, asked from here. host → *model_processes* → lanes.

A version is ready when every process that serves its model has loaded it from the same bytes, checked it and run it once.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue

from stream_infer.edge.enduring import Raised
from stream_infer.edge.keepers import Keepers
from stream_infer.edge.lane_process import ProcessLane
from stream_infer.edge.lanes import PROCESS, Lane, ThreadLane, lanes_of
from stream_infer.edge.passes import Answer
from stream_infer.edge.shelf import Shelf
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.commands import Forward
from stream_infer.flow.notices import ForwardDone
from stream_infer.models.base import Model, Registry
from stream_infer.models.linear import LinearModel
from stream_infer.models.load import check_bytes, load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Floats, Matrix

LOOK_S = 1.0  # while somebody waits for one answer: is there still somebody to give it?


class RemoteModel:
    """A model in other processes. forward() waits for its answer; the core's rows go by Keepers.ask instead."""

    elsewhere = True

    def __init__(self, keepers: Keepers, entry: Shelf.Entry) -> None:
        assert entry.says is not None, "loaded first"
        self.columns, self.outputs, self.digest = entry.says.columns, entry.says.outputs, entry.says.digest
        self.mean = entry.says.mean
        self._keepers, self._name, self._version = keepers, entry.model, entry.version

    def forward(self, x: Matrix) -> Floats:
        """x: float32[n, columns] → float64[n, outputs]. Raised with the reason where it fails."""
        answers: SimpleQueue[Answer | BaseException] = SimpleQueue()
        self._keepers.ask(Forward(0, self._name, self._version, x), self, answers.put)
        while True:
            try:
                answer = answers.get(timeout=LOOK_S)
            except Empty:
                error = self._keepers.failed()
                if error is not None:
                    raise error from None
                continue
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer, ForwardDone):
                return answer.outputs
            raise Raised(answer.reason)


class ModelProcesses:
    """models: settings of all of a plan; admitted: modules of the user's model classes, for each process to import."""

    def __init__(self, models: Mapping[str, ModelSettings], admitted: Sequence[str] = ()) -> None:
        self._settings = dict(models)
        self._shelf = Shelf()
        self._lanes: list[ProcessLane] = []
        self._admitted = tuple(admitted)
        self.keepers = Keepers([])

    def start(self, artifacts: Mapping[str, bytes | None], registry: Registry) -> dict[str, Model]:
        """Version 0 of every model, from its artifact's bytes, in this process or in those that serve it. ModelError as load_model."""
        elsewhere = {name for name, settings in self._settings.items() if settings.workers.where == PROCESS}
        here = {name: load_model(self._settings[name], data, registry) for name, data in artifacts.items() if name not in elsewhere}
        for name in sorted(elsewhere):
            data = artifacts[name]
            if data is not None:
                check_bytes(self._settings[name], data)
            self._shelf.put(self._settings[name], 0, data)
        lanes: list[Lane] = []
        for lane in lanes_of({name: s for name, s in self._settings.items() if not isinstance(here.get(name), LinearModel)}):
            if lane.where == PROCESS:
                self._lanes.append(ProcessLane(lane, self._settings, self._shelf, self._admitted))
                lanes.append(self._lanes[-1])
            else:
                lanes.append(ThreadLane(lane))
        self.keepers = Keepers(lanes, {name: settings.workers.weight for name, settings in self._settings.items()})
        if elsewhere:
            try:
                self.keepers.start()
            except BaseException:
                self._shelf.close()
                raise
        there = {entry.model: RemoteModel(self.keepers, entry) for entry in self._shelf.of(elsewhere)}
        return {name: here[name] if name in here else there[name] for name in artifacts}

    def load(self, settings: ModelSettings, version: int, data: bytes | None) -> Model | None:
        """A published version, loaded and run once by every process that serves its model; None where the model runs in this process.

        Takes as long as that takes; passes go on meanwhile. When nothing refers to the model any more the processes let go of it.
        """
        if settings.workers.where != PROCESS:
            return None
        if data is not None:
            check_bytes(settings, data)
        entry = self._shelf.put(settings, version, data)
        try:
            for lane in self._lanes:
                if settings.name in lane.status.models:
                    lane.load(entry)
            if entry.says is None:
                raise EnvironmentMissing(f"model {settings.name} v{version}: none of its processes is there to load it")
        except BaseException:
            self._forget(entry)
            raise
        model = RemoteModel(self.keepers, entry)
        weakref.finalize(model, self._forget, entry).atexit = False
        return model

    def _forget(self, entry: Shelf.Entry) -> None:
        self._shelf.remove(entry)
        for lane in self._lanes:
            if entry.model in lane.status.models:
                lane.forget(entry)

    def bytes_used(self) -> int:
        """Memory of the artifacts, beside what the lanes share with their processes."""
        return self._shelf.bytes_used()

    def close(self) -> None:
        """End all lanes, give the memory back."""
        self.keepers.close()
        self._shelf.close()
