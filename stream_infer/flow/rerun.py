"""flow.rerun: logs are worked through again, with nothing but reading. recorded, replaying → *rerun* → edge.replaying, edge.rebuilding.

Two orders. As recorded: the section that decides reads its inputs as they stand on the broker and cuts them where its tasks cut them, so
that answers repeat to the bit, whatever speed and restarts made of the order. By event time: all sections work as in a deterministic run,
rows between them stay in memory; that serves topologies that never ran.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from stream_infer.batching.sizing import NOTHING_WAITS
from stream_infer.errors import EnvironmentMissing, StreamInferError
from stream_infer.flow.channel import END, TOLD, Channel
from stream_infer.flow.commands import Call, Command, Forward, Install, Pause, Produce, Resume, Seek
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.flow import Flow, Mode
from stream_infer.flow.history import History
from stream_infer.flow.merge import Chunk
from stream_infer.flow.notices import CallDone, ForwardDone, ForwardFailed, Installed, InstallFailed, Pass, Read, TaskId, Tick
from stream_infer.flow.ports import Answerer
from stream_infer.flow.read_size import POLL_ROWS_MAX
from stream_infer.flow.recorded import Cuts, check_chain
from stream_infer.flow.recutting import Recut
from stream_infer.flow.replaying import Again, Fixed, Replaying
from stream_infer.flow.room import unknown_lag
from stream_infer.flow.task import Task
from stream_infer.flow.transport import Logs, Partition
from stream_infer.flow.versions import statics
from stream_infer.flow.work import Work
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.records import Fetched, Matrix
from stream_infer.topology.plan import DecideStep, LearnStep, Plan, SectionPlan

POLL_WAIT_MS = 20
IDLE_TURNS_MAX = 500  # without a record or a chunk, though a log has not come to its end: ten seconds of a broker that says nothing


def deciding_section(plan: Plan) -> tuple[SectionPlan, DecideStep]:
    """The section that answers rows. EnvironmentMissing for a topology that decides on nothing."""
    for section in plan.sections:
        for step in section.steps:
            if isinstance(step, DecideStep):
                return section, step
    raise EnvironmentMissing(f"topology {plan.name} decides on nothing", expected="a stage that answers rows")


@dataclass(frozen=True)
class Wanted:
    """What is to be worked through again. cuts: by partition, of the deciding section (None: by event time); those of others are left out.

    starts: where to begin to read, by event time only (absent: at the beginning); wants, tell, fixed: as Replaying has them. until_ms: by
    event time, nothing further is worked on once all tasks have come so far.
    """

    cuts: Mapping[int, Cuts] | None
    history: History | None
    wants: Callable[[Chunk, Flowing], bool]
    tell: Callable[[Replaying, Again], None]
    fixed: Fixed
    starts: Mapping[Partition, int]
    until_ms: int = END


class Rerun:
    """A plan over the logs of a broker. models: as loaded from their files; answerers: of stages that call the user's own functions;
    load: a published version to a model, or it raises.
    """

    def __init__(
        self,
        plan: Plan,
        logs: Logs,
        models: Mapping[str, Model],
        wanted: Wanted,
        answerers: Mapping[str, Answerer] | None = None,
        load: Callable[[Install], Model] | None = None,
    ) -> None:
        self._answerers, self._load = answerers or {}, load
        section, _ = deciding_section(plan)
        self._name, self._wanted, self._logs = section.name, wanted, logs
        if wanted.cuts is not None:
            plan = replace(plan, sections=(replace(section, inputs=tuple(i for i in section.inputs if i.stream not in TOLD)),))
        self._plan = plan
        self._models = dict(models)
        self._learned: dict[tuple[str, int], Model] = {}
        self._job = 0
        self._static = statics(plan.models, models)
        sources = [plan.streams[i.stream].topic for s in plan.sections for i in s.inputs if i.sources]
        # By event time the rows between sections are made anew, and kept here.
        self._between: dict[Partition, deque[Fetched]] = {}
        self._made = set(sources) if wanted.cuts is None else set()
        self._offsets: dict[Partition, int] = {}
        self._held: set[Partition] = set()
        works = [s for s in plan.sections if not any(isinstance(step, LearnStep) for step in s.steps)]
        inputs = {plan.streams[i.stream].topic: plan.streams[i.stream].partitions for s in works for i in s.inputs}
        read = [(topic, p) for topic, count in inputs.items() if topic not in self._made for p in range(count)]
        self._ends = logs.end_offsets(read)
        self._flow = Flow(plan, self._static, Mode(deterministic=True, ends=self._ends), self._work)
        self._tasks = [(s.name, p) for s in works for p in range(s.partitions) if wanted.cuts is None or p in wanted.cuts]

    def _work(self, section: SectionPlan, partition: int) -> Work:
        wanted = self._wanted
        cuts = wanted.cuts[partition] if wanted.cuts is not None else None
        return Replaying(
            self._plan,
            section,
            partition,
            self._static,
            self._next_job,
            cuts=cuts,
            history=wanted.history,
            fixed=wanted.fixed,
            wants=wanted.wants,
            tell=wanted.tell,
        )

    def _next_job(self) -> int:
        self._job += 1
        return self._job

    def run(self) -> int:
        """Work through everything; how many records of the logs were read."""
        for task in self._tasks:
            self._carry_out(self._flow.attach(self._task(task)))
        read = idle = 0
        while not self._through():
            batches = self._take_between()
            if self._flow.wants(POLL_ROWS_MAX, unknown_lag):
                batches += self._logs.poll(POLL_ROWS_MAX, 0 if self._flow.ready() or batches else POLL_WAIT_MS)
            for fetched in batches:
                read += len(fetched)
                self._carry_out(self._flow.handle(Read(fetched)))
            at_end = frozenset(p for p in self._ends if self._logs.at_end(p))
            commands = self._flow.handle(Tick(0, at_end))
            self._carry_out(commands)
            idle = 0 if batches or commands or self._flow.ready() else idle + 1
            if idle > (2 if len(at_end) == len(self._ends) else IDLE_TURNS_MAX) and not self._flow.finished():
                self._stuck()
        return read

    def _through(self) -> bool:
        until = self._wanted.until_ms
        if self._flow.finished() or until >= END:
            return self._flow.finished()
        tasks = self._flow.tasks.values()
        return self._wanted.cuts is None and all(not task.busy and task.merge.progress(0) >= until for task in tasks)

    def _stuck(self) -> None:
        missing = [f"{topic}[{number}]" for task in self._flow.tasks.values() if (place := task.limiting()) for topic, number in [place]]
        raise StreamInferError(
            f"the logs end before the recorded chunks do: more was expected of {', '.join(sorted(set(missing))) or 'the inputs'}\n"
            "    expected: the same topics, with every record that was there then"
        )

    def _task(self, task: TaskId) -> Task:
        made = self._flow.make_task(task)
        if self._wanted.cuts is not None:
            cuts, where = self._wanted.cuts[task[1]], f"{task[0]}[{task[1]}]"
            check_chain(cuts, where)
            made.merge = Recut(made.merge.channels, cuts, where)
            first = cuts[0].began.tolist() if len(cuts) else []
            made.start_at(dict(zip((c.place for c in made.merge.channels), map(self._first, made.merge.channels, first), strict=True)))
        elif self._wanted.starts:
            made.start_at({c.place: self._wanted.starts.get((c.topic, c.place.partition), 0) for c in made.merge.channels})
        return made

    def _first(self, channel: Channel, began: int) -> int:
        """Where a channel begins to be read: tables of newest rows always at the beginning."""
        return 0 if self._plan.streams[channel.stream].compacted else began

    # -- commands ----------------------------------------------------------------------------------------------------------

    def _carry_out(self, commands: list[Command]) -> None:
        todo = deque(commands)
        while todo:
            command = todo.popleft()
            if isinstance(command, Forward):
                todo += self._flow.handle(self._answer(command))
            elif isinstance(command, Install):
                todo += self._flow.handle(self._install(command))
            elif isinstance(command, Call):
                todo += self._flow.handle(self._call(command))
            elif isinstance(command, Produce):
                self._hand_on(command)
            elif isinstance(command, Seek):
                if command.partition[0] not in self._made:
                    self._logs.follow(command.partition, command.offset)
            elif isinstance(command, Pause | Resume):
                self._pace(command)

    def _pace(self, command: Pause | Resume) -> None:
        mine = [p for p in command.partitions if p[0] in self._made]
        self._held = self._held | set(mine) if isinstance(command, Pause) else self._held - set(mine)
        others = [p for p in command.partitions if p[0] not in self._made]
        (self._logs.pause if isinstance(command, Pause) else self._logs.resume)(others)

    def _install(self, command: Install) -> Installed | InstallFailed:
        """A learned version as it came, a published one from where its manifest says; by event time one that is gone never answers."""
        name = command.model, command.version
        if name in self._learned:
            return Installed(*name)
        if command.manifest is None:
            self._learned[name] = LinearModel.from_bytes(command.payload)
            return Installed(*name)
        if self._load is None:
            raise StreamInferError(f"model {name[0]} v{name[1]} was published, and nothing here can load it")
        try:
            self._learned[name] = self._load(command)
        except StreamInferError as error:
            if self._wanted.cuts is not None:
                raise
            return InstallFailed(*name, str(error))
        return Installed(*name)

    def model(self, name: str, version: int) -> Model:
        """A version of a model that was asked."""
        return self._models[name] if version == 0 else self._learned[name, version]

    def _answer(self, command: Forward) -> ForwardDone | ForwardFailed:
        model = self.model(command.model, command.version)
        at, rows = command.place or (0, len(command.matrix))
        try:
            outputs = model.forward(_as_it_was(command.matrix, at, rows))
        except Exception as error:  # noqa: BLE001 — a model is the user's code; whatever it raises spoils its rows only
            return ForwardFailed(command.job, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")
        if len(outputs) == rows:
            outputs = outputs[at : at + len(command.matrix)]
        return ForwardDone(command.job, outputs, 0.0, Pass(rows, 0.0, why=NOTHING_WAITS), command.place)

    def _call(self, command: Call) -> CallDone:
        found = self._answerers.get(command.stage)
        if found is None:
            raise StreamInferError(
                f"stage {command.stage} asks outside of the topology, and what it was told is not on record\n"
                "    expected: stages whose answers follow from the logs and the files of the topology"
            )
        return found(command)

    def _hand_on(self, command: Produce) -> None:
        """Rows for another section of ours; anything else is not written."""
        if command.topic not in self._made or command.partition is None:
            return
        place = (command.topic, command.partition)
        count = len(command.values)
        first = self._offsets.get(place, 0)
        self._offsets[place] = first + count
        offsets = np.arange(first, first + count)
        zeros = np.zeros(count, dtype=np.int64)
        self._between.setdefault(place, deque()).append(Fetched(*place, offsets, zeros, command.keys, command.values))

    def _take_between(self) -> list[Fetched]:
        free = [queue for place, queue in self._between.items() if queue and place not in self._held]
        return [queue.popleft() for queue in free]


def _as_it_was(matrix: Matrix, at: int, rows: int) -> Matrix:
    """The rows in their place of a pass; what stood around them is not known and means nothing to them."""
    if rows == len(matrix):
        return matrix
    whole = np.zeros((rows, matrix.shape[1]), dtype=matrix.dtype)
    whole[at : at + len(matrix)] = matrix
    return whole
