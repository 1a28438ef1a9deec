"""A graph of models worked out row by row, in plain Python: what flow.composing must agree with. And random graphs to do it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from stream_infer.decide.composed import Cascade, Composed, Ensemble, Route
from stream_infer.decide.settings import Where
from stream_infer.features.settings import Input
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Floats, Matrix

Row = Mapping[str, Any]


class Leaf:
    """A linear model whose first input is the number of the row: in some rows it raises, gives NaN, or one output too many."""

    def __init__(self, columns: tuple[str, ...], outputs: int, seed: int, flaws: Mapping[int, str], link: str = "logistic") -> None:
        draw = np.random.default_rng(seed)
        weights = np.round(draw.normal(size=(len(columns), outputs)), 2)
        weights[0] = 0.0
        self.inner = LinearModel(weights, np.zeros(outputs), np.zeros(len(columns)), np.ones(len(columns)), link, columns)
        self.columns, self.outputs, self.digest, self.flaws = columns, outputs, f"{seed:064x}", flaws
        self.asked: list[int] = []

    def forward(self, x: Matrix) -> Floats:
        rows = [int(number) for number in x[:, 0]]
        self.asked += rows
        said = [self.flaws.get(row, "") for row in rows]
        if "raise" in said:
            raise ValueError(f"row {rows[said.index('raise')]} is poison")
        out = self.inner.forward(x)
        out[[flaw == "nan" for flaw in said]] = np.nan
        return np.concatenate([out, out[:, :1]], axis=1) if "wide" in said else out


@dataclass(frozen=True)
class Answer:
    """outputs: None without an answer; by: the model whose answer it is; missing: members left out; confidence: None: no ensemble's."""

    outputs: tuple[float, ...] | None
    by: str = ""
    missing: frozenset[str] = frozenset()
    confidence: float | None = None


NOTHING = Answer(None)


@dataclass
class Oracle:
    """gone: models that never answer; late: (ensemble, member, row) where the ensemble went on without that member."""

    settings: Mapping[str, ModelSettings]
    composed: Mapping[str, Composed]
    models: Mapping[str, Leaf]
    gone: frozenset[str] = frozenset()
    late: frozenset[tuple[str, str, int]] = frozenset()
    known: dict[tuple[str, int], Answer] = field(default_factory=dict)

    def answer(self, name: str, row: Row) -> Answer:
        place = (name, int(row["row"]))
        if place not in self.known:
            self.known[place] = self._answer(name, row)
        return self.known[place]

    def _answer(self, name: str, row: Row) -> Answer:
        made = self.composed.get(name)
        if made is None:
            return self._leaf(name, row)
        if isinstance(made, Route):
            return self.answer(next((use for where, use in made.cases if row[where.field] == where.literal), made.otherwise), row)
        if isinstance(made, Cascade):
            first = self.answer(made.first, row)
            return first if first.outputs is not None and self._sure(made, first) else self.answer(made.then, row)
        return self._ensemble(made, row)

    def _leaf(self, name: str, row: Row) -> Answer:
        if name in self.gone or self.models[name].flaws.get(int(row["row"]), ""):
            return NOTHING
        inputs: list[float] = []
        missing, sure = frozenset[str](), []
        for entry in self.settings[name].inputs:
            if entry.kind != "output":
                inputs.append(row[entry.field])
                continue
            judged = next((made.name for made in self.composed.values() if isinstance(made, Ensemble) and made.judge == name), name)
            read = NOTHING if (judged, entry.field, int(row["row"])) in self.late else self.answer(entry.field, row)
            if read.outputs is None:
                if entry.missing is None:
                    return NOTHING
                inputs += [entry.missing] * len(entry.columns())
                continue
            inputs += read.outputs
            missing |= read.missing
            sure += [] if read.confidence is None else [read.confidence]
        out = self.models[name].inner.forward(np.array([inputs], dtype=np.float32))
        return Answer(tuple(out[0].tolist()), name, missing, min(sure, default=None))

    def _sure(self, made: Cascade, first: Answer) -> bool:
        assert first.outputs is not None
        largest = sorted(first.outputs)[::-1]
        p = first.outputs[0]
        one = len(first.outputs) == 1
        value = {
            "answer": p,
            "confidence": 1.0 if first.confidence is None else first.confidence,
            "max_probability": max(p, 1 - p) if one else largest[0],
            "margin": abs(2 * p - 1) if one else largest[0] - largest[1] if len(largest) > 1 else 0.0,
        }[made.unless.field]
        return bool(value >= float(made.unless.literal))

    def _ensemble(self, made: Ensemble, row: Row) -> Answer:
        said = [NOTHING if (made.name, name, int(row["row"])) in self.late else self.answer(name, row) for name in made.members]
        got = [(answer, weight) for answer, weight in zip(said, made.weights, strict=True) if answer.outputs is not None]
        missing = frozenset(name for name, answer in zip(made.members, said, strict=True) if answer.outputs is None)
        missing = missing.union(*(answer.missing for answer, _ in got))
        confidence = None
        if len(got) >= made.quorum:
            outputs, confidence = _combine(made, got)
            if made.judge is not None:
                outputs = self.answer(made.judge, row).outputs
            if outputs is not None:
                return Answer(outputs, made.name, missing, confidence)
        if made.fallback is None:
            return NOTHING
        last = self.answer(made.fallback, row)
        return NOTHING if last.outputs is None else Answer(last.outputs, last.by, missing | last.missing, 0.0)


