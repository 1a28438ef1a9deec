"""topology.build_settings: sections of a spec to settings of features, models, policies, feedback. values → *build_settings* → build."""

from __future__ import annotations

import math

from stream_infer.attribution import AttributionSettings
from stream_infer.batching import BatchSettings
from stream_infer.decide.settings import CanarySettings, DeadlineSettings, PolicySettings, SegmentSettings
from stream_infer.features.settings import WIDE, Aggregate, FeatureSettings, Input, LookupSettings
from stream_infer.feedback_settings import FeedbackSettings, RewardSettings
from stream_infer.functions import BreakerSettings, FunctionSettings, OutsideSettings
from stream_infer.models.answer_table import CacheSettings
from stream_infer.models.settings import LearnerSettings, ModelSettings, WorkerSettings
from stream_infer.topology.check_calls import typed
from stream_infer.topology.columns import kind_of_aggregate
from stream_infer.topology.values import Section, Value


def ms(section: Section, name: str) -> int | None:
    """A length in seconds as ms, at least 1; None where it is absent."""
    seconds = section.maybe_number(name)
    return None if seconds is None else max(1, round(seconds * 1000))


def feature_settings(stage: Section) -> FeatureSettings:
    """Settings of a features stage."""
    values = tuple(_aggregate(name, section) for name, section in stage.sections("values").items())
    return FeatureSettings(values, stage.integer("keys_max"), ms(stage, "idle_s"))


def _aggregate(name: str, section: Section) -> Aggregate:
    kind = kind_of_aggregate(section)
    assert kind is not None, f"{section.label} was checked"
    return Aggregate(
        name,
        kind,
        field=None if kind in ("count", "since_last") else section.text(kind),
        window_ms=ms(section, "window_s"),
        shape=section.text("shape"),
        hops=section.integer("hops"),
        decimals=section.integer("decimals"),
        k=section.integer("k") if kind == "last_k" else 1,
    )


def lookup_settings(stage: Section) -> LookupSettings:
    """Settings of a lookup stage; a field without a default is NaN where the key is unknown."""
    return LookupSettings(numbers_taken(stage), stage.integer("keys_max"))


def numbers_taken(stage: Section) -> tuple[tuple[str, float], ...]:
    """What a lookup stage takes, each name with its default; NaN where there is none."""
    return tuple((name, math.nan if value.data is None else _float(value)) for name, value in stage.entries("take").items())


def function_settings(stage: Section) -> FunctionSettings:
    """Settings of a function stage."""
    outside = stage.section("outside")
    gives = {name: str(value.data) for name, value in stage.entries("gives").items()}
    defaults = {name: typed(value, gives[name]) for name, value in stage.entries("defaults").items()}
    return FunctionSettings(
        function=stage.text("function"),
        per=stage.text("per"),
        defaults=tuple(defaults.items()) if stage.text("when_it_fails") == "default" else None,
        workers=stage.integer("workers"),
        workers_are=stage.maybe_text("workers_are") or "threads",
        outside=None if outside is None else _outside(outside),
    )


def _outside(section: Section) -> OutsideSettings:
    breaker = section.section("breaker")
    names = ("concurrency_max", "timeout_ms", "retries", "backoff_ms", "backoff_ms_max", "seed")
    limits = None if breaker is None else BreakerSettings(breaker.integer("failures"), breaker.integer("open_ms"))
    return OutsideSettings(**{name: section.integer(name) for name in names}, breaker=limits)


def model_settings(name: str, section: Section) -> ModelSettings:
    """Settings of a model."""
    batch, learns, workers = section.section("batch"), section.section("learns"), section.section("workers")
    kept, cache = section.maybe_number("versions_kept"), section.section("cache")
    return ModelSettings(
        name=name,
        kind=section.kind,
        inputs=tuple(_input(item) for item in section.items("inputs")),
        artifact=section.maybe_text("artifact"),
        model_class=section.maybe_text("class") or "mlp",
        sha256=section.maybe_text("sha256"),
        trusted=section.flag("trusted"),
        device=section.maybe_text("device") or "cpu",
        batch=BatchSettings() if batch is None else _batch(batch),
        learns=None if learns is None else _learner(learns),
        versions_kept=None if kept is None else int(kept),
        cache=None if cache is None else CacheSettings(cache.integer("rows_max"), ms(cache, "ttl_s")),
        output=section.maybe_text("output"),
        batch_variant=section.maybe_text("batch_variant") or "refuse",
        precision=section.maybe_text("precision") or "float32",
        compile=section.flag("compile"),
        workers=WorkerSettings() if workers is None else _workers(workers),
    )


def _workers(section: Section) -> WorkerSettings:
    limits = {name: section.number(name) for name in ("pass_s_max", "start_s_max") if section.has(name)}
    return WorkerSettings(
        where=section.text("where"),
        count=section.integer("count"),
        threads=section.integer("threads"),
        weight=section.number("weight"),
        pool=section.maybe_text("pool"),
        devices=section.texts("devices"),
        restarts_max=section.integer("restarts_max") if section.has("restarts_max") else WorkerSettings.restarts_max,
        **limits,
    )


