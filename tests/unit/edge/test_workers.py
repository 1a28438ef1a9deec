"""Models run within the process. Oracle: the same model asked directly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from stream_infer.attribution import Asked, AttributionSettings, attribution_of
from stream_infer.edge.workers import VERSIONS_KEPT, InProcess, artifact_of, load_models
from stream_infer.errors import ModelError
from stream_infer.flow.commands import Forward, Install
from stream_infer.flow.notices import ForwardDone, ForwardFailed
from stream_infer.models.linear import LinearModel
from stream_infer.models.settings import ModelSettings
from stream_infer.records import Floats, Matrix
from tests.support import wait_until
from tests.support_run import score_case, twice


@dataclass
class Slow:
    """No linear model: answers in the forwarder's thread, when it is let go."""

    go: threading.Event = field(default_factory=threading.Event)
    columns: tuple[str, ...] = ("amount",)
    outputs: int = 1
    digest: str = ""

    def forward(self, x: Matrix) -> Floats:
        assert threading.current_thread().name.startswith("models")
        assert self.go.wait(10)
        if (x < 0).any():
            raise RuntimeError("negative\nand more lines\x1b[31m")
        return x.astype(np.float64) * 10


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def forwarder(slow: Slow) -> Iterator[InProcess]:
    made = InProcess({"twice": twice(), "slow": slow})
    yield made
    slow.go.set()
    made.close()


def ask(job: int, model: str, *amounts: float, version: int = 0) -> Forward:
    return Forward(job, model, version, np.array(amounts, dtype=np.float32)[:, None])


def line(slope: float) -> bytes:
    """A learned version: answer = slope · amount."""
    return LinearModel(np.full((1, 1), slope), np.zeros(1), np.zeros(1), np.ones(1), "identity", ("amount",)).to_bytes()


def done(notice: object) -> tuple[int, list[float]]:
    assert isinstance(notice, ForwardDone)
    assert notice.seconds >= 0
    return notice.job, notice.outputs[:, 0].tolist()


def test_a_linear_model_has_answered_when_submit_returns(forwarder: InProcess) -> None:
    forwarder.submit(ask(1, "twice", 3, 4))
    forwarder.submit(ask(2, "twice", 5))
    assert [done(notice) for notice in forwarder.finished(0)] == [(1, [7.0, 9.0]), (2, [11.0])]
    assert forwarder.finished(0) == []


def test_others_answer_in_their_thread_and_in_the_order_of_asking(forwarder: InProcess, slow: Slow) -> None:
    for job in range(1, 6):
        forwarder.submit(ask(job, "slow", job))
    forwarder.submit(ask(6, "twice", 1))
    assert [done(notice) for notice in forwarder.finished(1_000)] == [(6, [3.0])], "it waits only when nothing is there"
    assert forwarder.finished(1) == []
    slow.go.set()
    found: list[tuple[int, list[float]]] = []
    wait_until(lambda: len(found.extend(map(done, forwarder.finished(100))) or found) == 5, "all answered")
    assert found == [(job, [job * 10.0]) for job in range(1, 6)]


def test_what_a_model_raises_is_told_in_one_line_and_the_next_batch_is_answered(forwarder: InProcess, slow: Slow) -> None:
    slow.go.set()
    forwarder.submit(ask(1, "slow", 1, -1))
    forwarder.submit(ask(2, "slow", 2))
    found: list[object] = []
    wait_until(lambda: len(found.extend(forwarder.finished(100)) or found) == 2, "both ended")
    assert found[0] == ForwardFailed(1, "RuntimeError: negative")
    assert done(found[1]) == (2, [20.0])


def test_a_failure_of_a_linear_model_is_told_alike(forwarder: InProcess) -> None:
    forwarder.submit(Forward(1, "twice", 0, np.zeros((2, 3), dtype=np.float32)))
    (failed,) = forwarder.finished(0)
    assert isinstance(failed, ForwardFailed)
    assert failed.job == 1
    assert failed.reason.startswith("ModelError: linear model: the input matrix has another width")


