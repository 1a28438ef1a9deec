"""edge.report.sections: each part of the page, its two sentences and its charts. figures, series, charts → *sections* → page.

The first sentence of a section says how to read it, the second what this run shows; the second is made from the figures, so that it can
never claim what the chart beneath it does not show.
"""

from __future__ import annotations

from dataclasses import replace
from html import escape

import numpy as np

from stream_infer.edge.report import series
from stream_infer.edge.report.charts import Axis, Series, Ticks, bars, histogram, line_chart, stacked_area
from stream_infer.edge.report.columns import Labels, Predictions, RunTrace
from stream_infer.edge.report.figures import DAY_MS, WHOLE, Figures
from stream_infer.edge.report.scales import duration, fixed, nice_ticks, percent, plain, span_ticks, three, time_ticks
from stream_infer.records import Floats, Ints

STYLES = 6
SPACE = "\u00a0"


def section(title: str, words: str, *charts: str, layout: str = "") -> str:
    """One <section>; words: HTML, as are the charts, each of which becomes a figure. layout: class of a box around the figures."""
    body = "".join(f"<figure>{chart}</figure>" for chart in charts)
    if layout:
        body = f'<div class="{layout}">{body}</div>'
    return f"<section><h2>{escape(title)}</h2><p>{words}</p>{body}</section>"


def arm_style(place: int) -> str:
    """The colour class of the arm at `place`."""
    return f"s{place % STYLES}"


def tiles(figures: Figures) -> str:
    """The headline: what a reader takes away who reads nothing else."""
    error, latency, unit = figures["error"][WHOLE], figures["latency_ms"], escape(figures["unit"])
    base, gain = error["baseline"], error["improvement_percent"]
    shown: list[tuple[str, str]] = []
    if gain is not None:
        low, high = error["improvement_percent_low"], error["improvement_percent_high"]
        sure = "" if low is None else f"; 95 % interval {fixed(low)} to {fixed(high)}"
        shown.append(
            (f"{fixed(abs(gain))} <small>%</small>", f"{'smaller' if gain >= 0 else 'larger'} error than {_code(base['name'])}{sure}")
        )
    against = "" if base is None else f"; baseline {three(base['mae'])}"
    shown.append((f"{three(error['answered']['mae'])} <small>{unit}</small>", f"mean absolute error{against}"))
    shown.append((f"{figures['rows']:,}", f"rows answered, {figures['rows_rejected']:,} rejected"))
    shown.append(
        (f"{fixed(figures['records_per_second'], 0)} <small>/ s</small>", f"records a second, {_tight(duration(figures['seconds']))}")
    )
    slow = _tight(f"{three(latency['p99'])} ms")
    shown.append((f"{three(latency['p50'])} <small>ms</small>", f"median latency {escape(figures['latency_of'])}; p99 {slow}"))
    return '<ul class="tiles">' + "".join(f"<li><b>{value}</b><span>{words}</span></li>" for value, words in shown) + "</ul>"


def error_section(predictions: Predictions, labels: Labels, figures: Figures, ends: Ints) -> str:
    """Error over event time, and the gain on the same rows."""
    error = figures["error"][WHOLE]
    base = None if error["baseline"] is None else str(error["baseline"]["name"])
    unit = str(figures["unit"])
    lines = series.rolling_errors(predictions, labels, base, ends)
    drawn = [Series(arm, lines[f"arm:{arm}"], f"{arm_style(i)} faded") for i, arm in enumerate(predictions.arms)]
    drawn += [] if base is None else [Series(f"{base}, every row", lines[base], "base")]
    drawn.append(Series("answered", lines[""], "ink"))
    axis = Axis("Mean absolute error over time", f"mean absolute error, {unit}, last 7 days", _day_ticks(ends), high=300)
    words = (
        "The thick line is the error of what was really answered, the thin ones that of each arm on the rows that it answered, "
        "over the last seven days. "
    )
    charts = [line_chart(_days(ends), drawn, axis)]
    if base is None:
        words += f"Over the whole run it was {_tight(three(error['answered']['mae']) + ' ' + escape(unit))}."
    else:
        words += (
            "Good and bad weeks move all lines together; over the whole run the answers were "
            f"{_closer(error['improvement_percent'])} {_code(base)}, the baseline, which ran on every row."
        )
        charts.append(_gains(predictions, labels, base, ends, unit))
    return section("How wrong were the answers?", words, *charts)


