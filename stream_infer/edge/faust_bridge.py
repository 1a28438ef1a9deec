"""edge.faust_bridge: models and functions of a topology for the agents of a Faust app, or a worker beside them. users → *faust_bridge*.

The only module that imports Faust (`pip install stream-infer[faust]`). Nothing of a topology's own path goes through it. What Faust can
and cannot promise is in docs/faust.md.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread

import faust
from mode import Service

from stream_infer.edge.call_columns import column_of
from stream_infer.edge.call_functions import here
from stream_infer.edge.call_outside import Loop, Outside
from stream_infer.edge.call_setup import calling_steps, calls_of, function_of, function_settings
from stream_infer.edge.host import Host, RunSettings
from stream_infer.edge.measuring import measured
from stream_infer.edge.predicted import Predicted
from stream_infer.edge.predicting import Predictor
from stream_infer.edge.progress import Progress
from stream_infer.edge.registry import functions_of, model_classes
from stream_infer.edge.workers import load_models
from stream_infer.errors import ModelError, StreamInferError
from stream_infer.flow.commands import Call
from stream_infer.flow.notices import CallDone
from stream_infer.functions import Rejected
from stream_infer.records import Column
from stream_infer.topology.build import load
from stream_infer.topology.plan import CallStep, Plan


def plan_of(path: str | Path) -> Plan:
    """The plan of a topology file; TopologyError with all problems."""
    file = Path(path)

    def read(name: str) -> str | None:
        found = file.parent / name
        return found.read_text("utf-8", errors="replace") if found.is_file() else None

    return load(file.read_text("utf-8-sig"), str(file), read, str(file.parent))


class Bridge(Service):
    """Models and functions of a topology, started and stopped with an app. measure: find good sizes of passes at the start (a second)."""

    def __init__(self, plan: Plan, *, admit: Sequence[str] = (), measure: bool = True) -> None:
        super().__init__()
        self.plan, self._admit, self._measure = plan, tuple(admit), measure
        self._predictor: Predictor | None = None
        self._ready = asyncio.Event()
        functions = functions_of(self._admit)
        self._steps = {step.name: step for step in calling_steps(plan)}
        self._functions = {name: function_of(step, functions) for name, step in self._steps.items()}
        self._outside = {
            name: Outside(step, function_settings(step), self._functions[name], Loop())
            for name, step in self._steps.items()
            if function_settings(step).outside is not None
        }

    async def on_start(self) -> None:
        """Load the models; predict() waits for it."""
        self._predictor = await asyncio.get_running_loop().run_in_executor(None, self._loaded)
        self._ready.set()

    def _loaded(self) -> Predictor:
        models = load_models(self.plan, model_classes(self._admit))
        plan = measured(self.plan, models, time.perf_counter) if self._measure else self.plan
        return Predictor(plan, models)

    async def on_stop(self) -> None:
        """End the models' thread."""
        if self._predictor is not None:
            self._predictor.close()

    @property
    def passes(self) -> list[int]:
        """Rows of the last passes, for those who want to see that agents share them."""
        return [] if self._predictor is None else list(self._predictor.passes)

    async def predict(self, model: str, row: Mapping[str, object]) -> Predicted:
        """The answer of a model of the topology to one row; rows that agents ask at once share a pass. ModelError as Predictor.predict."""
        await self._ready.wait()
        assert self._predictor is not None
        return await self._predictor.predict(model, row)

    async def apply(self, stage: str, row: Mapping[str, object]) -> dict[str, object]:
        """What the function of a stage gives for one row, after the stage's policy for failures. Rejected: the row may not go on."""
        step = self._steps.get(stage)
        if step is None:
            raise StreamInferError(f"stage {stage}: there is no such function stage\n    expected: one of {', '.join(sorted(self._steps))}")
        call = Call(0, stage, _columns(row, step), 1)
        came = await self._called(step, call)
        if came.faults:
            raise Rejected(came.faults[0])
        return {name: column.to_list()[0] for name, column in came.columns.items()}

    async def _called(self, step: CallStep, call: Call) -> CallDone:
        outside = self._outside.get(step.name)
        if outside is not None:
            return (await outside.answered(call))[0]
        run = here(step, function_settings(step), self._functions[step.name])
        return (await asyncio.get_running_loop().run_in_executor(None, run, call))[0]


def _columns(row: Mapping[str, object], step: CallStep) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name in step.reads:
        if name not in row:
            raise StreamInferError(f"stage {step.name}: the row has no field `{name}`")
        value = row[name]
        kind = "string" if isinstance(value, str) else "array" if isinstance(value, list | tuple) else "double"
        columns[name], faults = column_of([value], name, kind)
        if faults:
            raise StreamInferError(f"stage {step.name}: {faults[0].replace('the function gave', 'got')}")
    return columns


class HostedWorker(Service):
    """A worker of a topology in a thread of its own, with the lifecycle of a Faust app: it starts with the app and drains when that stops.

    It has its own consumer, group and transactions: what Faust promises of its agents and what the topology promises do not touch.
    """

    def __init__(self, plan: Plan, settings: RunSettings, *, admit: Sequence[str] = (), wrap: Callable[[Host], None] | None = None) -> None:
        super().__init__()
        self._plan, self._settings, self._admit, self._wrap = plan, settings, tuple(admit), wrap
        self._thread: Thread | None = None
        self.host: Host | None = None

    async def on_start(self) -> None:
        """Begin to work; a worker that fails crashes the app."""
        loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._run, args=(loop,), name="stream-infer")
        self._thread.start()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            calls = calls_of(self._plan, functions_of(self._admit), self._admit)
            host = Host(self._plan, self._settings, model_classes(self._admit), Progress(io.StringIO()), calls)
            self.host = host
            if self._stopping():
                host.stop()
            host.run()
        except BaseException as error:  # noqa: BLE001 — told to the app, which ends with it
            asyncio.run_coroutine_threadsafe(self.crash(error), loop)

    def _stopping(self) -> bool:
        return bool(self.should_stop)

    async def on_stop(self) -> None:
        """Finish what is in flight, commit, leave."""
        if self.host is not None:
            self.host.stop()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)


def attach(
    app: faust.App,
    topology: str | Path,
    *,
    admit: Sequence[str] = (),
    worker: RunSettings | None = None,
    measure: bool = True,
) -> Bridge:
    """A bridge that starts and stops with a Faust app; with `worker` a worker of the topology does as well.

    admit: modules whose models and functions the topology may name, as `--admit`. ModelError: a model cannot be loaded.
    """
    plan = plan_of(topology)
    bridge = Bridge(plan, admit=admit, measure=measure)
    app.add_dependency(bridge)
    if worker is not None:
        app.add_dependency(HostedWorker(plan, worker, admit=admit))
    return bridge


__all__ = ["Bridge", "HostedWorker", "ModelError", "Predicted", "Rejected", "attach", "plan_of"]
