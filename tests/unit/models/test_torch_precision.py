"""Nets in fewer bits. Oracle: the same sums in numpy, in whole numbers and in float32."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stream_infer.errors import ModelError
from stream_infer.models.torch_model import Computing, Mlp, TorchModel
from stream_infer.models.torch_precision import LinearBfloat16, LinearInt8, in_precision
from stream_infer.records import Floats, Matrix

WIDTHS = [24, 64, 32, 3]
COLUMNS = tuple(f"x{number}" for number in range(WIDTHS[0]))


def whole_numbers(x: Matrix, weight: Matrix, bias: Matrix) -> Matrix:
    """One layer: 8 bits, exact sums of 64."""
    by_output = (np.maximum(np.abs(weight).max(axis=1), np.float32(1e-30)) / np.float32(127.0)).astype(np.float32)
    by_row = (np.maximum(np.abs(x).max(axis=1, keepdims=True), np.float32(1e-30)) / np.float32(127.0)).astype(np.float32)
    sums = np.round(x / by_row).astype(np.int64) @ np.round(weight / by_output[:, None]).astype(np.int64).T
    return (sums.astype(np.float32) * (by_row * by_output) + bias).astype(np.float32)


@given(st.integers(1, 40), st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_a_layer_of_whole_numbers_adds_them_up_exactly(rows: int, inputs: int, outputs: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    layer = nn.Linear(inputs, outputs)
    x = (draw.normal(size=(rows, inputs)) * 10.0 ** draw.integers(-3, 4)).astype(np.float32)
    x[draw.random(rows) < 0.1] = 0.0
    with torch.inference_mode():
        found = LinearInt8(layer)(torch.from_numpy(x)).numpy()
    expected = whole_numbers(x, layer.weight.detach().numpy(), layer.bias.detach().numpy())
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "bits"), [(LinearInt8, 7), (LinearBfloat16, 8)])
def test_a_layer_is_off_by_no_more_than_its_bits_say(kind: type[LinearInt8] | type[LinearBfloat16], bits: int) -> None:
    torch.manual_seed(1)
    layer, x = nn.Linear(200, 50), torch.randn(300, 200)
    with torch.inference_mode():
        off = (kind(layer)(x) - layer(x)).abs().amax(dim=1)
        # Each product is off by 2^-bits of the largest input and the largest weight at most, one way or the other.
        most = 2 * 200 * 2.0**-bits * x.abs().amax(dim=1) * layer.weight.abs().max() + 2.0**-bits
    assert bool((off <= most).all())
    assert bool((off < 0.05).all()), "and by far less as a rule"


def net(precision: str, threads: int = 1) -> TorchModel:
    torch.manual_seed(1)
    metadata = {"columns": json.dumps(COLUMNS), "widths": json.dumps(WIDTHS), "link": "logistic"}
    data = safetensors.torch.save(Mlp(WIDTHS, "logistic").state_dict(), metadata=metadata)
    return TorchModel.from_bytes(data, "mlp", {}, "cpu", how=Computing(precision, threads))


def rows(count: int) -> Matrix:
    return np.random.default_rng(2).normal(size=(count, len(COLUMNS))).astype(np.float32)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_net_in_fewer_bits_answers_nearly_alike(precision: str) -> None:
    plain, found = net("float32").forward(rows(500)), net(precision).forward(rows(500))
    assert found.dtype == np.float64
    assert 0 < np.abs(found - plain).max() < 0.02


def test_whole_numbers_answer_the_same_in_every_batch() -> None:
    model, x = net("int8"), rows(64)
    alone: Floats = np.concatenate([model.forward(x[row : row + 1]) for row in range(64)])
    np.testing.assert_allclose(model.forward(x), alone, rtol=1e-6)


def test_threads_are_those_of_the_model_that_runs() -> None:
    one, two = net("float32"), net("float32", threads=2)
    for model, threads in ((two, 2), (one, 1), (two, 2), (one, 1)):
        model.forward(rows(3))
        assert torch.get_num_threads() == threads


def test_a_net_without_linear_layers_says_so() -> None:
    with pytest.raises(ModelError, match="no layer of the net can compute in int8"):
        in_precision(nn.Sequential(nn.ReLU()), "int8", "net")
    assert in_precision(nn.Sequential(nn.ReLU()), "float32", "net") is not None
    assert isinstance(in_precision(nn.Linear(2, 1), "bfloat16", "net"), LinearBfloat16)
