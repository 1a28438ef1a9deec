"""flow.explaining: a share of the answers is explained: the model's worker is asked once more. deciding → *explaining* → answering.

Which answers is a function of their ids. The rows go to the very version that answered them, after the answers are known, in parts of
about one pass each, so that whoever waits for the same model waits no longer than for a chunk of answers. The chunk waits for its
explanations, for they commit with its predictions. Nothing that happens here spoils an answer: what cannot be explained says why.

A model's worker works out the explanation of a plain arm by itself. An arm that asks other models is explained here: see flow.playing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson

from stream_infer.attribution import Asked, Attributions
from stream_infer.attribution.asking import ROWS_AT_ONCE
from stream_infer.batching import Sizing
from stream_infer.codec.internal import EXPLANATION
from stream_infer.codec.rows import RowEncoder
from stream_infer.codec.schema import parse_schema
from stream_infer.decide.graph import Graph
from stream_infer.features.vectorise import Vectoriser
from stream_infer.flow.answers import Answers
from stream_infer.flow.choice import Choice
from stream_infer.flow.commands import Command, Forward, Produce
from stream_infer.flow.perturbed import is_made_of_others
from stream_infer.flow.playing import Played, Playing
from stream_infer.flow.stats import Stats
from stream_infer.flow.versions import VersionTable
from stream_infer.hashing import hash64, uniform
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Bools, Column, Floats, Hashes, Ints, Lists, Matrix, Numbers, Text
from stream_infer.topology.plan import DecideStep, ExplainStep, Plan

DRAW_SEED = 0x6578706C61696E  # of the share; other draws about the same ids have other seeds


@dataclass(slots=True)
class Explained:
    """Rows of one choice that are being explained. rows: ascending; open: job → arm and places in rows; parts: what came back, so far.

    matrices: of each plain arm, of all rows (those of other arms are not looked at); played: of the other arms; faults: place → why there
    is no explanation.
    """

    rows: Ints
    arm: Ints
    keys: Hashes
    matrices: dict[int, Matrix] = field(default_factory=dict)
    open: dict[int, tuple[int, Ints]] = field(default_factory=dict)
    parts: list[tuple[int, Ints, Attributions]] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    played: dict[int, Played] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether something is still to come back."""
        return bool(self.open) or any(played.choice is not None for played in self.played.values())


