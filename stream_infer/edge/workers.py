"""edge.workers: runs models for the core. flow → *workers* → flow.

Linear models answer in the calling thread: they cost less than handing them over (12 µs a round trip between threads). Others have
lanes: threads, for torch lets go of the interpreter lock while it computes and the worker reads and encodes meanwhile; or processes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue

from stream_infer.decide.fitting import check_fitting
from stream_infer.edge.artifacts import read_artifact
from stream_infer.edge.installing import Installer
from stream_infer.edge.keepers import Keepers
from stream_infer.edge.lanes import THREAD, LaneSettings, ThreadLane
from stream_infer.edge.model_processes import ModelProcesses
from stream_infer.edge.one_pass import nowhere, run_next
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
    """A Forwarder within this process. models: as loaded; keepers: of the lanes of all that are not linear, by default one thread;
    installer: of published versions; close() ends its threads.

    What may go together goes in one pass, chosen when a lane is free: until then whatever else is asked can still join.
    """

    def __init__(self, models: Mapping[str, Model], installer: Installer | None = None, keepers: Keepers | None = None) -> None:
        self._models = dict(models)
        self._installer = installer
        self._installed: list[Installed | InstallFailed] = []
        self._learned: dict[str, OrderedDict[int, Model]] = {name: OrderedDict() for name in models}
        others = tuple(name for name, model in models.items() if not isinstance(model, LinearModel))
        self.keepers = keepers or Keepers([ThreadLane(LaneSettings("models-0", THREAD, others))])
        self._here = PassQueue()  # of the calling thread
        self._made: SimpleQueue[Answer | BaseException] = SimpleQueue()
        self._open = 0  # forwards that the lanes have not answered

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
        """Linear models answer within finished(), others in a lane as soon as one is free."""
        model = self._model(command)
        if isinstance(model, LinearModel):
            self._here.put(command, model, nowhere)
        else:
            self._open += 1
            self.keepers.ask(command, model, self._made.put)

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
        while made := run_next(self._here, self.keepers.known):
            ready += made
        while self._open:
            try:
                got = self._made.get(timeout=0 if ready else wait_ms / 1000)
            except Empty:
                break
            if isinstance(got, BaseException):
                raise got
            self._open -= 1
            ready.append(got)
        # In the order of asking: answers that came together are taken in an order that can be repeated.
        return sorted(ready, key=lambda answer: answer.job)

    def close(self) -> None:
        """End the lanes; what they still compute is dropped."""
        self.keepers.close()
        if self._installer is not None:
            self._installer.close()


def load_models(plan: Plan, registry: Registry) -> dict[str, Model]:
    """All models of a plan from their files, in this process, checked, also against each other. ModelError names the model and the file."""
    models = {name: load_model(settings, artifact_of(settings, plan.base), registry) for name, settings in plan.models.items()}
    check_fitting(plan.models, plan.composed, models)
    return models


def start_models(plan: Plan, registry: Registry, admitted: Sequence[str]) -> tuple[dict[str, Model], ModelProcesses]:
    """All models of a plan, each where it shall run: here, or in processes of its own, which have loaded it by then. ModelError likewise.

    admitted: modules of the user's model classes, which those processes import too; to be closed when the work is over.
    """
    processes = ModelProcesses(plan.models, admitted)
    models = processes.start({name: artifact_of(settings, plan.base) for name, settings in plan.models.items()}, registry)
    try:
        check_fitting(plan.models, plan.composed, models)
    except BaseException:
        processes.close()
        raise
    return models, processes


def artifact_of(settings: ModelSettings, base: str) -> bytes | None:
    """The bytes of a model's file, read once: what is checked is what is loaded. ModelError when it is missing or too large."""
    return None if settings.artifact is None else read_artifact(settings.artifact, base, settings.sha256)
