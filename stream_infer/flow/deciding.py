"""flow.deciding: which model answers each row, and its answer. enrich → *deciding* → emitting.

(steps 5 and 6 in the life of an event)

The draw is a function of the policy's seed and the decision's id, the propensities of the policy's version: a row that is read
again is decided again in the same way. A model that raises gets its batch back in halves until the row at fault is alone.

A row whose deadline (event time + deadline_ms) is over when it comes here is late. There is no wall clock in a deterministic run, so
there nothing is ever late.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.decide.composed import Composed
from stream_infer.decide.graph import Graph
from stream_infer.decide.policy import draw
from stream_infer.decide.segments import Segmented, SegmentShares, SegmentStats
from stream_infer.decide.where import rows as where_rows
from stream_infer.flow.asking import Asking
from stream_infer.flow.choice import Choice, Said
from stream_infer.flow.commands import Command
from stream_infer.flow.composing import Composing
from stream_infer.flow.enrich import Flowing, as_text, row_ids
from stream_infer.flow.repeating import Told
from stream_infer.flow.versions import VersionTable
from stream_infer.hashing import hash64, uniform
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Bools, Floats, Ints, Text
from stream_infer.topology.plan import DecideStep, StreamPlan


class Decider:
    """One decide step. next_job: gives a number never given before; sizing: of the process, shared by all its tasks.

    choices: that wait for answers, in the order in which they began. composed: models made of other models, by name; alone: as for Asking.
    """

    def __init__(
        self,
        step: DecideStep,
        stream: StreamPlan,
        models: dict[str, ModelSettings],
        versions: VersionTable,
        next_job: Callable[[], int],
        sizing: Sizing | None = None,
        composed: Mapping[str, Composed] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self.step, self._stream, self._versions = step, stream, versions
        self._sizing = sizing or Sizing({name: model.batch for name, model in models.items()}, live=False)
        self.graph = Graph.of(tuple(dict.fromkeys(step.arms + step.shadows)), models, composed or {})
        names = {key: node.model for key, node in self.graph.nodes.items() if node.composed is None}
        self._asking = Asking(names, models, versions, next_job, self._sizing, alone=alone)
        self.vectorisers = self._asking.vectorisers
        self._composing = None if self.graph.plain else Composing(step.name, self.graph, self._asking, self._sizing)
        self._told: Told | None = None
        self._shares: tuple[int, Floats] | None = None
        self._segments: SegmentShares | None = None
        self.shares_now: Callable[[], tuple[int, Floats]] | None = None  # of a split or canary
        self.choices: list[Choice] = []
        self._given_up: set[int] = set()  # jobs of passes that nobody waits for

    def as_recorded(self, told: Told) -> None:
        """The next chunk is worked through again, with the passes that it had and without those that were late."""
        self._told = told

    def begin(self, flowing: Flowing) -> tuple[Choice | None, Flowing | None, list[Command]]:
        """Decide for the rows that pass `where` and ask the models; the rows that are left out come back as well."""
        late = self._late(flowing)
        wanted = np.ones(len(flowing), dtype=np.bool_) if self.step.where is None else where_rows(self.step.where, flowing.columns)
        late &= wanted
        deadline = self.step.deadline
        if deadline is not None and late.any():
            self._sizing.count_late(self.step.name, deadline.late, int(np.count_nonzero(late)))
            if deadline.late == "drop":
                wanted &= ~late
        left_out = None
        if not wanted.all():
            left_out = flowing.take(~wanted)
            flowing, late = flowing.take(wanted), late[wanted]
        if not len(flowing):
            return None, left_out, []
        ids = self.ids(flowing)
        version, shares = self._policy()
        segmented = self._segmented(flowing)
        arm, propensity = self._drawn(flowing, ids, shares, segmented)
        choice = Choice(flowing, ids, arm, propensity, shares, version, self._current(), columns=flowing.columns, segmented=segmented)
        choice.wall_ms = self._sizing.wall_ms if deadline is not None else None
        choice.told = self._told
        self._treat_late(choice, late)
        commands = self._begin(choice, self._slack_ms(flowing))
        self._look(choice)
        if choice.waits:
            self.choices.append(choice)
        return choice, left_out, commands

    def _late(self, flowing: Flowing) -> Bools:
        """bool[rows]: their deadline is over."""
        now = self._sizing.wall_ms
        if self.step.deadline is None or now is None:
            return np.zeros(len(flowing), dtype=np.bool_)
        late: Bools = flowing.times + self.step.deadline.after_ms < now
        return late

    def _slack_ms(self, flowing: Flowing) -> float | None:
        """Time until the first deadline that can still be met; None where there is none. A clock ahead of ours gains nothing by it."""
        now, deadline = self._sizing.wall_ms, self.step.deadline
        if deadline is None or now is None:
            return None
        due = flowing.times[flowing.times + deadline.after_ms >= now]
        return float(min(int(due.min()) - now, 0) + deadline.after_ms) if len(due) else None

    def _treat_late(self, choice: Choice, late: Bools) -> None:
        """Late rows become rejects, or are answered by the fallback, which is the last arm and which no draw gives."""
        deadline, now = self.step.deadline, self._sizing.wall_ms
        if deadline is None or now is None or not late.any():
            return
        if deadline.late == "fallback":
            choice.arm[late] = len(self.step.arms) - 1
            choice.propensity = choice.propensity.copy()
            choice.propensity[late] = 1.0
        elif deadline.late == "topic":
            over = now - choice.flowing.times - deadline.after_ms
            choice.faults |= {row: f"late by {over[row]} ms" for row in np.flatnonzero(late).tolist()}

    def ids(self, flowing: Flowing) -> Text:
        """The ids of the rows: their own, or their address."""
        return row_ids(self._stream, flowing)

    def _drawn(self, flowing: Flowing, ids: Text, shares: Floats, segmented: Segmented | None) -> tuple[Ints, Floats]:
        """The arm of each row, and the share that it had."""
        if len(self.step.arms) == 1:
            return np.zeros(len(flowing), dtype=np.int64), np.full(len(flowing), shares[0])
        by = self.step.policy.by
        u = uniform(hash64(ids if by is None else as_text(flowing.columns[by])), self.step.policy.seed)
        if segmented is not None:
            arm = segmented.draw(u)
            return arm, segmented.shares[segmented.group, arm]
        arm = draw(shares, u)
        return arm, shares[arm]

    def _policy(self) -> tuple[int, Floats]:
        """The policy's version and its exact propensities, computed once per version."""
        if self.shares_now is not None:
            return self.shares_now()
        version, payload = self._versions.payload(self.step.name)
        if self._shares is None or self._shares[0] != version:
            stats = SegmentStats.from_bytes(payload) if payload else SegmentStats.zeros(len(self.step.arms))
            self._segments = SegmentShares(self.step.policy, stats)
            self._shares = (version, self._segments.pooled)
        return self._shares

    def _segmented(self, flowing: Flowing) -> Segmented | None:
        """The shares of each row under the policy's version, where it decides by segment."""
        settings = self.step.policy.segment
        if settings is None or self._segments is None:
            return None
        return self._segments.of(hash64(as_text(flowing.columns[settings.by])))

    def _current(self) -> dict[str, tuple[int, str]]:
        """(version, label) of every model. A composed arm has no version of its own: its label is made of those of all it may ask."""
        current = {name: self._versions.current(name) for name in self.graph.leaves}
        for name in self.step.arms if self._composing is not None else ():
            if name not in current:
                told = "\n".join(f"{leaf} {current[leaf][1]}" for leaf in self.graph.under(name))
                current[name] = 0, hashlib.sha256(told.encode()).hexdigest()[:12]
        return current

    def _needs(self, choice: Choice) -> dict[str, Bools]:
        """bool[rows] by root: the rows that it is to answer, or to leave a mark on."""
        needs = {}
        arms = self.step.arms
        for name in self.graph.roots:
            whole = len(arms) == 1 or name in self.step.shadows
            wanted = np.ones(len(choice), dtype=np.bool_) if whole else choice.arm == arms.index(name)
            if self.step.deadline is not None and choice.faults:  # so far only rows that came too late to be answered
                wanted[list(choice.faults)] = False
            needs[name] = wanted
        return needs

    def _begin(self, choice: Choice, slack_ms: float | None) -> list[Command]:
        """Ask the models for the rows that need them."""
        needs = self._needs(choice)
        if self._composing is not None:
            return [*self._composing.begin(choice, needs, slack_ms)]
        commands: list[Command] = []
        for name, wanted in needs.items():
            choice.said[name] = Said(wanted, wanted)
            commands += self._asking.ask(choice, name, wanted, slack_ms)
        return commands

    def asked(self, job: int) -> bool:
        """Whether this step asked for that pass."""
        return job in self._given_up or any(job in choice.open for choice in self.choices)

    def done(self, job: int, outputs: Floats, place: tuple[int, int] | None = None) -> list[Command]:
        """A forward pass ended. place: as notices.ForwardDone has it."""
        return self._ended(job, outputs, "", place)

    def failed(self, job: int, reason: str) -> list[Command]:
        """A forward pass raised."""
        return self._ended(job, None, reason, None)

    def _ended(self, job: int, outputs: Floats | None, reason: str, place: tuple[int, int] | None) -> list[Command]:
        choice = next((c for c in self.choices if job in c.open), None)
        if choice is None:
            assert job in self._given_up, "an answer without a question"
            self._given_up.discard(job)
            return []
        key, rows = choice.open.pop(job)
        choice.said[key].open -= 1
        commands: list[Command] = []
        if self._composing is None or self._composing.awaits(choice, key):
            if outputs is None:
                commands += self._asking.failed(choice, key, rows, reason)
            else:
                commands += self._asking.done(choice, key, rows, outputs, place)
        if self._composing is not None:
            commands += self._composing.go_on(choice)
        self._look(choice)
        return commands

    def overdue(self, now_ms: int) -> list[Command]:
        """Time went on: ensembles that have waited long enough go on without those who are late."""
        commands: list[Command] = []
        for choice in self.choices:
            if self._composing is not None and choice.due_ms is not None and choice.due_ms <= now_ms:
                commands += self._composing.overdue(choice, now_ms)
                self._look(choice)
        return commands

    def _look(self, choice: Choice) -> None:
        """Once every arm and shadow has said what it has to say, rows without an answer are at fault, and nobody waits for anything."""
        if self._composing is not None:
            choice.waits = not all(choice.said[name].settled for name in self.graph.roots)
        else:
            choice.waits = bool(choice.open)
        if choice.waits:
            return
        if choice.open:
            self._sizing.patience.gave_up(self._asking.open(choice))
            self._given_up |= choice.open.keys()
            choice.open.clear()
        # Only the model that was to answer can spoil a row; a shadow leaves no mark instead.
        for number, name in enumerate(self.step.arms):
            faults = choice.said[name].faults
            if faults:
                choice.faults |= {row: reason for row, reason in faults.items() if choice.arm[row] == number}

    def close(self, choice: Choice) -> None:
        """The rows of this choice have their answers."""
        assert not choice.waits, "a choice closed before its models answered"
        self.choices = [other for other in self.choices if other is not choice]

    def forget(self) -> None:
        """The task begins again from its last checkpoint; answers to what was asked before find nobody."""
        self.choices = []
        self._given_up = set()

    def key_column(self) -> str | None:
        """The column of the flowing rows that keys the predictions."""
        return self._stream.key


def answer_keys(choice: Choice, key: str | None) -> Text:
    """The record keys of predictions: the rows' own, or their ids."""
    return choice.ids if key is None else as_text(choice.flowing.columns[key])
