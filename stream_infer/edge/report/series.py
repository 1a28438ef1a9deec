"""edge.report.series: what the charts draw, day by day. columns → *series* → page."""

from __future__ import annotations

import numpy as np

from stream_infer.edge.report.columns import Labels, Predictions, RunTrace
from stream_infer.edge.report.figures import DAY_MS, row_rates
from stream_infer.edge.report.scales import plain
from stream_infer.records import Floats, Ints

# Fewer rows than this in a window make a mean that says more about its luck than about the model.
ROWS_MIN = 30


def day_ends(event_time: Ints) -> Ints:
    """int64[d]: the end of every UTC day from the first event's to the last's, ms."""
    first, last = int(event_time.min()) // DAY_MS, int(event_time.max()) // DAY_MS
    return (np.arange(first, last + 1, dtype=np.int64) + 1) * DAY_MS


def rolling_mean(times: Ints, values: Floats, ends: Ints, *, days: int, rows_min: int = ROWS_MIN) -> Floats:
    """float64[ends]: mean of the values whose time lies in the `days` before each end; NaN with fewer than rows_min of them."""
    order = np.argsort(times, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    upto = np.searchsorted(times[order], ends, side="left")
    since = np.searchsorted(times[order], ends - days * DAY_MS, side="left")
    counts = upto - since
    means = (sums[upto] - sums[since]) / np.maximum(counts, 1)
    return np.where(counts >= rows_min, means, np.nan)


def rolling_errors(predictions: Predictions, labels: Labels, baseline: str | None, ends: Ints, *, days: int = 7) -> dict[str, Floats]:
    """Mean absolute error of the last `days` at each day's end: "" for what was answered, the baseline's name, for the arms "arm:NAME"."""
    known = ~np.isnan(labels.label)
    times, label = predictions.event_time[known], labels.label[known]
    off = np.abs(predictions.answer[known] - label)
    out = {"": rolling_mean(times, off, ends, days=days)}
    if baseline is not None:
        out[baseline] = rolling_mean(times, np.abs(predictions.shadow(baseline)[known] - label), ends, days=days)
    for place, arm in enumerate(predictions.arms):
        mine = predictions.arm[known] == place
        out[f"arm:{arm}"] = rolling_mean(times[mine], off[mine], ends, days=days)
    return out


def rolling_gains(predictions: Predictions, labels: Labels, baseline: str, ends: Ints, *, days: int = 28) -> dict[str, Floats]:
    """By how much each arm's absolute error was smaller than the baseline's on the same rows, mean of the last `days`; "" for all rows.

    Both erred on the same flights in the same weather, so their difference is far steadier than either.
    """
    known = ~np.isnan(labels.label)
    times, label = predictions.event_time[known], labels.label[known]
    gain = np.abs(predictions.shadow(baseline)[known] - label) - np.abs(predictions.answer[known] - label)
    out = {"": rolling_mean(times, gain, ends, days=days)}
    for place, arm in enumerate(predictions.arms):
        mine = predictions.arm[known] == place
        out[arm] = rolling_mean(times[mine], gain[mine], ends, days=days, rows_min=4 * ROWS_MIN)
    return out


def daily_propensities(predictions: Predictions, ends: Ints) -> Floats:
    """float64[days, arms]: mean propensity of each day; a day without rows repeats the one before."""
    means = [rolling_mean(predictions.event_time, column, ends, days=1, rows_min=1) for column in predictions.propensities.T]
    return _filled(np.stack(means, axis=1))


def rolling_shares(predictions: Predictions, ends: Ints, *, days: int = 7) -> Floats:
    """float64[days, arms]: share of the rows of the last `days` that each arm answered."""
    ones = [(predictions.arm == place).astype(np.float64) for place in range(len(predictions.arms))]
    return _filled(np.stack([rolling_mean(predictions.event_time, one, ends, days=days, rows_min=1) for one in ones], axis=1))


def _filled(table: Floats) -> Floats:
    """Rows of NaN repeat the last row that has numbers."""
    there = ~np.isnan(table[:, 0])
    last = np.maximum.accumulate(np.where(there, np.arange(len(table)), 0))
    return table[last]


def feedback_delays(predictions: Predictions, labels: Labels, *, bins: int = 36) -> tuple[Floats, Floats]:
    """(edges float64[bins + 1] in minutes, share float64[bins]) of the delays; what is beyond the 99.9th percentile joins the last bin."""
    known = ~np.isnan(labels.label)
    delay = (labels.feedback_time[known] - predictions.event_time[known]) / 60_000
    if len(delay) == 0:
        return np.zeros(0), np.zeros(0)
    width = _round_up(max(float(np.percentile(delay, 99.9)), 1e-3) / bins)
    low = np.floor(min(float(delay.min()), 0.0) / width) * width
    count = max(1, int(np.ceil((float(np.percentile(delay, 99.9)) - low) / width)))
    edges = low + width * np.arange(count + 1)
    heights, _ = np.histogram(np.clip(delay, edges[0], edges[-1]), edges)
    return edges, heights / len(delay)


def _round_up(step: float) -> float:
    """The next of 1, 2 or 5 times a power of ten: bins whose edges a reader can name."""
    scale = 10.0 ** np.floor(np.log10(step))
    return float(next(s * scale for s in (1, 2, 5, 10) if s * scale >= step * (1 - 1e-9)))


def feedback_arrived(predictions: Predictions, labels: Labels, edges: Floats) -> Floats:
    """float64[edges]: share of all predictions whose feedback had come so many minutes after them."""
    known = ~np.isnan(labels.label)
    delay = np.sort((labels.feedback_time[known] - predictions.event_time[known]) / 60_000)
    return np.searchsorted(delay, edges, side="right") / max(len(known), 1)


def throughput(trace: RunTrace, *, points: int = 240) -> tuple[Floats, Floats, Floats, Floats]:
    """(seconds, rows a second, lag in rows, lag in seconds), each float64[≤ points]: means of equal groups of samples."""
    count = len(trace.seconds)
    if count == 0:
        return (np.zeros(0),) * 4
    group = np.arange(count) * min(points, count) // count
    size = np.bincount(group)
    columns = (trace.seconds, row_rates(trace), trace.lag_rows, trace.lag_seconds)
    means = [np.bincount(group, column) / size for column in columns]
    return means[0], means[1], means[2], means[3]


def batch_bins(batch_rows: Ints, batch_count: Ints) -> tuple[list[str], Floats, Floats]:
    """(largest size of each bin as label, share of the batches, share of the rows) by powers of two."""
    kept = batch_count > 0
    sizes, counts = batch_rows[kept], batch_count[kept]
    if len(sizes) == 0:
        return [], np.zeros(0), np.zeros(0)
    place = np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.int64)
    bins = int(place.max()) + 1
    batches = np.bincount(place, counts, minlength=bins)
    rows = np.bincount(place, counts * sizes, minlength=bins)
    return [plain(float(2**i)) for i in range(bins)], batches / batches.sum(), rows / rows.sum()


def latency_bins(latency_ms: Floats) -> tuple[list[str], Floats]:
    """(upper edges as labels, share of the samples) in steps of 1, 2, 5."""
    if len(latency_ms) == 0:
        return [], np.zeros(0)
    steps = np.array([s * 10.0**k for k in range(-1, 7) for s in (1, 2, 5)])
    place = np.searchsorted(steps, latency_ms, side="left").clip(0, len(steps) - 1)
    low, high = int(place.min()), int(place.max())
    shares = np.bincount(place - low) / len(latency_ms)
    return [plain(float(steps[i])) for i in range(low, high + 1)], shares
