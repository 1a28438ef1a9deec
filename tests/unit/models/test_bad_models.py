"""What is wrong with one format or another, found before the model can answer. Each file is broken on purpose in one place."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import pytest
import skops.io
import torch
import xgboost
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression, RidgeClassifier
from torch import nn

from stream_infer.errors import ModelError
from stream_infer.models.base import BATCH_DIFFERENCE_MAX, Model, batch_difference
from stream_infer.models.load import load_model
from tests.unit.models.makers import (
    COLUMNS,
    Made,
    everything,
    exported,
    forest,
    lgb,
    logistic,
    net,
    onnx_file,
    onnx_net,
    pickled,
    rows,
    saved_net,
    training,
    xgb,
)

FLOAT, DOUBLE, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT64
NODE = onnx.helper.make_node


def load(format: str, data: bytes, **changes: object) -> Model:  # noqa: A002 — the word for it
    made = everything()[format]
    return load_model(made.settings(data=data, **changes), data, {})


def onnx_graph(*nodes: onnx.NodeProto, weights: dict[str, np.ndarray] | None = None, **changes: object) -> bytes:
    return onnx_file(list(nodes), weights or {}, **changes).SerializeToString()


# ----------------------------------------------------------------------------------------------------- answers that are none


def refitted(estimator: LinearRegression, value: float) -> bytes:
    fitted = LinearRegression().fit(*training()[:2])
    fitted.coef_ = fitted.coef_ * value
    return skops.io.dumps(fitted)


def xgb_with(**changes: object) -> bytes:
    """The booster's JSON with other numbers in its first tree."""
    model = json.loads(bytes(xgb().save_raw("json")))
    tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
    for name, change in changes.items():
        place, value = change
        tree[name][place] = value
    return json.dumps(model).encode()


def last_leaf() -> int:
    tree = json.loads(bytes(xgb().save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"][0]
    return max(place for place, child in enumerate(tree["left_children"]) if child == -1)


def lgb_with(name: str, value: str, place: int = -1) -> bytes:
    """The booster's text with another word in the first tree, and the sizes of the trees put right."""
    head, _, rest = lgb().model_to_string().partition("\nTree=0\n")
    tree, end, more = rest.partition("\nTree=1\n")
    lines = [line.split("=", 1) for line in tree.split("\n")]
    for line in lines:
        if line[0] == name:
            words = line[1].split(" ")
            words[place] = value
            line[1] = " ".join(words)
    changed = "\n".join("=".join(line) for line in lines)
    sizes = head.rpartition("tree_sizes=")[2].split()
    sizes[0] = str(int(sizes[0]) + len(changed) - len(tree))
    return (head.rpartition("tree_sizes=")[0] + "tree_sizes=" + " ".join(sizes) + "\n\nTree=0\n" + changed + end + more).encode()


def xgb_ubj(model: bytes) -> bytes:
    booster = xgboost.Booster()
    booster.load_model(bytearray(model))
    return bytes(booster.save_raw("ubj"))


NAN = np.float32("nan")


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("torch", lambda: saved_net(**{"layers.0.bias": torch.full((8,), torch.nan)}), "layers.0.bias holds NaN"),
        ("onnx", lambda: onnx_net(weights={"layers_1_bias": np.array([0, NAN])}), "tensor layers_1_bias holds NaN"),
        ("pt2", lambda: exported(torch.nn.Linear(3, 1).apply(lambda layer: layer.bias.data.fill_(torch.nan))), "not finite"),
        ("skops", lambda: refitted(logistic(), np.nan), "answer that is not finite"),
        ("xgboost json", lambda: xgb_with(split_conditions=(last_leaf(), 1e300)), "a leaf that is not finite"),
        ("xgboost json", lambda: xgb_with(split_conditions=(last_leaf(), float("nan"))), "no JSON"),
        ("lightgbm", lambda: lgb_with("leaf_value", "nan"), "tree 0 has a leaf that is not finite"),
        ("lightgbm", lambda: lgb_with("leaf_value", "inf", 0), "tree 0 has a leaf that is not finite"),
    ],
)
def test_weights_that_are_no_numbers(format: str, data: object, message: str) -> None:  # noqa: A002
    with pytest.raises(ModelError, match=message):
        load(format, data())


