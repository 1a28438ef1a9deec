"""Whole runs under faults: what must hold, that runs repeat, and that broken workers are caught. Oracle: stream_infer.sim.oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stream_infer import cli_sim
from stream_infer.cli_sim import simulate
from stream_infer.flow.notices import Read, Tick
from stream_infer.flow.worker import Worker
from stream_infer.sim.faults import CALM, SLOW, STORM, Faults
from stream_infer.sim.scenarios import SCENARIOS
from stream_infer.sim.story import replay
from stream_infer.sim.verdict import answers_of, differences, judge
from stream_infer.sim.world import Run, World
from tests.sim import mutants

NAMES = sorted(SCENARIOS)
ABORTS = Faults(commit=0.1, slow_fetch=0.5)  # and nothing else: no rebalance mends what an abort leaves behind


def run(name: str, seed: int, **settings: Any) -> World:
    plain: dict[str, Any] = {"faults": STORM, "log_seed": seed}
    return World(Run(SCENARIOS[name], seed, **(plain | settings))).run()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_faults_change_no_byte_of_any_answer(name: str, seed: int) -> None:
    calm = run(name, seed, faults=CALM)
    assert judge(calm) == []
    assert answers_of(calm)

    for faults in (SLOW, ABORTS, STORM):
        other = run(name, seed, faults=faults)
        assert judge(other) == []
        assert differences(calm, other) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(2))
def test_runs_go_on_where_the_one_before_came_to_its_end(name: str, seed: int) -> None:
    calm = run(name, seed, faults=CALM, legs=3)
    assert judge(calm) == []
    storm = run(name, seed, legs=3)
    assert judge(storm) == []
    assert differences(calm, storm) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(2))
def test_live_every_input_is_answered_once_under_faults(name: str, seed: int) -> None:
    assert judge(run(name, seed, deterministic=False)) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(40, 42))
def test_the_same_where_members_give_back_only_what_moves(name: str, seed: int) -> None:
    storm = run(name, seed, by_change=True)
    assert judge(storm) == []
    assert differences(run(name, seed, faults=CALM), storm) == []
    assert judge(run(name, seed, deterministic=False, by_change=True)) == []


def test_who_stood_still_while_others_finished_its_tasks_does_not_speak_for_them() -> None:
    """In this storm a process still holds the task that learns, halfway through, when another one has come to the end."""
    assert judge(run("flights", 156, events=400)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seeds", range(100, 400, 20))
def test_faults_change_no_byte_of_any_answer_on_many_seeds(name: str, seeds: int) -> None:
    for seed in range(seeds, seeds + 20):
        storm = run(name, seed, events=400)
        assert judge(storm) == [], seed
        assert differences(run(name, seed, faults=CALM, events=400), storm) == [], seed
        assert judge(run(name, seed, deterministic=False)) == [], seed
        assert judge(run(name, seed, deterministic=False, by_change=True)) == [], seed


@pytest.mark.slow
def test_the_storm_brings_every_kind_of_fault() -> None:
    worlds = [run(name, seed, deterministic=False) for name in NAMES for seed in range(2)]
    told = "\n".join(line for world in worlds for flow in world.flows for line in flow.lines)

    assert all(sum(world.counts.get(kind, 0) for world in worlds) > 0 for kind in ("killed", "fenced", "left"))
    assert "stands still" in told
    assert "revoked" in told


@pytest.mark.parametrize("name", NAMES)
def test_the_same_notices_lead_to_the_same_commands(name: str) -> None:
    world = run(name, 5, record=True)

    steps = [flow.recorded() for flow in world.flows]
    assert sum(len(recorded.steps) for recorded in steps) > 100
    assert [replay(recorded) for recorded in steps] == [[] for _ in steps]


def test_other_notices_lead_to_other_commands() -> None:
    """The comparison can fail: without one of its reads a record does not repeat."""
    recorded = run("cards", 1, faults=CALM, record=True).flows[0].recorded()
    read = next(i for i, (step, _) in enumerate(recorded.steps) if isinstance(step, Read))
    tick = next(i for i, (step, _) in enumerate(recorded.steps) if isinstance(step, Tick) and i > read)

    assert replay(replace(recorded, steps=recorded.steps[: tick + 1])) == []
    assert replay(replace(recorded, steps=[*recorded.steps[:read], *recorded.steps[read + 1 : tick + 1]]))


def test_one_seed_is_one_run() -> None:
    one, two = (run("flights", 9, deterministic=False, record=True) for _ in range(2))

    assert [[led for _, led in flow.steps] for flow in one.flows] == [[led for _, led in flow.steps] for flow in two.flows]
    assert one.counts == two.counts


# -- broken workers ------------------------------------------------------------------------------------------------------------

# Last: the seed to begin with, for seeds before it were seen to catch nothing, a second each.
WORKERS: list[tuple[type[Worker], str, bool, int]] = [
    (mutants.NoOwnership, "cards", False, 0),
    (mutants.SnapshotsAhead, "cards", False, 0),
    (mutants.RestoresFirst, "shops", False, 2),
    (mutants.ParksByOffsets, "flights", False, 16),
    (mutants.FollowsPositions, "cards", True, 10),
]


def caught(name: str, *, first: int = 0, seeds: int = 40, **settings: Any) -> list[str]:
    """What is wrong with the first run that is, of so many seeds from `first` on."""
    settings = {"faults": replace(STORM, stall=0.02), "events": 120} | settings
    for seed in range(first, first + seeds):
        found = judge(run(name, seed, **settings))
        if found:
            return found
    return []


@pytest.mark.parametrize(("kind", "name", "deterministic", "first"), WORKERS, ids=[kind.__name__ for kind, *_ in WORKERS])
def test_a_broken_worker_is_caught(kind: type[Worker], name: str, deterministic: bool, first: int) -> None:
    assert caught(name, first=first, kind=kind, deterministic=deterministic)


BUGS: list[tuple[Callable[[pytest.MonkeyPatch], None], str, bool, str]] = [
    (mutants.commits_positions, "cards", False, "is not answered"),
    (mutants.leaves_positions_out, "cards", False, "is answered 2 times"),
    (mutants.counts_repeated_feedback, "flights", True, "joined"),
    (mutants.forgets_what_waits, "flights", False, "is not answered"),
]


@pytest.mark.parametrize(("plant", "name", "deterministic", "says"), BUGS, ids=[plant.__name__ for plant, *_ in BUGS])
def test_a_planted_bug_is_caught(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None], name: str, deterministic: bool, says: str
) -> None:
    plant(monkeypatch)

    found = caught(name, deterministic=deterministic)
    assert any(says in line for line in found), found


def test_a_commit_before_the_work_is_done_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    mutants.checkpoints_within_chunks(monkeypatch)

    assert caught("cards", kind=mutants.CommitsAtOnce, deterministic=False)


def test_at_least_once_does_not_pass_for_exactly_once() -> None:
    found = caught("cards", guarantee="at_least_once", deterministic=False)

    assert any("is answered 2 times" in line for line in found)


def test_the_command_tells_the_story_of_a_broken_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_sim, "EVENTS", 100)  # a third of what it takes: the runs themselves are for the tests above
    said: list[str] = []
    assert simulate(0, 1, said.append) == 0
    assert "every invariant holds" in said[0]

    mutants.commits_positions(monkeypatch)
    said.clear()
    assert simulate(0, 20, said.append) == 1
    assert any("is not answered" in line for line in said)
    assert any("commit " in line for line in said)
    assert said[-1].startswith("again: stream-infer sim --seed")
