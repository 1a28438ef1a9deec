"""flow.learning: what the learn section does with joined rows: new versions of policies and models. joined → *learning* → models topic.

(steps 10 and 11 in the life of an event)

Rows that closed before k·every_ms make the version that takes effect at (k+1)·every_ms: the epoch between gives the tasks
something to do while the version travels. Every version is a function of the joined rows alone, in their merged order.
"""

from __future__ import annotations

import numpy as np

from stream_infer.flow.channel import BEGIN, END
from stream_infer.flow.commands import Command, Produce
from stream_infer.flow.context import context_inputs
from stream_infer.flow.enrich import flowing_rows
from stream_infer.flow.merge import Chunk
from stream_infer.flow.notices import CallDone, Installed, InstallFailed
from stream_infer.flow.stats import Stats
from stream_infer.flow.versions import Static, mark
from stream_infer.learn.learner import Learner, learner_of
from stream_infer.learn.segments import SegmentLearner
from stream_infer.learn.stats import PolicyLearner
from stream_infer.models.version import ModelVersion
from stream_infer.records import Floats, Hashes, Ints, Lists, Matrix, Numbers, Text
from stream_infer.state import Store
from stream_infer.topology.plan import DecideStep, LearnStep, Plan, SectionPlan


class Learning:
    """Work of the learn section: one task, partition 0."""

    def __init__(self, plan: Plan, section: SectionPlan, static: dict[str, Static], stats: Stats) -> None:
        step = section.steps[0]
        assert isinstance(step, LearnStep)
        self._plan, self._section, self._step, self._stats = plan, section, step, stats
        decide = next(s for other in plan.sections for s in other.steps if isinstance(s, DecideStep) and s.name == step.policy_of)
        self._policy = _policy_learner(decide) if decide.policy.learns else None
        self._context = context_inputs(plan)
        self._learners: dict[str, Learner] = {}
        self.stores: dict[str, Store] = {}
        if self._policy is not None:
            self.stores[step.policy_of] = self._policy
        for model in self._context.models:
            assert model.learns is not None
            self.stores[model.name] = self._learners[model.name] = learner_of(model.learns, model.columns(), static[model.name].start)
        self._fresh: int | None = None  # the order key of the last row that no version covers yet
        self._rows = 0
        self._published = BEGIN
        self._made = BEGIN  # the edge of the last version: the end of a run may have come before it

    def start(self, chunk: Chunk) -> list[Command]:
        """Learn from the rows of the chunk, in order."""
        rows = flowing_rows(chunk, self._section.flowing)
        if rows is None:
            return []
        # Where the last chunk was full with the last row of an epoch, only this one tells that the epoch is over.
        commands = self.advance(int(rows.keys[0]))
        features = _matrix(rows.columns["features"], self._context.width)
        label, reward = _floats(rows.columns["label"]), _floats(rows.columns["reward"])
        if self._policy is not None:
            arm = rows.columns["arm"]
            assert isinstance(arm, Numbers)
            taught = (arm.values.astype(np.int64), reward, _floats(rows.columns["propensity"]))
            if isinstance(self._policy, SegmentLearner):
                self._policy.learn(*taught, _hashes(rows.columns["segment"]))
            else:
                self._policy.learn(*taught)
        first = 0
        for model in self._context.models:
            width = len(model.columns())
            self._learners[model.name].learn(features[:, first : first + width], label)
            first += width
        self._fresh = chunk.reached
        self._rows += len(rows)
        return commands

    @property
    def held(self) -> bool:
        """Never: what answers is not this section's business."""
        return False

    def installed(self, notice: Installed | InstallFailed) -> list[Command]:
        """Not this section's business."""
        assert notice.version
        return []

    def waiting(self) -> bool:
        """Learning is done at once."""
        return False

    def done(self, job: int, outputs: Floats, place: tuple[int, int] | None) -> list[Command]:
        """Never: this section asks no model."""
        raise AssertionError(f"job {job} in the learn section with {len(outputs)} answers at {place}")

    def failed(self, job: int, reason: str) -> list[Command]:
        """Never: this section asks no model."""
        raise AssertionError(f"job {job} in the learn section: {reason}")

    def called(self, notice: CallDone) -> list[Command]:
        """Never: this section calls nothing."""
        raise AssertionError(f"job {notice.job} in the learn section: a call")

    def overdue(self, now_ms: int) -> list[Command]:  # noqa: ARG002
        """Nobody is waited for."""
        return []

    def finish(self) -> list[Command]:
        """Nothing leaves before an epoch ends."""
        return []

    @property
    def hears_time(self) -> bool:
        """Epochs end by it."""
        return True

    def advance(self, reached: int) -> list[Command]:
        """At the end of an epoch: publish what is new, and promise that nothing takes effect before the one after next."""
        every = self._step.every_ms
        edge = END
        if reached < END:
            edge = reached // every * every
            if edge <= self._published:
                return []
            self._published = edge
        keys: list[bytes] = []
        values: list[bytes] = []
        # The first edge after the last row that was learned: how many empty epochs were passed at once depends on how much was read.
        made = None if self._fresh is None else max((self._fresh // every + 1) * every, self._made + every)
        if made is not None and made <= edge:
            self._made = made
            for version in self._versions(made // every, made + every):
                keys.append(version.name.encode())
                values.append(version.to_bytes())
                self._stats.version(version.name, version.version)
            self._fresh = None
        key, value = mark(self._published + 2 * every, reached if reached >= END else None)
        return [Produce(self._plan.models_topic, 0, Text.of([*keys, key], is_bytes=True), Text.of([*values, value], is_bytes=True))]

    def _versions(self, number: int, effective_ms: int) -> list[ModelVersion]:
        payloads = {name: learner.model().to_bytes() for name, learner in self._learners.items()}
        if self._policy is not None:
            payloads[self._step.policy_of] = self._policy.stats().to_bytes()
        return [ModelVersion.of(name, number, effective_ms, self._rows, payload) for name, payload in payloads.items()]

    def at_checkpoint(self) -> list[Command]:
        """Nothing waits for one."""
        return []

    def extra(self) -> object:
        """What the stores do not hold."""
        return {"fresh": self._fresh, "rows": self._rows, "published": self._published, "made": self._made}

    def restore(self, extra: object) -> list[Command]:
        """Undo extra()."""
        if isinstance(extra, dict):
            self._fresh, self._rows, self._published, self._made = extra["fresh"], extra["rows"], extra["published"], extra["made"]
        return []


def _matrix(column: object, width: int) -> Matrix:
    assert isinstance(column, Lists)
    rows: Ints = column.start[:, None] + np.arange(width, dtype=np.int64)
    return (
        np.ascontiguousarray(column.items[rows].astype(np.float32, copy=False)) if width else np.zeros((len(column), 0), dtype=np.float32)
    )


def _policy_learner(decide: DecideStep) -> PolicyLearner | SegmentLearner:
    arms, segment = len(decide.arms), decide.policy.segment
    return PolicyLearner(arms) if segment is None else SegmentLearner(arms, segment)


def _hashes(column: object) -> Hashes:
    assert isinstance(column, Numbers)
    return np.ascontiguousarray(column.values.astype(np.int64)).view(np.uint64)


def _floats(column: object) -> Floats:
    assert isinstance(column, Numbers)
    return column.floats()
