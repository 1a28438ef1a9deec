"""topology.lineage: what a model is made of and who is made of it: features, upstream models. plan → *lineage* → cli_models, publishing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

from stream_infer.decide.graph import Graph
from stream_infer.features.settings import Input
from stream_infer.models.manifest import Manifest
from stream_infer.models.rollout import Book
from stream_infer.topology.plan import DecideStep, FeatureStep, LookupStep, Plan, ShadowStep


def asked_in(plan: Plan, model: str) -> list[str]:
    """Names of the sections with a step that asks the model."""
    return [
        section.name
        for section in plan.sections
        for step in section.steps
        if model in Graph.of(_asks(step), plan.models, plan.composed).leaves
    ]


def _asks(step: object) -> tuple[str, ...]:
    """The models that a step asks; not those that they ask in turn."""
    if isinstance(step, DecideStep):
        return step.arms + step.shadows
    return (step.model,) if isinstance(step, ShadowStep) else ()


def upstream(plan: Plan, model: str) -> tuple[str, ...]:
    """The models whose outputs are inputs of this one, or that are its members, each once."""
    settings = plan.models[model]
    found = [source for entry in settings.inputs if (source := _model_of(entry)) is not None]
    return tuple(dict.fromkeys(name for name in found if name in plan.models))


def downstream(plan: Plan, model: str) -> tuple[str, ...]:
    """The models that this one is an input of."""
    return tuple(name for name in plan.models if model in upstream(plan, name))


def _model_of(entry: Input) -> str | None:
    return entry.field if entry.kind in ("output", "output_of") else None


def features_digest(plan: Plan, model: str) -> str:
    """sha256 (hex, 16 digits) of how each input of the model comes to be: the entry, and the aggregate or lookup behind its field."""
    sections = asked_in(plan, model)
    steps = [step for section in plan.sections if section.name in sections for step in section.steps]
    inputs = plan.models[model].inputs
    made = [[asdict(entry), *(found for step in steps if (found := _made_by(step, entry.field)) is not None)] for entry in inputs]
    return hashlib.sha256(json.dumps(made, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _made_by(step: object, column: str) -> object:
    """How a step makes this column; None where it does not."""
    if isinstance(step, FeatureStep):
        for aggregate in step.settings.values:
            if column in aggregate.columns():
                return [step.kept_from, step.kept_by, step.read_by, asdict(aggregate)]
    if isinstance(step, LookupStep) and column in step.settings.columns():
        return [step.table, step.table_key, step.read_by, column, str(dict(step.settings.take)[column])]
    return None


def in_force(book: Book, model: str) -> Manifest | None:
    """The manifest of the version that is to answer; None for the topology's own file."""
    version, _ = book.wanted(model)
    change = book.versions(model).get(version)
    return None if change is None else change.manifest


def due(plan: Plan, book: Book) -> Mapping[str, tuple[str, ...]]:
    """Models that should be trained again: name → why. Only a version on record says what it was made of."""
    found: dict[str, tuple[str, ...]] = {}
    for model in plan.models:
        manifest = in_force(book, model)
        made_from = {} if manifest is None else dict(manifest.made_from)
        why = [
            f"model {name} answers with v{now}, it was trained on v{then}"
            for name in upstream(plan, model)
            if plan.models[name].learns is None and (now := book.wanted(name)[0]) != (then := made_from.get(name, 0))
        ]
        if manifest is not None and manifest.features and manifest.features != (now_fed := features_digest(plan, model)):
            why.append(f"its features are defined otherwise now ({now_fed}) than when it was trained ({manifest.features})")
        if why:
            found[model] = tuple(why)
    return found
