"""attribution: what an explanation costs, by method.

`python -m benchmarks.attribution [--rows 64]`. Milliseconds of processor time for each explained prediction, at once for a chunk's worth of
rows: a linear model of 30 inputs, and a net 30-128-64-1. Beside each the answer of the same rows, and how far the parts are from adding up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from stream_infer.attribution import AttributionSettings, attribution_of
from stream_infer.models.base import Model
from stream_infer.models.linear import LinearModel
from stream_infer.models.torch_model import Mlp, TorchModel

WIDE = 30
RUNS = 5
RESULTS = Path(__file__).parent / "results"


def models() -> dict[str, Model]:
    chance = np.random.default_rng(0)
    columns = tuple(f"x{i}" for i in range(WIDE))
    linear = LinearModel(chance.normal(size=(WIDE, 1)), np.zeros(1), np.zeros(WIDE), np.ones(WIDE), "logistic", columns)
    torch.manual_seed(0)
    widths = [WIDE, 128, 64, 1]
    metadata = {"columns": json.dumps(columns), "widths": json.dumps(widths)}
    net = TorchModel.from_bytes(safetensors.torch.save(Mlp(widths).state_dict(), metadata), "mlp", {}, "cpu")
    return {"linear": linear, "net": net}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=64)
    rows = parser.parse_args().rows
    x = np.random.default_rng(1).normal(size=(rows, WIDE)).astype(np.float32)
    keys = np.arange(rows, dtype=np.uint64)
    found: dict[str, dict[str, float]] = {}
    asked = [("linear", 0), ("integrated_gradients", 16), ("integrated_gradients", 64), ("shap", 128), ("shap", 512), ("lime", 512)]
    for name, model in models().items():
        for method, size in asked:
            if method == "linear" and name != "linear":
                continue
            settings = AttributionSettings(method, steps=size or 1, samples=size or 2)
            took, error = [], 0.0
            for _ in range(RUNS + 1):
                began = time.process_time()
                made = attribution_of(model, x, settings, keys)
                took.append(1000 * (time.process_time() - began) / rows)
                error = float(np.abs(made.error).max())
            label = f"{name}, {method}" + (f" {size}" if size else "")
            found[label] = {"ms_each": statistics.median(took[1:]), "error_max": error}
            print(f"{label:35} {found[label]['ms_each']:8.4f} ms each   error at most {error:.1e}")
        began = time.process_time()
        for _ in range(100):
            model.forward(x)
        answer = 1000 * (time.process_time() - began) / 100 / rows
        found[f"{name}, answer"] = {"ms_each": answer, "error_max": 0.0}
        print(f"{name + ', answer':35} {answer:8.4f} ms each")
    (RESULTS / "attribution.json").write_text(json.dumps({"rows": rows, "inputs": WIDE, "methods": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
