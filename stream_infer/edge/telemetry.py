"""edge.telemetry: what a worker counts, and how Prometheus reads it. host, flow → *telemetry* → status page, progress.

Everything comes per batch, with columns where many values come at once; a histogram sorts a whole column into its buckets in one
numpy call. Label values are names from the topology and numbers of partitions, never a key, a user or an event. What has gone
(a revoked partition) is forgotten, for a gauge that no one moves any more is read as a lag that does not shrink.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock

import numpy as np
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stream_infer.batching import CostCurve
from stream_infer.edge.calls import Tally
from stream_infer.edge.metrics import HISTOGRAM, INFO, METRICS, PREFIX, MetricSettings
from stream_infer.edge.totals import ArmFigures, Snapshot
from stream_infer.flow.notices import Pass
from stream_infer.records import Floats, Ints

# A topology with more label sets than this in one metric would cost the Prometheus server more than it tells anyone.
SERIES_MAX = 2_000
Values = tuple[str, ...]


class Telemetry(Collector):
    """Counts of one process, in a registry of its own. Every method may be called from any thread."""

    def __init__(self, pipeline: str, *, version: str = "", clock: Callable[[], float] = time.time) -> None:
        """pipeline: the topology's name; version: this program's; clock: seconds since 1970."""
        self.registry = CollectorRegistry()
        self._pipeline = pipeline
        self._clock = clock
        self._lock = Lock()
        self._sums: dict[str, dict[Values, float]] = {name: {} for name, metric in METRICS.items() if metric.kind != HISTOGRAM}
        self._buckets: dict[str, dict[Values, tuple[Ints, Floats]]] = {
            name: {} for name, metric in METRICS.items() if metric.kind == HISTOGRAM
        }
        self._bounds = {name: np.array(METRICS[name].buckets) for name in self._buckets}
        self._last_stable: dict[Values, tuple[int, float]] = {}
        self._snapshot_at: dict[Values, float] = {}
        self._baseline: str | None = None
        self._compared, self._own_error = 0, 0.0
        self._set("build_info", 1.0, version)
        self._set("start_time_seconds", clock())
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # Rows

    def rows_read(self, topic: str, rows: int) -> None:
        """Records of an input topic that were read."""
        self._add("records_in_total", rows, topic)

    def rows_written(self, topic: str, rows: int) -> None:
        """Records of an output topic whose transaction committed."""
        self._add("records_out_total", rows, topic)

    def rows_rejected(self, topic: str, error_class: str, rows: int) -> None:
        """Rows that went to the rejects topic. error_class: one of a few words, not the reason itself."""
        self._add("records_rejected_total", rows, topic, error_class)

    def stale_dropped(self, rows: int) -> None:
        """Results dropped because their partition had gone to another worker."""
        self._add("records_stale_dropped_total", rows)

    def in_flight(self, rows: int) -> None:
        """Rows read and not yet committed, now."""
        self._set("rows_in_flight", rows)

    def answered(self, latency_s: Floats) -> None:
        """float64[n] seconds from the record's time in the log to the answer's hand-over to the producer."""
        self._observe("e2e_latency_seconds", latency_s, "answered")

    def committed(self, latency_s: Floats) -> None:
        """float64[n] seconds from the record's time in the log to the commit of its answer."""
        self._observe("e2e_latency_seconds", latency_s, "committed")

    # Models

    def passes(self, model: str, passes: Sequence[Pass]) -> None:
        """Forward passes of one model."""
        rows = np.array([passed.rows for passed in passes], dtype=np.float64)
        self._observe("batch_rows", rows, model)
        self._observe("forward_seconds", np.array([passed.seconds for passed in passes]), model)
        self._observe("batch_wait_seconds", np.array([passed.waited_s for passed in passes]), model)
        could = np.array([max(passed.rows_max, passed.rows, 1) for passed in passes])
        self._observe("batch_fill_ratio", rows / could, model)
        self._add("batch_padded_rows_total", sum(passed.padded for passed in passes), model)
        for why, count in Counter(passed.why for passed in passes).items():
            self._add("batches_total", count, model, why)

    def sizing(self, model: str, *, rows_max: int, curve: CostCurve) -> None:
        """How large the batches of a model may be, and what they cost, as of now."""
        self._set("batch_rows_max", rows_max, model)
        for rows, seconds in zip(curve.sizes, curve.seconds, strict=True):
            self._set("batch_curve_seconds", seconds, model, str(rows))

    def backlog(self, is_one: bool) -> None:
        """Whether batches are sized for throughput now."""
        self._set("batching_backlog", float(is_one))

    def counted(self, metric: str, count: int, *labels: str) -> None:
        """A counter that needs no more than to go on."""
        self._add(metric, count, *labels)

    def model_live(self, model: str, version: str) -> None:
        """`version` of a model answers from now on; the version before is forgotten."""
        with self._lock:
            versions = self._sums["model_info"]
            old = [values for values in versions if values[0] == model]
            for values in old:
                del versions[values]
        self._set("model_info", 1.0, model, version)
        if old and old != [(model, version)]:
            self._add("model_swaps_total", 1, model)

    def called(self, stage: str, tally: Tally, breaker: str | None = None) -> None:
        """Calls of a function stage that came back; the state of its breaker, if it has one."""
        if breaker is not None:
            self._set("call_breaker", ("closed", "half_open", "open").index(breaker) / 2, stage)
        self._observe("call_seconds", np.array(tally.seconds), stage)
        for outcome, rows in tally.outcomes().items():
            self._add("call_rows_total", rows, stage, outcome)
        for what, tries in tally.tries().items():
            self._add("call_tries_total", tries, stage, what)

    # Decisions and feedback

    def decided(self, stage: str, arms: Sequence[str], pulls: Ints, propensities: Floats, policy_version: int) -> None:
        """A batch of decisions. pulls: int64[arms] rows each arm answered; propensities: float64[arms], as last in force."""
        for arm, count, propensity in zip(arms, pulls.tolist(), propensities.tolist(), strict=True):
            self._add("arm_pulls_total", count, stage, arm)
            self._set("arm_propensity", propensity, stage, arm)
        self._set("policy_version", policy_version, stage)

    def judged(self, stage: str, arms: Sequence[str], arm: Ints, absolute_error: Floats, reward: Floats) -> None:
        """A batch of rows whose label came. arm: int64[n], place in arms; absolute_error, reward: float64[n]."""
        size = len(arms)
        for name, counts in (
            ("labelled_total", np.bincount(arm, minlength=size)),
            ("absolute_error_total", np.bincount(arm, absolute_error, minlength=size)),
            ("arm_rewards_total", np.bincount(arm, reward, minlength=size)),
        ):
            for place in np.flatnonzero(counts).tolist():
                self._add(name, float(counts[place]), stage, arms[place])

    def judged_shadow(self, stage: str, model: str, absolute_error: Floats, own_error: Floats) -> None:
        """float64[n]: errors of a shadow, and of the answers given, on the same rows. The first shadow seen is the live baseline."""
        self._baseline = self._baseline or model
        self._add("shadow_absolute_error_total", float(absolute_error.sum()), stage, model)
        if model == self._baseline:
            self._compared, self._own_error = self._compared + len(own_error), self._own_error + float(own_error.sum())

    def feedback(self, *, accepted: int = 0, late: int = 0, duplicate: int = 0, unknown: int = 0) -> None:
        """Feedback rows by what became of them."""
        for outcome, rows in (("accepted", accepted), ("late", late), ("duplicate", duplicate), ("unknown", unknown)):
            if rows:
                self._add("feedback_total", rows, outcome)

    def explained(self, stage: str, outcome: str, count: int) -> None:
        """Answers of which explanations were given, skipped or not possible."""
        if count:
            self._add("explanations_total", count, stage, outcome)

    # Transactions, partitions, state

    def transaction(self, outcome: str, seconds: float) -> None:
        """A transaction ended. outcome: committed, aborted or failed; seconds: how long the commit or abort took."""
        self._add("transactions_total", 1, outcome)
        if outcome == "committed":
            self._observe("commit_duration_seconds", np.array([seconds]))
            self._set("last_commit_time_seconds", self._clock())

    def producer_rebuilt(self) -> None:
        """The producer was destroyed and built anew after an indefinite result."""
        self._add("producer_rebuilds_total", 1)

    def fenced(self) -> None:
        """Another process took over our transactional id."""
        self._add("fenced_total", 1)

    def rebalanced(self, kind: str, assigned: int) -> None:
        """kind: assigned, revoked or lost; assigned: partitions held afterwards."""
        self._add("rebalances_total", 1, kind)
        self._set("partitions_assigned", assigned)

    def paused(self, partitions: int) -> None:
        """Partitions whose reading is paused, now."""
        self._set("partitions_paused", partitions)

    def watermarks(self, topic: str, partition: int, *, position: int, stable: int, high: int, oldest_ms: int | None) -> None:
        """Lag of a partition. position: next offset to work on; stable: last stable offset; high: high watermark; oldest_ms: log
        time of the oldest record not yet worked on, None when there is none or it has not been seen.

        Lag is taken to the high watermark: to the last stable offset it is zero while a transaction hangs. lso_gap_seconds says
        for how long the stable offset has stood still below the high watermark.
        """
        now = self._clock()
        place = (topic, str(partition))
        gap = max(high - stable, 0)
        with self._lock:
            last, since = self._last_stable.get(place, (stable, now))
            if last != stable or gap == 0:
                since = now
            self._last_stable[place] = (stable, since)
        self._set("lag_records", max(high - position, 0), *place)
        self._set("lag_seconds", 0.0 if oldest_ms is None or high <= position else max(now - oldest_ms / 1000, 0.0), *place)
        self._set("lso_gap_records", gap, *place)
        self._set("lso_gap_seconds", now - since, *place)

    def forget_partition(self, topic: str, partition: int) -> None:
        """Its gauges go: someone else reports them now."""
        place = (topic, str(partition))
        with self._lock:
            self._last_stable.pop(place, None)
            for name in ("lag_records", "lag_seconds", "lso_gap_records", "lso_gap_seconds"):
                self._sums[name].pop(place, None)

    def state(self, stage: str, *, state_bytes: int, keys: int) -> None:
        """Size of a stage's state over all its tasks here."""
        self._set("state_bytes", state_bytes, stage)
        self._set("state_keys", keys, stage)

    def restored(self, records: int, seconds: float) -> None:
        """State of tasks was read back from the changelog."""
        self._add("restore_records_total", records)
        self._add("restore_seconds_total", seconds)

    def snapshot_written(self, section: str, *, at_s: float | None = None) -> None:
        """A snapshot of a section's state is safe on disk; at_s: seconds since 1970, now if None."""
        with self._lock:
            self._snapshot_at[section,] = self._clock() if at_s is None else at_s

    # Reading

    def snapshot(self) -> Snapshot:
        """The figures of the live view, taken at one moment."""
        with self._lock:
            labelled, wrong = self._sums["labelled_total"], self._sums["absolute_error_total"]
            arms = tuple(
                ArmFigures(stage, arm, int(pulls), int(labelled.get((stage, arm), 0)), wrong.get((stage, arm), 0.0))
                for (stage, arm), pulls in self._sums["arm_pulls_total"].items()
            )
            shadow = sum(value for (_, model), value in self._sums["shadow_absolute_error_total"].items() if model == self._baseline)
            bounds = self._bounds["e2e_latency_seconds"]
            found = self._buckets["e2e_latency_seconds"]
            counts = next(
                (found[key,][0] for key in ("committed", "answered") if (key,) in found), np.zeros(len(bounds) + 1, dtype=np.int64)
            )
            return Snapshot(
                time_s=self._clock(),
                rows_in=int(self._total("records_in_total")),
                rows_out=int(sum(arm.pulls for arm in arms)),
                rows_rejected=int(self._total("records_rejected_total")),
                rows_in_flight=int(self._total("rows_in_flight")),
                lag_rows=int(self._total("lag_records")),
                lag_seconds=max(self._sums["lag_seconds"].values(), default=0.0),
                commits=int(self._sums["transactions_total"].get(("committed",), 0)),
                feedback=int(self._sums["feedback_total"].get(("accepted",), 0)),
                latency_bounds=bounds,
                latency_counts=counts.copy(),
                arms=arms,
                baseline=None if not self._compared else (self._baseline or "", shadow / self._compared, self._own_error / self._compared),
                partitions_assigned=int(self._total("partitions_assigned")),
                partitions_paused=int(self._total("partitions_paused")),
            )

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks its collectors for."""
        now = self._clock()
        with self._lock:
            for values, at in self._snapshot_at.items():
                self._sums["snapshot_age_seconds"][values] = now - at
            return [self._family(name, metric) for name, metric in METRICS.items()]

    def _family(self, name: str, metric: MetricSettings) -> Metric:
        labels = ("pipeline", *metric.labels)
        full = PREFIX + name
        if metric.kind == HISTOGRAM:
            histogram = HistogramMetricFamily(full, metric.says, labels=labels)
            names = [*(f"{bound:g}" for bound in metric.buckets), "+Inf"]
            for values, (counts, total) in self._buckets[name].items():
                below = list(zip(names, np.cumsum(counts).astype(np.float64).tolist(), strict=True))
                histogram.add_metric((self._pipeline, *values), below, float(total[0]))
            return histogram
        family = (GaugeMetricFamily if metric.kind in ("gauge", INFO) else CounterMetricFamily)(full, metric.says, labels=labels)
        for values, value in self._sums[name].items():
            family.add_metric((self._pipeline, *values), value)
        return family

    def _total(self, name: str) -> float:
        return sum(self._sums[name].values())

    def put(self, name: str, value: float, *values: str) -> None:
        """A gauge of METRICS, or a counter as whoever counts has it since the start; values: of its labels. For what few topologies do."""
        self._set(name, value, *values)

    def _add(self, name: str, amount: float, *values: str) -> None:
        with self._lock:
            if self._admitted(self._sums[name], values):
                self._sums[name][values] = self._sums[name].get(values, 0.0) + amount

    def _set(self, name: str, value: float, *values: str) -> None:
        with self._lock:
            if self._admitted(self._sums[name], values):
                self._sums[name][values] = float(value)

    def _observe(self, name: str, column: Floats, *values: str) -> None:
        bounds = self._bounds[name]
        # A bucket holds what is ≤ its bound; NaN would count as the largest.
        missing = np.isnan(column)
        if missing.any():
            column = column[~missing]
        counts = np.bincount(np.searchsorted(bounds, column, side="left"), minlength=len(bounds) + 1)
        with self._lock:
            if not self._admitted(self._buckets[name], values):
                return
            if values not in self._buckets[name]:
                self._buckets[name][values] = (np.zeros(len(bounds) + 1, dtype=np.int64), np.zeros(1))
            found, total = self._buckets[name][values]
            found += counts
            total += column.sum()

    def _admitted(self, series: Mapping[Values, object], values: Values) -> bool:
        """Whether there is room for this label set; what has none is counted, never silently gone."""
        if values in series or len(series) < SERIES_MAX:
            return True
        dropped = self._sums["series_dropped_total"]
        dropped[()] = dropped.get((), 0.0) + 1
        return False
