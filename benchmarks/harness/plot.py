"""plot: processor time per event, one bar per case, one panel per format. It runs where matplotlib is. report → *plot*.

.bench/plot/bin/python benchmarks/harness/plot.py benchmarks/results/transform.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "stream-infer"  # the same figures give the same file
from matplotlib import pyplot as plt  # noqa: E402 — the backend comes first

OURS, THEIRS, FLOOR = "#1f6fb4", "#9aa3ab", "#d8dde1"


def main(path: Path) -> None:
    result = json.loads(path.read_text())
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
    axes[-1, 0].set_xlabel("processor time of the program, µs per event (logarithmic; whiskers: least and most of its runs)")
    machine = result["machine"]
    figure.suptitle(f"{result['benchmark']}: {result['n']:,} events, {machine['cores']} cores shared with the broker", fontsize=11)
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=130, metadata={"Date": None} if suffix == ".svg" else None)
    plt.close(figure)


def panel(axis: plt.Axes, name: str, rows: list[dict[str, Any]]) -> None:
    places = range(len(rows))
    values = [row["cpu_us"] for row in rows]
    spans = [[run["cpu_us"] for run in row["runs"] if "cpu_us" in run] for row in rows]
    low = [max(0.0, value - min(found)) for value, found in zip(values, spans, strict=True)]
    high = [max(0.0, max(found) - value) for value, found in zip(values, spans, strict=True)]
    colours = [OURS if row["ours"] else FLOOR if row["floor"] else THEIRS for row in rows]
    axis.barh(places, values, color=colours, height=0.72, xerr=[low, high], error_kw={"ecolor": "#444444", "elinewidth": 0.9, "capsize": 2})
    axis.set_xscale("log")
    axis.set_xlim(min(values) / 2, max(values) * 4)
    axis.set_yticks(list(places), [row["title"] for row in rows], fontsize=8)
    axis.invert_yaxis()
    for place, row in enumerate(rows):
        text = f"  {row['cpu_us']:.3g} µs · {row['rate']:,.0f}/s"
        axis.text(row["cpu_us"] + high[place], place, text, va="center", ha="left", fontsize=8)
    axis.set_title(name, fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", which="major", color="#e6e6e6", zorder=0)
    axis.set_axisbelow(True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
