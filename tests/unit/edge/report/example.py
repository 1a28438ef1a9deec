"""A run that never happened, shaped like half a year of flights: the arrays that the report's tests read."""

from __future__ import annotations

import numpy as np

from stream_infer.edge.report import Labels, Period, Predictions, RunFigures, RunTrace

DAY_MS = 86_400_000
BEGIN_MS = Period.of_dates("", "2013-07-01", "2013-07-02").begin_ms


def example(rows: int = 20_000, seed: int = 1) -> tuple[Predictions, Labels, RunTrace, RunFigures]:
    rng = np.random.default_rng(seed)
    days = 184
    day = np.sort(rng.integers(0, days, rows))
    event_time = BEGIN_MS + day * DAY_MS + (rng.beta(2.2, 1.8, rows) * 64_800_000 + 18_000_000).astype(np.int64)
    weather = np.abs(rng.standard_t(3, days)) * 9 + 4
    known = rng.normal(0, 1, rows) * weather[day] * 1.1
    hidden = rng.standard_t(4, rows) * weather[day] * 0.9
    label = known + hidden + rng.normal(-4, 6, rows)
    arms = ("static", "ridge", "net", "online")
    learned = np.clip(day / 70, 0.0, 1.0)
    skills = np.stack([np.full(rows, 0.05), np.full(rows, 0.38), np.full(rows, 0.52), 0.1 + 0.36 * learned], axis=1)
    said = known[:, None] * skills - 4 + rng.normal(0, 2, (rows, 4))
    strength = 2.6 * learned[:, None] * (skills - skills.mean(axis=1, keepdims=True)) * 10
    weight = np.exp(strength - strength.max(axis=1, keepdims=True))
    propensities = 0.02 + 0.92 * weight / weight.sum(axis=1, keepdims=True)
    arm = (rng.random((rows, 1)) > np.cumsum(propensities, axis=1)[:, :-1]).sum(axis=1).astype(np.int64)
    pick = np.arange(rows)
    predictions = Predictions(
        event_time=event_time,
        arm=arm,
        arms=arms,
        answer=said[pick, arm],
        propensity=propensities[pick, arm],
        propensities=propensities,
        policy_version=day.astype(np.int64),
        shadows=said[:, :1].copy(),
        shadow_names=("static",),
    )
    label[rng.random(rows) < 0.028] = np.nan
    delay_min = 30 + 60 * rng.gamma(3.2, 0.62, rows) + np.clip(np.nan_to_num(label), 0, 400)
    labels = Labels(label, event_time + (delay_min * 60_000).astype(np.int64))
    return predictions, labels, _trace(rows, rng), _run(rows)


def _trace(rows: int, rng: np.random.Generator) -> RunTrace:
    seconds = np.arange(1, 48, dtype=np.float64)
    rate = rows / 47 * (0.8 + 0.4 * rng.random(47)) * np.where(seconds < 4, 0.35, 1.0)
    lag = np.maximum(0, rows - np.cumsum(rate) * 1.03).astype(np.int64)
    sizes = np.array([1, 2, 3, 5, 8, 13, 40, 90, 180, 256, 400, 512], dtype=np.int64)
    counts = np.array([90, 60, 55, 50, 45, 60, 80, 120, 140, 60, 40, 210], dtype=np.int64)
    return RunTrace(seconds, rate.astype(np.int64), lag, lag / rows * 40, rng.lognormal(4.1, 0.55, 40_000), sizes, counts)


def _run(rows: int) -> RunFigures:
    return RunFigures(
        name="flights",
        seconds=47.3,
        baseline="static",
        rows_read=rows + 12,
        rows_rejected=12,
        feedback_late=311,
        feedback_duplicate=42,
        versions_published=368,
        commits=461,
        restarts=1,
        workers=2,
        sha256="6f1c" * 16,
        machine="2 cores, no GPU, Python 3.11",
        began_at="2026-11-21 03:20:11",
        periods=(Period.of_dates("October to December", "2013-10-01", "2014-01-01"),),
    )
