"""decide.graph: what a decide step asks, as a graph of models. composed → *graph* → flow.

A node is a forward pass or a composed model. Its *phases* are the models that it asks: those of one phase together, those of the next
when the phase before is through, for only then is it known which rows they are for. A node begins when everybody who may ask it has
asked, so that a model runs once for a chunk, over the rows of all who need it, whatever came in first.

Where that cannot be, since one who asks waits for the node itself (`small`, and where it is not sure a mean of `small` and `large`), the
later one asks a *repeat*: a node of the same model that has the answers of the first, and runs for the rows that the first did not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from stream_infer.decide.composed import Composed, Ensemble, phases
from stream_infer.errors import Bug
from stream_infer.models.settings import ModelSettings

Phases = Mapping[str, Sequence[Sequence[str]]]  # by model
MEMBERS_MAX = 62  # of all ensembles that one stage asks: who is missing is told in the bits of one whole number


@dataclass(frozen=True)
class Node:
    """One model in its place. key: its name among nodes, which is the model's but for repeats; repeats: the node that it has answers of.

    composed: None for a forward pass, whose only phase is the models that it reads, if any; the judge of an ensemble asks nobody, for it
    reads what the members have said by then. sources: the node of each model that a forward pass reads. askers: how many phases ask it.
    timed: it runs only for ensembles that wait so long and no longer, so it may be left out; wait_ms_max: of the least patient of them.
    """

    key: str
    model: str
    composed: Composed | None
    phases: tuple[tuple[str, ...], ...]
    repeats: str | None = None
    sources: tuple[tuple[str, str], ...] = ()
    number: int = 0
    askers: int = 0
    timed: bool = False
    wait_ms_max: int | None = None


@dataclass(frozen=True)
class Graph:
    """nodes: by key, each after all that it asks. roots: arms and shadows. leaves: models that run forward passes.

    bits: of each member of an ensemble, in `missing`. plain: every root is a forward pass that reads no other. timed: some ensemble waits
    no longer than it says.
    """

    roots: tuple[str, ...]
    nodes: dict[str, Node]
    leaves: tuple[str, ...]
    bits: dict[str, int]
    plain: bool
    timed: bool

    @staticmethod
    def of(roots: Sequence[str], models: Mapping[str, ModelSettings], composed: Mapping[str, Composed]) -> Graph:
        """The graph of everything that the roots need."""
        nodes: dict[str, Node] = {}
        judges = {made.judge for made in composed.values() if isinstance(made, Ensemble)}

        def add(name: str) -> None:
            if name in nodes:
                return
            made = composed.get(name)
            mine = phases(made) if made is not None else () if name in judges else _reads(models[name])
            for phase in mine:
                for part in phase:
                    add(part)
            nodes[name] = Node(name, name, made, mine)

        for root in roots:
            add(root)
        leaves = tuple(name for name in nodes if name not in composed)
        while (late := _late(roots, nodes)) is not None:
            _repeat(nodes, *late)
        after = _after(nodes)
        if any((key, -1) in _reached_from((key, 0), after) for key in nodes):
            raise Bug(f"models wait for each other: {', '.join(nodes)}")
        ensembles = [node.composed for node in nodes.values() if isinstance(node.composed, Ensemble)]
        members = dict.fromkeys(member for made in ensembles for member in made.members)
        return Graph(
            roots=tuple(dict.fromkeys(roots)),
            nodes=_numbered(roots, nodes),
            leaves=leaves,
            bits={member: 1 << place for place, member in enumerate(members)},
            plain=len(leaves) == len(nodes) and not any(node.phases for node in nodes.values()),
            timed=any(made.wait_ms_max is not None for made in ensembles),
        )

    def under(self, name: str) -> tuple[str, ...]:
        """The models whose forward passes an answer of this one may take."""
        found = {self.nodes[key].model for key in reached([name], {key: node.phases for key, node in self.nodes.items()})}
        return tuple(leaf for leaf in self.leaves if leaf in found)

    def waited(self) -> list[tuple[tuple[str, ...], int]]:
        """Of each ensemble that waits so long and no longer: the models whose passes its members may take, and how long that is, ms."""
        found = []
        for node in self.nodes.values():
            made = node.composed
            if isinstance(made, Ensemble) and made.wait_ms_max is not None and node.repeats is None:
                under = {leaf for part in node.phases[0] for leaf in self.under(part)}
                found.append((tuple(leaf for leaf in self.leaves if leaf in under), made.wait_ms_max))
        return found


def _reads(model: ModelSettings) -> tuple[tuple[str, ...], ...]:
    reads = tuple(dict.fromkeys(entry.field for entry in model.inputs if entry.kind == "output"))
    return (reads,) if reads else ()


def reached(names: Sequence[str], asked: Phases) -> dict[str, None]:
    """The models and all that they ask, directly or not, each once; names without phases are left out."""
    found: dict[str, None] = {}
    todo = list(reversed(names))
    while todo:
        name = todo.pop()
        if name in found or name not in asked:
            continue
        found[name] = None
        todo += [part for phase in reversed(asked[name]) for part in reversed(phase)]
    return found


def circle(asked: Phases) -> list[str] | None:
    """Models that ask each other in a circle, the first of them at both ends; None where there is none."""
    done: set[str] = set()
    for start in asked:
        path: list[str] = []
        todo: list[tuple[str, bool]] = [(start, False)]
        while todo:
            name, over = todo.pop()
            if over:
                done.add(path.pop())
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name not in done and name in asked:
                path.append(name)
                todo.append((name, True))
                todo += [(part, False) for phase in reversed(asked[name]) for part in reversed(phase)]
    return None


# -- repeats -----------------------------------------------------------------------------------------------------------


def _asking(nodes: Mapping[str, Node]) -> Iterator[tuple[str, int, str]]:
    """(who asks, in which phase, whom)."""
    for node in nodes.values():
        for phase, parts in enumerate(node.phases):
            for part in parts:
                yield node.key, phase, part


def _late(roots: Sequence[str], nodes: Mapping[str, Node]) -> tuple[str, int, str] | None:
    """Somebody who asks a node only after that one is through; None where everybody can be waited for.

    Whoever waits in a circle asks later than others do: in a later phase than its first, or being a repeat, or being asked late itself and
    by nobody else. That one is given a repeat of its own, unless nobody else asks that node: then the circle goes on below it. Once asked
    by one alone a node stands in no circle that is not one without it, too: so this comes to an end, and then there is no circle.
    """
    after, asking = _after(nodes), list(_asking(nodes))
    askers: dict[str, list[tuple[str, int]]] = {key: [("", 0)] if key in roots else [] for key in nodes}
    for who, phase, part in asking:
        askers[part].append((who, phase))

    def late(who: str, phase: int) -> bool:
        alone = askers[who][0] if len(askers[who]) == 1 else ("", 0)
        return bool(phase or nodes[who].repeats) or (alone[0] != "" and late(*alone))

    # Repeats first, the newest before all: two that share what they ask are told apart at the later one.
    found = [(who, phase, part) for who, phase, part in reversed(asking) if len(askers[part]) > 1 and late(who, phase)]
    found.sort(key=lambda one: nodes[one[0]].repeats is None)
    for through in (True, False):
        for who, phase, part in found:
            if (who, phase) in _reached_from((part, len(nodes[part].phases) if through else -1), after):
                return who, phase, part
    return None


def _after(nodes: Mapping[str, Node]) -> dict[tuple[str, int], list[tuple[str, int]]]:
    """What comes after what. (key, -1): everybody has asked it; (key, phase): the phase begins; (key, number of phases): it is through."""
    after: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for node in nodes.values():
        for phase in range(len(node.phases) + 1):
            after.setdefault((node.key, phase - 1), []).append((node.key, phase))
        if node.repeats is not None:
            after.setdefault((node.repeats, len(nodes[node.repeats].phases)), []).append((node.key, 0))
    for who, phase, part in _asking(nodes):
        after.setdefault((who, phase), []).append((part, -1))
        after.setdefault((part, len(nodes[part].phases)), []).append((who, phase + 1))
    return after


def _reached_from(start: tuple[str, int], after: Mapping[tuple[str, int], Sequence[tuple[str, int]]]) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    todo = [start]
    while todo:
        event = todo.pop()
        if event not in found:
            found.add(event)
            todo += after.get(event, ())
    return found


def _repeat(nodes: dict[str, Node], who: str, phase: int, part: str) -> None:
    """Let the one who asks late ask a node of its own."""
    first = nodes[part]
    key = f"{first.model}, repeat {sum(node.model == first.model for node in nodes.values())}"
    nodes[key] = replace(first, key=key, repeats=part)
    asking = nodes[who]
    changed = tuple(key if name == part else name for name in asking.phases[phase])
    nodes[who] = replace(asking, phases=(*asking.phases[:phase], changed, *asking.phases[phase + 1 :]))


def _numbered(roots: Sequence[str], nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Each after what it asks and repeats, with what follows from who asks it."""
    asked: dict[str, int] = {}
    for _, _, part in _asking(nodes):
        asked[part] = asked.get(part, 0) + 1
    untimed, waits, sources = _untimed(roots, nodes), _waits(nodes), _sources(nodes)
    order: dict[str, Node] = {}

    def add(key: str) -> None:
        if key in order:
            return
        node = nodes[key]
        for part in (*(part for parts in node.phases for part in parts), *([node.repeats] if node.repeats is not None else [])):
            add(part)
        order[key] = replace(
            node,
            sources=tuple(sources.get(key, {}).items()),
            number=len(order),
            askers=asked.get(key, 0),
            timed=key not in untimed,
            wait_ms_max=waits.get(key),
        )

    for root in roots:
        add(root)
    return order


