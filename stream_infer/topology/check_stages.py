"""topology.check_stages: what each stage says of the columns it touches. columns, placement → *check_stages* → build."""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.topology import columns as col
from stream_infer.topology.check_bandit import check_bandit
from stream_infer.topology.check_batches import check_costs, check_deadline
from stream_infer.topology.check_calls import check_flow, check_function
from stream_infer.topology.check_composed import check_routes
from stream_infer.topology.check_explain import check_explain, check_targets
from stream_infer.topology.check_features import check_features
from stream_infer.topology.check_models import check_inputs
from stream_infer.topology.check_online import check_redis_lookup, check_stores, check_table_lookup
from stream_infer.topology.check_rollout import check_rollout, check_shadow
from stream_infer.topology.columns import Columns, check_column
from stream_infer.topology.emit_schema import check_emit
from stream_infer.topology.parts import arms_of, asked_models, with_parts
from stream_infer.topology.placement import Placement
from stream_infer.topology.spec_names import DECIDERS
from stream_infer.topology.values import Findings, Section, Spec
from stream_infer.topology.where_text import parse_where


def check_stages(
    spec: Spec, order: list[str], columns: dict[str, Columns | None], placement: Placement, written: Mapping[str, str], found: Findings
) -> None:
    """Fields exist and have the right types, numbers agree with each other, whatever learns is taught once. written: schemas by stream."""
    for name in order:
        stage = spec.stages[name]
        source = stage.maybe_text("from") or ""
        before = columns.get(source)
        of = f"stream `{source}`" if source in spec.streams else f"the rows of `{source}`"
        check_flow(spec, stage, found)
        if stage.kind == "features":
            draft = placement.of_stage.get(name)
            check_features(spec, stage, before, columns, draft.root if draft else None, of, found)
        elif stage.kind == "lookup":
            check_redis_lookup(stage, before, of, found)
            check_table_lookup(stage, found)
            if stage.has("table"):
                _check_lookup(stage, before, columns, of, found)
        elif stage.kind == "function":
            check_function(spec, stage, before, of, found)
        elif stage.kind in DECIDERS:
            _check_decider(spec, stage, before, of, found)
        elif stage.kind == "feedback":
            _check_feedback(stage, columns, found)
        elif stage.kind == "shadow":
            check_shadow(spec, stage, before, of, found)
        elif stage.kind == "explain" and source in spec.stages:
            check_explain(spec, stage, answering_models(spec.stages[source]), found)
        elif stage.kind == "emit":
            check_emit(stage, before, f"the rows of `{source}`", found)
    check_targets(spec, found)
    _check_teaching(spec, found)
    check_stores(spec, written, found)
    _check_one_each(spec, placement, found)


def _check_lookup(stage: Section, before: Columns | None, columns: dict[str, Columns | None], of: str, found: Findings) -> None:
    check_column(found, stage.label, stage.get("key"), before, col.A_KEY, of=of)
    table = stage.maybe_text("table") or ""
    for name, value in stage.entries("take").items():
        named = type(value)(name, value.key_line, value.key_column, value.source)
        check_column(found, stage.label, named, columns.get(table), col.A_NUMBER, of=f"stream `{table}`")


def answering_models(stage: Section) -> list[str]:
    """Names of the models that may answer."""
    shadows, answers = stage.texts("shadow"), (*arms_of(stage), stage.maybe_text("fallback"))
    return [name for name in asked_models(stage) if name in answers or name not in shadows]


def _check_decider(spec: Spec, stage: Section, before: Columns | None, of: str, found: Findings) -> None:
    parse_where(stage, before, found, of=of)
    models = with_parts(spec, asked_models(stage))
    check_inputs(spec, stage, models, before, found)
    check_routes(spec, models, before, of, found)
    check_deadline(stage, found)
    check_rollout(spec, stage, before, of, found)
    check_costs(spec, stage, models, before, found)
    for setting in ("arms", "shadow"):
        seen: set[str] = set()
        for item in stage.items(setting):
            if isinstance(item.data, str) and item.data in seen:
                found.at(
                    item, f"{stage.label}: `{item.data}` stands twice in `{setting}`", expected="each model once", fix="remove one of them"
                )
            elif isinstance(item.data, str):
                seen.add(item.data)
    if stage.kind == "bandit":
        check_bandit(stage, before, of, found)


