"""flow.history: versions that were learned or published, and shares that stages had. models, changes topics → *history* → replaying."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.decide.canary import CanaryState
from stream_infer.errors import StreamInferError
from stream_infer.flow.commands import Install
from stream_infer.flow.transport import Logs
from stream_infer.flow.versions import MARK_KEY
from stream_infer.models.rollout import RESTART, SHARE, Book, Change
from stream_infer.models.version import ModelVersion
from stream_infer.records import Floats
from stream_infer.topology.plan import DecideStep, Plan


@dataclass(frozen=True, slots=True)
class Version:
    """One that answered, and how it is made ready again."""

    version: ModelVersion
    install: Install


class History:
    """What the models topic and the changes topic hold; each is read when the first of it is asked for."""

    def __init__(self, logs: Logs, plan: Plan) -> None:
        self._logs, self._plan = logs, plan
        self._learned: dict[tuple[str, int], bytes] | None = None
        self._book: Book | None = None

    def version(self, name: str, number: int) -> Version:
        """A version of a model or policy. StreamInferError when no topic holds it any more."""
        published = self._published(name, number)
        if published is not None and published.manifest is not None:
            manifest = published.manifest
            # Its label in predictions is made of the artifact's digest; the artifact itself is where the manifest says.
            made = ModelVersion(name, number, 0, 0, manifest.sha256, b"")
            return Version(made, Install(name, number, b"", manifest, published.golden))
        if self._learned is None:
            self._learned = self._read_models()
        found = self._learned.get((name, number)) or self._pinned(name, number)
        if found is None:
            raise self._gone(name, number)
        version = ModelVersion.from_bytes(found)
        return Version(version, Install(name, number, version.payload))

    def shares(self, step: DecideStep, number: int, section: str, partition: int) -> Floats:
        """float64[arms]: the shares of a split or canary under a version of its policy, in one task."""
        book = self._changes()
        if step.policy.canary is not None:
            mine = section, partition, number
            told = [one for one in book.told.get(step.name, []) if (one.section, one.partition, one.version) == mine]
            if told:
                return np.array([dict(told[-1].shares)[arm] for arm in step.arms])
            if number:
                where = f"version {number} of {step.name} in {section}[{partition}]"
                raise StreamInferError(f"{self._plan.changes_topic} does not tell the shares of {where}")
            share = CanaryState().share(step.policy.canary)
            return np.array([1.0 - share, share])
        by_hand: dict[str, float] = {}
        for change in book.changes.get(step.name, [])[:number]:
            if change.what in (SHARE, RESTART):
                by_hand = dict(change.shares)
        return np.array([by_hand[arm] for arm in step.arms] if by_hand else list(step.policy.shares))

    def _published(self, name: str, number: int) -> Change | None:
        model = self._plan.models.get(name)
        if model is None or model.versions_kept is None or not self._plan.changes_topic:
            return None
        return next((c for c in self._changes().changes.get(name, []) if c.version == number and c.manifest is not None), None)

    def _pinned(self, name: str, number: int) -> bytes | None:
        """A learned version that was pinned outlives the models topic."""
        pins = self._changes().changes.get(name, ())
        return next((change.payload for change in pins if change.version == number and change.payload), None)

    def _changes(self) -> Book:
        if self._book is None:
            batches = self._logs.read((self._plan.changes_topic, 0), 0) if self._plan.changes_topic else ()
            self._book = Book.of(value for fetched in batches for value in fetched.values.raw() if value is not None)
        return self._book

    def _read_models(self) -> dict[tuple[str, int], bytes]:
        found: dict[tuple[str, int], bytes] = {}
        for fetched in self._logs.read((self._plan.models_topic, 0), 0) if self._plan.models_topic else ():
            for key, value in zip(fetched.keys.raw(), fetched.values.raw(), strict=True):
                if value is not None and key != MARK_KEY:
                    version = ModelVersion.from_bytes(value)
                    found[version.name, version.version] = value
        return found

    def _gone(self, name: str, number: int) -> StreamInferError:
        known = sorted(version for other, version in self._learned or {} if other == name)
        there = f"v{known[0]} to v{known[-1]}, {len(known)} in all" if known else "none"
        return StreamInferError(
            f"version {number} of {name} is not on topic {self._plan.models_topic or '(there is none)'} any more\n"
            f"    got:      {there}\n"
            "    expected: every version that answered (the topic is compacted: of each name the newest stays for certain)\n"
            "    fix:      set min.compaction.lag.ms of the topic to as long as predictions are to be made again"
        )
