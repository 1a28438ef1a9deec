"""Windows: equal to a slow oracle, and bit-identical however the rows are cut into calls and the state is moved about."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_infer.features.settings import Aggregate, FeatureSettings
from stream_infer.features.windows import FeatureState
from stream_infer.records import Floats, Text
from stream_infer.state import StateError, Store
from tests.unit.features.window_oracle import Oracle

S = TypeVar("S", bound=Store)
Row = tuple[bytes | None, int, dict[str, float], bool, bool]  # key, time, values, updates, reads

WINDOWS = [
    (None, "sliding", 12),
    (1000, "sliding", 12),
    (1000, "sliding", 4),
    (60, "sliding", 1),
    (5, "sliding", 12),
    (700, "tumbling", 12),
]
EVERYTHING = FeatureSettings(
    tuple(
        Aggregate(f"{kind}_{field}_{number}", kind, None if kind in ("count", "since_last") else field, width, shape, hops, 2, 3)
        for number, (width, shape, hops) in enumerate(WINDOWS)
        for kind in ("count", "sum", "mean", "std", "min", "max", "last", "last_k", "since_last")
        for field in ("a", "b")
        if field == "a" or kind in ("sum", "std", "max", "last")
    )
)
NUMBERS = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.005, 2.5, -3.25, 1e6, 3e7, 1e12, -1e300]) | st.integers(-5, 5).map(
    float
)
STEPS = st.integers(0, 40) | st.sampled_from([0, 0, 1, 80, 250, 1000, 5000, -1, -30, -100, -400, -1200])
ROWS = st.lists(
    st.tuples(st.sampled_from([b"x", b"x", b"x", b"y", b"z", b"w", None]), STEPS, NUMBERS, NUMBERS, st.sampled_from([0, 1, 2, 3, 3])),
    max_size=40,
)
SLOW = settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def rows_of(drawn: list[tuple[bytes | None, int, float, float, int]], begin: int = -700) -> list[Row]:
    rows, time = [], begin
    for key, step, a, b, what in drawn:
        time += step
        rows.append((key, time, {"a": a, "b": b}, bool(what & 1), bool(what & 2)))
    return rows


def apply(state: FeatureState, rows: list[Row]) -> Floats:
    fields = state.settings.fields()
    return state.apply(
        Text.of([row[0] for row in rows]),
        np.array([row[1] for row in rows], dtype=np.int64),
        {name: np.array([row[2][name] for row in rows]) for name in fields},
        np.array([row[3] for row in rows], dtype=np.bool_),
        np.array([row[4] for row in rows], dtype=np.bool_),
    )


def check(chosen: FeatureSettings, rows: list[Row], sweep_rows: int = 7) -> None:
    """One call gives what the oracle gives."""
    oracle = Oracle(chosen, sweep_rows)
    expected = [answer for answer in (oracle.row(*row) for row in rows) if answer is not None]
    state = FeatureState(chosen, sweep_rows=sweep_rows)

    got = apply(state, rows)

    names = chosen.columns()
    assert got.shape == (len(expected), len(names))
    for number, (mine, theirs) in enumerate(zip(got.tolist(), expected, strict=True)):
        for name, m, t in zip(names, mine, theirs, strict=True):
            same = m == t or (m != m and t != t)
            near = name.startswith(("std", "mean", "sum")) and math.isclose(m, t, rel_tol=1e-14)
            assert same or near, f"read {number}: {name} is {m!r}, expected {t!r}"
    assert (state.late_total, state.clipped_total, state.evicted_total) == (oracle.late, oracle.clipped, oracle.evicted)
    assert len(state) == len(oracle.lives)


BOUNDS = st.tuples(st.sampled_from([3, 1_000_000]), st.sampled_from([None, None, 50, 900]))


@SLOW
@given(ROWS, BOUNDS)
def test_every_aggregate_and_shape_equals_the_oracle(
    drawn: list[tuple[bytes | None, int, float, float, int]], bounds: tuple[int, int | None]
) -> None:
    check(replace(EVERYTHING, keys_max=bounds[0], idle_ms=bounds[1]), rows_of(drawn))


@SLOW
@given(
    ROWS, st.lists(st.integers(0, 40), max_size=6), st.lists(st.sampled_from(["", "snapshot", "changelog"]), min_size=8, max_size=8), BOUNDS
)
def test_splitting_and_moving_change_no_bit(
    drawn: list[tuple[bytes | None, int, float, float, int]], cuts: list[int], moves: list[str], bounds: tuple[int, int | None]
) -> None:
    chosen = replace(EVERYTHING, keys_max=bounds[0], idle_ms=bounds[1])
    rows = rows_of(drawn)
    whole = FeatureState(chosen, sweep_rows=7)
    expected = apply(whole, rows)
    state, log, parts = FeatureState(chosen, sweep_rows=7), Changelog(), []
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})

    for begin, end, move in zip(edges[:-1], edges[1:], moves, strict=False):
        parts.append(apply(state, rows[begin:end]))
        state = log.moved(state, move, FeatureState(chosen, sweep_rows=7))

    got = np.concatenate(parts) if parts else expected
    assert got.tobytes() == expected.tobytes()
    assert (state.late_total, state.clipped_total, state.evicted_total) == (whole.late_total, whole.clipped_total, whole.evicted_total)
    log.take(state)
    last = Changelog()
    last.take(whole)
    assert log.records == last.records


@dataclass
class Changelog:
    """What compaction leaves of all records written so far."""

    def __post_init__(self) -> None:
        self.records: dict[bytes, bytes] = {}

    def take(self, state: Store) -> None:
        changed, packed = state.changes()
        keys, values = changed.raw(), packed.raw()
        assert len(set(keys)) == len(keys)
        for key, value in zip(keys, values, strict=True):
            assert key is not None
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value

    def moved(self, state: S, move: str, fresh: S) -> S:
        """The state after a move to another process, by snapshot or changelog; or itself."""
        if move == "snapshot":
            file = io.BytesIO()
            np.savez(file, **state.snapshot())
            file.seek(0)
            fresh.load(dict(np.load(file, allow_pickle=False)))
            return fresh
        if move == "changelog":
            self.take(state)
            fresh.restore(Text.of(self.records, is_bytes=True), Text.of(self.records.values(), is_bytes=True))
            assert [len(part) for part in fresh.changes()] == [0, 0]
            return fresh
        return state


def log_of(size: int, keys: int, seed: int, disorder: float) -> list[Row]:
    """A long log: skewed keys, bursts and gaps, some rows late by up to 3 s."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.choice([0, 1, 5, 40, 400], size, p=[0.3, 0.4, 0.2, 0.08, 0.02]))
    times -= np.where(rng.random(size) < disorder, rng.integers(0, 3000, size), 0)
    key = np.minimum(rng.zipf(1.3, size), keys)
    a = np.where(rng.random(size) < 0.1, np.nan, rng.normal(20, 40, size).round(3))
    what = rng.integers(0, 4, size)
    return [
        (b"%d" % k, t, {"a": v, "b": -v}, bool(w & 1), bool(w & 2))
        for k, t, v, w in zip(key.tolist(), times.tolist(), a.tolist(), what.tolist(), strict=True)
    ]


