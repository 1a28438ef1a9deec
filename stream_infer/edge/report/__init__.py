"""edge.report: what a run did, as figures, one web page and one table for the terminal. run → *report*."""

from __future__ import annotations

from stream_infer.edge.report.columns import Labels, Period, Predictions, RunFigures, RunTrace
from stream_infer.edge.report.digest import digest
from stream_infer.edge.report.figures import figures
from stream_infer.edge.report.page import page
from stream_infer.edge.report.summary import summary
from stream_infer.edge.report.write import write_report

__all__ = ["Labels", "Period", "Predictions", "RunFigures", "RunTrace", "digest", "figures", "page", "summary", "write_report"]
