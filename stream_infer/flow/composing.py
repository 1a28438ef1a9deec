"""flow.composing: models made of other models, worked out as their parts answer. deciding → *composing* → asking.

Every model of the graph has a Said per choice, which goes through phases: asking its parts, asking those that follow, its own passes.
It begins when everybody who may ask it has asked, so each model runs once for a chunk, over the same rows whatever came in first: in a
deterministic run answers do not depend on the order in which passes end. All is done with masks over the rows of the chunk.

Live, an ensemble with `wait_ms_max` goes on without the members that are late. Their passes go on too, and what they say is dropped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.batching import Sizing
from stream_infer.batching.patience import FAILED, LATE, STALLED
from stream_infer.decide.combine import combined, measure
from stream_infer.decide.composed import Cascade, Ensemble, Route
from stream_infer.decide.graph import Graph, Node
from stream_infer.decide.where import COMPARISONS
from stream_infer.decide.where import rows as where_rows
from stream_infer.flow.asking import Asking
from stream_infer.flow.choice import Choice, Said
from stream_infer.flow.commands import Forward
from stream_infer.records import Bools, Floats, Ints, Lists


class Composing:
    """The graph of one decide step. step: its name, for what is counted."""

    def __init__(self, step: str, graph: Graph, asking: Asking, sizing: Sizing) -> None:
        self._step, self._graph, self._asking, self._sizing = step, graph, asking, sizing
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
        """Ensembles that have waited long enough go on."""
        dues = [said for said in choice.said.values() if said.due_ms is not None]
        for said in dues:
            if said.due_ms is not None and said.due_ms <= now_ms:
                said.due_ms, said.overdue = None, True
        choice.due_ms = min((said.due_ms for said in dues if said.due_ms is not None), default=None)
        return self.go_on(choice)

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
        elif node.composed is None and said.phase == len(node.phases) and not self._is_left_out(node, said):
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
        at_fault = np.zeros(len(said.need), dtype=np.bool_)
        at_fault[list(first.faults)] = True
        known = said.need & (first.answered() | at_fault)
        self._take_over(choice, node, node.repeats, known)
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
            wanted = self._ensemble_asks(choice, node, made, said)
        elif isinstance(made, Cascade) and said.phase:
            wanted = said.now & ~self._sure(choice, node, made, said)
        elif isinstance(made, Route):
            said.masks = self._routed(choice, node, made, said.now)
        for part in node.phases[said.phase]:
            other = choice.said[part]
            other.need = other.need | said.masks.get(part, wanted)
            other.asked += 1

    def _is_left_out(self, node: Node, said: Said) -> bool:
        """Whether a model that can be done without has not answered for so long that it is not even asked."""
        said.stalled = node.timed and self._sizing.live and self._sizing.patience.stalled(node.model)
        return said.stalled

    def _run(self, choice: Choice, node: Node, said: Said) -> list[Forward]:
        """The passes of a model, over rows for which all that it reads is there."""
        wanted, sources = said.now.copy(), dict(node.sources)
        for entry in self._asking.vectorisers[node.model].inputs:
            if entry.kind != "output":
                continue
            read = choice.said[sources[entry.field]]
            there = read.answered()
            if entry.missing is None:
                for row in np.flatnonzero(wanted & ~there).tolist():
                    said.faults[row] = self._why(choice, sources[entry.field], row)
                wanted &= there
            blank = np.full((len(choice), len(entry.columns())), np.nan)
            choice.columns[entry.source()] = Lists.of_matrix(blank if read.outputs is None else read.outputs)
            self._inherit(said, read, there & said.now)
        return self._asking.ask(choice, node.key, wanted, _sooner(choice.slack_ms, node.wait_ms_max))

    def _inherit(self, said: Said, read: Said, rows: Bools) -> None:
        """Who reads an answer that is not sure, or was made without someone, is not surer, and says so too."""
        if read.confidence is not None:
            mine = _or_blank(said.confidence, rows)
            said.confidence = np.where(rows, np.fmin(mine, read.confidence), mine)
        if read.missing is not None:
            bits = _or_none(said.missing, rows)
            said.missing = np.where(rows, bits | read.missing, bits)

    def _finish(self, choice: Choice, node: Node, said: Said) -> None:
        """The last phase is over: the answers of a composed model."""
        made = node.composed
        if made is None:
            return
        if isinstance(made, Ensemble) and made.fallback is not None:
            left = said.now & ~said.answered()
            self._take_over(choice, node, node.phases[-1][0], left)
            said.confidence = np.where(left & said.answered(), 0.0, _or_blank(said.confidence, left))
        elif isinstance(made, Ensemble):
            self._verdict(choice, node, made, said)
        elif isinstance(made, Cascade):
            self._take_over(choice, node, node.phases[1][0], said.now & ~said.answered())
        else:
            for part, mask in said.masks.items():
                self._take_over(choice, node, part, mask)
        answered = said.answered()
        said.faults = {row: reason for row, reason in said.faults.items() if not answered[row]}
        if said.outputs is not None:
            choice.outputs[node.key] = said.outputs

    def _take_over(self, choice: Choice, node: Node, part: str, rows: Bools) -> None:
        """In these rows, a model answers what another one says, and with that one's faults where it says nothing."""
        said, other = choice.said[node.key], choice.said[part]
        there = rows & other.answered()
        if other.outputs is not None and there.any():
            if said.outputs is None:
                said.outputs = np.full(other.outputs.shape, np.nan)
            there &= said.outputs.shape[1] == other.outputs.shape[1]  # a version that came later: check_fitting saw them alike
            if there.any():
                said.outputs[there] = other.outputs[there]
        by = np.full(len(rows), self._graph.nodes[part].number) if other.by is None else other.by
        said.by = np.where(there, by, np.full(len(rows), node.number) if said.by is None else said.by)
        if other.confidence is not None:
            said.confidence = np.where(there, other.confidence, _or_blank(said.confidence, rows))
        if other.missing is not None:
            bits = _or_none(said.missing, rows)
            said.missing = np.where(there, bits | other.missing, bits)
        for row in np.flatnonzero(rows & ~there).tolist():
            before, why = said.faults.get(row), self._why(choice, part, row)
            said.faults[row] = why if before is None else f"{before}; {why}"

    def _why(self, choice: Choice, key: str, row: int) -> str:
        """Why a model has no answer for a row."""
        said = choice.said[key]
        known = said.faults.get(row)
        return known or f"model {self._graph.nodes[key].model}: {'it is stalled' if said.stalled else 'no answer in time'}"

    # -- cascades and routes ---------------------------------------------------------------------------------------

    def _sure(self, choice: Choice, node: Node, made: Cascade, said: Said) -> Bools:
        """bool[rows]: the first model answered, and need not be asked about. Its answers are taken over."""
        key = node.phases[0][0]
        first = choice.said[key]
        there = said.now & first.answered()
        if first.outputs is None:
            return there
        value = measure(made.unless.field, first.outputs, _trust(first))
        sure: Bools = there & COMPARISONS[made.unless.operator](value, made.unless.literal)
        self._take_over(choice, node, key, sure)
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

    # -- ensembles -------------------------------------------------------------------------------------------------

    def _ensemble_asks(self, choice: Choice, node: Node, made: Ensemble, said: Said) -> Bools:
        """bool[rows]: about which the members, then the judge, then the fallback are to be asked."""
        if said.phase == 0:
            if made.wait_ms_max is not None and self._sizing.live:
                said.due_ms = self._sizing.now_ms + made.wait_ms_max
                choice.due_ms = said.due_ms if choice.due_ms is None else min(choice.due_ms, said.due_ms)
            return said.now
        said.due_ms = None
        self._verdict(choice, node, made, said)
        if said.phase == 1 and made.judge is not None:
            return said.masks[node.phases[1][0]]
        return said.now & ~said.answered()

    def _verdict(self, choice: Choice, node: Node, made: Ensemble, said: Said) -> None:
        """What can be said after this phase: the combined answers, or who the judge is to be asked about, or what it said."""
        if made.judge is None or said.phase == 1:
            enough = self._combine(choice, node, made, said)
            if made.judge is not None:
                said.masks = {node.phases[1][0]: enough}
            return
        confidence, missing, by = said.confidence, said.missing, said.by
        self._take_over(choice, node, node.phases[1][0], said.masks[node.phases[1][0]])
        # The judge reads what the members say, and tells of them as if nobody stood between.
        said.confidence, said.missing, said.by = confidence, missing, by

    def _combine(self, choice: Choice, node: Node, made: Ensemble, said: Said) -> Bools:
        """Answers, confidence and who is missing, of what the members have said by now. bool[rows]: enough of them answered."""
        members = [choice.said[key] for key in node.phases[0]]
        widths = [member.outputs.shape[1] for member in members if member.outputs is not None]
        fitting = [
            None if member.outputs is None or (made.judge is None and member.outputs.shape[1] != widths[0]) else member.outputs
            for member in members
        ]
        there = np.stack([said.now & member.answered() & (one is not None) for member, one in zip(members, fitting, strict=True)])
        self._leave_out(members, made, said, there)
        enough: Bools = said.now & (there.sum(axis=0) >= made.quorum)
        if widths:
            blank = np.zeros((len(enough), widths[0]))
            trust = np.stack([_trust(member) for member in members])
            answers, confidence = combined(made, [blank if one is None else one for one in fitting], there, trust)
            said.confidence = np.where(enough, confidence, _or_blank(said.confidence, enough))
            if answers is not None:
                self._put(made, said, answers, enough)
        said.by = np.where(said.now, node.number, node.number if said.by is None else said.by)
        for row in np.flatnonzero(said.now & ~enough).tolist():
            silent = [key for key, here in zip(node.phases[0], there[:, row].tolist(), strict=True) if not here]
            told = "; ".join(self._why(choice, key, row) for key in silent)
            answered = len(members) - len(silent)
            said.faults[row] = f"model {made.name}: {answered} of {len(members)} members answered, expected {made.quorum} ({told})"
        return enough

    def _put(self, made: Ensemble, said: Said, answers: Floats, enough: Bools) -> None:
        """Sums of finite numbers may still be too large for one."""
        good = enough & np.isfinite(answers).all(axis=1)
        for row in np.flatnonzero(enough & ~good).tolist():
            said.faults[row] = f"model {made.name} gave {answers[row][~np.isfinite(answers[row])][0]}: what the members say is too large"
        said.outputs = np.where(good[:, None], answers, np.nan if said.outputs is None else said.outputs)

    def _leave_out(self, members: list[Said], made: Ensemble, said: Said, there: NDArray[np.bool_]) -> None:
        """Who is left out of which rows; of a member that is an ensemble too, also whom that did without."""
        missing = _or_none(said.missing, said.now).copy()
        for name, member, here in zip(made.members, members, there, strict=True):
            absent = said.now & ~here
            missing[absent] |= self._graph.bits[name]
            if member.missing is not None:
                missing[here] |= member.missing[here]
            why = STALLED if member.stalled else FAILED if member.settled else LATE
            self._sizing.patience.count(self._step, name, why, int(np.count_nonzero(absent)))
        said.missing = missing


def _or_blank(confidence: Floats | None, rows: Bools) -> Floats:
    return np.full(len(rows), np.nan) if confidence is None else confidence


def _or_none(missing: Ints | None, rows: Bools) -> Ints:
    return np.zeros(len(rows), dtype=np.int64) if missing is None else missing


def _trust(said: Said) -> Floats:
    """float64[rows]: the confidence of an answer; 1 where it has none, being a single model's."""
    return np.ones(len(said.need)) if said.confidence is None else np.where(np.isnan(said.confidence), 1.0, said.confidence)


def _sooner(slack_ms: float | None, wait_ms: int | None) -> float | None:
    if wait_ms is None:
        return slack_ms
    return float(wait_ms) if slack_ms is None else min(slack_ms, float(wait_ms))
