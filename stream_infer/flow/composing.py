"""flow.composing: models made of other models, worked out as their parts answer. deciding → *composing* → asking.

Every model of the graph has a Said per choice, which goes through phases: asking its parts, asking those that follow, its own passes.
It begins when everybody who may ask it has asked, so each model runs once for a chunk, over the same rows whatever came in first: in a
deterministic run answers do not depend on the order in which passes end. All is done with masks over the rows of the chunk.

Live, an ensemble with `wait_ms_max` goes on without the members that are late. Their passes go on too, and what they say is dropped.
"""

from __future__ import annotations

import numpy as np

from stream_infer.batching import Sizing
from stream_infer.decide.combine import measure
from stream_infer.decide.composed import Cascade, Ensemble, Route
from stream_infer.decide.graph import Graph, Node
from stream_infer.decide.where import COMPARISONS
from stream_infer.decide.where import rows as where_rows
from stream_infer.flow.asking import Asking
from stream_infer.flow.choice import Choice, Said
from stream_infer.flow.commands import Forward
from stream_infer.flow.ensembling import Ensembling
from stream_infer.flow.repeating import NOT_ASKED, LateTold
from stream_infer.flow.saying import or_blank, or_none, take_over, trust, why
from stream_infer.records import Bools, Lists


class Composing:
    """The graph of one decide step. step: its name, for what is counted."""

    def __init__(self, step: str, graph: Graph, asking: Asking, sizing: Sizing) -> None:
        self._graph, self._asking, self._sizing = graph, asking, sizing
        self._ensembling = Ensembling(step, graph, sizing)
        made = [node for node in reversed(graph.nodes.values()) if node.composed is not None]  # those who ask before those who are asked
        self._order = (*made, *(node for node in graph.nodes.values() if node.composed is None))

    def begin(self, choice: Choice, needs: dict[str, Bools], slack_ms: float | None) -> list[Forward]:
        """needs: bool[rows] by root. Passes to begin with."""
        nobody = np.zeros(len(choice), dtype=np.bool_)
        choice.said = {key: Said(needs[key] if key in needs else nobody.copy(), nobody) for key in self._graph.nodes}
        choice.columns, choice.slack_ms = dict(choice.flowing.columns), slack_ms
        return self.go_on(choice)

    def go_on(self, choice: Choice) -> list[Forward]:
        """Something has changed: whoever waited for it takes its next step."""
        asked: list[Forward] = []
        turning = True
        while turning:
            turning = False
            for node in self._order:
                turning |= self._turn(choice, node, asked)
        return asked

    def overdue(self, choice: Choice, now_ms: int) -> list[Forward]:
        """Ensembles that have waited long enough go on, those within others first: what they can say by now counts for the outer ones."""
        asked: list[Forward] = []
        for said in (choice.said[key] for key in self._graph.nodes):  # those who are asked before those who ask
            if said.due_ms is not None and said.due_ms <= now_ms:
                said.due_ms, said.overdue = None, True
                asked += self.go_on(choice)
        choice.due_ms = min((said.due_ms for said in choice.said.values() if said.due_ms is not None), default=None)
        return asked

    def awaits(self, choice: Choice, key: str) -> bool:
        """Whether what a model says may still change an answer."""
        if choice.said[key].settled or not choice.waits:
            return False
        askers = [node for node in self._order if node.repeats == key or any(key in phase for phase in node.phases)]
        return key in self._graph.roots or any(not choice.said[node.key].settled for node in askers)

    # -- turns -----------------------------------------------------------------------------------------------------

    def _turn(self, choice: Choice, node: Node, asked: list[Forward]) -> bool:
        """Take the next step of one model if nothing stands in its way."""
        said = choice.said[node.key]
        if said.settled:
            return False
        if said.phase < 0:
            if not self._begins(choice, node, said):
                return False
        elif not self._through(choice, node, said):
            return False
        if said.phase < 0 and not said.now.any():
            self._settle(choice, node)
            return True
        said.phase += 1
        if said.phase < len(node.phases):
            self._ask_parts(choice, node, said)
        elif node.composed is None and said.phase == len(node.phases) and not self._is_left_out(choice, node, said):
            asked += self._run(choice, node, said)
        else:
            self._finish(choice, node, said)
            self._settle(choice, node)
        return True

    def _begins(self, choice: Choice, node: Node, said: Said) -> bool:
        """Whether everybody has asked; what a repeat knows already is not worked out again."""
        if node.repeats is None:
            said.now = said.need
            return said.asked == node.askers or bool(said.need.all())
        first = choice.said[node.repeats]
        if said.asked < node.askers or not first.settled:
            return False
        known = first.answered()  # also what this one is not asked about: the next repeat has its answers from here
        known[list(first.faults)] = True
        take_over(self._graph, choice, node, node.repeats, known)
        said.now = said.need & ~known
        return True

    def _through(self, choice: Choice, node: Node, said: Said) -> bool:
        """Whether the phase it is in is over."""
        if said.phase == len(node.phases):
            return said.open == 0
        return (said.overdue and said.phase == 0) or all(choice.said[part].settled for part in node.phases[said.phase])

    def _settle(self, choice: Choice, node: Node) -> None:
        """Nothing more will come, and nothing more is asked."""
        said = choice.said[node.key]
        said.settled, said.due_ms = True, None
        for phase in node.phases[said.phase + 1 :]:
            for part in phase:
                choice.said[part].asked += 1

    def _ask_parts(self, choice: Choice, node: Node, said: Said) -> None:
        made = node.composed
        wanted = said.now
        if isinstance(made, Ensemble):
            wanted = self._ensembling.asks(choice, node, made, said)
        elif isinstance(made, Cascade) and said.phase:
            wanted = said.now & ~self._sure(choice, node, made, said)
        elif isinstance(made, Route):
            said.masks = self._routed(choice, node, made, said.now)
        for part in node.phases[said.phase]:
            other = choice.said[part]
            other.need = other.need | said.masks.get(part, wanted)
            other.asked += 1

    def _is_left_out(self, choice: Choice, node: Node, said: Said) -> bool:
        """Whether a model that can be done without has not answered for so long that it is not even asked."""
        if choice.told is not None:
            said.stalled = choice.told.not_asked(node.number)
        else:
            said.stalled = node.timed and self._sizing.live and self._sizing.patience.stalled(node.model)
        if said.stalled:
            choice.late.append(LateTold(node.number, NOT_ASKED, 0, 0))
        return said.stalled

    def _run(self, choice: Choice, node: Node, said: Said) -> list[Forward]:
        """The passes of a model, over rows for which all that it reads is there."""
        wanted, sources = said.now.copy(), dict(node.sources)
        without = choice.said[node.judges].without if node.judges is not None else {}
        for entry in self._asking.vectorisers[node.model].inputs:
            if entry.kind != "output":
                continue
            read = choice.said[sources[entry.field]]
            there = read.answered()
            outputs = read.outputs
            if outputs is not None and (late := without.get(sources[entry.field])) is not None:
                there &= ~late
                outputs = np.where(late[:, None], np.nan, outputs)
            if entry.missing is None:
                for row in np.flatnonzero(wanted & ~there).tolist():
                    said.faults[row] = why(self._graph, choice, sources[entry.field], row)
                wanted &= there
            blank = np.full((len(choice), len(entry.columns())), np.nan)
            choice.columns[entry.source()] = Lists.of_matrix(blank if outputs is None else outputs)
            self._inherit(said, read, there & said.now)
        return self._asking.ask(choice, node.key, wanted, _sooner(choice.slack_ms, node.wait_ms_max))

    def _inherit(self, said: Said, read: Said, rows: Bools) -> None:
        """Who reads an answer that is not sure, or was made without someone, is not surer, and says so too."""
        if read.confidence is not None:
            mine = or_blank(said.confidence, rows)
            said.confidence = np.where(rows, np.fmin(mine, read.confidence), mine)
        if read.missing is not None:
            bits = or_none(said.missing, rows)
            said.missing = np.where(rows, bits | read.missing, bits)

    def _finish(self, choice: Choice, node: Node, said: Said) -> None:
        """The last phase is over: the answers of a composed model."""
        made = node.composed
        if made is None:
            return
        if isinstance(made, Ensemble) and made.fallback is not None:
            left = said.now & ~said.answered()
            take_over(self._graph, choice, node, node.phases[-1][0], left)
            said.confidence = np.where(left & said.answered(), 0.0, or_blank(said.confidence, left))
        elif isinstance(made, Ensemble):
            self._ensembling.verdict(choice, node, made, said)
        elif isinstance(made, Cascade):
            take_over(self._graph, choice, node, node.phases[1][0], said.now & ~said.answered())
        else:
            for part, mask in said.masks.items():
                take_over(self._graph, choice, node, part, mask)
        answered = said.answered()
        said.faults = {row: reason for row, reason in said.faults.items() if not answered[row]}
        if said.outputs is not None:
            choice.outputs[node.key] = said.outputs

    # -- cascades and routes ---------------------------------------------------------------------------------------

    def _sure(self, choice: Choice, node: Node, made: Cascade, said: Said) -> Bools:
        """bool[rows]: the first model answered, and need not be asked about. Its answers are taken over."""
        key = node.phases[0][0]
        first = choice.said[key]
        there = said.now & first.answered()
        if first.outputs is None:
            return there
        value = measure(made.unless.field, first.outputs, trust(first))
        sure: Bools = there & COMPARISONS[made.unless.operator](value, made.unless.literal)
        take_over(self._graph, choice, node, key, sure)
        return sure

    def _routed(self, choice: Choice, node: Node, made: Route, rows: Bools) -> dict[str, Bools]:
        """bool[rows] by part: the rows that it answers."""
        keys = {self._graph.nodes[key].model: key for key in node.phases[0]}
        masks = {key: np.zeros(len(rows), dtype=np.bool_) for key in keys.values()}
        left = rows.copy()
        for where, name in made.cases:
            mine = left & where_rows(where, choice.flowing.columns)
            masks[keys[name]] |= mine
            left &= ~mine
        masks[keys[made.otherwise]] |= left
        return masks


def _sooner(slack_ms: float | None, wait_ms: int | None) -> float | None:
    if wait_ms is None:
        return slack_ms
    return float(wait_ms) if slack_ms is None else min(slack_ms, float(wait_ms))
