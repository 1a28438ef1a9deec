"""topology.explain: a plan in words: who reads what, in which order, where state lives and what it costs. build → *explain* → cli."""

from __future__ import annotations

from stream_infer.features.settings import Aggregate
from stream_infer.online_settings import RedisLookupSettings
from stream_infer.topology.explain_models import models_told
from stream_infer.topology.full import full
from stream_infer.topology.mermaid import mermaid
from stream_infer.topology.plan import (
    CallStep,
    DecideStep,
    ExplainStep,
    FeatureStep,
    FeedbackStep,
    InputPlan,
    LearnStep,
    LookupStep,
    Plan,
    RepartitionStep,
    SectionPlan,
    ShadowStep,
    Step,
    StorePlan,
    StreamPlan,
)
from stream_infer.topology.state_bytes import feature_bytes, lookup_bytes

__all__ = ["full", "mermaid", "text"]


def text(plan: Plan) -> str:
    """The plan as text of some 120 columns, for people."""
    lines = [f"topology {plan.name}: {plan.emit.guarantee}, a commit at most every {plan.emit.commit_interval_ms} ms"]
    lines.append(f"  at most {plan.rows_in_flight_max} rows in flight; rows wait at most {plan.wait_ms_max} ms for an input that is behind")
    for section in plan.sections:
        lines += ["", *_section(plan, section)]
    lines += ["", "models", *_table(models_told(plan))] if plan.models else []
    lines += ["", "stores", *_table([_store(plan, store) for store in plan.stores])] if plan.stores else []
    lines += ["", "topics", *_table([_topic(plan, *topic) for topic in plan.topics])]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _section(plan: Plan, section: SectionPlan) -> list[str]:
    flowing = plan.streams[section.flowing]
    tasks = "1 task" if section.partitions == 1 else f"{section.partitions} tasks"
    lines = [f"section {section.name}: {tasks}, one per partition of {flowing.topic}; state in {section.state_topic}"]
    lines.append("  reads (at equal event time in this order)")
    lines += _table([_input(plan.streams[i.stream], section, i) for i in section.inputs], "    ")
    lines.append("  steps")
    lines += _table([(step.name, _step(plan, step)) for step in section.steps], "    ")
    return lines


def _input(stream: StreamPlan, section: SectionPlan, source: InputPlan) -> tuple[str, str, str]:
    if source.is_global:
        how = f"every task reads all {stream.partitions} partitions" if stream.partitions > 1 else "every task reads its one partition"
    else:
        how = "task p reads partition p" + (f", keyed by {stream.key}" if stream.key else "")
    if source.sources:
        how += f"; {source.sources} tasks write each partition"
    if source.stream == section.flowing:
        how += "; its rows flow through the steps"
        if stream.decide_at is not None:
            how += f", {stream.decide_at.lead_ms / 1000:g} s before {stream.decide_at.field}"
    return source.stream, stream.topic, how


def _step(plan: Plan, step: Step) -> str:
    if isinstance(step, FeatureStep):
        each = feature_bytes(step.settings)
        by = step.read_by if step.kept_by == step.read_by else f"{step.read_by} (there {step.kept_by})"
        values = "; ".join(_aggregate(aggregate) for aggregate in step.settings.values)
        return f"features of {step.kept_from} by {by}: {values}; about {each} bytes per key{_most(step.settings.keys_max, each)}"
    if isinstance(step, LookupStep):
        each = lookup_bytes(step.settings)
        size = f"about {each} bytes per key{_most(step.settings.keys_max, each)}"
        take = ", ".join(name for name, _ in step.settings.take)
        return f"lookup of {step.read_by} in {step.table} by {step.table_key}: {take}; {size}"
    if isinstance(step, RepartitionStep):
        return f"rows go on to {plan.streams[step.stream].topic}, keyed by {step.by}"
    if isinstance(step, CallStep):
        return _call(step)
    if isinstance(step, DecideStep):
        return _decide(plan, step)
    if isinstance(step, ShadowStep):
        return f"{step.model} in the shadow of {step.share:.6g} of the answers of {step.decides}; to {plan.streams[step.to].topic}"
    if isinstance(step, ExplainStep):
        told = "" if step.top_k is None else f", the {step.top_k} inputs that count most"
        most = f"at most {step.rows_max} of a chunk"
        which = f"explains {step.share:.6g} of the answers of {step.decides}, {most}, by {step.settings.method}{told}"
        return f"{which}; to {plan.streams[step.to].topic}"
    if isinstance(step, FeedbackStep):
        wait = f"{step.settings.wait_ms_max / 1000:g} s"
        fed = f"feedback of {step.feedback} on {step.settings.on}"
        return f"{fed} meets decisions of {step.decides} within {wait}; joined rows go to {step.joined_to}"
    assert isinstance(step, LearnStep)
    taught = ", ".join([f"the policy of {step.policy_of}", *step.models])
    return f"learns from {step.outcome}: {taught}; a version every {step.every_ms / 1000:g} s of event time"


