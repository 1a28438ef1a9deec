"""Exported programs of PyTorch, as they are and compiled ahead. Oracle: the net that they were exported from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from stream_infer.errors import ModelError
from tests.unit.models.makers import everything, exported, load, net, rows


def test_a_program_in_float64_is_refused() -> None:
    with pytest.raises(ModelError, match="refuses a batch of one row"):
        load("pt2", exported(nn.Linear(3, 1).double(), torch.ones(4, 3, dtype=torch.float64)))


@pytest.mark.slow  # the compiler takes a minute
def test_a_program_that_was_compiled_ahead() -> None:
    from torch._inductor import aoti_compile_and_package

    program = torch.export.export(net(), (torch.ones(4, 3),), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},))
    with tempfile.TemporaryDirectory() as folder:
        path = aoti_compile_and_package(program, package_path=f"{folder}/net.pt2")
        data = Path(path).read_bytes()
    model = load("pt2", data)
    assert model.forward(rows(9)) == pytest.approx(everything()["pt2"].answers(rows(9)), abs=1e-6)
    with pytest.raises(ModelError, match="cut off"):
        load("pt2", data[: len(data) // 2])
    with pytest.raises(ModelError, match="can run code"):
        load("pt2", data, trusted=False)
