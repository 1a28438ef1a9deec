"""topology.check_calls: what a function stage says of columns and of its calls. columns → *check_calls* → check_stages, build."""

from __future__ import annotations

from collections.abc import Iterator

from stream_infer.codec.schema import parse_schema
from stream_infer.functions import KINDS
from stream_infer.topology import columns as col
from stream_infer.topology.columns import Columns, check_column
from stream_infer.topology.literals import integer_of, number_of
from stream_infer.topology.spec_names import ANSWER_FIELDS, DECIDERS, WHOLE_PREDICTION
from stream_infer.topology.suggest import did_you_mean, listed
from stream_infer.topology.values import Findings, Section, Spec, Value

_WORDS = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "text": "a text"}


def decider_of(spec: Spec, name: str) -> str | None:
    """The model or bandit stage whose answers the stage `name` gives, itself or through function stages; None where there is none."""
    seen = set[str]()
    while name in spec.stages and name not in seen:
        seen.add(name)
        stage = spec.stages[name]
        if stage.kind in DECIDERS:
            return name
        if stage.kind != "function":
            return None
        name = stage.maybe_text("from") or ""
    return None


def functions_before(spec: Spec, name: str) -> Iterator[Section]:
    """The function stages that rows have passed when they leave the stage `name`."""
    seen = set[str]()
    while name in spec.stages and name not in seen:
        seen.add(name)
        if spec.stages[name].kind == "function":
            yield spec.stages[name]
        name = spec.stages[name].maybe_text("from") or ""


def check_function(spec: Spec, stage: Section, before: Columns | None, of: str, found: Findings) -> None:
    """Its columns exist or are new, defaults fit, settings have something to say."""
    after_answer = decider_of(spec, stage.maybe_text("from") or "") is not None
    readable = None if before is None else before | (_prediction_columns() if after_answer else {})
    seen: set[object] = set()
    for item in stage.items("reads"):
        check_column(found, stage.label, item, readable, col.ANYTHING, of=of)
        if item.data in seen:
            found.at(item, f"{stage.label}: `{item.data}` stands twice in `reads`", expected="each column once", fix="remove one of them")
        seen.add(item.data)
    for name, value in stage.entries("gives").items():
        if name in ANSWER_FIELDS:
            what = f"{stage.label}: `{name}` is a field of predictions"
            found.at_name(value, what, expected="a column with a name of its own", fix=f"call it `my_{name}`")
    _check_defaults(stage, found)
    _check_calls(stage, found)


def _prediction_columns() -> Columns:
    return {f.name: col.Column(f.kind, f.logical, "a field of predictions") for f in parse_schema(WHOLE_PREDICTION).fields}


def check_flow(spec: Spec, stage: Section, found: Findings) -> None:
    """Answered rows are emitted or go through functions, and only answered rows are emitted."""
    source = stage.get("from")
    if source is None or not isinstance(source.data, str) or source.data not in spec.stages:
        return
    other = spec.stages[source.data]
    if other.kind != "function":
        return
    decider = decider_of(spec, source.data)
    if stage.kind == "emit" and decider is None:
        what = f"{stage.label}: nobody has answered the rows of `{source.data}`"
        found.at(
            source, what, expected="a model or bandit stage, or a function stage behind one", fix="let a model stage read it, and emit that"
        )
    elif stage.kind in ("features", "lookup", *DECIDERS) and decider is not None:
        what = f"{stage.label}: the rows of `{source.data}` have been answered by `{decider}`"
        fix = f"let `{decider}` come after this stage, or read what `{decider}` reads"
        found.at(source, what, expected="rows that are not answered yet", fix=fix)


def _check_defaults(stage: Section, found: Findings) -> None:
    defaults, gives = stage.entries("defaults"), stage.entries("gives")
    value = stage.get("defaults")
    if value is not None and stage.maybe_text("when_it_fails") != "default":
        what = f"{stage.label}: `defaults` without `when_it_fails: default`"
        found.at_name(value, what, expected="both or neither", fix="add `when_it_fails: default`, or remove `defaults`")
    for name, default in defaults.items():
        if name not in gives:
            what = f"{stage.label}: a default for `{name}`, which it does not give"
            found.at_name(default, what, expected=f"columns of `gives`: {listed(gives)}", fix=did_you_mean(name, gives))
        elif isinstance(gives[name].data, str) and gives[name].data in KINDS and typed(default, str(gives[name].data)) is None:
            words = _WORDS.get(str(gives[name].data))
            expected = f"{words}, as `gives` says" if words else "no default: such rows go on without numbers"
            found.at(
                default, f"{stage.label}: the default of `{name}` does not fit", expected=expected, fix="correct it, or change `gives`"
            )


def typed(value: Value, kind: str) -> object:
    """A default as its column holds it; None where it does not fit."""
    text = str(value.data)
    if kind == "number":
        return number_of(text)
    if kind == "integer":
        return integer_of(text)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text)
    return text if kind == "text" else None


def _check_calls(stage: Section, found: Findings) -> None:
    outside = stage.section("outside")
    workers = stage.get("workers")
    if outside is not None and workers is not None and workers.given and workers.data != 0:
        what = f"{stage.label}: `workers` with `outside`"
        fix = "remove `workers`; `concurrency_max` below `outside` says how many calls are under way"
        found.at_name(workers, what, expected="one of them: async functions share one event loop", fix=fix)
    are = stage.get("workers_are")
    if are is not None and are.given and (workers is None or workers.data == 0):
        found.at_name(are, f"{stage.label}: `workers_are` without `workers`", expected="how many there are", fix="add `workers: 2`")
    if outside is None:
        return
    first, most = outside.maybe_number("backoff_ms"), outside.maybe_number("backoff_ms_max")
    value = outside.get("backoff_ms")
    if first is not None and most is not None and value is not None and first > most:
        what = f"{stage.label}: the first pause is longer than the longest"
        found.at(
            value, what, got=f"backoff_ms {first:g}, backoff_ms_max {most:g}", expected="backoff_ms at most backoff_ms_max", fix="lower it"
        )