def _decide(plan: Plan, step: DecideStep) -> str:
    which = f"{step.policy.kind} over {', '.join(step.arms)}" if len(step.arms) > 1 else f"model {step.arms[0]}"
    share = f", each at least {step.policy.share_min:g}" if step.policy.share_min else ""
    if step.policy.segment is not None:
        share += f", apart for each {step.policy.segment.by} (at most {step.policy.segment.segments_max})"
    where = f" where {step.where.field} {step.where.operator} {_literal(step.where.literal)}" if step.where else ""
    shadows = f"; in the shadow: {', '.join(step.shadows)}" if step.shadows else ""
    target = f"; answers go to {plan.streams[step.emits_to].topic}" if step.emits_to else ""
    return which + share + where + shadows + target


def _call(step: CallStep) -> str:
    settings = step.settings
    if isinstance(settings, RedisLookupSettings):
        asked = f"within {settings.redis.timeout_ms} ms, remembered for {settings.ttl_ms / 1000:g} s"
        return f"lookup of {settings.key} in Redis ({settings.form}): {', '.join(settings.columns())}; {asked}"
    where = "in the worker's thread"
    if settings.outside is not None:
        outside = settings.outside
        breaker = f", a breaker after {outside.breaker.failures} failures" if outside.breaker is not None else ""
        where = f"outside, {outside.concurrency_max} at once, {outside.timeout_ms} ms a try, {outside.retries} retries{breaker}"
    elif settings.workers:
        where = f"in {settings.workers} {settings.workers_are}"
    gives = ", ".join(name for name, _ in step.gives) or "nothing, it only rejects"
    fails = "reject" if settings.defaults is None else "default"
    return f"function {settings.function} per {settings.per} of {', '.join(step.reads)} gives {gives}; {where}; fails: {fails}"


def _literal(literal: float | str) -> str:
    return literal if isinstance(literal, str) else f"{literal:.15g}"


def _aggregate(aggregate: Aggregate) -> str:
    of = f" of {aggregate.field}" if aggregate.field else ""
    k = f" ({aggregate.k})" if aggregate.kind == "last_k" else ""
    if aggregate.window_ms is None:
        return f"{aggregate.name} = {aggregate.kind}{k}{of}"
    shape = f"last {aggregate.window_ms / 1000:g} s" if aggregate.shape == "sliding" else f"tumbling {aggregate.window_ms / 1000:g} s"
    return f"{aggregate.name} = {aggregate.kind}{of}, {shape}"


def _most(keys_max: int, each: int) -> str:
    return f", at most {keys_max} keys ({keys_max * each / 1e6:,.0f} MB) per task"


def _store(plan: Plan, store: StorePlan) -> tuple[str, str, str]:
    settings = store.settings
    ends = "" if settings.ttl_ms is None else f", gone {settings.ttl_ms / 1000:g} s after their record"
    return store.name, plan.streams[store.stream].topic, f"to Redis as {settings.key}: {', '.join(settings.fields)}{ends}"


def _topic(plan: Plan, topic: str, partitions: int, compacted: bool) -> tuple[str, str, str]:
    kind = "internal" if topic.startswith(f"{plan.name}.") else "yours"
    return topic, f"{partitions} partition{'s' if partitions > 1 else ''}", kind + (", compacted" if compacted else "")


def _table(rows: list[tuple[str, ...]] | list[tuple[str, str]] | list[tuple[str, str, str]], indent: str = "  ") -> list[str]:
    """Rows of equally many cells with their columns aligned."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return [indent + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows]
