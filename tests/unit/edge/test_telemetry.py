"""Oracles: prometheus_client's own histogram and parser, and counts kept by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from stream_infer.batching import CostCurve
from stream_infer.edge.breaker import HALF_OPEN
from stream_infer.edge.calls import Tally
from stream_infer.edge.metrics import LATENCY_S, METRICS, PREFIX, quantile
from stream_infer.edge.telemetry import SERIES_MAX, Telemetry
from stream_infer.flow.notices import Pass


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[str, ...]], float]:
    """(name, label values without the pipeline) → value, as a Prometheus server would read them."""
    out = {}
    for family in text_string_to_metric_families(telemetry.text().decode()):
        for sample in family.samples:
            if sample.name.startswith(PREFIX):
                assert sample.labels["pipeline"] == "flights"
                name = sample.name.removeprefix(PREFIX)
                metric = METRICS.get(name) or METRICS[name.rpartition("_")[0]]
                order = [*metric.labels, "le"] if "le" in sample.labels else metric.labels
                out[name, tuple(sample.labels[label] for label in order)] = sample.value
    return out


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.0004, 0.0005, 0.00051, 0.01, 0.3, 10.0, 10.1, 1e9]) | st.floats(0, 20), max_size=30), max_size=4
    )
)
def test_a_column_at_once_equals_prometheus_own_histogram_row_by_row(columns: list[list[float]]) -> None:
    telemetry = Telemetry("flights")
    registry = CollectorRegistry()
    oracle = Histogram("slow", "oracle", buckets=LATENCY_S, registry=registry)
    for column in columns:
        telemetry.committed(np.array(column))
        for value in column:
            oracle.observe(value)
    found = samples(telemetry)
    for family in registry.collect():
        for sample in family.samples:
            name = sample.name.replace("slow", "e2e_latency_seconds")
            if sample.name.endswith("_created") or not columns:
                continue
            # The parser reads the bucket bounds as text: 1.0 and 1 are the same bound.
            values = ("committed", f"{float(sample.labels['le']):g}".replace("inf", "+Inf")) if "le" in sample.labels else ("committed",)
            assert found[name, values] == pytest.approx(sample.value)


def test_every_metric_is_reachable_and_reads_as_it_was_written() -> None:
    clock = Clock()
    telemetry = Telemetry("flights", version="0.1.0", clock=clock)
    telemetry.rows_read("scheduled", 500)
    telemetry.rows_read("scheduled", 12)
    telemetry.rows_written("predictions", 500)
    telemetry.rows_rejected("scheduled", "decode", 12)
    telemetry.stale_dropped(3)
    telemetry.in_flight(77)
    telemetry.answered(np.array([0.01, 0.02]))
    telemetry.passes("net", [Pass(300, 0.004, 212, 0.002, "full", 512), Pass(512, 0.006, 0, 0.0, "nothing_waits", 512)])
    telemetry.sizing("net", rows_max=512, curve=CostCurve((1, 512), (0.001, 0.006)))
    telemetry.backlog(True)
    telemetry.counted("rows_late_total", 3, "eta", "drop")
    telemetry.counted("model_installs_total", 2, "net")
    telemetry.counted("model_install_failures_total", 1, "net")
    telemetry.counted("members_left_out_total", 2, "eta", "net", "late")
    telemetry.called("check", Tally(2, 50, [0.2, 0.3], rejected=4, failed=3, defaulted=2, timeouts=5, retries=6, refused=7), HALF_OPEN)
    telemetry.model_live("net", "v1")
    telemetry.model_live("net", "v2")
    telemetry.decided("eta", ("net", "ridge"), np.array([400, 100]), np.array([0.8, 0.2]), 41)
    telemetry.judged("eta", ("net", "ridge"), np.array([0, 1, 0]), np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.25, 0.5]))
    telemetry.judged_shadow("eta", "static", np.array([2.0, 2.0, 5.0]), np.zeros(3))
    telemetry.feedback(accepted=3, late=1)
    telemetry.explained("why", "skipped", 4)
    telemetry.transaction("committed", 0.02)
    telemetry.transaction("aborted", 0.5)
    telemetry.producer_rebuilt()
    telemetry.fenced()
    telemetry.rebalanced("assigned", 4)
    telemetry.paused(1)
    telemetry.watermarks("scheduled", 2, position=90, stable=95, high=100, oldest_ms=998_500)
    telemetry.state("origin_now", state_bytes=4096, keys=3)
    telemetry.restored(1_000, 0.25)
    telemetry.snapshot_written("main")
    telemetry.put("store_lag_records", 7, "eta_store")
    telemetry.put("store_rows_total", 2, "eta_store", "written")
    telemetry.put("store_rows_total", 3, "eta_store", "written")
    telemetry.put("store_faults_total", 1, "eta_store", "timeout")
    telemetry.put("store_rebuilds_total", 1, "eta_store")
    telemetry.put("store_stopped", 0, "eta_store")
    telemetry.put("lookup_rows_total", 9, "shelf", "cached")
    telemetry.put("lookup_trips_total", 1, "shelf", "ok")
    telemetry.put("answer_cache_rows_total", 9, "net", "hit")
    for name, value in (("passes_total", 5), ("rows_total", 500), ("busy_seconds_total", 0.5), ("restarts_total", 3)):
        telemetry.put(f"worker_{name}", value, "net-0")
    telemetry.put("worker_shared_bytes", 4096, "net-0")
    telemetry.put("artifact_shared_bytes", 1056)
    for name, value in (("batch_rows_fit", 63), ("rows_waiting", 40), ("out_of_memory_total", 2)):
        telemetry.put(name, value, "net")
    telemetry._sums["series_dropped_total"][()] = 0.0
    clock.now += 30
    found = samples(telemetry)
    expected = {
        ("records_in_total", ("scheduled",)): 512,
        ("records_out_total", ("predictions",)): 500,
        ("records_rejected_total", ("scheduled", "decode")): 12,
        ("records_stale_dropped_total", ()): 3,
        ("rows_in_flight", ()): 77,
        ("e2e_latency_seconds_count", ("answered",)): 2,
        ("batch_rows_bucket", ("net", "256")): 0,
        ("batch_rows_bucket", ("net", "512")): 2,
        ("forward_seconds_bucket", ("net", "0.005")): 1,
        ("batches_total", ("net", "full")): 1,
        ("batches_total", ("net", "nothing_waits")): 1,
        ("batch_fill_ratio_bucket", ("net", "0.5")): 0,
        ("batch_fill_ratio_bucket", ("net", "0.75")): 1,
        ("batch_wait_seconds_bucket", ("net", "0.0025")): 2,
        ("batch_padded_rows_total", ("net",)): 212,
        ("batch_rows_max", ("net",)): 512,
        ("batch_curve_seconds", ("net", "512")): 0.006,
        ("batching_backlog", ()): 1,
        ("rows_late_total", ("eta", "drop")): 3,
        ("members_left_out_total", ("eta", "net", "late")): 2,
        ("model_info", ("net", "v2")): 1,
        ("model_swaps_total", ("net",)): 1,
        ("call_seconds_sum", ("check",)): 0.5,
        ("call_rows_total", ("check", "good")): 43,
        ("call_rows_total", ("check", "rejected")): 4,
        ("call_rows_total", ("check", "failed")): 1,
        ("call_rows_total", ("check", "defaulted")): 2,
        ("call_tries_total", ("check", "timeout")): 5,
        ("call_tries_total", ("check", "retry")): 6,
        ("call_tries_total", ("check", "refused")): 7,
        ("call_breaker", ("check",)): 0.5,
        ("arm_pulls_total", ("eta", "net")): 400,
        ("arm_propensity", ("eta", "ridge")): 0.2,
        ("policy_version", ("eta",)): 41,
        ("labelled_total", ("eta", "net")): 2,
        ("absolute_error_total", ("eta", "net")): 5,
        ("arm_rewards_total", ("eta", "net")): 1,
        ("shadow_absolute_error_total", ("eta", "static")): 9,
        ("feedback_total", ("late",)): 1,
        ("explanations_total", ("why", "skipped")): 4,
        ("transactions_total", ("aborted",)): 1,
        ("commit_duration_seconds_count", ()): 1,
        ("last_commit_time_seconds", ()): 1_000,
        ("producer_rebuilds_total", ()): 1,
        ("fenced_total", ()): 1,
        ("rebalances_total", ("assigned",)): 1,
        ("partitions_assigned", ()): 4,
        ("partitions_paused", ()): 1,
        ("lag_records", ("scheduled", "2")): 10,
        ("lag_seconds", ("scheduled", "2")): 1.5,
        ("lso_gap_records", ("scheduled", "2")): 5,
        ("lso_gap_seconds", ("scheduled", "2")): 0,
        ("state_bytes", ("origin_now",)): 4096,
        ("state_keys", ("origin_now",)): 3,
        ("restore_records_total", ()): 1_000,
        ("restore_seconds_total", ()): 0.25,
        ("snapshot_age_seconds", ("main",)): 30,
        ("store_lag_records", ("eta_store",)): 7,
        ("answer_cache_rows_total", ("net", "hit")): 9,
        ("store_rows_total", ("eta_store", "written")): 3,
        ("batch_rows_fit", ("net",)): 63,
        ("out_of_memory_total", ("net",)): 2,
        ("rows_waiting", ("net",)): 40,
        ("worker_passes_total", ("net-0",)): 5,
        ("worker_rows_total", ("net-0",)): 500,
        ("worker_busy_seconds_total", ("net-0",)): 0.5,
        ("worker_restarts_total", ("net-0",)): 3,
        ("worker_shared_bytes", ("net-0",)): 4096,
        ("artifact_shared_bytes", ()): 1056,
        ("start_time_seconds", ()): 1_000,
        ("build_info", ("0.1.0",)): 1,
        ("series_dropped_total", ()): 0,
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(value), key
    assert ("model_info", ("net", "v1")) not in found
    written = {name for name, _ in found}
    assert {name for name in METRICS if not any(name == w or w.startswith(f"{name}_") for w in written)} == set()


def test_a_hanging_transaction_shows_as_a_growing_gap_although_the_lag_to_the_stable_offset_is_zero() -> None:
    clock = Clock()
    telemetry = Telemetry("flights", clock=clock)
    for stable, high, waited in ((50, 60, 0.0), (50, 80, 20.0), (50, 90, 40.0), (90, 95, 0.0), (95, 95, 0.0)):
        telemetry.watermarks("t", 0, position=stable, stable=stable, high=high, oldest_ms=None)
        found = samples(telemetry)
        assert found["lso_gap_seconds", ("t", "0")] == waited
        assert found["lag_records", ("t", "0")] == high - stable
        clock.now += 20


def test_gauges_of_a_partition_that_has_gone_are_gone() -> None:
    telemetry = Telemetry("flights")
    telemetry.watermarks("t", 0, position=0, stable=9, high=9, oldest_ms=0)
    telemetry.watermarks("t", 1, position=0, stable=9, high=9, oldest_ms=0)
    telemetry.forget_partition("t", 0)
    assert {values for name, values in samples(telemetry) if name.startswith(("lag", "lso"))} == {("t", "1")}


def test_too_many_label_sets_are_counted_and_not_kept() -> None:
    telemetry = Telemetry("flights")
    for i in range(SERIES_MAX + 5):
        telemetry.rows_read(f"topic-{i}", 1)
    telemetry.rows_read("topic-0", 1)
    found = samples(telemetry)
    assert sum(name == "records_in_total" for name, _ in found) == SERIES_MAX
    assert found["series_dropped_total", ()] == 5
    assert found["records_in_total", ("topic-0",)] == 2


def test_the_snapshot_says_the_same_as_the_metrics() -> None:
    telemetry = Telemetry("flights", clock=Clock())
    assert telemetry.snapshot().latency_seconds(0.5) is None
    telemetry.rows_read("a", 10)
    telemetry.rows_read("b", 5)
    telemetry.decided("eta", ("net", "ridge"), np.array([7, 3]), np.array([0.7, 0.3]), 1)
    telemetry.judged("eta", ("net", "ridge"), np.array([0, 0]), np.array([1.0, 2.0]), np.zeros(2))
    telemetry.judged_shadow("eta", "static", np.array([3.0, 3.0]), np.array([1.0, 2.0]))
    telemetry.committed(np.full(10, 0.07))
    before = telemetry.snapshot()
    assert (before.rows_in, before.rows_out, before.baseline) == (15, 10, ("static", 3.0, 1.5))
    assert [(arm.arm, arm.pulls, arm.labelled, arm.absolute_error) for arm in before.arms] == [("net", 7, 2, 3.0), ("ridge", 3, 0, 0.0)]
    assert 0.05 < (before.latency_seconds(0.5) or 0) <= 0.1
    telemetry.committed(np.full(10, 0.7))
    assert 0.5 < (telemetry.snapshot().latency_seconds(0.5, before) or 0) <= 1.0
    assert before.latency_counts.sum() == 10  # a snapshot does not move any more


@given(st.lists(st.floats(0, 12), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    bounds = np.array(LATENCY_S)
    counts = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)
    got = quantile(bounds, counts, share)
    true = float(np.quantile(values, share, method="inverted_cdf"))
    place = int(np.searchsorted(bounds, true))
    assert got is not None
    low = 0.0 if place == 0 else bounds[min(place, len(bounds)) - 1]
    assert low - 1e-12 <= got <= bounds[min(place, len(bounds) - 1)] + 1e-12
