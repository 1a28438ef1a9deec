"""decide.unfolding: which node answers each asking, so that nobody waits in a circle. composed → *unfolding* → graph.

Asking is worked through in the order in which one row after the other would be answered: root by root, phase by phase, all below a model
before the next. An asking is answered by a node that is there already, unless the asker came after the beginning of that node; then by a
new one, a repeat of the last node of the same model, whose own asking follows.

That ends, for each repeat is further down a path through the models, and they ask each other in no circle. And a new node closes no circle:
what it repeats is complete, nothing complete waits for those who are still asking (they are all above the asker), and so nothing that the
new node waits for waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Phases = Mapping[str, Sequence[Sequence[str]]]  # by model
Event = tuple[str, int]  # of a node: everybody has asked it (-1), a phase of its asking begins (0, 1, …), it is through (number of phases)


@dataclass(frozen=True)
class Unfolded:
    """One node. phases: the nodes that it asks; repeats: the node whose answers it has."""

    model: str
    phases: tuple[tuple[str, ...], ...]
    repeats: str | None


def unfold(roots: Sequence[str], asked: Phases) -> dict[str, Unfolded]:
    """The nodes of everything that the roots need, by key: a model's first node has its name. Each comes after all that it waits for."""
    work = _Unfolding(asked)
    for root in work.tall_first(roots):
        if root not in work.nodes:
            work.add(root, None)
    return work.nodes


class _Unfolding:
    """asked: by model. nodes: those that are complete."""

    def __init__(self, asked: Phases) -> None:
        self._asked = asked
        self.nodes: dict[str, Unfolded] = {}
        self._of: dict[str, list[str]] = {}  # complete nodes by model
        self._after: dict[Event, list[Event]] = {}  # what waits for what
        self._heights: dict[str, int] = {}

    def tall_first(self, models: Iterable[str]) -> list[str]:
        """Models before those that they ask: who is asked in a later phase of another one too can wait for that, and needs no repeat."""
        return sorted(dict.fromkeys(models), key=lambda model: -self._height(model))

    def add(self, model: str, asker: Event | None) -> str:
        """A new node and all that it asks. Its key."""
        before = self._of.setdefault(model, [])
        key = f"{model}, repeat {len(before)}" if before else model
        own = self._asked[model]
        for phase in range(-1, len(own)):
            self._follows((key, phase), (key, phase + 1))
        if before:
            self._follows(self._through(before[-1]), (key, 0))
        if asker is not None:
            self._follows(asker, (key, -1))
        phases = []
        for phase, parts in enumerate(own):
            keys = {part: self._answering((key, phase), part) for part in self.tall_first(parts)}
            phases.append(tuple(keys[part] for part in parts))
        self.nodes[key] = Unfolded(model, tuple(phases), before[-1] if before else None)
        before.append(key)
        return key

    def _answering(self, asker: Event, model: str) -> str:
        """The node that this asker asks."""
        for key in self._of.get(model, ()):
            if not self._waits(asker, (key, -1)):
                self._follows(asker, (key, -1))
                break
        else:
            key = self.add(model, asker)
        self._follows(self._through(key), (asker[0], asker[1] + 1))
        return key

    def _through(self, key: str) -> Event:
        return key, len(self.nodes[key].phases)

    def _follows(self, first: Event, then: Event) -> None:
        self._after.setdefault(first, []).append(then)

    def _waits(self, who: Event, first: Event) -> bool:
        """Whether it comes only after `first`."""
        found: set[Event] = set()
        todo = [first]
        while todo:
            event = todo.pop()
            if event == who:
                return True
            if event not in found:
                found.add(event)
                todo += self._after.get(event, ())
        return False

    def _height(self, model: str) -> int:
        if model not in self._heights:
            self._heights[model] = 1 + max((self._height(part) for parts in self._asked[model] for part in parts), default=0)
        return self._heights[model]
