"""topology.build_steps: the steps and inputs of each section. placement → *build_steps* → build."""

from __future__ import annotations

from stream_infer.topology.build_online import redis_lookup_settings
from stream_infer.topology.build_settings import (
    attribution_settings,
    deadline_settings,
    feature_settings,
    feedback_settings,
    function_settings,
    lookup_settings,
    ms,
    policy_settings,
)
from stream_infer.topology.check import Checked
from stream_infer.topology.check_calls import decider_of
from stream_infer.topology.columns import added_by
from stream_infer.topology.parts import arms_of, asked_models, with_parts
from stream_infer.topology.placement import Draft, keeps_own_rows
from stream_infer.topology.plan import (
    CallStep,
    DecideStep,
    ExplainStep,
    FeatureStep,
    FeedbackStep,
    InputPlan,
    LearnStep,
    LookupStep,
    RepartitionStep,
    SectionPlan,
    ShadowStep,
    Step,
)
from stream_infer.topology.spec_names import DECIDERS
from stream_infer.topology.values import Findings, Section
from stream_infer.topology.where_text import parse_where


def build_section(checked: Checked, draft: Draft) -> SectionPlan:
    """One section with its steps, each after the steps it needs, and its inputs in the order of their ranks."""
    steps: list[Step] = []
    for name in draft.stages:
        stage = checked.spec.stages[name]
        if stage.kind == "features":
            steps.append(_feature_step(name, stage, draft))
        elif stage.kind == "lookup":
            steps.append(_lookup_step(checked, name, stage))
        elif stage.kind == "explain":
            steps.append(_explain_step(name, stage))
        elif stage.kind == "shadow":
            steps.append(ShadowStep(name, stage.text("from"), stage.text("model"), stage.number("share"), stage.text("to")))
        elif stage.kind == "feedback":
            steps.append(_feedback_step(checked, name, stage))
        elif stage.kind == "function":
            steps.append(_call_step(checked, name, stage))
        else:
            steps.append(_decide_step(checked, name, stage))
    for other in checked.placement.drafts:
        if other.parent is draft and other.hop is not None and other.key is not None:
            _insert_hop(checked, steps, other)
    state_topic = f"{checked.spec.name}.{draft.name}.state"
    return SectionPlan(draft.name, draft.partitions, draft.flowing, _inputs(checked, draft), tuple(steps), state_topic)


def _insert_hop(checked: Checked, steps: list[Step], hop: Draft) -> None:
    """Rows go on right after the stage that the hop's stage reads: what other branches do to them is not their business."""
    assert hop.hop is not None
    assert hop.key is not None
    source = checked.spec.stages[hop.hop].text("from")
    place = next((index + 1 for index, step in enumerate(steps) if step.name == source), 0)
    steps.insert(place, RepartitionStep(hop.hop, hop.flowing, hop.key))


def _feature_step(name: str, stage: Section, draft: Draft) -> FeatureStep:
    read_by = stage.text("group_by")
    kept = draft.flowing if keeps_own_rows(stage, draft.root) else stage.text("kept_from")
    return FeatureStep(name, kept, stage.maybe_text("kept_by") or read_by, read_by, feature_settings(stage))


def _lookup_step(checked: Checked, name: str, stage: Section) -> LookupStep | CallStep:
    if stage.has("redis"):
        settings = redis_lookup_settings(stage)
        return CallStep(name, settings.key.fields, tuple((column, "double") for column in settings.columns()), settings)
    table = stage.text("table")
    return LookupStep(name, table, checked.spec.streams[table].text("key"), stage.text("key"), lookup_settings(stage))


def _call_step(checked: Checked, name: str, stage: Section) -> CallStep:
    of_answers = decider_of(checked.spec, name) is not None
    return CallStep(name, stage.texts("reads"), tuple(added_by(stage).items()), function_settings(stage), of_answers)


