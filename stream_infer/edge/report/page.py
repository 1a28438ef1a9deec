"""edge.report.page: one HTML file that needs nothing else, no script, no network. sections, tables → *page*."""

from __future__ import annotations

from html import escape

import numpy as np

from stream_infer.edge.report import sections, tables
from stream_infer.edge.report.columns import Labels, Predictions, RunTrace
from stream_infer.edge.report.figures import Figures
from stream_infer.edge.report.scales import MONTHS
from stream_infer.edge.report.series import day_ends
from stream_infer.edge.report.style import STYLE

# The page may load nothing at all, whatever a topic's or model's name contains.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(predictions: Predictions, labels: Labels, trace: RunTrace, figures: Figures) -> str:
    """The whole report as HTML. figures: from `figures()` of the same columns."""
    name = escape(figures["name"])
    if len(predictions) == 0:
        body = "<p>No row was answered in this run.</p>" + tables.run_list(figures)
    else:
        body = sections.tiles(figures) + _sections(predictions, labels, trace, figures)
    body = body.replace(" %", "\u00a0%")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}: report of a run</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body><main>'
        f'<h1>{name}: what the run did</h1><p class="lead">{_lead(predictions, labels, figures)}</p>{body}'
        "<footer>Written by stream-infer. All times are UTC. The same figures stand in report.json.</footer></main></body></html>\n"
    )


def _lead(predictions: Predictions, labels: Labels, figures: Figures) -> str:
    if len(predictions) == 0:
        return ""
    words = f"{figures['rows']:,} predictions for {_date(int(predictions.event_time.min()))} to {_date(int(predictions.event_time.max()))}."
    known = ~np.isnan(labels.label)
    if known.any() and bool(np.all(labels.feedback_time[known] > predictions.event_time[known])):
        words += " Each was made before its outcome was known, and is judged by that outcome only."
    return words


def _date(ms: int) -> str:
    year, month, day = str(np.datetime64(ms, "ms").astype("datetime64[D]")).split("-")
    return f"{int(day)} {MONTHS[int(month) - 1]} {year}"


def _sections(predictions: Predictions, labels: Labels, trace: RunTrace, figures: Figures) -> str:
    ends = day_ends(predictions.event_time)
    choice = sections.trust_section(predictions, figures, ends) + sections.share_section(predictions, figures, ends)
    sizes = sections.latency_section(trace, figures) + sections.batch_section(trace, figures)
    return (
        sections.error_section(predictions, labels, figures, ends)
        + f'<div class="pair">{choice}</div>'
        + sections.feedback_section(predictions, labels, figures)
        + sections.throughput_section(trace, figures)
        + f'<div class="pair">{sizes}</div>'
        + tables.error_table(figures)
        + tables.propensity_table(figures)
        + tables.run_list(figures)
    )
