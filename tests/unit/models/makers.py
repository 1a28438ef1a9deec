"""One small model in every format, and what its own library answers."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import joblib
import lightgbm
import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import safetensors.torch
import sklearn
import skops.io
import torch
import xgboost
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stream_infer.features.settings import Input
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.models.torch_model import Mlp
from stream_infer.records import Floats, Matrix

COLUMNS = ("a", "b", "c")


@dataclass(frozen=True)
class Made:
    """A file. answers: its library's own, from float32[n, 3]. named: the file names its columns."""

    kind: str
    file: str
    data: bytes
    answers: Callable[[Matrix], Floats]
    named: bool = False
    trusted: bool = False
    more: dict[str, object] = field(default_factory=dict)

    def settings(self, columns: tuple[str, ...] = COLUMNS, data: bytes | None = None, **changes: object) -> ModelSettings:
        """As a topology would say it, with the pin of data where trust needs one."""
        pin = hashlib.sha256(self.data if data is None else data).hexdigest() if self.trusted else None
        given = {"name": "m", "kind": self.kind, "inputs": tuple(Input(name) for name in columns), "artifact": f"models/{self.file}"}
        return ModelSettings(**(given | {"trusted": self.trusted, "sha256": pin} | self.more | changes))


def rows(count: int = 40, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


@functools.cache
def training() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, two classes, three classes."""
    x = rows(400, 1).astype(np.float64)
    score = x[:, 0] + x[:, 1] * x[:, 2]
    return x, (score > 0).astype(int), np.digitize(score, [-0.5, 0.5])


# ------------------------------------------------------------------------------------------------------------------ nets


@functools.cache
def net() -> Mlp:
    torch.manual_seed(1)
    return Mlp([3, 8, 2]).eval()


def _torch_answers(x: Matrix) -> Floats:
    with torch.inference_mode():
        return net()(torch.from_numpy(x)).double().numpy()


def saved_net(**tensors: torch.Tensor) -> bytes:
    metadata = {"columns": json.dumps(COLUMNS), "widths": "[3, 8, 2]"}
    return safetensors.torch.save(dict(net().state_dict()) | tensors, metadata=metadata)


def exported(module: torch.nn.Module, sample: torch.Tensor | None = None) -> bytes:
    buffer = io.BytesIO()
    sample = torch.ones(4, 3) if sample is None else sample
    torch.export.save(torch.export.export(module, (sample,), dynamic_shapes=({0: torch.export.Dim("n")},)), buffer)
    return buffer.getvalue()


def scripted(module: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the format is deprecated; files of it are about for years
        torch.jit.save(torch.jit.trace(module, torch.ones(4, 3)), buffer)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------------------------------ ONNX


def onnx_file(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], **changes: object) -> onnx.ModelProto:
    """A graph from x [n, 3] to y. changes: x, y: their (type, shape); metadata: of the file."""
    x = changes.get("x", (onnx.TensorProto.FLOAT, ["n", 3]))
    outputs = changes.get("outputs", {"y": (onnx.TensorProto.FLOAT, ["n", None])})
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info(name, *how) for name, how in changes.get("inputs", {"x": x}).items()],
        [onnx.helper.make_tensor_value_info(name, *how) for name, how in outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, changes.get("metadata", {}))
    return model


def onnx_net(**changes: object) -> bytes:
    """The net of net(), node by node."""
    weights = {name.replace(".", "_"): tensor.numpy() for name, tensor in net().state_dict().items()} | changes.pop("weights", {})
    node = onnx.helper.make_node
    nodes = [
        node("Sub", ["x", "mean"], ["centred"]),
        node("Div", ["centred", "scale"], ["z"]),
        node("Gemm", ["z", "layers_0_weight", "layers_0_bias"], ["h"], transB=1),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "layers_1_weight", "layers_1_bias"], ["y"], transB=1),
    ]
    return onnx_file(nodes, weights, **changes).SerializeToString()


def onnx_graph(*nodes: onnx.NodeProto, weights: dict[str, np.ndarray] | None = None, **changes: object) -> bytes:
    return onnx_file(list(nodes), weights or {}, **changes).SerializeToString()


# ----------------------------------------------------------------------------------------------------------------- trees


@functools.cache
def logistic() -> sklearn.pipeline.Pipeline:
    x, two, _ = training()
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, two)


@functools.cache
def forest() -> RandomForestClassifier:
    x, _, three = training()
    return RandomForestClassifier(8, random_state=0, n_jobs=2).fit(x, three)


@functools.cache
def histogram() -> HistGradientBoostingRegressor:
    x, _, _ = training()
    return HistGradientBoostingRegressor(max_iter=10).fit(x, x[:, 0] * x[:, 1])


def pickled(estimator: object) -> bytes:
    return pickle.dumps(estimator)


def joblibbed(estimator: object) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer, compress=3)
    return buffer.getvalue()


@functools.cache
def xgb(objective: str = "binary:logistic", **more: object) -> xgboost.Booster:
    x, two, three = training()
    names = list(COLUMNS) if more.pop("named", True) else None
    data = xgboost.DMatrix(x, three if "multi" in objective else two, feature_names=names)
    return xgboost.train({"objective": objective, "nthread": 1, "max_depth": 3, "seed": 0} | more, data, 6)


@functools.cache
def lgb(objective: str = "binary", **more: object) -> lightgbm.Booster:
    x, two, three = training()
    names = list(COLUMNS) if more.pop("named", True) else "auto"
    data = lightgbm.Dataset(x, three if "multi" in objective else two, feature_name=names)
    return lightgbm.train({"objective": objective, "verbose": -1, "num_threads": 1, "num_leaves": 7} | more, data, 6)


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


def _xgb_answers(x: Matrix) -> Floats:
    return xgb().predict(xgboost.DMatrix(x, feature_names=list(COLUMNS)))[:, None].astype(np.float64)


@functools.cache
def everything() -> dict[str, Made]:
    """One file of each format."""
    rng = np.random.default_rng(3)
    line = LinearModel(rng.normal(size=(3, 1)), np.ones(1), np.zeros(3), np.ones(3), "identity", COLUMNS)
    return {
        "linear": Made("linear", "m.safetensors", line.to_bytes(), lambda x: x.astype(np.float64) @ line.weights + 1, named=True),
        "torch": Made("torch", "m.safetensors", saved_net(), _torch_answers, named=True),
        "pt2": Made("torch", "m.pt2", exported(net()), _torch_answers, trusted=True),
        "torchscript": Made("torch", "m.pt", scripted(net()), _torch_answers, trusted=True),
        "onnx": Made("onnx", "m.onnx", onnx_net(metadata={"columns": json.dumps(COLUMNS)}), _torch_answers, named=True),
        "skops": Made("sklearn", "m.skops", skops.io.dumps(logistic()), lambda x: logistic().predict_proba(x.astype(float))[:, 1:]),
        "pickle": Made("sklearn", "m.pkl", pickled(forest()), lambda x: forest().predict_proba(x.astype(float)), trusted=True),
        "joblib": Made("sklearn", "m.joblib", joblibbed(histogram()), lambda x: histogram().predict(x)[:, None], trusted=True),
        "xgboost json": Made("xgboost", "m.json", bytes(xgb().save_raw("json")), _xgb_answers, named=True),
        "xgboost ubj": Made("xgboost", "m.ubj", bytes(xgb().save_raw("ubj")), _xgb_answers, named=True),
        "lightgbm": Made("lightgbm", "m.txt", lgb().model_to_string().encode(), lambda x: lgb().predict(x)[:, None], named=True),
    }


FORMATS = ("linear", "torch", "pt2", "torchscript", "onnx", "skops", "pickle", "joblib", "xgboost json", "xgboost ubj", "lightgbm")


def load(format: str, data: bytes, **changes: object) -> Model:  # noqa: A002 — the word for it
    """A file as if it were that of everything()[format]."""
    made = everything()[format]
    return load_model(made.settings(data=data, **changes), data, {})
