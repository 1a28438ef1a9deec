"""formats: what a model costs in each format, beside its library's own direct call.

    python -m benchmarks.formats [--rounds 7] [--out FILE]

One net (12-64-32-1) as safetensors, exported program, TorchScript and ONNX; one task for trees (100 of depth 6) in XGBoost, LightGBM and
scikit-learn; a linear model. `ours` is Model.forward, as a pass asks it: float32 rows in, float64 answers out, on one thread. `direct` is
the fastest call of the library that takes the same float32 matrix, on one thread too. µs a row, median of rounds in which both take
turns; their difference is what the wrapper costs.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnxruntime
import safetensors.torch
import skops.io
import threadpoolctl
import torch
import xgboost
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from benchmarks.harness.bench import RESULTS, machine
from stream_infer.features.settings import Input
from stream_infer.models.base import Model, check_digest
from stream_infer.models.linear import LinearModel
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.models.torch_model import Mlp
from stream_infer.records import Matrix

COLUMNS = tuple(f"x{place}" for place in range(12))
SIZES = (1, 64, 4096)
SECONDS = 0.15  # of each measurement
TREES, DEPTH = 100, 6

Ask = Callable[[Matrix], object]


def data() -> tuple[Matrix, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, len(COLUMNS))).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=len(x)) > 0).astype(int)


def ours(kind: str, file: str, content: bytes, *, trusted: bool = False, **more: Any) -> Model:
    pin = check_digest(content, None, file)
    settings = ModelSettings("m", kind, tuple(map(Input, COLUMNS)), artifact=file, trusted=trusted, sha256=pin, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated: known
        return load_model(settings, content, {})


def nets() -> dict[str, tuple[Model, Ask]]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = Mlp([len(COLUMNS), 64, 32, 1]).eval()
    metadata = {"columns": json.dumps(COLUMNS), "widths": json.dumps([len(COLUMNS), 64, 32, 1])}
    exported, scripted = io.BytesIO(), io.BytesIO()
    program = torch.export.export(net, (torch.ones(4, len(COLUMNS)),), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, exported)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(net, torch.ones(4, len(COLUMNS)))  # type: ignore[no-untyped-call]
        torch.jit.save(script, scripted)
        script = torch.jit.load(io.BytesIO(scripted.getvalue()))  # type: ignore[no-untyped-call]
    graph = as_onnx(net)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    module = program.module()
    return {
        "torch, safetensors": (ours("torch", "m.safetensors", safetensors.torch.save(net.state_dict(), metadata)), direct(net)),
        "torch, .pt2": (ours("torch", "m.pt2", exported.getvalue(), trusted=True), direct(module)),
        "torch, TorchScript": (ours("torch", "m.pt", scripted.getvalue(), trusted=True), direct(script)),
        "onnx": (ours("onnx", "m.onnx", graph), lambda x: session.run(["y"], {"x": x})),
    }


def direct(module: Callable[[torch.Tensor], torch.Tensor]) -> Ask:
    def ask(x: Matrix) -> object:
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()

    return ask


def as_onnx(net: Mlp) -> bytes:
    node, weights = onnx.helper.make_node, {name.replace(".", "_"): tensor.numpy() for name, tensor in net.state_dict().items()}
    nodes = [node("Sub", ["x", "mean"], ["a"]), node("Div", ["a", "scale"], ["h0"])]
    for place in range(len(net.layers)):
        last = place == len(net.layers) - 1
        names = [f"h{place}", f"layers_{place}_weight", f"layers_{place}_bias"]
        nodes.append(node("Gemm", names, ["y" if last else f"g{place}"], transB=1))
        nodes += [] if last else [node("Relu", [f"g{place}"], [f"h{place + 1}"])]
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    inputs, outputs = [value("x", kind, ["n", len(COLUMNS)])], [value("y", kind, ["n", 1])]
    initial = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = onnx.helper.make_graph(nodes, "net", inputs, outputs, initial)
    made: bytes = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return made


def trees() -> dict[str, tuple[Model, Ask]]:
    x, y = data()
    boost = xgboost.train(
        {"objective": "binary:logistic", "max_depth": DEPTH, "nthread": 1}, xgboost.DMatrix(x, y, feature_names=list(COLUMNS)), TREES
    )
    light = lightgbm.train(
        {"objective": "binary", "num_leaves": 2**DEPTH - 1, "verbose": -1, "num_threads": 1},
        lightgbm.Dataset(x, y, feature_name=list(COLUMNS)),
        TREES,
    )
    forest = RandomForestClassifier(TREES, max_depth=DEPTH, random_state=0, n_jobs=1).fit(x, y)
    histogram = HistGradientBoostingClassifier(max_iter=TREES, max_leaf_nodes=2**DEPTH - 1, early_stopping=False).fit(x, y)
    line = LogisticRegression().fit(x, y)
    weights = line.coef_.T.astype(np.float64)
    linear = LinearModel(weights, line.intercept_, np.zeros(len(COLUMNS)), np.ones(len(COLUMNS)), "logistic", COLUMNS)
    return {
        "linear": (linear, lambda x: 1 / (1 + np.exp(-(x.astype(np.float64) @ weights + line.intercept_)))),
        "sklearn, logistic": (ours("sklearn", "m.skops", skops.io.dumps(line)), line.predict_proba),
        "xgboost": (ours("xgboost", "m.ubj", bytes(boost.save_raw("ubj"))), lambda x: boost.inplace_predict(x, validate_features=False)),
        "lightgbm": (ours("lightgbm", "m.txt", light.model_to_string().encode()), lambda x: light.predict(x, num_threads=1)),
        "sklearn, forest": (ours("sklearn", "m.skops", skops.io.dumps(forest), trusted=True), forest.predict_proba),
        "sklearn, boosted": (ours("sklearn", "m.skops", skops.io.dumps(histogram), trusted=True), histogram.predict_proba),
    }


def us_a_row(ask: Ask, x: Matrix) -> float:
    """Of as many calls as fit the time."""
    calls, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < SECONDS:
        ask(x)
        calls += 1
    return 1e6 * spent / (calls * len(x))


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    cases = nets() | trees()
    x, _ = data()
    found: dict[str, dict[str, list[float]]] = {}
    for name, (model, ask) in cases.items():
        taken: dict[tuple[str, int], list[float]] = {}
        for turn in range(rounds):
            for size in SIZES:
                both = (("ours", model.forward), ("direct", ask))
                for who, call in both if turn % 2 else both[::-1]:
                    taken.setdefault((who, size), []).append(us_a_row(call, x[:size]))
        found[name] = {who: [round(statistics.median(taken[who, size]), 3) for size in SIZES] for who in ("ours", "direct")}
        row = "  ".join(f"{a:>9.2f} {b:>9.2f}" for a, b in zip(found[name]["ours"], found[name]["direct"], strict=True))
        print(f"{name:<20}  {row}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS / "formats.json")
    wanted = parser.parse_args()
    warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
    threadpoolctl.threadpool_limits(1)
    print(f"{'µs a row (ours, direct)':<20}" + "  ".join(f"n = {size:<15}" for size in SIZES))
    found = measure(wanted.rounds)
    wanted.out.write_text(json.dumps({"machine": machine(), "sizes": SIZES, "us_per_row": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
