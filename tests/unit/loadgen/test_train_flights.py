from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_infer.features.settings import Input
from stream_infer.models.linear import LinearModel
from stream_infer.models.load import load_model
from stream_infer.models.settings import ModelSettings
from stream_infer.topology.build import load

FOLDER = Path("topologies/flights")
ROWS = 4_000
TRAINED_ON = 3_000


@pytest.fixture(scope="module")
def train() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_flights", FOLDER / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def models() -> dict[str, ModelSettings]:
    return load((FOLDER / "flights.yaml").read_text(), "flights.yaml", lambda path: (FOLDER / path).read_text()).models


def inputs() -> list[Input]:
    return list(dict.fromkeys(entry for model in models().values() for entry in model.inputs))


def trainset(seed: int) -> dict[str, NDArray[np.generic]]:
    """Random columns; the label is a straight line in two of them. A quarter of the rows comes too late, some have no label."""
    draw = np.random.default_rng(seed)
    arrays: dict[str, NDArray[np.generic]] = {}
    for entry in inputs():
        if entry.kind == "one_hot":
            arrays[f"t_{entry.field}"] = draw.choice(np.array(entry.values), ROWS)
        elif entry.kind == "number":
            values = draw.normal(50, 20, ROWS)
            arrays[f"x_{entry.field}"] = np.where(draw.random(ROWS) < 0.1, np.nan, values) if entry.missing is not None else values
    label = 0.5 * arrays["x_block_min"].astype(np.float64) - 0.25 * arrays["x_hour"].astype(np.float64)
    label[::50] = np.nan
    day = 86_400_000
    event_time = np.where(np.arange(ROWS) < TRAINED_ON, 1_372_550_400_000 - day, 1_372_550_400_000)
    late = np.where(np.arange(ROWS) < TRAINED_ON, label, 1e6)
    return arrays | {"label": late, "event_time": event_time, "prediction_id": np.arange(ROWS).astype(np.str_)}


@pytest.fixture(scope="module")
def trained(train: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(train, tmp_path_factory.mktemp("flights"), trainset(1))


def run(train: ModuleType, folder: Path, arrays: dict[str, NDArray[np.generic]]) -> Path:
    shutil.copy(FOLDER / "flights.yaml", folder)
    shutil.copytree(FOLDER / "schemas", folder / "schemas")
    np.savez(folder / "set.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own flag
    assert train.main([str(folder / "set.npz"), "--topology", str(folder / "flights.yaml")]) == 0
    return folder


def test_every_model_of_the_topology_loads(trained: Path) -> None:
    for model in models().values():
        assert model.artifact is not None
        assert load_model(model, (trained / model.artifact).read_bytes(), {}).outputs == 1


def test_least_squares_finds_the_line_and_learns_nothing_from_july(trained: Path) -> None:
    for name in ("static", "ridge"):
        model = LinearModel.from_bytes((trained / "models" / f"{name}.safetensors").read_bytes())
        slope = dict(zip(model.columns, (model.weights[:, 0] / model.scale).tolist(), strict=True))
        # The pull of one row in 2,940 towards zero shows in the fourth digit.
        assert slope["block_min"] == pytest.approx(0.5, rel=1e-3)
        assert slope["hour"] == pytest.approx(-0.25, rel=1e-3)
        rest = [abs(value) for column, value in slope.items() if column not in {"block_min", "hour"}]
        assert max(rest) < 0.02


def test_training_repeats_to_the_byte(train: ModuleType, trained: Path, tmp_path: Path) -> None:
    again = run(train, tmp_path, trainset(1))
    for name in ("static", "ridge", "net"):
        assert (again / "models" / f"{name}.safetensors").read_bytes() == (trained / "models" / f"{name}.safetensors").read_bytes()


def test_too_few_flights_are_told(train: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "set.npz", label=np.zeros(3), event_time=np.zeros(3, dtype=np.int64))
    assert train.main([str(tmp_path / "set.npz")]) == 1
    assert "3 flights with a label" in capsys.readouterr().err