def _batch(section: Section) -> BatchSettings:
    rows_max = section.maybe_number("rows_max")
    return BatchSettings(
        rows_max=None if rows_max is None else int(rows_max),
        sizes=tuple(int(_float(item)) for item in section.items("sizes")),
        cost=section.maybe_text("cost"),
        cost_max=section.maybe_number("cost_max"),
        buckets=tuple(_float(item) for item in section.items("buckets")),
    )


def deadline_settings(stage: Section) -> DeadlineSettings | None:
    """What a model or bandit stage says of rows that come late; None where nothing ever does."""
    after_ms = stage.maybe_number("deadline_ms")
    return None if after_ms is None else DeadlineSettings(max(1, round(after_ms)), stage.maybe_text("late") or "serve")


def _learner(section: Section) -> LearnerSettings:
    given = {name: section.number(name) for name in ("rate", "l2", "alpha", "beta", "l1") if section.has(name)}
    return LearnerSettings(by=section.kind, **given)


def _input(item: Value) -> Input:
    if isinstance(item.data, str):
        return Input(item.data)
    section = item.data
    assert isinstance(section, Section)
    if section.has("one_hot"):
        return Input(section.text("one_hot"), "one_hot", values=section.texts("values"))
    if section.has("is_missing"):
        return Input(section.text("is_missing"), "is_missing")
    if section.has("output_of"):
        return Input(section.text("output_of"), "output", section.maybe_number("missing"), size=int(section.maybe_number("size") or 0))
    for kind in WIDE:
        if section.has(kind):
            return Input(section.text(kind), kind, size=section.integer("size"), separator=section.maybe_text("separator") or ",")
    return Input(section.text("name"), missing=section.maybe_number("missing"))


def policy_settings(stage: Section) -> PolicySettings:
    """How a model or bandit stage draws; a model stage always draws its one model."""
    policy = stage.section("policy")
    if stage.kind in ("split", "canary"):
        shares = tuple(_float(item) for item in stage.items("shares"))
        canary = _canary(stage) if stage.kind == "canary" else None
        return PolicySettings(stage.kind, seed=stage.integer("seed"), shares=shares, by=stage.maybe_text("by"), canary=canary)
    if stage.kind == "model" or policy is None:
        return PolicySettings("fixed")
    prior = [_float(item) for item in policy.items("prior")] or [1.0, 1.0]
    return PolicySettings(
        policy.kind,
        epsilon=policy.number("epsilon") if policy.has("epsilon") else 0.1,
        prior=(prior[0], prior[1]),
        share_min=stage.number("share_min"),
        seed=stage.integer("seed"),
        segment=_segment(stage),
    )


def _segment(stage: Section) -> SegmentSettings | None:
    by = stage.maybe_text("segment")
    return None if by is None else SegmentSettings(by, stage.integer("segments_max"), stage.integer("segment_prior_rows"))


def attribution_settings(stage: Section) -> AttributionSettings:
    """How an explain stage attributes answers."""
    return AttributionSettings(
        stage.text("method"),
        stage.maybe_text("baseline") or tuple((name, _float(value)) for name, value in stage.entries("baseline").items()),
        stage.integer("output"),
        stage.integer("steps"),
        stage.integer("samples"),
        stage.integer("seed"),
    )


def _canary(stage: Section) -> CanarySettings:
    return CanarySettings(
        steps=tuple(_float(item) for item in stage.items("steps")),
        every_ms=ms(stage, "every_s") or 1,
        rows_min=stage.integer("rows_min"),
        rejects_above=stage.number("rejects_above"),
        differ_by=stage.maybe_number("differ_by"),
        differ_share_max=stage.number("differ_share_max"),
        reward_below=stage.maybe_number("reward_below"),
        latency_above=stage.maybe_number("latency_above"),
    )


def feedback_settings(stage: Section) -> FeedbackSettings:
    """Settings of a feedback stage."""
    reward = stage.section("reward")
    assert reward is not None
    numbers = {name: reward.number(name) for name in ("scale", "low", "high", "threshold") if reward.has(name)}
    return FeedbackSettings(
        on=stage.text("on"),
        label=stage.text("label"),
        wait_ms_max=ms(stage, "wait_s_max") or 1,
        reward=RewardSettings(reward.kind, **numbers),
        take=stage.text("take"),
        absent=stage.maybe_number("absent"),
        early_ms_max=round(stage.number("early_s_max") * 1000),
        feedback_id=stage.maybe_text("feedback_id"),
    )


def _float(value: Value) -> float:
    assert isinstance(value.data, int | float), f"{value.source} was read as a number"
    return float(value.data)
