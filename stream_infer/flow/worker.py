"""flow.worker: carries the core's commands out on a transport, commits, restores. flow → *worker* → edge.host | sim.world.

The protocol of exactly-once, in the order of its steps:
 1. a partition is assigned: its task's state is read back (snapshot, then changelog), and reading begins at its positions;
 2. outputs go out within the open transaction as chunks finish;
 3. when a commit is due no new chunk begins; once no model is at work, changed state and positions follow, then the group's
    offsets, then the end of the transaction: all of it holds, or nothing;
 4. ABORTED: every task is forgotten and restored, for its state is ahead of what holds;
 5. a partition is revoked: steps 3 within the callback, or an abort; answers that come later find no task and are dropped.

The worker decides nothing about rows. It knows no sockets, threads or clocks either: transport, forwarder and time are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stream_infer.flow.checks import check_logs, check_state, check_topics
from stream_infer.flow.commands import Command, Commit, Forward, Install, Pause, Produce, Resume, Seek, Stop
from stream_infer.flow.flow import Flow, Mode
from stream_infer.flow.notices import Committed, CommitWanted, Read, TaskAssigned, TaskId, TaskRevoked, Tick
from stream_infer.flow.ports import Forwarder, Pace, Snapshots
from stream_infer.flow.stats import Stats
from stream_infer.flow.task import TASK_KEY, Task
from stream_infer.flow.transport import Outcome, Partition, Transport
from stream_infer.flow.versions import Static
from stream_infer.topology.plan import Plan

POLL_ROWS_MAX = 5000  # 5,000 records a call cost 1.2 µs each against 1.35 at 100 (consume with key, value, timestamp)
DRAIN_MS_MAX = 5000  # for models to end when partitions are taken away; beyond it the transaction is given up


class Worker:
    """One member of the group: a Flow, a transport, a forwarder. clock: ms, monotone."""

    def __init__(
        self,
        plan: Plan,
        static: dict[str, Static],
        transport: Transport,
        forwarder: Forwarder,
        clock: Callable[[], int],
        *,
        deterministic: bool = False,
        snapshots: Snapshots | None = None,
        snapshot_every_ms: int = 60_000,
        sections: Sequence[str] | None = None,
    ) -> None:
        self.plan, self.transport = plan, transport
        self._forwarder, self._clock, self._snapshots = forwarder, clock, snapshots
        self._sections = [s for s in plan.sections if sections is None or s.name in sections]
        self.pace = Pace(plan.emit.commit_interval_ms)
        self.deterministic = deterministic
        self.flow = Flow(plan, static, Mode(deterministic, self._ends() if deterministic else None))
        self._wanted: list[TaskId] = []
        self._parked: dict[TaskId, tuple[Task, int]] = {}  # with an offset of its changelog from before its last commit
        self._idle = False
        self._uncommitted: list[tuple[int, int]] = []
        self._sent: dict[str, int] = {}
        self._snapshot_every_ms, self._snapshot_at = snapshot_every_ms, clock() + snapshot_every_ms

    @property
    def stats(self) -> Stats:
        """What the core counted."""
        return self.flow.stats

    def _ends(self) -> dict[Partition, int]:
        """Where the users' logs end now: a deterministic run goes so far."""
        inputs = {i.stream for section in self.plan.sections for i in section.inputs}
        streams = [self.plan.streams[name] for name in sorted(inputs) if not self.plan.streams[name].topic.startswith(self.plan.name + ".")]
        return self.transport.end_offsets([(s.topic, p) for s in streams for p in range(s.partitions)])

    def start(self) -> None:
        """Check the topics against the plan and join the group."""
        check_topics(self.plan, self.transport)
        self.transport.join(self._owned_topics(), self)

    def _owned_topics(self) -> list[str]:
        owned = [self.plan.streams[i.stream].topic for section in self._sections for i in section.inputs if not i.is_global]
        return list(dict.fromkeys(owned))

    # -- ownership (called by the transport within poll) -----------------------------------------------------------

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Tasks whose flowing partition is ours now; they are restored after poll()."""
        self.pace.rebalances += 1
        for section in self._sections:
            topic = self.plan.streams[section.flowing].topic
            for found, partition in partitions:
                if found == topic and (section.name, partition) not in self.flow.tasks:
                    self._wanted.append((section.name, partition))
        self._parked = {task: parked for task, parked in self._parked.items() if task in self._wanted}  # the others are someone else's now

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Finish, commit, let go; what cannot be finished in time is given up."""
        leaving = self._tasks_of(partitions)
        if not leaving and not self._wanted:
            return
        ends = self._changelog_ends(leaving)
        # What leaves is committed even if nothing happened to it: that proves that until then nobody else wrote.
        held = self._finish_in_flight() and self._commit(leaving) is Outcome.COMMITTED
        if not held:
            self.transport.abort()
            self.pace.aborts += 1
            self._forget_all()
        for task in leaving:
            if held:
                self._parked[task] = (self.flow.tasks[task], ends[task])
            self._let_go(task)
        self._wanted = [task for task in self._wanted if task not in leaving]

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Someone else has them: nothing of the open transaction may hold."""
        self.transport.abort()
        self.pace.aborts += 1
        for task in self._tasks_of(partitions):
            self._let_go(task)
        self._forget_all()

    def _tasks_of(self, partitions: Sequence[Partition]) -> list[TaskId]:
        gone = set(partitions)
        topics = {section.name: self.plan.streams[section.flowing].topic for section in self.plan.sections}
        self._wanted = [task for task in self._wanted if (topics[task[0]], task[1]) not in gone]
        return [task for task in self.flow.tasks if (topics[task[0]], task[1]) in gone]

    def _let_go(self, task: TaskId) -> None:
        if task in self.flow.tasks:
            self._carry_out(self.flow.handle(TaskRevoked(task)))

    def _forget_all(self) -> None:
        """After an abort: state is ahead of what holds, so every task is to be restored."""
        self._wanted += [task for task in self.flow.tasks if task not in self._wanted]
        for task in list(self.flow.tasks):
            self._carry_out(self.flow.handle(TaskRevoked(task)))
        self.flow.handle(Committed())

    # -- the loop --------------------------------------------------------------------------------------------------

    def step(self, wait_ms: int) -> bool:
        """Once around: read, answer, commit if due. False when nothing was there to do."""
        fetched = self.transport.poll(POLL_ROWS_MAX, 0 if self.flow.ready() or self.flow.in_flight() else wait_ms)
        began, answered = self._clock(), self.flow.stats.rows_answered
        # Before restoring: these records were read at the places of the tasks that were there then. A task that comes back begins
        # elsewhere, and would take the first rows it sees for the place where it reads.
        for batch in fetched:
            self._carry_out(self.flow.handle(Read(batch)))
        self._restore_wanted()
        self._take_answers(0 if fetched else min(wait_ms, 1) if self.flow.in_flight() else 0)
        at_end = frozenset(p for p in self._inputs() if self.transport.at_end(p))
        self._carry_out(self.flow.handle(Tick(self._clock(), at_end)))
        if self.flow.stats.rows_answered > answered:
            self._uncommitted.append((began, self.flow.stats.rows_answered - answered))
        self._idle = not fetched and not self.flow.in_flight() and not self.flow.ready()
        self._commit_if_due(self._clock())
        return not self._idle

    def _inputs(self) -> set[Partition]:
        return {partition for task in self.flow.tasks.values() for partition in task.inputs()}

    def finished(self) -> bool:
        """Deterministic runs: the logs are worked through and committed."""
        return not self._wanted and self.flow.finished() and not self.flow.dirty()

    def close(self) -> None:
        """Finish what is in flight, commit, leave."""
        if self._finish_in_flight():
            self._commit()
        self.transport.close()

    def _take_answers(self, wait_ms: int) -> None:
        for answer in self._forwarder.finished(wait_ms):
            self._carry_out(self.flow.handle(answer))

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Forward):
                self._forwarder.submit(command)
            elif isinstance(command, Produce):
                self.transport.produce(command.topic, command.keys, command.values, command.partition)
                self._sent[command.topic] = self._sent.get(command.topic, 0) + len(command.values)
            elif isinstance(command, Install):
                self._forwarder.install(command)
            elif isinstance(command, Seek):
                (self.transport.seek if command.owned else self.transport.follow)(command.partition, command.offset)
            elif isinstance(command, Stop):
                self.transport.unfollow(command.partition)
            elif isinstance(command, Pause):
                self.transport.pause(command.partitions)
            elif isinstance(command, Resume):
                self.transport.resume(command.partitions)
            else:
                assert isinstance(command, Commit)

    # -- commits ---------------------------------------------------------------------------------------------------

    def _commit_if_due(self, now: int) -> None:
        """With little to do a transaction ends as soon as its work is out; under load at the interval."""
        if not self.flow.dirty():
            return
        if self._idle or now - self.pace.last_commit_ms >= self.pace.interval_ms:
            self.flow.drain()
            if not self.flow.in_flight():
                self._commit()

    def _finish_in_flight(self) -> bool:
        """Wait for models, beginning nothing new. False when they take too long."""
        self.flow.drain()
        deadline = self._clock() + DRAIN_MS_MAX
        while self.flow.in_flight() and self._clock() < deadline:
            self._take_answers(50)
        return not self.flow.in_flight()

    def _commit(self, leaving: Sequence[TaskId] = ()) -> Outcome:
        began = self._clock()
        commands = self.flow.handle(CommitWanted(tuple(leaving)))
        offsets = next((c.offsets for c in commands if isinstance(c, Commit)), None)
        ends = self._changelog_ends(list(self.flow.tasks)) if offsets is not None and self._snapshots_due() else {}
        outcome = Outcome.COMMITTED if offsets is None else self._end(commands, offsets)
        self.pace.last_commit_ms = self._clock()
        if outcome is Outcome.COMMITTED:
            self.flow.handle(Committed())
            self.pace.commits += offsets is not None
            self.pace.commit_ms.append(self.pace.last_commit_ms - began)
            self.pace.latency_ms += [self.pace.last_commit_ms - at for at, _ in self._uncommitted]
            self.pace.latency_rows += [rows for _, rows in self._uncommitted]
            for topic, count in self._sent.items():
                self.pace.written[topic] = self.pace.written.get(topic, 0) + count
            self._snapshot(ends)
        else:
            self.pace.aborts += 1
            self._forget_all()
        self._uncommitted.clear()
        self._sent.clear()
        return outcome

    def _end(self, commands: list[Command], offsets: Mapping[Partition, int]) -> Outcome:
        """Changed state, positions and offsets follow what they stand for."""
        # Without transactions records arrive in any order, and a worker may die between two of them: answers first, and only then
        # the word that they were given.
        if self.plan.emit.guarantee == "at_least_once" and self.transport.commit({}) is Outcome.ABORTED:
            return Outcome.ABORTED
        self._carry_out(commands)
        return self.transport.commit(offsets)

    # -- restoring -------------------------------------------------------------------------------------------------

    def _restore_wanted(self) -> None:
        while self._wanted:
            began, task = self._clock(), self._wanted.pop(0)
            self._carry_out(self._parked_or_restored(task))
            self.pace.restore_ms += self._clock() - began

    def _parked_or_restored(self, task: TaskId) -> list[Command]:
        parked = self._parked.pop(task, None)
        if parked is not None and self._is_latest(*parked):
            return self.flow.reattach(parked[0])
        return self._restored(task)

    def _is_latest(self, parked: Task, end: int) -> bool:
        """Nobody worked on it meanwhile: the newest positions in its changelog are its own.

        Offsets of the group do not tell: rows that wait hold them back while later rows are answered, and other inputs are not of the
        group at all.
        """
        newest = None
        for batch in self.transport.read((parked.section.state_topic, parked.partition), end):
            for key, value in zip(batch.keys.raw(), batch.values.raw(), strict=True):
                newest = value if key == TASK_KEY else newest
        return newest == parked.saved

    def _restored(self, task: TaskId) -> list[Command]:
        section = next(s for s in self.plan.sections if s.name == task[0])
        changelog = (section.state_topic, task[1])
        owned = [(self.plan.streams[i.stream].topic, task[1]) for i in section.inputs if not i.is_global]
        # Before the changelog is read: whoever commits meanwhile writes both, and only the offsets would be seen.
        committed = self.transport.committed(owned)
        snapshot, begin = None, 0
        if self._snapshots is not None:
            found = self._snapshots.load(task, self.transport.end_offsets([changelog])[changelog])
            snapshot, begin = found if found is not None else (None, 0)
        keys: list[bytes] = []
        values: list[bytes | None] = []
        for batch in self.transport.read(changelog, begin):
            keys += [key or b"" for key in batch.keys.raw()]
            values += batch.values.raw()
        self.pace.restored_records += len(keys)
        commands = self.flow.handle(TaskAssigned(task, keys, values, snapshot))
        check_state(self.flow.tasks[task], committed)
        check_logs(self.flow.tasks[task], self.flow.ends(), self.transport)
        return commands

    def _changelog_ends(self, tasks: Sequence[TaskId]) -> dict[TaskId, int]:
        """Where the changelogs of these tasks end: to be asked before a commit.

        If that commit holds, we were the owner until then, so what lies below is ours or was read by us. Asked after it, a new owner
        may have written already, and our state would pass for newer.
        """
        changelogs = {task: (self.flow.tasks[task].section.state_topic, task[1]) for task in tasks}
        ends = self.transport.end_offsets(list(changelogs.values()))
        return {task: ends[changelog] for task, changelog in changelogs.items()}

    def _snapshots_due(self) -> bool:
        return self._snapshots is not None and self._clock() >= self._snapshot_at

    def _snapshot(self, ends: dict[TaskId, int]) -> None:
        if self._snapshots is None or not ends:
            return
        for task, end in ends.items():
            self._snapshots.save(task, self.flow.tasks[task].snapshot(), end)
        self._snapshot_at = self._clock() + self._snapshot_every_ms

    def lag(self) -> int:
        """Deterministic runs: records of the users' logs that some task has still to work on."""
        left: dict[Partition, int] = {}
        for task in self.flow.tasks.values():
            for partition in task.inputs():
                end = self.flow.ends().get(partition, 0)
                left[partition] = max(left.get(partition, 0), end - task.worked_to(partition))
        return sum(left.values())