class Explaining:
    """One explain step of a task. decide: the step whose answers are explained."""

    def __init__(
        self,
        plan: Plan,
        step: ExplainStep,
        decide: DecideStep,
        next_job: Callable[[], int],
        versions: VersionTable,
        sizing: Sizing | None,
        into: int | None,
    ) -> None:
        self._step, self._decide, self._next_job, self._into = step, decide, next_job, into
        graph = Graph.of(decide.arms + decide.shadows, plan.models, plan.composed)
        made = {arm: name for arm, name in enumerate(decide.arms) if is_made_of_others(name, plan.models, plan.composed)}
        self._playing = {
            arm: Playing(plan, step.name, name, step.settings, graph, versions, next_job, sizing) for arm, name in made.items()
        }
        self._models = {arm: plan.models[name] for arm, name in enumerate(decide.arms) if arm not in made}
        self._vectorisers = {arm: Vectoriser(model.inputs) for arm, model in self._models.items()}
        self._starts = {arm: starts_of(model) for arm, model in self._models.items()}
        self._asked: dict[int, Explained] = {}
        self._played: list[tuple[int, Played]] = []  # by arm, those that wait
        self._given_up: set[int] = set()  # jobs of passes that nobody waits for
        self._answers = Answers(decide, graph)
        stream = plan.streams[step.to]
        self._topic = stream.topic
        self._encoder = RowEncoder(parse_schema(EXPLANATION), stream.format, stream.framing)

    def begin(self, choice: Choice, ok: Bools, stats: Stats) -> tuple[Explained | None, list[Command]]:
        """Ask for the explanations of those answers that are to have one. ok: bool[rows], which have an answer."""
        hashes = hash64(choice.ids)
        draw = uniform(hashes, DRAW_SEED)
        rows = np.flatnonzero(ok & (draw < self._step.share))
        if len(rows) > self._step.rows_max:
            stats.explained(self._step.name, "skipped", len(rows) - self._step.rows_max)
            rows = np.sort(rows[np.argsort(draw[rows], kind="stable")[: self._step.rows_max]])
        if not len(rows):
            return None, []
        explained = Explained(rows, choice.arm[rows], hashes[rows])
        columns = {name: column.take(rows) for name, column in choice.flowing.columns.items()}
        commands: list[Command] = []
        for arm in np.unique(explained.arm).tolist():
            places = np.flatnonzero(explained.arm == arm)
            if arm in self._playing:
                explained.played[arm] = self._playing[arm].begin(choice, rows[places], places, explained.keys[places])
                commands += self._go_on(explained.played[arm], self._playing[arm].go_on(explained.played[arm]), arm)
                continue
            explained.matrices[arm] = self._vectorisers[arm].matrix(columns)
            explained.versions[arm] = choice.versions[self._decide.arms[arm]][0]
            commands += [self._forward(explained, arm, part) for part in self._parts(arm, places)]
        return explained, commands

    def _go_on(self, played: Played, commands: Sequence[Forward], arm: int) -> Sequence[Forward]:
        """Remember who waits."""
        self._played = [(number, other) for number, other in self._played if other is not played]
        if played.choice is not None:
            self._played.append((arm, played))
        return commands

    def _ended(self, job: int, outputs: Floats | None, reason: str, place: tuple[int, int] | None) -> list[Command]:
        """A pass over perturbed rows came back, or raised (outputs None)."""
        mine = self._of(job)
        if mine is None:
            self._given_up.discard(job)
            return []
        arm, played = mine
        return [*self._go_on(played, self._playing[arm].ended(played, job, outputs, reason, place), arm)]

    def _of(self, job: int) -> tuple[int, Played] | None:
        """Whose perturbed rows that pass was about."""
        return next(((arm, played) for arm, played in self._played if played.choice is not None and job in played.choice.open), None)

    def _parts(self, arm: int, places: Ints) -> list[Ints]:
        """As many rows as make about one pass."""
        settings = self._step.settings
        best = {"linear": "linear", "torch": "integrated_gradients"}.get(self._models[arm].kind, "shap")
        method = best if settings.method == "auto" else settings.method
        cost = {"linear": 1, "integrated_gradients": settings.steps}.get(method, settings.samples)
        each = max(1, ROWS_AT_ONCE // cost)
        return [places[at : at + each] for at in range(0, len(places), each)]

    def _forward(self, explained: Explained, arm: int, places: Ints) -> Forward:
        job = self._next_job()
        explained.open[job], self._asked[job] = (arm, places), explained
        asked = Asked(self._step.settings, explained.keys[places], self._starts[arm], self._models[arm].batch.sizes)
        return Forward(job, self._decide.arms[arm], explained.versions[arm], explained.matrices[arm][places], explain=asked)

    def asked(self, job: int) -> bool:
        """Whether that pass was to explain."""
        return job in self._asked or job in self._given_up or self._of(job) is not None

    def overdue(self, now_ms: int) -> list[Command]:
        """Time went on: what is waited for too long is given up, and has no explanation."""
        for arm, played in self._played:
            self._given_up.update(self._playing[arm].overdue(played, now_ms))
        self._played = [(arm, played) for arm, played in self._played if played.choice is not None]
        return []

    def forget(self) -> None:
        """The task begins again from its last checkpoint."""
        self._asked.clear()
        self._played.clear()
        self._given_up.clear()

    def done(self, job: int, outputs: Floats, place: tuple[int, int] | None) -> list[Command]:
        """Explanations came back, of which one that is not finite is none; or answers to perturbed rows."""
        explained = self._asked.pop(job, None)
        if explained is None:
            return self._ended(job, outputs, "", place)
        arm, places = explained.open.pop(job)
        finite = np.isfinite(outputs).all(axis=1)
        explained.faults |= dict.fromkeys(places[~finite].tolist(), "the attributions are not finite")
        if finite.any():
            explained.parts.append((arm, places[finite], Attributions.from_matrix(outputs[finite])))
        return []

    def failed(self, job: int, reason: str) -> list[Command]:
        """Halve the part until the row at fault is alone: its neighbours shall have their explanations."""
        explained = self._asked.pop(job, None)
        if explained is None:
            return self._ended(job, None, reason, None)
        arm, places = explained.open.pop(job)
        if len(places) == 1:
            explained.faults[int(places[0])] = reason
            return []
        middle = len(places) // 2
        return [self._forward(explained, arm, places[:middle]), self._forward(explained, arm, places[middle:])]

    def emit(self, explained: Explained, choice: Choice, ok: Bools, stats: Stats) -> list[Produce]:
        """One record for each answer that was to be explained. ok: bool[rows], which still have an answer."""
        assert not explained.waits, "explanations are told before they came"
        kept = np.flatnonzero(ok[explained.rows])
        if not len(kept):
            return []
        count = len(explained.rows)
        listed: list[bytes] = [b"[]"] * count
        values, parts = [np.zeros(0)] * count, [np.zeros(0)] * count
        numbers = np.full((4, count), np.nan)  # value, baseline, error, rest
        method, unit = [self._step.settings.method] * count, ["answer"] * count
        found_by_arm = explained.parts + [(arm, *one) for arm, played in explained.played.items() for one in played.found]
        faults = explained.faults | {place: why for played in explained.played.values() for place, why in played.faults.items()}
        for arm, places, found in found_by_arm:
            told = np.stack([found.value, found.baseline, found.error], axis=1)
            inputs = [self._inputs(explained, arm, int(place)) for place in places]
            for at, place in enumerate(places.tolist()):
                names, value = inputs[at]
                top = _top(found.parts[at], self._step.top_k)
                listed[place] = orjson.dumps([names[i] for i in top.tolist()])
                values[place], parts[place] = value[top], found.parts[at][top]
                numbers[:3, place], numbers[3, place] = told[at], found.parts[at].sum() - parts[place].sum()
                method[place], unit[place] = found.method, found.unit
        self._answers.take(choice, explained.rows, count, np.zeros(0, dtype=np.int64), 0)
        there = ~np.isnan(numbers[0])
        columns: dict[str, Column] = {
            name: self._answers.column(name) for name in ("prediction_id", "event_time", "stage", "model", "model_version", "answer")
        }
        columns |= {
            "method": Text.of(method),
            "unit": Text.of(unit),
            "output": Numbers(np.full(count, self._step.settings.output, dtype=np.int32)),
            "inputs": Text.of(listed),
            "values": _lists(values),
            "attributions": _lists(parts),
            "fault": Text.of(faults.get(place) for place in range(count)),
        }
        for name, row in zip(("value", "baseline", "error", "rest"), numbers, strict=True):
            columns[name] = Numbers(np.where(there, row, 0.0), there)
        columns = {name: column.take(kept) for name, column in columns.items()}
        stats.explained(self._step.name, "explained", int(np.count_nonzero(there[kept])))
        stats.explained(self._step.name, "failed", int(np.count_nonzero(~there[kept])))
        return [Produce(self._topic, self._into, choice.ids.take(explained.rows[kept]), self._encoder.encode(columns))]

    def _inputs(self, explained: Explained, arm: int, place: int) -> tuple[list[str], Floats]:
        """Names and values of the inputs of a row; of a one_hot input, the column that is marked, or the field and 0 where none is."""
        if arm in explained.played:
            played = explained.played[arm]
            return self._playing[arm].perturbing.told(played.originals, int(np.searchsorted(played.places, place)))
        row = explained.matrices[arm][place].astype(np.float64)
        names, values = [], []
        at = 0
        for entry in self._models[arm].inputs:
            columns = entry.columns()
            part = row[at : at + len(columns)]
            at += len(columns)
            if entry.kind == "one_hot":
                marked = np.flatnonzero(part)
                names.append(columns[int(marked[0])] if len(marked) else entry.field)
                values.append(float(len(marked)))
            else:
                names += columns
                values += part.tolist()
        return names, np.array(values)


def starts_of(model: ModelSettings) -> Ints:
    """int64[inputs]: the first column of each input that is attributed: the columns of a one_hot input go together."""
    starts: list[int] = []
    at = 0
    for entry in model.inputs:
        wide = len(entry.columns())
        starts += [at] if entry.kind == "one_hot" else range(at, at + wide)
        at += wide
    return np.array(starts, dtype=np.int64)


def _top(parts: Floats, top_k: int | None) -> Ints:
    """Places of the inputs that are told: the largest first, or all in their order."""
    if top_k is None:
        return np.arange(len(parts))
    largest: Ints = np.argsort(-np.abs(parts), kind="stable")[:top_k]
    return largest


def _lists(rows: list[Floats]) -> Lists:
    size = np.array([len(row) for row in rows], dtype=np.int64)
    return Lists(np.concatenate(rows), np.cumsum(size) - size, size)
