"""edge.costing: what each part of a topology's work costs on this machine, by the number of rows at once. plan → *costing* → planning.

The same Flow, codecs and models as in production work on made-up rows; only the client of the broker is left out. Its cost is asked of
a broker where one is named, and otherwise what it took on other days.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from stream_infer.attribution import answer
from stream_infer.batching.curve import CostCurve
from stream_infer.edge.beside import SIZES, Beside, Servers, between, lanes, workers_of_functions
from stream_infer.edge.made_up import MadeUp
from stream_infer.flow.commands import Call, Command, Forward, Produce
from stream_infer.flow.flow import Flow, Mode
from stream_infer.flow.notices import Committed, CommitWanted, ForwardDone, ForwardFailed, Notice, Read, Tick
from stream_infer.flow.ports import Answerer
from stream_infer.flow.transport import Partition
from stream_infer.flow.versions import statics
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.topology.plan import FeedbackStep, Plan, SectionPlan

RUNS = 5  # of each size; the median counts
KEYS = 1000  # different ones per task
# Before each turn, for a loop waits for records, and a core that was asleep has lost its caches and its pace: a turn of one row 0.55 ms
# where it follows another at once, 1.2 after so long (0.75 with 8 MB written in between).
REST_S = 5e-3
PARTS = ("read", "decode", "features", "model", "encode", "produce", "commit")


@dataclass(frozen=True, slots=True)
class ClientCosts:
    """What the client of the broker takes, its own threads included: seconds of processor time for a poll, and for a record each way.

    By the clock: fetch_s, from a producer's send to our poll; commit_s, of a transaction that wrote to one partition, and for each further
    one commit_partition_s. Measured on two cores shared with the broker, but poll and produce, which are estimates. A broker that is asked
    replaces all but poll.
    """

    poll_s: float = 30e-6
    read_s: float = 0.7e-6
    produce_s: float = 1.5e-6
    fetch_s: float = 1e-3
    commit_s: float = 2e-3
    commit_partition_s: float = 0.2e-3


@dataclass(frozen=True, slots=True)
class Costs:
    """parts: seconds by rows at once, of one task of each section together; beside: what does not work in the loop.

    records: sent per row, changes of state included. bytes_in: per row.
    """

    parts: dict[str, CostCurve]
    beside: tuple[Beside, ...]
    records: float
    bytes_in: float

    def seconds(self, rows: float, parts: Iterable[str] = PARTS) -> float:
        """What `rows` rows at once cost one task; between whole numbers too."""
        return sum(between(self.parts[part], rows) for part in parts)


def measure(
    plan: Plan,
    models: Mapping[str, Model],
    client: ClientCosts,
    calls: Mapping[str, Answerer] | None = None,
    *,
    keys: int = KEYS,
    rate: float = 10_000.0,
) -> Costs:
    """Costs of a plan's answering sections, one after the other: a row passes all of them. models: loaded; calls: by stage."""
    of_models, of_stages = lanes(plan, models), workers_of_functions(plan)
    servers = {one.name: one for one in (*of_models.values(), *of_stages.values())}
    curves: dict[str, list[CostCurve]] = {part: [] for part in (*PARTS, *servers)}
    records = bytes_in = 0.0
    for section in answering(plan):
        bench = _Bench(plan, section, models, client, calls or {}, of_models | of_stages, keys, rate)
        samples: dict[str, list[tuple[int, float]]] = {part: [] for part in curves}
        for rows in SIZES:
            for _ in range(RUNS):
                for part, seconds in bench.turn(rows).items():
                    samples[part].append((rows, seconds))
        for part, found in samples.items():
            curves[part].append(CostCurve.fit(found))
        records += bench.sent / bench.rows
        bytes_in += bench.bytes / bench.rows
    parts = {part: _sum(found) for part, found in curves.items()}
    beside = tuple(Beside(one, parts.pop(name)) for name, one in servers.items())
    return Costs(parts, beside, records, bytes_in)


def answering(plan: Plan) -> list[SectionPlan]:
    """The sections that a row passes on its way to an answer."""
    return [s for s in plan.sections if not any(i.stream.endswith(".joined") for i in s.inputs)]


