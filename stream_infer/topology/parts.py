"""topology.parts: which models a stage asks, which models those ask, and where the file says so. values → *parts* → checks, build."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stream_infer.decide.graph import reached
from stream_infer.topology.values import Section, Spec, Value

COMPOSED = ("ensemble", "cascade", "route")  # kinds of models that are made of others


@dataclass(frozen=True)
class Part:
    """A model that another one names. value: the name, with its place; phase: when it is asked; setting: which names it."""

    name: str
    value: Value
    phase: int
    setting: str


def parts(model: Section) -> list[Part]:
    """The models that a model names, in the order of asking."""
    if model.kind == "ensemble":
        return _of_ensemble(model)
    if model.kind == "cascade":
        return [*_one(model, "first", 0), *_one(model, "then", 1)]
    if model.kind == "route":
        cases = [item.data for item in model.items("when") if isinstance(item.data, Section)]
        return [part for case in cases for part in _one(case, "use", 0)] + _one(model, "otherwise", 0)
    inputs = [item.data for item in model.items("inputs") if isinstance(item.data, Section)]
    return [part for entry in inputs for part in _one(entry, "output_of", 0)]


def _of_ensemble(model: Section) -> list[Part]:
    found = [Part(value.data, value, 0, "members") for value in model.items("members") if isinstance(value.data, str)]
    for name, value in model.entries("members").items():
        found.append(Part(name, replace(value, data=name, line=value.key_line, column=value.key_column), 0, "members"))
    combine = model.section("combine")
    later = [*(_one(combine, "stack", 1) if combine is not None else [])]
    return found + later + _one(model, "fallback", 1 + len(later))


def _one(section: Section, setting: str, phase: int) -> list[Part]:
    value = section.get(setting)
    return [Part(value.data, value, phase, setting)] if value is not None and isinstance(value.data, str) else []


def phases_of(spec: Spec) -> dict[str, list[list[str]]]:
    """The models that each model of the file asks, phase by phase, as decide.graph takes them; names that lead nowhere are left out."""
    found: dict[str, list[list[str]]] = {}
    for name, model in spec.models.items():
        mine = [part for part in parts(model) if part.name in spec.models]
        last = max((part.phase for part in mine), default=-1)
        found[name] = [list(dict.fromkeys(part.name for part in mine if part.phase == phase)) for phase in range(last + 1)]
    return found


def arms_of(stage: Section) -> list[str]:
    """Names of the models that may be drawn, in the order of their shares."""
    if stage.kind == "canary":
        return [stage.maybe_text("champion") or "", stage.maybe_text("challenger") or ""]
    return list(stage.texts("arms")) if stage.kind in ("bandit", "split") else [stage.maybe_text("model") or ""]


def asked_models(stage: Section) -> list[str]:
    """Names of the models that may answer, then of those that run in the shadow, each once; not those that they ask in turn."""
    arms = arms_of(stage)
    fallback = [stage.text("fallback")] if stage.has("fallback") else []
    return list(dict.fromkeys([*arms, *fallback, *stage.texts("shadow")]))


def with_parts(spec: Spec, names: Iterable[str]) -> list[str]:
    """Models of the file and all that they ask, directly or not: first the ones that are named."""
    named = [name for name in dict.fromkeys(names) if name in spec.models]
    return list(dict.fromkeys([*named, *reached(named, phases_of(spec))]))
