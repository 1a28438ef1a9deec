"""Oracles: least squares, the closed form of one FTRL step, FTRL written out in plain Python, and one row per call for the law of cuts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.learn.learner import FtrlLogistic, SgdLinear, learner_of
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import LearnerSettings
from stream_infer.state import StateError, Store, pack_text

SGD = LearnerSettings("sgd", rate=0.02, l2=1e-3)
FTRL = LearnerSettings("ftrl", alpha=0.1, beta=1.0, l1=0.5, l2=0.1)
BOTH = pytest.mark.parametrize("how", [SGD, FTRL], ids=["sgd", "ftrl"])


def names(wide: int) -> tuple[str, ...]:
    return tuple(f"c{i}" for i in range(wide))


def changed(store: Store) -> dict[bytes, bytes | None]:
    keys, values = store.changes()
    return {key or b"": value for key, value in zip(keys.raw(), values.raw(), strict=True)}


def rows_of(seed: int, rows: int, wide: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(2.0, 3.0, (rows, wide)).astype(np.float32)
    x[:, ::3] = rng.random((rows, len(range(0, wide, 3)))) < 0.1
    labels = (rng.random(rows) < 0.4).astype(np.float64)
    labels[rng.random(rows) < 0.1] = np.nan
    x[rng.random(rows) < 0.02, -1] = np.inf
    return x, labels


@BOTH
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 60), wide=st.integers(1, 20), data=st.data())
def test_cuts_and_restarts_change_no_bit(how: LearnerSettings, seed: int, rows: int, wide: int, data: st.DataObject) -> None:
    x, labels = rows_of(seed, rows, wide)
    whole, cut = learner_of(how, names(wide)), learner_of(how, names(wide))
    whole.learn(x, labels)
    place, log = 0, {}
    while place < rows:
        end = data.draw(st.integers(place + 1, rows))
        cut.learn(x[place:end], labels[place:end])
        place = end
        log |= changed(cut)
        restart = data.draw(st.sampled_from(["no", "changelog", "snapshot"]))
        fresh = learner_of(how, names(wide))
        if restart == "changelog":
            fresh.restore(pack_text(list(log)), pack_text(list(log.values())))
            cut = fresh
        elif restart == "snapshot":
            fresh.load(cut.snapshot())
            cut = fresh
    assert cut.model().to_bytes() == whole.model().to_bytes()
    assert [array.tobytes() for array in cut.snapshot().values()] == [array.tobytes() for array in whole.snapshot().values()]


@BOTH
def test_more_rows_than_are_worked_at_once(how: LearnerSettings) -> None:
    x, labels = rows_of(1, 5000, 3)
    whole, cut = learner_of(how, names(3)), learner_of(how, names(3))
    whole.learn(x, labels)
    for part in np.array_split(np.arange(5000), 7):
        cut.learn(x[part], labels[part])
    assert cut.model().to_bytes() == whole.model().to_bytes()


@BOTH
def test_rows_without_label_or_with_broken_inputs_leave_no_trace(how: LearnerSettings) -> None:
    learner = learner_of(how, names(2))
    assert isinstance(learner, Store)
    learner.learn(np.array([[1, 2], [np.nan, 1], [np.inf, 1]], dtype=np.float32), np.array([np.nan, 1.0, 1.0]))
    learner.learn(np.zeros((0, 2), dtype=np.float32), np.zeros(0))
    assert changed(learner) == {}
    assert learner.model().weights.tolist() == [[0.0], [0.0]]


@BOTH
def test_the_published_model_is_a_sound_file(how: LearnerSettings) -> None:
    learner = learner_of(how, names(4))
    learner.learn(*rows_of(3, 200, 4))
    again = LinearModel.from_bytes(learner.model().to_bytes())
    assert again.columns == names(4)
    assert again.link == ("identity" if how is SGD else "logistic")


def test_sgd_comes_to_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(1e3, 50, 30_000), rng.normal(0, 1e-2, 30_000), rng.random(30_000) < 0.02, np.ones(30_000)], axis=1).astype(
        np.float32
    )
    y = 0.3 * x[:, 0] - 400 * x[:, 1] + 25 * x[:, 2] + rng.normal(0, 3, 30_000)
    learner = SgdLinear(LearnerSettings("sgd", rate=0.002), names(4))
    learner.learn(x, y)
    error = learner.model().forward(x)[:, 0] - y
    best = x.astype(np.float64) @ np.linalg.lstsq(x.astype(np.float64), y, rcond=None)[0] - y
    assert (error**2).mean() <= 1.02 * (best**2).mean()


def test_sgd_standardises_by_mean_and_deviation_even_far_from_zero() -> None:
    times = np.array([[2_000_000.0], [2_000_256.0], [2_000_512.0]], dtype=np.float32)
    learner = SgdLinear(SGD, names(1))
    learner.learn(times, np.zeros(3))
    model = learner.model()
    assert model.mean.tolist() == pytest.approx([2_000_256.0])
    assert model.scale.tolist() == pytest.approx([np.std([0, 256, 512])])


def test_a_rare_column_does_not_blow_sgd_up() -> None:
    rng = np.random.default_rng(1)
    x = (rng.random((20_000, 60)) < 0.001).astype(np.float32)
    learner = SgdLinear(LearnerSettings("sgd", rate=0.5), names(60))
    learner.learn(x, 100 * x[:, 0] + rng.normal(0, 1, 20_000))
    assert np.abs(learner.model().weights).max() < 100
    assert np.isfinite(learner.model().forward(x)).all()


def test_l2_shrinks() -> None:
    x, y = np.array([[1.0], [-1.0]] * 500, dtype=np.float32), np.array([1.0, -1.0] * 500)
    weights = []
    for l2 in (0.0, 1.0):
        learner = SgdLinear(LearnerSettings("sgd", rate=0.1, l2=l2), names(1))
        learner.learn(x, y)
        weights.append(float(learner.model().weights[0, 0]))
    assert weights[0] == pytest.approx(1.0, abs=2e-3)
    assert weights[1] == pytest.approx(0.5, abs=0.06)


def test_one_step_of_ftrl_has_a_closed_form() -> None:
    learner = FtrlLogistic(LearnerSettings("ftrl", alpha=0.1, beta=1.0, l1=0.25, l2=2.0), names(2))
    learner.learn(np.array([[2.0, 0.1]], dtype=np.float32), np.array([1.0]))
    # p = ½, so g = -x/2, z = g, n = g²: w = -(z + l1) / ((1 + |g|) / 0.1 + 2) where |z| > l1, else 0; the bias knows no l1 and l2.
    model = learner.model()
    assert model.weights[:, 0].tolist() == [pytest.approx(0.75 / (2.0 / 0.1 + 2.0)), 0.0]
    assert model.bias.tolist() == [pytest.approx(0.5 / (1.5 / 0.1))]


def test_ftrl_is_algorithm_1() -> None:
    x, labels = rows_of(5, 300, 4)
    keep = np.isfinite(labels) & np.isfinite(x).all(axis=1)
    x, labels = x[keep], labels[keep]
    learner = FtrlLogistic(FTRL, names(4))
    learner.learn(x, labels)
    z, n = [0.0] * 5, [0.0] * 5
    l1, l2 = [FTRL.l1] * 4 + [0.0], [FTRL.l2] * 4 + [0.0]

    def weight(i: int) -> float:
        if abs(z[i]) <= l1[i]:
            return 0.0
        return -(z[i] - math.copysign(l1[i], z[i])) / ((FTRL.beta + math.sqrt(n[i])) / FTRL.alpha + l2[i])

    for row, label in zip(x.tolist(), labels.tolist(), strict=True):
        row = [*row, 1.0]
        w = [weight(i) for i in range(5)]
        p = 1 / (1 + math.exp(-sum(a * b for a, b in zip(w, row, strict=True))))
        for i in range(5):
            g = (p - label) * row[i]
            sigma = (math.sqrt(n[i] + g * g) - math.sqrt(n[i])) / FTRL.alpha
            z[i] += g - sigma * w[i]
            n[i] += g * g
    model = learner.model()
    assert [*model.weights[:, 0].tolist(), float(model.bias[0])] == pytest.approx([weight(i) for i in range(5)], rel=1e-9, abs=1e-12)


def test_l1_leaves_true_zeros() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3000, 40)).astype(np.float32)
    labels = (rng.random(3000) < 1 / (1 + np.exp(-2 * x[:, 0] + x[:, 1]))).astype(np.float64)
    learner = FtrlLogistic(LearnerSettings("ftrl", alpha=0.1, l1=40.0), names(40))
    learner.learn(x, labels)
    weights = learner.model().weights[:, 0]
    assert (weights[2:] == 0.0).sum() >= 35
    assert weights[0] > 0.3 > -0.1 > weights[1]


def test_ftrl_on_disjoint_columns_does_not_know_their_order() -> None:
    # Without a bias to share, rows that touch different columns commute bit for bit; equal labels keep the bias's part alike.
    one, two = np.array([[1.5, 0.0]], dtype=np.float32), np.array([[0.0, 1.5]], dtype=np.float32)
    first, second = FtrlLogistic(FTRL, names(2)), FtrlLogistic(FTRL, names(2))
    first.learn(np.concatenate([one, two]), np.ones(2))
    second.learn(np.concatenate([two, one]), np.ones(2))
    assert first.model().weights[::-1].tobytes() == second.model().weights.tobytes()


def test_state_of_other_inputs_is_refused() -> None:
    learner = SgdLinear(SGD, names(3))
    learner.learn(np.ones((1, 3), dtype=np.float32), np.ones(1))
    keys, values = learner.changes()
    with pytest.raises(StateError):
        SgdLinear(SGD, names(4)).restore(keys, values)
    with pytest.raises(StateError):
        SgdLinear(SGD, names(4)).load(learner.snapshot())
    with pytest.raises(StateError):
        SgdLinear(SGD, names(3)).restore(keys, pack_text([b"\x02" + (values.raw()[0] or b"")[1:]]))


def test_an_unknown_learner_is_refused() -> None:
    with pytest.raises(ValueError, match="expected sgd, rls or ftrl"):
        learner_of(LearnerSettings("adam"), names(1))


@pytest.mark.parametrize("by", ["sgd", "rls", "ftrl"])
def test_a_start_answers_as_before_until_a_row_comes(by: str) -> None:
    link = "logistic" if by == "ftrl" else "identity"
    start = LinearModel(np.array([[1.5], [-0.25]]), np.array([0.5]), np.array([3.0, -1.0]), np.array([2.0, 0.5]), link, ("a", "b"))
    learner = learner_of(LearnerSettings(by, l1=0.1, l2=0.5), ("a", "b"), start)
    x = np.array([[0.0, 1.0], [5.0, -3.0]], dtype=np.float32)

    np.testing.assert_allclose(learner.model().forward(x), start.forward(x), rtol=1e-12)


def test_sgd_with_a_start_keeps_its_scaling() -> None:
    start = LinearModel(np.zeros((1, 1)), np.zeros(1), np.array([1000.0]), np.array([10.0]), "identity", ("a",))
    learner = learner_of(LearnerSettings("sgd", rate=0.1), ("a",), start)
    x = (1000 + 10 * np.random.default_rng(1).normal(size=(5000, 1))).astype(np.float32)
    learner.learn(x, 2.0 * (x[:, 0].astype(np.float64) - 1000) + 3)
    model = learner.model()

    assert model.mean.tolist() == [1000.0]
    assert float(model.weights[0, 0]) == pytest.approx(20.0, rel=1e-3)
    assert float(model.bias[0]) == pytest.approx(3.0, rel=1e-2)