def test_an_infinity_in_onnx_may_be_meant() -> None:
    clip = onnx_graph(NODE("Min", ["x", "top"], ["y"]), weights={"top": np.array([np.inf], dtype=np.float32)})
    assert load("onnx", clip).forward(rows(2)) == pytest.approx(rows(2))


# -------------------------------------------------------------------------------------------- types and shapes of the graph


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: onnx_graph(NODE("Cast", ["x"], ["y"], to=FLOAT), x=(INT64, ["n", 3])), "does not take a matrix of float32(.|\n)*int64"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), x=(FLOAT, [4, 3])), "refuses a batch of one row(.|\n)*always 4 rows"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), x=(FLOAT, ["n", 2])), "another number of inputs"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), x=(FLOAT, ["n", "m", 3])), "shape of a row is not fixed"),
        (lambda: onnx_graph(NODE("ReduceMean", ["x"], ["y"], axes=[0])), "does not follow the batch"),
        (
            lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), NODE("Neg", ["x"], ["z"]), outputs={"y": (FLOAT, None), "z": (FLOAT, None)}),
            "several outputs(.|\n)*got: +y, z",
        ),
        (lambda: onnx_graph(NODE("Nonsense", ["x"], ["y"])), "runtime cannot load(.|\n)*Nonsense"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"], domain="my.company")), "runtime cannot load"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), metadata={"columns": '["a", "c", "b"]'}), "column 1 of the model"),
        (lambda: onnx_graph(NODE("Relu", ["x"], ["y"]), metadata={"columns": "a, b, c"}), "does not name the input columns"),
    ],
)
def test_onnx_graphs_of_another_form(data: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load("onnx", data())


def test_onnx_in_float64_as_an_image_as_single_numbers_and_by_the_name_of_an_output() -> None:
    x = rows(5)
    double = onnx_graph(NODE("Neg", ["x"], ["y"]), x=(DOUBLE, ["n", 3]), outputs={"y": (DOUBLE, ["n", 3])})
    assert load("onnx", double).forward(x) == pytest.approx(-x)
    image = onnx_graph(
        NODE("ReduceSum", ["x", "axes"], ["y"], keepdims=0),
        weights={"axes": np.array([1, 2], dtype=np.int64)},
        x=(FLOAT, ["n", 1, 3]),
        outputs={"y": (FLOAT, ["n"])},
    )
    assert load("onnx", image).forward(x)[:, 0] == pytest.approx(x.sum(axis=1), rel=1e-5)
    single = {name: (FLOAT, ["n", 1]) for name in COLUMNS}
    sums = onnx_graph(NODE("Sum", list(COLUMNS), ["y"]), inputs=single)
    assert load("onnx", sums).forward(x)[:, 0] == pytest.approx(x.sum(axis=1), rel=1e-5)
    with pytest.raises(ModelError, match="column 0 of the model"):
        load("onnx", sums, columns=("b", "a", "c"))
    two = onnx_graph(NODE("Relu", ["x"], ["y"]), NODE("Neg", ["x"], ["z"]), outputs={"y": (FLOAT, None), "z": (FLOAT, None)})
    assert load("onnx", two, output="z").forward(x) == pytest.approx(-x)
    with pytest.raises(ModelError, match=r"no output w(.|\n)*got: +y, z"):
        load("onnx", two, output="w")


def test_a_program_in_float64_is_refused() -> None:
    with pytest.raises(ModelError, match="refuses a batch of one row"):
        load("pt2", exported(nn.Linear(3, 1).double(), torch.ones(4, 3, dtype=torch.float64)))


# ------------------------------------------------------------------------------------------- answers that depend on the batch


class Centred(nn.Module):
    """Mixes the rows of a batch, as a net does that was exported in training."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(dim=0, keepdim=True)).sum(dim=1)


class Ranks(RegressorMixin, BaseEstimator):
    """Another estimator that looks at its neighbours."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Ranks:
        self.n_features_in_ = x.shape[1]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0].argsort().argsort() + 1.0


