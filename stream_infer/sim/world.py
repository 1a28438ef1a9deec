"""sim.world: several workers, one broker, one seed, and everything that can go wrong. scenarios, faults → *world* → verdict.

A worker can be killed or stand still at any of its calls to the broker: also between two records of a transaction, within a commit, or
between the commit and what follows it. The others go on meanwhile, and whoever stood still wakes up knowing nothing. After every step
the ledger is read; when all is done and healed, the whole run is judged.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np

from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.errors import Fenced
from stream_infer.flow.flow import Mode
from stream_infer.flow.notices import TaskId
from stream_infer.flow.task import Task
from stream_infer.flow.versions import statics
from stream_infer.flow.work import Work
from stream_infer.flow.worker import Worker
from stream_infer.sim.broker import SimBroker
from stream_infer.sim.chance import Chance
from stream_infer.sim.faults import Faults
from stream_infer.sim.ledger import Ledger
from stream_infer.sim.machines import Disk, Killed, Process, WorldCaller, WorldForwarder, WorldTransport
from stream_infer.sim.oracle import Written
from stream_infer.sim.play import columns_of, make_broker
from stream_infer.sim.scenarios import BEGAN_MS, Event, Scenario
from stream_infer.sim.story import LINES_MAX, StoryFlow
from stream_infer.topology.plan import Plan

SESSION_MS, TRANSACTION_MS = 400, 1_500  # short, so that a run of simulated seconds sees many of each end
TURNS_MAX = 40_000  # a run that does not come to rest by then never will
REST_MS = 40_000  # after the last event of a live run: longer than any wait of the scenarios


@dataclass(frozen=True)
class Run:
    """How a run is made. seed: of the faults; log_seed: of the events. kind: of the workers (a broken one in negative controls).

    legs: a deterministic run in so many parts: each comes to the end of its logs, then more is sent and all workers start anew.
    """

    scenario: Scenario
    seed: int
    faults: Faults
    log_seed: int = 0
    events: int = 200
    deterministic: bool = True
    legs: int = 1
    chunk_rows_max: int = 16
    room_rows_min: int = 6  # so few that short logs fill a buffer, and reading pauses and goes on again and again
    snapshots: bool = True
    standby_bytes_max: int = 1 << 40
    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    by_change: bool = False  # the group's protocol: only what moves is given back
    kind: type[Worker] = Worker
    record: bool = False


@dataclass
class World:
    """One run. After run(): violations (empty when all is well), story, broker, written, counts; works: of the tasks, at rest."""

    settings: Run
    violations: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    flows: list[StoryFlow] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    works: dict[TaskId, Work] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan: Plan = self.settings.scenario.plan()
        self.models = self.settings.scenario.models(self.plan)
        self.broker: SimBroker = make_broker(self.plan, self.settings.seed)
        self.broker.slow_fetch_share = self.settings.faults.slow_fetch
        self.broker.by_change = self.settings.by_change
        self._chance = Chance(self.settings.seed, 2)
        self._disks: dict[str, Disk] = {}
        self.processes: list[Process] = []
        self._absent: dict[str, int] = {}  # slot → when it starts again
        self.ledger = Ledger(self.plan, self.broker)
        self._unsent = self.settings.scenario.events(self.settings.log_seed, self.settings.events)[::-1]
        self._encoders = {
            name: RowEncoder(parse_schema(s.schema, name), s.format, s.framing) for name, s in self.plan.streams.items() if s.event_time
        }
        self._turns = 0

    # -- a run ---------------------------------------------------------------------------------------------------------------

    def run(self) -> World:
        """Until rest, or until something broke."""
        legs = self.settings.legs if self.settings.deterministic else 1
        for leg in range(legs, 0, -1):
            if self.settings.deterministic:
                self._send(len(self._unsent) // leg)
            for slot in range(self.settings.faults.workers_max):
                self._start(str(slot))
            self._to_rest()
            if not self.violations:
                self._close()
        self.counts |= {"turns": self._turns, "simulated_ms": self.broker.now_ms, "inputs": len(self.written)}
        return self

    def _to_rest(self) -> None:
        quiet_since = 0
        while not self.violations and self._turns < TURNS_MAX:
            self._turns += 1
            self._turn()
            if self.settings.deterministic:
                if self._finished():
                    break
            elif self._unsent:
                quiet_since = self.broker.now_ms
            elif self.broker.now_ms - quiet_since > REST_MS:
                break
        else:
            if not self.violations:
                self._break(f"the run did not come to rest in {TURNS_MAX} turns")

    def _turn(self) -> None:
        healed = not self.settings.deterministic and not self._unsent and self._healed()
        self.broker.advance(self._chance.between(1, 200 if healed else 15))
        if not self.settings.deterministic:
            self._send_due()
        if not healed:
            self._strike()
        for slot in [slot for slot, at in self._absent.items() if at <= self.broker.now_ms]:
            del self._absent[slot]
            self._start(slot)
        self._others(None)

    def _healed(self) -> bool:
        return not self._absent and not any(process.fate for process in self.processes)

    def _others(self, asleep: Process | None) -> None:
        """One step of one worker that is awake."""
        awake = [process for process in self.processes if process is not asleep and not process.asleep]
        if awake:
            self._step(self._chance.pick(awake))
        found = self.ledger.look()
        if found:
            self._break(*found)

    def _step(self, process: Process) -> None:
        try:
            process.worker.step(0)
        except (Killed, Fenced) as end:
            self._died(process, type(end).__name__.lower())
        except Exception as error:  # noqa: BLE001 — whatever a worker raises is a finding, told with its story
            self._died(process, "raised")
            self._break(f"slot {process.slot} raised {type(error).__name__}: {error}", about=process)

    def _break(self, *lines: str, about: Process | None = None) -> None:
        if not self.violations:
            self.story = self.told() if about is None else list(about.flow.lines)
        self.violations += lines

    def told(self) -> list[str]:
        """The last lines of every worker's story, in the order of the clock."""
        lines = [line for flow in self.flows for line in flow.lines]
        return sorted(lines, key=lambda line: int(line.split(" ", 1)[0]))[-LINES_MAX:]

    # -- workers -------------------------------------------------------------------------------------------------------------

    def _start(self, slot: str) -> None:
        settings = self.settings
        transport = WorldTransport(
            self.broker,
            self.plan.name,
            f"{self.plan.name}.{slot}",
            guarantee=settings.guarantee,
            session_timeout_ms=SESSION_MS,
            transaction_timeout_ms=TRANSACTION_MS,
        )
        forwarder = WorldForwarder(self.models, self._chance.below, lambda: self.broker.now_ms, self.broker.advance)
        caller = WorldCaller(settings.scenario.calls, self._chance.below, lambda: self.broker.now_ms, self.broker.advance)
        disk = self._disks.setdefault(slot, Disk()) if settings.snapshots else None
        zero = self._chance.below(10**9)  # of its clock: hosts have no common one
        worker = settings.kind(
            self.plan,
            statics(self.plan.models, self.models),
            transport,
            forwarder,
            lambda: zero + self.broker.now_ms,
            deterministic=settings.deterministic,
            snapshots=disk,
            snapshot_every_ms=300,
            slot=slot,
            standby_bytes_max=settings.standby_bytes_max,
            restore_ms=0,
            caller=caller,
        )
        ends = worker.flow.ends() if settings.deterministic else None
        mode = Mode(settings.deterministic, ends, settings.chunk_rows_max, settings.room_rows_min)
        flow = StoryFlow(
            self.plan,
            statics(self.plan.models, self.models),
            mode,
            lambda line: f"{self.broker.now_ms} ms slot {slot}: {line}",
            record=settings.record,
        )
        worker.flow = flow
        self.flows.append(flow)
        process = Process(slot, worker, flow, transport, forwarder, caller)
        transport.before = lambda: self._call(process)
        self.processes.append(process)
        self.counts["starts"] = self.counts.get("starts", 0) + 1
        worker.start()

    def _died(self, process: Process, how: str) -> None:
        self.counts[how] = self.counts.get(how, 0) + 1
        process.transport.before = None
        process.transport.crash()
        process.flow.lines.append(f"{self.broker.now_ms} ms slot {process.slot}: {how}")
        if process in self.processes:
            self.processes.remove(process)
        self._absent[process.slot] = self.broker.now_ms + self._chance.below(600)

    def _call(self, process: Process) -> None:
        """A worker is about to call its broker: its fuse burns down."""
        if not process.fate or process.asleep:
            return
        if process.fuse > 0:
            process.fuse -= 1
            return
        fate, process.fate = process.fate, ""
        if fate == "crash":
            raise Killed
        process.asleep = True
        process.transport.stall()
        process.flow.lines.append(f"{self.broker.now_ms} ms slot {process.slot}: stands still for {process.stall_ms} ms")
        until = self.broker.now_ms + process.stall_ms
        while self.broker.now_ms < until and not self.violations:
            self.broker.advance(self._chance.between(1, 30))
            self._others(process)
        process.transport.wake()
        process.asleep = False

    def _close(self) -> None:
        """Everyone stops in good order; what they hold can still be looked at."""
        self.broker.slow_fetch_share = 0.0
        # A process that stood still may not know yet that another has finished its task: those that have come last, and count.
        held = [(self._has_finished(process, task), task) for process in self.processes for task in process.flow.tasks.values()]
        self.works = {task.id: task.work for _, task in sorted(held, key=lambda found: found[0])}
        for process in self.processes:
            process.transport.before, process.forwarder.held_until, process.caller.held_until = None, 0, 0
            with suppress(Fenced):  # stood still for too long before it was done: nothing of it counts
                process.worker.close()
        self.processes, self._absent = [], {}
        self.broker.advance(2 * TRANSACTION_MS)  # what the dead left open ends, and what stands behind it can be read
        found = self.ledger.look()
        if found:
            self._break(*found)

    # -- faults --------------------------------------------------------------------------------------------------------------

    def _strike(self) -> None:
        faults, chance = self.settings.faults, self._chance
        if not self.processes:
            return
        victim = chance.pick(self.processes)
        if chance.happens(faults.crash):
            victim.fate, victim.fuse = "crash", chance.below(8)
        if chance.happens(faults.stall):
            victim.fate, victim.fuse, victim.stall_ms = "stall", chance.below(8), chance.pick((50, SESSION_MS + 300, 2 * TRANSACTION_MS))
        if chance.happens(faults.commit):
            how = chance.pick(("aborted", "unknown_committed", "unknown_aborted"))
            self.broker.fail_next_commit(f"{self.plan.name}.{victim.slot}", cast("Literal['aborted']", how))
        if chance.happens(faults.hold):
            victim.forwarder.held_until = victim.caller.held_until = self.broker.now_ms + chance.pick((30, 300, 6_000))
        if chance.happens(faults.leave):
            self._leave_or_join(victim)
        if chance.happens(faults.compact):
            # So long ago that tombstones go, and with them every snapshot and copy from before: it would bring keys back.
            old = chance.happens(0.3) and not any(process.worker.restoring for process in self.processes)
            for topic in [section.state_topic for section in self.plan.sections]:
                self.broker.compact(topic, drop_tombstones=old)
            if old:
                for disk in self._disks.values():
                    disk.forget()
                for process in self.processes:
                    process.worker.standby.forget()
        if chance.happens(faults.forget) and victim.slot in self._disks:
            self._disks[victim.slot].forget()

    def _leave_or_join(self, victim: Process) -> None:
        """A worker drains and goes; it, or another in its slot, comes back later."""
        self.counts["left"] = self.counts.get("left", 0) + 1
        try:
            victim.worker.close()
        except (Killed, Fenced) as end:
            self._died(victim, type(end).__name__.lower())
            return
        self.processes.remove(victim)
        self._absent[victim.slot] = self.broker.now_ms + self._chance.below(3_000)

    # -- events --------------------------------------------------------------------------------------------------------------

    def _send_due(self) -> None:
        due = 0
        while due < len(self._unsent) and self._unsent[-1 - due].at_ms <= self.broker.now_ms:
            due += 1
        self._send(due)

    def _send(self, count: int) -> None:
        sent = [self._append(self._unsent.pop()) for _ in range(count)]
        self.written += sent
        self.ledger.wrote(sent)

    def _append(self, event: Event) -> Written:
        stream = self.plan.streams[event.stream]
        value = None
        if event.row is not None:
            schema = parse_schema(stream.schema, stream.name)
            (value,) = self._encoders[event.stream].encode(columns_of(schema, [event.row])).raw()
            assert value is not None
            value = {"": value, "cut": value[:-1], "junk": b"\x07" + value[1:], "empty": b""}[event.spoil]
        stamp = np.array([BEGAN_MS + event.at_ms], dtype=np.int64)
        ((partition, offset),) = self.broker.append(stream.topic, [event.key.encode()], [value], timestamps=stamp)
        bad = bool(event.spoil) or (value is None and not stream.compacted)
        return Written(event.stream, (stream.topic, partition, offset), event.key, None if event.spoil else event.row, bad)

    # -- rest ----------------------------------------------------------------------------------------------------------------

    def tasks(self) -> list[TaskId]:
        """All tasks of the plan."""
        return [(section.name, partition) for section in self.plan.sections for partition in range(section.partitions)]

    def _finished(self) -> bool:
        held = [(process, task) for process in self.processes for task in process.flow.tasks.values() if not process.asleep]
        done = {task.id for process, task in held if self._has_finished(process, task)}
        return all(task in done for task in self.tasks())

    def _has_finished(self, process: Process, task: Task) -> bool:
        return process.worker.settled() and task.finished()
