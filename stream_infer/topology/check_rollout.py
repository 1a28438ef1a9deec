"""topology.check_rollout: shares that sum to one, steps that ascend. columns → *check_rollout* → check_stages."""

from __future__ import annotations

from stream_infer.topology import columns as col
from stream_infer.topology.check_batches import check_costs
from stream_infer.topology.check_composed import check_routes
from stream_infer.topology.check_models import check_inputs
from stream_infer.topology.columns import Columns, check_column
from stream_infer.topology.parts import COMPOSED, asked_models, with_parts
from stream_infer.topology.values import Findings, Section, Spec


def check_rollout(spec: Spec, stage: Section, before: Columns | None, of: str, found: Findings) -> None:
    """What a split or canary stage says of itself."""
    check_column(found, stage.label, stage.get("by"), before, col.A_KEY, of=of)
    if stage.kind == "split":
        _check_shares(stage, found)
    elif stage.kind == "canary":
        _check_canary(stage, found)
        _check_evidence(spec, stage, found)


def check_shadow(spec: Spec, stage: Section, before: Columns | None, of: str, found: Findings) -> None:
    """The model, and all that it asks, can be asked about the rows, and their versions are their own."""
    models, value = with_parts(spec, asked_models(stage)), stage.get("model")
    check_inputs(spec, stage, models, before, found)
    check_routes(spec, models, before, of, found)
    check_costs(spec, stage, models, before, found)
    learners = [name for name in models if "learns" in spec.models[name].given]
    if value is not None and learners and of:
        what = f"{stage.label}: `{learners[0]}` learns, and nobody would tell it what came of its answers here"
        fix = f"list `{value.data}` in `shadow` of stage `{stage.maybe_text('from')}`"
        found.at(value, what, expected="a model that does not learn, and asks none that does", fix=fix)


def _numbers(stage: Section, name: str) -> list[float]:
    return [item.data for item in stage.items(name) if isinstance(item.data, int | float)]


def _check_shares(stage: Section, found: Findings) -> None:
    shares, arms, value = _numbers(stage, "shares"), len(stage.items("arms")), stage.get("shares")
    if value is None or not shares or not arms:
        return
    if len(shares) != arms:
        what = f"{stage.label}: {len(shares)} shares for {arms} arms"
        found.at(value, what, expected="one share for each arm, in their order", fix="add what is missing, or remove what is too much")
    elif abs(sum(shares) - 1.0) > 1e-9:
        what = f"{stage.label}: the shares sum to {sum(shares):.10g}"
        rest = 1.0 - sum(shares[:-1])
        fix = f"make the last one {rest:.10g}" if rest >= 0 else "lower them"
        found.at(value, what, expected="shares that sum to 1", fix=fix)


def _check_canary(stage: Section, found: Findings) -> None:
    steps, value, challenger = _numbers(stage, "steps"), stage.get("steps"), stage.get("challenger")
    if value is not None and steps != sorted(set(steps)):
        right = ", ".join(f"{step:g}" for step in sorted(set(steps)))
        found.at(value, f"{stage.label}: `steps` do not ascend", expected="each once, the smallest first", fix=f"write `steps: [{right}]`")
    if challenger is not None and challenger.data == stage.maybe_text("champion"):
        found.at(challenger, f"{stage.label}: the challenger is the champion", expected="two models", fix="name the model that is tried")
    differ, champion = stage.get("differ_by"), stage.maybe_text("champion")
    if differ is not None and champion is not None and champion not in stage.texts("shadow"):
        what = f"{stage.label}: `differ_by`, and the champion does not answer the challenger's rows"
        found.at_name(differ, what, expected="the champion among the models in `shadow`", fix=f"add `shadow: [{champion}]`")
    share = stage.get("differ_share_max")
    if share is not None and "differ_share_max" in stage.given and "differ_by" not in stage.given:
        what = f"{stage.label}: `differ_share_max` without `differ_by`"
        found.at_name(share, what, expected="both, or neither", fix="add `differ_by: …`")


def _check_evidence(spec: Spec, stage: Section, found: Findings) -> None:
    """What is judged is also known: rewards come by a feedback stage, times are those of models that are loaded."""
    below, above = stage.get("reward_below"), stage.get("latency_above")
    name = next(name for name, other in spec.stages.items() if other is stage)
    told = any(feedback.maybe_text("predictions") == name for _, feedback in spec.stages_of("feedback"))
    if below is not None and not told:
        what = f"{stage.label}: `reward_below`, and nobody tells what its answers earned"
        fix = f"add `outcome: {{kind: feedback, predictions: {name}, …}}`"
        found.at_name(below, what, expected="a feedback stage with its `predictions`", fix=fix)
    for role in ("champion", "challenger"):
        model = spec.models.get(stage.maybe_text(role) or "")
        if above is not None and model is not None and model.kind in COMPOSED:
            what = f"{stage.label}: `latency_above`, and the {role} is made of other models"
            found.at_name(above, what, expected="two models with passes of their own", fix="remove `latency_above`")
