"""edge.report.figures: a run as numbers, the content of report.json. columns → *figures* → page, summary."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_infer.edge.report.columns import Labels, Period, Predictions, RunFigures, RunTrace
from stream_infer.records import Bools, Floats, Ints

Figures = dict[str, Any]
DAY_MS = 86_400_000
WHOLE = "whole"


def figures(predictions: Predictions, labels: Labels, trace: RunTrace, run: RunFigures) -> Figures:
    """All figures of a run. Values are float, int, str or None (nothing to compute it from); keys end in their unit."""
    rows = len(predictions)
    whole = Period(WHOLE, int(predictions.event_time.min()), int(predictions.event_time.max()) + 1) if rows else Period(WHOLE, 0, 1)
    return {
        name: _plain(value)
        for name, value in {
            "name": run.name,
            "began_at": run.began_at,
            "machine": run.machine,
            "guarantee": run.guarantee,
            "unit": run.unit,
            "rows": rows,
            "seconds": run.seconds,
            "records_per_second": run.rows_read / run.seconds if run.seconds > 0 else None,
            "rows_read": run.rows_read,
            "rows_rejected": run.rows_rejected,
            "error": {period.name: period_errors(predictions, labels, run.baseline, period) for period in (whole, *run.periods)},
            "propensities": propensity_figures(predictions),
            "arm_shares": share_figures(predictions),
            "feedback": feedback_figures(predictions, labels, run),
            "latency_of": trace.latency_of,
            "latency_ms": latency_figures(trace.latency_ms),
            "throughput": throughput_figures(trace),
            "batches": batch_figures(trace.batch_rows, trace.batch_count),
            "versions_published": run.versions_published,
            "commits": run.commits,
            "restarts": run.restarts,
            "workers": run.workers,
            "sha256": run.sha256,
        }.items()
    }


def period_errors(predictions: Predictions, labels: Labels, baseline: str | None, period: Period) -> Figures:
    """Errors of what was answered, of the baseline on the same rows, and of each arm, over rows of `period` that have a label.

    improvement_percent: how much smaller the mean absolute error is than the baseline's; _low and _high: its 95 % interval. Errors
    of one day go together (weather), so the interval takes days, not rows, as independent.
    """
    inside = (predictions.event_time >= period.begin_ms) & (predictions.event_time < period.end_ms)
    known = inside & ~np.isnan(labels.label)
    label = labels.label[known]
    out: Figures = {
        "begin": _iso(period.begin_ms),
        "last": _iso(period.end_ms - 1),
        "rows": int(inside.sum()),
        "answered": errors(predictions.answer[known], label),
        "arms": {arm: _arm_errors(predictions, labels, baseline, known, place) for place, arm in enumerate(predictions.arms)},
        "baseline": None,
        "improvement_percent": None,
        "improvement_percent_low": None,
        "improvement_percent_high": None,
    }
    if baseline is not None:
        other = predictions.shadow(baseline)[known]
        out["baseline"] = {"name": baseline, **errors(other, label)}
        days = predictions.event_time[known] // DAY_MS
        middle, low, high = improvement(np.abs(predictions.answer[known] - label), np.abs(other - label), days)
        out.update(improvement_percent=middle, improvement_percent_low=low, improvement_percent_high=high)
    return out


def errors(answer: Floats, label: Floats) -> Figures:
    """mae, rmse (unit of the label) and r2 of answers against labels, both float64[n]."""
    if len(label) == 0:
        return {"rows": 0, "mae": None, "rmse": None, "r2": None}
    off = answer - label
    spread = float(np.sum((label - label.mean()) ** 2))
    squares = float(np.sum(off**2))
    return {
        "rows": len(label),
        "mae": float(np.mean(np.abs(off))),
        "rmse": float(np.sqrt(squares / len(label))),
        "r2": 1.0 - squares / spread if spread > 0 else None,
    }


def _arm_errors(predictions: Predictions, labels: Labels, baseline: str | None, known: Bools, place: int) -> Figures:
    """Errors of the rows an arm answered, improvement_percent over the baseline on these rows, and mae_if_always.

    mae_if_always: what its mae had been, had it answered every row; each row weighs 1 / propensity, divided by the sum of the
    weights (Hajek 1971). That needs no model of the world, only the logged propensities.
    """
    mine = known & (predictions.arm == place)
    out = errors(predictions.answer[mine], labels.label[mine])
    weights = 1.0 / predictions.propensity[mine]
    off = np.abs(predictions.answer[mine] - labels.label[mine])
    out["mae_if_always"] = float(np.sum(weights * off) / np.sum(weights)) if len(off) else None
    theirs = np.zeros(0) if baseline is None else np.abs(predictions.shadow(baseline)[mine] - labels.label[mine])
    out["improvement_percent"] = 100.0 * (1.0 - float(off.sum() / theirs.sum())) if theirs.sum() > 0 else None
    return out


def improvement(ours: Floats, theirs: Floats, block: Ints) -> tuple[float | None, float | None, float | None]:
    """How many percent smaller the sum of `ours` is than the sum of `theirs`, with its 95 % interval (None with fewer than two blocks).

    ours, theirs: float64[n] absolute errors of the same rows; block: int64[n], rows of one block may depend on each other.
    Source: the delta method for a ratio of sums over blocks (cluster-robust variance).
    """
    total = float(theirs.sum())
    if total <= 0:
        return None, None, None
    ratio = float(ours.sum()) / total
    _, place = np.unique(block, return_inverse=True)
    blocks = int(place.max()) + 1
    middle = 100.0 * (1.0 - ratio)
    if blocks < 2:
        return middle, None, None
    residual = np.bincount(place, ours - ratio * theirs, minlength=blocks)
    half = 100.0 * 1.96 * float(np.sqrt(blocks / (blocks - 1) * np.sum(residual**2))) / total
    return middle, middle - half, middle + half


def propensity_figures(predictions: Predictions) -> Figures:
    """Per arm: the propensity at the first and at the last event time, and the mean of every UTC month."""
    if len(predictions) == 0:
        return {}
    order = np.argsort(predictions.event_time, kind="stable")
    names, place = np.unique(predictions.event_time.astype("datetime64[ms]").astype("datetime64[M]"), return_inverse=True)
    counts = np.bincount(place)
    out: Figures = {}
    for column, arm in enumerate(predictions.arms):
        mine = predictions.propensities[:, column]
        means = np.bincount(place, mine) / counts
        monthly = {str(name): float(mean) for name, mean in zip(names, means, strict=True)}
        out[arm] = {"first": float(mine[order[0]]), "last": float(mine[order[-1]]), "monthly": monthly}
    return out


def share_figures(predictions: Predictions) -> Figures:
    """Per arm: share of the rows it answered, the share its propensities promised, and how many standard deviations lie between."""
    rows = len(predictions)
    counts = np.bincount(predictions.arm, minlength=len(predictions.arms))
    out: Figures = {}
    for column, arm in enumerate(predictions.arms):
        promised = predictions.propensities[:, column]
        spread = float(np.sqrt(np.sum(promised * (1 - promised))))
        expected = float(promised.sum())
        out[arm] = {
            "rows": int(counts[column]),
            "share": int(counts[column]) / rows if rows else None,
            "share_promised": expected / rows if rows else None,
            "deviation_sigmas": (int(counts[column]) - expected) / spread if spread > 1e-9 else 0.0,
        }
    return out


def feedback_figures(predictions: Predictions, labels: Labels, run: RunFigures) -> Figures:
    """How much feedback came and how long after the prediction, in event time."""
    known = ~np.isnan(labels.label)
    delay_min = (labels.feedback_time[known] - predictions.event_time[known]) / 60_000
    return {
        "count": int(known.sum()),
        "delay_min_median": float(np.median(delay_min)) if len(delay_min) else None,
        "delay_min_p95": float(np.percentile(delay_min, 95)) if len(delay_min) else None,
        "never_share": float(1.0 - known.mean()) if len(known) else None,
        "late": run.feedback_late,
        "duplicate": run.feedback_duplicate,
        "unknown": run.feedback_unknown,
    }


def latency_figures(latency_ms: Floats) -> Figures:
    """Percentiles and the largest, in ms; None where no sample was taken."""
    names = ("p50", "p95", "p99", "p99_9", "max")
    if len(latency_ms) == 0:
        return {"samples": 0, **dict.fromkeys(names)}
    values = np.percentile(latency_ms, [50, 95, 99, 99.9, 100])
    return {"samples": len(latency_ms), **{name: float(value) for name, value in zip(names, values, strict=True)}}


def throughput_figures(trace: RunTrace) -> Figures:
    """Records a second over the samples of the run: its median and its best sample; and the largest lag."""
    if len(trace.seconds) == 0:
        return {"records_per_second_median": None, "records_per_second_max": None, "lag_rows_max": None, "lag_seconds_max": None}
    rates = row_rates(trace)
    return {
        "records_per_second_median": float(np.median(rates)),
        "records_per_second_max": float(rates.max()),
        "lag_rows_max": int(trace.lag_rows.max()),
        "lag_seconds_max": float(trace.lag_seconds.max()),
    }


def row_rates(trace: RunTrace) -> Floats:
    """float64[m]: records a second between each sample and the one before (the run's start for the first)."""
    spans = np.diff(trace.seconds, prepend=0.0)
    return np.divide(trace.rows, spans, out=np.zeros(len(spans)), where=spans > 0)


def batch_figures(batch_rows: Ints, batch_count: Ints) -> Figures:
    """Mean, median and largest number of rows of a batch."""
    batches = int(batch_count.sum())
    if batches == 0:
        return {"count": 0, "rows_mean": None, "rows_p50": None, "rows_max": None}
    order = np.argsort(batch_rows)
    below = np.cumsum(batch_count[order])
    middle = order[int(np.searchsorted(below, (batches + 1) // 2))]
    used = batch_rows[batch_count > 0]
    mean = float(np.sum(batch_rows * batch_count) / batches)
    return {"count": batches, "rows_mean": mean, "rows_p50": int(batch_rows[middle]), "rows_max": int(used.max())}


def _iso(ms: int) -> str:
    return str(np.datetime64(ms, "ms").astype("datetime64[s]")) + "Z"


def _plain(value: Any) -> Any:
    """Six significant digits are more than any figure here is good for; JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
