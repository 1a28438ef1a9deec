"""flow.taking_effect: what answers, changed between two chunks of a task. versions, rollouts → *taking_effect* → answering.

(step 12 in the life of an event)
"""

from __future__ import annotations

from collections.abc import Callable

from stream_infer.flow.canaries import Canary, split_shares
from stream_infer.flow.channel import CHANGES, VERSIONS
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command, Install
from stream_infer.flow.notices import Installed, InstallFailed
from stream_infer.flow.rollouts import Rollouts
from stream_infer.flow.rows import Rows
from stream_infer.flow.stations import Begun
from stream_infer.flow.stats import Stats
from stream_infer.flow.versions import Static, VersionTable
from stream_infer.models.rollout import IN_EFFECT, PIN, UNPIN, Change, Told, read_record
from stream_infer.records import Floats, Text
from stream_infer.state import Store
from stream_infer.topology.plan import DecideStep, Plan, SectionPlan


class TakingEffect:
    """The versions of a task. stores: what of them is state; rollouts: None where nothing is published while the section runs."""

    def __init__(
        self, plan: Plan, section: SectionPlan, partition: int, static: dict[str, Static], stats: Stats, *, deterministic: bool
    ) -> None:
        self._models, self._partition, self._stats = plan.models, partition, stats
        self.table = VersionTable(static)
        self.stores: dict[str, Store] = {VERSIONS: self.table}
        self.rollouts: Rollouts | None = None
        self.canary: Canary | None = None
        if any(i.stream == CHANGES for i in section.inputs):
            kept = {name: m.versions_kept for name, m in plan.models.items() if m.versions_kept is not None and m.learns is None}
            self.rollouts = Rollouts(kept, section.name, plan.changes_topic, deterministic=deterministic)
            self.stores[CHANGES] = self.table.rollouts = self.rollouts

    def shares_of(self, step: DecideStep) -> Callable[[], tuple[int, Floats]] | None:
        """What gives the shares of a split or canary; None for other policies."""
        rollouts = self.rollouts
        if rollouts is None or step.policy.kind not in ("split", "canary"):
            return None
        if step.policy.canary is None:
            return lambda: split_shares(step, rollouts)
        self.canary = self.stores["canary"] = Canary(step, rollouts, lambda model: self.table.current(model)[0])
        return self.canary.policy

    def place(self, stands_at: Callable[[], tuple[str, int, int]]) -> None:
        """Tell where the first row stands that was not decided on."""
        if self.rollouts is not None:
            self.rollouts.place = stands_at

    def station(self, begun: Begun) -> list[Command]:
        """Versions of the chunk, just before its rows are decided on: those of the chunks ahead have been."""
        commands: list[Command] = []
        for taken in begun.chunk.taken:
            if taken.channel.stream == VERSIONS:
                commands += self._learned(taken.rows)
            elif taken.channel.stream == CHANGES:
                commands += self._changed(taken.rows)
        if self.canary is not None and begun.flowing is not None:
            commands += self.canary.at(begun.chunk.number, int(begun.flowing.keys[0]))
        return commands

    def _learned(self, rows: Rows) -> list[Command]:
        column = rows.columns["version"]
        assert isinstance(column, Text)
        commands: list[Command] = []
        for blob in column.raw():
            assert blob is not None
            version = self.table.apply(blob)
            if version is None:
                continue
            self._stats.version(version.name, version.version)
            if version.name in self._models:
                commands.append(Install(version.name, version.version, version.payload))
        return commands

    def _changed(self, rows: Rows) -> list[Command]:
        """Changes by hand. Of versions that were to answer one after the other, the last counts."""
        column = rows.columns["change"]
        assert isinstance(column, Text)
        assert self.rollouts is not None
        commands: list[Command] = []
        for blob in column.raw():
            record = read_record(blob or b"")
            if isinstance(record, Change):
                holds = self.rollouts.standing(record.name).holds(record)
                commands += self.rollouts.take(record)
                commands += self._pinned(record) if holds else []
            elif isinstance(record, Told) and self.canary is not None and record.name == self.canary.name:
                commands += self.canary.heard(record)
        self._note()
        last = {c.model: c for c in commands if isinstance(c, Install)}
        return [c for c in commands if not isinstance(c, Install) or last[c.model] is c]

    def _pinned(self, change: Change) -> list[Command]:
        """Of a model that learns: a version answers whatever is learned meanwhile, or the newest does again."""
        model = self._models.get(change.name)
        if model is None or model.learns is None or change.what not in (PIN, UNPIN):
            return []
        assert self.rollouts is not None
        version = self.table.pin(change.payload) if change.what == PIN else self.table.unpin(change.name)
        if version is None:
            return []
        self._stats.version(version.name, version.version)
        told = self.rollouts.tell_of(change.name, IN_EFFECT, version.version, change.why)
        return [Install(version.name, version.version, version.payload), told]

    def _note(self) -> None:
        """For the status page."""
        assert self.rollouts is not None
        for name in self._models:
            if name in self.rollouts:
                self._stats.in_effect.setdefault(name, {})[self._partition] = self.rollouts.current(name)[0]

    @property
    def held(self) -> bool:
        """Whether a version must be installed before the next chunk."""
        return self.rollouts is not None and self.rollouts.held

    def installed(self, notice: Installed | InstallFailed) -> list[Command]:
        """A published version is there, or is not to be had."""
        if self.rollouts is None or notice.model not in self.rollouts:
            return []
        commands = self.rollouts.installed(notice)
        self._note()
        return commands

    def used(self, model: str, choices: list[Choice]) -> frozenset[int]:
        """The published versions of a model that may still be asked for, by these choices too."""
        if self.rollouts is None or model not in self.rollouts:
            return frozenset()
        return self.rollouts.used(model).union(choice.versions[model][0] for choice in choices if model in choice.versions)

    def restored(self) -> list[Command]:
        """Install what is in effect again, after the stores were restored."""
        again: list[Command] = [Install(v.name, v.version, v.payload) for v in self.table.installed() if v.name in self._models]
        if self.rollouts is not None:
            self._note()
            again += self.rollouts.restored()
        return again
