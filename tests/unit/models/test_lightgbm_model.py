"""Boosters of LightGBM. Oracle: LightGBM itself; and files that would end the process are refused before it reads them."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from stream_infer.errors import ModelError
from stream_infer.models.load import load_model
from tests.unit.models.makers import COLUMNS, everything, lgb, lgb_with, load, rows, training


@pytest.mark.parametrize(
    ("name", "value", "place", "message"),
    [
        ("left_child", "100", 0, "not theirs alone"),
        ("left_child", "0", 0, "not theirs alone"),
        ("left_child", "-100", 0, "not theirs alone"),
        ("split_feature", "3", 0, "asks for input 3 of 3"),
        ("split_feature", "-1", 0, "asks for input"),
        ("split_feature", "x", 0, "no numbers"),
        ("num_leaves", "70", 0, "another number of splits or values"),
        ("leaf_value", "1 1", 0, "another number of splits or values"),
        ("num_cat", "1", 0, "categories"),
    ],
)
def test_lightgbm_files_that_would_end_the_process(name: str, value: str, place: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load("lightgbm", lgb_with(name, value, place))


@pytest.mark.parametrize("objective", ["regression", "binary", "multiclass", "poisson"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"linear_tree": True},
        {"boosting": "dart"},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"min_data_in_leaf": 10_000},
    ],
)
def test_lightgbm_as_it_predicts_itself(objective: str, more: dict[str, object]) -> None:
    classes = {"num_class": 3} if objective == "multiclass" else {}
    booster = lgb(objective, **more, **classes)
    x = rows()
    for output, raw in ((None, False), ("margin", True)):
        data = booster.model_to_string().encode()
        out = load_model(everything()["lightgbm"].settings(output=output), data, {}).forward(x)
        assert out == pytest.approx(booster.predict(x, raw_score=raw).reshape(len(x), -1), rel=1e-15)


def test_lightgbm_with_categories() -> None:
    x, two, _ = training()
    x = x.copy()
    x[:, 0] = np.floor(np.abs(x[:, 0]) * 4)
    data = lightgbm.Dataset(x, two, feature_name=list(COLUMNS), categorical_feature=["a"])
    booster = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_per_group": 5, "cat_smooth": 1}, data, 6)
    text = booster.model_to_string()
    assert "num_cat=1" in text
    asked = x[:50].astype(np.float32)
    assert load("lightgbm", text.encode()).forward(asked)[:, 0] == pytest.approx(booster.predict(asked), rel=1e-15)
    pandas = text.replace("pandas_categorical:null", 'pandas_categorical:[["EWR", "JFK"]]')
    with pytest.raises(ModelError, match="trained on categories of pandas"):
        load("lightgbm", pandas.encode())
