"""Graphs of models. Oracle: for circles of waiting, a clock that lets every node take its turn; the rest by hand."""

from __future__ import annotations

from hypothesis import given

from stream_infer.decide.composed import Cascade, Composed, Ensemble
from stream_infer.decide.graph import Graph, circle, reached
from stream_infer.decide.settings import Where
from stream_infer.features.settings import Input
from stream_infer.models.settings import ModelSettings
from tests.unit.flow.graph_oracle import World, worlds

SURE = Where("margin", ">=", 0.5)


def models(*names: str, **reads: str) -> dict[str, ModelSettings]:
    plain = {name: ModelSettings(name, "linear", (Input("x"),)) for name in names}
    return plain | {name: ModelSettings(name, "linear", (Input("x"), Input(read, "output"))) for name, read in reads.items()}


def mean(name: str, *members: str, wait_ms_max: int | None = None, fallback: str | None = None) -> dict[str, Composed]:
    weights = (1.0,) * len(members)
    return {name: Ensemble(name, members, weights, "mean", len(members), wait_ms_max=wait_ms_max, fallback=fallback)}


def test_plain_models_make_a_plain_graph_in_the_order_of_the_arms() -> None:
    graph = Graph.of(("b", "a", "b"), models("a", "b", "c"), {})
    assert (graph.plain, graph.roots, graph.leaves, list(graph.nodes)) == (True, ("b", "a"), ("b", "a"), ["b", "a"])
    assert not graph.timed


def test_a_model_that_reads_another_comes_after_it_and_is_not_plain() -> None:
    graph = Graph.of(("late",), models("embed", late="embed"), {})
    assert (graph.plain, list(graph.nodes), graph.under("late")) == (False, ["embed", "late"], ("embed", "late"))
    assert graph.nodes["late"].sources == (("embed", "embed"),)


def test_who_asks_a_model_after_it_is_through_asks_a_repeat_of_it() -> None:
    two: dict[str, Composed] = {"two": Cascade("two", "small", "both", SURE), **mean("both", "small", "large")}
    graph = Graph.of(("two",), models("small", "large"), two)
    again = "small, repeat 1"
    assert graph.nodes["both"].phases == ((again, "large"),)
    assert (graph.nodes[again].repeats, graph.nodes[again].model) == ("small", "small")
    assert graph.under("two") == ("small", "large")


def test_two_cascades_in_opposite_order_do_not_wait_for_each_other() -> None:
    made: dict[str, Composed] = {"up": Cascade("up", "a", "b", SURE), "down": Cascade("down", "b", "a", SURE)}
    graph = Graph.of(("up", "down"), models("a", "b"), made)
    assert sum(node.repeats is not None for node in graph.nodes.values()) == 1
    assert takes_its_turn(graph)


def test_no_nest_of_cascades_and_ensembles_waits_in_a_circle() -> None:
    """Two askings for `a` and `b` in either order, at different depths, and a last resort that asks both anew."""
    made: dict[str, Composed] = {"up": Cascade("up", "a", "b", SURE), **mean("both", "a", "b", fallback="up")}
    graph = Graph.of(("top",), models("a", "b"), made | {"top": Cascade("top", "b", "both", SURE)})
    assert takes_its_turn(graph)
    assert [node.key for node in graph.nodes.values() if node.repeats is not None] == ["b, repeat 1", "a, repeat 1", "b, repeat 2"]


def test_who_asks_another_that_is_asked_too_comes_first_so_that_nobody_repeats() -> None:
    made: dict[str, Composed] = {"two": Cascade("two", "small", "both", SURE), **mean("both", "small", "large")}
    graph = Graph.of(("both", "two"), models("small", "large"), made)
    assert [node.key for node in graph.nodes.values() if node.repeats is not None] == ["small, repeat 1"]


def test_only_what_an_ensemble_may_do_without_is_timed() -> None:
    made = mean("quick", "a", "b", wait_ms_max=20, fallback="c") | mean("slow", "b", "quick")
    graph = Graph.of(("slow",), models("a", "b", "c"), made)
    assert {node.key: (node.timed, node.wait_ms_max) for node in graph.nodes.values()} == {
        "a": (True, 20),
        "b": (False, 20),
        "c": (False, None),
        "quick": (False, None),
        "slow": (False, None),
    }
    assert graph.timed
    assert graph.bits == {"b": 1, "quick": 2, "a": 4} or set(graph.bits) == {"a", "b", "quick"}


def takes_its_turn(graph: Graph) -> bool:
    """Whether everybody comes to an end, when each waits for all who may ask it, then for what it asks, phase by phase."""
    place = dict.fromkeys(graph.nodes, -1)
    asked = dict.fromkeys(graph.nodes, 0)
    moved = True
    while moved:
        moved = False
        for node in graph.nodes.values():
            at = place[node.key]
            if at == len(node.phases):
                continue
            ready = asked[node.key] == node.askers if at < 0 else all(place[p] == len(graph.nodes[p].phases) for p in node.phases[at])
            if at < 0 and node.repeats is not None:
                ready &= place[node.repeats] == len(graph.nodes[node.repeats].phases)
            if ready:
                place[node.key], moved = at + 1, True
                for part in node.phases[at + 1] if at + 1 < len(node.phases) else ():
                    asked[part] += 1
    return all(place[node.key] == len(node.phases) for node in graph.nodes.values())


@given(worlds())
def test_nobody_waits_in_a_circle_and_repeats_are_of_the_same_model(world: World) -> None:
    graph = Graph.of((*world.arms, *world.shadows), world.settings, world.composed)
    assert takes_its_turn(graph)
    for node in graph.nodes.values():
        for part in (part for phase in node.phases for part in phase):
            assert graph.nodes[part].number < node.number
        if node.repeats is not None:
            assert graph.nodes[node.repeats].model == node.model
            assert graph.nodes[node.repeats].number < node.number


def test_circles_are_found_and_told_from_end_to_end() -> None:
    assert circle({"a": [["b"]], "b": [["c"], ["d"]], "c": [], "d": [["b"]]}) == ["b", "d", "b"]
    assert circle({"a": [["a"]]}) == ["a", "a"]
    assert circle({"a": [["b", "c"]], "b": [["d"]], "c": [["d"]], "d": []}) is None


def test_reached_names_each_once_and_knows_no_strangers() -> None:
    asked = {"a": [["b"], ["c"]], "b": [["c"]], "c": [], "d": []}
    assert list(reached(["a", "x"], asked)) == ["a", "b", "c"]
