"""cli_sim: `stream-infer sim`: built-in topologies under faults, seed by seed; the story of the first run that breaks an invariant."""

from __future__ import annotations

from collections.abc import Callable

from stream_infer.sim.faults import CALM, STORM, Faults
from stream_infer.sim.scenarios import SCENARIOS, Scenario
from stream_infer.sim.verdict import differences, judge
from stream_infer.sim.world import Run, World

EVENTS = 300
STORY_LINES = 40
PROBLEMS_MAX = 20


def simulate(seed: int, seeds: int, say: Callable[[str], None]) -> int:
    """Run every scenario on each seed, live and deterministic; exit code 1 as soon as an invariant breaks, else 0."""
    totals: dict[str, int] = {}
    for number in range(seed, seed + seeds):
        for scenario in SCENARIOS.values():
            runs = _runs(scenario, number)
            problems = [line for run in runs for line in judge(run)] or differences(runs[0], runs[1])
            for run in runs:
                for name, count in run.counts.items():
                    totals[name] = totals.get(name, 0) + count
            if problems:
                _tell(scenario, number, problems, runs, say)
                return 1
    say(f"{seeds} seed{'s' if seeds > 1 else ''} from {seed}, {3 * len(SCENARIOS)} runs each: every invariant holds,")
    say("and faults changed no byte of any answer of the deterministic ones")
    say(", ".join(f"{totals.get(name, 0)} {words}" for name, words in COUNTED))
    return 0


COUNTED = (
    ("inputs", "inputs"),
    ("turns", "steps"),
    ("starts", "workers started"),
    ("killed", "killed"),
    ("fenced", "fenced after standing still"),
    ("left", "left in good order"),
)


def _runs(scenario: Scenario, seed: int) -> list[World]:
    """Calm and stormy over the same logs, both to be answered alike; and a stormy live one."""

    def world(faults: Faults, *, deterministic: bool) -> World:
        return World(Run(scenario, seed, faults, log_seed=seed, events=EVENTS, deterministic=deterministic, record=True)).run()

    return [world(CALM, deterministic=True), world(STORM, deterministic=True), world(STORM, deterministic=False)]


def _tell(scenario: Scenario, seed: int, problems: list[str], runs: list[World], say: Callable[[str], None]) -> None:
    say(f"{scenario.name}, seed {seed}:")
    for line in problems[:PROBLEMS_MAX]:
        say(f"    {line}")
    if len(problems) > PROBLEMS_MAX:
        say(f"    … and {len(problems) - PROBLEMS_MAX} more")
    story = next((run.story for run in runs if run.story), None) or runs[1].told()
    say("the story until then:")
    for line in story[-STORY_LINES:]:
        say(f"    {line}")
    say(f"again: stream-infer sim --seed {seed}")