def _gains(predictions: Predictions, labels: Labels, base: str, ends: Ints, unit: str) -> str:
    gains = series.rolling_gains(predictions, labels, base, ends)
    drawn = [Series(arm, gains[arm], arm_style(i)) for i, arm in enumerate(predictions.arms) if arm != base]
    drawn.append(Series("answered", gains[""], "ink"))
    note = (
        "Here each arm is compared with the baseline on the very same rows, which takes the weather out: above zero the arm was closer. "
        f"Where it answered fewer than {4 * series.ROWS_MIN} judged rows in 28 days, it is not drawn."
    )
    axis = Axis("Error saved against the baseline over time", f"{unit} closer than {base} on the same rows, last 28 days", _day_ticks(ends))
    return f'<p class="note">{note}</p>' + line_chart(_days(ends), drawn, axis)


def _closer(gain: float | None) -> str:
    return "as close as" if gain is None else f"{_tight(fixed(abs(gain)) + ' %')} {'closer' if gain >= 0 else 'farther off'} than"


def trust_section(predictions: Predictions, figures: Figures, ends: Ints) -> str:
    """Propensities over event time."""
    values = series.daily_propensities(predictions, ends)
    last = figures["propensities"]
    best = max(last, key=lambda arm: float(last[arm]["last"]))
    words = (
        "Each band is the probability with which the policy would let that arm answer, as it was logged with every prediction. "
        f"{_code(best)} ended with the largest, {percent(last[best]['last'], 0)}, having begun with {percent(last[best]['first'], 0)}."
    )
    bands = [Series(arm, values[:, i], arm_style(i)) for i, arm in enumerate(predictions.arms)]
    axis = Axis("Propensity of each arm over time", "probability of answering", _day_ticks(ends))
    return section("Which arm was trusted?", words, stacked_area(_days(ends), bands, axis))


def share_section(predictions: Predictions, figures: Figures, ends: Ints) -> str:
    """Shares of the rows over event time."""
    values = series.rolling_shares(predictions, ends)
    arm, found = max(figures["arm_shares"].items(), key=lambda item: abs(float(item[1]["deviation_sigmas"])))
    words = (
        "Each band is the share of rows that the arm really answered, which should look like the probabilities. "
        f"Over the whole run, the farthest from its promise is {_code(arm)}, by {fixed(abs(found['deviation_sigmas']))} standard "
        f"deviations: {percent(found['share'], 2)} drawn, {percent(found['share_promised'], 2)} promised."
    )
    bands = [Series(arm, values[:, i], arm_style(i)) for i, arm in enumerate(predictions.arms)]
    axis = Axis("Share of the rows each arm answered over time", "share of rows, last 7 days", _day_ticks(ends))
    return section("Which arm answered?", words, stacked_area(_days(ends), bands, axis))


def feedback_section(predictions: Predictions, labels: Labels, figures: Figures) -> str:
    """How long the world took to answer."""
    edges, shares = series.feedback_delays(predictions, labels)
    feedback = figures["feedback"]
    words = (
        "The bars show how long after the prediction its outcome came, in event time, the line how many predictions had theirs by then. "
        f"Half came within {three(feedback['delay_min_median'])} minutes, 95 % within {three(feedback['delay_min_p95'])}; "
        f"for {percent(feedback['never_share'])} of the predictions none came."
    )
    ticks = [(60.0 * hour, plain(hour)) for hour in nice_ticks(0.0, float(edges[-1]) / 60, 8)] if len(edges) else []
    bar_axis = Axis("Delay of the feedback", "share of all feedback", ticks, "hours after the prediction", percent=True, high=220)
    line_axis = replace(bar_axis, describe="Feedback that had come", y_unit="share of all predictions with feedback by then")
    marks = [(feedback["delay_min_median"], "half"), (feedback["delay_min_p95"], "95 %")] if len(edges) else None
    arrived = Series("arrived", series.feedback_arrived(predictions, labels, edges), "s0")
    return section(
        "How long did the feedback take?",
        words,
        histogram(edges, shares, bar_axis, marks=marks),
        line_chart(edges, [arrived], line_axis),
        layout="pair",
    )


