"""topology.check_batches: what a model says of its batches, and a stage of its deadline. columns → *check_batches* → check_stages."""

from __future__ import annotations

from stream_infer.topology import columns as col
from stream_infer.topology.columns import Columns, Want, check_column
from stream_infer.topology.values import Findings, Section, Spec, Value

A_COST = Want("a numeric field or an array", lambda column: column.kind in (*col.NUMERIC, "array"))


def check_batch(model: Section, found: Findings) -> None:
    """The settings of a batch fit each other."""
    batch = model.section("batch")
    if batch is None:
        return
    label = f"{model.label}: batch"
    for name in ("sizes", "buckets"):
        _check_ascending(label, batch.get(name), name, found)
    _check_partner(label, batch, "cost", ("cost_max", "buckets"), found)
    for name in ("cost_max", "buckets"):
        _check_partner(label, batch, name, ("cost",), found)
    sizes, cost = batch.get("sizes"), batch.get("cost")
    if sizes is not None and cost is not None:
        found.at_name(cost, f"{label}: `cost` with `sizes`", expected="one of the two", fix="remove `cost`, or `sizes`")
    rows_max = batch.maybe_number("rows_max")
    smallest = sorted(_numbers(sizes))[:1]
    if sizes is not None and rows_max is not None and smallest and smallest[0] > rows_max:
        fix = f"raise `rows_max` to {smallest[0]:g} or more"
        found.at(sizes, f"{label}: no size is within `rows_max`", expected=f"a size of at most {rows_max:g}", fix=fix)


def _check_ascending(label: str, value: Value | None, name: str, found: Findings) -> None:
    numbers = _numbers(value)
    if value is not None and numbers != sorted(set(numbers)):
        right = ", ".join(f"{number:g}" for number in sorted(set(numbers)))
        found.at(value, f"{label}: `{name}` do not ascend", expected="each once, the smallest first", fix=f"write `{name}: [{right}]`")


def _check_partner(label: str, batch: Section, name: str, partners: tuple[str, ...], found: Findings) -> None:
    value = batch.get(name)
    if value is not None and not any(partner in batch.given for partner in partners):
        words = " or ".join(f"`{partner}`" for partner in partners)
        found.at_name(value, f"{label}: `{name}` without {words}", expected=f"`{name}` together with {words}", fix=f"add {words}")


def _numbers(value: Value | None) -> list[float]:
    items = value.data if value is not None and isinstance(value.data, list) else []
    return [item.data for item in items if isinstance(item.data, int | float)]


def check_costs(spec: Spec, stage: Section, models: list[str], columns: Columns | None, found: Findings) -> None:
    """The cost of each of the stage's models is a column of the rows that reach it."""
    for name in models:
        batch = spec.models[name].section("batch") if name in spec.models else None
        if batch is not None:
            of = f"the rows that reach stage `{stage.label.split('`')[1]}`"
            check_column(found, f"{spec.models[name].label}: batch", batch.get("cost"), columns, A_COST, of=of)


def check_deadline(stage: Section, found: Findings) -> None:
    """`late`, `deadline_ms` and `fallback` go together, and a fallback is another model."""
    late, fallback = stage.get("late"), stage.get("fallback")
    if late is not None and "late" in stage.given and "deadline_ms" not in stage.given:
        what = f"{stage.label}: `late` without `deadline_ms`"
        found.at_name(late, what, expected="`late` together with `deadline_ms`", fix="add `deadline_ms: 250`")
    wants = late is not None and late.data == "fallback"
    if wants and late is not None and fallback is None and "fallback" not in stage.given:
        fix = "add `fallback: …`, a model that is cheap"
        found.at(late, f"{stage.label}: `late: fallback` without `fallback`", expected="the model that answers late rows", fix=fix)
    if fallback is not None and not wants:
        fix = "add `late: fallback`, or remove `fallback`"
        found.at_name(fallback, f"{stage.label}: `fallback` without `late: fallback`", expected="both, or neither", fix=fix)
    if fallback is not None and fallback.data == stage.maybe_text("model"):
        fix = "name a cheaper one, or write `late: serve`"
        found.at(fallback, f"{stage.label}: the fallback is the model itself", expected="another model", fix=fix)
