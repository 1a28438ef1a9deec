"""sim.story: a core that writes down what happened to it: a broken invariant can be told, a run played again. flow → *story* → world."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stream_infer.flow.commands import Call, Command, Commit, Forward, Install, Produce, Seek
from stream_infer.flow.flow import Flow, Mode
from stream_infer.flow.notices import CallDone, ForwardDone, ForwardFailed, Notice, Read, TaskId, TaskRevoked, Tick
from stream_infer.flow.task import Snapshot, Task
from stream_infer.flow.versions import Static
from stream_infer.topology.plan import Plan

LINES_MAX = 60
DRAIN = "drain"
Step = tuple["Notice | Attached | str", str]  # a notice, a task that came, or DRAIN; and the digest of what it led to


@dataclass(frozen=True)
class Attached:
    """A task as it came."""

    task: TaskId
    snapshot: Snapshot


@dataclass(frozen=True)
class Recorded:
    """All that went into a core, in order, with digests of what came out."""

    plan: Plan
    static: Mapping[str, Static]
    mode: Mode
    steps: Sequence[Step]


class StoryFlow(Flow):
    """A Flow that keeps the last LINES_MAX lines of its story, and with record=True everything that went in. say: adds the time."""

    def __init__(self, plan: Plan, static: dict[str, Static], mode: Mode, say: Callable[[str], str], *, record: bool = False) -> None:
        super().__init__(plan, static, mode)
        self._say, self._record = say, record
        self._parts = (plan, static, mode)
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self.steps: list[Step] = []

    def handle(self, notice: Notice) -> list[Command]:
        """As Flow.handle, written down."""
        commands = super().handle(notice)
        if commands or not isinstance(notice, Tick):
            self.lines.append(self._say(f"{_of_notice(notice)} → {', '.join(map(_of_command, commands)) or 'nothing'}"))
        if self._record:
            self.steps.append((notice, digest(commands)))
        return commands

    def attach(self, task: Task) -> list[Command]:
        """As Flow.attach, written down."""
        came = Attached(task.id, _copied(task.snapshot()) if self._record else {})
        commands = super().attach(task)
        self.lines.append(self._say(f"{_of_step(came)} → {', '.join(map(_of_command, commands)) or 'nothing'}"))
        if self._record:
            self.steps.append((came, digest(commands)))
        return commands

    def drain(self) -> None:
        """As Flow.drain, written down."""
        super().drain()
        if self._record:
            self.steps.append((DRAIN, ""))

    def recorded(self) -> Recorded:
        """What replay() takes."""
        return Recorded(*self._parts, self.steps)


def replay(recorded: Recorded) -> list[str]:
    """Play a record on a fresh core; a line for each step that leads to other commands than it did."""
    flow = Flow(recorded.plan, dict(recorded.static), recorded.mode)
    wrong = []
    for number, (step, before) in enumerate(recorded.steps):
        if step == DRAIN:
            flow.drain()
            continue
        assert not isinstance(step, str)
        if isinstance(step, Attached):
            task = flow.make_task(step.task)
            task.load(_copied(step.snapshot))
            commands = flow.attach(task)
        else:
            commands = flow.handle(step)
        if digest(commands) != before:
            wrong.append(f"step {number}: {_of_step(step)} led to other commands when it was played again")
    return wrong


def _copied(snapshot: Snapshot) -> Snapshot:
    return {store: {name: array.copy() for name, array in arrays.items()} for store, arrays in snapshot.items()}


def digest(commands: Iterable[Command]) -> str:
    """SHA-256 over commands, byte for byte."""
    found = hashlib.sha256()
    for command in commands:
        found.update(_of_command(command).encode())
        if isinstance(command, Produce):
            for column in (command.keys, command.values):
                for item in column.raw():
                    found.update(b"-" if item is None else b"+%d:" % len(item) + item)
        elif isinstance(command, Forward):
            found.update(command.matrix.tobytes())
        elif isinstance(command, Call):
            for name, told in command.columns.items():
                found.update(f"{name}{told.to_list()}".encode())
        elif isinstance(command, Install):
            found.update(command.payload)
        elif isinstance(command, Commit):
            found.update(repr(sorted(command.offsets.items())).encode())
    return found.hexdigest()


def _of_step(step: Notice | Attached) -> str:
    return f"attached {step.task[0]}[{step.task[1]}]" if isinstance(step, Attached) else _of_notice(step)


def _of_notice(notice: Notice) -> str:
    if isinstance(notice, Read):
        batch = notice.fetched
        return f"read {batch.topic}[{batch.partition}]@{batch.offsets[0]}..{batch.offsets[-1]}" if len(batch) else "read nothing"
    if isinstance(notice, TaskRevoked):
        return f"revoked {notice.task[0]}[{notice.task[1]}]"
    if isinstance(notice, ForwardDone | ForwardFailed):
        return f"job {notice.job} {'done' if isinstance(notice, ForwardDone) else 'failed'}"
    if isinstance(notice, CallDone):
        return f"call {notice.job} came back" + (f", {len(notice.faults)} rows may not go on" if notice.faults else "")
    return f"tick {notice.now}" if isinstance(notice, Tick) else type(notice).__name__


def _of_command(command: Command) -> str:
    if isinstance(command, Produce):
        return f"produce {command.topic}[{'key' if command.partition is None else command.partition}] {len(command.values)}"
    if isinstance(command, Forward):
        return f"forward {command.job} {command.model} v{command.version} {len(command.matrix)} rows"
    if isinstance(command, Call):
        return f"call {command.job} {command.stage} {command.count} rows"
    if isinstance(command, Commit):
        return "commit " + " ".join(f"{topic}[{number}]@{offset}" for (topic, number), offset in sorted(command.offsets.items()))
    if isinstance(command, Seek):
        return f"seek {command.partition[0]}[{command.partition[1]}]@{command.offset}"
    return type(command).__name__.lower()
