"""Nets on a GPU. Oracle: the same net on the CPU."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from stream_infer.batching import SIZES_PROBED
from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.models.base import Model, self_check
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.models.torch_model import Mlp

COLUMNS = tuple(f"x{number}" for number in range(24))
WIDTHS = [len(COLUMNS), 64, 32, 3]


def saved(link: str) -> bytes:
    torch.manual_seed(1)
    module = Mlp(WIDTHS, link)
    module.mean += 0.5
    module.scale *= 3.0
    return safetensors.torch.save(
        module.state_dict(), metadata={"columns": json.dumps(COLUMNS), "widths": json.dumps(WIDTHS), "link": link}
    )


def net(device: str, link: str = "identity") -> Model:
    settings = ModelSettings(
        "net", "torch", tuple(Input(name) for name in COLUMNS), artifact="models/net.safetensors", device=device
    )
    return load_model(settings, saved(link), {})


@pytest.mark.gpu
@pytest.mark.parametrize("link", ["identity", "logistic"])
def test_answers_are_those_of_the_cpu_at_every_batch_size(link: str) -> None:
    gpu, cpu = net("cuda", link), net("cpu", link)
    draw = np.random.default_rng(3)
    for rows in (*SIZES_PROBED, 3, 7, 1000):
        x = draw.normal(size=(rows, len(COLUMNS))).astype(np.float32) * 10
        found = gpu.forward(x)
        assert (found.dtype, found.shape) == (np.float64, (rows, 3))
        np.testing.assert_allclose(found, cpu.forward(x), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_one_row_is_answered_alike_alone_and_among_others() -> None:
    gpu = net("cuda")
    x = np.random.default_rng(4).normal(size=(512, len(COLUMNS))).astype(np.float32)
    alone = np.concatenate([gpu.forward(x[place : place + 1]) for place in range(0, 512, 37)])
    np.testing.assert_allclose(alone, gpu.forward(x)[::37], rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_the_self_check_passes_there() -> None:
    self_check(net("cuda:0"), "net")


@pytest.mark.gpu
def test_a_device_number_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"device cannot be used(.|\n)*got: +cuda:99"):
        net("cuda:99")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_without_a_device_the_message_says_so(device: str) -> None:
    with pytest.raises(ModelError) as found:
        net(device)
    lines = str(found.value).splitlines()
    assert lines[0] == "models/net.safetensors: the device cannot be used"
    assert lines[1].startswith(f"    got:      {device}: ")
    assert lines[-1] == "    expected: cpu, or cuda where there is a GPU"