def throughput_section(trace: RunTrace, figures: Figures) -> str:
    """Rows a second and lag over the run."""
    seconds, rates, lag_rows, _ = series.throughput(trace)
    speed, took = figures["throughput"], _tight(duration(figures["seconds"]))
    words = (
        f"The lines show how many records a second were read in the {took} of the run, and how many still waited. "
        f"The middle second read {fixed(speed['records_per_second_median'], 0)} records, "
        f"the best {fixed(speed['records_per_second_max'], 0)}; "
        f"at most {fixed(speed['lag_rows_max'], 0)} waited."
    )
    ticks, unit = span_ticks(float(seconds[-1])) if len(seconds) else ([], "s")
    since = {"s": "seconds", "min": "minutes", "h": "hours"}[unit] + " since the start"
    # The run begins at zero, whenever its first sample was taken.
    x = np.concatenate([np.zeros(1), seconds])
    rate, lag = (Series(name, np.concatenate([values[:1], values]), "s0") for name, values in (("rate", rates), ("waiting", lag_rows)))
    left = Axis("Records a second over the run", "records read a second", ticks, since, high=200)
    right = Axis("Records waiting over the run", "records waiting (lag)", ticks, since, high=200)
    return section("How fast was it?", words, line_chart(x, [rate], left), line_chart(x, [lag], right), layout="pair")


def batch_section(trace: RunTrace, figures: Figures) -> str:
    """How large the batches were."""
    names, batches, rows = series.batch_bins(trace.batch_rows, trace.batch_count)
    found = figures["batches"]
    words = (
        "Rows go through the models in batches of whatever is waiting: small ones keep the delay short, large ones make each row cheap. "
        f"There were {found['count']:,} batches of {three(found['rows_mean'])} rows on average "
        f"(median {fixed(found['rows_p50'], 0)}, largest {fixed(found['rows_max'], 0)})."
    )
    axis = Axis("Sizes of the batches", "share", [], "rows in the batch, at most", percent=True, high=220)
    both = [Series("of the batches", batches, "s0"), Series("of the rows", rows, "s1")]
    return section("How large were the batches?", words, bars(names, both, axis))


def latency_section(trace: RunTrace, figures: Figures) -> str:
    """How long a row took."""
    names, shares = series.latency_bins(trace.latency_ms)
    latency = figures["latency_ms"]
    words = (
        f"The bars show how long rows took {escape(figures['latency_of'])}; each reaches up to the number beneath it. "
        f"Half took {three(latency['p50'])} ms or less, 99 % {three(latency['p99'])} ms or less, "
        f"and the slowest of {latency['samples']:,} samples {three(latency['max'])} ms."
    )
    axis = Axis("Latency", "share of the samples", [], "milliseconds, at most", percent=True, high=220)
    return section("How long did a row take?", words, bars(names, [Series("of the samples", shares, "s2")], axis))


def _code(name: str) -> str:
    return f"<code>{escape(name)}</code>"


def _tight(words: str) -> str:
    """A number and its unit stay on one line."""
    return words.replace(" ", SPACE)


def _days(ends: Ints) -> Floats:
    """A day's value stands at the day's beginning, where its date is read."""
    return (ends - DAY_MS).astype(np.float64)


def _day_ticks(ends: Ints) -> Ticks:
    return [(float(ms), words) for ms, words in time_ticks(int(ends[0]) - DAY_MS, int(ends[-1]) - DAY_MS)]