def test_versions_stay_side_by_side_and_installing_twice_is_harmless(forwarder: InProcess) -> None:
    for version in (1, 2, 1):
        forwarder.install(Install("twice", version, line(version)))
    for job, version in ((1, 0), (2, 1), (3, 2)):
        forwarder.submit(ask(job, "twice", 10, version=version))
    assert [done(notice) for notice in forwarder.finished(0)] == [(1, [21.0]), (2, [10.0]), (3, [20.0])]


def test_the_version_used_longest_ago_goes_and_only_of_its_own_model() -> None:
    forwarder = InProcess({"one": twice(), "other": twice()})
    forwarder.install(Install("other", 7, line(7)))
    for version in range(1, VERSIONS_KEPT + 1):
        forwarder.install(Install("one", version, line(version)))
    forwarder.submit(ask(1, "one", 1, version=1))  # still in use by some task
    forwarder.install(Install("one", VERSIONS_KEPT + 1, line(0)))
    forwarder.submit(ask(2, "one", 1, version=1))
    forwarder.submit(ask(3, "other", 1, version=7))
    assert [done(notice) for notice in forwarder.finished(0)] == [(1, [1.0]), (2, [1.0]), (3, [7.0])]
    with pytest.raises(AssertionError, match="model one v2 is asked but not installed"):
        forwarder.submit(ask(4, "one", 1, version=2))
    forwarder.close()


def test_a_version_that_is_no_model_is_named(forwarder: InProcess) -> None:
    with pytest.raises(ModelError, match=r"^model twice v3: "):
        forwarder.install(Install("twice", 3, b"nonsense"))


# -------------------------------------------------------------------------------------------------------------- artifacts


def settings(artifact: str | None) -> ModelSettings:
    return ModelSettings("twice", "linear", (), artifact=artifact)


def test_the_artifact_of_a_model_is_read_relative_to_the_topology(tmp_path: Path) -> None:
    (tmp_path / "twice.safetensors").write_bytes(b"bytes")
    assert artifact_of(settings("twice.safetensors"), str(tmp_path)) == b"bytes"
    assert artifact_of(settings(None), str(tmp_path)) is None


def test_all_models_of_a_plan_are_loaded_by_name(tmp_path: Path) -> None:
    from stream_infer.cli import load_plan

    case = score_case("", tmp_path, "loading", topics=False)
    (model,) = load_models(load_plan(case.path), {}).values()
    assert model.forward(np.array([[4.0]], dtype=np.float32)).tolist() == [[9.0]]


class Steep:
    """Neither a linear model nor one with a place in the calling thread; its gradients are known."""

    columns, outputs, digest = ("a", "b"), 1, "s" * 64

    def forward(self, x: Matrix) -> Floats:
        return (x[:, :1].astype(np.float64) ** 2) * x[:, 1:]

    def gradients(self, x: Matrix, output: int) -> Floats:
        wide = x.astype(np.float64)
        return np.stack([2 * wide[:, 0] * wide[:, 1], wide[:, 0] ** 2], axis=1)


@pytest.mark.parametrize("method", ["integrated_gradients", "shap"])
def test_rows_that_are_to_be_explained_are_and_the_cost_curve_learns_nothing_of_it(method: str) -> None:
    model, x = Steep(), np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]], dtype=np.float32)
    settings, keys, starts = AttributionSettings(method, steps=8), np.arange(3, dtype=np.uint64), np.arange(2)
    worker = InProcess({"steep": model})
    worker.submit(Forward(1, "steep", 0, x))
    worker.submit(Forward(2, "steep", 0, x, explain=Asked(settings, keys, starts)))
    worker.submit(Forward(3, "steep", 0, x, explain=Asked(AttributionSettings(output=1), keys, starts)))
    answers: list[object] = []
    while len(answers) < 3:
        answers += worker.finished(100)
    worker.close()
    plain, explained, failed = answers
    assert isinstance(plain, ForwardDone)
    assert plain.passed is not None
    assert isinstance(explained, ForwardDone)
    assert explained.passed is None
    assert (explained.outputs == attribution_of(model, x, settings, keys).to_matrix()).all()
    assert isinstance(failed, ForwardFailed)
    assert "no such output" in failed.reason
