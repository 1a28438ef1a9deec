"""Composed models as one slow function of a row, in plain Python, and exact Shapley values of it by all orders. And random ones to try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from hypothesis import strategies as st

from stream_infer.models.linear import LinearModel

INPUTS = ("amount", "due_ms", "shop", "card")
SHOPS = ("s", "t")
CARDS = ("a", "b")
COLUMNS = {"amount": ("amount",), "due_ms": ("due_ms",), "shop": ("shop=s", "shop=t"), "card": ("card=a", "card=b")}
ENTRIES = {"shop": "{one_hot: shop, values: [s, t]}", "card": "{one_hot: card, values: [a, b]}"}

Values = Mapping[str, Any]  # of a row by input; None: a text that is absent


@dataclass(frozen=True)
class Leafy:
    """A logistic model of some inputs and of what others say."""

    inputs: tuple[str, ...]
    reads: tuple[str, ...]
    weights: tuple[float, ...]
    bias: float

    def says(self, row: Values, read: Sequence[float]) -> float:
        x: list[float] = []
        for name in self.inputs:
            choices = [column.split("=")[1] for column in COLUMNS[name] if "=" in column]
            x += [float(row[name] == choice) for choice in choices] if choices else [float(np.float32(row[name]))]
        x += [float(np.float32(one)) for one in read]
        score = self.bias + sum(w * v for w, v in zip(self.weights, x, strict=True))
        return 1 / (1 + math.exp(-score))

    def model(self) -> LinearModel:
        columns = (*(column for name in self.inputs for column in COLUMNS[name]), *self.reads)
        wide = len(columns)
        return LinearModel(np.array(self.weights)[:, None], np.array([self.bias]), np.zeros(wide), np.ones(wide), "logistic", columns)


@dataclass(frozen=True)
class Mixed:
    """An ensemble, a cascade or a route: kind, parts, and what goes with the kind (weights; measure and bound; comparisons)."""

    kind: str
    parts: tuple[str, ...]
    said: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Small:
    """A random graph of models of one output. arm: whose answers are explained."""

    models: dict[str, Leafy | Mixed]
    arm: str

    def answer(self, name: str, row: Values) -> float:
        """What a model says of a row."""
        made = self.models[name]
        if isinstance(made, Leafy):
            return made.says(row, [self.answer(part, row) for part in made.reads])
        if made.kind == "route":
            holds = (
                part
                for part, (field, operator, literal) in zip(made.parts, made.said, strict=False)
                if _holds(row[field], operator, literal)
            )
            return self.answer(next(holds, made.parts[-1]), row)
        if made.kind == "cascade":
            p, (measure, bound) = self.answer(made.parts[0], row), made.said
            value = {"answer": p, "max_probability": max(p, 1 - p), "margin": abs(2 * p - 1)}[measure]
            return p if value >= bound else self.answer(made.parts[1], row)
        each = [self.answer(part, row) for part in made.parts]
        if made.kind == "vote":
            return sum(p >= 0.5 for p in each) / len(each)
        if made.kind == "stack":
            judge = self.models[made.said[0]]
            assert isinstance(judge, Leafy)
            return judge.says(row, each)
        weights = made.said or (1.0,) * len(each)
        return sum(w * p for w, p in zip(weights, each, strict=True)) / sum(weights)

    def inputs(self, name: str | None = None) -> list[str]:
        """The inputs of everything that is asked, each once."""
        made = self.models[name or self.arm]
        if isinstance(made, Leafy):
            found = [*(one for part in made.reads for one in self.inputs(part)), *made.inputs]
        else:
            judge = [made.said[0]] if made.kind == "stack" else []
            found = [one for part in (*made.parts, *judge) for one in self.inputs(part)]
        return list(dict.fromkeys(found))

    def yaml(self) -> str:
        """The `models` section."""
        used: list[str] = []

        def visit(name: str) -> None:
            made = self.models[name]
            for part in made.reads if isinstance(made, Leafy) else made.parts:
                visit(part)
            if isinstance(made, Mixed) and made.kind == "stack":
                used.append(made.said[0])
            used.append(name)

        visit(self.arm)
        return "\n".join(f"  {name}: {_yaml(self.models[name])}" for name in dict.fromkeys(used))


def _holds(value: object, operator: str, literal: object) -> bool:
    if value is None:
        return False
    return {"==": value == literal, "!=": value != literal, ">=": operator == ">=" and value >= literal}[operator]  # type: ignore[operator]


def _yaml(made: Leafy | Mixed) -> str:
    if isinstance(made, Leafy):
        inputs = [*(ENTRIES.get(name, name) for name in made.inputs), *(f"{{output_of: {part}}}" for part in made.reads)]
        return f"{{kind: linear, artifact: none.safetensors, inputs: [{', '.join(inputs)}]}}"
    if made.kind == "route":
        cases = [
            f"{{where: '{field} {operator} {_literal(literal)}', use: {part}}}"
            for part, (field, operator, literal) in zip(made.parts, made.said, strict=False)
        ]
        return f"{{kind: route, when: [{', '.join(cases)}], otherwise: {made.parts[-1]}}}"
    if made.kind == "cascade":
        return f"{{kind: cascade, first: {made.parts[0]}, unless: '{made.said[0]} >= {made.said[1]}', then: {made.parts[1]}}}"
    if made.kind == "weighted_mean":
        members = ", ".join(f"{part}: {weight}" for part, weight in zip(made.parts, made.said, strict=True))
        return f"{{kind: ensemble, members: {{{members}}}, combine: weighted_mean}}"
    combine = f"{{stack: {made.said[0]}}}" if made.kind == "stack" else made.kind
    return f"{{kind: ensemble, members: [{', '.join(made.parts)}], combine: {combine}}}"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


@st.composite
def smalls(draw: st.DrawFn) -> Small:
    """Graphs whose last model asks others, of which any may ask any that came before it."""
    models: dict[str, Leafy | Mixed] = {}
    number = st.integers(-20, 20).map(lambda n: n / 10)

    def leaf(name: str, reads: Sequence[str], inputs: Sequence[str]) -> None:
        wide = sum(len(COLUMNS[one]) for one in inputs) + len(reads)
        weights = tuple(draw(st.lists(number, min_size=wide, max_size=wide)))
        models[name] = Leafy(tuple(inputs), tuple(reads), weights, draw(number) + 0.0371)

    some_inputs = st.lists(st.sampled_from(INPUTS), min_size=1, max_size=3, unique=True)
    leaf("m0", [], draw(some_inputs))
    leaf("m1", [], draw(some_inputs))
    for place in range(2, 2 + draw(st.integers(1, 4))):
        name, free = f"m{place}", [one for one in models if one.startswith("m")]
        parts = tuple(draw(st.lists(st.sampled_from(free), min_size=2, max_size=3, unique=True)))
        kind = draw(st.sampled_from(["leaf", "mean", "weighted_mean", "vote", "stack", "cascade", "route"]))
        if kind == "leaf":
            leaf(name, parts[:1], draw(st.lists(st.sampled_from(INPUTS), max_size=2, unique=True)))
        elif kind == "stack":
            leaf(f"j{place}", parts, draw(st.lists(st.sampled_from(INPUTS), max_size=1)))
            models[name] = Mixed(kind, parts, (f"j{place}",))
        elif kind == "cascade":
            measure, bound = draw(st.sampled_from(["answer", "max_probability", "margin"])), draw(st.sampled_from([0.21, 0.52, 0.73]))
            models[name] = Mixed(kind, parts[:2], (measure, bound))
        elif kind == "route":
            tests = [("shop", "==", "s"), ("shop", "!=", "t"), ("card", "==", "b"), ("amount", ">=", 2), ("due_ms", ">=", 1)]
            models[name] = Mixed(
                kind, parts, tuple(draw(st.lists(st.sampled_from(tests), min_size=len(parts) - 1, max_size=len(parts) - 1)))
            )
        else:
            models[name] = Mixed(kind, parts, (2.0, 1.0, 0.5)[: len(parts)] if kind == "weighted_mean" else ())
    last = list(models)[-1]
    return Small(models, last if last.startswith("m") else f"m{last[1:]}")


def perturbed(small: Small, row: Values, baseline: Values, kept: Sequence[str]) -> dict[str, Any]:
    """The row with the inputs outside of `kept` replaced; what nobody reads stays."""
    return {name: baseline[name] if name in small.inputs() and name not in kept else row[name] for name in row}


def shapley(small: Small, row: Values, baseline: Values) -> tuple[dict[str, float], float, float]:
    """(mean over all orders of what each input adds when it comes in, of the row, of the baseline)."""
    inputs = small.inputs()
    known: dict[frozenset[str], float] = {}

    def says(kept: frozenset[str]) -> float:
        if kept not in known:
            known[kept] = small.answer(small.arm, perturbed(small, row, baseline, list(kept)))
        return known[kept]

    total = dict.fromkeys(inputs, 0.0)
    orders = list(permutations(inputs))
    for order in orders:
        for place, name in enumerate(order):
            total[name] += says(frozenset(order[: place + 1])) - says(frozenset(order[:place]))
    return {name: value / len(orders) for name, value in total.items()}, says(frozenset(inputs)), says(frozenset())
