"""decide.graph: what a decide step asks, as a graph of models. composed → *graph* → flow.

A node is a forward pass or a composed model. Its *phases* are the models that it asks: those of one phase together, those of the next
when the phase before is through, for only then is it known which rows they are for. A node begins when everybody who may ask it has
asked, so that a model runs once for a chunk, over the rows of all who need it, whatever came in first.

Where that cannot be, since one who asks waits for the node itself (`small`, and where it is not sure a mean of `small` and `large`), the
later one asks a *repeat*: a node of the same model that has the answers of those before it, and runs for the rows that they did not.
Which node answers whom is found by unfolding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from stream_infer.decide.composed import Composed, Ensemble, phases
from stream_infer.decide.unfolding import Phases, unfold
from stream_infer.models.settings import ModelSettings

MEMBERS_MAX = 62  # of all ensembles that one stage asks: who is missing is told in the bits of one whole number


@dataclass(frozen=True)
class Node:
    """One model in its place. key: its name among nodes, which is the model's but for repeats; repeats: the node that it has answers of.

    composed: None for a forward pass, whose only phase is the models that it reads, if any; the judge of an ensemble asks nobody, for it
    reads what the members have said by then. sources: the node of each model that a forward pass reads; judges: the ensemble whose members
    these are; askers: how many phases ask it.
    timed: it runs only for ensembles that wait so long and no longer, so it may be left out; wait_ms_max: of the least patient of them.
    """

    key: str
    model: str
    composed: Composed | None
    phases: tuple[tuple[str, ...], ...]
    repeats: str | None = None
    sources: tuple[tuple[str, str], ...] = ()
    judges: str | None = None
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
        judges = {made.judge for made in composed.values() if isinstance(made, Ensemble)}
        asked = {name: () if name in judges else _reads(model) for name, model in models.items()}
        unfolded = unfold(roots, asked | {name: phases(made) for name, made in composed.items()})
        plain = {key: Node(key, one.model, composed.get(one.model), one.phases, one.repeats) for key, one in unfolded.items()}
        nodes = _numbered(roots, plain)
        leaves = tuple(node.model for node in nodes.values() if node.composed is None and node.repeats is None)
        ensembles = [node.composed for node in nodes.values() if isinstance(node.composed, Ensemble)]
        members = dict.fromkeys(member for made in ensembles for member in made.members)
        return Graph(
            roots=tuple(dict.fromkeys(roots)),
            nodes=nodes,
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


def _asking(nodes: Mapping[str, Node]) -> Iterator[str]:
    """Whom somebody asks, as often as somebody does."""
    return (part for node in nodes.values() for phase in node.phases for part in phase)


def _numbered(roots: Sequence[str], nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Each after what it asks and repeats, with what follows from who asks it."""
    asked: dict[str, int] = {}
    for part in _asking(nodes):
        asked[part] = asked.get(part, 0) + 1
    untimed, waits, sources = _untimed(roots, nodes), _waits(nodes), _sources(nodes)
    judged = {
        node.phases[1][0]: key for key, node in nodes.items() if isinstance(node.composed, Ensemble) and node.composed.judge is not None
    }
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
            judges=judged.get(key),
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
