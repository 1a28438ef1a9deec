"""flow.worker: carries the core's commands out on a transport, commits, restores. flow → *worker* → edge.host | sim.world.

The protocol of exactly-once, in the order of its steps:
 1. a partition is assigned: its task's state is read back (snapshot, then changelog), and reading begins at its positions;
 2. outputs go out within the open transaction as chunks finish;
 3. when a commit is due no new chunk begins; once no model is at work, changed state and positions follow, then the group's
    offsets, then the end of the transaction: all of it holds, or nothing. While it ends, the next chunks are worked on already, and
    what they send is held;
 4. ABORTED: every task is forgotten and restored, for its state is ahead of what holds;
 5. a partition is revoked: steps 3 within the callback, or an abort; answers that come later find no task and are dropped.

The worker decides nothing about rows. It knows no sockets, threads or clocks either: transport, forwarder and time are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_infer.flow.channel import CHANGES
from stream_infer.flow.checks import check_topics
from stream_infer.flow.commands import Call, Command, Commit, Forward, Install, Pause, Produce, Resume, Seek, Stop
from stream_infer.flow.committing import Committer
from stream_infer.flow.flow import Flow, Mode
from stream_infer.flow.keeping import Keeping
from stream_infer.flow.notices import Committed, CommitWanted, Overdue, Read, TaskId, TaskRevoked, Tick
from stream_infer.flow.ports import Caller, Forwarder, Pace, Snapshots
from stream_infer.flow.read_size import ReadSize
from stream_infer.flow.restoring import Restoring
from stream_infer.flow.standby import Copy, Standby
from stream_infer.flow.stats import Stats
from stream_infer.flow.transport import Outcome, Partition, Transport
from stream_infer.flow.versions import Static
from stream_infer.records import Fetched
from stream_infer.topology.plan import Plan

END_WAIT_MS = 2  # with nothing to do while a commit is under way: then it, and records, are looked at again
DRAIN_MS_MAX = 5000  # for models to end when partitions are taken away; beyond it the transaction is given up
RESTORE_MS = 20  # reading state back goes on for so long between two polls …
RESTORE_ALONE = 10  # … and for so many times that while nothing else is to do: the group is to be heard all the same
CALL_WAIT_MS = 2  # for a call to come back, before models are looked at again
PARKED_MS_MAX = 10_000  # a task that left comes back within a rebalance, or not at all


class Worker:
    """One member of the group: a Flow, a transport, a forwarder. clock: ms, monotone; wall: ms since 1970, for deadlines (live only).

    caller: what runs the calls of the plan; None where no stage calls.
    """

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
        wall: Callable[[], int] | None = None,
        slot: str = "0",
        standby_bytes_max: int = 0,
        restore_ms: int = RESTORE_MS,
        caller: Caller | None = None,
    ) -> None:
        self.plan, self.transport = plan, transport
        self._forwarder, self._caller, self._clock = forwarder, caller, clock
        self._calls_open = 0
        self._sections = [s for s in plan.sections if sections is None or s.name in sections]
        self.pace = Pace(plan.emit.commit_interval_ms)
        self.deterministic = deterministic
        self._wall = None if deterministic else wall
        self.flow = Flow(plan, static, Mode(deterministic, self._ends() if deterministic else None))
        self._read_size = ReadSize(plan.rows_in_flight_max)
        self.standby = Standby(transport, snapshots, bytes_max=standby_bytes_max, slot=slot)
        self.restoring = Restoring(transport, clock, self.pace, snapshots, self.standby)
        self._restore_ms = restore_ms
        self._settle_at: int | None = None  # when those who left will not come back
        self._keeping = Keeping(snapshots, snapshot_every_ms, clock)
        self._idle = self._at_rest = self._ready = False  # ready: a chunk could begin, as far as is known; if none could, reading may wait
        self._committer = Committer(transport, self.pace, clock, at_least_once=plan.emit.guarantee == "at_least_once")

    @property
    def stats(self) -> Stats:
        """What the core counted."""
        return self.flow.stats

    def _ends(self) -> dict[Partition, int]:
        """Where the users' logs end now: a deterministic run goes so far."""
        inputs = {i.stream for section in self.plan.sections for i in section.inputs}
        own = f"{self.plan.name}."
        streams = [self.plan.streams[n] for n in sorted(inputs) if n == CHANGES or not self.plan.streams[n].topic.startswith(own)]
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
        given = set(partitions)
        self.restoring.want(task for task in self._tasks() if self._flowing(task) in given and task not in self.flow.tasks)
        self._settle_standby()

    def _tasks(self) -> list[TaskId]:
        """All tasks that could ever be ours."""
        return [(section.name, partition) for section in self._sections for partition in range(section.partitions)]

    def _flowing(self, task: TaskId) -> Partition:
        """Whoever owns this partition has the task."""
        section = next(s for s in self._sections if s.name == task[0])
        return self.plan.streams[section.flowing].topic, task[1]

    def _settle_standby(self) -> None:
        self._settle_at = None
        self.standby.settle(task for task in self._tasks() if task not in self.flow.tasks and task not in self.restoring)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Finish, commit, let go; what cannot be finished in time is given up."""
        self._await_commit()
        self._settle_at = self._clock() + PARKED_MS_MAX
        leaving = self._tasks_of(partitions)
        if not leaving:
            return
        ends = self._changelog_ends(leaving)
        # What leaves is committed even if nothing happened to it: that proves that until then nobody else wrote.
        held = self._finish_in_flight() and self._commit(leaving) is Outcome.COMMITTED
        if not held:
            self._abort()
        for task in leaving:
            if held:
                self.standby.park(Copy(self.flow.tasks[task], ends[task]))
            self._let_go(task)
        self.restoring.drop(leaving)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Someone else has them: nothing of the open transaction may hold."""
        self._await_commit()
        for task in self._tasks_of(partitions):
            self._let_go(task)
        self._abort()
        self.standby.forget()
        self._settle_at = self._clock()

    def _tasks_of(self, partitions: Sequence[Partition]) -> list[TaskId]:
        gone = set(partitions)
        self.restoring.drop([task for task in self.restoring.wanted() if self._flowing(task) in gone])
        return [task for task in self.flow.tasks if self._flowing(task) in gone]

    def _let_go(self, task: TaskId) -> None:
        if task in self.flow.tasks:
            self._carry_out(self.flow.handle(TaskRevoked(task)))

    def _abort(self) -> None:
        self.transport.abort()
        self.pace.aborts += 1
        self._forget_all()

    def _forget_all(self) -> None:
        """After an abort: state is ahead of what holds, so every task is to be restored."""
        self._committer.forget()
        self.restoring.want(self.flow.tasks)
        for task in list(self.flow.tasks):
            self._carry_out(self.flow.handle(TaskRevoked(task)))
        self.flow.handle(Committed())

    # -- the loop --------------------------------------------------------------------------------------------------

    def step(self, wait_ms: int) -> bool:
        """Once around: read, answer, commit if due. False when nothing was there to do."""
        fetched = self._poll(wait_ms)
        full = self._read_size.saw(fetched)
        began, answered = self._clock(), self.flow.stats.rows_answered
        # Before restoring: these records were read at the places of the tasks that were there then. A task that comes back begins
        # elsewhere, and would take the first rows it sees for the place where it reads.
        for batch in fetched:
            if not self.standby.receive(batch):
                self._carry_out(self.flow.handle(Read(batch)))
        self._restore_wanted()
        self._take_answers(0 if fetched else min(wait_ms, 1) if self.flow.in_flight() else 0)
        at_end = frozenset(filter(self.transport.at_end, self.flow.inputs()))
        self._carry_out(self.flow.handle(Tick(self._clock(), at_end, self._wall() if self._wall is not None else None)))
        self._committer.took(began, self.flow.stats.rows_answered - answered)
        self._ready = self.flow.ready()
        self._at_rest = not (full or self._ready)
        if self._at_rest:
            self.transport.push()
        self._idle = not fetched and not self._ready and not self.flow.in_flight()
        # Who may send meanwhile waits for records, not for the end of a commit that nothing waits for.
        self._look_at_commit(min(wait_ms, END_WAIT_MS) if self._idle and not self.transport.sends_on else 0)
        return not self._idle or self._committer.open

    def _poll(self, wait_ms: int) -> list[Fetched]:
        """Read; wait only where nothing else can be done."""
        if self._ready or self.flow.in_flight() or self.restoring:
            return self.transport.poll(self._read_size.rows_max, 0, owned=self.flow.wants(self._read_size.rows_max, self.transport.lag))
        if self._committer.open:
            return self.transport.poll(self._read_size.rows_max, min(wait_ms, END_WAIT_MS) if self.transport.sends_on else 0)
        began = self._clock()
        if self.flow.dirty():
            wait_ms = max(min(wait_ms, self._committer.due_in_ms(began)), 0)
        fetched = self.transport.poll(self._read_size.rows_max, wait_ms)
        self._committer.rested(self._clock() - began)
        return fetched

    def settled(self) -> bool:
        """Whether all that happened so far is committed."""
        return not self.flow.dirty() and not self._committer.open

    def finished(self) -> bool:
        """Deterministic runs: the logs are worked through and committed."""
        return not self.restoring and self.flow.finished() and self.settled()

    def close(self) -> None:
        """Finish what is in flight, commit, leave."""
        self._await_commit()
        if self._finish_in_flight():
            self._commit()
        self.transport.close()

    def _take_answers(self, wait_ms: int) -> None:
        # With calls under way it is they that are waited for: they take longer, and a pass that ends meanwhile is seen a moment later.
        for answer in self._forwarder.finished(0 if self._calls_open else wait_ms):
            self._carry_out(self.flow.handle(answer))
        if self._calls_open:
            assert self._caller is not None
            came = self._caller.finished(min(wait_ms, CALL_WAIT_MS))
            self._calls_open -= len(came)
            for call in came:
                self._carry_out(self.flow.handle(call))

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Forward):
                self._forwarder.submit(command)
            elif isinstance(command, Call):
                assert self._caller is not None, f"stage {command.stage} calls, and nothing was given that runs calls"
                self._calls_open += 1
                self._caller.submit(command)
            elif isinstance(command, Produce):
                self._committer.send(command)
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

    def _look_at_commit(self, wait_ms: int) -> None:
        """With little to do a transaction ends as soon as its work is out; under load at the interval."""
        if self._committer.open:
            self._settle(self._committer.turn(wait_ms))
            if self._committer.full():
                self._await_commit()
        elif self.flow.draining or (self.flow.dirty() and self._committer.due(self._clock(), at_rest=self._at_rest)):
            self.flow.drain()
            if not self.flow.in_flight():
                self._commit(wait=False)

    def _finish_in_flight(self) -> bool:
        """Wait for models, beginning nothing new. False when they take too long."""
        self.flow.drain()
        deadline = self._clock() + DRAIN_MS_MAX
        while self.flow.in_flight() and self._clock() < deadline:
            self._take_answers(50)
            self._carry_out(self.flow.handle(Overdue(self._clock())))
        return not self.flow.in_flight()

    def _begin_commit(self, leaving: Sequence[TaskId] = ()) -> None:
        """Take a checkpoint and begin to end the transaction that holds it; chunks may begin again at once."""
        commands = self.flow.handle(CommitWanted(tuple(leaving)))
        offsets = next((c.offsets for c in commands if isinstance(c, Commit)), None)
        self.flow.handle(Committed())
        self._ready = self.flow.ready()  # chunks may begin again
        if offsets is None:
            return
        self._committer.begin(commands, offsets)

    def _await_commit(self) -> Outcome:
        """Wait for the commit under way, if there is one; an abort has been dealt with."""
        while self._committer.open:
            outcome = self._committer.turn(50)
            self._settle(outcome)
            if outcome is not None:
                return outcome
        return Outcome.COMMITTED

    def _commit(self, leaving: Sequence[TaskId] = (), *, wait: bool = True) -> Outcome | None:
        """Commit and wait for the outcome; without `wait` only for a snapshot that is due: it must be of the state that was committed."""
        kept = self._keeping.due(self.flow.tasks)
        ends = self._changelog_ends([] if kept is None else [kept.id])
        self._begin_commit(leaving)
        if kept is None and not wait:
            return None
        outcome = self._await_commit()
        if outcome is Outcome.COMMITTED and kept is not None:
            self._keeping.keep(kept, ends[kept.id])
        return outcome

    def _settle(self, outcome: Outcome | None) -> None:
        if outcome is Outcome.ABORTED:
            self.pace.aborts += 1
            self._forget_all()

    # -- restoring -------------------------------------------------------------------------------------------------

    def _restore_wanted(self) -> None:
        if self.restoring:
            self._carry_out(self.restoring.turn(self.flow, self._restore_ms * (1 if self.flow.tasks else RESTORE_ALONE)))
            return
        if self._settle_at is not None and self._clock() >= self._settle_at:
            self._settle_standby()
        self.standby.turn(self.flow)

    def _changelog_ends(self, tasks: Sequence[TaskId]) -> dict[TaskId, int]:
        """Where the changelogs of these tasks end: to be asked before a commit.

        If that commit holds, we were the owner until then, so what lies below is ours or was read by us. Asked after it, a new owner
        may have written already, and our state would pass for newer.
        """
        changelogs = {task: (self.flow.tasks[task].section.state_topic, task[1]) for task in tasks}
        ends = self.transport.end_offsets(list(changelogs.values())) if changelogs else {}
        return {task: ends[changelog] for task, changelog in changelogs.items()}

    def lag(self) -> int:
        """Deterministic runs: records of the users' logs that some task has still to work on."""
        left: dict[Partition, int] = {}
        for task in self.flow.tasks.values():
            for partition in task.inputs():
                end = self.flow.ends().get(partition, 0)
                left[partition] = max(left.get(partition, 0), end - task.worked_to(partition))
        return sum(left.values())
