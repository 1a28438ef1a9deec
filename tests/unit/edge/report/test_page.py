"""Oracles: parsers of XML and JSON, the figures themselves, and the expected text of a small run."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np

from stream_infer.edge.report import Labels, Predictions, RunFigures, RunTrace, figures, page, summary, write_report
from tests.unit.edge.report.example import example

NOTHING = np.zeros(0)
NO_INTS = np.zeros(0, dtype=np.int64)


def pictures(html: str) -> list[ET.Element]:
    """Every outermost <svg>, parsed."""
    found = re.findall(r'<div class="chart[^"]*">(<svg.*?</svg>)</div>', html, flags=re.DOTALL)
    return [ET.fromstring(picture) for picture in found]


def test_the_page_needs_nothing_else_and_every_picture_is_well_formed(tmp_path: Path) -> None:
    found = write_report(tmp_path, *example(8_000))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == found
    assert len(pictures(html)) == 10
    assert not re.search(r"<script|https?://|@import|url\(", html)
    assert re.findall(r'(?:src|href)="([^"]*)"', html) == ["data:,"]
    assert "default-src 'none'" in html
    assert "nan" not in re.sub(r"<style>.*?</style>", "", html).lower().replace("finance", "")
    text = unescape(re.sub(r"<[^>]+>", " ", html))
    assert found["sha256"] in text
    assert f"{found['error']['whole']['answered']['mae']:.1f}" in text
    assert f"{found['rows']:,}" in text


def test_names_from_a_topology_cannot_become_html() -> None:
    predictions, labels, trace, run = example(2_000)
    evil = "<b onclick=x>&\"'"
    predictions = replace(predictions, arms=(evil, *predictions.arms[1:]), shadow_names=(evil,))
    run = replace(run, name=evil, baseline=evil, unit=evil, machine=evil, sha256=evil)
    html = page(predictions, labels, replace(trace, latency_of=evil), figures(predictions, labels, trace, run))
    assert "<b onclick" not in html
    assert len(pictures(html)) == 10


def test_a_run_without_rows_labels_or_baseline_still_has_a_page() -> None:
    predictions, labels, _, run = example(500)
    empty = Predictions(NO_INTS, NO_INTS, ("a",), NOTHING, NOTHING, np.zeros((0, 1)), NO_INTS, np.zeros((0, 0)), ())
    silent = RunTrace(NOTHING, NO_INTS, NO_INTS, NOTHING, NOTHING, NO_INTS, NO_INTS)
    none = Labels(NOTHING, NO_INTS)
    assert "No row was answered" in page(empty, none, silent, figures(empty, none, silent, RunFigures("x", 0.0)))
    never = Labels(np.full(500, np.nan), labels.feedback_time)
    for labelled, baseline in ((never, "static"), (never, None), (labels, None)):
        html = page(predictions, labelled, silent, figures(predictions, labelled, silent, replace(run, baseline=baseline)))
        pictures(html)
        assert "Nothing was measured here" in html


def test_the_summary_of_a_small_run() -> None:
    predictions, labels, trace, run = example(8_000)
    found = figures(predictions, labels, trace, run)
    lines = summary(found).splitlines()
    assert len(lines) <= 40
    assert max(len(line) for line in lines) <= 80
    assert lines[0] == "flights: 8,000 rows answered in 47 s, 2013-07-01 to 2013-12-31"
    whole = found["error"]["whole"]
    assert lines[8] == "  answered                      " + f"{whole['answered']['rows']:>12,}{whole['answered']['mae']:>9.1f}" + (
        f"{whole['answered']['rmse']:>8.1f}{whole['answered']['r2']:>8.3f}"
    )
    assert lines[9].startswith(f"  {whole['improvement_percent']:.1f} % smaller error than static (95 % interval ")
    assert lines[-1] == "sha256      " + run.sha256


def test_the_summary_stays_short_with_many_arms_and_says_the_same_in_colour() -> None:
    predictions, labels, trace, run = example(500)
    arms = tuple(f"an arm with a rather long name, number {i}" for i in range(30))
    spread = np.full((500, 30), 1 / 30)
    many = replace(predictions, arms=arms, propensities=spread, propensity=spread[:, 0].copy())
    found = figures(many, labels, trace, run)
    lines = summary(found).splitlines()
    assert len(lines) <= 40
    assert max(len(line) for line in lines) <= 80
    assert re.sub(r"\x1b\[\d+m", "", summary(found, colour=True)) == "\n".join(lines)
