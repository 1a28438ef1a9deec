"""topology.explain_models: models in words, and what composed ones ask as a drawing. plan → *explain_models* → explain, mermaid."""

from __future__ import annotations

from collections.abc import Iterator

from stream_infer.decide.composed import Cascade, Composed, Ensemble
from stream_infer.decide.graph import reached
from stream_infer.decide.settings import Where
from stream_infer.topology.plan import DecideStep, Plan


def models_told(plan: Plan) -> list[tuple[str, str, str]]:
    """(name, kind, what it is) of every model, composed ones last."""
    composed = [(name, type(made).__name__.lower(), _composed(made)) for name, made in plan.composed.items()]
    return [_model(plan, name) for name in plan.models] + composed


def _model(plan: Plan, name: str) -> tuple[str, str, str]:
    model = plan.models[name]
    batch = model.batch
    rows = f"batches of at most {batch.rows_max}" if batch.rows_max else "batches as large as pays"
    if batch.sizes:
        rows = f"batches of {', '.join(map(str, batch.sizes))} rows"
    if batch.cost and batch.cost_max:
        rows += f", of at most {batch.cost_max:g} {batch.cost}"
    learns = f"; learns by {model.learns.by}" if model.learns else ""
    if model.cache is not None:
        fresh = f" for {model.cache.ttl_ms / 1000:g} s" if model.cache.ttl_ms is not None else ""
        size = model.cache.bytes_used(len(model.columns()), 1) / 1e6
        learns += f"; remembers {model.cache.rows_max} answers{fresh} ({size:,.0f} MB)"
    weights = "the answers themselves" if model.kind == "table" else model.artifact or "from zero"
    read = list(dict.fromkeys(entry.field for entry in model.inputs if entry.kind == "output"))
    after = f"; reads what {', '.join(read)} answer{'s' if len(read) == 1 else ''}" if read else ""
    return name, model.kind, f"{len(model.columns())} input columns, {model.device}, {rows}, {weights}{learns}{after}"


def _composed(made: Composed) -> str:
    if isinstance(made, Cascade):
        return f"{made.first}; unless {_where(made.unless)}, {made.then}"
    if not isinstance(made, Ensemble):
        cases = "; ".join(f"where {_where(where)}, {name}" for where, name in made.cases)
        return f"{cases}; otherwise {made.otherwise}"
    weights = set(made.weights) != {1.0}
    members = ", ".join(f"{name} ({weight:g})" if weights else name for name, weight in zip(made.members, made.weights, strict=True))
    how = f"judged by {made.judge}" if made.judge else made.combine.replace("_", " ")
    text = f"{how} of {members}" if made.judge is None else f"{members}, {how}"
    if made.wait_ms_max is not None:
        text += f", which are waited for {made.wait_ms_max} ms"
    if made.quorum < len(made.members):
        text += f"; {made.quorum} of them will do"
    return text + (f"; else {made.fallback}" if made.fallback else "")


def _where(where: Where) -> str:
    literal = where.literal if isinstance(where.literal, str) else f"{where.literal:.15g}"
    return f"{where.field} {where.operator} {literal}"


def asked(plan: Plan, step: DecideStep) -> list[tuple[str, str, str]]:
    """(who, as what, whom): everything that a decide step asks of models that ask others; () where none does."""
    edges = {name: [part for _, part in _parts(plan, name)] for name in (*plan.models, *plan.composed)}
    found = reached(step.arms + step.shadows, {name: [parts] for name, parts in edges.items()})
    arrows = [(name, label, part) for name in found for label, part in _parts(plan, name)]
    roots = [("", "" if name in step.arms else "shadow", name) for name in dict.fromkeys(step.arms + step.shadows)]
    return [*roots, *arrows] if arrows else []


def _parts(plan: Plan, name: str) -> Iterator[tuple[str, str]]:
    made = plan.composed.get(name)
    if made is None:
        yield from (("reads", entry.field) for entry in plan.models[name].inputs if entry.kind == "output")
    elif isinstance(made, Cascade):
        yield from (("first", made.first), (f"unless {_where(made.unless)}", made.then))
    elif isinstance(made, Ensemble):
        yield from (("member", member) for member in made.members)
        yield from ((label, part) for label, part in (("judge", made.judge), ("fallback", made.fallback)) if part is not None)
    else:
        yield from ((_where(where), use) for where, use in made.cases)
        yield "otherwise", made.otherwise
