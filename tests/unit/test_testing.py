"""The battery finds what is planted, and nothing in models that are sound."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from stream_infer.cli import main
from stream_infer.records import Floats, Matrix
from stream_infer.testing import ModelReport, check_model
from tests.unit.models.makers import COLUMNS, FORMATS, everything

FAST = 0.01  # s for the cost curve


@pytest.mark.filterwarnings("ignore:.*TorchScript is deprecated:FutureWarning")
@pytest.mark.parametrize("format", FORMATS)
def test_sound_files_are_fit_to_serve(format: str, tmp_path: Path) -> None:  # noqa: A002
    made = everything()[format]
    path = tmp_path / made.file
    path.write_bytes(made.data)
    report = check_model(path, inputs=COLUMNS, trusted=made.trusted, seconds=FAST)
    assert report.problems == ()
    assert report.ok
    assert report.columns == COLUMNS
    assert report.batch_difference < 1e-5
    assert report.curve.sizes[0] == 1
    assert str(report).splitlines()[0].startswith(f"{made.file}: 3 inputs (a, b, c), ")
    assert str(report).endswith("fit to serve")


def test_a_bad_file_is_reported_and_not_raised(tmp_path: Path) -> None:
    made = everything()["onnx"]
    (tmp_path / "cut.onnx").write_bytes(made.data[:100])
    report = check_model(str(tmp_path / "cut.onnx"))
    assert not report.ok
    assert "cut.onnx: the file is no sound ONNX file" in report.problems[0]
    assert str(report).endswith("\nnot fit to serve")
    (tmp_path / "m.xyz").write_bytes(b"")
    assert "kind is not known" in check_model(tmp_path / "m.xyz").problems[0]
    assert "no such file" in check_model(tmp_path / "gone.onnx").problems[0]
    (tmp_path / "m.pkl").write_bytes(everything()["pickle"].data)
    assert "runs code when it is loaded" in check_model(tmp_path / "m.pkl").problems[0]


def test_the_command_line_tells_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.ubj").write_bytes(everything()["xgboost ubj"].data)
    assert main(["models", "check", str(tmp_path / "m.ubj")]) == 0
    assert capsys.readouterr().out.endswith("fit to serve\n")
    assert main(["models", "check", str(tmp_path / "m.ubj"), "--inputs", "a,b"]) == 1
    assert "another number of inputs" in capsys.readouterr().out


@dataclass
class Mine:
    """A model of one's own: the sum of a row, by how."""

    how: Callable[[Matrix], object]
    columns: tuple[str, ...] = ("a", "b")
    outputs: int = 1
    digest: str = ""
    kept: dict[str, Floats] = field(default_factory=dict)

    def forward(self, x: Matrix) -> Floats:
        return self.how(x)  # type: ignore[return-value]


def total(x: Matrix) -> Floats:
    return x.astype(np.float64).sum(axis=1, keepdims=True)


def checked(how: Callable[[Matrix], object]) -> ModelReport:
    return check_model(Mine(how), seconds=FAST)


def test_a_sound_model_of_one_s_own() -> None:
    report = checked(total)
    assert report.ok, report
    assert report.file == "Mine"
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    assert check_model(Mine(total), rows=rows, seconds=FAST).ok


def drawn(x: Matrix) -> Floats:
    return total(x) + np.random.default_rng().normal(size=(len(x), 1))


def greedy(x: Matrix) -> Floats:
    x *= 2
    return total(x)


def refuses(x: Matrix) -> Floats:
    if not np.isfinite(x).all():
        raise ValueError("Input contains NaN")
    return total(x)


def centred(x: Matrix) -> Floats:
    return total(x) - total(x).mean()


def spread(x: Matrix) -> Floats:
    """Only what is odd reaches the neighbours."""
    return total(x) + (0 if np.isfinite(x).all() else np.nan)


def shared() -> Callable[[Matrix], Floats]:
    buffer = np.zeros((4096, 1))

    def ask(x: Matrix) -> Floats:
        buffer[: len(x)] = total(x)
        return buffer[: len(x)]

    return ask


def racing() -> Callable[[Matrix], Floats]:
    """A buffer between the steps of a pass; the other thread comes in between, whenever there is one."""
    kept: dict[str, Matrix] = {}
    two = threading.Barrier(2)

    def ask(x: Matrix) -> Floats:
        kept["x"] = x
        if threading.current_thread() is not threading.main_thread():
            two.wait(10)
        return total(kept["x"])[: len(x)]

    return ask


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda x: total(x).astype(np.float32), "the answer is of another type(.|\n)*got: +float32"),
        (lambda x: total(x).tolist(), "the answer is of another type(.|\n)*got: +list"),
        (lambda x: total(x)[:, 0], "does not follow the batch of 1"),
        (lambda x: total(x)[:5], "does not follow the batch of 7"),
        (lambda x: total(x) / 0 * 0, "an answer is not finite"),
        (drawn, "the same rows asked again have other answers"),
        (greedy, "writes into its inputs|raises"),
        (shared(), "an answer changes when the model is asked again"),
        (racing(), "two threads that ask at once get other answers"),
        (refuses, "a row with NaN or infinity fails the whole batch(.|\n)*Input contains NaN"),
        (spread, "a row with NaN or infinity changes the answers of its neighbours"),
        (centred, "depends on the rows beside it"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_what_is_planted_is_found(how: Callable[[Matrix], object], message: str) -> None:
    report = checked(how)
    assert not report.ok
    assert any(re.search(message, problem) for problem in report.problems), report
    assert all("    got:" in problem for problem in report.problems)
