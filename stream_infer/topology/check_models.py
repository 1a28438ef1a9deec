"""topology.check_models: a model's inputs exist and fit each other. columns, check_artifacts → *check_models* → build."""

from __future__ import annotations

from stream_infer.features.settings import WIDE, Input
from stream_infer.topology import columns as col
from stream_infer.topology.check_artifacts import check_artifact
from stream_infer.topology.check_batches import check_batch
from stream_infer.topology.check_workers import check_workers
from stream_infer.topology.columns import Columns, check_column
from stream_infer.topology.values import Findings, Section, Spec, Value


def check_models(spec: Spec, found: Findings) -> None:
    """What can be said of each model without knowing its rows."""
    for model in spec.models.values():
        check_artifact(model, found)
        _check_input_forms(model, found)
        check_batch(model, found)
        check_workers(model, found)
        kept = model.get("versions_kept")
        if kept is not None and not {"learns", "artifact"} & set(model.given):
            what = f"{model.label}: `versions_kept` of a model that has no artifact and does not learn"
            found.at_name(kept, what, expected="a model that has versions: with `artifact`, or `learns`", fix="remove `versions_kept`")


def check_inputs(spec: Spec, stage: Section, models: list[str], columns: Columns | None, found: Findings) -> None:
    """Each input of the stage's models is a column of the rows that reach it, of the right type."""
    for name in models:
        model = spec.models.get(name)
        if model is None:
            continue
        of = f"the rows that reach stage `{stage.label.split('`')[1]}`"
        for item in model.items("inputs"):
            for value, want, fix in _wants(item):
                check_column(found, model.label, value, columns, want, of=of, fix=fix)


def _wants(item: Value) -> list[tuple[Value, col.Want, str]]:
    if isinstance(item.data, str):
        return [(item, col.A_NUMBER, f"write `{{one_hot: {item.data}, values: […]}}` if it is text")]
    section = item.data
    if not isinstance(section, Section):
        return []
    wants = (
        ("name", col.A_NUMBER, ""),
        ("one_hot", col.A_TEXT, "name a number as it is, without one_hot"),
        ("is_missing", col.ANYTHING, ""),
        ("list", col.A_LIST, ""),
        ("numbers", col.A_TEXT, "write `{list: …, size: …}` if it is an array"),
        ("floats32", col.PACKED, "write `{list: …, size: …}` if it is an array"),
    )
    return [(value, want, fix) for name, want, fix in wants if (value := section.get(name)) is not None]


def columns_of_input(item: Value) -> tuple[str, ...]:
    """Names of the matrix columns that one entry of `inputs` yields."""
    if isinstance(item.data, str):
        return (item.data,)
    section = item.data
    if not isinstance(section, Section):  # of a model of unknown kind
        return ()
    if section.has("one_hot"):
        return tuple(f"{section.maybe_text('one_hot')}={value}" for value in section.texts("values"))
    for kind in WIDE:
        if section.has(kind):
            return tuple(f"{section.maybe_text(kind)}[{place}]" for place in range(int(section.maybe_number("size") or 0)))
    if section.has("output_of"):
        return Input(section.text("output_of"), "output", size=int(section.maybe_number("size") or 0)).columns()
    return (f"{section.maybe_text('is_missing')}?",) if section.has("is_missing") else (section.maybe_text("name") or "",)


def _check_input_forms(model: Section, found: Findings) -> None:
    seen: dict[str, Value] = {}
    for item in model.items("inputs"):
        section = item.data
        if isinstance(section, Section):
            _check_partners(model, section, found)
        mine: set[str] = set()
        for column in columns_of_input(item):
            first = seen.setdefault(column, item)
            twice = column in mine
            mine.add(column)
            if first is not item or twice:
                what = f"{model.label}: input column `{column}` stands there twice"
                found.at(item, what, got=f"`{column}`, first on line {first.line}", expected="each column once", fix="remove one of them")
                break


_PARTNERS = (
    ("values", ("one_hot",)),
    ("missing", ("name", "output_of")),
    ("separator", ("numbers",)),
    ("size", (*WIDE, "output_of")),
)


def _check_partners(model: Section, entry: Section, found: Findings) -> None:
    for setting, partners in _PARTNERS:
        value = entry.get(setting)
        if value is not None and not any(partner in entry.given for partner in partners):
            words = " or ".join(f"`{partner}`" for partner in partners)
            found.at_name(
                value,
                f"{model.label}: `{setting}` without {words}",
                expected=f"`{setting}` together with {words}",
                fix=f"remove `{setting}`",
            )
    for kind in WIDE:
        if kind in entry.given and "size" not in entry.given:
            what = f"{model.label}: `{kind}` without `size`"
            found.at(entry, what, expected="how many numbers each row has", fix=f"add `size: …` beside `{kind}: {entry.maybe_text(kind)}`")
    if "one_hot" in entry.given and "values" not in entry.given:
        found.at(
            entry,
            f"{model.label}: `one_hot` without `values`",
            expected="the texts that have a column",
            fix=f"add `values: […]` beside `one_hot: {entry.maybe_text('one_hot')}`",
        )
