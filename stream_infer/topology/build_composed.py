"""topology.build_composed: sections of composed models to their settings. values → *build_composed* → build."""

from __future__ import annotations

from stream_infer.decide.composed import Cascade, Composed, Ensemble, Route
from stream_infer.decide.settings import Where
from stream_infer.topology.check import Checked
from stream_infer.topology.check_composed import MEASURED
from stream_infer.topology.columns import Column, Columns
from stream_infer.topology.parts import COMPOSED, asked_models, with_parts
from stream_infer.topology.spec_names import DECIDERS
from stream_infer.topology.values import Findings, Section
from stream_infer.topology.where_text import parse_where


def composed_models(checked: Checked) -> dict[str, Composed]:
    """The models that are made of others, by name."""
    return {name: _composed(checked, name, section) for name, section in checked.spec.models.items() if section.kind in COMPOSED}


def _composed(checked: Checked, name: str, model: Section) -> Composed:
    if model.kind == "cascade":
        values = {"where": model.values["unless"]}
        as_where = Section(model.place, model.label, model.line, model.column, model.source, values=values)
        return Cascade(name, model.text("first"), model.text("then"), _where(checked, as_where, MEASURED))
    if model.kind == "route":
        cases = [item.data for item in model.items("when") if isinstance(item.data, Section)]
        columns = _columns(checked, name)
        return Route(name, tuple((_where(checked, case, columns), case.text("use")) for case in cases), model.text("otherwise"))
    weights = model.entries("members")
    members = tuple(weights) or model.texts("members")
    combine, wait, quorum = model.section("combine"), model.maybe_number("wait_ms_max"), model.maybe_number("quorum")
    return Ensemble(
        name,
        members,
        tuple(float(value.data) for value in weights.values() if isinstance(value.data, int | float)) or (1.0,) * len(members),
        "stack" if combine is not None else model.text("combine"),
        len(members) if quorum is None else int(quorum),
        judge=None if combine is None else combine.text("stack"),
        threshold=model.maybe_number("threshold"),
        wait_ms_max=None if wait is None else int(wait),
        fallback=model.maybe_text("fallback"),
    )


def _columns(checked: Checked, name: str) -> Columns:
    """Columns of the rows that a model is asked about: literals are read by their types. Stages that ask one model agree on them."""
    found: dict[str, Column] = {}
    for _, stage in checked.spec.stages_of(*DECIDERS, "shadow"):
        if name in with_parts(checked.spec, asked_models(stage)):
            found |= checked.columns[stage.text("from")] or {}
    return found


def _where(checked: Checked, section: Section, columns: Columns) -> Where:
    where = parse_where(section, columns, Findings(checked.spec.file), of="")
    assert where is not None, f"{section.label} was checked"
    return where
