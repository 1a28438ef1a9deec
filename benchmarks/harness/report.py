"""report: rows of figures as a table, and as a picture drawn in an environment of its own. bench → *report*."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from benchmarks.harness import environments

COLUMNS = ("case", "events/s", "CPU µs/event", "x ours", "x floor", "whole µs", "broker µs", "foreign cores", "bytes out", "runs")
ALIKE = 0.05  # rates that differ by less are the same


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, cheapest first; x ours: how many times our best exactly-once row, x floor: the cheapest floor."""
    ours = _least(row for row in rows if row["ours"] and row["guarantee"] == "exactly_once") or _least(row for row in rows if row["ours"])
    floor = _least(row for row in rows if row["floor"])
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    lines += ["| " + " | ".join(_cells(row, ours, floor)) + " |" for row in sorted(rows, key=lambda row: row.get("cpu_us", 1e9))]
    return "\n".join(lines)


def _least(rows: Any) -> float | None:
    return min((row["cpu_us"] for row in rows if "cpu_us" in row), default=None)


def _cells(row: dict[str, Any], ours: float | None, floor: float | None) -> list[str]:
    title = f"**{row['title']}**" if row["ours"] else row["title"]
    if row["absent"] or row["failed"] or "cpu_us" not in row:
        why = row["absent"] or row["failed"] or "too few looks: take more records"
        return [title, f"{'absent' if row['absent'] else 'FAILED'}: {why}", *[""] * (len(COLUMNS) - 2)]
    cpu = row["cpu_us"]
    figures = [f"{row['rate']:,.0f}", f"{cpu:.2f}", f"{cpu / ours:.2f}" if ours else "", f"{cpu / floor:.2f}" if floor else ""]
    return [
        title,
        *figures,
        f"{row['whole_us']:.2f}",
        f"{row['broker_us']:.2f}",
        f"{row['foreign_cores']:.2f}",
        f"{row['bytes_out']:.0f}",
        str(len(row["runs"])),
    ]


def delay_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line per case and load. x floor: p99 over that of the floor with the same guarantee, where its rate was the same."""
    columns = ("case", "load", "records/s", "p50", "p95", "p99", "p99.9", "max", "p99 x floor", "cores", "valid runs")
    floors = {row["guarantee"]: row["loads"] for row in rows if row["floor"]}
    lines = ["| " + " | ".join(columns) + " |", "|---|---|" + "---:|" * (len(columns) - 2)]
    for row in rows:
        title = f"**{row['title']}**" if row["ours"] else row["title"]
        why = row["absent"] or row["failed"]
        if why:
            lines.append(f"| {title} | {'absent' if row['absent'] else 'FAILED'}: {why} |" + " |" * (len(columns) - 2))
            continue
        for name, load in row["loads"].items():
            if name == "flat out" or not load["runs"]:
                continue
            runs = f"{load['valid']} of {load['runs']}"
            if not load["valid"]:
                lines.append(f"| {title} | {name} | generator too slow |" + " |" * (len(columns) - 4) + f" {runs} |")
                continue
            figures = [f"{load[figure]:.1f}" for figure in ("p50", "p95", "p99", "p99.9", "max")]
            figures += [_times(load, floors.get(row["guarantee"], {}).get(name, {})), f"{load['cores']:.2f}"]
            lines.append(f"| {title} | {name} | {load['rate']:,.0f} | {' | '.join(figures)} | {runs} |")
    return "\n".join(lines)


def _times(load: dict[str, Any], floor: dict[str, Any]) -> str:
    alike = floor.get("valid") and abs(load["rate"] / floor["rate"] - 1) < ALIKE
    return f"{load['p99'] / floor['p99']:.2f}" if alike else ""


def plot(path: Path) -> None:
    """PNG and SVG beside the JSON."""
    python = environments.ready("plot")
    if python is None:
        print("no plot: matplotlib cannot be installed here")
        return
    script = Path(__file__).with_name("plot.py")
    subprocess.run([str(python), str(script), str(path)], check=True)
