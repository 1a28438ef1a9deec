"""edge.report.write: the two files of a report. figures, page → *write*."""

from __future__ import annotations

import json
from pathlib import Path

from stream_infer.edge.report.columns import Labels, Predictions, RunFigures, RunTrace
from stream_infer.edge.report.figures import Figures, figures
from stream_infer.edge.report.page import page


def write_report(folder: Path, predictions: Predictions, labels: Labels, trace: RunTrace, run: RunFigures) -> Figures:
    """Writes report.json and report.html into `folder` (made if absent) and returns the figures."""
    found = figures(predictions, labels, trace, run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(predictions, labels, trace, found), encoding="utf-8")
    return found
