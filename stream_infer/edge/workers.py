"""edge.workers: runs models for the core. flow → *workers* → flow.

Linear models answer in the calling thread: they cost less than handing them over (12 µs a round trip between threads). Torch models have
one thread of their own; torch lets go of the interpreter lock while it computes, so the worker reads and encodes meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from threading import Thread

from stream_infer.decide.fitting import check_fitting
from stream_infer.edge.artifacts import read_artifact
from stream_infer.edge.installing import Installer
from stream_infer.edge.passes import Answer, PassQueue
from stream_infer.flow.commands import Forward, Install
from stream_infer.flow.notices import Ended, Installed, InstallFailed
from stream_infer.models.base import Model, Registry
from stream_infer.models.linear import LinearModel
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.topology.plan import Plan

VERSIONS_KEPT = 64  # of each learned model: tasks of one process may answer with different versions for a while


class InProcess:
    """A Forwarder within this process. models: as loaded from their files; installer: of published versions; close() ends its threads.

    What may go together goes in one pass, chosen when the model is free: until then whatever else is asked can still join.
    """

    def __init__(self, models: Mapping[str, Model], installer: Installer | None = None) -> None:
        self._models = dict(models)
        self._installer = installer
        self._installed: list[Installed | InstallFailed] = []
        self._learned: dict[str, OrderedDict[int, Model]] = {name: OrderedDict() for name in models}
        self._here = PassQueue()  # of the calling thread
        self._queue = PassQueue()  # of the thread
        self._thread: Thread | None = None
        self._asked: SimpleQueue[bool] = SimpleQueue()  # True for each forward, False ends the thread
        self._made: SimpleQueue[list[Answer] | BaseException] = SimpleQueue()
        self._open = 0  # forwards that the thread has not answered

    def install(self, command: Install) -> None:
        """Load a learned version; of more than VERSIONS_KEPT of a model, the one used longest ago goes. Published ones are begun with."""
        if command.manifest is not None:
            assert self._installer is not None, f"nothing can install model {command.model}"
            self._installed += self._installer.ask(command)
            return
        kept = self._learned[command.model]
        if command.version not in kept:
            kept[command.version] = LinearModel.from_bytes(command.payload, f"model {command.model} v{command.version}")
        kept.move_to_end(command.version)
        while len(kept) > VERSIONS_KEPT:
            kept.popitem(last=False)

    def submit(self, command: Forward) -> None:
        """Linear models answer within finished(), others in their thread as soon as it is free."""
        model = self._model(command)
        if isinstance(model, LinearModel):
            self._here.put(command, model)
        else:
            if self._thread is None:
                self._thread = Thread(target=self._work, name="models")
                self._thread.start()
            self._open += 1
            self._queue.put(command, model)
            self._asked.put(True)

    def _work(self) -> None:
        """One turn for each forward: a turn takes all that may go together, and those that find nothing left end at once."""
        while self._asked.get():
            try:
                answers = self._queue.run_next()
            except BaseException as error:  # noqa: BLE001 — told to whoever waits for the answer, where it can be seen
                self._made.put(error)
                return
            if answers:
                self._made.put(answers)

    def _model(self, command: Forward) -> Model:
        if command.version == 0:
            return self._models[command.model]
        if self._installer is not None and (published := self._installer.model(command.model, command.version)) is not None:
            return published
        kept = self._learned[command.model]
        assert command.version in kept, f"model {command.model} v{command.version} is asked but not installed; there are {list(kept)}"
        kept.move_to_end(command.version)
        return kept[command.version]

    def finished(self, wait_ms: int) -> list[Ended]:
        """What has come since the last call; waits only when nothing has."""
        told: list[Installed | InstallFailed] = []
        if self._installer is not None:
            told, self._installed = self._installed + self._installer.done(), []
        return [*told, *self._answered(0 if told else wait_ms)]

    def _answered(self, wait_ms: int) -> list[Answer]:
        ready: list[Answer] = []
        while made := self._here.run_next():
            ready += made
        while self._open:
            try:
                got = self._made.get(timeout=0 if ready else wait_ms / 1000)
            except Empty:
                break
            if isinstance(got, BaseException):
                raise got
            self._open -= len(got)
            ready += got
        # In the order of asking: answers that came together are taken in an order that can be repeated.
        return sorted(ready, key=lambda answer: answer.job)

    def close(self) -> None:
        """End the thread; what it still computes is dropped."""
        self._queue.clear()
        self._asked.put(False)
        if self._installer is not None:
            self._installer.close()


def load_models(plan: Plan, registry: Registry) -> dict[str, Model]:
    """All models of a plan from their files, checked, also against each other. ModelError names the model and the file."""
    models = {name: load_model(settings, artifact_of(settings, plan.base), registry) for name, settings in plan.models.items()}
    check_fitting(plan.models, plan.composed, models)
    return models


def artifact_of(settings: ModelSettings, base: str) -> bytes | None:
    """The bytes of a model's file, read once: what is checked is what is loaded. ModelError when it is missing or too large."""
    return None if settings.artifact is None else read_artifact(settings.artifact, base, settings.sha256)
