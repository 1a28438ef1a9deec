"""train the flights models: a training set of `stream-infer trainset` → models/*.safetensors. `python topologies/flights/train.py SET.npz`.

The three models minimise the same thing, squared error, on the same flights; only their inputs and their form differ.
What is trained on was known before the first answer is asked for: flights decided before 30 June, hence arrived before July.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import torch
from numpy.typing import NDArray

from stream_infer.features.settings import Input
from stream_infer.features.vectorise import Vectoriser
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import ModelSettings
from stream_infer.models.tensors import write_tensors
from stream_infer.models.torch_model import Mlp
from stream_infer.records import Column, Floats, Matrix, Numbers, Text
from stream_infer.topology.build import load

FOLDER = Path(__file__).parent
KNOWN_BEFORE_MS = round(datetime(2013, 6, 30, tzinfo=UTC).timestamp() * 1000)
# A few flights are up to 21 h late; squared error would fit these and little else. Answers are judged by the true delay all the same.
DELAY_MIN_LOW, DELAY_MIN_HIGH = -60.0, 240.0
RIDGE = 1.0  # of one row's weight: keeps the one-hot columns, which add up to one, solvable; 160,000 rows leave no trace of it
HIDDEN = [64, 32]
EPOCHS, BATCH_ROWS, RATE, DECAY, SEED = 4, 1024, 6e-3, 0.1, 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Train all models of flights.yaml that have an artifact; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train the models of the flights topology.")
    parser.add_argument("trainset", type=Path, help="the .npz file that `stream-infer trainset` wrote")
    parser.add_argument("--topology", type=Path, default=FOLDER / "flights.yaml", help="(default: %(default)s)")
    wanted = parser.parse_args(arguments)
    with np.load(wanted.trainset) as file:
        arrays = {name: file[name] for name in file.files}
    rows = (arrays["event_time"] < KNOWN_BEFORE_MS) & ~np.isnan(arrays["label"])
    if rows.sum() < BATCH_ROWS:
        print(
            f"{wanted.trainset}: {rows.sum():,} flights with a label before 30 June 2013; at least {BATCH_ROWS:,} are needed",
            file=sys.stderr,
        )
        return 1
    label = np.clip(arrays["label"][rows], DELAY_MIN_LOW, DELAY_MIN_HIGH)
    columns = _columns(arrays, rows)
    folder = wanted.topology.parent
    done: set[str] = set()
    plan = load(wanted.topology.read_text(), str(wanted.topology), lambda path: (folder / path).read_text())
    for model in plan.models.values():
        if model.artifact is None or model.artifact in done:
            continue
        done.add(model.artifact)
        vectoriser = Vectoriser(model.inputs)
        x = vectoriser.matrix(columns)
        whole = ~vectoriser.incomplete(x)  # a row that lacks an input is not answered either
        x, truth = x[whole], label[whole]
        data, answers = _least_squares(model, x, truth) if model.kind == "linear" else _net(model, x, truth)
        path = folder / model.artifact
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        error = truth - answers
        print(f"{path}: {len(truth):,} flights, mean absolute error {np.abs(error).mean():.2f} min, R² {1 - error.var() / truth.var():.3f}")
    return 0


def _columns(arrays: dict[str, NDArray[np.generic]], rows: NDArray[np.bool_]) -> dict[str, Column]:
    """The training set as columns of records: x_NAME are numbers (NaN: absent), t_NAME texts."""
    columns: dict[str, Column] = {}
    for name, array in arrays.items():
        if name.startswith("x_"):
            values = array[rows].astype(np.float64)
            columns[name[2:]] = Numbers(values, ~np.isnan(values))
        elif name.startswith("t_"):
            columns[name[2:]] = Text.of(array[rows].tolist())
    return columns


def _scaling(inputs: tuple[Input, ...], x: Matrix) -> tuple[Floats, Floats]:
    """mean, scale: float64[k]. Columns of 0 and 1 stay as they are: a rare carrier, scaled to unit variance, would be a hundred wide."""
    indicator = np.array([entry.kind != "number" for entry in inputs for _ in entry.columns()])
    mean = np.where(indicator, 0.0, x.mean(axis=0, dtype=np.float64))
    spread = x.std(axis=0, dtype=np.float64)
    return mean, np.where(indicator | (spread == 0), 1.0, spread)


def _least_squares(model: ModelSettings, x: Matrix, label: Floats) -> tuple[bytes, Floats]:
    """The normal equations in float64; the bias is not drawn towards zero."""
    mean, scale = _scaling(model.inputs, x)
    z = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    pull = RIDGE * np.eye(z.shape[1])
    pull[-1, -1] = 0.0
    solved = np.linalg.solve(z.T @ z + pull, z.T @ label).astype(np.float64)
    made = LinearModel(solved[:-1, None], solved[-1:], mean, scale, "identity", model.columns())
    return made.to_bytes(), made.forward(x)[:, 0]


def _net(model: ModelSettings, x: Matrix, label: Floats) -> tuple[bytes, Floats]:
    """A small net by AdamW on one thread: the same training set gives the same weights."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    mean, scale = _scaling(model.inputs, x)
    net = Mlp([x.shape[1], *HIDDEN, 1])
    net.mean.copy_(torch.from_numpy(mean))
    net.scale.copy_(torch.from_numpy(scale))
    spread = float(label.std())
    inputs, wanted = torch.from_numpy(x), torch.from_numpy((label / spread).astype(np.float32))[:, None]
    steps = len(x) // BATCH_ROWS
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=max(1, EPOCHS * steps))
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x))[: steps * BATCH_ROWS].view(steps, BATCH_ROWS):
            loss = torch.nn.functional.mse_loss(net(inputs[rows]), wanted[rows])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    last = net.layers[-1]
    with torch.no_grad():  # trained on labels of unit spread; the last layer brings the minutes back
        for parameter in last.parameters():
            parameter.mul_(spread)
        answers: Floats = net(inputs)[:, 0].double().numpy()
    metadata = {
        "widths": orjson.dumps([x.shape[1], *HIDDEN, 1]).decode(),
        "columns": orjson.dumps(model.columns()).decode(),
        "link": "identity",
    }
    return write_tensors({name: tensor.numpy() for name, tensor in net.state_dict().items()}, metadata), answers


if __name__ == "__main__":
    sys.exit(main())
