"""Models in every format, from a topology file through a simulated broker to predictions. Oracle: the library asked directly."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import onnx
import pytest
import skops.io
import torch
import xgboost
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from stream_infer.cli import load_plan
from stream_infer.edge.readback import read_outcome
from stream_infer.edge.workers import load_models
from stream_infer.sim.play import make_broker, run_to_end, send
from stream_infer.sim.transport import SimTransport
from tests.support_run import event, score_case
from tests.unit.models.makers import exported, onnx_file

EVENTS = 40
AMOUNTS = np.arange(EVENTS, dtype=np.float32)[:, None]
LABELS = (AMOUNTS[:, 0] % 7 > 3).astype(int)

Made = tuple[str, str, bytes, str, Callable[[], np.ndarray]]


def boosted() -> Made:
    model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(AMOUNTS, LABELS, feature_names=["amount"]), 5)
    answers = lambda: model.predict(xgboost.DMatrix(AMOUNTS, feature_names=["amount"]))  # noqa: E731
    return "xgboost", "m.ubj", bytes(model.save_raw("ubj")), "", answers


def light() -> Made:
    settings = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 2, "min_data_in_bin": 1, "num_threads": 1}
    model = lightgbm.train(settings, lightgbm.Dataset(AMOUNTS, LABELS, feature_name=["amount"]), 5)
    return "lightgbm", "m.txt", model.model_to_string().encode(), "output: margin, ", lambda: model.predict(AMOUNTS, raw_score=True)


def fitted() -> Made:
    model = LogisticRegression().fit(AMOUNTS, LABELS)
    return "sklearn", "m.skops", skops.io.dumps(model), "", lambda: model.predict_proba(AMOUNTS.astype(float))[:, 1]


def pickled() -> Made:
    model, buffer = GradientBoostingClassifier(n_estimators=5).fit(AMOUNTS, LABELS), io.BytesIO()
    joblib.dump(model, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    return "sklearn", "m.joblib", buffer.getvalue(), f"trusted: true, sha256: {digest}, output: label, ", lambda: model.predict(AMOUNTS)


def graph() -> Made:
    node = onnx.helper.make_node
    two = {"two": np.full((1, 1), 2, dtype=np.float32)}
    data = onnx_file([node("MatMul", ["x", "two"], ["y"])], two, x=(onnx.TensorProto.FLOAT, ["n", 1])).SerializeToString()
    return "onnx", "m.onnx", data, "", lambda: 2 * AMOUNTS[:, 0]


def program() -> Made:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)).eval()
    data = exported(module, torch.ones(4, 1))
    words = f"trusted: true, sha256: {hashlib.sha256(data).hexdigest()}, "
    return "torch", "m.pt2", data, words, lambda: module(torch.from_numpy(AMOUNTS)).detach().numpy()[:, 0]


@pytest.mark.parametrize("make", [boosted, light, fitted, pickled, graph, program])
def test_each_format_answers_events(make: Callable[[], Made], tmp_path: Path) -> None:
    kind, file, data, more, answers = make()
    (tmp_path / file).write_bytes(data)
    model = f"{{kind: {kind}, artifact: {file}, {more}inputs: [amount]}}"
    plan = load_plan(score_case("", tmp_path, "formats", topics=False, partitions=2, model=model).path)
    broker = make_broker(plan)
    send(broker, plan.streams["events"], [event(number, user=f"u{number}") for number in range(EVENTS)])
    run_to_end(plan, broker, load_models(plan, {}))
    found = read_outcome(plan, SimTransport(broker, "reader", "reader.0")).predictions  # type: ignore[arg-type]
    by_time = found.answer[np.argsort(found.event_time)]
    assert by_time == pytest.approx(answers(), rel=1e-5, abs=1e-6)
