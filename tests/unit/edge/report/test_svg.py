"""Oracles: the XML parser, and coordinates worked out by hand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.edge.report.charts import Axis, Series, bars, histogram, line_chart, stacked_area
from stream_infer.edge.report.scales import duration, fixed, nice_ticks, percent, plain, span_ticks, three, time_ticks
from stream_infer.edge.report.svg import area_path, element, line_path, spread, text

AXIS = Axis("what it is", "minutes & more", [(0.0, "a"), (5.0, "<b>")], "days")
DAY = 86_400_000


def parsed(html: str) -> ET.Element:
    return ET.fromstring(f"<body>{html}</body>")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_any_words_come_back_from_the_parser_as_they_were(words: str) -> None:
    tree = ET.fromstring(element("g", text(words, x=1, y=2), data_name=words))
    assert tree.attrib["data-name"] == words
    assert (tree[0].text or "") == words


def test_paths_break_where_a_value_is_missing_and_close_around_an_area() -> None:
    x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.array([5.0, np.nan, 6.0, 7.0])
    assert line_path(x, y) == "M0.0 5.0L0.0 5.0M2.0 6.0L2.0 6.0L3.0 7.0"
    assert area_path(x[:2], np.array([9.0, 9.0]), np.array([1.0, 2.0])) == "M0.0 1.0L1.0 2.0L1.0 9.0L0.0 9.0Z"


@given(st.lists(st.floats(0, 200), min_size=1, max_size=12))
def test_labels_keep_their_distance_and_their_order(wanted: list[float]) -> None:
    placed = spread(wanted, 16.0, 4.0, 198.0)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gaps = [placed[b] - placed[a] for a, b in pairwise(order)]
    assert all(gap >= 16.0 - 1e-6 for gap in gaps)
    assert min(placed) >= 4.0 - 1e-6
    if len(wanted) * 16 <= 194:
        assert max(placed) <= 198.0 + 1e-6


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_round_inside_and_neither_few_nor_many(low: float, span: float, count: int) -> None:
    ticks = nice_ticks(low, low + span, count)
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    assert count / 3 - 1 <= len(ticks) <= 1.25 * count + 1
    steps = np.diff(ticks)
    if len(steps):
        leading = float(f"{steps[0]:.3e}".split("e")[0])
        assert any(abs(leading - nice) < 0.02 for nice in (1, 2, 2.5, 5, 10))


def test_ticks_of_time_are_months_days_or_hours() -> None:
    july = 1_372_636_800_000
    assert [words for _, words in time_ticks(july, july + 183 * DAY)] == ["Jul 2013", "Aug", "Sep", "Oct", "Nov", "Dec"]
    assert [words for _, words in time_ticks(july, july + 184 * DAY)][-1] == "Jan 2014"
    assert [words for _, words in time_ticks(july, july + 4 * DAY)] == ["1 Jul", "2 Jul", "3 Jul", "4 Jul", "5 Jul"]
    assert [words for _, words in time_ticks(july, july + 6 * 3_600_000)][:2] == ["00:00", "01:00"]
    assert span_ticks(300.0)[1] == "min"
    assert span_ticks(47.0)[0][-1] == (40.0, "40")


def test_numbers_read_well() -> None:
    assert [plain(v) for v in (0.0, 0.25, 1500.0, 20_000.0, -2.0, 1_500_000.0)] == ["0", "0.25", "1,500", "20k", "\u22122", "1.5M"]
    assert [three(v) for v in (0.4216, 8.306, 47.24, 1234.4, None)] == ["0.42", "8.31", "47.2", "1,234", "\u2013"]
    assert [fixed(-1.25, 1), fixed(float("nan")), percent(0.1234), percent(None)] == ["\u22121.2", "\u2013", "12.3 %", "\u2013"]
    assert [duration(s) for s in (0.84, 42.4, 185.0, 7620.0)] == ["0.8 s", "42 s", "3 min 05 s", "2 h 07 min"]


def test_a_line_chart_is_well_formed_and_its_points_are_where_they_belong() -> None:
    x = np.array([0.0, 5.0, 10.0])
    html = line_chart(x, [Series("one & two", np.array([0.0, 52.0, 104.0]), "s0"), Series("gone", np.full(3, np.nan), "s1")], AXIS)
    tree = parsed(html)
    line = tree.find(".//path[@class='line s0']")
    assert line is not None
    # 104 / 1.04 … the area reaches 4 % beyond the highest value: 104 lies at (1 - 104 / 108.16) of 240 pixels.
    assert line.attrib["d"] == "M0.0 240.0L0.0 240.0L500.0 124.6L1000.0 9.2"
    assert [item.text for item in tree.iter("text") if item.get("class") == "name s0"] == ["one & two"]
    assert not [item for item in tree.iter("text") if item.get("class") == "name s1"]
    assert [item.text for item in tree.iter("text") if item.get("text-anchor") == "middle"] == ["a", "<b>"]
    picture = tree.find(".//svg[@role='img']")
    assert picture is not None
    assert picture.attrib["aria-label"] == "what it is"


def test_bands_fill_the_whole_height() -> None:
    shares = [Series("a", np.array([0.25, 1.0]), "s0"), Series("b", np.array([0.75, 0.0]), "s1")]
    tree = parsed(stacked_area(np.array([0.0, 1.0]), shares, AXIS))
    paths = [band.attrib["d"] for band in tree.iter("path") if band.attrib["class"].startswith("band")]
    assert paths == ["M0.0 180.0L1000.0 0.0L1000.0 240.0L0.0 240.0Z", "M0.0 0.0L1000.0 0.0L1000.0 0.0L0.0 180.0Z"]


def test_bars_are_as_high_as_their_shares() -> None:
    drawn = histogram(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.5, 0.0, 0.25]), AXIS, marks=[(1.5, "half")])
    heights = [float(bar.attrib["height"]) for bar in parsed(drawn).iter("rect")]
    assert len(heights) == 2
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.02)
    grouped = bars(["1", "2"], [Series("x", np.array([0.5, 0.5]), "s0"), Series("y", np.array([0.0, 1.0]), "s1")], AXIS)
    assert len(list(parsed(grouped).iter("rect"))) == 3


@pytest.mark.parametrize(
    "html",
    [
        line_chart(np.zeros(0), [], AXIS),
        line_chart(np.zeros(1), [Series("a", np.array([np.nan]), "s0")], AXIS),
        stacked_area(np.zeros(0), [], AXIS),
        histogram(np.zeros(0), np.zeros(0), AXIS),
        bars([], [], AXIS),
    ],
)
def test_without_numbers_a_chart_says_so(html: str) -> None:
    assert "Nothing was measured" in html
    parsed(html)


def test_one_point_is_drawn() -> None:
    html = line_chart(np.array([7.0]), [Series("a", np.array([3.0]), "s0")], AXIS)
    assert "nan" not in html
    parsed(html)
