"""Nets on a GPU. Oracle: the same net on the CPU."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from stream_infer.batching import SIZES_PROBED, BatchSettings
from stream_infer.errors import ModelError
from stream_infer.features.settings import Input
from stream_infer.models.base import Model, out_of_memory, self_check
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.models.torch_cuda import CudaRunner
from stream_infer.models.torch_model import Mlp, TorchModel
from stream_infer.records import Floats, Matrix

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
    settings = ModelSettings("net", "torch", tuple(Input(name) for name in COLUMNS), artifact="models/net.safetensors", device=device)
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


def module(link: str = "identity") -> Mlp:
    torch.manual_seed(1)
    made = Mlp(WIDTHS, link)
    return made.eval()


def runner(sizes: tuple[int, ...] = (), *, bfloat16: bool = False) -> CudaRunner:
    return CudaRunner(module().to("cuda"), len(COLUMNS), 3, torch.device("cuda"), sizes, bfloat16=bfloat16)


def on_cpu(x: Matrix) -> Floats:
    with torch.inference_mode():
        return module()(torch.from_numpy(x)).numpy().astype(np.float64)


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [(), (8, 64, 512)])
def test_passes_under_way_do_not_disturb_each_other(sizes: tuple[int, ...]) -> None:
    """The next one is begun before the last one is ended, so its rows are copied while the other computes."""
    found, draw = runner(sizes), np.random.default_rng(5)
    batches = [draw.normal(size=(rows, len(COLUMNS))).astype(np.float32) for rows in (8, 64, 512, 8, 3, 64, 4097, 8) * 3]
    open_ = [found.begin(batches[0])]
    answers = []
    for batch in batches[1:]:
        open_.append(found.begin(batch))
        answers.append(found.end(open_.pop(0)))
    answers.append(found.end(open_.pop()))
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer, on_cpu(batch), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_a_graph_answers_as_the_net_does_to_the_last_bit_and_nothing_is_pinned_anew() -> None:
    plain, graphs = runner(), runner((64,))
    x = np.random.default_rng(6).normal(size=(64, len(COLUMNS))).astype(np.float32)
    pinned = [tensor.data_ptr() for tensor in graphs._host_in]
    for _ in range(5):
        assert graphs.forward(x).tobytes() == plain.forward(x).tobytes()
    assert [tensor.data_ptr() for tensor in graphs._host_in] == pinned


@pytest.mark.gpu
def test_bfloat16_is_near() -> None:
    x = np.random.default_rng(7).normal(size=(512, len(COLUMNS))).astype(np.float32)
    off = np.abs(runner((512,), bfloat16=True).forward(x) - on_cpu(x))
    assert 0 < off.max() < 0.05


@pytest.mark.gpu
@pytest.mark.slow
def test_a_compiled_copy_takes_over_and_answers_alike() -> None:
    settings = ModelSettings(
        "net",
        "torch",
        tuple(Input(name) for name in COLUMNS),
        artifact="models/net.safetensors",
        device="cuda",
        batch=BatchSettings(sizes=(8, 64)),
    )
    model = load_model(settings, saved("identity"), {})
    assert isinstance(model, TorchModel)
    x = np.random.default_rng(8).normal(size=(64, len(COLUMNS))).astype(np.float32)
    before = model.forward(x)
    model.compile()
    np.testing.assert_allclose(model.forward(x), before, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_memory_that_runs_out_there_is_seen_as_such() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    assert out_of_memory(found.value)
