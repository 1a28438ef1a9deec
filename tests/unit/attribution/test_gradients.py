"""Oracles: weight times distance for linear models, captum for nets, differences for gradients."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch

from stream_infer.attribution import AttributionSettings, attribution_of
from stream_infer.errors import ModelError
from stream_infer.models.linear import LinearModel, logistic
from stream_infer.models.torch_model import Mlp, TorchModel
from stream_infer.records import Floats, Matrix
from tests.unit.attribution.support_attribution import Told, keys_of, rows_of

with warnings.catch_warnings():  # what captum pulls in warns of its own affairs
    warnings.simplefilter("ignore")
    from captum.attr import IntegratedGradients

AUTO = AttributionSettings()


def linear(link: str, outputs: int = 2) -> LinearModel:
    chance = np.random.default_rng(3)
    return LinearModel(
        chance.normal(size=(6, outputs)), chance.normal(size=outputs), chance.normal(size=6), chance.uniform(0.5, 2.0, 6), link
    )


def net(link: str = "identity", widths: tuple[int, ...] = (6, 16, 8, 2)) -> tuple[TorchModel, Mlp]:
    torch.manual_seed(5)
    module = Mlp(list(widths), link)
    module.mean += torch.linspace(-0.5, 0.5, widths[0])
    module.scale *= 1.5
    columns = json.dumps([f"x{i}" for i in range(widths[0])])
    data = safetensors.torch.save(module.state_dict(), metadata={"columns": columns, "widths": json.dumps(widths), "link": link})
    return TorchModel.from_bytes(data, "mlp", {}, "cpu"), module


@pytest.mark.parametrize("baseline", ["zeros", "mean", "numbers"])
@pytest.mark.parametrize("output", [0, 1])
def test_a_linear_model_is_attributed_exactly(baseline: str, output: int) -> None:
    model, x = linear("identity"), rows_of(40, 6)
    said = (("2", 1.5), ("5", -1.0)) if baseline == "numbers" else baseline
    at = {"zeros": np.zeros(6), "mean": model.mean.astype(np.float32), "numbers": np.array([0, 0, 1.5, 0, 0, -1.0])}[baseline]
    found = attribution_of(model, x, AttributionSettings(baseline=said, output=output), keys_of(40))
    assert found.parts == pytest.approx(model.weights[:, output] * (x.astype(np.float64) - at) / model.scale, abs=1e-12)
    assert np.abs(found.error).max() < 1e-12
    assert found.value.tolist() == model.forward(x)[:, output].tolist()
    assert found.baseline[0] == model.forward(at.astype(np.float32)[None, :])[0, output]
    assert (found.method, found.unit) == ("linear", "answer")


def test_behind_a_logistic_link_the_log_odds_are_attributed() -> None:
    model, x = linear("logistic"), rows_of(40, 6)
    found = attribution_of(model, x, AUTO, keys_of(40))
    assert found.unit == "log_odds"
    assert logistic(found.value) == pytest.approx(model.forward(x)[:, 0])
    assert np.abs(found.error).max() < 1e-12


@pytest.mark.parametrize("link", ["identity", "logistic"])
@pytest.mark.parametrize("output", [0, 1])
def test_integrated_gradients_are_captum_s(link: str, output: int) -> None:
    model, module = net(link)
    x = rows_of(20, 6, seed=1)
    baseline = {f"x{i}": 0.1 * i for i in range(6)}
    said = AttributionSettings("integrated_gradients", tuple(baseline.items()), output, steps=50)
    found = attribution_of(model, x, said, keys_of(20))
    at = torch.tensor(list(baseline.values()), dtype=torch.float32)[None, :]
    expected = IntegratedGradients(module.eval()).attribute(torch.from_numpy(x), at, target=output, n_steps=50)
    assert found.parts == pytest.approx(expected.detach().numpy().astype(np.float64), abs=1e-5)
    assert found.value == pytest.approx(model.forward(x)[:, output], abs=1e-6)


def test_more_steps_leave_less() -> None:
    model, _ = net()
    x = rows_of(30, 6, seed=2)
    found = [attribution_of(model, x, AttributionSettings("auto", steps=steps), keys_of(30)) for steps in (2, 16, 128)]
    off = [float(np.abs(one.error).mean()) for one in found]
    assert off[2] < off[1] < off[0]
    assert off[2] < 1e-3


def test_integrated_gradients_of_a_linear_model_are_its_weights() -> None:
    model, x = linear("identity"), rows_of(5, 6)
    found = attribution_of(model, x, AttributionSettings("integrated_gradients", steps=3), keys_of(5))
    assert found.parts == pytest.approx(attribution_of(model, x, AUTO, keys_of(5)).parts, abs=1e-6)


def test_integrated_gradients_behind_a_link_add_up_to_the_answer() -> None:
    model, x = linear("logistic"), rows_of(5, 6)
    found = attribution_of(model, x, AttributionSettings("integrated_gradients"), keys_of(5))
    assert found.unit == "answer"
    assert np.abs(found.error).max() < 1e-6


def test_gradients_are_what_differences_say() -> None:
    def slopes(model: LinearModel | TorchModel, x: Matrix, output: int) -> Floats:
        step = np.float32(1e-2)
        moved = [model.forward(x + sign * step * np.eye(6, dtype=np.float32)[i])[:, output] for i in range(6) for sign in (1, -1)]
        return np.stack([(moved[2 * i] - moved[2 * i + 1]) / (2 * float(step)) for i in range(6)], axis=1)

    x = rows_of(8, 6, seed=6)
    model, _ = net("logistic", (6, 1))
    assert model.gradients(x, 0) == pytest.approx(slopes(model, x, 0), abs=1e-3)


def test_a_net_goes_on_answering_and_keeps_no_gradients() -> None:
    model, _ = net()
    x = rows_of(4, 6)
    before = model.forward(x)
    attribution_of(model, x, AUTO, keys_of(4))
    assert (model.forward(x) == before).all()
    assert all(parameter.grad is None for parameter in model._forward.parameters())  # type: ignore[attr-defined]


def test_only_what_has_gradients_has_integrated_ones() -> None:
    told = Told(3, lambda rows: rows.sum(axis=1))
    with pytest.raises(ModelError, match="the method does not fit the model"):
        attribution_of(told, rows_of(1, 3), AttributionSettings("integrated_gradients"), keys_of(1))
    with pytest.raises(ModelError, match="linear of a Told"):
        attribution_of(told, rows_of(1, 3), AttributionSettings("linear"), keys_of(1))