class OneAnswer(Ranks):
    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.zeros(1)


MEAN = onnx_graph(NODE("ReduceMean", ["x"], ["m"], axes=[0]), NODE("Sub", ["x", "m"], ["y"]))


@pytest.mark.parametrize(
    ("format", "data"),
    [("onnx", lambda: MEAN), ("pt2", lambda: exported(Centred())), ("pickle", lambda: pickled(Ranks().fit(*training()[:2])))],
)
def test_rows_that_depend_on_their_neighbours_are_refused_unless_that_is_allowed(format: str, data: object) -> None:  # noqa: A002
    with pytest.raises(ModelError, match=r"depends on the rows beside it(.|\n)*differ by (0\.[0-9]|[1-9])(.|\n)*batch_variant: allow"):
        load(format, data())
    model = load(format, data(), batch_variant="allow")
    assert batch_difference(model, rows(7)) > 10 * BATCH_DIFFERENCE_MAX


def test_the_answer_of_a_batch_as_a_whole_is_refused() -> None:
    with pytest.raises(ModelError, match="does not follow the batch"):
        load("pickle", pickled(OneAnswer().fit(*training()[:2])))


@pytest.mark.parametrize("format", ["torch", "onnx", "pt2", "torchscript", "skops", "pickle", "joblib", "xgboost json", "lightgbm"])
@pytest.mark.filterwarnings("ignore:.*TorchScript is deprecated:FutureWarning")
def test_sound_models_are_far_from_the_limit(format: str) -> None:  # noqa: A002
    made = everything()[format]
    assert batch_difference(load_model(made.settings(), made.data, {}), rows(200)) < BATCH_DIFFERENCE_MAX / 1000


# -------------------------------------------------------------------------------------------------------------- scikit-learn


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


# --------------------------------------------------------------------------------------------------------------------- trees


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


def test_trees_trained_without_names_take_the_topology_s() -> None:
    for form, data in (("xgboost ubj", bytes(xgb(named=False).save_raw("ubj"))), ("lightgbm", lgb(named=False).model_to_string().encode())):
        assert load(form, data, columns=("x", "y", "z")).columns == ("x", "y", "z")
        with pytest.raises(ModelError, match="another number of inputs"):
            load(form, data, columns=("x", "y"))


@pytest.mark.parametrize("format", ["xgboost json", "xgboost ubj", "lightgbm", "onnx", "skops"])
def test_broken_bytes_are_refused_or_answer_and_never_end_the_process(format: str) -> None:  # noqa: A002
    """600 such changes of a LightGBM or UBJSON file ended the process within seconds before the files were looked through."""
    made = everything()[format]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        data = bytearray(made.data)
        for _ in range(int(rng.integers(1, 4))):
            place, size = int(rng.integers(len(data))), int(rng.integers(1, 9))
            how = rng.integers(3)
            if how == 0:
                data[place] = int(rng.integers(256))
            elif how == 1:
                del data[place : place + size]
            else:
                data[place:place] = data[place : place + size]
        try:
            assert load(format, bytes(data)).forward(rows(3)).shape[0] == 3
        except ModelError:
            continue  # refused, which is the other thing that may happen


@pytest.mark.slow  # the compiler takes a minute
def test_a_program_that_was_compiled_ahead() -> None:
    from torch._inductor import aoti_compile_and_package

    program = torch.export.export(net(), (torch.ones(4, 3),), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},))
    with tempfile.TemporaryDirectory() as folder:
        path = aoti_compile_and_package(program, package_path=f"{folder}/net.pt2")
        data = Path(path).read_bytes()
    model = load("pt2", data)
    assert model.forward(rows(9)) == pytest.approx(everything()["pt2"].answers(rows(9)), abs=1e-6)
    with pytest.raises(ModelError, match="cut off"):
        load("pt2", data[: len(data) // 2])
    with pytest.raises(ModelError, match="can run code"):
        load("pt2", data, trusted=False)
