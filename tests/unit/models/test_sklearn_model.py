"""Estimators of scikit-learn: what they may answer, and what is none. Oracle: the estimator asked directly."""

from __future__ import annotations

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LinearRegression, RidgeClassifier

from stream_infer.errors import ModelError
from stream_infer.models.load import load_model
from tests.unit.models.makers import COLUMNS, Made, everything, forest, load, logistic, pickled, rows, training


def answers_of(made: Made, output: str, x: np.ndarray) -> np.ndarray:
    return load_model(made.settings(output=output), made.data, {}).forward(x)


def test_what_a_classifier_may_answer() -> None:
    x = rows()
    wide = x.astype(np.float64)
    two, three = everything()["skops"], everything()["pickle"]
    assert answers_of(two, "probability", x)[:, 0] == pytest.approx(logistic().predict_proba(wide)[:, 1])
    assert answers_of(two, "label", x)[:, 0].tolist() == logistic().predict(wide).tolist()
    assert answers_of(two, "margin", x)[:, 0] == pytest.approx(logistic().decision_function(wide))
    assert answers_of(three, "probability", x) == pytest.approx(forest().predict_proba(wide))
    with pytest.raises(ModelError, match=r"answers no margin(.|\n)*expected: probability or label"):
        answers_of(three, "margin", x)
    with pytest.raises(ModelError, match=r"answers no value(.|\n)*expected: probability or margin or label"):
        answers_of(two, "value", x)
    without = skops.io.dumps(RidgeClassifier().fit(*training()[:2]))
    with pytest.raises(ModelError, match=r"answers no probability(.|\n)*expected: margin or label"):
        load("skops", without)
    with pytest.raises(ModelError, match=r"answers no label(.|\n)*expected: value"):
        answers_of(everything()["joblib"], "label", x)
    texts = RidgeClassifier().fit(training()[0], np.where(training()[1] > 0, "yes", "no"))
    with pytest.raises(ModelError, match=r"labels are no numbers(.|\n)*no, yes"):
        load("skops", skops.io.dumps(texts), output="label")


def test_types_that_skops_does_not_trust_need_trust_and_a_pin() -> None:
    data = skops.io.dumps(forest())
    with pytest.raises(ModelError, match=r"types that can harm(.|\n)*sklearn.tree._tree.Tree"):
        load("skops", data)
    made = Made("sklearn", "forest.skops", data, lambda x: forest().predict_proba(x), trusted=True)
    assert load_model(made.settings(), data, {}).outputs == 3
    with pytest.raises(ModelError, match="expected: trusted: true and a pinned sha256"):
        load_model(made.settings(sha256=None), data, {})


def test_what_is_no_fitted_estimator() -> None:
    with pytest.raises(ModelError, match="not fitted"):
        load("pickle", pickled(LinearRegression()))
    with pytest.raises(ModelError, match=r"no estimator(.|\n)*dict"):
        load("pickle", pickled({"weights": [1.0]}))


def test_names_that_it_was_fitted_with_are_compared_and_nothing_is_warned_of() -> None:
    import pandas

    x, y, _ = training()
    data = skops.io.dumps(LinearRegression().fit(pandas.DataFrame(x, columns=list(COLUMNS)), y))
    assert load("skops", data).forward(rows(3)) == pytest.approx(LinearRegression().fit(x, y).predict(rows(3))[:, None], rel=1e-5)
    with pytest.raises(ModelError, match="column 0 of the model"):
        load("skops", data, columns=("b", "a", "c"))


def test_rows_that_an_estimator_refuses_do_not_fail_their_neighbours() -> None:
    model = load("skops", everything()["skops"].data)
    x = rows(5)
    x[1, 0], x[3, 2] = np.nan, np.inf
    out = model.forward(x)
    assert np.isnan(out[:, 0]).tolist() == [False, True, False, True, False]
    assert out[[0, 2, 4]].tobytes() == model.forward(x[[0, 2, 4]]).tobytes()
    assert np.isnan(model.forward(np.full((2, 3), np.nan, dtype=np.float32))).all()