@pytest.mark.parametrize(("disorder", "idle_ms"), [(0.0, None), (0.02, 4000), (0.5, None)])
def test_long_logs_equal_the_oracle_and_any_batch_size(disorder: float, idle_ms: int | None) -> None:
    chosen = replace(EVERYTHING, values=EVERYTHING.values[:36], keys_max=60, idle_ms=idle_ms)
    rows = log_of(1500, 100, 5, disorder)
    check(chosen, rows, sweep_rows=100)
    whole = apply(FeatureState(chosen, sweep_rows=100), rows)
    for size in (1, 13, 256):
        state = FeatureState(chosen, sweep_rows=100)
        parts = [apply(state, rows[begin : begin + size]) for begin in range(0, len(rows), size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_times_far_apart_do_not_overflow() -> None:
    far = [0, 1 << 51, -(1 << 51), 7, (1 << 51) + 3, 1 << 60, 9]
    rows: list[Row] = [(b"%d" % (i % 3), time, {"a": 1.0 + i, "b": 2.0}, True, True) for i, time in enumerate(far * 4)]
    clamped = [(key, max(min(time, 1 << 52), -(1 << 52)), values, *rest) for key, time, values, *rest in rows]
    check(EVERYTHING, clamped)
    assert apply(FeatureState(EVERYTHING), rows).tobytes() == apply(FeatureState(EVERYTHING), clamped).tobytes()


def test_std_of_large_close_values_is_exact() -> None:
    chosen = FeatureSettings((Aggregate("std", "std", "a", decimals=0),))
    values = [2**31 - 1.0, 2**31 - 2.0, 2**31 - 1.0] * 50 + [-(2**31) + 1.0]
    for kept in (values[:3], values[:150], values, [-v for v in values]):
        rows: list[Row] = [(b"k", 0, {"a": value}, True, False) for value in kept] + [(b"k", 0, {"a": 0.0}, False, True)]
        check(chosen, rows)


def test_three_departures_by_hand() -> None:
    chosen = FeatureSettings(
        (Aggregate("mean_1h", "mean", "a", 3_600_000), Aggregate("n_1h", "count", None, 3_600_000), Aggregate("since", "since_last"))
    )
    state, minute = FeatureState(chosen), 60_000
    told: list[Row] = [(b"EWR", minute * m, {"a": v}, True, False) for m, v in ((0, 10.0), (30, 20.0), (58, math.nan))]
    asked: list[Row] = [(b"EWR", minute * m, {"a": math.nan}, False, True) for m in (59, 64, 65, 94, 95)] + [
        (b"JFK", 0, {"a": 0.0}, False, True)
    ]

    assert apply(state, told + asked).tolist()[:5] == [
        [15, 3, 60],
        [15, 3, 360],
        [20, 2, 420],
        [20, 2, 2160],
        [pytest.approx(math.nan, nan_ok=True), 1, 2220],
    ]
    assert np.isnan(apply(state, asked[5:])[0, [0, 2]]).all()


def test_tumbling_windows_begin_at_multiples_of_their_width() -> None:
    chosen = FeatureSettings((Aggregate("n", "count", None, 1000, "tumbling"),))
    rows: list[Row] = [(b"k", time, {}, True, True) for time in (-1, 0, 999, 1000, 1999, 999)]

    assert apply(FeatureState(chosen), rows).ravel().tolist() == [0, 0, 1, 0, 1, 0]


def test_values_and_snapshots_of_other_settings_are_refused() -> None:
    state = FeatureState(EVERYTHING)
    apply(state, rows_of([(b"x", 5, 1.0, 2.0, 3)]))
    other = FeatureState(replace(EVERYTHING, values=EVERYTHING.values[:9]))
    with pytest.raises(StateError, match="made with other settings"):
        other.load(state.snapshot())
    with pytest.raises(StateError, match="expected version 2"):
        other.restore(*state.changes())


def test_a_forgotten_key_leaves_a_tombstone_and_no_trace() -> None:
    state = FeatureState(EVERYTHING)
    apply(state, rows_of([(b"somebody", 5, 123456.75, 2.0, 1), (b"x", 5, 1.0, 2.0, 1)]))
    assert len(state.changes()[0]) == 3

    assert state.forget(Text.of([b"somebody", b"nobody", None])) == 1

    keys, values = state.changes()
    assert (keys.raw(), values.raw()) == ([b"ksomebody"], [None])
    held = (*state.snapshot().values(), state._table.rows, state._table._long, state._table._gone, state._rings)
    assert not any(b"somebody" in array.tobytes() for array in held)
    assert not any((array == 12345675).any() for array in held)
    assert len(state) == 1


def test_memory_is_bounded_and_counted() -> None:
    chosen = FeatureSettings((Aggregate("n", "count"),), keys_max=100)
    state = FeatureState(chosen, sweep_rows=64)
    for begin in range(0, 20_000, 500):
        apply(state, [(b"%d" % i, i, {}, True, False) for i in range(begin, begin + 500)])
        assert len(state) <= 164
        state.changes()

    assert state.evicted_total == 20_000 - len(state)
    assert state.bytes_used() < 256 * 200
    assert isinstance(state, Store)
