"""What is kept: windows never too short, nothing kept twice, and a form that the settings alone decide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.features.layout import Layout, Window
from stream_infer.features.settings import Aggregate, FeatureSettings


@given(st.integers(1, 10**10), st.integers(1, 100), st.integers(-(10**13), 10**13))
def test_a_sliding_window_is_as_long_as_promised(width: int, hops: int, time: int) -> None:
    window = Window.of(Aggregate("n", "count", None, width, "sliding", hops))
    tile = time // window.hop_ms
    begin = (tile - window.back) * window.hop_ms

    assert width <= window.back * window.hop_ms <= time - begin
    # A whole number of ms rounds the hop up by less than 1 ms, and the width by less than one hop.
    assert time - begin < width + 2 * window.hop_ms
    if width % hops == 0:
        assert time - begin < width + window.hop_ms


@given(st.integers(1, 10**10), st.integers(-(10**13), 10**13))
def test_a_tumbling_window_holds_its_time(width: int, time: int) -> None:
    window = Window.of(Aggregate("n", "count", None, width, "tumbling"))
    tile = time // window.hop_ms

    assert tile * width <= time < (tile + 1) * width
    assert window.cells == 1


def test_aggregates_share_what_they_need() -> None:
    kinds = [("count", None), ("sum", "a"), ("mean", "a"), ("std", "a"), ("min", "a"), ("max", "a"), ("last", "a"), ("since_last", None)]
    wanted = [Aggregate(f"{kind}_{width}", kind, field, width) for width in (None, 1000, 60_000) for kind, field in kinds]
    layout = Layout(FeatureSettings((*wanted, Aggregate("l", "last_k", "a", k=5), Aggregate("m", "last_k", "a", k=2))))

    assert [lane.width for lane in layout.lanes] == [1, 2, 4]
    assert layout.extremes == (("a", -1), ("a", 1))
    assert layout.lists == (("a", 5),)
    assert len(layout.frames) == 3
    assert layout.state_words == 7 + 3 * (3 + 2) + (1 + 2 * 5)
    assert layout.ring_words == 2 * 13 * (1 + 7 + 2)
    assert layout.columns == 24 + 5 + 2


def test_the_form_follows_from_the_settings_alone() -> None:
    settings = FeatureSettings((Aggregate("x", "max", "a", 1000), Aggregate("y", "mean", "b", 500, "tumbling")))

    assert Layout(settings).form == Layout(settings).form
    assert Layout(settings).plan.tobytes() == Layout(settings).plan.tobytes()
    assert Layout(settings).form != Layout(FeatureSettings(settings.values[:1])).form
    assert Layout(settings).form != Layout(FeatureSettings(settings.values[::-1])).form


def test_unknown_keys_have_no_features_but_zero_counts_and_sums() -> None:
    kinds = ("count", "sum", "mean", "min", "last", "since_last")
    layout = Layout(FeatureSettings(tuple(Aggregate(kind, kind, None if kind in ("count", "since_last") else "a") for kind in kinds)))

    assert layout.empty.tolist() == pytest.approx([0.0, 0.0, *[np.nan] * 4], nan_ok=True)


def test_an_aggregate_without_its_field_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="needs a field"):
        Layout(FeatureSettings((Aggregate("x", "max"),)))
