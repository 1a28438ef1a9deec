"""flow.playing: perturbed rows of composed answers go through the graph that answered. perturbed → *playing* → explaining.

They are asked in parts of at most ROWS_AT_ONCE, one after the other, of the versions that answered, as in a deterministic run: nobody is
late and no deadline counts, for what an answer is made of must not depend on who was slow. An ensemble goes on without a member whose
input is absent in a row, as it would for any row. But where the answer was given without a late member, or a model fails on a perturbed
row, or the row itself is answered now by others than then, there is no explanation, and the record says so. Neighbours are not touched.

Predictions wait for their explanations. So that a model which hangs does not hold up answers that could do without it, a live part of a
graph with `wait_ms_max` is given up when nothing has come back for long: no explanation is worth a prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from stream_infer.attribution import Attributions, AttributionSettings
from stream_infer.attribution.asking import ROWS_AT_ONCE
from stream_infer.attribution.game import Game, method_of, samples_of
from stream_infer.batching import Sizing
from stream_infer.decide.composed import Ensemble
from stream_infer.decide.graph import Graph, reached
from stream_infer.flow.asking import Asking
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Forward, Together
from stream_infer.flow.composing import Composing
from stream_infer.flow.perturbed import Originals, Perturbed, Perturbing
from stream_infer.flow.versions import VersionTable
from stream_infer.records import Bools, Floats, Hashes, Ints, Matrix
from stream_infer.topology.plan import Plan

By = tuple[str, frozenset[str]]  # the model whose answer it is, and the members that were left out
WAITS = 10  # times the longest wait_ms_max …
WAIT_MS_LEAST = 5_000  # … but at least this long: a pass has a thousand rows here, where an answer is waited for with few
SLOWER = 4  # than was measured a pass may be, before its time counts as none


class _Asking(Asking):
    """Forward passes over perturbed rows. A pass that raises is halved between originals: one alone is at fault with all of its rows."""

    def __init__(self, perturbing: Perturbing, plan: Plan, versions: VersionTable, next_job: Callable[[], int], sizing: Sizing) -> None:
        nodes = perturbing.graph.nodes
        super().__init__({key: node.model for key, node in nodes.items() if node.composed is None}, plan.models, versions, next_job, sizing)
        self._perturbing = perturbing

    def model_of(self, key: str) -> str:
        """Of a node."""
        return self._names[key]

    def _matrix(self, choice: Choice, model: str) -> Matrix:
        assert isinstance(choice, Perturbed)
        return self._perturbing.matrix(choice, model)

    def _gap(self, choice: Choice, model: str, matrix: Matrix, row: int) -> str:  # noqa: ARG002 — as others ask
        place = int(np.flatnonzero(~np.isfinite(matrix[row]))[0])
        return f"input `{self.vectorisers[model].columns[place]}` is absent"

    def _forward(self, choice: Choice, key: str, rows: Ints, together: Together | None = None) -> Forward:
        made = super()._forward(choice, key, rows, together)
        made.perturbed = True
        return made

    def done(self, choice: Choice, key: str, rows: Ints, outputs: Floats, place: tuple[int, int] | None) -> list[Forward]:
        """A pass ended; whose answers are not finite fails."""
        more = super().done(choice, key, rows, outputs, place)
        self._fail(choice, key, rows)
        return more

    def _again(self, choice: Choice, key: str, rows: Ints, reason: str) -> list[Forward]:
        assert isinstance(choice, Perturbed)
        owners = np.unique(choice.owner[rows])
        if len(owners) > 1:
            first = choice.owner[rows] < owners[len(owners) // 2]
            return [self._forward(choice, key, rows[first]), self._forward(choice, key, rows[~first])]
        choice.said[key].faults |= dict.fromkeys(rows.tolist(), reason)
        self._fail(choice, key, rows)
        return []

    def _fail(self, choice: Choice, key: str, rows: Ints) -> None:
        """Rows of a pass that have a fault now: their originals cannot be explained. Kept is the first, in whatever order passes end."""
        assert isinstance(choice, Perturbed)
        faults, number = choice.said[key].faults, self._perturbing.graph.nodes[key].number
        for row in rows.tolist() if faults else ():
            if row in faults:
                owner, found = int(choice.owner[row]), (row, number, faults[row])
                choice.failed[owner] = min(choice.failed.get(owner, found), found)


@dataclass(slots=True)
class Played:
    """Answers of one composed arm that are being explained. places: as whoever asked numbers them; given: how each was answered.

    todo: parts that are still to come; owner, masks, said: of the part under way, row by row, games: of its originals; at: how many of its
    rows were asked; choice: those that are being asked; due_ms: when they are given up. Of what has come back: found, faults, both by the
    places of whoever asked.
    """

    places: Ints
    keys: Hashes
    originals: Originals
    versions: dict[str, tuple[int, str]]
    given: list[By]
    todo: list[Ints]
    part: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    games: list[Game] = field(default_factory=list)
    owner: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    masks: Bools = field(default_factory=lambda: np.zeros((0, 0), dtype=np.bool_))
    said: Floats = field(default_factory=lambda: np.zeros(0))
    at: int = 0
    choice: Perturbed | None = None
    due_ms: float | None = None
    found: list[tuple[Ints, Attributions]] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)


class Playing:
    """One composed arm of an explain step. graph: of the decide step, by which its answers tell who gave them; live: of the process."""

    def __init__(
        self,
        plan: Plan,
        step: str,
        arm: str,
        settings: AttributionSettings,
        graph: Graph,
        versions: VersionTable,
        next_job: Callable[[], int],
        live: Sizing | None,
    ) -> None:
        self._arm, self._settings, self._graph = arm, settings, graph
        self._below = [graph.nodes[key] for key in reached([arm], {key: node.phases for key, node in graph.nodes.items()})]
        waits = [made.wait_ms_max for node in self._below if isinstance(made := node.composed, Ensemble) and made.wait_ms_max is not None]
        self._live = live if live is not None and live.live and waits else None
        self._wait_ms = max(WAITS * max(waits, default=0), WAIT_MS_LEAST)
        self.perturbing = Perturbing(arm, plan.models, plan.composed, settings)
        sizing = Sizing({name: model.batch for name, model in plan.models.items()}, live=False)
        self._asking = _Asking(self.perturbing, plan, versions, next_job, sizing)
        self._composing = Composing(step, self.perturbing.graph, self._asking, sizing)

    def begin(self, choice: Choice, rows: Ints, places: Ints, keys: Hashes) -> Played:
        """Rows of a choice that this arm answered. places: what they are called; keys: uint64[rows], what chance depends on."""
        late = self._late(choice, rows)
        faults = {
            place: f"the answer was given without {late[at]}, late then; only whole answers are explained"
            for at, place in enumerate(places.tolist())
            if at in late
        }
        kept = np.array([at for at in range(len(rows)) if at not in late], dtype=np.int64)
        rows, places, keys = rows[kept], places[kept], keys[kept]
        each = max(1, ROWS_AT_ONCE // (2 + samples_of(self._settings, self.perturbing.count)))
        parts = [np.arange(at, min(at + each, len(rows))) for at in range(0, len(rows), each)]
        given = self._by(self._graph, choice, rows)
        return Played(places, keys, self.perturbing.originals(choice, rows), choice.versions, given, parts, faults=faults)

    def _late(self, choice: Choice, rows: Ints) -> dict[int, str]:
        """Place of a row → the members that its answer did not wait for."""
        found: dict[int, dict[str, None]] = {}
        for node in self._below:
            said = choice.said[node.key]
            left = [(self._graph.nodes[key].model, late) for key, late in said.without.items()]
            for name, late in [*left, (node.model, said.now)] if said.stalled else left:
                for at in np.flatnonzero(late[rows]).tolist():
                    found.setdefault(at, {})[name] = None
        return {at: ", ".join(names) for at, names in found.items()}

    def go_on(self, played: Played) -> list[Forward]:
        """Ask on until something is to be waited for, or nothing is left."""
        while played.choice is None or not played.choice.waits:
            if played.choice is not None:
                self._hear(played, played.choice)
            if played.at == len(played.owner):
                if not played.todo:
                    return []
                self._deal(played)
            rows = slice(played.at, played.at + ROWS_AT_ONCE)
            made = self.perturbing.rows(played.originals, played.owner[rows], played.masks[rows], played.versions)
            played.choice = made
            asked = self._composing.begin(made, {self._arm: np.ones(len(made), dtype=np.bool_)}, None)
            made.waits = not made.said[self._arm].settled
            if made.waits:
                self._set_due(played, made)
                return asked
        return []

    def _set_due(self, played: Played, choice: Perturbed) -> None:
        """Something came back, or was asked: from now on it may take so long until the next does."""
        if self._live is not None:
            expected_s = sum(self._live.known_seconds(self._asking.model_of(key), len(rows)) for key, rows in choice.open.values())
            played.due_ms = self._live.now_ms + self._wait_ms + 1000 * SLOWER * expected_s

    def overdue(self, played: Played, now_ms: int) -> list[int]:
        """Give up what has been waited for too long. The jobs that nobody waits for any more."""
        choice = played.choice
        if choice is None or self._live is None or played.due_ms is None or played.due_ms > now_ms:
            return []
        slow = ", ".join(dict.fromkeys(model for _, model in self._asking.open(choice)))
        for owner in np.concatenate([played.part, *played.todo]).tolist():
            self._fault(played, owner, f"of a perturbed row: no answer of {slow} in time")
        self._live.patience.gave_up(self._asking.open(choice))
        played.choice, played.todo, played.at = None, [], len(played.owner)
        return list(choice.open)

    def ended(self, played: Played, job: int, outputs: Floats | None, reason: str, place: tuple[int, int] | None) -> list[Forward]:
        """A pass came back, or raised (outputs None)."""
        choice = played.choice
        assert choice is not None, "an answer without a question"
        key, rows = choice.open.pop(job)
        choice.said[key].open -= 1
        ask = self._asking
        asked = ask.failed(choice, key, rows, reason) if outputs is None else ask.done(choice, key, rows, outputs, place)
        asked += self._composing.go_on(choice)
        choice.waits = not choice.said[self._arm].settled
        self._set_due(played, choice)
        return asked + self.go_on(played)

    def _deal(self, played: Played) -> None:
        """The rows of the next part: of each original itself, the baseline, and what its game asks about."""
        played.part, played.at = played.todo.pop(0), 0
        count = self.perturbing.count
        played.games = [Game.of(self._settings, count, int(played.keys[place])) for place in played.part.tolist()]
        ends = np.array([[True] * count, [False] * count])
        played.masks = np.concatenate([np.concatenate([ends, game.masks]) for game in played.games])
        played.owner = np.repeat(played.part, [2 + len(game.masks) for game in played.games])
        played.said = np.full(len(played.owner), np.nan)

    def _hear(self, played: Played, choice: Perturbed) -> None:
        """What was said of the rows that were asked; who is at fault; and the explanations, when the part is over."""
        said, output = choice.said[self._arm], self._settings.output
        width = 0 if said.outputs is None else said.outputs.shape[1]
        for owner, (_, _, reason) in choice.failed.items():
            self._fault(played, owner, f"of a perturbed row: {reason}")
        if said.outputs is not None and output < width:
            played.said[played.at : played.at + len(choice)] = said.outputs[:, output]
        for row in np.flatnonzero(~said.answered()).tolist():
            self._fault(played, int(choice.owner[row]), f"of a perturbed row: {said.faults.get(row, 'there is no answer')}")
        if width and output >= width:
            for owner in np.unique(choice.owner).tolist():
                self._fault(played, owner, f"the model has no such output: got output {output}, expected 0 to {width - 1}")
        whole = np.flatnonzero(choice.masks.all(axis=1))
        for row, now in zip(whole.tolist(), self._by(self.perturbing.graph, choice, whole), strict=True):
            self._compare(played, int(choice.owner[row]), now)
        played.at += len(choice)
        played.choice = None
        if all(int(played.places[owner]) in played.faults for owner in played.part.tolist()):
            played.at = len(played.owner)
        if played.at == len(played.owner):
            self._attribute(played)

    def _compare(self, played: Played, owner: int, now: By) -> None:
        """An answer is explained only as it was given."""
        then = played.given[owner]
        if then[1] - now[1]:
            names = ", ".join(sorted(then[1] - now[1]))
            self._fault(played, owner, f"the answer was given without {names}, failed then; only whole answers are explained")
        elif then != now:
            self._fault(played, owner, f"{then[0]} answered then, {now[0]} answers the same row now: a member was late or failed")

    def _fault(self, played: Played, owner: int, reason: str) -> None:
        played.faults.setdefault(int(played.places[owner]), reason)

    def _attribute(self, played: Played) -> None:
        """The part is over: its explanations."""
        kept, parts, values, zeros = [], [], [], []
        at = 0
        for owner, game in zip(played.part.tolist(), played.games, strict=True):
            said = played.said[at : at + 2 + len(game.masks)]
            at += len(said)
            if int(played.places[owner]) not in played.faults:
                kept.append(owner)
                parts.append(game.parts(said[2:], float(said[0]), float(said[1])))
                values.append(float(said[0]))
                zeros.append(float(said[1]))
        if kept:
            method = method_of(self._settings)
            made = Attributions(method, "answer", np.stack(parts), np.array(values), np.array(zeros))
            played.found.append((played.places[kept], made))

    def _by(self, graph: Graph, choice: Choice, rows: Ints) -> list[By]:
        """Who answered each of these rows, and without whom."""
        said, models = choice.said[self._arm], [node.model for node in graph.nodes.values()]
        by = [self._arm] * len(rows) if said.by is None else [models[number] for number in said.by[rows].tolist()]
        bits = [0] * len(rows) if said.missing is None else said.missing[rows].tolist()
        left_out = {found: frozenset(name for name, bit in graph.bits.items() if bit & found) for found in dict.fromkeys(bits)}
        return [(model, left_out[found]) for model, found in zip(by, bits, strict=True)]