def _sources(nodes: Mapping[str, Node]) -> dict[str, dict[str, str]]:
    """By key of a forward pass, the nodes of the models that it may read."""
    found: dict[str, dict[str, str]] = {}
    for node in nodes.values():
        if node.phases:
            theirs = {nodes[key].model: key for key in node.phases[0]}
            judged = isinstance(node.composed, Ensemble) and node.composed.judge is not None
            if node.composed is None or judged:
                found[node.phases[1][0] if judged else node.key] = theirs
    return found


def _untimed(roots: Sequence[str], nodes: Mapping[str, Node]) -> set[str]:
    """The nodes that someone waits for as long as it takes."""
    found: set[str] = set()
    todo = list(roots)
    while todo:
        node = nodes[todo.pop()]
        if node.key in found:
            continue
        found.add(node.key)
        made = node.composed
        patient = node.phases[1:] if isinstance(made, Ensemble) and made.wait_ms_max is not None else node.phases
        todo += [part for phase in patient for part in phase]
    return found


def _waits(nodes: Mapping[str, Node]) -> dict[str, int]:
    """By key, the shortest time that an ensemble waits for it."""
    found: dict[str, int] = {}
    asked = {key: node.phases for key, node in nodes.items()}
    for node in nodes.values():
        made = node.composed
        if isinstance(made, Ensemble) and made.wait_ms_max is not None:
            for key in reached(node.phases[0], asked):
                found[key] = min(found.get(key, made.wait_ms_max), made.wait_ms_max)
    return found
