"""edge.report.scales: where ticks stand and how numbers read. *scales* → charts, page, summary."""

from __future__ import annotations

import math

import numpy as np

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NONE = "\u2013"
MINUS = "\u2212"


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers inside low…high, 1, 2, 2.5 or 5 times a power of ten apart."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(count, 1)
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(s * scale for s in (1, 2, 2.5, 5, 10) if s * scale >= 0.8 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def time_ticks(begin_ms: int, end_ms: int) -> list[tuple[int, str]]:
    """(ms, label) inside begin…end: months where there are at least three, else about six days, else hours; UTC."""
    begin, end = np.datetime64(begin_ms, "ms"), np.datetime64(end_ms, "ms")
    months = np.arange(begin.astype("datetime64[M]"), end.astype("datetime64[M]") + 1)
    months = months[(months >= begin) & (months <= end)]
    if len(months) >= 3:
        every = math.ceil(len(months) / 12)
        return [(_ms(m), _month(m, first=i == 0)) for i, m in enumerate(months[::every])]
    days = np.arange(begin.astype("datetime64[D]"), end.astype("datetime64[D]") + 1)
    days = days[(days >= begin) & (days <= end)]
    if len(days) >= 3:
        every = math.ceil(len(days) / 7)
        return [(_ms(d), f"{int(str(d)[8:])} {MONTHS[int(str(d)[5:7]) - 1]}") for d in days[::every]]
    hours = np.arange(begin.astype("datetime64[h]"), end.astype("datetime64[h]") + 1)
    hours = hours[(hours >= begin) & (hours <= end)]
    every = max(1, math.ceil(len(hours) / 7))
    return [(_ms(h), str(h)[11:13] + ":00") for h in hours[::every]]


def _ms(moment: np.datetime64) -> int:
    return int(moment.astype("datetime64[ms]").astype(np.int64))


def _month(month: np.datetime64, *, first: bool) -> str:
    year, number = str(month).split("-")
    return f"{MONTHS[int(number) - 1]} {year}" if first or number == "01" else MONTHS[int(number) - 1]


def span_ticks(seconds: float) -> tuple[list[tuple[float, str]], str]:
    """(seconds, label) from 0 and the unit of the labels (s, min or h) for an axis of a run's own time."""
    unit, size = ("s", 1) if seconds < 180 else ("min", 60) if seconds < 3 * 3600 else ("h", 3600)
    ticks = nice_ticks(0, seconds / size, 6)
    return [(tick * size, plain(tick)) for tick in ticks if tick * size <= seconds * (1 + 1e-9)], unit


def plain(value: float) -> str:
    """A tick's label: no more digits than needed, thousands as k and M, a true minus sign."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if abs(value) >= (10_000 if letter == "k" else size):
            return f"{value / size:g}{letter}".replace("-", MINUS)
    return f"{value:,.10g}".replace("-", MINUS)


def fixed(value: float | None, digits: int = 1) -> str:
    """A number with so many decimals and thousands' commas; an en dash where there is none."""
    return NONE if value is None or not math.isfinite(value) else f"{value:,.{digits}f}".replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """A share (0…1) in percent."""
    return NONE if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def three(value: float | None) -> str:
    """About three significant digits: 0.42, 8.31, 47.2, 1,234."""
    if value is None or not math.isfinite(value):
        return NONE
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return fixed(value, digits)


def duration(seconds: float) -> str:
    """Seconds in words short enough for a tile: 0.8 s, 42 s, 3 min 05 s, 2 h 07 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def times(count: int, thing: str) -> str:
    """1 restart, 2 restarts, 1,000 restarts."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
