"""flow.flow: the one mutable core. Notices in, commands out; no I/O, no clock, no chance. task → *flow* → edge.host | sim.world.

`Flow.handle(notice)` is the only way in. The same notices give the same commands, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from stream_infer.batching import Sizing
from stream_infer.batching.sizing import DRAIN, NOTHING_WAITS
from stream_infer.decide.graph import Graph
from stream_infer.flow.answering import Answering
from stream_infer.flow.channel import END
from stream_infer.flow.commands import Call, Command, Commit, Forward, Install, Seek, Stop
from stream_infer.flow.intake import Intakes
from stream_infer.flow.learning import Learning
from stream_infer.flow.notices import (
    CallDone,
    Committed,
    CommitWanted,
    ForwardDone,
    ForwardFailed,
    Installed,
    InstallFailed,
    Notice,
    Overdue,
    Pass,
    Read,
    TaskId,
    TaskRevoked,
    Tick,
)
from stream_infer.flow.read_size import ROOM_ROWS_MIN
from stream_infer.flow.room import Room
from stream_infer.flow.stats import Stats
from stream_infer.flow.task import Task
from stream_infer.flow.transport import Partition
from stream_infer.flow.versions import Static
from stream_infer.flow.work import Work
from stream_infer.topology.plan import DecideStep, LearnStep, Plan, SectionPlan, ShadowStep

CHUNK_ROWS_MAX = 8192  # of all streams of a task. By 4,096, a backlog costs a tenth more (whole path, by turns: 5.9 against 5.4 µs a row)
CHUNK_MS_MIN = 50  # a chunk whose models take longer is cut for the sake of commits: its own price of 1 to 2 ms is small beside that


@dataclass(frozen=True)
class Mode:
    """How this run cuts and waits. ends: where the users' logs end, for a deterministic run that stops there.

    room_rows_min: so many rows of a partition may wait at a task even if the topology's limit, shared out, is less.
    """

    deterministic: bool = False
    ends: dict[Partition, int] | None = None
    chunk_rows_max: int = CHUNK_ROWS_MAX
    room_rows_min: int = ROOM_ROWS_MIN


class Flow:
    """All tasks of one process. static: the models as their files say. work: what is done with chunks, if not what the plan says."""

    def __init__(self, plan: Plan, static: dict[str, Static], mode: Mode, work: Callable[[SectionPlan, int], Work] | None = None) -> None:
        self.plan, self._static, self._mode = plan, static, mode
        self._work = work or self._planned_work
        self.stats = Stats()
        self.sizing = Sizing({name: model.batch for name, model in plan.models.items()}, live=not mode.deterministic)
        self.tasks: dict[TaskId, Task] = {}
        # A run that stops where the logs end is named by how much of the users' logs there was: the later has the higher number.
        users = {p: end for p, end in (mode.ends or {}).items() if p[0] != plan.changes_topic}
        self._end = END + sum(users.values()) if mode.deterministic else None
        changes_end = None if mode.ends is None else mode.ends.get((plan.changes_topic, 0))
        self._intakes = Intakes(plan, at_once=not mode.deterministic, changes_end=changes_end)
        self._jobs: dict[int, tuple[TaskId, str]] = {}  # who asked, and which model or stage
        self._job = 0
        self._now = 0
        self._readers: dict[Partition, list[Task]] = {}
        self.room = Room(plan.rows_in_flight_max, mode.room_rows_min, self.tasks, self._readers)
        self.draining = False  # a commit is due: no chunk begins until Committed
        deciding = [(section.name, step) for section in plan.sections for step in section.steps if isinstance(step, DecideStep)]
        self._deadlines = {name: step for name, step in deciding if step.deadline is not None}
        self._graphs = {name: Graph.of(step.arms + step.shadows, plan.models, plan.composed) for name, step in deciding}
        self._asked = {name: _asked(step, self._graphs[name]) for name, step in deciding}
        self._waited = {name: graph.waited() for name, graph in self._graphs.items() if graph.timed}
        shadows = [(section.name, step) for section in plan.sections for step in section.steps if isinstance(step, ShadowStep)]
        self._timed = {name for name, step in shadows if Graph.of((step.model,), plan.models, plan.composed).timed} | self._waited.keys()
        learn = [s for section in plan.sections for s in section.steps if isinstance(s, LearnStep)]
        self._every_ms = learn[0].every_ms if learn else None

    # -- the one way in --------------------------------------------------------------------------------------------

    def handle(self, notice: Notice) -> list[Command]:
        """What happened leads to what is to be done."""
        if isinstance(notice, Read):
            return self._read(notice)
        if isinstance(notice, Tick):
            return self._tick(notice)
        if isinstance(notice, ForwardDone | ForwardFailed):
            return self._answered(notice)
        if isinstance(notice, CallDone):
            return self._called(notice)
        if isinstance(notice, Installed | InstallFailed):
            return self._installed(notice)
        if isinstance(notice, TaskRevoked):
            return self._revoked(notice)
        if isinstance(notice, CommitWanted):
            return self._commit(notice)
        if isinstance(notice, Overdue):
            return self._overdue(notice.now)
        assert isinstance(notice, Committed)
        self.draining = False
        return []

    # -- tasks -----------------------------------------------------------------------------------------------------

    def make_task(self, task: TaskId) -> Task:
        """A task with empty state."""
        section = next(s for s in self.plan.sections if s.name == task[0])
        made = Task(
            self.plan,
            section,
            task[1],
            self._work(section, task[1]),
            end=self._end,
            rows_max=self._mode.chunk_rows_max,
            every_ms=self._every_ms,
        )
        if isinstance(made.work, Answering):
            made.work.channels([channel.stream for channel in made.merge.channels], made.stands_at)
        return made

    def _planned_work(self, section: SectionPlan, partition: int) -> Work:
        if any(isinstance(step, LearnStep) for step in section.steps):
            return Learning(self.plan, section, self._static, self.stats)
        deterministic = self._mode.deterministic
        return Answering(self.plan, section, partition, self._static, self._next_job, self.stats, self.sizing, deterministic=deterministic)

    def _next_job(self) -> int:
        self._job += 1
        return self._job

    def attach(self, task: Task) -> list[Command]:
        """A task is ours from now on. Its state is that of its last checkpoint; it reads on from there."""
        self.tasks[task.id] = task
        commands = task.rewind()
        # A followed partition that other tasks read already goes back if this task needs it to; those skip what they have seen.
        seeks = [c for c in commands if isinstance(c, Seek) and c.offset < self._read_to(c.partition)]
        for partition in task.inputs():
            self._readers.setdefault(partition, []).append(task)
        rest = self._numbered(task, [c for c in commands if not isinstance(c, Seek)])
        return [*rest, *seeks, *self.room.resume({seek.partition for seek in seeks})]

    def _read_to(self, partition: Partition) -> int:
        """How far the readers of a partition have come; past everything when there are none."""
        return min((task.read_to(partition) for task in self._readers.get(partition, [])), default=END)

    def _revoked(self, notice: TaskRevoked) -> list[Command]:
        task = self.tasks.pop(notice.task)
        stale = [job for job, (owner, _) in self._jobs.items() if owner == task.id]
        self.sizing.patience.gave_up((job, self._jobs.pop(job)[1]) for job in stale)
        commands: list[Command] = []
        for partition in task.inputs():
            self._readers[partition].remove(task)
            if not self._readers[partition]:
                del self._readers[partition]
                commands += self.room.resume([partition])  # whoever reads it next begins with an empty buffer
                if task.followed(partition):
                    commands.append(Stop(partition))
        return commands

    # -- work ------------------------------------------------------------------------------------------------------

    def _read(self, notice: Read) -> list[Command]:
        fetched = notice.fetched
        partition = (fetched.topic, fetched.partition)
        readers = self._readers.get(partition, [])
        if not readers or not len(fetched):
            return []
        stream, rows, promises = self._intakes.rows(fetched)
        if not fetched.topic.startswith(f"{self.plan.name}."):
            self.stats.records_read += len(fetched)
        read_to = self._intakes.read_to(fetched)
        for task in readers:
            task.receive(partition, rows.own(), read_to, self._now)
            for promise in promises:
                task.promise(stream, promise)
        return self.room.pause(partition)

    def _tick(self, notice: Tick) -> list[Command]:
        self._now, self.sizing.now_ms, self.sizing.wall_ms = notice.now, notice.now, notice.wall
        commands = self._overdue(notice.now) if self._timed else []
        for task in list(self.tasks.values()):
            task.time(notice.at_end, self._mode.ends)
            if not self.draining:
                commands += self._step(task)
        return commands + self.room.resume_low()

    def _overdue(self, now: int) -> list[Command]:
        """Ensembles that have waited long enough go on without their late members."""
        self._now = self.sizing.now_ms = now
        tasks = [task for task in self.tasks.values() if task.id[0] in self._timed]
        return [command for task in tasks for command in self._numbered(task, task.overdue(now))]

    def _step(self, task: Task) -> list[Command]:
        if self.sizing.live and task.id[0] in self._asked:
            task.merge.rows_max = self._chunk_rows(task.id[0])
        return self._numbered(task, task.step(self._now))

    def _chunk_rows(self, section: str) -> int:
        """How many rows a task of a section that decides may take at once, live."""
        (arms, shadows), step = self._asked[section], self._deadlines.get(section)
        each_ms = max(self.plan.emit.commit_interval_ms / len(self.tasks), CHUNK_MS_MIN)  # a commit waits for the chunks of all tasks
        most = self.sizing.rows_a_commit(arms, shadows, each_ms, self._mode.chunk_rows_max)
        if step is not None and step.deadline is not None:
            most = self.sizing.chunk_rows(arms, shadows, step.deadline.after_ms, most)
        # Else the members of an ensemble would be late for no fault of theirs, the more the busier we are.
        return min([most, *(self.sizing.rows_within(models, wait_ms, most) for models, wait_ms in self._waited.get(section, ()))])

    def _answered(self, notice: ForwardDone | ForwardFailed) -> list[Command]:
        asked = self._jobs.pop(notice.job, None)
        self.sizing.patience.ended(notice.job)
        if asked is None:
            self.stats.stale_dropped += 1  # the task was revoked while the model worked: someone else answers these rows
            return []
        task, model = self.tasks[asked[0]], asked[1]
        outputs = notice.outputs if isinstance(notice, ForwardDone) else None
        reason = notice.reason if isinstance(notice, ForwardFailed) else ""
        if isinstance(notice, ForwardDone) and notice.passed is not None:
            if self.sizing.live and isinstance(task.work, Answering):
                task.work.passed(model, notice.passed.rows + notice.passed.padded, notice.passed.seconds)
            self._passed(model, notice.passed)
        place = notice.place if isinstance(notice, ForwardDone) else None
        return self._numbered(task, task.answered(notice.job, outputs, reason, self._now, place))

    def _called(self, notice: CallDone) -> list[Command]:
        asked = self._jobs.pop(notice.job, None)
        if asked is None:
            self.stats.stale_dropped += 1
            return []
        task = self.tasks[asked[0]]
        return self._numbered(task, task.called(notice, self._now))

    def _passed(self, model: str, passed: Pass) -> None:
        """A forward pass ended: while a commit is due no rows follow, and none could have joined it."""
        self.sizing.passed(model, passed.rows + passed.padded, passed.seconds)
        if passed.rows_fit:
            self.sizing.fits(model, passed.rows_fit)
        drains = self.draining and passed.why == NOTHING_WAITS
        self.stats.batches_now.append((model, replace(passed, why=DRAIN) if drains else passed))

    def _numbered(self, task: Task, commands: list[Command]) -> list[Command]:
        for command in commands:
            if isinstance(command, Forward):
                self._jobs[command.job] = (task.id, command.model)
            elif isinstance(command, Call):
                self._jobs[command.job] = (task.id, command.stage)
            elif isinstance(command, Install) and command.manifest is not None:
                works = [other.work for other in {**self.tasks, task.id: task}.values()]
                command.keep = frozenset().union(*(work.versions_used(command.model) for work in works if isinstance(work, Answering)))
        return commands

    def _installed(self, notice: Installed | InstallFailed) -> list[Command]:
        """A version is there, or is not to be had: every task that waits for it hears of it."""
        self.stats.installed(notice.model, None if isinstance(notice, Installed) else notice.reason)
        return [c for task in self.tasks.values() for c in self._numbered(task, task.installed(notice))]

    # -- commits ---------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Begin no new chunk until Committed: a commit is due."""
        self.draining = True

    def in_flight(self) -> bool:
        """Whether any chunk waits for a model or a call."""
        return any(task.busy for task in self.tasks.values())

    def dirty(self) -> bool:
        """Whether anything happened since the last commit."""
        return any(task.dirty for task in self.tasks.values())

    def _commit(self, notice: CommitWanted) -> list[Command]:
        assert not self.in_flight(), "a commit within a chunk would show half of it"
        commands: list[Command] = []
        offsets: dict[Partition, int] = {}
        for task in self.tasks.values():
            if task.dirty or task.id in notice.leaving:
                produced, lows = task.checkpoint()
                commands += produced
                offsets |= lows
        return [*commands, Commit(offsets)] if commands else []

    def ready(self) -> bool:
        """Whether some task could begin a chunk right now (the next Tick will); never while draining."""
        if self.draining:
            return False
        return any(not task.full and not task.held and task.merge.chunk_waits(self._now) for task in self.tasks.values())

    def finished(self) -> bool:
        """Deterministic runs: every task has come to the end of its logs."""
        return bool(self.tasks) and all(task.finished() for task in self.tasks.values())

    def inputs(self) -> Collection[Partition]:
        """The partitions that some task reads."""
        return self._readers.keys()

    def ends(self) -> dict[Partition, int]:
        """Where the users' logs end (deterministic runs)."""
        return self._mode.ends or {}

    def wants(self, rows: int, lag: Callable[[Partition], int]) -> bool:
        """Whether so many rows more should be read now. lag: records of a partition that are there, as far as is known."""
        return self.room.wants(rows, self._now, lag)


def _asked(step: DecideStep, graph: Graph) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The models that an answer of each arm may take, and those of all shadows."""
    return tuple(graph.under(arm) for arm in step.arms), tuple(name for shadow in step.shadows for name in graph.under(shadow))
