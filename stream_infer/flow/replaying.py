"""flow.replaying: a section works through its chunks again, and tells instead of writing. recorded → *replaying* → rerun.

The code that decides is the code that decided; what differs is where versions come from and where answers go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from stream_infer.batching import Sizing
from stream_infer.flow.answering import Answering
from stream_infer.flow.calling import answered
from stream_infer.flow.commands import Command, Install, Produce
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.history import History, Version
from stream_infer.flow.merge import Chunk
from stream_infer.flow.recorded import Cut, Cuts
from stream_infer.flow.repeating import Told
from stream_infer.flow.stations import Begun
from stream_infer.flow.stats import Stats
from stream_infer.flow.versions import Static
from stream_infer.records import Bools, Column
from stream_infer.topology.plan import ExplainStep, Plan, SectionPlan, ShadowStep

Fixed = Mapping[str, Version | None]  # by name of model or policy: a version that answers throughout; None: the file's own


@dataclass(frozen=True, slots=True)
class Again:
    """A chunk of a task that was worked through again: what it held and what came of it."""

    partition: int
    begun: Begun


class Replaying(Answering):
    """Work of a section that writes nothing.

    cuts: as recorded (None: chunks are cut by event time, versions come as they came). wants: whether the rows of a chunk are to be
    answered; those of others only keep state. tell: is given the chunks that are wanted.
    """

    def __init__(
        self,
        plan: Plan,
        section: SectionPlan,
        partition: int,
        static: dict[str, Static],
        next_job: Callable[[], int],
        *,
        cuts: Cuts | None,
        history: History | None,
        fixed: Fixed,
        wants: Callable[[Chunk, Flowing], bool],
        tell: Callable[[Replaying, Again], None],
    ) -> None:
        self.sizing = Sizing({name: model.batch for name, model in plan.models.items()}, live=False)
        # No answer depends on its explanation, and nobody reads one here.
        section = replace(section, steps=tuple(step for step in section.steps if not isinstance(step, ExplainStep | ShadowStep)))
        super().__init__(plan, section, partition, static, next_job, Stats(), self.sizing, deterministic=cuts is None)
        self._recorded, self._history, self._fixed, self._wants, self._tell = cuts, history, fixed, wants, tell
        self._as_of_last: tuple[int, ...] | None = None  # versions of the last chunk that was answered
        self._put_once = False
        self.joins = []  # what feedback said is on record; nothing is learned here

    def _take_effect(self, begun: Begun) -> list[Command]:
        """By event time versions come as they came; as recorded, the chunk says which they were."""
        if self._recorded is not None:
            return []
        came = super()._take_effect(begun)
        if not came and (self._put_once or not self._fixed):
            return came
        self._put_once = True
        learned = [v for v in self._versions.installed() if v.name not in self._fixed]
        return came + self._put([Version(v, Install(v.name, v.version, v.payload)) for v in learned])

    def _decide(self, begun: Begun) -> list[Command]:
        """Ask the models where the answers are wanted, in the passes of then."""
        flowing = begun.flowing
        if self.deciding is None or flowing is None or not self._wants(begun.chunk, flowing):
            return []
        decider = self.deciding.decider
        commands: list[Command] = []
        cut = self._recorded.of(begun.chunk.number) if self._recorded is not None else None
        if cut is not None:
            models = list(decider.vectorisers)
            commands += self._as_of(cut, [decider.step.name, *models])
            passes = {name: [one for one in cut.passes if models[one.model] == name] for name in models}
            decider.as_recorded(Told(passes, cut.late))
            self.sizing.wall_ms = cut.wall_ms
        return commands + super()._decide(begun)

    def _as_of(self, cut: Cut, names: list[str]) -> list[Command]:
        """The versions that answered this chunk, policy first."""
        if not cut.versions or cut.versions == self._as_of_last:
            return []
        self._as_of_last = cut.versions
        assert self._history is not None
        assert self.deciding is not None
        step, policy = self.deciding.decider.step, cut.versions[0]
        used = list(zip(names, cut.versions, strict=True))
        if step.policy.kind in ("split", "canary"):
            shares = self._history.shares(step, policy, self._section.name, self._partition)
            self.deciding.decider.shares_now = lambda: (policy, shares)
            used = used[1:]
        return self._put([self._history.version(name, number) for name, number in used if number and name not in self._fixed])

    def _put(self, versions: list[Version]) -> list[Command]:
        """These versions answer from now on, and those that are fixed."""
        versions = [*versions, *(one for one in self._fixed.values() if one is not None)]
        self._versions.put(one.version for one in versions)
        return [one.install for one in versions if one.version.name in self._plan.models]

    def finish(self) -> list[Command]:
        """Tell of the chunk."""
        begun = self.line.take()
        if begun.choice is not None and self.deciding is not None:
            self.deciding.decider.close(begun.choice)
        if self.deciding is not None and (begun.flowing is None or self._wants(begun.chunk, begun.flowing)):
            self._tell(self, Again(self._partition, begun))
        return []

    def records(self, again: Again) -> list[Produce]:
        """The predictions and the decision log of a chunk, as they would be written."""
        chunk, choice = again.begun.chunk, again.begun.choice
        if choice is None or self.deciding is None:
            return []
        key, context = self.deciding.decider.key_column(), self.context.matrix(choice)
        return self.deciding.emitter.emit(choice, answered(choice), self._offsets(chunk), chunk.number, key, context)

    def said(self, again: Again, ok: Bools, names: tuple[str, ...]) -> dict[str, Column]:
        """Fields of the predictions of some rows of a chunk that was answered. ok: bool[rows]."""
        assert again.begun.choice is not None
        assert self.deciding is not None
        chunk = again.begun.chunk
        return self.deciding.emitter.told(again.begun.choice, ok, self._offsets(chunk), chunk.number, names)

    def advance(self, reached: int) -> list[Command]:
        """Rows that go on under another key promise how far they have come; nothing else does."""
        return self._repartitioner.advance(reached) if self._repartitioner is not None else []
