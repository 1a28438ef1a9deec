"""Oracles: the net written out in float64 numpy, and torch's own state_dict for what a sound file holds."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.models.torch_model import Mlp, TorchModel

COLUMNS = ("a", "b", "c")


def settings(**changes: object) -> ModelSettings:
    inputs = tuple(Input(name) for name in COLUMNS)
    return ModelSettings(**({"name": "net", "kind": "torch", "inputs": inputs, "artifact": "models/net.safetensors"} | changes))


def net(widths: list[int], link: str = "identity") -> Mlp:
    torch.manual_seed(1)
    module = Mlp(widths, link)
    module.mean += 0.5
    module.scale *= 3.0
    return module


def saved(module: nn.Module, **metadata: str) -> bytes:
    return safetensors.torch.save(module.state_dict(), metadata={"columns": json.dumps(COLUMNS), "widths": "[3, 8, 5, 2]"} | metadata)


@pytest.mark.parametrize("link", ["identity", "logistic"])
def test_the_mlp_is_what_numpy_says(link: str) -> None:
    module = net([3, 8, 5, 2], link)
    data = saved(module, link=link)
    model = load_model(settings(), data, {})
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    hidden = (x.astype(np.float64) - 0.5) / 3.0
    for place, layer in enumerate(module.layers):
        hidden = hidden @ layer.weight.detach().numpy().astype(np.float64).T + layer.bias.detach().numpy()
        hidden = np.maximum(hidden, 0.0) if place < 2 else hidden
    expected = 1 / (1 + np.exp(-hidden)) if link == "logistic" else hidden
    assert model.forward(x) == pytest.approx(expected, abs=1e-5)
    assert model.forward(x).dtype == np.float64
    assert (model.outputs, model.columns, model.digest) == (2, COLUMNS, hashlib.sha256(data).hexdigest())
    assert torch.get_num_threads() == 1


def test_read_only_and_strided_inputs_are_fine() -> None:
    model = load_model(settings(), saved(net([3, 8, 5, 2])), {})
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32))
    x.flags.writeable = False
    assert model.forward(x).tobytes() == model.forward(x.copy(order="C")).tobytes()


class Sum(nn.Module):
    """A user's class: one output per row, without a second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


class Mean(Sum):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).mean()[None]


def test_a_registered_class() -> None:
    seen = []
    model = load_model(
        settings(model_class="sum"), saved(Sum(), depth="4"), {"sum": lambda metadata: seen.append(metadata["depth"]) or Sum()}
    )
    assert model.forward(np.array([[1, 2, 3]], dtype=np.float32)).tolist() == [[6.0]]
    assert seen == ["4"]


def changed(**tensors: torch.Tensor | None) -> bytes:
    state = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    state = {name: tensor for name, tensor in (dict(net([3, 8, 5, 2]).state_dict()) | state).items() if tensor is not None}
    return safetensors.torch.save(state, metadata={"columns": json.dumps(COLUMNS), "widths": "[3, 8, 5, 2]"})


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (changed(), {"model_class": "transformer"}, "not registered(.|\n)*expected: mlp, odd, sum"),
        (changed(), {"model_class": "odd"}, "made no torch.nn.Module"),
        (saved(Mean()), {"model_class": "mean_of_batch"}, "not registered"),
        (saved(net([3, 8, 5, 2]), widths="[3]"), {}, "widths of the mlp"),
        (saved(net([3, 8, 5, 2]), widths="[3, 8, 1e9, 2]"), {}, "widths of the mlp"),
        (saved(net([3, 8, 5, 2]), widths="[3, 8, 4, 2]"), {}, "another type or shape"),
        (saved(net([3, 8, 5, 2]), widths="[3, 8, 2]"), {}, "not the module's"),
        (saved(net([3, 8, 5, 2]), link="probit"), {}, "no known link"),
        (saved(net([3, 8, 5, 2]), columns='["a", "c", "b"]'), {}, "column 1 of the model"),
        (safetensors.torch.save(net([3, 8, 5, 2]).state_dict()), {}, "does not name the input columns"),
        (changed(layers__0__bias=None), {}, "not the module's(.|\n)*expected: layers.0.bias"),
        (changed(extra=torch.ones(1)), {}, r"not the module's(.|\n)*got: +\+extra"),
        (changed(layers__0__bias=torch.ones(8, dtype=torch.float64)), {}, "layers.0.bias has another type or shape"),
        (changed(layers__0__bias=torch.full((8,), torch.nan)), {}, "layers.0.bias holds NaN"),
        (changed(scale=torch.zeros(3)), {}, "not finite"),
        (changed()[:-3], {}, "cut off"),
        (changed(), {"device": "cuda:99"}, "device cannot be used"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, changes: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(settings(**changes), data, {"sum": lambda _: Sum(), "odd": lambda _: "no module"})


def test_an_answer_for_the_batch_as_a_whole_is_refused() -> None:
    with pytest.raises(ModelError, match="does not follow the batch"):
        load_model(settings(model_class="mean"), saved(Mean()), {"mean": lambda _: Mean()})


def test_a_pickle_is_refused_whatever_its_name() -> None:
    buffer = io.BytesIO()
    torch.save(net([3, 8, 5, 2]).state_dict(), buffer)
    for artifact in ("net.pt", "net.pth", "net.safetensors"):
        with pytest.raises(ModelError, match=r"pickle(.|\n)*safetensors"):
            load_model(settings(artifact=artifact), buffer.getvalue(), {})


@pytest.fixture(scope="module")
def exported() -> dict[str, bytes]:
    out = {}
    for name, shapes in (("dynamic", ({0: torch.export.Dim("n")},)), ("fixed", None)):
        buffer = io.BytesIO()
        torch.export.save(torch.export.export(net([3, 8, 5, 2]), (torch.ones(4, 3),), dynamic_shapes=shapes), buffer)
        out[name] = buffer.getvalue()
    return out


def test_an_exported_program_needs_trust_and_a_pin(exported: dict[str, bytes]) -> None:
    data = exported["dynamic"]
    digest = hashlib.sha256(data).hexdigest()
    for changes in ({}, {"trusted": True}, {"sha256": digest}):
        with pytest.raises(ModelError, match="can run code when it is loaded"):
            load_model(settings(artifact="net.pt2", **changes), data, {})
    model = load_model(settings(artifact="net.pt2", trusted=True, sha256=digest), data, {})
    x = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    assert model.forward(x) == pytest.approx(load_model(settings(), saved(net([3, 8, 5, 2])), {}).forward(x), abs=1e-6)


def test_an_exported_program_of_one_size_or_cut_short_is_refused(exported: dict[str, bytes]) -> None:
    for data, message in ((exported["fixed"], "refuses a batch of one row"), (exported["dynamic"][:-100], "cut off")):
        pinned = settings(artifact="net.pt2", trusted=True, sha256=hashlib.sha256(data).hexdigest())
        with pytest.raises(ModelError, match=message):
            load_model(pinned, data, {})


def test_another_width_is_refused() -> None:
    model = TorchModel.from_bytes(saved(net([3, 8, 5, 2])), "mlp", {}, "cpu")
    with pytest.raises(ModelError, match="another width"):
        model.forward(np.zeros((2, 4), dtype=np.float32))