def _combine(made: Ensemble, got: list[tuple[Answer, float]]) -> tuple[tuple[float, ...] | None, float]:
    held = sum(weight * (1.0 if answer.confidence is None else answer.confidence) for answer, weight in got)
    share = held / sum(made.weights)
    outputs = [answer.outputs or () for answer, _ in got]
    weights = [weight for _, weight in got]
    if made.combine == "vote":
        cast = []
        for own in outputs:
            best = max(range(len(own)), key=lambda place: own[place])
            cast.append((float(own[0] >= 0.5),) if len(own) == 1 else tuple(float(place == best) for place in range(len(own))))
        votes = _mean(cast, weights)
        return votes, share * (max(votes[0], 1 - votes[0]) if len(votes) == 1 else max(votes))
    middle = _mean(outputs, weights)
    apart = size = 0.0
    for own, weight in zip(outputs, weights, strict=True):
        apart += weight * sum(abs(a - b) for a, b in zip(own, middle, strict=True))
        size += weight * sum(abs(a) + abs(b) for a, b in zip(own, middle, strict=True))
    agreed = 1.0 if size == 0 else 1 - apart / size
    return _mean(outputs, [1.0] * len(weights)) if made.combine == "mean" else middle, share * agreed


def _mean(rows: list[tuple[float, ...]], weights: list[float]) -> tuple[float, ...]:
    whole = sum(weights, 0.0)
    return tuple(sum((w * row[place] for row, w in zip(rows, weights, strict=True)), 0.0) / whole for place in range(len(rows[0])))


@dataclass(frozen=True)
class World:
    """A random graph. arms, shadows: its roots; outputs: of every model."""

    settings: dict[str, ModelSettings]
    composed: dict[str, Composed]
    models: dict[str, Leaf]
    arms: tuple[str, ...]
    shadows: tuple[str, ...]
    rows: tuple[Row, ...]


@st.composite
def worlds(draw: st.DrawFn, *, wait_ms_max: int | None = None, ensembles_alone: bool = False) -> World:
    """Graphs in which anything may ask anything that came before it. ensembles_alone: of models that read nobody, without a last resort."""
    outputs, count = draw(st.sampled_from([1, 3])), draw(st.integers(1, 10))
    settings: dict[str, ModelSettings] = {}
    composed: dict[str, Composed] = {}
    models: dict[str, Leaf] = {}
    free: list[str] = []  # what may be asked: a judge works for its ensemble alone

    def leaf(name: str, reads: list[tuple[str, float | None]]) -> None:
        size = outputs if outputs > 1 else 0
        inputs = (Input("row"), Input("x"), *(Input(part, "output", missing, size=size) for part, missing in reads))
        settings[name] = ModelSettings(name, "linear", inputs)
        flaws = draw(st.dictionaries(st.integers(0, count - 1), st.sampled_from(["raise", "nan", "wide"]), max_size=2))
        models[name] = Leaf(settings[name].columns(), outputs, len(models) + 1, flaws)

    kinds = ["leaf", "leaf", "ensemble"] + (["cascade", "route"] if not ensembles_alone else [])
    some = st.lists(st.sampled_from(kinds), min_size=1, max_size=7)
    for number, kind in enumerate(["leaf", *draw(some)]):
        name, pick = f"m{number}", st.sampled_from(free) if free else None
        if kind == "leaf" or pick is None or len(free) < 2:
            reads = (
                draw(st.lists(st.tuples(pick, st.sampled_from([None, 0.5])), unique_by=lambda r: r[0], max_size=2))
                if pick is not None and not ensembles_alone
                else []
            )
            leaf(name, reads)
        elif kind == "route":
            cases = draw(st.lists(st.tuples(st.sampled_from(["a", "b"]), pick), min_size=1, max_size=2))
            composed[name] = Route(name, tuple((Where("t", "==", text), use) for text, use in cases), draw(pick))
        elif kind == "cascade":
            first, then = draw(st.lists(pick, min_size=2, max_size=2, unique=True))
            measure = draw(st.sampled_from(["answer", "max_probability", "margin", "confidence"]))
            composed[name] = Cascade(name, first, then, Where(measure, ">=", draw(st.sampled_from([0.2, 0.5, 0.7]))))
        else:
            members = tuple(draw(st.lists(pick, min_size=2, max_size=3, unique=True)))
            others = [other for other in free if other not in members]
            combine = draw(st.sampled_from(["mean", "weighted_mean", "vote"] + (["stack"] if not ensembles_alone else [])))
            judge = f"j{number}" if combine == "stack" else None
            if judge is not None:
                leaf(judge, [(member, draw(st.sampled_from([None, 0.5]))) for member in members])
            weights = tuple(draw(st.sampled_from([1.0, 2.0, 0.5])) for _ in members)
            composed[name] = Ensemble(
                name,
                members,
                weights,
                combine,
                draw(st.integers(1, len(members))),
                judge=judge,
                fallback=draw(st.sampled_from([None, *others])) if not ensembles_alone else None,
                wait_ms_max=wait_ms_max,
            )
        free.append(name)
    arms = tuple(draw(st.lists(st.sampled_from(free), min_size=1, max_size=3, unique=True)))
    shadows = tuple(draw(st.lists(st.sampled_from(free), max_size=2, unique=True)))
    rows = tuple(
        {"row": float(number), "x": draw(st.sampled_from([-2.0, -0.5, 0.0, 0.3, 1.5])), "t": draw(st.sampled_from(["a", "b", "c"]))}
        for number in range(count)
    )
    return World(settings, composed, models, arms, shadows, rows)
