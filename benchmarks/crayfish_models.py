"""crayfish_models: the networks of the paper with random weights, as files for each program, and their answers. onnx → *models* → cases.

Weights are drawn, not trained: what is measured is speed, and the same weights go to all. The FFNN is 784-32-32-32-32-10 with relu, 28,618
numbers, as in the paper's repository (one input layer, three hidden ones, one output layer).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import crayfish_onnx, crayfish_resnet
from stream_infer.models.tensors import write_tensors
from stream_infer.records import Floats

WIDTHS = (784, 32, 32, 32, 32, 10)
FIELD = "dataPoint"
Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class Network:
    """One model. width, outputs: numbers of one point. onnx: its file; ours: the setting of a topology's model, and of its inputs."""

    name: str
    width: int
    outputs: int
    onnx: Path
    ours: str

    def answers(self, x: NDArray[np.float32]) -> Floats:
        """float64[points, outputs]: the oracle. x: float32[points, width]."""
        if self.name == "ffnn":
            return _forward(_layers(), x)
        return crayfish_resnet.answers(x)


def ffnn(folder: Path, points: int) -> Network:
    """The FFNN's files in a folder. points: of one event; more than one are one wide row to us, reshaped within the model."""
    layers = _layers()
    onnx = folder / "ffnn.onnx"
    onnx.write_bytes(crayfish_onnx.mlp(layers))
    if points > 1:
        net = nn.Sequential(*(part for weight, bias in layers for part in (_linear(weight, bias), nn.ReLU())))[:-1]
        ours = exported(folder / f"ffnn-{points}.pt2", Reshaped(net, points, WIDTHS[0]), points * WIDTHS[0])
        return Network("ffnn", WIDTHS[0], WIDTHS[-1], onnx, ours)
    arrays = {"mean": np.zeros(WIDTHS[0], np.float32), "scale": np.ones(WIDTHS[0], np.float32)}
    for place, (weight, bias) in enumerate(layers):
        arrays |= {f"layers.{place}.weight": weight, f"layers.{place}.bias": bias}
    np.concatenate([part.ravel() for weight, bias in layers for part in (weight.T, bias)]).tofile(folder / "ffnn.f32")  # for C
    columns = json.dumps([f"{FIELD}[{place}]" for place in range(WIDTHS[0])])
    (folder / "ffnn.safetensors").write_bytes(write_tensors(dict(arrays), {"widths": json.dumps(WIDTHS), "columns": columns}))
    return Network("ffnn", WIDTHS[0], WIDTHS[-1], onnx, "artifact: ffnn.safetensors")


def resnet50(folder: Path) -> Network:
    """ResNet50, in: 3 x 224 x 224, out: 1000."""
    onnx = folder / "resnet50.onnx"
    onnx.write_bytes(crayfish_resnet.onnx())
    wide = crayfish_resnet.WIDTH
    ours = exported(folder / "resnet50.pt2", crayfish_resnet.Flat(), wide)
    return Network("resnet50", wide, crayfish_resnet.OUTPUTS, onnx, ours)


def exported(path: Path, module: nn.Module, width: int) -> str:
    """A program of torch.export, and what a topology says of it."""
    rows = torch.export.Dim("rows", min=1, max=4096)
    program = torch.export.export(module.eval(), (torch.zeros(2, width),), dynamic_shapes=({0: rows},))
    torch.export.save(program, path)
    return f"artifact: {path.name}, trusted: true, sha256: {hashlib.sha256(path.read_bytes()).hexdigest()}"


class Reshaped(nn.Module):
    """Rows of several points: [rows, points · width] → [rows, points · outputs]."""

    def __init__(self, net: nn.Module, points: int, width: int) -> None:
        super().__init__()
        self.net, self.points, self.width = net, points, width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(x.reshape(x.shape[0] * self.points, self.width))
        return out.reshape(x.shape[0], -1)


def _layers() -> Layers:
    draw = np.random.default_rng(7)
    return [
        ((draw.normal(0, np.sqrt(2 / wide), (out, wide))).astype(np.float32), draw.normal(0, 0.1, out).astype(np.float32))
        for wide, out in pairwise(WIDTHS)
    ]


def _linear(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return layer


def _forward(layers: Layers, x: NDArray[np.float32]) -> Floats:
    hidden = x.astype(np.float64)
    for weight, bias in layers[:-1]:
        hidden = np.maximum(hidden @ weight.T + bias, 0)
    out: Floats = hidden @ layers[-1][0].T + layers[-1][1]
    return out
