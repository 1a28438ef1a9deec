"""plot: processor time per event, one bar per case, one panel per format. It runs where matplotlib is. report → *plot*.

.bench/plot/bin/python benchmarks/harness/plot.py benchmarks/results/transform.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "stream-infer"  # the same figures give the same file
from matplotlib import pyplot as plt  # noqa: E402 — the backend comes first
from matplotlib.axes import Axes  # noqa: E402

OURS, THEIRS, FLOOR = "#1f6fb4", "#7d868e", "#e0a030"


def main(path: Path) -> None:
    result = json.loads(path.read_text())
    if "rows" in result:
        delays(result, path)
        return
    panels = {name: [row for row in rows if "cpu_us" in row] for name, rows in result["formats"].items()}
    panels = {name: sorted(rows, key=lambda row: row["cpu_us"]) for name, rows in panels.items() if rows}
    if not panels:
        return
    heights = [len(rows) + 1.2 for rows in panels.values()]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(10, 0.36 * sum(heights) + 0.9), squeeze=False, gridspec_kw={"height_ratios": heights}, layout="constrained"
    )
    for axis, (name, rows) in zip(axes[:, 0], panels.items(), strict=True):
        panel(axis, name, rows)
    figure.supxlabel("processor time of the program, µs per event; whiskers: least and most of its runs", fontsize=9)
    machine = result["machine"]
    figure.suptitle(f"{result['benchmark']}: {result['n']:,} events, {machine['cores']} cores shared with the broker", fontsize=11)
    save(figure, path)


def delays(result: dict[str, Any], path: Path) -> None:
    """One panel per load: p50 to p99.9 of each case as a line with four dots."""
    rows = [row for row in result["rows"] if not row["failed"] and not row["absent"]]
    loads = ("low", "half", "80 %")
    figure, axes = plt.subplots(1, len(loads), figsize=(13, 0.42 * len(rows) + 1.6), sharey=True, squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], loads, strict=True):
        for place, row in enumerate(rows):
            load, colour = row["loads"][name], OURS if row["ours"] else FLOOR if row.get("floor") else THEIRS
            if not load.get("valid"):
                continue
            values = [load[which] for which in ("p50", "p95", "p99", "p99.9")]
            axis.plot(values, [place] * 4, "-", color=colour, linewidth=1.5)
            axis.scatter(values, [place] * 4, s=(42, 24, 14, 8), color=colour, zorder=3)
            axis.text(values[0], place - 0.28, f"{values[0]:,.0f} ms at {load['rate']:,.0f}/s", fontsize=7, ha="left", va="center")
        axis.set_xscale("log")
        axis.set_title(f"{name} load", fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", which="major", color="#e6e6e6")
        axis.set_axisbelow(True)
    axes[0][0].set_yticks(range(len(rows)), [row["title"] for row in rows], fontsize=8)
    axes[0][0].invert_yaxis()
    figure.supxlabel(f"ms from due to visible: p50, p95, p99, p99.9; commit interval {result['commit_ms']} ms", fontsize=9)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=130, metadata={"Date": None} if suffix == ".svg" else None)
    plt.close(figure)


def panel(axis: Axes, name: str, rows: list[dict[str, Any]]) -> None:
    places = range(len(rows))
    values = [row["cpu_us"] for row in rows]
    spans = [[run["cpu_us"] for run in row["runs"] if "cpu_us" in run] for row in rows]
    low = [max(0.0, value - min(found)) for value, found in zip(values, spans, strict=True)]
    high = [max(0.0, max(found) - value) for value, found in zip(values, spans, strict=True)]
    colours = [OURS if row["ours"] else FLOOR if row["floor"] else THEIRS for row in rows]
    # Dots, not bars: a logarithmic axis has no zero for a bar to stand on.
    axis.hlines(places, min(values) / 2, values, color=colours, linewidth=1)
    axis.errorbar(values, places, xerr=[low, high], fmt="none", ecolor="#444444", elinewidth=0.9, capsize=2)
    axis.scatter(values, places, s=46, color=colours, zorder=3)
    axis.set_xscale("log")
    axis.set_xlim(min(values) / 2, max(values) * 5)
    axis.set_yticks(list(places), [row["title"] for row in rows], fontsize=8)
    axis.invert_yaxis()
    for place, row in enumerate(rows):
        cpu = f"{row['cpu_us']:,.0f}" if row["cpu_us"] >= 100 else f"{row['cpu_us']:.3g}"
        text = f"   {cpu} µs · {row['rate']:,.0f}/s"
        axis.text(row["cpu_us"] + high[place], place, text, va="center", ha="left", fontsize=8)
    axis.set_title(name, fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", which="major", color="#e6e6e6", zorder=0)
    axis.set_axisbelow(True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
