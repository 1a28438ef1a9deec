"""edge.report.charts: line, stacked area, histogram, bars. scales, svg → *charts* → page.

Every chart is a function from numbers to one piece of HTML. Colours are classes (s0…s5 the arms, ink what was answered, base the
baseline), so that the page's style sheet alone knows light from dark. A line is named at its end; where the page is too narrow
for that, a legend above takes over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

import numpy as np

from stream_infer.edge.report.scales import nice_ticks, plain
from stream_infer.edge.report.svg import WIDE, area_path, at, element, line_path, spread, stretched, text
from stream_infer.records import Floats

LABEL_GAP = 16.0
LEADER = 14.0
Ticks = list[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Series:
    """One line or band. values: float64[n], NaN = a gap (lines only); style: class of its colour."""

    name: str
    values: Floats
    style: str


@dataclass(frozen=True, slots=True)
class Axis:
    """The words and size of a chart. x_ticks: (place in x's unit, label). y_unit: stands above the axis.

    describe: what a reader who cannot see is told. percent: y is a share, its ticks read in percent. high: pixels of the plot area.
    """

    describe: str
    y_unit: str
    x_ticks: Ticks
    x_unit: str = ""
    percent: bool = False
    high: int = 240


def line_chart(x: Floats, series: list[Series], axis: Axis, *, marks: Ticks | None = None) -> str:
    """Lines over x: float64[n] ascending; y reaches from zero, or below where values do. marks: dashed verticals with a label."""
    known = np.concatenate([line.values[~np.isnan(line.values)] for line in series]) if series else np.zeros(0)
    if len(known) == 0:
        return nothing_to_draw()
    frame = _Frame(x, min(0.0, float(known.min())), max(0.0, float(known.max())), axis)
    paths = [element("path", d=line_path(frame.x(x), frame.y(line.values)), class_=f"line {line.style}") for line in series]
    drawn = [line for line in series if not np.all(np.isnan(line.values))]
    ends = [frame.height(float(line.values[~np.isnan(line.values)][-1])) for line in drawn]
    labels = _end_labels(drawn, ends, axis.high) if len(series) > 1 else []
    return _legend(series, "stroke") + frame.draw([stretched(*paths, high=axis.high)], labels, marks)


def stacked_area(x: Floats, series: list[Series], axis: Axis) -> str:
    """Shares that sum to one, one band on the other in the given order, from the bottom. x: float64[n]."""
    if len(x) == 0 or not series:
        return nothing_to_draw()
    frame = _Frame(x, 0.0, 1.0, replace(axis, percent=True), room=0.0)
    tops = np.cumsum([band.values for band in series], axis=0)
    floors = np.vstack([np.zeros(len(x)), tops[:-1]])
    bands = []
    for band, low, high in zip(series, floors, tops, strict=True):
        shape = area_path(frame.x(x), frame.y(low), frame.y(high))
        bands.append(element("path", element("title", escape(band.name)), d=shape, class_=f"band {band.style}"))
    middles = [frame.height(float(low[-1] + high[-1]) / 2) for low, high in zip(floors, tops, strict=True)]
    labels = _end_labels(series, middles, axis.high)
    return _legend(series, "fill") + frame.draw([stretched(*bands, high=axis.high)], labels, None, grid_over=True)


def histogram(edges: Floats, shares: Floats, axis: Axis, *, style: str = "s0", marks: Ticks | None = None) -> str:
    """Bars between the edges (float64[n + 1]), as high as shares (float64[n]). marks: dashed verticals with a label."""
    if len(shares) == 0:
        return nothing_to_draw()
    frame = _Frame(edges, 0.0, float(shares.max()), axis)
    places = (frame.x(edges) / WIDE).tolist()
    rects = []
    for i in np.flatnonzero(shares > 0).tolist():
        wide = places[i + 1] - places[i]
        name = f"{plain(edges[i])}\u2013{plain(edges[i + 1])}: {100 * shares[i]:.2g} %"
        rects.append(_bar(places[i] + 0.06 * wide, 0.88 * wide, frame.height(shares[i]), axis.high, style, name))
    return frame.draw(rects, [], marks)


def bars(names: list[str], series: list[Series], axis: Axis) -> str:
    """Groups of bars, one group per name, one bar per series. values: float64[names]."""
    if not names:
        return nothing_to_draw()
    count = len(names)
    step = -(-count // 12)
    ticks = [(i + 0.5, name) for i, name in enumerate(names) if (count - 1 - i) % step == 0]
    frame = _Frame(np.array([0.0, count]), 0.0, max(float(s.values.max()) for s in series), replace(axis, x_ticks=ticks))
    wide = 0.8 / len(series) / count
    rects = []
    for place, line in enumerate(series):
        for i in np.flatnonzero(line.values > 0).tolist():
            share = float(line.values[i])
            left = (i + 0.1) / count + place * wide
            rects.append(
                _bar(left, 0.94 * wide, frame.height(share), axis.high, line.style, f"{names[i]}: {100 * share:.2g} % {line.name}")
            )
    return _legend(series, "fill always") + frame.draw(rects, [], None)


def nothing_to_draw() -> str:
    """What stands where a chart has no numbers."""
    return '<p class="nothing">Nothing was measured here.</p>'


class _Frame:
    """The plot area: scales, grid, ticks."""

    def __init__(self, x: Floats, low: float, high: float, axis: Axis, *, room: float = 0.04) -> None:
        """room: how much higher than `high` the area reaches, as a share, so that no peak touches its upper edge."""
        self.axis = axis
        self.left, self.right = float(x[0]), float(x[-1]) if x[-1] > x[0] else float(x[0]) + 1.0
        self.low, self.top = low, high + room * (high - low) if high > low else low + 1.0
        # A tick at every 45 pixels or so: more would be read no better.
        self.ticks = nice_ticks(self.low, self.top, max(2, round(axis.high / 45)))

    def x(self, values: Floats) -> Floats:
        return (values - self.left) / (self.right - self.left) * WIDE

    def y(self, values: Floats) -> Floats:
        return self.axis.high * (1.0 - (values - self.low) / (self.top - self.low))

    def height(self, value: float) -> float:
        return float(self.y(np.array([value]))[0])

    def share(self, place: float) -> float:
        return float(self.x(np.array([place]))[0]) / WIDE

    def draw(self, middle: list[str], labels: list[str], marks: Ticks | None, *, grid_over: bool = False) -> str:
        """grid_over: the grid lies over the areas, which would hide it."""
        grid = self._grid()
        body = [*middle, *grid] if grid_over else [*grid, *middle]
        parts = [*body, *self._marks(marks), *self._x_ticks(), *labels]
        seen = "over" if grid_over else None
        picture = element("svg", *parts, width="100%", height=self.axis.high, class_=seen, role="img", aria_label=self.axis.describe)
        unit = f'<p class="unit">{escape(self.axis.y_unit)}</p>'
        under = f'<p class="under">{escape(self.axis.x_unit)}</p>' if self.axis.x_unit else ""
        return f'{unit}<div class="{"chart named" if labels else "chart"}">{picture}</div>{under}'

    def _grid(self) -> list[str]:
        out = [element("line", x1="0", x2="100%", y1=self.axis.high, y2=self.axis.high, class_="axis")]
        for tick in self.ticks:
            y = self.height(tick)
            out.append(element("line", x1="0", x2="100%", y1=y, y2=y, class_="axis" if tick == 0 else "grid"))
            words = f"{100 * tick:g} %" if self.axis.percent else plain(tick)
            out.append(text(words, x=-8, y=y + 4, class_="tick", text_anchor="end"))
        return out

    def _x_ticks(self) -> list[str]:
        shown = [(self.share(place), words) for place, words in self.axis.x_ticks]
        shown = [(share, words) for share, words in shown if -1e-9 <= share <= 1 + 1e-9]
        out = []
        for i, (share, words) in enumerate(shown):
            odd = " odd" if i % 2 and len(shown) > 5 else ""
            out.append(element("line", x1=at(share), x2=at(share), y1=self.axis.high, y2=self.axis.high + 4, class_="axis" + odd))
            out.append(text(words, x=at(share), y=self.axis.high + 19, class_="tick" + odd, text_anchor="middle"))
        return out

    def _marks(self, marks: Ticks | None) -> list[str]:
        out = []
        for i, (share, words) in enumerate((self.share(place), words) for place, words in marks or []):
            if not 0 <= share <= 1:
                continue
            out.append(element("line", x1=at(share), x2=at(share), y1=0, y2=self.axis.high, class_="mark"))
            side, anchor = (-6, "end") if share > 0.7 else (6, "start")
            out.append(text(words, x=at(share), y=11 + 18 * (i % 2), dx=side, class_="said", text_anchor=anchor))
        return out


def _bar(left: float, wide: float, top: float, bottom: float, style: str, name: str) -> str:
    title = element("title", escape(name))
    return element("rect", title, x=at(left), width=at(wide), y=top, height=max(bottom - top, 0.5), class_=f"bar {style}")


def _end_labels(series: list[Series], heights: list[float], high: float) -> list[str]:
    """Names at the right end; where they had to make room for each other, a thin line leads from the true height to the name."""
    places = spread(heights, LABEL_GAP, 4.0, high - 2.0)
    names = []
    for line, height, place in zip(series, heights, places, strict=True):
        colour = line.style.split()[0]
        names.append(element("path", d=f"M3 {height:.1f}L{LEADER:g} {place:.1f}", class_=f"leader {colour}"))
        names.append(text(line.name, x=LEADER + 4, y=place + 4, class_=f"name {colour}"))
    return [element("svg", *names, x="100%", y="0", width="1", height="1", overflow="visible", class_="names")]


def _legend(series: list[Series], kind: str) -> str:
    if len(series) < 2:
        return ""
    items = "".join(f'<li class="{line.style}"><i></i>{escape(line.name)}</li>' for line in series)
    return f'<ul class="legend {kind}">{items}</ul>'