def _check_feedback(stage: Section, columns: dict[str, Columns | None], found: Findings) -> None:
    name = stage.maybe_text("feedback") or ""
    of = f"stream `{name}`"
    for setting, want in (("on", col.A_TEXT), ("label", col.A_NUMBER), ("feedback_id", col.A_TEXT)):
        check_column(found, stage.label, stage.get(setting), columns.get(name), want, of=of)
    reward = stage.section("reward")
    if reward is not None and reward.kind == "value":
        low, high = reward.maybe_number("low"), reward.maybe_number("high")
        if low is not None and high is not None and low >= high:
            found.at(
                reward,
                f"{stage.label}: the reward has no width",
                got=f"low {low:g}, high {high:g}",
                expected="low below high",
                fix="swap them, or move one",
            )


def _check_teaching(spec: Spec, found: Findings) -> None:
    """A learning model has a teacher, a teacher has something to teach, and there is one teacher."""
    taught: set[str] = set()
    for name, stage in spec.stages_of("learn"):
        feedback = spec.stages.get(stage.maybe_text("from") or "")
        decider = spec.stages.get(feedback.maybe_text("predictions") or "") if feedback is not None else None
        if decider is None or decider.kind not in DECIDERS:
            continue
        learners = [model for model in with_parts(spec, asked_models(decider)) if "learns" in spec.models[model].given]
        if not learners and decider.kind == "model":
            what = f"stage `{name}`: there is nothing to teach"
            found.at(
                stage, what, expected="a bandit, or a model with `learns`", fix="add `learns: {by: sgd}` to the model, or remove the stage"
            )
        taught.update(learners)
    unsure = any(stage.kind == "" for stage in spec.stages.values())
    for name, model in spec.models.items():
        value = model.get("learns")
        if value is not None and name not in taught and not unsure:
            fix = "add a feedback stage and `teach: {kind: learn, from: …, every_s: 3600}`"
            found.at_name(
                value,
                f"model `{name}`: it learns, but no learn stage teaches it",
                expected="a learn stage behind the stage that asks it",
                fix=fix,
            )


def _check_one_each(spec: Spec, placement: Placement, found: Findings) -> None:
    """What a section, and the learn section, can hold in format 1."""
    for draft in placement.drafts:
        deciders = [name for name in draft.stages if spec.stages[name].kind in DECIDERS]
        hops = [other.hop for other in placement.drafts if other.parent is draft and other.hop is not None]
        for names, what, expected in (
            (deciders, "answers", "one model or bandit stage for the rows of one stream"),
            (hops, "repartitions", "one stage that reads by another key"),
        ):
            for name in names[1:]:
                fix = (
                    f"make it an arm or a shadow of `{names[0]}`, or a topology of its own"
                    if what == "answers"
                    else f"let it follow `{names[0]}`, or a topology of its own"
                )
                found.at(spec.stages[name], f"stage `{name}`: stage `{names[0]}` {what} the same rows already", expected=expected, fix=fix)
    teachers = list(spec.stages_of("learn"))
    for name, stage in teachers[1:]:
        found.at(stage, f"stage `{name}`: stage `{teachers[0][0]}` learns already", expected="one learn stage", fix="remove one of them")
    joins = list(spec.stages_of("feedback")) if teachers else []
    for name, stage in joins[1:]:
        found.at(
            stage,
            f"stage `{name}`: stage `{joins[0][0]}` brings feedback already",
            expected="one feedback stage in a topology that learns",
            fix="remove one of them, or split the topology",
        )
