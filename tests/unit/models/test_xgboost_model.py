"""Boosters of XGBoost. Oracle: XGBoost itself; and files that would end the process are refused before it reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost

from stream_infer.errors import ModelError
from stream_infer.models.load import load_model
from tests.unit.models.makers import COLUMNS, everything, last_leaf, load, rows, training, xgb, xgb_with


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left_children": (0, 100_000)}, "tree 0 of .* nodes whose children are not theirs alone"),
        ({"left_children": (0, 0)}, "not theirs alone"),
        ({"right_children": (0, 1)}, "not theirs alone"),
        ({"left_children": (0, -1)}, "a node of one child"),
        ({"split_indices": (0, 3)}, "asks for input 3 of 3"),
        ({"split_indices": (0, 1_000_000)}, "asks for input 1000000 of 3"),
        ({"left_children": (0, 1.5)}, "not whole"),
        ({"left_children": (0, "x")}, "no list of numbers"),
        ({"parents": (1, 3_407_872)}, "a parent that is no node"),
        ({"split_indices": (last_leaf(), 12_910_592)}, "asks for input 12910592 of 3"),
        ({"split_type": (0, 1)}, "splits by category have no list"),
        ({"default_left": (slice(0, 2), [])}, "whose lists have"),
    ],
)
def test_xgboost_files_that_would_end_the_process(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load("xgboost json", xgb_with(**changes))


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob", "multi:softmax", "count:poisson"])
@pytest.mark.parametrize("more", [{}, {"booster": "dart"}, {"gamma": 5.0}, {"grow_policy": "lossguide", "max_leaves": 5}])
def test_xgboost_as_it_predicts_itself(objective: str, more: dict[str, object]) -> None:
    classes = {"num_class": 3} if "multi" in objective else {}
    booster = xgb(objective, **more, **classes)
    x = rows()
    own = xgboost.DMatrix(x, feature_names=list(COLUMNS))
    for output, expected in ((None, booster.predict(own)), ("margin", booster.predict(own, output_margin=True))):
        for form in ("json", "ubj"):
            made = everything()[f"xgboost {form}"]
            data = bytes(booster.save_raw(form))
            out = load_model(made.settings(data=data, output=output), data, {}).forward(x)
            assert out == pytest.approx(expected.reshape(len(x), -1), rel=1e-6)
            plain = booster.inplace_predict(x, predict_type=output or "value", validate_features=False)
            assert out.tolist() == plain.reshape(len(x), -1).astype(np.float64).tolist()


def test_xgboost_stopped_early_answers_with_its_best_round() -> None:
    x, two, _ = training()
    model = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=3, max_depth=6, n_jobs=1, learning_rate=1.0)
    model.fit(x[:200], two[:200], eval_set=[(x[200:], two[200:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    data = bytes(model.get_booster().save_raw("ubj"))
    out = load("xgboost ubj", data).forward(rows())
    assert out[:, 0] == pytest.approx(model.predict_proba(rows())[:, 1], rel=1e-6)


def test_xgboost_with_categories() -> None:
    x, two, _ = training()
    x = x.copy()
    x[:, 0] = np.floor(np.abs(x[:, 0]) * 4)
    data = xgboost.DMatrix(x, two, feature_names=list(COLUMNS), feature_types=["c", "q", "q"], enable_categorical=True)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1, "max_cat_to_onehot": 2}, data, 6)
    raw = bytes(booster.save_raw("ubj"))
    assert load("xgboost ubj", raw).forward(x[:50].astype(np.float32))[:, 0] == pytest.approx(booster.predict(data)[:50], rel=1e-6)
    tree = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"][0]
    assert tree["categories_nodes"]


def test_another_booster_of_xgboost_is_refused() -> None:
    with pytest.raises(ModelError, match=r"booster is not read here(.|\n)*gblinear"):
        load("xgboost json", bytes(xgb(booster="gblinear", max_depth=None).save_raw("json")))
