"""Models made of models, worked out chunk by chunk. Oracle: the same graph row by row (graph_oracle), whatever the cuts and the order."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.batching import Sizing
from stream_infer.batching.patience import LATE_MAX
from stream_infer.decide.composed import Cascade, Ensemble
from stream_infer.decide.settings import PolicySettings, Where
from stream_infer.features.settings import Input
from stream_infer.flow.answers import Answers
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command, Forward
from stream_infer.flow.deciding import Decider
from stream_infer.flow.enrich import Flowing
from stream_infer.flow.repeating import Told
from stream_infer.flow.versions import VersionTable, statics
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Column, Numbers, Text
from stream_infer.topology.plan import DecideStep, StreamPlan
from tests.unit.flow.graph_oracle import Answer, Leaf, Oracle, Row, World, worlds

STREAM = StreamPlan("rows", "rows", "", 1, id="id")


def decider(world: World, *, live: bool = False) -> tuple[Decider, Sizing]:
    policy = PolicySettings("epsilon_greedy" if len(world.arms) > 1 else "fixed", epsilon=1.0)
    step = DecideStep("score", world.arms, policy, shadows=world.shadows)
    sizing = Sizing({name: settings.batch for name, settings in world.settings.items()}, live=live)
    versions = VersionTable(statics(world.settings, world.models))
    return Decider(step, STREAM, world.settings, versions, itertools.count(1).__next__, sizing, world.composed), sizing


def flowing(rows: tuple[Row, ...]) -> Flowing:
    numbers = np.array([int(row["row"]) for row in rows], dtype=np.int64)
    columns: dict[str, Column] = {name: Numbers(np.array([row[name] for row in rows])) for name in ("row", "x")}
    columns |= {"t": Text.of(row["t"] for row in rows), "id": Text.of(f"r{number}" for number in numbers)}
    return Flowing("rows", np.zeros(len(rows), dtype=np.int64), numbers, numbers, numbers, numbers, columns)


def run(made: Decider, world: World, rows: tuple[Row, ...], pick: Callable[[int], int], gone: frozenset[str] = frozenset()) -> Choice:
    """Begin a chunk and answer its passes in some order. gone: models that never answer."""
    choice, _, commands = made.begin(flowing(rows))
    assert choice is not None
    answer_all(made, world, commands, pick, gone)
    return choice


def answer_all(made: Decider, world: World, commands: list[Command], pick: Callable[[int], int], gone: frozenset[str]) -> None:
    waiting = [command for command in commands if isinstance(command, Forward) and command.model not in gone]
    while waiting:
        command = waiting.pop(pick(len(waiting)))
        try:
            more = made.done(command.job, world.models[command.model].forward(command.matrix))
        except ValueError as error:
            more = made.failed(command.job, str(error))
        waiting += [forward for forward in more if isinstance(forward, Forward) and forward.model not in gone]


def said(made: Decider, choice: Choice, place: int, name: str) -> Answer:
    """What a root said of a row."""
    one = choice.said[name]
    if not one.answered()[place]:
        return Answer(None)
    assert one.outputs is not None
    by = made.graph.nodes[name].number if one.by is None else int(one.by[place])
    bits = 0 if one.missing is None else int(one.missing[place])
    sure = None if one.confidence is None or np.isnan(one.confidence[place]) else float(one.confidence[place])
    names = [node.model for node in made.graph.nodes.values()]
    missing = frozenset(member for member, bit in made.graph.bits.items() if bits & bit)
    return Answer(tuple(one.outputs[place].tolist()), names[by], missing, sure)


def agree(got: Answer, expected: Answer) -> bool:
    if got.outputs is None or expected.outputs is None:
        return got.outputs is expected.outputs
    near = got.confidence == expected.confidence or (
        got.confidence is not None and expected.confidence is not None and abs(got.confidence - expected.confidence) < 1e-12
    )
    return near and (got.outputs, got.by, got.missing) == (expected.outputs, expected.by, expected.missing)


@given(worlds(), st.data())
def test_every_row_gets_what_the_graph_says_row_by_row(world: World, data: st.DataObject) -> None:
    made, _ = decider(world)
    oracle = Oracle(world.settings, world.composed, world.models)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(world.rows) - 1)), max_size=2)))
    for first, last in itertools.pairwise([0, *(cut for cut in cuts if cut < len(world.rows)), len(world.rows)]):
        rows = world.rows[first:last]
        choice = run(made, world, rows, lambda most: data.draw(st.integers(0, most - 1)))
        assert not choice.waits
        for place, row in enumerate(rows):
            arm = world.arms[int(choice.arm[place])]
            for name in {arm, *world.shadows}:
                got, expected = said(made, choice, place, name), oracle.answer(name, row)
                assert agree(got, expected), (name, row, got, expected)
            assert (place in choice.faults) == (oracle.answer(arm, row).outputs is None)
        made.close(choice) if choice in made.choices else None
    for model in world.models.values():
        clean = [row for row in model.asked if not model.flaws]
        assert len(clean) == len(set(clean)), "a model runs once for a row"


def leaf(name: str, outputs: int = 1, reads: tuple[str, ...] = (), flaws: dict[int, str] | None = None) -> tuple[ModelSettings, Leaf]:
    inputs = (Input("row"), Input("x"), *(Input(read, "output") for read in reads))
    settings = ModelSettings(name, "linear", inputs)
    return settings, Leaf(settings.columns(), outputs, sum(name.encode()), flaws or {})


ROWS: tuple[Row, ...] = tuple({"row": float(n), "x": n / 4 - 1, "t": "a"} for n in range(8))


def world_of(leaves: list[tuple[ModelSettings, Leaf]], *composed: Ensemble | Cascade, arm: str) -> World:
    settings = {made.name: made for made, _ in leaves}
    models = {made.name: model for made, model in leaves}
    return World(settings, {model.name: model for model in composed}, models, (arm,), (), ROWS)


def first(_: int) -> int:
    return 0


def test_the_dear_model_runs_on_the_unsure_rows_alone_and_the_cheap_one_once() -> None:
    """The dear one is a mean that the cheap one is a member of."""
    ensemble = Ensemble("both", ("small", "large"), (1.0, 1.0), "mean", 2)
    cascade = Cascade("two", "small", "both", Where("margin", ">=", 0.3))
    world = world_of([leaf("small"), leaf("large")], ensemble, cascade, arm="two")
    made, _ = decider(world)
    choice = run(made, world, ROWS, first)

    p = world.models["small"].inner.forward(np.array([[row["row"], row["x"]] for row in ROWS], dtype=np.float32))[:, 0]
    unsure = np.flatnonzero(abs(2 * p - 1) < 0.3).tolist()
    assert 0 < len(unsure) < len(ROWS)
    assert sorted(world.models["large"].asked) == unsure
    assert sorted(world.models["small"].asked) == list(range(len(ROWS)))
    answers = Answers(made.step, made.graph)
    answers.take(choice, slice(None), len(ROWS), np.zeros(1, dtype=np.int64), 1)
    assert answers.column("answered_by").to_list() == ["both" if row in unsure else "small" for row in range(len(ROWS))]
    assert [value is None for value in answers.column("confidence").to_list()] == [row not in unsure for row in range(len(ROWS))]
    assert answers.column("missing").to_list() == [None] * len(ROWS)


POISON = {2: "raise", 5: "nan", 6: "wide"}


def test_a_poisoned_batch_costs_the_rows_at_fault_and_no_other() -> None:
    world = world_of([leaf("net", flaws=POISON)], arm="net")
    made, _ = decider(world)
    choice = run(made, world, ROWS, first)

    assert {row: reason.split(",")[0] for row, reason in choice.faults.items()} == {
        2: "model net: row 2 is poison",
        5: "model net gave nan in output 0",
        6: "model net: got 2 outputs",
    }
    clean = np.array([[row["row"], row["x"]] for row in ROWS], dtype=np.float32)
    expected = world.models["net"].inner.forward(clean)[:, 0]
    got = choice.outputs["net"][:, 0]
    assert [got[row] == expected[row] for row in range(8)] == [row not in POISON for row in range(8)]


def test_a_wide_answer_that_comes_first_spoils_nobody_else() -> None:
    world = world_of([leaf("net", flaws={0: "wide"})], arm="net")
    made, _ = decider(world)
    choice, _, commands = made.begin(flowing(ROWS))
    assert choice is not None
    (whole,) = [command for command in commands if isinstance(command, Forward)]
    halves = [command for command in made.failed(whole.job, "not at once") if isinstance(command, Forward)]
    answer_all(made, world, [*halves], first, frozenset())
    assert list(choice.faults) == [0]


def test_in_an_ensemble_a_poisoned_row_is_only_without_that_member() -> None:
    ensemble = Ensemble("both", ("net", "plain"), (3.0, 1.0), "weighted_mean", 1)
    world = world_of([leaf("net", flaws=POISON), leaf("plain")], ensemble, arm="both")
    made, sizing = decider(world)
    choice = run(made, world, ROWS, first)

    assert choice.faults == {}
    missing = [said(made, choice, row, "both").missing for row in range(8)]
    assert missing == [frozenset({"net"}) if row in POISON else frozenset() for row in range(8)]
    assert [said(made, choice, row, "both").confidence == 0.25 for row in range(8)] == [row in POISON for row in range(8)]
    assert sizing.patience.left_out == {("score", "net", "failed"): 3}


def test_without_a_quorum_a_row_is_rejected_and_says_who_failed_and_how() -> None:
    ensemble = Ensemble("both", ("net", "plain"), (1.0, 1.0), "mean", 2)
    world = world_of([leaf("net", flaws=POISON), leaf("plain")], ensemble, arm="both")
    made, _ = decider(world)
    choice = run(made, world, ROWS, first)
    assert sorted(choice.faults) == sorted(POISON)
    assert choice.faults[2] == "model both: 1 of 2 members answered, expected 2 (model net: row 2 is poison)"


@pytest.mark.parametrize("live", [False, True])
def test_nobody_is_late_in_a_deterministic_run(live: bool) -> None:
    ensemble = Ensemble("both", ("net", "plain"), (1.0, 1.0), "mean", 1, wait_ms_max=50)
    world = world_of([leaf("net"), leaf("plain")], ensemble, arm="both")
    made, sizing = decider(world, live=live)
    sizing.now_ms = 1_000
    choice = run(made, world, ROWS, first, frozenset({"net"}))
    assert choice.waits
    assert made.overdue(1_049) == []
    assert choice.waits
    made.overdue(1_050)
    assert choice.waits is not live
    if live:
        assert {said(made, choice, row, "both").missing for row in range(8)} == {frozenset({"net"})}
        assert sizing.patience.out("net") == 1


def test_a_stalled_member_is_asked_no_more_until_one_of_its_passes_ends() -> None:
    ensemble = Ensemble("both", ("net", "plain"), (1.0, 1.0), "mean", 1, wait_ms_max=50)
    world = world_of([leaf("net"), leaf("plain")], ensemble, arm="both")
    made, sizing = decider(world, live=True)
    asked: list[list[str]] = []
    late: list[Forward] = []
    for turn in range(6):
        choice, _, commands = made.begin(flowing(ROWS))
        assert choice is not None
        passes = [command for command in commands if isinstance(command, Forward)]
        asked.append([forward.model for forward in passes])
        late += [forward for forward in passes if forward.model == "net"]
        answer_all(made, world, commands, first, frozenset({"net"}))
        sizing.now_ms += 100
        made.overdue(sizing.now_ms)
        assert not choice.waits
        assert not choice.faults
        made.close(choice)
        if turn == 4:  # the oldest pass ends at last: its answer changes nothing, but it is tried again
            sizing.patience.ended(late[0].job)
            assert made.done(late[0].job, np.zeros((8, 1))) == []
    assert asked == [["net", "plain"]] * 4 + [["plain"], ["net", "plain"]]
    assert sizing.patience.left_out == {("score", "net", "late"): 5 * 8, ("score", "net", "stalled"): 8}


@given(worlds(wait_ms_max=50, ensembles_alone=True), st.data())
def test_at_the_deadline_every_ensemble_goes_on_with_those_who_answered(world: World, data: st.DataObject) -> None:
    """A model never answers: at the deadline that all share, every ensemble says what it would had that model failed."""
    made, _ = decider(world, live=True)
    members = [name for model in world.composed.values() if isinstance(model, Ensemble) for name in model.members]
    gone = frozenset({data.draw(st.sampled_from(sorted(set(world.models))))})
    if not gone <= set(members) or gone & {*world.arms, *world.shadows}:
        return
    choice = run(made, world, world.rows, lambda most: data.draw(st.integers(0, most - 1)), gone)
    assert made.overdue(50) == []
    assert not choice.waits
    oracle = Oracle(world.settings, world.composed, world.models, gone)
    for place, row in enumerate(world.rows):
        for name in {world.arms[int(choice.arm[place])], *world.shadows}:
            got, expected = said(made, choice, place, name), oracle.answer(name, row)
            assert agree(got, expected), (name, row, got, expected)


def late_by_name(made: Decider, choice: Choice) -> frozenset[tuple[str, str, int]]:
    """(ensemble, member, row) of all that is on record."""
    found = set()
    for one in choice.late:
        ensemble = next(node.composed for node in made.graph.nodes.values() if node.number == one.node)
        assert isinstance(ensemble, Ensemble)
        rows = choice.flowing.offsets[one.first : one.first + one.rows].tolist()
        found |= {(ensemble.name, ensemble.members[one.member], row) for row in rows}
    return frozenset(found)


@given(worlds(wait_ms_max=50), st.data())
def test_whoever_is_late_for_whom_answers_are_those_of_the_others(world: World, data: st.DataObject) -> None:
    made, sizing = decider(world, live=True)
    choice = run_late(made, sizing, world, data)
    late = late_by_name(made, choice)
    oracle = Oracle(world.settings, world.composed, world.models, late=late)
    for place, row in enumerate(world.rows):
        for name in {world.arms[int(choice.arm[place])], *world.shadows}:
            got, expected = said(made, choice, place, name), oracle.answer(name, row)
            assert agree(got, expected), (name, row, got, expected, late)


def run_late(made: Decider, sizing: Sizing, world: World, data: st.DataObject) -> Choice:
    """A chunk whose passes end, and whose deadlines come, in any order."""
    choice, _, commands = made.begin(flowing(world.rows))
    assert choice is not None
    waiting = [command for command in commands if isinstance(command, Forward)]
    while choice.waits:
        turn = data.draw(st.integers(-1, len(waiting) - 1))
        if turn < 0:
            sizing.now_ms += 50
            waiting += [forward for forward in made.overdue(sizing.now_ms) if isinstance(forward, Forward)]
            continue
        command = waiting.pop(turn)
        try:
            more = made.done(command.job, world.models[command.model].forward(command.matrix))
        except ValueError as error:
            more = made.failed(command.job, str(error))
        waiting += [forward for forward in more if isinstance(forward, Forward)]
    return choice


@given(worlds(wait_ms_max=50), st.data())
def test_with_whom_it_went_on_without_on_record_a_chunk_is_answered_again_in_the_same_way(world: World, data: st.DataObject) -> None:
    made, sizing = decider(world, live=True)
    stalled = data.draw(st.sets(st.sampled_from(sorted(world.models)), max_size=1))
    sizing.patience.gave_up((-number, name) for name in stalled for number in range(1, LATE_MAX + 1))
    choice = run_late(made, sizing, world, data)

    again, _ = decider(world)
    again.as_recorded(Told({}, choice.late))
    other = run(again, world, world.rows, lambda most: data.draw(st.integers(0, most - 1)))
    assert not other.waits
    assert set(other.late) == set(choice.late)
    for place in range(len(world.rows)):
        for name in {world.arms[int(choice.arm[place])], *world.shadows}:
            assert said(made, choice, place, name) == said(again, other, place, name)
    assert sorted(choice.faults) == sorted(other.faults)


def nested(inner_ms: int, outer_ms: int, **last: str) -> World:
    inner = Ensemble("inner", ("a", "b"), (1.0, 1.0), "mean", 1 if not last else 2, wait_ms_max=inner_ms, **last)
    outer = Ensemble("outer", ("inner", "c"), (1.0, 1.0), "mean", 1, wait_ms_max=outer_ms)
    return world_of([leaf("a"), leaf("b"), leaf("c"), leaf("d")], inner, outer, arm="outer")


@pytest.mark.parametrize(
    ("world", "left_out"),
    [
        (nested(50, 50), "b"),  # both times are up: what the inner one can say by now counts
        (nested(40, 50), "b"),
        (nested(60, 50), "inner"),  # the inner one would wait longer than the outer one does
        (nested(50, 50, fallback="d"), "inner"),  # it needs one more pass, which would come too late
    ],
)
def test_of_nested_ensembles_the_inner_one_goes_on_first(world: World, left_out: str) -> None:
    made, sizing = decider(world, live=True)
    choice = run(made, world, ROWS, first, frozenset({"b"}))
    for sizing.now_ms in (40, 50):
        made.overdue(sizing.now_ms)
    assert not choice.waits
    assert {said(made, choice, row, "outer").missing for row in range(8)} == {frozenset({left_out})}
