"""Versions promoted at random moments of runs under faults. Oracle: of a deterministic run, the same run in calm; of a live one, what
tasks told of each version: it must be, offset by offset, what answered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from stream_infer.errors import ModelError
from stream_infer.flow.commands import Install
from stream_infer.models.base import Model
from stream_infer.models.manifest import Manifest
from stream_infer.models.rollout import IN_EFFECT, PROMOTE, Book, Change, Told
from stream_infer.sim.chance import Chance
from stream_infer.sim.faults import CALM, SLOW, STORM, Faults
from stream_infer.sim.reading import all_of, predictions_of
from stream_infer.sim.scenarios import BEGAN_MS, SCENARIOS, probe
from stream_infer.sim.verdict import differences, judge
from stream_infer.sim.world import Run, World

CARDS = SCENARIOS["cards"]
FILE = "    artifact: none.safetensors\n"
SWAPPED = replace(CARDS, text=CARDS.text.replace(FILE, FILE + "    versions_kept: 1\n", 1))
SWAPS = 12


def broken(version: int) -> bool:
    return version % 5 == 3


@dataclass
class SwapWorld(World):
    """Version n shows its inputs, as the file's own does, with another digest. Every fifth cannot be installed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        chance = Chance(self.settings.log_seed, 9)
        self.swaps: list[tuple[int, Change]] = []
        for number in range(1, SWAPS + 1):
            at_ms, version = chance.below(20_000), chance.pick((number, number, number, max(0, number - 1)))
            sha = self._model(version).digest if version else ""
            manifest = Manifest("probe", version, f"{version}", sha, "linear") if version else None
            self.swaps.append((at_ms, Change("probe", number, PROMOTE, version, "sim", "", BEGAN_MS + at_ms, f"w{number}", manifest)))
        moments = sorted(at_ms for at_ms, _ in self.swaps)
        self.swaps = [(at_ms, replace(c, effective_ms=BEGAN_MS + at_ms)) for at_ms, (_, c) in zip(moments, self.swaps, strict=True)]
        if self.settings.deterministic:
            self._promote(SWAPS)

    def _model(self, version: int) -> Model:
        return probe(self.plan.models["probe"].columns(), f"version {version}")

    def _load(self, command: Install) -> Model:
        if broken(command.version):
            raise ModelError(f"v{command.version} is broken")
        return self._model(command.version)

    def _promote(self, count: int) -> None:
        for _ in range(count):
            _, change = self.swaps.pop(0)
            self.broker.append(self.plan.changes_topic, [b"probe"], [change.to_bytes()])

    def _start(self, slot: str) -> None:
        super()._start(slot)
        self.processes[-1].forwarder._load = self._load

    def _send_due(self) -> None:
        super()._send_due()
        self._promote(sum(at_ms <= self.broker.now_ms for at_ms, _ in self.swaps))

    def told_of_versions(self) -> list[Told]:
        values = [v for fetched in self.broker.dump(self.plan.changes_topic) for v in fetched.values.raw() if v is not None]
        return Book.of(values).told.get("probe", [])


def world(seed: int, faults: Faults, *, deterministic: bool) -> SwapWorld:
    found = SwapWorld(Run(SWAPPED, seed, faults, log_seed=seed, deterministic=deterministic))
    found.run()
    assert judge(found) == []
    return found


def versions(found: SwapWorld) -> dict[tuple[int, int], int]:
    """By source offset: the version that answered; label and weights agree."""
    answered = {}
    for read in all_of(found.broker, predictions_of(found.plan)):
        label, outputs = str(read.row["model_version"]), read.row["outputs"]
        version = int(label[1:].split("-")[0]) if label.startswith("v") else 0
        assert isinstance(outputs, list)
        assert outputs[-1] == sum(f"version {version}".encode() if version else b"probe")
        assert not broken(version)
        answered[int(str(read.row["source_partition"])), int(str(read.row["source_offset"]))] = version
    return answered


@pytest.mark.parametrize("seed", [*range(4), 122])  # 122: a pass ends after its task went and its version was let go
def test_faults_change_no_version_of_any_offset(seed: int) -> None:
    calm = world(seed, CALM, deterministic=True)
    assert len({*versions(calm).values()}) > 3
    for faults in (SLOW, STORM):
        other = world(seed, faults, deterministic=True)
        assert differences(calm, other) == []
        assert versions(other) == versions(calm)


@pytest.mark.parametrize("seed", range(4))
def test_live_each_offset_is_answered_by_the_version_that_was_told(seed: int) -> None:
    found = world(seed, STORM, deterministic=False)
    told = [one for one in found.told_of_versions() if one.what == IN_EFFECT]
    assert told
    for (partition, offset), version in versions(found).items():
        right = next((t.version for t in reversed(told) if t.partition == partition and t.offset <= offset), 0)
        assert version == right, f"[{partition}]@{offset}"


@pytest.mark.slow
@pytest.mark.parametrize("seeds", range(100, 300, 20))
def test_swaps_on_many_seeds(seeds: int) -> None:
    for seed in range(seeds, seeds + 20):
        test_faults_change_no_version_of_any_offset(seed)
        test_live_each_offset_is_answered_by_the_version_that_was_told(seed)
