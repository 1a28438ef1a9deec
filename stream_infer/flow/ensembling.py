"""flow.ensembling: what an ensemble makes of what its members have said. choice, saying → *ensembling* → composing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_infer.batching import Sizing
from stream_infer.batching.patience import FAILED, LATE, STALLED
from stream_infer.decide.combine import combined
from stream_infer.decide.composed import Ensemble
from stream_infer.decide.graph import Graph, Node
from stream_infer.flow.choice import Choice, Said
from stream_infer.flow.repeating import late_told
from stream_infer.flow.saying import or_blank, or_none, take_over, trust, why
from stream_infer.records import Bools, Floats


class Ensembling:
    """The ensembles of one graph. step: its name, for what is counted."""

    def __init__(self, step: str, graph: Graph, sizing: Sizing) -> None:
        self._step, self._graph, self._sizing = step, graph, sizing

    def asks(self, choice: Choice, node: Node, made: Ensemble, said: Said) -> Bools:
        """bool[rows]: about which the members, then the judge, then the fallback are to be asked."""
        if said.phase == 0:
            if made.wait_ms_max is not None and self._sizing.live:
                said.due_ms = self._sizing.now_ms + made.wait_ms_max
                choice.due_ms = said.due_ms if choice.due_ms is None else min(choice.due_ms, said.due_ms)
            return said.now
        said.due_ms = None
        self.verdict(choice, node, made, said)
        if said.phase == 1 and made.judge is not None:
            return said.masks[node.phases[1][0]]
        return said.now & ~said.answered()

    def verdict(self, choice: Choice, node: Node, made: Ensemble, said: Said) -> None:
        """What can be said after this phase: the combined answers, or who the judge is to be asked about, or what it said."""
        if made.judge is None or said.phase == 1:
            enough = self._combine(choice, node, made, said)
            if made.judge is not None:
                said.masks = {node.phases[1][0]: enough}
            return
        confidence, missing, by = said.confidence, said.missing, said.by
        take_over(self._graph, choice, node, node.phases[1][0], said.masks[node.phases[1][0]])
        # The judge reads what the members say, and tells of them as if nobody stood between.
        said.confidence, said.missing, said.by = confidence, missing, by

    def _combine(self, choice: Choice, node: Node, made: Ensemble, said: Said) -> Bools:
        """Answers, confidence and who is missing, of what the members have said by now. bool[rows]: enough of them answered."""
        members = [choice.said[key] for key in node.phases[0]]
        self._pass_over_late(choice, node, made, said, members)
        nobody = np.zeros(len(said.now), dtype=np.bool_)
        in_time = [
            said.now & member.answered() & ~said.without.get(key, nobody) for key, member in zip(node.phases[0], members, strict=True)
        ]
        heard = [member.outputs if rows.any() else None for member, rows in zip(members, in_time, strict=True)]
        widths = [one.shape[1] for one in heard if one is not None]
        fitting = [None if one is None or (made.judge is None and one.shape[1] != widths[0]) else one for one in heard]
        there = np.stack([rows & (one is not None) for rows, one in zip(in_time, fitting, strict=True)])
        self._leave_out(members, made, said, there)
        enough: Bools = said.now & (there.sum(axis=0) >= made.quorum)
        if widths:
            blank = np.zeros((len(enough), widths[0]))
            trusted = np.stack([trust(member) for member in members])
            answers, confidence = combined(made, [blank if one is None else one for one in fitting], there, trusted)
            said.confidence = np.where(enough, confidence, or_blank(said.confidence, enough))
            if answers is not None:
                self._put(made, said, answers, enough)
        said.by = np.where(said.now, node.number, node.number if said.by is None else said.by)
        for row in np.flatnonzero(said.now & ~enough).tolist():
            silent = [key for key, here in zip(node.phases[0], there[:, row].tolist(), strict=True) if not here]
            told = "; ".join(why(self._graph, choice, key, row) for key in silent)
            answered = len(members) - len(silent)
            said.faults[row] = f"model {made.name}: {answered} of {len(members)} members answered, expected {made.quorum} ({told})"
        return enough

    def _pass_over_late(self, choice: Choice, node: Node, made: Ensemble, said: Said, members: list[Said]) -> None:
        """Which members are too late for which rows: those that have not answered by now, or had not when the chunk was first answered."""
        if made.wait_ms_max is None:
            return
        for place, (key, member) in enumerate(zip(node.phases[0], members, strict=True)):
            if choice.told is not None:
                late = choice.told.without(node.number, place, len(said.now))
            elif member.settled:
                continue
            else:
                late = said.now & ~member.answered()
            if late.any():
                said.without[key] = late
                choice.late += late_told(node.number, place, late)

    def _put(self, made: Ensemble, said: Said, answers: Floats, enough: Bools) -> None:
        """Sums of finite numbers may still be too large for one."""
        good = enough & np.isfinite(answers).all(axis=1)
        for row in np.flatnonzero(enough & ~good).tolist():
            said.faults[row] = f"model {made.name} gave {answers[row][~np.isfinite(answers[row])][0]}: what the members say is too large"
        said.outputs = np.where(good[:, None], answers, np.nan if said.outputs is None else said.outputs)

    def _leave_out(self, members: list[Said], made: Ensemble, said: Said, there: NDArray[np.bool_]) -> None:
        """Who is left out of which rows; of a member that is an ensemble too, also whom that did without."""
        missing = or_none(said.missing, said.now).copy()
        for name, member, here in zip(made.members, members, there, strict=True):
            absent = said.now & ~here
            missing[absent] |= self._graph.bits[name]
            if member.missing is not None:
                missing[here] |= member.missing[here]
            how = STALLED if member.stalled else FAILED if member.settled else LATE
            self._sizing.patience.count(self._step, name, how, int(np.count_nonzero(absent)))
        said.missing = missing