def _sum(curves: list[CostCurve]) -> CostCurve:
    return CostCurve(SIZES, tuple(sum(curve.estimate(rows) for curve in curves) for rows in SIZES))


class _Bench:
    """One task of one section, by hand."""

    def __init__(
        self,
        plan: Plan,
        section: SectionPlan,
        models: Mapping[str, Model],
        client: ClientCosts,
        calls: Mapping[str, Answerer],
        beside: Mapping[str, Servers],
        keys: int,
        rate: float,
    ) -> None:
        self._calls = calls
        self._beside = {name: one.name for name, one in beside.items()}  # model or stage → what its time is counted as
        self._models, self._client, self._stream = models, client, plan.streams[section.flowing]
        alone = replace(plan, sections=(section,))
        self._flow = Flow(alone, statics(plan.models, dict(models)), Mode())
        task = self._flow.make_task((section.name, 0))
        self._flow.attach(task)
        self._ends: frozenset[Partition] = frozenset(task.inputs())
        self._flowing = MadeUp(plan, self._stream, keys=keys, rate=rate)
        self._now = 0
        self.rows = self.sent = self.bytes = 0
        feedback = {step.feedback for step in section.steps if isinstance(step, FeedbackStep)}
        for other in section.inputs:  # state to look up; feedback would find no answer that it belongs to
            stream = plan.streams[other.stream]
            if other.stream not in (section.flowing, *feedback) and stream.schema and not stream.topic.startswith(f"{plan.name}."):
                self._flow.handle(Read(MadeUp(plan, stream, keys=keys, rate=rate).batch(2 * keys)))
                self._settle(self._flow.handle(self._tick()))

    def _tick(self) -> Tick:
        self._now += 1
        return Tick(self._now, self._ends)

    def turn(self, rows: int) -> dict[str, float]:
        """Seconds of each part for `rows` rows that are read, answered and committed."""
        batch = self._flowing.batch(rows)
        time.sleep(REST_S)
        took = dict.fromkeys((*PARTS, *self._beside.values()), 0.0)
        _, took["decode"] = self._timed(Read(batch))
        commands, took["features"] = self._timed(self._tick())
        sent = 0
        while commands:
            forwards = [c for c in commands if isinstance(c, Forward)]
            calls = [c for c in commands if isinstance(c, Call)]
            sent += sum(len(c.values) for c in commands if isinstance(c, Produce))
            commands = []
            for call in calls:
                began = time.perf_counter()
                came = self._calls[call.stage](call)
                took[self._beside.get(call.stage, "features")] += time.perf_counter() - began
                made, seconds = self._timed(came)
                took["features"] += seconds
                commands += made
            for forward in forwards:
                model = self._models[forward.model]
                clock = time.thread_time if isinstance(model, LinearModel) else time.perf_counter
                began = clock()
                notice = _forward(model, forward)
                seconds = clock() - began
                took[self._beside.get(forward.model, "model")] += seconds
                made, seconds = self._timed(notice)
                took["encode"] += seconds
                commands += made
        made, took["commit"] = self._timed(CommitWanted())
        self._flow.handle(Committed())
        sent += sum(len(c.values) for c in made if isinstance(c, Produce))
        self.rows, self.sent, self.bytes = self.rows + rows, self.sent + sent, self.bytes + int(batch.values.size.sum())
        return took | {"read": self._client.poll_s + rows * self._client.read_s, "produce": sent * self._client.produce_s}

    def _timed(self, notice: Notice) -> tuple[list[Command], float]:
        began = time.thread_time()
        commands = self._flow.handle(notice)
        return commands, time.thread_time() - began

    def _settle(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Forward):
                self._settle(self._flow.handle(_forward(self._models[command.model], command)))
            elif isinstance(command, Call):
                self._settle(self._flow.handle(self._calls[command.stage](command)))


def _forward(model: Model, command: Forward) -> ForwardDone | ForwardFailed:
    try:
        return ForwardDone(command.job, answer(model, command.matrix, command.explain), 0.0)
    except Exception as error:  # noqa: BLE001 — a model is the user's code, and made-up rows are not what it was made for
        return ForwardFailed(command.job, str(error))
