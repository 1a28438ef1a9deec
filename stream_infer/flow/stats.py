"""flow.stats: what the core counts as it goes, for telemetry, progress and reports. Nothing here influences an answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stream_infer.feedback import Joined
from stream_infer.flow.choice import Choice
from stream_infer.flow.notices import Pass
from stream_infer.records import Bools, Floats, Ints, Text
from stream_infer.topology.plan import DecideStep


@dataclass(slots=True)
class Answered:
    """Answers of one chunk. arm, answer, event_time: per row; arms: their names."""

    arms: tuple[str, ...]
    arm: Ints
    event_time: Ints
    shares: Floats
    policy_version: int
    ids: Text
    shadow: Floats | None  # what the first shadow would have answered


@dataclass(slots=True)
class Stats:
    """Totals since the start; drain() gives and clears what came since the last call."""

    records_read: int = 0  # of the users' streams, each once, however many tasks read it
    rows_in: int = 0  # worked on by tasks
    rows_answered: int = 0
    rows_rejected: dict[str, int] = field(default_factory=dict)
    stale_dropped: int = 0
    chunks: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    feedback: dict[str, int] = field(default_factory=dict)
    explanations: dict[tuple[str, str], int] = field(default_factory=dict)  # by stage and outcome
    installs: dict[str, int] = field(default_factory=dict)  # of published versions, by model
    install_failures: dict[str, int] = field(default_factory=dict)
    install_failed_last: dict[str, str] = field(default_factory=dict)  # why
    in_effect: dict[str, dict[int, int]] = field(default_factory=dict)  # published versions: model → partition → version
    answered_now: list[Answered] = field(default_factory=list)
    joined_now: list[Joined] = field(default_factory=list)
    batches_now: list[tuple[str, Pass]] = field(default_factory=list)  # by model

    def rejected(self, stage: str, count: int) -> None:
        """Rows went to the reject topic."""
        if count:
            self.rows_rejected[stage] = self.rows_rejected.get(stage, 0) + count

    def installed(self, model: str, failure: str | None) -> None:
        """A published version was installed (None) or is not to be had (why)."""
        if failure is None:
            self.installs[model] = self.installs.get(model, 0) + 1
        else:
            self.install_failures[model] = self.install_failures.get(model, 0) + 1
            self.install_failed_last[model] = failure

    def version(self, name: str, version: int) -> None:
        """A version took effect in some task."""
        self.versions[name] = max(version, self.versions.get(name, 0))

    def answered(self, step: DecideStep, choice: Choice, ok: Bools) -> None:
        """A chunk was answered."""
        self.chunks += 1
        self.rows_answered += int(np.count_nonzero(ok))
        first = step.shadows[0] if step.shadows else ""
        shadow = choice.outputs[first][ok, 0] if first in choice.outputs else None
        self.answered_now.append(
            Answered(step.arms, choice.arm[ok], choice.flowing.times[ok], choice.shares, choice.policy_version, choice.ids.take(ok), shadow)
        )

    def explained(self, stage: str, outcome: str, count: int) -> None:
        """Answers were explained, skipped (too many in a chunk), or could not be explained (failed)."""
        if count:
            self.explanations[stage, outcome] = self.explanations.get((stage, outcome), 0) + count

    def joined(self, step: str, joined: Joined) -> None:
        """Joined rows left a join."""
        for name, count in joined.counts.items():
            self.feedback[f"{step}.{name}"] = self.feedback.get(f"{step}.{name}", 0) + count
        if len(joined):
            self.joined_now.append(joined)

    def drain(self) -> tuple[list[Answered], list[Joined], list[tuple[str, Pass]]]:
        """What came since the last call."""
        out = self.answered_now, self.joined_now, self.batches_now
        self.answered_now, self.joined_now, self.batches_now = [], [], []
        return out
