"""Single rules: `where`, paths, client settings, suggestions, sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.decide.settings import Where
from stream_infer.edge.kafka_client import CLIENT_ALLOWED
from stream_infer.errors import TopologyError
from stream_infer.features.settings import AGGREGATES, Aggregate, FeatureSettings
from stream_infer.features.windows import FeatureState
from stream_infer.records import Text
from stream_infer.topology.check_streams import path_problem
from stream_infer.topology.client import ALLOWED, DENIED, reference_of
from stream_infer.topology.literals import duration_hint, integer_of, number_of, time_ms_of
from stream_infer.topology.plan import DecideStep
from stream_infer.topology.state_bytes import feature_bytes
from stream_infer.topology.suggest import closest
from tests.unit.topology.goods import plan_of


def where(text: str) -> Where | None:
    step = plan_of("local", ("where: country == DE", f"where: {text}")).sections[0].steps[-1]
    assert isinstance(step, DecideStep)
    return step.where


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("amount > 3", Where("amount", ">", 3.0)),
        ("amount<=-1.5e3", Where("amount", "<=", -1500.0)),
        ("country != FR", Where("country", "!=", "FR")),
        ("shop_id == 'a b'", Where("shop_id", "==", "a b")),
        ("online == true", Where("online", "==", 1.0)),
        ("paid_at_ms >= 2013-07-01T02:00:00+02:00", Where("paid_at_ms", ">=", 1_372_636_800_000.0)),
        ("spend_1h >= 10", Where("spend_1h", ">=", 10.0)),
    ],
)
def test_where_reads(text: str, expected: Where) -> None:
    assert expected == where(text)


@pytest.mark.parametrize(
    "text",
    [
        "amount",
        "amount > x",
        "amount = 3",
        "amount > 3 and online == true",
        "nothing > 3",
        "country < DE",
        "online == yes",
        "amount >= 2013-07-01T00:00:00Z",
        "paid_at_ms >= 2013-07-01",
        "3 > amount",
    ],
)
def test_where_refuses(text: str) -> None:
    with pytest.raises(TopologyError, match=r"where|field"):
        where(text)


@pytest.mark.parametrize("path", ["a.avsc", "schemas/a.avsc", "a..b/c.avsc", ".hidden", "a b.avsc"])
def test_paths_below_the_folder(path: str) -> None:
    assert path_problem(path) == ""


@pytest.mark.parametrize(
    "path",
    [
        "../a",
        "a/../../b",
        "/etc/passwd",
        "~/a",
        "~root",
        "C:\\a",
        "c:/a",
        "\\\\host\\a",
        "a\\..\\b",
        "http://x/a",
        "file:///a",
        "S3://b/a",
        "a\nb",
        "..",
        "a/..",
    ],
)
def test_paths_outside(path: str) -> None:
    assert path_problem(path)


def test_what_a_topology_may_set_the_edge_takes() -> None:
    assert set(ALLOWED) <= CLIENT_ALLOWED
    assert not set(ALLOWED) & set(DENIED)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("${env:A}", ("env", "A")), ("${file:/run/a}", ("file", "/run/a")), ("plain", None), ("${A}", None), ("$", None)],
)
def test_references(value: str, expected: tuple[str, str] | None) -> None:
    assert expected == reference_of(value)


def test_a_literal_that_looks_like_a_reference_is_refused() -> None:
    with pytest.raises(TopologyError, match="nothing is replaced"):
        plan_of("flights", ("sasl.username: flights", "sasl.username: ${env:HOME}"))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back(value: float) -> None:
    assert value == number_of(repr(value))


@given(st.integers(-(2**80), 2**80))
def test_integers_come_back(value: int) -> None:
    assert value == integer_of(str(value))


def test_times_need_their_zone() -> None:
    assert time_ms_of("1970-01-01T00:00:00Z") == 0
    assert time_ms_of("1970-01-01T01:00:01.5+01:00") == 1500
    assert None is time_ms_of("1970-01-01T00:00:00")
    assert None is time_ms_of("1970-01-01")


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("window_s", "1h", "write `window_s: 3600`"),
        ("wait_s_max", "5 min", "write `wait_s_max: 300`"),
        ("wait_ms_max", "2s", "write `wait_ms_max: 2000`"),
        ("rows_max", "2s", ""),
        ("window_s", "soon", ""),
    ],
)
def test_lengths_in_other_units(name: str, text: str, hint: str) -> None:
    assert hint == duration_hint(name, text)


@pytest.mark.parametrize(
    ("word", "known", "near"),
    [
        ("depe", ["deep", "linear", "next"], "deep"),
        ("Deep", ["deep"], "deep"),
        ("window", ["window_s", "k"], "window_s"),
        ("sklearn", ["linear", "torch"], None),
        ("input", ["from", "kind"], "from"),
        ("", ["a"], None),
    ],
)
def test_did_you_mean(word: str, known: list[str], near: str | None) -> None:
    assert near == closest(word, known)


@pytest.mark.parametrize("kind", AGGREGATES)
def test_every_aggregate_has_a_size(kind: str) -> None:
    windowed = kind not in ("last", "last_k", "since_last")

    assert feature_bytes(FeatureSettings((Aggregate("a", kind, "f", 60_000 if windowed else None),))) >= feature_bytes(FeatureSettings(()))


@pytest.mark.parametrize("rows", [10_000, 16_384, 30_000])
def test_the_estimate_of_a_key_is_what_a_full_table_takes(rows: int) -> None:
    settings = FeatureSettings((Aggregate("a", "mean", "f", 3_600_000), Aggregate("c", "count", None, 3_600_000)))
    state = FeatureState(settings)
    keys = Text.of(f"key-{number:016d}" for number in range(rows))
    every = np.ones(rows, dtype=np.bool_)
    for tile in range(13):
        state.apply(keys, np.full(rows, tile * 300_000, dtype=np.int64), {"f": np.ones(rows)}, every, every)

    assert feature_bytes(settings) == pytest.approx(state.bytes_used() / rows, rel=0.15)
