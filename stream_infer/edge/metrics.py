"""edge.metrics: the names of all metrics, one line each. *metrics* → telemetry.

Names follow Prometheus' rules: base units, `_total` for what only grows. Every metric also carries the label `pipeline`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_infer.records import Floats, Ints

PREFIX = "stream_infer_"
COUNTER, GAUGE, HISTOGRAM, INFO = "counter", "gauge", "histogram", "info"

# 1, 2.5, 5 from half a millisecond to ten seconds; a minute and more is a backlog, which lag_seconds shows better.
LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = tuple(float(2**power) for power in range(15))
FILL = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """kind: counter, gauge, histogram or info (a gauge that is always one). says: the help text. buckets: upper bounds, ascending."""

    kind: str
    says: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _histogram(says: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> MetricSettings:
    return MetricSettings(HISTOGRAM, says, labels, buckets)


PARTITION = ("topic", "partition")
ARM = ("stage", "arm")

METRICS: dict[str, MetricSettings] = {
    # Is it late?
    "e2e_latency_seconds": _histogram(
        "From a record's time in the log to its answer (to=answered) or its commit (to=committed).", ("to",), LATENCY_S
    ),
    "lag_records": MetricSettings(GAUGE, "Records between our position and the high watermark.", PARTITION),
    "lag_seconds": MetricSettings(GAUGE, "Age of the oldest record not yet worked on.", PARTITION),
    "lso_gap_records": MetricSettings(GAUGE, "High watermark minus last stable offset: what open transactions hold back.", PARTITION),
    "lso_gap_seconds": MetricSettings(GAUGE, "How long the last stable offset has stood still below the high watermark.", PARTITION),
    "commit_duration_seconds": _histogram("How long a transaction's commit took.", (), LATENCY_S),
    "last_commit_time_seconds": MetricSettings(GAUGE, "When the last transaction committed, seconds since 1970."),
    "forward_seconds": _histogram("How long a model's forward pass took.", ("model",), LATENCY_S),
    # Is it wrong?
    "records_rejected_total": MetricSettings(COUNTER, "Rows sent to the rejects topic.", ("topic", "error_class")),
    "labelled_total": MetricSettings(COUNTER, "Answers whose outcome has come.", ARM),
    "absolute_error_total": MetricSettings(COUNTER, "Sum of the absolute errors of these answers.", ARM),
    "shadow_absolute_error_total": MetricSettings(COUNTER, "Sum of the absolute errors a shadow would have made.", ("stage", "model")),
    "arm_pulls_total": MetricSettings(COUNTER, "Rows an arm answered.", ARM),
    "arm_rewards_total": MetricSettings(COUNTER, "Sum of the rewards an arm earned.", ARM),
    "arm_propensity": MetricSettings(GAUGE, "Probability with which an arm answers, as last in force.", ARM),
    "policy_version": MetricSettings(GAUGE, "Version of the policy that decides.", ("stage",)),
    "feedback_total": MetricSettings(COUNTER, "Feedback rows: accepted, late, duplicate or unknown.", ("outcome",)),
    "explanations_total": MetricSettings(
        COUNTER, "Answers that were explained, skipped (too many in a chunk) or could not be explained (failed).", ("stage", "outcome")
    ),
    "model_info": MetricSettings(INFO, "Version of a model that answers.", ("model", "model_version")),
    "model_swaps_total": MetricSettings(COUNTER, "Times a model's version was replaced while running.", ("model",)),
    "model_installs_total": MetricSettings(COUNTER, "Published versions that were loaded, warmed and checked.", ("model",)),
    "model_install_failures_total": MetricSettings(COUNTER, "Published versions that were not to be had; the old one went on.", ("model",)),
    # Is it full?
    "records_in_total": MetricSettings(COUNTER, "Records read.", ("topic",)),
    "records_out_total": MetricSettings(COUNTER, "Records written and committed.", ("topic",)),
    "rows_in_flight": MetricSettings(GAUGE, "Rows read and not yet committed."),
    "partitions_assigned": MetricSettings(GAUGE, "Partitions this worker holds."),
    "partitions_paused": MetricSettings(GAUGE, "Partitions whose reading is paused because too much is in flight."),
    "batch_rows": _histogram("Rows of a forward pass.", ("model",), ROWS),
    "batches_total": MetricSettings(
        COUNTER, "Forward passes, by what made the batch leave: full, nothing_waits, deadline, cost or drain.", ("model", "why")
    ),
    "batch_fill_ratio": _histogram("Rows of a forward pass, of those that could have gone.", ("model",), FILL),
    "batch_wait_seconds": _histogram("How long the oldest rows of a forward pass waited for the model.", ("model",), LATENCY_S),
    "batch_padded_rows_total": MetricSettings(COUNTER, "Rows of nothing that filled forward passes up to an allowed size.", ("model",)),
    "batch_rows_max": MetricSettings(GAUGE, "The most rows of a forward pass, as of now.", ("model",)),
    "batch_curve_seconds": MetricSettings(GAUGE, "What a forward pass of so many rows is expected to take.", ("model", "rows")),
    "batch_rows_fit": MetricSettings(GAUGE, "More rows than these found no memory; absent while it is enough.", ("model",)),
    "out_of_memory_total": MetricSettings(COUNTER, "Forward passes that found no memory and were halved.", ("model",)),
    "rows_waiting": MetricSettings(GAUGE, "Rows that wait for a worker of their model.", ("model",)),
    "worker_passes_total": MetricSettings(COUNTER, "Forward passes by worker.", ("worker",)),
    "worker_rows_total": MetricSettings(COUNTER, "Rows of forward passes by worker.", ("worker",)),
    "worker_busy_seconds_total": MetricSettings(COUNTER, "Time that a worker spent on forward passes.", ("worker",)),
    "worker_restarts_total": MetricSettings(COUNTER, "Times the process of a worker was started again.", ("worker",)),
    "worker_shared_bytes": MetricSettings(GAUGE, "Memory in which rows travel to the process of a worker.", ("worker",)),
    "artifact_shared_bytes": MetricSettings(GAUGE, "Memory of the model files that worker processes load."),
    "batching_backlog": MetricSettings(GAUGE, "1 while so much waits that batches are sized for throughput, not for deadlines."),
    "members_left_out_total": MetricSettings(
        COUNTER, "Rows that an ensemble answered or gave up without a member: late, stalled or failed.", ("stage", "member", "why")
    ),
    "rows_late_total": MetricSettings(
        COUNTER, "Rows whose deadline was over when they were to be answered: serve, fallback, topic or drop.", ("stage", "late")
    ),
    "call_seconds": _histogram("How long a call of a function stage took, until all its rows were back.", ("stage",), LATENCY_S),
    "call_rows_total": MetricSettings(
        COUNTER, "Rows of calls: good, rejected by the function, failed, or defaulted (failed, and went on).", ("stage", "outcome")
    ),
    "call_tries_total": MetricSettings(
        COUNTER, "Tries of async functions: retry (one more was made), timeout, or refused by an open breaker.", ("stage", "what")
    ),
    "call_breaker": MetricSettings(GAUGE, "The breaker of an async function: 0 closed, 0.5 half open, 1 open.", ("stage",)),
    "state_bytes": MetricSettings(GAUGE, "Memory of a stage's state.", ("stage",)),
    "state_keys": MetricSettings(GAUGE, "Keys in a stage's state.", ("stage",)),
    "answer_cache_rows_total": MetricSettings(
        COUNTER, "Rows for a model that remembers: hit (from memory), repeat (asked once with an equal row) or miss.", ("model", "outcome")
    ),
    # Redis
    "lookup_rows_total": MetricSettings(
        COUNTER,
        "Rows looked up: cached, found, absent, wrong (no number or hash there), defaulted (no answer) or overdue (it came too late).",
        ("stage", "outcome"),
    ),
    "lookup_trips_total": MetricSettings(
        COUNTER, "Round trips to Redis: ok, spared (the breaker is open), timeout, refused, loading, memory or error.", ("stage", "outcome")
    ),
    "store_lag_records": MetricSettings(GAUGE, "Records of the answers' topic that are not in Redis yet.", ("stage",)),
    "store_rows_total": MetricSettings(
        COUNTER,
        "Answers brought to Redis: written, replaced (by a later one at once), stale, unreadable, or refused (the key is no hash).",
        ("stage", "outcome"),
    ),
    "store_faults_total": MetricSettings(
        COUNTER, "Times nothing could be written: timeout, refused, loading, memory, error (of Redis), broker or log.", ("stage", "reason")
    ),
    "store_rebuilds_total": MetricSettings(COUNTER, "Times Redis had lost what was written, which was then written again.", ("stage",)),
    "store_stopped": MetricSettings(GAUGE, "1 where a store stage has ended by an error; see the log.", ("stage",)),
    # Is it safe?
    "transactions_total": MetricSettings(COUNTER, "Transactions: committed, aborted or failed.", ("outcome",)),
    "records_stale_dropped_total": MetricSettings(COUNTER, "Results dropped because their partition had gone to another worker."),
    "producer_rebuilds_total": MetricSettings(COUNTER, "Times the producer was built anew after an indefinite result."),
    "fenced_total": MetricSettings(COUNTER, "Times another process took over our transactional id."),
    "rebalances_total": MetricSettings(COUNTER, "Rebalances: assigned, revoked or lost.", ("type",)),
    "restore_records_total": MetricSettings(COUNTER, "Changelog records read back into state."),
    "restore_seconds_total": MetricSettings(COUNTER, "Time spent reading state back."),
    "snapshot_age_seconds": MetricSettings(GAUGE, "Time since a section's state was last saved to disk.", ("section",)),
    "series_dropped_total": MetricSettings(COUNTER, "Updates not counted because a metric had too many label sets."),
    "start_time_seconds": MetricSettings(GAUGE, "When this worker started, seconds since 1970."),
    "build_info": MetricSettings(INFO, "Version of this program.", ("version",)),
}


def quantile(bounds: Floats, counts: Ints, share: float) -> float | None:
    """The value that `share` of the observations stay below, linear inside its bucket; None without observations.

    bounds: float64[k] ascending; counts: int64[k + 1], the last beyond all bounds, where the largest bound is the answer.
    """
    total = int(counts.sum())
    if total == 0:
        return None
    below = np.cumsum(counts)
    place = int(np.searchsorted(below, share * total, side="left"))
    if place >= len(bounds):
        return float(bounds[-1])
    low = 0.0 if place == 0 else float(bounds[place - 1])
    before = 0 if place == 0 else int(below[place - 1])
    inside = (share * total - before) / max(int(counts[place]), 1)
    return low + (float(bounds[place]) - low) * min(max(inside, 0.0), 1.0)
