"""topology.check_explain: explanations that can be given, on a topic of their own. columns → *check_explain* → build."""

from __future__ import annotations

from collections.abc import Iterable

from stream_infer.topology.check_models import columns_of_input
from stream_infer.topology.parts import COMPOSED, with_parts
from stream_infer.topology.suggest import closest, listed
from stream_infer.topology.values import Findings, Section, Spec, Value

KNOWN_INSIDE = ("linear", "torch")  # kinds of models whose gradients and means are known


def check_explain(spec: Spec, stage: Section, models: list[str], found: Findings) -> None:
    """The method fits every model that may answer, the baseline names inputs, samples suffice. models: of the stage that is explained."""
    columns: dict[str, None] = {}
    for name in models:
        model = spec.models.get(name)
        if model is None:
            continue
        mine = [item for part in with_parts(spec, [name]) for item in _own_inputs(spec.models[part])]
        columns |= dict.fromkeys(column for item in mine for column in columns_of_input(item))
        if model.kind in COMPOSED or any(_reads_another(item) for item in model.items("inputs")):
            _check_composed(stage, name, _inputs(mine), found)
        else:
            _check_model(stage, name, model, found)
    baseline = stage.get("baseline")
    for name, value in stage.entries("baseline").items() if baseline is not None else ():
        if columns and name not in columns:
            near = closest(name, columns)
            found.at_name(
                value,
                f"{stage.label}: no model has an input column `{name}`",
                expected=f"input columns: {listed(columns)}",
                fix=f"did you mean `{near}`?" if near else "remove it",
            )


def _check_model(stage: Section, name: str, model: Section, found: Findings) -> None:
    method, baseline = stage.maybe_text("method"), stage.maybe_text("baseline")
    place: Value | Section = stage.get("method") or stage
    if method == "linear" and model.kind not in ("linear", ""):
        what = f"{stage.label}: model `{name}` is no linear model"
        found.at(place, what, got=f"method linear, kind {model.kind}", expected="a method that fits every arm", fix="write `method: auto`")
    if method == "integrated_gradients" and model.kind not in (*KNOWN_INSIDE, ""):
        what = f"{stage.label}: the gradients of model `{name}` are not known"
        got = f"method integrated_gradients, kind {model.kind}"
        found.at(place, what, got=got, expected="linear or torch models", fix="write `method: shap`")
    if baseline == "mean" and model.kind not in (*KNOWN_INSIDE, ""):
        what = f"{stage.label}: model `{name}` does not tell the means of its inputs"
        value = stage.get("baseline")
        found.at(value or stage, what, expected="linear or torch models", fix="write the means: `baseline: {name: 0.5}`")
    if method == "shap" or (method == "auto" and model.kind not in (*KNOWN_INSIDE, "")):
        _check_samples(stage, name, _inputs(model.items("inputs")), found)


def _check_composed(stage: Section, name: str, inputs: int, found: Findings) -> None:
    """What asks other models is no formula: it is asked about perturbed rows, by the methods that need no more. inputs: of all it asks."""
    method, baseline = stage.maybe_text("method"), stage.maybe_text("baseline")
    if method in ("linear", "integrated_gradients"):
        what = f"{stage.label}: model `{name}` is made of other models, and `{method}` looks into one"
        expected = "shap or lime, which ask it about perturbed rows; or auto"
        found.at(stage.get("method") or stage, what, expected=expected, fix="write `method: shap`")
    elif method != "lime":
        _check_samples(stage, name, inputs, found)
    if baseline == "mean":
        what = f"{stage.label}: model `{name}` is made of other models, which may know other means of the same input"
        value = stage.get("baseline")
        found.at(value or stage, what, expected="numbers by input column, or zeros", fix="write the means: `baseline: {name: 0.5}`")


def _reads_another(item: Value) -> bool:
    return isinstance(item.data, Section) and item.data.has("output_of")


def _own_inputs(model: Section) -> list[Value]:
    """The inputs that are columns of the row."""
    return [item for item in model.items("inputs") if not _reads_another(item)]


def _inputs(items: Iterable[Value]) -> int:
    """How many inputs are attributed, each once: the columns of a one_hot input go together."""
    names: set[tuple[str, ...]] = set()
    for item in items:
        text = item.data.maybe_text("one_hot") if isinstance(item.data, Section) else None
        names |= {(column,) for column in columns_of_input(item)} if text is None else {(text, "one_hot")}
    return len(names)


def _check_samples(stage: Section, name: str, inputs: int, found: Findings) -> None:
    samples = stage.maybe_number("samples")
    least = 2 * inputs if inputs > 2 else 2**inputs - 2
    if samples is not None and samples < least:
        what = f"{stage.label}: too few samples for the {inputs} inputs of model `{name}`"
        place = stage.get("samples")
        found.at(place or stage, what, got=f"{samples:g}", expected=f"at least {least}", fix=f"write `samples: {4 * inputs}` or more")


def check_targets(spec: Spec, found: Findings) -> None:
    """Explanations go to a stream that nothing else writes; the answers of a stage are explained once."""
    writers: dict[str, str] = {}
    for name, stage in spec.stages_of("emit"):
        for setting in ("to", "rejects"):
            writers.setdefault(stage.maybe_text(setting) or "", name)
    explained: dict[str, str] = {}
    for name, stage in spec.stages_of("explain", "shadow"):
        value = stage.get("to")
        to = stage.maybe_text("to")
        if value is not None and to is not None and writers.setdefault(to, name) != name:
            what = f"{stage.label}: stage `{writers[to]}` writes to stream `{to}` already"
            found.at(value, what, expected="a stream of its own", fix="add another one to the streams, and name it here")
        source = stage.maybe_text("from") if stage.kind == "explain" else None
        if source is not None and explained.setdefault(source, name) != name:
            what = f"{stage.label}: stage `{explained[source]}` explains the answers of `{source}` already"
            found.at(stage, what, expected="one explain stage per model or bandit stage", fix="remove one of them")