def _decide_step(checked: Checked, name: str, stage: Section) -> DecideStep:
    fallback = stage.maybe_text("fallback")
    arms = tuple(arms_of(stage)) + ((fallback,) if fallback else ())
    emitting = (emit for _, emit in checked.spec.stages_of("emit") if decider_of(checked.spec, emit.text("from")) == name)
    emits = next((emit.text("to") for emit in emitting), None)
    where = parse_where(stage, checked.columns[stage.text("from")], Findings(checked.spec.file), of="")
    return DecideStep(name, arms, policy_settings(stage), where, stage.texts("shadow"), emits, deadline_settings(stage))


def _explain_step(name: str, stage: Section) -> ExplainStep:
    top_k = stage.maybe_number("top_k")
    return ExplainStep(
        name,
        stage.text("from"),
        stage.text("to"),
        attribution_settings(stage),
        stage.number("share"),
        stage.integer("rows_max"),
        None if top_k is None else int(top_k),
    )


def _feedback_step(checked: Checked, name: str, stage: Section) -> FeedbackStep:
    return FeedbackStep(name, stage.text("predictions"), stage.text("feedback"), feedback_settings(stage), f"{checked.spec.name}.joined")


def _inputs(checked: Checked, draft: Draft) -> tuple[InputPlan, ...]:
    """State comes before what reads it: kept streams and tables, then feedback, then the flowing rows, then versions.

    A stream with several roles stands once, at the first of them, and is read whole if one of them needs that.
    """
    spec = checked.spec
    stages = [spec.stages[name] for name in draft.stages]
    whole: dict[str, bool] = {}
    for stage in stages:
        if stage.kind == "features" and not keeps_own_rows(stage, draft.root):
            kept = stage.text("kept_from")
            whole[kept] = whole.get(kept, False) or stage.flag("global")
        elif stage.kind == "lookup" and stage.has("table"):
            whole[stage.text("table")] = whole.get(stage.text("table"), False) or stage.flag("global")
    for stage in stages:
        if stage.kind == "feedback":
            whole[stage.text("feedback")] = whole.get(stage.text("feedback"), False) or stage.flag("global")
    whole.setdefault(draft.flowing, False)
    if any(_has_versions(checked, stage) for stage in stages):
        whole["models"] = True
    if any(_has_changes(checked, stage) for stage in stages):
        whole["changes"] = True
    sources = draft.parent.partitions if draft.parent is not None else 0
    return tuple(
        InputPlan(name, rank, is_global, sources if name == draft.flowing else 0) for rank, (name, is_global) in enumerate(whole.items())
    )


def _has_versions(checked: Checked, stage: Section) -> bool:
    if stage.kind not in DECIDERS:
        return False
    return stage.kind == "bandit" or any(
        checked.spec.models[model].has("learns") for model in with_parts(checked.spec, asked_models(stage))
    )


def _has_changes(checked: Checked, stage: Section) -> bool:
    """Whether what answers can be changed by hand while the stage runs. Elsewhere nothing is read for it."""
    if stage.kind == "shadow":
        return checked.spec.models[stage.text("model")].has("versions_kept")
    if stage.kind not in DECIDERS:
        return False
    return stage.kind in ("split", "canary") or any(checked.spec.models[model].has("versions_kept") for model in asked_models(stage))


def learn_section(checked: Checked, sections: list[SectionPlan]) -> SectionPlan | None:
    """The section that learns, None where nothing does. Joined rows of all partitions meet in its one task."""
    spec = checked.spec
    steps: list[Step] = []
    sources = 0
    for name, stage in spec.stages_of("learn"):
        outcome = stage.text("from")
        decides = spec.stages[outcome].text("predictions")
        learners = tuple(model for model in with_parts(spec, asked_models(spec.stages[decides])) if spec.models[model].has("learns"))
        steps.append(LearnStep(name, outcome, decides, learners, ms(stage, "every_s") or 1))
        sources += next(section.partitions for section in sections if any(step.name == outcome for step in section.steps))
    if not steps:
        return None
    joined = f"{spec.name}.joined"
    return SectionPlan("learn", 1, joined, (InputPlan(joined, 0, sources=sources),), tuple(steps), f"{spec.name}.learn.state")
