"""edge.report.svg: the few SVG elements that charts are made of. *svg* → charts.

A chart's <svg> is the plot area itself, as wide as the page gives it and some pixels high. Points stand in percent of the width, so
texts keep their size on a telephone and on a wide screen alike; only the lines and areas live in a nested <svg> that stretches
(viewBox 0…1000 wide), with strokes that do not. Labels lie outside the plot area, where the page leaves room for them.
"""

from __future__ import annotations

from html import escape

import numpy as np

from stream_infer.records import Floats

WIDE = 1000.0


def element(name: str, *children: str, **attributes: str | float | None) -> str:
    """<name …>children</name>; in attribute names _ stands for -, a trailing one is dropped; None leaves the attribute out."""
    pairs = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    head = "".join(f' {key}="{escape(_attribute(value))}"' for key, value in pairs)
    return f"<{name}{head}>{''.join(children)}</{name}>" if children else f"<{name}{head}/>"


def _attribute(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def text(words: str, *, x: str | float, y: float, **attributes: str | float | None) -> str:
    """A line of text; words are escaped."""
    return element("text", escape(words), x=x, y=y, **attributes)


def at(share: float) -> str:
    """A place along the width: share 0…1 as percent."""
    return f"{100 * share:.2f}%"


def stretched(*children: str, high: float) -> str:
    """The nested picture whose width follows the page."""
    box = f"0 0 {WIDE:g} {high:g}"
    return element("svg", *children, viewBox=box, preserveAspectRatio="none", width="100%", height=high, x="0", y="0")


def line_path(x: Floats, y: Floats) -> str:
    """The d of a path through the points, broken where y is NaN. x: 0…1000; y: pixels. A lone point becomes a dot (round caps)."""
    parts: list[str] = []
    pen_down = False
    for px, py in zip(x.tolist(), y.tolist(), strict=True):
        if py != py:  # NaN
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{px:.1f} {py:.1f}" + ("" if pen_down else f"L{px:.1f} {py:.1f}"))
        pen_down = True
    return "".join(parts)


def area_path(x: Floats, low: Floats, high: Floats) -> str:
    """The d of the closed band between two lines without NaN."""
    there = [f"{px:.1f} {py:.1f}" for px, py in zip(x.tolist(), high.tolist(), strict=True)]
    back = [f"{px:.1f} {py:.1f}" for px, py in zip(x[::-1].tolist(), low[::-1].tolist(), strict=True)]
    return "M" + "L".join(there + back) + "Z" if there else ""


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, at least `gap` apart and inside low…high where that is possible, in the same order."""
    order = np.argsort(wanted, kind="stable")
    placed = np.array(wanted, dtype=np.float64)[order]
    count = len(placed)
    for i in range(count):
        placed[i] = max(placed[i], placed[i - 1] + gap if i else low)
    for i in reversed(range(count)):
        placed[i] = min(placed[i], placed[i + 1] - gap if i + 1 < count else high)
    # Too many for the height: then they run over its lower end, where the page has room.
    for i in range(count):
        placed[i] = max(placed[i], placed[i - 1] + gap if i else low)
    out = np.empty(len(placed))
    out[order] = placed
    return [float(place) for place in out]
