"""edge.version_comparing: two versions of a model, and how they did. control, looking → *version_comparing* → cli_models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stream_infer.edge.kafka import KafkaTransport
from stream_infer.edge.kafka_client import KafkaSettings
from stream_infer.edge.looking import rows_of
from stream_infer.edge.secrets import resolved
from stream_infer.errors import EnvironmentMissing
from stream_infer.flow.rows import GOOD, Intake
from stream_infer.models.rollout import Book
from stream_infer.topology.plan import DecideStep, FeedbackStep, Plan

NO_RECORD = "(the file of the topology)"
TOLD = ("artifact", "sha256", "kind", "parent", "made_from", "trained_on", "metrics", "features", "code", "golden")
NEEDED = ("prediction_id", "answer", "model", "model_version")


@dataclass
class Tally:
    """Of one version's answers: how many, their sum and sum of squares, rewards where feedback came."""

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0
    rewarded: int = 0
    rewards: float = 0.0

    def words(self) -> str:
        """One line."""
        if not self.rows:
            return "answered nothing"
        mean = self.total / self.rows
        spread = math.sqrt(max(0.0, self.squares / self.rows - mean * mean))
        reward = f", reward {self.rewards / self.rewarded:.4g} over {self.rewarded}" if self.rewarded else ""
        return f"{self.rows} answers, mean {mean:.6g}, spread {spread:.4g}{reward}"


def compared(plan: Plan, bootstrap: str, book: Book, name: str, one: int, two: int) -> str:
    """What differs between two published versions (0: the topology's own file), and what each answered and earned."""
    lines = [f"{name}: v{one} and v{two}"]
    versions = book.versions(name)
    for version in (one, two):
        if version and version not in versions:
            known = ", ".join(f"v{number}" for number in (0, *versions))
            raise EnvironmentMissing(f"model {name} has no v{version}", expected=f"one of: {known}")
    left, right = ({} if not v or (m := versions[v].manifest) is None else m.json() for v in (one, two))
    # Where one is the topology's own file, there is nothing to set the other's fingerprints against.
    keys = [key for key in TOLD if left.get(key) != right.get(key) and (left.get(key) or right.get(key))]
    keys = [key for key in keys if (left and right) or key in ("artifact", "sha256", "trained_on", "metrics")]
    lines += [f"  {key}: {_words(left, key)} → {_words(right, key)}" for key in keys]
    tallies = tally(plan, bootstrap, name)
    lines += [f"  v{version}: {tallies.get(version, Tally()).words()}" for version in (one, two)]
    return "".join(f"{line}\n" for line in lines)


def _words(manifest: Mapping[str, Any], key: str) -> str:
    value = manifest.get(key, "none") if manifest else NO_RECORD
    return ", ".join(f"{name} {one}" for name, one in value.items()) or "none" if isinstance(value, dict) else str(value)


def tally(plan: Plan, bootstrap: str, name: str) -> dict[int, Tally]:
    """By version, over all predictions that this model answered and that hold enough to tell."""
    found: dict[int, Tally] = {}
    by_id: dict[object, int] = {}
    for row in _predictions(plan, bootstrap):
        if row["model"] != name:
            continue
        label, answer = str(row["model_version"]), row["answer"]
        assert isinstance(answer, float)
        version = int(label[1:].split("-")[0]) if label.startswith("v") else 0
        mine = found.setdefault(version, Tally())
        mine.rows += 1
        mine.total += answer
        mine.squares += answer * answer
        by_id[row["prediction_id"]] = version
    if any(isinstance(step, FeedbackStep) for section in plan.sections for step in section.steps):
        for row in rows_of(plan, "joined", bootstrap):
            reward, told = row.get("reward"), by_id.get(row.get("prediction_id"))
            if isinstance(reward, float) and not math.isnan(reward) and told is not None:
                found[told].rewarded += 1
                found[told].rewards += reward
    return found


def _predictions(plan: Plan, bootstrap: str) -> Iterator[dict[str, object]]:
    group = f"{plan.name}.looking"
    transport = KafkaTransport(KafkaSettings(bootstrap, group, group, "at_least_once", resolved(plan.client)))
    try:
        for step in (s for section in plan.sections for s in section.steps if isinstance(s, DecideStep) and s.emits_to is not None):
            stream = plan.streams[step.emits_to or ""]
            intake = Intake(stream)
            if not {*NEEDED} <= {field.name for field in intake.schema.fields}:
                continue
            transport.partitions(stream.topic)  # told at once where it is not there
            for partition in range(stream.partitions):
                for fetched in filter(len, transport.read((stream.topic, partition), 0)):
                    rows = intake.rows(fetched)
                    columns = [rows.take(rows.flags == GOOD).columns[field].to_list() for field in NEEDED]
                    yield from (dict(zip(NEEDED, values, strict=True)) for values in zip(*columns, strict=True))
    finally:
        transport.close()
